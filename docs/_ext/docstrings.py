"""Docstrings as the reference shows them.

Rules: docstrings are plain text with code in single backticks, and sections as Google has them (napoleon reads those).
Code that is the name of something public becomes a link to it. What nobody but its makers makes is shown without its
constructor, arguments that only the kernel gives aren't shown, nor are methods that take or give what isn't public. A
type that stands in a private module is linked where it is public; one of another project is shown as text.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import importlib
import inspect
import re
import sys
import types
import typing
from enum import Enum
from typing import Any

from docutils import nodes
from pydantic import BaseModel
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.ext.napoleon.docstring import GoogleDocstring
from sphinx.util.inspect import stringify_signature
from sphinx.util.typing import stringify_annotation

MODULES = (
    "penguiflow",
    "penguiflow.testkit",
    "penguiflow_viz",
    "penguiflow_otel",
    "penguiflow_mlflow",
    "penguiflow_prometheus",
    "penguiflow_policy",
    "penguiflow_asgi",
)
MADE_FOR_THE_READER = {  # by a call, or a running flow
    *("penguiflow.FlowStream", "penguiflow.GraphNode", "penguiflow.Explanation", "penguiflow.Load"),
    *("penguiflow.NodeLoad", "penguiflow.PluginRecord", "penguiflow.testkit.Streamed", "penguiflow.testkit.Simulation"),
    *("penguiflow.testkit.Call", "penguiflow.testkit.BrokenOrder", "penguiflow.testkit.Recording"),
    *("penguiflow.testkit.Played", "penguiflow_viz.TraceRecord", "penguiflow_viz.NodeRecord"),
    *("penguiflow_viz.RunRecord", "penguiflow_viz.Attempt", "penguiflow_viz.LiveView", "penguiflow_viz.Drawing"),
    *("penguiflow_viz.Cluster", "penguiflow_viz.Box", "penguiflow_viz.Link", "penguiflow_mlflow.Report"),
    *("penguiflow_prometheus.MetricsServer", "penguiflow_policy.Decision", "penguiflow_policy.PolicyChange"),
    *("penguiflow_policy.PolicyExplanation", "penguiflow_policy.Tried", "penguiflow_policy.Difference"),
    *("penguiflow_policy.PolicyError", "penguiflow_policy.Problem"),
}
CODE = re.compile(r"(?P<before>\w?)(?<!`)`(?P<code>[^`]+)`(?!`)(?P<after>\w?)")
NAME = re.compile(r"[A-Z]\w+")


@functools.cache
def public() -> tuple[tuple[str, str, Any], ...]:
    """Module, name and value of all that is public."""
    loaded = [(module, importlib.import_module(module)) for module in MODULES]
    return tuple((path, name, getattr(module, name)) for path, module in loaded for name in module.__all__)


# --- text -----------------------------------------------------------------------------------------


def marked_up(text: str, documented: str) -> str:
    """The text of a docstring as reStructuredText. `documented` is what it stands in, by its full name."""
    pieces: list[str] = []
    end = 0
    for found in CODE.finditer(text):
        pieces += [_plain(text[end : found.start()]), found["before"], "\\ " if found["before"] else ""]
        pieces += [_code(" ".join(found["code"].split()), documented), "\\ " if found["after"] else "", found["after"]]
        end = found.end()
    return "".join([*pieces, _plain(text[end:])])


def _plain(text: str) -> str:
    return re.sub(r"(?<!^)(?<!\n)([*|]|_\b)", r"\\\1", text)


def _code(code: str, documented: str) -> str:
    home = next((module for module in reversed(MODULES) if documented.startswith(f"{module}.")), MODULES[0])
    for module in (home, "penguiflow"):
        if NAME.fullmatch(code) and code in importlib.import_module(module).__all__:
            own = documented == f"{module}.{code}" or documented.startswith(f"{module}.{code}.")
            return f"``{code}``" if own else f":py:obj:`{code} <{module}.{code}>`"
    return f"``{code}``"


def docstring(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    if what == "data" and thing.__doc__ == type(thing).__doc__:  # of `str`, say: the page has words of its own
        lines.clear()
    lines[:] = marked_up("\n".join(lines), name).split("\n")
    if what in ("attribute", "data", "property"):  # of these napoleon takes `this: that` for a type, and no sections
        read = GoogleDocstring(lines, app.config, app, "method", name, thing, options)
        lines[:] = ["..", "", *read.lines()]  # behind an empty comment it lets them be


def typed(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Say the types of the attributes that a class documents, as far as its annotations do."""
    if what in ("class", "exception"):
        hints = _hints_of(thing) if any(line.startswith(".. attribute::") for line in lines) else {}
        for place in range(len(lines) - 1, -1, -1):
            attribute = re.fullmatch(r"\.\. attribute:: (\w+)", lines[place])
            if attribute and attribute[1] in hints:
                lines.insert(place + 1, f"   :type: {stringify_annotation(hints[attribute[1]], 'smart')}")


