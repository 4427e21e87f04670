"""A bounded queue that loses nothing when whoever waits on it is cancelled.

Rules: items are handed over synchronously, in order: a waiting reader gets the next item into his own future, a waiting
writer's item is taken in the moment there is room. Items may carry a tag (the node they came from) and be read by it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection
from typing import Any, Final

EMPTY: Final = object()


class ChannelClosed(Exception):
    """Nothing more will come."""


class Channel:
    """A queue of at most `maxsize` items for one loop."""

    __slots__ = ("_closed", "_discards", "_getters", "_items", "_maxsize", "_putters")

    def __init__(self, maxsize: int) -> None:
        self._maxsize: int = maxsize
        self._items: deque[tuple[Any, str | None]] = deque()
        self._getters: deque[tuple[asyncio.Future[Any], Collection[str] | None]] = deque()
        self._putters: deque[tuple[Any, str | None, asyncio.Future[None]]] = deque()
        self._closed: bool = False
        self._discards: bool = False

    def __len__(self) -> int:
        return len(self._items)

    def offer(self, item: Any, tag: str | None = None) -> bool:
        """Take an item in if there is room for it now."""
        if self._discards or (self._getters and self._handed(item, tag)):
            return True
        if len(self._items) >= self._maxsize or self._putters:
            return False
        self._items.append((item, tag))
        return True

    def force(self, item: Any, tag: str | None = None) -> None:
        """Take an item in whether there is room for it or not."""
        if not (self._discards or self._handed(item, tag)):
            self._items.append((item, tag))

    def spill(self, item: Any, tag: str | None, beyond: int) -> bool:
        """Take an item in, up to so many beyond the bound; whether there was room for it."""
        if len(self._items) >= self._maxsize + beyond:
            return False
        self.force(item, tag)
        return True

    async def put(self, item: Any, tag: str | None = None) -> None:
        """Take an item in, waiting for room.

        Raises:
            ChannelClosed: nobody takes anything any more.
        """
        if self._closed:
            raise ChannelClosed
        if self.offer(item, tag):
            return
        placed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._putters.append((item, tag, placed))
        try:
            await placed
        except asyncio.CancelledError:
            self._putters = deque(entry for entry in self._putters if entry[2] is not placed)
            raise

    def _handed(self, item: Any, tag: str | None) -> bool:
        for place, (future, tags) in enumerate(self._getters):
            if not future.done() and (tags is None or tag in tags):
                future.set_result((item, tag))
                del self._getters[place]
                return True
        return False

    def take(self) -> Any:
        """The next item, or `EMPTY` if there is none now."""
        if not self._items:
            return EMPTY
        item = self._items.popleft()[0]
        if self._putters:
            self._refill()
        return item

    async def get(self, tags: Collection[str] | None = None) -> Any:
        """The next item, or the next with one of these tags.

        Raises:
            ChannelClosed: nothing more will come.
        """
        if tags is None:
            item = self.take()
        else:
            item = self._tagged(tags)
        if item is not EMPTY:
            return item
        if self._closed:
            raise ChannelClosed
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._getters.append((future, tags))
        try:
            return (await future)[0]
        except asyncio.CancelledError:
            self._take_back(future)
            raise

    def _tagged(self, tags: Collection[str]) -> Any:
        """The first item with one of the tags, even if its writer still waits for room behind others."""
        for place, (item, tag) in enumerate(self._items):
            if tag in tags:
                del self._items[place]
                self._refill()
                return item
        for place, (item, tag, placed) in enumerate(self._putters):
            if tag in tags and not placed.done():
                del self._putters[place]
                placed.set_result(None)
                return item
        return EMPTY

    def _take_back(self, future: asyncio.Future[Any]) -> None:
        """A reader was cancelled, perhaps with an item in hand: it goes to the next reader, or back to the front."""
        self._getters = deque(entry for entry in self._getters if entry[0] is not future)
        if future.done() and not future.cancelled() and future.exception() is None:
            item, tag = future.result()
            if not self._handed(item, tag):
                self._items.appendleft((item, tag))

    def _refill(self) -> None:
        while self._putters and (len(self._items) < self._maxsize or self._discards):
            item, tag, placed = self._putters.popleft()
            if not placed.done():
                self.force(item, tag)
                placed.set_result(None)

    def close(self) -> None:
        """Nothing more will come: readers get what is left, then `ChannelClosed`; who waits for room gets that at
        once.
        """
        self._closed = True
        self.fail(ChannelClosed())
        for _, _, placed in self._putters:
            if not placed.done():
                placed.set_exception(ChannelClosed())
                placed.exception()  # its owner may have been cancelled meanwhile: that is no reason to complain
        self._putters.clear()

    def fail(self, error: BaseException) -> None:
        """Raise `error` in whoever waits for an item."""
        for future, _ in self._getters:
            if not future.done():
                future.set_exception(error)
        self._getters.clear()

    def discard(self) -> None:
        """Nobody reads any more: throw away what is there and what comes."""
        self._items.clear()
        self._discards = True
        self._refill()

    def widen(self, by: int) -> None:
        """Make room for `by` more items, and take in who waits: the flow stops, and what is finished shall not be
        lost.
        """
        self._maxsize += by
        self._refill()

    def drain_to(self, other: Channel) -> None:
        """Move what is left to another channel."""
        while self._items:
            other.force(*self._items.popleft())
