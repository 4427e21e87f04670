"""Refuses conditions whose work could grow faster than the message that they look at.

Rules: CEL has no loops but macros, and each of these goes once over one list. What stands inside a macro sees its own
variable and what is short (tenant, topic, ...), never the payload or meta again, and no other macro; those that make
lists copy them for each item, and are left out; and `+` is rare. So a condition takes at most its own length times the
size of the message, in time and in memory. This reads tokens; whether the condition makes sense is the compiler's
business.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

MAX_CHARACTERS = 1000
MAX_PLUS = 16
LOOPS = ("all", "exists", "exists_one")
MAKERS = ("map", "filter")
LARGE = ("payload", "meta", "proposed")

_TOKEN = re.compile(
    r"""
    (?P<space>\s+|//[^\n]*)
  | (?P<raw>(?:[rR][bB]?|[bB][rR])(?:\"{3}.*?\"{3}|'{3}.*?'{3}|"[^"\n]*"|'[^'\n]*'))
  | (?P<text>[bB]?(?:\"{3}(?:[^\\]|\\.)*?\"{3}|'{3}(?:[^\\]|\\.)*?'{3}|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'))
  | (?P<number>[0-9][0-9a-fA-FxXeEuU.]*)
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<sign>&&|\|\||[-+*/%!<>=?:.,()\[\]{}]=?)
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
    return _in_loops(tokens)


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
            if wrong is not None:
                return wrong
    return None


def _is_call(tokens: list[Token], place: int) -> bool:
    return (
        tokens[place].text == "(" and place >= 2 and tokens[place - 1].kind == "name" and tokens[place - 2].text == "."
    )


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
