"""The sandbox as a web app (Starlette), and the server that runs it in a thread (uvicorn)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ThreadPoolExecutor

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send

from .delivery import Delivery
from .engine import Engine
from .runs import Reply

__all__ = ["WebServer"]

# A reply that is a function may block; this many may do so at once.
WORKER_THREADS = 64
SECONDS_TO_STOP = 3


class WebServer:
    """Serves an engine on a socket, in a thread of its own.

    Args:
        engine: What answers.
        listener: A bound socket. It is closed by `stop`.
        deliver_to: Hosts, beside loopback, that callbacks may be delivered to.
    """

    def __init__(self, engine: Engine, listener: socket.socket, *, deliver_to: Iterable[str]) -> None:
        self._engine = engine
        self._listener = listener
        self._deliver_to = tuple(deliver_to)
        self._ready = threading.Event()
        self._jobs: set[asyncio.Task[None]] = set()
        app = Starlette(routes=[Mount("", app=self._answer)])
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=SECONDS_TO_STOP,
        )
        self._uvicorn = _Uvicorn(config, self._ready)
        self._thread = threading.Thread(target=self._run, name="fetch-hive-sandbox", daemon=True)

    def start(self) -> None:
        """Start serving. Returns when requests are answered."""
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        """Stop serving. Callbacks not delivered by now are not delivered."""
        self._uvicorn.should_exit = True
        self._thread.join()

    def wait_for_jobs(self, timeout: float) -> None:
        """Wait until all accepted runs have ended and their callbacks are dealt with.

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
            asyncio.run(self._serve())
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_default_executor(ThreadPoolExecutor(WORKER_THREADS, "fetch-hive-sandbox-reply"))
        async with Delivery(self._engine, self._deliver_to) as self._delivery:
            await self._uvicorn.serve(sockets=[self._listener])
            for job in self._jobs:
                job.cancel()
            await asyncio.gather(*self._jobs, return_exceptions=True)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        with contextlib.suppress(ClientDisconnect):
            path = b"?".join((scope["raw_path"], scope["query_string"])).decode("latin-1")
            body = await request.body()
            reply = await asyncio.to_thread(self._engine.handle, request.method, path, request.headers, body)
            replied = asyncio.Event()
            if reply.unfinished is not None:
                self._start_job(reply.unfinished, replied)
            try:
                await _response(reply)(scope, receive, send)
            finally:
                replied.set()

    def _start_job(self, request_id: str, replied: asyncio.Event) -> None:
        job = asyncio.create_task(self._finish(request_id, replied))
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    async def _finish(self, request_id: str, replied: asyncio.Event) -> None:
        await replied.wait()
        callback = await asyncio.to_thread(self._engine.finish, request_id)
        if callback is not None:
            await self._delivery.deliver(callback)

    async def _no_jobs(self, seconds: float) -> None:
        with anyio.fail_after(seconds):
            while self._jobs:
                await asyncio.wait(self._jobs)


class _Uvicorn(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: threading.Event) -> None:
        super().__init__(config)
        self._ready = ready

    async def main_loop(self) -> None:
        # From here on, and no earlier, stopping shuts everything down in order.
        self._ready.set()
        await super().main_loop()


def _response(reply: Reply) -> Response:
    headers = dict(reply.headers)
    if isinstance(reply.body, bytes):
        return Response(reply.body, reply.status, headers)
    return StreamingResponse(_chunks(reply.body), reply.status, headers)


async def _chunks(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
