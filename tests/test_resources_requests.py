"""Runs by their request id: looking one up, and waiting for its end."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import pytest
from pytest_httpx import HTTPXMock

from fetch_hive_sdk import (
    APIConnectionError,
    FetchHiveError,
    InvalidRequestError,
    NotFoundError,
    RequestRecord,
    UnexpectedResponseError,
    WaitTimeoutError,
)
from fetch_hive_sdk.deadlines import Trace
from fetch_hive_sdk.exchange import Arrived, Failure, Send, Sleep
from fetch_hive_sdk.resources import requests
from fetch_hive_sdk.settings import Settings

pytestmark = pytest.mark.anyio

ID = "req_019d52846ea37682b03522fd0695cc43"
PATH = f"https://api.fetchhive.com/v1/public/requests/{ID}"
SETTINGS = Settings(api_key="fhk_test")
DOCUMENTED = {
    "id": "0190aaaa-0000-7000-8000-000000000001",
    "request_id": ID,
    "status": "completed",
    "request_type": "workflow",
    "requestable_type": "PromptWorkflow",
    "requestable_id": "0190aaaa-0000-7000-8000-000000000002",
    "message": None,
    "generated_at": "2026-06-01T00:00:00Z",
    "started_at": "2026-06-01T00:00:00Z",
    "ended_at": "2026-06-01T00:00:03Z",
    "metadata": {},
    "user_metadata": {"plan": "pro"},
    "data": None,
}


@pytest.mark.parametrize("body", [DOCUMENTED, {"request": DOCUMENTED}], ids=["flat", "wrapped"])
async def test_get(make_client: Callable[..., Any], httpx_mock: HTTPXMock, body: dict[str, Any]) -> None:
    """A look-up is one GET with the key and no body, and its record has every documented field."""
    httpx_mock.add_response(url=PATH, json=body, headers={"X-Trace": "abc"})
    async with make_client() as client:
        record = await client.requests.get(ID)
    [request] = httpx_mock.get_requests()
    assert ("GET", b"", "Bearer fhk_test") == (request.method, request.content, request.headers["Authorization"])
    assert "Content-Type" not in request.headers
    assert isinstance(record, RequestRecord)
    assert DOCUMENTED == {name: getattr(record, name) for name in DOCUMENTED} == record.to_dict()
    assert (True, False) == (record.ended, record.failed)
    assert (200, "abc", body) == (
        record.http_response.status_code,
        record.http_response.headers["x-trace"],
        record.http_response.json(),
    )


@pytest.mark.parametrize(
    ("request_id", "sent"),
    [
        ("a/b?c#d", "a%2Fb%3Fc%23d"),
        ("../agents", "..%2Fagents"),
        ("é %", "%C3%A9%20%25"),
        ("...", "..."),
        (UUID("0190aaaa-0000-7000-8000-000000000001"), "0190aaaa-0000-7000-8000-000000000001"),
    ],
)
async def test_ids_are_escaped(
    make_client: Callable[..., Any], httpx_mock: HTTPXMock, request_id: Any, sent: str
) -> None:
    """Whatever is in an id, it stays one segment of the path."""
    httpx_mock.add_response(json=DOCUMENTED)
    async with make_client() as client:
        await client.requests.get(request_id)
    [request] = httpx_mock.get_requests()
    assert f"/v1/public/requests/{sent}".encode() == request.url.raw_path


@pytest.mark.parametrize(
    ("request_id", "message"),
    [
        ("", "request_id: it is empty."),
        (" ", "request_id: it is empty."),
        (".", "request_id: '.' is not an id."),
        ("..", "request_id: '..' is not an id."),
        (None, "request_id: None is not allowed."),
        (7, "request_id: an int is not allowed."),
        ("\ud800", "request_id: it has half a surrogate pair in it."),
    ],
)
async def test_wrong_ids(make_client: Callable[..., Any], request_id: Any, message: str) -> None:
    """An id that would call something else, or nothing, is refused before anything is sent."""
    async with make_client() as client:
        for call in (client.requests.get, client.requests.wait):
            with pytest.raises(InvalidRequestError) as caught:
                await call(request_id)
            assert message == caught.value.message


@pytest.mark.parametrize(
    ("fields", "ended", "failed"),
    [
        ({}, False, False),
        ({"status": "running"}, False, False),
        ({"status": "queued"}, False, False),
        ({"status": "awaiting_approval"}, False, False),
        ({"status": "a_new_word"}, False, False),
        ({"status": "a_new_word", "ended_at": "2026-06-01T00:00:00Z"}, True, False),
        ({"status": "Completed"}, True, False),
        ({"status": "success"}, True, False),
        ({"status": "failed"}, True, True),
        ({"status": "cancelled"}, True, True),
        ({"status": "expired", "ended_at": None}, True, True),
    ],
)
def test_ends(fields: dict[str, Any], ended: bool, failed: bool) -> None:
    """A run has ended by its `ended_at`, or by any word that means an end; unknown words mean that it goes on."""
    record = RequestRecord.model_validate(fields)

    assert (ended, failed) == (record.ended, record.failed)


# --- waiting ------------------------------------------------------------------------------------------


def reply(status: str = "running", code: int = 200, **headers: str) -> httpx.Response:
    request = httpx.Request("GET", PATH)
    return httpx.Response(code, json={"request_id": ID, "status": status}, headers=headers, request=request)


def broken() -> Failure:
    request = httpx.Request("GET", PATH)
    return Failure(httpx.ReadError("It broke."), request, Trace())


class Clock:
    """A time that passes only while an exchange sleeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.delays: list[float] = []
        self.limits: list[float] = []
        monkeypatch.setattr(requests.time, "monotonic", lambda: self.now)

    def play(self, *outcomes: httpx.Response | Failure, settings: Settings = SETTINGS, **options: Any) -> Any:
        """Wait with these outcomes; the record, or the error."""
        options = {"timeout": 600.0, "on_poll": None, **options}
        exchange = requests.wait(settings, ID, options["timeout"], options["on_poll"])
        left = list(outcomes)
        given: Any = None
        try:
            while True:
                step = exchange.send(given)
                given = None
                if isinstance(step, Send):
                    self.limits.append(step.settings.attempt_limit)
                    outcome = left.pop(0)
                    given = outcome if isinstance(outcome, Failure) else Arrived(outcome, outcome.content)
                else:
                    assert isinstance(step, Sleep)
                    self.delays.append(step.seconds)
                    self.now += step.seconds
        except StopIteration as end:
            assert not left
            return end.value
        except FetchHiveError as error:
            assert not left
            return error


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


