"""The checks of `fetch-hive doctor`: each tells what is, and where something is wrong how to mend it."""

from __future__ import annotations

import os
import platform
import socket
import ssl
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, Literal
from urllib.request import getproxies, proxy_bypass

import httpx
import pydantic

from ..answers import read_object
from ..errors import (
    APIConnectionError,
    AuthenticationError,
    ConfigurationError,
    FetchHiveError,
    NotFoundError,
    UnexpectedResponseError,
)
from ..http import SyncPool, tls_context
from ..resources.agents import Agents
from ..resources.requests import Requests
from ..retries import RetryPolicy
from ..settings import DEFAULT_BASE_URL, Settings
from ..urls import is_private
from ..version import VERSION
from .terminal import one_line, seconds, without_password

__all__ = ["Check", "Outcome", "examine"]

Outcome = Literal["ok", "warn", "fail", "skip"]

SECONDS_TO_ANSWER = 10.0
SECONDS_OFF = 60.0
DAYS_LEFT = 14
# Stands in for that of the environment, which has a check of its own.
_ANY_WORKSPACE = "any"

_CERTIFICATE_ADVICE = (
    ("expired", "The certificate has expired. If it should not have: set this machine's clock."),
    ("not yet valid", "The certificate is not valid yet: set this machine's clock."),
    ("Hostname mismatch", "The certificate is for another name: check the base URL."),
    ("IP address mismatch", "The certificate is for another name: check the base URL."),
)
_UNTRUSTED = (
    "Nobody this machine trusts has signed it. A company's proxy may stand in between: set SSL_CERT_FILE to the "
    "company's certificates."
)


@dataclass(frozen=True)
class Check:
    """What a check found.

    Attributes:
        name: What was checked.
        outcome: `ok`, `warn`, `fail`; `skip` if an earlier failure left nothing to check.
        found: What was found, in words.
        mend: What to do; empty if there is nothing to do.
    """

    name: str
    outcome: Outcome
    found: str
    mend: str = ""


def examine(api_key: str | None, base_url: str | None) -> Iterator[Check]:
    """Run the checks, one after the other.

    Args:
        api_key: What `--api-key` was given.
        base_url: What `--base-url` was given.
    """
    yield _versions()
    key, check = _key(api_key)
    yield check
    # Without a key the way to the service can be checked all the same.
    settings, check = _address(key or "fhk_none", base_url)
    yield check
    if settings is None:
        yield from _skipped("proxy", "dns", "service", "tls", "clock", "authentication", "workspace")
        return
    url = httpx.URL(settings.base_url)
    proxy, check = _proxy(url)
    yield check
    yield _dns(url, by_proxy=bool(proxy))
    if check.outcome == "fail":
        yield from _skipped("service", "tls", "clock", "authentication", "workspace")
        return
    response, checks = _service(settings)
    yield from checks
    if response is None:
        yield from _skipped("clock", "authentication", "workspace")
        return
    yield _clock(response)
    if key is None or checks[0].outcome == "fail":  # what is not Fetch Hive cannot tell whether the key is good
        yield from _skipped("authentication", "workspace")
        return
    check = _authentication(settings)
    yield check
    if check.outcome == "ok":
        yield _workspace(settings)
    else:
        yield from _skipped("workspace")


def _skipped(*names: str) -> Iterator[Check]:
    for name in names:
        yield Check(name, "skip", "not checked, because of the failure above")


def _versions() -> Check:
    found = (
        f"fetch-hive-sdk {VERSION}, Python {platform.python_version()}, httpx {httpx.__version__}, "
        f"pydantic {pydantic.VERSION}, {ssl.OPENSSL_VERSION}"
    )
    return Check("versions", "ok", found)


# --- settings ---------------------------------------------------------------------------------------


def _key(option: str | None) -> tuple[str | None, Check]:
    """The key, if it is one at all, and what can be said of it without showing it."""
    source = "--api-key" if option else "FETCH_HIVE_API_KEY"
    value = option or os.environ.get("FETCH_HIVE_API_KEY")
    if not value:
        mend = "Create a key in the dashboard under API Keys, then export FETCH_HIVE_API_KEY."
        return None, Check("key", "fail", "there is none: FETCH_HIVE_API_KEY is not set", mend)
    key = value.strip()
    try:
        Settings.resolve(api_key=key, base_url=DEFAULT_BASE_URL, workspace_id=_ANY_WORKSPACE)
    except ConfigurationError as error:
        return None, Check("key", "fail", f"from {source}: {error.message}", error.hint)
    found = f"from {source}, {len(key)} characters{f', ending in {key[-4:]}' if len(key) >= 16 else ''}"
    if not key.startswith("fhk_"):
        mend = "Copy it again from the dashboard. A sandbox takes any key."
        return key, Check("key", "warn", f"{found}; keys of Fetch Hive begin with fhk_", mend)
    if key != value:
        return key, Check("key", "warn", f"{found}, with spaces around it", "Remove them: other tools may send them.")
    return key, Check("key", "ok", found)


