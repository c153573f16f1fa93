"""Whose calls are made under load: this SDK's and the peers', each in a process of its own.

The peers are optional: what is not installed is skipped with a note.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Union

from trust.figures import OURS, Report
from trust.load_server import ROOT, order

__all__ = [
    "CLIENTS",
    "FORK_SECONDS",
    "KEY",
    "RELEASED_NAME",
    "TINY",
    "AsyncCalls",
    "AsyncStreams",
    "Calls",
    "Streams",
    "clean_environment",
    "fork_alone",
    "ours",
    "ours_async",
    "peers",
]

KEY = "fhk_load"
TINY = 0.02  # seconds that a call waits which is never answered
FORK_SECONDS = 1.0  # that a call waits whose answer the other process may have taken

Calls = Callable[[str, Union[float, None]], str]  # made with an order, and a timeout or the client's own
Streams = Callable[[str], Iterator[str]]
AsyncCalls = Callable[[str, Union[float, None]], Awaitable[str]]
AsyncStreams = Callable[[str], AsyncIterator[str]]

BODY: dict[str, Any] = {"deployment": "load", "variant": "default"}


def ours(client: Any) -> tuple[Calls, Streams]:
    """The calls of a `FetchHive`."""

    def call(ordered: str, timeout: Union[float, None]) -> str:
        used = client if timeout is None else client.with_options(timeout=timeout)
        return used.invoke_prompt(**BODY, inputs={"call": ordered}).response

    def stream(ordered: str) -> Iterator[str]:
        with client.invoke_prompt_stream(**BODY, inputs={"call": ordered}) as opened:
            yield from opened.text

    return call, stream


def ours_async(client: Any) -> tuple[AsyncCalls, AsyncStreams]:
    """The calls of an `AsyncFetchHive`."""

    async def call(ordered: str, seconds: Union[float, None]) -> str:
        used = client if seconds is None else client.with_options(timeout=seconds)
        return (await used.invoke_prompt(**BODY, inputs={"call": ordered})).response

    async def stream(ordered: str) -> AsyncIterator[str]:
        async with client.invoke_prompt_stream(**BODY, inputs={"call": ordered}) as opened:
            async for piece in opened.text:
                yield piece

    return call, stream


def _ours(url: str, **_: Any) -> tuple[Calls, Streams]:
    from fetch_hive_sdk import FetchHive  # not above: 0.4.1 has this name, too

    return ours(FetchHive(KEY, url))


def _released(url: str, **_: Any) -> tuple[Calls, Streams]:
    sys.path.insert(0, str(RELEASED))
    from fetch_hive_sdk import FetchHive

    client: Any = FetchHive(KEY, url)
    impatient: dict[float, Any] = {seconds: FetchHive(KEY, url, timeout=seconds) for seconds in (TINY, FORK_SECONDS)}

    def call(ordered: str, timeout: Union[float, None]) -> str:
        return (impatient[timeout] if timeout else client).invoke_prompt(**BODY, inputs={"call": ordered})["response"]

    def stream(ordered: str) -> Iterator[str]:
        with closing(client.invoke_prompt_stream(**BODY, inputs={"call": ordered})) as events:
            yield from (event["response"] for event in events if event["type"] == "response")

    return call, stream


def _openai(url: str, **options: Any) -> tuple[Calls, Streams]:
    import openai

    client = openai.OpenAI(api_key=KEY, base_url=url, **options)
    create: Any = client.chat.completions.create

    def call(ordered: str, timeout: Union[float, None]) -> str:
        more = {"timeout": timeout} if timeout else {}
        return create(model="m", messages=[{"role": "user", "content": ordered}], **more).choices[0].message.content

    def stream(ordered: str) -> Iterator[str]:
        with create(model="m", messages=[{"role": "user", "content": ordered}], stream=True) as chunks:
            yield from (chunk.choices[0].delta.content for chunk in chunks)

    return call, stream


def _anthropic(url: str, **options: Any) -> tuple[Calls, Streams]:
    import anthropic

    client = anthropic.Anthropic(api_key=KEY, base_url=url.removesuffix("/v1"), **options)

    def create(ordered: str, **more: Any) -> Any:
        return client.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": ordered}], **more)

    def call(ordered: str, timeout: Union[float, None]) -> str:
        return create(ordered, **({"timeout": timeout} if timeout else {})).content[0].text

    def stream(ordered: str) -> Iterator[str]:
        with create(ordered, stream=True) as events:
            yield from (event.delta.text for event in events if event.type == "content_block_delta")

    return call, stream


PEERS_FOLDER = ROOT / ".venv-bench"
RELEASED = PEERS_FOLDER / "fetch-hive-sdk-0.4.1"
RELEASED_NAME = "fetch-hive-sdk 0.4.1"
CLIENTS: dict[str, Callable[..., tuple[Calls, Streams]]] = {  # made with a URL, and `max_retries` if not its own
    OURS: _ours,
    "openai": _openai,
    "anthropic": _anthropic,
    RELEASED_NAME: _released,
}


def clean_environment() -> dict[str, str]:
    """The environment without what would set a client's options."""
    unwanted = ("FETCH_HIVE_", "OPENAI_", "ANTHROPIC_")
    return {
        name: value
        for name, value in os.environ.items()
        if not (name.startswith(unwanted) or name.lower().endswith("_proxy"))
    }


