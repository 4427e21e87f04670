"""Finds the plugins that are installed, without importing any: it reads the entry points of each distribution.

Rules: one scan for each import path of a process; the order is that of names, then of distributions. A distribution
whose metadata can't be read hides nobody else's.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import Any

PLUGINS, POLICIES = "penguiflow.plugins", "penguiflow.policies"
GROUPS = (PLUGINS, POLICIES)


@dataclass(frozen=True, slots=True)
class Found:
    """An entry point of a distribution.

    Attributes:
        name: What settings call it.
        group: `penguiflow.plugins` or `penguiflow.policies`.
        distribution: Who brings it.
        version: Of the distribution.
        value: Where its factory is: `module:attribute`.
    """

    name: str
    group: str
    distribution: str
    version: str
    value: str
    entry_point: EntryPoint = field(repr=False, compare=False)

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
    found: dict[tuple[str, str, str], Found] = {}
    for distribution in distributions():
        for plugin in _in(distribution):
            found.setdefault((plugin.group, plugin.name, _canonical(plugin.distribution)), plugin)  # the first wins
    return tuple(found[key] for key in sorted(found))


def _in(distribution: Distribution) -> Iterator[Found]:
    try:
        for entry_point in distribution.entry_points:
            if entry_point.group in GROUPS:
                name, version = distribution.metadata["Name"] or "(unnamed)", distribution.version or "(unknown)"
                yield Found(entry_point.name, entry_point.group, name, version, entry_point.value, entry_point)
    except Exception:
        return  # metadata that can't be read names no plugin


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
