"""What is accepted as `http_client=`: clients and transports of httpx, and clients of httpx2.

httpx2 need not be installed, so that its clients are described here by what makes them clients.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Literal, Protocol, Union

import httpx

__all__ = ["ACCEPT_ENCODING", "AsyncHTTPClient", "AsyncHttpx2Client", "HTTPClient", "Httpx2Client"]

# What every httpx can decode.
ACCEPT_ENCODING = "gzip, deflate"


class Httpx2Client(Protocol):
    """An `httpx2.Client`."""

    @property
    def is_closed(self) -> bool:
        """Whether its owner has closed it."""
        ...

    def build_request(self, method: str, url: Any, /) -> Any:
        """A request with what the client adds to it."""
        ...

    def send(self, request: Any, /) -> Any:
        """Send it."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


class AsyncHttpx2Client(Protocol):
    """An `httpx2.AsyncClient`."""

    @property
    def is_closed(self) -> bool:
        """Whether its owner has closed it."""
        ...

    def build_request(self, method: str, url: Any, /) -> Any:
        """A request with what the client adds to it."""
        ...

    def send(self, request: Any, /) -> Awaitable[Any]:
        """Send it."""
        ...

    def aclose(self) -> Awaitable[None]:
        """Close it."""
        ...


HTTPClient = Union[httpx.Client, httpx.BaseTransport, Httpx2Client]
AsyncHTTPClient = Union[httpx.AsyncClient, httpx.AsyncBaseTransport, AsyncHttpx2Client, Literal["aiohttp"]]
