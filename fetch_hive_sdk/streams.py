"""Streams of events: iterate them, take the text alone, or take the final result.

`Stream` and `AsyncStream` only wait. What an event is, when a stream is complete and what it adds up to is
decided by `StreamReader`, which does no I/O.
"""

from __future__ import annotations

import math
import os
import socket
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, Generic, TypeVar

import anyio
import anyio.lowlevel
import httpx
import pydantic_core
from typing_extensions import Self

from .deadlines import DeadlineExceeded, waits_end_at
from .drivers import drive, drive_async, in_own_task
from .errors import (
    MAY_HAVE_RUN_HINT,
    StreamClosedError,
    StreamError,
    StreamFailedError,
    StreamIdleTimeoutError,
    StreamInterruptedError,
    also,
    error_code_of,
)
from .events import ArtifactEvent, ErrorEvent, ResponseEvent, StreamEvent, ToolEvent, UsageEvent, read_event
from .exchange import open_stream
from .http import AsyncPool, SyncPool
from .operations import Operation
from .results import as_text
from .settings import DEFAULT_IDLE_TIMEOUT, Settings
from .sse import EventTooLargeError, SSEDecoder

__all__ = ["AsyncStream", "Stream"]

ResultT = TypeVar("ResultT")
_ReadT = TypeVar("_ReadT")

# How long a stream waits for the connection's end after the last event, so that it can be used again.
_DRAIN_SECONDS = 1.0

_FAILURES = (httpx.HTTPError, httpx.StreamError, OSError)


class StreamReader(Generic[ResultT]):
    """The state of one stream, without I/O: bytes are fed, events come out, an end is judged."""

    def __init__(self, operation: Operation[ResultT], idle_timeout: float = DEFAULT_IDLE_TIMEOUT) -> None:
        self._operation = operation
        self._idle_timeout = idle_timeout
        self._decoder = SSEDecoder()
        self._events: deque[StreamEvent | StreamError] = deque()
        self._failed_with: ErrorEvent | None = None
        self.request: httpx.Request | None = None  # what was sent, for errors
        self.complete = False  # the service said that it has sent all
        self.ended = False  # nothing more will come
        # What the events add up to, in the words of the plain answer.
        self._text: list[str] = []
        self._answer: dict[str, Any] = {}

    @property
    def request_id(self) -> str | None:
        """The run's id, as soon as an event has carried it."""
        return self._answer.get("request_id")

    @property
    def pending(self) -> bool:
        """Whether something is there to be read, or nothing more will come."""
        return bool(self._events) or self.ended

    def feed(self, chunk: bytes) -> None:
        """Take in bytes as they came."""
        if self.ended:
            return
        try:
            for data in self._decoder.feed(chunk):
                self._take(data)
                if self.ended:
                    return
        except EventTooLargeError as error:
            self._interrupt(f"{error}")

    def next(self) -> StreamEvent | None:
        """The next event that is complete, or None if bytes have to be fed first.

        Raises:
            StreamError: It is the turn of an error.
        """
        if not self._events:
            return None
        event = self._events[0]
        if isinstance(event, StreamError):
            raise event  # it stays: a broken stream never turns into a whole one
        self._events.popleft()
        return event

    def end(self, failure: Exception | None = None, *, closed: bool = False) -> None:
        """Judge the end of the bytes, or the failure that ended them: complete, cut, or closed on purpose."""
        if not self.ended and not self.complete and not closed:
            if isinstance(failure, httpx.TimeoutException):
                self._interrupt(f"no event came for {self._idle_timeout:g} s", failure, StreamIdleTimeoutError)
            else:
                self._interrupt("the connection broke" if failure else "it ended without its last event", failure)
        self.ended = not closed

    def result(self) -> ResultT:
        """What has come so far, as the plain call would return it."""
        answer = {**self._answer, "response": "".join(self._text)}
        return self._operation.read(pydantic_core.to_json(answer, inf_nan_mode="constants"))

    def _take(self, data: bytes) -> None:
        if data == b"[DONE]":
            self._finish()
            return
        if not data:
            return
        try:
            event = read_event(data)
        except ValueError:
            self._interrupt("it sent an event that is not a JSON object")
            return
        self._events.append(event)
        self._add(event)

    def _add(self, event: StreamEvent) -> None:
        if event.request_id:
            self._answer.setdefault("request_id", event.request_id)
        if isinstance(event, ResponseEvent):
            self._text.append(event.response)
            if event.model:
                self._answer["model"] = event.model
        elif isinstance(event, ToolEvent):
            self._answer.setdefault("tool_calls", []).append(_tool_call(event))
        elif isinstance(event, ArtifactEvent):
            self._answer.setdefault("artifacts", []).extend([event["artifact"]] if event.artifact else [])
        elif isinstance(event, UsageEvent):
            self._answer.update((name, value) for name, value in event.items() if name not in ("type", "request_id"))
            self.complete = True
        elif isinstance(event, ErrorEvent):
            self._failed_with = event
            self._finish()

    def _finish(self) -> None:
        self.complete = self.ended = True
        if (event := self._failed_with) is not None:
            text = event.error or event.message or "(no text)"
            self._events.append(
                StreamFailedError(
                    f"The run failed while it was streamed: {text}{'' if text.endswith('.') else '.'}",
                    hint="What had come until then is in error.partial. The run was started and may be billed.",
                    partial=self.result(),
                    request_id=self.request_id,
                    error_code=error_code_of(event.to_dict()),
                    body=event.to_dict(),
                    may_have_run=True,
                )
            )

    def _interrupt(
        self,
        problem: str,
        cause: Exception | None = None,
        kind: type[StreamInterruptedError] = StreamInterruptedError,
    ) -> None:
        error = (also(kind, type(cause)) if cause is not None else kind)(
            f"The stream of {self._operation.name} was interrupted: {problem}.",
            hint=f"What had come until then is in error.partial. {MAY_HAVE_RUN_HINT}",
            partial=self.result(),
            request_id=self.request_id,
            may_have_run=True,
            request=self.request,
        )
        error.__cause__ = cause
        self._events.append(error)
        self.ended = True