def _hints_of(cls: Any) -> dict[str, Any]:
    """The types of a class's attributes: of those that aren't annotated, the types of the arguments so named."""
    if _is_model(cls):
        return {name: _bare(field.annotation) for name, field in cls.__pydantic_fields__.items()}
    return typing.get_type_hints(cls.__init__) | inspect.get_annotations(cls, eval_str=True)


# --- signatures -----------------------------------------------------------------------------------


def signature(
    app: Sphinx, what: str, name: str, thing: Any, options: Any, arguments: str | None, returns: str | None
) -> tuple[str | None, str | None] | None:
    if what in ("class", "exception") and inspect.isclass(thing) and arguments is not None:
        made = name in MADE_FOR_THE_READER
        shown = None if made else _of_fields(thing) if _is_model(thing) else _of_constructor(thing)
        text = "" if shown is None else stringify_signature(shown, unqualified_typehints=True)
        return _named(text), None
    if what in ("function", "method"):
        if returns is not None and getattr(thing, "__code__", None) in MANAGERS:
            returns = re.sub(r"collections\.abc\.(Async)?Iterator\[", r"contextlib.Abstract\1ContextManager[", returns)
        return _named(arguments), _named(returns)
    return None


def _named(text: str | None) -> str | None:
    """As Sphinx should have it: no brackets round a ParamSpec or `...`, and the name of an alias within a union."""
    text = text and re.sub(r"(Callable\[)\[(\.\.\.|[\w.~]*\bP)\]", r"\1\2", text)
    return text and re.sub(r"TypeAliasForwardRef\('(\w+)'\)", r"\1", text)


MANAGERS = {  # what a function is that these have decorated
    contextlib.contextmanager(lambda: iter(())).__code__,
    contextlib.asynccontextmanager(lambda: iter(())).__code__,
}


def _is_model(cls: type) -> bool:
    return issubclass(cls, BaseModel) or hasattr(cls, "__pydantic_fields__")


class _Spelled:
    """A default as somebody would type it."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _of_fields(cls: Any) -> inspect.Signature:
    """A model's fields: types as annotated, without what only validation reads."""
    kind = inspect.Parameter.KEYWORD_ONLY
    parameters = []
    for name, field in cls.__pydantic_fields__.items():
        default: Any = inspect.Parameter.empty
        if field.default_factory is not None:
            factory = field.default_factory
            default = _Spelled({list: "[]", dict: "{}"}.get(factory, "..."))
        elif not field.is_required():
            default = _Spelled(_spelled(field.default))
        parameters.append(inspect.Parameter(name, kind, default=default, annotation=_bare(field.annotation)))
    return inspect.Signature(parameters)


