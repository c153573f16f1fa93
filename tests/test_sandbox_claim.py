"""One sandbox at a time on a database file."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

from fetch_hive_sdk import ConfigurationError
from fetch_hive_sdk.sandbox import Sandbox

HOLD = """
import sys
from fetch_hive_sdk.sandbox import Sandbox
sandbox = Sandbox(db=sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_sandbox_on_the_same_file_is_refused(tmp_path: pathlib.Path) -> None:
    """While one sandbox has a file, another is told so; once the first is closed, the file is free."""
    db = tmp_path / "runs.sqlite"
    with Sandbox(db=db), pytest.raises(ConfigurationError, match=r"runs\.sqlite is in use by another sandbox"):
        Sandbox(db=db)
    Sandbox(db=db).close()


def test_a_killed_process_holds_nothing(tmp_path: pathlib.Path) -> None:
    """A file is held against other processes too, and free again as soon as its holder is killed."""
    db = tmp_path / "runs.sqlite"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(db)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ConfigurationError, match="in use"):
            Sandbox(db=db)
        holder.kill()
    Sandbox(db=db).close()


@pytest.mark.parametrize("name", ["missing/runs.sqlite", "."])
def test_a_place_that_cannot_be_written_is_named(tmp_path: pathlib.Path, name: str) -> None:
    """A path in a folder that is not there, or that is a folder, is an error that names the path."""
    (tmp_path / "..lock").mkdir()
    with pytest.raises(ConfigurationError, match="cannot be used as the sandbox's database"):
        Sandbox(db=tmp_path / name)


def test_a_file_that_is_no_lock_is_named(tmp_path: pathlib.Path) -> None:
    """Where something else lies in the place of the lock, that is an error and nothing is overwritten."""
    lock = tmp_path / "runs.sqlite.lock"
    lock.write_text("my notes, and quite a few of them " * 100)
    with pytest.raises(ConfigurationError, match="cannot be used as the sandbox's database"):
        Sandbox(db=tmp_path / "runs.sqlite")
    assert lock.read_text().startswith("my notes")
