"""The site as it was built: complete, whole in itself, and without a link that leads nowhere."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from sphinx.util.inventory import InventoryFile

SITE = Path(__file__).parents[1] / "_build" / "html"
MODULES = [
    "penguiflow",
    "penguiflow.testkit",
    "penguiflow_asgi",
    "penguiflow_mlflow",
    "penguiflow_otel",
    "penguiflow_policy",
    "penguiflow_prometheus",
    "penguiflow_viz",
]
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
HERE = ("file:", "data:", "chrome:", "about:")


@pytest.fixture(scope="module")
def documented() -> Counter[str]:
    """How often each name stands in the reference."""
    with (SITE / "objects.inv").open("rb") as file:
        inventory = InventoryFile.load(file, "", lambda base, path: path)
    return Counter(name for kind, names in inventory.items() if kind.startswith("py:") for name in names)


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_stands_in_the_reference_once(documented: Counter[str], module: str):
    names = [f"{module}.{name}" for name in importlib.import_module(module).__all__ if not name.startswith("__")]
    assert {name: documented[name] for name in names if documented[name] != 1} == {}


def test_no_link_leads_nowhere():
    checker = [str(Path(sys.executable).with_name("linkchecker")), "--no-status", "--no-warnings", "--output=csv"]
    done = subprocess.run(
        [*checker, "--ignore-url=^https?://", str(SITE / "index.html")],
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )
    found = [line for line in done.stdout.splitlines() if line and not line.startswith(("#", "urlname"))]
    assert (found, done.returncode) == ([], 0), done.stderr


@pytest.mark.skipif(
    not (CHROMIUM and DRIVER) and "CI" not in os.environ,
    reason="needs Debian's chromium and chromium-driver: `make system` under CI, or apt install them",
)
@pytest.mark.parametrize("page", ["index", "architecture", "reference/penguiflow", "tutorial"])
def test_a_page_is_whole_without_a_network(page: str, tmp_path: Path):
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={tmp_path}",
    ):
        options.add_argument(argument)
    options.page_load_strategy = "normal"  # all of it, images too
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        browser.get((SITE / f"{page}.html").as_uri())
        logged = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
        asked = [
            event["params"]["request"]["url"] for event in logged if event["method"] == "Network.requestWillBeSent"
        ]
        assert [url for url in asked if not url.startswith(HERE)] == []
        assert browser.execute_script("return [...document.styleSheets].every(sheet => sheet.ownerNode.sheet)")
        assert browser.execute_script("return [...document.images].every(image => image.naturalWidth > 0)")
        assert browser.get_log("browser") == []
    finally:
        browser.quit()
