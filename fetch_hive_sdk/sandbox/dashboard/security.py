"""Nobody else gets in: the Host header, sessions, tokens of forms, and the headers of every page."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from threading import Lock
from urllib.parse import parse_qsl

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from ..addresses import is_loopback

__all__ = ["PAGE_HEADERS", "FormError", "HostCheck", "Sessions", "is_foreign", "read_form", "safe_path"]

PAGE_HEADERS: Mapping[str, str] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Not no-referrer: with that, browsers send "Origin: null" with the pages' own forms.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

MAX_FORM = 64 * 1024
MAX_SESSIONS = 1000
SESSION_SECONDS = 12 * 3600

_PORT = re.compile(r":\d*\Z")


class HostCheck:
    """ASGI middleware against DNS rebinding: on a loopback address only loopback names are answered.

    A web page whose own name was made to lead to this machine could else read everything here, the API
    included. On any other address every name is answered, because there a key is required.

    Args:
        app: The app behind it.
        host: The address that is listened on.
    """

    def __init__(self, app: ASGIApp, *, host: str) -> None:
        self._app = app
        self._host = host.lower()
        self._checks = is_loopback(self._host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._checks:
            given = Headers(scope=scope).getlist("host")
            if len(given) != 1 or not self._answers_to(given[0]):
                named = ", ".join(repr(name) for name in given) or "none"
                text = (
                    f"The sandbox listens on {self._host}, so it answers to localhost, 127.0.0.1 and [::1] alone. "
                    f"The Host header of this request names {named}. "
                    "To serve other names, start it with --host and --api-key.\n"
                )
                await PlainTextResponse(text, 421, PAGE_HEADERS)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _answers_to(self, given: str) -> bool:
        host = _PORT.sub("", given).lower()
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            return False
        return host in (self._host, "localhost") or _is_loopback_address(host)


def _is_loopback_address(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class Sessions:
    """Who has signed in, and the tokens of their forms. Both end with the process.

    Args:
        clock: Seconds of a clock that never goes back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._secret = secrets.token_bytes(32)
        self._ends: dict[str, float] = {}
        self._lock = Lock()

    def start(self) -> str:
        """Begin a session, and return its secret name."""
        session = secrets.token_urlsafe(32)
        with self._lock:
            while len(self._ends) >= MAX_SESSIONS:
                del self._ends[next(iter(self._ends))]
            self._ends[session] = self._clock() + SESSION_SECONDS
        return session

    def known(self, session: str) -> bool:
        """True if this session was begun here, and has not ended."""
        with self._lock:
            return self._ends.get(session, 0.0) > self._clock()

    def end(self, session: str) -> None:
        """End a session."""
        with self._lock:
            self._ends.pop(session, None)

    def token(self, session: str) -> str:
        """The token that a session's forms carry; those of nobody in particular if it is empty."""
        return hmac.new(self._secret, session.encode("utf-8", "replace"), hashlib.sha256).hexdigest()

    def accepts(self, session: str, token: str) -> bool:
        """True if a form carries the session's token."""
        return hmac.compare_digest(self.token(session).encode(), token.encode("utf-8", "replace"))


def is_foreign(request: Request) -> bool:
    """True if a request comes from another site's page, by what its browser says. Other ports are other sites."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return True
    origin = request.headers.get("origin")
    # The scheme may be another: TLS may end before the sandbox.
    return origin is not None and origin.partition("://")[2] != request.headers.get("host", "")


class FormError(ValueError):
    """What was posted is no form of ours."""


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a posted form.

    Raises:
        FormError: It is too large, or no such form.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise FormError("This is no form")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM:
            raise FormError("This form is too large")
    try:
        return dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=100))
    except ValueError:
        raise FormError("This form cannot be read") from None


def safe_path(text: str, otherwise: str) -> str:
    """A path on this server to go on to; anything else is replaced."""
    is_ours = text.startswith("/") and text.isascii() and text.isprintable() and " " not in text
    return text if is_ours and not text.startswith("//") and "\\" not in text else otherwise
