"""Whether a call can be broken off anywhere, and what is left of it then.

Each call is broken off at its first step, at its second, and so on, until it comes to its end unbroken. A step is an
await of the async client, and a line of the sync client, of its caller, of httpx and of httpcore; for the SDK's own
modules every bytecode as well. The interruption has to end the call. After each of them the same client has to make a
good call on the same pool, which has a single connection: one that was lost would be missed at once.

What Python, httpx and httpcore do not allow to keep is counted in rows of its own, without a promise.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import gc
import importlib.util
import multiprocessing
import os
import re
import signal
import socket
import ssl
import sys
import tempfile
import threading
import time
import traceback
import types
import warnings
from _thread import interrupt_main
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from types import FrameType
from typing import Any

import anyio
import anyio.lowlevel
import httpcore
import httpx

import fetch_hive_sdk
from fetch_hive_sdk import AsyncFetchHive, FetchHive, FetchHiveError, RetryPolicy
from fetch_hive_sdk.async_connections import AsyncConnectionPool
from fetch_hive_sdk.connections import ConnectionPool
from tests.connection_server import CountingServer, client_context, server_context
from tests.faulty_server import Exchange, json_reply, stream

from .figures import OURS, Options, Report, main

__all__ = [
    "CALLS",
    "KEYBOARD",
    "STUCK",
    "TASK_WAYS",
    "THREAD_ACTS",
    "Service",
    "Tally",
    "break_off_in_tasks",
    "break_off_in_thread",
    "interrupt_while_stuck",
    "measure",
    "meddle_from_thread",
]

ANSWER = '{"response":"Hello","request_id":"req_1"}'
USAGE = '{"type":"usage","usage":{"total_tokens":3}}'
EVENTS = stream('{"type":"response","response":"Hel"}', '{"type":"response","response":"lo"}', USAGE, "[DONE]")
MARK = re.compile(rb"(\w+)-\d+")
# With `--quick` every so-manieth of the sync client's steps is tried, for there are tens of thousands.
QUICK = 29
# Longer than any good call takes. Whoever waits so long for a connection waits for one that was lost.
PATIENCE = 5.0
FILE = b"0123456789abcdef" * 10_000
MOST_STEPS = 100_000
MOST_FAILURES = 40
# Seconds after which Ctrl-C is pressed again.
IMPATIENCE = 1.0


# --- the service ----------------------------------------------------------------------------------------


class Service(CountingServer):
    """Answers each call in good order, counts which runs it has started, and can be stuck on purpose.

    Attributes:
        runs: How often each call was carried out, by the mark in its request.
        when_stuck: Called in a thread of the server once it has nothing more to say.
    """

    def __init__(self, *, secure: bool = False) -> None:
        super().__init__(_server_context() if secure else None)
        self.runs: Counter[bytes] = Counter()
        self.when_stuck: Callable[[], None] = lambda: None
        self._refused: set[bytes] = set()
        self.then(self._answer)

    @property
    def now_open(self) -> int:
        """How many connections are open."""
        return self._now_open

    def _answer(self, exchange: Exchange) -> None:
        found = MARK.search(exchange.body)
        mark, kind = (found[0], found[1]) if found else (b"", b"")
        if kind == b"refused" and mark not in self._refused:
            self._refused.add(mark)
            json_reply('{"error":"later"}', 429)(exchange)
            return
        if kind == b"paused" and mark not in self._refused:
            self._refused.add(mark)
            json_reply('{"error":"later"}', 429, Retry_After="30")(exchange)
            self.when_stuck()
            return
        self.runs[mark] += 1
        if kind in _STUCK_AFTER:
            exchange.send(_STUCK_AFTER[kind])
            self.when_stuck()
            exchange.wait_for_hang_up()
        elif b'"streaming":true' in exchange.body:
            EVENTS(exchange)
        elif kind == b"file":
            json_reply('{"asset":{"id":"asset_1"}}')(exchange)
        else:
            json_reply(ANSWER)(exchange)


_EVENTS_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_EVENT = b'data: {"type":"response","response":"Hel"}\n\n'
_USAGE = b"data: %s\n\ndata: [DONE]\n\n" % USAGE.encode()
# What a call is sent before nothing more comes, by the kind of its mark.
_STUCK_AFTER = {
    b"head": b"",
    b"body": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{",
    b"event": _EVENTS_HEAD + b"%x\r\n%s\r\n" % (len(_EVENT), _EVENT),
    b"drain": _EVENTS_HEAD + b"%x\r\n%s\r\n" % (len(_USAGE), _USAGE),
}


@lru_cache(maxsize=1)
def _server_context() -> ssl.SSLContext:
    with tempfile.TemporaryDirectory() as folder:
        return server_context(Path(folder))


trusting = lru_cache(maxsize=1)(client_context)


# --- the calls ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Call:
    """A call that is broken off.

    Attributes:
        name: What it is.
        kind: The first part of its mark, by which the service knows it.
        work: Makes it with the sync client, given the client and the mark.
        work_async: Makes it with the async client.
        secure: Whether with TLS.
        kept: Whether on a connection that was used before.
        waits: Whether it has to wait for its connection first.
        own: Whether the client has the pool that it makes for itself, and is closed by the call.
    """

    name: str
    kind: str
    work: Callable[[FetchHive, str], object]
    work_async: Callable[[AsyncFetchHive, str], Coroutine[Any, Any, object]]
    secure: bool = False
    kept: bool = False
    waits: bool = False
    own: bool = False


def prompt(client: FetchHive, mark: str) -> object:
    """A plain call."""
    return client.invoke_prompt(deployment=mark, variant="v")


async def prompt_async(client: AsyncFetchHive, mark: str) -> object:
    """A plain call."""
    return await client.invoke_prompt(deployment=mark, variant="v")


def whole_stream(client: FetchHive, mark: str) -> object:
    """A stream that is read to its end."""
    with client.invoke_prompt_stream(deployment=mark, variant="v") as opened:
        return opened.final()


async def whole_stream_async(client: AsyncFetchHive, mark: str) -> object:
    """A stream that is read to its end."""
    async with client.invoke_prompt_stream(deployment=mark, variant="v") as opened:
        return await opened.final()


def left_stream(client: FetchHive, mark: str) -> None:
    """A stream that is left after its first event."""
    with client.invoke_prompt_stream(deployment=mark, variant="v") as opened:
        next(opened)


async def left_stream_async(client: AsyncFetchHive, mark: str) -> None:
    """A stream that is left after its first event."""
    async with client.invoke_prompt_stream(deployment=mark, variant="v") as opened:
        await opened.__anext__()


def upload(client: FetchHive, mark: str) -> object:
    """An upload from a path."""
    return client.assets.upload(_file(), file_name=mark, workspace_id="w")


async def upload_async(client: AsyncFetchHive, mark: str) -> object:
    """An upload from a path."""
    return await client.assets.upload(_file(), file_name=mark, workspace_id="w")


def block(client: FetchHive, mark: str) -> None:
    """A client's whole life in one block."""
    with client:
        prompt(client, mark)


