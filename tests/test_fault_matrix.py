"""Each fault of a misbehaving server, with each call and both clients; `make trust` plays more of them."""

from __future__ import annotations

import pytest

from trust.faults import Fault, faults
from trust.matrix import CALLS, FLAVORS, nothing_left, part_of, play, quick_cuts

ALL = faults()


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("flavor", FLAVORS)
def test_every_fault(call: str, flavor: str) -> None:
    """After each fault the error is the right one and says what to do, nothing ran twice, and the client goes on."""
    with nothing_left() as left:
        tally = play(CALLS[call], flavor, part_of(ALL, flavor), cut_every=quick_cuts(CALLS[call], flavor))
    assert [] == tally.broken
    assert 0 == tally.runs_twice
    assert [] == left
    assert tally.tried > 100


@pytest.mark.parametrize("flavor", [flavor for flavor in FLAVORS if not flavor.startswith("sync")])
def test_broken_encoding_of_stream(flavor: str) -> None:
    """A stream whose gzip or deflate turns out broken leaves no unfinished generator, of which trio would complain."""
    broken = [fault for fault in ALL if fault.streamed and ("gzip" in fault.name or "deflate" in fault.name)]
    with nothing_left() as left:
        tally = play(CALLS["stream"], flavor, broken)
    assert ([], [], len(broken)) == (tally.broken, left, tally.tried)
    assert len(broken) >= 4


def test_the_matrix_can_fail() -> None:
    """A fault that is judged by the outcome of another is told as broken, by its name."""
    by_name = {fault.name: fault for fault in ALL}
    wrong = Fault("is misjudged", by_name["closes"].acts, by_name["sends a page"].plain, ())
    [*found] = play(CALLS["prompt"], "sync", [wrong]).broken
    assert found
    assert all("is misjudged, prompt, sync" in case for case in found)
