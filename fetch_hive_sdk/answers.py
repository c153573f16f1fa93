"""The answer of a call before it is a result: status, headers and body, and how JSON is read.

What a call needs until its answer has come stands apart from the results, so that pydantic, which takes as long to
load as httpx does, is loaded while the first answer is awaited.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, cast

import httpx

__all__ = ["HTTPResponse"]


@dataclass(frozen=True)
class HTTPResponse:
    """The answer that a result was read from.

    Attributes:
        status_code: HTTP status.
        headers: Headers; their case does not matter.
        content: The body as it came, decompressed. Not shown by `repr`: there may be a secret in it.
    """

    status_code: int
    headers: httpx.Headers
    content: bytes = field(repr=False)

    def json(self) -> Any:
        """The body as JSON values, with the envelope that a result was taken out of.

        Raises:
            ValueError: It is not JSON.
        """
        return read_json(self.content)


class Answered:
    """What knows the answer that it was read from."""

    @property
    def http_response(self) -> HTTPResponse | None:
        """Status, headers and body of the answer; None for what was not read from one, or came in a stream."""
        response: HTTPResponse | None = kept(self, "_http_response")
        return response

    def answered_with(self, response: HTTPResponse) -> None:
        """Remember the answer. For the SDK itself."""
        keep(self, "_http_response", response)


# How a record, whose fields are frozen, keeps what it was read from.
keep = object.__setattr__


def kept(thing: object, name: str) -> Any:
    """What was kept under this name, or None; asked of `object`, as pydantic would look on among the JSON's keys."""
    try:
        return object.__getattribute__(thing, name)
    except AttributeError:
        return None


def read_json(data: bytes) -> Any:
    """Parse JSON as leniently as a paid answer deserves: a BOM, stray bytes and lone surrogates are survived.

    Raises:
        ValueError: It is not JSON, or nested deeper than any answer.
    """
    import pydantic_core  # loaded where there is JSON to be read, and not before

    try:
        return pydantic_core.from_json(data)
    except ValueError:
        try:
            value = json.loads(data.decode("utf-8-sig", errors="replace"))
            cleaned = json.dumps(value, ensure_ascii=False).encode("utf-16", "surrogatepass")
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
        return pydantic_core.from_json(cleaned.decode("utf-16", "replace"))


def read_object(data: bytes) -> dict[str, Any]:
    """Parse JSON as `read_json` does, and hold that it is an object.

    Raises:
        ValueError: It is not JSON, or not an object.
    """
    value = read_json(data)
    if not isinstance(value, dict):
        raise ValueError(f"it is JSON, but no object: {type(value).__name__}")
    return cast("dict[str, Any]", value)


def as_text(value: Any) -> str:
    """A JSON value as text: a text as it is, all else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
