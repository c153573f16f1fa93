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


def test_a_link_to_the_file_is_the_file(tmp_path: pathlib.Path) -> None:
    """A sandbox on a link to a file that another one has is refused too: both would carry on the same runs."""
    db, link = tmp_path / "runs.sqlite", tmp_path / "link.sqlite"
    with Sandbox(db=db):
        try:
            link.symlink_to(db)
        except OSError as problem:  # Windows lets few users make links
            pytest.skip(str(problem))
        with pytest.raises(ConfigurationError, match="in use by another sandbox"):
            Sandbox(db=link)


def test_a_sandbox_that_cannot_begin_holds_nothing(tmp_path: pathlib.Path) -> None:
    """A file that is no database is named each time it is tried, and is free once it is one."""
    db = tmp_path / "runs.sqlite"
    db.write_text("my notes, and quite a few of them " * 100)
    kept: list[BaseException] = []  # with all that its traceback refers to
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="is no database") as told:
            Sandbox(db=db)
        kept.append(told.value)
    db.unlink()
    Sandbox(db=db).close()


def test_a_configuration_that_cannot_be_used_holds_nothing(tmp_path: pathlib.Path) -> None:
    """The database of a configuration file in which something turns out to be wrong late is free again."""
    file = tmp_path / "sandbox.toml"
    file.write_text('db = "runs.sqlite"\n[[prompt]]\nname = "p"\nfunction = "no_such_module:reply"\n', "utf-8")
    with pytest.raises(ConfigurationError, match="cannot be imported") as told:
        Sandbox.from_config(file)
    Sandbox(db=tmp_path / "runs.sqlite").close()
    assert told.value.__traceback__ is not None  # it was kept meanwhile


def test_memory_needs_no_file(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite's name for a database in memory means that here too, for as many sandboxes as there are."""
    monkeypatch.chdir(tmp_path)
    with Sandbox(db=":memory:"), Sandbox(db=":memory:"):
        assert list(tmp_path.iterdir()) == []


def test_an_empty_path_is_refused(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty path, behind which SQLite has a file that nobody finds again, is an error."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="db is empty"):
        Sandbox(db="")
    assert list(tmp_path.iterdir()) == []