async def block_async(client: AsyncFetchHive, mark: str) -> None:
    """A client's whole life in one block."""
    async with client:
        await prompt_async(client, mark)


_folder = lru_cache(maxsize=1)(tempfile.TemporaryDirectory)


@lru_cache(maxsize=1)
def _file() -> Path:
    path = Path(_folder().name) / "file.bin"
    path.write_bytes(FILE)
    return path


CALLS = {
    call.name: call
    for call in (
        Call("a call that connects", "run", prompt, prompt_async),
        Call("a call that connects with TLS", "run", prompt, prompt_async, secure=True),
        Call("a call on a kept connection", "run", prompt, prompt_async, kept=True),
        Call("a call on a kept connection with TLS", "run", prompt, prompt_async, secure=True, kept=True),
        Call("a call that is refused and repeated", "refused", prompt, prompt_async),
        Call("a call that waits for its connection", "run", prompt, prompt_async, waits=True),
        Call("a whole stream", "run", whole_stream, whole_stream_async),
        Call("a whole stream with TLS", "run", whole_stream, whole_stream_async, secure=True, kept=True),
        Call("a stream that is left", "run", left_stream, left_stream_async),
        Call("an upload", "file", upload, upload_async),
        Call("a client's block", "run", block, block_async, own=True),
    )
}


# --- what is counted ------------------------------------------------------------------------------------


@dataclass
class Tally:
    """What came of all interruptions of one call in one way.

    Attributes:
        points: Points at which it was broken off.
        unusable: After how many of them the next good call failed, or a place or a lock was still taken.
        twice: Calls that the service carried out more than once.
        left: Sockets, files, tasks and threads that were left, and complaints of Python about such.
        swallowed: After how many of them the call went on as if nothing had come.
        hung: How many of them needed a second Ctrl-C, because a lock of httpcore waited for itself.
        garbage: Sockets that were interrupted before the pool had them, and were left to Python to close.
        ignored: Interruptions that came while Python threw an unread generator away, where it can raise nothing.
        late: Points after which the place was free only once the stream was collected: the call of a stream's closing
            was interrupted before it had begun.
        complaints: What Python has complained of since `watching` began, each in a sentence.
        unbroken: Whether the last attempt came to its end, so that no later point was left out.
        failures: Each of these in a sentence.
    """

    points: int = 0
    unusable: int = 0
    twice: int = 0
    left: int = 0
    swallowed: int = 0
    hung: int = 0
    garbage: int = 0
    ignored: int = 0
    late: int = 0
    complaints: list[str] = field(default_factory=list[str])
    unbroken: bool = False
    failures: list[str] = field(default_factory=list[str])

    def add(self, other: Tally) -> None:
        """Add another's counts."""
        self.points += other.points
        self.unusable += other.unusable
        self.twice += other.twice
        self.left += other.left
        self.swallowed += other.swallowed
        self.hung += other.hung
        self.garbage += other.garbage
        self.ignored += other.ignored
        self.late += other.late
        self.failures += other.failures

    @contextlib.contextmanager
    def watching(self, about: str) -> Iterator[None]:
        """Note what Python complains of meanwhile, and which descriptors and threads are left at the end."""
        complaints = self.complaints
        hook, show = sys.unraisablehook, warnings.showwarning
        descriptors, threads = _descriptors(), set(threading.enumerate())
        # Whatever only a collection would close has been left, so that none may come in between.
        gc.collect()
        gc.disable()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("always")
                sys.unraisablehook = lambda found: complaints.append(f"{found.exc_value!r} in {found.object!r}")
                warnings.showwarning = lambda message, kind, *_, **__: complaints.append(f"{kind.__name__}: {message}")
                yield
                gc.collect()
        finally:
            gc.enable()
            sys.unraisablehook, warnings.showwarning = hook, show
        if (more := _descriptors() - descriptors) > 0:
            complaints.append(f"{more} descriptors were left")
        complaints += [f"{thread} was left" for thread in set(threading.enumerate()) - threads if not _ended(thread)]
        self.left += len(complaints)
        self.failures += [f"{about}: {complaint}" for complaint in complaints]

    def forgive(self, since: int, *, connecting: bool) -> bool:
        """Count apart what Python complained of that nobody can help.

        Args:
            since: How many complaints there were before the point: of no other anything is forgiven.
            connecting: Whether it was interrupted between a socket's making and the moment in which the pool had it.

        Returns:
            Whether the interruption was ignored by Python.
        """
        new = self.complaints[since:]
        ignored = [complaint for complaint in new if complaint.startswith("KeyboardInterrupt() in <generator")]
        found = [complaint for complaint in new if connecting and "unclosed <s" in complaint]
        self.ignored += len(ignored)
        self.garbage += len(found)
        self.complaints[since:] = [complaint for complaint in new if complaint not in (*ignored, *found)]
        return bool(ignored)


