"""Streams on a real socket: what is yielded, how they end, and that connections come back."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
import zlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import httpx
import pytest

from fetch_hive_sdk import (
    AgentReply,
    APIConnectionError,
    APITimeoutError,
    AsyncFetchHive,
    AuthenticationError,
    FetchHive,
    FetchHiveError,
    PromptResult,
    ResponseEvent,
    StreamClosedError,
    StreamError,
    StreamFailedError,
    StreamIdleTimeoutError,
    StreamInterruptedError,
    UsageEvent,
)
from fetch_hive_sdk.async_connections import AsyncConnectionPool
from fetch_hive_sdk.connections import ConnectionPool

from .faulty_server import (
    Exchange,
    FaultyServer,
    Step,
    chunked,
    close,
    json_reply,
    stream,
    wait_for_hang_up,
)
from .lost_sockets import no_socket_lost_at_once

pytestmark = pytest.mark.anyio

LET = '{"request_id":"req_1","type":"reasoning","model":"m","response":" let"}'
HEL = '{"request_id":"req_1","type":"response","model":"m","response":"Hel"}'
LO = '{"request_id":"req_1","type":"response","model":"m","response":"lo"}'
USAGE = '{"request_id":"req_1","type":"usage","usage":{"total_tokens":3},"stop_reason":"completed"}'
ERROR = '{"type":"error","error":"provider failed","error_code":"internal_server_error","request_id":"req_1"}'
DONE = "[DONE]"
WHOLE = stream(LET, HEL, LO, USAGE, DONE)


def zipped(*events: str, end: Step | None = None) -> Step:
    """The events with gzip, each in a chunk of its own."""
    packer = zlib.compressobj(wbits=31)
    pieces = [packer.compress(f"data: {event}\n\n".encode()) + packer.flush(zlib.Z_SYNC_FLUSH) for event in events]

    def step(exchange: Exchange) -> None:
        head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n"
        exchange.send(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        for piece in (*pieces, packer.flush()) if end is None else pieces:
            exchange.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        exchange.send(b"0\r\n\r\n") if end is None else end(exchange)

    return step


def prompt(client: Any) -> Any:
    return client.invoke_prompt_stream(deployment="d", variant="v")


async def types_of(stream: Any, seen: list[str]) -> None:
    """Note each event's type as it comes, also before an error."""
    async for event in stream:
        seen.append(event.type)  # noqa: PERF401 - a comprehension would lose them with the error


async def test_events_come_typed_and_in_order(
    faulty: FaultyServer, make_client: Callable[..., Any], connections: dict[str, Any]
) -> None:
    """A stream yields each event once, in order, as its class."""
    faulty.then(WHOLE)
    async with make_client(**connections, base_url=faulty.base_url) as client:
        events = [event async for event in prompt(client)]
    assert ["reasoning", "response", "response", "usage"] == [event.type for event in events]
    assert isinstance(events[1], ResponseEvent)
    assert isinstance(events[3], UsageEvent)
    assert "Hel" == events[1]["response"]


async def test_text_and_final(
    faulty: FaultyServer, make_client: Callable[..., Any], connections: dict[str, Any]
) -> None:
    """The text iterates alone, and the final result is what the plain call returns."""
    faulty.then(WHOLE)
    async with make_client(**connections, base_url=faulty.base_url) as client, prompt(client) as opened:
        assert ["Hel", "lo"] == [piece async for piece in opened.text]
        result = await opened.final()
        assert "req_1" == opened.request_id
        assert 200 == opened.http_response.status_code
    assert isinstance(result, PromptResult)
    assert ("Hello", "m", "completed") == (result.response, result.model, result.stop_reason)
    assert 3 == result.usage.total_tokens


async def test_an_agent_stream_adds_up_to_a_reply(faulty: FaultyServer, make_client: Callable[..., Any]) -> None:
    """Tools, artifacts and the state of an agent's stream are in its final reply."""
    tool = '{"type":"tool","tool":"google_search","tool_input":{"q":"x"},"observation":"{}"}'
    artifact = '{"type":"artifact","artifact":{"file_url":"https://x/a.pdf"}}'
    usage = '{"type":"usage","request_id":"req_1","run_id":"req_1","status":"completed","thread_id":null}'
    faulty.then(stream(tool, artifact, HEL, usage, DONE))
    async with make_client(base_url=faulty.base_url) as client:
        reply = await client.invoke_agent_stream(agent="a", message="m").final()
    assert isinstance(reply, AgentReply)
    assert ("Hel", "completed", "req_1") == (reply.response, reply.status, reply.run_id)
    assert ("google_search", '{"q":"x"}') == (reply.tool_calls[0].tool_name, reply.tool_calls[0].tool_input)
    assert "https://x/a.pdf" == reply.artifacts[0].file_url


async def test_nothing_is_sent_before_it_is_read(faulty: FaultyServer, make_client: Callable[..., Any]) -> None:
    """Making a stream sends nothing; closing it unread sends nothing either, and reading it then is refused."""
    faulty.then(WHOLE)
    async with make_client(base_url=faulty.base_url) as client:
        unread = prompt(client)
        await unread.aclose()
        with pytest.raises(StreamClosedError):
            await unread.final()
    assert 0 == len(faulty.requests)


