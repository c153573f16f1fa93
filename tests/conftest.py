"""What the tests share: a clean environment, and one way to write a test for both clients."""

from __future__ import annotations

import gc
import importlib
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from typing_extensions import Self

from fetch_hive_sdk import AsyncFetchHive, FetchHive

from .faulty_server import FaultyServer

# Measured for coverage are the tests' own processes, not the programs they start, which would only be slowed down.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.pop("COVERAGE_PROCESS_CONFIG", None)


def pytest_collection_finish() -> None:
    """Leave all that is loaded out of the collections of garbage, of which some tests ask for hundreds."""
    importlib.import_module("hypothesis")  # it has trio register its random numbers, and would miss them frozen
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees a key, an address or a proxy of the machine it runs on."""
    ours = ("FETCH_HIVE_API_KEY", "FETCH_HIVE_BASE_URL", "FETCH_HIVE_LOG", "FETCH_HIVE_WORKSPACE_ID")
    for name in (*ours, "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(params=["sync", "asyncio", "trio"])
def flavor(request: pytest.FixtureRequest) -> str:
    """Which client a test of both runs with: the sync one, or the async one on asyncio and on trio."""
    return request.param


@pytest.fixture
def anyio_backend(flavor: str) -> str:
    """The event loop of an `anyio` test."""
    return "trio" if flavor == "trio" else "asyncio"


@pytest.fixture
def faulty() -> Iterator[FaultyServer]:
    """A server on a real socket that does as it is told, wrong things included."""
    with FaultyServer() as server:
        yield server


@pytest.fixture
def make_client(flavor: str) -> Iterator[Callable[..., Any]]:
    """Make a client of the test's flavor; its calls are awaited and its streams are async, whichever it is."""
    with ExitStack() as stack:

        def make(**options: Any) -> Any:
            options = {"api_key": "fhk_test", **options}
            if flavor == "sync":
                return Awaited(stack.enter_context(FetchHive(**options)))
            return AsyncFetchHive(**options)

        yield make


@pytest.fixture(params=["own", "httpx"])
async def connections(request: pytest.FixtureRequest, flavor: str) -> AsyncIterator[dict[str, Any]]:
    """What a client is made with to have connections of its own, and to have those of a caller's httpx client."""
    if request.param == "own":
        yield {}
    elif flavor == "sync":
        with httpx.Client() as given:
            yield {"http_client": given}
    else:
        async with httpx.AsyncClient() as given_async:
            yield {"http_client": given_async}


class Awaited:
    """The sync client under the async client's surface, so that one test shows both."""

    def __init__(self, client: FetchHive) -> None:
        self.client = client

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.client, name)
        if name.endswith("_stream"):
            return lambda **arguments: AwaitedStream(method(**arguments))
        if name == "with_options":
            return lambda **options: Awaited(method(**options))
        return awaited(method)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.client.close()

    async def aclose(self) -> None:
        self.client.close()


def awaited(member: Any) -> Any:
    """A sync method as an async one, and a resource as the async client has it."""
    if not callable(member):
        return AwaitedResource(member)

    async def call(*ids: Any, **arguments: Any) -> Any:
        return member(*ids, **arguments)

    return call


class AwaitedResource:
    """A resource of the sync client under the surface of the async one's."""

    def __init__(self, resource: Any) -> None:
        self.resource = resource

    def __getattr__(self, name: str) -> Any:
        return awaited(getattr(self.resource, name))

    async def iterate(self, **arguments: Any) -> AsyncIterator[Any]:
        for item in self.resource.iterate(**arguments):
            yield item


class AwaitedStream:
    """The sync stream under the async stream's surface."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    async def __aenter__(self) -> Self:
        self.stream.__enter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stream.close()

    def __aiter__(self) -> AwaitedStream:
        return self

    async def __anext__(self) -> Any:
        try:
            return next(self.stream)
        except StopIteration:
            raise StopAsyncIteration from None

    @property
    async def text(self) -> AsyncIterator[str]:
        for piece in self.stream.text:
            yield piece

    async def final(self) -> Any:
        return self.stream.final()

    async def aclose(self) -> None:
        self.stream.close()
