"""What tests are given by name, and what each of them is held to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.utils.distributions import Site, fresh_site
from tests.utils.sleeps import noted


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Where a test installs distributions, first on the import path."""
    yield from fresh_site(tmp_path, monkeypatch)


@pytest.fixture(autouse=True)
def no_long_sleep(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test sleeps for long: those of time go by the virtual clock."""
    with noted() as too_long:
        yield
    if request.node.get_closest_marker("sleeps") is None:
        assert too_long == [], "a test slept in real time: let it run in virtual time"
