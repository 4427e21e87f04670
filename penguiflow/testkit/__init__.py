"""For tests of what is built on PenguiFlow. Uses the public surface only, and no test framework.

`PluginConformance` is the suite that the author of a plugin inherits and pytest runs:

class TestAcme(PluginConformance):
    entry_point = "acme"
"""

from penguiflow.testkit._conformance import PluginConformance

__all__ = ["PluginConformance"]
