"""Whether a flow can take and give what its app promises.

Rules: it is judged as the kernel judges an edge. What can't be resolved is unknown, and unknown is never wrong.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any, Union

from penguiflow import FinalAnswer, Graph, Message, StreamChunk, compatible

_CHUNKS = (StreamChunk, Message[StreamChunk])


def check_fit(graph: Graph, input_: Any, output: Any) -> None:
    """Hold what is asked against the flow's entries, and what is given against its exits.

    Raises:
        TypeError: no request could be answered; the text has every reason.
    """
    if problems := [*_input_problems(graph, input_), *_output_problems(graph, output)]:
        raise TypeError("\n".join(problems))


def _input_problems(graph: Graph, input_: Any) -> Iterator[str]:
    """A message goes to all entries, but for those that take only chunks."""
    for entry in map(graph.node, graph.entries):
        if entry.policy.validate in ("out", "none") or entry.takes_type in _CHUNKS:
            continue
        if not compatible(input_, entry.takes_type):
            asked, taken = _names(input_, entry.takes_type)
            yield (
                f"flow_app(input={asked}): {entry.name!r}, where messages enter {graph.name!r}, takes {taken}: "
                "give that as input, or put a node before it that converts"
            )


def _output_problems(graph: Graph, output: Any) -> Iterator[str]:
    """One exit that may give it is enough. A loop gives a `FinalAnswer` when it runs out."""
    exits = [node for node in graph.nodes if node.name in graph.exits]
    given = [node.gives_type for node in exits]
    if any(node.name in graph.successors(node.name) for node in graph.nodes):
        given.append(FinalAnswer)
    if exits and not any(each in _CHUNKS or compatible(each, output) for each in given):
        promised = _names(output, *given)[0]
        gives = " and ".join(f"{node.name!r} gives {_names(node.gives_type, output)[0]}" for node in exits)
        yield (
            f"flow_app(output={promised}): where messages leave {graph.name!r}, {gives}: "
            "give that as output, or put a node after it that converts"
        )


def _names(annotation: Any, *others: Any) -> list[str]:
    """Types as their authors write them, with their modules if two have one name."""
    every = (annotation, *others)
    texts = [_text(each, full=False) for each in every]
    if any(text == texts[0] and each != annotation for text, each in zip(texts, every, strict=True)):
        return [_text(each, full=True) for each in every]
    return texts


def _text(annotation: Any, full: bool) -> str:
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _text(args[0], full)
    if origin is Union or origin is types.UnionType:
        return " | ".join(_text(arg, full) for arg in args)
    if isinstance(annotation, type) and origin is None:
        if annotation is type(None):
            return "None"
        return f"{annotation.__module__}.{annotation.__qualname__}" if full else annotation.__name__
    return str(annotation).replace("typing.", "")
