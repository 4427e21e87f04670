"""The site as it was built: complete, whole in itself, and without a link that leads nowhere."""

import asyncio
import importlib
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import types
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait
from sphinx.util.inventory import InventoryFile

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SITE = DOCS / "_build" / "html"
PAGES = sorted(page.relative_to(SITE).as_posix() for page in SITE.rglob("*.html") if "_static" not in page.parts)
PACKAGES = sorted(
    path.parent.name
    for pattern in ("*/src/*/__init__.py", "plugins/*/src/*/__init__.py")
    for path in ROOT.glob(pattern)
)
MODULES = ["penguiflow", "penguiflow.testkit", *(name for name in PACKAGES if name != "penguiflow_template")]
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
HERE = ("file:", "data:", "chrome:", "about:")
SWITCHES = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
BEYOND = "const text = document.querySelector('.content'); return text.scrollWidth - text.clientWidth"  # in pixels
SHOWN_IMAGES = "const shown = [...document.images].filter(image => image.offsetParent !== null);"


NOT_FOR_THE_READER = {  # what one part of a distribution asks of another
    *("Context.onward", "Context.opened", "Context.successor"),
    *("Policy.begin", "Policy.end", "Policy.in_use", "Policy.rules", "Decision.beside", "Shadow.compare"),
    *("Clock.lend", "FakeNode.lend", "Recorder.lend", "Simulation.lend"),
    *("TraceCancelled.to_payload", "TraceCancelled.twin", "TraceCancelled.unwrap"),  # of `FlowError`
}


def own(module: str) -> list[str]:
    return [name for name in importlib.import_module(module).__all__ if not name.startswith("__")]


def is_ours(owner: type, member: str) -> bool:
    """Whether a member is one of our classes', and not inherited from another project's."""
    return next(cls for cls in owner.__mro__ if member in vars(cls)).__module__.startswith("penguiflow")


def private_classes() -> set[str]:
    """The names of our classes that aren't public."""
    public = {name for module in MODULES for name in own(module)}
    ours = [module for path, module in sys.modules.items() if path.startswith("penguiflow")]
    found = {value for module in ours for value in vars(module).values() if inspect.isclass(value)}
    mine = {cls.__name__ for cls in found if cls.__module__.startswith("penguiflow")}
    return mine - public - {"Steps", "VirtualTime", "Bearer"}  # to be passed on, to be entered; a word in a default


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


@pytest.mark.parametrize("module", MODULES)
def test_every_public_method_stands_in_the_reference(documented: Counter[str], module: str):
    owners = [(name, getattr(importlib.import_module(module), name)) for name in own(module)]
    missing = [
        f"{name}.{member}"
        for name, owner in owners
        if inspect.isclass(owner) and not issubclass(owner, asyncio.AbstractEventLoop)
        for member, value in inspect.getmembers(owner)
        if not member.startswith("_") and is_ours(owner, member) and isinstance(value, types.FunctionType | property)
        if not documented[f"{module}.{name}.{member}"] and not documented[f"{module}.{member}"]
        if f"{name}.{member}" not in NOT_FOR_THE_READER
    ]
    assert missing == []


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("reference/")])
def test_signatures_name_nothing_private(page: str):
    html = (SITE / page).read_text(encoding="utf-8")
    shown = [re.sub("<[^>]+>", "", found) for found in re.findall(r'<dt class="sig .*?</dt>', html, re.DOTALL)]
    named = {name for text in shown for name in re.findall(r"[A-Z]\w+", text)}
    assert sorted(named & private_classes()) == []
    assert not [text for text in shown if "TypeAliasForwardRef" in text]


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("reference/")])
def test_a_constant_is_described_by_more_than_its_type(page: str):
    text = (SITE / page).read_text(encoding="utf-8")
    builtin = [(kind.__doc__ or "").splitlines()[0] for kind in (tuple, int, types.UnionType)] + [
        "Create a new string object"
    ]
    assert [line for line in builtin if line in text] == []


