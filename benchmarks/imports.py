"""What an import costs: whole processes, less an empty one of the same round.

python benchmarks/imports.py [--quick] [--json] [--only NAME]…
"""

from __future__ import annotations

from functools import partial

from harness import Options, Sample, Table, run_program, take_turns, tell
from programs import EMPTY, IMPORTS, available


def less(sample: Sample, empty: Sample) -> Sample:
    """A process's figures, and what remains of them without the interpreter's own start."""
    return {
        **sample,
        "net_cpu_ms": sample["cpu_ms"] - empty["cpu_ms"],
        "net_wall_ms": sample["wall_ms"] - empty["wall_ms"],
    }


def main() -> None:
    options = Options.read(__doc__)
    programs = available(options, {EMPTY: IMPORTS[EMPTY]} | IMPORTS)
    turns = {
        name: partial(run_program, source, environment=environment) for name, (source, environment) in programs.items()
    }
    turns.setdefault(EMPTY, partial(run_program, ""))
    samples = take_turns(turns, options.effort.pick(11, 2, 1), warm_ups=options.effort.pick(1, 0, 0))
    net = {
        name: [less(sample, empty) for sample, empty in zip(taken, samples[EMPTY], strict=True)]
        for name, taken in samples.items()
        if name != EMPTY
    }
    measures = ("net_cpu_ms", "net_wall_ms", "wall_ms")
    tell(options, {"imports": Table("An import, a whole process", "httpx", measures, net)})


if __name__ == "__main__":
    main()
