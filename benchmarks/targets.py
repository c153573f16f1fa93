"""What is asked of this SDK, and what was measured of it.

Ratios are of CPU time for a unit of work, unless the text says otherwise. A target whose peer is not installed is not
measured, which is neither met nor missed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from callers import HTTPX, HTTPX_RAISED, OURS_AIOHTTP
from harness import OURS, RELEASED, number_text, ratio_text
from programs import HTTPX_PYDANTIC


class Figures:
    """What all scripts told, by script and table; None for what was not measured."""

    def __init__(self, told: Mapping[str, Any]) -> None:
        self.told = told

    def table(self, script: str, table: str) -> dict[str, Any]:
        return self.told.get(script, {}).get("tables", {}).get(table, {})

    def value(self, script: str, table: str, measure: str, name: str = OURS) -> float | None:
        return self.table(script, table).get("medians", {}).get(name, {}).get(measure)

    def ratio(self, script: str, table: str, measure: str, other: str, name: str = OURS) -> float | None:
        """One candidate's figure through another's."""
        return self.table(script, table).get("ratios", {}).get(measure, {}).get(name, {}).get(other)

    def times_as_fast(self, script: str, table: str, other: str) -> float | None:
        """Another one's CPU time through ours."""
        return self.ratio(script, table, "cpu_us", OURS, other)

    def over_better(
        self, table: str, measure: str, best: Callable[..., float], name: str = OURS, peers: tuple[str, ...] = ()
    ) -> float | None:
        """Our figure through that of the better httpx, in `concurrency`."""
        ratios = [self.ratio("concurrency", table, measure, peer, name) for peer in peers or (HTTPX, HTTPX_RAISED)]
        known = [ratio for ratio in ratios if ratio is not None]
        return best(known) if known else None


@dataclass(frozen=True)
class Target:
    """One promise.

    Args:
        topic: The number of its group.
        says: What is compared.
        at_most: The limit; None where `at_least` is one.
        at_least: The limit from below.
        find: Where its figure is.
        unit: What the figure is in; empty for a ratio.
    """

    topic: int
    says: str
    find: Callable[[Figures], float | None]
    at_most: float | None = None
    at_least: float | None = None
    unit: str = ""

    def verdict(self, figures: Figures) -> tuple[float | None, bool | None]:
        """The figure, and whether it meets the target; None where it was not measured."""
        value = self.find(figures)
        if value is None:
            return None, None
        if self.at_most is not None:
            return value, value <= self.at_most
        assert self.at_least is not None
        return value, value >= self.at_least

    def limit_text(self) -> str:
        return f"≤ {self._text(self.at_most)}" if self.at_most is not None else f"≥ {self._text(self.at_least)}"

    def value_text(self, value: float | None) -> str:
        if value is None:
            return "–"
        text, limit = self._text(value), self.at_most if self.at_most is not None else self.at_least
        # A figure that just misses its limit shall not look like the limit.
        return (
            text
            if text != self._text(limit) or value == limit
            else f"{value:.4g}{f' {self.unit}' if self.unit else '×'}"
        )

    def _text(self, value: float | None) -> str:
        return f"{number_text(value)} {self.unit}" if self.unit else f"{ratio_text(value)}×"


TOPICS = {
    1: "One call",
    2: "Many at once",
    3: "Streams",
    4: "Import and cold start",
    5: "Clients, threads, memory",
    6: "Callbacks",
    7: "The sandbox",
}

_HTTPX_CALL = "`httpx.Client.post(json=).json()`"
_BETTER = "the better of `httpx.AsyncClient` with default and with raised limits"


def _calls() -> list[Target]:
    return [
        Target(1, f"One call, sync, against {_HTTPX_CALL}", lambda f: f.ratio("calls", "sync", "cpu_us", HTTPX), 0.78),
        Target(1, "One call, sync, against openai", lambda f: f.ratio("calls", "sync", "cpu_us", "openai"), 0.35),
        Target(
            1,
            "One call, async, in succession, against `httpx.AsyncClient`",
            lambda f: f.ratio("calls", "async", "cpu_us", HTTPX),
            0.85,
        ),
    ]


def _concurrency() -> list[Target]:
    targets: list[Target] = []
    for at, to_httpx, to_openai, with_aiohttp in (("100", 4, 3, 9), ("500", 9, 4, 18)):
        targets += [
            Target(
                2,
                f"Calls a second, {at} at a time, against {_BETTER}",
                lambda f, at=at: f.over_better(at, "per_second", min),
                at_least=to_httpx,
            ),
            Target(
                2, f"p99 of the same, {at} at a time", lambda f, at=at: f.over_better(at, "p99_ms", max), at_most=0.15
            ),
            Target(
                2,
                f"Calls a second, {at} at a time, against openai",
                lambda f, at=at: f.ratio("concurrency", at, "per_second", "openai"),
                at_least=to_openai,
            ),
            Target(
                2,
                f"Calls a second with `[aiohttp]`, {at} at a time, against the better httpx",
                lambda f, at=at: f.over_better(at, "per_second", min, OURS_AIOHTTP),
                at_least=with_aiohttp,
            ),
        ]
    targets.append(
        Target(
            2,
            "300 calls at once that take 1 s each (300 a second are possible)",
            lambda f: f.value("concurrency", "300 in a second", "per_second"),
            at_least=270,
            unit="a second",
        )
    )
    return targets


