"""Streams: 20,000 events in three ways to cut them, the first event, and one event of 5 MB.

    python benchmarks/streams.py [--quick] [--json] [--only NAME]…

Typed are the events of this SDK, openai and anthropic; 0.4.1 and the readers on httpx give dicts, or bytes.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import httpx
from callers import HEADERS, MESSAGES
from harness import (
    BODY,
    KEY,
    OURS,
    RELEASED,
    Options,
    Sample,
    Server,
    Table,
    clock,
    growth_exponent,
    per_unit,
    take_turns,
    tell,
)
from released import Released
from server import PIECE

from fetch_hive_sdk import AsyncFetchHive, FetchHive, ResponseEvent

BYTES = "httpx iter_bytes"
LINES = "httpx iter_lines + json.loads"
SSE = "httpx-sse + json.loads"
ASYNC = f"{OURS} async"
STREAMING = {**BODY, "streaming": True}

Texts = Callable[[], Iterator[str]]


# --- readers: each opens the stream anew, and gives the text of every event -----------------------------


def readers(options: Options, url: str, stack: ExitStack) -> dict[str, Texts]:
    """By candidate, a function that reads the stream at this URL."""
    path = f"{url}/prompt/invoke"
    ours = stack.enter_context(FetchHive(KEY, url))
    plain = stack.enter_context(httpx.Client(headers=HEADERS))

    def typed() -> Iterator[str]:
        with ours.invoke_prompt_stream(**BODY) as events:
            for event in events:
                if isinstance(event, ResponseEvent):
                    yield event.response

    def lines() -> Iterator[str]:
        with plain.stream("POST", path, json=STREAMING) as answer:
            for line in answer.iter_lines():
                if line.startswith("data: {"):
                    event = json.loads(line[6:])
                    if event["type"] == "response":
                        yield event["response"]

    found: dict[str, Texts] = {OURS: typed, LINES: lines}
    if (httpx_sse := options.peer(SSE, package="httpx_sse")) is not None:

        def sse() -> Iterator[str]:
            with httpx_sse.connect_sse(plain, "POST", path, json=STREAMING) as source:
                for item in source.iter_sse():
                    if item.data != "[DONE]":
                        event = json.loads(item.data)
                        if event["type"] == "response":
                            yield event["response"]

        found[SSE] = sse
    if (openai := options.peer("openai")) is not None:
        chat = stack.enter_context(openai.OpenAI(api_key=KEY, base_url=url)).chat.completions

        def chunks() -> Iterator[str]:
            for chunk in chat.create(model="gpt-x", messages=MESSAGES, stream=True):
                yield chunk.choices[0].delta.content

        found["openai"] = chunks
    if (anthropic := options.peer("anthropic")) is not None:
        claude: Any = stack.enter_context(anthropic.Anthropic(api_key=KEY, base_url=url.removesuffix("/v1"))).messages

        def deltas() -> Iterator[str]:
            for event in claude.create(model="claude-x", max_tokens=99, messages=MESSAGES, stream=True):
                if event.type == "content_block_delta":
                    yield event.delta.text

        found["anthropic"] = deltas
    return found


def read(texts: Texts, events: int, characters: int) -> Sample:
    """Read all of a stream; what a unit takes, and the first event."""
    began = clock()
    read_characters = read_events = 0
    first = 0.0
    for text in texts():
        if not read_events:
            first = clock()[0] - began[0]
        read_events += 1
        read_characters += len(text)
    sample = {**per_unit(began, events), "first_us": first * 1e6}
    check(read_events, read_characters, events, characters)
    return sample


def read_async(client: Callable[[], AsyncFetchHive], events: int, characters: int) -> Sample:
    """As `read`, with the async client."""

    async def texts() -> AsyncIterator[str]:
        async with client() as ours, ours.invoke_prompt_stream(**BODY) as stream:
            async for event in stream:
                if isinstance(event, ResponseEvent):
                    yield event.response

    async def all_of_it() -> Sample:
        read_events = read_characters = 0
        began = clock()
        async for text in texts():
            read_events += 1
            read_characters += len(text)
        sample = per_unit(began, events)
        check(read_events, read_characters, events, characters)
        return sample

    return asyncio.run(all_of_it())


def read_released(released: Released, url: str, events: int, characters: int) -> Sample:
    sample = released.stream(url)
    check(sample.pop("events"), sample.pop("characters"), events, characters)
    return sample


def check(events: float, characters: float, expected_events: int, expected_characters: int) -> None:
    if (events, characters) != (expected_events, expected_characters):
        raise AssertionError(f"{events} events with {characters} characters came, and not {expected_events}")


def read_bytes(client: httpx.Client, path: str, events: int) -> Sample:
    """httpx's own iteration over the bytes: what no reader on httpx can be faster than."""
    began = clock()
    size = 0
    with client.stream("POST", path, json=STREAMING) as answer:
        for chunk in answer.iter_bytes():
            size += len(chunk)
    assert size > events * len(PIECE)
    return per_unit(began, events)


