"""`--flow`: the flow that a command is given, as `module:flow` or `path/to/file.py:flow`.

Rules: it is a flow, or a function without arguments that returns one. A file is loaded as if Python ran it: its
neighbours can be imported.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

from penguiflow import GraphError, PenguiFlow
from penguiflow_policy._problems import PolicyError


class UsageError(Exception):
    """The command was given something that it can't use."""


def loaded(target: str) -> PenguiFlow:
    """The flow that a target names.

    Raises:
        UsageError: there is none, or its code raises.
    """
    where, colon, name = target.rpartition(":")
    if not (where and colon and name):
        raise UsageError(f"--flow is module:flow, as in app.flows:desk, or path/to/file.py:flow, not {target!r}")
    try:
        found = getattr(_file(where) if where.endswith(".py") else _module(where), name)
        flow = found() if callable(found) and not isinstance(found, PenguiFlow) else found
    except (GraphError, PolicyError, UsageError):
        raise
    except (ImportError, AttributeError) as exc:
        raise UsageError(f"--flow {target}: {exc}") from None
    except Exception as exc:
        raise UsageError(f"--flow {target} raised {type(exc).__name__}: {exc}") from exc
    if not isinstance(flow, PenguiFlow):
        raise UsageError(f"--flow {target} is a {type(flow).__name__}, and no flow")
    return flow


def _module(name: str) -> ModuleType:
    _on_path(os.getcwd())
    return importlib.import_module(name)


def _file(name: str) -> ModuleType:
    path = Path(name).resolve()
    if not path.is_file():
        raise ImportError(f"there is no file {name!r} here")
    _on_path(str(path.parent))
    title = path.stem if path.stem not in sys.modules else f"{path.stem}__flow"
    spec = importlib.util.spec_from_file_location(title, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{name!r} can't be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[title] = module  # annotations of its nodes are resolved there
    spec.loader.exec_module(module)
    return module


def _on_path(folder: str) -> None:
    if folder not in sys.path:
        sys.path.insert(0, folder)
