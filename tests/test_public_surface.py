"""The public surface: the names of the contract, documented, with the call shapes that users type."""

from __future__ import annotations

import asyncio
import builtins
import enum
import inspect
import re
import subprocess
import sys
import tomllib
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import penguiflow
from penguiflow import (
    FlowError,
    Message,
    ModelRegistry,
    Node,
    NodePolicy,
    PenguiFlow,
    StreamChunk,
    chunk_to_ws_json,
    create,
    format_sse_event,
    node,
)
from tests.utils.flowtestkit import virtual_time

ROOT = Path(__file__).parents[1]

CONTRACT = {
    "data": "Message Headers StreamChunk Budget WM Thought PlanStep FinalAnswer",
    "graph": "Node node NodePolicy create PenguiFlow ModelRegistry CycleError",
    "run": "TraceHandle ROOKERY OPEN_SEA",
    "patterns": "map_concurrent join_k predicate_router union_router router RoutingPolicy RoutingRequest subflow",
    "errors and events": "FlowError FlowErrorCode TraceCancelled FlowEvent hookimpl Retry Replace Emit Drop",
    "streams": "format_sse_event chunk_to_ws_json stream_flow emit_stream_events",
}
PUBLIC = [name for name in penguiflow.__all__ if not name.startswith("_")]
OBJECTS = {name: getattr(penguiflow, name) for name in PUBLIC}
CLASSES = {name: thing for name, thing in OBJECTS.items() if inspect.isclass(thing)}


def methods() -> Iterator[tuple[str, Any]]:
    """The public methods and properties that our own classes define."""
    for name, cls in CLASSES.items():
        for base in cls.__mro__:
            if not base.__module__.startswith("penguiflow"):
                continue
            for attribute, thing in dict(vars(base)).items():
                plain = getattr(thing, "__func__", thing)
                if not attribute.startswith("_") and isinstance(plain, types.FunctionType | property):
                    yield f"{name}.{attribute}", plain


METHODS = dict(methods())
FUNCTIONS = {name: thing for name, thing in OBJECTS.items() if inspect.isfunction(thing)}
CALLABLES = FUNCTIONS | {name: thing for name, thing in METHODS.items() if inspect.isfunction(thing)}


def parameters(thing: Any) -> dict[str, inspect.Parameter]:
    return {name: p for name, p in inspect.signature(thing).parameters.items() if name not in ("self", "cls")}


def arguments_section(doc: str) -> list[str]:
    """The parameters that a docstring's `Args:` names."""
    found = re.search(r"^ *Args:\n(?P<body>(?:^ {4,}.*\n?|\n)*)", inspect.cleandoc(doc), re.MULTILINE)
    return [] if found is None else re.findall(r"^ {4}(\w+):", found["body"], re.MULTILINE)


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", CONTRACT)
def test_every_name_of_the_contract_is_importable(group: str):
    missing = [name for name in CONTRACT[group].split() if name not in penguiflow.__all__]
    assert missing == []


def test_all_is_sorted_complete_and_true():
    constants = [name for name in penguiflow.__all__ if name.isupper()]
    classes = [name for name in penguiflow.__all__ if name[0].isupper() and not name.isupper()]
    rest = [name for name in penguiflow.__all__ if not name[0].isupper()]
    assert penguiflow.__all__ == sorted(constants) + sorted(classes) + sorted(rest)
    assert len(set(penguiflow.__all__)) == len(penguiflow.__all__)
    given = {
        name
        for name, thing in vars(penguiflow).items()
        if not name.startswith("_") and not isinstance(thing, types.ModuleType)
    }
    assert given == set(PUBLIC)


def test_a_star_import_gives_the_surface_and_nothing_else():
    code = "before = set(dir())\nfrom penguiflow import *\nprint(*sorted(set(dir()) - before - {'before'}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=True
    )
    assert done.stdout.split() == sorted(penguiflow.__all__)