async def test_an_end_without_done_is_complete_after_usage(
    faulty: FaultyServer, make_client: Callable[..., Any]
) -> None:
    """The usage event is the end of the answer; a connection that breaks after it harms nothing."""
    faulty.then(stream(HEL, USAGE), stream(HEL, USAGE, end=close), stream(HEL, DONE))
    async with make_client(base_url=faulty.base_url) as client:
        for _ in range(3):
            assert "Hel" == (await prompt(client).final()).response


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(stream(HEL), id="early end"),
        pytest.param(stream(HEL, end=close), id="close"),
        pytest.param(chunked(f"data: {HEL}\n\ndata: {USAGE}".encode()), id="end inside an event"),
    ],
)
async def test_a_cut_stream_raises_with_what_came(
    script: Any, faulty: FaultyServer, make_client: Callable[..., Any]
) -> None:
    """A stream that ends before its end yields what came, then raises; the part is in the error."""
    faulty.then(script)
    seen: list[str] = []
    async with make_client(base_url=faulty.base_url) as client:
        with pytest.raises(StreamInterruptedError, match=r"was interrupted") as caught:
            await types_of(prompt(client), seen)
    assert ["response"] == seen
    assert ("Hel", "req_1", True) == (
        caught.value.partial.response,
        caught.value.request_id,
        caught.value.may_have_run,
    )
    assert isinstance(caught.value, APIConnectionError)
    assert 1 == len(faulty.requests)


async def test_an_interrupted_stream_stays_interrupted(faulty: FaultyServer, make_client: Callable[..., Any]) -> None:
    """After the error has been caught, asking for the final result raises it again."""
    faulty.then(stream(HEL))
    async with make_client(base_url=faulty.base_url) as client, prompt(client) as opened:
        for _ in range(2):
            with pytest.raises(StreamInterruptedError):
                await opened.final()


@pytest.mark.parametrize("ending", [(ERROR,), (ERROR, DONE)], ids=["alone", "with [DONE]"])
async def test_an_error_event_is_yielded_and_then_raised(
    ending: tuple[str, ...], faulty: FaultyServer, make_client: Callable[..., Any]
) -> None:
    """A failed run shows its error event, and the next step raises with the service's words and code."""
    faulty.then(stream(HEL, *ending))
    seen: list[str] = []
    async with make_client(base_url=faulty.base_url) as client:
        with pytest.raises(StreamFailedError, match="provider failed") as caught:
            await types_of(prompt(client), seen)
    assert ["response", "error"] == seen
    assert ("internal_server_error", "Hel") == (caught.value.error_code, caught.value.partial.response)


@pytest.mark.parametrize("data", ["{broken", "[1]", "5", "ping"])
async def test_an_unreadable_event_is_no_small_matter(
    data: str, faulty: FaultyServer, make_client: Callable[..., Any]
) -> None:
    """Data that is no JSON object interrupts the stream instead of leaving a hole in the text."""
    faulty.then(stream(HEL, data, LO, USAGE, DONE))
    async with make_client(base_url=faulty.base_url) as client:
        with pytest.raises(StreamInterruptedError, match="not a JSON object") as caught:
            await prompt(client).final()
    assert "Hel" == caught.value.partial.response


async def test_an_oversized_event_is_refused(faulty: FaultyServer, make_client: Callable[..., Any]) -> None:
    """An event beyond the client's max_event_size, or that of with_options(), breaks off the stream."""
    faulty.then(chunked(b"data: " + b"x" * 200))
    async with make_client(base_url=faulty.base_url, max_event_size=100) as client:
        for limit, limited in ((100, client), (150, client.with_options(max_event_size=150))):
            with pytest.raises(StreamInterruptedError, match=f"larger than max_event_size={limit} bytes"):
                await prompt(limited).final()
        faulty.then(WHOLE)
        assert "Hello" == (await prompt(client.with_options(max_event_size=200)).final()).response


async def test_silence_ends_at_the_idle_timeout(
    faulty: FaultyServer, make_client: Callable[..., Any], connections: dict[str, Any]
) -> None:
    """A stream without an event for idle_timeout seconds raises, with what came."""
    faulty.then(stream(HEL, end=wait_for_hang_up))
    async with make_client(**connections, base_url=faulty.base_url, idle_timeout=0.2) as client:
        with pytest.raises(StreamIdleTimeoutError, match=r"no event came for 0.2 s") as caught:
            await prompt(client).final()
    assert "Hel" == caught.value.partial.response
    assert isinstance(caught.value, APITimeoutError)
    assert isinstance(caught.value, httpx.TimeoutException)


async def test_comments_do_not_extend_the_idle_timeout(
    faulty: FaultyServer, make_client: Callable[..., Any], connections: dict[str, Any]
) -> None:
    """Keep-alive comments keep the connection, not the patience."""

    def comments(exchange: Exchange) -> None:
        while exchange.pause(0.02):
            exchange.send(b"3\r\n:\n\n\r\n")

    faulty.then(stream(HEL, end=comments))
    async with make_client(**connections, base_url=faulty.base_url, idle_timeout=0.2) as client:
        with pytest.raises(StreamIdleTimeoutError):
            await prompt(client).final()


