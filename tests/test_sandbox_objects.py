"""Objects of the management resources in the store: JSON, files, texts that are searched; and older databases."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from fetch_hive_sdk.errors import ConfigurationError
from fetch_hive_sdk.sandbox.objects import Objects, Passage
from fetch_hive_sdk.sandbox.records import dump_run, time_text
from fetch_hive_sdk.sandbox.runs import Run
from fetch_hive_sdk.sandbox.store import Store

NOON = datetime(2026, 6, 1, 12, tzinfo=timezone.utc)
HARD: dict[str, Any] = {"big": 2**200, "whole": 3.0, "half": "\ud800", "nul": "a\0b", "deep": [{"": [None, True]}]}

# As the version wrote it that had no management resources.
FIRST_SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE settings (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE runs (
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
CREATE INDEX runs_by_status ON runs (kind, status);
CREATE INDEX runs_by_name ON runs (kind, name);
CREATE TABLE metadata (
    key TEXT NOT NULL,
    type TEXT NOT NULL,
    value TEXT NOT NULL,
    run INTEGER NOT NULL REFERENCES runs (number),
    PRIMARY KEY (key, type, value, run)
) WITHOUT ROWID;
CREATE TABLE callbacks (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    request_id TEXT NOT NULL REFERENCES runs (request_id),
    pending INTEGER NOT NULL,
    record BLOB NOT NULL
);
CREATE INDEX callbacks_by_run ON callbacks (request_id);
CREATE INDEX callbacks_pending ON callbacks (pending) WHERE pending;
CREATE TABLE approvals (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    request_id TEXT NOT NULL REFERENCES runs (request_id),
    agent TEXT NOT NULL,
    status TEXT NOT NULL,
    record BLOB NOT NULL
);
CREATE INDEX approvals_by_run ON approvals (request_id);
CREATE TABLE delegations (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    parent_request_id TEXT NOT NULL REFERENCES runs (request_id),
    request_id TEXT NOT NULL,
    thread_id TEXT,
    status TEXT NOT NULL,
    record BLOB NOT NULL
);
CREATE INDEX delegations_by_parent ON delegations (parent_request_id);
CREATE INDEX delegations_by_run ON delegations (request_id);
CREATE TABLE refused (number INTEGER PRIMARY KEY, record BLOB NOT NULL);
CREATE TABLE calls (day TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID;
PRAGMA application_id = 1179150710;
PRAGMA user_version = 1;
COMMIT;
"""


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with closing(Store(None if request.param == "memory" else tmp_path / "sandbox.db")) as store:
        yield store


@pytest.fixture
def objects(store: Store) -> Objects:
    return store.objects


def texts(passages: list[Passage]) -> list[str]:
    return [passage.text for passage in passages]


# --- objects ------------------------------------------------------------------------------------------


def test_an_object_comes_back_as_it_was(objects: Objects) -> None:
    """Whatever JSON can say comes back equal and of the same type; another noun or id has nothing."""
    objects.add("agent", "a", HARD)
    assert repr(objects.get("agent", "a")) == repr(HARD)
    assert objects.get("agent", "b") is None
    assert objects.get("chat", "a") is None


def test_objects_are_in_the_order_they_were_made(objects: Objects) -> None:
    """All of a noun, or of one parent, oldest first, changes or not."""
    for number, (id_, parent) in enumerate([("z", "p"), ("a", "q"), ("m", "p")]):
        objects.add("chat", id_, {"n": number}, parent=parent)
    objects.save("chat", "z", {"n": 9})
    assert objects.all("chat") == [{"n": 9}, {"n": 1}, {"n": 2}]
    assert objects.all("chat", parent="p") == [{"n": 9}, {"n": 2}]
    assert objects.all("agent") == objects.all("chat", parent="z") == []
    assert [objects.count("chat", parent=parent) for parent in ("p", "q", "z")] == [2, 1, 0]


