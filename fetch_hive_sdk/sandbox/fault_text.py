"""The text form of a fault, as a configuration file and a request header have it: into the fields it gives."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any, cast

from ..error_codes import BY_CODE
from ..errors import ConfigurationError
from .catalog import DAILY_LIMIT

__all__ = ["FLAGS", "read_fault", "refused", "unknown"]

FLAGS = ("not_json", "stream_error", "truncate", "crlf", "comments", "no_space")
_NAMES: dict[str, dict[str, Any]] = {
    "concurrency_limit": {"status": 429},
    "daily_limit": {"error_code": DAILY_LIMIT},
    "provider_error": {"status": 502},
}
_WORD = re.compile(r"\s*([^\s=,]+)\s*(=?)\s*")
_END = re.compile(r"\s*(,|\Z)")
_WORDS = {"true": True, "false": False}


def read_fault(text: str, fields: Sequence[str]) -> dict[str, Any]:
    """The fields that a text gives; their values are not checked, and those that are no JSON are texts.

    Args:
        text: The text.
        fields: The names a fault's fields may have.

    Raises:
        ConfigurationError: It cannot be read, or a word of it means nothing.
    """
    if text.lstrip().startswith("{"):
        value, position = _json_at(text, len(text) - len(text.lstrip()))
        if text[position:].strip():
            raise refused(f"{text[position:].strip()!r} comes after the JSON object", "Leave it out.")
        return cast("dict[str, Any]", value)
    given: dict[str, Any] = {}
    position = 0
    while text[position:].strip():
        word = _WORD.match(text, position)
        if word is None:
            raise refused(f"a name is missing before {text[position:].strip()!r}", "Write name=value.")
        new, position = _meaning(word[1]), word.end()
        if word[2]:
            value, position = _value(text, position)
            new = {word[1]: value}
        if new is None:
            problem = f"{word[1]!r} needs a value" if word[1] in fields else unknown(word[1], [*fields, *BY_CODE])
            allowed = ", ".join([*FLAGS, *_NAMES, *BY_CODE])
            raise refused(problem, f"Words that go by themselves are a status and {allowed}.")
        if twice := sorted(new.keys() & given.keys()):
            raise refused(f"{twice[0]}: it is given twice", "Give each field once.")
        given.update(new)
        end = _END.match(text, position)
        if end is None:
            raise refused(f"a comma is missing before {text[position:].strip()!r}", "Put one between fields.")
        position = end.end()
    return given


def _meaning(word: str) -> dict[str, Any] | None:
    """The fields that a bare word stands for."""
    if word in FLAGS:
        return {word: True}
    if word in BY_CODE:
        return {"error_code": word}
    return {"status": word} if word.isdecimal() else _NAMES.get(word)


def _value(text: str, position: int) -> tuple[Any, int]:
    """The value that begins here, and where it ends: JSON, or plain words up to the next comma."""
    if text[position : position + 1] in ("{", "[", '"'):
        return _json_at(text, position)
    words = text[position:].partition(",")[0]
    told = words.strip()
    return _WORDS.get(told, told), position + len(words)


def _json_at(text: str, position: int) -> tuple[Any, int]:
    try:
        return json.JSONDecoder().raw_decode(text, position)
    except (ValueError, RecursionError) as error:
        raise refused(f"{text[position : position + 60]!r} is not JSON", f"JSON reports: {error}.") from None


def unknown(word: object, known: Iterable[str]) -> str:
    """Say that a word is unknown, and which known one is nearest."""
    near = get_close_matches(str(word), known, 1)
    return f"{word!r} is unknown; did you mean {near[0]}?" if near else f"{word!r} is unknown"


def refused(problem: str, hint: str) -> ConfigurationError:
    """The error of a fault that means nothing."""
    return ConfigurationError(f"fault: {problem}{'' if problem.endswith('?') else '.'}", hint=hint)
