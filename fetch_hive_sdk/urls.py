"""What makes a text an absolute URL that can be reached at all, or a safe part of one; checked once for all."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import quote, unquote
from uuid import UUID

import httpx

from .jsonable import article, refused

__all__ = ["absolute_url", "has_dot_segments", "is_private", "segment"]

# Those of DNS, and the underscore that names on private networks have.
_HOST_CHARACTERS = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-._")


def absolute_url(text: str) -> httpx.URL:
    """Parse an absolute URL.

    Raises:
        ValueError: It is none. The message never quotes it: a URL may have a password or another secret in it.
    """
    try:
        url = httpx.URL(text)
        host, port = url.host, url.port
    except (httpx.InvalidURL, UnicodeError):
        raise ValueError("this is not a URL") from None
    if not url.scheme or not host:
        raise ValueError("this is not an absolute URL, with https:// in front")
    if port is not None and not 1 <= port <= 65535:
        raise ValueError("its port is not between 1 and 65535")
    if " " in text or "%20" in host:
        raise ValueError("it has a space in it")
    if ":" in host:  # IPv6, which httpx has checked
        return url
    if not all(0 < len(label) < 64 for label in host.removesuffix(".").split(".")):
        raise ValueError("its host is not a host name")
    if not _HOST_CHARACTERS.issuperset(url.raw_host):
        raise ValueError("its host has a character in it that host names have not")
    return url


def segment(name: str, value: object) -> str:
    """An id as one segment of a path, escaped so that whatever is in it changes nothing else of the URL.

    Args:
        name: What it is, for the message.
        value: The id, a str or a UUID.

    Raises:
        InvalidRequestError: It is something else, is empty, or is `.` or `..`, which mean other paths.
    """
    if not isinstance(value, (str, UUID)):
        hint = "Pass its id." if hasattr(value, "id") else "Pass the id as a str."
        raise refused(name, f"{article(value)} is not allowed", hint)
    text = str.__str__(value) if isinstance(value, str) else str(value)
    if not text.strip():
        raise refused(name, "it is empty", "Pass the id.")
    if text in (".", ".."):
        raise refused(name, f"{text!r} is not an id", "Pass the id.")
    try:
        return quote(text, safe="")
    except UnicodeEncodeError:
        raise refused(name, "it has half a surrogate pair in it", "Pass the id as the service gave it.") from None


def has_dot_segments(path: str) -> bool:
    """Whether a path means another one: "." or ".." is among its segments, however they are written."""
    return not {".", ".."}.isdisjoint(re.split(r"[/\\]", unquote(path)))


def is_private(host: str) -> bool:
    """Whether a host exists only on the caller's own network: loopback, private addresses, local names."""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith((".localhost", ".local", ".internal", ".test"))
