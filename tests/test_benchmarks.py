"""The benchmarks run and measure what they promise, their page tells the truth, and the guard sees what is too dear."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree as ET

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"
OURS = "fetch-hive-sdk"
SECONDS = 120

if not FOLDER.is_dir():
    pytest.skip(f"THE TESTS OF THE BENCHMARKS DID NOT RUN. They need {FOLDER}.", allow_module_level=True)
if sys.platform == "win32":
    pytest.skip("the benchmarks measure processes as POSIX systems do", allow_module_level=True)

# By script and table: who is measured without any peer installed, and in what.
PROMISED: dict[str, dict[str, tuple[set[str], set[str]]]] = {
    "calls": {
        "sync": ({OURS, "httpx", "httpcore"}, {"cpu_us", "wall_us", "per_second"}),
        "async": ({OURS, "httpx"}, {"cpu_us", "wall_us", "per_second"}),
        "threads": ({OURS, "httpx", "httpcore"}, {"cpu_us", "per_second"}),
    },
    "concurrency": {
        "100": ({OURS, "httpx", "httpx, limits 1000/1000"}, {"per_second", "p99_ms", "cpu_us"}),
        "500": ({OURS, "httpx", "httpx, limits 1000/1000"}, {"per_second", "p99_ms", "cpu_us"}),
        "300 in a second": ({OURS, "httpx, limits 1000/1000"}, {"per_second", "p99_ms", "cpu_us"}),
    },
    "streams": {
        "single": ({OURS, f"{OURS} async", "httpx iter_bytes"}, {"cpu_us", "per_second"}),
        "mixed": ({OURS, f"{OURS} async", "httpx iter_bytes"}, {"cpu_us", "per_second"}),
        "large": ({OURS, f"{OURS} async", "httpx iter_bytes"}, {"cpu_us", "per_second"}),
        "first event": ({OURS, "httpx iter_lines + json.loads"}, {"wall_ms"}),
        "large event": ({OURS, "httpx iter_lines + json.loads"}, {"wall_ms", "cpu_ms", "exponent"}),
    },
    "imports": {
        "imports": (
            {OURS, f"{OURS}, a client", "httpx", "httpx + pydantic, 40 deferred models"},
            {"net_cpu_ms", "net_wall_ms", "wall_ms"},
        )
    },
    "cold_start": {
        "at once": ({OURS, "httpx", "httpx + pydantic"}, {"wall_ms", "cpu_ms"}),
        "200 ms": ({OURS, "httpx", "httpx + pydantic"}, {"wall_ms", "cpu_ms"}),
    },
    "memory": {
        "memory": ({OURS, "httpx + pydantic"}, {"rss_mb", "grown_kb", "calls"}),
        "second client": ({OURS, "httpx"}, {"wall_ms"}),
    },
    "callbacks": {
        "2 KB": ({OURS, "hmac + json.loads"}, {"cpu_us", "wall_us"}),
        "1 MB": ({OURS, "hmac + json.loads"}, {"cpu_us", "wall_us"}),
    },
    "sandbox": {
        "in process": ({"in process"}, {"cpu_us", "wall_us"}),
        "server": ({"in memory", "on a file"}, {"per_second", "wall_us"}),
    },
}


def run_script(name: str, *arguments: str) -> str:
    """What a script prints."""
    command = [sys.executable, str(FOLDER / f"{name}.py"), *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Import a module of the benchmarks, which is gone after the test."""
    monkeypatch.syspath_prepend(str(FOLDER))
    before = dict(sys.modules)
    yield importlib.import_module
    for name, module in list(sys.modules.items()):
        if name not in before and str(getattr(module, "__file__", None)).startswith(str(FOLDER)):
            del sys.modules[name]


def test_every_script_measures_what_it_promises(benchmark: Callable[[str], ModuleType]) -> None:
    """Each script gives its tables, candidates and measures as JSON, and every target finds its figure there."""
    # Of the imports only those that are promised: each is a process.
    only = [f"--only={name}" for name in PROMISED["imports"]["imports"][0]]

    def run(name: str) -> str:
        return run_script(name, "--tiny", "--json", *(only if name == "imports" else ()))

    with ThreadPoolExecutor(max_workers=4) as threads:
        printed = dict(zip(PROMISED, threads.map(run, PROMISED), strict=True))
    told = {name: json.loads(text) for name, text in printed.items()}
    for script, tables in PROMISED.items():
        assert list(told[script]["tables"]) == list(tables)
        for name, (candidates, measures) in tables.items():
            medians = told[script]["tables"][name]["medians"]
            assert candidates <= set(medians), (script, name)
            for candidate in candidates:
                assert measures <= set(medians[candidate]), (script, name, candidate)

    targets = benchmark("targets")
    figures = targets.Figures(told)
    unmeasured = [target.says for target in targets.TARGETS if target.verdict(figures)[1] is None]
    assert all("openai" in says or "0.4.1" in says or "[aiohttp]" in says for says in unmeasured), unmeasured


