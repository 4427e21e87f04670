"""What a question asks for: its subjects and the terms to look for; and how to ask again, in other words.

Rules: a term is a thing that an answer must speak of, in any of its forms. Refining changes the terms that
the evidence lacks, and no others: first into the words that the reference uses, then into a likelier spelling.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from examples.docs_assistant.jargon import CONCEPTS, JARGON, Form
from examples.docs_assistant.words import SOFT_WORDS, STOP_WORDS, stem, symbols, words

# Keywords that are ordinary English too: they are meant as code only where the question shows it.
_COMMON = ("with", "for", "in", "is", "not", "and", "or", "if", "else", "as", "from", "while", "try", "except")
_KIND_OF_CODE = r"statements?|loops?|clauses?|keywords?|operators?|expressions?|blocks?|tests?"
_ANY_COMMON = "|".join(_COMMON)
_SHOWN_AS_CODE = re.compile(
    rf"\b(?P<named>{_ANY_COMMON})\s+(?:{_KIND_OF_CODE})\b|\b(?P<listed>\w+(?:/\w+)+)\b"
    rf"|\bwhat (?:does|is) (?P<asked>{_ANY_COMMON})(?: (?:do|mean|for))?[?. ]*$",
    re.IGNORECASE,
)
_HARD = """
    assert async await break case class continue def del elif except false finally global import lambda match none
    nonlocal pass raise return true try while yield
