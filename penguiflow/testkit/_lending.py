"""What a kit has begun, and a `with` block may end before the kit does.

Rules: a block takes over what is lent. Leaving it ends that, and the kit's own end then does nothing more.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeAlias

End: TypeAlias = Callable[[type[BaseException] | None, BaseException | None, TracebackType | None], Any]
"""What a `with` block calls when it is left, as `__exit__`."""


class Lendable:
    """Something that a kit has begun already when a `with` block gets it; what begins by itself says how."""

    def __init__(self) -> None:
        self._lent: list[End] = []  # begun by a kit, and in no block yet
        self._held: list[End] = []  # each ends with a block

    def __enter__(self) -> Self:
        self._held.append(self._lent.pop() if self._lent else self._begun())
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        __tracebackhide__ = True
        self._held.pop()(exc_type, exc, traceback)

    def lend(self, end: End | None = None) -> End:
        """Let a block take it over; `FlowKit` does so.

        Args:
            end: How it ends, if it has begun; without it, it begins now.

        Returns:
            How the kit ends it: nothing happens once a block has taken it over.
        """
        owed = self._begun() if end is None else end
        self._lent.append(owed)

        def settle(*left: Any) -> None:
            __tracebackhide__ = True
            if owed in self._lent:
                self._lent.remove(owed)
                owed(*left)

        return settle

    def _begun(self) -> End:
        """Begin, and say how it ends."""
        raise RuntimeError(
            f"nothing of this {type(self).__name__} is left to end: `with` is for what flowkit has just begun"
        )


def refuse_class(name: str, test: Any) -> None:
    """Let a decorator stand above tests only.

    Raises:
        TypeError: it stands above a class, which pytest would no longer find as a function.
    """
    if inspect.isclass(test):
        raise TypeError(f"{name} stands above a test, not above a class: decorate each test of {test.__qualname__}")
