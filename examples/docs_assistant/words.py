"""The words of a text as the index sees them, the same for passages and for questions.

Rules: a word is lower-case and lightly stemmed. A keyword or an operator written as code is a symbol of its
own (`kw_with`, `op_3a3d` for `:=`), so that the `with` statement is found among all the sentences with a "with".
"""

from __future__ import annotations

import keyword
import re
from functools import lru_cache

_ASKING = """
    a about actually all also am an and any anything are as at be been between but by called can cannot could create
    created creates creating define defined definition describe did difference different do does doesn't doing don't
    done each everything exactly execute executed explain for from get give had happen happens has have having he
    her how however i i'd i'm if im in into is isn't it its just know let like make makes making may me mean meaning
    means might more most much must my need no nor not of off often on once one only or other our out over please
    python python's really run runs same say she should show so some someone something such tell than that the their
    them then there these they thing this those to too up us use used uses using versus very vs want was way we well
    were what what's whats when where which while who why will with work works would write written you your
"""
_GENERAL = """
    actual behave behaves behavior behaviour best block blocks builtin check clause clauses code correctly easy
    example examples expression expressions feature find good grammar inside instead keyword
    keywords kind kinds language limited loop loops lot many multiple new number numbers object objects old operator
    operators order people possible program properly purpose quickly right rule rules several statement statements
    step steps support supported supports syntax test tests things three two type types value values variable
    variables various within without wrong
"""

STOP_WORDS = frozenset(_ASKING.split())
"""Words that ask rather than name. The keywords among them come back as symbols where code is meant."""

SOFT_WORDS = frozenset(_GENERAL.split())
"""Words that say little on their own: they help to rank, and their absence proves nothing."""

_WORD = re.compile(r"[^\W\d]\w*|\d+", re.UNICODE)
_CODE_SPAN = re.compile(r"`` (.+?) ``|`([^`]+)`")
_OPERATOR = re.compile(r"\*\*=?|//=?|:=|[=!<>]=|->|<<=?|>>=?|[-+*/%@&|^~]=?|[<>]|\.\.\.")
_PAIRS = re.compile(r"\b(yield from|async for|async with|async def|is not|not in|raise from|except\*)(?!\w)")
_SENTENCE_END = re.compile(r"(?<=[.!?])(?<!e\.g\.)(?<!i\.e\.)(?<!vs\.)(?<!etc\.)\s+(?=[A-Z`*“(])")
_SUFFIX = re.compile(
    r"(?:izations?|ations?|ating|ated|ates?|ances?|ences?|ments?|ities|ity|ions?|ings?|ed|es|(?<!s)s|e|ly)$"
)


@lru_cache(maxsize=20_000)
def stem(word: str) -> str:
    """Enough to see that "evaluated" and "evaluation" are one thing; the index itself uses Porter's stemmer."""
    if "_" in word or len(word) < 4:
        return word
    stemmed = _SUFFIX.sub("", word)
    return stemmed if len(stemmed) >= 3 else word


def words(text: str) -> list[str]:
    """All words, as written but lower-case."""
    return [word.lower() for word in _WORD.findall(text)]


def stems(text: str) -> list[str]:
    return [stem(word) for word in words(text)]


def sentences(text: str) -> list[str]:
    return _SENTENCE_END.split(text)


def code_spans(text: str) -> list[str]:
    """What stands between backticks."""
    return [wide or narrow for wide, narrow in _CODE_SPAN.findall(text)]


def symbols(code: str) -> list[str]:
    """The keywords, keyword pairs, operators and special names in a piece of code."""
    found = [f"kw_{pair.replace(' ', '_').replace('*', '_star')}" for pair in _PAIRS.findall(code)]
    for word in _WORD.findall(code):
        if keyword.iskeyword(word) or keyword.issoftkeyword(word):
            found.append(f"kw_{word.lower()}")
        elif word.startswith("__") and word.strip("_"):
            found.append(word.strip("_").lower())
    found.extend("op_" + operator.encode().hex() for operator in _OPERATOR.findall(code))
    return found


def symbols_in(text: str) -> list[str]:
    """The symbols of every code span in `text`."""
    return [symbol for span in code_spans(text) for symbol in symbols(span)]


def pairs_in(code: str) -> list[str]:
    """The keyword pairs alone: `yield from` in an example says what it is about, `return` in one doesn't."""
    return [symbol for symbol in symbols(code) if symbol.startswith("kw_") and "_" in symbol[3:]]