# --- docs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*CLASSES, *FUNCTIONS])
def test_every_public_class_and_function_has_a_docstring(name: str):
    doc = inspect.getdoc(OBJECTS[name]) or ""
    own = OBJECTS[name].__doc__ or ""
    assert len(own.split()) >= 3, f"{name} says {doc!r}"
    assert own.strip().partition("\n")[0].rstrip().endswith((".", ":", ",", ";")) or "\n" in own


def test_every_public_method_has_a_docstring():
    bare = [name for name, thing in METHODS.items() if not (thing.__doc__ or "").strip()]
    assert bare == []


def test_every_parameter_that_a_docstring_describes_exists():
    wrong = []
    for name, thing in CALLABLES.items():
        known = parameters(thing)
        wrong += [f"{name}({found})" for found in arguments_section(thing.__doc__ or "") if found not in known]
    for name, cls in CLASSES.items():
        if not issubclass(cls, BaseModel | enum.Enum | tuple):
            known = parameters(cls.__init__)
            wrong += [f"{name}({found})" for found in arguments_section(cls.__doc__ or "") if found not in known]
    assert wrong == []


def test_a_docstring_that_describes_parameters_describes_all_of_them():
    wrong = []
    for name, thing in CALLABLES.items():
        described = arguments_section(thing.__doc__ or "")
        wrong += [f"{name}({known})" for known in parameters(thing) if described and known not in described]
    assert wrong == []


def test_what_raises_says_what_its_parameters_mean():
    """A public callable that documents an error names each parameter that it has, or shows how it is called."""
    wrong = []
    for name, thing in CALLABLES.items():
        doc = thing.__doc__ or ""
        if "Raises:" in doc and not arguments_section(doc):
            unnamed = [known for known in parameters(thing) if known not in doc and known not in COMMON]
            wrong += [f"{name}({known})" for known in unnamed]
    assert wrong == []


COMMON = {
    "message": "what is sent",
    "timeout_s": "seconds until the trace expires: said at `ask`",
    "trace_id": "says itself",
    "to": "said at `emit`",
    "include_final": "says itself",
}


def test_every_error_that_a_docstring_names_exists():
    known = {**vars(builtins), **OBJECTS, "asyncio.QueueFull": asyncio.QueueFull}
    for name, thing in {**CALLABLES, **CLASSES}.items():
        found = re.search(r"Raises:\n(?P<body>(?:^ {4,}.*\n?)*)", inspect.cleandoc(thing.__doc__ or ""), re.MULTILINE)
        for error in re.findall(r"^ {4}([\w.]+):", found["body"], re.MULTILINE) if found else []:
            assert error in known, f"{name} raises {error}"


# --- call shapes ----------------------------------------------------------------------------------


def shape(thing: Any) -> list[str]:
    """The parameters as `name`, `name=default`, `*name` or `*, name=default`."""
    shown = []
    for name, p in parameters(thing).items():
        star = {"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**", "KEYWORD_ONLY": "*, "}.get(p.kind.name, "")
        shown.append(f"{star}{name}" + ("" if p.default is p.empty else f"={p.default!r}"))
    return shown


def test_a_node_is_made_as_the_contract_says():
    made = shape(Node.__init__)
    assert made[:4] == ["func", "name=None", "policy=None", "allow_cycle=False"]
    assert all(extra.startswith("*, ") for extra in made[4:])
    assert shape(Node.to) == ["*nodes"]


def test_a_policy_has_the_fields_of_the_contract():
    fields = """validate timeout_s max_retries retry_on backoff_base backoff_mult max_backoff jitter max_concurrency
        per_trace_concurrency"""
    assert set(fields.split()) <= set(parameters(NodePolicy))


def test_create_takes_what_the_contract_says():
    made = shape(create)
    assert made[0] == "*adjacencies"
    assert {
        "*, name='flow'",
        "*, queue_maxsize=64",
        "*, max_traces=1024",
        "*, allow_cycles=False",
        "*, emit_errors_to_rookery=False",
        "*, plugins=()",
        "*, on_event=None",
        "*, resources=None",
    } <= set(made)


