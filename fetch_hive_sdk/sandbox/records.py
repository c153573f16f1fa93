"""The sandbox's records as bytes and back, each equal to what it was.

As JSON: of plain values written by pydantic's encoder, which takes a third of the time; of all others by the standard
library's, which keeps ints of any size. Texts are written as they are, not as escapes, since two escaped halves of a
surrogate pair would be read as one character.
"""

from __future__ import annotations

import json
from base64 import b64decode
from binascii import b2a_base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from functools import lru_cache
from math import isfinite
from typing import Any, Union, cast

from pydantic_core import to_json

from .answers import Answer
from .runs import (
    Approval,
    Callback,
    CallbackAttempt,
    Delegation,
    HttpRequest,
    HumanStep,
    Moment,
    Refused,
    Reply,
    Run,
    with_changes,
)

__all__ = [
    "Record",
    "dump",
    "dump_object",
    "dump_run",
    "load_approval",
    "load_callback",
    "load_delegation",
    "load_object",
    "load_refused",
    "load_run",
    "snapshot",
    "time_text",
]

Record = Union[Callback, Approval, Delegation, Refused]


def time_text(time: datetime) -> str:
    """A time in UTC as text that sorts; `datetime.fromisoformat` reads it."""
    return _utc_text(time if time.tzinfo is timezone.utc else time.astimezone(timezone.utc))


@lru_cache(maxsize=64)  # a run has the same few times in several places
def _utc_text(time: datetime) -> str:
    return time.isoformat(timespec="microseconds")


def dump(record: Record) -> bytes:
    """A record as bytes."""
    return _bytes(vars(record))


def dump_run(run: Run, *, plain: bool = False) -> bytes:
    """A run as bytes, without its callbacks, approvals and delegations; of a streamed reply the bytes alone.

    Args:
        run: The run.
        plain: True for one that `snapshot` has made, whose values need no second look.

    Raises:
        TypeError: It has a value without a JSON form.
    """
    values = _values_of(run)
    with suppress(_NotPlain, ValueError):  # half a surrogate pair has no UTF-8, and what is very deep no end
        return to_json(values if plain else _copy(values))
    return _bytes(values)


def snapshot(run: Run) -> Run | None:
    """An ended run that has no values in common with anybody who could change them; None if it is not a plain one."""
    try:
        return _copy_of(run)
    except _NotPlain:
        return None


def load_run(data: bytes, **belongings: Any) -> Run:
    """The run that `dump_run` was given.

    Args:
        data: What it returned.
        belongings: `callbacks`, `approvals` and `delegations`, as tuples.
    """
    values = _revive(
        json.loads(data),
        http=_http,
        reply=_reply,
        answer=_answer,
        started_at=_time,
        ended_at=_time,
        human_step=_human_step,
        timeline=_timeline,
    )
    for name in _OF_REQUEST:
        if name not in values:
            values[name] = values["request"][name]
    return Run(**values, **belongings)


def load_callback(data: bytes) -> Callback:
    """The callback that `dump` was given."""
    return Callback(**_revive(json.loads(data), body=b64decode, attempts=_attempts))


def load_approval(data: bytes) -> Approval:
    """The approval that `dump` was given."""
    return Approval(**_revive(json.loads(data), created_at=_time, decided_at=_time))


def load_delegation(data: bytes) -> Delegation:
    """The delegation that `dump` was given."""
    return Delegation(**_revive(json.loads(data), created_at=_time, delivered_at=_time))


def load_refused(data: bytes) -> Refused:
    """The refused request that `dump` was given."""
    return Refused(**_revive(json.loads(data), at=_time, request=_http))


def dump_object(fields: Mapping[str, Any]) -> bytes:
    """An object of JSON values as bytes."""
    return _bytes(fields)


def load_object(data: bytes) -> dict[str, Any]:
    """The object that `dump_object` was given."""
    fields: dict[str, Any] = json.loads(data)
    return fields


# --- to bytes ---------------------------------------------------------------------------------------


_SEQUENCES = ("tool_calls", "artifacts", "background")  # of an answer
_OF_REQUEST = ("inputs", "metadata")  # most often the very values that the request has
_ANSWER = Answer()
_DEFAULTS = vars(_ANSWER)  # what most fields of an answer are


class _NotPlain(Exception):
    """A value is not of JSON's own types, or not what every encoder writes alike."""


def _copy(value: Any) -> Any:
    """A JSON value that has no object or array in common with this one."""
    kind = cast("type[object]", type(value))
    if kind is str or value is None or kind is bool:
        return value
    if kind is dict:
        if {*map(type, value)} - _TEXT:
            raise _NotPlain
        return {key: item if type(item) is str else _copy(item) for key, item in value.items()}
    if kind is list:
        return [_copy(item) for item in value]
    if (kind is int and -_LARGE < value < _LARGE) or (kind is float and isfinite(value)):
        return value
    raise _NotPlain


