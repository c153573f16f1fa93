"""The settings of a client as one frozen value: from the argument, else the environment, else the default."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import httpx

from .errors import ConfigurationError, InvalidRequestError
from .jsonable import article, flat, number_or_kind
from .retries import RetryPolicy
from .urls import absolute_url, segment

__all__ = ["DEFAULT_BASE_URL", "Settings"]

DEFAULT_BASE_URL = "https://api.fetchhive.com/v1"
DEFAULT_TIMEOUT = 300.0
DEFAULT_IDLE_TIMEOUT = 60.0
DEFAULT_MAX_EVENT_SIZE = 16 * 1024 * 1024
CONNECT_TIMEOUT = 5.0

_OWN_HEADERS = ("accept", "authorization", "content-length", "content-type", "host")
_HEADER_NAME_CHARACTERS = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


class Hidden:
    """A value in a variable that tracebacks may show."""

    __slots__ = ("_value",)

    def __init__(self, value: Any) -> None:
        self._value = value

    def revealed(self) -> Any:
        """The value. A call and no attribute, because some tracebacks look up each name of a line."""
        return self._value


@dataclass(frozen=True)
class Settings:
    """What a client was told. `repr` shows neither the key nor the values of the headers.

    Attributes are those of `FetchHive`; every value has been checked.
    """

    api_key: str = field(repr=False)
    base_url: str = DEFAULT_BASE_URL
    workspace_id: str | None = None
    timeout: float | httpx.Timeout = DEFAULT_TIMEOUT
    idle_timeout: float = DEFAULT_IDLE_TIMEOUT
    max_event_size: int = DEFAULT_MAX_EVENT_SIZE
    retry_policy: RetryPolicy = field(default_factory=RetryPolicy)
    default_headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    default_metadata: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    # What others make of these settings once and keep; it has the key in it, and does not travel.
    kept: dict[Any, Any] = field(default_factory=dict[Any, Any], init=False, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "kept": {}}

    @classmethod
    def resolve(
        cls,
        *,
        api_key: str | Hidden | None,
        base_url: str | Hidden | None,
        workspace_id: str | UUID | None = None,
        **others: Any,
    ) -> Settings:
        """Fill in from the environment what was not passed, check everything, and freeze it.

        Args:
            api_key: The argument of the client; hidden, where it must not show in a traceback.
            base_url: As well: a wrong one may have a password in it.
            workspace_id: The argument of the client.
            others: Those of `changed`.

        Raises:
            ConfigurationError: A setting is missing or wrong; the message names it and the fix.
        """
        key, address = _hidden(api_key), _hidden(base_url)
        if key.revealed() is None:
            key = Hidden(os.environ.get("FETCH_HIVE_API_KEY") or None)
        if address.revealed() is None:
            address = Hidden(os.environ.get("FETCH_HIVE_BASE_URL") or DEFAULT_BASE_URL)
        start = cls(api_key=_api_key(key), base_url=_base_url(address))
        given = workspace_id if workspace_id is not None else os.environ.get("FETCH_HIVE_WORKSPACE_ID") or None
        return start.changed(workspace_id=given, **others)

    def changed(
        self,
        *,
        workspace_id: str | UUID | None = None,
        timeout: float | httpx.Timeout | None = None,
        idle_timeout: float | None = None,
        max_event_size: int | None = None,
        max_retries: int | None = None,
        retry_policy: RetryPolicy | None = None,
        default_headers: Mapping[str, str] | None = None,
        default_metadata: Mapping[str, Any] | None = None,
    ) -> Settings:
        """The same settings with some changed. Headers and metadata are added to those already set."""
        if retry_policy is not None and not isinstance(retry_policy, RetryPolicy):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(
                f"retry_policy: {article(retry_policy)} is not allowed.", hint="Pass a RetryPolicy(...)."
            )
        policy = retry_policy or self.retry_policy
        return replace(
            self,
            workspace_id=self.workspace_id if workspace_id is None else _workspace_id(workspace_id),
            timeout=self.timeout if timeout is None else _timeout(timeout),
            idle_timeout=self.idle_timeout if idle_timeout is None else _seconds("idle_timeout", idle_timeout),
            max_event_size=self.max_event_size if max_event_size is None else _max_event_size(max_event_size),
            retry_policy=policy if max_retries is None else replace(policy, max_retries=max_retries),
            default_headers={**self.default_headers, **_headers({} if default_headers is None else default_headers)},
            default_metadata={
                **self.default_metadata,
                **_metadata({} if default_metadata is None else default_metadata),
            },
        )

    @property
    def secure(self) -> bool:
        """Whether `base_url` is an https address."""
        return self.base_url.startswith("https:")

    @property
    def attempt_limit(self) -> float:
        """Seconds one attempt may take as a whole; infinite where an `httpx.Timeout` sets the phases."""
        return math.inf if isinstance(self.timeout, httpx.Timeout) else self.timeout

    def phases(self, *, streaming: bool) -> httpx.Timeout:
        """The timeouts of httpx for one attempt. A stream waits `idle_timeout` for each next piece."""
        if isinstance(self.timeout, httpx.Timeout):
            limits = self.timeout.as_dict()
        else:
            whole = _finite(self.timeout)
            # A little less for what comes before sending, so that it ends before the attempt and is known as such.
            before = self.timeout * 0.9
            limits = {"connect": min(CONNECT_TIMEOUT, before), "pool": _finite(before), "read": whole, "write": whole}
        if streaming:
            limits["read"] = _finite(self.idle_timeout)
        return httpx.Timeout(**limits)


def _finite(seconds: float) -> float | None:
    return None if seconds == math.inf else seconds


def _hidden(given: object) -> Hidden:
    return given if isinstance(given, Hidden) else Hidden(given)


def _api_key(given: Hidden) -> str:
    if given.revealed() == "":
        raise ConfigurationError(
            "api_key: it is empty.", hint="Pass the key, or leave api_key= out to use FETCH_HIVE_API_KEY."
        )
    if given.revealed() is None:
        raise ConfigurationError(
            "No API key: neither api_key= nor the environment variable FETCH_HIVE_API_KEY is set.",
            hint="Create a key in the dashboard under API Keys, then export FETCH_HIVE_API_KEY or pass "
            "FetchHive(api_key=...). To work without a key, run against the sandbox: Sandbox().client().",
        )
    if not isinstance(given.revealed(), str):
        raise ConfigurationError(f"api_key: {article(given.revealed())} is not allowed.", hint="Pass the key as a str.")
    if not _is_one_word(given.revealed().strip()):
        raise ConfigurationError(
            "api_key: the key is blank, or has a space, a line break or a character outside ASCII in it.",
            hint="Copy it again from the dashboard; a key is one word.",
        )
    return str(given.revealed()).strip()


def _is_one_word(key: str) -> bool:
    return bool(key) and key.isascii() and key.isprintable() and " " not in key


def _base_url(given: Hidden) -> str:
    if given.revealed() == "":  # such as an unset variable of a test environment: the default would bill its calls
        raise ConfigurationError(
            "base_url: it is empty.",
            hint="Pass an address, or leave base_url= out to use FETCH_HIVE_BASE_URL or the service's own.",
        )
    if problem := _problem_of_address(given.revealed()):
        hint = f"Pass an absolute http(s) address such as {DEFAULT_BASE_URL}."
        raise ConfigurationError(f"base_url: {problem}.", hint=hint)
    return str(absolute_url(given.revealed().strip())).rstrip("/")


def _problem_of_address(value: object) -> str:
    if not isinstance(value, str):
        return f"{article(value)} is not allowed"
    try:
        url = absolute_url(value.strip())
    except ValueError as error:
        return str(error)
    if url.scheme not in ("http", "https"):
        return "this is not an absolute http(s) URL"
    return "it has a user, a query or a fragment in it" if any(mark in value for mark in "@?#") else ""


def _workspace_id(value: object) -> str:
    found = value.strip() if isinstance(value, str) else value
    try:
        segment("workspace_id", found)
    except InvalidRequestError as error:
        raise ConfigurationError(error.message, hint=error.hint) from None
    return str(found)


def _timeout(value: object) -> float | httpx.Timeout:
    return value if isinstance(value, httpx.Timeout) else _seconds("timeout", value)


def _seconds(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise ConfigurationError(
            f"{name}: {number_or_kind(value)} is not allowed.",
            hint='Pass seconds as a number above 0; float("inf") means no limit.',
        )
    return math.inf if value > threading.TIMEOUT_MAX else float(value)


def _max_event_size(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(
            f"max_event_size: {number_or_kind(value)} is not allowed.", hint="Pass bytes as a whole number above 0."
        )
    return value


def _metadata(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        return flat("default_metadata", metadata)
    except InvalidRequestError as error:
        raise ConfigurationError(error.message, hint=error.hint) from None


def _headers(headers: object) -> dict[str, str]:
    if not isinstance(headers, Mapping):
        raise ConfigurationError(f"default_headers: {article(headers)} is not allowed.", hint="Pass a dict of str.")
    for name, value in headers.items():  # pyright: ignore[reportUnknownVariableType]
        if not isinstance(name, str) or not name or not _HEADER_NAME_CHARACTERS.issuperset(name):
            raise ConfigurationError(f"default_headers: {name!r} is not a header name.", hint="Correct the name.")
        if name.lower() in _OWN_HEADERS:
            raise ConfigurationError(f"default_headers: {name} is set by the SDK.", hint="Leave it out.")
        # The value is not quoted: it may be a secret.
        if not isinstance(value, str) or not value.isascii() or not (value.isprintable() and value == value.strip()):
            raise ConfigurationError(
                f"default_headers[{name!r}]: the value has to be a str of printable ASCII.",
                hint="Remove line breaks, spaces at its ends and other characters, or encode them.",
            )
    return dict(headers)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
