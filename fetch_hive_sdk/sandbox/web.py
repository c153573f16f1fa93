"""The sandbox as a web app (Starlette), and the server that runs it in a thread (uvicorn)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sqlite3
import threading
from collections.abc import Callable, Coroutine, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send

from . import dashboard
from .changes import Change
from .chunks import Cut
from .delivery import Delivery
from .engine import Engine
from .lifecycle import Job
from .respond import Connection, respond
from .runs import Reply

__all__ = ["WebServer"]

# So many runs may take their time at once, each in a thread, as a reply that is a function may block. Look-ups and the
# like have threads of their own, so that they are answered however many runs there are.
MOST_RUNS = 1024
OTHER_THREADS = 32
SECONDS_UNTIL_TRIED_AGAIN = 1.0
POLL_SECONDS = 0.005
SECONDS_TO_STOP = 3
TURNS_TO_CLOSE = 3  # of the event loop, until idle connections are closed
# Longer than clients keep an idle connection (httpx: 5 s), or one is closed just when they use it again.
SECONDS_TO_KEEP_ALIVE = 75

# What a caller sees whose run the server did not wait for.
HUNG_UP = Reply(status=503, headers={}, body=(Cut("close"),))


class WebServer:
    """Serves an engine on a socket, in a thread of its own.

    Args:
        engine: What answers.
        listener: A bound socket. It is closed by `stop`.
        host: What the socket is bound to.
        base_url: Where it is reached, ending in `/v1`.
        deliver_to: Hosts, beside loopback, that callbacks may be delivered to.
    """

    def __init__(
        self, engine: Engine, listener: socket.socket, *, host: str, base_url: str, deliver_to: Iterable[str]
    ) -> None:
        self._engine = engine
        self._listener = listener
        self._deliver_to = tuple(deliver_to)
        self._run_threads = ThreadPoolExecutor(MOST_RUNS, "fetch-hive-sandbox-run")
        self._ready = threading.Event()
        self._stopping = threading.Event()
        self._ended: Future[None] = Future()
        self._tasks: set[asyncio.Task[None]] = set()
        self._calls = 0  # whose run has not ended, or is not released yet
        self._timer: asyncio.TimerHandle | None = None
        self._pages = Starlette(routes=[*dashboard.routes(engine, base_url=base_url), Mount("", app=self._answer)])
        config = uvicorn.Config(
            dashboard.HostCheck(self._app, host=host),
            http=Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=SECONDS_TO_STOP,
            timeout_keep_alive=SECONDS_TO_KEEP_ALIVE,
        )
        self._uvicorn = _Uvicorn(config, ready=self._ready.set, stopping=self._end_pages)
        self._thread = threading.Thread(target=self._run, name="fetch-hive-sandbox", daemon=True)

    def start(self) -> None:
        """Start serving. Returns when requests are answered.

        Raises:
            Exception: Whatever keeps it from serving.
        """
        self._thread.start()
        self._ready.wait()
        if self._ended.done():
            self._ended.result()

    def stop(self) -> None:
        """Stop serving. What is not done by now waits in the store. Waits for replies that functions make."""
        self._stopping.set()
        with contextlib.suppress(RuntimeError):  # it has ended by itself
            self._loop.call_soon_threadsafe(self._uvicorn.leave)
        self._thread.join()
        self._ended.result()

    def wait_for_jobs(self, timeout: float) -> None:
        """Wait until all accepted runs have ended or wait for somebody, and their callbacks are dealt with.

        Args:
            timeout: Seconds to wait.

        Raises:
            TimeoutError: They are not, by then.
        """
        if not self._thread.is_alive():
            return
        try:
            asyncio.run_coroutine_threadsafe(self._no_jobs(timeout), self._loop).result()
        except TimeoutError:
            raise TimeoutError(f"Runs or callbacks are still under way after {timeout} s") from None

    def _run(self) -> None:
        try:
            with self._run_threads:
                asyncio.run(self._serve())
        except BaseException as error:
            self._ended.set_exception(error)
        else:
            self._ended.set_result(None)
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_default_executor(ThreadPoolExecutor(OTHER_THREADS, "fetch-hive-sandbox"))
        async with Delivery(self._engine, self._deliver_to) as self._delivery:
            self._engine.lifecycle.attach(self._notice)
            try:
                await self._uvicorn.serve(sockets=[self._listener])
            finally:
                self._engine.lifecycle.detach()
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)

    def _end_pages(self) -> None:
        """Let the events end that pages of the dashboard read, which else go on for ever."""
        self._engine.tell(Change("stop"))

    # --- replies ----------------------------------------------------------------------------------

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Nothing under /v1/ is a page, and whoever calls the API is not to wait while all pages are gone through.
        answer = self._answer if scope["path"].startswith("/v1/") else self._pages
        await answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        with contextlib.suppress(ClientDisconnect):
            path = b"?".join(filter(None, (scope["raw_path"], scope["query_string"]))).decode("latin-1")
            body = await _body(request, self._engine.choices.max_body)
            handle = partial(self._engine.handle, request.method, path, request.headers, body, wait=self._wait)
            with self._call():
                threads = self._run_threads if request.method == "POST" else None
                try:
                    reply = await self._loop.run_in_executor(threads, handle)
                except _StoppingError:
                    reply = HUNG_UP
                if reply.unfinished is not None:
                    await self._send_and_release(reply, reply.unfinished, scope, receive, send)
                    return
            await respond(reply, scope, receive, send)

    async def _send_and_release(
        self, reply: Reply, request_id: str, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Send the reply of a run that goes on, and let it go on: before that, if it is chosen so."""
        release = partial(self._engine.release, request_id)
        choices = self._engine.choices
        # A stream is a part of its run, and a callback that is delivered by hand may be so at any time.
        if choices.callbacks_first and choices.callback_delivery == "auto" and isinstance(reply.body, bytes):
            await asyncio.to_thread(release)
            await self._told(request_id)
            await respond(reply, scope, receive, send)
            return
        try:
            await respond(reply, scope, receive, send)
        finally:
            await asyncio.to_thread(release)

    async def _told(self, request_id: str) -> None:
        """Wait until a run's callback has been tried, or none is to be expected soon."""
        # Looked at again and again, because runs change in whichever thread; few servers are to do this at all.
        while not self._stopping.is_set() and await asyncio.to_thread(self._is_to_tell, request_id):  # noqa: ASYNC110
            await asyncio.sleep(POLL_SECONDS)

    def _is_to_tell(self, request_id: str) -> bool:
        with self._engine.store.transaction():
            run = self._engine.run(request_id)
            if run is None or run.status in ("paused", "awaiting_approval"):
                return False
            if run.callbacks:
                return not any(callback.attempts for callback in run.callbacks)
            return not run.ended or any(self._is_to_tell(delegation.request_id) for delegation in run.delegations)

    @contextlib.contextmanager
    def _call(self) -> Generator[None, None, None]:
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1

    def _wait(self, seconds: float) -> None:
        if seconds and self._stopping.wait(seconds):
            raise _StoppingError

    # --- jobs -------------------------------------------------------------------------------------

    def _notice(self) -> None:
        """Called in any thread when there are jobs."""
        with contextlib.suppress(RuntimeError):  # the loop is closed already
            self._loop.call_soon_threadsafe(self._take_jobs)

    def _take_jobs(self) -> None:
        lifecycle = self._engine.lifecycle
        while (job := lifecycle.next_job()) is not None:
            self._begin(self._do(job))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = lifecycle.next_deadline()
        if deadline is not None:
            seconds = (deadline - self._engine.clock()).total_seconds()
            self._timer = self._loop.call_later(max(0.0, seconds), lambda: self._begin(self._expire()))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _do(self, job: Job) -> None:
        if job.kind == "run":
            finish = partial(self._engine.lifecycle.finish, job.id, wait=self._wait)
            try:
                await self._loop.run_in_executor(self._run_threads, finish)
            except _StoppingError:
                return
            except sqlite3.OperationalError:  # another program holds the file; the job is still there
                self._loop.call_later(SECONDS_UNTIL_TRIED_AGAIN, self._take_jobs)
        elif job.kind == "callback":
            await self._delivery.deliver(job.id)
        else:
            await self._delivery.redeliver(job.id)

    async def _expire(self) -> None:
        await asyncio.to_thread(self._engine.lifecycle.expire)
        self._take_jobs()  # the clock may be behind the timer: then it was too early

    async def _no_jobs(self, seconds: float) -> None:
        with anyio.fail_after(seconds):
            while self._calls or self._tasks or not self._engine.lifecycle.idle:
                if self._tasks:
                    await asyncio.wait(self._tasks)
                else:
                    await asyncio.sleep(POLL_SECONDS)


class _StoppingError(BaseException):
    """The server stops while a run takes its time. Like an interrupt, it is no failure of the run."""


async def _body(request: Request, limit: int) -> bytes:
    """The request's body, as far as it is needed to see that it is too large."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            break
    return bytes(body)


class _Uvicorn(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, *, ready: Callable[[], None], stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._when_ready = ready
        self._when_stopping = stopping
        self._leaves = asyncio.Event()

    def leave(self) -> None:
        """Stop serving."""
        self.should_exit = True
        self._leaves.set()

    async def main_loop(self) -> None:
        # From here on, and no earlier, stopping shuts everything down in order.
        self._when_ready()
        # As in uvicorn, which looks ten times a second whether it is to leave, and keeps the date each tenth time.
        while not await self.on_tick(0):
            with anyio.move_on_after(1.0):
                await self._leaves.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._when_stopping()
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        for _ in range(TURNS_TO_CLOSE):
            await asyncio.sleep(0)
        # uvicorn waits at least a tenth of a second, even for nobody.
        if self.server_state.connections or self.server_state.tasks:
            await super().shutdown(sockets)
