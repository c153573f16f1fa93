"""Each call gets its own answer and nothing is left over: from threads, in crowds, across forks, and in a soak.

A bounded part of what `python -m trust.load` and `python -m trust.soak` do.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import anyio
import httpx
import pytest

from fetch_hive_sdk import AsyncConnectionPool, AsyncFetchHive, ConnectionPool, FetchHive, StreamError, connections

if sys.platform == "win32":
    pytest.skip("there is no fork on this system", allow_module_level=True)

from trust.load import (
    InFlight,
    Tally,
    call,
    call_as_child,
    call_from_threads,
    call_through_forks,
    call_through_processes,
    descriptors,
    fork,
    stream_at_once,
)
from trust.load_peers import ours, ours_async
from trust.load_server import PIECES, ROOT, LoadServer, order
from trust.soak import KINDS, Clock, Outcomes, fill_string_cache, grown, plan, soak, soak_async

from .lost_sockets import lost_sockets_forgiven

KEY = "fhk_test"


@pytest.fixture(scope="module")
def running() -> Iterator[LoadServer]:
    """A server in a process of its own, for all tests."""
    with LoadServer() as server:
        yield server


@pytest.fixture
def server(running: LoadServer) -> LoadServer:
    """It, with nothing counted yet."""
    running.start_anew()
    return running


def test_threads_share_one_client(server: LoadServer) -> None:
    """Each of 16 threads gets its own answers from one client, every call is one run, and no connection is left."""
    before = descriptors()
    with FetchHive(KEY, server.base_url) as client:
        tally = call_from_threads(client, 16, 50)
    told = server.told()
    assert ([], 800, 800) == (tally.problems, tally.right, told["runs"])
    assert told["most_open"] <= 16
    assert before == descriptors()


def test_threads_keep_to_the_limit_of_connections(server: LoadServer) -> None:
    """16 threads on a pool of 4 connections wait for each other, and open no more than these."""
    limits = httpx.Limits(max_connections=4)
    with ConnectionPool(limits=limits) as pool, FetchHive(KEY, server.base_url, http_client=pool) as client:
        tally = call_from_threads(client, 16, 10)
    told = server.told()
    assert ([], 160, 160) == (tally.problems, tally.right, told["runs"])
    assert told["most_open"] <= 4


@pytest.mark.parametrize("flavor", ["asyncio", "trio"])
@pytest.mark.parametrize("places", [200, 50])
def test_streams_at_once_lose_nothing(server: LoadServer, flavor: str, places: int) -> None:
    """Of 200 streams in one event loop each has its own text as a whole, with a connection each or waiting for one."""

    async def read() -> Tally:
        pool = AsyncConnectionPool(limits=httpx.Limits(max_connections=places))
        async with pool, AsyncFetchHive(KEY, server.base_url, http_client=pool) as client:
            tally = await stream_at_once(client, server, 200, places)
        assert before + loop_has == descriptors()
        return tally

    async def count() -> int:
        return descriptors() - before

    before = descriptors()
    loop_has = anyio.run(count, backend=flavor)
    tally = anyio.run(read, backend=flavor)
    told = server.told()
    assert ([], 200, 200) == (tally.problems, tally.right, told["runs"])
    assert places == told["most_open"]


def test_forked_children_call_while_calls_are_in_flight(server: LoadServer) -> None:
    """Children that fork amid their parent's calls use connections of their own; every answer goes where it belongs."""
    unused = AsyncFetchHive(KEY, server.base_url)
    with FetchHive(KEY, server.base_url) as client, InFlight(client, server, "held") as held:
        ours_, theirs, children = call_through_forks(client, unused, 4, 8, threads=4)
    told = server.told()
    assert [] == held.tally.problems + ours_.problems + theirs.problems
    assert (2, 32, 4) == (held.tally.right, theirs.right, children)
    assert 2 + ours_.right + 32 == told["runs"]
    assert (0, []) == (told["shared"], told["twice"])


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_processes_call_with_a_client_they_were_given(server: LoadServer, method: str) -> None:
    """A client works in a child of multiprocessing, however that starts, while its parent's calls are in flight."""
    with FetchHive(KEY, server.base_url) as client, InFlight(client, server, "held") as held:
        tally, children = call_through_processes(client, method, 1, 4)
    told = server.told()
    assert [] == held.tally.problems + tally.problems
    assert (2, 4, 1, 6, 0) == (held.tally.right, tally.right, children, told["runs"], told["shared"])