def _tool_call(event: ToolEvent) -> dict[str, Any]:
    """A tool event as the plain answer lists it, where the input is JSON text."""
    return {"tool_name": event.tool, "tool_input": as_text(event.tool_input), "observation": event.observation}


class _StreamState(Generic[ResultT]):
    """What both streams hold."""

    def __init__(self, operation: Operation[ResultT], settings: Settings) -> None:
        self._operation = operation
        self._settings = settings
        self._reader = StreamReader(operation, settings.idle_timeout)
        self._response: httpx.Response | None = None
        self._opened = False  # the call has been made, whatever came of it
        self._refusal: Exception | None = None  # why it could not be opened
        self._left_early = False
        self._busy = False  # somebody reads
        self._lock = threading.Lock()

    @property
    def request_id(self) -> str | None:
        """The run's id, `req_…`, as soon as an event has carried it."""
        return self._reader.request_id

    @property
    def http_response(self) -> httpx.Response | None:
        """The httpx response once the stream is open: its status and headers."""
        return self._response

    def _check_readable(self) -> None:
        if self._refusal is not None:
            raise self._refusal
        if self._left_early:
            raise StreamClosedError(
                "The stream was left before its end, by break or close(), and its connection is given back.",
                hint="Read it in one loop, or keep what you need while you read.",
                partial=self._reader.result(),
                request_id=self.request_id,
                may_have_run=self._opened,
            )

    def _begin(self) -> None:
        """Enter a read. Two at once would send the call twice, or tear the events apart."""
        with self._lock:
            self._check_readable()
            if self._busy:
                raise StreamError(
                    "The stream is being read by another thread or task.",
                    hint="Let one read, and hand the events on, by a queue for instance.",
                    request_id=self.request_id,
                    may_have_run=True,
                )
            self._busy = True

    def _note_refusal(self, refusal: BaseException) -> None:
        if isinstance(refusal, Exception):
            self._refusal = refusal
        else:  # cancelled or interrupted: whether the run has started cannot be known, so it is not tried again
            self._left_early = True

    def _note_close(self) -> None:
        self._left_early = self._left_early or not self._reader.ended

    def _patience(self) -> float:
        """Seconds to wait for the next event; once the answer is complete, only its end is missing."""
        return _DRAIN_SECONDS if self._reader.complete else self._settings.idle_timeout


