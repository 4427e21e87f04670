"""For tests of flows, and of what is built on PenguiFlow. Uses the public surface only, and needs no test framework.

from penguiflow.testkit import assert_node_sequence, run_one, simulate_error

def test_triage_is_tried_again():
    with simulate_error(triage, fail_times=1):
        assert run_one(flow, "hi") == "packed: hi"
    assert_node_sequence(flow, ["triage", "pack"])
"""

from penguiflow.testkit._asserting import (
    assert_no_pending,
    assert_node_sequence,
    assert_outcome,
    assert_retries,
    assert_settled,
)
from penguiflow.testkit._conformance import PluginConformance
from penguiflow.testkit._fakes import Call, FakeNode
from penguiflow.testkit._recorder import Recorder
from penguiflow.testkit._running import (
    Streamed,
    arun_many,
    arun_one,
    arun_outputs,
    arun_stream,
    run_many,
    run_one,
    run_outputs,
    run_stream,
)
from penguiflow.testkit._sequence import any_times, parallel, times
from penguiflow.testkit._simulating import SimulatedError, Simulation, simulate_error
from penguiflow.testkit._watching import timeline, watch

__all__ = [
    "Call",
    "FakeNode",
    "PluginConformance",
    "Recorder",
    "SimulatedError",
    "Simulation",
    "Streamed",
    "any_times",
    "arun_many",
    "arun_one",
    "arun_outputs",
    "arun_stream",
    "assert_no_pending",
    "assert_node_sequence",
    "assert_outcome",
    "assert_retries",
    "assert_settled",
    "parallel",
    "run_many",
    "run_one",
    "run_outputs",
    "run_stream",
    "simulate_error",
    "timeline",
    "times",
    "watch",
]
