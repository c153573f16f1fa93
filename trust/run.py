"""Runs every script of this folder, prints all their figures, and writes docs/reliability.md.

    python -m trust.run [--quick] [--peers-python PATH] [--only NAME]… [--save FILE] [--load FILE] [--docs FOLDER]

`make trust` is this. The page is written after a whole run, or where `--docs` says so. It exits with 1 where a promise
is broken or a script fails. With `--load` and `--only` a part is done anew and the rest taken from the file.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from .page import SECTIONS, headline, surroundings, today, write

LONGEST = 3600  # seconds a script may take
ROOT = Path(__file__).resolve().parent.parent


def run_script(name: str, python: str, *, quick: bool) -> dict[str, Any]:
    """What one script found; a script that fails has broken its promise."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "report.json"
        command = [python, "-m", f"trust.{name}", "--json", str(file), *(["--quick"] if quick else [])]
        began = time.perf_counter()
        try:
            status = subprocess.run(command, cwd=ROOT, check=False, timeout=LONGEST).returncode
        except subprocess.TimeoutExpired:
            status = f"no end after {LONGEST:,} s"
        seconds = round(time.perf_counter() - began)
        print(f"\n{name}: {seconds} s\n", flush=True)
        if file.exists():
            return {**json.loads(file.read_text(encoding="utf-8")), "seconds": seconds}
    failure = f"The script {name} ended with {status}."
    return {"title": name, "rows": [], "notes": [], "failures": [failure], "kept": False, "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a small part of each, for CI")
    parser.add_argument("--peers-python", metavar="PATH", type=Path, help="one that has the peers")
    parser.add_argument("--only", metavar="NAME", action="append", choices=SECTIONS, help="do this part alone")
    parser.add_argument("--save", metavar="FILE", type=Path, help="keep the figures as JSON")
    parser.add_argument("--load", metavar="FILE", type=Path, help="take kept figures for what is not done")
    parser.add_argument("--docs", metavar="FOLDER", type=Path, help="where to write the page")
    options = parser.parse_args()
    reports: dict[str, Any] = {}
    if options.load is not None:
        reports = json.loads(options.load.read_text(encoding="utf-8"))["reports"]
    names = options.only or ([] if options.load else list(SECTIONS))
    for name in names:
        python = options.peers_python if SECTIONS[name].peers and options.peers_python else sys.executable
        report = run_script(name, str(python), quick=options.quick)
        reports[name] = {**report, "quick": options.quick, "date": today()}
    if options.save is not None:
        options.save.write_text(json.dumps({"reports": reports}, indent=1), encoding="utf-8")
    docs = options.docs
    if docs is None and not (options.quick or options.only or options.load):
        docs = ROOT / "docs"
    if docs is not None:
        write(reports, surroundings(options.peers_python), docs)
    print("In short", end="\n\n")
    for what, ours, others in headline(reports):
        print(f"  {what}: {ours}", *others, sep="\n      ")
    broken = [name for name, report in reports.items() if not report["kept"]]
    print(f"\nPromises broken in: {', '.join(broken)}" if broken else "\nEvery promise is kept.")
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