# Makes a first call in a thread, which stops in the middle of loading what is named, and forks there.
FORK_IN_BETWEEN = """
import os, signal, sys, threading
from fetch_hive_sdk import FetchHive
from trust.load_server import LoadServer, order

address, needed, kind = sys.argv[1:]
client = FetchHive("fhk_test", LoadServer(address).base_url)
begun, forked = threading.Event(), threading.Event()

class Finder:
    def find_spec(self, name, path, target=None):
        if name == needed and threading.current_thread() is not threading.main_thread():
            begun.set()
            forked.wait(0.3)

def work(name):
    inputs = {"call": order(name)}
    if kind == "call":
        assert name == client.invoke_prompt(deployment="d", inputs=inputs).response
    else:
        assert name in client.invoke_prompt_stream(deployment="d", inputs=inputs).final().response

assert needed not in sys.modules
sys.meta_path.insert(0, Finder())
thread = threading.Thread(target=work, args=("parent",))
thread.start()
assert begun.wait(30)
child = os.fork()
if not child:
    signal.alarm(20)
    work("child")
    os._exit(0)
forked.set()
thread.join()
sys.exit(os.waitpid(child, 0)[1])
"""


@pytest.mark.parametrize(
    ("needed", "kind"), [("httpcore", "call"), ("fetch_hive_sdk.results", "call"), ("fetch_hive_sdk.streams", "stream")]
)
def test_a_child_can_call_that_was_forked_amid_the_first_call(server: LoadServer, needed: str, kind: str) -> None:
    """A fork while a thread's first call loads what it needs waits for that, or its child could never load it."""
    if needed == "httpcore" and httpx.__version__.startswith("0.27."):
        pytest.skip("this httpx loads httpcore with itself")
    command = [sys.executable, "-W", "ignore", "-c", FORK_IN_BETWEEN, server.address, needed, kind]
    subprocess.run(command, cwd=ROOT, check=True, timeout=60)
    told = server.told()
    assert (2, [], 0) == (told["runs"], told["twice"], told["shared"])


def test_a_given_pool_begins_anew_in_a_forked_child(server: LoadServer) -> None:
    """A `ConnectionPool` of the caller's that has been used before a fork is not shared by the two processes."""

    def work() -> None:
        assert [] == call_as_child(client, "child", 20).problems

    tally = Tally()
    with ConnectionPool() as pool, FetchHive(KEY, server.base_url, http_client=pool) as client:
        call(client, "before", tally)
        child = fork(work)
        for number in range(20):
            call(client, f"parent-{number}", tally)
        assert 0 == os.waitpid(child, 0)[1]
    told = server.told()
    assert ([], 21, 41, 0) == (tally.problems, tally.right, told["runs"], told["shared"])


@pytest.mark.parametrize("cls", [ConnectionPool, AsyncConnectionPool])
def test_a_pool_forgets_its_connections_in_a_child(monkeypatch: pytest.MonkeyPatch, cls: Any) -> None:
    """In a child a pool has no connections, is open or closed as it was, and what ends there is its parent's."""
    pool = cls()
    monkeypatch.setattr(connections, "_pools", weakref.WeakSet([pool]))
    lease = connections.Lease[Any](pool, (b"http", b"one", None), pool.ledger)
    pool.ledger.take(lease)
    connections._after_fork()  # as it is called in a child
    assert f"<{cls.__name__}: 0 connections in use, 0 idle, 0 requests waiting>" == repr(pool)
    lease.ledger.give_back(lease)
    assert "0 idle" in repr(pool)
    pool.ledger.close()
    connections._after_fork()
    assert pool.is_closed


