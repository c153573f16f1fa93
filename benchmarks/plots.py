"""Bars as SVG: a title, a unit, a label and a value for each bar; readable on light and on dark pages."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from harness import number_text

WIDTH = 760
LABELS_END = 262
BARS_END = 670
ROW, PANEL_HEAD, HEAD, FOOT = 24, 40, 44, 14
FARTHEST = 6  # a bar longer than so many times the median one is cut

STYLE = """
    .card { fill: #ffffff; stroke: #d0d7de }
    text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: #1f2328 }
    .title { font-size: 16px; font-weight: 600 }
    .unit { fill: #59636e }
    .panel { font-weight: 600 }
    .peer { fill: #8c959f }
    .ours { fill: #b35900 }
    .bold { font-weight: 600 }
    .gap { stroke: #ffffff }
    @media (prefers-color-scheme: dark) {
      .card { fill: #161b22; stroke: #30363d }
      text { fill: #e6edf3 }
      .unit { fill: #9198a1 }
      .peer { fill: #6e7681 }
      .ours { fill: #f0a03c }
      .gap { stroke: #161b22 }
    }
"""


@dataclass(frozen=True)
class Panel:
    """Bars that share a scale.

    Args:
        title: What is measured.
        unit: Of the values, and which way is better.
        bars: Labels and values, in the order to draw.
        ours: Labels that are set off.
    """

    title: str
    unit: str
    bars: Sequence[tuple[str, float]]
    ours: frozenset[str]


def draw(title: str, panels: Sequence[Panel]) -> str:
    """The panels below each other, as an SVG document."""
    height = HEAD + sum(PANEL_HEAD + ROW * len(panel.bars) for panel in panels) + FOOT
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="title">',
        f'  <title id="title">{escape(title)}</title>',
        f"  <style>{STYLE}  </style>",
        f'  <rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="6"/>',
        f'  <text class="title" x="20" y="31">{escape(title)}</text>',
    ]
    top = HEAD
    for panel in panels:
        lines += _panel(panel, top)
        top += PANEL_HEAD + ROW * len(panel.bars)
    return "\n".join([*lines, "</svg>", ""])


def _panel(panel: Panel, top: int) -> Iterator[str]:
    heading = f'{escape(panel.title)}<tspan class="unit" dx="10" font-weight="400">{escape(panel.unit)}</tspan>'
    yield f'  <text class="panel" x="20" y="{top + 25}">{heading}</text>'
    values = [value for _, value in panel.bars]
    limit = FARTHEST * statistics.median(values)
    longest = max((value for value in values if value <= limit), default=limit) or 1.0
    space = BARS_END - LABELS_END
    for number, (label, value) in enumerate(panel.bars):
        y = top + PANEL_HEAD + ROW * number
        cut = value > limit
        length = space if cut else max(1.0, value / longest * space * 0.9)
        ours = label in panel.ours
        bold = ' class="bold"' if ours else ""
        yield f'  <text{bold} x="{LABELS_END - 10}" y="{y + 13}" text-anchor="end">{escape(label)}</text>'
        kind = "ours" if ours else "peer"
        yield f'  <rect class="{kind}" x="{LABELS_END}" y="{y}" width="{length:.1f}" height="17" rx="2"/>'
        if cut:  # two slanted gaps say that the bar is longer than drawn
            for x in (BARS_END - 40, BARS_END - 32):
                yield f'  <path class="gap" d="M{x} {y + 19}L{x + 6} {y - 2}" stroke-width="3"/>'
        yield f'  <text{bold} x="{LABELS_END + length + 8:.1f}" y="{y + 13}">{number_text(value)}</text>'
