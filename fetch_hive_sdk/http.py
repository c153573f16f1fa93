"""Builds, accepts, shares and closes the httpx clients; the only place that knows how a request looks."""

from __future__ import annotations

import os
import platform
import ssl
from abc import ABC, abstractmethod
from functools import lru_cache
from typing import Any, Generic, TypeVar, Union

import anyio.lowlevel
import httpx

from .deadlines import Trace
from .errors import ClientClosedError, ConfigurationError
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
    client: httpx.Client | httpx.AsyncClient, operation: Operation[Any], settings: Settings, trace: Trace
) -> httpx.Request:
    """The request of one attempt, on top of what the httpx client itself adds to its requests."""
    headers = httpx.Headers({"User-Agent": USER_AGENT})
    headers.update(settings.default_headers)
    headers["Accept"] = "text/event-stream, application/json" if operation.streaming else "application/json"
    if operation.with_key:
        headers["Authorization"] = f"Bearer {settings.api_key}"
    headers.update(operation.headers)
    body = operation.body
    if isinstance(body, bytes):
        if body:
            headers["Content-Type"] = "application/json"
    else:
        headers["Content-Type"] = body.content_type
        if body.length is not None:
            headers["Content-Length"] = str(body.length)
    url = settings.base_url + operation.path
    request = client.build_request(
        operation.method,
        f"{url}?{operation.query}" if operation.query else url,
        # An httpx client with params of its own would put them in the query's place.
        params=operation.query if operation.query and client.params else None,
        content=body or None,
        headers=headers,
        timeout=settings.phases(streaming=operation.streaming),
        extensions={"trace": trace},
    )
    if not isinstance(body, bytes):
        request.stream = body  # what httpx makes of it cannot be closed
    return request


class Pool(ABC, Generic[ClientT]):
    """The connections of one SDK client and of all its `with_options` copies.

    An own httpx client is built at the first call and anew after a fork, whose child must not use its
    parent's sockets. A caller's `http_client` is used as it is, and never closed.
    """

    def __init__(self, http_client: ClientT | None) -> None:
        self._given = http_client
        # By process, and without a lock: a lock that is held while another thread forks stays held in the child.
        self._own: dict[int, ClientT] = {}
        self._closed = False

    @property
    def given(self) -> bool:
        """Whether the httpx client belongs to the caller."""
        return self._given is not None

    def client(self) -> ClientT:
        """The httpx client to send with.

        Raises:
            ClientClosedError: It was closed.
            ConfigurationError: The environment names a proxy or certificates that cannot be used.
        """
        client = None if self._closed else self._given or self._own_client()
        if client is None or self._closed or client.is_closed:
            raise ClientClosedError(
                "The client is closed.", hint="Make a new one, or keep it open while calls and streams are in use."
            )
        return client

    def _own_client(self) -> ClientT:
        process = os.getpid()
        if (client := self._own.get(process)) is not None:
            return client
        try:
            built = self._build()
        except (ImportError, OSError, ValueError, httpx.InvalidURL) as error:
            raise ConfigurationError(
                f"The environment's settings of proxies or certificates cannot be used ({type(error).__name__}).",
                hint="Check HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR. "
                "A socks proxy needs: pip install 'httpx[socks]'.",
            ) from error
        # Of two threads that come here at once one keeps its client; the other's has no connection yet.
        return self._own.setdefault(process, built)

    @abstractmethod
    def _build(self) -> ClientT:
        """Make the own httpx client."""

    def _take_own(self) -> ClientT | None:
        """Mark the pool closed and hand out the own client of this process, for closing."""
        self._closed = True
        return self._own.pop(os.getpid(), None)


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
        self._check_loop()
        return super().client()

    def _check_loop(self) -> None:
        loop = anyio.lowlevel.current_token()
        if self._loop is None:
            self._loop = loop
        elif self._loop != loop:
            raise ClientClosedError(
                "This AsyncFetchHive was first used in another event loop, and its connections live there.",
                hint="Make one client per event loop: `async with AsyncFetchHive() as client:` inside asyncio.run().",
            )

    async def aclose(self) -> None:
        """Close the own httpx client, if there is one; a second time does nothing."""
        if self._own:
            self._check_loop()
        if (own := self._take_own()) is not None:
            await own.aclose()
