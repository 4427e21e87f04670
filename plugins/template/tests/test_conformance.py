"""What every plugin of PenguiFlow has to stand."""

from penguiflow.testkit import PluginConformance


class TestTemplate(PluginConformance):
    entry_point = "template"
    options = {"threshold_ms": 0.0}
