"""A SQLite database with the sandbox's tables, shared by threads and, as a file, by processes."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import weakref
from collections.abc import Callable, Generator
from contextlib import contextmanager
from threading import RLock
from time import monotonic, sleep
from typing import Any

from ..errors import ConfigurationError

__all__ = ["Database", "as_text"]

MEMORY = ":memory:"
BUSY_TIMEOUT = 5.0  # seconds to wait for another process that writes

APPLICATION_ID = 0x46486976  # "FHiv"; tells our files from other programs' databases
SCHEMA_VERSION = 2
SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS settings (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS runs (
    number INTEGER PRIMARY KEY,
    request_id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    variant TEXT,
    thread_id TEXT,
    status TEXT NOT NULL,
    started_by TEXT NOT NULL,
    started_at TEXT NOT NULL,
    ended_at TEXT,
    duration REAL,
    record BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS runs_by_status ON runs (kind, status);
CREATE INDEX IF NOT EXISTS runs_by_name ON runs (kind, name);
CREATE TABLE IF NOT EXISTS metadata (
    key TEXT NOT NULL,
    type TEXT NOT NULL,
    value TEXT NOT NULL,
    run INTEGER NOT NULL REFERENCES runs (number),
    PRIMARY KEY (key, type, value, run)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS callbacks (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    request_id TEXT NOT NULL REFERENCES runs (request_id),
    pending INTEGER NOT NULL,
    record BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS callbacks_by_run ON callbacks (request_id);
CREATE INDEX IF NOT EXISTS callbacks_pending ON callbacks (pending) WHERE pending;
CREATE TABLE IF NOT EXISTS approvals (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    request_id TEXT NOT NULL REFERENCES runs (request_id),
    agent TEXT NOT NULL,
    status TEXT NOT NULL,
    record BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS approvals_by_run ON approvals (request_id);
CREATE TABLE IF NOT EXISTS delegations (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    parent_request_id TEXT NOT NULL REFERENCES runs (request_id),
    request_id TEXT NOT NULL,
    thread_id TEXT,
    status TEXT NOT NULL,
    record BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS delegations_by_parent ON delegations (parent_request_id);
CREATE INDEX IF NOT EXISTS delegations_by_run ON delegations (request_id);
CREATE TABLE IF NOT EXISTS refused (number INTEGER PRIMARY KEY, record BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS objects (
    number INTEGER PRIMARY KEY,
    noun TEXT NOT NULL,
    id TEXT NOT NULL,
    parent TEXT,
    record BLOB NOT NULL,
    UNIQUE (noun, id)
);
CREATE INDEX IF NOT EXISTS objects_by_parent ON objects (noun, parent);
CREATE TABLE IF NOT EXISTS files (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, content BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS passages (number INTEGER PRIMARY KEY, family TEXT NOT NULL, object TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS passages_by_object ON passages (object);
CREATE INDEX IF NOT EXISTS passages_by_family ON passages (family);
CREATE TABLE IF NOT EXISTS calls (day TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""


class Database:
    """One connection, used by one thread at a time.

    Args:
        path: The file, made if it is not there; None: in memory.
        before_use: Called before each transaction and each SELECT outside of one. May use the database itself.

    Attributes:
        lock: Held by the thread that uses the connection.
        in_memory: True if there is no file.

    Raises:
        ConfigurationError: The file cannot be used; later too, if it turns out to be damaged.
    """

    def __init__(self, path: str | os.PathLike[str] | None, *, before_use: Callable[[], None]) -> None:
        self._path = MEMORY if path is None else os.fspath(path)
        self._before_use = before_use
        self.in_memory = path is None
        self.lock = RLock()
        self._connection = _connect(self._path)
        # A sandbox is seldom closed by hand, and Python 3.13 warns of connections that are left open.
        self.close = weakref.finalize(self, _close, self._connection, self.lock, os.getpid())

    @contextmanager
    def transaction(self, begin: str = "BEGIN IMMEDIATE") -> Generator[None]:
        """Make one change of all that is done inside, or none if an exception leaves the block.

        Args:
            begin: `BEGIN` where nothing is written: then no other process has to wait. Inside another transaction
                it does not matter, as this one becomes a part of that.
        """
        with self.lock:
            if self._connection.in_transaction:
                yield
                return
            self._before_use()
            with _damage_told(self._path):
                try:
                    self._connection.execute(begin)
                    yield
                    self._connection.execute("COMMIT")
                except BaseException:
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                    raise

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        """Execute one statement of a transaction that is open. Texts may have half a surrogate pair in them."""
        try:
            return self._connection.execute(sql, values)
        except UnicodeEncodeError:
            return self._connection.execute(sql, [_storable(value) for value in values])

    def rows(self, sql: str, *values: Any) -> list[Any]:
        """The rows of a SELECT. A text with half a surrogate pair comes back as bytes; `as_text` reads it."""
        with self.lock:
            if not self._connection.in_transaction:
                self._before_use()
            with _damage_told(self._path):
                return self.execute(sql, *values).fetchall()

    def change(self, sql: str, *values: Any) -> bool:
        """Execute an UPDATE. False if nothing was there to change."""
        with self.transaction():
            return self.execute(sql, *values).rowcount > 0


def _connect(path: str) -> sqlite3.Connection:
    """A connection to a database that has our tables."""
    if path != MEMORY:
        # Requests are in it, and what webhook secrets are made from: for its owner's eyes alone. Whatever is wrong
        # with the path, SQLite will say.
        with contextlib.suppress(OSError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))
    try:
        db = sqlite3.connect(path, timeout=BUSY_TIMEOUT, check_same_thread=False, isolation_level=None)
    except sqlite3.Error as error:
        raise _unusable(path, error) from error
    try:
        _prepare(db, path)
    except BaseException as error:
        db.close()
        if isinstance(error, sqlite3.DatabaseError):
            raise _unusable(path, error) from error
        raise
    return db


def _prepare(db: sqlite3.Connection, path: str) -> None:
    # First of all look whose file it is: nothing of another program's is changed. The tables are asked for before
    # the marks are, since another process may be making both right now.
    new = not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    older = not new and _version(db, path) < SCHEMA_VERSION
    _write_ahead(db)
    db.execute("PRAGMA synchronous = NORMAL")  # with WAL a killed process loses nothing
    db.execute("PRAGMA foreign_keys = ON")
    if new or older:  # what an older version made is a part of it
        db.executescript(SCHEMA)


def _write_ahead(db: sqlite3.Connection) -> None:
    deadline = monotonic() + BUSY_TIMEOUT
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            # Here SQLite does not wait by itself while another process makes the same new file.
            if "locked" not in str(error) or monotonic() >= deadline:
                raise
            sleep(0.01)


def _version(db: sqlite3.Connection, path: str) -> int:
    """The format of a database that is one of ours."""
    if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise ConfigurationError(
            f"{path} is a database of another program.",
            hint="It was left as it is. Name another file for the sandbox.",
        )
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise ConfigurationError(
            f"{path} was written by a newer version of fetch-hive-sdk: its format is {version}, this version "
            f"knows {SCHEMA_VERSION}.",
            hint="Upgrade fetch-hive-sdk, or name another file for the sandbox.",
        )
    return version


def _close(db: sqlite3.Connection, lock: Any, pid: int) -> None:
    if os.getpid() != pid:  # in a child of fork the connection is its parent's, and the lock may be held for ever
        return
    with lock:  # at the interpreter's end another thread may be in the middle of something
        db.close()


@contextmanager
def _damage_told(path: str) -> Generator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        if type(error) is sqlite3.DatabaseError:
            raise _unusable(path, error) from error
        raise


def _unusable(path: str, error: sqlite3.Error) -> ConfigurationError:
    if type(error) is sqlite3.DatabaseError:  # its subclasses blame something else than what is in the file
        return ConfigurationError(
            f"{path} is no database, or is damaged: {error}.",
            hint="Name another file for the sandbox, or move this one away to begin with an empty one.",
        )
    return ConfigurationError(
        f"{path} cannot be used as the sandbox's database: {error}.",
        hint="Check that its folder exists, that you may write there, and that no other program holds it.",
    )


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return value.encode("utf-8", "surrogatepass")
    return value


def as_text(value: str | bytes) -> str:
    """A text as it was before SQLite kept it."""
    return value if isinstance(value, str) else value.decode("utf-8", "surrogatepass")
