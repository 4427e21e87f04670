"""Lets one process at a time open a SQLite store.

MLflow makes and updates the tables of a SQLite file in many steps, and two processes that do so at once leave a file
that neither can use. Rules: only SQLite needs this, and only processes of this package take part. Where the system has
no `flock`, nobody waits.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from penguiflow_mlflow.writer.deadline import Deadline

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextmanager
def alone(uri: str, deadline: Deadline) -> Iterator[None]:
    """Hold the lock of a store, once it is free or the deadline has passed."""
    file = _opened(_file(uri)) if fcntl is not None and uri.startswith("sqlite") else None
    if file is None:
        yield
        return
    try:
        while not (_taken(file) or deadline.passed()):
            deadline.pause(0.05)
        yield
    finally:
        os.close(file)  # which gives the lock back


def _opened(path: Path) -> int | None:
    """The file; `None` where there can't be one."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError:
        return None


def _taken(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _file(uri: str) -> Path:
    """A file of this user's that stands for the store, however its path is written."""
    path = uri.partition("///")[2].partition("?")[0]
    digits = hashlib.sha256(os.path.realpath(path).encode()).hexdigest()[:16]
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return Path(tempfile.gettempdir(), f"penguiflow-mlflow-{user}-{digits}.lock")
