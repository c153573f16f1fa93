"""A uvicorn in a thread that sends the replies it is given, as the sandbox's server does."""

from __future__ import annotations

import asyncio
import socket
import threading
from types import TracebackType
from typing import Any

import uvicorn
from typing_extensions import Self

from fetch_hive_sdk.sandbox.respond import Connection, respond
from fetch_hive_sdk.sandbox.runs import Reply


class ReplyServer:
    """Answers each request with the reply it was given last, whatever is asked for."""

    def __init__(self, http: type[Connection] = Connection) -> None:
        self.answer_with(Reply(status=200, headers={}, body=b""))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        self.base_url = f"http://127.0.0.1:{self.address[1]}/v1"
        config = uvicorn.Config(
            self._app,
            interface="asgi3",
            http=http,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
        )
        self._uvicorn = _Uvicorn(config)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._uvicorn.ready.wait(10)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        self._thread.join(10)
        assert not self._thread.is_alive()

    def answer_with(self, reply: Reply) -> threading.Event:
        """From now on send this. The event is set when it is over: sent, or given up."""
        self._reply, self._over = reply, threading.Event()
        return self._over

    def stop(self) -> None:
        """Begin to stop; leaving the block waits for the end."""
        self._uvicorn.should_exit = True

    def connect(self, request: bytes = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") -> socket.socket:
        """A socket with a request sent on it."""
        connection = socket.create_connection(self.address, timeout=10)
        connection.sendall(request)
        return connection

    async def _serve(self) -> None:
        await self._uvicorn.serve(sockets=[self._listener])

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        over = self._over
        try:
            await respond(self._reply, scope, receive, send)
        finally:
            over.set()


class _Uvicorn(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def main_loop(self) -> None:
        self.ready.set()
        await super().main_loop()
