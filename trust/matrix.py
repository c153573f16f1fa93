"""Each fault of a misbehaving server, with each call and both clients: what comes of it, and what it costs.

python -m trust.matrix [--quick] [--only WORDS]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import pickle
import socket
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import anyio
import httpx
from typing_extensions import Self

import fetch_hive_sdk
from fetch_hive_sdk import AsyncFetchHive, FetchHive, FetchHiveError, RetryPolicy
from fetch_hive_sdk.async_connections import AsyncConnectionPool
from fetch_hive_sdk.connections import ConnectionPool
from tests.certificates import client_context, server_context
from tests.faulty_server import FaultyServer, Step

from .faults import HANGS, LIMIT, REQUEST_ID, Answer, Fault, Outcome, cuts, faults
from .figures import OURS, Options, Report, main

__all__ = ["CALLS", "FLAVORS", "Call", "Tally", "nothing_left", "part_of", "play", "quick_cuts"]

# Both clients, the async one on both event loops; and with a caller's httpx client in place of their connections.
SYNC_HTTPX, ASYNC_HTTPX = "sync, httpx.Client", "asyncio, httpx.AsyncClient"
FLAVORS = ("sync", "asyncio", "trio", SYNC_HTTPX, ASYNC_HTTPX)

KEY = "fhk_canary_3f9c2b7e5d1a4c8e"
WORKSPACE = "00000000-0000-7000-8000-000000000001"
RETRIES = 2
AT_ONCE = RetryPolicy(max_retries=RETRIES, initial_delay=0, max_delay=0)

# Seconds that a case may take beyond its limits: less than six times a limit would add. A machine that is busy with
# other things may take longer: see `_alone`.
SLACK = 1.0
# Seconds that a stream that is complete is waited for, so that its connection can be used again.
DRAIN = 1.0
# Seconds a call may take that has no reason to take any: only a client that hangs gets there.
PATIENCE = 15.0
# What is left to httpx by who brings a client of its own. httpcore looks at a connection before it is used again, and
# not at once; what a server has sent unasked by then may be taken for the next answer. httpx itself raises over a
# redirect to what is no URL. A handshake that is cancelled leaves its socket to the collector.
_LEFT_TO_HTTPX = {
    "sends 408 on the idle connection, and keeps it",
    "sends bytes on the idle connection",
    "sends a second answer later",
    "sends two answers in one",
    "sends the end of an answer twice",
    "has a length that is too small",
    *(f"redirects with {status} to nonsense" for status in (301, 302, 303, 307, 308)),
    "is silent in the TLS handshake",
    "drips in the TLS handshake",
}
# How many cases are waited for at once.
AT_ONCE_WAITING = 16
# How often a case that took too long is played again, alone.
AGAIN = 2
# After how many cases that took too long each time the others are believed: it is not the machine.
BELIEVED = 3


@dataclass(frozen=True)
class Call:
    """A call of the SDK.

    Attributes:
        name: What it is called here.
        invoke: Makes it with either client; gives the result, what to await for it, or the stream.
        answer: Makes the right answer, with these words in it.
        read: Takes the words from the result.
        effect: What it does if it is done twice: `run`, `change` or `nothing`.
        direct_workflow: Whether a 422 may come after the run.
    """

    name: str
    invoke: Callable[[Any], Any]
    answer: Callable[[str], Answer]
    read: Callable[[Any], str]
    effect: str = "run"
    direct_workflow: bool = False

    @property
    def streaming(self) -> bool:
        """Whether it answers with a stream."""
        return bool(self.answer("").events)


def _json(**fields: object) -> Answer:
    return Answer(json.dumps({"request_id": REQUEST_ID, **fields}, ensure_ascii=False).encode())


def _events(words: str) -> Answer:
    first = {"request_id": REQUEST_ID, "type": "response", "model": "m", "response": words[:2]}
    last = {"request_id": REQUEST_ID, "type": "usage", "usage": {"total_tokens": 3}, "stop_reason": "completed"}
    told = [json.dumps(event, ensure_ascii=False) for event in (first, {**first, "response": words[2:]}, last)]
    events = tuple(f"data: {event}\n\n".encode() for event in (*told, "[DONE]"))
    return Answer(b"".join(events), events, needed=3)


FILE = b"a file\n" * 20

CALLS = {
    call.name: call
    for call in (
        Call(
            "prompt",
            lambda client: client.invoke_prompt(deployment="d", variant="v", inputs={"topic": "x"}),
            lambda words: _json(response=words, model="m"),
            lambda result: result.response,
        ),
        Call(
            "stream",
            lambda client: client.invoke_prompt_stream(deployment="d", variant="v", inputs={"topic": "x"}),
            _events,
            lambda result: result.response,
        ),
        Call(
            "workflow",
            lambda client: client.invoke_workflow(deployment="d", variant="v"),
            lambda words: _json(run_status="completed", output=words),
            lambda result: result.output or result.error,
            direct_workflow=True,
        ),
        Call(
            "agent",
            lambda client: client.invoke_agent(agent="a", message="m"),
            lambda words: _json(response=words, status="completed"),
            lambda result: result.response,
        ),
        Call(
            "look-up",
            lambda client: client.requests.get(REQUEST_ID),
            lambda words: _json(status="completed", message=words),
            lambda result: result.message,
            effect="nothing",
        ),
        Call(
            "upload",
            lambda client: client.assets.upload(FILE, file_name="a.txt", workspace_id=WORKSPACE),
            lambda words: _json(asset={"id": "1", "file_name": words}),
            lambda result: result.file_name,
            effect="change",
        ),
    )
}
LARGE_UPLOAD = replace(
    CALLS["upload"],
    invoke=lambda client: client.assets.upload(bytes(16_000_000), file_name="a.bin", workspace_id=WORKSPACE),
)


# --- one call, with either client --------------------------------------------------------------------------


async def ask(call: Call, client: FetchHive | AsyncFetchHive) -> str:
    """Make a call, and give what it is answered with."""
    made: Any = call.invoke(client)
    if call.streaming and isinstance(client, FetchHive):
        with made as stream:
            made = stream.final()
    elif call.streaming:
        async with made as stream:
            made = await stream.final()
    elif not isinstance(client, FetchHive):
        made = await made
    return call.read(made)


def run(work: Callable[[], Coroutine[Any, Any, None]], flavor: str) -> None:
    """Run what waits for nothing but the calls of a client of this flavor."""
    if not _is_sync(flavor):
        anyio.run(work, backend=flavor.partition(",")[0])
        return
    coroutine = work()
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise RuntimeError("The sync client has nothing to await.")


@dataclass(frozen=True)
class Seen:
    """What came of a call.

    Attributes:
        words: What it was answered with; None if it raised.
        error: What it raised.
        requests: How many requests arrived complete.
        connections: How many connections were made.
        seconds: How long it took.
    """

    words: str | None
    error: BaseException | None
    requests: int
    connections: int
    seconds: float


@dataclass
class Tally:
    """What came of many cases.

    Attributes:
        tried: How many cases there were, with the good calls after them left out.
        broken: By case in which a promise was broken what was wrong with it, in words.
        late: What took too long beside others, with the words for it: the machine may be the reason.
        again: How many cases were played again for that, alone.
        runs_twice: How often a run was started again that the server had not refused.
        slowest: The longest that a case took beyond its limits, in seconds; not of what is still late.
    """

    tried: int = 0
    broken: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    late: list[tuple[Fault, str]] = field(default_factory=list[tuple[Fault, str]])
    again: int = 0
    runs_twice: int = 0
    slowest: float = 0.0

    def __iadd__(self, other: Tally) -> Self:
        self.tried += other.tried
        for case, wrong in other.broken.items():
            self.note(case, *wrong)
        self.late += other.late
        self.again += other.again
        self.runs_twice += other.runs_twice
        self.slowest = max(self.slowest, other.slowest)
        return self

    def note(self, case: str, *wrong: str) -> None:
        """Note what was wrong with a case, if anything was."""
        if wrong:
            self.broken.setdefault(case, []).extend(wrong)

    @property
    def survived(self) -> int:
        """How many cases kept every promise."""
        return self.tried - len(self.broken)


# --- what a case has to be like ----------------------------------------------------------------------------


def expected_requests(outcome: Outcome, call: Call) -> int:
    """How many attempts there are to be."""
    repeated = outcome.again == "always" or (outcome.again == "harmless" and call.effect == "nothing")
    return 1 + (RETRIES if repeated and not outcome.too_late else 0)


def problems(seen: Seen, outcome: Outcome, call: Call, fault: Fault) -> Iterator[str]:
    """What is wrong with what came of a call, measured by one outcome."""
    attempts = expected_requests(outcome, call)
    wanted = attempts * outcome.requests
    if not fault.settled and call.effect == "nothing":
        wanted = attempts = 1 + RETRIES  # any of them may have been lost
    # An attempt that has to be quick may end before its request is sent, on a machine that is busy.
    if seen.requests > wanted or (seen.requests < wanted and fault.settled and not fault.waits):
        yield f"{seen.requests} requests arrived, not {wanted}"
    # Where nothing can be read off a connection, it tells alone that a call was made again.
    outcomes = fault.streamed if call.streaming else fault.plain
    most = max(attempts, *(expected_requests(one, call) for one in outcomes))
    if seen.connections > most or (fault.certificate and seen.connections != attempts):
        yield f"{seen.connections} connections were made, not {attempts}"
    if not outcome.error:
        if seen.error is not None:
            yield f"it raised {shown(seen.error)}"
        elif seen.words != (WORDS if outcome.words is None else outcome.words):
            yield f"it was answered {seen.words!r}"
        return
    error = seen.error
    if not isinstance(error, getattr(fetch_hive_sdk, outcome.error)):
        yield f"it raised {shown(error)}, no {outcome.error}" if error else f"it raised nothing: {seen.words!r}"
        return
    assert isinstance(error, FetchHiveError)
    may_have_run = call.effect != "nothing" and (
        not outcome.refused or (outcome.status == 422 and call.direct_workflow)
    )
    fields = {
        "status_code": outcome.status,
        "may_have_run": may_have_run,
        "retryable": outcome.again == "always" or (outcome.again == "harmless" and call.effect == "nothing"),
    }
    if outcome.request_id:
        fields["request_id"] = REQUEST_ID
    for name, value in fields.items():
        if getattr(error, name) != value:
            yield f"{name} is {getattr(error, name)!r}, not {value!r}: {shown(error)}"
    if outcome.status is not None and outcome.retry_after != error.retry_after:
        told, meant = error.retry_after, outcome.retry_after
        if told is None or meant is None or abs(told - meant) > 600:
            yield f"retry_after is {told!r}, not {meant!r}"


def time_limit(fault: Fault, call: Call) -> float:
    """How many seconds it may take, as documented: each attempt its timeout, and a stream the wait for an event.

    All events that come in time come at once. Where nothing is waited for, the same is more than enough.
    """
    outcomes = fault.streamed if call.streaming else fault.plain
    limit = max(expected_requests(outcome, call) for outcome in outcomes) * LIMIT
    if call.streaming:
        limit += LIMIT
        if fault.waits and not all(outcome.error for outcome in outcomes):
            limit += DRAIN
    return limit


def always_wrong(seen: Seen) -> Iterator[str]:
    """What is wrong with a case whatever may come of it."""
    if seen.seconds > HANGS:
        yield f"it hung, and took {seen.seconds:.1f} s"
    error = seen.error
    if error is None:
        return
    if not isinstance(error, FetchHiveError):
        yield f"a foreign error: {shown(error)}"
        return
    if not error.hint or not error.message:
        yield f"the error does not say what to do: {error}"
    if error.may_have_run and error.retryable:
        yield f"the error says that it may have run, and that repeating is safe: {error}"
    told = "".join([str(error), repr(error), repr(error.body), *traceback.format_exception(error)])
    if KEY in told:
        yield "the key is in the error's text"
    try:
        pickled = pickle.dumps(error)
        if str(pickle.loads(pickled)) != str(error):
            yield "the error is another one after pickling"
        if KEY.encode() in pickled:
            yield "the key is in the pickled error"
    except Exception as failure:
        yield f"the error cannot be pickled: {failure!r}"


def shown(error: BaseException | None) -> str:
    """An error in a line."""
    return f"{type(error).__name__}({str(error)[:200]!r})"


# --- playing -----------------------------------------------------------------------------------------------

POOLS: dict[str, Any] = {
    "sync": ConnectionPool,
    "asyncio": AsyncConnectionPool,
    "trio": AsyncConnectionPool,
    SYNC_HTTPX: httpx.Client,
    ASYNC_HTTPX: httpx.AsyncClient,
}

# What the good answers are told apart by.
WORDS, BEFORE, AFTER = "Olá, wörld", "before", "after"


class Stage:
    """A server, a client and what came of the faults that were played to them.

    Args:
        call: What is called.
        flavor: With which client.
        first: The fault whose server it is; others played on it share that.
    """

    def __init__(self, call: Call, flavor: str, first: Fault) -> None:
        self.call, self.flavor = call, flavor
        self.tally = Tally()
        self._stack = ExitStack()
        tls = server_context(first.certificate) if first.certificate else None
        self.server = FaultyServer(tls, first.welcome, patience=HANGS)
        self.address = self.server.base_url
        if not first.listens:
            unused = self._stack.enter_context(socket.socket())
            unused.bind(("127.0.0.1", 0))  # bound and not listening: connecting is refused
            self.address = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        if first.secure:
            self.address = self.address.replace("http:", "https:").replace("127.0.0.1", "localhost")
        self.elsewhere = FaultyServer()
        self.elsewhere.now(_good(call, WORDS))
        self.pool = POOLS[flavor](verify=client_context())
        made: Any = FetchHive if _is_sync(flavor) else AsyncFetchHive
        self.client = made(
            api_key=KEY,
            base_url=self.address,
            http_client=self.pool,
            timeout=PATIENCE,
            idle_timeout=PATIENCE,
            max_event_size=2_000_000,
            retry_policy=AT_ONCE,
        )

    async def play(self, fault_list: Sequence[Fault], *, check_every: int = 1) -> None:
        """Play one fault after another to the same client."""
        with self.server, self.elsewhere:
            tasks = _tasks(self.flavor)
            for number, fault in enumerate(fault_list):
                found = [*await self._played(fault)]
                if number % check_every == 0 or number == len(fault_list) - 1:
                    found += await self._checked(fault)
                    if not await _until(lambda: _tasks(self.flavor) <= tasks, self.flavor):
                        found.append("a task is left")
                self.tally.tried += 1
                self.tally.note(self._case(fault), *found)
            await self._closed(fault_list[-1])
        with self._stack:
            pass

    def _case(self, fault: Fault) -> str:
        return case_name(fault, self.call, self.flavor)

    async def _played(self, fault: Fault) -> Iterable[str]:
        call, server, client = self.call, self.server, self.client
        if fault.upload:
            call = LARGE_UPLOAD
        if fault.waits:
            if not fault.own_server or (fault.welcome is None and fault.listens):
                server.now(_good(call, BEFORE))
                # It connects, however busy the machine is.
                if wrong := await self._wrong_answer(call, client, BEFORE):
                    return [f"the good call before it {wrong}"]
            client = client.with_options(timeout=LIMIT, idle_timeout=LIMIT)
        if fault.before is not None:
            server.now(fault.before(call.answer(BEFORE)))
            if wrong := await self._wrong_answer(call, client, BEFORE):
                return [f"the good call before it {wrong}"]
            if fault.settled:
                server.wait_for(_is_done)
        answer = replace(self.call.answer(WORDS), elsewhere=self.elsewhere.base_url.removesuffix("/v1"))
        server.now(*(act(answer) for act in fault.acts))
        requests, connections, started = len(server.requests), server.connections, time.monotonic()
        words = error = None
        try:
            words = await ask(call, client)
        except Exception as raised:
            error = raised
        seconds = time.monotonic() - started
        if fault.waits and fault.listens and not fault.upload:
            # What was sent counts, also if the server has not come to read it before the client gave up.
            await _until(lambda: server.connections > 0 and server.open == 0, self.flavor, 2)
        seen = Seen(words, error, len(server.requests) - requests, server.connections - connections, seconds)
        outcomes = fault.streamed if call.streaming else fault.plain
        limit = time_limit(fault, call)
        if seconds > limit + SLACK:
            self.tally.late.append((fault, f"it took {seconds:.1f} s, and may take {limit:.1f} s"))
        else:
            self.tally.slowest = max(self.tally.slowest, seconds - limit)
        wrong = [list(problems(seen, outcome, call, fault)) for outcome in outcomes]
        found = [] if [] in wrong else wrong[0]
        if seen.requests > 1 and call.effect != "nothing" and not any(outcome.refused for outcome in outcomes):
            self.tally.runs_twice += 1
            found.append("a run was started twice")
        if self.elsewhere.requests:
            found.append("a request went elsewhere")
        return [*found, *always_wrong(seen)]

    async def _checked(self, fault: Fault) -> Iterable[str]:
        """Whether the client goes on as if nothing had been."""
        if fault.own_server and not fault.certificate:
            if fault.secure or not fault.listens:
                return self._left()
            self.server.welcome = None
        if fault.certificate and fault.certificate != "trusted":
            return self._left()
        if not self.server.wait_for(_is_done):
            return ["the server is still answering"]
        self.server.now(_good(self.call, AFTER))
        wrong = await self._wrong_answer(self.call, self.client, AFTER)
        return ([f"the good call after it {wrong}"] if wrong else []) + self._left()

    async def _wrong_answer(self, call: Call, client: Any, words: str) -> str:
        """Make a good call, and say what is wrong with what comes of it."""
        try:
            answered = await ask(call, client)
        except Exception as error:
            return f"raised {shown(error)}"
        return "" if answered == words else f"was answered {answered!r}"

    def _left(self) -> list[str]:
        """What is still checked out."""
        if _is_httpx(self.flavor):
            told = repr(self.pool._transport._pool)  # which it tells nobody
            return [] if "Requests: 0 active, 0 queued | Connections: 0 active" in told else [told]
        told = repr(self.pool.ledger)
        return [] if told.startswith("0 connections in use") and told.endswith(" 0 requests waiting") else [told]

    async def _closed(self, fault: Fault) -> None:
        if _is_sync(self.flavor):
            self.pool.close()
        else:
            await self.pool.aclose()
        if not fault.upload and not await _until(lambda: self.server.open == 0, self.flavor):
            self.tally.note(self._case(fault), "a connection is left open")


def case_name(fault: Fault, call: Call, flavor: str) -> str:
    """What a case is called."""
    return f"{fault.name}, {call.name}, {flavor}"


def _is_sync(flavor: str) -> bool:
    return flavor.startswith("sync")


def _is_httpx(flavor: str) -> bool:
    return flavor in (SYNC_HTTPX, ASYNC_HTTPX)


def _is_done(server: FaultyServer) -> bool:
    """Whether the server has nothing left to do."""
    return server.answered == len(server.requests)


def _good(call: Call, words: str) -> Step:
    data = call.answer(words).whole
    return lambda exchange: exchange.send(data)


async def _until(condition: Callable[[], bool], flavor: str, seconds: float = 20) -> bool:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        if _is_sync(flavor):
            time.sleep(0.005)  # noqa: ASYNC251 - the sync client has no loop to hold up
        else:
            await anyio.sleep(0.005)
    return True


def _tasks(flavor: str) -> int:
    """How many tasks there are."""
    if _is_sync(flavor):
        return 0
    if flavor.startswith("asyncio"):
        return len(asyncio.all_tasks())
    import trio

    return trio.lowlevel.current_statistics().tasks_living


def play(call: Call, flavor: str, chosen: Sequence[Fault], *, cut_every: int = 0) -> Tally:
    """Play faults to a call with one flavor of client, those that take long side by side.

    Args:
        call: What is called.
        flavor: With which client.
        chosen: The faults.
        cut_every: After which bytes of the right answer it is cut: each 1st, each 10th; 0 for none.
    """
    fitting = [fault for fault in chosen if (fault.streamed if call.streaming else fault.plain)]
    fitting = [fault for fault in fitting if not fault.upload or call.name == "upload"]
    if _is_httpx(flavor):
        fitting = [fault for fault in fitting if fault.name not in _LEFT_TO_HTTPX]
    quick = [fault for fault in fitting if not fault.own_server]
    alone = sorted((fault for fault in fitting if fault.own_server), key=lambda fault: not fault.waits)
    work = [partial(_lane, call, flavor, [fault]) for fault in alone]
    if quick:
        work.append(partial(_lane, call, flavor, quick))
    if cut_every:
        work.append(partial(_lane, call, flavor, cuts(call.answer(WORDS), cut_every), check_every=16))
    whole = Tally()
    with ThreadPoolExecutor(AT_ONCE_WAITING) as threads:
        for tally in threads.map(lambda lane: lane(), work):
            whole += tally
    late, whole.late = whole.late, []
    believed = 0
    for fault, told in late:
        case = case_name(fault, call, flavor)
        if case in whole.broken or believed == BELIEVED:
            whole.note(case, told)
            continue
        again = _alone(call, flavor, fault)
        believed += bool(again.late)
        again.note(case, *(words for _, words in again.late))
        again.late = []
        whole += again
    return whole


def _lane(call: Call, flavor: str, chosen: Sequence[Fault], *, check_every: int = 1) -> Tally:
    """Play faults one after another, with one client."""
    stage = Stage(call, flavor, chosen[0])
    run(partial(stage.play, chosen, check_every=check_every), flavor)
    return stage.tally


def _alone(call: Call, flavor: str, fault: Fault) -> Tally:
    """Play a fault again that took too long beside others; it still did if it does each time.

    A machine may stall, and that alone is forgiven: all else that is wrong counts in each play.
    """
    whole = Tally(again=1)
    for _ in range(AGAIN):
        whole.late = []
        whole += _lane(call, flavor, [fault])
        if not whole.late:
            break
    whole.tried = 0  # it is the same case
    return whole


@contextmanager
def nothing_left() -> Iterator[list[str]]:
    """Note what is left behind: warnings, also of what is collected, unraisable errors, and threads."""
    found: list[str] = []
    hook, threads = sys.unraisablehook, set(threading.enumerate())

    def note(unraisable: Any) -> None:
        found.append(f"unraisable: {unraisable.exc_value!r} in {unraisable.object!r}")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sys.unraisablehook = note
        try:
            yield found
            gc.collect()
        finally:
            sys.unraisablehook = hook
    found += [f"warning: {one.category.__name__}: {one.message}" for one in caught if not _is_known(str(one.message))]
    found += [f"thread left: {thread.name}" for thread in set(threading.enumerate()) - threads if not _is_kept(thread)]


def _is_known(warning: str) -> bool:
    """Whether it is of a socket that Python's own `ssl` does not close, if it is reset just before its handshake."""
    return warning.startswith("unclosed <ssl.SSLSocket") and "raddr" not in warning


