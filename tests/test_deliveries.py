"""Deliveries: each event is handled once and none is lost, whatever fails, and each store keeps what it is told."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import os
import re
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from time import monotonic
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from fetch_hive_sdk import (
    SIGNATURE_HEADER,
    AsyncDeliveries,
    AsyncDeliveryStore,
    CallbackEvent,
    CallbackVerifier,
    ConfigurationError,
    Deliveries,
    DeliveryInProgressError,
    DeliveryStore,
    InvalidRequestError,
    MemoryDeliveryStore,
    SQLiteDeliveryStore,
)
from trust.callbacks import times_handled

from .test_docs import blocks_of

VERIFIER = CallbackVerifier("whsec_test")
DAY = 24 * 3600.0


def event_from(fields: object) -> CallbackEvent:
    """The event that a signed callback with these fields makes."""
    body = json.dumps(fields).encode()
    return VERIFIER.unwrap(body, {SIGNATURE_HEADER: VERIFIER.sign(body)})


def completed(request_id: str = "req_1") -> CallbackEvent:
    return event_from({"event_type": "workflow.completed", "request_id": request_id, "data": {"output": "Brief"}})


class Clock:
    """The time that stores see, in place of the real one."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("fetch_hive_sdk.delivery_stores.monotonic", clock)
    monkeypatch.setattr("fetch_hive_sdk.delivery_stores.time", clock)
    return clock


# --- a Redis that fits in a page ------------------------------------------------------------------------


