"""The page on reliability says what was found, and a promise that is broken is not to be overlooked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from trust.figures import OURS, Options, Report, main
from trust.page import SECTIONS, surroundings, write

ROOT = Path(__file__).resolve().parent.parent


def page_of(folder: Path, **reports: Report) -> str:
    told = {
        name: {"rows": [vars(row) for row in report.rows], "notes": report.notes, "failures": report.failures}
        for name, report in reports.items()
    }
    write(told, surroundings(None), folder)
    return (folder / "reliability.md").read_text("utf-8")


def test_figures_stand_beside_the_others(tmp_path: Path) -> None:
    """A row has the promise, whether it is kept, and a column for each who was measured, this SDK first."""
    report = Report("Faults")
    report.add("faults survived", {"another 1.0": 7, f"{OURS} 1.0, prompt": 12_345}, "all", kept=True)
    report.add("not survived: hung", {"another 1.0": 3})
    page = page_of(tmp_path, peers=report)
    assert f"|  | Promise | {OURS} 1.0, prompt | another 1.0 |" in page
    assert "| faults survived | all (kept) | 12,345 | 7 |" in page
    assert "| faults survived | prompt 12,345 | another 1.0: 7 |" in page.replace(f"{SECTIONS['peers'].title}: ", "")
    assert 1 == page.count("not survived: hung")  # the table on top has what matters most
    assert "1 promises were tried. All were kept." in page


def test_what_is_not_whole_is_said_first(tmp_path: Path) -> None:
    """The top of the page names the quick runs and what was left out; a section tells if it is of another day."""
    whole = {"rows": [], "notes": [], "failures": []}
    reports = {name: {**whole, "date": "2000-01-02"} if name == "soak" else whole for name in SECTIONS}
    around = surroundings(None)
    write(reports, around, tmp_path)
    page = (tmp_path / "reliability.md").read_text("utf-8")
    assert "Not the whole" not in page
    assert 1 == page.count("Measured on 2000-01-02.")
    del reports["load"]
    write({**reports, "fuzz": {**whole, "quick": True}}, around, tmp_path)
    page = (tmp_path / "reliability.md").read_text("utf-8")
    assert "**Not the whole. Quick runs: Fuzzing. Left out: Load and forks.**" in page.partition("## A server")[0]


def test_a_broken_promise_is_said_first(tmp_path: Path) -> None:
    """The top of the page counts what was broken, and its section names the case."""
    report = Report("Callbacks", notes=["A note."], failures=["a forgery was accepted"])
    report.add("|t| of time", {OURS: 123.4}, "up to 4.5", kept=False)
    page = page_of(tmp_path, callbacks=report)
    assert "**2 times one was broken.**" in page
    assert r"| \|t\| of time | up to 4.5 **(broken)** | 123 |" in page
    assert "**Broken:** a forgery was accepted" in page
    assert "\nA note.\n" in page


@pytest.mark.parametrize(("found", "status"), [(0, 0), (1, 1)])
def test_a_script_ends_with_its_verdict(
    found: int, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A script exits with 1 where a promise is broken, and writes as JSON what it prints."""

    def measure(options: Options) -> Report:
        report = Report("Secrets")
        report.add("canaries found", {OURS: found}, "0", kept=not found)
        report.notes.append(f"quick: {options.quick}, seed: {options.seed}")
        return report

    monkeypatch.setattr(sys, "argv", ["script", "--quick", "--seed", "7", "--json", str(tmp_path / "told.json")])
    with pytest.raises(SystemExit) as ended:
        main(measure)
    assert status == ended.value.code
    told = json.loads((tmp_path / "told.json").read_text("utf-8"))
    assert ["quick: True, seed: 7"] == told["notes"]
    assert found == told["rows"][0]["figures"][OURS]
    assert ("BROKEN" in capsys.readouterr().out) is bool(found)


def test_a_script_that_fails_has_broken_its_promise(tmp_path: Path) -> None:
    """A run goes on behind a script that cannot be run, names it, and ends with 1."""
    command = [sys.executable, "-m", "trust.run", "--quick", "--only", "callbacks", "--peers-python", "/bin/false"]
    saved = tmp_path / "told.json"
    ended = subprocess.run(
        [*command, "--save", str(saved)], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT
    )
    assert 1 == ended.returncode
    assert "Promises broken in: callbacks" in ended.stdout
    assert ["The script callbacks ended with 1."] == json.loads(saved.read_text("utf-8"))["reports"]["callbacks"][
        "failures"
    ]


def test_a_run_ends_with_the_table_in_short(tmp_path: Path) -> None:
    """What a run prints last is what matters most, this SDK's figures beside the others'."""
    row = {
        "what": "faults survived",
        "figures": {f"{OURS} 1.0, prompt": 5, "another 1.0": 3},
        "promise": "",
        "kept": None,
    }
    kept = tmp_path / "kept.json"
    kept.write_text(json.dumps({"reports": {"peers": {"rows": [row], "notes": [], "failures": [], "kept": True}}}))
    command = [sys.executable, "-m", "trust.run", "--load", str(kept)]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd=ROOT).stdout
    assert "faults survived: prompt 5\n      another 1.0: 3\n\nEvery promise is kept.\n" in printed
