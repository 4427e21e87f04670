"""Plugins that do wrong what a plugin can do wrong, installed as distributions into a folder, for the command line.

Rules: each is as small as its mistake. All leave a footprint, a file, when they are imported.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.utils.distributions import OBSERVER, PLUGINS, Site

ROOT = Path(__file__).parents[2]


def observer(event: str = "pass", more: str = "") -> str:
    """The code of a plugin whose `on_event` does this, with more methods if need be."""
    return f"""
import asyncio, os, pathlib, time
from penguiflow import hookimpl

class Plugin:
    @hookimpl
    def on_event(self, event):
        {event}
{more}
def plugin():
    return Plugin()
"""


RAISES = observer(
    "raise ValueError('boo')",
    """
    @hookimpl
    def on_error(self, error):
        raise KeyError('lost')

    @hookimpl
    def export_graph(self, request):
        raise OSError('no ink')
""",
)
RAISES_TWICE = observer(
    """if event.event_type == 'flow_stop':
            raise ValueError('at the end')
        raise ValueError(event.event_type)"""
)
SEES = observer("pathlib.Path(__file__).with_suffix('.seen').open('a').write(event.event_type + ' ')")
HANGS = observer(
    more="""
    async def stop(self, flow):
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                pass
"""
)
UNSTARTABLE = observer(
    more="""
    async def start(self, flow):
        raise ConnectionError('no server')
"""
)
NEEDS_OPTIONS = """
from pydantic import BaseModel
from penguiflow import hookimpl

class Options(BaseModel):
    threshold: float

class Plugin:
    @hookimpl
    def on_event(self, event): ...

def plugin(options: Options):
    return Plugin()
"""
LATE = """
import asyncio
from penguiflow import hookimpl

class Plugin:
    @hookimpl
    async def resolve_route(self, request):
        await asyncio.Event().wait()

def plugin():
    return Plugin()
"""
ODD_EXPORT = """
from penguiflow import hookimpl

class Plugin:
    @hookimpl
    def export_graph(self, request):
        return {"nodes": 3}

def plugin():
    return Plugin()
"""


class Folder(Site):
    """A folder of installed distributions, and a command line that finds them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        folder.mkdir(exist_ok=True)

    def plugin(self, name: str, code: str = OBSERVER, group: str = PLUGINS, dist: str | None = None) -> None:
        """Install a distribution, `acme-NAME` unless named, with one plugin; by itself it works."""
        self.add(dist or f"acme-{name}", code, group, entry=name, version="1.5")

    def imported(self) -> list[str]:
        """The modules that somebody has imported."""
        return sorted(path.stem for path in self.folder.glob("*.imported"))

    def command(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `python -m penguiflow` where these are installed, and nothing else is set."""
        return subprocess.run(
            [sys.executable, "-m", "penguiflow", *arguments],
            cwd=self.folder,
            env={**clean_environment(), "PYTHONPATH": f"{self.folder}{os.pathsep}{ROOT}", **environment},
            capture_output=True,
            stdin=subprocess.DEVNULL,
            encoding="utf-8",
            timeout=300,
        )


def clean_environment() -> dict[str, str]:
    """The environment without any setting of PenguiFlow's, and with a buffer before stdout."""
    unwanted = ("PENGUIFLOW_", "PYTHONUNBUFFERED")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    return {**kept, "PYTHONIOENCODING": "utf-8"}