class FakeRedis:
    """The three commands that the documented store uses, as `redis.Redis(decode_responses=True)` answers them."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._values: dict[str, tuple[str, float]] = {}

    def _get(self, name: str) -> str | None:
        value, until = self._values.get(name, (None, 0.0))
        return value if self._clock() < until else None

    def set(self, name: str, value: str, *, px: int, nx: bool = False, get: bool = False) -> str | bool | None:
        assert isinstance(px, int)
        before = self._get(name)
        if not (nx and before is not None):
            self._values[name] = (value, self._clock() + px / 1000)
        return before if get else True

    def eval(self, script: str, count: int, name: str, value: str) -> int:
        assert "redis.call('get', KEYS[1]) == ARGV[1]" in script
        assert 1 == count
        return int(self._get(name) == value and self._values.pop(name, None) is not None)


def documented_redis_store(redis: FakeRedis) -> Any:
    """The store for Redis as it stands in the documentation."""
    (block,) = [block for block in blocks_of("docs/callbacks.md") if "class RedisDeliveryStore" in block.source]
    namespace: dict[str, Any] = {}
    exec(block.source, namespace)
    return namespace["RedisDeliveryStore"](redis)


class AsyncStore:
    """A store whose methods are awaited, as one on `redis.asyncio` is."""

    def __init__(self, store: DeliveryStore) -> None:
        self._store = store

    async def add(self, key: str, value: str, seconds: float) -> str | None:
        await anyio.lowlevel.checkpoint()
        return self._store.add(key, value, seconds)

    async def put(self, key: str, value: str, seconds: float) -> None:
        await anyio.lowlevel.checkpoint()
        self._store.put(key, value, seconds)

    async def remove(self, key: str, value: str) -> None:
        await anyio.lowlevel.checkpoint()
        self._store.remove(key, value)


class WrappedAsyncStore:
    """A store that is async and does not look so, as behind a decorator or a proxy."""

    def __init__(self, store: DeliveryStore) -> None:
        self._store = AsyncStore(store)

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> Any:
            return getattr(self._store, name)(*arguments)

        return call


@pytest.fixture(params=["memory", "sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> DeliveryStore:
    """Each kind of store, with a clock that the test sets."""
    if request.param == "memory":
        return MemoryDeliveryStore()
    if request.param == "sqlite":
        return SQLiteDeliveryStore(tmp_path / "deliveries.sqlite3")
    store: DeliveryStore = documented_redis_store(FakeRedis(clock))
    return store


# --- every store ----------------------------------------------------------------------------------------


def test_add(store: DeliveryStore) -> None:
    """The first value under a key is put there; who comes later is told it, and it stays."""
    assert store.add("k", "a", 10) is None
    assert ["a", "a"] == [store.add("k", value, 10) for value in ("b", "a")]
    assert store.add("another", "b", 10) is None


def test_put(store: DeliveryStore) -> None:
    """A value that is put takes the place of any other, and is put where there is none."""
    store.add("k", "a", 10)
    store.put("k", "b", 10)
    store.put("another", "c", 10)

    assert ["b", "c"] == [store.add(key, "x", 10) for key in ("k", "another")]


def test_remove(store: DeliveryStore) -> None:
    """A value is removed if it is the one that is meant; what is not there is no error."""
    store.remove("k", "a")
    store.add("k", "a", 10)
    store.remove("k", "b")
    assert "a" == store.add("k", "c", 10)

    store.remove("k", "a")
    assert store.add("k", "c", 10) is None


def test_values_end(store: DeliveryStore, clock: Clock) -> None:
    """A value is there for the seconds that it was given, by `add` and by `put`, and then makes room for another."""
    store.add("added", "a", 10)
    store.put("put", "a", 10)
    clock.now += 9.9
    assert ["a", "a"] == [store.add(key, "b", 10) for key in ("added", "put")]
    clock.now += 0.2

    assert [None, None] == [store.add(key, "b", 10) for key in ("added", "put")]
    assert ["b", "b"] == [store.add(key, "c", 10) for key in ("added", "put")]


def test_put_gives_new_time(store: DeliveryStore, clock: Clock) -> None:
    """A value that is put in the place of another is there for its own seconds."""
    store.add("k", "a", 10)
    clock.now += 9
    store.put("k", "b", 10)
    clock.now += 9

    assert "b" == store.add("k", "c", 10)


def test_one_of_many_threads(store: DeliveryStore) -> None:
    """Of many threads that add under one key at the same time one puts its value there, and the others are told it."""
    told: list[tuple[str, str, str | None]] = []
    start = threading.Barrier(8)

    def add(value: str) -> None:
        start.wait()
        told.extend((key, value, store.add(key, value, 10)) for key in ("a", "b", "c"))

    threads = [threading.Thread(target=add, args=(f"v{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    if isinstance(store, (MemoryDeliveryStore, SQLiteDeliveryStore)):  # the fake Redis promises nothing to threads
        winners = {key: value for key, value, found in told if found is None}
        assert 3 == len(winners) == sum(found is None for _, _, found in told)
        assert {(key, found) for key, _, found in told if found is not None} == set(winners.items())


# --- handling once --------------------------------------------------------------------------------------

Once = Callable[[CallbackEvent], Any]


class _Awaited:
    """`Deliveries` behind the form of `AsyncDeliveries`, so that one test is of both."""

    def __init__(self, deliveries: Deliveries) -> None:
        self._deliveries = deliveries

    @asynccontextmanager
    async def once(self, event: CallbackEvent) -> Any:
        with self._deliveries.once(event) as first:
            yield first


WAYS: dict[str, Callable[[Any], Any]] = {
    "sync": lambda store: store,
    "asyncio, in threads": lambda store: store,
    "asyncio, async store": AsyncStore,
    "trio, in threads": lambda store: store,
    "trio, wrapped async store": WrappedAsyncStore,
}
ON_BOTH_LOOPS = pytest.mark.parametrize("way", ["asyncio, in threads", "trio, in threads"])


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    """How the deliveries are used, on which event loop and with what kind of store."""
    return str(request.param)


@pytest.fixture
def anyio_backend(way: str) -> str:
    return "trio" if way.startswith("trio") else "asyncio"


@pytest.fixture
def make(way: str) -> Callable[..., Any]:
    """Make the deliveries of the test's way, whose `once` is entered with `async with`."""
    if way == "sync":
        return lambda store, **times: _Awaited(Deliveries(store, **times))
    return lambda store, **times: AsyncDeliveries(WAYS[way](store), **times)


