"""The peers: other frameworks that do the same work, each in an environment of its own.

Rules: a peer's script, `benchmarks/peers/use_NAME.py`, is run by its environment's Python and prints JSON: microseconds
of each row that it can do, or why not. Its environment is `.bench/NAME`, made from the pinned `requirements-NAME.txt`.
One that can't be installed or fails is shown with its reason. Telemetry is switched off.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCRIPTS = Path(__file__).parent / "peers"
ENVIRONMENTS = ROOT / ".bench"
INSTALL_S, RUN_S = 900, 600
QUIET = {
    "ANONYMIZED_TELEMETRY": "false",
    "HAYSTACK_TELEMETRY_ENABLED": "False",
    "LANGCHAIN_TRACING_V2": "false",
    "LANGSMITH_TRACING": "false",
    "DO_NOT_TRACK": "1",
    "PYTHONWARNINGS": "ignore",
}
PEERS = {
    "published": "penguiflow",
    "langgraph": "langgraph",
    "llamaindex": "llama-index-workflows",
    "pydantic_graph": "pydantic-graph",
    "burr": "apache-burr",
    "haystack": "haystack-ai",
}


@dataclass
class Rival:
    """What a peer did."""

    name: str
    title: str
    figures: Mapping[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def measured(seconds: float) -> Iterator[Rival]:
    """Each peer in turn, with so many seconds for each row."""
    for name, package in PEERS.items():
        pins = SCRIPTS / f"requirements-{name}.txt"
        rival = Rival(name, f"{package} {_version(pins, package)}")
        try:
            python = _environment(name, pins)
            _run(rival, [str(python), str(SCRIPTS / f"use_{name}.py"), str(seconds)])
        except (OSError, subprocess.SubprocessError, ValueError, LookupError) as error:
            rival.problems.append(f"failed: {_words(error)}")
        yield rival


def _version(pins: Path, package: str) -> str:
    lines = pins.read_text(encoding="utf-8").splitlines()
    return next((line.partition("==")[2] for line in lines if line.startswith(f"{package}==")), "")


def _environment(name: str, pins: Path) -> Path:
    """The peer's Python; its environment is made again when its pins change."""
    home = ENVIRONMENTS / name
    python, stamp = home / "bin" / "python", home / "pins.txt"
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != pins.read_text(encoding="utf-8"):
        _call([sys.executable, "-m", "venv", "--clear", str(home)], INSTALL_S)
        install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", str(pins)]
        _call([str(python), *install], INSTALL_S)
        stamp.write_text(pins.read_text(encoding="utf-8"), encoding="utf-8")
    return python


def _run(rival: Rival, command: list[str]) -> None:
    told = json.loads(_call(command, RUN_S).splitlines()[-1])
    rival.figures = told["figures"]
    rival.problems += [f"{row}: {problem}" for row, problem in told["problems"].items()]


def _call(command: list[str], limit_s: float) -> str:
    """What a command prints. It sees nothing of this tree but the script."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    ENVIRONMENTS.mkdir(exist_ok=True)
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=limit_s, check=True, env=kept | QUIET, cwd=ENVIRONMENTS
    )
    return done.stdout


def _words(error: Exception) -> str:
    """The last line that a failed command printed, or the error itself."""
    printed = (getattr(error, "stderr", None) or "").strip().splitlines()
    return printed[-1] if printed else str(error) or type(error).__name__
