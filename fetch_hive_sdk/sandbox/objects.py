"""The objects of the management resources, such as knowledge bases, with their files and what can be searched."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any

from ..errors import ConfigurationError
from .database import Database, as_text
from .filters import sql
from .records import dump_object, load_object

__all__ = ["SPACELESS", "Objects", "Passage"]

WORDS_SEARCHED = 100  # of one query: SQLite takes no expression of any length

# Chinese and Japanese have no spaces between words, so that SQLite would take a whole sentence for one. As it stands
# in the brackets of a regular expression.
SPACELESS = (
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
_CHARACTER = re.compile(f"[{SPACELESS}]")
_WORD = re.compile(rf"[{SPACELESS}]+|[^\W{SPACELESS}]+")
# Apart from the schema, since there are builds of SQLite without FTS5. A text's rowid is its passage's number.
_TEXTS = "CREATE VIRTUAL TABLE IF NOT EXISTS texts USING fts5 (text UNINDEXED, words)"


@dataclass(frozen=True)
class Passage:
    """A piece of text that a search found.

    Attributes:
        id: What it was indexed for.
        text: The piece.
        score: The share of the query's words that it has: above 0, and 1 if it has all of them.
    """

    id: str
    text: str
    score: float


class Objects:
    """JSON objects by noun and id, files, and an index of texts. Thread safe, and as durable as `Store`, whose it is.

    Args:
        db: Where they are kept.
    """

    def __init__(self, db: Database) -> None:
        self._db = db

    def clear(self) -> None:
        """Forget everything."""
        with self._db.transaction():
            self._db.execute("DELETE FROM objects")
            self._db.execute("DELETE FROM files")
            self._unindex("1")

    # --- objects ------------------------------------------------------------------------------------

    def add(self, noun: str, id: str, fields: Mapping[str, Any], *, parent: str | None = None) -> None:  # noqa: A002
        """Keep a new object.

        Args:
            noun: What it is, in the singular: `"knowledge_base"`.
            id: Its id, which no other object of the noun may have.
            fields: Its JSON, whichever of it the API tells.
            parent: The id of what it belongs to, if it does.
        """
        with self._db.transaction():
            self._db.execute(
                "INSERT INTO objects (noun, id, parent, record) VALUES (?, ?, ?, ?)",
                *(noun, id, parent, dump_object(fields)),
            )

    def get(self, noun: str, id: str, *, parent: str | None = None) -> dict[str, Any] | None:  # noqa: A002
        """An object, or None. With `parent`, None too if it does not belong to that."""
        selected = "SELECT record FROM objects WHERE noun = ? AND id = ? AND (? IS NULL OR parent = ?)"
        rows = self._db.rows(selected, noun, id, parent, parent)
        return load_object(rows[0][0]) if rows else None

    def all(self, noun: str, *, parent: str | None = None) -> list[dict[str, Any]]:
        """The objects of a noun in the order they were made; with `parent`, those that belong to it."""
        selected = "SELECT record FROM objects WHERE noun = ? AND (? IS NULL OR parent = ?) ORDER BY number"
        return [load_object(record) for (record,) in self._db.rows(selected, noun, parent, parent)]

    def count(self, noun: str, *, parent: str) -> int:
        """How many objects of a noun belong to `parent`."""
        rows: list[tuple[int]] = self._db.rows(
            "SELECT count(*) FROM objects WHERE noun = ? AND parent = ?", noun, parent
        )
        return rows[0][0]

    def save(self, noun: str, id: str, fields: Mapping[str, Any]) -> bool:  # noqa: A002
        """Keep an object's new state: all of its fields. False if it is not there."""
        changed = "UPDATE objects SET record = ? WHERE noun = ? AND id = ?"
        return self._db.change(changed, dump_object(fields), noun, id)

    def remove(self, noun: str, id: str) -> bool:  # noqa: A002
        """Forget an object, but not what belongs to it. False if it is not there."""
        return self._db.change("DELETE FROM objects WHERE noun = ? AND id = ?", noun, id)

    def remove_children(self, noun: str, parent: str) -> int:
        """Forget the objects of a noun that belong to `parent`, and return how many there were."""
        with self._db.transaction():
            return self._db.execute("DELETE FROM objects WHERE noun = ? AND parent = ?", noun, parent).rowcount

    # --- files --------------------------------------------------------------------------------------

    def put_file(self, id: str, content: bytes) -> None:  # noqa: A002
        """Keep a file, in the place of the one with this id if there is one."""
        with self._db.transaction():
            self._db.execute("INSERT OR REPLACE INTO files (id, content) VALUES (?, ?)", id, content)

    def file(self, id: str) -> bytes | None:  # noqa: A002
        """A file's content, or None."""
        rows = self._db.rows("SELECT content FROM files WHERE id = ?", id)
        return rows[0][0] if rows else None

    def stored_bytes(self) -> int:
        """The size of all files together."""
        rows: list[tuple[int]] = self._db.rows("SELECT coalesce(sum(length(content)), 0) FROM files")
        return rows[0][0]

    # --- texts --------------------------------------------------------------------------------------

    def index(self, group: str, id: str, texts: Sequence[str]) -> None:  # noqa: A002
        """Let texts be found, and no longer those that were indexed for this id before.

        Args:
            group: What is searched at once, such as a knowledge base's id.
            id: What the texts belong to, such as the id of one of its items.
            texts: Passages, each found by itself.

        Raises:
            ConfigurationError: This SQLite cannot search.
        """
        with self._searchable():
            self._unindex("object = ?", id)
            for text in texts:
                passage = self._db.execute("INSERT INTO passages (family, object) VALUES (?, ?)", group, id)
                words = _CHARACTER.sub(r" \g<0> ", text)
                self._db.execute(
                    "INSERT INTO texts (rowid, text, words) VALUES (?, ?, ?)", passage.lastrowid, text, words
                )

    def unindex(self, id: str) -> None:  # noqa: A002
        """Let nothing be found any more that was indexed for this id."""
        with self._db.transaction():
            self._unindex("object = ?", id)

    def unindex_group(self, group: str) -> None:
        """Let nothing be found any more in this group."""
        with self._db.transaction():
            self._unindex("family = ?", group)

    def search(self, group: str, query: str, *, limit: int) -> list[Passage]:
        """The passages of a group that have at least one of the query's words: most words first, then by BM25.

        Words are compared without regard to case and accents. The first 100 different ones are searched for. In
        Chinese and Japanese each two characters that follow one another count as a word, or one that stands alone.

        Raises:
            ConfigurationError: This SQLite cannot search.
        """
        words = list(islice(dict.fromkeys(_words(query)), WORDS_SEARCHED))
        quoted = [f'"{word}"' for word in words] or ['""']
        each = " UNION ALL ".join(["SELECT rowid FROM texts WHERE texts MATCH ?"] * len(quoted))
        # BM25 alone would be no score: a word that is in most passages weighs nothing, however few those are.
        hits = sql("WITH hits (hit, found) AS (SELECT rowid, count(*) FROM (", each, ") GROUP BY rowid)")
        selected = (
            "SELECT object, text, found FROM texts JOIN passages ON number = texts.rowid JOIN hits ON hit = number",
            "WHERE texts MATCH ? AND family = ? ORDER BY found DESC, bm25(texts), number LIMIT ?",
        )
        with self._searchable():
            rows = self._db.rows(sql(hits, *selected), *quoted, " OR ".join(quoted), group, limit)
        return [Passage(of, as_text(text), found / len(quoted)) for of, text, found in rows]

    @contextmanager
    def _searchable(self) -> Generator[None]:
        """A transaction in which there is a table of texts."""
        try:
            with self._db.transaction():
                self._db.execute(_TEXTS)
                yield
        except sqlite3.OperationalError as error:
            if "no such module" not in str(error):
                raise
            raise ConfigurationError(
                "This Python's SQLite cannot search texts: it was built without FTS5.",
                hint="Use a Python whose sqlite3 module has FTS5; everything else works without.",
            ) from error

    def _unindex(self, which: str, *values: str) -> None:
        numbers = sql("SELECT number FROM passages WHERE", which)
        if self._db.rows(numbers, *values):  # else there may be no table of texts
            with self._searchable():
                self._db.execute(sql("DELETE FROM texts WHERE rowid IN (", numbers, ")"), *values)
                self._db.execute(sql("DELETE FROM passages WHERE", which), *values)


def _words(query: str) -> Iterator[str]:
    """The words of a query; two characters are told with a space between them, as they are indexed."""
    for word in _WORD.findall(query):
        if len(word) > 1 and _CHARACTER.match(word):
            yield from map(" ".join, pairwise(word))
        else:
            yield word
