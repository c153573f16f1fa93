"""The only code that waits: it carries out the steps of an exchange, once blocking and once awaiting."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar, cast

import httpx

from .causes import without_variables
from .deadlines import AsyncTrace, DeadlineExceeded, Trace, bound_waits, this_thread
from .exchange import Arrived, Exchange, Failure, Send, Sleep, Step, is_event_stream
from .http import AsyncPool, AsyncWay, SyncPool, Way, build_request

__all__ = ["drive", "drive_async", "in_own_task"]

ResultT = TypeVar("ResultT")

# What a transport may fail with. What a caller's own hook raises beside these is the caller's, and passes.
_FAILURES = (httpx.RequestError, httpx.InvalidURL, httpx.StreamError, OSError, UnicodeError)


def drive(exchange: Exchange[ResultT], pool: SyncPool) -> ResultT:
    """Run an exchange to its result, blocking."""
    outcome: Any = None
    try:
        while True:
            try:
                step = exchange.send(outcome)
            except StopIteration as end:
                result: ResultT = end.value  # not cast, as a call may be interrupted
                return result
            outcome = _perform(step, pool)
    except BaseException:
        if isinstance(outcome, Arrived):
            _let_go(outcome.response)
        raise


def _perform(step: Step, pool: SyncPool) -> Arrived | Failure | None:
    if isinstance(step, Sleep):
        time.sleep(step.seconds)
        return None
    way, trace = pool.way(secure=step.settings.secure), Trace(step.operation.get_ready)
    request = build_request(way, step.operation, step.settings, trace)
    started = time.monotonic()
    outer = this_thread.deadline
    deadline = min(outer, started + step.settings.attempt_limit)
    response: httpx.Response | None = None
    try:
        try:
            this_thread.deadline = deadline
            if isinstance(way, httpx.Client):
                response = way.send(request, stream=True, follow_redirects=False)
            else:
                response = way.handle_request(request)
            if "network_stream" in response.extensions:  # of a connection that was open before
                bound_waits(response.extensions["network_stream"])
            content = None if _stays_open(step, response) else _read(way, response)
            return _arrived(response, content, way, request, started)
        finally:
            this_thread.deadline = outer  # without a call before it, in which Ctrl-C could leave it as it is
            _close_file(step)
    except _FAILURES as error:
        return _failure_of(error, way, request, trace)
    except BaseException as error:
        if response is not None:
            _let_go(response)
        if isinstance(error, KeyboardInterrupt):
            raise without_variables(error) from None
        raise


def _let_go(response: httpx.Response) -> None:
    """Close a response that was broken off, perhaps in the middle of its closing: httpx itself closes but once."""
    response.close()
    cast("httpx.SyncByteStream", response.stream).close()


def _read(way: Way, response: httpx.Response) -> bytes:
    try:
        if not _is_plain(way, response):
            return response.read()
        content = b"".join(cast("httpx.SyncByteStream", response.stream))
    except BaseException:
        response.close()
        raise
    response.close()
    return content


def _is_plain(way: Way | AsyncWay, response: httpx.Response) -> bool:
    """Whether the body is as it came, so that it can be taken without the layers that httpx has for all others.

    Its reader needs no httpx response with the body in it, as errors do, and as hooks of a caller's client may.
    """
    if isinstance(way, (httpx.Client, httpx.AsyncClient)) or not response.is_success:
        return False
    # Not by `in response.headers`, which would try first how all of them are encoded.
    return b"content-encoding" not in [name.lower() for name, _ in response.headers.raw]


def _arrived(
    response: httpx.Response, content: bytes | None, way: Way | AsyncWay, request: httpx.Request, started: float
) -> Arrived:
    if not isinstance(way, (httpx.Client, httpx.AsyncClient)):  # what they add to a response
        response.request = request
        response.elapsed = timedelta(seconds=time.monotonic() - started)
    return Arrived(response, content)


def _close_file(step: Send) -> None:
    """Close what an upload has opened; an attempt that broke off leaves it open."""
    if not isinstance(step.operation.body, bytes):
        step.operation.body.close()


def _failure_of(error: Exception, way: Way | AsyncWay, request: httpx.Request, trace: Trace) -> Failure:
    hooked = isinstance(way, (httpx.Client, httpx.AsyncClient))
    if hooked and isinstance(error, httpx.RequestError) and not _is_about(error, request):
        raise error  # a hook's, perhaps of its own call to somewhere else
    return Failure(error, request, trace)


def _is_about(error: httpx.RequestError, request: httpx.Request) -> bool:
    try:
        return error.request is request
    except RuntimeError:  # raised without one; httpx adds it to what a transport raises, but not to what a hook does
        return False


async def drive_async(exchange: Exchange[ResultT], pool: AsyncPool) -> ResultT:
    """Run an exchange to its result, awaiting."""
    outcome: Any = None
    while True:
        try:
            step = exchange.send(outcome)
        except StopIteration as end:
            return cast("ResultT", end.value)
        outcome = await _perform_async(step, pool)


async def _perform_async(step: Step, pool: AsyncPool) -> Arrived | Failure | None:
    import anyio  # the sync client does without

    if isinstance(step, Sleep):
        await anyio.sleep(step.seconds)
        return None
    way, trace = pool.way(secure=step.settings.secure), AsyncTrace(step.operation.get_ready)
    request = build_request(way, step.operation, step.settings, trace)
    opened: list[httpx.Response] = []
    attempt = partial(_attempt, way, request, step, trace, opened)
    try:
        # A file is read in a thread, for which only the cancellation of a scope waits.
        direct = withstands_cancellation(way) and isinstance(step.operation.body, bytes)
        return await (attempt() if direct else in_own_task(attempt))
    except BaseException:
        for response in opened:  # it came in the moment of the cancellation
            await in_own_task(partial(_close, response))
        raise
    finally:
        _close_file(step)


async def _close(response: httpx.Response) -> None:
    import anyio

    with anyio.CancelScope(shield=True):
        await response.aclose()


async def _attempt(
    way: AsyncWay, request: httpx.Request, step: Send, trace: Trace, opened: list[httpx.Response]
) -> Arrived | Failure:
    import anyio

    started = time.monotonic()
    limit = step.settings.attempt_limit
    with anyio.move_on_after(None if limit == math.inf else limit):
        try:
            if isinstance(way, httpx.AsyncClient):
                response = await way.send(request, stream=True, follow_redirects=False)
            else:
                response = await way.handle_async_request(request)
            opened.append(response)
            content = None if _stays_open(step, response) else await _read_async(way, request, response)
            return _arrived(response, content, way, request, started)
        except _FAILURES as error:
            return _failure_of(error, way, request, trace)
    return Failure(DeadlineExceeded(), request, trace)


async def _read_async(way: AsyncWay, request: httpx.Request, response: httpx.Response) -> bytes:
    try:
        if response.is_stream_consumed:  # by a hook
            return await response.aread()
        stream = cast("httpx.AsyncByteStream", response.stream)
        content = b"".join([part async for part in stream])
    except BaseException as error:
        await _close(response)
        if isinstance(error, httpx.RequestError):
            error.request = request  # as httpx does where it reads
        raise
    if _is_plain(way, response):
        await response.aclose()
        return content
    await stream.aclose()
    # Decoded when all is there: an async generator that a broken encoding leaves unfinished is complained of.
    response.stream = httpx.ByteStream(content)
    return response.read()


def withstands_cancellation(way: AsyncWay) -> bool:
    """Whether a bare `Task.cancel` of asyncio leaves the connections sound: the SDK's own see to it themselves."""
    return getattr(way, "withstands_cancellation", False)


async def in_own_task(work: Callable[[], Awaitable[ResultT]]) -> ResultT:
    """Await in a task of its own, so that asyncio's `Task.cancel` arrives as the cancellation of a scope.

    httpcore gives its connections back in shielded scopes, which withstand a scope's cancellation, but not a
    bare one: that would leave a connection checked out for ever.
    """
    import anyio

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
