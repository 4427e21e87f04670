"""What a passage speaks of, as ranking and judging need it: its words by where they stand.

Rules: stems and symbols only, never the words as written. A heading counts for all that stands under it; what stands
in italics is being explained.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from examples.docs_assistant.corpus import Passage
from examples.docs_assistant.jargon import Form
from examples.docs_assistant.words import pairs_in, stem, stems, symbols_in, words

_ITALICS = re.compile(r"(?<![\w*`])\*([^*`]+)\*(?![\w*`])")
_PLACEHOLDER = re.compile(r"\b(object|class|definition|instance|type)\.(?=_|mro)")  # owner of no particular type
_CLOSE = 4  # words apart, for a term of several words


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What a passage speaks of: stems and symbols of its title, and the places of those in its body."""

    title: frozenset[str]  # of its own heading, or of the name that it documents
    path: frozenset[str]  # of all headings above it
    body: dict[str, list[int]]
    terms: frozenset[str]  # of what it sets in italics, as the reference does where it explains a term

    def __contains__(self, token: str) -> bool:
        return token in self.body or token in self.path

    def speaks_of(self, form: Form) -> bool:
        """Whether the words of `form` (stems and symbols) stand close together here, or in a heading."""
        if len(form) == 1:
            return form[0] in self
        if all(token in self.path for token in form):
            return True
        first, *others = (self.body.get(token, ()) for token in form)
        return any(all(any(abs(place - start) <= _CLOSE for place in places) for places in others) for start in first)


def searchable(passage: Passage) -> tuple[str, str, str]:
    """Title, body and symbols of a passage, as they are indexed."""
    title = " ".join([*passage.headings, passage.entry, passage.topic.replace("-", " ")])
    body = passage.text
    # A documented name counts as code: "what are slots?" should find `__slots__`.
    marks = symbols_in(title) * 2 + symbols_in(body) + [part for part in words(passage.entry) if "__" in part]
    marks += [pair for block in passage.blocks if block.kind == "code" for pair in pairs_in(block.text)]
    return title, body, " ".join([*marks, *(mark.strip("_") for mark in marks if mark.startswith("__"))])


def vocabulary_of(passage: Passage) -> Vocabulary:
    _, body, marks = searchable(passage)
    places: dict[str, list[int]] = {}
    for place, token in enumerate(stems(body)):
        places.setdefault(token, []).append(place)
    for symbol in symbols_in(body):
        places.setdefault(symbol, [])
    for mark in marks.split():
        places.setdefault(mark, [])
    # The topic's name (`specialnames`) helps SQLite to find, but it isn't what the passage says.
    own = _PLACEHOLDER.sub("", passage.entry) or passage.headings[-1]
    path = " ".join([*passage.headings, passage.entry])
    parameters = {token for block in passage.blocks if block.kind == "signature" for token in stems(block.text)}
    terms = frozenset(token for italics in _ITALICS.findall(body) for token in stems(italics)) - parameters
    return Vocabulary(_heading_tokens(own), _heading_tokens(path), places, terms)


def _heading_tokens(heading: str) -> frozenset[str]:
    return frozenset([*stems(heading), *symbols_in(heading), *_bare(heading)])


def _bare(title: str) -> list[str]:
    return [stem(word.strip("_")) for word in words(title) if word.startswith("__")]
