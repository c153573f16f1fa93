"""fetch-hive-sdk 0.4.1 beside this one: it has the same import name, so it works in a process of its own.

`make bench` installs it into a folder of the venv. A process with that folder first on its path takes orders, one JSON
line each, and answers with what it measured.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness import BODY, KEY, RELEASED, Options, Sample, clock, per_unit
from typing_extensions import Self

PLACE = Path(sys.prefix) / "fetch-hive-sdk-0.4.1"


def environment() -> dict[str, str] | None:
    """The environment in which `import fetch_hive_sdk` is 0.4.1; None where it is not installed."""
    return {"PYTHONPATH": str(PLACE)} if PLACE.is_dir() else None


class Released:
    """A process that works with 0.4.1."""

    def __init__(self, more: dict[str, str]) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own
            [sys.executable, __file__],
            env={**os.environ, **more},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @classmethod
    def start(cls, options: Options) -> Self | None:
        """Start one; None where 0.4.1 is not installed or not asked for."""
        if not options.wants(RELEASED):
            return None
        if (more := environment()) is None:
            options.skip(RELEASED, "not installed")
            return None
        return cls(more)

    def calls(self, url: str, count: int) -> Sample:
        """Make so many calls in succession."""
        return self._order(work="calls", url=url, count=count)

    def stream(self, url: str) -> Sample:
        """Read a stream, and count its events and their characters."""
        return self._order(work="stream", url=url)

    def rss(self) -> float:
        """The memory that it has now, in MB."""
        return self._order(work="rss")["rss_mb"]

    def close(self) -> None:
        self._process.communicate()

    def _order(self, **order: Any) -> Sample:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(order), file=self._process.stdin, flush=True)
        answer: Sample = json.loads(self._process.stdout.readline())
        return answer


def _obey(work: str, url: str = "", count: int = 0) -> Sample:
    if work == "rss":
        from memory import resident_mb

        return {"rss_mb": resident_mb()}
    from fetch_hive_sdk import FetchHive

    client = FetchHive(KEY, url)
    began = clock()
    if work == "calls":
        for _ in range(count):
            assert "disabled" in client.invoke_prompt(**BODY)["response"]
        return per_unit(began, count)
    first: float | None = None
    characters = 0
    for event in client.invoke_prompt_stream(**BODY):
        if event["type"] == "response":
            first = clock()[0] - began[0] if first is None else first
            characters += len(event["response"])
            count += 1
    assert first is not None
    return {**per_unit(began, count), "events": count, "characters": characters, "first_us": first * 1e6}


def main() -> None:
    for line in sys.stdin:
        print(json.dumps(_obey(**json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