def test_there_is_a_page_for_each_distribution_and_each_example():
    folders = [
        path.parent for pattern in ("*/pyproject.toml", "plugins/*/pyproject.toml") for path in ROOT.glob(pattern)
    ]
    examples = [path.parent for path in ROOT.glob("examples/*/README.md")]
    wanted = {f"distributions/{folder.name}.html" for folder in folders} | {f"examples/{e.name}.html" for e in examples}
    assert sorted(wanted - set(PAGES)) == [], "a page of docs/ has to include its README"
    assert len(wanted) > 20


def test_no_link_leads_nowhere():
    """Anchors are looked at when the site is built: one that isn't there is a warning, and fails the build."""
    with tempfile.TemporaryDirectory() as folder:  # root's LinkChecker becomes nobody, who may read nothing else
        os.chmod(folder, 0o755)
        site = shutil.copytree(SITE, Path(folder) / "site")
        command = [str(Path(sys.executable).with_name("linkchecker")), "--no-status", "--no-warnings", "--output=csv"]
        command += ["--ignore-url=^https?://", str(site / "index.html")]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=300)
    found = [line for line in done.stdout.splitlines() if line and not line.startswith(("#", "urlname"))]
    assert (found, done.returncode) == ([], 0), done.stderr


# --- in a browser ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    if not (CHROMIUM and DRIVER):
        missing = "there is no chromium, or no chromedriver: install Debian's chromium and chromium-driver"
        pytest.fail(f"{missing}, and CI is set") if os.environ.get("CI") else pytest.skip(missing)
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for switch in (*SWITCHES, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


def asked_for(browser: webdriver.Chrome) -> list[str]:
    """What the browser has asked for since it was asked last."""
    logged = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [event["params"]["request"]["url"] for event in logged if event["method"] == "Network.requestWillBeSent"]


@pytest.mark.parametrize("page", ["index", "architecture", "reference/penguiflow", "tutorial"])
def test_a_page_is_whole_without_a_network(browser: webdriver.Chrome, page: str):
    asked_for(browser)
    browser.get((SITE / f"{page}.html").as_uri())
    asked = asked_for(browser)
    assert any(url.endswith(f"{page}.html") for url in asked)
    assert [url for url in asked if not url.startswith(HERE)] == []
    assert browser.execute_script("return [...document.styleSheets].every(sheet => sheet.ownerNode.sheet)")
    assert browser.execute_script(SHOWN_IMAGES + "return shown.every(image => image.naturalWidth > 0)")
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_drawing_is_shown_in_the_reader_s_theme(browser: webdriver.Chrome, theme: str):
    browser.get((SITE / "architecture.html").as_uri())
    browser.execute_script("document.body.dataset.theme = arguments[0]", theme)
    shown = browser.execute_script(SHOWN_IMAGES + "return shown.map(image => image.src)")
    assert [source for source in shown if not source.endswith(f"-{theme}.svg")] == []
    assert len(shown) == 4


@pytest.mark.parametrize(
    ("name", "page"),
    [
        ("deadline_s", "penguiflow"),
        ("emit_nowait", "penguiflow"),
        ("FakeNode", "testkit"),
        ("flow_app", "penguiflow_asgi"),
        ("subscribe", "penguiflow_policy"),
    ],
)
def test_the_search_finds_a_name_without_a_server(browser: webdriver.Chrome, name: str, page: str):
    asked_for(browser)
    browser.get(f"{(SITE / 'search.html').as_uri()}?q={name}")
    found = WebDriverWait(browser, 30).until(
        lambda driver: [
            link.get_attribute("href") for link in driver.find_elements("css selector", "#search-results a")
        ]
    )
    assert any(f"reference/{page}.html" in link for link in found)
    assert [url for url in asked_for(browser) if not url.startswith(HERE)] == []


def test_no_page_is_wider_than_a_phone(browser: webdriver.Chrome):
    size = {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    wide = {}
    for page in PAGES:
        browser.get((SITE / page).as_uri())
        wide[page] = browser.execute_script(BEYOND)
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert {page: pixels for page, pixels in wide.items() if pixels > 0} == {}
