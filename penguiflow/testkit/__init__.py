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
from penguiflow.testkit._clock import Clock
from penguiflow.testkit._conformance import PluginConformance
from penguiflow.testkit._exploring import BrokenOrder, explore
from penguiflow.testkit._fakes import Call, FakeNode
from penguiflow.testkit._flowkit import FlowKit
from penguiflow.testkit._loops import VirtualLoop
from penguiflow.testkit._recorder import Recorder
from penguiflow.testkit._recording import Recording, arecord, record
from penguiflow.testkit._replaying import replay
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
from penguiflow.testkit._shuffling import ShufflingLoop, is_step
from penguiflow.testkit._simulating import SimulatedError, Simulation, simulate_error
from penguiflow.testkit._taped import UNSET, Act, Attempt, Played, Run
from penguiflow.testkit._virtual import quiet, virtual_time
from penguiflow.testkit._watching import timeline, watch
from penguiflow.testkit._writing import to_pytest

__all__ = [
    "UNSET",
    "Act",
    "Attempt",
    "BrokenOrder",
    "Call",
    "Clock",
    "FakeNode",
    "FlowKit",
    "Played",
    "PluginConformance",
    "Recorder",
    "Recording",
    "Run",
    "ShufflingLoop",
    "SimulatedError",
    "Simulation",
    "Streamed",
    "VirtualLoop",
    "any_times",
    "arecord",
    "arun_many",
    "arun_one",
    "arun_outputs",
    "arun_stream",
    "assert_no_pending",
    "assert_node_sequence",
    "assert_outcome",
    "assert_retries",
    "assert_settled",
    "explore",
    "is_step",
    "parallel",
    "quiet",
    "record",
    "replay",
    "run_many",
    "run_one",
    "run_outputs",
    "run_stream",
    "simulate_error",
    "timeline",
    "times",
    "to_pytest",
    "virtual_time",
    "watch",
]
