"""A full-text index over the passages, in memory, in SQLite's FTS5.

Rules: built once, read by any thread; a lock keeps the one connection to one reader at a time. Titles weigh more
than text, and symbols (`kw_with`) have a column of their own. Porter's stemmer is SQLite's.
"""

from __future__ import annotations

import difflib
import math
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterable, Sequence

from examples.docs_assistant.corpus import Passage
from examples.docs_assistant.vocabulary import Vocabulary, searchable, vocabulary_of
from examples.docs_assistant.words import code_spans, stem, words

_WEIGHTS = "6.0, 1.0, 4.0"  # title, body, symbols
_SPELLING_CUTOFF = 0.84  # "decoratr" is "decorator"; "bread" isn't "break"


class IndexUnavailableError(RuntimeError):
    """This Python's SQLite can't build the index; the message says what to do."""


class Index:
    """The passages, findable by words (`search`), by name (`named`) and by what they look like (`spelled_like`)."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self.passages = tuple(passages)
        self.vocabularies = tuple(vocabulary_of(passage) for passage in passages)
        self._frequency = Counter(token for vocabulary in self.vocabularies for token in _tokens(vocabulary))
        self._spellings = _frequent_words(passages)
        self._names = _names(passages)
        self._lock = threading.Lock()
        self._database = _database(passages)

    def search(self, match: str, limit: int) -> list[tuple[int, float]]:
        """The passages that match an FTS5 expression, best first, with their bm25 (higher is better here)."""
        with self._lock:
            rows = self._database.execute(
                f"SELECT rowid, -bm25(passages, {_WEIGHTS}) AS score FROM passages WHERE passages MATCH ?"
                " ORDER BY score DESC, rowid LIMIT ?",
                (match, limit),
            ).fetchall()
        return [(int(number), float(score)) for number, score in rows]

    def named(self, name: str) -> list[int]:
        """Passages that document a name: `str.split`, `split` and `__slots__` all find theirs."""
        return self._names.get(name.lower().strip("`()"), [])

    def rarity(self, token: str) -> float:
        """Inverse document frequency: a word that few passages have says more. An unknown word is the rarest."""
        return math.log(1 + len(self.passages) / (1 + self._frequency[token]))

    def knows(self, word: str) -> bool:
        return self._frequency[stem(word)] > 0

    def spelled_like(self, word: str) -> str | None:
        """The word of the reference that `word` was probably meant to be."""
        if len(word) < 5:
            return None
        candidates = [known for known in self._spellings if known[0] == word[0] and abs(len(known) - len(word)) < 3]
        close = difflib.get_close_matches(word, candidates, n=1, cutoff=_SPELLING_CUTOFF)
        return close[0] if close else None

    def close(self) -> None:
        with self._lock:
            self._database.close()


def _database(passages: Sequence[Passage]) -> sqlite3.Connection:
    database = sqlite3.connect(":memory:", check_same_thread=False)
    try:
        database.execute(
            "CREATE VIRTUAL TABLE passages USING"
            " fts5(title, body, symbols, tokenize = \"porter unicode61 tokenchars '_'\")"
        )
    except sqlite3.OperationalError as error:
        database.close()
        raise IndexUnavailableError(
            f"this Python's SQLite ({sqlite3.sqlite_version}) has no FTS5 full-text search ({error}): "
            "use a Python from python.org, your distribution or uv, which all have it"
        ) from error
    database.executemany(
        "INSERT INTO passages(rowid, title, body, symbols) VALUES (?, ?, ?, ?)",
        ((passage.number, *searchable(passage)) for passage in passages),
    )
    return database


def _tokens(vocabulary: Vocabulary) -> Iterable[str]:
    return vocabulary.path | vocabulary.body.keys()


def _frequent_words(passages: Sequence[Passage]) -> list[str]:
    counts = Counter(word for passage in passages for word in words(passage.text) if len(word) > 4 and "_" not in word)
    return [word for word, count in sorted(counts.items()) if count > 1]


def _names(passages: Sequence[Passage]) -> dict[str, list[int]]:
    """Every way to call an entry, to the passages that document it."""
    names: dict[str, list[int]] = {}
    for passage in passages:
        if passage.kind == "version":
            continue
        called = [part for name in passage.entry.lower().split() for part in (name.strip("`"), name.rpartition(".")[2])]
        if passage.position == 0 and not passage.entry:
            called += [span.lower() for span in code_spans(passage.headings[-1])]
        for name in dict.fromkeys(called):
            if name and name.strip("_"):
                names.setdefault(name, []).append(passage.number)
    return names