def _bare(hint: Any) -> Any:
    """A type without what `Annotated` says besides."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return parts[0]
    return typing.Union[tuple(map(_bare, parts))] if origin in (typing.Union, types.UnionType) else hint  # noqa: UP007


def _spelled(value: Any) -> str:
    return value.__name__ if inspect.isclass(value) else repr(value)


def _of_constructor(cls: type) -> inspect.Signature | None:
    """The constructor; `None` if only the kernel can call it."""
    if getattr(cls, "_is_protocol", False) or issubclass(cls, Enum):
        return None
    declared = inspect.signature(cls)
    maker = cls.__init__ if cls.__init__ is not object.__init__ else cls.__new__
    hints = typing.get_type_hints(maker)
    kept = []
    for parameter in declared.parameters.values():
        hint = hints.get(parameter.name, parameter.empty)
        if not _is_private(hint):
            unsaid = str(parameter.default) == "<factory>" or str(parameter.default).startswith("_")
            default = _Spelled("...") if unsaid else parameter.default
            kept.append(parameter.replace(annotation=hint, default=default))
        elif parameter.default is parameter.empty:
            return None
    return declared.replace(parameters=kept, return_annotation=inspect.Signature.empty)


def _is_private(hint: Any) -> bool:
    """Whether a type is one of ours that isn't public, or is made of one."""
    parts = typing.get_args(hint) or getattr(hint, "__pydantic_generic_metadata__", {}).get("args")  # `Message[Any]`
    if parts:
        return any(map(_is_private, parts))
    module = getattr(hint, "__module__", "")
    ours = module.split(".")[0].startswith("penguiflow")
    return inspect.isclass(hint) and ours and all(hint is not thing for _, _, thing in public())


# --- references -----------------------------------------------------------------------------------


def reference(app: Sphinx, env: BuildEnvironment, node: pending_xref, shown: nodes.TextElement) -> Any:
    """Find what a type's name in a signature means."""
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    thing = _found(target)
    if thing is None:
        return None
    for module, name, value in public():
        if value is thing and f"{module}.{name}" != target:
            domain = env.domains.python_domain
            return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", f"{module}.{name}", node, shown)
    return None if _is_ours(thing) and "._" not in target else shown


def _found(target: str) -> Any:
    """What a full name stands for; `None` if there is nothing of it."""
    module, _, name = target.rpartition(".")
    if not module:
        return getattr(builtins, name, None) or _inside(name)
    try:
        return getattr(importlib.import_module(module), name, None)
    except ImportError:
        outer = _found(module) if "." in module else None
        return getattr(outer, name, None)


def _inside(name: str) -> Any:
    """What a module of ours means by a bare name."""
    ours = [module for path, module in sorted(sys.modules.items()) if path.split(".")[0].startswith("penguiflow")]
    return next((vars(module)[name] for module in ours if name in vars(module)), None)


def _is_ours(thing: Any) -> bool:
    module = str(getattr(thing, "__module__", ""))
    return module.startswith("penguiflow") and not isinstance(thing, typing.TypeVar | typing.ParamSpec)


def skipped(app: Sphinx, what: str, name: str, thing: Any, skip: bool, options: Any) -> bool | None:
    """Leave out what has no docstring of its own (a named tuple's field, or one whose default is an exception), and
    what nobody outside can call."""
    doc = getattr(thing, "__doc__", None) or ""
    unsaid = doc.startswith("Alias for field number") or thing is Exception or name == "model_config"
    return True if unsaid or (inspect.isfunction(thing) and _is_internal(thing)) else None


def _is_internal(function: Any) -> bool:
    with contextlib.suppress(NameError, TypeError):  # an annotation of another project
        return any(map(_is_private, typing.get_type_hints(function).values()))
    return False


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("autodoc-process-docstring", docstring, priority=400)  # before napoleon
    app.connect("autodoc-process-docstring", typed, priority=600)  # after it
    app.connect("autodoc-process-signature", signature)
    app.connect("autodoc-skip-member", skipped)
    app.connect("missing-reference", reference)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
