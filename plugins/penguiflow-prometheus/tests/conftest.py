"""No plugin loads by itself: a test says what its flows have."""

import pytest


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BLOCK", "REQUIRE", "STRICT"):
        monkeypatch.delenv(f"PENGUIFLOW_PLUGINS_{name}", raising=False)
    monkeypatch.delenv("PENGUIFLOW_CONFIG", raising=False)
    monkeypatch.setenv("PENGUIFLOW_PLUGINS", "")
