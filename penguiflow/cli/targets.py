"""`module:flow`: what a person types to name a flow.

Rules: the module is one that can be imported from here, or a file. The attribute is a flow, or a function without
arguments that returns one. A wrong name is wrong usage; code of the target that raises is something wrong.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from penguiflow import GraphError, PenguiFlow, PluginError
from penguiflow.cli.speech import USAGE, WRONG, Complaint, OutputError, located

SHAPE = "module:flow or path/to/file.py:flow"


def loaded(target: str) -> PenguiFlow:
    """The flow that a target names.

    Raises:
        Complaint: there is no such flow, or its code raises.
    """
    where, colon, attribute = target.rpartition(":")
    if not (colon and where and attribute):
        raise Complaint(f"{target!r} names no flow: write {SHAPE}", USAGE)
    module = _file(where) if where.endswith(".py") else _module(where)
    return _flow(_found(module, where, attribute), target)


def _module(name: str) -> ModuleType:
    if "/" in name or os.sep in name:
        raise Complaint(f"{name!r} is neither a module nor a file: write {SHAPE}", USAGE)
    if "" in name.split("."):
        raise Complaint(f"{name!r} is no module: write {SHAPE}", USAGE)
    _on_path(os.getcwd())
    with _complaining(f"{name} can't be imported"):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as exc:
            if exc.name is None or not (name == exc.name or name.startswith(f"{exc.name}.")):
                raise
            raise Complaint(
                f"there is no module {exc.name!r} here or among what is installed{_beside(name)}", USAGE
            ) from None


@contextlib.contextmanager
def _complaining(what: str) -> Iterator[None]:
    """Make a sentence of whatever somebody's code raises; pytest's skip, for one, stands beside `Exception`."""
    try:
        yield
    except (KeyboardInterrupt, OutputError, Complaint):
        raise
    except BaseException as exc:
        raise Complaint(f"{what}: {_why(exc)}", WRONG) from None


def _beside(name: str) -> str:
    """A hint at a module of this folder with nearly this name."""
    here = [path.stem for path in sorted(Path.cwd().glob("*.py"))]
    close = difflib.get_close_matches(name, here, n=1)
    return f": did you mean {close[0]!r}?" if close else ""


def _file(name: str) -> ModuleType:
    path = Path(name).resolve()
    if not path.is_file():
        raise Complaint(f"there is no file {name!r} here", USAGE)
    _on_path(str(path.parent))  # as if Python ran the file: its neighbours can be imported
    title = path.stem if path.stem not in sys.modules else f"{path.stem}__flow"
    spec = importlib.util.spec_from_file_location(title, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[title] = module  # annotations of its nodes are resolved there
    with _complaining(f"{name} can't be imported"):
        try:
            spec.loader.exec_module(module)
        except BaseException:
            sys.modules.pop(title, None)
            raise
    return module


def _on_path(folder: str) -> None:
    if folder not in sys.path and "" not in sys.path[:1]:
        sys.path.insert(0, folder)


def _why(exc: BaseException) -> str:
    if isinstance(exc, PluginError):
        return f"{exc}\n`penguiflow plugins doctor` looks at each plugin"
    return str(exc) if isinstance(exc, GraphError) else located(exc)


def _found(module: ModuleType, where: str, attribute: str) -> Any:
    found: Any = module
    for name in attribute.split("."):
        with _complaining(f"{where}:{attribute} can't be read"):
            try:
                found = getattr(found, name)
            except AttributeError:
                raise Complaint(f"{where} has no {attribute!r}{_meant(module, attribute)}", USAGE) from None
    return found


def _meant(module: ModuleType, attribute: str) -> str:
    """The nearest names, or else the flows that are there."""
    flows = [name for name, thing in vars(module).items() if isinstance(thing, PenguiFlow)]
    makers = [name for name, thing in vars(module).items() if _is_own_function(thing, module)]
    close = difflib.get_close_matches(attribute, [*flows, *makers], n=3)
    if close:
        return f": did you mean {' or '.join(map(repr, close))}?"
    return f": its flows are {', '.join(flows)}" if flows else ": it has no flow"


def _is_own_function(thing: Any, module: ModuleType) -> bool:
    return inspect.isfunction(thing) and thing.__module__ == module.__name__


def _shown(value: Any) -> str:
    try:
        return f"{value!r:.80}"
    except Exception:
        return f"a {type(value).__name__}"


def _flow(found: Any, target: str) -> PenguiFlow:
    if isinstance(found, PenguiFlow):
        return found
    if inspect.iscoroutinefunction(found):
        raise Complaint(f"{target} is async: name a flow, or a plain function that returns one", USAGE)
    if inspect.isclass(found) or not callable(found):
        raise Complaint(f"{target} is {_shown(found)}, and no flow: name a flow, or a function that returns one", USAGE)
    _refuse_arguments(found, target)
    with _complaining(f"{target}() raised"):
        made = found()
    if not isinstance(made, PenguiFlow):
        raise Complaint(f"{target}() returned {_shown(made)}, and no flow", USAGE)
    return made


def _refuse_arguments(function: Any, target: str) -> None:
    try:
        inspect.signature(function).bind()
    except ValueError:
        return  # a function that doesn't say what it takes
    except TypeError as exc:
        raise Complaint(
            f"{target} can't be called without arguments ({exc}): write a function that returns the flow", USAGE
        ) from None
