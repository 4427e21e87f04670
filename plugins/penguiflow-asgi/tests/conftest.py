"""What tests of pages share: one browser."""

import os
import shutil

import pytest
from playwright.async_api import async_playwright

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-sync", "--disable-component-update"]


@pytest.fixture
async def page():
    """An empty page of a real browser; what it complains of fails the test."""
    found = shutil.which("chromium")
    if found is None:
        (pytest.fail if "CI" in os.environ else pytest.skip)("apt-get install chromium")
    complaints = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=found, args=FLAGS)
        opened = await browser.new_page(viewport={"width": 1280, "height": 900})
        opened.set_default_timeout(20_000)
        opened.on("pageerror", lambda error: complaints.append(str(error)))
        yield opened
        await browser.close()
    assert complaints == []
