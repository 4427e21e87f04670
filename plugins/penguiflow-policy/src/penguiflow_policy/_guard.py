"""Refuses conditions whose work could grow faster than the message that they look at.

Rules: CEL has no loops but macros, and each of these goes once over one list. What stands inside a macro sees its own
variable and what is short (tenant, topic, ...), never the payload or meta again, and no other macro; those that make
lists copy them for each item, and are left out; `+` is rare; and what is searched for is a literal (`_literals`). So a
condition takes at most its own length times the size of the message, in time and in memory. This reads tokens; whether
the condition makes sense is the compiler's business.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from penguiflow_policy._literals import SEARCHING, ZONED, misused

MAX_CHARACTERS = 1000
MAX_PLUS = 16
LOOPS = ("all", "exists", "exists_one")
MAKERS = ("map", "filter")
LARGE = ("payload", "meta", "proposed")
SHORT = ("tenant", "topic", "priority", "node", "flow", "trace_id", "hour")
_PLAIN_TEXT = re.compile(r"""'[^'\\\n]+'|"[^"\\\n]+\"""")
_BEFORE_A_FIELD = re.compile(r"(?!in$).*[\w)\]}'\"]", re.DOTALL)

_TOKEN = re.compile(
    r"""
    (?P<space>\s+|//[^\n]*)
  | (?P<raw>(?:[rR][bB]?|[bB][rR])(?:\"{3}.*?\"{3}|'{3}.*?'{3}|"[^"\n]*"|'[^'\n]*'))
  | (?P<text>[bB]?(?:\"{3}(?:[^\\]|\\.)*?\"{3}|'{3}(?:[^\\]|\\.)*?'{3}|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'))
  | (?P<number>[0-9][0-9a-fA-FxXeEuU.]*)
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<sign>&&|\|\||[!<>=]=?|[-+*/%?:.,()\[\]{}])
    """,
    re.VERBOSE | re.DOTALL,
)


class Token(NamedTuple):
    """A piece of a condition, and the place of its first character."""

    kind: str
    text: str
    at: int


class Refusal(NamedTuple):
    """Why a condition isn't used, and the place in it."""

    text: str
    at: int


def refusal(source: str) -> Refusal | None:
    """What is wrong with a condition's cost; `None` if it is bounded."""
    if len(source) > MAX_CHARACTERS:
        return Refusal(f"a condition has at most {MAX_CHARACTERS} characters, and this has {len(source)}", 0)
    tokens: list[Token] = []
    for token in _tokens(source):
        if token.kind == "other":
            return Refusal(f"{token.text!r} has no meaning in a condition", token.at)
        tokens.append(token)
    pluses = [token for token in tokens if token.text == "+"]
    if len(pluses) > MAX_PLUS:
        return Refusal(f"a condition has at most {MAX_PLUS} `+`, and this has {len(pluses)}", pluses[MAX_PLUS].at)
    return _in_loops(tokens) or _unbounded(tokens)


def names(source: str) -> frozenset[str]:
    """The names that a condition begins a path with: its variables, functions and macros' variables."""
    tokens = list(_tokens(source))
    return frozenset(t.text for t, before in _with_before(tokens) if t.kind == "name" and before.text != ".")


def fields(source: str, variable: str) -> frozenset[str] | None:
    """The fields of a variable that a condition names, as `user` in `payload.user.age`; `None` if it needs them all."""
    tokens = list(_tokens(source))
    found = set()
    for place, (token, before) in enumerate(_with_before(tokens)):
        if token.kind == "name" and token.text == variable and before.text != ".":
            after = tokens[place + 1 : place + 3]
            if len(after) < 2 or after[0].text != "." or after[1].kind != "name":
                return None
            if tokens[place + 3 : place + 4] and tokens[place + 3].text == "(":
                return None  # a method of the variable itself
            found.add(after[1].text)
    return frozenset(found)


def paths(source: str, variable: str) -> Iterator[list[Token]]:
    """The steps below a variable that a condition takes, as `user` and `age` in `payload.user["age"]`: as far as they
    are names, and no methods.
    """
    tokens = list(_tokens(source))
    for place, (token, before) in enumerate(_with_before(tokens)):
        if token.kind == "name" and token.text == variable and before.text != ".":
            yield list(_steps(tokens, place + 1))


