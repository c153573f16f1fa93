"""A program that makes one call and ends: import, client, call, exit. Whole processes.

    python benchmarks/cold_start.py [--quick] [--json] [--only NAME]…

Once against a server that answers at once, and once against one that takes 200 ms, in which a client may prepare itself
for the answer.
"""

from __future__ import annotations

from functools import partial

from harness import Options, Server, Table, run_program, take_turns, tell
from programs import COLD_STARTS, HTTPX_PYDANTIC, available


def main() -> None:
    options = Options.read(__doc__)
    pick = options.effort.pick
    tables: dict[str, Table] = {}
    with Server() as server:
        for name, how, title, rounds in (
            ("at once", "now", "One call and exit", pick(11, 2, 1)),
            ("200 ms", "after-200", "One call and exit, the answer takes 200 ms", pick(9, 1, 1)),
        ):
            turns = {
                candidate: partial(run_program, source, server.url(how), environment=environment)
                for candidate, (source, environment) in available(options, COLD_STARTS).items()
            }
            samples = take_turns(turns, rounds, warm_ups=pick(1, 0, 0))
            tables[name] = Table(title, HTTPX_PYDANTIC, ("wall_ms", "cpu_ms"), samples)
    tell(options, tables)


if __name__ == "__main__":
    main()
