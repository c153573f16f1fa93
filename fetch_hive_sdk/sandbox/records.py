"""The sandbox's records as bytes and back, each equal to what it was.

JSON of the standard library: it keeps ints of any size, and floats that are whole as floats. Texts are written
as they are, not as escapes, since two escaped halves of a surrogate pair would be read as one character.
"""

from __future__ import annotations

import json
from base64 import b64decode
from binascii import b2a_base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any, Union

from .answers import Answer
from .runs import Approval, Callback, CallbackAttempt, Delegation, HttpRequest, HumanStep, Moment, Refused, Reply, Run

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


def dump_run(run: Run) -> bytes:
    """A run as bytes, without its callbacks, approvals and delegations; of a streamed reply the bytes alone."""
    values = dict(vars(run))
    for name in ("callbacks", "approvals", "delegations"):
        del values[name]
    return _bytes(values)


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


def _jsonable(value: object) -> object:
    """What the encoder writes instead of a value that JSON has not."""
    if isinstance(value, datetime):
        return time_text(value)
    if isinstance(value, bytes):
        return b2a_base64(value, newline=False).decode("ascii")
    if isinstance(value, (Moment, HttpRequest)):
        return vars(value)
    if isinstance(value, Reply):
        body = value.body
        return {**vars(value), "body": body if isinstance(body, bytes) else [it for it in body if type(it) is bytes]}
    if isinstance(value, Answer):
        # An answer's sequences are of the type they were given with, which JSON does not tell.
        tuples = [name for name in _SEQUENCES if isinstance(vars(value)[name], tuple)]
        return {**vars(value), "tuples": tuples}
    if isinstance(value, Mapping):
        return dict(value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, Sequence):
        return list(value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return vars(value)  # the other dataclasses; what is none of ours has a TypeError here, as with json.dumps


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
    answer = Answer.__new__(Answer)  # it was checked when it was made
    vars(answer).update(values)
    return answer


def _human_step(values: dict[str, Any]) -> HumanStep:
    return HumanStep(**_revive(values, options=tuple, expires_at=_time, chosen_at=_time))


def _timeline(moments: Iterable[dict[str, Any]]) -> tuple[Moment, ...]:
    return tuple(Moment(**_revive(values, at=_time)) for values in moments)


def _attempts(attempts: Iterable[dict[str, Any]]) -> tuple[CallbackAttempt, ...]:
    return tuple(CallbackAttempt(**_revive(values, started_at=_time)) for values in attempts)
