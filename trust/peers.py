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
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from tests.faulty_server import FaultyServer

from .faults import LIMIT, Answer, Fault, faults
from .figures import OURS, Options, Report, main

RELEASED = Path(".venv-bench/fetch-hive-sdk-0.4.1")
ROOT = Path(__file__).parent.parent

# Seconds after which a call with short limits counts as one that hangs: three attempts, and the waits between them.
HANGS = 8.0
# What a call is given as its timeout where the server answers at once.
PATIENCE = 4.0


# Waits that a server may ask for, and that a client is free to sit out.
_LONG_WAITS = ("Retry-After 61", "a date in two hours", "two hours of RFC 850", "two hours of asctime")


@dataclass(frozen=True)
class Peer:
    """A call of an SDK that starts something which costs.

    Attributes:
        name: The SDK with its version, and the call.
        answer: The right answer.
        make: Makes a client, given the address of the server, and its timeout in seconds; and what closes it.
        ask: Makes the call, and gives what it was answered with.
        words: What that is if it is right.
        family: The classes of the SDK's own errors.
    """

    name: str
    answer: Answer
    make: Callable[[str, float], Any]
    ask: Callable[[Any], Any]
    words: Any
    family: tuple[type[BaseException], ...]


@dataclass
class Found:
    """What came of the faults: how many were tried, and the names of those that were not survived, by the way."""

    tried: int
    survived: int
    hung: list[str]
    foreign: list[str]
    wrong: list[str]
    leaked: list[str]
    twice: list[str]


def _json(value: object) -> Answer:
    return Answer(json.dumps(value, ensure_ascii=False).encode())


def _events(*events: str | tuple[str, object], needed: int) -> Answer:
    """Server-sent events, named ones as pairs."""
    lines = [
        f"data: {event}\n\n" if isinstance(event, str) else f"event: {event[0]}\ndata: {json.dumps(event[1])}\n\n"
        for event in events
    ]
    pieces = tuple(line.encode() for line in lines)
    return Answer(b"".join(pieces), pieces, needed)


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
            call.answer(WORDS),
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
        _json({"request_id": "req_1", "response": "hi"}),
        lambda url, timeout: fetch_hive_sdk.FetchHive(api_key="fhk_test", base_url=url, timeout=timeout),
        ask,
        "hi",
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
    message = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}
    chunks = [
        json.dumps(
            {
                **fields,
                "object": "chat.completion.chunk",
                "choices": [{"index": 0, "delta": delta, "finish_reason": end}],
            }
        )
        for delta, end in (({"content": "hel"}, None), ({"content": "lo"}, None), ({}, "stop"))
    ]
    family = (sdk.OpenAIError,)
    yield Peer(
        f"{version}, chat",
        _json({**fields, "object": "chat.completion", "choices": [message]}),
        make,
        plain,
        "hello",
        family,
    )
    yield Peer(f"{version}, stream", _events(*chunks, "[DONE]", needed=3), make, stream, "hello", family)


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
    events = _events(
        ("message_start", {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}}),
        (
            "content_block_start",
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        ),
        (
            "content_block_delta",
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hello"}},
        ),
        ("content_block_stop", {"type": "content_block_stop", "index": 0}),
        (
            "message_delta",
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn", "stop_sequence": None},
                "usage": {"output_tokens": 1},
            },
        ),
        ("message_stop", {"type": "message_stop"}),
        needed=5,
    )
    answer = _json({**message, "content": [{"type": "text", "text": "hello"}], "stop_reason": "end_turn"})
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
        _json({"id": "pi_1", "object": "payment_intent"}),
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
class Case:
    """What came of a fault: `survived`, `hung`, `foreign: …` or `wrong: …`; whether it leaked, and ran twice."""

    fault: Fault
    came: str
    leaked: bool = False
    twice: bool = False


def judge(peer: Peer, fault: Fault) -> Case:
    """Play a fault to a peer."""
    outcomes = fault.streamed if peer.answer.events else fault.plain
    with FaultyServer(None, fault.welcome) as server:
        told: list[Any] = []
        # Nothing can end a thread that hangs for good: it is left alone then, and ends with the process.
        thread = threading.Thread(target=_session, args=(peer, fault, server, told), daemon=True)
        thread.start()
        thread.join(HANGS if fault.waits else 3 * PATIENCE + HANGS)
        if not told:
            return Case(fault, "hung")
        kind, value, requests = told[0]
        thread.join()
        gc.collect(0)
        leaked = not server.wait_for(lambda server: server.open == 0, 5)
    twice = requests > 1 and not any(outcome.refused for outcome in outcomes)
    if kind == "raised" and not isinstance(value, peer.family):
        came = f"foreign: {type(value).__module__}.{type(value).__name__}"
    elif kind == "answered" and value != peer.words and all(outcome.error for outcome in outcomes):
        came = f"wrong: {str(value)[:40]!r}"
    else:
        came = "survived"
    return Case(fault, came, leaked, twice)