class Stream(_StreamState[ResultT]):
    """A streamed answer of the sync client.

    It opens when it is entered or first read, so that these all work:

        for event in client.invoke_prompt_stream(deployment="greeter", variant="default"):
            print(event)

        with client.invoke_prompt_stream(deployment="greeter", variant="default") as stream:
            for text in stream.text:
                print(text, end="", flush=True)
            result = stream.final()

    Leaving the block or the loop early frees the connection; the run itself goes on and is billed. To read a
    single event and go on later, use `next(stream)`.

    Raises:
        StreamFailedError: At the step after an `error` event: the run failed.
        StreamInterruptedError: The stream broke off; `error.partial` has what came.
        StreamIdleTimeoutError: No event came for `idle_timeout` seconds.
        APIStatusError: The service refused the call.
        APIConnectionError: The service could not be reached.
    """

    def __init__(self, operation: Operation[ResultT], settings: Settings, pool: SyncPool) -> None:
        super().__init__(operation, settings)
        self._pool = pool
        self._chunks: Iterator[bytes]
        self._process = 0

    def __enter__(self) -> Self:
        self._begin()
        self._reading(self._open)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Generator[StreamEvent, None, None]:
        # A generator, so that the end of a loop, by break too, closes the stream at once.
        while (event := self._next()) is not None:
            try:
                yield event
            except BaseException:
                self.close()
                raise

    def __next__(self) -> StreamEvent:
        if (event := self._next()) is None:
            raise StopIteration
        return event

    @property
    def text(self) -> Iterator[str]:
        """The pieces of the answer's text, as they come."""
        return (event.response for event in self if isinstance(event, ResponseEvent))

    def final(self) -> ResultT:
        """Read the rest and return the whole answer, as the call without streaming would."""
        for _ in self:
            pass
        return self._reader.result()

    def close(self) -> None:
        """Give the connection back. Reading on is an error unless the stream had ended.

        Another thread that is reading at the moment gets `StreamClosedError`.
        """
        with self._lock:
            self._note_close()
            if self._busy:
                self._wake_reader()
                return
        self._shut()

    def _shut(self) -> None:
        if self._response is not None:
            self._response.close()

    def _wake_reader(self) -> None:
        # Closing a socket does not wake who waits on it; shutting it down does. Not so a connection that is
        # given back already, or serves other calls or the parent of a fork.
        response = self._response
        if response is None or response.is_closed or response.http_version == "HTTP/2" or self._process != os.getpid():
            return
        network = response.extensions.get("network_stream")
        connection = network and network.get_extra_info("socket")
        if connection is not None:
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def _next(self) -> StreamEvent | None:
        self._begin()
        return self._reading(self._next_event)

    def _reading(self, read: Callable[[], _ReadT]) -> _ReadT:
        try:
            result = read()
            self._check_readable()
        except BaseException:
            self._shut()
            raise
        finally:
            self._busy = False
        return result

    def _open(self) -> None:
        if self._opened:
            return
        self._opened, self._process = True, os.getpid()
        try:
            response = drive(open_stream(self._operation, self._settings), self._pool)
        except StopIteration as error:
            self._refusal = RuntimeError("The transport or a hook raised StopIteration.")
            raise self._refusal from error
        except BaseException as refusal:
            self._note_refusal(refusal)
            raise
        self._response, self._reader.request = response, response.request
        self._chunks = response.iter_bytes()

    def _next_event(self) -> StreamEvent | None:
        self._open()
        while (event := self._reader.next()) is None:
            self._check_readable()
            if self._reader.ended:
                self._drain()
                return None
            self._read_until_event()
        return event

    def _read_until_event(self) -> None:
        try:
            with waits_end_at(time.monotonic() + self._patience()):
                # Comments keep the connection alive, but they are no events: they do not end the wait.
                while not self._reader.pending:
                    self._reader.feed(next(self._chunks))
        except StopIteration:
            self._reader.end(closed=self._left_early)
        except _FAILURES as failure:
            self._reader.end(failure, closed=self._left_early)

    def _drain(self) -> None:
        """Read to the end of the body, so that its connection can be used again."""
        until = time.monotonic() + _DRAIN_SECONDS
        with suppress(*_FAILURES), waits_end_at(until):
            for _ in self._chunks:
                pass
        self._shut()


