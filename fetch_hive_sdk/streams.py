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
from typing import Any, Generic, TypeVar, cast

import anyio
import anyio.lowlevel
import httpx
import pydantic_core
from typing_extensions import Self

from .answers import as_text
from .causes import shown
from .deadlines import DeadlineExceeded, this_thread
from .drivers import drive, drive_async, in_own_task, withstands_cancellation
from .errors import (
    MAY_HAVE_RUN_HINT,
    StreamClosedError,
    StreamError,
    StreamFailedError,
    StreamIdleTimeoutError,
    StreamInterruptedError,
    also,
    error_code_of,
    without_secrets,
)
from .events import (
    ArtifactEvent,
    ErrorEvent,
    ReasoningEvent,
    ResponseEvent,
    StreamEvent,
    ToolEvent,
    UsageEvent,
    read_event,
)
from .exchange import open_stream
from .http import AsyncPool, SyncPool
from .operations import Operation
from .pieces import pieces_at_hand
from .settings import DEFAULT_IDLE_TIMEOUT, DEFAULT_MAX_EVENT_SIZE, Settings
from .sse import EventTooLargeError, SSEDecoder

__all__ = ["AsyncStream", "Stream"]

ResultT = TypeVar("ResultT")
_StepT = TypeVar("_StepT")

# How long a stream waits for the connection's end after the last event, so that it can be used again.
_DRAIN_SECONDS = 1.0

_FAILURES = (httpx.HTTPError, httpx.StreamError, OSError)


class StreamReader(Generic[ResultT]):
    """The state of one stream, without I/O: bytes are fed, events come out, an end is judged.

    Attributes:
        events: The events that are complete and that nobody has taken yet.
        request_id: The run's id, as soon as an event has carried it.
        request: What was sent, for errors.
        complete: Whether the service has said that it has sent all.
        ended: Whether nothing more will come.
    """

    def __init__(
        self,
        operation: Operation[ResultT],
        idle_timeout: float = DEFAULT_IDLE_TIMEOUT,
        max_event_size: int = DEFAULT_MAX_EVENT_SIZE,
    ) -> None:
        self._operation = operation
        self._idle_timeout = idle_timeout
        self._max_event_size = max_event_size
        self._decoder = SSEDecoder(max_event_size)
        self._error: StreamError | None = None  # what comes after the events
        self.events: deque[StreamEvent] = deque()
        self.request_id: str | None = None
        self.request: httpx.Request | None = None
        self.complete = False
        self.ended = False
        # What the events add up to, in the words of the plain answer.
        self._text: list[str] = []
        self._model: str | None = None
        self._answer: dict[str, Any] = {}

    def feed(self, chunk: bytes) -> None:
        """Take in bytes as they came."""
        if self.ended:
            return
        try:
            for data in self._decoder.feed(chunk):
                if data == b"[DONE]":
                    self._finish()
                elif data:
                    event = read_event(data)
                    self.events.append(event)
                    if self.request_id is None:
                        self.request_id = event.request_id or None
                    # Of these a stream has thousands; `isinstance` costs pydantic's classes ten times this comparison.
                    if type(event) is ResponseEvent:
                        self._text.append(event.response)
                        self._model = event.model or self._model
                    elif type(event) is not ReasoningEvent:
                        self._add(event)
                if self.ended:
                    return
        except EventTooLargeError:
            self._interrupt(f"it sent an event larger than max_event_size={self._max_event_size} bytes")
        except ValueError:
            self._interrupt("it sent an event that is not a JSON object")

    def next(self) -> StreamEvent | None:
        """The next event that is complete, or None if bytes have to be fed first.

        Raises:
            StreamError: It is the turn of an error.
        """
        if self.events:
            return self.events.popleft()
        self.raise_error()
        return None

    def raise_error(self) -> None:
        """Raise the error that comes after the last event, if there is one: again and again, as nothing mends it."""
        if self._error is not None:
            raise self._error

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
        told = {"model": self._model, "request_id": self.request_id}
        answer = {name: value for name, value in told.items() if value is not None}
        answer |= {**self._answer, "response": "".join(self._text)}
        return self._operation.read(pydantic_core.to_json(answer, inf_nan_mode="constants"))

    def _add(self, event: StreamEvent) -> None:
        if isinstance(event, ToolEvent):
            self._list("tool_calls").append(_tool_call(event))
        elif isinstance(event, ArtifactEvent):
            self._list("artifacts").extend([event["artifact"]] if event.artifact else [])
        elif isinstance(event, UsageEvent):
            self._answer.update((name, value) for name, value in event.items() if name not in ("type", "request_id"))
            self.complete = True
        elif isinstance(event, ErrorEvent):
            self._fail(event)

    def _list(self, name: str) -> list[Any]:
        # What the usage event has under this name is that event's own, and may be anything.
        mine: list[Any] = list(self._answer[name]) if isinstance(self._answer.get(name), list) else []
        self._answer[name] = mine
        return mine

    def _fail(self, event: ErrorEvent) -> None:
        if self.request is not None:  # the service may repeat what it was asked with
            came = pydantic_core.to_json(event.to_dict(), inf_nan_mode="constants")
            if (safe := without_secrets(came, self.request)) != came:
                event = self.events[-1] = cast("ErrorEvent", read_event(safe))
        text = event.error or event.message or "(no text)"
        self._error = StreamFailedError(
            f"The run failed while it was streamed: {text}{'' if text.endswith('.') else '.'}",
            hint="What had come until then is in error.partial. The run was started and may be billed.",
            partial=self.result(),
            request_id=self.request_id,
            error_code=error_code_of(event.to_dict()),
            body=event.to_dict(),
            may_have_run=True,
        )
        self._finish()

    def _finish(self) -> None:
        self.complete = self.ended = True

    def _interrupt(
        self,
        problem: str,
        cause: Exception | None = None,
        kind: type[StreamInterruptedError] = StreamInterruptedError,
    ) -> None:
        self._error = (also(kind, type(cause)) if cause is not None else kind)(
            f"The stream of {self._operation.name} was interrupted: {problem}.",
            hint=f"What had come until then is in error.partial. {MAY_HAVE_RUN_HINT}",
            partial=self.result(),
            request_id=self.request_id,
            may_have_run=True,
            request=self.request,
        )
        self._error.__cause__ = cause if cause is None or self.request is None else shown(cause, self.request)
        self.ended = True


