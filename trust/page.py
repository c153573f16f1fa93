"""Makes docs/reliability.md of what the scripts found."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from .figures import OURS, shown

__all__ = ["SECTIONS", "surroundings", "write"]

PACKAGES = ("fetch-hive-sdk", "httpx", "httpcore", "h11", "anyio", "pydantic", "trio")
PEERS = ("openai", "anthropic", "stripe", "standardwebhooks")


@dataclass(frozen=True)
class Section:
    """A script's part of the page.

    Attributes:
        title: Its heading.
        text: What is done, and what a reader has to know to read the figures.
        headline: How the rows begin that stand at the top of the page, too.
        peers: Whether it is run where the peers are, if they are installed.
    """

    title: str
    text: str
    headline: tuple[str, ...]
    peers: bool = False


SOAK_HEADLINE = ("runs started twice", "bytes grown", "most descriptors")

SECTIONS: dict[str, Section] = {
    "matrix": Section(
        "A server that misbehaves",
        "A server on raw sockets, plain and with TLS, refuses, resets, hangs, drips, lies about lengths, sends "
        "garbage, cuts its answer at each byte, redirects, answers every status with every kind of body and every "
        "form of `Retry-After`, and shows certificates that are not its own. Each fault is played to each kind of "
        "call (prompt, stream, workflow, agent, look-up, upload) that it is made for, on both clients, the async one "
        "on asyncio and trio, and with a caller's httpx client. A case is survived if its error has the right class "
        "and fields, no run was started twice, it ended within the documented time and one second, if need be when "
        "it is played again alone, the next call on the same client succeeds, and nothing is left: no connection, "
        "task, thread or warning, and no key in the error.",
        ("cases tried", "cases survived", "runs started twice"),
    ),
    "peers": Section(
        "The same faults, and others' calls",
        "Each SDK makes the call that costs money in its own API, with its own defaults for retries. Where no complete "
        "answer came, a request that is repeated may start, and bill, the same work again. After an error status that "
        "does not say that nothing ran, only the service knows.",
        ("faults tried", "faults survived", "request repeated"),
        peers=True,
    ),
    "interruptions": Section(
        "Interruptions",
        "Each call is broken off at its first step, at its second, and so on: at each await by cancellation, on "
        "asyncio and trio; at each line of the SDK, its caller, httpx and httpcore, and in this SDK's code at each "
        "bytecode, by a keyboard interrupt, which has to end the call. Then the same client, whose pool has a single "
        'connection, has to make a good call. What Ctrl-C can still do is in the rows "left out".',
        (
            "async calls broken off at an await (asyncio and trio): p",
            "sync calls broken off by Ctrl-C at a line of the SDK, httpx and httpcore: p",
            "sync calls broken off by Ctrl-C at a line of the SDK, httpx and httpcore: left out",
        ),
    ),
    "fuzz": Section(
        "Fuzzing",
        "Random and mutated inputs from a seed, against one property each. Streams are also read off a real "
        "connection, in chunks of any size, of which any number arrives at once. `make fuzz` runs for as long as you "
        "like, guided by coverage where that can be had.",
        ("all cases", "callback: accepted", "failures in all cases"),
    ),
    "callbacks": Section(
        "Callbacks",
        "|t| is of the test that dudect makes: whether time tells where a signature is wrong. Above 4.5 it does; what "
        "is above is measured once more with twice as many calls, which decides. The column `==` is this SDK with a "
        "plain `==` in place of `hmac.compare_digest`: where the measurement does not see that, nothing is promised. A "
        "loop that leaves off at the first wrong digit leaks more.",
        ("published values", "forgeries accepted", "|t| of time, wrong in the first"),
        peers=True,
    ),
    "secrets": Section(
        "Secrets",
        "A canary stands for the API key and one for the webhook secret. Every call is made to fail in every way, "
        "at every log level; all that comes out is searched, in every usual encoding: also tracebacks that show "
        "local variables. [Where secrets are](configuration.md#secrets) says where they may be found.",
        ("texts searched", "canaries found"),
    ),
    "secrets_peers": Section(
        "Where others' keys show",
        "The first call of each SDK fails in the same ways, and the same places are searched for its key.",
        ("faults times channels",),
        peers=True,
    ),
    "load": Section(
        "Load and forks",
        "The server answers each call with the call's own name, so that an answer that reaches another is seen. Each "
        "SDK has its own defaults for retries.",
        ("64 threads x 1,000 calls of one client: calls with", "2,000 streams at once on 2,000", "A call, os.fork"),
    ),
    "soak": Section(
        "Soak",
        "One client, calls on threads, then on an event loop; a twentieth of them go wrong, in every way. Before each "
        "measurement the idle connections of this SDK's clients expire, so that a lost one is seen; beside the peers "
        "they are counted.",
        (
            *(f"{client}, 100,000 calls: {what}" for client in ("sync", "async") for what in SOAK_HEADLINE),
            "sync, from call 5,500 to 20,000: bytes grown",
        ),
    ),
    "supply_chain": Section(
        "Supply chain",
        "What is built, what is in it, and what it needs. See also the [threat model](threat-model.md).",
        ("wheels built again", "imports of undeclared"),
    ),
}


def today() -> str:
    """The date of a run, in UTC."""
    return datetime.datetime.now(datetime.timezone.utc).date().isoformat()


def surroundings(peers_python: Path | None) -> dict[str, Any]:
    """Date, machine and versions."""
    versions = {name: metadata.version(name) for name in PACKAGES}
    if peers_python is not None and peers_python.exists():
        code = (
            "import json, sys; from importlib import metadata\n"
            "print(json.dumps({d.metadata['Name'].lower(): d.version for d in metadata.distributions()}))"
        )
        told = subprocess.run([str(peers_python), "-c", code], capture_output=True, text=True, check=True)
        installed = json.loads(told.stdout)
        versions |= {name: installed[name] for name in PEERS if name in installed}
    return {
        "date": today(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": platform.system(),
        "cores": os.cpu_count(),
        "versions": versions,
    }


def write(reports: Mapping[str, Any], around: Mapping[str, Any], folder: Path) -> None:
    """Write the page."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "reliability.md").write_text("\n".join(_page(reports, around)) + "\n", encoding="utf-8")


