"""Which passages answer a question: precision, after the index has seen to recall. Pure functions.

Rules: every term of the question has a weight, its rarity; a word that says little on its own has a small one. A
passage scores by how much of the question it covers, whether its heading is what was asked, whether it explains the
term, how near to each other the words stand, and whether it is the kind of passage that was asked for. The
judge goes by `confidence_in`.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

from examples.docs_assistant.corpus import Passage
from examples.docs_assistant.index import Index
from examples.docs_assistant.jargon import Form
from examples.docs_assistant.question import Reading, Subject, Term
from examples.docs_assistant.vocabulary import Vocabulary
from examples.docs_assistant.words import sentences, stem, symbols_in, words

_NEAR = 4  # words between the words of one term
_OPENING = 7  # words at the start of a passage, where a definition names its subject
_START = 10  # words at the start of a sentence, where it names what it is about
_SOFT = 0.25  # what a word that says little weighs, of one that says much
_SHORT = 80  # characters: less is seldom an answer
_LITTLE_WORDS = "a an and as for from in is not of or the to with"
_SINGLE, _TOGETHER = 0.6, 0.4  # of the judgement: what the best passage covers, what all of them do
_PASSING = 0.5  # what is left of a judgement where the evidence mentions the subject in passing only


@dataclass(frozen=True, slots=True)
class Scored:
    """A passage and how well it fits; `on_subject` is 1 when its heading is just what was asked."""

    passage: Passage
    score: float
    on_subject: float


def match_expression(subject: Subject) -> str:
    """Any of the terms, in any of their forms, as an FTS5 expression: nothing that was typed is an operator."""
    forms = dict.fromkeys(form for term in subject.terms for form in term.forms)
    return " OR ".join(_near(form) for form in forms)


def _near(form: Form) -> str:
    tokens = " ".join('"' + re.sub(r"[^\w ]", " ", token) + '"' for token in form)
    return f"NEAR({tokens}, {_NEAR})" if len(form) > 1 else tokens


def rerank(found: Sequence[tuple[int, float]], subject: Subject, reading: Reading, index: Index) -> list[Scored]:
    """The passages found, best first; ties are settled by their order in the reference."""
    best = max((score for _, score in found), default=1.0) or 1.0
    scored = [_score(index.passages[number], bm25 / best, subject, reading, index) for number, bm25 in found]
    return sorted(scored, key=lambda one: (-one.score, one.passage.number))


def _score(passage: Passage, bm25: float, subject: Subject, reading: Reading, index: Index) -> Scored:
    vocabulary = index.vocabularies[passage.number]
    opening = mentioned(_opening(_first_text(passage)))
    covered = [term for term in subject.terms if speaks_of(vocabulary, term)]

    def share(tokens: Container[str]) -> float:
        return _share([term for term in subject.terms if within(tokens, term)], subject, index)

    in_path = share(vocabulary.path)
    of_keyword = _share([term for term in subject.terms if _is_help_for(passage, term)], subject, index)
    on_subject = max(share(vocabulary.title) * _title_precision(vocabulary, subject), of_keyword)
    score = (
        2.0 * _share(covered, subject, index)
        + 1.6 * on_subject
        + 0.5 * in_path
        + 0.6 * bm25
        + 0.6 * _nearness(vocabulary, covered)
        + 1.2 * share(vocabulary.terms)
        + 0.6 * share(opening)
        + _fit(passage, reading, in_path)
    )
    return Scored(passage, score, on_subject)


def _is_help_for(passage: Passage, term: Term) -> bool:
    """Whether the passage stands in what `help("with")` shows, and the term is the keyword `with`."""
    return not term.soft and not passage.entry and (f"kw_{passage.topic}",) in term.forms


def _share(terms: Iterable[Term], subject: Subject, index: Index) -> float:
    """What part of the question the terms make up, by weight."""
    return sum(_weight(term, index) for term in terms) / (sum(_weight(term, index) for term in subject.terms) or 1.0)


def mentioned(text: str) -> set[str]:
    """The stems and symbols of a text."""
    return {stem(word) for word in words(text)} | set(symbols_in(text))


def _first_text(passage: Passage) -> str:
    return next((block.text for block in passage.blocks if block.kind not in ("code", "signature")), "")


def _weight(term: Term, index: Index) -> float:
    rarity = min(max(index.rarity(token) for token in form) for form in term.token_forms())
    return rarity * (_SOFT if term.soft else 1.0)


def speaks_of(vocabulary: Vocabulary, term: Term) -> bool:
    """Whether a passage has the term in one of its forms, the words of a form close together."""
    return any(vocabulary.speaks_of(form) for form in term.token_forms())


def within(tokens: Container[str], term: Term) -> bool:
    """Whether all words of one of the term's forms are among `tokens`."""
    return any(all(token in tokens for token in form) for form in term.token_forms())