async def test_silence_after_usage_harms_nothing(
    faulty: FaultyServer, make_client: Callable[..., Any], connections: dict[str, Any]
) -> None:
    """A server that forgets to end the stream after the last event only costs the wait."""
    faulty.then(stream(HEL, USAGE, end=wait_for_hang_up))
    async with make_client(**connections, base_url=faulty.base_url, idle_timeout=0.2) as client:
        assert "Hel" == (await prompt(client).final()).response


async def test_a_refusal_before_the_stream_is_a_status_error(
    faulty: FaultyServer, make_client: Callable[..., Any]
) -> None:
    """An error status before the stream opens has its class, text and body."""
    faulty.then(json_reply('{"error":"Invalid access."}', 401))
    async with make_client(base_url=faulty.base_url) as client:
        with pytest.raises(AuthenticationError, match="Invalid access") as caught:
            await prompt(client).final()
    assert {"error": "Invalid access."} == caught.value.body


async def test_a_finished_stream_gives_its_connection_back(
    faulty: FaultyServer, make_client: Callable[..., Any]
) -> None:
    """Many streams read to their end share one connection."""
    faulty.then(WHOLE)
    async with make_client(base_url=faulty.base_url) as client:
        for _ in range(5):
            await prompt(client).final()
    assert (5, 1) == (len(faulty.requests), faulty.connections)


async def test_what_follows_the_end_is_read_and_ignored(faulty: FaultyServer, make_client: Callable[..., Any]) -> None:
    """Bytes after [DONE] change nothing, and the connection is used again."""
    faulty.then(stream(HEL, DONE, LO, "x"))
    async with make_client(base_url=faulty.base_url) as client:
        for _ in range(2):
            assert "Hel" == (await prompt(client).final()).response
    assert 1 == faulty.connections


