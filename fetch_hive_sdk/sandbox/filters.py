"""Which runs are asked for, in words and as SQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Final

from .records import time_text
from .runs import Kind, Status

__all__ = ["ANY", "MetadataFilter", "RunFilter", "all_of", "canonical", "marks", "sql", "where"]

LAST = "\U0010ffff"  # sorts after every other character


class _AnyValue(Enum):
    ANY = "any value"


ANY: Final = _AnyValue.ANY
"""Stands for whatever value a key of the metadata has."""


@dataclass(frozen=True, kw_only=True)
class MetadataFilter:
    """Runs whose metadata has a key.

    Attributes:
        key: The key.
        value: With it only runs where the key's value equals this one, type and all: `True` is neither `"true"`
            nor 1, while 30 equals 30.0. Default `ANY`: whatever the value is, None too.
    """

    key: str
    value: str | int | float | bool | _AnyValue | None = ANY


@dataclass(frozen=True, kw_only=True)
class RunFilter:
    """Which runs are asked for: those that match every field. The default matches all.

    Attributes:
        kinds: Any of these kinds. Default: all.
        statuses: Any of these statuses. Default: all.
        name: The deployment, or the agent.
        variant: The variant.
        since: Accepted at this time or later.
        until: Accepted before this time.
        metadata: All of these match.
        request_id: How the request id begins.
    """

    kinds: tuple[Kind, ...] = ()
    statuses: tuple[Status, ...] = ()
    name: str | None = None
    variant: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    metadata: tuple[MetadataFilter, ...] = ()
    request_id: str | None = None


def where(wanted: RunFilter) -> tuple[str, list[Any]]:
    """A filter as the condition of a SELECT, and its parameters."""
    first, values = all_of(
        (
            ("name = ?", wanted.name),
            ("variant = ?", wanted.variant),
            ("started_at >= ?", _text(wanted.since)),
            ("started_at < ?", _text(wanted.until)),
            ("request_id >= ?", wanted.request_id),
            ("request_id < ?", None if wanted.request_id is None else f"{wanted.request_id}{LAST}"),
        )
    )
    conditions = [first]
    for column, texts in (("kind", wanted.kinds), ("status", wanted.statuses)):
        if texts:
            conditions.append(f"{column} IN {marks(texts)}")
            values += texts
    for one in wanted.metadata:
        exact = one.value is not ANY
        matched = "AND type = ? AND value = ?" if exact else ""
        conditions.append(sql("number IN (SELECT run FROM metadata WHERE key = ?", matched, ")"))
        values += (one.key, *canonical(one.value)) if exact else (one.key,)
    return " AND ".join(conditions), values


def all_of(asked: Iterable[tuple[str, str | None]]) -> tuple[str, list[Any]]:
    """The conditions whose value is not None, as one, and the values."""
    given = [(condition, value) for condition, value in asked if value is not None]
    return " AND ".join(("1", *(condition for condition, _ in given))), [value for _, value in given]


def _text(time: datetime | None) -> str | None:
    return None if time is None else time_text(time)


def sql(*parts: str) -> str:
    """A statement from its parts. Whatever is not ours in it is a parameter."""
    return " ".join(parts)


def marks(values: Sequence[str]) -> str:
    """The place of some parameters after `IN`."""
    return f"({', '.join('?' * len(values))})"


def canonical(value: Any) -> tuple[str, str]:
    """The type of a value of metadata, and a text that is equal for equal values of that type."""
    if value is None:
        return "null", ""
    if isinstance(value, bool):
        return "boolean", str(value)
    if isinstance(value, str):
        return "text", value
    return "number", repr(int(value) if isinstance(value, float) and value.is_integer() else value)
