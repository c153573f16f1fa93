"""`fetch-hive doctor`: each thing that can be wrong is found, named, and comes with what to do."""

from __future__ import annotations

import json
import pathlib
import re
import ssl
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from fetch_hive_sdk import __version__
from fetch_hive_sdk.cli import checks
from fetch_hive_sdk.http import tls_context
from fetch_hive_sdk.sandbox import Sandbox

from .cli_runner import run
from .connection_server import CERTIFICATE

KEY = "fhk_0123456789abcdef"
WORKSPACE = Sandbox.workspace_id
NAMES = ["versions", "key", "base url", "proxy", "dns", "service", "tls", "clock", "authentication", "workspace"]


class Service:
    """A service that answers as it is told: the catalog, a workspace's agents, and everything else."""

    def __init__(self) -> None:
        self.catalog: tuple[int, bytes] = (200, b'{"codes": []}')
        self.lookup: tuple[int, bytes] = (404, b'{"error": "Request not found"}')
        self.agents: tuple[int, bytes] = (200, b'{"agents": []}')
        self.headers: dict[str, str] = {}
        self.requests: list[tuple[str, str | None]] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                service.answer(self)

            def do_CONNECT(self) -> None:
                self.send_error(407)

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its name there
                """Print nothing."""

            def date_time_string(self, timestamp: float | None = None) -> str:
                return service.headers.get("Date", format_datetime(datetime.now(timezone.utc), usegmt=True))

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that does not trust the certificate hangs up."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        self.url = f"http://127.0.0.1:{self.port}/v1"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.requests.append((handler.path, handler.headers["Authorization"]))
        known = {"error_codes": self.catalog, "agents": self.agents}
        status, body = known.get(handler.path.rpartition("/")[2], self.lookup)
        handler.send_response(status)
        for name, value in self.headers.items():
            if name != "Date":
                handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A service that is in order, and the environment set for it."""
    service = Service()
    monkeypatch.setenv("FETCH_HIVE_API_KEY", KEY)
    monkeypatch.setenv("FETCH_HIVE_BASE_URL", service.url)
    monkeypatch.setenv("FETCH_HIVE_WORKSPACE_ID", WORKSPACE)
    thread = threading.Thread(target=service.server.serve_forever, args=(0.01,))
    thread.start()
    tls_context.cache_clear()
    yield service
    tls_context.cache_clear()
    service.server.shutdown()
    service.server.server_close()
    thread.join()


def doctor(*options: str) -> dict[str, checks.Check]:
    """What the doctor finds, by name; the exit code has to be 1 exactly if something failed."""
    ended = run("doctor", "--json", *options)
    told = json.loads(ended.out)
    found = [checks.Check(**check) for check in told["checks"]]
    failed = any(check.outcome == "fail" for check in found)
    assert NAMES == [check.name for check in found]
    assert (int(failed), not failed, "") == (ended.exit_code, told["ok"], ended.err)
    assert KEY not in ended.out
    assert all(check.mend for check in found if check.outcome in ("warn", "fail"))
    return {check.name: check for check in found}


def outcomes(found: dict[str, checks.Check]) -> dict[str, str]:
    """The outcomes that are not "ok"."""
    return {name: check.outcome for name, check in found.items() if check.outcome != "ok"}


# --- all well -------------------------------------------------------------------------------------------


def test_all_is_well(service: Service) -> None:
    """Where all is well every line says ok; the key is told by its source, length and last four characters."""
    ended = run("doctor")
    lines = ended.out.splitlines()

    assert (0, "") == (ended.exit_code, ended.err)
    assert NAMES == [line[6:20].strip() for line in lines]
    assert all(line.startswith("ok    ") for line in lines)
    assert lines[0].startswith(f"ok    versions        fetch-hive-sdk {__version__}, Python 3.")
    assert lines[1].endswith("from FETCH_HIVE_API_KEY, 20 characters, ending in cdef")
    assert lines[4].endswith("127.0.0.1 is 127.0.0.1")
    assert KEY not in ended.out


def test_nothing_is_started(service: Service) -> None:
    """The catalog is asked for without the key, then a run that cannot be and the agents with it; no more is sent."""
    doctor()
    (catalog, no_key), (lookup, key), (agents, again) = service.requests

    assert ("/v1/error_codes", None, f"Bearer {KEY}", key) == (catalog, no_key, key, again)
    assert lookup.startswith("/v1/public/requests/req_")
    assert f"/v1/public/workspaces/{WORKSPACE}/agents" == agents


def test_a_sandbox_is_well(service: Service) -> None:
    """A sandbox passes every check."""
    with Sandbox().serve() as server:
        assert {} == outcomes(doctor("--base-url", server.base_url))


# --- the settings ---------------------------------------------------------------------------------------


def test_what_to_do_stands_below(service: Service) -> None:
    """What to do stands in the line below what is wrong."""
    lines = run("doctor", "--api-key", "sk-0123456789abcdefgh").out.splitlines()

    assert lines[1].startswith("warn  key             from --api-key, 21 characters, ending in efgh; ")
    assert f"{'':22}Copy it again from the dashboard. A sandbox takes any key." == lines[2]


def test_without_a_key(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key the rest is checked all the same, but not whether it is accepted."""
    monkeypatch.delenv("FETCH_HIVE_API_KEY")
    found = doctor()

    assert {"key": "fail", "authentication": "skip", "workspace": "skip"} == outcomes(found)
    assert "FETCH_HIVE_API_KEY" in found["key"].mend


