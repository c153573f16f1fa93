"""Builds, accepts, shares and closes connections; the only place that knows how a request looks.

A client's own connections are a `ConnectionPool`, to which requests go directly, put together from parts that are
kept. A caller's `http_client` is used as it is, and where the environment names a proxy httpx's own client is: only
they pay for what an httpx client adds to each call.
"""

from __future__ import annotations

import codecs
import importlib.util
import os
import ssl
import sys
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from functools import lru_cache
from typing import Any, Generic, TypeVar, Union

import httpx

from .deadlines import Trace
from .errors import ClientClosedError, ConfigurationError, InvalidRequestError
from .http_clients import ACCEPT_ENCODING
from .jsonable import article
from .loading import loading
from .operations import Operation
from .settings import Settings
from .version import VERSION

__all__ = ["AsyncPool", "AsyncWay", "Pool", "SyncPool", "Way", "async_pool", "build_request", "sync_way"]

# What requests go to: a transport directly, or an httpx client with all that it adds.
Way = Union[httpx.BaseTransport, httpx.Client]
AsyncWay = Union[httpx.AsyncBaseTransport, httpx.AsyncClient]
WayT = TypeVar("WayT", bound=Union[Way, AsyncWay])

PYTHON = ".".join(map(str, sys.version_info[:3]))
USER_AGENT = f"fetch-hive-sdk/{VERSION} python/{PYTHON} httpx/{httpx.__version__}"


@lru_cache(maxsize=256)
def _address(url: str) -> tuple[httpx.URL, tuple[bytes, bytes]]:
    """A URL and its `Host` header: to parse it takes longer than all the rest of a request."""
    parsed = httpx.URL(url)
    return parsed, (b"Host", parsed.netloc)


@lru_cache(maxsize=1)
def tls_context() -> ssl.SSLContext:
    """The process's one TLS context: loading the certificates takes longer than a call."""
    return httpx.create_ssl_context()


# --- what a caller passes as http_client ------------------------------------------------------------------


def sync_way(http_client: object) -> Way | None:
    """What the sync client is to send with.

    Raises:
        TypeError: It is none of what is accepted.
    """
    if http_client is None or isinstance(http_client, (httpx.Client, httpx.BaseTransport)):
        return http_client
    if "httpx2" in sys.modules:
        import httpx2

        if isinstance(http_client, httpx2.Client):
            from .httpx2_clients import Httpx2Transport

            return Httpx2Transport(http_client)
    raise _not_accepted(http_client, "httpx.Client, an httpx2.Client or a transport of httpx")


def async_pool(http_client: object) -> AsyncPool:
    """The connections of an async client.

    Raises:
        ConfigurationError: It is "aiohttp", and that is not installed.
        TypeError: It is none of what is accepted.
    """
    if not isinstance(http_client, str) or http_client != "aiohttp":
        return AsyncPool(async_way(http_client))
    if importlib.util.find_spec("aiohttp") is None:
        raise ConfigurationError(
            "http_client: aiohttp is not installed.", hint="Install it: pip install 'fetch-hive-sdk[aiohttp]'"
        )
    return AiohttpPool(None)


def async_way(http_client: object) -> AsyncWay | None:
    """What the async client is to send with.

    Raises:
        TypeError: It is none of what is accepted.
    """
    if http_client is None or isinstance(http_client, (httpx.AsyncClient, httpx.AsyncBaseTransport)):
        return http_client
    if "httpx2" in sys.modules:
        import httpx2

        if isinstance(http_client, httpx2.AsyncClient):
            from .httpx2_clients import AsyncHttpx2Transport

            return AsyncHttpx2Transport(http_client)
    raise _not_accepted(http_client, 'httpx.AsyncClient, an httpx2.AsyncClient, a transport of httpx, or "aiohttp"')


def _not_accepted(http_client: object, accepted: str) -> TypeError:
    if isinstance(http_client, str) and http_client == "aiohttp":
        return TypeError(f'http_client: "aiohttp" is for AsyncFetchHive. Pass an {accepted}.')
    return TypeError(
        f"http_client: {article(http_client)} of {type(http_client).__module__} is not allowed here. "
        f"Pass an {accepted}; the other client class takes the other kind."
    )


# --- how a request looks --------------------------------------------------------------------------------


def build_request(way: Way | AsyncWay, operation: Operation[Any], settings: Settings, trace: Trace) -> httpx.Request:
    """The request of one attempt.

    Raises:
        InvalidRequestError: Its address is too long for a URL.
    """
    timeouts = _timeouts(settings, streaming=operation.streaming)
    try:
        if isinstance(way, (httpx.Client, httpx.AsyncClient)):
            return _client_request(way, operation, settings, {"timeout": timeouts, "trace": trace})
        traced = getattr(way, "trace_extension", "trace")
        return _direct_request(operation, settings, {"timeout": timeouts, traced: trace})
    except httpx.InvalidURL:  # whose parts have been checked before
        raise InvalidRequestError(
            "An id, the path or params make an address that is too long for a URL.",
            hint="Nothing was sent. Check what was passed for an id.",
        ) from None