pytestmark = pytest.mark.anyio


async def test_handled_once(make: Callable[..., Any], store: DeliveryStore) -> None:
    """The first delivery of an event is to be handled, and each later one is told to be none."""
    deliveries = make(store)
    told: list[bool] = []
    for _ in range(3):
        async with deliveries.once(completed()) as first:
            told.append(first)
    async with deliveries.once(completed("req_2")) as first:
        told.append(first)

    assert [True, False, False, True] == told


async def test_failed_handler_loses_nothing(make: Callable[..., Any], store: DeliveryStore) -> None:
    """An event whose handler raised is handled by the next delivery, and the handler's error goes on."""
    deliveries = make(store)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            async with deliveries.once(completed()) as first:
                assert 1 / (not first)
    told: list[bool] = []
    for _ in range(2):
        async with deliveries.once(completed()) as first:
            told.append(first)

    assert [True, False] == told


async def test_error_after_it_was_handled(make: Callable[..., Any], store: DeliveryStore) -> None:
    """An error in the block of a duplicate changes nothing: the event was handled."""
    deliveries = make(store)
    async with deliveries.once(completed()):
        pass
    with pytest.raises(ZeroDivisionError):
        async with deliveries.once(completed()) as first:
            assert 1 / first

    async with deliveries.once(completed()) as first:
        assert not first


async def test_return_ends_well(make: Callable[..., Any], store: DeliveryStore) -> None:
    """A handler that returns out of the block has handled the event."""
    deliveries = make(store)

    async def handler() -> str:
        async with deliveries.once(completed()) as first:
            if first:
                return "handled"
        return "again"

    assert ["handled", "again"] == [await handler(), await handler()]


async def test_in_progress(make: Callable[..., Any], store: DeliveryStore) -> None:
    """A delivery during the handling of another of the same event is refused, and neither harms the other."""
    deliveries = make(store)
    async with deliveries.once(completed()) as first:
        for _ in range(2):
            with pytest.raises(DeliveryInProgressError) as caught:
                async with deliveries.once(completed()):
                    raise AssertionError
            assert caught.value.retryable
            assert "503" in caught.value.hint
        async with deliveries.once(completed("req_2")) as other:
            assert (True, True) == (first, other)
    async with deliveries.once(completed()) as first:
        assert not first


async def test_lease_ends(make: Callable[..., Any], store: DeliveryStore, clock: Clock) -> None:
    """An event whose handling never ended, as in a process that was killed, is free again after the lease."""
    deliveries = make(store, lease=30)
    killed = deliveries.once(completed())
    assert await killed.__aenter__()
    clock.now += 29
    with pytest.raises(DeliveryInProgressError):
        await deliveries.once(completed()).__aenter__()
    clock.now += 2

    async with deliveries.once(completed()) as first:
        assert first
    await killed.__aexit__(None, None, None)


async def test_late_failure_harms_nobody(make: Callable[..., Any], store: DeliveryStore, clock: Clock) -> None:
    """A handler that fails after its lease does not free an event that another handles or has handled."""
    deliveries = make(store, lease=30)
    slow, slower = deliveries.once(completed()), deliveries.once(completed())
    assert await slow.__aenter__()
    clock.now += 31
    assert await slower.__aenter__()
    assert not await slow.__aexit__(ValueError, ValueError("late"), None)
    with pytest.raises(DeliveryInProgressError):
        await deliveries.once(completed()).__aenter__()

    await slower.__aexit__(None, None, None)
    async with deliveries.once(completed()) as first:
        assert not first


async def test_late_success_counts(make: Callable[..., Any], store: DeliveryStore, clock: Clock) -> None:
    """A handler that ends well after its lease has handled the event."""
    deliveries = make(store, lease=30)
    async with deliveries.once(completed()):
        clock.now += 31
    async with deliveries.once(completed()) as first:
        assert not first