def fork_alone(name: str, url: str, calls: int, times: int, python: str = sys.executable) -> list[int]:
    """Let one of `CLIENTS` call, fork, and both processes call on, with its own defaults; again with a new client.

    Args:
        name: Which.
        url: Of the server.
        calls: Of both processes together, after the fork.
        times: How often it is done.
        python: One that has it.

    Returns:
        Of how many calls the answer was their own, for each time.
    """
    command = [python, "-W", "ignore", "-m", "trust.load_peers", name, url, str(calls), str(times)]
    ended = subprocess.run(command, cwd=ROOT, env=clean_environment(), stdout=subprocess.PIPE, check=True)
    return [sum(map(int, line.split())) for line in ended.stdout.splitlines()]


def _be_forking_client(name: str, url: str, calls: int, times: int) -> None:
    for time in range(times):
        call, _ = CLIENTS[name](url)
        call(order(f"before-{time}"), None)
        reading, writing = os.pipe()
        child = os.fork()
        right = 0
        for number in range(calls // 2):
            own = f"{'parent' if child else 'child'}{time}-{number}"
            with contextlib.suppress(Exception):
                right += own == call(order(own), FORK_SECONDS)
        if not child:
            os.write(writing, b"%d" % right)
            os._exit(0)
        os.waitpid(child, 0)
        os.close(writing)
        print(right, os.read(reading, 20).decode(), flush=True)
        os.close(reading)


def peers(report: Report) -> Iterator[tuple[str, str, str]]:
    """Who is measured, this SDK first: the name in `CLIENTS`, the one that is shown, and a Python that has it."""
    yield OURS, OURS, sys.executable
    for name in ("openai", "anthropic"):
        python, shown = _peer(name)
        if python:
            yield name, shown, python
        else:
            report.notes.append(f"{name}: skipped, it is not installed")
    if RELEASED.is_dir():
        yield RELEASED_NAME, RELEASED_NAME, sys.executable
    else:
        report.notes.append(f"{RELEASED_NAME}: skipped, it is not installed")


def _peer(module: str) -> tuple[str, str]:
    """A Python that has a peer, and the peer's version; "" where there is none."""
    code = f"import {module}; print({module}.__version__)"
    for python in (sys.executable, str(PEERS_FOLDER / "bin" / "python")):
        if Path(python).exists():
            found = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
            if not found.returncode:
                return python, f"{module} {found.stdout.strip()}"
    return "", ""


if __name__ == "__main__":
    _be_forking_client(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
