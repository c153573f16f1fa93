"""What may be repeated, and after how long. Pure functions and one value; nothing here waits.

An invoke starts paid work and the API has no idempotency key. So an invoke is repeated only where the
first one provably did not run, unless the caller's `RetryPolicy` says otherwise.
"""

from __future__ import annotations

import math
import random
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Literal

from .errors import ConfigurationError

__all__ = ["RetryPolicy"]

# What a call does if it is made twice: start a second run, make a second change, or nothing more.
Effect = Literal["run", "change", "nothing"]

DEFAULT_MAX_RETRIES = 2


@dataclass(frozen=True)
class RetryPolicy:
    """How often, when and how long after a failed call is repeated.

    Attributes:
        max_retries: Further attempts after the first; 0 switches retries off.
        invokes: `"safe"` repeats an invoke only if it provably did not run. `"always"` repeats it also
            after a timeout, a dropped connection or a 5xx, and so may run, and bill, it more than once.
        initial_delay: Seconds before the first repetition; it doubles for each further one.
        max_delay: The longest such delay in seconds.
        max_retry_after: The longest `Retry-After` in seconds that is waited for. A longer one is raised
            at once, with the seconds in the error's `retry_after`.

    Raises:
        ConfigurationError: A number is negative or not a number, or `invokes` is another word.
    """

    max_retries: int = DEFAULT_MAX_RETRIES
    invokes: Literal["safe", "always"] = "safe"
    initial_delay: float = 0.5
    max_delay: float = 8.0
    max_retry_after: float = 60.0

    def __post_init__(self) -> None:
        if isinstance(self.max_retries, bool) or not isinstance(self.max_retries, int) or self.max_retries < 0:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(
                f"max_retries: {self.max_retries!r} is not allowed.",
                hint="Pass a whole number from 0, which switches retries off.",
            )
        if self.invokes not in ("safe", "always"):
            raise ConfigurationError(f"invokes: {self.invokes!r} is not allowed.", hint='Pass "safe" or "always".')
        for name in ("initial_delay", "max_delay", "max_retry_after"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
                raise ConfigurationError(f"{name}: {value!r} is not allowed.", hint="Pass seconds as a number from 0.")

    def repeats_failure(self, *, effect: Effect, may_have_run: bool) -> bool:
        """Whether a call is repeated after a failure on the way: no answer, or only part of one."""
        return not may_have_run or self._repeats(effect)

    def repeats_status(self, status: int, *, effect: Effect, daily_limit: bool, retry_after: float | None) -> bool:
        """Whether a call is repeated after this error status."""
        if status == 429:
            return not daily_limit
        if status == 503 and retry_after is not None:
            return True
        return status >= 500 and self._repeats(effect)

    def _repeats(self, effect: Effect) -> bool:
        """Whether a call is repeated that may have been carried out already."""
        return effect == "nothing" or (effect == "run" and self.invokes == "always")

    def delay(self, attempt: int, retry_after: float | None, jitter: Callable[[], float] = random.random) -> float:
        """Seconds to wait after attempt number `attempt` (from 1).

        What the service asks for is obeyed as it stands; else the doubled delay, cut by up to half at
        random so that many clients do not come back at the same moment.
        """
        if retry_after is not None:
            return min(retry_after, threading.TIMEOUT_MAX)
        doubled = min(self.max_delay, self.initial_delay * 2.0 ** min(attempt - 1, 60))
        return min(doubled * (1 - jitter() / 2), threading.TIMEOUT_MAX)


def may_have_run(status: int, *, direct_workflow: bool, retry_after: float | None) -> bool:
    """Whether the service could have started the run it answered with this status.

    Documented refusals come before the run, and a 503 with `Retry-After` says that nothing was begun.
    Any other 5xx may come in the middle of a run, and 303 is how one says that something was done and stands
    elsewhere. With which status a failed direct workflow answers is
    not documented, so that its 422 counts as a maybe.
    """
    if status == 503 and retry_after is not None:
        return False
    return status >= 500 or status in (101, 303, 408) or (status == 422 and direct_workflow)


def parse_retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds from a `Retry-After` header: a number, or any of the three date forms of RFC 9110.

    Returns None if there is no such header or it makes no sense; a time in the past is 0.
    """
    value = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]*)?", value):
        seconds = float(value)
        return seconds if seconds < math.inf else None
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    # A date without a zone: RFC 9110 dates are GMT.
    date = date.replace(tzinfo=timezone.utc) if date.tzinfo is None else date
    return max(0.0, (date - (now or datetime.now(timezone.utc))).total_seconds())