async def test_wait(make_client: Callable[..., Any], httpx_mock: HTTPXMock) -> None:
    """Waiting for a run that has ended is one look-up, of both clients, and tells its progress."""
    httpx_mock.add_response(url=PATH, json=DOCUMENTED)
    told: list[RequestRecord] = []
    async with make_client() as client:
        record = await client.requests.wait(ID, timeout=5, on_poll=told.append)
    assert [DOCUMENTED] == [one.to_dict() for one in told]
    assert told == [record]


def test_delays_grow(clock: Clock) -> None:
    """A run is looked up at once, then after pauses that grow from 0.5 s to 30 s, until it has ended."""
    told: list[str] = []
    outcomes = [reply() for _ in range(12)]
    record = clock.play(*outcomes, reply("failed"), on_poll=lambda one: told.append(one.status))

    assert [0.5, 0.75, 1.125] == clock.delays[:3]
    assert sorted(clock.delays) == clock.delays
    assert 30.0 == clock.delays[-1]
    assert (["running"] * 12 + ["failed"], True) == (told, record.failed)


def test_time_is_over(clock: Clock) -> None:
    """When the time is over the error is a TimeoutError with the run as it was, and no pause goes beyond."""
    error = clock.play(reply(), reply(), reply("queued"), timeout=1.0)

    assert [0.5, 0.5] == clock.delays
    assert isinstance(error, WaitTimeoutError)
    assert isinstance(error, TimeoutError)
    assert error.message == (f"GET /public/requests/{ID}: the run had not ended after 1 s; its status is 'queued'.")
    assert (ID, "queued", True, False) == (error.request_id, error.record.status, error.retryable, error.may_have_run)


@pytest.mark.parametrize(("status", "hint"), [("paused", "somebody's decision"), ("running", "larger timeout=")])
def test_what_a_run_waits_for(clock: Clock, status: str, hint: str) -> None:
    """A run that waits for a decision does not go on by itself, and the error says so."""
    assert hint in clock.play(reply(status), timeout=0).hint


def test_no_time(clock: Clock) -> None:
    """A timeout of 0 looks the run up once."""
    assert isinstance(clock.play(reply(), timeout=0), WaitTimeoutError)
    assert "completed" == clock.play(reply("completed"), timeout=0).status
    assert [] == clock.delays


def test_for_as_long_as_it_takes(clock: Clock) -> None:
    """An infinite timeout waits on, and leaves the client's own limit to each look-up."""
    assert "completed" == clock.play(*[reply()] * 200, reply("completed"), timeout=math.inf).status
    assert {300.0} == set(clock.limits)


def test_look_ups_keep_to_the_time(clock: Clock) -> None:
    """A look-up may take no longer than the time that is left, but a second at least."""
    clock.play(reply(), reply(), reply(), timeout=1.2)

    assert pytest.approx([1.2, 1.0, 1.0]) == clock.limits


