"""One sandbox at a time on a file: a second one would carry on the first one's runs."""

from __future__ import annotations

import os
import sqlite3
import weakref

from ..errors import ConfigurationError

__all__ = ["Claim"]


class Claim:
    """Holds a file until it is released, or the process ends in whatever way.

    The lock is SQLite's, on a file beside the one that is claimed, so that others may still read that one.

    Args:
        path: What is claimed.

    Raises:
        ConfigurationError: Another sandbox holds it, or the folder cannot be written to.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        name = os.fspath(path)
        try:
            # A link leads to the same lock as what it points to.
            lock = sqlite3.connect(
                f"{os.path.realpath(name)}.lock", timeout=0, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise _refused(name, error) from error
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            lock.close()
            raise _refused(name, error) from error
        # Python 3.13 warns of connections that are left open.
        self.release = weakref.finalize(self, lock.close)


def _refused(name: str, error: sqlite3.Error) -> ConfigurationError:
    if "locked" in str(error):
        return ConfigurationError(f"{name} is in use by another sandbox.", hint="Stop that one, or name another file.")
    hint = "Check that its folder exists and that you may write there."
    return ConfigurationError(f"{name} cannot be used as the sandbox's database: {error}.", hint=hint)
