"""Each fault of a misbehaving server, with some calls and each client; `make trust-quick` plays them with each call."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from fetch_hive_sdk import APIConnectionError
from trust import matrix
from trust.faults import LIMIT, Fault, faults
from trust.matrix import CALLS, FLAVORS, nothing_left, part_of, play, quick_cuts

from .faulty_server import Exchange, say_nothing

ALL = faults()
BY_NAME = {fault.name: fault for fault in ALL}


# Calls differ in what an error means, clients in how it comes about: `make trust-quick` plays each to each.
PAIRS = [("prompt", "sync"), ("upload", "sync"), ("prompt", "asyncio"), *(("stream", flavor) for flavor in FLAVORS)]


@pytest.mark.parametrize(("call", "flavor"), PAIRS)
def test_every_fault(call: str, flavor: str) -> None:
    """After each fault the error is the right one and says what to do, nothing ran twice, and the client goes on."""
    with nothing_left() as left:
        tally = play(CALLS[call], flavor, part_of(ALL, flavor), cut_every=quick_cuts(CALLS[call], flavor))
    assert {} == tally.broken
    assert 0 == tally.runs_twice
    assert [] == left
    assert tally.tried > 100


@pytest.mark.parametrize("flavor", [flavor for flavor in FLAVORS if not flavor.startswith("sync")])
def test_broken_encoding_of_stream(flavor: str) -> None:
    """A stream whose gzip or deflate turns out broken leaves no unfinished generator, of which trio would complain."""
    broken = [fault for fault in ALL if fault.streamed and ("gzip" in fault.name or "deflate" in fault.name)]
    with nothing_left() as left:
        tally = play(CALLS["stream"], flavor, broken)
    assert ({}, [], len(broken)) == (tally.broken, left, tally.tried)
    assert len(broken) >= 4


def test_the_matrix_can_fail() -> None:
    """A fault that is judged by the outcome of another is told as broken, by its name."""
    wrong = Fault("is misjudged", BY_NAME["closes"].acts, BY_NAME["sends a page"].plain, ())
    assert ["is misjudged, prompt, sync"] == [*play(CALLS["prompt"], "sync", [wrong]).broken]


@pytest.mark.parametrize("play_of_it", [1, 2])
def test_a_run_started_twice_is_never_forgiven(play_of_it: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call repeated once is told and counted, be it beside others or when it is played again for its time alone."""
    limits, failures = iter((-math.inf, math.inf)), iter(range(1, 9))
    monkeypatch.setattr(matrix, "time_limit", lambda *_: next(limits))

    def repeats_once(client: Any) -> Any:
        try:
            return CALLS["prompt"].invoke(client)
        except APIConnectionError:
            if next(failures) != play_of_it:
                raise
            return CALLS["prompt"].invoke(client)

    tally = play(replace(CALLS["prompt"], invoke=repeats_once), "sync", [BY_NAME["closes"]])
    [[case, wrong]] = tally.broken.items()
    assert "closes, prompt, sync" == case
    assert {"2 requests arrived, not 1", "a run was started twice"} <= {*wrong}
    assert (1, 1, 0) == (tally.runs_twice, tally.tried, tally.survived)


def test_being_late_once_is_forgiven(monkeypatch: pytest.MonkeyPatch) -> None:
    """A case that took too long beside others, but not when it is played alone, is survived."""
    limits = iter((-math.inf, -math.inf, math.inf))
    monkeypatch.setattr(matrix, "time_limit", lambda *_: next(limits))
    tally = play(CALLS["prompt"], "sync", [BY_NAME["closes"]])
    assert ({}, [], 1, 1, 1) == (tally.broken, tally.late, tally.again, tally.tried, tally.survived)


def test_being_late_each_time_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A case that takes too long each time is told as broken, once, by its name."""
    monkeypatch.setattr(matrix, "LIMIT", 0.02)
    monkeypatch.setattr(matrix, "SLACK", 0.05)

    def late(exchange: Exchange) -> None:
        exchange.pause(0.2)
        exchange.connection.close()

    slow = replace(BY_NAME["closes"], name="closes late", acts=(lambda _: late,))
    tally = play(CALLS["prompt"], "sync", [slow])
    assert ["closes late, prompt, sync"] == [*tally.broken]
    [told] = tally.broken["closes late, prompt, sync"]
    assert told.startswith("it took 0.")
    assert told.endswith(", and may take 0.0 s")
    assert (1, 1, 0) == (tally.again, tally.tried, tally.survived)


@pytest.mark.parametrize("name", ["prompt", "stream", "look-up"])
def test_a_call_that_hangs_is_ended(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a client waits without a limit the server ends it in the end, and the case is told as one that hung."""
    monkeypatch.setattr(matrix, "HANGS", 0.3)
    silent = replace(BY_NAME["closes"], name="never ends", acts=(lambda _: say_nothing,))
    [[case, wrong]] = play(CALLS[name], "sync", [silent]).broken.items()
    assert f"never ends, {name}, sync" == case
    assert any(words.startswith("it hung") for words in wrong)


@pytest.mark.parametrize("name", CALLS)
def test_six_times_a_limit_is_too_long(name: str) -> None:
    """What may be forgiven to a busy machine is less than a limit that is six times too long would take."""
    call = CALLS[name]
    judged = [
        fault
        for fault in ALL
        if fault.waits and (outcomes := fault.streamed if call.streaming else fault.plain)
        if all(outcome.error for outcome in outcomes)
    ]
    assert len(judged) >= 10
    for fault in judged:
        attempts = round(matrix.time_limit(fault, call) / LIMIT) - call.streaming
        assert attempts * 6 * LIMIT > matrix.time_limit(fault, call) + matrix.SLACK, fault.name
