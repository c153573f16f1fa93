"""Requests: every run by its request id, whatever was run, and waiting for its end."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any, Union

import httpx
from pydantic import Field

from ..answers import read_object
from ..arguments import number, plain_function
from ..errors import APIConnectionError, APIStatusError, FetchHiveError, WaitTimeoutError
from ..exchange import Exchange, Sleep, run
from ..jsonable import refused
from ..operations import Operation
from ..results import Entity
from ..settings import Settings
from ..urls import segment
from .base import AsyncResource, SyncResource, enveloped

__all__ = ["RequestRecord"]

OnPoll = Callable[["RequestRecord"], object]

DEFAULT_WAIT = 600.0
FIRST_DELAY = 0.5
GROWTH = 1.5
LONGEST_DELAY = 30.0  # a wait of ten minutes is about 30 look-ups then
SHORTEST_LOOK_UP = 1.0  # seconds a look-up may take, however little of the time is left

# The words themselves are not documented; an end is known by `ended_at` too.
_GOOD_ENDS = {"completed", "complete", "succeeded", "success", "finished", "done"}
_WAITING_WORDS = {"paused", "awaiting_approval", "waiting", "pending_approval"}
_BAD_ENDS = {"failed", "failure", "error", "errored", "cancelled", "canceled", "expired", "timed_out", "rejected"}


class RequestRecord(Entity, frozen=True):
    """What the service knows of a run. Times are ISO 8601, as the service writes them.

    Attributes:
        request_id: The run's id, `req_…`.
        status: Where it stands, such as `completed`. Which words there are is not documented.
        request_type: What was run, such as `workflow`.
        id: Its UUID.
        requestable_type: The kind of what was run, in the service's words.
        requestable_id: The UUID of what was run.
        message: What the service says about it.
        generated_at: When it was made.
        started_at: When it began.
        ended_at: When it ended; None while it runs.
        metadata: Metadata of the service.
        user_metadata: The caller's metadata.
        data: What came of it, where the service gives it. What is in it is not documented.
    """

    request_id: str = ""
    status: str = ""
    request_type: str = ""
    id: str | None = None
    requestable_type: str | None = None
    requestable_id: str | None = None
    message: str | None = None
    generated_at: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict[str, Any])
    user_metadata: dict[str, Any] = Field(default_factory=dict[str, Any])
    data: Union[dict[str, Any], None] = None

    @property
    def ended(self) -> bool:
        """Whether the run has ended, well or not: it has an `ended_at`, or its status is a word for an end."""
        return bool(self.ended_at) or self.status.lower() in _GOOD_ENDS | _BAD_ENDS

    @property
    def failed(self) -> bool:
        """Whether the run has ended without success, by its status."""
        return self.status.lower() in _BAD_ENDS


def get(request_id: object) -> Operation[RequestRecord]:
    """GET /public/requests/{request_id}."""
    return Operation("GET", f"/public/requests/{segment('request_id', request_id)}", b"", _read, effect="nothing")


def _read(data: bytes) -> RequestRecord:
    answer = read_object(data)
    if "request_id" in answer:  # then it is the record, whatever it says of its request
        return RequestRecord.model_validate(answer)
    # The service's own tests wrap the object once more.
    return enveloped("request", RequestRecord)(data)


def wait(settings: Settings, request_id: object, timeout: object, on_poll: OnPoll | None) -> Exchange[RequestRecord]:
    """Look a run up again and again, less and less often, until it has ended."""
    operation = get(request_id)
    if timeout is None:
        raise refused("timeout", "None is not allowed", 'Pass seconds; float("inf") waits for as long as it takes.')
    seconds: float = math.inf if timeout == math.inf else number("timeout", timeout, least=0)
    plain_function("on_poll", on_poll)
    return _wait(operation, settings, time.monotonic() + seconds, seconds, on_poll)


def _wait(
    operation: Operation[RequestRecord], settings: Settings, deadline: float, seconds: float, on_poll: OnPoll | None
) -> Exchange[RequestRecord]:
    delay = FIRST_DELAY
    record: RequestRecord | None = None
    while True:
        problem: FetchHiveError | None = None
        limit = max(deadline - time.monotonic(), SHORTEST_LOOK_UP)
        look_up = settings.changed(max_retries=0, timeout=_within(limit, settings.timeout))  # the wait tries again
        try:
            record = yield from run(operation, look_up)
        except (APIConnectionError, APIStatusError) as error:
            # The run goes on whether or not a look-up is answered, so only what cannot pass by itself ends the wait.
            if not error.retryable:
                raise
            problem = error
        else:
            if on_poll is not None:
                on_poll(record)
            if record.ended:
                return record
        left = deadline - time.monotonic()
        if left <= 0:
            raise _timed_out(operation, seconds, record, problem) from problem
        asked = problem.retry_after or 0 if problem is not None else 0
        yield Sleep(min(max(delay, asked), left, threading.TIMEOUT_MAX))
        delay = min(delay * GROWTH, LONGEST_DELAY)


def _within(limit: float, timeout: float | httpx.Timeout) -> float | httpx.Timeout:
    """The client's timeout, each of its phases where it sets them, and no more than the limit."""
    if not isinstance(timeout, httpx.Timeout):
        return min(timeout, limit)
    phases = {name: min(limit, math.inf if seconds is None else seconds) for name, seconds in timeout.as_dict().items()}
    return httpx.Timeout(**{name: None if seconds == math.inf else seconds for name, seconds in phases.items()})