async def test_kept_for_thirty_days(make: Callable[..., Any], store: DeliveryStore, clock: Clock) -> None:
    """A handled event is remembered for 30 days, and for as long as `keep` says."""
    for keep, days in (({}, 30), ({"keep": 10 * DAY}, 10)):
        deliveries = make(store, **keep)
        event = completed(f"req_{days}")
        async with deliveries.once(event):
            pass
        clock.now += days * DAY - 1
        async with deliveries.once(event) as first:
            assert not first
        clock.now += 2
        async with deliveries.once(event) as first:
            assert first


class Failing:
    """A store that cannot be reached, in one of its methods."""

    def __init__(self, failing: str, store: DeliveryStore) -> None:
        self._failing = failing
        self._store = store

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> Any:
            if name == self._failing:
                raise ConnectionError(name)
            return getattr(self._store, name)(*arguments)

        return call


async def test_store_fails_before(make: Callable[..., Any]) -> None:
    """If the store cannot say whether an event is new, its error goes on, and nothing is handled."""
    deliveries = make(Failing("add", MemoryDeliveryStore()))
    with pytest.raises(ConnectionError, match="add"):
        async with deliveries.once(completed()):
            raise AssertionError


async def test_store_fails_after(make: Callable[..., Any], clock: Clock) -> None:
    """If the store cannot remember that an event was handled, its error goes on, and the event is delivered again."""
    store = MemoryDeliveryStore()
    with pytest.raises(ConnectionError, match="put"):
        async with make(Failing("put", store)).once(completed()) as first:
            assert first
    with pytest.raises(DeliveryInProgressError):
        await make(store).once(completed()).__aenter__()
    clock.now += 61

    async with make(store).once(completed()) as first:
        assert first