async def test_a_server_that_does_not_end_costs_a_second_at_most(
    faulty: FaultyServer, make_client: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that stays open after [DONE] is given up soon, and the result is there."""
    monkeypatch.setattr("fetch_hive_sdk.streams._DRAIN_SECONDS", 0.05)
    faulty.then(stream(HEL, DONE, end=wait_for_hang_up))
    async with make_client(base_url=faulty.base_url) as client:
        assert "Hel" == (await prompt(client).final()).response


async def test_a_stream_left_early_frees_its_connection(faulty: FaultyServer, make_client: Callable[..., Any]) -> None:
    """Leaving the block hangs up, so that a pool of one connection serves the next call; reading on is refused."""
    hung_up = threading.Event()

    def until_hung_up(exchange: Exchange) -> None:
        exchange.wait_for_hang_up()
        hung_up.set()

    faulty.then(stream(HEL, end=until_hung_up), WHOLE)
    async with make_client(base_url=faulty.base_url, timeout=5) as client:
        async with prompt(client) as opened:
            async for _ in opened:
                break
        assert hung_up.wait(5)
        with pytest.raises(StreamClosedError, match="left before its end") as caught:
            await opened.final()
        assert "Hel" == caught.value.partial.response
        assert "Hello" == (await prompt(client).final()).response


def test_break_frees_the_connection_at_once(faulty: FaultyServer) -> None:
    """In the sync client break alone gives the connection back, even while the stream object lives."""
    faulty.then(stream(HEL, LO, end=wait_for_hang_up), WHOLE)
    with httpx.Client(limits=httpx.Limits(max_connections=1)) as one:
        client = FetchHive("fhk_test", faulty.base_url, http_client=one, timeout=5)
        kept = prompt(client)
        for event in kept:
            assert "Hel" == event["response"]
            break
        assert "Hello" == prompt(client).final().response
        with pytest.raises(StreamClosedError):
            next(kept)


ONE = httpx.Limits(max_connections=1)
# Its contextlib keeps what httpx decodes with in a circle, which only a second collection ends, socket and all.
COLLECTED_TWICE = sys.version_info < (3, 11)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning" if COLLECTED_TWICE else "error")
@pytest.mark.parametrize("make_pool", [AsyncConnectionPool, httpx.AsyncClient])
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
@pytest.mark.parametrize("flavor", ["asyncio"], indirect=True)
async def test_garbage_frees_the_connection(faulty: FaultyServer, flavor: str, packed: bool, make_pool: Any) -> None:
    """An async stream that is left without a block gives its connection back when it is collected."""
    faulty.then(zipped(HEL, LO, end=wait_for_hang_up) if packed else stream(HEL, LO, end=wait_for_hang_up), WHOLE)
    async with make_pool(limits=ONE) as one:
        client = AsyncFetchHive("fhk_test", faulty.base_url, http_client=one, timeout=5)
        async for _ in prompt(client):
            break
        gc.collect()
        if packed and COLLECTED_TWICE:
            await anyio.wait_all_tasks_blocked()
            gc.collect()
        assert "Hello" == (await prompt(client).final()).response


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of a socket that nobody closed
@pytest.mark.parametrize("read", [0, 1], ids=["only opened", "half read"])
@pytest.mark.parametrize("waiting", [False, True], ids=["free", "one waits"])
def test_garbage_of_the_sync_client(faulty: FaultyServer, read: int, waiting: bool) -> None:
    """A sync stream that nobody closed gives its place up once it is collected, also to a call that waits for one."""
    faulty.then(stream(HEL, LO, end=wait_for_hang_up), WHOLE)
    with ConnectionPool(limits=ONE) as one, ThreadPoolExecutor(1) as threads:
        client = FetchHive("fhk_test", faulty.base_url, http_client=one, timeout=5)
        left = prompt(client)
        left.__enter__()
        for _ in range(read):
            next(left)
        following = threads.submit(prompt(client).final) if waiting else None
        while waiting and " 0 requests waiting" in repr(one):
            threading.Event().wait(0.005)
        del left
        gc.collect()
        assert "Hello" == (following.result() if following else prompt(client).final()).response


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of a socket that nobody closed
def test_garbage_while_the_pool_is_at_work(faulty: FaultyServer) -> None:
    """A stream that is collected where the pool's lock is held gives its place up to the next call."""
    faulty.then(stream(HEL, LO, end=wait_for_hang_up), WHOLE)
    with ConnectionPool(limits=ONE) as one:
        client = FetchHive("fhk_test", faulty.base_url, http_client=one, timeout=5)
        left = prompt(client)
        next(left)
        with one.lock:
            del left
            gc.collect()
        assert "Hello" == prompt(client).final().response


def test_closing_in_a_forked_child_leaves_the_parent_reading(
    faulty: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream that the parent was reading when it forked is not broken off by the child's copy of it."""
    faulty.then(WHOLE)
    with FetchHive("fhk_test", faulty.base_url, timeout=5) as client, prompt(client) as opened:
        next(opened)
        opened._busy = True
        with monkeypatch.context() as child:
            child.setattr(os, "getpid", lambda: -1)
            opened.close()
        opened._busy = opened._left_early = False  # as they are in the parent
        assert "Hello" == opened.final().response


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of a socket that nobody closed
@pytest.mark.parametrize("flavor", ["asyncio"], indirect=True)
async def test_garbage_that_was_only_opened(faulty: FaultyServer, flavor: str) -> None:
    """An async stream that was entered, never read and never closed gives its place up to the next call."""
    faulty.then(stream(HEL, LO, end=wait_for_hang_up), WHOLE)
    async with AsyncConnectionPool(limits=ONE) as one:
        client = AsyncFetchHive("fhk_test", faulty.base_url, http_client=one, timeout=5)
        await prompt(client).__aenter__()
        gc.collect()
        assert "Hello" == (await prompt(client).final()).response


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
@pytest.mark.parametrize("flavor", ["asyncio", "trio"], indirect=True)
async def test_a_stream_that_a_hook_has_read(faulty: FaultyServer, flavor: str, packed: bool) -> None:
    """It is taken from the response: by then its connection may be that of another call, which is left alone."""
    arrived, go_on = threading.Event(), threading.Event()

    def late(exchange: Exchange) -> None:
        arrived.set()
        go_on.wait(5)
        json_reply('{"response":"other"}')(exchange)

    async def read(response: httpx.Response) -> None:
        await response.aread()

    others: list[str] = []
    faulty.then((zipped if packed else stream)(LET, HEL, LO, USAGE, DONE), late)
    async with httpx.AsyncClient(event_hooks={"response": [read]}) as given, anyio.create_task_group() as tasks:
        client = AsyncFetchHive("fhk_test", faulty.base_url, http_client=given, timeout=5, idle_timeout=2)

        async def call() -> None:
            others.append((await client.invoke_prompt(deployment="d")).response)

        async with prompt(client) as opened:
            tasks.start_soon(call)
            await anyio.to_thread.run_sync(arrived.wait, 5)
            assert "Hello" == (await opened.final()).response
        go_on.set()
    assert (["other"], 1) == (others, faulty.connections)


def test_a_stream_that_a_hook_of_the_sync_client_has_read(faulty: FaultyServer) -> None:
    """The same for the sync client: nothing more is waited for on the connection."""
    faulty.then(WHOLE, json_reply('{"response":"other"}'))
    with httpx.Client(event_hooks={"response": [lambda response: response.read()]}) as given:
        client = FetchHive("fhk_test", faulty.base_url, http_client=given, timeout=5, idle_timeout=2)
        with prompt(client) as opened:
            assert "other" == client.invoke_prompt(deployment="d").response
            assert "Hello" == opened.final().response
    assert 1 == faulty.connections


@pytest.mark.parametrize("turns", range(6))
@pytest.mark.parametrize("flavor", ["asyncio"], indirect=True)
async def test_closing_a_stream_at_its_end_breaks_no_other_call(faulty: FaultyServer, flavor: str, turns: int) -> None:
    """Who closes a stream just when its reader gives the connection back leaves the next call on it alone."""
    go_on = threading.Event()

    def late(exchange: Exchange) -> None:
        go_on.wait(5)
        json_reply('{"response":"other"}')(exchange)

    faulty.then(WHOLE, late)
    async with AsyncFetchHive("fhk_test", faulty.base_url, timeout=5) as client:
        opened = prompt(client)
        await opened.__aenter__()
        reading = asyncio.create_task(opened.final())
        while not opened.http_response.is_closed:  # noqa: ASYNC110 - the very turn is what matters
            await asyncio.sleep(0)
        other = asyncio.create_task(client.invoke_prompt(deployment="d"))
        for _ in range(turns):
            await asyncio.sleep(0)
        await opened.aclose()
        go_on.set()
        assert "other" == (await other).response
        assert "Hello" == (await reading).response


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("flavor", ["asyncio"], indirect=True)
async def test_reading_on_while_another_closes_at_the_end(
    faulty: FaultyServer, connections: dict[str, Any], flavor: str, turns: int
) -> None:
    """Who asks for the next event while the end of the stream is read by a close gets its end."""
    whole = b"".join(f"data: {event}\n\n".encode() for event in (HEL, LO, USAGE, DONE))
    faulty.then(chunked(whole, end=lambda exchange: (exchange.pause(0.1), exchange.send(b"0\r\n\r\n"))))
    async with AsyncFetchHive("fhk_test", faulty.base_url, timeout=5, **connections) as client:
        opened = prompt(client)
        for _ in range(3):
            await opened.__anext__()

        async def read_on() -> list[Any]:
            for _ in range(turns):
                await asyncio.sleep(0)
            return [event async for event in opened]

        assert [None, []] == await asyncio.gather(opened.aclose(), read_on())


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("flavor", ["asyncio"], indirect=True)
async def test_closing_wakes_a_read_that_has_just_begun(flavor: str, turns: int) -> None:
    """With a transport that has no socket, too, a close in the first turns of a read ends that at once."""

    async def body() -> Any:
        yield f"data: {HEL}\n\n".encode()
        await anyio.sleep(30)

    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, content=body()))) as given:
        opened = prompt(AsyncFetchHive("fhk_test", http_client=given))
        await opened.__anext__()
        reading = asyncio.create_task(opened.__anext__())
        for _ in range(turns):
            await asyncio.sleep(0)
        await opened.aclose()
        with pytest.raises(StreamClosedError):
            await asyncio.wait_for(reading, 10)


