"""Small plots: where each mark goes, and what the picture says in words. The templates draw them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median

from ..runs import Status
from .filters import STATUSES, said
from .words import seconds

__all__ = ["Dots", "Segment", "duration_plot", "status_plot"]

FASTEST = 0.0001  # what takes less is drawn as this: zero has no logarithm


@dataclass(frozen=True)
class Segment:
    """One status's part of the bar. `x` and `width` are percents."""

    status: Status
    count: int
    x: float
    width: float


def status_plot(counts: Mapping[Status, int]) -> list[Segment]:
    """The parts of a bar, one for each status that has runs."""
    total = sum(counts.values())
    segments: list[Segment] = []
    x = 0.0
    for status in STATUSES:
        if count := counts.get(status, 0):
            width = 100 * count / total
            segments.append(Segment(status, count, round(x, 3), round(width, 3)))
            x += width
    return segments


@dataclass(frozen=True)
class Dot:
    """One run: where it is drawn, and what its tip says."""

    x: float
    y: float
    status: Status
    text: str


@dataclass(frozen=True)
class Line:
    """A line of the scale."""

    y: float
    text: str


@dataclass(frozen=True)
class Dots:
    """Durations of runs, oldest at the left, on a logarithmic scale.

    Attributes:
        dots: The runs.
        lines: The scale.
        text: What there is to see.
    """

    dots: Sequence[Dot]
    lines: Sequence[Line]
    text: str


def duration_plot(
    durations: Sequence[tuple[datetime, float, Status]], *, left: float, width: float, height: float
) -> Dots | None:
    """Where the dots go; None if there are no runs.

    Args:
        durations: When each run started, the seconds it took, and how it ended; oldest first.
        left: Where the drawing begins; the scale's texts are left of it.
        width: Its width from there.
        height: Its height.
    """
    if not durations:
        return None
    values = [duration for _, duration, _ in durations]
    scale = _scale(max(min(values), FASTEST), max(*values, FASTEST))
    low, high = math.log10(scale[0]), math.log10(scale[-1])

    def y_of(value: float) -> float:
        return round(height - (math.log10(max(value, FASTEST)) - low) / (high - low) * height, 2)

    step = width / len(values)
    dots = [
        Dot(
            x=round(left + step * (index + 0.5), 2),
            y=y_of(duration),
            status=status,
            text=f"{said(status)} after {seconds(duration)}",
        )
        for index, (_, duration, status) in enumerate(durations)
    ]
    every = math.ceil((len(scale) - 1) / 3)
    lines = [Line(y_of(value), seconds(value)) for value in scale[::every]]
    failed = sum(status == "failed" for _, _, status in durations)
    text = (
        f"The last {len(values)} ended runs: median {seconds(median(values))}, fastest {seconds(min(values))}, "
        f"slowest {seconds(max(values))}, {failed} failed."
    )
    return Dots(dots, lines, text)


def _scale(least: float, most: float) -> list[float]:
    """Round values, at least two, from one not above the least to one not below the most."""
    steps = [number * 10.0**power for power in range(-5, 14) for number in (1, 2, 5)]
    first = max(index for index, step in enumerate(steps) if step <= least * 1.000001)
    last = min((index for index, step in enumerate(steps) if step >= most), default=len(steps) - 1)
    return steps[first : max(last, first + 1) + 1]
