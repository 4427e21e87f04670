"""What every plugin of PenguiFlow has to stand: told nowhere to write, and with a store."""

from collections.abc import Iterator
from typing import Any

import pytest
from support import Database

import penguiflow
from penguiflow.testkit import PluginConformance


def test_the_kernel_is_this_trees_and_not_its_namesake():
    assert penguiflow.hookimpl
    assert penguiflow.__version__.startswith("2.")


class TestSilent(PluginConformance):
    entry_point = "mlflow"


class TestWriting(PluginConformance):
    """Each flow has a fraction of a second to stop in, so most are ended while MLflow opens."""

    entry_point = "mlflow"
    on_event_us = 5.0
    options: dict[str, Any] = {}

    @pytest.fixture(autouse=True)
    def _store(self, database: Database) -> Iterator[None]:
        type(self).options = {"tracking_uri": database.uri, "stop_s": 0.3}
        yield
        type(self).options = {}
