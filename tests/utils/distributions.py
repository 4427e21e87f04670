"""Distributions that are installed for one test: metadata and a module, in a folder of the import path.

Rules: as an installer would leave them, so that discovery, import and blocking are the real ones. What a test imports
from there is forgotten after it.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from penguiflow import PenguiFlow, PluginRecord

PLUGINS, POLICIES = "penguiflow.plugins", "penguiflow.policies"

# Says that it was imported, to whoever looks for the file.
_FOOTPRINT = (
    "import pathlib\nwith pathlib.Path(__file__).with_suffix('.imported').open('a') as mark:\n    mark.write('x')\n"
)

OBSERVER = """
    from penguiflow import hookimpl

    class Observer:
        def __init__(self):
            self.seen = []

        @hookimpl
        def on_event(self, event):
            self.seen.append(event.event_type)

    def plugin():
        return Observer()
"""


def policy(answer: str, options: str = "") -> str:
    """The code of a policy whose `resolve_route` returns this expression of `request`."""
    return f"""
    from penguiflow import hookimpl

    class Policy:
        @hookimpl{options}
        def resolve_route(self, request):
            return {answer}

    def plugin():
        return Policy()
    """


class Site:
    """A folder of installed distributions, and the file of settings next to it."""

    def __init__(self, folder: Path) -> None:
        self.folder: Path = folder

    def configure(self, text: str) -> str:
        """Write the deployment's file of settings, and let the environment name it; what it is called."""
        path = self.folder.parent / "penguiflow.toml"
        path.write_text(dedent(text), encoding="utf-8")
        os.environ["PENGUIFLOW_CONFIG"] = str(path)
        return str(path)

    def add(
        self,
        name: str,
        code: str = OBSERVER,
        group: str = PLUGINS,
        *,
        entry: str | None = None,
        value: str | None = None,
        version: str = "1.0",
    ) -> None:
        """Install a distribution with one plugin: the function `plugin` of a module with this code.

        Args:
            name: Of the distribution; the module is called the same, with underscores.
            code: Of the module.
            group: Of the entry point.
            entry: The entry point's name; that of the distribution if left out.
            value: What the entry point says; `module:plugin` if left out.
            version: Of the distribution.
        """
        module = self.module(name)
        (self.folder / f"{module}.py").write_text(_FOOTPRINT + dedent(code), encoding="utf-8")
        self.add_metadata(name, {group: {entry or name: value or f"{module}:plugin"}}, version)

    def add_metadata(self, name: str, groups: Mapping[str, Mapping[str, str]], version: str = "1.0") -> Path:
        """Install the metadata of a distribution, and nothing to import."""
        info = self.folder / f"{self.module(name)}-{version}.dist-info"
        info.mkdir(parents=True)
        text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        (info / "METADATA").write_text(text, encoding="utf-8")
        lines = [
            line
            for group, points in groups.items()
            for line in (f"[{group}]", *(f"{k} = {v}" for k, v in points.items()))
        ]
        (info / "entry_points.txt").write_text("\n".join([*lines, ""]), encoding="utf-8")
        return info

    def imports(self, name: str) -> int:
        """How often a distribution's module has been run."""
        footprint = self.folder / f"{self.module(name)}.imported"
        return len(footprint.read_text()) if footprint.exists() else 0

    @staticmethod
    def module(name: str) -> str:
        """The name of a distribution's module."""
        return name.replace("-", "_").replace(".", "_")


def fresh_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A `Site` for one test, first on the import path, in a deployment that has said nothing yet."""
    for name in ("PLUGINS", "PLUGINS_BLOCK", "PLUGINS_REQUIRE", "PLUGINS_STRICT", "POLICIES", "CONFIG"):
        monkeypatch.setenv(f"PENGUIFLOW_{name}", "")  # so that it is set back after the test
        monkeypatch.delenv(f"PENGUIFLOW_{name}")
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    importlib.invalidate_caches()
    yield Site(folder)
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


def statuses(flow: PenguiFlow) -> dict[str, str]:
    """What became of each plugin of a flow."""
    return {record.name: record.status for record in flow.plugins}


def only_record(flow: PenguiFlow) -> PluginRecord:
    """The record of a flow's one plugin."""
    (record,) = flow.plugins
    return record


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What has been logged as a warning, or as worse."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