"""
_HARD_KEYWORDS = frozenset(_HARD.split())
_CODE = re.compile(
    r"`(?P<ticked>[^`]+)`|(?<!\w)['\"“](?P<quoted>[^'\"”]+)['\"”](?!\w)"
    r"|(?P<pair>\b(?:yield from|async for|async with|async def|not in)\b)"
    r"|(?P<call>\b[A-Za-z_][\w.]*\(\))|(?P<dotted>\b[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+)|(?P<special>\b__\w+__)"
    r"|(?P<star>\*{1,2}(?=args\b|kwargs\b))"
    r"|(?<!\S)(?P<operator>\*\*=?|//=?|:=|[=!<>]=|->|<<|>>|[-+*/%@&|^~]=?|[<>]|\.\.\.)(?=[\s?,.!]|$)"
)
_TWO_KEYWORDS = re.compile(r"\b(raise|try|for|while|if)(?: |/|…|\.\.\.)(from|else|finally|except)\b")
_COMPARISONS = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\bdifferences? between (?P<a>.+?) and (?P<b>.+)",
        r"\bcompare (?P<a>.+?) (?:and|with|to) (?P<b>.+)",
        r"\bhow (?:is|are|does|do) (?P<a>.+?) (?:differ|different) (?:from|to|than) (?P<b>.+)",
        r"^(?:what is |what's )?(?P<a>.+?) (?:vs\.?|versus) (?P<b>.+)",
    )
]
_CONCEPTS_LONGEST_FIRST = sorted(CONCEPTS, key=len, reverse=True)
_SYNTAX = re.compile(r"\b(syntax|grammar|bnf)\b", re.IGNORECASE)
_HISTORY = re.compile(r"\b(version|versions|since|added|deprecated|new in|changed)\b", re.IGNORECASE)
_DEBUGGER = re.compile(r"\b(pdb|debug\w*|breakpoints?)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Term:
    """Something to look for. `shown` is how the question put it; any of `forms` will do."""

    shown: str
    forms: tuple[Form, ...]
    soft: bool = False

    def token_forms(self) -> list[Form]:
        """The forms as stems and symbols, as a `Vocabulary` holds them."""
        return [
            tuple(token if token.startswith(("kw_", "op_")) else stem(token) for token in form) for form in self.forms
        ]


@dataclass(frozen=True, slots=True)
class Subject:
    """One thing that a question is about; a comparison has two."""

    text: str
    terms: tuple[Term, ...]

    def shown(self) -> str:
        """The terms in words, for a person who follows the search."""
        return " + ".join(term.shown for term in self.terms) or self.text


@dataclass(frozen=True, slots=True)
class Reading:
    """A question as understood: its subjects, the names that it mentions, and what kind of passage it is after."""

    subjects: tuple[Subject, ...]
    names: tuple[str, ...]
    wants_syntax: bool
    wants_history: bool
    about_debugger: bool


def read_question(text: str) -> Reading:
    text = re.sub(r"\s+", " ", text).strip()
    text = _TWO_KEYWORDS.sub(r"`\1` `\2`", text)
    parts = _compared(text) or [text]
    subjects = tuple(Subject(part, tuple(_terms(part))) for part in parts)
    return Reading(
        subjects=subjects,
        names=tuple(_names(text)),
        wants_syntax=bool(_SYNTAX.search(text)),
        wants_history=bool(_HISTORY.search(text)),
        about_debugger=bool(_DEBUGGER.search(text)),
    )


def refine(
    subject: Subject, missing: Iterable[str], knows: Callable[[str], bool], spell: Callable[[str], str | None]
) -> Subject | None:
    """`subject` asked in other words, or `None` when there are none.

    Args:
        subject: What found too little.
        missing: The terms, as shown, that the evidence lacks.
        knows: Whether the reference has a word at all.
        spell: The word of the reference that one was probably meant to be, if any.
    """
    lacking = set(missing)

    def changed(change: Callable[[Term], Term]) -> Subject:
        terms = tuple(change(term) if term.shown in lacking else term for term in subject.terms)
        return replace(subject, terms=terms)

    attempts = (changed(_in_reference_words), changed(lambda term: _respelled(term, knows, spell)))
    return next((attempt for attempt in attempts if attempt != subject), None)


def _compared(text: str) -> list[str] | None:
    for pattern in _COMPARISONS:
        if match := pattern.search(text):
            return [_without_article(match["a"]), _without_article(match["b"])]
    return None


def _without_article(text: str) -> str:
    return re.sub(r"^(?:a|an|the)\s+(?=\w{2})", "", text.strip(" ?.!,"), flags=re.IGNORECASE)


def _names(text: str) -> Iterator[str]:
    for match in _CODE.finditer(text):
        code = match["ticked"] or match["quoted"] or match["call"] or match["dotted"] or match["special"]
        if code and re.fullmatch(r"[A-Za-z_][\w.]*(\(.*\))?", code):
            yield code.partition("(")[0]


def _terms(text: str) -> list[Term]:
    bare = text.strip(" ?.!").lower()
    if symbols(bare) and re.fullmatch(r"\w+( \w+)?|\W+", bare):
        return [_code_term(bare)]  # nothing but a keyword or an operator
    code, rest = _code_terms(text)
    concepts, rest = _concept_terms(rest.replace("-", " "))
    terms = [*code, *concepts, *_word_terms(rest, known={term.shown.strip("`") for term in code})]
    if all(term.soft for term in terms):
        return [replace(term, soft=False) for term in terms]
    return terms


def _code_terms(text: str) -> tuple[list[Term], str]:
    """What the question shows as code, and the rest of it."""
    terms: list[Term] = []
    rest = text
    for match in _CODE.finditer(text):
        terms.append(_code_term(next(group for group in match.groups() if group)))
        first, _, second = (match["pair"] or "").partition(" ")
        if second and first in _HARD_KEYWORDS:  # `yield from` is also about `yield`
            terms.append(replace(_code_term(first), soft=True))
        rest = rest.replace(match[0], " ", 1)
    for match in _SHOWN_AS_CODE.finditer(rest):
        listed = (match["named"] or match["listed"] or match["asked"]).lower().split("/")
        terms.extend(_code_term(word) for word in listed if word in _COMMON)
    return terms, rest


def _concept_terms(text: str) -> tuple[list[Term], str]:
    terms: list[Term] = []
    for concept in _CONCEPTS_LONGEST_FIRST:
        pattern = rf"\b{concept}(?:e?s)?\b"
        if re.search(pattern, text, re.IGNORECASE):
            terms.append(Term(concept, CONCEPTS[concept]))
            text = re.sub(pattern, " ", text, flags=re.IGNORECASE)
    return terms, text


def _word_terms(text: str, known: set[str]) -> Iterator[Term]:
    for word in dict.fromkeys(words(text)):
        if word in known:
            continue
        if word in _HARD_KEYWORDS:
            yield Term(word, ((f"kw_{word}",), (word,)))
        elif word not in STOP_WORDS and (len(word) > 1 or word.isdigit()):
            yield Term(word, ((word,),), soft=word in SOFT_WORDS)


def _code_term(code: str) -> Term:
    code = code.strip().removesuffix("()").lower()
    forms: list[Form] = [(symbol,) for symbol in symbols(code)[:1]]
    if not forms or code.startswith("__"):
        forms = [tuple(words(code)) or (code,), *forms]
    elif code in _HARD_KEYWORDS:
        forms.append((code,))
    return Term(f"`{code}`", tuple(forms))


def _in_reference_words(term: Term) -> Term:
    forms = JARGON.get(term.shown.strip("`")) or JARGON.get(term.shown.removesuffix("s"))
    if not forms or set(forms) <= set(term.forms):
        return term
    return Term(f"{term.shown} → {' / '.join(_readable(form) for form in forms[:3])}", forms)


def _respelled(term: Term, knows: Callable[[str], bool], spell: Callable[[str], str | None]) -> Term:
    word = term.forms[0][0]
    if len(term.forms) > 1 or knows(word):
        return term
    better = spell(word)
    return Term(f"{term.shown} → {better}", ((better,),)) if better else term


def _readable(form: Form) -> str:
    def one(token: str) -> str:
        if token.startswith("op_"):
            return bytes.fromhex(token[3:]).decode()
        return token.removeprefix("kw_").replace("_star", "*") if token.startswith("kw_") else token

    return " ".join(one(token) for token in form)
