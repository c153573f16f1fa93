"""Makes docs/performance.md and its plots of what the benchmarks told."""

from __future__ import annotations

import datetime
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import released
from callers import OURS_AIOHTTP
from harness import HEADINGS, OURS, RELEASED, cells_of, lines_of, ratio_text
from plots import Panel, draw
from targets import TARGETS, TOPICS, Figures

# What is not quite equal is not called slower.
ABOUT_EQUAL = 1.03
_VARIANTS = ("", " async", ", a client", ", an async client")
OUR_NAMES = frozenset(
    {*(OURS + variant for variant in _VARIANTS), OURS_AIOHTTP, "in process", "in memory", "on a file"}
)
PACKAGES = (
    *("fetch-hive-sdk", "httpx", "httpcore", "h11", "pydantic", "pydantic-core", "anyio"),
    *("httpx2", "httpx-sse", "httpx-aiohttp", "aiohttp", "openai", "anthropic", "standardwebhooks", "stripe", "uvloop"),
)


# What a candidate that is faster does not do, or has beneath it.
LESS = {
    "httpcore": "the layer below httpx",
    "aiohttp": "no httpx; a parser in C; dicts",
    "httpx-aiohttp": "httpx on aiohttp; dicts",
    "httpx": "dicts",
    "httpx2": "dicts",
    "httpx iter_bytes": "parses nothing",
    "httpx iter_lines + json.loads": "dicts",
    "httpx-sse + json.loads": "dicts",
    "httpx + pydantic": "one model",
    "httpx + pydantic, 40 deferred models": "no client",
    "openai [aiohttp]": "on aiohttp",
    "hmac + json.loads": "dicts",
    "standardwebhooks": "dicts",
    RELEASED: "dicts",
    f"{RELEASED}, a client": "no pydantic",
}


@dataclass(frozen=True)
class Section:
    """A script's part of the page.

    Args:
        title: Its heading.
        text: What is measured, and what a reader has to know to read the figures.
        plotted: The tables drawn in its plot, with the measure of each.
    """

    title: str
    text: str
    plotted: tuple[tuple[str, str], ...]


SECTIONS = {
    "calls": Section(
        "One call",
        "A prompt is invoked on a kept connection, and its answer of 330 bytes read: into a typed result by this "
        "SDK, openai and anthropic, into a dict by the others. httpcore, below httpx, knows no redirects, cookies, "
        "proxies or authentication; aiohttp brings an HTTP parser written in C. openai and anthropic use httpx2.",
        (("sync", "cpu_us"), ("async", "cpu_us"), ("threads", "per_second")),
    ),
    "concurrency": Section(
        "Many at once",
        "One async client on one event loop. httpx stands there twice: with its default of 100 connections, and "
        "with limits raised to 1,000, as they are for httpx2, httpx-aiohttp and aiohttp. A round begins with a new "
        "client, so that its connecting is part of it.",
        (("100", "per_second"), ("500", "per_second"), ("300 in a second", "per_second")),
    ),
    "streams": Section(
        "Streams",
        "Events of 113 bytes of Fetch Hive's JSON, of 190 in openai's form and 110 in anthropic's. This SDK, openai"
        " and anthropic make typed events, 0.4.1 and the readers on httpx dicts; `httpx iter_bytes` parses nothing:"
        " no reader on httpx can be faster. For 20,000 events 0.4.1's client, which is made anew for each stream, "
        "hardly counts. In the table of the large event anthropic was measured once, and its growth up to 5 MB "
        "only.",
        (
            ("single", "cpu_us"),
            ("mixed", "cpu_us"),
            ("large", "cpu_us"),
            ("first event", "wall_ms"),
            ("large event", "cpu_ms"),
        ),
    ),
    "imports": Section(
        "Import",
        "Whole processes; net is what remains without an empty program of the same round. `import fetch_hive_sdk` "
        "alone loads no name: each loads at its first use.",
        (("imports", "net_cpu_ms"),),
    ),
    "cold_start": Section(
        "Cold start",
        "A program that imports the library, makes a client, makes one call, and ends. httpx and 0.4.1 read the "
        "answer into a dict. 0.4.1 loads no pydantic, which types cost.",
        (("at once", "wall_ms"), ("200 ms", "wall_ms")),
    ),
    "memory": Section(
        "Memory, and a second client",
        "Resident memory of a process that imports the library, makes a client and calls. This SDK calls on to "
        "100,000, the others to 10,000, 0.4.1 to 1,500; growth is counted from call 1,000 on (0.4.1: 500). The "
        "second client is timed with its first call, less a call of a warm one.",
        (("memory", "rss_mb"), ("second client", "wall_ms")),
    ),
    "callbacks": Section(
        "Callbacks",
        "The signature of a callback is verified, and its body read: into an object by this SDK, openai and stripe,"
        " into a dict by standardwebhooks and the bare way, which is `hmac.digest` and `json.loads`. Each signs as "
        "its service does.",
        (("2 KB", "cpu_us"), ("1 MB", "cpu_us")),
    ),
    "sandbox": Section(
        "The sandbox",
        "In process it answers the SDK's own client without a socket, as in a test. The server has its run log on, "
        "is kept on one core, and called with ready bytes from another.",
        (("in process", "cpu_us"), ("server", "per_second")),
    ),
}


