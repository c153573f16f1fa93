"""The only code that waits: it carries out the steps of an exchange, once blocking and once awaiting."""

from __future__ import annotations

import math
import time
from typing import Any, TypeVar, cast

import anyio
import httpx

from .deadlines import DeadlineExceeded, keep_deadlines, waits_end_at
from .exchange import Exchange, Send, Sleep, Step, is_event_stream
from .http import AsyncPool, SyncPool, build_request

__all__ = ["drive", "drive_async"]

ResultT = TypeVar("ResultT")

# Everything a transport may fail with. What a caller's own event hook raises is not among it and passes.
_FAILURES = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, DeadlineExceeded)


def drive(exchange: Exchange[ResultT], pool: SyncPool) -> ResultT:
    """Run an exchange to its result, blocking."""
    outcome: Any = None
    while True:
        try:
            step = exchange.send(outcome)
        except StopIteration as end:
            return cast("ResultT", end.value)
        outcome = _perform(step, pool)


def _perform(step: Step, pool: SyncPool) -> httpx.Response | Exception | None:
    if isinstance(step, Sleep):
        time.sleep(step.seconds)
        return None
    client = pool.client()
    with waits_end_at(time.monotonic() + step.settings.attempt_limit):
        try:
            request = build_request(client, step.operation, step.settings)
            request.extensions.setdefault("trace", keep_deadlines)
            response = client.send(request, stream=True, follow_redirects=False)
            if not _stays_open(step, response):
                _read(response)
            return response
        except _FAILURES as failure:
            return failure


def _read(response: httpx.Response) -> None:
    try:
        response.read()
    except BaseException:
        response.close()
        raise


async def drive_async(exchange: Exchange[ResultT], pool: AsyncPool) -> ResultT:
    """Run an exchange to its result, awaiting."""
    outcome: Any = None
    while True:
        try:
            step = exchange.send(outcome)
        except StopIteration as end:
            return cast("ResultT", end.value)
        outcome = await _perform_async(step, pool)


async def _perform_async(step: Step, pool: AsyncPool) -> httpx.Response | Exception | None:
    if isinstance(step, Sleep):
        await anyio.sleep(step.seconds)
        return None
    client = pool.client()
    limit = step.settings.attempt_limit
    with anyio.move_on_after(None if limit == math.inf else limit):
        try:
            request = build_request(client, step.operation, step.settings)
            response = await client.send(request, stream=True, follow_redirects=False)
            if not _stays_open(step, response):
                await _read_async(response)
            return response
        except _FAILURES as failure:
            return failure
    return DeadlineExceeded()


async def _read_async(response: httpx.Response) -> None:
    try:
        await response.aread()
    except BaseException:
        with anyio.CancelScope(shield=True):
            await response.aclose()
        raise


def _stays_open(step: Send, response: httpx.Response) -> bool:
    """Whether the response is the stream of events that was asked for; else it is read at once."""
    return step.operation.streaming and response.is_success and is_event_stream(response)
