"""All scenarios by name, and the races of each, run once."""

from __future__ import annotations

import functools

from tests.races import scenes_of_flows, scenes_of_messages, scenes_of_nodes, scenes_of_readers
from tests.races.harness import Scenario, sweep

_PARTS = [part.SCENES for part in (scenes_of_nodes, scenes_of_readers, scenes_of_messages, scenes_of_flows)]

SCENES: dict[str, Scenario] = {name: scenario for part in _PARTS for name, scenario in part.items()}

assert len(SCENES) == sum(len(part) for part in _PARTS), "two scenarios have the same name"


@functools.cache
def swept(name: str, action: str) -> frozenset[str]:
    """The points of the kernel where a task was suspended when the action acted on the scenario."""
    return sweep(SCENES[name], action)
