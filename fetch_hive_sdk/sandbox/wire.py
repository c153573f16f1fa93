"""JSON and server-sent events as bytes, the way the service writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic_core import to_json

__all__ = ["DONE", "checked_bytes", "frame", "json_bytes", "json_text"]

DONE = b"data: [DONE]\n\n"


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def json_text(value: object) -> str:
    """A JSON value as compact text. NaN and infinity, which JSON has not, are a ValueError."""
    return _encode(value)


def json_bytes(value: object) -> bytes:
    """A JSON value in UTF-8."""
    # Half a surrogate pair has no UTF-8; a backslash escape is the form JSON has for it.
    return json_text(value).encode("utf-8", "backslashreplace")


def checked_bytes(value: object) -> bytes:
    """The same of values that were checked before: faster, and blind to what JSON has not."""
    try:
        return to_json(value)
    except ValueError:
        return json_bytes(value)


def frame(event: Mapping[str, Any]) -> bytes:
    """One event of a stream."""
    return b"data: " + json_bytes(event) + b"\n\n"
