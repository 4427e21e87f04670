"""The kernel's laws, under whatever users do in whatever order.

`MODEL_EXAMPLES` sets how many flows are tried, other ones each time. Without it they are a few hundred and always the
same, so that a change is judged by itself and not by luck.
"""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import FlowMachine

SEARCHES = "MODEL_EXAMPLES" in os.environ
EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "200"))
STEPS = 15


def tried(examples: int, shrinks: bool = True) -> None:
    """Try so many flows. What fails is shrunk, and kept for the next time, if it `shrinks`."""
    options: dict[str, Any] = {} if shrinks else {"phases": (Phase.generate,), "database": None}
    run_state_machine_as_test(
        FlowMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=STEPS,
            derandomize=shrinks and not SEARCHES,
            deadline=None,
            print_blob=True,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
            **options,
        ),
    )


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
    tried(EXAMPLES)
