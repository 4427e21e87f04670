"""What every plugin of PenguiFlow has to stand."""

from penguiflow.testkit import PluginConformance


class TestTemplate(PluginConformance):
    entry_point = "template"
    options = {"threshold_ms": 0.0}
    on_event_us = 200.0  # with that threshold it logs each run, and pytest keeps what is logged
