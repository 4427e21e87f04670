"""Whether a flow can take and give what its app promises.

Rules: what can't be resolved is unknown, and unknown is never wrong. Two types are apart only where no value of the one
can pass validation as the other, pydantic's lenient conversions included: as the kernel judges an edge.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any, TypeVar, Union

from pydantic import BaseModel

from penguiflow import WM, FinalAnswer, Graph, Message, StreamChunk

_FAMILY = dict.fromkeys((int, float, bool), "number") | dict.fromkeys((list, tuple, set, frozenset), "items")
_FAMILY |= {str: "text", dict: "mapping"}
_LENIENT = {("number", "number"), ("text", "number"), ("items", "items"), ("text", "text"), ("mapping", "mapping")}


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
        parts = _parts(entry.takes_type)
        if entry.policy.validate in ("out", "none") or all(_is(part, StreamChunk) for part in parts):
            continue
        if _apart(_parts(input_), parts):
            asked, taken = _names(input_, entry.takes_type)
            yield (
                f"flow_app(input={asked}): {entry.name!r}, where messages enter {graph.name!r}, takes {taken}: "
                "give that as input, or put a node before it that converts"
            )


def _output_problems(graph: Graph, output: Any) -> Iterator[str]:
    """One exit that may give it is enough. A loop keeps its `WM`, and gives a `FinalAnswer` when it runs out."""
    exits = [node for node in graph.nodes if node.name in graph.exits]
    loops = {node.name for node in graph.nodes if node.name in graph.successors(node.name)}
    wanted, given = _parts(output), [FinalAnswer] if loops else []
    for node in exits:
        parts = [part for part in _parts(node.gives_type) if not _is(part, StreamChunk)]
        given += (kept := [part for part in parts if not (node.name in loops and _is(part, WM))])
        if not any(part is not None and part is not type(None) for part in kept):
            return  # what leaves there, the node emits
    if exits and _apart(given, wanted):
        promised = _names(output, *(node.gives_type for node in exits))[0]
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


def _parts(annotation: Any) -> list[Any]:
    """The payload types that an annotation names; `Any` for what may be anything."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        validates = any(hasattr(m, "__get_pydantic_core_schema__") or hasattr(m, "func") for m in args[1:])
        return [Any] if validates else _parts(args[0])
    if origin is Union or origin is types.UnionType:
        return [part for arg in args for part in _parts(arg)]
    if isinstance(annotation, TypeVar):
        return _parts(Any if annotation.__bound__ is None else annotation.__bound__)
    if _is(annotation, Message):
        inner = annotation.model_fields["payload"].annotation
        return [Any] if inner is None else _parts(inner)
    return [annotation]


def _is(part: Any, cls: type) -> bool:
    return isinstance(part, type) and typing.get_origin(part) is None and issubclass(part, cls)


def _apart(given: list[Any], wanted: list[Any]) -> bool:
    """Whether no value of any of these can pass as any of those. That nothing is given is no reason."""
    sources = [part for part in given if part is not None and part is not type(None)]
    return bool(sources) and all(_two_apart(source, target) for source in sources for target in wanted)


def _two_apart(source: Any, target: Any) -> bool:
    source, target = _class(source), _class(target)
    if source is None or target is None or issubclass(source, target) or issubclass(target, source):
        return False
    if _is_record(target):
        return not _converts(target) and (_is_record(source) or (source in _FAMILY and source is not dict))
    if target not in _FAMILY or not (_is_record(source) or source in _FAMILY):
        return False
    return (_FAMILY.get(source), _FAMILY[target]) not in _LENIENT


def _class(part: Any) -> Any:
    """The class of an annotation, without its parameters; `None` if it names no class that says what a value is."""
    part = typing.get_origin(part) or part
    structural = hasattr(part, "__required_keys__") or getattr(part, "_is_protocol", False)  # of typing_extensions, too
    if structural or not isinstance(part, type):
        return None
    return getattr(part, "__pydantic_generic_metadata__", {}).get("origin") or part


def _is_record(cls: type) -> bool:
    return issubclass(cls, BaseModel) or dataclasses.is_dataclass(cls)


def _converts(cls: type) -> bool:
    """Whether the model may accept other values than mappings and its own instances."""
    if not issubclass(cls, BaseModel):
        return hasattr(cls, "__pydantic_decorators__")
    if cls.__pydantic_root_model__ or cls.model_config.get("from_attributes"):
        return True
    validators = cls.__pydantic_decorators__.model_validators.values()
    return any(validator.info.mode in ("before", "wrap") for validator in validators)
