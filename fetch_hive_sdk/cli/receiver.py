"""The server of `fetch-hive listen`: it receives callbacks, checks them, and posts them on."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone

import uvicorn
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from ..callbacks import SIGNATURE_HEADER, CallbackEvent, CallbackVerifier
from ..errors import CallbackVerificationError
from .forwarding import Forwarded, forward

__all__ = ["MAX_BODY", "Received", "Receiver"]

MAX_BODY = 16 * 2**20
SECONDS_TO_STOP = 3
UNCHECKED = CallbackVerifier("unchecked")


@dataclass(frozen=True, kw_only=True)
class Received:
    """A request that came, and what became of it.

    Attributes:
        at: When it had come.
        method: HTTP method.
        path: Its path.
        body: Its exact body; empty where it was refused unread.
        event: What it tells; None for a refused one, and for an unchecked one that is no JSON object.
        refusal: Why it was refused; empty if it was not.
        reason: The refusal's `reason`, as of `CallbackVerificationError`; empty for others.
        forwarded: What became of it at the receiver; None if it was not forwarded.
        status_code: What was answered.
    """

    at: datetime
    method: str
    path: str
    body: bytes = b""
    event: CallbackEvent | None = None
    refusal: str = ""
    reason: str = ""
    forwarded: Forwarded | None = None
    status_code: int


class Receiver:
    """Receives callbacks on a socket, in a thread of its own, while the block lasts.

    Args:
        listener: A bound socket. Who made it closes it.
        verifier: Checks the callbacks; None lets all pass.
        forward_to: Where to post on what passes; None: nowhere.
        report: Is told of each request, in the receiver's thread, once it is answered.
    """

    def __init__(
        self,
        listener: socket.socket,
        *,
        verifier: CallbackVerifier | None,
        forward_to: str | None,
        report: Callable[[Received], None],
    ) -> None:
        self._listener = listener
        self._verifier = verifier
        self._forward_to = forward_to
        self._report = report
        config = uvicorn.Config(
            self._answer,
            interface="asgi3",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=SECONDS_TO_STOP,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="fetch-hive-listen", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()

    def _serve(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._listener]))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        with contextlib.suppress(ClientDisconnect):
            received, response = await self._receive(request)
            await response(scope, receive, send)
            self._report(received)

    async def _receive(self, request: Request) -> tuple[Received, Response]:
        if request.method != "POST":
            return _refused(request, 405, f"{request.method} is not allowed: callbacks are POSTs", Allow="POST")
        body = await _read(request)
        if body is None:
            return _refused(request, 413, f"the body is longer than {MAX_BODY:,} bytes", Connection="close")
        try:
            event = self._event(body, request)
        except CallbackVerificationError as error:
            return _refused(request, 400, error.message, body=body, reason=error.reason)
        forwarded = None
        response = Response(status_code=204)
        if self._forward_to is not None:
            forwarded = await forward(self._forward_to, body, request.headers.raw)
            response = _relayed(forwarded)
        received = Received(
            at=datetime.now(timezone.utc),
            method=request.method,
            path=request.url.path,
            body=body,
            event=event,
            forwarded=forwarded,
            status_code=response.status_code,
        )
        return received, response

    def _event(self, body: bytes, request: Request) -> CallbackEvent | None:
        if self._verifier is not None:
            return self._verifier.unwrap(body, request.headers)
        with contextlib.suppress(CallbackVerificationError):
            # Signed here itself, so that it is read as a checked one is.
            return UNCHECKED.unwrap(body, {SIGNATURE_HEADER: UNCHECKED.sign(body)})
        return None


async def _read(request: Request) -> bytes | None:
    """The body, or None once it is longer than it may be."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            return None
    return bytes(body)


def _refused(
    request: Request, status: int, problem: str, *, body: bytes = b"", reason: str = "", **headers: str
) -> tuple[Received, Response]:
    received = Received(
        at=datetime.now(timezone.utc),
        method=request.method,
        path=request.url.path,
        body=body,
        refusal=problem,
        reason=reason,
        status_code=status,
    )
    return received, PlainTextResponse(f"{problem}\n", status, headers)


def _relayed(forwarded: Forwarded) -> Response:
    if forwarded.response is None:
        return PlainTextResponse(f"{forwarded.error}\n", forwarded.status_code)
    kind = forwarded.response.headers.get("Content-Type")
    headers = {"Content-Type": kind} if kind else None
    return Response(forwarded.response.content, forwarded.status_code, headers)
