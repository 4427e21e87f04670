"""Prometheus metrics of PenguiFlow flows.

Installed, it counts in every flow of the environment, in the default registry of `prometheus_client`. To show what it
has counted, mount `metrics_app()`, or call `start_http_server()` in a script.
"""

from penguiflow_prometheus._options import BUCKETS, Options
from penguiflow_prometheus._plugin import Prometheus, plugin
from penguiflow_prometheus._serving import MetricsServer, metrics_app, start_http_server

__all__ = ["BUCKETS", "MetricsServer", "Options", "Prometheus", "metrics_app", "plugin", "start_http_server"]
