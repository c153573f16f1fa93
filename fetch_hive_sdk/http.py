"""Builds, accepts, shares and closes the httpx clients; the only place that knows how a request looks."""

from __future__ import annotations

import os
import platform
import ssl
import threading
from abc import ABC, abstractmethod
from functools import lru_cache
from typing import Any, Generic, TypeVar, Union

import anyio.lowlevel
import httpx

from .errors import ClientClosedError
from .operations import Operation
from .settings import Settings
from .version import VERSION

__all__ = ["AsyncPool", "Pool", "SyncPool", "build_request"]

ClientT = TypeVar("ClientT", bound=Union[httpx.Client, httpx.AsyncClient])

USER_AGENT = f"fetch-hive-sdk/{VERSION} python/{platform.python_version()} httpx/{httpx.__version__}"


@lru_cache(maxsize=1)
def tls_context() -> ssl.SSLContext:
    """The process's one TLS context: loading the certificates takes longer than a call."""
    return httpx.create_ssl_context()


def build_request(
    client: httpx.Client | httpx.AsyncClient, operation: Operation[Any], settings: Settings
) -> httpx.Request:
    """The request of one attempt, on top of what the httpx client itself adds to its requests."""
    headers = httpx.Headers({"User-Agent": USER_AGENT})
    headers.update(settings.default_headers)
    headers["Accept"] = "text/event-stream, application/json" if operation.streaming else "application/json"
    headers["Authorization"] = f"Bearer {settings.api_key}"
    headers["Content-Type"] = "application/json"
    return client.build_request(
        operation.method,
        settings.base_url + operation.path,
        content=operation.body,
        headers=headers,
        timeout=settings.phases(streaming=operation.streaming),
    )


class Pool(ABC, Generic[ClientT]):
    """The connections of one SDK client and of all its `with_options` copies.

    An own httpx client is built at the first call and anew after a fork, whose child must not use its
    parent's sockets. A caller's `http_client` is used as it is, and never closed.
    """

    def __init__(self, http_client: ClientT | None) -> None:
        self._lock = threading.Lock()
        self._given = http_client
        self._own: ClientT | None = None
        self._process = 0
        self._closed = False

    @property
    def given(self) -> bool:
        """Whether the httpx client belongs to the caller."""
        return self._given is not None

    def client(self) -> ClientT:
        """The httpx client to send with.

        Raises:
            ClientClosedError: It was closed.
        """
        client = self._given or self._own_client()
        if self._closed or client.is_closed:
            raise ClientClosedError(
                "The client is closed.", hint="Make a new one, or keep it open while calls and streams are in use."
            )
        return client

    def _own_client(self) -> ClientT:
        with self._lock:
            if self._own is None or self._process != os.getpid():
                self._own, self._process = self._build(), os.getpid()
            return self._own

    @abstractmethod
    def _build(self) -> ClientT:
        """Make the own httpx client."""

    def _take_own(self) -> ClientT | None:
        """Mark the pool closed and hand out the own client of this process, for closing."""
        self._closed = True
        own, self._own = self._own, None
        return own if self._process == os.getpid() else None


class SyncPool(Pool[httpx.Client]):
    """Connections for threads."""

    def _build(self) -> httpx.Client:
        return httpx.Client(verify=tls_context())

    def close(self) -> None:
        """Close the own httpx client, if there is one; a second time does nothing."""
        if (own := self._take_own()) is not None:
            own.close()


class AsyncPool(Pool[httpx.AsyncClient]):
    """Connections for the tasks of one event loop."""

    _loop: object = None

    def _build(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(verify=tls_context())

    def client(self) -> httpx.AsyncClient:
        loop = anyio.lowlevel.current_token()
        if self._loop is None:
            self._loop = loop
        elif self._loop != loop:
            raise ClientClosedError(
                "This AsyncFetchHive was first used in another event loop, and its connections live there.",
                hint="Make one client per event loop: `async with AsyncFetchHive() as client:` inside asyncio.run().",
            )
        return super().client()

    async def aclose(self) -> None:
        """Close the own httpx client, if there is one; a second time does nothing."""
        if (own := self._take_own()) is not None:
            await own.aclose()
