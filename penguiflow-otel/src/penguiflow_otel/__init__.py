"""OpenTelemetry for PenguiFlow: spans and metrics of every flow, and logs that know where they come from.

Installed beside an application that configures an OpenTelemetry SDK, it needs no line of code. `Telemetry` is the
plugin itself, for flows that are to have one of their own; `inject` sends a trace on to another process.
"""

from penguiflow_otel._logs import SpanFilter
from penguiflow_otel._options import Options
from penguiflow_otel._propagation import extract, inject
from penguiflow_otel._telemetry import Telemetry
from penguiflow_otel._version import __version__

__all__ = ["Options", "SpanFilter", "Telemetry", "__version__", "extract", "inject", "plugin"]


def plugin(options: Options) -> Telemetry:
    """What the entry point names: makes the plugin of one flow."""
    return Telemetry(options, discovered=True)