def _session(peer: Peer, fault: Fault, server: FaultyServer, told: list[Any]) -> None:
    """Make the call in which the server misbehaves, and close the client in the same thread."""
    client = peer.make(server.base_url, LIMIT if fault.waits else PATIENCE)
    requests = 0
    try:
        if fault.before is not None:
            server.now(fault.before(peer.answer))
            peer.ask(client)
            if fault.settled:
                server.wait_for(lambda server: server.answered == len(server.requests))
        requests = len(server.requests)
        server.now(*(act(peer.answer) for act in fault.acts))
        answered = peer.ask(client)
        told.append(("answered", answered, len(server.requests) - requests))
    except Exception as error:
        told.append(("raised", error, len(server.requests) - requests))
    close = getattr(client, "close", None)
    if close is not None:
        close()


def play(peer: Peer, chosen: Sequence[Fault]) -> Found:
    """Play faults to a peer, many at a time: most of the time goes into its waits between retries."""
    fitting = [fault for fault in chosen if (fault.streamed if peer.answer.events else fault.plain)]
    with quiet(), ThreadPoolExecutor(24) as threads:
        cases = list(threads.map(partial(judge, peer), fitting))

    def named(word: str) -> list[str]:
        return [f"{case.fault.name} ({case.came})" for case in cases if case.came.startswith(word)]

    leaked = [case.fault.name for case in cases if case.leaked]
    survived = sum(case.came == "survived" and not case.leaked for case in cases)
    twice = [case.fault.name for case in cases if case.twice]
    return Found(len(cases), survived, named("hung"), named("foreign"), named("wrong"), leaked, twice)


def suitable(quick: bool) -> list[Fault]:
    """The faults that every SDK can meet: over plain connections, and without what only Fetch Hive answers."""
    ours = {"sends an error as a success", "says that a run failed", "says that a run failed, and resets"}
    ours |= {"streams an error without words", "streams events of nonsense", "streams nothing but its end"}
    chosen = [fault for fault in faults() if fault.quick and not fault.secure and not fault.upload and fault.listens]
    chosen = [fault for fault in chosen if fault.name not in ours and not fault.name.endswith(_LONG_WAITS)]
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
        "Survived: it ended in bounded time with a right result, or an error of the SDK's own (0.4.1: of httpx), and "
        "left no connection open. Started more than once: further requests arrived whole, and nothing was refused."
    )
    report.notes.append(
        "stripe sends an idempotency key with each payment, so that its repetitions start nothing twice. "
        "The connections that it leaves open may be due to how its client is put away here."
    )
    report.notes.append(f"{len(chosen)} faults; those of TLS and of uploads are left to the matrix.")
    return _as_report(report, found)


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
    return {name: Found(**fields) for name, fields in json.loads(told.stdout.splitlines()[-1]).items()}


def _as_report(report: Report, found: dict[str, Found]) -> Report:
    own = [one for name, one in found.items() if name.startswith(OURS) and "0.4.1" not in name]
    report.add("faults tried", {name: one.tried for name, one in found.items()})
    report.add(
        "faults survived",
        {name: one.survived for name, one in found.items()},
        "all of them",
        all(one.survived == one.tried for one in own),
    )
    report.add(
        "started more than once where nothing was refused",
        {name: len(one.twice) for name, one in found.items()},
        "never",
        not any(one.twice for one in own),
    )
    for what, field in {
        "hung": "hung",
        "a foreign error": "foreign",
        "a wrong result": "wrong",
        "a connection left open": "leaked",
    }.items():
        report.add(f"not survived: {what}", {name: len(getattr(one, field)) for name, one in found.items()})
    for name, one in found.items():
        for field, cases in asdict(one).items():
            if isinstance(cases, list) and cases and field != "twice":
                text = f"{name}, {field}: {'; '.join(cases[:5])}{' …' if len(cases) > 5 else ''}"
                (report.failures if name.startswith(OURS) and "0.4.1" not in name else report.notes).append(text)
    return report


if __name__ == "__main__":
    main(measure)
