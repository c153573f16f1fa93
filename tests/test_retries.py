"""What is repeated, and after how long: tables of pure functions."""

from __future__ import annotations

import copy
import pickle
from datetime import datetime, timezone
from typing import Any

import httpx
import pytest

from fetch_hive_sdk import RetryPolicy
from fetch_hive_sdk.errors import ConfigurationError
from fetch_hive_sdk.retries import Effect, may_have_run, parse_retry_after

SAFE = RetryPolicy()
ALWAYS = RetryPolicy(invokes="always")


@pytest.mark.parametrize(
    ("effect", "ran", "safe", "always"),
    [
        # A connection that was never made.
        ("run", False, True, True),
        ("change", False, True, True),
        ("nothing", False, True, True),
        # A timeout or a connection that broke afterwards.
        ("run", True, False, True),
        ("change", True, False, False),
        ("nothing", True, True, True),
    ],
)
def test_failures(effect: Effect, ran: bool, safe: bool, always: bool) -> None:
    """What runs or changes something is repeated after a failure only if it cannot have been done; the rest always.

    A policy that repeats invokes does not repeat what makes something, such as an agent.
    """
    assert safe is SAFE.repeats_failure(effect=effect, may_have_run=ran)
    assert always is ALWAYS.repeats_failure(effect=effect, may_have_run=ran)


@pytest.mark.parametrize(
    ("status", "retry_after", "invoke", "invoke_always", "other"),
    [
        (400, None, False, False, False),
        (401, None, False, False, False),
        (402, None, False, False, False),
        (403, None, False, False, False),
        (404, None, False, False, False),
        (408, None, False, False, False),
        (409, None, False, False, False),
        (422, None, False, False, False),
        (429, None, True, True, True),
        (429, 0.0, True, True, True),
        (499, 5.0, False, False, False),
        (500, None, False, True, True),
        (500, 5.0, False, True, True),
        (502, None, False, True, True),
        (502, 5.0, False, True, True),
        (503, None, False, True, True),
        (503, 0.0, True, True, True),
        (503, 5.0, True, True, True),
        (504, None, False, True, True),
        (529, None, False, True, True),
        (301, None, False, False, False),
    ],
)
def test_statuses(status: int, retry_after: float | None, invoke: bool, invoke_always: bool, other: bool) -> None:
    """Which statuses are repeated: for an invoke only those of a call that did not run, for others any 5xx too."""
    assert (invoke, invoke_always, other) == (
        SAFE.repeats_status(status, effect="run", daily_limit=False, retry_after=retry_after),
        ALWAYS.repeats_status(status, effect="run", daily_limit=False, retry_after=retry_after),
        SAFE.repeats_status(status, effect="nothing", daily_limit=False, retry_after=retry_after),
    )
    for policy in (SAFE, ALWAYS):
        assert invoke is policy.repeats_status(status, effect="change", daily_limit=False, retry_after=retry_after)


@pytest.mark.parametrize("policy", [SAFE, ALWAYS])
@pytest.mark.parametrize("effect", ["run", "change", "nothing"])
def test_daily_limit(policy: RetryPolicy, effect: Effect) -> None:
    """The daily cap is never repeated, whatever the policy and whatever Retry-After says."""
    for retry_after in (None, 1.0):
        assert policy.repeats_status(429, effect=effect, daily_limit=True, retry_after=retry_after) is False


@pytest.mark.parametrize(
    ("status", "retry_after", "direct", "other"),
    [
        (400, None, False, False),
        (401, None, False, False),
        (404, None, False, False),
        (408, None, True, True),
        (422, None, True, False),
        (429, None, False, False),
        (500, None, True, True),
        (500, 5.0, True, True),
        (502, None, True, True),
        (503, None, True, True),
        (503, 5.0, False, False),
        (503, 0.0, False, False),
        (504, None, True, True),
    ],
)
def test_may_have_run(status: int, retry_after: float | None, direct: bool, other: bool) -> None:
    """Which statuses may come after a run had started, for a direct workflow and for the other calls."""
    assert direct is may_have_run(status, direct_workflow=True, retry_after=retry_after)
    assert other is may_have_run(status, direct_workflow=False, retry_after=retry_after)