def _descriptors() -> int:
    with contextlib.suppress(OSError):
        return len(os.listdir("/proc/self/fd"))
    return 0


def _ended(thread: threading.Thread) -> bool:
    if thread.name.startswith("Trio thread"):  # trio keeps its threads for ten seconds more
        return True
    thread.join(PATIENCE)
    return not thread.is_alive()


@dataclass
class Place:
    """A client with a pool of a single connection, and the service that it calls.

    Attributes:
        pool: The pool; None where it is the client's own or another library's.
    """

    call: Call
    service: Service
    client: Any
    pool: Any
    tally: Tally
    about: str = ""

    def mark(self, number: int) -> str:
        """What names a call to the service."""
        return f"{self.call.kind}-{number}"

    @contextlib.contextmanager
    def judging(self, what: str) -> Iterator[None]:
        """Do what has to succeed."""
        try:
            yield
        except (FetchHiveError, AssertionError) as error:
            self.unusable(f"{what} {error!r}")

    def judge_pool(self) -> None:
        """Look at the pool right after the interruption."""
        if isinstance(self.pool, ConnectionPool) and self.pool.lock.locked():
            self.pool.lock.release()
            self.unusable("the pool's lock was held")
        if "connections in use" in repr(self.pool):
            told = repr(self.pool).partition(": ")[2]
            if not (told.startswith("0 connections in use") and told.endswith(" 0 requests waiting>")):
                self.unusable(told)

    def unusable(self, why: str) -> None:
        """Note that the pool cannot be used."""
        self.tally.unusable += 1
        self.tally.failures.append(f"{self.about}: {why}")

    def swallowed(self, what: str) -> None:
        """Note that the call went on."""
        self.tally.swallowed += 1
        self.tally.failures.append(f"{self.about}: {what} was swallowed")

    @property
    def in_use(self) -> bool:
        """Whether a connection is in use."""
        return "connections in use" in repr(self.pool) and " 0 connections in use" not in repr(self.pool)

    def settled(self, *, closed: bool) -> bool:
        """Whether no connection is open but the one that is kept, or none once the pool is closed."""
        found = re.search(r"(\d+) idle", repr(self.pool))
        kept = 0 if closed else int(found[1]) if found else 1
        return self.service.now_open <= kept

    def judge_sockets(self, *, settled: bool) -> None:
        """Look at the sockets."""
        if not settled:
            self.tally.left += 1
            self.tally.failures.append(f"{self.about}: {self.service.now_open} sockets open, {self.pool!r}")

    @property
    def hopeless(self) -> bool:
        """Whether there is nothing more to be learned."""
        return len(self.tally.failures) > MOST_FAILURES

    def judge_runs(self) -> None:
        """Look at what the service was made to do, once nothing is under way any more."""
        twice = [mark for mark, runs in self.service.runs.items() if runs > 1 and not mark.startswith(b"good")]
        self.tally.twice += len(twice)
        self.tally.failures += [f"{self.about}: {mark.decode()} was run twice" for mark in twice]


def _options(service: Service) -> dict[str, Any]:
    return {
        "api_key": "fhk_test",
        "base_url": f"{service.url}v1",
        "timeout": httpx.Timeout(PATIENCE, pool=PATIENCE / 2),
        "retry_policy": RetryPolicy(initial_delay=0.0001),
    }


ONE = httpx.Limits(max_connections=1)
GOOD = "good-0"


# --- broken off in tasks --------------------------------------------------------------------------------

# Which steps are counted: those of all tasks that the call has started.
_steps: contextvars.ContextVar[Steps | None] = contextvars.ContextVar("steps", default=None)


