"""What `fetch-hive sandbox` says as it happens: each run that ends or waits, each callback, each refused request."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from .terminal import clock_time, one_line, seconds, styled, without_password

if TYPE_CHECKING:
    from ..sandbox import Callback, CallbackAttempt, Run
    from ..sandbox.changes import Change
    from ..sandbox.engine import Engine
    from ..sandbox.runs import Refused

__all__ = ["News"]

Told = tuple[str, dict[str, Any]]

_COLORS = {"completed": "green", "failed": "red", "cancelled": "yellow"}
# Worth a line besides the end, because somebody has to do something.
_WAITS = {"paused": "waits for a choice", "awaiting_approval": "waits for an approval"}
_MOST_REMEMBERED = 10_000


class News:
    """Tells of each change what is new, once, as a line and as JSON.

    Args:
        engine: The sandbox's engine.
        dashboard_url: Where the run log is.
        since: When the server was started; what its file holds from before is no news.
    """

    def __init__(self, engine: Engine, dashboard_url: str, *, since: datetime) -> None:
        self._engine = engine
        self._dashboard_url = dashboard_url.rstrip("/")
        self._since = since
        # What was told of a run: its status, and how many attempts to deliver.
        self._told: dict[str, tuple[str, int]] = {}
        self._last_refused: Refused | None = None

    def of(self, change: Change) -> Iterator[Told]:
        """What a change brings; nothing, where that was told already."""
        if change.kind == "refused":
            yield from self._refusals()
        run = self._engine.run(change.request_id) if change.request_id else None
        if run is None:
            return
        attempts = [
            (callback, attempt)
            for callback in run.callbacks
            for attempt in callback.attempts
            if attempt.started_at >= self._since
        ]
        status, count = self._remember(run, len(attempts))
        ended = run.ended_at is not None and run.ended_at >= self._since
        if run.status != status and (ended or run.status in _WAITS):
            yield self._run(run)
        for callback, attempt in sorted(attempts, key=lambda one: one[1].started_at)[count:]:
            yield _attempt(callback, attempt)

    def _remember(self, run: Run, attempts: int) -> tuple[str, int]:
        """Note what is told of a run, and return what was told before."""
        before = self._told.pop(run.request_id, ("", 0))
        self._told[run.request_id] = (run.status, attempts)
        if len(self._told) > _MOST_REMEMBERED:
            del self._told[next(iter(self._told))]
        return before

    def _run(self, run: Run) -> Told:
        ended_at = run.ended_at
        duration = None if ended_at is None else (ended_at - run.started_at).total_seconds()
        error = run.answer.error if run.answer else None
        event: dict[str, Any] = {
            "event": "run",
            "request_id": run.request_id,
            "kind": run.kind,
            "name": run.name,
            "variant": run.variant,
            "status": run.status,
            "duration": duration,
            "error": error,
            "url": f"{self._dashboard_url}/runs/{run.request_id}",
        }
        parts = [
            f"{clock_time(ended_at or self._engine.clock())}  {run.kind.replace('_', ' '):<10}",
            one_line(f"{run.name} ({run.variant})" if run.variant else run.name),
            styled(_WAITS.get(run.status, run.status), _COLORS.get(run.status, "yellow")),
            seconds(duration) if duration is not None else event["url"],
            run.request_id,
        ]
        if error:
            parts.append(one_line(error))
        return "  ".join(parts), event

    def _refusals(self) -> Iterator[Told]:
        new: list[Refused] = []
        for refused in self._engine.store.refused():
            if refused == self._last_refused or refused.at < self._since:
                break
            new.append(refused)
        for refused in reversed(new):
            self._last_refused = refused
            what = one_line(f"{refused.request.method} {refused.request.path}")
            status = styled(str(refused.status), "red")
            yield (
                f"{clock_time(refused.at)}  {'refused':<10}  {what}  {status}  {one_line(refused.error)}",
                {
                    "event": "refused",
                    "method": refused.request.method,
                    "path": refused.request.path,
                    "status_code": refused.status,
                    "error": refused.error,
                    "error_code": refused.error_code,
                },
            )


def _attempt(callback: Callback, attempt: CallbackAttempt) -> Told:
    outcome = attempt.error or str(attempt.status_code)
    parts = [
        f"{clock_time(attempt.started_at)}  {'callback':<10}",
        f"{callback.event_type} --> {one_line(without_password(callback.url))}",
        styled(one_line(outcome), "green" if attempt.accepted else "red"),
        seconds(attempt.duration),
        callback.request_id,
    ]
    return "  ".join(parts), {
        "event": "callback",
        "request_id": callback.request_id,
        "event_type": callback.event_type,
        "url": without_password(callback.url),
        "status_code": attempt.status_code,
        "duration": attempt.duration,
        "accepted": attempt.accepted,
        "withheld": attempt.withheld,
        "error": attempt.error,
    }
