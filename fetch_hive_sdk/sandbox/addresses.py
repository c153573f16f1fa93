"""Where a URL leads, read from its text alone: nothing is looked up."""

from __future__ import annotations

import re
from ipaddress import ip_address

import httpx

__all__ = ["is_host", "is_local", "is_loopback", "parse_url"]


def parse_url(text: str) -> httpx.URL | None:
    """An `http` or `https` URL with a host, or None if the text is not one."""
    if " " in text:
        return None
    try:
        url = httpx.URL(text)
        host = url.host
    except (httpx.InvalidURL, UnicodeError):
        return None
    has_port = url.port is None or 0 < url.port < 65536
    return url if url.scheme in ("http", "https") and host and has_port else None


def is_loopback(host: str) -> bool:
    """True for `localhost` and for loopback addresses, which cannot leave this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def is_local(host: str) -> bool:
    """True for loopback and private addresses, and for names without a dot, which the public DNS has not."""
    try:
        return ip_address(host).is_private
    except ValueError:
        return "." not in host


def is_host(text: str) -> bool:
    """True for what can be the host of a URL: a name or an address, an IPv6 one without brackets."""
    try:
        ip_address(text)
    except ValueError:
        return re.fullmatch(r"[^\s:/?#@\[\]%]+", text) is not None
    return True