def test_closing_a_sync_stream_at_its_end_breaks_no_other_call(faulty: FaultyServer) -> None:
    """A thread that comes to close a stream when its reader has given the connection back leaves that alone."""
    ready, given_back = threading.Event(), threading.Event()
    faulty.then(WHOLE, json_reply('{"response":"other"}'))
    with FetchHive("fhk_test", faulty.base_url, timeout=5) as client:
        opened = prompt(client)
        opened.__enter__()
        network = opened.http_response.extensions["network_stream"]
        asked = network.get_extra_info

        def asked_late(info: str) -> Any:
            if threading.current_thread() is closing:  # between its look at the stream and the end of its connection
                ready.set()
                given_back.wait(1)
            return asked(info)

        network.get_extra_info = asked_late
        closing = threading.Thread(target=opened.close)
        opened._busy = True  # as in the middle of a read
        closing.start()
        assert ready.wait(5)
        reading = threading.Thread(target=opened._shut)
        reading.start()
        reading.join(0.1)
        assert not opened.http_response.is_closed  # it waits for who was looking
        given_back.set()
        closing.join()
        reading.join()
        assert "other" == client.invoke_prompt(deployment="d").response


@pytest.mark.parametrize("flavor", ["asyncio", "trio"], indirect=True)
async def test_cancellation_frees_the_connection(faulty: FaultyServer, flavor: str) -> None:
    """A cancelled read gives the connection back, and the pool serves the next call."""
    faulty.then(stream(HEL, end=wait_for_hang_up), WHOLE)
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=1)) as one:
        client = AsyncFetchHive("fhk_test", faulty.base_url, http_client=one, timeout=5)
        with anyio.move_on_after(0.2) as scope:
            await prompt(client).final()
        assert scope.cancelled_caught
        assert "Hello" == (await prompt(client).final()).response


@pytest.mark.parametrize("flavor", ["asyncio", "trio"], indirect=True)
async def test_another_task_can_close_a_stream(faulty: FaultyServer, flavor: str) -> None:
    """Cancelling the scope of one stream leaves the others alone."""
    faulty.then(stream(HEL, end=wait_for_hang_up), WHOLE)
    texts: list[str] = []
    async with AsyncFetchHive("fhk_test", faulty.base_url, timeout=5) as client, anyio.create_task_group() as tasks:
        scope = anyio.CancelScope()

        async def waits() -> None:
            with scope:
                await prompt(client).final()

        tasks.start_soon(waits)
        while not faulty.requests:
            await anyio.lowlevel.checkpoint()
        texts.append((await prompt(client).final()).response)
        scope.cancel()
    assert ["Hello"] == texts