def test_an_object_belongs_to_its_parent_alone(objects: Objects) -> None:
    """Asked for below another parent it is not there; what has no parent is not below one."""
    objects.add("chat", "c", {"n": 1}, parent="p")
    objects.add("chat", "free", {"n": 2})
    assert objects.get("chat", "c", parent="p") == {"n": 1}
    assert objects.get("chat", "c", parent="q") is None
    assert objects.get("chat", "free", parent="p") is None


def test_an_id_is_used_once_for_a_noun(objects: Objects) -> None:
    """A second object with the id is refused; another noun may have the same."""
    objects.add("chat", "c", {"n": 1})
    objects.add("agent", "c", {"n": 2})
    with pytest.raises(sqlite3.IntegrityError):
        objects.add("chat", "c", {"n": 3})
    assert objects.get("chat", "c") == {"n": 1}


def test_saving_and_removing_what_is_not_there(objects: Objects) -> None:
    """It is told, and nothing is made."""
    assert not objects.save("chat", "c", {})
    assert not objects.remove("chat", "c")
    assert objects.remove_children("chat", "p") == 0
    assert objects.all("chat") == []


def test_removing(objects: Objects) -> None:
    """An object goes alone; children go all at once, of one noun and parent."""
    for noun, id_, parent in (("chat", "a", "p"), ("chat", "b", "p"), ("chat", "c", "q"), ("note", "d", "p")):
        objects.add(noun, id_, {"id": id_}, parent=parent)
    assert objects.remove("chat", "a")
    assert objects.remove_children("chat", "p") == 1
    assert (objects.all("chat"), objects.all("note")) == ([{"id": "c"}], [{"id": "d"}])


def test_a_change_that_fails_leaves_nothing(store: Store) -> None:
    """Objects, files and texts of a transaction that is left by an exception are not there."""

    def change() -> None:
        with store.transaction():
            store.objects.add("chat", "c", {})
            store.objects.put_file("f", b"1")
            store.objects.index("g", "c", ["text"])
            raise KeyError

    with pytest.raises(KeyError):
        change()
    assert store.objects.get("chat", "c") is store.objects.file("f") is None
    assert store.objects.search("g", "text", limit=1) == []


# --- files --------------------------------------------------------------------------------------------


def test_files(objects: Objects) -> None:
    """A file comes back byte for byte; one with the same id replaces it; their sizes are summed."""
    assert (objects.stored_bytes(), objects.file("f")) == (0, None)
    objects.put_file("f", b"old and longer")
    objects.put_file("f", b"\0\xff\r\n")
    objects.put_file("empty", b"")
    objects.put_file("g", b"123")
    assert (objects.file("f"), objects.file("empty"), objects.stored_bytes()) == (b"\0\xff\r\n", b"", 7)


# --- texts --------------------------------------------------------------------------------------------


def test_a_search_finds_any_of_the_words_best_first(objects: Objects) -> None:
    """Passages with more of the words come first, their share is the score; words have no case and no accents."""
    objects.index("shop", "terms", ["Refund within thirty days", "We ship to Caf\u00e9s", "Nothing of the kind"])
    objects.index("shop", "faq", ["A REFUND takes some days, but we ship at once, to every country that there is"])
    found = objects.search("shop", "refund ship cafes", limit=9)
    assert [(passage.id, passage.text[:5]) for passage in found] == [
        ("terms", "We sh"),
        ("faq", "A REF"),
        ("terms", "Refun"),
    ]
    assert [passage.score for passage in found] == [2 / 3, 2 / 3, 1 / 3]
    assert [passage.score for passage in objects.search("shop", "refund", limit=9)] == [1, 1]
    assert texts(objects.search("shop", "refund ship cafes", limit=1)) == ["We ship to Caf\u00e9s"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("\u9000\u8d27", True),
        ("\u5982\u4f55\u9000\u8d27\uff1f", True),
        ("30\u5929", True),
        ("\u5929", True),
        ("\u8d27\u9000", False),
        ("\u8fd4\u54c1", False),
        ("\u5546\u8d27", False),
    ],
)
def test_words_without_spaces_between_them_are_found(objects: Objects, query: str, found: bool) -> None:
    """A Chinese sentence is found by two characters that follow one another in it, and comes back as it was."""
    text = "\u5546\u54c1\u53ef\u4ee5\u572830\u5929\u5185\u9000\u8d27\u3002"
    objects.index("shop", "terms", [text])
    assert texts(objects.search("shop", query, limit=9)) == ([text] if found else [])


