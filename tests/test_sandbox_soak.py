"""Many clients at once against the sandbox's command, over real sockets: a short run of benchmarks/sandbox_soak.py."""

from __future__ import annotations

import asyncio
import importlib.util
import signal
import sys
from pathlib import Path
from types import ModuleType

import pytest

PATH = Path(__file__).resolve().parent.parent / "benchmarks" / "sandbox_soak.py"
CLIENTS, CALLS = 40, 13

if not PATH.exists():
    pytest.skip(f"THE SOAK TESTS DID NOT RUN. They need {PATH}.", allow_module_level=True)


@pytest.fixture(scope="module")
def sandbox_soak() -> ModuleType:
    """The benchmark as a module."""
    spec = importlib.util.spec_from_file_location("sandbox_soak", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["sandbox_soak"] = module
    spec.loader.exec_module(module)
    return module


def test_nothing_is_lost(sandbox_soak: ModuleType, tmp_path: Path) -> None:
    """Every call of every client gets its own reply, every run ends in the file, and each callback comes once."""
    report = asyncio.run(sandbox_soak.soak(tmp_path, clients=CLIENTS, calls=CALLS, kill=False))

    assert report.violations == []
    assert report.calls == dict.fromkeys(sandbox_soak.KINDS, CLIENTS)
    assert (report.runs, report.interrupted) == (CLIENTS * (CALLS - 1), 0)  # a refusal starts none
    good, flaky = report.callbacks["/good"], report.callbacks["/flaky"]
    assert good == {"callbacks": 3 * CLIENTS, "posts": 3 * CLIENTS, "accepted": 3 * CLIENTS, "twice": 0}
    assert (flaky["callbacks"], flaky["accepted"], flaky["twice"]) == (2 * CLIENTS, 2 * CLIENTS, 0)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this machine has no SIGKILL")
def test_nothing_is_lost_by_a_kill(sandbox_soak: ModuleType, tmp_path: Path) -> None:
    """A sandbox that is killed in the middle and started again on its file has every accepted run, and ends it."""
    report = asyncio.run(sandbox_soak.soak(tmp_path, clients=CLIENTS, calls=CALLS, kill=True))

    assert report.violations == []
    assert report.total + report.interrupted == CLIENTS * CALLS
    assert report.interrupted <= CLIENTS  # one call each was under way
    assert report.runs >= len(report.accepted) > 0
    for receiver in report.callbacks.values():
        assert receiver["accepted"] == receiver["callbacks"] > 0
