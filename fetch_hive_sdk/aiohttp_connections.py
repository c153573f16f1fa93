"""Connections of aiohttp, which cost a call least: to the rest of the SDK they are one more transport of httpx.

aiohttp connects, sends, reads and keeps connections. What it would do beyond that is switched off or caught: it adds
no headers, keeps no cookies, follows no redirects and sends nothing a second time. Its errors come out as httpx's, and
exactly: one that says "never sent" comes from the connector alone, which had no connection to send on.
"""

from __future__ import annotations

import asyncio
import select
import ssl
import urllib.request
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from functools import lru_cache
from typing import Any, cast
from weakref import WeakSet

import aiohttp
import anyio
import httpx
from typing_extensions import Self
from yarl import URL

from .errors import ConfigurationError

__all__ = ["AiohttpTransport"]

MAX_CONNECTIONS = 1000
KEEPALIVE_EXPIRY = 5.0
# Bytes of one header line.
MAX_LINE = 64 * 1024
# Bytes of a body that the system takes at once, so that writing them cannot wait for the other side.
WRITTEN_AT_ONCE = 32 * 1024

# What aiohttp would send of its own accord.
_ITS_HEADERS = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Sends requests with aiohttp, on asyncio only, by the environment's proxies, which have to be http ones.

    It belongs to the event loop of its first request.

    Args:
        verify: Makes the TLS context, at the first https request.
        max_connections: How many requests are under way at once; one beyond it waits, in the order of arrival, as
            long as its pool timeout says.

    Raises:
        ConfigurationError: By a request: the event loop is not asyncio's, or the environment names a proxy of
            another kind.
        RuntimeError: By a request, after `aclose`.
    """

    # Whatever is broken off is closed at once, without waiting, so that a bare `Task.cancel` can do no harm.
    withstands_cancellation = True

    def __init__(
        self, *, verify: Callable[[], ssl.SSLContext] = httpx.create_ssl_context, max_connections: int = MAX_CONNECTIONS
    ) -> None:
        self._verify = lru_cache(maxsize=1)(verify)
        self._max_connections = max_connections
        self._session: aiohttp.ClientSession | None = None
        self._proxies: dict[str, URL] = {}
        self._closed = False

    @property
    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; the response is still to be read or closed."""
        session = self._session or self._open()
        url, timeouts = request.url, request.extensions.get("timeout", {})
        options: dict[str, Any] = {"ssl": self._verify()} if url.scheme == "https" else {}
        if self._proxies and (proxy := self._proxies.get(url.scheme)) and not _bypassed(url):
            options["proxy"] = proxy
        body, upload = _body_of(request, timeouts.get("write"))
        sending = session.request(
            request.method,
            URL(str(url), encoded=True),
            headers=_headers_of(request),
            data=body,
            allow_redirects=False,
            timeout=_timeouts(timeouts.get("pool"), timeouts.get("connect"), timeouts.get("read")),
            **options,
        )
        try:
            response = await (sending if upload is None else upload.sent_with(sending))
        except Exception as error:
            if upload is not None and error is upload.error:
                raise
            raise _not_whole(error) from error
        return httpx.Response(
            response.status,
            headers=response.raw_headers,
            stream=_Body(response, timeouts.get("read"), upload),
            extensions={
                "http_version": b"HTTP/1.0" if response.version == aiohttp.HttpVersion10 else b"HTTP/1.1",
                "reason_phrase": (response.reason or "").encode("utf-8", "surrogateescape"),
            },
        )

    def _open(self) -> aiohttp.ClientSession:
        if self._closed:
            raise RuntimeError("The connections of aiohttp are closed: nothing can be sent any more.")
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise ConfigurationError(
                "http_client: aiohttp works on asyncio alone, and this is another event loop.",
                hint="Leave http_client= out: the SDK's own connections work on trio too.",
            ) from None
        self._proxies = _environment_proxies()
        self._session = aiohttp.ClientSession(
            connector=_Connector(self._max_connections),
            response_class=_Response,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=_ITS_HEADERS,
            auto_decompress=False,
            max_line_size=MAX_LINE,
            max_field_size=MAX_LINE,
        )
        return self._session

    async def aclose(self) -> None:
        """Close the connections, those in use too; a second time does nothing."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            cast("_Connector", session.connector).abort()
            await session.close()


# --- what is sent ---------------------------------------------------------------------------------------


def _headers_of(request: httpx.Request) -> list[tuple[str, str]]:
    return [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in request.headers.raw
        if name.lower() != b"transfer-encoding"  # aiohttp writes it itself
    ]


def _body_of(request: httpx.Request, write_timeout: float | None) -> tuple[bytes | _Upload | None, _Upload | None]:
    try:
        content = request.content
    except httpx.RequestNotRead:
        upload = _Upload(aiter(cast("httpx.AsyncByteStream", request.stream)), write_timeout)
        return upload, upload
    if len(content) <= WRITTEN_AT_ONCE:
        return content or None, None
    upload = _Upload(_in_pieces(content), write_timeout)
    return upload, upload


async def _in_pieces(content: bytes) -> AsyncGenerator[bytes, None]:
    for start in range(0, len(content), WRITTEN_AT_ONCE):
        yield content[start : start + WRITTEN_AT_ONCE]


class _Upload(AsyncIterator[bytes]):
    """A body that aiohttp asks for piece by piece, with what aiohttp lacks: a bound on writing, and an orderly end.

    Attributes:
        error: What reading the body failed with. aiohttp takes it for a broken connection.
    """

    error: Exception | None = None

    def __init__(self, pieces: AsyncIterator[bytes], write_timeout: float | None) -> None:
        self._pieces = pieces
        self._write_timeout = write_timeout
        self._scope = anyio.CancelScope()
        self._timer: asyncio.TimerHandle | None = None
        self._step: asyncio.Future[bytes] | None = None

    async def sent_with(self, sending: Awaitable[aiohttp.ClientResponse]) -> aiohttp.ClientResponse:
        """Await the response to the request whose body this is."""
        failure: Exception | None = None
        try:
            with self._scope:
                return await sending
        except Exception as error:
            failure = error
        except BaseException:
            await self.end()
            raise
        await self.end()
        raise self.error or failure or httpx.WriteTimeout("The other side took nothing of the body in time.")

    async def __anext__(self) -> bytes:
        self._stop_timer()
        # In a task of its own, because aiohttp's is cancelled without being waited for: a thread may be reading.
        self._step = asyncio.ensure_future(anext(self._pieces))
        try:
            piece = await asyncio.shield(self._step)
        except StopAsyncIteration:
            raise
        except Exception as error:
            self.error = error
            raise
        if self._write_timeout is not None:
            self._timer = asyncio.get_running_loop().call_later(self._write_timeout, self._scope.cancel)
        return piece

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    async def end(self) -> None:
        """Wait until nothing reads the body any more."""
        self._stop_timer()
        cancelled: asyncio.CancelledError | None = None
        while self._step is not None and not self._step.done():
            try:
                await asyncio.wait((self._step,))
            except asyncio.CancelledError as error:  # the reading of one piece goes before
                cancelled = error
        if self._step is not None:
            _ = self._step.cancelled() or self._step.exception()  # or asyncio complains that nobody looked
        if (close := getattr(self._pieces, "aclose", None)) is not None:
            await close()
        if cancelled is not None:
            raise cancelled


@lru_cache(maxsize=64)
def _timeouts(pool: float | None, connect: float | None, read: float | None) -> aiohttp.ClientTimeout:
    """The timeouts as `_Connector` reads them: `connect` is the wait for a place, `sock_connect` all of connecting."""
    return aiohttp.ClientTimeout(
        total=None, connect=_seconds(pool), sock_connect=_seconds(connect), sock_read=_seconds(read)
    )


@lru_cache(maxsize=64)
def _connect_timeout(seconds: float | None) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, connect=seconds)


def _seconds(timeout: float | None) -> float | None:
    return None if timeout is None else max(timeout, 0.001)  # 0 is no timeout to aiohttp


# --- the proxies of the environment ---------------------------------------------------------------------


def _environment_proxies() -> dict[str, URL]:
    """The proxy for each scheme that has one."""
    named = urllib.request.getproxies()
    proxies: dict[str, URL] = {}
    for scheme in ("http", "https"):
        if address := named.get(scheme) or named.get("all"):
            proxies[scheme] = _proxy(address)
    return proxies


def _proxy(address: str) -> URL:
    try:
        proxy = URL(address if "://" in address else f"http://{address}")
    except ValueError:
        proxy = URL()
    if proxy.scheme != "http" or not proxy.host:
        kind = proxy.scheme or "broken"
        raise ConfigurationError(
            f"http_client: aiohttp cannot use the environment's {kind} proxy, only http:// ones.",
            hint="Check HTTP_PROXY, HTTPS_PROXY and ALL_PROXY, or leave http_client= out.",
        )
    return proxy


def _bypassed(url: httpx.URL) -> bool:
    return bool(urllib.request.proxy_bypass(url.netloc.decode("ascii")))


# --- connections ----------------------------------------------------------------------------------------


class _Connector(aiohttp.TCPConnector):
    """Gives a connection that a request can surely be sent on, or raises an error that says "never sent"."""

    def __init__(self, places: int) -> None:
        super().__init__(limit=0, keepalive_timeout=KEEPALIVE_EXPIRY)  # pyright: ignore[reportUnknownMemberType]
        self._places = asyncio.Semaphore(places)  # aiohttp's own limit cannot tell waiting from connecting
        self._known: WeakSet[Any] = WeakSet()

    async def connect(self, req: aiohttp.ClientRequest, traces: Any, timeout: aiohttp.ClientTimeout) -> Any:  # noqa: ASYNC109 - as aiohttp has it
        await self._take_place(timeout.connect)
        try:
            while True:
                connection = await super().connect(req, traces, _connect_timeout(timeout.sock_connect))
                protocol = connection.protocol
                if protocol not in self._known:
                    self._known.add(protocol)
                    break
                # A kept one: an answer to nothing is there, or the server has closed it and the loop did not see it.
                if not (cast("Any", protocol).should_close or _is_readable(connection.transport)):
                    break
                connection.close()
        except BaseException as error:
            self._places.release()
            if isinstance(error, Exception):
                raise _not_sent(error) from error
            raise
        connection.add_callback(self._places.release)  # at its end, however that comes
        return connection

    def abort(self) -> None:
        """Close all connections at once: an older aiohttp leaves TLS waiting for the server's goodbye."""
        for protocol in list(self._known):
            _abort(protocol)

    async def _take_place(self, patience: float | None) -> None:
        if not self._places.locked():
            await self._places.acquire()  # without waiting
            return
        with anyio.move_on_after(patience):
            await self._places.acquire()
            return
        raise httpx.PoolTimeout("No connection got free in time.")


