"""Notices that a file has changed.

Rules: the folder is watched, not the file, since editors and deployments put a new file, or a new link, in its place.
Every few seconds the file is looked at all the same: some file systems tell nobody.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

log = logging.getLogger("penguiflow_policy")

LOOK_MS = 2000
STEP_MS = 50
_LINKS = "..data"  # what a mounted configuration swaps

Signature = tuple[int, ...] | None


def signature(path: Path) -> Signature:
    """What changes when a file does; `None` if there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, found.st_dev)


class Watcher:
    """Calls `changed` whenever the file may have changed.

    Args:
        path: The file.
        seen: What was there when it was last read.
        changed: Reads it again; false if it couldn't be read, and that is to be tried again.
        force_polling: Look at the folder again and again, instead of being told by the system.
    """

    def __init__(
        self, path: Path, seen: Signature, changed: Callable[[], Awaitable[bool]], force_polling: bool | None = None
    ) -> None:
        self._path = path
        self._seen = seen
        self._changed = changed
        self._force_polling = force_polling
        self._unread = False
        self._said = ""
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name=f"watch {path.name}")

    def end(self) -> None:
        """Look no more."""
        self._stop.set()

    async def stop(self) -> None:
        """Look no more, and wait until nothing is left."""
        self.end()
        done, _ = await asyncio.wait([self._task], timeout=2.0)
        if not done:
            self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while not self._stop.is_set():
            try:
                await self._look()
                await self._follow()
            except Exception as exc:
                self._say(f"the folder of {self._path} can't be watched ({exc}): it is looked at again and again")
                await self._look()
                await self._pause(LOOK_MS / 1000)

    def _say(self, text: str) -> None:
        if text != self._said:
            self._said = text
            log.warning("%s", text)

    async def _pause(self, seconds: float) -> None:
        waiting = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait([waiting], timeout=seconds)
        waiting.cancel()

    async def _follow(self) -> None:
        watchfiles: Any = importlib.import_module("watchfiles")  # here: who doesn't reload needn't load it
        folders = dict.fromkeys((self._path.absolute().parent, self._path.resolve().parent))
        names = {self._path.name, self._path.resolve().name, _LINKS}
        changes = watchfiles.awatch(
            *folders,
            watch_filter=lambda _, path: Path(path).name in names,
            debounce=4 * STEP_MS,
            step=STEP_MS,
            stop_event=self._stop,
            rust_timeout=LOOK_MS,
            yield_on_timeout=True,
            force_polling=self._force_polling,
            recursive=False,
        )
        async for _ in changes:
            await self._look()
            if self._path.resolve().parent not in folders:
                return  # a link leads elsewhere now: watch that

    async def _look(self) -> None:
        """Read the file if it is another one."""
        found = signature(self._path)
        if (found != self._seen or self._unread) and not self._stop.is_set():
            self._seen = found
            self._unread = not await self._changed()
