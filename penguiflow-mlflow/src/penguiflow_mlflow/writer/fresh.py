"""Makes the tables of a SQLite store that is new.

MLflow makes them in many steps that take seconds, and a process that ends meanwhile leaves a file that MLflow never
opens again. Rules: they are made in a file beside, which gets its name when it is whole. A file that is there is left
alone.
"""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Callable
from pathlib import Path


def make(uri: str, opened: Callable[[str], object], say: Callable[[str], None]) -> None:
    """Make the tables of a store, if it is a SQLite file and isn't there.

    Args:
        uri: The store.
        opened: Has MLflow open a store, which makes its tables.
        say: Told that this takes a while.

    Raises:
        ValueError: the store would be in the memory of this process.
    """
    if not uri.startswith("sqlite"):
        return
    from sqlalchemy import make_url

    url = make_url(uri)
    name = url.database
    if name in (None, "", ":memory:"):
        raise ValueError(
            f"{uri} is a store in memory, gone as soon as it is written: name a file, as sqlite:///mlflow.db"
        )
    path = Path(name)
    if name.startswith("file:") or path.exists():
        return
    say(f"MLflow makes the tables of the new store {uri}, which takes it some seconds")
    path.parent.mkdir(parents=True, exist_ok=True)
    _swept(path)
    part = path.with_name(f"{_prefix(path)}{os.getpid()}.part")
    opened(url.set(database=str(part)).render_as_string(hide_password=False))
    with contextlib.suppress(OSError):  # there is one by now, or the file system has no links: MLflow opens it as it is
        os.link(part, path)
    _swept(path)


def _prefix(path: Path) -> str:
    return f".{path.name}."


def _swept(path: Path) -> None:
    """Take away what processes have left that ended meanwhile."""
    for part in path.parent.glob(f"{glob.escape(_prefix(path))}*.part*"):
        part.unlink(missing_ok=True)