def _is_readable(transport: Any) -> bool:
    descriptor = transport.get_extra_info("socket").fileno()
    if not hasattr(select, "poll"):
        return bool(select.select([descriptor], [], [], 0)[0])
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


# --- what comes back ------------------------------------------------------------------------------------


class _Response(aiohttp.ClientResponse):
    """aiohttp sends GET, PUT and DELETE once more where it learns of a broken connection: here it learns of none."""

    async def start(self, connection: Any) -> Any:
        try:
            await super().start(connection)
        except BaseException as error:
            _abort(connection)
            if isinstance(error, Exception):
                raise _not_whole(error) from error
            raise
        if connection.protocol is not None:  # the body is still to come, and _Body bounds the waits for it
            connection.protocol.read_timeout = None
            connection.protocol.start_timeout()
        return self


class _Body(httpx.AsyncByteStream, AsyncIterator[bytes]):
    """A response's body as it comes in. Read to its end, its connection is kept; closed before, that is closed too.

    Only waiting counts for the read timeout, and not how long the reader takes, as in httpx.
    """

    def __init__(self, response: aiohttp.ClientResponse, read_timeout: float | None, upload: _Upload | None) -> None:
        self._response = response
        self._content = response.content
        self._read_timeout = read_timeout
        self._upload = upload

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            data = self._arrived() or await self._next()
        except Exception as error:
            raise _not_whole(error) from error
        if not data:
            raise StopAsyncIteration
        return data

    def _arrived(self) -> bytes:
        """What is there already. Of a broken answer too: aiohttp would raise first, and what came be lost."""
        broken = self._content.exception()
        if broken is None:
            return self._content.read_nowait()
        self._content.set_exception(cast("Any", None))
        try:
            if data := self._content.read_nowait():
                return data
        finally:
            self._content.set_exception(broken)
        raise broken

    async def _next(self) -> bytes:
        if self._read_timeout is None or self._content.at_eof():
            return await self._content.readany()
        late = asyncio.TimeoutError()
        timer = asyncio.get_running_loop().call_later(self._read_timeout, self._content.set_exception, late)
        try:
            return await self._content.readany()
        finally:
            timer.cancel()

    async def aclose(self) -> None:
        _abort(self._response.connection)
        self._response.close()
        if self._upload is not None:
            await self._upload.end()