async def test_a_stream_that_was_refused_stays_refused(faulty: FaultyServer, make_client: Callable[..., Any]) -> None:
    """A second read of a stream that could not be opened raises the same error, and sends nothing more."""
    faulty.then(json_reply('{"error":"Invalid access."}', 401))
    async with make_client(base_url=faulty.base_url) as client:
        refused = prompt(client)
        for _ in range(2):
            with pytest.raises(AuthenticationError):
                await refused.final()
    assert 1 == len(faulty.requests)


@pytest.mark.parametrize("flavor", ["asyncio", "trio"], indirect=True)
async def test_a_cancelled_opening_is_not_sent_again(faulty: FaultyServer, flavor: str) -> None:
    """A stream whose opening was cancelled may have started the run: reading it again sends nothing."""
    faulty.then(wait_for_hang_up)
    async with AsyncFetchHive("fhk_test", faulty.base_url) as client:
        opened = prompt(client)
        with anyio.move_on_after(0.2):
            await opened.__anext__()
        for _ in range(2):
            with pytest.raises(StreamClosedError) as caught:
                await opened.__anext__()
    assert caught.value.may_have_run
    assert 1 == len(faulty.requests)


def test_an_interrupted_opening_is_not_sent_again() -> None:
    """In the sync client it is Ctrl-C that interrupts: reading again sends nothing either."""
    sent: list[str] = []

    def interrupt(request: httpx.Request) -> httpx.Response:
        sent.append(request.method)
        raise KeyboardInterrupt

    with httpx.Client(transport=httpx.MockTransport(interrupt)) as given:
        opened = prompt(FetchHive("fhk_test", http_client=given))
        with pytest.raises(KeyboardInterrupt):
            next(opened)
        with pytest.raises(StreamClosedError):
            next(opened)
    assert ["POST"] == sent


def test_two_threads_cannot_read_one_stream(faulty: FaultyServer) -> None:
    """A second reader is refused instead of sending the call a second time."""
    faulty.then(wait_for_hang_up)
    with FetchHive("fhk_test", faulty.base_url, idle_timeout=60) as client:
        opened = prompt(client)

        def read() -> None:
            with pytest.raises(FetchHiveError):
                next(opened)

        reader = threading.Thread(target=read)
        reader.start()
        while not faulty.requests:
            pass
        for second in (opened.__next__, opened.final):
            with pytest.raises(StreamError, match="is being read by another"):
                second()
        assert not opened._left_early  # the second reader has not closed the first one's stream
        opened.close()  # opening is waited out
        faulty.__exit__(None, None, None)
        reader.join(timeout=10)
    assert 1 == len(faulty.requests)


@pytest.mark.parametrize("flavor", ["asyncio", "trio"], indirect=True)
async def test_two_tasks_cannot_read_one_stream(faulty: FaultyServer, flavor: str) -> None:
    """A second reader is refused, and closing wakes the first while it opens."""
    faulty.then(wait_for_hang_up)
    async with AsyncFetchHive("fhk_test", faulty.base_url) as client, anyio.create_task_group() as tasks:
        opened = prompt(client)

        async def read() -> None:
            with pytest.raises(StreamClosedError):
                await opened.__anext__()

        tasks.start_soon(read)
        while not faulty.requests:
            await anyio.lowlevel.checkpoint()
        with pytest.raises(StreamError, match="is being read by another"):
            await opened.__anext__()
        await opened.aclose()
    assert 1 == len(faulty.requests)


@pytest.mark.parametrize("flavor", ["asyncio", "trio"], indirect=True)
async def test_many_may_close_one_stream(faulty: FaultyServer, flavor: str) -> None:
    """Closing a stream several times at once is as closing it once."""
    faulty.then(stream(HEL, end=wait_for_hang_up))
    async with AsyncFetchHive("fhk_test", faulty.base_url) as client:
        opened = prompt(client)
        await opened.__anext__()
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(opened.aclose)
    assert opened.http_response.is_closed


@pytest.mark.parametrize("flavor", ["asyncio", "trio"], indirect=True)
async def test_a_chunk_with_more_than_one_event_unwinds_in_order(faulty: FaultyServer, flavor: str) -> None:
    """Leaving a block while events are still buffered leaves nothing to the collector."""
    faulty.then(chunked(*(f"data: {HEL}\n\n".encode() * 3,) * 3, end=wait_for_hang_up))
    async with AsyncFetchHive("fhk_test", faulty.base_url) as client:
        async with prompt(client) as opened:
            await opened.__anext__()
        gc.collect()


def test_a_stop_iteration_of_a_transport_is_no_end() -> None:
    """A mock that runs out of replies is an error, and not a stream without events."""
    replies: Any = iter(())
    with httpx.Client(transport=httpx.MockTransport(lambda _: next(replies))) as given:
        exhausted = prompt(FetchHive("fhk_test", http_client=given))
        for _ in range(2):
            with pytest.raises(RuntimeError, match="raised StopIteration"):
                next(exhausted)


