"""What happened in a flow: kept by `Recorder`, and read by overlays, waterfalls and the live view."""

from penguiflow_viz.record.facts import Attempt, NodeRecord, RunRecord, TraceRecord
from penguiflow_viz.record.recorder import Recorder

__all__ = ["Attempt", "NodeRecord", "Recorder", "RunRecord", "TraceRecord"]