def test_a_search_stays_in_its_group(objects: Objects) -> None:
    """What is indexed in another group is not found."""
    objects.index("one", "a", ["refund"])
    objects.index("two", "b", ["refund"])
    assert [passage.id for passage in objects.search("two", "refund", limit=9)] == ["b"]


@pytest.mark.parametrize(
    "query",
    [
        '"',
        "refund AND (",
        "NEAR(refund",
        "text:refund*",
        "-refund ^",
        "refund\0'; --",
        "\ud800 refund",
        "refund " * 9999,
    ],
)
def test_no_query_is_a_syntax_error(objects: Objects, query: str) -> None:
    """Signs that mean something to SQLite are no part of the words; what has no words finds nothing."""
    objects.index("g", "a", ["a refund"])
    assert texts(objects.search("g", query, limit=9)) == (["a refund"] if "refund" in query else [])


@pytest.mark.parametrize("query", ["", " ", "_", "\ud800", "?!"])
def test_a_query_without_words(objects: Objects, query: str) -> None:
    """It finds nothing, whether anything was ever indexed or not."""
    assert objects.search("g", query, limit=9) == []
    objects.index("g", "a", ["_ ?!"])
    assert objects.search("g", query, limit=9) == []


def test_a_query_of_very_many_words(objects: Objects) -> None:
    """The first hundred different ones count."""
    objects.index("g", "a", ["refund"])
    words = " ".join(f"w{number}" for number in range(99))
    assert texts(objects.search("g", f"{words} {words} refund", limit=9)) == ["refund"]
    assert objects.search("g", f"{words} w99 refund", limit=9) == []


def test_odd_texts_come_back_as_they_were(objects: Objects) -> None:
    """Half a surrogate pair and a NUL are kept, and words around them are found."""
    objects.index("g", "a", ["one \ud800 two", "three \0 four"])
    assert texts(objects.search("g", "two", limit=9)) == ["one \ud800 two"]
    assert texts(objects.search("g", "four", limit=9)) == ["three \0 four"]


def test_what_is_indexed_again_replaces_what_was(objects: Objects) -> None:
    """Old passages of the object are gone, those of others stay."""
    objects.index("g", "a", ["old", "old too"])
    objects.index("g", "b", ["old as well"])
    objects.index("g", "a", ["new"])
    assert texts(objects.search("g", "old new", limit=9)) == ["new", "old as well"]


def test_unindexing(objects: Objects) -> None:
    """One object or one group is found no more; there may have been nothing at all."""
    objects.unindex("a")
    objects.unindex_group("g")
    for group, id_ in (("g", "a"), ("g", "b"), ("h", "c")):
        objects.index(group, id_, ["refund"])
    objects.unindex("a")
    assert [passage.id for passage in objects.search("g", "refund", limit=9)] == ["b"]
    objects.unindex_group("g")
    assert objects.search("g", "refund", limit=9) == []
    assert [passage.id for passage in objects.search("h", "refund", limit=9)] == ["c"]