def _title_precision(vocabulary: Vocabulary, subject: Subject) -> float:
    """How much of the heading the question accounts for: 1 when the heading is exactly what was asked."""
    content = vocabulary.title.difference(_LITTLE_WORDS.split())
    asked = {token for term in subject.terms for form in term.token_forms() for token in form}
    return len(content & asked) / len(content) if content else 0.0


def _nearness(vocabulary: Vocabulary, covered: Sequence[Term]) -> float:
    """1 when the terms stand side by side in the text, less the further apart they are."""
    places = [
        sorted(place for form in term.token_forms() for token in form for place in vocabulary.body.get(token, []))
        for term in covered
    ]
    placed = [ones for ones in places if ones]
    if len(placed) < 2:
        return 0.0
    spread = min(max(_closest(ones, start) for ones in placed) for start in placed[0])
    return 1 / (1 + spread / 8)


def _closest(places: Iterable[int], start: int) -> int:
    return min(abs(place - start) for place in places)


def _fit(passage: Passage, reading: Reading, in_path: float) -> float:
    """What the kind of the passage and its place speak for, given the kind of question."""
    fit = 0.0
    if passage.kind == "grammar":
        fit += 1.0 if reading.wants_syntax else -1.5
    elif passage.kind == "version":
        fit += 0.3 if reading.wants_history else -1.5
    elif passage.kind == "note":
        fit -= 0.4
    elif passage.position == 0:
        fit += 0.3 + 0.4 * in_path
    if passage.topic == "debugger" and not reading.about_debugger:
        fit -= 2.5
    if len(passage.text) < _SHORT:
        fit -= 0.4
    return fit


def confidence_in(passages: Sequence[Passage], subject: Subject, index: Index) -> tuple[float, list[str]]:
    """How sure the evidence makes us (0 to 1), and the terms that it lacks.

    One passage that has it all convinces more than several that have a piece each. What is only mentioned in passing,
    in no heading and at the start of no sentence, halves it: the reference isn't about it.
    """
    if not subject.terms or not passages:
        return 0.0, [term.shown for term in subject.terms]
    vocabularies = [index.vocabularies[passage.number] for passage in passages]
    covered = [[term for term in subject.terms if speaks_of(one, term)] for one in vocabularies]
    single = max(_share(terms, subject, index) for terms in covered)
    together = dict.fromkeys(term for terms in covered for term in terms)
    featured = [term for term in together if any(_features(passage, term, index) for passage in passages)]
    coverage = _SINGLE * single + _TOGETHER * _share(together, subject, index)
    aboutness = min(1.0, _PASSING + _share(featured, subject, index))
    return coverage * aboutness, [term.shown for term in subject.terms if term not in together]


def _features(passage: Passage, term: Term, index: Index) -> bool:
    """Whether the passage makes something of the term: in a heading, in italics, or where a sentence starts."""
    vocabulary = index.vocabularies[passage.number]
    told = passage.blocks if passage.kind == "prose" else ()  # a note is about something else
    texts = (block.text for block in told if block.kind in ("text", "item"))
    starts = (mentioned(_opening(sentence, _START)) for text in texts for sentence in sentences(text))
    return any(within(tokens, term) for tokens in (vocabulary.path, vocabulary.terms, *starts))


def _opening(text: str, size: int = _OPENING) -> str:
    return " ".join(text.split()[:size])
