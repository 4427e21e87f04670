"""JSON as events.

Rules: Python's own parser says whether it is JSON, and then a list of its tokens where all stands.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from penguiflow_policy._tree import Builder, Document, Event, Mark, refused

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]]|[^\s{}\[\]",:]+')


def read(text: str, source: str) -> Document:
    """The document that a JSON text holds.

    Raises:
        PolicyError: it is no JSON.
    """
    try:
        json.loads(text, parse_constant=_no_number)
    except json.JSONDecodeError as exc:
        raise refused(source, f"it is no JSON: {exc.msg}", exc.lineno, exc.colno) from None
    except RecursionError:
        raise refused(source, "it is nested too deeply, and no rule is") from None
    except ValueError:
        raise refused(source, "it is no JSON: a number is too long, or none at all") from None
    return Builder(source, text).built(_events(text))


def _no_number(word: str) -> Any:
    raise ValueError(word)


def _events(text: str) -> Iterator[Event]:
    line, begin = 1, 0
    for token in _TOKEN.finditer(text):
        line += text.count("\n", begin, token.start())
        begin = token.start()
        mark = Mark(line, begin - text.rfind("\n", 0, begin), '"' if token[0][0] == '"' else "")
        if token[0] in "}]":
            yield Event("end", mark)
        elif token[0] in "{[":
            yield Event(token[0], mark)
        else:
            yield Event("=", mark, json.loads(token[0]))
