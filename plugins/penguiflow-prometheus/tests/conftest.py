"""No plugin loads by itself: a test says what its flows have. Each test has a registry of its own."""

import pytest
from prometheus_client import CollectorRegistry


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BLOCK", "REQUIRE", "STRICT"):
        monkeypatch.delenv(f"PENGUIFLOW_PLUGINS_{name}", raising=False)
    monkeypatch.delenv("PENGUIFLOW_CONFIG", raising=False)
    monkeypatch.setenv("PENGUIFLOW_PLUGINS", "")


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()
