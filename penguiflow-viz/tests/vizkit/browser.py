"""A real browser: headless Chromium, driven by its own driver."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from vizkit.programs import program

SWITCHES = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--window-size=1200,800",
)

DRAW = """
const [text, done] = arguments;
draw(JSON.parse(text)).then((seen) => done({seen}), (error) => done({error: String(error)}));
"""

MERMAID_PAGE = """<!doctype html><meta charset="utf-8"><body><div id="out"></div>
<script src="SCRIPT"></script>
<script>
mermaid.initialize({startOnLoad: false, securityLevel: "strict", suppressErrorRendering: true});
let drawn = 0;
async function draw(text) {
  const {svg} = await mermaid.render(`m${drawn++}`, text);
  const out = document.getElementById("out");
  out.innerHTML = svg;
  const all = (what) => [...out.querySelectorAll(what)];
  const rect = (e) => { const r = e.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; };
  const text_of = (e) => e ? e.innerHTML.replace(/<br\\s*\\/?>/g, " ").replace(/<\\/p><p>/g, " ") : "";
  const see = (e) => e === out ? 1 : see(e.parentElement) * getComputedStyle(e).opacity;
  const read = (html) => { const d = document.createElement("div"); d.innerHTML = html; return d.textContent; };
  return {
    nodes: all("g.node").map((g) => [g.id, read(text_of(g.querySelector(".nodeLabel"))), rect(g)]),
    clusters: all("g.cluster").map((g) => [g.id, read(text_of(g.querySelector(".nodeLabel"))), rect(g)]),
    edges: all("path.flowchart-link").map((p) => p.dataset.id),
    faded: all("g.node, g.cluster").filter((g) => see(g.querySelector("rect, polygon, path")) < 0.3 &&
      see(g.querySelector(".nodeLabel")) < 0.3).map((g) => g.id),
    faded_edges: all("path.flowchart-link").filter((p) => see(p) < 0.3)
      .map((p) => [p.dataset.id, getComputedStyle(p).strokeWidth, getComputedStyle(p).stroke]),
    title: document.title,
    scripts: document.querySelectorAll("#out script, #out img, #out [onerror]").length,
  };
}
</script>"""


@contextmanager
def chromium(folder: Path) -> Iterator[webdriver.Chrome]:
    """A browser with an empty profile in `folder`; it ends with the block."""
    options = webdriver.ChromeOptions()
    options.binary_location = program("chromium", "chromium")
    for switch in (*SWITCHES, f"--user-data-dir={folder}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(program("chromedriver", "chromium-driver")))
    try:
        driver.set_script_timeout(60)
        yield driver
    finally:
        driver.quit()


class Mermaid:
    """The real Mermaid, in a page of its own: draws a text, and tells what it drew."""

    def __init__(self, driver: webdriver.Chrome, script: Path, folder: Path) -> None:
        self._driver = driver
        page = folder / "mermaid.html"
        page.write_text(MERMAID_PAGE.replace("SCRIPT", script.as_uri()), encoding="utf-8")
        driver.get(page.as_uri())

    def draw(self, text: str) -> dict[str, Any]:
        """What is to be seen of a text.

        Raises:
            AssertionError: Mermaid can't read it; says why.
        """
        done = self._driver.execute_async_script(DRAW, json.dumps(text))
        assert "seen" in done, f"{done['error']}\n{text}"
        seen: dict[str, Any] = done["seen"]
        return seen