@pytest.mark.parametrize(
    ("key", "outcome", "told"),
    [
        ("fhk_short", "ok", "from --api-key, 9 characters"),
        ("sk-0123456789abcdefgh", "warn", "keys of Fetch Hive begin with fhk_"),
        (" fhk_0123456789abcdefg ", "warn", "with spaces around it"),
        ("fhk_two words", "fail", "has a space"),
    ],
)
def test_the_key(key: str, outcome: str, told: str, service: Service) -> None:
    """What is odd about a key is told without showing it."""
    found = doctor("--api-key", key)

    assert outcome == found["key"].outcome
    assert told in found["key"].found
    assert key.strip() not in str(found)


@pytest.mark.parametrize(
    ("url", "outcome", "told"),
    [
        ("no url", "fail", "from --base-url: base_url: "),
        ("http://api.example.com/v1", "fail", "the key would travel unencrypted"),
    ],
)
def test_the_base_url(url: str, outcome: str, told: str, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A base URL that cannot be used, or that gives the key away, is a failure."""

    def nowhere(*_: object, **__: object) -> None:
        raise OSError(-2, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", nowhere)
    found = doctor("--base-url", url)

    assert outcome == found["base url"].outcome
    assert told in found["base url"].found
    assert "skip" == found["authentication"].outcome


def test_a_base_url_without_its_version(service: Service) -> None:
    """A base URL that does not end in /v1 is odd; who answers there is not Fetch Hive."""
    service.catalog = (404, b"")
    found = doctor("--base-url", service.url.removesuffix("/v1"))

    assert {"base url": "warn", "service": "fail", "authentication": "skip", "workspace": "skip"} == outcomes(found)
    assert "/error_codes answered 404" in found["service"].found


def test_the_default_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a base URL the live service is checked; here it cannot be reached, and why is told."""

    def nowhere(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("socket.getaddrinfo", nowhere)
    found = doctor("--api-key", KEY)

    assert "https://api.fetchhive.com/v1, from the default" == found["base url"].found
    assert "api.fetchhive.com is not known: no network" == found["dns"].found
    assert "Check the network, the proxy and the base URL." == found["service"].mend
    assert {"dns": "fail", "service": "fail"} == {
        name: told for name, told in outcomes(found).items() if told != "skip"
    }
    assert ["tls", "clock", "authentication", "workspace"] == [
        one.name for one in found.values() if one.outcome == "skip"
    ]


# --- proxies --------------------------------------------------------------------------------------------


def test_a_proxy_in_effect(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy is told without its password; it does the looking up of names, and if it is not there, that is told."""
    monkeypatch.setenv("HTTP_PROXY", "http://ann:hunter2@127.0.0.1:1")
    found = doctor("--base-url", "http://localhost:9/v1")

    assert "http://…@127.0.0.1:1" == found["proxy"].found
    assert "warn" == found["proxy"].outcome
    assert "put localhost into NO_PROXY" in found["proxy"].mend
    assert "left to the proxy" == found["dns"].found
    assert "fail" == found["service"].outcome
    assert "hunter2" not in str(found)


def test_a_proxy_that_refuses(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the proxy itself refuses is told as the proxy's."""
    monkeypatch.setenv("HTTPS_PROXY", service.url.removesuffix("/v1"))
    found = doctor("--base-url", "https://api.example.com/v1")

    assert "HTTPS_PROXY" in found["service"].mend


def test_a_proxy_that_is_not_used(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that NO_PROXY switches off for the host is told as that."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    found = doctor()

    assert {} == outcomes(found)
    assert "none for this host, by NO_PROXY (else http://127.0.0.1:1)" == found["proxy"].found


def test_a_proxy_that_cannot_be_used(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of a kind that cannot be used is a failure, after which nothing is asked."""
    monkeypatch.setenv("ALL_PROXY", "gopher://127.0.0.1:1")
    found = doctor()

    assert "fail" == found["proxy"].outcome
    assert {"skip"} == {found[name].outcome for name in NAMES[5:]}
    assert [] == service.requests


# --- the service ----------------------------------------------------------------------------------------


def test_nobody_answers(service: Service) -> None:
    """Where nobody listens, and it could be a sandbox, it is said how to start one."""
    found = doctor("--base-url", "http://127.0.0.1:1/v1")

    assert "gave no answer" in found["service"].found
    assert "fetch-hive sandbox" in found["service"].mend


def test_https_where_http_is_spoken(service: Service) -> None:
    """A server that speaks no TLS is there: starting it is not what is missing."""
    found = doctor("--base-url", service.url.replace("http:", "https:"))

    assert "begins with http://" in found["service"].mend


def test_a_service_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that accepts and says nothing is given up after a while."""
    import socket

    monkeypatch.setattr(checks, "SECONDS_TO_ANSWER", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = doctor("--api-key", KEY, "--base-url", f"http://127.0.0.1:{silent.getsockname()[1]}/v1")

    assert "a firewall may swallow the connection" in found["service"].mend


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (302, b"", "Redirects are not followed. Set the base URL to where it belongs: https://login.test/"),
        (503, b"", "try again later"),
        (200, b"<html>Sign in</html>", "Something else answers there"),
        (200, b'{"hello": 1}', "Something else answers there"),
    ],
)
def test_something_else_answers(status: int, body: bytes, told: str, service: Service) -> None:
    """An answer that is not Fetch Hive's is a failure; what it is says what to do."""
    service.catalog = (status, body)
    service.headers = {"Location": "https://login.test/"}
    found = doctor()

    assert {"service": "fail", "authentication": "skip", "workspace": "skip"} == outcomes(found)
    assert told in found["service"].mend


def test_a_clock_that_is_off(service: Service) -> None:
    """A clock that is far off the service's is told, with the direction."""
    for hours, told in (
        (1000, "3,6\\d\\d,\\d+ s behind the service"),
        (-1000, "3,6\\d\\d,\\d+ s ahead of the service"),
    ):
        said = datetime.now(timezone.utc) + timedelta(hours=hours, minutes=hours / 100)
        service.headers = {"Date": format_datetime(said, usegmt=True)}
        found = doctor()["clock"]
        assert "warn" == found.outcome
        assert re.fullmatch(told, found.found)


@pytest.mark.parametrize("date", ["yesterday", "Mon, 01 Jun 2026 00:00:00 -0000"])
def test_a_date_that_cannot_be_read(date: str, service: Service) -> None:
    """A date that is none, or has no zone, leaves the clock unchecked."""
    service.headers = {"Date": date}

    assert {"clock": "skip"} == outcomes(doctor())


@pytest.mark.parametrize(
    ("status", "outcome", "told"),
    [
        (401, "fail", "the key is refused"),
        (429, "warn", "429"),
        (200, "fail", "is an error"),
        (500, "warn", "500"),
    ],
)
def test_authentication(status: int, outcome: str, told: str, service: Service) -> None:
    """A key that is refused is a failure; an answer that says nothing of the key is a warning."""
    service.lookup = (status, b"no JSON")
    checked = doctor()
    found = checked["authentication"]

    assert outcome == found.outcome
    assert told in found.found or "cannot be read" in found.found
    assert "skip" == checked["workspace"].outcome


@pytest.mark.parametrize(
    ("status", "outcome", "told"),
    [
        (200, "ok", f"{WORKSPACE}, from FETCH_HIVE_WORKSPACE_ID"),
        (404, "warn", "there is none of FETCH_HIVE_WORKSPACE_ID for this key"),
        (403, "warn", "403 Forbidden"),
    ],
)
def test_the_workspace(status: int, outcome: str, told: str, service: Service) -> None:
    """A workspace that is set is asked for its agents; one that the key does not reach is a warning."""
    service.agents = (status, service.agents[1])
    found = doctor()["workspace"]

    assert outcome == found.outcome
    assert told in found.found


def test_a_workspace_that_is_blank(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A workspace that no client would take is a failure of its own, and not the base URL's."""
    monkeypatch.setenv("FETCH_HIVE_WORKSPACE_ID", " ")
    found = doctor()

    assert {"workspace": "fail"} == outcomes(found)
    assert "from FETCH_HIVE_WORKSPACE_ID: workspace_id: " in found["workspace"].found


def test_without_a_workspace(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no workspace is set nothing is wrong, and it is said that runs need none."""
    monkeypatch.delenv("FETCH_HIVE_WORKSPACE_ID")
    found = doctor()

    assert {"workspace": "skip"} == outcomes(found)
    assert "runs do not need it" in found["workspace"].found


# --- TLS ------------------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: pathlib.Path) -> str:
    """A file with the certificate and its key."""
    file = tmp_path / "certificate.pem"
    file.write_text(CERTIFICATE)
    return str(file)


@pytest.fixture
def secured(service: Service, certificate: str) -> Service:
    """The service over TLS, on "localhost"."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    service.server.socket = context.wrap_socket(service.server.socket, server_side=True)
    service.url = f"https://localhost:{service.port}/v1"
    return service


def test_tls(secured: Service, certificate: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over TLS the protocol is told, and how long the certificate is valid; one that ends soon is a warning."""
    monkeypatch.setenv("SSL_CERT_FILE", certificate)
    found = doctor("--base-url", secured.url)
    assert {} == outcomes(found)
    assert found["tls"].found.startswith("TLSv1.3, certificate valid for ")

    monkeypatch.setattr(checks, "DAYS_LEFT", 40_000)
    assert {"tls": "warn"} == outcomes(doctor("--base-url", secured.url))


def test_a_certificate_that_nobody_trusts(secured: Service) -> None:
    """A certificate that is not trusted is explained, with what to set for a company's proxy."""
    found = doctor("--base-url", secured.url)

    assert "localhost could not prove its identity" == found["service"].found
    assert "fail" == found["tls"].outcome
    assert "SSL_CERT_FILE" in found["tls"].mend


def test_a_certificate_of_another_name(secured: Service, certificate: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trusted certificate for another name is told as that."""
    monkeypatch.setenv("SSL_CERT_FILE", certificate)
    found = doctor("--base-url", secured.url.replace("localhost", "127.0.0.1"))

    assert "for another name" in found["tls"].mend


@pytest.mark.parametrize(
    ("problem", "told"),
    [
        ("certificate has expired", "has expired"),
        ("certificate is not yet valid", "not valid yet"),
        ("Hostname mismatch, certificate is not valid for 'x'.", "for another name"),
        ("unable to get local issuer certificate", "SSL_CERT_FILE"),
    ],
)
def test_certificate_errors(problem: str, told: str) -> None:
    """Each way a certificate can be wrong has its own advice."""
    error = httpx.ConnectError(f"[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: {problem} (_ssl.c:1006)")

    assert told in checks._unreachable(error, httpx.URL("https://x.test/v1"))[1].mend


def test_an_error_without_words() -> None:
    """A failure that says nothing is told by its kind."""
    assert "ReadError" in checks._unreachable(httpx.ReadError(""), httpx.URL("https://x.test/v1"))[0].found