def _direct_request(operation: Operation[Any], settings: Settings, extensions: dict[str, Any]) -> httpx.Request:
    """A whole request: a transport adds nothing to it."""
    url, host = _address(settings.base_url + operation.path)
    make: type[httpx.Request] = httpx.Request
    if operation.query:  # not kept: it may have a secret in it
        url, make = url.copy_with(query=operation.query.encode("ascii")), _QuietRequest
    body = operation.body
    headers = [host, *_headers(operation, settings, ("Accept-Encoding", ACCEPT_ENCODING))]
    stream = _Body(body) if isinstance(body, bytes) else body
    headers.extend(_length(operation))
    request = make(operation.method, url, headers=headers, stream=stream, extensions=extensions)
    if isinstance(body, bytes):
        request.read()  # so that errors and mocks can look at its content
    return request


class _QuietRequest(httpx.Request):
    """A request whose `repr` leaves out the query, which may have a secret in it."""

    def __repr__(self) -> str:
        return f"<Request({self.method!r}, {str(self.url.copy_with(query=None))!r})>"


class _Body(httpx.ByteStream):
    """A body of bytes. Its one piece comes from no async generator, as one that is left unfinished is complained of."""

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self._body = body

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Piece(self._body)


class _Piece(AsyncIterator[bytes]):
    def __init__(self, piece: bytes) -> None:
        self._piece: bytes | None = piece

    async def __anext__(self) -> bytes:
        if (piece := self._piece) is None:
            raise StopAsyncIteration
        self._piece = None
        return piece


def _client_request(
    client: httpx.Client | httpx.AsyncClient, operation: Operation[Any], settings: Settings, extensions: dict[str, Any]
) -> httpx.Request:
    """A request on top of what the httpx client itself adds to its requests."""
    body = operation.body
    headers = _headers(operation, settings)
    if not isinstance(body, bytes):
        headers = [*headers, *_length(operation)]
    url = settings.base_url + operation.path
    request = client.build_request(
        operation.method,
        f"{url}?{operation.query}" if operation.query else url,
        # An httpx client with params of its own would put them in the query's place.
        params=operation.query if operation.query and client.params else None,
        content=body or None,
        headers=headers,
        extensions=extensions,
    )
    if not isinstance(body, bytes):
        request.stream = body  # what httpx makes of it cannot be closed
    if operation.query:
        request.__class__ = _QuietRequest
    return request


def _headers(operation: Operation[Any], settings: Settings, *defaults: tuple[str, str]) -> list[tuple[bytes, bytes]]:
    """The headers, but for those of the connection and of the body's length.

    Args:
        operation: The call.
        settings: The client's settings, with which they are kept where they are the same for many calls.
        defaults: Headers that the caller's `default_headers` may replace.
    """
    body = operation.body
    kind = ("headers", operation.streaming, operation.with_key, bool(body), defaults)
    kept = isinstance(body, bytes) and not operation.headers
    if kept and kind in settings.kept:
        found: list[tuple[bytes, bytes]] = settings.kept[kind]
        return found
    named = {name.lower(): (name, value) for name, value in (("User-Agent", USER_AGENT), *defaults)}
    named.update((name.lower(), (name, value)) for name, value in settings.default_headers.items())
    accept = "text/event-stream, application/json" if operation.streaming else "application/json"
    named["accept"] = ("Accept", accept)
    if operation.with_key:
        named["authorization"] = ("Authorization", f"Bearer {settings.api_key}")
    if body:
        content_type = "application/json" if isinstance(body, bytes) else body.content_type
        named["content-type"] = ("Content-Type", content_type)
    named.update((name.lower(), (name, value)) for name, value in operation.headers.items())
    pairs = [(name.encode("ascii"), value.encode("ascii")) for name, value in named.values()]
    if kept:
        settings.kept[kind] = pairs
    return pairs


def _timeouts(settings: Settings, *, streaming: bool) -> dict[str, float | None]:
    kind = ("timeouts", streaming)
    if kind not in settings.kept:
        settings.kept[kind] = settings.phases(streaming=streaming).as_dict()
    timeouts: dict[str, float | None] = settings.kept[kind]
    return timeouts.copy()


