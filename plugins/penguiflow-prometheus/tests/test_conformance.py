"""What every plugin of PenguiFlow has to stand, and that the package under test is ours."""

import penguiflow
from penguiflow.testkit import PluginConformance
from penguiflow_prometheus import Prometheus

BUSY_MS = 5000.0  # the machine may be busy; what the import takes of it is looked at in `test_cost.py`


class TestPrometheus(PluginConformance):
    entry_point = "prometheus"
    options = {"prefix": "conformance", "max_error_types": 3}
    on_event_us = 5.0
    import_ms = BUSY_MS


class TestPrometheusObject(PluginConformance):
    on_event_us = 5.0
    import_ms = BUSY_MS

    def make(self) -> Prometheus:
        return Prometheus()


def test_the_kernel_is_this_project_and_not_another_of_its_name():
    assert penguiflow.hookimpl.project_name == "penguiflow"
    assert callable(penguiflow.create)
