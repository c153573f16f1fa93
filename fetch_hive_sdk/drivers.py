"""The only code that waits: it carries out the steps of an exchange, once blocking and once awaiting."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar, cast

import anyio
import httpx

from .deadlines import AsyncTrace, DeadlineExceeded, Trace, bound_waits, waits_end_at
from .exchange import Exchange, Failure, Send, Sleep, Step, is_event_stream
from .http import AsyncPool, SyncPool, build_request

__all__ = ["drive", "drive_async", "in_own_task"]

ResultT = TypeVar("ResultT")

# What a transport may fail with. What a caller's own hook raises beside these is the caller's, and passes.
_FAILURES = (httpx.RequestError, httpx.InvalidURL, httpx.StreamError, OSError, UnicodeError)


def drive(exchange: Exchange[ResultT], pool: SyncPool) -> ResultT:
    """Run an exchange to its result, blocking."""
    outcome: Any = None
    while True:
        try:
            step = exchange.send(outcome)
        except StopIteration as end:
            return cast("ResultT", end.value)
        outcome = _perform(step, pool)


def _perform(step: Step, pool: SyncPool) -> httpx.Response | Failure | None:
    if isinstance(step, Sleep):
        time.sleep(step.seconds)
        return None
    client, trace = pool.client(), Trace()
    request = build_request(client, step.operation, step.settings, trace)
    with waits_end_at(time.monotonic() + step.settings.attempt_limit):
        try:
            response = client.send(request, stream=True, follow_redirects=False)
            if "network_stream" in response.extensions:  # of a connection that a caller's client had already
                bound_waits(response.extensions["network_stream"])
            if not _stays_open(step, response):
                _read(response)
            return response
        except _FAILURES as error:
            return _failure_of(error, request, trace)
        finally:
            _close_file(step)


def _close_file(step: Send) -> None:
    """Close what an upload has opened; an attempt that broke off leaves it open."""
    if not isinstance(step.operation.body, bytes):
        step.operation.body.close()


def _failure_of(error: Exception, request: httpx.Request, trace: Trace) -> Failure:
    if isinstance(error, httpx.RequestError) and not _is_about(error, request):
        raise error  # a hook's, perhaps of its own call to somewhere else
    return Failure(error, request, trace)


def _is_about(error: httpx.RequestError, request: httpx.Request) -> bool:
    try:
        return error.request is request
    except RuntimeError:  # raised without one; httpx adds it to what a transport raises, but not to what a hook does
        return False


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


async def _perform_async(step: Step, pool: AsyncPool) -> httpx.Response | Failure | None:
    if isinstance(step, Sleep):
        await anyio.sleep(step.seconds)
        return None
    client, trace = pool.client(), AsyncTrace()
    request = build_request(client, step.operation, step.settings, trace)
    opened: list[httpx.Response] = []
    try:
        return await in_own_task(lambda: _attempt(client, request, step, trace, opened))
    except BaseException:
        for response in opened:  # it came in the moment of the cancellation
            await in_own_task(partial(_close, response))
        raise
    finally:
        _close_file(step)


async def _close(response: httpx.Response) -> None:
    with anyio.CancelScope(shield=True):
        await response.aclose()


async def _attempt(
    client: httpx.AsyncClient, request: httpx.Request, step: Send, trace: Trace, opened: list[httpx.Response]
) -> httpx.Response | Failure:
    limit = step.settings.attempt_limit
    with anyio.move_on_after(None if limit == math.inf else limit):
        try:
            response = await client.send(request, stream=True, follow_redirects=False)
            opened.append(response)
            if not _stays_open(step, response):
                await _read_async(response)
            return response
        except _FAILURES as error:
            return _failure_of(error, request, trace)
    return Failure(DeadlineExceeded(), request, trace)


async def _read_async(response: httpx.Response) -> None:
    try:
        await response.aread()
    except BaseException:
        await _close(response)
        raise


async def in_own_task(work: Callable[[], Awaitable[ResultT]]) -> ResultT:
    """Await in a task of its own, so that asyncio's `Task.cancel` arrives as the cancellation of a scope.

    httpcore gives its connections back in shielded scopes, which withstand a scope's cancellation, but not a
    bare one: that would leave a connection checked out for ever.
    """
    outcome: list[ResultT | BaseException] = []

    async def run() -> None:
        try:
            outcome.append(await work())
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as error:  # handed on below as it is, not inside a group
            outcome.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
    if not outcome:  # something that it awaited was cancelled, and not this call
        raise anyio.get_cancelled_exc_class()
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


def _stays_open(step: Send, response: httpx.Response) -> bool:
    """Whether the response is the stream of events that was asked for; else it is read at once."""
    return step.operation.streaming and response.is_success and is_event_stream(response)