def test_an_sqlite_that_cannot_search(objects: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    """Indexing and searching say what is missing; everything else works."""
    monkeypatch.setattr(
        "fetch_hive_sdk.sandbox.objects._TEXTS", "CREATE VIRTUAL TABLE texts USING no_such_module (text)"
    )
    with pytest.raises(ConfigurationError, match="built without FTS5"):
        objects.index("g", "a", ["refund"])
    with pytest.raises(ConfigurationError, match="built without FTS5"):
        objects.search("g", "refund", limit=1)
    objects.unindex("a")
    objects.add("chat", "c", {"n": 1})
    assert objects.get("chat", "c") == {"n": 1}
    objects.clear()
    assert objects.all("chat") == []


def test_other_errors_of_sqlite_stay_what_they_are(objects: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a missing module is told as one."""
    monkeypatch.setattr("fetch_hive_sdk.sandbox.objects._TEXTS", "CREATE VIRTUAL TABEL")
    with pytest.raises(sqlite3.OperationalError, match="syntax error"):
        objects.search("g", "refund", limit=1)


# --- the store ----------------------------------------------------------------------------------------


def test_clear_forgets_objects_too(store: Store) -> None:
    """Objects, files and texts are gone after the store is cleared."""
    store.objects.add("chat", "c", {})
    store.objects.put_file("f", b"1")
    store.objects.index("g", "c", ["refund"])
    store.clear()
    assert (store.objects.all("chat"), store.objects.file("f")) == ([], None)
    assert store.objects.search("g", "refund", limit=1) == []


def test_objects_outlive_the_store(tmp_path: Path) -> None:
    """A store that is opened on the file again has objects, files and texts."""
    path = tmp_path / "sandbox.db"
    with closing(Store(path)) as store:
        store.objects.add("chat", "c", {"n": 1}, parent="p")
        store.objects.put_file("f", b"1")
        store.objects.index("g", "c", ["refund"])
    with closing(Store(path)) as store:
        assert store.objects.all("chat", parent="p") == [{"n": 1}]
        assert store.objects.file("f") == b"1"
        assert store.objects.search("g", "refund", limit=1) == [Passage("c", "refund", 1.0)]


def first_file(path: Path) -> Run:
    """A file of the first version with a run in it."""
    run = Run(
        kind="prompt",
        request_id="req_1",
        deployment="support-classifier",
        request={"deployment": "support-classifier"},
        started_at=NOON,
    )
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(FIRST_SCHEMA)
        db.execute(
            "INSERT INTO runs (request_id, kind, name, status, started_by, started_at, record)"
            " VALUES ('req_1', 'prompt', 'support-classifier', 'running', 'api', ?, ?)",
            (time_text(NOON), dump_run(run)),
        )
        db.execute("INSERT INTO settings VALUES ('seed', ?)", (b"seed",))
        db.commit()
    return run


def test_a_file_of_the_first_version_is_upgraded(tmp_path: Path) -> None:
    """It keeps its runs and settings, has objects from now on, and is of the new version; once is enough."""
    path = tmp_path / "sandbox.db"
    run = first_file(path)
    for number in (1, 2):
        with closing(Store(path)) as store:
            assert (store.runs(), store.value("seed")) == ([run], b"seed")
            store.objects.add("chat", f"c{number}", {"n": number})
            store.objects.index("g", f"c{number}", ["refund"])
            assert [one["n"] for one in store.objects.all("chat")] == list(range(1, number + 1))
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (2,)


def test_an_upgrade_that_is_disturbed_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another program writes to the file it is refused; afterwards it is upgraded as if nothing had been."""
    path = tmp_path / "sandbox.db"
    run = first_file(path)
    monkeypatch.setattr("fetch_hive_sdk.sandbox.database.BUSY_TIMEOUT", 0.0)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ConfigurationError, match="locked"):
            Store(path)
        other.execute("ROLLBACK")
        assert other.execute("PRAGMA user_version").fetchone() == (1,)
    with closing(Store(path)) as store:
        assert (store.runs(), store.objects.all("chat")) == ([run], [])


def test_a_file_of_this_version_is_opened_while_another_program_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is left to upgrade, so nothing has to wait."""
    path = tmp_path / "sandbox.db"
    Store(path).close()
    monkeypatch.setattr("fetch_hive_sdk.sandbox.database.BUSY_TIMEOUT", 0.0)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with closing(Store(path)) as store:
            assert store.objects.all("chat") == []
