"""Finds the plugins that are installed, without importing any: it reads the entry points of each distribution.

Rules: one scan for each import path of a process; the order is that of names, then of distributions. Where an import
path has a distribution twice, the first is the one. One whose metadata can't be read hides nobody else's.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from penguiflow._names import key_of

if TYPE_CHECKING:  # importing it takes as long as a good part of the kernel: that waits until a flow is built
    from importlib.metadata import Distribution, EntryPoint

PLUGINS, POLICIES = "penguiflow.plugins", "penguiflow.policies"
GROUPS = (PLUGINS, POLICIES)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Found:
    """An entry point of a distribution. There is one object for each in a scan.

    Attributes:
        name: What settings call it.
        group: `penguiflow.plugins` or `penguiflow.policies`.
        distribution: Who brings it.
        version: Of the distribution.
        value: Where its factory is: `module:attribute`.
        keys: The names that settings may use, as they are compared.
    """

    name: str
    group: str
    distribution: str
    version: str
    value: str
    entry_point: EntryPoint = field(repr=False)
    keys: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "keys", (self.name, key_of(self.full_name)))

    @property
    def full_name(self) -> str:
        """`distribution:name`, for where two distributions use the same name."""
        return f"{self.distribution}:{self.name}"

    def load(self) -> Any:
        """The factory. This imports it, and raises whatever importing it raises."""
        return self.entry_point.load()


def installed() -> tuple[Found, ...]:
    """Every plugin and policy that is installed, in a fixed order."""
    return _scan(tuple(sys.path))


@functools.lru_cache(maxsize=4)
def _scan(path: tuple[str, ...]) -> tuple[Found, ...]:
    from importlib.metadata import distributions

    found: dict[tuple[str, str], Found] = {}
    for distribution in distributions():
        if _ours(distribution):
            for plugin in _in_first_of_its_name(distribution):
                found.setdefault((plugin.group, key_of(plugin.full_name)), plugin)
    return tuple(sorted(found.values(), key=lambda plugin: (plugin.group, *plugin.keys)))


def _ours(distribution: Distribution) -> list[EntryPoint]:
    try:
        return [entry_point for entry_point in distribution.entry_points if entry_point.group in GROUPS]
    except Exception:  # metadata that can't be read names no plugin
        return []


def _in_first_of_its_name(distribution: Distribution) -> Iterable[Found]:
    """The plugins of the distribution that stands first on the import path under this one's name: what is imported."""
    try:
        name = _said(distribution, "Name")
        first = distribution if name is None else type(distribution).from_name(name)
        version = _said(first, "Version") or "(unknown)"
        return [Found(e.name, e.group, name or "(unnamed)", version, e.value, e) for e in _ours(first)]
    except Exception:
        return ()


def _said(distribution: Distribution, key: str) -> str | None:
    metadata = distribution.metadata
    return metadata[key] if key in metadata else None  # noqa: SIM401 - its protocol has no get