class Steps:
    """Counts the awaits of a call, and breaks it off at one of them.

    Args:
        at: At which await, from 1.
        again: At which await after it once more; None for once only.
        late: Whether to wait until what is awaited is there, and come before the task goes on.
    """

    def __init__(self, at: int, again: int | None = None, *, late: bool = False) -> None:
        self._at = {at} if again is None else {at, at + again}
        self._first = at
        self._late = late
        self.seen = 0
        self.break_off: Callable[[], object] = lambda: None

    @property
    def reached(self) -> bool:
        """Whether the call was broken off, and has not come to its end before."""
        return self.seen >= self._first

    def step(self, awaited: Any = None) -> None:
        """Count one."""
        self.seen += 1
        if self.seen not in self._at:
            return
        if self._late and isinstance(awaited, asyncio.Future):
            awaited.add_done_callback(lambda _: self.break_off())  # before the one of the task, so that it comes first
        else:
            self.break_off()


@types.coroutine
def _stepping(coroutine: Coroutine[Any, Any, Any], steps: Steps) -> Generator[Any, Any, Any]:
    value, error = None, None
    while True:
        try:
            awaited = coroutine.send(value) if error is None else coroutine.throw(error)
        except StopIteration as end:
            return end.value
        steps.step(awaited)
        value, error = None, None
        try:
            value = yield awaited
        except BaseException as raised:
            error = raised


def _task_factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
    steps = _steps.get()

    async def counted() -> Any:
        return await _stepping(coroutine, steps)  # type: ignore[arg-type]

    return asyncio.Task(coroutine if steps is None else counted(), loop=loop, **options)


Work = Callable[[], Coroutine[Any, Any, object]]


async def _cancel(work: Work, steps: Steps) -> None:
    task = asyncio.ensure_future(work())
    steps.break_off = task.cancel
    await asyncio.wait((task,))
    if task.cancelled():
        return
    if steps.reached:
        error = task.exception()
        raise error or AssertionError("the cancellation was swallowed")
    task.result()


async def _scope(work: Work, steps: Steps) -> None:
    with anyio.CancelScope() as scope:
        steps.break_off = scope.cancel
        await work()


async def _move_on_after(work: Work, steps: Steps) -> None:
    with anyio.move_on_after(10_000) as scope:
        steps.break_off = lambda: setattr(scope, "deadline", anyio.current_time())
        await work()


async def _timeout(work: Work, steps: Steps) -> None:
    loop = asyncio.get_running_loop()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(None) as timeout:
            steps.break_off = lambda: timeout.reschedule(loop.time())
            await work()


async def _wait_for(work: Work, steps: Steps) -> None:
    loop: Any = asyncio.get_running_loop()
    call_at = loop.call_at
    soon = loop.time() + 5_000

    def caught(when: float, callback: Any, *arguments: Any, **options: Any) -> Any:
        if when > soon:  # the one of wait_for below
            steps.break_off = partial(loop.call_soon, callback, *arguments)
        return call_at(when, callback, *arguments, **options)

    loop.call_at = caught
    try:
        with contextlib.suppress(asyncio.TimeoutError, TimeoutError):
            await asyncio.wait_for(work(), 10_000)
    finally:
        loop.call_at = call_at


@dataclass(frozen=True)
class TaskWay:
    """A way to break off a task.

    Attributes:
        backend: The event loop.
        run: Awaits the work, and says how to break it off.
        again: After how many awaits more a second time.
        late: Whether what was awaited is there already.
    """

    backend: str
    run: Callable[[Work, Steps], Coroutine[Any, Any, None]]
    again: int | None = None
    late: bool = False


TASK_WAYS = {
    "Task.cancel": TaskWay("asyncio", _cancel),
    "Task.cancel when the answer is there": TaskWay("asyncio", _cancel, late=True),
    "Task.cancel, and again 1 await later": TaskWay("asyncio", _cancel, again=1),
    "Task.cancel, and again 2 awaits later": TaskWay("asyncio", _cancel, again=2),
    "Task.cancel, and again 3 awaits later": TaskWay("asyncio", _cancel, again=3),
    "asyncio.wait_for": TaskWay("asyncio", _wait_for),
    **({"asyncio.timeout": TaskWay("asyncio", _timeout)} if sys.version_info >= (3, 11) else {}),
    "anyio.CancelScope on asyncio": TaskWay("asyncio", _scope),
    "anyio.move_on_after on asyncio": TaskWay("asyncio", _move_on_after),
    "CancelScope of trio": TaskWay("trio", _scope),
    "anyio.move_on_after on trio": TaskWay("trio", _move_on_after),
}


def own_pool() -> AsyncConnectionPool:
    """The SDK's pool of one connection."""
    return AsyncConnectionPool(verify=trusting, limits=ONE)


def httpx_client() -> httpx.AsyncClient:
    """A caller's httpx client with one connection."""
    return httpx.AsyncClient(verify=trusting(), limits=ONE)


def aiohttp_transport() -> Any:
    """Connections of aiohttp, one of them."""
    from fetch_hive_sdk.aiohttp_connections import AiohttpTransport  # an extra

    return AiohttpTransport(verify=trusting, max_connections=1)


POOLS = {"own": own_pool, "httpx": httpx_client, "aiohttp": aiohttp_transport}


def break_off_in_tasks(call: Call, way: str, pool: str = "own", every: int = 1) -> Tally:
    """Break off an async call at every await, or at each so-manieth.

    Args:
        call: The call.
        way: The name of a way, of `TASK_WAYS`.
        pool: What the client sends with, of `POOLS`.
        every: How many awaits the next point is farther.
    """
    tally = Tally()
    about = f"{call.name}, {way}" + ("" if pool == "own" else f", {pool}")
    with tally.watching(about), Service(secure=call.secure) as service:
        backend = TASK_WAYS[way].backend
        anyio.run(partial(_break_off, call, TASK_WAYS[way], pool, service, tally, about, every), backend=backend)
    return tally


