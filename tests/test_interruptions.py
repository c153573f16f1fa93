"""A call may be broken off anywhere: a bounded part of what `python -m trust.interruptions` does."""

from __future__ import annotations

import importlib.util
import logging
import signal
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from fetch_hive_sdk import FetchHive, drivers
from fetch_hive_sdk.connections import ConnectionPool
from trust.interruptions import (
    CALLS,
    STUCK,
    TASK_WAYS,
    THREAD_ACTS,
    Call,
    Service,
    Tally,
    break_off_in_tasks,
    break_off_in_thread,
    interrupt_while_stuck,
    meddle_from_thread,
    prompt,
    prompt_async,
)

from .lost_sockets import no_socket_lost

# At each await; in the other ways at some, all of which `make trust-quick` plays.
THOROUGH = ["Task.cancel", "CancelScope of trio"]
signals = pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="about signals to a thread")


def judge(tally: Tally) -> None:
    """Assert that nothing was lost."""
    assert not tally.failures
    assert (0, 0, 0, 0) == (tally.unusable, tally.twice, tally.left, tally.swallowed)
    assert tally.points
    assert tally.unbroken


@no_socket_lost
@pytest.mark.parametrize("way", TASK_WAYS)
@pytest.mark.parametrize("call", [name for name, call in CALLS.items() if not call.secure])
def test_broken_off_at_every_await(call: str, way: str) -> None:
    """Whichever await of an async call is the last, the client goes on with its one connection, and nothing is left."""
    judge(break_off_in_tasks(CALLS[call], way, every=1 if way in THOROUGH else 4))


@no_socket_lost
@pytest.mark.parametrize("way", THOROUGH)
def test_broken_off_while_tls_is_spoken_of(way: str) -> None:
    """The same at each await of a TLS handshake and of what follows it."""
    judge(break_off_in_tasks(CALLS["a call that connects with TLS"], way))


@no_socket_lost
@pytest.mark.parametrize("pool", ["httpx", "aiohttp"])
@pytest.mark.parametrize(
    "way",
    [
        "Task.cancel",
        "Task.cancel when the answer is there",
        "Task.cancel, and again 1 await later",
        "anyio.CancelScope on asyncio",
    ],
)
@pytest.mark.parametrize("call", ["a call that connects", "a whole stream", "an upload"])
def test_other_connections_withstand_it_too(call: str, way: str, pool: str) -> None:
    """The same with a caller's httpx client and with aiohttp."""
    if importlib.util.find_spec(pool) is None:
        pytest.skip("aiohttp is an extra")
    judge(break_off_in_tasks(CALLS[call], way, pool, every=1 if "again" in way else 3))


@signals
@pytest.mark.parametrize("call", CALLS)
def test_ctrl_c_at_any_line(call: str) -> None:
    """Wherever Ctrl-C interrupts a sync call, its place in the pool is free again, and the next call works."""
    judge(break_off_in_thread(CALLS[call], "Ctrl-C at every line", every=307 if CALLS[call].secure else 127))


@signals
@pytest.mark.parametrize("where", STUCK)
def test_ctrl_c_while_nothing_comes(where: str) -> None:
    """Ctrl-C ends the waiting for an answer, an event or a pause at once, and the next call works."""
    judge(interrupt_while_stuck(where))


def stubborn(client: FetchHive, mark: str) -> object:
    """A call that goes on after Ctrl-C."""
    try:
        return prompt(client, mark)
    except KeyboardInterrupt:
        return None


@signals
def test_a_swallowed_ctrl_c_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that goes on after Ctrl-C is told of, at whichever line it came, and where nothing came."""
    lines = break_off_in_thread(Call("stubborn", "run", stubborn, prompt_async), "Ctrl-C at every line", every=601)
    monkeypatch.setitem(STUCK, "stubborn", Call("stubborn", "head", stubborn, prompt_async))
    stuck = interrupt_while_stuck("stubborn")

    assert lines.points
    assert lines.points == lines.swallowed == len(lines.failures)
    assert (2, 2) == (stuck.swallowed, len(stuck.failures))


@pytest.mark.parametrize("act", THREAD_ACTS)
def test_closed_by_another_thread(act: str) -> None:
    """Another thread may close a stream or its client at any moment: the reader ends, and nothing is left."""
    judge(meddle_from_thread(act, every=61))


# --- single points, made to come --------------------------------------------------------------------------


class Interrupted(BaseException):
    """As KeyboardInterrupt, which pytest would take for its own."""


class Once:
    """Does as the function in whose place it is, but for the first time, when it is interrupted."""

    def __init__(self, function: Any) -> None:
        self.function = function
        self.calls = 0

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.calls += 1
        if self.calls == 1:
            raise Interrupted
        return self.function(*arguments, **options)


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as running:
        yield running


@pytest.fixture
def pool() -> Iterator[ConnectionPool]:
    with ConnectionPool(limits=httpx.Limits(max_connections=1)) as made:
        yield made


def request_to(service: Service) -> httpx.Request:
    return httpx.Request("POST", service.url, content=b"run-1", extensions={"timeout": {"pool": 0}})


def test_giving_up_is_done_again(service: Service, pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A response that is left while an interrupt comes gives its place back all the same."""
    response = pool.handle_request(request_to(service))
    monkeypatch.setattr(pool.ledger, "give_up", Once(pool.ledger.give_up))
    with pytest.raises(Interrupted):
        response.close()

    assert "0 connections in use" in repr(pool)
    pool.handle_request(request_to(service)).read()


def test_a_closing_that_is_interrupted_is_done_later(
    service: Service, pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A socket whose closing was interrupted is closed with the next that has to be."""
    response = pool.handle_request(request_to(service))
    stream = response.extensions["network_stream"]
    monkeypatch.setattr(stream, "close", Once(stream.close))
    with pytest.raises(Interrupted):
        response.close()
    pool.close()

    service.wait_for_open(0)


def test_a_client_s_closing_can_be_done_again(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client whose closing was interrupted is closed by closing it once more."""
    client = FetchHive("fhk_test", f"{service.url}v1")
    client.invoke_prompt(deployment="run-1")
    monkeypatch.setattr(ConnectionPool, "close", Once(ConnectionPool.close))
    with pytest.raises(Interrupted):
        client.close()
    monkeypatch.undo()
    client.close()

    service.wait_for_open(0)


def test_an_answer_that_nobody_has_yet_is_let_go(
    service: Service, pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupt between an answer's coming and its reading closes the answer."""
    client = FetchHive("fhk_test", f"{service.url}v1", http_client=pool)
    monkeypatch.setattr(drivers, "_stays_open", Once(drivers._stays_open))
    with pytest.raises(Interrupted):
        client.invoke_prompt(deployment="run-1")

    assert "0 connections in use" in repr(pool)
    assert "Hello" == client.invoke_prompt(deployment="run-2").response


def test_a_stream_that_nobody_has_yet_is_let_go(service: Service, pool: ConnectionPool) -> None:
    """An interrupt between a stream's opening and its handing over closes it."""
    client = FetchHive("fhk_test", f"{service.url}v1", http_client=pool)
    logger = logging.getLogger("fetch_hive_sdk")
    interrupt = Once(lambda _: True)
    level = logger.level
    logger.addFilter(interrupt)
    logger.setLevel(logging.DEBUG)
    try:
        with pytest.raises(Interrupted):
            next(client.invoke_prompt_stream(deployment="run-1"))
    finally:
        logger.removeFilter(interrupt)
        logger.setLevel(level)

    assert "0 connections in use" in repr(pool)
    assert "Hello" == client.invoke_prompt(deployment="run-2").response