def _address(key: str, option: str | None) -> tuple[Settings | None, Check]:
    variable = os.environ.get("FETCH_HIVE_BASE_URL")
    source = "--base-url" if option else "FETCH_HIVE_BASE_URL" if variable else "the default"
    try:
        settings = Settings.resolve(
            api_key=key,
            base_url=option,
            workspace_id=_ANY_WORKSPACE,
            timeout=SECONDS_TO_ANSWER,
            retry_policy=RetryPolicy(max_retries=0),
        )
    except ConfigurationError as error:
        return None, Check("base url", "fail", f"from {source}: {error.message}", error.hint)
    url = httpx.URL(settings.base_url)
    found = f"{settings.base_url}, from {source}"
    if url.scheme != "https" and not is_private(url.host):
        return settings, Check("base url", "fail", f"{found}: the key would travel unencrypted", "Use https.")
    if not settings.base_url.endswith("/v1"):
        return settings, Check("base url", "warn", f"{found}: it does not end in /v1", "Add the version: …/v1")
    return settings, Check("base url", "ok", found)


def _proxy(url: httpx.URL) -> tuple[str | None, Check]:
    proxies = getproxies()
    named = proxies.get(url.scheme) or proxies.get("all")
    proxy = None if named is None or proxy_bypass(url.host) else named
    try:
        pool = SyncPool(None)
        pool.way()
        pool.close()
    except ConfigurationError as error:
        return proxy, Check("proxy", "fail", error.message, error.hint)
    if proxy is None:
        found = (
            "none" if named is None else f"none for this host, by NO_PROXY (else {one_line(without_password(named))})"
        )
        return None, Check("proxy", "ok", found)
    found = one_line(without_password(proxy))
    if is_private(url.host):
        mend = f"A host of this machine or network is asked for through it: put {url.host} into NO_PROXY."
        return proxy, Check("proxy", "warn", found, mend)
    return proxy, Check("proxy", "ok", found)


# --- the way to the service -----------------------------------------------------------------------------


def _dns(url: httpx.URL, *, by_proxy: bool) -> Check:
    if by_proxy:
        return Check("dns", "ok", "left to the proxy")
    try:
        found = socket.getaddrinfo(url.host, url.port or url.scheme, type=socket.SOCK_STREAM)
    except OSError as error:
        mend = "Check the base URL and the network; in a container, its DNS settings."
        return Check("dns", "fail", f"{url.host} is not known: {error.strerror or error}", mend)
    addresses = dict.fromkeys(str(address[0]) for *_, address in found)
    return Check("dns", "ok", f"{url.host} is {', '.join(addresses)}")


def _service(settings: Settings) -> tuple[httpx.Response | None, list[Check]]:
    """Ask for what needs no key: the catalog of error codes."""
    url = f"{settings.base_url}/error_codes"
    started = time.monotonic()
    try:
        with (
            httpx.Client(verify=tls_context(), timeout=SECONDS_TO_ANSWER, follow_redirects=False) as client,
            client.stream("GET", url, headers={"Accept": "application/json"}) as response,
        ):
            tls = _tls(response)
            response.read()
    except (httpx.TransportError, httpx.DecodingError) as error:
        return None, _unreachable(error, httpx.URL(url))
    took = seconds(time.monotonic() - started)
    found = f"{url} answered {response.status_code} in {took}"
    if response.is_redirect:
        where = one_line(response.headers["Location"])
        mend = f"Redirects are not followed. Set the base URL to where it belongs: {where}"
        return response, [Check("service", "fail", found, mend), tls]
    if not response.is_success:
        mend = "Check the base URL. If it is right, the service or a proxy has trouble: try again later."
        return response, [Check("service", "fail", found, mend), tls]
    try:
        known = "codes" in read_object(response.content)
    except ValueError:
        known = False
    if not known:
        mend = "Something else answers there: check the base URL, or a proxy's page for signing in."
        return response, [Check("service", "fail", f"{found}, but not as Fetch Hive does", mend), tls]
    return response, [Check("service", "ok", found), tls]