async def _break_off(
    call: Call, way: TaskWay, pool: str, service: Service, tally: Tally, about: str, every: int
) -> None:
    async with _counting(way.backend, tally, about):
        for at in range(1, MOST_STEPS, every):
            given = None if call.own else POOLS[pool]()
            client = AsyncFetchHive(**_options(service), http_client=given)
            place = Place(call, service, client, given, tally, f"{about}, at await {at}")
            if call.kept:
                await prompt_async(client, GOOD)
            steps = Steps(at, way.again, late=way.late)
            with place.judging("it ended with"):
                await _step_through(place, way, steps, at)
            tally.points += steps.reached
            place.judge_pool()
            if not call.own:
                with place.judging("the next call ended with"):
                    await prompt_async(client, GOOD)
                place.judge_sockets(settled=await _settles(place))
            await (client if given is None else given).aclose()
            place.judge_sockets(settled=await _settles(place, closed=True))
            if place.hopeless:
                return
            if not steps.reached:
                tally.unbroken = True
                break
    place.judge_runs()


async def _step_through(place: Place, way: TaskWay, steps: Steps, at: int) -> None:
    client, mark = place.client, place.mark(at)
    work = partial(_marked, partial(place.call.work_async, client, mark), steps, way.backend)
    if not place.call.waits:
        await way.run(work, steps)
        return
    holder = client.invoke_prompt_stream(deployment="good-1", variant="v")
    async with holder, anyio.create_task_group() as tasks:
        tasks.start_soon(way.run, work, steps)
        await anyio.lowlevel.checkpoint()
        tasks.start_soon(prompt_async, client, "good-2")  # who waits behind it has to get its turn
        for _ in range(4):
            await anyio.lowlevel.checkpoint()
        await holder.final()


async def _marked(work: Work, steps: Steps, backend: str) -> object:
    token = _steps.set(steps)
    try:
        if backend == "trio":
            return await work()
        return await _stepping(work(), steps)  # type: ignore[misc]
    finally:
        _steps.reset(token)


async def _settles(place: Place, *, closed: bool = False) -> bool:
    with anyio.move_on_after(PATIENCE):
        while not place.settled(closed=closed):  # noqa: ASYNC110 - what changes are sockets of other threads
            await anyio.sleep(0.001)
        return True
    return False


@contextlib.asynccontextmanager
async def _counting(backend: str, tally: Tally, about: str) -> AsyncIterator[None]:
    if backend == "trio":
        import trio

        class Instrument(trio.abc.Instrument):
            def after_task_step(self, task: Any) -> None:
                steps = task.context.get(_steps)
                if steps is not None:
                    steps.step()

        trio.lowlevel.add_instrument(Instrument())
        yield
        return
    loop = asyncio.get_running_loop()
    complaints: list[str] = []
    loop.set_exception_handler(lambda _, context: complaints.append(f"{context['message']}: {context}"))
    loop.set_task_factory(_task_factory)
    before = asyncio.all_tasks()
    yield
    loop.set_task_factory(None)
    complaints += [f"{task} was left" for task in asyncio.all_tasks() - before]
    gc.collect()
    tally.left += len(complaints)
    tally.failures += [f"{about}: {complaint}" for complaint in complaints]


# --- broken off by Ctrl-C -------------------------------------------------------------------------------

_LIBRARIES = tuple(f"{Path(library.__file__).parent}{os.sep}" for library in (fetch_hive_sdk, httpx, httpcore))
# Where it waits for its turn, and what its blocks end with.
_STANDARD = (threading.__file__, contextlib.__file__, socket.__file__, ssl.__file__)
_OWN = _LIBRARIES[:1]


class _Signal:
    """Has the signal of Ctrl-C arrive in the moment in which it is dropped.

    As with a real one, Python raises `KeyboardInterrupt` at the next bytecode that looks for signals, and not just
    anywhere. A trace function cannot raise it so: all of it has to happen after its last bytecode.
    """

    __slots__ = ()
    __del__ = staticmethod(interrupt_main)