def test_what_is_repeated_did_not_run() -> None:
    """Under the default policy no status is repeated that an invoke may have run with."""
    for status in range(300, 600):
        for retry_after in (None, 0.0, 5.0):
            repeated = SAFE.repeats_status(status, effect="run", daily_limit=False, retry_after=retry_after)
            for direct_workflow in (True, False):
                ran = may_have_run(status, direct_workflow=direct_workflow, retry_after=retry_after)
                assert not (repeated and ran), (status, retry_after)


# --- how long -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attempt", "longest"),
    [(1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (5, 8.0), (6, 8.0), (100, 8.0), (2_000, 8.0), (10**12, 8.0)],
)
def test_delay(attempt: int, longest: float) -> None:
    """The delay doubles from half a second to eight, and chance takes at most half of it."""
    assert longest == SAFE.delay(attempt, None, lambda: 0.0)
    assert longest * 0.75 == SAFE.delay(attempt, None, lambda: 0.5)
    assert longest / 2 == SAFE.delay(attempt, None, lambda: 1.0)


def test_random_delay() -> None:
    """Left to itself the delay stays in its bounds and is not always the same."""
    delays = {SAFE.delay(3, None) for _ in range(100)}

    assert min(delays) >= 1.0
    assert max(delays) <= 2.0
    assert len(delays) > 10


@pytest.mark.parametrize("retry_after", [0.0, 0.1, 7.0, 59.5])
def test_delay_as_asked(retry_after: float) -> None:
    """What the service asks for is waited, without chance and without doubling."""
    assert retry_after == SAFE.delay(1, retry_after, lambda: 1.0) == SAFE.delay(9, retry_after, lambda: 1.0)


@pytest.mark.parametrize(
    ("policy", "delays"),
    [
        (RetryPolicy(initial_delay=0), [0, 0, 0]),
        (RetryPolicy(max_delay=0), [0, 0, 0]),
        (RetryPolicy(initial_delay=3, max_delay=4), [3, 4, 4]),
        (RetryPolicy(initial_delay=20, max_delay=10), [10, 10, 10]),
        (RetryPolicy(initial_delay=1e-3, max_delay=1e6), [0.001, 0.002, 0.004]),
    ],
)
def test_other_delays(policy: RetryPolicy, delays: list[float]) -> None:
    """Both bounds of the delay can be set."""
    assert delays == [policy.delay(attempt, None, lambda: 0.0) for attempt in (1, 2, 3)]


@pytest.mark.parametrize(("initial_delay", "max_delay"), [(1e300, 1e308), (1.7e308, 1.7e308)])
def test_huge_delays(initial_delay: float, max_delay: float) -> None:
    """However large the allowed delays and the attempt's number are, a delay is a number within its bound."""
    policy = RetryPolicy(initial_delay=initial_delay, max_delay=max_delay)

    for attempt in (1, 2, 100, 5_000):
        assert 0 < policy.delay(attempt, None, lambda: 0.0) <= max_delay


# --- Retry-After --------------------------------------------------------------------------------------

