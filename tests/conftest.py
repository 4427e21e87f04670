"""What tests are given by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.utils.distributions import Site, fresh_site


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Where a test installs distributions, first on the import path."""
    yield from fresh_site(tmp_path, monkeypatch)