def test_failures_that_pass(clock: Clock) -> None:
    """A look-up that fails for a while does not end the wait: the run goes on all the same."""
    record = clock.play(broken(), reply(code=503), reply(code=429, retry_after="5"), reply("completed"))

    assert "completed" == record.status


def test_the_service_asks_to_wait(clock: Clock) -> None:
    """`Retry-After` makes the pause longer, but never longer than the time that is left."""
    clock.play(reply(code=429, **{"Retry-After": "4"}), reply(code=429, **{"Retry-After": "50"}), reply(), timeout=6.0)

    assert [4.0, 2.0] == clock.delays


def test_nothing_was_answered(clock: Clock) -> None:
    """When no look-up was answered at all, the error says so and carries the last failure."""
    error = clock.play(broken(), broken(), timeout=0.5)

    assert isinstance(error, WaitTimeoutError)
    assert "no look-up was answered" in error.message
    assert isinstance(error.__cause__, APIConnectionError)
    assert (None, None) == (error.record, error.request_id)


def test_failures_that_stay(clock: Clock) -> None:
    """What trying again cannot mend is raised at once."""
    assert isinstance(clock.play(reply(code=404)), NotFoundError)
    assert [] == clock.delays


@pytest.mark.parametrize(
    ("timeout", "message"),
    [
        (-1, "timeout: -1 is not allowed."),
        (math.nan, "timeout: nan is not allowed."),
        ("5", "timeout: a str is not allowed."),
        (None, "timeout: None is not allowed."),
        (True, "timeout: a bool is not allowed."),
    ],
)
async def test_wrong_timeouts(make_client: Callable[..., Any], timeout: Any, message: str) -> None:
    """A timeout that is no number of seconds is refused before anything is sent."""
    async with make_client() as client:
        with pytest.raises(InvalidRequestError) as caught:
            await client.requests.wait(ID, timeout=timeout)
    assert message == caught.value.message


def test_huge_pauses(clock: Clock) -> None:
    """A `Retry-After` beyond what can be slept is cut to what can."""
    clock.play(reply(code=503, **{"Retry-After": "1" + "0" * 30}), reply("completed"), timeout=math.inf)

    assert [threading.TIMEOUT_MAX] == clock.delays


@pytest.mark.parametrize(
    ("timeout", "given", "looked_up"),
    [
        (2.0, httpx.Timeout(5.0, read=0.5), {"connect": 2.0, "read": 0.5, "write": 2.0, "pool": 2.0}),
        (2.0, httpx.Timeout(None), dict.fromkeys(("connect", "read", "write", "pool"), 2.0)),
        (math.inf, httpx.Timeout(None, read=0.5), {"connect": None, "read": 0.5, "write": None, "pool": None}),
    ],
)
def test_phases_stay(clock: Clock, timeout: float, given: httpx.Timeout, looked_up: dict[str, float | None]) -> None:
    """The phases of an `httpx.Timeout` count for each look-up too, so that one that hangs is made again."""
    exchange = requests.wait(SETTINGS.changed(timeout=given), ID, timeout, None)
    step = next(exchange)

    assert isinstance(step, Send)
    assert looked_up == step.settings.phases(streaming=False).as_dict()


async def poll(record: RequestRecord) -> None:
    """A callback that would have to be awaited."""


@pytest.mark.parametrize("on_poll", [5, poll])
async def test_wrong_callbacks(make_client: Callable[..., Any], httpx_mock: HTTPXMock, on_poll: Any) -> None:
    """An `on_poll` that would never be called, or awaited, is refused before anything is sent."""
    async with make_client() as client:
        with pytest.raises(InvalidRequestError, match=r"^on_poll: .* Pass a plain function"):
            await client.requests.wait(ID, timeout=0, on_poll=on_poll)


@pytest.mark.parametrize("request_", [None, "POST /v1/workflow/invoke", {"inputs": {}, "status": "accepted"}])
async def test_what_was_requested(make_client: Callable[..., Any], httpx_mock: HTTPXMock, request_: Any) -> None:
    """A record that tells of its `request` is not taken for an envelope."""
    httpx_mock.add_response(json={**DOCUMENTED, "request": request_})
    async with make_client() as client:
        record = await client.requests.get(ID)
    assert (ID, "completed", request_) == (record.request_id, record.status, record["request"])


async def test_no_record(make_client: Callable[..., Any], httpx_mock: HTTPXMock) -> None:
    """An answer without a record ends the wait at once, and is not taken for a run that goes on."""
    httpx_mock.add_response(json={})
    async with make_client() as client:
        with pytest.raises(UnexpectedResponseError, match="it has no request in it"):
            await client.requests.wait(ID, timeout=0)