_LARGE = 1 << 63
_TEXT = {str}


def _copy_of(run: Run) -> Run:
    reply, answer = run.reply, run.answer
    if reply is None or answer is None or not isinstance(reply.body, (bytes, tuple)):
        raise _NotPlain
    if answer.tool_calls or answer.artifacts or answer.background or run.human_step is not None:
        raise _NotPlain
    request = _copy(run.request)
    inputs, metadata = (
        request[name] if getattr(run, name) is run.request.get(name) else _copy(getattr(run, name))
        for name in _OF_REQUEST
    )
    return with_changes(
        run,
        request=request,
        inputs=inputs,
        metadata=metadata,
        reply=with_changes(reply, headers=dict(reply.headers)),
        answer=with_changes(answer, usage=_copy(answer.usage)),
    )


def _values_of(run: Run) -> dict[str, Any]:
    """A run's fields as JSON values, as far as they are not of a kind that few runs have."""
    # What is None is left out: so most records take half a page of the database.
    values = {name: value for name, value in vars(run).items() if value is not None}
    for name in ("callbacks", "approvals", "delegations"):
        del values[name]
    for name in _OF_REQUEST:
        if values[name] is run.request.get(name):
            del values[name]
    values["started_at"] = time_text(run.started_at)
    if run.ended_at is not None:
        values["ended_at"] = time_text(run.ended_at)
    values["timeline"] = [{"at": time_text(moment.at), "what": moment.what} for moment in run.timeline]
    if run.http is not None:
        values["http"] = {**vars(run.http), "body": _base64(run.http.body)}
    if run.reply is not None:
        body = run.reply.body
        told = _base64(body) if isinstance(body, bytes) else [_base64(it) for it in body if isinstance(it, bytes)]
        values["reply"] = {**vars(run.reply), "body": told}
    if run.answer is not None:
        answer = {name: value for name, value in vars(run.answer).items() if value != _DEFAULTS[name]}
        # An answer's sequences are of the type they were given with, which JSON does not tell.
        tuples = [name for name in _SEQUENCES if isinstance(answer.get(name), tuple)]
        values["answer"] = {**answer, **{name: list(answer[name]) for name in tuples}, "tuples": tuples}
    return values


def _base64(data: bytes) -> str:
    return b2a_base64(data, newline=False).decode("ascii")


def _jsonable(value: object) -> object:
    """What the encoder writes instead of a value that JSON has not."""
    if isinstance(value, datetime):
        return time_text(value)
    if isinstance(value, bytes):
        return _base64(value)
    if isinstance(value, Mapping):
        return dict(value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, Sequence):
        return list(value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return vars(value)  # our dataclasses; what is none of ours has a TypeError here, as with json.dumps


# `check_circular` would cost time, and records are made of JSON that was read or checked.
_encode = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":"), default=_jsonable).encode


def _bytes(values: Mapping[str, Any]) -> bytes:
    return _encode(values).encode("utf-8", "surrogatepass")  # json.loads reads bytes the same way


# --- and back ---------------------------------------------------------------------------------------

_time = datetime.fromisoformat


def _revive(values: dict[str, Any], **how: Callable[[Any], Any]) -> dict[str, Any]:
    """The values, those that are named in `how` and not None turned back into what they were."""
    for name, function in how.items():
        if values.get(name) is not None:
            values[name] = function(values[name])
    return values


def _http(values: dict[str, Any]) -> HttpRequest:
    return HttpRequest(**_revive(values, body=b64decode))


def _reply(values: dict[str, Any]) -> Reply:
    return Reply(**_revive(values, body=_body))


def _body(body: str | list[str]) -> bytes | tuple[bytes, ...]:
    return b64decode(body) if isinstance(body, str) else tuple(b64decode(chunk) for chunk in body)


def _answer(values: dict[str, Any]) -> Answer:
    _revive(values, **dict.fromkeys(values.pop("tuples"), tuple))
    return with_changes(_ANSWER, **values)  # it was checked when it was made


def _human_step(values: dict[str, Any]) -> HumanStep:
    return HumanStep(**_revive(values, options=tuple, expires_at=_time, chosen_at=_time))


def _timeline(moments: Iterable[dict[str, Any]]) -> tuple[Moment, ...]:
    return tuple(Moment(**_revive(values, at=_time)) for values in moments)


def _attempts(attempts: Iterable[dict[str, Any]]) -> tuple[CallbackAttempt, ...]:
    return tuple(CallbackAttempt(**_revive(values, started_at=_time)) for values in attempts)
