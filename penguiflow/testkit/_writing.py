"""`to_pytest`: a recorded trace as a test file.

Rules: the file is plain Python that a person can read and change. What can't be written down is left out, with a
comment that says so: the node in question runs itself, then.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any

from penguiflow import PenguiFlow
from penguiflow.testkit._literals import Unwritable, Writer, quoted
from penguiflow.testkit._recording import Recording
from penguiflow.testkit._taped import UNSET, Act, Attempt, Run

WIDTH = 118


def to_pytest(
    recording: Recording, flow: str | None = None, *, name: str | None = None, folder: str | None = None
) -> str:
    """Write a recorded trace as a test file: `Path("test_shop.py").write_text(to_pytest(record(flow, "hi")))`.

    The test sends the same message through the flow, in virtual time; each node gives what it gave then, after as long.

    Args:
        recording: What `record` returned.
        flow: Where the test finds the flow: `module:flow`, or `module:function` that makes one. By default it is looked
            for among the modules that are loaded.
        name: The test's name; by default after the flow and its outcome.
        folder: A folder that the flow's module is imported from, relative to the test file.

    Raises:
        ValueError: nothing says where the flow is, or the message can't be written as Python.
    """
    writer = Writer()
    where = flow or _whereabouts(recording.flow)
    module, _, attribute = where.partition(":")
    if not (module and attribute):
        raise ValueError(f"flow= says where the test finds the flow, as in module:flow, not {where!r}")
    first = attribute.partition(".")[0]
    writer.imported(module, first)
    maker = "()" if not isinstance(_found(module, attribute), PenguiFlow | None) else ""
    body = list(_body(recording, writer, f"{attribute}{maker}", name))
    return "\n".join([*_head(recording, writer, folder), *body, ""])


def _whereabouts(flow: PenguiFlow) -> str:
    for module_name, module in sorted(sys.modules.items()):
        if module_name == "__main__" or module is None:
            continue
        for name, thing in vars(module).items():
            if thing is flow and name.isidentifier():
                return f"{module_name}:{name}"
    raise ValueError(
        f"no module that is loaded has the flow {flow.name!r}: say where a test finds it, as in "
        "to_pytest(recording, 'module:flow')"
    )


def _found(module: str, attribute: str) -> Any:
    found: Any = sys.modules.get(module)
    for part in attribute.split("."):
        found = getattr(found, part, None)
    return found


def _head(recording: Recording, writer: Writer, folder: str | None) -> Iterator[str]:
    played = recording.played
    why = f", with {played.code}" if played.code else ""
    yield f'"""A recorded trace of flow {recording.flow.name!r}: {played.outcome} after {played.took_s:.3g} s{why}.'
    yield ""
    yield "Each node gives what it gave then, after as long; the flow between them is what runs. Time is virtual."
    yield '"""'
    yield ""
    names = ["Run", "replay"]
    names += ["Attempt"] if any(run.attempts for run in recording.runs) else []
    names += ["Act"] if any(attempt.acts for run in recording.runs for attempt in run.attempts) else []
    names += ["assert_node_sequence"] if recording.sequence is not None else []
    names += ["assert_retries"] if recording.retries else []
    for one in names:
        writer.imported("penguiflow.testkit", one)
    plain = [module for module, found in sorted(writer.imports.items()) if not found]
    modules = sorted({*plain, *(("sys", "pathlib") if folder is not None else ())})
    yield from (f"import {module}" for module in modules)
    if folder is not None:
        yield ""
        below = "" if folder == "." else f" / {quoted(folder)}"
        yield f"sys.path.insert(0, str(pathlib.Path(__file__).parent{below}))"
    if modules:
        yield ""
    for module, found in sorted(writer.imports.items()):
        if found:
            yield f"from {module} import {', '.join(sorted(found))}"


def _body(recording: Recording, writer: Writer, flow: str, name: str | None) -> Iterator[str]:
    try:
        message = writer.write(recording.message)
    except Unwritable as exc:
        raise ValueError(f"the message can't be written as Python: it has {exc}") from None
    runs = [line for run in recording.runs for line in _run(run, writer)]
    yield ""
    yield "RUNS = ["
    yield from runs
    yield "]"
    yield ""
    yield ""
    title = name or f"test_{recording.flow.name}_{recording.played.outcome}"
    yield f"def {re.sub(r'[^0-9a-zA-Z_]', '_', title)}():"
    if flow.endswith("()"):
        yield f"    flow = {flow}"
        flow = "flow"
    limit = "" if recording.timeout_s is None else f", timeout_s={recording.timeout_s!r}"
    named = f', trace_id="{recording.trace_id}"' if recording.trace_id in "".join(runs) else ""
    yield f"    played = replay({flow}, {message}, RUNS{limit}{named})"
    yield f"    assert played.outcome == {quoted(recording.played.outcome)}"
    if recording.played.code is not None:
        yield f"    assert played.code == {quoted(recording.played.code)}"
    yield from _outputs(recording, writer)
    if recording.played.chunks:
        yield f"    assert played.chunks == {writer.write(recording.played.chunks)}"
    if recording.sequence is not None:
        yield f"    assert_node_sequence({flow}, {writer.write(list(recording.sequence))})"
    for node, count in recording.retries.items():
        yield f"    assert_retries({flow}, {quoted(node)}, {count})"


def _outputs(recording: Recording, writer: Writer) -> Iterator[str]:
    try:
        yield f"    assert played.outputs == {writer.write(recording.played.outputs)}"
    except Unwritable as exc:
        yield f"    assert len(played.outputs) == {len(recording.played.outputs)}  # what came out has {_line(exc)}"
    if any(recording.played.metas) and (metas := _tried(recording.played.metas, writer)):
        yield f"    assert played.metas == {metas}"


def _run(run: Run, writer: Writer) -> Iterator[str]:
    takes = "" if run.takes is UNSET else _tried(run.takes, writer)
    given = f", {takes}" if takes else ""
    try:
        attempts = [_attempt(attempt, writer) for attempt in run.attempts]
    except Unwritable as exc:
        yield f"    # {run.node} runs itself: what it gave has {_line(exc)}"
        yield f"    Run({quoted(run.node)}{given}),"
        return
    flat = f"    Run({quoted(run.node)}{given}, attempts=[{', '.join(attempts)}]),"
    if len(flat) <= WIDTH:
        yield flat
        return
    yield "    Run("
    yield f"        {quoted(run.node)},"
    if takes:
        yield f"        {takes},"
    yield "        attempts=["
    yield from (f"            {attempt}," for attempt in attempts)
    yield "        ],"
    yield "    ),"


def _tried(value: Any, writer: Writer) -> str:
    """A value, or nothing where it can't be written: it isn't compared, then."""
    try:
        return writer.write(value)
    except Unwritable:
        return ""


def _attempt(attempt: Attempt, writer: Writer) -> str:
    parts = [repr(attempt.took_s)]
    if attempt.returns is not UNSET:
        parts.append(f"returns={writer.write(attempt.returns)}")
    if attempt.raises is not None:
        parts.append(f"raises={writer.write(attempt.raises)}")
    if attempt.acts:
        parts.append(f"acts=[{', '.join(_act(act, writer) for act in attempt.acts)}]")
    return f"Attempt({', '.join(parts)})"


def _act(act: Act, writer: Writer) -> str:
    parts = [repr(act.at_s), quoted(act.kind)]
    if act.value is not None or act.options:
        parts.append(writer.write(act.value))
    if act.options:
        parts.append(writer.write(act.options))
    return f"Act({', '.join(parts)})"


def _line(exc: Unwritable) -> str:
    return str(exc).replace("\n", " ")