# --- the questions --------------------------------------------------------------------------------------


def many_events(options: Options, url: str, events: int, rounds: int, released: Released | None) -> Table:
    """Short events in great number."""
    characters = events * len(PIECE)
    with ExitStack() as stack:
        plain = stack.enter_context(httpx.Client(headers=HEADERS))
        turns: dict[str, Callable[[], Sample]] = {
            name: partial(read, texts, events, characters) for name, texts in readers(options, url, stack).items()
        }
        turns[ASYNC] = partial(read_async, partial(AsyncFetchHive, KEY, url), events, characters)
        turns[BYTES] = partial(read_bytes, plain, f"{url}/prompt/invoke", events)
        if released is not None:
            turns[RELEASED] = partial(read_released, released, url, events, characters)
        samples = take_turns(turns, rounds)
    how = url.split("/")[3].partition("-")[0]
    cut = {"single": "one to an HTTP chunk", "mixed": "mixed chunks", "large": "chunks of 64 KiB"}[how]
    return Table(f"{events:,} events, {cut}", BYTES, ("cpu_us", "wall_us", "per_second"), samples)


def first_event(options: Options, url: str, rounds: int, released: Released | None) -> Table:
    """How soon the first event is handed over, on a connection that is there; the rest of the stream comes later."""
    with ExitStack() as stack:
        turns: dict[str, Callable[[], Sample]] = {
            name: partial(read, texts, 1, len(PIECE)) for name, texts in readers(options, url, stack).items()
        }
        if released is not None:
            turns[RELEASED] = partial(read_released, released, url, 1, len(PIECE))
        samples = take_turns(turns, rounds)
    return Table(
        "The first event, on a warm connection",
        "openai",
        ("wall_ms",),
        {name: [{"wall_ms": sample["first_us"] / 1e3} for sample in taken] for name, taken in samples.items()},
    )


def large_events(options: Options, server: Server, size: int, rounds: int, released: Released | None) -> Table:
    """One event of 5 MB in chunks of 1 KiB, and how the time grows from a quarter of that to twice that."""
    sizes = [size // 4, size // 2, size, size * 2]
    cpu: dict[str, dict[int, list[Sample]]] = {}
    for one in sizes:
        url = server.url(f"event-{one}")
        with ExitStack() as stack:
            found = readers(options, url, stack)
            slow = found.pop("anthropic", None)  # quadratic: 5 s at 5 MB, and four times that at 10
            turns: dict[str, Callable[[], Sample]] = {
                name: partial(read, texts, 1, one) for name, texts in found.items()
            }
            if released is not None:
                turns[RELEASED] = partial(read_released, released, url, 1, one)
            samples = take_turns(turns, rounds)
            if slow is not None and one <= size:
                samples["anthropic"] = take_turns({"": partial(read, slow, 1, one)}, 1, warm_ups=0)[""]
        for name, taken in samples.items():
            cpu.setdefault(name, {})[one] = taken
    return Table(
        f"One event of {size / 1e6:g} MB in chunks of 1 KiB",
        "openai",
        ("cpu_ms", "wall_ms", "exponent"),
        {name: _with_exponent(by_size, size) for name, by_size in cpu.items()},
    )


def _with_exponent(by_size: dict[int, list[Sample]], size: int) -> list[Sample]:
    fastest = [min(sample["cpu_us"] for sample in taken) for taken in by_size.values()]
    exponent = growth_exponent(list(by_size), fastest)
    return [
        {"wall_ms": sample["wall_us"] / 1e3, "cpu_ms": sample["cpu_us"] / 1e3, "exponent": exponent}
        for sample in by_size[size]
    ]


def main() -> None:
    options = Options.read(__doc__)
    pick = options.effort.pick
    events, rounds = pick(20_000, 2_000, 50), pick(5, 2, 1)
    tables: dict[str, Table] = {}
    with Server() as server, ExitStack() as stack:
        if (released := Released.start(options)) is not None:
            stack.callback(released.close)
        for how in ("single", "mixed", "large"):
            tables[how] = many_events(options, server.url(f"{how}-{events}"), events, rounds, released)
        tables["first event"] = first_event(options, server.url("first-5"), pick(100, 10, 2), released)
        size = pick(5_000_000, 1_000_000, 20_000)
        tables["large event"] = large_events(options, server, size, pick(5, 2, 1), released)
    tell(options, tables)


if __name__ == "__main__":
    main()