def _timed_out(
    operation: Operation[RequestRecord], seconds: float, record: RequestRecord | None, problem: FetchHiveError | None
) -> WaitTimeoutError:
    state = "no look-up was answered" if record is None else f"its status is {record.status!r}"
    waits = record is not None and record.status.lower() in _WAITING_WORDS
    return WaitTimeoutError(
        f"{operation.name}: the run had not ended after {seconds:g} s; {state}.",
        hint="It waits for somebody's decision: make it, by approvals.decide() or in the dashboard, and wait again."
        if waits
        else "It goes on. Wait again, with a larger timeout= perhaps, or look it up later with requests.get().",
        record=record,
        request_id=record.request_id if record is not None else None,
        retryable=True,
        status_code=problem.status_code if problem is not None else None,
    )


class Requests(SyncResource):
    """Runs by their request id."""

    def get(self, request_id: str) -> RequestRecord:
        """Look a run up: a prompt, a workflow, an agent, or a background job.

        Args:
            request_id: The run's id, `req_…`.

        Raises:
            InvalidRequestError: The id is no str, or empty; nothing was sent.
            NotFoundError: There is no such run in the key's workspace.
            APIStatusError: The service refused the call.
            APIConnectionError: No complete answer came.
            UnexpectedResponseError: The answer is not what the API promises.
        """
        return self._run(get(request_id))

    def wait(self, request_id: str, *, timeout: float = DEFAULT_WAIT, on_poll: OnPoll | None = None) -> RequestRecord:
        """Wait until a run has ended, well or not: for callback delivery without a public callback URL.

        The run is looked up at once, then after 0.5 s and longer and longer pauses, of 30 s at most. Look-ups that
        fail for a while are made again. Whether it ended well tells `record.failed`. Look-ups may count
        among the plan's calls a day (about 65 in 600 s): raise `timeout` with that in mind.

        Args:
            request_id: The run's id, `req_…`.
            timeout: Seconds to wait, default 600; `float("inf")` for as long as it takes. With 0 the run
                is looked up once.
            on_poll: Called with each record that is read, the last one included.

        Raises:
            WaitTimeoutError: It had not ended by then (it is a `TimeoutError`); `error.record` is its last state.
            InvalidRequestError: The id is no str, or empty; nothing was sent.
            NotFoundError: There is no such run in the key's workspace.
            APIStatusError: The service refused the call.
            APIConnectionError: No complete answer came, and trying again cannot help.
            UnexpectedResponseError: The answer is not what the API promises.
        """
        return self._drive(wait(self._settings, request_id, timeout, on_poll))


class AsyncRequests(AsyncResource):
    """Runs by their request id."""

    async def get(self, request_id: str) -> RequestRecord:
        """Look a run up: a prompt, a workflow, an agent, or a background job.

        As `Requests.get`.
        """
        return await self._run(get(request_id))

    async def wait(
        self, request_id: str, *, timeout: float = DEFAULT_WAIT, on_poll: OnPoll | None = None
    ) -> RequestRecord:
        """Wait until a run has ended, well or not: for callback delivery without a public callback URL.

        As `Requests.wait`.
        """
        return await self._drive(wait(self._settings, request_id, timeout, on_poll))
