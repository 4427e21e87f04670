"""Whatever happens between any two steps of any task, the laws hold.

`RACE_SEEDS` says how many orders are drawn for each scenario (20).
"""

from __future__ import annotations

import os

import pytest

from tests.races.harness import ACTIONS, shuffled
from tests.races.scenes import SCENES, swept

SEEDS = int(os.environ.get("RACE_SEEDS", "20"))


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("scene", SCENES)
def test_the_laws_hold_whatever_happens_after_any_step(scene: str, action: str):
    swept(scene, action)


@pytest.mark.parametrize("scene", SCENES)
def test_the_laws_hold_in_any_order_of_steps(scene: str):
    shuffled(SCENES[scene], SEEDS)
