"""The kernel's laws, under whatever users do in whatever order.

`MODEL_EXAMPLES` sets how many flows are tried.
"""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import FlowMachine

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "150"))
STEPS = int(os.environ.get("MODEL_STEPS", "15"))
PHASES = tuple(Phase) if os.environ.get("MODEL_SHRINK", "1") == "1" else (Phase.generate,)


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    """No log record holds on to anything, and the garbage collector looks at what the test makes only."""
    logger = logging.getLogger("penguiflow")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
    logger.setLevel(level)


def test_the_laws_hold_whatever_is_done_to_a_flow():
    run_state_machine_as_test(
        FlowMachine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            print_blob=True,
            report_multiple_bugs=False,
            phases=PHASES,
            suppress_health_check=list(HealthCheck),
        ),
    )