def _abort(connection: Any) -> None:
    """Close a connection without what is still to be written on it, for which closing alone would wait."""
    if connection is not None and connection.transport is not None:
        connection.transport.abort()


# --- errors ---------------------------------------------------------------------------------------------


def _not_sent(error: Exception) -> httpx.TransportError:
    """The error of a connector: nothing of the request was sent."""
    if isinstance(error, asyncio.TimeoutError):
        return httpx.ConnectTimeout("The connection was not there in time.")
    if isinstance(error, aiohttp.ClientHttpProxyError):  # whose own text shows the proxy's address, with its password
        return httpx.ProxyError(f"{error.status} {error.message}")
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return httpx.ProxyError(str(error.os_error))
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return httpx.ConnectError(str(error.certificate_error))
    if isinstance(error, aiohttp.ClientConnectorError):
        return httpx.ConnectError(str(error.os_error))
    return httpx.ConnectError(type(error).__name__)


def _not_whole(error: Exception) -> Exception:
    """The error of a request that was or could have been sent; the connector's stay what they are."""
    if isinstance(error, httpx.TransportError):
        return error
    if isinstance(error, (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError)):  # found before anything is sent
        return httpx.UnsupportedProtocol("aiohttp takes only http:// and https:// addresses with a host.")
    if isinstance(error, asyncio.TimeoutError):
        return httpx.ReadTimeout("Nothing came in time.")
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return httpx.RemoteProtocolError("The server disconnected without sending a response.")
    if isinstance(error, aiohttp.ClientResponseError):  # whose own text shows the address
        return httpx.RemoteProtocolError(error.message)
    if isinstance(error, aiohttp.ClientPayloadError):
        return httpx.RemoteProtocolError(str(error))
    if isinstance(error, (aiohttp.ClientError, OSError)):
        return httpx.ReadError(str(error))
    if isinstance(error, ValueError):  # a header that cannot be written
        return httpx.LocalProtocolError(type(error).__name__)
    return httpx.RemoteProtocolError(type(error).__name__)
