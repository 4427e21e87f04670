"""The command line: `penguiflow` and `python -m penguiflow`.

Rules: only the extra `cli` brings what this needs, so without it the command says what to install. What is asked for
goes to stdout, every other word to stderr. Exit codes: 0 all is well, 1 something is wrong, 2 wrong usage.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any


def main() -> None:
    """Run the command that the arguments name, and exit."""
    try:
        app: Any = importlib.import_module("penguiflow.cli.app").app
    except ModuleNotFoundError as exc:
        if exc.name != "typer":
            raise
        print("the command line needs typer: pip install 'typer>=0.26'", file=sys.stderr)
        sys.exit(2)
    app()
