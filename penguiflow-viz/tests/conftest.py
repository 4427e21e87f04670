"""Fixtures: a browser, the real Mermaid, and settings of hypothesis."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from selenium import webdriver
from vizkit.browser import Mermaid, chromium
from vizkit.programs import MERMAID, mermaid_script

# The same flows each time; VIZ_EXAMPLES=2000 draws others.
EXAMPLES = int(os.environ.get("VIZ_EXAMPLES", "200"))
settings.register_profile(
    "viz",
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="VIZ_EXAMPLES" not in os.environ,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture],
)
settings.load_profile("viz")


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


@pytest.fixture(scope="module")
def mermaid(
    browser: webdriver.Chrome, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Mermaid:
    assert request.config.cache is not None
    script = mermaid_script(request.config.cache.mkdir(f"mermaid-{MERMAID}"))
    return Mermaid(browser, script, tmp_path_factory.mktemp("mermaid"))