def _tool_call(event: ToolEvent) -> dict[str, Any]:
    """A tool event as the plain answer lists it, where the input is JSON text."""
    return {"tool_name": event.tool, "tool_input": as_text(event.tool_input), "observation": event.observation}


def _is_plain(response: httpx.Response) -> bool:
    """Whether the body is as it came, and can be taken without the layers that httpx has for those that are not."""
    # One that a hook has read is in the response, and its connection may be another call's.
    return "Content-Encoding" not in response.headers and not response.is_stream_consumed


def _decoded(response: httpx.Response, raw: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    # In place of httpx's generator, which a broken encoding would leave to the collector; and on a response of its
    # own, because the other leads to `raw`, and a circle would keep a stream that is left from being collected.
    decoding = httpx.Response(
        response.status_code, headers=response.headers, stream=response.stream, request=response.request
    )
    decoding.aiter_raw = lambda chunk_size=None: raw  # type: ignore[method-assign]
    return decoding.aiter_bytes()


class _StreamState(Generic[ResultT]):
    """What both streams hold."""

    def __init__(self, operation: Operation[ResultT], settings: Settings) -> None:
        self._operation = operation
        self._settings = settings
        self._reader = StreamReader(operation, settings.idle_timeout, settings.max_event_size)
        self._response: httpx.Response | None = None
        self._connection: Any = None  # one that serves nothing else meanwhile, and tells what it read last
        self._opened = False  # the call has been made, whatever came of it
        self._refusal: Exception | None = None  # why it could not be opened
        self._left_early = False
        self._busy: object = False  # somebody reads
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
        if not self._left_early:
            return
        raise StreamClosedError(
            "The stream was left before its end, by break or close(), and its connection is given back.",
            hint="Read it in one loop, or keep what you need while you read.",
            partial=self._reader.result(),
            request_id=self.request_id,
            may_have_run=self._opened,
        )

    def _begin(self, read: object = True) -> None:
        """Enter a read. Two at once would send the call twice, or tear the events apart."""
        with self._lock:
            if self._left_early or self._refusal is not None:
                self._check_readable()
            if self._busy:
                raise StreamError(
                    "The stream is being read by another thread or task.",
                    hint="Let one read, and hand the events on, by a queue for instance.",
                    request_id=self.request_id,
                    may_have_run=True,
                )
            self._busy = read

    def _at_hand(self) -> StreamEvent | None:
        """The next event, if it has come together with one that was read, and nobody closed the stream since."""
        events = self._reader.events
        if not events or self._busy or self._left_early:
            return None
        try:
            return events.popleft()
        except IndexError:  # another thread was quicker
            return None

    def _note_refusal(self, refusal: BaseException) -> None:
        if isinstance(refusal, Exception):
            self._refusal = refusal
        else:  # cancelled or interrupted: whether the run has started cannot be known, so it is not tried again
            self._left_early = True

    def _note_close(self) -> None:
        self._left_early = self._left_early or not self._reader.ended

    def _note_open(self, response: httpx.Response) -> None:
        self._reader.request = response.request
        connection: Any = response.extensions.get("network_stream")
        mine = response.http_version == "HTTP/1.1" and not response.is_stream_consumed
        if mine and hasattr(connection, "last_read"):
            self._connection = connection
            if _is_plain(response):
                connection.last_read = b""

    def _note_shut(self) -> None:
        if self._connection is not None:
            self._connection.last_read = None

    def _more_behind(self, piece: bytes) -> int:
        """How many pieces have come together with this one, if it is the first of what was read."""
        connection = self._connection
        if connection is None or not connection.last_read:
            return 0
        read, connection.last_read = connection.last_read, b""
        return pieces_at_hand(read, piece)

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
        self._given_back = False

    def __enter__(self) -> Self:
        self._alone(self._open)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Generator[StreamEvent, None, None]:
        # A generator, so that the end of a loop, by break too, closes the stream at once.
        events = self._reader.events
        while self._alone(self._read):
            try:
                while events and not self._left_early and not self._busy:
                    yield events.popleft()
            except IndexError:  # another thread was quicker
                continue
            except BaseException:
                self.close()
                raise

    def __next__(self) -> StreamEvent:
        while (event := self._at_hand()) is None:
            if not self._alone(self._read):
                raise StopIteration
        return event

    @property
    def text(self) -> Iterator[str]:
        """The pieces of the answer's text, as they come."""
        return (event.response for event in self if type(event) is ResponseEvent)

    def final(self) -> ResultT:
        """Read the rest and return the whole answer, as the call without streaming would."""
        for _ in self:
            pass
        return self._reader.result()

    def close(self) -> None:
        """Give the connection back. Reading on is an error unless the stream had ended.

        Another thread that is reading at the moment gets `StreamClosedError`.
        """
        being_read = False
        try:
            with self._lock:
                self._note_close()
                being_read = bool(self._busy)
                if being_read:
                    self._wake_reader()
        finally:  # also where Ctrl-C has come in between
            if not being_read:
                self._shut()

    def _shut(self) -> None:
        try:
            self._note_shut()
            with self._lock:  # from here on the connection may be another call's
                self._given_back = True
            if self._response is not None:
                self._response.close()
        finally:
            if self._response is not None:  # httpx closes but once, even if it was interrupted
                cast("httpx.SyncByteStream", self._response.stream).close()

    def _wake_reader(self) -> None:
        # Closing a socket does not wake who waits on it; shutting it down does. Not so a connection that may be
        # another call's by now, or serves other calls or the parent of a fork.
        response = self._response
        if response is None or self._given_back or response.is_closed:
            return
        if response.http_version == "HTTP/2" or self._process != os.getpid():
            return
        network = response.extensions.get("network_stream")
        connection = network and network.get_extra_info("socket")
        if connection is not None:
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def _alone(self, step: Callable[[], _StepT]) -> _StepT:
        """Take a step while nobody else does."""
        read = object()
        try:
            self._begin(read)  # where Ctrl-C may come at its very end
            result = step()
        except BaseException:
            if self._busy is read:
                try:
                    self._shut()
                finally:
                    self._busy = False
            raise
        self._busy = False
        if self._left_early:  # by another thread, which may have seen this one still busy
            self._shut()
            self._check_readable()
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
        self._response = response
        self._note_open(response)
        self._chunks = (
            iter(cast("httpx.SyncByteStream", response.stream)) if _is_plain(response) else response.iter_bytes()
        )

    def _read(self) -> bool:
        """Wait for events, unless there are some already. False at the stream's end."""
        if not self._opened:
            self._open()
        elif self._process != os.getpid():  # two that read from one socket would tear the events apart
            raise StreamError(
                "The stream was opened by the process that this one was forked from, and belongs to that.",
                hint="Open a stream in the process that reads it.",
                request_id=self.request_id,
                may_have_run=True,
            )
        reader, outer = self._reader, this_thread.deadline
        if not (reader.events or reader.ended):
            until = min(outer, time.monotonic() + self._patience())
            try:
                this_thread.deadline = until
                # Comments keep the connection alive, but they are no events: they do not end the wait.
                while not (reader.events or reader.ended):
                    self._take_piece()
            except StopIteration:
                reader.end(closed=self._left_early)
            except _FAILURES as failure:
                reader.end(failure, closed=self._left_early)
            finally:
                this_thread.deadline = outer
        if reader.events:
            return True
        self._check_readable()
        reader.raise_error()
        self._drain()
        return False

    def _take_piece(self) -> None:
        pieces = [next(self._chunks)]
        try:
            for _ in range(self._more_behind(pieces[0])):
                pieces.append(next(self._chunks))  # noqa: PERF401 - those before an error are kept
        finally:
            self._reader.feed(b"".join(pieces))

    def _drain(self) -> None:
        """Read to the end of the body, so that its connection can be used again."""
        outer = this_thread.deadline
        until = min(outer, time.monotonic() + _DRAIN_SECONDS)
        with suppress(*_FAILURES):
            try:
                this_thread.deadline = until
                for _ in self._chunks:
                    pass
            finally:
                this_thread.deadline = outer
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
        self._raw: AsyncIterator[bytes]  # as they came
        self._chunks: AsyncIterator[bytes]
        self._waiting: anyio.CancelScope | None = None
        self._direct = True  # no bare cancellation harms the connections
        self._closing = False

    async def __aenter__(self) -> Self:
        await self._alone(self._open)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StreamEvent:
        while (event := self._at_hand()) is None:
            if not await self._alone(self._read):
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
        if not self._busy:
            await self._shut()
        elif self._closing:  # by who reads: the connection may be another call's by now
            pass
        elif self._connection is not None:
            await self._connection.aclose()  # which wakes who reads from it
        else:
            assert self._waiting is not None
            self._waiting.cancel()

    async def _shut(self) -> None:
        if self._response is not None and not self._response.is_closed and not self._closing:
            self._closing = True
            self._note_shut()
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

    async def _alone(self, step: Callable[[], Awaitable[_StepT]]) -> _StepT:
        """Take a step while nobody else does."""
        self._begin()
        try:
            result = await step()
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
            self._direct = withstands_cancellation(self._pool.way(secure=self._settings.secure))
            with anyio.CancelScope() as self._waiting:
                response = await drive_async(open_stream(self._operation, self._settings), self._pool)
                self._response = response
                self._note_open(response)
                if response.is_stream_consumed:  # by a hook: the connection may be another call's
                    self._raw = self._chunks = response.aiter_bytes()
                else:
                    self._raw = self._chunks = aiter(cast("httpx.AsyncByteStream", response.stream))
                    if not _is_plain(response):
                        self._chunks = _decoded(response, self._raw)
        except StopAsyncIteration as error:
            self._refusal = RuntimeError("The transport or a hook raised StopAsyncIteration.")
            raise self._refusal from error
        except BaseException as refusal:
            self._note_refusal(refusal)
            raise

    async def _read(self) -> bool:
        """Wait for events, unless there are some already. False at the stream's end."""
        if not self._opened:
            await self._open()
            self._check_readable()  # closing ends the opening, too
        reader = self._reader
        if not (reader.events or reader.ended):
            try:
                await (self._read_on_time() if self._direct else in_own_task(self._read_on_time))
            except StopAsyncIteration:
                reader.end(closed=self._left_early)
            except _FAILURES as failure:
                reader.end(failure, closed=self._left_early)
        if reader.events:
            return True
        self._check_readable()
        reader.raise_error()
        await self._drain()
        return False

    async def _read_on_time(self) -> None:
        if self._connection is not None:
            await self._read_until_deadline(self._connection)
        else:
            await self._read_in_scope()

    async def _read_until_deadline(self, connection: Any) -> None:
        reader = self._reader
        connection.deadline = time.monotonic() + self._patience()
        try:
            # Comments keep the connection alive, but they are no events: they do not end the wait.
            while not (reader.events or reader.ended):
                await self._take_piece()
        finally:
            connection.deadline = math.inf

    async def _read_in_scope(self) -> None:
        patience = self._patience()
        with anyio.move_on_after(None if patience == math.inf else patience) as self._waiting:
            if self._left_early:  # since the read began
                self._waiting.cancel()
            while not (self._reader.events or self._reader.ended):
                await self._take_piece()
        if self._waiting.cancelled_caught:
            raise DeadlineExceeded

    async def _take_piece(self) -> None:
        pieces = [await self._chunks.__anext__()]
        try:
            for _ in range(self._more_behind(pieces[0])):
                pieces.append(await self._chunks.__anext__())  # noqa: PERF401 - as in `Stream`
        finally:
            self._reader.feed(b"".join(pieces))

    async def _drain(self) -> None:
        """Read to the end of the body, so that its connection can be used again."""
        if self._closing:  # by another task, which reads on itself
            return
        with anyio.move_on_after(_DRAIN_SECONDS) as self._waiting:
            await in_own_task(self._read_on)
        await self._shut()

    async def _read_on(self) -> None:
        extensions = self._response.extensions if self._response is not None else {}
        for chunks in (self._chunks, self._raw):  # a broken encoding ends the first alone
            with suppress(StopAsyncIteration, *_FAILURES):
                while True:
                    await chunks.__anext__()
                    if "network_stream" not in extensions:  # a mock that never waits would not notice a cancellation
                        await anyio.lowlevel.checkpoint()


class _AsyncText(AsyncIterator[str]):
    """The text of an async stream. No generator: one that is left early would be left to the collector."""

    def __init__(self, stream: AsyncStream[Any]) -> None:
        self._stream = stream

    async def __anext__(self) -> str:
        async for event in self._stream:
            if type(event) is ResponseEvent:
                return event.response
        raise StopAsyncIteration