def _is_kept(thread: threading.Thread) -> bool:
    """Whether it is one of the workers that trio keeps for ten seconds in case it needs some again."""
    return thread.name.startswith("Trio thread")


def part_of(chosen: Sequence[Fault], flavor: str) -> list[Fault]:
    """The small part: all kinds, but a quarter of those that depend neither on the loop nor on the connections."""
    quick = [fault for fault in chosen if fault.quick]
    return (
        quick
        if flavor in ("sync", "asyncio")
        else [f for n, f in enumerate(quick) if n % 4 == 0 or f.own_server or f.before]
    )


def quick_cuts(call: Call, flavor: str) -> int:
    """In the small part: after which bytes an answer is cut."""
    return 1 if flavor == "sync" and call.name in ("prompt", "stream") else 12


def measure(options: Options) -> Report:
    """Play all faults to all calls with both clients."""
    report = Report("Faults of a server, with each call and both clients")
    only = getattr(options.arguments, "only", None) or ""
    chosen = [fault for fault in faults() if only in fault.name]
    whole, started = Tally(), time.monotonic()
    with nothing_left() as left:
        for flavor in FLAVORS:
            for call in CALLS.values():
                cut_every = 0 if only else quick_cuts(call, flavor) if options.quick else 1
                whole += play(call, flavor, part_of(chosen, flavor) if options.quick else chosen, cut_every=cut_every)
    report.add("cases tried: fault x call x client", {OURS: whole.tried})
    report.add("cases survived", {OURS: whole.survived}, "all of them", not whole.broken)
    report.add("runs started twice", {OURS: whole.runs_twice}, "none", whole.runs_twice == 0)
    report.add("longest time beyond the documented limit, s", {OURS: round(max(whole.slowest, 0), 2)})
    report.add("left behind: warnings, threads", {OURS: len(left)}, "none", not left)
    report.notes += _notes(options, chosen, whole, time.monotonic() - started)
    left_out = ", ".join(sorted(_LEFT_TO_HTTPX))
    report.notes.append(f"Not played with a caller's httpx client, whose connections are httpx's own: {left_out}.")
    report.failures += [*(f"{case}: {'; '.join(wrong)}" for case, wrong in whole.broken.items()), *left]
    return report


def _notes(options: Options, chosen: Sequence[Fault], whole: Tally, seconds: float) -> Iterator[str]:
    """What has to be known to read the figures."""
    cut = "" if getattr(options.arguments, "only", None) else ", and answers cut at each byte"
    if options.quick:
        parts = [len(part_of(chosen, flavor)) for flavor in ("sync", "trio")]
        yield (
            f"A quick run, in {seconds:.0f} s: of {len(chosen)} faults {parts[0]} to sync and asyncio, and {parts[1]} "
            "to the others; answers cut at each byte for prompt and stream on sync, and at each 12th byte elsewhere."
        )
    else:
        yield (
            f"{len(chosen)} faults{cut}, in {seconds:.0f} s. Each fault is played to each "
            f"call with each client ({'; '.join(FLAVORS)}) for whose kind of answer it is made: streams, JSON or both."
        )
    yield (
        f"A case may take {SLACK:g} s longer than documented. {whole.again} took longer beside {AT_ONCE_WAITING - 1} "
        f"others, and were played again alone, up to {AGAIN} times; what is wrong but the time counts in each play."
    )


def _only(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", metavar="WORDS", help="only the faults with these words in their names")


if __name__ == "__main__":
    main(measure, _only)
