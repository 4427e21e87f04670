"""YAML as events. No tags, no anchors, no aliases, one document; scalars as YAML 1.2 reads them.

Rules: the parser's events are read one by one and nothing is constructed, so no text makes it run code or copy what an
alias stands for. `yes`, `no`, `on` and `off` are text: a tenant may be called `no`.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from typing import Any

from penguiflow_policy._problems import shown
from penguiflow_policy._tree import MAX_DEPTH, Builder, Document, Event, Mark, refused

_WORDS: dict[str, Any] = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
_WORDS |= dict.fromkeys(("true", "True", "TRUE"), True) | dict.fromkeys(("false", "False", "FALSE"), False)
_INTEGER = re.compile(r"[-+]?[0-9]{1,40}")
_NUMBER = re.compile(r"[-+]?(\.[0-9]{1,40}|[0-9]{1,40}(\.[0-9]{0,40})?)([eE][-+]?[0-9]{1,3})?")


def read(text: str, source: str) -> Document:
    """The document that a YAML text holds.

    Raises:
        PolicyError: it is no YAML, or YAML of a kind that a policy doesn't need.
    """
    return Builder(source, text).built(_events(text, source))


def _events(text: str, source: str) -> Iterator[Event]:
    yaml: Any = importlib.import_module("yaml")  # here: importing the plugin costs those nothing who don't use it
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    documents = 0
    try:
        for event in yaml.parse(text, Loader=loader):
            mark = Mark(event.start_mark.line + 1, event.start_mark.column + 1)
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise refused(source, "a second document begins: a policy is one document", mark.line, mark.column)
            elif isinstance(event, yaml.NodeEvent):
                _refuse_extras(event, source, mark)
                yield _node(event, mark)
            elif isinstance(event, yaml.CollectionEndEvent):
                yield Event("end", mark)
    except yaml.YAMLError as exc:
        raise _told(exc, source) from None
    except RecursionError:
        raise refused(source, "it is nested too deeply, and no rule is") from None


def _refuse_extras(event: Any, source: str, mark: Mark) -> None:
    if event.anchor is not None:
        kind = "an alias" if not hasattr(event, "tag") else "an anchor"
        raise refused(source, f"a policy has no anchors and aliases, and this is {kind}: write it out", *mark[:2])
    if event.tag is not None and event.tag != "!":
        raise refused(source, f"a policy has no tags, and this is one: {shown(event.tag)}: leave it out", *mark[:2])


def _node(event: Any, mark: Mark) -> Event:
    name = type(event).__name__
    if name != "ScalarEvent":
        return Event("{" if name == "MappingStartEvent" else "[", mark)
    plain = event.implicit[0] and not event.style
    value = _scalar(event.value) if plain else event.value
    return Event("=", Mark(mark.line, mark.column, event.style or ""), value)


def _scalar(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else text


def _told(exc: Any, source: str) -> Exception:
    mark = getattr(exc, "problem_mark", None)
    what = getattr(exc, "problem", None) or getattr(exc, "reason", None) or "it can't be read"
    said = f"it is no YAML: {what}"
    if "nesting depth" in what:  # libyaml's own limit is far above ours, and it reads ahead
        said = f"it is nested more than {MAX_DEPTH} deep, and no rule is"
    return refused(source, said) if mark is None else refused(source, said, mark.line + 1, mark.column + 1)