def test_a_stream_is_not_read_by_a_forked_child(server: LoadServer) -> None:
    """A child that reads on in its parent's stream is told whose it is, and its parent gets the whole text."""

    def work() -> None:
        with pytest.raises(StreamError, match="belongs to that"):
            next(opened)

    with FetchHive(KEY, server.base_url) as client:
        with client.invoke_prompt_stream(deployment="d", inputs={"call": order("one", "hold")}) as opened:
            pieces = [next(opened)]
            child = fork(work)
            assert 0 == os.waitpid(child, 0)[1]
            server.release()
            pieces += opened
        assert "one" * PIECES == "".join(piece.get("response", "") for piece in pieces)


def test_a_stream_knows_its_process(server: LoadServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """To read a stream in another process is an error, which says that its run may have been started."""
    with (
        FetchHive(KEY, server.base_url) as client,
        client.invoke_prompt_stream(deployment="d", inputs={"call": order("one", "hold")}) as opened,
    ):
        next(opened)
        monkeypatch.setattr(os, "getpid", lambda: 1)  # as it is in a child
        with pytest.raises(StreamError, match="belongs to that") as raised:
            next(opened)
        monkeypatch.undo()
    assert raised.value.may_have_run


@lost_sockets_forgiven
@pytest.mark.parametrize("flavor", ["sync", "asyncio"], indirect=True)
def test_a_soak_leaves_nothing_behind(server: LoadServer, flavor: str) -> None:
    """Through hundreds of calls of which many go wrong, each ends as it has to, and nothing is kept for a call."""
    before, threads = descriptors(), threading.active_count()
    clock = Clock()

    async def soak_in_loop() -> Outcomes:
        async with (
            AsyncConnectionPool(clock=clock) as pool,
            AsyncFetchHive(KEY, server.base_url, http_client=pool) as client,
        ):
            return await soak_async(*ours_async(client), 900, 60, seed=1, clock=clock)

    fill_string_cache()
    if flavor == "sync":
        with ConnectionPool(clock=clock) as pool, FetchHive(KEY, server.base_url, http_client=pool) as client:
            outcomes = soak(*ours(client), 900, 60, seed=1, clock=clock)
    else:
        outcomes = anyio.run(soak_in_loop, backend=flavor)
    gc.collect()
    told = server.told()
    assert ([], 0, []) == (outcomes.wrong, outcomes.otherwise, told["twice"])
    assert outcomes.answered > 500
    assert {name for name, kind in KINDS.items() if kind.expects} <= {
        name.partition(":")[0] for name in outcomes.failed
    }
    # What an earlier test has left may end meanwhile.
    assert descriptors() <= before
    assert threading.active_count() <= threads
    warm = outcomes.windows[1:]
    assert grown(warm, "descriptors") <= 1
    # At its fewest, for each measurement also meets some that come and go; less than one for two calls.
    earlier, later = warm[: len(warm) // 2], warm[len(warm) // 2 :]
    kept = min(window.blocks for window in later) - min(window.blocks for window in earlier)
    # Before Python 3.11 each function keeps a frame for its next call, or not, which is hundreds of blocks.
    assert kept < (later[0].calls - earlier[0].calls) / 2 or sys.version_info < (3, 11)


def test_a_soak_meets_every_fault() -> None:
    """Each kind of fault comes equally often, and together they are a twentieth of the calls."""
    kinds = plan(seed=0, cancelling=True)
    faults = [name for name in (next(kinds) for _ in range(2800)) if name not in ("call", "stream")]
    assert 140 == len(faults)
    assert {10} == {faults.count(name) for name in set(faults)}


def test_a_soak_counts_all_that_came_out_otherwise() -> None:
    """Calls that came out otherwise are all counted, as nothing else, and the first of them are told."""
    outcomes = Outcomes()
    for number in range(30):
        outcomes.note("call", f"call{number}", "of another")
        outcomes.note("status 500", f"fault{number}", ValueError())
    outcomes.note("call", "right", "right")
    outcomes.note("cancelled", "over", None)
    assert (1, 60, 20) == (outcomes.answered, outcomes.otherwise, len(outcomes.wrong))
    assert {"cancelled": 1} == outcomes.failed
