"""Which nodes are logged, and how."""

import asyncio
import logging

import pytest
from pydantic import ValidationError

from penguiflow import FlowError, create, node
from penguiflow_template import Options, plugin


@node
async def quick(x: int) -> int:
    return x


@node
async def slow(x: int) -> int:
    await asyncio.sleep(0.3)
    return x


@node
async def fails(x: int) -> int:
    raise ValueError("no")


def logged(options: Options, first, caplog: pytest.LogCaptureFixture) -> list[str]:
    """What is logged when a flow of this node and `quick` is asked once."""

    async def asked() -> None:
        async with create(first.to(quick), name="answers", plugins=[plugin(options)]) as flow:
            await flow.ask(1)

    caplog.set_level(logging.WARNING, logger="penguiflow_template")
    asyncio.run(asked())
    return [record.getMessage() for record in caplog.records if record.name == "penguiflow_template"]


def test_a_node_over_the_threshold_is_logged_and_no_other(caplog: pytest.LogCaptureFixture):
    (text,) = logged(Options(threshold_ms=200), slow, caplog)
    assert text.startswith("node 'slow' of flow 'answers' took ")
    assert "ms (node_success, trace " in text


def test_a_node_that_is_ignored_is_not_logged(caplog: pytest.LogCaptureFixture):
    assert logged(Options(threshold_ms=200, ignore=frozenset({"slow"})), slow, caplog) == []


def test_a_node_that_fails_is_timed_as_well(caplog: pytest.LogCaptureFixture):
    with pytest.raises(FlowError):
        logged(Options(threshold_ms=0), fails, caplog)
    assert "(node_failed, trace " in caplog.text


def test_a_threshold_below_zero_is_refused():
    with pytest.raises(ValidationError, match="threshold_ms"):
        Options(threshold_ms=-1)