class Lines:
    """Counts the lines of a call, as a trace function, and sends the signal before one of them.

    Args:
        at: Before which, from 1; 0 for none.
        bytecodes: Whether to count the bytecodes of the SDK instead of the lines of all.
        act: What to do there instead of sending the signal.

    Attributes:
        seen: How many it has counted.
        where: Where the signal was sent, and where Python raised it.
        connecting: Whether it was sent while httpcore connected, or told the pool of it.
        at_the_door: Whether it was raised in a function for leaving a stream, before its first line.
        stuck_in: Where the call was stuck then.
    """

    def __init__(self, at: int, *, bytecodes: bool = False, act: Callable[[], object] | None = None) -> None:
        self._at = at
        self._act = act
        self._bytecodes = bytecodes
        self._event = "opcode" if bytecodes else "line"
        self._files = _OWN if bytecodes else (*_LIBRARIES, *_STANDARD, __file__)
        self.seen = 0
        self.where = ""
        self.connecting = False
        self.at_the_door = False
        self.stuck_in: list[str] = []

    @property
    def reached(self) -> bool:
        """Whether the signal was sent."""
        return bool(self.where)

    def __call__(self, frame: FrameType, event: str, argument: object) -> Any:
        """Decide whether to look at the lines of a frame."""
        if not frame.f_code.co_filename.startswith(self._files):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = self._bytecodes, not self._bytecodes
        return self._step

    def _step(self, frame: FrameType, event: str, argument: object) -> Any:
        if event != self._event:
            return self._step
        self.seen += 1
        if self.seen != self._at:
            return self._step
        self.where = f"sent at {_short(frame.f_code.co_filename)}:{frame.f_lineno} of {frame.f_code.co_name}"
        if self._act is not None:
            self._act()
            return self._step
        self.connecting = _is_connecting(frame)
        sys.settrace(None)  # or it would be this function that is interrupted
        _signal = _Signal()
        return None

    def run(self, work: Callable[[], object]) -> bool:
        """Do the work; whether it was broken off."""
        before = sys.gettrace()
        impatient = _Impatient(lambda: self.reached)
        try:
            sys.settrace(self)
            try:
                work()
            finally:
                sys.settrace(before)
            for _ in range(10):  # a signal that came at the very end
                time.sleep(0)
        except KeyboardInterrupt as error:
            # Where Python raised it, which tells more than where the signal was sent.
            innermost = traceback.extract_tb(error.__traceback__)[-1]
            self.where += f", raised at {_short(innermost.filename)}:{innermost.lineno} of {innermost.name}"
            self.at_the_door = _is_entry(error.__traceback__)
            return True
        finally:
            impatient.stop()
            self.stuck_in = impatient.stuck_in
        return False


def _is_connecting(frame: FrameType | None) -> bool:
    """Whether httpcore is between a socket's making and having told of it."""
    while frame is not None:
        if frame.f_code.co_name == "_connect" and frame.f_code.co_filename.startswith(_LIBRARIES[2]):
            return True
        frame = frame.f_back
    return False


