"""Stores for `Deliveries`: one in memory, for a single process, and one in a SQLite file, for those of a machine."""

from __future__ import annotations

import contextlib
import os
from collections import OrderedDict
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from time import monotonic, time
from typing import TYPE_CHECKING

from .errors import ConfigurationError
from .jsonable import article, number_or_kind

if TYPE_CHECKING:
    import sqlite3

__all__ = ["MemoryDeliveryStore", "SQLiteDeliveryStore"]

_TABLE = """
CREATE TABLE IF NOT EXISTS fetch_hive_deliveries (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    expires_at REAL NOT NULL
) WITHOUT ROWID
"""
_INDEX = "CREATE INDEX IF NOT EXISTS fetch_hive_deliveries_by_end ON fetch_hive_deliveries (expires_at)"


class MemoryDeliveryStore:
    """Remembers deliveries in this process until it ends. For tests, and for a server of a single process.

    Args:
        max_size: How many events it remembers; beyond that it forgets the oldest.

    Raises:
        ConfigurationError: `max_size` is no whole number from 1 on.
    """

    def __init__(self, max_size: int = 100_000) -> None:
        if isinstance(max_size, bool) or not isinstance(max_size, int) or max_size < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(
                f"max_size: {number_or_kind(max_size)} is not allowed.", hint="Pass a whole number from 1 on."
            )
        self._max_size = max_size
        self._kept: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._lock = Lock()

    def add(self, key: str, value: str, seconds: float) -> str | None:
        """As `DeliveryStore.add`."""
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and monotonic() < kept[1]:
                return kept[0]
            self._put(key, value, seconds)
            return None

    def put(self, key: str, value: str, seconds: float) -> None:
        """As `DeliveryStore.put`."""
        with self._lock:
            self._put(key, value, seconds)

    def remove(self, key: str, value: str) -> None:
        """As `DeliveryStore.remove`."""
        with self._lock:
            if key in self._kept and self._kept[key][0] == value:
                del self._kept[key]

    def _put(self, key: str, value: str, seconds: float) -> None:
        now = monotonic()
        self._kept[key] = (value, now + seconds)
        self._kept.move_to_end(key)
        while self._kept and (len(self._kept) > self._max_size or next(iter(self._kept.values()))[1] <= now):
            self._kept.popitem(last=False)


class SQLiteDeliveryStore:
    """Remembers deliveries in a SQLite file, for all threads and processes of this machine.

    Each step is a transaction on a connection of its own, so nothing has to be closed and a fork does no harm. What
    is out of date is deleted on the way. Times are the system clock's: where that is put back, what was remembered
    until then stays for as much longer.

    Args:
        path: The file. One that is not there is made, readable by its owner alone. It may be a database of your
            own: only the table `fetch_hive_deliveries` is used.
        timeout: Seconds to wait for another process that writes.

    Raises:
        ConfigurationError: The file cannot be made or opened, or is no SQLite database; or `timeout` is no number
            from 0 on.
    """

    def __init__(self, path: str | os.PathLike[str], *, timeout: float = 5.0) -> None:
        import sqlite3  # some builds of Python lack it

        if not isinstance(path, (str, os.PathLike)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(f"path: {article(path)} is not allowed.", hint="Pass a str or a pathlib.Path.")
        if os.fspath(path) in {"", ":memory:"}:
            raise ConfigurationError("path: a file is needed.", hint="In memory keeps MemoryDeliveryStore.")
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout >= 0:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(
                f"timeout: {number_or_kind(timeout)} is not allowed.", hint="Pass seconds as a number from 0 on."
            )
        file = Path(path).absolute()  # wherever the process goes later
        # Opened as one that is there: should it be removed, a new one would not know what was handled.
        self._address = f"{file.as_uri()}?mode=rw"
        self._timeout = timeout
        try:
            # Not opened where it is there: to close it would end the locks that other threads have on it.
            with contextlib.suppress(FileExistsError):
                os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            with self._transaction() as connection:
                connection.execute(_TABLE)
                connection.execute(_INDEX)
        except (OSError, sqlite3.Error) as error:
            raise ConfigurationError(f"path: {file} cannot be used as a SQLite database: {error}.") from error

    def add(self, key: str, value: str, seconds: float) -> str | None:
        """As `DeliveryStore.add`."""
        with self._transaction() as connection:
            now = time()
            connection.execute("DELETE FROM fetch_hive_deliveries WHERE expires_at <= ?", (now,))
            find = "SELECT value FROM fetch_hive_deliveries WHERE key = ?"
            found: tuple[str] | None = connection.execute(find, (key,)).fetchone()
            if found is None:
                _insert(connection, key, value, now + seconds)
        return found[0] if found else None

    def put(self, key: str, value: str, seconds: float) -> None:
        """As `DeliveryStore.put`."""
        with self._transaction() as connection:
            _insert(connection, key, value, time() + seconds)

    def remove(self, key: str, value: str) -> None:
        """As `DeliveryStore.remove`."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM fetch_hive_deliveries WHERE key = ? AND value = ?", (key, value))

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection, None, None]:
        import sqlite3

        connection = sqlite3.connect(self._address, uri=True, timeout=self._timeout, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
        finally:
            connection.close()  # which undoes what was not committed


def _insert(connection: sqlite3.Connection, key: str, value: str, until: float) -> None:
    connection.execute("INSERT OR REPLACE INTO fetch_hive_deliveries VALUES (?, ?, ?)", (key, value, until))
