"""Lets a caller's `httpx2` client carry the requests: to the rest of the SDK it is one more transport of httpx.

httpx2 continues httpx under another name, so that its errors are no errors of httpx. Each comes out as httpx's error
of the same name, with its own as the cause. What the client adds to its requests, its hooks, its proxies and its
authentication stay in force.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from functools import lru_cache
from typing import Any, Union, cast

import httpx
import httpx2

from .http_clients import ACCEPT_ENCODING

__all__ = ["AsyncHttpx2Transport", "Httpx2Transport"]

_Client = Union[httpx2.Client, httpx2.AsyncClient]

_OURS = (httpx2.RequestError, httpx2.InvalidURL, httpx2.StreamError)
_BUILDERS = (httpx2.Client.build_request, httpx2.AsyncClient.build_request)

_ACCEPT_ENCODING = (b"Accept-Encoding", ACCEPT_ENCODING.encode())

_url = lru_cache(maxsize=256)(httpx2.URL)


class Httpx2Transport(httpx.BaseTransport):
    """Sends requests with an `httpx2.Client`, which stays its owner's: it is never closed here."""

    def __init__(self, client: httpx2.Client) -> None:
        self._client = client

    @property
    def is_closed(self) -> bool:
        """Whether its owner has closed it."""
        return self._client.is_closed

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request of httpx, and answer with a response of httpx."""
        sent = _request(self._client, request)
        try:
            response = self._client.send(sent, stream=True, follow_redirects=False)
        except _OURS as error:
            raise _error_of_sending(error, sent) from error
        return _response(response, _Body(response))


class AsyncHttpx2Transport(httpx.AsyncBaseTransport):
    """Sends requests with an `httpx2.AsyncClient`, which stays its owner's: it is never closed here."""

    # httpx2 gives connections back without waiting, so that a bare `Task.cancel` can do no harm.
    withstands_cancellation = True

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self._client = client

    @property
    def is_closed(self) -> bool:
        """Whether its owner has closed it."""
        return self._client.is_closed

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request of httpx, and answer with a response of httpx."""
        sent = _request(self._client, request)
        try:
            response = await self._client.send(sent, stream=True, follow_redirects=False)
        except _OURS as error:
            raise _error_of_sending(error, sent) from error
        return _response(response, _AsyncBody(response))


# --- what is sent ---------------------------------------------------------------------------------------


def _request(client: _Client, request: httpx.Request) -> httpx2.Request:
    """The same request with what the client adds to its own."""
    if client.params or client.cookies or type(client).build_request not in _BUILDERS:
        return _built_request(client, request)
    stream = request.stream
    url = str(request.url)
    return httpx2.Request(
        request.method,
        httpx2.URL(url) if request.url.query else _url(url),  # not kept: it may have a secret in it
        headers=_merged(client, request),
        stream=httpx2.ByteStream(request.content) if isinstance(stream, httpx.ByteStream) else _Upload(stream),
        extensions=request.extensions,
    )


def _built_request(client: _Client, request: httpx.Request) -> httpx2.Request:
    written = isinstance(request.stream, httpx.ByteStream)
    query = request.url.query.decode("ascii")
    sent = client.build_request(
        request.method,
        str(request.url),
        # A client with params of its own would put them in the query's place.
        params=query if query and client.params else None,
        content=request.content if written else None,
        headers=_merged(client, request),
        extensions=request.extensions,
    )
    if not written:
        sent.stream = _Upload(request.stream)
    return sent


def _merged(client: _Client, request: httpx.Request) -> list[tuple[bytes, bytes]]:
    """The request's headers, and those of the client that it lacks."""
    merged, theirs = request.headers.raw, client.headers
    if _ACCEPT_ENCODING in merged and "Accept-Encoding" in theirs:
        merged.remove(_ACCEPT_ENCODING)  # what is accepted is for the one to say who decodes
    names = {name.lower() for name, _ in merged}
    merged.extend(pair for pair in theirs.raw if pair[0].lower() not in names)
    return merged


class _Upload(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """The body of an upload, under the class that httpx2 asks for."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._body)


# --- what comes back ------------------------------------------------------------------------------------


def _response(response: httpx2.Response, body: Any) -> httpx.Response:
    headers = response.headers.raw
    if not _as_it_came(response):
        headers = [(name, value) for name, value in headers if name.lower() != b"content-encoding"]
    return httpx.Response(response.status_code, headers=headers, stream=body, extensions=response.extensions)


def _as_it_came(response: httpx2.Response) -> bool:
    """Whether the body can be handed on without httpx2's help: it is not encoded, and no hook has read it."""
    return "Content-Encoding" not in response.headers and not response.is_stream_consumed


class _Body(httpx.SyncByteStream):
    def __init__(self, response: httpx2.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        plain = _as_it_came(self._response)
        try:
            yield from cast("Iterable[bytes]", self._response.stream) if plain else self._response.iter_bytes()
        except _OURS as error:
            raise _error_of_httpx(error) from error

    def close(self) -> None:
        self._response.close()


class _AsyncBody(httpx.AsyncByteStream):
    def __init__(self, response: httpx2.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        plain = _as_it_came(self._response)
        parts = cast("httpx2.AsyncByteStream", self._response.stream) if plain else self._response.aiter_bytes()
        try:
            async for part in parts:
                yield part
        except _OURS as error:
            raise _error_of_httpx(error) from error

    async def aclose(self) -> None:
        await self._response.aclose()


# --- errors ---------------------------------------------------------------------------------------------


def _error_of_sending(error: Exception, request: httpx2.Request) -> Exception:
    """The error of httpx of the same name; a hook's own, perhaps of a call to somewhere else, stays what it is."""
    if isinstance(error, httpx2.RequestError) and not _is_about(error, request):
        return error
    return _error_of_httpx(error)


def _is_about(error: httpx2.RequestError, request: httpx2.Request) -> bool:
    try:
        return error.request is request
    except RuntimeError:  # raised without one, as a hook does
        return False


def _error_of_httpx(error: Exception) -> Exception:
    if isinstance(error, httpx2.StreamError):  # of which some take no text
        return httpx.StreamError(str(error))
    return cast("Exception", _same_named(cast("Any", type(error)))(str(error)))


@lru_cache(maxsize=32)
def _same_named(cls: Any) -> Any:
    """The class of httpx of that name, or of the nearest base that it knows."""
    return next(known for base in cls.__mro__ if (known := getattr(httpx, base.__name__, None)) is not None)