def _is_entry(trace: types.TracebackType | None) -> bool:
    """Whether it was in a stream's function for leaving it, before its first line."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return False
    code = trace.tb_frame.f_code
    closing = _short(code.co_filename) == "fetch_hive_sdk/streams.py" and code.co_name in ("__exit__", "close", "_shut")
    return closing and trace.tb_lineno == code.co_firstlineno


def _short(file: str) -> str:
    path = Path(file)
    return f"{path.parent.name}/{path.name}"


class _Impatient:
    """Presses Ctrl-C again where a call does not end after the first time.

    Attributes:
        stuck_in: Where the call was stuck each time.
    """

    def __init__(self, interrupted: Callable[[], bool]) -> None:
        self._interrupted = interrupted
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._caller = threading.get_ident()
        self.stuck_in: list[str] = []
        threading.Thread(target=self._watch, name="Ctrl-C again", daemon=True).start()

    def _watch(self) -> None:
        while not self._over.wait(IMPATIENCE):
            with self._lock:
                if self._over.is_set() or not self._interrupted():
                    continue
                self.stuck_in.append(sys._current_frames()[self._caller].f_code.co_filename)
                signal.pthread_kill(self._caller, signal.SIGINT)

    def stop(self) -> None:
        """Have it stop; a signal that is under way arrives before this returns."""
        with self._lock:
            self._over.set()


KEYBOARD = {"Ctrl-C at every line": False, "Ctrl-C at every bytecode of the SDK": True}


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _sync_pool(call: Call, pool: str) -> Any:
    if call.own:
        return None
    if pool == "own":
        return ConnectionPool(verify=trusting, limits=ONE)
    return httpx.Client(verify=trusting(), limits=ONE)


def break_off_in_thread(call: Call, way: str, pool: str = "own", every: int = 1, start: int = 1) -> Tally:
    """Break off a call of the sync client at every step, or at each so-manieth.

    Args:
        call: The call.
        way: Of `KEYBOARD`.
        pool: What the client sends with: "own", or "httpx" for a caller's httpx client.
        every: How many steps the next point is farther.
        start: The first.
    """
    tally = Tally()
    about = f"{call.name}, {way}" + ("" if pool == "own" else f", {pool}")
    with tally.watching(about), Service(secure=call.secure) as service, _interruptible():
        for at in (0, *range(start, MOST_STEPS, every)):  # first unbroken: what is loaded once is no part of a call
            lines = Lines(at, bytecodes=KEYBOARD[way])
            place = _break_off_once(call, service, tally, about, pool, lines, at)
            if place.hopeless:
                return tally
            if at and not lines.reached:
                tally.unbroken = True
                break
        place.judge_runs()
    return tally


def _break_off_once(call: Call, service: Service, tally: Tally, about: str, pool: str, lines: Lines, at: int) -> Place:
    given = _sync_pool(call, pool)
    client = FetchHive(**_options(service), http_client=given)
    place = Place(call, service, client, given, tally, f"{about}, at step {at}")
    if call.kept:
        prompt(client, GOOD)
    broken, complaints = True, len(tally.complaints)
    with place.judging("it ended with"), _held(place) if call.waits else contextlib.nullcontext():
        broken = lines.run(partial(call.work, client, place.mark(at)))
    place.about += f", {lines.where}"
    tally.points += lines.reached
    tally.hung += bool(lines.stuck_in)
    for stuck_in in lines.stuck_in:
        if not stuck_in.startswith(_LIBRARIES[2]):
            place.unusable(f"it hung in {stuck_in}")
    if lines.connecting and not _settle(place, patience=0.1):
        gc.collect()
    ignored = tally.forgive(complaints, connecting=lines.connecting)
    if lines.reached and not broken and not ignored:
        place.swallowed("Ctrl-C")
    if lines.at_the_door and place.in_use:
        gc.collect()
        tally.late += not place.in_use
    place.judge_pool()
    if not call.own:
        with place.judging("the next call ended with"):
            prompt(client, GOOD)
        place.judge_sockets(settled=_settle(place))
    (client if given is None else given).close()
    place.judge_sockets(settled=_settle(place, closed=True))
    return place


@contextlib.contextmanager
def _held(place: Place) -> Iterator[None]:
    """Have the only connection in use until somebody waits for it, and then another call wait behind."""
    failures: list[BaseException] = []
    holder = place.client.invoke_prompt_stream(deployment="good-1", variant="v")

    def hold() -> None:
        try:
            with holder:
                ready.set()
                _wait_until(lambda: over.is_set() or not repr(place.pool).endswith(" 0 requests waiting>"))
                behind.start()
                _wait_until(lambda: over.is_set() or repr(place.pool).endswith(" 2 requests waiting>"))
                holder.final()
        except BaseException as error:
            failures.append(error)

    def wait_behind() -> None:
        try:
            prompt(place.client, "good-2")
        except BaseException as error:
            failures.append(error)

    ready, over = threading.Event(), threading.Event()
    holding, behind = threading.Thread(target=hold), threading.Thread(target=wait_behind)
    holding.start()
    ready.wait(PATIENCE)
    try:
        yield
    finally:
        over.set()
        holding.join(PATIENCE)
        behind.join(PATIENCE)
        for failure in failures:
            place.unusable(f"another thread's call ended with {failure!r}")


def _wait_until(condition: Callable[[], bool], patience: float = PATIENCE) -> bool:
    until = time.monotonic() + patience
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.0005)
    return True


def _settle(place: Place, *, closed: bool = False, patience: float = PATIENCE) -> bool:
    return _wait_until(lambda: place.settled(closed=closed), patience)


# --- Ctrl-C while nothing comes ---------------------------------------------------------------------------

STUCK = {
    "before the answer": Call("head", "head", prompt, prompt_async),
    "in the middle of the answer": Call("body", "body", prompt, prompt_async),
    "before the first event": Call("head", "head", whole_stream, whole_stream_async),
    "between two events": Call("event", "event", whole_stream, whole_stream_async),
    "before the stream's end": Call("drain", "drain", whole_stream, whole_stream_async),
    "in the pause before a repetition": Call("paused", "paused", prompt, prompt_async),
}


def interrupt_while_stuck(where: str) -> Tally:
    """Send the signal of Ctrl-C from another thread while a call waits.

    Args:
        where: For what it waits, of `STUCK`.
    """
    tally, call = Tally(), STUCK[where]
    about = f"Ctrl-C {where}"
    main_thread = threading.get_ident()
    with tally.watching(about), Service() as service, _interruptible():
        service.when_stuck = lambda: signal.pthread_kill(main_thread, signal.SIGINT)
        given = _sync_pool(call, "own")
        client = FetchHive(**_options(service), http_client=given)
        place = Place(call, service, client, given, tally, about)
        for kept in (False, True):
            if kept:
                prompt(client, GOOD)
            try:
                call.work(client, place.mark(int(kept)))
            except KeyboardInterrupt:
                tally.points += 1
            except FetchHiveError as error:
                place.unusable(f"it ended with {error!r}")
            else:
                place.swallowed("Ctrl-C")
            place.judge_pool()
            with place.judging("the next call ended with"):
                prompt(client, GOOD)
            place.judge_sockets(settled=_settle(place))
        given.close()
        place.judge_sockets(settled=_settle(place, closed=True))
        place.judge_runs()
        tally.unbroken = True
    return tally


# --- another thread -------------------------------------------------------------------------------------

THREAD_ACTS = ("closes the stream", "closes the client")


def meddle_from_thread(act: str, every: int = 1) -> Tally:
    """Have another thread close something at each line of a stream's reading.

    Args:
        act: Of `THREAD_ACTS`.
        every: How many lines the next point is farther.
    """
    tally = Tally()
    about = f"another thread {act}"
    call = Call(about, "run", whole_stream, whole_stream_async, own=act == "closes the client")
    with tally.watching(about), Service() as service:
        for at in (0, *range(1, MOST_STEPS, every)):
            given = _sync_pool(call, "own")
            client = FetchHive(**_options(service), http_client=given)
            place = Place(call, service, client, given, tally, f"{about}, at line {at}")
            opened = client.invoke_prompt_stream(deployment=place.mark(at), variant="v")
            helper = threading.Thread(target=client.close if call.own else opened.close)

            def meddle(helper: threading.Thread = helper) -> None:
                helper.start()
                helper.join(0.02)  # it may have to wait for a lock of the reader

            lines = Lines(at, act=meddle)
            # It may be told that the stream or the client was closed, or not have noticed.
            with contextlib.suppress(FetchHiveError):
                lines.run(partial(_read_whole, opened))
            if not lines.reached:
                tally.unbroken = bool(at)
            else:
                tally.points += 1
                helper.join(PATIENCE)
                if helper.is_alive():
                    place.unusable("the other thread hung")
            place.about += f", {lines.where}"
            place.judge_pool()
            if not call.own:
                with place.judging("the next call ended with"):
                    prompt(client, GOOD)
                place.judge_sockets(settled=_settle(place))
            (client if given is None else given).close()
            place.judge_sockets(settled=_settle(place, closed=True))
            if tally.unbroken or place.hopeless:
                break
        place.judge_runs()
    return tally


def _read_whole(opened: Any) -> None:
    with opened:
        opened.final()


# --- the table ------------------------------------------------------------------------------------------


def measure(options: Options) -> Report:
    """Break off async calls at every await, and sync ones at every line and bytecode; with `--quick` at fewer."""
    report = Report("Can a call be broken off anywhere?")
    tasks, others, lines, bytecodes, threads = Tally(), Tally(), Tally(), Tally(), Tally()
    every = QUICK if options.quick else 1
    jobs: list[tuple[Tally, Callable[[], Tally]]] = []
    for call in CALLS.values():
        jobs.append((lines, partial(break_off_in_thread, call, "Ctrl-C at every line", every=every)))
        if not options.quick:
            jobs.append((bytecodes, partial(break_off_in_thread, call, "Ctrl-C at every bytecode of the SDK")))
    jobs += [(lines, partial(interrupt_while_stuck, where)) for where in STUCK]
    jobs += [(threads, partial(meddle_from_thread, act, every=every)) for act in THREAD_ACTS]
    for call in CALLS.values():
        for way in TASK_WAYS:
            jobs.append((tasks, partial(break_off_in_tasks, call, way)))
            jobs += [(others, partial(break_off_in_tasks, call, way, pool)) for pool in _other_pools(call, way)]
    # Each in the main thread of a process of its own, which alone can be interrupted.
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count(), mp_context=spawn) as processes:
        running = [(sum_, processes.submit(job)) for sum_, job in jobs]
        for sum_, future in running:
            _count(sum_, future.result())
    _tell(report, "async calls broken off at an await (asyncio and trio)", tasks)
    _tell(report, "the same on asyncio with a caller's httpx client and with aiohttp", others)
    report.notes.append(
        "A caller's httpx client is not tried with TLS or on trio: httpx itself leaves a socket that is cancelled in "
        "its handshake, and the generator of a body. The SDK's own connections do not."
    )
    _tell(report, "sync calls broken off by Ctrl-C at a line of the SDK, httpx and httpcore", lines, ctrl_c=True)
    if options.quick:
        report.notes.append(f"--quick: every {QUICK}th line only, and no bytecodes.")
    else:
        _tell(report, "sync calls broken off by Ctrl-C at a bytecode of the SDK", bytecodes, ctrl_c=True)
    _tell(report, "streams and clients closed by another thread at a line of the reader", threads)
    report.notes += [f"Left out, {name}: {reason}" for name, reason in _LEFT_OUT.values()]
    return report


def _other_pools(call: Call, way: str) -> list[str]:
    if call.own or TASK_WAYS[way].backend == "trio":
        return []
    pools = [] if call.secure else ["httpx"]
    if importlib.util.find_spec("aiohttp") is not None:
        pools.append("aiohttp")
    return pools


def _count(sum_: Tally, tally: Tally) -> None:
    sum_.add(tally)
    if not tally.unbroken and not tally.failures:
        sum_.failures.append("a call never came to its end unbroken")


# What the promises about Ctrl-C leave out: by the attribute of `Tally` the row and how it comes.
_LEFT_OUT = {
    "late": (
        "places free only after a garbage collection",
        "Ctrl-C came in the moment in which a stream's closing was called, before its first line.",
    ),
    "garbage": (
        "sockets left to Python to close",
        "Ctrl-C came after the system had made it and before httpcore had told of it. It is closed with the traceback.",
    ),
    "ignored": (
        "Ctrl-C ignored by Python",
        "It came while Python threw an unread body away, where nothing can be raised, but is written to stderr.",
    ),
    "hung": (
        "Ctrl-C had to be pressed twice",
        "It came inside a lock of httpcore, for which httpcore then waited itself. The pool is not affected.",
    ),
}


def _tell(report: Report, what: str, tally: Tally, *, ctrl_c: bool = False) -> None:
    promise = "0 but for those left out, below" if ctrl_c else "0"
    report.add(f"{what}: points tried", {OURS: tally.points})
    told = {
        "points after which the pool was not usable": tally.unusable,
        "runs started twice": tally.twice,
        "sockets, tasks and threads left": tally.left,
        **({"points at which Ctrl-C was swallowed": tally.swallowed} if ctrl_c else {}),
    }
    for name, figure in told.items():
        report.add(f"{what}: {name}", {OURS: figure}, "0" if "twice" in name else promise, figure == 0)
    for attribute, (name, _) in _LEFT_OUT.items() if ctrl_c else ():
        report.add(f"{what}: left out, {name}", {OURS: getattr(tally, attribute)})
    report.failures += tally.failures


if __name__ == "__main__":
    main(measure)