def test_absent_candidates_are_skipped_with_a_line() -> None:
    """A table for a terminal names its candidates, fastest first, and what was left out."""
    printed = run_script("callbacks", "--tiny", "--only", "standardwebhooks", "--only", "a package of nobody")
    assert "A callback of 2 KB" in printed
    assert f"\n{OURS} " in printed
    assert "CPU µs" in printed
    try:
        importlib.import_module("standardwebhooks")
    except ImportError:
        assert "skipped: standardwebhooks: not installed" in printed


# --- the server -------------------------------------------------------------------------------------------


def without_chunks(reply: bytes) -> bytes:
    """The body of an answer in chunks."""
    rest = reply.partition(b"\r\n\r\n")[2]
    body = b""
    while True:
        size, _, rest = rest.partition(b"\r\n")
        if size == b"0":
            assert rest == b"\r\n"
            return body
        body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]


@pytest.mark.parametrize("path", ["prompt/invoke", "chat/completions", "messages"])
def test_all_chunkings_carry_the_same_stream(path: str, benchmark: Callable[[str], ModuleType]) -> None:
    """However the server cuts a stream, the same events come out; asked for no stream, it answers with JSON."""
    server = benchmark("server")
    single, mixed, large = (
        without_chunks(server.reply_to(f"/{how}-40/v1/{path}", True)[0][1]) for how in ("single", "mixed", "large")
    )
    assert single == mixed == large
    assert single.count(server.PIECE.encode()) == 40
    head, _, body = server.reply_to(f"/after-50/v1/{path}", False)[0][1].partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}\r\n".encode() in head
    assert server.TEXT in json.dumps(json.loads(body))


def test_growth_is_told_from_its_exponent(benchmark: Callable[[str], ModuleType]) -> None:
    """Time in proportion to the size has the exponent 1, and to its square 2."""
    harness = benchmark("harness")
    assert harness.growth_exponent([1, 2, 4, 8], [3, 6, 12, 24]) == pytest.approx(1)
    assert harness.growth_exponent([1, 2, 4, 8], [1, 4, 16, 64]) == pytest.approx(2)


def test_ratios_are_those_of_the_rounds(benchmark: Callable[[str], ModuleType]) -> None:
    """A machine that becomes slower in one round does not change a ratio: it is the median of the rounds' own."""
    harness = benchmark("harness")
    samples = {
        "a": [{"cpu_us": 1.0}, {"cpu_us": 10.0}, {"cpu_us": 1.2}],
        "b": [{"cpu_us": 2.0}, {"cpu_us": 20.0}, {"cpu_us": 2.0}],
    }
    figures = harness.Table("A call", "b", ("cpu_us",), samples).figures()
    assert figures["medians"]["a"]["cpu_us"] == 1.2
    assert figures["ratios"]["cpu_us"]["a"]["b"] == 0.5


# --- the page ---------------------------------------------------------------------------------------------


@pytest.fixture
def told(benchmark: Callable[[str], ModuleType]) -> dict[str, Any]:
    """Figures that were not measured: two targets of one call are met, the third is not."""
    harness = benchmark("harness")

    def table(title: str, base: str, **cpu: float) -> dict[str, Any]:
        samples = {
            name: [{"cpu_us": value, "wall_us": value, "per_second": 1e6 / value}] for name, value in cpu.items()
        }
        return harness.Table(title, base, ("cpu_us", "wall_us", "per_second"), samples).figures()

    return {
        "calls": {
            "tables": {
                "sync": table("One call, sync", "httpx", **{OURS: 280, "httpx": 400, "httpcore": 200, "openai": 1000}),
                "async": table("One call, async", "httpx", **{OURS: 720, "httpx": 800}),
            },
            "skipped": ["anthropic: not installed"],
        }
    }


