"""Posting a callback on to a receiver: the exact bytes, with the headers that are not the connection's own."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import httpx

from ..http import tls_context
from ..urls import absolute_url, is_private

__all__ = ["Forwarded", "client_options", "forward"]

SECONDS_TO_ANSWER = 30.0

# Those of one connection (RFC 9110, 7.6.1), and those that httpx writes anew.
_NOT_FORWARDED = frozenset(
    b"connection content-length host keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer "
    b"transfer-encoding upgrade".split()
)


@dataclass(frozen=True, kw_only=True)
class Forwarded:
    """What became of a forwarded callback.

    Attributes:
        url: Where it went.
        duration: Seconds it took.
        response: What the receiver answered; None if it did not.
        error: Why there is no answer; empty if there is one.
        status_code: What to answer in the receiver's place: its own status, or 502 or 504 if there is no answer.
    """

    url: str
    duration: float
    response: httpx.Response | None
    error: str
    status_code: int


def client_options(url: str) -> dict[str, Any]:
    """How to reach a receiver: one on the own network without the proxies of the environment."""
    return {"verify": tls_context(), "trust_env": not is_private(absolute_url(url).host), "follow_redirects": False}


async def forward(url: str, body: bytes, headers: Iterable[tuple[bytes, bytes]]) -> Forwarded:
    """Post a callback on.

    Args:
        url: Where.
        body: The exact bytes that came.
        headers: The headers that came; those of the connection are left out.
    """
    kept = [(name, value) for name, value in headers if name.lower() not in _NOT_FORWARDED]
    started = time.monotonic()

    def told(response: httpx.Response | None, status_code: int, error: str = "") -> Forwarded:
        duration = time.monotonic() - started
        return Forwarded(url=url, duration=duration, response=response, error=error, status_code=status_code)

    try:
        async with httpx.AsyncClient(**client_options(url), timeout=SECONDS_TO_ANSWER) as client:
            response = await client.post(url, content=body, headers=kept)
    except httpx.TimeoutException:
        return told(None, 504, f"no answer within {SECONDS_TO_ANSWER:g} s")
    except (httpx.TransportError, httpx.DecodingError) as error:
        return told(None, 502, f"no answer: {error or type(error).__name__}")
    return told(response, response.status_code)