class AsyncStream(_StreamState[ResultT]):
    """A streamed answer of the async client; as `Stream`, with `async for` and `async with`.

    Use `async with` where you may leave the loop early, and always so on trio: it gives the connection back at
    once. `async for` alone gives it back at the end, and after `break` when the stream object is collected.

    Raises:
        StreamFailedError: At the step after an `error` event: the run failed.
        StreamInterruptedError: The stream broke off; `error.partial` has what came.
        StreamIdleTimeoutError: No event came for `idle_timeout` seconds.
        APIStatusError: The service refused the call.
        APIConnectionError: The service could not be reached.
    """

    def __init__(self, operation: Operation[ResultT], settings: Settings, pool: AsyncPool) -> None:
        super().__init__(operation, settings)
        self._pool = pool
        self._chunks: AsyncIterator[bytes]
        self._waiting: anyio.CancelScope | None = None
        self._closing = False

    async def __aenter__(self) -> Self:
        self._begin()
        await self._reading(self._open)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StreamEvent:
        if (event := await self._next()) is None:
            raise StopAsyncIteration
        return event

    @property
    def text(self) -> AsyncIterator[str]:
        """The pieces of the answer's text, as they come."""
        return _AsyncText(self)

    async def final(self) -> ResultT:
        """Read the rest and return the whole answer, as the call without streaming would."""
        async for _ in self:
            pass
        return self._reader.result()

    async def aclose(self) -> None:
        """Give the connection back. Reading on is an error unless the stream had ended.

        Another task that is reading at the moment gets `StreamClosedError`.
        """
        self._note_close()
        if self._busy:
            assert self._waiting is not None
            self._waiting.cancel()
        else:
            await self._shut()

    async def _shut(self) -> None:
        if self._response is not None and not self._response.is_closed and not self._closing:
            self._closing = True
            await in_own_task(self._close_response)

    async def _close_response(self) -> None:
        assert self._response is not None
        with anyio.CancelScope(shield=True):
            try:
                # Reading on inside a cancelled scope unwinds every generator between here and the socket, in
                # order; closing the response alone would leave them to the garbage collector.
                with anyio.CancelScope() as scope:
                    scope.cancel()
                    await self._read_on()
            finally:
                await self._response.aclose()

    async def _next(self) -> StreamEvent | None:
        self._begin()
        return await self._reading(self._next_event)

    async def _reading(self, read: Callable[[], Awaitable[_ReadT]]) -> _ReadT:
        try:
            result = await read()
            self._check_readable()
        except BaseException:
            await self._shut()
            raise
        finally:
            self._busy = False
        return result

    async def _open(self) -> None:
        if self._opened:
            return
        self._opened = True
        try:
            with anyio.CancelScope() as self._waiting:
                response = await drive_async(open_stream(self._operation, self._settings), self._pool)
                self._response, self._reader.request = response, response.request
                self._chunks = response.aiter_bytes()
        except StopAsyncIteration as error:
            self._refusal = RuntimeError("The transport or a hook raised StopAsyncIteration.")
            raise self._refusal from error
        except BaseException as refusal:
            self._note_refusal(refusal)
            raise

    async def _next_event(self) -> StreamEvent | None:
        await self._open()
        while (event := self._reader.next()) is None:
            self._check_readable()
            if self._reader.ended:
                await self._drain()
                return None
            await self._read_until_event()
        return event

    async def _read_until_event(self) -> None:
        patience = self._patience()
        try:
            with anyio.move_on_after(None if patience == math.inf else patience) as self._waiting:
                # Comments keep the connection alive, but they are no events: they do not end the wait.
                while not self._reader.pending:
                    self._reader.feed(await self._chunks.__anext__())
            if self._waiting.cancelled_caught:
                raise DeadlineExceeded
        except StopAsyncIteration:
            self._reader.end(closed=self._left_early)
        except _FAILURES as failure:
            self._reader.end(failure, closed=self._left_early)

    async def _drain(self) -> None:
        """Read to the end of the body, so that its connection can be used again."""
        with anyio.move_on_after(_DRAIN_SECONDS) as self._waiting:
            await in_own_task(self._read_on)
        await self._shut()

    async def _read_on(self) -> None:
        extensions = self._response.extensions if self._response is not None else {}
        with suppress(StopAsyncIteration, *_FAILURES):
            while True:
                await self._chunks.__anext__()
                if "network_stream" not in extensions:  # a mock that never waits would not notice a cancellation
                    await anyio.lowlevel.checkpoint()


class _AsyncText(AsyncIterator[str]):
    """The text of an async stream. No generator: one that is left early would be left to the collector."""

    def __init__(self, stream: AsyncStream[Any]) -> None:
        self._stream = stream

    async def __anext__(self) -> str:
        async for event in self._stream:
            if isinstance(event, ResponseEvent):
                return event.response
        raise StopAsyncIteration