NOW = datetime(2026, 6, 1, 12, 0, 0, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("5", 5.0),
        ("120", 120.0),
        ("1.5", 1.5),
        (" 7 ", 7.0),
        ("86400", 86400.0),
        # The three forms of a date in RFC 9110.
        ("Mon, 01 Jun 2026 12:00:05 GMT", 5.0),
        ("Monday, 01-Jun-26 12:00:05 GMT", 5.0),
        ("Mon Jun  1 12:00:05 2026", 5.0),
        # Other dates.
        ("Tue, 02 Jun 2026 12:00:00 GMT", 86400.0),
        ("Mon, 01 Jun 2026 14:00:05 +0200", 5.0),
        ("Mon, 01 Jun 2026 12:00:05 -0000", 5.0),
        ("Mon, 01 Jun 2026 12:00:00 GMT", 0.0),
        ("Mon, 01 Jun 2026 11:59:59 GMT", 0.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0.0),
        # What makes no sense.
        ("", None),
        (" ", None),
        ("soon", None),
        ("-1", None),
        ("-0.5", None),
        ("inf", None),
        ("-inf", None),
        ("1e999", None),
        ("nan", None),
        ("5 seconds", None),
        ("5, 6", None),
        ("Mon, 01 Jun 100000 12:00:05 GMT", None),
        ("Mon, 99 Jun 2026 12:00:05 GMT", None),
        ("Mon, 01 Jun 2026 99:00:05 GMT", None),
        ("Mon, 01 Jun 2026 12:00:05 +9999", None),
        ("Mon, 99999999999999999999 Jun 2026 12:00:05 GMT", None),
        (",", None),
        ("1 2 3 4 5 6 7", None),
        ("\u0665 \u00b2", None),
        ("x" * 10_000, None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    """Retry-After is read as seconds or any date form of RFC 9110; the past is 0 and nonsense is nothing."""
    assert seconds == parse_retry_after(httpx.Headers({"retry-after": value.encode()}), NOW)


def test_far_future() -> None:
    """A date in the far future is a very long time, not an error."""
    seconds = parse_retry_after({"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"}, NOW)

    assert seconds is not None
    assert seconds > 200_000_000_000


def test_no_retry_after() -> None:
    """Without the header there is nothing to obey."""
    assert parse_retry_after(httpx.Headers(), NOW) is None
    assert parse_retry_after({}) is None


def test_retry_after_counts_from_now() -> None:
    """Without a given time a date counts from the clock, and the past is 0."""
    assert 0.0 == parse_retry_after({"Retry-After": "Sun, 06 Nov 1994 08:49:37 GMT"})


# --- the policy as a value ----------------------------------------------------------------------------


def test_defaults() -> None:
    """The defaults are those of the documentation."""
    assert (2, "safe", 0.5, 8.0, 60.0) == (
        SAFE.max_retries,
        SAFE.invokes,
        SAFE.initial_delay,
        SAFE.max_delay,
        SAFE.max_retry_after,
    )


def test_value() -> None:
    """A policy is a frozen value that can be compared, hashed, copied and pickled."""
    assert RetryPolicy(max_retries=3) == RetryPolicy(max_retries=3) != SAFE
    assert {SAFE} == {RetryPolicy(), copy.deepcopy(SAFE), pickle.loads(pickle.dumps(SAFE))}
    with pytest.raises(AttributeError):
        SAFE.max_retries = 5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"max_retries": -1}, "max_retries: -1 is not allowed."),
        ({"max_retries": True}, "max_retries: True is not allowed."),
        ({"max_retries": 1.5}, "max_retries: 1.5 is not allowed."),
        ({"max_retries": "2"}, "max_retries: '2' is not allowed."),
        ({"max_retries": None}, "max_retries: None is not allowed."),
        ({"invokes": "never"}, "invokes: 'never' is not allowed."),
        ({"invokes": True}, "invokes: True is not allowed."),
        ({"initial_delay": -0.1}, "initial_delay: -0.1 is not allowed."),
        ({"initial_delay": float("nan")}, "initial_delay: nan is not allowed."),
        ({"max_delay": float("inf")}, "max_delay: inf is not allowed."),
        ({"max_delay": True}, "max_delay: True is not allowed."),
        ({"max_retry_after": "60"}, "max_retry_after: '60' is not allowed."),
        ({"max_retry_after": None}, "max_retry_after: None is not allowed."),
    ],
)
def test_refused(given: dict[str, Any], message: str) -> None:
    """A policy that makes no sense is refused by the name of what is wrong."""
    with pytest.raises(ConfigurationError) as caught:
        RetryPolicy(**given)

    assert message == caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("given", [{"max_retries": 0}, {"max_retry_after": 0}, {"initial_delay": 0, "max_delay": 0}])
def test_zero(given: dict[str, Any]) -> None:
    """Zero is allowed everywhere, and switches off what it counts."""
    assert given == {name: getattr(RetryPolicy(**given), name) for name in given}
