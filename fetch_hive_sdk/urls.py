"""What makes a text an absolute URL that can be reached at all, checked once for settings and arguments."""

from __future__ import annotations

import ipaddress

import httpx

__all__ = ["absolute_url", "is_private"]


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
    if ":" not in host and not all(0 < len(label) < 64 for label in host.removesuffix(".").split(".")):
        raise ValueError("its host is not a host name")
    return url


def is_private(host: str) -> bool:
    """Whether a host exists only on the caller's own network: loopback, private addresses, local names."""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith((".localhost", ".local", ".internal", ".test"))
