"""What to quote of the passages that rank well, and how much of each.

Rules: `choose` picks passages, `compress` cuts one down. Whole sentences and whole code are kept, in the order of the
reference where a section is told, best first otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from examples.docs_assistant.corpus import Passage
from examples.docs_assistant.index import Index
from examples.docs_assistant.markup import Block
from examples.docs_assistant.question import Subject, Term
from examples.docs_assistant.ranking import Scored, mentioned, speaks_of, within
from examples.docs_assistant.words import sentences

SIZE_OF_ANSWER = 2000  # characters of evidence for a question
_ON_SUBJECT = 0.6  # from here on the heading counts as what was asked
_NEARLY_AS_GOOD = 0.72  # of the best score: what else of the same topic is quoted
_AS_GOOD = 0.84  # of the best score: what else is quoted of another topic, or when there is much already
_LITTLE = 400  # characters that leave room for what is nearly as good, wherever it stands
_ENOUGH = 900  # characters after which only what is as good is added
_MOST_PASSAGES = 4
_MOST_SIGNATURES = 3
_SIZE_OF_PASSAGE = 1400  # characters of one passage before its less relevant sentences go
_SIZE_OF_PARAGRAPH = 600  # the same for one paragraph, unless its section is told
_POINTERS = re.compile(
    r"^(?:\(?See (?:also )?|For (?:full|more|further) (?:details|information)|This section )|FAQ entry"
)


class _Quotes:
    """What is quoted so far, within the room that there is."""

    def __init__(self, subject: Subject, room: int) -> None:
        self.passages: list[Passage] = []
        self.spent = 0
        self._subject = subject
        self._room = room

    def add(self, passage: Passage, whole: bool = False) -> None:
        shorter = compress(passage, self._subject, whole)
        fits = self.spent + len(shorter.text) <= self._room and len(self.passages) < _MOST_PASSAGES
        if shorter.blocks and fits and passage.number not in self.numbers():
            self.passages.append(shorter)
            self.spent += len(shorter.text)

    def numbers(self) -> list[int]:
        return [passage.number for passage in self.passages]

    def lack(self, term: Term, index: Index) -> bool:
        return not any(speaks_of(index.vocabularies[number], term) for number in self.numbers())


def choose(ranked: Sequence[Scored], subject: Subject, index: Index, size: int = SIZE_OF_ANSWER) -> list[Passage]:
    """What to quote, already compressed, up to `size` characters.

    Where the best passage stands under a heading that is just what was asked, its section is told from the
    start. Then come others that are nearly as good, and last what speaks of the terms still missing. What is
    quoted of one section stays together.
    """
    if not ranked:
        return []
    best, quotes = ranked[0], _Quotes(subject, size)
    told = [one.passage for one in ranked if _same_story(one, best)]
    for passage in sorted(told, key=lambda passage: passage.number):
        quotes.add(passage, whole=True)
    quotes.add(best.passage, whole=len(best.passage.text) < _ENOUGH)
    for one in ranked:
        near = one.passage.topic == best.passage.topic and quotes.spent < _ENOUGH
        bar = _NEARLY_AS_GOOD if near or quotes.spent < _LITTLE else _AS_GOOD
        if one.score >= bar * best.score:
            quotes.add(one.passage)
    for term in subject.terms:
        if not term.soft and quotes.lack(term, index):
            speaking = (one for one in ranked if speaks_of(index.vocabularies[one.passage.number], term))
            for one in list(speaking)[:1]:
                quotes.add(one.passage)
    sections = list(dict.fromkeys(passage.section for passage in quotes.passages))
    return sorted(quotes.passages, key=lambda passage: sections.index(passage.section))


def _same_story(one: Scored, best: Scored) -> bool:
    """Whether both stand in the section that was asked for, if the best passage is in such a one."""
    passage, model = one.passage, best.passage
    if best.on_subject < _ON_SUBJECT or (passage.topic, passage.kind) != (model.topic, model.kind):
        return False
    if passage.headings[: len(model.headings)] != model.headings:
        return False
    return passage.entry == model.entry or one.on_subject >= _ON_SUBJECT


def compress(passage: Passage, subject: Subject, whole: bool = False) -> Passage:
    """The passage without what doesn't help: pointers elsewhere, remarks, sentences off the subject.

    With `whole`, as much of it stays as there is room for. Code is never cut: half an example is worth nothing.
    """
    blocks = [_without_pointers(block) for block in passage.blocks if block.kind != "remark"]
    if not whole:
        blocks = [block if len(block.text) <= _SIZE_OF_PARAGRAPH else _to_the_point(block, subject) for block in blocks]
    if sum(len(block.text) for block in blocks) > _SIZE_OF_PASSAGE:
        blocks = _relevant_rows([block for block in blocks if block.depth == 0], subject)
        blocks = [_to_the_point(block, subject, lead=place == 0) for place, block in enumerate(blocks)]
    blocks = [_few_signatures(block, subject) for block in blocks if block.text]
    while blocks and blocks[-1].kind == "text" and blocks[-1].text.endswith(":"):
        blocks.pop()  # it introduces what isn't quoted
    return replace(passage, blocks=tuple(blocks))


def _few_signatures(block: Block, subject: Subject) -> Block:
    """The arithmetic methods share one text: of fourteen signatures, those asked for, or the first few."""
    lines = block.text.splitlines()
    if block.kind != "signature" or len(lines) <= _MOST_SIGNATURES:
        return block
    asked = [line for line in lines if _mentions(line, subject)]
    return replace(block, text="\n".join(asked or [*lines[:_MOST_SIGNATURES], "..."]))


def _relevant_rows(blocks: list[Block], subject: Subject) -> list[Block]:
    """Of an unnumbered list the items that speak of the subject, if some do; the steps of a procedure all stay."""
    wanted = [block for block in blocks if block.marker == "-" and _mentions(block.text, subject)]
    return [block for block in blocks if block.marker != "-" or block in wanted or not wanted]


def _to_the_point(block: Block, subject: Subject, lead: bool = True) -> Block:
    """The sentences that speak of most terms, and one that introduces what follows. Steps stay as they are.

    Of what leads a passage, the first sentence stays if no other does.
    """
    if block.kind not in ("text", "item") or block.marker[:1].isdigit() or not block.text:
        return block
    parts = sentences(block.text)
    counts = [sum(within(mentioned(part), term) for term in subject.terms if not term.soft) for part in parts]
    enough = max(1, max(counts) / 2)
    kept = [part for part, count in zip(parts, counts, strict=True) if count >= enough or part.endswith(":")]
    if not kept:
        kept = parts if block.kind == "item" else parts[: int(lead)]
    return replace(block, text=" ".join(kept))


def _without_pointers(block: Block) -> Block:
    if block.kind not in ("text", "item"):
        return block
    kept = [sentence for sentence in sentences(block.text) if not _POINTERS.search(sentence)]
    return replace(block, text=" ".join(kept))


def _mentions(text: str, subject: Subject) -> bool:
    tokens = mentioned(text)
    return any(within(tokens, term) for term in subject.terms if not term.soft)
