"""Runs all benchmarks, prints the figures, and writes docs/performance.md with its plots.

    python benchmarks/run.py [--quick] [--docs FOLDER] [--save FILE] [--load FILE] [--script NAME]…

`make bench` is this, in a venv with the peers. The page is written after a whole run, or where `--docs` says so. With
`--load` and `--script` a part is measured anew and the rest taken from the file.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness import FOLDER, Effort, add_effort
from report import SECTIONS, summary, surroundings, write

FLAGS: dict[Effort, list[str]] = {Effort.FULL: [], Effort.QUICK: ["--quick"], Effort.TINY: ["--tiny"]}


def run_scripts(scripts: Iterable[str], effort: Effort, sandbox_python: str) -> dict[str, Any]:
    """What the scripts tell."""
    told: dict[str, Any] = {}
    for script in scripts:
        # The sandbox needs its extra, whose command line library makes every `import httpx` slower.
        python = sandbox_python if script == "sandbox" else sys.executable
        began = time.perf_counter()
        command = [python, str(FOLDER / f"{script}.py"), "--json", *FLAGS[effort]]
        ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603 - our own
        if ended.returncode:
            sys.exit(f"{script} ended with {ended.returncode}")
        told[script] = json.loads(ended.stdout)
        print(f"{script}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add_effort(parser)
    parser.add_argument("--sandbox-python", metavar="PATH", default=sys.executable, help="one with the sandbox extra")
    parser.add_argument("--docs", metavar="FOLDER", type=Path, help="where to write the page")
    parser.add_argument("--save", metavar="FILE", type=Path, help="keep the figures as JSON")
    parser.add_argument("--load", metavar="FILE", type=Path, help="take kept figures instead of measuring")
    parser.add_argument("--script", metavar="NAME", action="append", choices=SECTIONS, help="measure this part alone")
    options = parser.parse_args()
    kept: dict[str, Any] = {"told": {}, "around": {"effort": "full"}}
    if options.load is not None:
        kept = json.loads(options.load.read_text(encoding="utf-8"))
    if scripts := options.script or ([] if options.load else list(SECTIONS)):
        kept["told"].update(run_scripts(scripts, options.effort, options.sandbox_python))
        # A page is whole only if all of its parts are.
        whole = options.effort is Effort.FULL and kept["around"].get("effort") == "full"
        kept["around"] = {**surroundings(), "effort": "full" if whole else "quick"}
    if options.save is not None:
        options.save.write_text(json.dumps(kept), encoding="utf-8")
    print("\n".join(summary(kept["told"])))
    docs = options.docs
    if docs is None and options.effort is Effort.FULL and not options.load and not options.script:
        docs = FOLDER.parent / "docs"
    if docs is not None:
        write(kept["told"], kept["around"], docs)


if __name__ == "__main__":
    main()
