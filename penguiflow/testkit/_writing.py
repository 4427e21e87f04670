"""`to_pytest`: a recorded trace as a test file.

Rules: the file is plain Python that a person can read and change. What can't be written down is left out, with a
comment that says so: the node in question runs itself, then. It is laid out as formatters do it.
"""

from __future__ import annotations

import pickle
import re
import sys
from collections.abc import Iterator
from typing import Any

from penguiflow import PenguiFlow
from penguiflow.testkit._layout import WIDTH, laid_out, quoted
from penguiflow.testkit._literals import Unwritable, Writer
from penguiflow.testkit._recording import Recording
from penguiflow.testkit._taped import UNSET, Act, Attempt, Run

_KIT = "penguiflow.testkit"
_NAMES = ("Act", "Attempt", "Run", "assert_node_sequence", "assert_retries", "replay")
_OWN = ("RUNS", "played")  # what the file calls its own


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
    title = _title(name or f"test_{recording.flow.name}_{recording.played.outcome}")
    where = flow or _whereabouts(recording.flow)
    module, _, attribute = where.partition(":")
    if not (module and attribute):
        raise ValueError(f"flow= says where the test finds the flow, as in module:flow, not {where!r}")
    maker = "()" if not isinstance(_found(module, attribute), PenguiFlow | None) else ""
    writer = Writer({_KIT: _NAMES, "": [*_OWN, title, *(["flow"] if maker else [])]})
    first, *rest = attribute.split(".")
    called = ".".join([writer.imported(module, first), *rest])
    body = list(_body(recording, writer, f"{called}{maker}", title))
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
    flow = repr(recording.flow.name).replace('"', '\\"')
    yield f'"""A recorded trace of flow {flow}: {played.outcome} after {played.took_s:.3g} s{why}.'
    yield ""
    yield "Each node gives what it gave then, after as long; the flow between them is what"
    yield "runs. Time is virtual."
    yield '"""'
    yield ""
    names = ["Run", "replay"]
    names += ["Attempt"] if any(run.attempts for run in recording.runs) else []
    names += ["Act"] if any(attempt.acts for run in recording.runs for attempt in run.attempts) else []
    names += ["assert_node_sequence"] if recording.sequence is not None else []
    names += ["assert_retries"] if recording.retries else []
    for one in names:
        writer.imported(_KIT, one)
    modules = sorted({*writer.modules, *(("sys", "pathlib") if folder is not None else ())})
    yield from (f"import {module}" for module in modules)
    if folder is not None:
        yield ""
        below = "" if folder == "." else f" / {quoted(folder)}"
        yield f"sys.path.insert(0, str(pathlib.Path(__file__).parent{below}))"
    if modules and (folder is not None or not any(_origin(module) == 0 for module in writer.imports)):
        yield ""
    sections: dict[int, list[str]] = {}
    for module, found in sorted(writer.imports.items()):
        origin = _origin(module)
        if folder is not None:
            origin = min(1, origin)  # what is imported by way of sys.path looks installed to sorters
        sections.setdefault(origin, []).extend(_imports(module, found))
    yield "\n\n".join("\n".join(lines) for _, lines in sorted(sections.items()))


def _origin(module: str) -> int:
    """Python's own modules come first, those of installed packages next, and the user's own last."""
    package = module.partition(".")[0]
    if package in sys.stdlib_module_names:
        return 0
    file = getattr(sys.modules.get(package), "__file__", None) or ""
    return 1 if package == "penguiflow" or "site-packages" in file else 2


def _rank(name: str) -> tuple[int, str]:
    """Constants come before classes, and these before all else."""
    return 0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2, name


def _imports(module: str, found: dict[str, str]) -> Iterator[str]:
    """The imports of a module's names; one of another name has a line of its own, as sorters want it."""
    lines = {name: f"from {module} import {name} as {mine}" for name, mine in found.items() if mine != name}
    if plain := sorted((name for name in found if name not in lines), key=_rank):
        lines[plain[0]] = _import(module, plain)
    yield from (lines[name] for name in sorted(lines, key=_rank))


def _import(module: str, names: list[str]) -> str:
    line = f"from {module} import {', '.join(names)}"
    return line if len(line) <= WIDTH else "\n".join([f"from {module} import (", *(f"    {n}," for n in names), ")"])


def _body(recording: Recording, writer: Writer, flow: str, title: str) -> Iterator[str]:
    try:
        message = writer.write(recording.message)
    except Unwritable as exc:
        raise ValueError(f"the message can't be written as Python: it has {exc}") from None
    runs = [line for run in recording.runs for line in _run(run, writer)]
    yield ""
    yield "\n".join(["RUNS = [", *runs, "]"]) if runs else "RUNS = []"
    yield ""
    yield ""
    yield f"def {title}():"
    if flow.endswith("()"):
        yield f"    flow = {flow}"
        flow = "flow"
    limit = "" if recording.timeout_s is None else f", timeout_s={recording.timeout_s!r}"
    named = f", trace_id={quoted(recording.trace_id)}" if quoted(recording.trace_id)[1:-1] in "".join(runs) else ""
    yield _line("played = ", f"replay({flow}, {message}, RUNS{limit}{named})")
    yield f"    assert played.outcome == {quoted(recording.played.outcome)}"
    if recording.played.code is not None:
        yield f"    assert played.code == {quoted(recording.played.code)}"
    yield from _outputs(recording, writer)
    if recording.played.chunks:
        yield _line("assert played.chunks == ", writer.write(recording.played.chunks))
    if recording.sequence is not None:
        yield _line("", f"assert_node_sequence({flow}, {writer.write(list(recording.sequence))})")
    for node, count in recording.retries.items():
        yield _line("", f"assert_retries({flow}, {quoted(node)}, {count})")


def _title(name: str) -> str:
    """A name that pytest finds, whatever it is made of."""
    plain = re.sub(r"[^0-9a-zA-Z_]", "_", name)
    return plain if plain.startswith("test") else f"test_{plain}"


def _line(start: str, expression: str) -> str:
    """A line of the test, over several lines if it has to be."""
    return f"    {start}{laid_out(expression, 4, len(start))}"


def _outputs(recording: Recording, writer: Writer) -> Iterator[str]:
    outputs = recording.played.outputs
    try:
        written = writer.write(outputs)
        why = "" if _comparable(outputs) else "doesn't compare"
    except Unwritable as exc:
        why = f"has {exc}"
    if why:
        yield _comment(f"What came out {why}.")
        yield f"    assert len(played.outputs) == {len(outputs)}"
    else:
        yield _line("assert played.outputs == ", written)
    if any(recording.played.metas) and (metas := _tried(recording.played.metas, writer)):
        yield _line("assert played.metas == ", metas)


def _comparable(value: Any) -> bool:
    """Whether what is made again equals it: an exception, or a number that is none, doesn't."""
    try:
        return (pickle.loads(pickle.dumps(value)) == value) is True
    except Exception:
        return True  # nobody knows: the test will tell


def _run(run: Run, writer: Writer) -> Iterator[str]:
    takes = "" if run.takes is UNSET else _tried(run.takes, writer)
    given = f", {takes}" if takes else ""
    try:
        attempts = f", attempts=[{', '.join(_attempt(attempt, writer) for attempt in run.attempts)}]"
    except Unwritable as exc:
        yield _comment(f"{run.node} runs itself: what it gave has {exc}")
        attempts = ""
    yield f"    {laid_out(f'Run({quoted(run.node)}{given}{attempts})', 4, 0, 1)},"


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


def _comment(text: str) -> str:
    """A comment of one line, whatever it tells of."""
    return f"    # {' '.join(text.split())}"