def _page(reports: Mapping[str, Any], around: Mapping[str, Any]) -> Iterator[str]:
    versions = ", ".join(f"{name} {version}" for name, version in around["versions"].items())
    yield "# Reliability"
    yield ""
    yield (
        f"Nothing run twice, nothing lost, nobody in. Measured by `make trust` on {around['date']}: "
        f"{around['cores']} cores, {around['system']}, {around['python']}. Versions: {versions}. "
        "The peers are measured by the same code in the same run where the question applies to them."
    )
    yield ""
    yield "## Promises"
    yield ""
    yield from _promises(reports)
    yield from _only_in_part(reports)
    for name, section in SECTIONS.items():
        if name not in reports:
            continue
        report = reports[name]
        yield ""
        yield f"## {section.title}"
        yield ""
        yield section.text
        yield ""
        yield from _table(report["rows"])
        if report.get("quick"):
            yield "\n**This was a quick run, of a small part.**"
        if report.get("date", around["date"]) != around["date"]:
            yield f"\nMeasured on {report['date']}."
        for note in (*report["notes"], *(f"**Broken:** {failure}" for failure in report["failures"])):
            yield f"\n{note}"


def _promises(reports: Mapping[str, Any]) -> Iterator[str]:
    rows = [row for report in reports.values() for row in report["rows"] if row["kept"] is not None]
    broken = sum(row["kept"] is False for row in rows) + sum(len(report["failures"]) for report in reports.values())
    yield f"{len(rows)} promises were tried. " + (f"**{broken} times one was broken.**" if broken else "All were kept.")
    yield ""
    yield "| | This SDK | Others |"
    yield "| --- | ---: | --- |"
    for what, ours, others in headline(reports):
        yield _line(what, ours, "; ".join(others))


def _only_in_part(reports: Mapping[str, Any]) -> Iterator[str]:
    """Which questions were not asked, or not in full."""
    quick = [section.title for name, section in SECTIONS.items() if reports.get(name, {}).get("quick")]
    missing = [section.title for name, section in SECTIONS.items() if name not in reports]
    if quick or missing:
        yield ""
        yield f"**Not the whole. Quick runs: {', '.join(quick) or 'none'}. Left out: {', '.join(missing) or 'none'}.**"


def headline(reports: Mapping[str, Any]) -> Iterator[tuple[str, str, list[str]]]:
    """The rows that matter most: what was counted, this SDK's figures, and each other's."""
    for name, section in SECTIONS.items():
        for row in reports[name]["rows"] if name in reports else ():
            if row["what"].startswith(section.headline):
                ours = [
                    (who.partition(", ")[2], shown(value)) for who, value in row["figures"].items() if _is_ours(who)
                ]
                others = [f"{who}: {shown(value)}" for who, value in row["figures"].items() if not _is_ours(who)]
                yield f"{section.title}: {row['what']}", ", ".join(" ".join(one).strip() for one in ours), others


def _table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """The rows with a column for each who is in them, this SDK first."""
    subjects = sorted({name for row in rows for name in row["figures"]}, key=lambda name: (not _is_ours(name), name))
    if not subjects:
        return
    yield _line("", "Promise", *subjects)
    yield f"| --- | ---: |{' ---: |' * len(subjects)}"
    for row in rows:
        cells = (shown(row["figures"][subject]) if subject in row["figures"] else "" for subject in subjects)
        verdict = {True: " (kept)", False: " **(broken)**", None: ""}[row["kept"]]
        yield _line(row["what"], row["promise"] + verdict, *cells)


def _line(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _is_ours(subject: str) -> bool:
    return subject.startswith(OURS) and "0.4.1" not in subject
