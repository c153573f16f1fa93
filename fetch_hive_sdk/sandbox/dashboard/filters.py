"""The filters of a log: read from an address, written into one, and said in words.

The grammar of a metadata value is one for the page, the address and the control API: `true`, `false`, `null`
and numbers are what they are in JSON, a text in quotes is that text, anything else is text as it stands.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Union, cast, get_args
from urllib.parse import urlencode

from ..filters import ANY, MetadataFilter, RunFilter
from ..runs import Kind, Status

__all__ = ["STATUSES", "WITHIN", "Chip", "LogQuery", "metadata_value", "said", "written"]

Scalar = Union[str, int, float, bool, None]

STATUSES: tuple[Status, ...] = get_args(Status)
MAX_METADATA = 50  # filters by metadata at once; a database takes only so many conditions
WITHIN: Mapping[str, tuple[str, timedelta]] = {
    "5m": ("Last 5 minutes", timedelta(minutes=5)),
    "1h": ("Last hour", timedelta(hours=1)),
    "24h": ("Last 24 hours", timedelta(hours=24)),
}


def metadata_value(text: str) -> Scalar:
    """The value that a typed text stands for. Spaces around it do not count; in quotes they do."""
    text = text.strip()
    try:
        value: object = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return text
    if isinstance(value, (dict, list)) or (isinstance(value, float) and not math.isfinite(value)):
        return text
    return cast("Scalar", value)


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is no JSON")


def written(value: Scalar) -> str:
    """The text that `metadata_value` reads as this value."""
    if not isinstance(value, str):
        return json.dumps(value)
    if not value.isprintable():
        return json.dumps(value)
    return value if value and metadata_value(value) == value else json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True)
class Chip:
    """An active filter in words, with the address of the same log without it."""

    text: str
    without: str


@dataclass(frozen=True, kw_only=True)
class LogQuery:
    """What is asked of a log.

    Attributes:
        statuses: The statuses to show; empty for all.
        name: Deployment or agent.
        request_id: What request ids begin with.
        within: A key of `WITHIN`; empty for any time.
        since: Runs that started then or later.
        until: Runs that started before.
        metadata: Keys, with or without a value. All have to match.
        before: The last run of the page before.
        problems: What could not be read, in words. It is left out of the filter.
    """

    statuses: tuple[Status, ...] = ()
    name: str = ""
    request_id: str = ""
    within: str = ""
    since: datetime | None = None
    until: datetime | None = None
    metadata: tuple[MetadataFilter, ...] = ()
    before: str = ""
    problems: tuple[str, ...] = ()

    @classmethod
    def read(cls, items: Iterable[tuple[str, str]]) -> LogQuery:
        """Read the items of an address in their order: each `value` belongs to the `key` before it."""
        query, pairs = cls(), list[tuple[str, str]]()
        for name, text in items:
            if name == "key":
                pairs.append((text, ""))
            elif name == "value":
                key, _ = pairs.pop() if pairs else ("", "")
                pairs.append((key, text))
            elif text:
                query = query._with(name, text)
        if any(text.strip() for key, text in pairs if not key):
            query = query._problem("A value alone finds nothing: choose its metadata key")
        metadata = tuple(
            MetadataFilter(key=key, value=metadata_value(text) if text.strip() else ANY) for key, text in pairs if key
        )
        metadata = tuple({_pair(one): one for one in metadata}.values())
        if len(metadata) > MAX_METADATA:
            query = query._problem(f"What comes after {MAX_METADATA} filters by metadata is too much")
        return replace(query, metadata=metadata[:MAX_METADATA])

    def _with(self, name: str, text: str) -> LogQuery:
        if name == "status":
            if text not in STATUSES:
                return self._problem(f"{text!r} is no status")
            return replace(self, statuses=tuple(one for one in STATUSES if one in (*self.statuses, text)))
        if name == "within":
            return replace(self, within=text) if text in WITHIN else self._problem(f"{text!r} is no span of time")
        if name in ("from", "to"):
            at = _time(text)
            if at is None:
                return self._problem(f"{text!r} is no time; write 2026-11-22T10:00, which is UTC")
            return replace(self, since=at) if name == "from" else replace(self, until=at)
        if name == "name":
            return replace(self, name=text)
        if name == "request_id":
            return replace(self, request_id=text.strip())
        return replace(self, before=text) if name == "before" else self

    def _problem(self, text: str) -> LogQuery:
        return replace(self, problems=(*self.problems, text))

    def filter(self, kinds: tuple[Kind, ...], *, now: datetime) -> RunFilter:
        """The store's filter.

        Args:
            kinds: The kinds of runs in this log.
            now: What the last hour is counted from.
        """
        since = self.since
        if self.within:
            start = now - WITHIN[self.within][1]
            since = start if since is None else max(start, since)
        return RunFilter(
            kinds=kinds,
            statuses=self.statuses,
            name=self.name or None,
            since=since,
            until=self.until,
            metadata=self.metadata,
            request_id=self.request_id or None,
        )

    def items(self) -> list[tuple[str, str]]:
        """The items of its address, which `read` reads."""
        named = [
            ("name", self.name),
            ("within", self.within),
            ("from", _typed(self.since)),
            ("to", _typed(self.until)),
            ("request_id", self.request_id),
        ]
        items = [("status", status) for status in self.statuses] + [item for item in named if item[1]]
        return items + self.metadata_items() + ([("before", self.before)] if self.before else [])

    def metadata_items(self) -> list[tuple[str, str]]:
        """Those of the metadata alone."""
        items: list[tuple[str, str]] = []
        for one in self.metadata:
            items.append(("key", one.key))
            if one.value is not ANY:
                items.append(("value", written(one.value)))
        return items

    @property
    def since_text(self) -> str:
        """`since` the way a field for times writes it; empty if there is none."""
        return _typed(self.since)

    @property
    def until_text(self) -> str:
        """`until`, likewise."""
        return _typed(self.until)

    def address(self, path: str) -> str:
        """The address of this log."""
        items = urlencode(self.items(), errors="replace")
        return f"{path}?{items}" if items else path

    @property
    def active(self) -> bool:
        """True if runs may be left out."""
        return bool(self.newest().items())

    def chips(self, path: str) -> list[Chip]:
        """Each active filter, with the way to be rid of it."""
        first = self.newest()
        chips = [
            Chip(f"Status: {said(status)}", self._without_status(first, status).address(path))
            for status in self.statuses
        ]
        single = [
            ("name", f"Name: {self.name}"),
            ("within", WITHIN[self.within][0] if self.within else ""),
            ("since", f"From {_typed(self.since)} UTC"),
            ("until", f"Until {_typed(self.until)} UTC"),
            ("request_id", f"Request id: {self.request_id}…"),
        ]
        empty = LogQuery()
        for name, text in single:
            if getattr(self, name):
                chips.append(Chip(text, replace(first, **{name: getattr(empty, name)}).address(path)))
        for one in self.metadata:
            rest = tuple(other for other in self.metadata if other is not one)
            chips.append(Chip(_metadata_text(one), replace(first, metadata=rest).address(path)))
        return chips

    @staticmethod
    def _without_status(query: LogQuery, status: Status) -> LogQuery:
        return replace(query, statuses=tuple(one for one in query.statuses if one != status))

    def toggled(self, status: Status) -> LogQuery:
        """The same with a status added, or taken out again."""
        if status in self.statuses:
            return self._without_status(self.newest(), status)
        return self.newest()._with("status", status)

    def older(self, last: str) -> LogQuery:
        """The page of runs that arrived before one."""
        return replace(self, before=last, problems=())

    def newest(self) -> LogQuery:
        """The first page."""
        return replace(self, before="", problems=())

    def added(self, key: str, value: Scalar) -> LogQuery:
        """The same with a metadata pair that has to match as well."""
        one = MetadataFilter(key=key, value=value)
        return replace(self.newest(), metadata=(*self.metadata, one))


def said(status: str) -> str:
    """A status as people write it."""
    return status.replace("_", " ").capitalize()


def _metadata_text(one: MetadataFilter) -> str:
    if one.value is ANY:
        return f"{one.key} exists"
    kind = "boolean" if isinstance(one.value, bool) else "text" if isinstance(one.value, str) else "number"
    return f"{one.key} = {written(one.value)} ({kind})" if one.value is not None else f"{one.key} = null"


def _pair(one: MetadataFilter) -> tuple[str, str | None]:
    return one.key, None if one.value is ANY else written(one.value)


def _time(text: str) -> datetime | None:
    text = text.strip()
    text = text[:-1] + "+00:00" if text.endswith(("Z", "z")) else text
    try:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None


def _typed(at: datetime | None) -> str:
    """A time in UTC the way `<input type="datetime-local">` writes it."""
    return at.replace(tzinfo=None).isoformat(timespec="seconds") if at else ""
