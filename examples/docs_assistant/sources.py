"""Where a passage stands, so that a reader can look it up: its section, and the `help(...)` call that shows it."""

from __future__ import annotations

import pydoc
from collections.abc import Iterable, Iterator
from functools import cache

from examples.docs_assistant.corpus import Passage


def number_sources(passages: Iterable[Passage]) -> dict[str, int]:
    """The citation of every section among `passages`, numbered from 1 in the order of first appearance."""
    numbers: dict[str, int] = {}
    for passage in passages:
        numbers.setdefault(citation(passage), len(numbers) + 1)
    return numbers


def citation(passage: Passage) -> str:
    """`The "with" statement, help("with")`: anyone with a Python prompt can check it."""
    heading = passage.headings[-1]
    section = f"{passage.entry.partition(' ')[0]} ({heading})" if passage.entry else heading
    return f'{section.replace("`", "")}, help("{_help_names().get(passage.topic, passage.topic)}")'


@cache
def _help_names() -> dict[str, str]:
    """What `help()` calls each topic: its keyword where it has one, else a word in capitals."""
    names: dict[str, str] = {}
    for called, target in _called_topics():
        if called == target or target not in names:
            names[target] = called
    return names


def _called_topics() -> Iterator[tuple[str, str]]:
    for table in (pydoc.Helper.keywords, pydoc.Helper.topics):
        for called, target in sorted(table.items()):
            topic = target[0] if isinstance(target, tuple) else target
            if topic:
                yield called, topic