@pytest.mark.parametrize(
    ("method", "wanted"),
    [
        ("run", ["registry=None"]),
        ("stop", ["drain_s=None"]),
        ("ask", ["message", "timeout_s=None"]),
        ("stream", ["message"]),
        ("start", ["message"]),
        ("cancel", ["trace_id"]),
        ("explain", ["trace_id"]),
        ("export", ["format", "**options"]),
        ("fetch", ["from_=None"]),
        ("fetch_any", ["from_=None"]),
        ("emit", ["message", "to=None"]),
        ("emit_nowait", ["message", "to=None"]),
    ],
)
def test_a_flow_is_called_as_the_contract_says(method: str, wanted: list[str]):
    assert [found for found in wanted if found not in shape(getattr(PenguiFlow, method))] == []


@pytest.mark.parametrize(
    ("method", "wanted"),
    [
        ("emit", "message to"),
        ("emit_nowait", "message to"),
        ("emit_chunk", "text parent stream_id seq done meta to"),
        ("call_playbook", "playbook message timeout"),
        ("spend", "tokens cost"),
    ],
)
def test_a_context_is_called_as_the_contract_says(method: str, wanted: str):
    assert list(parameters(getattr(penguiflow.Context, method))) == wanted.split()


def test_a_context_has_the_properties_of_the_contract():
    for name in "message meta attempt deadline_left resources successors".split():  # noqa: SIM905
        assert hasattr(penguiflow.Context, name)


# --- shapes of the published 2.0 ------------------------------------------------------------------


@virtual_time
async def test_the_published_call_shapes_still_work():
    async def f(message, ctx):
        await ctx.emit_chunk(parent=message, text="x", done=True)
        return message

    made = Node(f, name="other", policy=NodePolicy(validate="none", timeout_s=1.0), allow_cycle=False)
    assert (made.name, made.policy.timeout_s, made.allow_cycle) == ("other", 1.0, False)
    flow = create(made.to(), queue_maxsize=8, allow_cycles=False, emit_errors_to_rookery=True)
    flow.run(registry=ModelRegistry())
    message = Message(payload={"q": 1}, headers=penguiflow.Headers(tenant="acme"))
    await flow.emit(message)
    chunk = await flow.fetch()
    assert (chunk.payload if isinstance(chunk, Message) else chunk).text == "x"
    assert (await flow.fetch()).payload == {"q": 1}
    await flow.stop()


def test_published_errors_and_streams_are_called_as_before():
    cause = ValueError("no")
    error = FlowError(
        trace_id="t", node_name="n", code="X", message="m", original_exc=cause, node_id="i", metadata={"k": 1}
    )
    assert (error.trace_id, error.node_name, error.code, error.message) == ("t", "n", "X", "m")
    assert (error.original_exc, error.node_id, error.metadata) == (cause, "i", {"k": 1})
    chunk = StreamChunk(stream_id="s", seq=1, text="x")
    assert "event: name" in format_sse_event(chunk, event_name="name", retry_ms=5)
    assert '"k": 1' in chunk_to_ws_json(chunk, extra={"k": 1})


@pytest.mark.parametrize(
    ("function", "wanted"),
    [
        ("map_concurrent", "items worker max_concurrency"),
        ("join_k", "name k"),
        ("predicate_router", "name predicate policy"),
        ("union_router", "name union policy"),
        ("format_sse_event", "chunk event_name retry_ms"),
        ("chunk_to_ws_json", "chunk extra"),
        ("stream_flow", "flow message to timeout include_final"),
        ("emit_stream_events", "source ctx message adapter to final_meta"),
    ],
)
def test_helpers_take_what_the_published_ones_took(function: str, wanted: str):
    assert [name for name in wanted.split() if name not in parameters(OBJECTS[function])] == []


def test_the_decorator_takes_the_fields_of_a_policy():
    @node(timeout_s=10, max_retries=3)
    async def f(x: int) -> int:
        return x

    assert (f.policy.timeout_s, f.policy.max_retries) == (10, 3)


def test_the_version_is_that_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert penguiflow.__version__ == project["version"]
    assert (ROOT / "penguiflow" / "py.typed").is_file()
