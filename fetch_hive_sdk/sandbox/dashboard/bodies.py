"""Bodies as text for people: JSON laid out, streams event by event, and webhook secrets masked."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

from ...sse import SSEDecoder
from ..runs import Callback, Reply

__all__ = ["MASK", "Event", "Text", "body_bytes", "cut", "events", "is_stream", "masked", "posted", "pretty", "shown"]

MASK = "••••••••"
MAX_TEXT = 200_000  # characters of one body on a page
MAX_PRETTY = 4 * MAX_TEXT  # bytes; a larger one is not laid out
MAX_EVENTS = 1000

# Also where the body was cut in the middle of the secret.
_SECRET = re.compile(r'("webhook_secret"\s*:\s*")(?:[^"\\]|\\.)*')


def masked(text: str) -> str:
    """A body without the webhook secret that replies carry."""
    return _SECRET.sub(rf"\g<1>{MASK}", text)


def pretty(value: object) -> str:
    """A JSON value laid out."""
    return json.dumps(value, ensure_ascii=False, indent=2)


@dataclass(frozen=True)
class Text:
    """A body as it is shown.

    Attributes:
        text: The text, perhaps cut.
        size: The body's bytes.
        cut: True if there is more.
    """

    text: str
    size: int
    cut: bool


def shown(body: bytes, *, reveal: bool = False, limit: int = MAX_TEXT) -> Text:
    """A body laid out if it is JSON, else as it is, with what is not UTF-8 as escapes.

    Args:
        body: All of it.
        reveal: True shows the webhook secret in it.
        limit: How many characters are shown; no more than `MAX_TEXT`.
    """
    text = body[: 4 * MAX_TEXT].decode("utf-8", "backslashreplace")
    if len(body) <= MAX_PRETTY:
        with contextlib.suppress(ValueError, RecursionError):
            text = pretty(json.loads(text))
    text = text if reveal else masked(text)
    return Text(text[:limit], len(body), len(text) > limit)


def cut(text: str) -> str:
    """A text, without its end if it is too long for a page."""
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}\n… cut: it has {len(text):,} characters"


def posted(callback: Callback) -> str:
    """A callback as it is posted: its headers, and the exact body that was signed."""
    headers = "".join(f"{name}: {value}\n" for name, value in callback.headers.items())
    return f"{headers}\n{callback.body.decode('utf-8', 'backslashreplace')}"


def body_bytes(reply: Reply) -> bytes:
    """All bytes of a reply's body."""
    if isinstance(reply.body, bytes):
        return reply.body
    return b"".join(chunk for chunk in reply.body if isinstance(chunk, bytes))


def is_stream(reply: Reply) -> bool:
    """True if the reply was a stream of events."""
    return any(
        name.lower() == "content-type" and value.startswith("text/event-stream")
        for name, value in reply.headers.items()
    )


@dataclass(frozen=True)
class Event:
    """One event of a stream.

    Attributes:
        type: Its `type`; empty for `[DONE]` and for what is no JSON object.
        text: The piece of text it carries, if it does.
        json: All of it, laid out.
    """

    type: str
    text: str
    json: str


def events(reply: Reply) -> tuple[list[Event], int]:
    """The events of a streamed reply, those beyond the first 1,000 left out, and how many there are in all."""
    body = body_bytes(reply)
    sent = SSEDecoder(len(body) + 1).feed(body)
    first = [_event(data) for data in islice(sent, MAX_EVENTS)]
    return first, len(first) + sum(1 for _ in sent)


def _event(data: bytes) -> Event:
    text = data.decode("utf-8", "backslashreplace")
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return Event("", text, text)
    if not isinstance(value, Mapping):
        return Event("", text, text)
    event = cast("Mapping[str, Any]", value)
    said = next((event[key] for key in ("response", "tool", "summary_text", "error") if key in event), "")
    return Event(str(event.get("type", "")), said if isinstance(said, str) else "", pretty(event))
