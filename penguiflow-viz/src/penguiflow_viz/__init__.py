"""Draws PenguiFlow flows: Mermaid, DOT, SVG, a page to look around in, and JSON; and what happens in them.

flow.export("mermaid", direction="LR")
flow.export("waterfall", overlay=recorder, trace_id="t")
async with serve(flow) as view: ...
"""

from penguiflow_viz.exporter import FORMATS, Viz, plugin
from penguiflow_viz.live.view import LiveView, serve
from penguiflow_viz.model import Box, Cluster, Drawing, Link
from penguiflow_viz.overlay import LinkMark, MakesOverlay, NodeMark, Overlay
from penguiflow_viz.reading import drawing_of
from penguiflow_viz.record import Attempt, NodeRecord, Recorder, RunRecord, TraceRecord
from penguiflow_viz.shortcuts import flow_to_dot, flow_to_html, flow_to_json, flow_to_mermaid, flow_to_svg

__all__ = [
    "FORMATS",
    "Attempt",
    "Box",
    "Cluster",
    "Drawing",
    "Link",
    "LinkMark",
    "LiveView",
    "MakesOverlay",
    "NodeMark",
    "NodeRecord",
    "Overlay",
    "Recorder",
    "RunRecord",
    "TraceRecord",
    "Viz",
    "drawing_of",
    "flow_to_dot",
    "flow_to_html",
    "flow_to_json",
    "flow_to_mermaid",
    "flow_to_svg",
    "plugin",
    "serve",
]