async def test_store_fails_in_failure(make: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    """If the handler fails and the store too, the handler's error goes on, and the store's is logged."""
    with caplog.at_level(logging.WARNING, "fetch_hive_sdk"), pytest.raises(ZeroDivisionError):
        async with make(Failing("remove", MemoryDeliveryStore()), lease=30).once(completed()):
            raise ZeroDivisionError

    expected = "a callback is blocked for up to 30 s, as the delivery store failed: ConnectionError('remove')"
    assert [expected] == caplog.messages


@pytest.mark.parametrize("times", [{"lease": 0}, {"lease": -1}, {"keep": 0}, {"keep": float("inf")}, {"lease": True}])
@pytest.mark.parametrize("seconds", [None, "30", float("nan")])
def test_refused_times(times: dict[str, Any], seconds: Any) -> None:
    """A lease or time to keep that is no positive number of seconds is refused at once."""
    name = next(iter(times))
    for cls in (Deliveries, AsyncDeliveries):
        for wrong in (times, {name: seconds}):
            with pytest.raises(ConfigurationError, match=f"^{name}: .* is no positive number of seconds"):
                cls(MemoryDeliveryStore(), **wrong)


@pytest.mark.parametrize("store", ["callbacks.sqlite3", None, {}, MemoryDeliveryStore])
def test_refused_store(store: Any) -> None:
    """What is no store, such as the path of one, is refused at once, by its kind."""
    for cls in (Deliveries, AsyncDeliveries):
        with pytest.raises(ConfigurationError, match=r"^store: (a str|None|a dict|a type) is not allowed") as caught:
            cls(store)
        assert "SQLiteDeliveryStore(path)" in caught.value.hint


def test_async_store_in_the_wrong_place() -> None:
    """`Deliveries` cannot await a store, and says who can."""

    class Async(MemoryDeliveryStore):
        async def add(self, key: str, value: str, seconds: float) -> str | None:  # type: ignore[override]
            return None

    with pytest.raises(ConfigurationError, match="the methods of an Async are async"):
        Deliveries(Async())  # type: ignore[arg-type]


@pytest.mark.parametrize(("returned", "kind"), [(True, "a bool"), (False, "a bool"), (b"handled", "a bytes")])
async def test_store_that_answers_wrongly(returned: object, kind: str, make: Callable[..., Any]) -> None:
    """A store whose `add` returns what Redis itself returns is told from another delivery in progress."""

    class Wrong(MemoryDeliveryStore):
        def add(self, key: str, value: str, seconds: float) -> Any:
            return returned

    with pytest.raises(ConfigurationError, match=f"^store: its method add returned {kind}") as caught:
        async with make(Wrong()).once(completed()):
            raise AssertionError
    assert "decode_responses=True" in caught.value.hint


async def test_refused_event(make: Callable[..., Any]) -> None:
    """What is no event, such as the body, is refused by its kind."""
    for wrong, kind in (({"request_id": "req_1"}, "a dict"), (b"{}", "a bytes"), (None, "None")):
        with pytest.raises(InvalidRequestError, match=f"^event: {kind} is not allowed"):
            async with make(MemoryDeliveryStore()).once(wrong):
                raise AssertionError


def test_twins() -> None:
    """`Deliveries` and `AsyncDeliveries`, and the two protocols, have the same methods with the same parameters."""

    def parameters(function: Any) -> list[tuple[str, Any]]:
        return [(one.name, one.default) for one in inspect.signature(function).parameters.values()]

    for one, other in ((Deliveries, AsyncDeliveries), (DeliveryStore, AsyncDeliveryStore)):
        names = {name for name in vars(one) if not name.startswith("_")}
        assert names == {name for name in vars(other) if not name.startswith("_")}
        for name in (*names, "__init__"):
            assert parameters(getattr(one, name)) == parameters(getattr(other, name))
    for cls in (MemoryDeliveryStore, SQLiteDeliveryStore):
        for name in ("add", "put", "remove"):
            assert parameters(getattr(cls, name)) == parameters(getattr(DeliveryStore, name))


# --- cancelled handlers ---------------------------------------------------------------------------------


@ON_BOTH_LOOPS
async def test_cancelled_handler_loses_nothing(store: DeliveryStore, way: str) -> None:
    """An event whose handler was cancelled is handled by the next delivery."""
    for kind in (store, AsyncStore(store)):
        deliveries = AsyncDeliveries(kind)
        with anyio.CancelScope() as scope:
            async with deliveries.once(completed()):
                scope.cancel()
                await anyio.sleep(60)
        assert scope.cancelled_caught

        async with deliveries.once(completed()) as first:
            assert first
        store.remove(completed().delivery_key, "handled")


@ON_BOTH_LOOPS
async def test_cancelled_while_it_is_asked(clock: Clock, way: str) -> None:
    """A cancellation while the store is asked leaves the event free, even if the store had its token by then."""
    kept = MemoryDeliveryStore()

    class Slow(AsyncStore):
        async def add(self, key: str, value: str, seconds: float) -> str | None:
            found = await super().add(key, value, seconds)
            scope.cancel()
            await anyio.sleep(60)
            return found

    with anyio.CancelScope() as scope:
        async with AsyncDeliveries(Slow(kept)).once(completed()):
            raise AssertionError

    async with AsyncDeliveries(kept).once(completed()) as first:
        assert first


def test_bare_cancellation_while_a_thread_works() -> None:
    """A task of asyncio that is cancelled while a thread asks the store leaves no token behind."""
    asked, removed = threading.Event(), threading.Event()

    class Slow(MemoryDeliveryStore):
        def add(self, key: str, value: str, seconds: float) -> str | None:
            asked.set()
            removed.wait(0.3)  # which must not come first
            return super().add(key, value, seconds)

        def remove(self, key: str, value: str) -> None:
            super().remove(key, value)
            removed.set()

    deliveries = AsyncDeliveries(Slow())

    async def handle() -> bool:
        async with deliveries.once(completed()) as first:
            return first

    async def cancel_and_handle() -> bool:
        task = asyncio.create_task(handle())
        await asyncio.to_thread(asked.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(removed.wait, 10)
        return await handle()

    assert asyncio.run(cancel_and_handle())


@ON_BOTH_LOOPS
async def test_cancelled_when_it_is_done(way: str) -> None:
    """A cancellation after the work does not keep the store from being told of it."""
    store = MemoryDeliveryStore()
    with anyio.CancelScope() as scope:
        async with AsyncDeliveries(AsyncStore(store)).once(completed()):
            scope.cancel()

    async with AsyncDeliveries(store).once(completed()) as first:
        assert not first


# --- the key --------------------------------------------------------------------------------------------

END = {"event_type": "workflow.completed", "request_id": "req_1", "data": {"output": "Brief"}}
DELEGATION = {"event_type": "agent.delegation.completed", "request_id": "req_1", "data": {"id": "d1", "result": "x"}}
UNKNOWN = {"event_type": "moon.risen", "request_id": "req_1", "data": {"phase": "full"}}

SAME: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "end of a run": (END, {**END, "data": {"output": "Brief", "attempt": 2}}),
    "end in another order": (END, dict(reversed(END.items()))),
    "end without a type": (
        {"request_id": "req_1", "run_status": "completed"},
        {"request_id": "req_1", "run_status": "completed", "attempt": 2},
    ),
    "delegation": (DELEGATION, {**DELEGATION, "data": {"id": "d1", "result": "x", "delivered_at": "now"}}),
    "unknown type": (UNKNOWN, dict(reversed(UNKNOWN.items()))),
    "no request id": ({"event_type": "agent.completed"}, {"event_type": "agent.completed"}),
}
DIFFERENT: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "runs": (END, {**END, "request_id": "req_2"}),
    "outcomes": (END, {**END, "event_type": "workflow.failed"}),
    "outcomes without a type": (
        {"request_id": "req_1", "run_status": "completed"},
        {"request_id": "req_1", "run_status": "failed"},
    ),
    "states of a run": (
        {"request_id": "req_1", "run_status": "running", "step": 1},
        {"request_id": "req_1", "run_status": "running", "step": 2},
    ),
    "delegations of a run": (DELEGATION, {**DELEGATION, "data": {"id": "d2", "result": "x"}}),
    "delegations without an id": ({**DELEGATION, "data": {"result": "x"}}, {**DELEGATION, "data": {"result": "y"}}),
    "events of an unknown type": (UNKNOWN, {**UNKNOWN, "data": {"phase": "new"}}),
    "no request id": ({**END, "request_id": ""}, {**END, "request_id": "", "data": {"output": "Other"}}),
    "what a separator would join": (
        {**END, "request_id": "a", "event_type": "b.workflow.completed"},
        {**END, "request_id": "a.b", "event_type": "workflow.completed"},
    ),
}


