"""What the sandbox remembers, in SQLite: in memory, or in a file that outlives the process."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from typing import Any

from ..errors import ConfigurationError
from .database import Database, as_text
from .filters import ANY, MetadataFilter, RunFilter, all_of, canonical, marks, sql, where
from .objects import Objects
from .records import (
    dump,
    dump_run,
    load_approval,
    load_callback,
    load_delegation,
    load_refused,
    load_run,
    snapshot,
    time_text,
)
from .runs import Approval, Callback, CallbackAttempt, Delegation, Kind, Refused, Run, Status

__all__ = ["ANY", "MetadataFilter", "RunFilter", "Store"]

REFUSED_KEPT = 1000
MOST_WAITING = 100
BATCH = 500  # SQLite may be built to take no more than 999 parameters

EVERY_RUN = RunFilter()

# One run's record, and those that belong to it in the order they were made. Four times the same "?": Python refuses
# a numbered one ("?1") with values that have no names from 3.14 on.
_RUN = """
SELECT 'runs', record, number FROM runs WHERE request_id = ?
UNION ALL SELECT 'callbacks', record, number FROM callbacks WHERE request_id = ?
UNION ALL SELECT 'approvals', record, number FROM approvals WHERE request_id = ?
UNION ALL SELECT 'delegations', record, number FROM delegations WHERE parent_request_id = ?
ORDER BY number
"""

# Each key is looked for behind the one before: there are few of them, and many rows with each.
_KEYS = """
WITH RECURSIVE keys (key) AS (
    SELECT min(key) FROM metadata
    UNION ALL SELECT (SELECT min(key) FROM metadata WHERE key > keys.key) FROM keys WHERE keys.key IS NOT NULL
)
SELECT key FROM keys WHERE key IS NOT NULL AND
"""


class Store:
    """Runs and what belongs to them, objects of resources, settings and counts. Safe to use from several threads.

    A file may be open in several processes: readers never wait, writers wait for each other up to 5 seconds.
    What a method has written outlives a process that is killed. Callbacks, approvals and delegations need their run:
    adding one whose run is not there (`clear` has forgotten it) raises `sqlite3.IntegrityError`.

    Args:
        path: The file, made if it is not there. Default None: in memory.

    Attributes:
        objects: The objects of the management resources.

    Raises:
        ConfigurationError: The file cannot be used; also later, if it turns out to be damaged.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self._waiting: dict[str, Run] = {}  # to be written, by request id
        self._db = Database(path, before_use=self._write_waiting)
        self.objects = Objects(self._db)

    def close(self) -> None:
        """Close the file, or forget what is in memory. Harmless if done twice, or never."""
        self._db.close()

    def transaction(self) -> AbstractContextManager[None]:
        """Make the calls inside one change: all of it is written, or nothing if an exception leaves the block.

        Other threads wait meanwhile. Inside another transaction it becomes a part of that one.
        """
        return self._db.transaction()

    def clear(self) -> None:
        """Forget everything but the values."""
        with self._db.transaction():
            for table in ("calls", "refused", "delegations", "approvals", "callbacks", "metadata", "runs"):
                self._db.execute(f"DELETE FROM {table}")  # noqa: S608 - the names stand above
            self.objects.clear()

    # --- settings and counts ------------------------------------------------------------------------

    def value(self, key: str) -> bytes | None:
        """A setting, or None if it was never made."""
        rows = self._db.rows("SELECT value FROM settings WHERE key = ?", key)
        return rows[0][0] if rows else None

    def set_value(self, key: str, value: bytes) -> None:
        """Make a setting, or change it."""
        with self._db.transaction():
            self._db.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", key, value)

    def daily(self, day: str) -> int:
        """How many API calls were counted on a day (`2026-06-01`, in UTC)."""
        rows = self._db.rows("SELECT count FROM calls WHERE day = ?", day)
        return rows[0][0] if rows else 0

    def count_call(self, day: str) -> int:
        """Count one API call more, and return the day's new count."""
        with self._db.transaction():
            self._db.execute("INSERT INTO calls VALUES (?, 1) ON CONFLICT (day) DO UPDATE SET count = count + 1", day)
            return self.daily(day)

    # --- runs ---------------------------------------------------------------------------------------

    def add(self, run: Run) -> None:
        """Keep a new run, with its callbacks, approvals and delegations.

        Raises:
            ConfigurationError: There is a run with its request id already.
        """
        with self._db.transaction():
            self._insert(run)
            for callback in run.callbacks:
                self.add_callback(callback)
            for approval in run.approvals:
                self.add_approval(approval)
            for delegation in run.delegations:
                self.add_delegation(delegation)

    def add_ended(self, run: Run) -> None:
        """Keep a new run that has ended, and that nothing belongs to.

        In memory, where a crash leaves nothing either way, it is written as it is now, but later and together with
        those after it: once there are enough of them, or before anything is read.

        Raises:
            ConfigurationError: There is a run with its request id already.
        """
        kept = snapshot(run) if self._db.in_memory else None
        if kept is None:
            self.add(run)
            return
        with self._db.lock:
            same = self._db.execute("SELECT 1 FROM runs WHERE request_id = ?", run.request_id).fetchone()
            if same or run.request_id in self._waiting:
                raise _known_already(run.request_id)
            self._waiting[run.request_id] = kept
            if len(self._waiting) >= MOST_WAITING:
                self._write_waiting()

    def _write_waiting(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, {}
            with self._db.transaction():
                for run in waiting.values():
                    self._insert(run, plain=True)

    def _insert(self, run: Run, *, plain: bool = False) -> None:
        """Write a new run and its metadata, in a transaction that is open."""
        columns = (run.kind, run.name, run.variant, run.thread_id, run.trigger, time_text(run.started_at))
        changing = _changing(run, plain=plain)
        try:
            number = self._db.execute(
                "INSERT INTO runs (request_id, kind, name, variant, thread_id, started_by, started_at,"
                " status, ended_at, duration, record) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                *(run.request_id, *columns, *changing),
            ).lastrowid
        except sqlite3.IntegrityError:
            raise _known_already(run.request_id) from None
        for key, value in run.metadata.items():
            self._db.execute("INSERT INTO metadata VALUES (?, ?, ?, ?)", key, *canonical(value), number)

    def save(self, run: Run) -> bool:
        """Keep a run's new state: its own, not that of its callbacks, approvals and delegations.

        What filters know from its beginning stays as it was added: kind, name, variant, start, metadata.

        Returns:
            False if the run is not there.
        """
        changed = "UPDATE runs SET status = ?, ended_at = ?, duration = ?, record = ? WHERE request_id = ?"
        return self._db.change(changed, *_changing(run), run.request_id)

    def get(self, request_id: str) -> Run | None:
        """A run with all that belongs to it, or None."""
        found: dict[str, list[bytes]] = {}
        for table, record, _ in self._db.rows(_RUN, *[request_id] * 4):
            found.setdefault(table, []).append(record)
        return _run(found) if found else None

    def runs(
        self,
        filter: RunFilter = EVERY_RUN,  # noqa: A002 - what it is
        *,
        newest_first: bool = False,
        limit: int | None = None,
        before: str | None = None,
    ) -> list[Run]:
        """Runs with all that belongs to them, in the order they arrived.

        Args:
            filter: Which.
            newest_first: True for the opposite order.
            limit: How many at most, counted from the beginning of that order.
            before: Request id of a run: only runs that arrived before it; none if it is not there.
        """
        condition, values = where(filter)
        if before is not None:
            condition = sql(condition, "AND number < (SELECT number FROM runs WHERE request_id = ?)")
            values.append(before)
        order = "DESC" if newest_first else "ASC"
        # The numbers first: else whole records, which may be large, are sorted only to be left out.
        numbers = f"SELECT number FROM runs WHERE {condition} ORDER BY number {order} LIMIT ?"  # noqa: S608 - no values
        which = f"WHERE number IN ({numbers}) ORDER BY number {order}"
        return self._runs(which, *values, -1 if limit is None else limit)

    def count(self, filter: RunFilter = EVERY_RUN) -> int:  # noqa: A002 - as above
        """How many runs match."""
        condition, values = where(filter)
        rows: list[tuple[int]] = self._db.rows(sql("SELECT count(*) FROM runs WHERE", condition), *values)
        return rows[0][0]

    def counts(self, filter: RunFilter = EVERY_RUN) -> dict[Status, int]:  # noqa: A002 - as above
        """How many runs match, by status. Statuses that none has are left out."""
        condition, values = where(filter)
        return dict(
            self._db.rows(sql("SELECT status, count(*) FROM runs WHERE", condition, "GROUP BY status"), *values)
        )

    def durations(
        self,
        filter: RunFilter = EVERY_RUN,  # noqa: A002 - as above
        *,
        limit: int = 200,
    ) -> list[tuple[datetime, float, Status]]:
        """When runs that have ended were accepted, how many seconds they took, and how they ended.

        Args:
            filter: Which.
            limit: How many at most: the ones that arrived last, oldest first.
        """
        condition, values = where(filter)
        selected = "SELECT started_at, duration, status FROM runs WHERE ended_at IS NOT NULL AND"
        rows = self._db.rows(sql(selected, condition, "ORDER BY number DESC LIMIT ?"), *values, limit)
        return [(datetime.fromisoformat(started), duration, status) for started, duration, status in reversed(rows)]

    def active(self, kinds: tuple[Kind, ...], statuses: tuple[Status, ...]) -> int:
        """How many runs of these kinds have one of these statuses. An empty tuple stands for all."""
        return self.count(RunFilter(kinds=kinds, statuses=statuses))

    def names(self, kinds: tuple[Kind, ...] = ()) -> list[str]:
        """Deployments and agents that runs of these kinds, or of all, were made with; sorted."""
        condition, values = where(RunFilter(kinds=kinds))
        return _sorted(self._db.rows(sql("SELECT DISTINCT name FROM runs WHERE", condition), *values))

    def metadata_keys(self, kinds: tuple[Kind, ...] = ()) -> list[str]:
        """Keys in the metadata of runs of these kinds, or of all; sorted."""
        condition, values = where(RunFilter(kinds=kinds))
        of_kind = (
            "EXISTS (SELECT 1 FROM metadata JOIN runs ON number = run WHERE metadata.key = keys.key AND",
            condition,
        )
        return _sorted(self._db.rows(sql(_KEYS, *of_kind, ")"), *values))

    # --- callbacks ----------------------------------------------------------------------------------

    def add_callback(self, callback: Callback) -> None:
        """Keep a new callback."""
        with self._db.transaction():
            self._db.execute(
                "INSERT INTO callbacks (id, request_id, pending, record) VALUES (?, ?, ?, ?)",
                *(callback.id, callback.request_id, callback.pending, dump(callback)),
            )

    def callback(self, callback_id: str) -> Callback | None:
        """A callback, or None."""
        rows = self._db.rows("SELECT record FROM callbacks WHERE id = ?", callback_id)
        return load_callback(rows[0][0]) if rows else None

    def callbacks(self) -> list[Callback]:
        """Every callback, in the order they were made."""
        return [load_callback(record) for (record,) in self._db.rows("SELECT record FROM callbacks ORDER BY number")]

    def pending_callbacks(self) -> list[Callback]:
        """The callbacks that are still to be delivered, in the order they were made."""
        rows = self._db.rows("SELECT record FROM callbacks WHERE pending ORDER BY number")
        return [load_callback(record) for (record,) in rows]

    def add_attempt(self, callback_id: str, attempt: CallbackAttempt) -> bool:
        """Remember with a callback one attempt more to deliver it. False if it is not there."""
        with self._db.transaction():
            callback = self.callback(callback_id)
            return callback is not None and self._save_callback(
                replace(callback, attempts=(*callback.attempts, attempt))
            )

    def set_pending(self, callback_id: str, pending: bool) -> bool:
        """Say whether a callback is still to be delivered. False if it is not there."""
        with self._db.transaction():
            callback = self.callback(callback_id)
            return callback is not None and self._save_callback(replace(callback, pending=pending))

    def _save_callback(self, callback: Callback) -> bool:
        changed = "UPDATE callbacks SET pending = ?, record = ? WHERE id = ?"
        return self._db.change(changed, callback.pending, dump(callback), callback.id)

    # --- approvals ----------------------------------------------------------------------------------

    def add_approval(self, approval: Approval) -> None:
        """Keep a new approval."""
        with self._db.transaction():
            self._db.execute(
                "INSERT INTO approvals (id, request_id, agent, status, record) VALUES (?, ?, ?, ?, ?)",
                *(approval.id, approval.request_id, approval.agent, approval.status, dump(approval)),
            )

    def save_approval(self, approval: Approval) -> bool:
        """Keep an approval's new state. False if it is not there."""
        changed = "UPDATE approvals SET status = ?, record = ? WHERE id = ?"
        return self._db.change(changed, approval.status, dump(approval), approval.id)

    def approval(self, approval_id: str) -> Approval | None:
        """An approval, or None."""
        rows = self._db.rows("SELECT record FROM approvals WHERE id = ?", approval_id)
        return load_approval(rows[0][0]) if rows else None

    def approvals(
        self,
        *,
        status: str | None = None,
        agent: str | None = None,
        request_id: str | None = None,
        limit: int | None = None,
        before: str | None = None,
    ) -> list[Approval]:
        """Approvals, newest first.

        Args:
            status: Only with this status.
            agent: Only of this agent.
            request_id: Only of this run.
            limit: How many at most.
            before: Id of an approval: only ones made before it; none if it is not there.
        """
        asked = (
            ("status = ?", status),
            ("agent = ?", agent),
            ("request_id = ?", request_id),
            ("number < (SELECT number FROM approvals WHERE id = ?)", before),
        )
        condition, values = all_of(asked)
        selected = sql("SELECT record FROM approvals WHERE", condition, "ORDER BY number DESC LIMIT ?")
        rows = self._db.rows(selected, *values, -1 if limit is None else limit)
        return [load_approval(record) for (record,) in rows]

    # --- delegations --------------------------------------------------------------------------------

    def add_delegation(self, delegation: Delegation) -> None:
        """Keep a new delegation. The run that it started may be added later."""
        with self._db.transaction():
            self._db.execute(
                "INSERT INTO delegations (id, parent_request_id, request_id, thread_id, status, record)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                *(delegation.id, delegation.parent_request_id, delegation.request_id),
                *(delegation.thread_id, delegation.status, dump(delegation)),
            )

    def save_delegation(self, delegation: Delegation) -> bool:
        """Keep a delegation's new state. False if it is not there."""
        changed = "UPDATE delegations SET status = ?, record = ? WHERE id = ?"
        return self._db.change(changed, delegation.status, dump(delegation), delegation.id)

    def delegation(self, delegation_id: str) -> Delegation | None:
        """A delegation, or None."""
        rows = self._db.rows("SELECT record FROM delegations WHERE id = ?", delegation_id)
        return load_delegation(rows[0][0]) if rows else None

    def delegation_of(self, request_id: str) -> Delegation | None:
        """The delegation that started a run, or None."""
        rows = self._db.rows("SELECT record FROM delegations WHERE request_id = ?", request_id)
        return load_delegation(rows[0][0]) if rows else None

    def delegations(self, thread_id: str) -> list[Delegation]:
        """The delegations of a thread that have not ended, in the order they were made."""
        selected = "SELECT record FROM delegations WHERE thread_id = ? AND status IN ('pending', 'running')"
        return [load_delegation(record) for (record,) in self._db.rows(sql(selected, "ORDER BY number"), thread_id)]

    def newest_delegations(self, limit: int) -> list[Delegation]:
        """The delegations of all runs, newest first, up to `limit`."""
        rows = self._db.rows("SELECT record FROM delegations ORDER BY number DESC LIMIT ?", limit)
        return [load_delegation(record) for (record,) in rows]

    # --- refused requests ---------------------------------------------------------------------------

    def add_refused(self, refused: Refused) -> None:
        """Keep a request that was refused, and forget all but the newest 1,000."""
        with self._db.transaction():
            number = self._db.execute("INSERT INTO refused (record) VALUES (?)", dump(refused)).lastrowid
            self._db.execute("DELETE FROM refused WHERE number <= ? - ?", number, REFUSED_KEPT)

    def refused(self, limit: int = 100) -> list[Refused]:
        """The requests refused last, newest first."""
        rows = self._db.rows("SELECT record FROM refused ORDER BY number DESC LIMIT ?", limit)
        return [load_refused(record) for (record,) in rows]

    def _runs(self, which: str, *values: Any) -> list[Run]:
        with self._db.transaction("BEGIN"):
            rows = self._db.rows(sql("SELECT request_id, record FROM runs", which), *values)
            found = [request_id for request_id, _ in rows]
            callbacks = self._belongings("callbacks", "request_id", found)
            approvals = self._belongings("approvals", "request_id", found)
            delegations = self._belongings("delegations", "parent_request_id", found)
        return [
            _run(
                {
                    "runs": [record],
                    "callbacks": callbacks.get(request_id, ()),
                    "approvals": approvals.get(request_id, ()),
                    "delegations": delegations.get(request_id, ()),
                }
            )
            for request_id, record in rows
        ]

    def _belongings(self, table: str, column: str, request_ids: Sequence[str]) -> dict[str, list[bytes]]:
        """The records of a table that belong to these runs, by run, in the order they were made."""
        found: dict[str, list[bytes]] = {}
        for start in range(0, len(request_ids), BATCH):
            batch = request_ids[start : start + BATCH]
            selected = ("SELECT", column, ", record FROM", table, "WHERE", column, "IN", marks(batch))
            for request_id, record in self._db.rows(sql(*selected, "ORDER BY number"), *batch):
                found.setdefault(request_id, []).append(record)
        return found


def _run(records: Mapping[str, Sequence[bytes]]) -> Run:
    """The run that has these records, by table."""
    return load_run(
        records["runs"][0],
        callbacks=tuple(map(load_callback, records.get("callbacks", ()))),
        approvals=tuple(map(load_approval, records.get("approvals", ()))),
        delegations=tuple(map(load_delegation, records.get("delegations", ()))),
    )


def _known_already(request_id: str) -> ConfigurationError:
    return ConfigurationError(
        f"The sandbox has a run {request_id} already.", hint="new_request_id has to make another id each time."
    )


def _changing(run: Run, *, plain: bool = False) -> tuple[str, str | None, float | None, bytes]:
    """Status, end, duration and record: the columns that change while a run goes on."""
    if run.ended_at is None:
        return run.status, None, None, dump_run(run, plain=plain)
    duration = (run.ended_at - run.started_at).total_seconds()
    return run.status, time_text(run.ended_at), duration, dump_run(run, plain=plain)


def _sorted(rows: Iterable[tuple[str | bytes]]) -> list[str]:
    return sorted(as_text(text) for (text,) in rows)
