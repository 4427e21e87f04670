"""Every point where the kernel waits is met, while a task is suspended there, by each action that can meet it."""

from __future__ import annotations

import pytest

from tests.races.harness import ACTIONS, POINTS
from tests.races.scenes import SCENES, swept

ALL = tuple(ACTIONS)

# Why some can't meet it: the actions, and the points.
EXCUSES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "neither entering nor leaving a time limit suspends": (
        ALL,
        (
            "_arrival.waited: async with asyncio.timeout_at(arrival.limit):",
            "_attempts._timed: async with asyncio.timeout(station.timeout_s) as timer:",
            "_dispatch.Dispatch._decided: async with asyncio.timeout(self._timeout_s) as limit:",
            "_lifetime.Lifetime._drained: async with asyncio.timeout(drain_s):",
        ),
    ),
    "what waits for a slot is no trace yet: there is nothing to cancel": (
        ("cancel",),
        (
            "_arrival.waited: await slot",
            "_entry.emitted: trace = admitted(run, arrival, EMIT) or await waited(run, arrival, EMIT)",
            "_flow.PenguiFlow.ask: trace = admitted(run, arrival, ASK) or await waited(run, arrival, ASK)",
            "_flow.PenguiFlow.stream.opened: "
            "trace = admitted(run, arrival, STREAM) or await waited(run, arrival, STREAM)",
            "_handle.FlowStream.__aenter__: self._trace = await self._open()",
        ),
    ),
    "every trace has ended by then": (
        ("cancel", "deadline"),
        (
            "_lifetime.Lifetime._closed: await asyncio.wait([keeper])",
            "_lifetime.Lifetime._end: await self._closed()",
            "_lifetime.Lifetime._end: await self._strays()",
            "_lifetime.Lifetime._keep: async with AsyncExitStack() as stack:",
            "_lifetime.Lifetime._strays: _, left = await asyncio.wait(strays, timeout=GRACE_S)",
            "_plugin_lives.PluginLives._tried: await _given_up(task)",  # a start that is cancelled: the flow stops
            "_plugin_lives.PluginLives.stop: errors = await asyncio.gather("
            '*(self._tried(plugin, "stop", self._stop_s(plugin)) for plugin in plugins))',
            "_plugin_lives.PluginLives._tried: await _given_up(task)",
            "_runnable.Runnable.__aenter__: await self.stop(None if self._stopping else 0)",
        ),
    ),
}

EXCUSED = {(point, action) for actions, points in EXCUSES.values() for point in points for action in actions}


def hit_by(action: str) -> set[str]:
    return {point for scene in SCENES for point in swept(scene, action)}


@pytest.mark.parametrize("action", ACTIONS)
def test_every_await_is_met_by(action: str):
    hit = hit_by(action)
    missed = {point for point in POINTS.values() if point not in hit and (point, action) not in EXCUSED}
    assert sorted(missed) == [], "write a scenario that is suspended there, or say why there can't be one"


@pytest.mark.parametrize("action", ACTIONS)
def test_no_excuse_is_made_for_what_is_met_by(action: str):
    assert sorted(point for point in hit_by(action) if (point, action) in EXCUSED) == []


def test_no_excuse_is_made_for_an_await_that_is_gone():
    assert sorted({point for point, _ in EXCUSED} - set(POINTS.values())) == []