def _length(operation: Operation[Any]) -> list[tuple[bytes, bytes]]:
    """How the receiver knows where the body ends."""
    body = operation.body
    length = len(body) if isinstance(body, bytes) else body.length
    if length is None:
        return [(b"Transfer-Encoding", b"chunked")]
    if length or operation.method in ("POST", "PUT", "PATCH"):
        return [(b"Content-Length", b"%d" % length)]
    return []


# --- connections ----------------------------------------------------------------------------------------


class Pool(ABC, Generic[WayT]):
    """The connections of one SDK client and of all its `with_options` copies.

    Own connections are made for the first call and anew after a fork, whose child must not use its parent's
    sockets. A caller's `http_client` is used as it is, and never closed.
    """

    def __init__(self, http_client: WayT | None) -> None:
        self._given = http_client
        # By process, and without a lock: a lock that is held while another thread forks stays held in the child.
        self._own: dict[int, WayT] = {}
        self._closed = False

    @property
    def given(self) -> bool:
        """Whether the connections belong to the caller."""
        return self._given is not None

    def way(self, *, secure: bool = True) -> WayT:
        """What to send the next request to.

        Args:
            secure: Whether it goes to an https address; the certificates are not loaded for others.

        Raises:
            ClientClosedError: It was closed.
            ConfigurationError: The environment names a proxy or certificates that cannot be used.
        """
        way = None if self._closed else self._given or self._own_way(secure)
        if way is None or self._closed or getattr(way, "is_closed", False):
            raise ClientClosedError(
                "The client is closed.", hint="Make a new one, or keep it open while calls and streams are in use."
            )
        return way

    def _own_way(self, secure: bool) -> WayT:
        process = os.getpid()
        if (way := self._own.get(process)) is not None:
            return way
        try:
            with loading:
                codecs.lookup("idna")  # what each host name goes through
                if secure:
                    tls_context()
                built = self._build(proxied=not {"http", "https", "all"}.isdisjoint(urllib.request.getproxies()))
        except (ImportError, OSError, ValueError, httpx.InvalidURL) as error:
            raise ConfigurationError(
                f"The environment's settings of proxies or certificates cannot be used ({type(error).__name__}).",
                hint="Check HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR. "
                "A socks proxy needs: pip install 'httpx[socks]'.",
            ) from error
        # Of two threads that come here at once one keeps its own; the other's has no connection yet.
        return self._own.setdefault(process, built)

    @abstractmethod
    def _build(self, *, proxied: bool) -> WayT:
        """Make the own connections.

        Args:
            proxied: Whether the environment names a proxy.
        """

    def _take_own(self) -> WayT | None:
        """Mark the pool closed and hand out the own connections of this process, for closing."""
        self._closed = True
        return self._own.pop(os.getpid(), None)


class SyncPool(Pool[Way]):
    """Connections for threads."""

    def _build(self, *, proxied: bool) -> Way:
        from .connections import ConnectionPool  # not needed by whoever brings an http_client

        return httpx.Client(verify=tls_context()) if proxied else ConnectionPool(verify=tls_context)

    def close(self) -> None:
        """Close the own connections, if there are any; a second time does nothing."""
        self._closed = True
        if (own := self._own.get(os.getpid())) is not None:
            own.close()
            self._own.pop(os.getpid(), None)  # not before, so that a closing that is interrupted can be done again


class AsyncPool(Pool[AsyncWay]):
    """Connections for the tasks of one event loop."""

    _loop: object = None

    def _build(self, *, proxied: bool) -> AsyncWay:
        from .async_connections import AsyncConnectionPool  # it loads anyio, which the sync client does without

        return httpx.AsyncClient(verify=tls_context()) if proxied else AsyncConnectionPool(verify=tls_context)

    def way(self, *, secure: bool = True) -> AsyncWay:
        self._check_loop()
        return super().way(secure=secure)

    def _check_loop(self) -> None:
        import anyio.lowlevel  # the sync client does without

        loop = anyio.lowlevel.current_token()
        if self._loop is None:
            self._loop = loop
        elif self._loop != loop:
            raise ClientClosedError(
                "This AsyncFetchHive was first used in another event loop, and its connections live there.",
                hint="Make one client per event loop: `async with AsyncFetchHive() as client:` inside asyncio.run().",
            )

    async def aclose(self) -> None:
        """Close the own connections, if there are any; a second time does nothing."""
        if self._own:
            self._check_loop()
        if (own := self._take_own()) is not None:
            await own.aclose()


class AiohttpPool(AsyncPool):
    """The same, made by aiohttp; a class of its own, so that a pickled client keeps the choice."""

    def _build(self, *, proxied: bool) -> AsyncWay:
        from .aiohttp_connections import AiohttpTransport  # it is an extra

        return AiohttpTransport(verify=tls_context)
