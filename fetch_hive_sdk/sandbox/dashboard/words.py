"""Times, sizes and states in words, as the pages say them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any, cast

from ..runs import Callback, CallbackAttempt, Run

__all__ = ["attempt_text", "callback_state", "clock", "duration", "flat", "moment", "seconds", "size", "tokens"]


def seconds(value: float) -> str:
    """A time span, as exact as it is worth reading."""
    if not value:
        return "0 s"
    if value < 0.001:
        return f"{value * 1_000_000:.0f} µs"
    if value < 1:
        return f"{value * 1000:.3g} ms" if value < 0.1 else f"{value * 1000:.0f} ms"
    if value < 60:
        return f"{value:.3g} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def size(count: int) -> str:
    """A number of bytes, as exact as it is worth reading."""
    amount, unit = float(count), "bytes"
    for larger in ("KiB", "MiB", "GiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{count:,} {unit}" if unit == "bytes" else f"{amount:.3g} {unit}"


def duration(run: Run) -> float | None:
    """Seconds a run took; None while it runs."""
    return (run.ended_at - run.started_at).total_seconds() if run.ended_at else None


def clock(at: datetime) -> str:
    """A time of day in UTC."""
    return at.astimezone(timezone.utc).strftime("%H:%M:%S")


def moment(at: datetime) -> str:
    """A day and time in UTC."""
    return at.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%S")


def tokens(usage: object) -> int | None:
    """All tokens of a usage, if it says so; it may have any shape."""
    total: Any = cast("dict[str, Any]", usage).get("total_tokens") if isinstance(usage, dict) else None
    return total if isinstance(total, int) and not isinstance(total, bool) else None


def flat(value: object, path: str = "") -> list[tuple[str, str]]:
    """What a JSON value holds, each with the path to it."""
    if isinstance(value, dict):
        items = cast("dict[str, object]", value).items()
        return [found for key, item in items for found in flat(item, f"{path}.{key}" if path else key)]
    return [(path, json.dumps(value, ensure_ascii=False))]


def attempt_text(attempt: CallbackAttempt) -> str:
    """What became of one attempt to deliver a callback."""
    if attempt.withheld:
        return "Withheld"
    if attempt.status_code is None:
        return "No answer"
    return f"{'Accepted' if attempt.accepted else 'Refused'} with {attempt.status_code}"


def callback_state(callbacks: Sequence[Callback]) -> tuple[str, str]:
    """A word for the style, and what has become of a run's last callback; both empty without one."""
    if not callbacks:
        return "", ""
    callback = callbacks[-1]
    count = len(callback.attempts)
    if callback.delivered:
        return "completed", "Delivered"
    if callback.pending:
        return "running", f"Trying, {count} failed" if count else "Pending"
    if not count:
        return "cancelled", "Not sent"
    if callback.attempts[-1].withheld:
        return "cancelled", "Withheld"
    return "failed", f"Failed, {count} attempt{'s' if count > 1 else ''}"