@pytest.mark.parametrize("flavor", ["asyncio"], indirect=True)
async def test_a_stop_async_iteration_of_a_transport_is_no_end(flavor: str) -> None:
    """The same for the async client."""

    async def answer(_: httpx.Request) -> httpx.Response:
        raise StopAsyncIteration

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as given:
        with pytest.raises(RuntimeError, match="raised StopAsyncIteration"):
            await prompt(AsyncFetchHive("fhk_test", http_client=given)).final()


async def test_a_stream_closed_unread_did_not_run(make_client: Callable[..., Any]) -> None:
    """The error of a stream that was closed before it was opened says that nothing ran."""
    async with make_client() as client:
        unread = prompt(client)
        await unread.aclose()
        with pytest.raises(StreamClosedError) as caught:
            await unread.final()
    assert not caught.value.may_have_run


async def test_a_complete_answer_does_not_wait_for_its_end(
    faulty: FaultyServer, make_client: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the usage event a server that keeps the line open costs a moment, not the idle timeout."""
    monkeypatch.setattr("fetch_hive_sdk.streams._DRAIN_SECONDS", 0.05)
    faulty.then(stream(HEL, USAGE, end=wait_for_hang_up))
    async with make_client(base_url=faulty.base_url, idle_timeout=600) as client:
        assert "Hel" == (await prompt(client).final()).response


async def test_an_error_of_a_stream_has_its_request(faulty: FaultyServer, make_client: Callable[..., Any]) -> None:
    """Code that reads `error.request`, as of httpx's errors, finds it on an interrupted stream too."""
    faulty.then(stream(HEL))
    async with make_client(base_url=faulty.base_url) as client:
        with pytest.raises(StreamInterruptedError) as caught:
            await prompt(client).final()
    assert "POST" == caught.value.request.method


async def test_an_untyped_error_is_an_error(faulty: FaultyServer, make_client: Callable[..., Any]) -> None:
    """An event with an error and no type fails the stream as one with a type does."""
    faulty.then(stream(HEL, '{"error":"provider failed"}', DONE))
    async with make_client(base_url=faulty.base_url) as client:
        with pytest.raises(StreamFailedError, match="provider failed"):
            await prompt(client).final()


def test_another_thread_can_close_a_stream(faulty: FaultyServer) -> None:
    """Closing a stream that another thread reads wakes that thread, which learns that it was closed."""
    faulty.then(stream(HEL, end=wait_for_hang_up), WHOLE)
    caught: list[BaseException] = []
    with FetchHive("fhk_test", faulty.base_url, idle_timeout=60) as client:
        opened = prompt(client)
        next(opened)

        def read() -> None:
            try:
                opened.final()
            except StreamClosedError as error:
                caught.append(error)

        reader = threading.Thread(target=read)
        reader.start()
        while not opened._busy:
            pass
        opened.close()
        reader.join(timeout=10)
        assert not reader.is_alive()
        assert "Hello" == prompt(client).final().response
    assert 1 == len(caught)


def test_closing_a_stream_of_a_mock_that_is_read_does_no_harm() -> None:
    """A stream whose transport has no socket can be closed while it is read."""
    opened: list[Any] = []

    def body() -> Any:
        yield f"data: {HEL}\n\n".encode()
        opened[0].close()
        yield f"data: {LO}\n\n".encode()

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=body())

    with httpx.Client(transport=httpx.MockTransport(answer)) as given:
        opened.append(prompt(FetchHive("fhk_test", http_client=given)))
        assert "Hel" == next(opened[0])["response"]
        with pytest.raises(StreamClosedError):
            next(opened[0])


@pytest.mark.parametrize("flavor", ["asyncio", "trio"], indirect=True)
async def test_a_task_can_close_a_stream_that_another_reads(faulty: FaultyServer, flavor: str) -> None:
    """Closing a stream that another task reads wakes that task, which learns that it was closed."""
    faulty.then(stream(HEL, end=wait_for_hang_up), WHOLE)
    caught: list[BaseException] = []
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=1)) as one:
        client = AsyncFetchHive("fhk_test", faulty.base_url, http_client=one, timeout=5)
        opened = prompt(client)

        async def read() -> None:
            try:
                await opened.final()
            except StreamClosedError as error:
                caught.append(error)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            while opened._waiting is None or not opened.request_id:
                await anyio.lowlevel.checkpoint()
            await opened.aclose()
        assert "Hello" == (await prompt(client).final()).response
    assert 1 == len(caught)


@no_socket_lost_at_once
@pytest.mark.parametrize("flavor", ["asyncio"], indirect=True)
@pytest.mark.parametrize("what", ["stream", "call"])
async def test_native_cancellation_loses_no_connection(faulty: FaultyServer, flavor: str, what: str) -> None:
    """`Task.cancel` of asyncio, at whichever await it lands, leaves a pool of one connection usable."""
    faulty.then(
        lambda exchange: (WHOLE if b'"streaming":true' in exchange.body else json_reply('{"response":"Hello"}'))(
            exchange
        )
    )
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=1)) as one:
        client = AsyncFetchHive("fhk_test", faulty.base_url, http_client=one, timeout=5)

        async def work() -> Any:
            if what == "call":
                return await client.invoke_prompt(deployment="d")
            async with prompt(client) as opened:
                return await opened.final()

        for turns in range(150):
            task = asyncio.create_task(work())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert "Hello" == (await work()).response