def test_page_says_what_is_met_and_what_is_not(told: dict[str, Any], tmp_path: Path) -> None:
    """The page names each target with its figure as met, not met or not measured, who is faster, and who is absent."""
    around = {
        "date": "2026-11-01",
        "processor": "a processor",
        "cores": 2,
        "system": "Linux",
        "python": "CPython 3.11.7",
        "versions": {"httpx": "0.28.1"},
    }
    figures = tmp_path / "figures.json"
    figures.write_text(json.dumps({"told": told, "around": around}), encoding="utf-8")
    printed = run_script("run", "--load", str(figures), "--docs", str(tmp_path / "docs"))
    page = (tmp_path / "docs" / "performance.md").read_text(encoding="utf-8")

    assert "on 2026-11-01: 2 cores of a processor, Linux, CPython 3.11.7" in page
    assert "| One call, sync, against `httpx.Client.post(json=).json()` | ≤ 0.78× | 0.70× | met |" in page
    assert "| One call, sync, against openai | ≤ 0.35× | 0.28× | met |" in page
    assert "| ≤ 0.85× | 0.90× | **not met** |" in page
    assert "| A second client | ≤ 1.00 ms | – | not measured |" in page
    assert "2 of " in page
    assert " are met, 1 are not, " in page
    faster = page.partition("## Where a peer is faster")[2].partition("\n## ")[0]
    assert "| One call, sync | httpcore" in faster
    assert "| 1.40× its CPU time |" in faster
    assert "openai" not in faster
    assert "| httpx | 0.28.1 |" in page
    assert "- anthropic: not installed" in page
    assert "NOT MET" in printed
    assert str(tmp_path) not in page


def test_plot_shows_every_bar_with_its_value(told: dict[str, Any], benchmark: Callable[[str], ModuleType]) -> None:
    """A plot is well-formed SVG with a title and unit, and a label, a bar and a value for each candidate."""
    svg = benchmark("report").plot("calls", told)
    root = ET.fromstring(svg)
    texts = ["".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[0] == "One call"
    assert any("CPU µs, less is better" in text for text in texts)
    assert {OURS, "httpx", "httpcore", "openai", "280", "1,000"} <= set(texts)
    bars = [bar for bar in root.iter("{http://www.w3.org/2000/svg}rect") if bar.get("class") in {"ours", "peer"}]
    assert len(bars) == 6
    width = float(root.attrib["viewBox"].split()[2])
    assert all(float(bar.attrib["x"]) + float(bar.attrib["width"]) < width - 50 for bar in bars)


# --- the guard --------------------------------------------------------------------------------------------


def test_guard_names_what_is_too_dear(benchmark: Callable[[str], ModuleType]) -> None:
    """A ratio over its limit is told with both numbers and where to look; one below it is not."""
    guard = benchmark("guard")
    limits = {"a call": guard.Limit(1.05, "http.py"), "an event": guard.Limit(3.0, "sse.py")}
    assert guard.too_dear({"a call": 1.05, "an event": 2.9}, limits) == []
    assert guard.too_dear({"a call": 1.32, "an event": 2.9}, limits) == [
        "a call costs 1.32 of plain code; the limit is 1.05. Look at http.py."
    ]


def test_guard_takes_no_disturbance_for_a_regression(benchmark: Callable[[str], ModuleType]) -> None:
    """Rounds that something else disturbed do not raise the ratio; what is dearer in all rounds does."""
    guard = benchmark("guard")
    base = [100.0] * 9
    assert guard.ratio_of([80.0] * 5 + [300.0] * 4, base) == pytest.approx(0.8)
    assert guard.ratio_of([80.0] + [300.0] * 8, base) == pytest.approx(0.8)
    assert guard.ratio_of([120.0] * 8 + [115.0], base) == pytest.approx(1.15)


def test_guard_names_modules_that_an_import_should_not_load(benchmark: Callable[[str], ModuleType]) -> None:
    """An import that loads httpx, or a client that loads the sandbox, is told."""
    guard = benchmark("guard")
    importing, making = guard.IMPORTS
    assert (
        guard.too_much_loaded({importing: ["sys", "fetch_hive_sdk"], making: ["httpx", "fetch_hive_sdk.client"]}) == []
    )
    lines = guard.too_much_loaded({importing: ["httpx", "fetch_hive_sdk"], making: ["fetch_hive_sdk.sandbox"]})
    assert [line.partition(". Look")[0] for line in lines] == [
        "`import fetch_hive_sdk` loads httpx",
        f"`{making}` loads fetch_hive_sdk.sandbox",
    ]
