"""What every plugin of PenguiFlow has to stand."""

from penguiflow.testkit import PluginConformance


class TestTemplate(PluginConformance):
    entry_point = "template"
    options = {"tenants": ["default"]}  # whom messages are of that don't say
    successors = ("answer", "answer_v2")