def _steps(tokens: list[Token], at: int) -> Iterator[Token]:
    while at + 1 < len(tokens):
        sign, step, after = tokens[at].text, tokens[at + 1], "".join(token.text for token in tokens[at + 2 : at + 3])
        if sign == "." and step.kind == "name" and after != "(":
            yield step
            at += 2
        elif sign == "[" and _PLAIN_TEXT.fullmatch(step.text) and after == "]":
            yield Token("name", step.text[1:-1], step.at)
            at += 3
        else:
            return


def _tokens(source: str) -> Iterator[Token]:
    at = 0
    while at < len(source):
        found = _TOKEN.match(source, at)
        if found is None:
            yield Token("other", source[at], at)
            at += 1
            continue
        if found.lastgroup != "space":
            yield Token(found.lastgroup or "other", found[0], at)
        at = found.end()


def _with_before(tokens: list[Token]) -> Iterator[tuple[Token, Token]]:
    before = Token("sign", "", 0)
    for token in tokens:
        yield token, before
        before = token


def _in_loops(tokens: list[Token]) -> Refusal | None:
    """What mustn't stand inside a macro, if something does."""
    open_: list[str] = []
    for place, (token, before) in enumerate(_with_before(tokens)):
        loop = next((name for name in reversed(open_) if name in LOOPS), None)
        if token.text in ("(", "[", "{"):
            open_.append(before.text if _is_call(tokens, place) else "")
        elif token.text in (")", "]", "}"):
            if open_:
                open_.pop()
        elif token.kind == "name":
            wrong = _misplaced(token, before, tokens[place + 1 : place + 2], loop)
            if wrong is None and loop is not None and token.text in SEARCHING and _searches_short(tokens, place):
                text = f"`{token.text}` stands inside `{loop}`, and there searches what belongs to the item alone"
                wrong = Refusal(text, token.at)
            if wrong is not None:
                return wrong
    return None


def _is_call(tokens: list[Token], place: int) -> bool:
    return (
        tokens[place].text == "(" and place >= 2 and tokens[place - 1].kind == "name" and tokens[place - 2].text == "."
    )


def _searches_short(tokens: list[Token], place: int) -> bool:
    """Whether the text before `.matches` or `.contains` may be one that is the same for each item."""
    at = place - 2
    while at >= 2 and tokens[at].kind == "name" and tokens[at - 1].text == ".":
        at -= 2
    return at < 0 or tokens[at].kind != "name" or tokens[at].text in SHORT


def _misplaced(token: Token, before: Token, after: list[Token], loop: str | None) -> Refusal | None:
    called = bool(after) and after[0].text == "("
    if token.text == "google" and before.text != ".":
        return Refusal("messages of protocol buffers can't be made in a condition", token.at)
    if token.text in MAKERS and before.text == "." and called:
        text = f"`{token.text}` makes a new list, and a condition only asks: use exists, all or exists_one"
        return Refusal(text, token.at)
    if loop is None:
        return None
    if before.text == "." and called and token.text in LOOPS:
        return Refusal(f"`{token.text}` stands inside `{loop}`, and its work would multiply: use two rules", token.at)
    if before.text != "." and token.text in LARGE:
        return Refusal(f"`{token.text}` stands inside `{loop}`, which would read it again for each item", token.at)
    return None


def _unbounded(tokens: list[Token]) -> Refusal | None:
    """A search for what the message says, if there is one, and a name that begins with a dot."""
    for place, (token, before) in enumerate(_with_before(tokens)):
        after, argument, wrong = tokens[place + 1 : place + 2], tokens[place + 2 : place + 4], ""
        if token.text == "." and not _BEFORE_A_FIELD.fullmatch(before.text) and after and after[0].kind == "name":
            return Refusal("a name doesn't begin with a dot here: leave it out", token.at)
        if token.kind != "name" or not after or after[0].text != "(":
            continue
        if token.text in SEARCHING:
            wrong = _searched(token.text, before, argument)
        elif token.text in ZONED and [t.text for t in argument[:1]] != [")"]:
            wrong = _wrong_literal(token.text, argument, "a timezone")
        if wrong:
            return Refusal(wrong, token.at)
    return None


def _searched(function: str, before: Token, argument: list[Token]) -> str:
    if before.text != ".":
        return f"write `text.{function}('...')`: a function of this name isn't used here"
    return _wrong_literal(function, argument, "what it looks for")


def _wrong_literal(function: str, argument: list[Token], what: str) -> str:
    if len(argument) < 2 or argument[0].kind not in ("text", "raw") or argument[1].text != ")":
        return f"`{function}` has to be told {what} in the condition, as {function}('...'): a message may hold anything"
    wrong = misused(function, argument[0].text)
    return f"`{function}`: {wrong}" if wrong else ""