def _unreachable(error: Exception, url: httpx.URL) -> list[Check]:
    """Why there is no answer; a certificate is the affair of the line after it."""
    problem = one_line(str(error) or type(error).__name__)
    if "CERTIFICATE_VERIFY_FAILED" in problem:
        advice = next((advice for words, advice in _CERTIFICATE_ADVICE if words in problem), _UNTRUSTED)
        return [
            Check("service", "fail", f"{url.host} could not prove its identity", "See the next line."),
            Check("tls", "fail", problem, advice),
        ]
    if isinstance(error, httpx.ProxyError):
        mend = "Check HTTPS_PROXY, HTTP_PROXY and NO_PROXY, and the proxy's user and password."
    elif isinstance(error, httpx.TimeoutException):
        mend = "Check the network; a firewall may swallow the connection, or a proxy be needed."
    elif "WRONG_VERSION_NUMBER" in problem:
        mend = "It speaks no TLS: the address of a sandbox begins with http://."
    elif is_private(url.host):
        mend = "If it is a sandbox: start it with `fetch-hive sandbox`."
    else:
        mend = "Check the network, the proxy and the base URL."
    return [Check("service", "fail", f"{url} gave no answer: {problem}", mend), *_skipped("tls")]


def _tls(response: httpx.Response) -> Check:
    stream: Any = response.extensions.get("network_stream")
    connection: ssl.SSLObject | None = stream and stream.get_extra_info("ssl_object")
    if connection is None:
        return Check("tls", "ok", "not used")
    ends = ssl.cert_time_to_seconds(str((connection.getpeercert() or {})["notAfter"]))
    days = int((ends - time.time()) // 86400)
    found = f"{connection.version()}, certificate valid for {days} days"
    if days < DAYS_LEFT:
        return Check("tls", "warn", found, "It has to be renewed soon: tell whoever runs the server.")
    return Check("tls", "ok", found)


def _clock(response: httpx.Response) -> Check:
    try:
        said = parsedate_to_datetime(response.headers["Date"])
        off = (datetime.now(timezone.utc) - said).total_seconds()
    except (KeyError, ValueError, TypeError):
        return Check("clock", "skip", "the service sent no date")
    if abs(off) > SECONDS_OFF:
        direction = "ahead of" if off > 0 else "behind"
        mend = "Set this machine's clock: certificates and the times in your logs depend on it."
        return Check("clock", "warn", f"{abs(off):,.0f} s {direction} the service", mend)
    return Check("clock", "ok", f"within {max(abs(off), 1):.0f} s of the service")


def _authentication(settings: Settings) -> Check:
    """Look up a run that cannot be: it is not found, or the key is refused. Nothing runs."""
    try:
        with closing(SyncPool(None)) as pool:
            Requests(settings, pool).get(f"req_{uuid.uuid4().hex}")
    except NotFoundError:
        pass
    except AuthenticationError:
        mend = "Copy the key again from the dashboard, and check that the base URL is the service it belongs to."
        return Check("authentication", "fail", "the key is refused", mend)
    except (APIConnectionError, UnexpectedResponseError) as error:
        return Check("authentication", "fail", one_line(error.message), error.hint)
    except FetchHiveError as error:
        return Check("authentication", "warn", one_line(error.message), error.hint)
    return Check("authentication", "ok", "the key is accepted")


def _workspace(settings: Settings) -> Check:
    """List the agents of the workspace: one that the key does not belong to is not found. Nothing is changed."""
    workspace_id = os.environ.get("FETCH_HIVE_WORKSPACE_ID")
    if not workspace_id:
        return Check("workspace", "skip", "FETCH_HIVE_WORKSPACE_ID is not set; runs do not need it")
    try:
        settings = settings.changed(workspace_id=workspace_id)
        with closing(SyncPool(None)) as pool:
            Agents(settings, pool).list()
    except ConfigurationError as error:
        return Check("workspace", "fail", f"from FETCH_HIVE_WORKSPACE_ID: {one_line(error.message)}", error.hint)
    except NotFoundError:
        mend = "Set FETCH_HIVE_WORKSPACE_ID to the id of the workspace that the key belongs to."
        return Check("workspace", "warn", "there is none of FETCH_HIVE_WORKSPACE_ID for this key", mend)
    except FetchHiveError as error:
        return Check("workspace", "warn", one_line(error.message), error.hint)
    return Check("workspace", "ok", f"{settings.workspace_id}, from FETCH_HIVE_WORKSPACE_ID")