@pytest.mark.parametrize("flavor", ["asyncio"], indirect=True)
async def test_an_endless_transport_that_never_waits_can_be_left(flavor: str) -> None:
    """Leaving the block stops a mock that would yield for ever without ever waiting."""
    pulled: list[int] = []

    async def body() -> Any:
        for number in range(100_000):
            pulled.append(number)
            yield f"data: {HEL}\n\n".encode()

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=body())

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as given:
        client = AsyncFetchHive("fhk_test", http_client=given)
        async with prompt(client) as opened:
            await opened.__anext__()
    assert len(pulled) < 10


def test_next_reads_one_event(faulty: FaultyServer) -> None:
    """`next(stream)` works as it did on the released client's generators."""
    faulty.then(WHOLE)
    with FetchHive("fhk_test", faulty.base_url) as client:
        opened = prompt(client)
        assert "reasoning" == next(opened).type
        assert ["response", "response", "usage"] == [event.type for event in opened]
        assert [] == list(opened)


def test_a_stream_that_is_read_can_be_entered(faulty: FaultyServer) -> None:
    """A block around a stream whose first event was taken before goes on with it, and sends nothing again."""
    faulty.then(WHOLE)
    with FetchHive("fhk_test", faulty.base_url) as client:
        opened = prompt(client)
        assert "reasoning" == next(opened).type
        with opened:
            assert "Hello" == opened.final().response
    assert 1 == len(faulty.requests)


@pytest.mark.parametrize("flavor", ["asyncio", "trio"], indirect=True)
async def test_an_async_stream_that_is_read_can_be_entered(faulty: FaultyServer, flavor: str) -> None:
    """The same for the async client."""
    faulty.then(WHOLE)
    async with AsyncFetchHive("fhk_test", faulty.base_url) as client:
        opened = prompt(client)
        assert "reasoning" == (await opened.__anext__()).type
        async with opened:
            assert "Hello" == (await opened.final()).response
    assert 1 == len(faulty.requests)


def test_an_event_that_another_thread_took_costs_nothing(faulty: FaultyServer) -> None:
    """A thread that finds the last waiting event taken by another at that very moment waits for the next."""

    class Taken(deque[Any]):
        looked = 0

        def __bool__(self) -> bool:  # says at first that there is an event, which then is gone
            self.looked += 1
            return self.looked <= 2 or len(self) > 0

    faulty.then(WHOLE)
    with FetchHive("fhk_test", faulty.base_url) as client:
        opened = prompt(client)
        opened._reader.events = Taken()
        assert ["reasoning", "response", "response", "usage"] == [event.type for event in opened]


class Snatched(deque[Any]):
    """Events of which another reader takes the first one in the moment after it was seen."""

    def popleft(self) -> Any:
        event = super().popleft()
        if "snatched" not in self.__dict__:
            self.snatched = event
            raise IndexError
        return event


@pytest.mark.parametrize("read", [next, lambda stream: next(iter(stream))], ids=["next", "iter"])
def test_two_threads_may_take_the_events_in_turn(faulty: FaultyServer, read: Callable[[Any], Any]) -> None:
    """An event that another thread has taken meanwhile is not missed: the next one comes."""
    faulty.then(stream(HEL + "\n\ndata: " + LO, USAGE, DONE))
    with FetchHive("fhk_test", faulty.base_url) as client, prompt(client) as opened:
        opened._reader.events = Snatched()
        assert "lo" == read(opened).response
        assert "Hel" == opened._reader.events.snatched.response


def test_a_stream_that_is_closed_while_it_opens_is_closed() -> None:
    """Closing from another thread while the stream opens is told to the one that opens it."""
    streams: list[Any] = []

    def answer(_: httpx.Request) -> httpx.Response:
        streams[0].close()
        return httpx.Response(200, content=b"data: {}\n\n", headers={"Content-Type": "text/event-stream"})

    client = FetchHive("fhk_test", http_client=httpx.MockTransport(answer))
    streams.append(prompt(client))
    with pytest.raises(StreamClosedError), streams[0]:
        pass


@pytest.mark.parametrize("flavor", ["asyncio", "trio"], indirect=True)
async def test_silence_of_another_transport_ends_at_the_idle_timeout(flavor: str) -> None:
    """A transport that keeps no time itself, and waits for ever, is left at the idle timeout too."""

    class Silence(httpx.AsyncByteStream):
        def __aiter__(self) -> Any:
            return self

        async def __anext__(self) -> bytes:
            await anyio.sleep_forever()
            raise AssertionError

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=Silence(), headers={"Content-Type": "text/event-stream"})

    client = AsyncFetchHive("fhk_test", http_client=httpx.MockTransport(answer), idle_timeout=0.05)
    with pytest.raises(StreamIdleTimeoutError):
        await prompt(client).final()