def _streams() -> list[Target]:
    targets: list[Target] = []
    for table, how, of_httpx, of_openai, of_released in (
        ("single", "one event to a chunk", 0.70, 8, 1.1),
        ("mixed", "mixed chunks", 0.45, 17, 1.4),
        ("large", "64 KiB chunks", None, 33, 2),
    ):
        peers = (("httpx's own bytes, nothing parsed", "httpx iter_bytes", of_httpx), ("openai", "openai", of_openai))
        targets += [
            Target(
                3,
                f"Typed events a CPU second, {how}, against {says}",
                lambda f, table=table, peer=peer: f.times_as_fast("streams", table, peer),
                at_least=limit,
            )
            for says, peer, limit in (*peers, ("0.4.1's dicts", RELEASED, of_released))
            if limit is not None
        ]
    return [
        *targets,
        Target(
            3,
            "First event, wall time, against openai",
            lambda f: f.ratio("streams", "first event", "wall_ms", "openai"),
            at_most=0.45,
        ),
        Target(
            3,
            "One event of 5 MB in 1 KiB chunks, against openai",
            lambda f: f.ratio("streams", "large event", "cpu_ms", "openai"),
            at_most=0.8,
        ),
        Target(
            3,
            "… growth from 1.25 to 10 MB (1 is linear, 2 quadratic)",
            lambda f: f.value("streams", "large event", "exponent"),
            at_most=1.1,
            unit="as exponent",
        ),
    ]


def _starts() -> list[Target]:
    client = f"{OURS}, a client"
    return [
        Target(
            4,
            "`import fetch_hive_sdk` against `import httpx`",
            lambda f: f.ratio("imports", "imports", "net_cpu_ms", "httpx"),
            at_most=0.15,
        ),
        Target(
            4,
            "`FetchHive` imported and a client made, against httpx, pydantic and 40 deferred models",
            lambda f: f.ratio("imports", "imports", "net_cpu_ms", f"{HTTPX_PYDANTIC}, 40 deferred models", client),
            at_most=1.10,
        ),
        Target(
            4,
            "… against openai and a client",
            lambda f: f.ratio("imports", "imports", "net_cpu_ms", "openai, a client", client),
            at_most=0.30,
        ),
        Target(
            4,
            "Cold start (import, client, a call, exit), against httpx and one pydantic model",
            lambda f: f.ratio("cold_start", "at once", "cpu_ms", HTTPX_PYDANTIC),
            at_most=1.05,
        ),
        Target(
            4,
            "Cold start, against openai",
            lambda f: f.ratio("cold_start", "at once", "cpu_ms", "openai"),
            at_most=0.33,
        ),
    ]


def _more_memory(figures: Figures) -> float | None:
    ours = figures.value("memory", "memory", "rss_mb")
    other = figures.value("memory", "memory", "rss_mb", HTTPX_PYDANTIC)
    return None if ours is None or other is None else ours - other


def _clients() -> list[Target]:
    return [
        Target(5, "A second client", lambda f: f.value("memory", "second client", "wall_ms"), at_most=1.0, unit="ms"),
        Target(
            5,
            "Calls a second of 8 threads on one client, against 8 threads on one `httpx.Client`",
            lambda f: f.ratio("calls", "threads", "per_second", HTTPX),
            at_least=1.3,
        ),
        Target(
            5,
            "Memory of import, client and 10,000 calls, more than httpx and pydantic",
            _more_memory,
            at_most=3,
            unit="MB",
        ),
        Target(
            5,
            "Memory grown from call 1,000 to 100,000, for each 10,000 calls (flat)",
            lambda f: f.value("memory", "memory", "grown_kb"),
            at_most=100,
            unit="KB",
        ),
    ]


TARGETS: tuple[Target, ...] = (
    *_calls(),
    *_concurrency(),
    *_streams(),
    *_starts(),
    *_clients(),
    Target(
        6,
        "Verify and read 2 KB into the typed event, against bare `hmac.digest` and `json.loads`",
        lambda f: f.ratio("callbacks", "2 KB", "cpu_us", "hmac + json.loads"),
        at_most=1.2,
    ),
    Target(
        7,
        "A call in process",
        lambda f: f.value("sandbox", "in process", "cpu_us", "in process"),
        at_most=250,
        unit="µs",
    ),
    Target(
        7,
        "Calls a second of its server, with the run log, on one core",
        lambda f: f.value("sandbox", "server", "per_second", "in memory"),
        at_least=800,
        unit="a second",
    ),
)
