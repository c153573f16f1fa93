"""The faults of the matrix against other SDKs, in their calls that cost money, with their own defaults for retries.

    python -m trust.peers [--quick]

Run it where the peers are installed; what is not there is skipped. fetch-hive-sdk 0.4.1, which has this SDK's import
name, is looked for in the folder that benchmarks keep it in, and is measured in a process of its own.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from tests.faulty_server import FaultyServer

from .faults import LIMIT, Answer, Fault, Outcome, faults
from .figures import OURS, Options, Report, main

RELEASED = Path(".venv-bench/fetch-hive-sdk-0.4.1")
ROOT = Path(__file__).parent.parent

# Seconds after which a call with short limits counts as one that hangs: three attempts, and the waits between them.
HANGS = 8.0
# What a call is given as its timeout where the server answers at once.
PATIENCE = 4.0
# Seconds in which the server has to see the connections closed, once the client is put away.
CLOSED_IN = 5.0

# Forms of `Retry-After` that can be read as a wait of more than a minute: a client is free to sit it out.
LONG_WAITS = {"61", "1e3", "inf", "a hundred digits", "400 digits", "the year 100000", "a zone that is absurd"}
LONG_WAITS |= {"a date in two hours", "a date in two hours of RFC 850", "a date in two hours of asctime"}

# What only Fetch Hive answers: another SDK has no word for it.
OF_FETCH_HIVE = {"sends an error as a success", "says that a run failed", "says that a run failed, and resets"}
OF_FETCH_HIVE |= {"streams an error without words", "streams events of nonsense", "streams nothing but its end"}

# After these, who does not see that the connection is stale takes the 408 that the server sent there for the answer.
SEND_408 = {"sends 408 on the idle connection", "sends 408 on the idle connection, and keeps it"}
SEND_408 |= {"sends a second answer later"}

# What a request was repeated after.
NO_ANSWER = "no complete answer"
ERROR_ANSWER = "an answer of 408, or of 500 and above, that does not say that nothing ran"

# What the good call before a fault is answered with: who takes that for the answer of the next one is wrong.
BEFORE = "before"


@dataclass(frozen=True)
class Peer:
    """A call of an SDK that starts something which costs.

    Attributes:
        name: The SDK with its version, and the call.
        answer: Makes the right answer, with these words in it.
        make: Makes a client, given the address of the server, and its timeout in seconds; and what closes it.
        ask: Makes the call, and gives what it was answered with.
        words: What that is if it is right, and what the right answer is made with.
        family: The classes of the SDK's own errors.
    """

    name: str
    answer: Callable[[str], Answer]
    make: Callable[[str, float], Any]
    ask: Callable[[Any], Any]
    words: str
    family: tuple[type[BaseException], ...]

    @property
    def streaming(self) -> bool:
        """Whether it is answered with a stream."""
        return bool(self.answer(self.words).events)

    def outcomes(self, fault: Fault) -> tuple[Outcome, ...]:
        """What may come of a fault; none: it is not made for such a call."""
        return fault.streamed if self.streaming else fault.plain


@dataclass
class Case:
    """What came of a fault.

    Attributes:
        fault: Its name.
        came: `survived`, `hung`, `foreign` or `wrong`.
        what: The class of the foreign error, or the wrong result.
        open: Whether a connection was left open.
        requests: How many arrived complete that start something.
        repeated: What the first was repeated after, where that was no refusal: `NO_ANSWER` or `ERROR_ANSWER`; or "".
    """

    fault: str
    came: str = "hung"
    what: str = ""
    open: bool = False
    requests: int = 0
    repeated: str = ""

    @property
    def problems(self) -> list[str]:
        """What is wrong with it, in words."""
        found = {"hung": "it hung", "foreign": f"a foreign error, {self.what}", "wrong": f"a wrong result, {self.what}"}
        told = [found[self.came]] if self.came in found else []
        told += ["a connection was left open"] if self.open else []
        return [*told, f"repeated after {self.repeated}"] if self.repeated else told


@dataclass
class Found:
    """What came of all faults that were played to a peer."""

    cases: list[Case]

    @property
    def tried(self) -> int:
        return len(self.cases)

    @property
    def survived(self) -> int:
        return sum(case.came == "survived" and not case.open for case in self.cases)

    @property
    def left_open(self) -> list[Case]:
        return [case for case in self.cases if case.open]

    def that(self, came: str) -> list[Case]:
        """The cases of which this came."""
        return [case for case in self.cases if case.came == came]

    def repeated(self, after: str) -> list[Case]:
        """The cases in which the request was repeated after this."""
        return [case for case in self.cases if case.repeated == after]


@dataclass(frozen=True)
class OthersAnswer(Answer):
    """The right answer of another service, where what is wrong is told in an object, and not in a string as here."""

    def sent(
        self,
        *headers: str,
        status: str = "200 OK",
        body: bytes | None = None,
        length: int | None = None,
        kind: str = "",
    ) -> bytes:
        if body is not None and length is None and not status.startswith("2"):
            with suppress(ValueError, KeyError, TypeError):  # it tells nothing, or not in JSON
                body = json.dumps({"error": {"type": "api_error", "message": json.loads(body)["error"]}}).encode()
        return super().sent(*headers, status=status, body=body, length=length, kind=kind)


def _json(value: object) -> Answer:
    return OthersAnswer(json.dumps(value, ensure_ascii=False).encode())


def _events(*events: str | tuple[str, object], needed: int) -> Answer:
    """Server-sent events, named ones as pairs."""
    lines = [
        f"data: {event}\n\n" if isinstance(event, str) else f"event: {event[0]}\ndata: {json.dumps(event[1])}\n\n"
        for event in events
    ]
    pieces = tuple(line.encode() for line in lines)
    return OthersAnswer(b"".join(pieces), pieces, needed)


# --- the calls ---------------------------------------------------------------------------------------------


def ours(version: str) -> Iterator[Peer]:
    from fetch_hive_sdk import FetchHive, FetchHiveError

    from .matrix import CALLS, WORDS, ask, run

    def in_turn(call: Any, client: Any) -> Any:
        found: list[Any] = []

        async def work() -> None:
            found.append(await ask(call, client))

        run(work, "sync")
        return found[0]

    for name in ("prompt", "stream"):
        call = CALLS[name]
        yield Peer(
            f"{OURS} {version}, {name}",
            call.answer,
            lambda url, timeout: FetchHive(api_key="fhk_test", base_url=url, timeout=timeout, idle_timeout=timeout),
            partial(in_turn, call),
            WORDS,
            (FetchHiveError,),
        )


def released(version: str) -> Iterator[Peer]:
    import httpx

    import fetch_hive_sdk

    def ask(client: Any) -> Any:
        return client.invoke_prompt(deployment="d", variant="v")["response"]

    yield Peer(
        f"{OURS} {version}, prompt",
        lambda words: Answer(json.dumps({"request_id": "req_1", "response": words}).encode()),
        lambda url, timeout: fetch_hive_sdk.FetchHive(api_key="fhk_test", base_url=url, timeout=timeout),
        ask,
        "hello",
        (httpx.HTTPError,),  # it has no errors of its own, and documents httpx's
    )


def openai(version: str) -> Iterator[Peer]:
    import openai as sdk

    def make(url: str, timeout: float) -> Any:
        return sdk.OpenAI(api_key="sk-test", base_url=url, timeout=timeout)

    def plain(client: Any) -> Any:
        made = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
        return made.choices[0].message.content

    def stream(client: Any) -> Any:
        with client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "hi"}], stream=True
        ) as chunks:
            return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)

    fields = {"id": "c", "created": 1, "model": "m"}

    def answer(words: str) -> Answer:
        message = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": words}}
        return _json({**fields, "object": "chat.completion", "choices": [message]})

    def events(words: str) -> Answer:
        deltas: tuple[Any, ...] = (({"content": words[:3]}, None), ({"content": words[3:]}, None), ({}, "stop"))
        choices = [{"index": 0, "delta": delta, "finish_reason": end} for delta, end in deltas]
        chunks = [json.dumps({**fields, "object": "chat.completion.chunk", "choices": [one]}) for one in choices]
        return _events(*chunks, "[DONE]", needed=3)

    family = (sdk.OpenAIError,)
    yield Peer(f"{version}, chat", answer, make, plain, "hello", family)
    yield Peer(f"{version}, stream", events, make, stream, "hello", family)


def anthropic(version: str) -> Iterator[Peer]:
    import anthropic as sdk

    def make(url: str, timeout: float) -> Any:
        return sdk.Anthropic(api_key="sk-test", base_url=url.removesuffix("/v1"), timeout=timeout)

    arguments: dict[str, Any] = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}

    def plain(client: Any) -> Any:
        return client.messages.create(**arguments).content[0].text

    def stream(client: Any) -> Any:
        with client.messages.stream(**arguments) as opened:
            return opened.get_final_text()

    usage = {"input_tokens": 1, "output_tokens": 1}
    message = {"id": "m", "type": "message", "role": "assistant", "model": "m", "stop_sequence": None, "usage": usage}

    def answer(words: str) -> Answer:
        return _json({**message, "content": [{"type": "text", "text": words}], "stop_reason": "end_turn"})

    def events(words: str) -> Answer:
        delta = {"type": "text_delta", "text": words}
        ended = {"stop_reason": "end_turn", "stop_sequence": None}
        told: list[dict[str, Any]] = [
            {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": delta},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": ended, "usage": {"output_tokens": 1}},
            {"type": "message_stop"},
        ]
        return _events(*((event["type"], event) for event in told), needed=5)

    family = (sdk.AnthropicError,)
    yield Peer(f"{version}, messages", answer, make, plain, "hello", family)
    yield Peer(f"{version}, stream", events, make, stream, "hello", family)


def stripe(version: str) -> Iterator[Peer]:
    import stripe as sdk

    class Client:
        def __init__(self, url: str, timeout: float) -> None:
            self.transport = (
                sdk.HTTPXClient(timeout=timeout)
                if not hasattr(sdk, "RequestsClient")
                else sdk.RequestsClient(timeout=timeout)
            )
            self.client = sdk.StripeClient(
                "sk_test_x", base_addresses={"api": url.removesuffix("/v1")}, http_client=self.transport
            )

        def close(self) -> None:
            self.transport.close()

    def ask(client: Any) -> Any:
        return client.client.v1.payment_intents.create(params={"amount": 5, "currency": "eur"}).id

    yield Peer(
        f"{version}, payment",
        lambda words: _json({"id": words, "object": "payment_intent"}),
        Client,
        ask,
        "pi_1",
        (sdk.StripeError,),
    )


PEERS = {"openai": openai, "anthropic": anthropic, "stripe": stripe}


# --- playing -----------------------------------------------------------------------------------------------


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings of others, which are theirs to mend."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@dataclass
class _Told:
    """What the thread that makes a call tells of it: words alone, since an error holds all that it came through."""

    before: int = 0
    came: str = ""
    what: str = ""


def judge(peer: Peer, fault: Fault) -> Case:
    """Play a fault to a peer."""
    case, told = Case(fault.name), _Told()
    with FaultyServer(None, fault.welcome) as server:
        # Nothing can end a thread that hangs for good: it is left alone then, and ends with the process.
        thread = threading.Thread(target=_session, args=(peer, fault, server, told), daemon=True)
        thread.start()
        thread.join(_bound(fault))
        if not thread.is_alive():
            assert told.came, f"{peer.name}, {fault.name}: the call ended, and told nothing"
            case.came, case.what = told.came, told.what
            case.open = not _closed(server)
        # Only what is sent as a POST starts something: a redirect that is followed may become a GET.
        case.requests = sum(exchange.head.startswith(b"POST ") for exchange in server.requests[told.before :])
    if case.requests > 1:
        case.repeated = _repeated_after(fault, peer.outcomes(fault))
    return case


def _bound(fault: Fault) -> float:
    """Seconds that a call may take, with its attempts and the waits between them."""
    return HANGS if fault.waits else 3 * PATIENCE + HANGS


def _closed(server: FaultyServer) -> bool:
    """Whether all connections are closed, at the latest by a collection of what nobody holds any more."""
    for _ in range(10):
        if server.wait_for(lambda server: server.open == 0, CLOSED_IN / 10):
            return True
        gc.collect()  # it does nothing while another thread collects
    return server.open == 0


def _repeated_after(fault: Fault, outcomes: Sequence[Outcome]) -> str:
    """What a request was repeated after; "" where the server had refused it, so that repeating starts nothing twice."""
    if any(outcome.refused for outcome in outcomes):
        return ""
    statuses = [outcome.status for outcome in outcomes if outcome.status is not None]
    error = fault.name in SEND_408 or any(status == 408 or status >= 500 for status in statuses)
    return ERROR_ANSWER if error else NO_ANSWER


def _session(peer: Peer, fault: Fault, server: FaultyServer, told: _Told) -> None:
    """Make the call in which the server misbehaves, and close the client in the same thread."""
    client = peer.make(server.base_url, LIMIT if fault.waits else PATIENCE)
    try:
        if fault.before is not None:
            server.now(fault.before(peer.answer(BEFORE)))
            peer.ask(client)
            if fault.settled:
                server.wait_for(lambda server: server.answered == len(server.requests))
        told.before = len(server.requests)
        answer = peer.answer(peer.words)
        server.now(*(act(answer) for act in fault.acts))
        answered = peer.ask(client)
        # Some outcomes allow words that are not all of the right ones; a right answer is never wrong.
        right = [outcome.words for outcome in peer.outcomes(fault) if not outcome.error and outcome.words is not None]
        told.came = "survived" if answered in [peer.words, *right] else "wrong"
        told.what = "" if told.came == "survived" else repr(answered)[:40]
    except Exception as error:
        own = isinstance(error, peer.family)
        name = f"{type(error).__module__.partition('.')[0]}.{type(error).__name__}".removeprefix("builtins.")
        told.came, told.what = ("survived", "") if own else ("foreign", name)
    close = getattr(client, "close", None)
    if close is not None:
        close()


def play(peer: Peer, chosen: Sequence[Fault]) -> Found:
    """Play faults to a peer, many at a time: most of the time goes into its waits between retries."""
    fitting = [fault for fault in chosen if peer.outcomes(fault)]
    # What is slow on purpose goes alone: in a process that is busy, a server that drips looks like one that is silent.
    parts = [[fault for fault in fitting if fault.waits is waits] for waits in (True, False)]
    with quiet(), ThreadPoolExecutor(24) as threads:
        return Found([case for part in parts for case in list(threads.map(partial(judge, peer), part))])


def suitable(quick: bool) -> list[Fault]:
    """The faults that every SDK can meet: over plain connections, without waits, and what only Fetch Hive answers."""
    chosen = [fault for fault in faults() if fault.quick and not fault.secure and not fault.upload and fault.listens]
    chosen = [fault for fault in chosen if fault.name not in OF_FETCH_HIVE]
    chosen = [fault for fault in chosen if fault.name.partition(" with Retry-After ")[2] not in LONG_WAITS]
    return [fault for number, fault in enumerate(chosen) if not quick or number % 4 == 0 or fault.waits]


def measure(options: Options) -> Report:
    """Play the faults to this SDK and to all peers that are there."""
    chosen = suitable(options.quick)
    report = Report("Faults of a server against this SDK and others, in calls that start something which costs")
    found: dict[str, Found] = {}
    for peer in ours(metadata.version(OURS)):
        found[peer.name] = play(peer, chosen)
    for name, make in PEERS.items():
        try:
            peers = list(make(f"{name} {metadata.version(name)}"))
        except (ImportError, metadata.PackageNotFoundError):
            report.notes.append(f"{name} is not installed: skipped.")
            continue
        for peer in peers:
            found[peer.name] = play(peer, chosen)
    found |= _of_released(report, options)
    report.notes.append(
        "All rows count faults. Survived: the call ended with a right result, or an error of the SDK's own (0.4.1: of "
        f"httpx), within {_bound(chosen[0]):g} s, or {HANGS:g} s where the server is slow and the timeout {LIMIT:g} s; "
        "and no connection was left open. A foreign error may also come up where the result is first used."
    )
    report.notes.append(
        "Repeated: another whole POST arrived. After no complete answer (the connection broke, the answer was cut or "
        "no HTTP, a 303 led nowhere, or the time was over) what was asked for may well have been started. After an "
        "error status such as 500 nobody but the service knows, and each SDK has a rule of its own. A 429, and a 503 "
        "with a `Retry-After` that can be read, count as refusals for all: this SDK repeats after no other answer. "
        "stripe sends an idempotency key with each payment, so that repeating it would start nothing twice."
    )
    report.notes.append(
        f"{len(chosen)} faults. Those of TLS and of uploads are left to the matrix, as is each `Retry-After` that can "
        "be read as more than a minute: one is free to sit it out."
    )
    return as_report(report, found)


def _of_released(report: Report, options: Options) -> dict[str, Found]:
    if not (ROOT / RELEASED).is_dir():
        report.notes.append("fetch-hive-sdk 0.4.1 is not there: skipped.")
        return {}
    script = (
        "import json, sys; sys.path.insert(0, sys.argv[1]); from dataclasses import asdict; from trust import peers; "
        "chosen = peers.suitable(sys.argv[2] == 'True'); "
        "print(json.dumps({peer.name: asdict(peers.play(peer, chosen)) for peer in peers.released('0.4.1')}))"
    )
    command = [sys.executable, "-c", script, str(ROOT / RELEASED), str(options.quick)]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    if told.returncode:
        report.notes.append(f"fetch-hive-sdk 0.4.1 could not be measured: {told.stderr.strip().splitlines()[-1:]}")
        return {}
    found = json.loads(told.stdout.splitlines()[-1])
    return {name: Found([Case(**case) for case in one["cases"]]) for name, one in found.items()}


def as_report(report: Report, found: dict[str, Found]) -> Report:
    own = [one for name, one in found.items() if _is_own(name)]
    report.add("faults tried", {name: one.tried for name, one in found.items()})
    report.add(
        "faults survived",
        {name: one.survived for name, one in found.items()},
        "all of them",
        all(one.survived == one.tried for one in own),
    )
    for after in (NO_ANSWER, ERROR_ANSWER):
        report.add(
            f"request repeated after {after}",
            {name: len(one.repeated(after)) for name, one in found.items()},
            "never",
            not any(one.repeated(after) for one in own),
        )
    for what, came in {"hung": "hung", "a foreign error": "foreign", "a wrong result": "wrong"}.items():
        report.add(f"not survived: {what}", {name: len(one.that(came)) for name, one in found.items()})
    report.add("not survived: a connection left open", {name: len(one.left_open) for name, one in found.items()})
    for name, one in found.items():
        if _is_own(name):
            report.failures += [
                f"{name}: {case.fault}: {', '.join(case.problems)}" for case in one.cases if case.problems
            ]
        elif one.survived < one.tried:
            report.notes.append(f"Not survived by {name}: {_in_short(one)}.")
    return report


def _is_own(name: str) -> bool:
    return name.startswith(OURS) and not name.startswith(f"{OURS} 0.4.1,")


def _in_short(found: Found) -> str:
    """What was not survived, with a few examples each."""
    told: list[str] = []
    if hung := found.that("hung"):
        told.append(f"hung where the server {_some([case.fault for case in hung])}")
    if foreign := found.that("foreign"):
        classes = Counter(case.what for case in foreign).most_common()
        told.append(f"foreign errors {_some([f'{name} ({count})' for name, count in classes])}")
    if wrong := found.that("wrong"):
        told.append(f"wrong results {_some([f'{case.what} ({case.fault})' for case in wrong])}")
    if found.left_open:
        told.append(f"connections left open where the server {_some([case.fault for case in found.left_open])}")
    return "; ".join(told)


def _some(names: Sequence[str], most: int = 3) -> str:
    """The first few, and how many more there are."""
    return ", ".join(names[:most]) + (f", and {len(names) - most} more" if len(names) > most else "")


if __name__ == "__main__":
    main(measure)
