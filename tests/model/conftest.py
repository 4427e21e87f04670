"""Leaves the mutation runs to `make model`: they take minutes."""

from __future__ import annotations

import os

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "MODEL_EXAMPLES" in os.environ or config.getoption("-m"):
        return
    left_out = [item for item in items if item.get_closest_marker("mutation") is not None]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