# --- where it was measured ----------------------------------------------------------------------------------


def surroundings() -> dict[str, Any]:
    """The kind of machine, the versions and the day; nothing that names a machine or a person."""
    versions: dict[str, str] = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    if released.environment() is not None:
        versions["fetch-hive-sdk, released"] = RELEASED.rpartition(" ")[2]
    return {
        "date": datetime.datetime.now(tz=datetime.timezone.utc).date().isoformat(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "versions": versions,
    }


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


# --- the page -----------------------------------------------------------------------------------------------


def write(told: Mapping[str, Any], around: Mapping[str, Any], folder: Path) -> None:
    """Write performance.md and images/performance-*.svg into a folder."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for script in told:
        if (svg := plot(script, told)) is not None:
            (folder / "images" / image(script)).write_text(svg, encoding="utf-8")
    (folder / "performance.md").write_text(page(told, around), encoding="utf-8")


def image(script: str) -> str:
    return f"performance-{script.replace('_', '-')}.svg"


def page(told: Mapping[str, Any], around: Mapping[str, Any]) -> str:
    """The page, of figures by script."""
    return "\n".join([*_opening(told, around), *_slower(told), *_questions(told), *_method(told, around)]) + "\n"


def _opening(told: Mapping[str, Any], around: Mapping[str, Any]) -> Iterator[str]:
    figures = Figures(told)
    verdicts = [(target, *target.verdict(figures)) for target in TARGETS]
    met = sum(reached is True for _, _, reached in verdicts)
    missed = sum(reached is False for _, _, reached in verdicts)
    yield "# Performance"
    yield ""
    whole = around.get("effort", "full") == "full"
    how = "`make bench`" if whole else '`make bench BENCH="--quick"`, which gives a first impression and no more,'
    yield (
        f"Measured by {how} on {around['date']}: {around['cores']} cores of {around['processor']}, "
        f"{around['system']}, {around['python']}, over plain HTTP on the machine itself. Times differ from machine to "
        "machine; the ratios are medians of candidates that took turns in one run, and differ little."
    )
    yield ""
    yield "## Targets"
    yield ""
    unmeasured = len(verdicts) - met - missed
    yield (
        f"{met} of {len(verdicts)} are met, {missed} are not"
        + (f", {unmeasured} were not measured" if unmeasured else "")
        + ". Ratios are of CPU time for a unit of work, where nothing else is said."
    )
    yield ""
    yield "| | Target | Measured | |"
    yield "| --- | ---: | ---: | --- |"
    topic = 0
    for target, value, reached in verdicts:
        if target.topic != topic:
            topic = target.topic
            yield f"| **{TOPICS[topic]}** | | | |"
        word = {True: "met", False: "**not met**", None: "not measured"}[reached]
        yield f"| {target.says} | {target.limit_text()} | {target.value_text(value)} | {word} |"
    yield ""


def _slower(told: Mapping[str, Any]) -> Iterator[str]:
    yield "## Where a peer is faster"
    yield ""
    yield "Each candidate that was measured cheaper or faster than this SDK, by how much, and at what."
    yield ""
    yield "| At | Faster than this SDK | This SDK takes |"
    yield "| --- | --- | ---: |"
    found = list(_faster_peers(told))
    yield from found or ["| – | none | |"]
    yield ""


def _faster_peers(told: Mapping[str, Any]) -> Iterator[str]:
    for script, section in SECTIONS.items():
        for name, measure in section.plotted:
            table = told.get(script, {}).get("tables", {}).get(name, {})
            for ours in (OURS, f"{OURS}, a client"):
                ratios = table.get("ratios", {}).get(measure, {}).get(ours, {})
                for peer, ratio in sorted(ratios.items(), key=lambda item: item[1] or 0.0):
                    if ratio is None or peer in OUR_NAMES:
                        continue
                    times = 1 / ratio if measure == "per_second" else ratio
                    if times > ABOUT_EQUAL:
                        what = table["title"] + (" (a client)" if ours != OURS else "")
                        note = f" ({LESS[peer]})" if peer in LESS else ""
                        yield f"| {what} | {peer}{note} | {ratio_text(times)}× its {_measure(measure)} |"


def _measure(measure: str) -> str:
    words = {"per_second": "time", "rss_mb": "memory"}
    return words.get(measure) or ("CPU time" if "cpu" in measure else "time")


def _questions(told: Mapping[str, Any]) -> Iterator[str]:
    for script, section in SECTIONS.items():
        tables = told.get(script, {}).get("tables", {})
        if not tables:
            continue
        yield f"## {section.title}"
        yield ""
        yield section.text
        yield ""
        yield f"![{section.title}: the figures of the tables below as bars](images/{image(script)})"
        yield ""
        for table in tables.values():
            yield from _markdown(table)


def _markdown(table: Mapping[str, Any]) -> Iterator[str]:
    heads, rows = cells_of(table)
    yield f"**{table['title']}**"
    yield ""
    yield "| " + " | ".join(heads) + " |"
    yield "| --- |" + " ---: |" * (len(heads) - 1)
    for first, *others in rows:
        name = f"**{first}**" if first in OUR_NAMES else first
        yield "| " + " | ".join([name, *others]) + " |"
    yield ""


def _method(told: Mapping[str, Any], around: Mapping[str, Any]) -> Iterator[str]:
    yield "## How it is measured"
    yield ""
    yield (
        "- One server answers all, in a process and on a core of its own: asyncio's lowest layer, writing bytes that "
        "are ready."
    )
    yield "- Every candidate's answers are checked, so that none is fast by not doing the work."
    yield (
        "- Candidates take turns in short blocks, in one process where that is possible. Quoted is the median of the "
        "rounds, for a ratio the median of the rounds' own ratios. CPU is user and system time of the client's process."
    )
    yield (
        "- Not measured: TLS, HTTP/2, compression, a real network. TLS would add to the first call of a connection; "
        "0.4.1 connects for every call."
    )
    yield ""
    yield "To repeat it:"
    yield ""
    yield "```console"
    yield "$ make bench                   # some ten minutes; writes this page"
    yield '$ make bench BENCH="--quick"    # a minute and a half; prints, and writes nothing'
    yield "$ .venv-bench/bin/python benchmarks/calls.py --only httpcore --json"
    yield "```"
    yield ""
    yield (
        "Peers are optional: `requirements/bench.txt` names them; what is absent is left out. `make guard` checks in "
        "20 seconds that nothing became much dearer beside plain httpx; `.ci/run` does so for every change."
    )
    yield ""
    yield "| | |"
    yield "| --- | --- |"
    for package, version in around["versions"].items():
        yield f"| {package} | {version} |"
    skipped = sorted({line for script in told.values() for line in script.get("skipped", ())})
    if skipped:
        yield ""
        yield "Left out:"
        yield ""
        for line in skipped:
            yield f"- {line}"


def summary(told: Mapping[str, Any]) -> Iterator[str]:
    """All tables and targets as text, for a terminal."""
    for script in told.values():
        for table in script["tables"].values():
            yield from lines_of(table)
            yield ""
    for target in TARGETS:
        value, reached = target.verdict(Figures(told))
        word = {True: "met", False: "NOT MET", None: "not measured"}[reached]
        yield f"{word:12}  {target.limit_text():>14}  {target.value_text(value):>14}  {target.says}"
    for line in sorted({line for script in told.values() for line in script.get("skipped", ())}):
        yield f"skipped: {line}"


# --- the plots ----------------------------------------------------------------------------------------------


def plot(script: str, told: Mapping[str, Any]) -> str | None:
    """A script's bars."""
    section = SECTIONS[script]
    panels: list[Panel] = []
    for name, measure in section.plotted:
        table = told[script]["tables"].get(name)
        if table is None:
            continue
        more = measure == "per_second"
        values = {candidate: medians[measure] for candidate, medians in table["medians"].items()}
        bars = sorted(values.items(), key=lambda item: item[1], reverse=more)
        unit = f"{HEADINGS[measure]}, {'more' if more else 'less'} is better"
        panels.append(Panel(table["title"], unit, bars, OUR_NAMES))
    return draw(section.title, panels) if panels else None