@pytest.mark.parametrize(("one", "other"), SAME.values(), ids=SAME.keys())
def test_same_event(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Deliveries of the same event have the same key, whatever else differs."""
    assert event_from(one).delivery_key == event_from(other).delivery_key


@pytest.mark.parametrize(("one", "other"), DIFFERENT.values(), ids=DIFFERENT.keys())
def test_different_events(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Events that are not the same have different keys: none is taken for a duplicate of another."""
    assert event_from(one).delivery_key != event_from(other).delivery_key


def test_key_stays() -> None:
    """A key has 64 hex digits, and is the same in other processes, on copies, and after the event was read."""
    event = event_from(UNKNOWN)
    key = event.delivery_key

    assert re.fullmatch("[0-9a-f]{64}", key)
    assert "full" == event["data"]["phase"]
    assert key == event.delivery_key == event.model_copy().delivery_key == event_from(UNKNOWN).delivery_key
    assert "94bc82e2" == completed().delivery_key[:8]  # the store may be older than this version


# --- in memory ------------------------------------------------------------------------------------------


def test_memory_is_bounded(clock: Clock) -> None:
    """A store in memory keeps so many events, and forgets the oldest first; what was put anew is young again."""
    store = MemoryDeliveryStore(max_size=3)
    for key in "abc":
        store.add(key, "old", 10)
    store.put("a", "young", 10)
    store.add("d", "old", 10)

    assert ["young", "old", "old"] == [store.add(key, "x", 10) for key in "acd"]
    assert store.add("b", "x", 10) is None


def test_memory_forgets_what_is_over(clock: Clock) -> None:
    """What is out of date does not stay in memory."""
    store = MemoryDeliveryStore()
    for number in range(100):
        clock.now += 1
        store.put(f"{number}", "x", 10)

    assert 10 == len(store._kept)


def test_memory_and_no_time(clock: Clock) -> None:
    """A time too short for the clock is none, and no error."""
    store = MemoryDeliveryStore()
    store.put("k", "a", 1e-300)

    assert store.add("k", "b", 10) is None


@pytest.mark.parametrize(("size", "shown"), [(0, "0"), (-1, "-1"), (1.5, "1.5"), ("5", "a str"), (None, "None")])
def test_refused_memory(size: Any, shown: str) -> None:
    """A store in memory that could hold nothing is refused."""
    with pytest.raises(ConfigurationError, match=f"^max_size: {shown} is not allowed"):
        MemoryDeliveryStore(size)


# --- in a SQLite file -----------------------------------------------------------------------------------


def rows(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM fetch_hive_deliveries").fetchone()[0])


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_file_is_private(tmp_path: Path) -> None:
    """A new file can be read by its owner alone; one that was there keeps its permissions."""
    private, shared = tmp_path / "private", tmp_path / "shared"
    shared.touch(mode=0o640)
    for path in (private, shared):
        SQLiteDeliveryStore(path).add("k", "a", 10)

    assert [0o600, 0o640] == [stat.S_IMODE(path.stat().st_mode) for path in (private, shared)]
    assert {private, shared} == set(tmp_path.iterdir())


def test_file_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process with the same file knows what was handled, even after the first one changed its folder."""
    monkeypatch.chdir(tmp_path)
    store = SQLiteDeliveryStore("deliveries #1 50%?.sqlite3")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with Deliveries(store).once(completed()):
        pass
    again = SQLiteDeliveryStore(tmp_path / "deliveries #1 50%?.sqlite3")

    with Deliveries(again).once(completed()) as first:
        assert not first


def test_file_is_cleaned(tmp_path: Path, clock: Clock) -> None:
    """What is out of date is deleted from the file when the next event comes."""
    store = SQLiteDeliveryStore(tmp_path / "deliveries")
    for number in range(50):
        store.put(f"{number}", "x", 10)
    clock.now += 11
    store.add("k", "x", 10)

    assert 1 == rows(tmp_path / "deliveries")


def test_file_of_an_application(tmp_path: Path) -> None:
    """The file may be a database of one's own, whose tables are left alone."""
    path = tmp_path / "app"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE deliveries (number INTEGER)")
        connection.execute("INSERT INTO deliveries VALUES (5)")
    SQLiteDeliveryStore(path).add("k", "a", 10)

    with closing(sqlite3.connect(path)) as connection:
        assert [(5,)] == connection.execute("SELECT * FROM deliveries").fetchall()


def test_file_waits_for_others(tmp_path: Path) -> None:
    """While another process writes a step waits, and after `timeout` seconds it fails with SQLite's own error."""
    path = tmp_path / "deliveries"
    patient, impatient = SQLiteDeliveryStore(path), SQLiteDeliveryStore(path, timeout=0.01)
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            impatient.add("k", "a", 10)
        timer = threading.Timer(0.05, lambda: other.execute("COMMIT"))
        timer.start()
        assert patient.add("k", "a", 10) is None
        timer.join()


def test_file_that_was_removed(tmp_path: Path) -> None:
    """A file that is removed under the store is an error, and not a store that knows nothing."""
    path = tmp_path / "deliveries"
    store = SQLiteDeliveryStore(path)
    path.unlink()

    with pytest.raises(sqlite3.OperationalError):
        store.add("k", "a", 10)
    assert not path.exists()


def test_failed_step_changes_nothing(tmp_path: Path) -> None:
    """A step that fails in the middle leaves nothing half done, and the file open for others."""
    path = tmp_path / "deliveries"
    store = SQLiteDeliveryStore(path)
    with pytest.raises(sqlite3.Error):
        store.put("k", ["no text"], 10)  # type: ignore[arg-type]

    assert 0 == rows(path)
    assert store.add("k", "a", 10) is None


@pytest.mark.parametrize("path", ["", ":memory:"])
def test_no_file(path: str) -> None:
    """A database in memory is refused: each step would see one of its own."""
    with pytest.raises(ConfigurationError, match="MemoryDeliveryStore"):
        SQLiteDeliveryStore(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"path": None}, "path: None is not allowed"),
        ({"path": b"file"}, "path: a bytes is not allowed"),
        ({"path": "file", "timeout": "a"}, "timeout: a str is not allowed"),
        ({"path": "file", "timeout": -1}, "timeout: -1 is not allowed"),
        ({"path": "file", "timeout": None}, "timeout: None is not allowed"),
    ],
)
def test_refused_options_of_file(
    arguments: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path or time of another kind is refused by its name, and no file is made."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=f"^{message}"):
        SQLiteDeliveryStore(**arguments)
    assert [] == list(tmp_path.iterdir())


def test_unusable_file(tmp_path: Path) -> None:
    """A file that is no database, or cannot be made, is told when the store is made."""
    page = tmp_path / "page.html"
    page.write_text("<html>" * 1000)
    for path in (page, tmp_path, tmp_path / "missing" / "file"):
        with pytest.raises(ConfigurationError, match=f"{re.escape(str(path))} cannot be used as a SQLite database"):
            SQLiteDeliveryStore(path)


def test_processes_handle_each_event_once() -> None:
    """Of events posted to several processes, with handlers that fail, each is handled once and none is lost."""
    times = times_handled(count=15, processes=3, seed=1)

    assert {f"req_{number}": 1 for number in range(15)} == dict(times)


KILLED = """
import os, sys
from fetch_hive_sdk import Deliveries, SQLiteDeliveryStore, WorkflowCompletedEvent

event = WorkflowCompletedEvent(event_type="workflow.completed", request_id="req_1")
with Deliveries(SQLiteDeliveryStore(sys.argv[1]), lease=float(sys.argv[2])).once(event) as first:
    assert first
    os._exit(9)
"""


def test_killed_process_loses_nothing(tmp_path: Path) -> None:
    """An event whose process was killed at work is refused while the lease lasts, and then handled."""
    path = str(tmp_path / "deliveries")
    for lease in ("600", "0.001"):
        file = path + lease
        ended = subprocess.run([sys.executable, "-c", KILLED, file, lease], check=False, timeout=60)
        assert 9 == ended.returncode
        deliveries = Deliveries(SQLiteDeliveryStore(file))
        if lease == "600":
            with pytest.raises(DeliveryInProgressError):
                deliveries.once(completed()).__enter__()
        else:
            with deliveries.once(completed()) as first:
                assert first


def test_many_requests_at_once(tmp_path: Path) -> None:
    """Of many requests of one event at the same time exactly one handles it, in threads and in tasks."""
    event = completed()

    def in_threads(store: DeliveryStore) -> int:
        handled: list[int] = []
        start = threading.Barrier(8)

        def request() -> None:
            start.wait()
            try:
                with Deliveries(store).once(event) as first:
                    handled.append(first)
            except DeliveryInProgressError:
                pass

        threads = [threading.Thread(target=request) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(handled)

    async def in_tasks(store: DeliveryStore) -> int:
        handled: list[int] = []

        async def request() -> None:
            try:
                async with AsyncDeliveries(store).once(event) as first:
                    handled.append(first)
            except DeliveryInProgressError:
                pass

        await asyncio.gather(*(request() for _ in range(30)))
        return sum(handled)

    began = monotonic()
    assert [1, 1] == [in_threads(store) for store in (MemoryDeliveryStore(), SQLiteDeliveryStore(tmp_path / "a"))]
    for store in (MemoryDeliveryStore(), SQLiteDeliveryStore(tmp_path / "b")):
        assert 1 == asyncio.run(in_tasks(store))
    assert monotonic() - began < 60
