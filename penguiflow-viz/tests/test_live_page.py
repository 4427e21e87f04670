"""The live view's page in a real browser: counts move, cancel cancels, nothing complains, in light and in dark."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

from penguiflow import FlowError, Message, Node, NodePolicy, PenguiFlow, create, join_k, predicate_router, subflow
from penguiflow_viz import LiveView, serve

TOKEN = "a-token-of-our-own-0123456789"


class Page:
    """The page, asked from the loop that the flow runs in."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self._driver = driver

    async def open(self, url: str, theme: str = "light") -> None:
        await asyncio.to_thread(self._open, url, theme)

    def _open(self, url: str, theme: str) -> None:
        features = [{"name": "prefers-color-scheme", "value": theme}]
        self._driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        self._driver.get("about:blank")
        self._driver.get_log("browser")
        self._driver.get(url)

    async def value(self, script: str) -> Any:
        return await asyncio.to_thread(self._driver.execute_script, f"return ({script})")

    async def until(self, script: str, wanted: Callable[[Any], bool] = bool) -> Any:
        """What a piece of script gives, once it is as wanted."""

        def look(driver: webdriver.Chrome) -> tuple[Any] | None:
            found = driver.execute_script(f"return ({script})")
            return (found,) if wanted(found) else None

        wait = WebDriverWait(self._driver, 10, poll_frequency=0.05)
        return (await asyncio.to_thread(wait.until, look, f"never as wanted: {script}"))[0]

    async def press(self, key: str) -> None:
        await asyncio.to_thread(self._driver.switch_to.active_element.send_keys, key)

    async def click(self, selector: str) -> None:
        await asyncio.to_thread(self._click, selector)

    def _click(self, selector: str) -> None:
        self._driver.find_element("css selector", selector).click()

    async def picture(self, path: Path) -> None:
        assert await asyncio.to_thread(self._driver.save_screenshot, str(path))

    async def complaints(self) -> list[str]:
        return [entry["message"] for entry in await asyncio.to_thread(self._driver.get_log, "browser")]


def total(name: str) -> str:
    return f"document.querySelector('#total-{name} dd')?.textContent"


def pills(name: str) -> str:
    """The pills of the box or cluster of that name."""
    return f"[...document.querySelectorAll('[data-name=\"{name}\"] > .pill text')].map((text) => text.textContent)"


def rows(selector: str) -> str:
    return f"[...document.querySelectorAll('{selector}')].map((row) => row.textContent)"


def assistant(gate: asyncio.Event) -> PenguiFlow:
    async def waits(texts: list[str]) -> str:
        if texts[0] == "bad":
            raise ValueError("no <good> & bad")
        if texts[0] != "quick":
            await gate.wait()
        return texts[0]

    async def same(x: str) -> str:
        return x

    both = join_k("both", 2)
    inner = create(Node(same, "left").to(both), Node(same, "right").to(both), name="inner")
    part, choose = subflow("part", inner), predicate_router("choose", lambda message: "waits")
    last = Node(waits, "waits", NodePolicy(max_concurrency=2))
    return create(part.to(choose), choose.to(last), name="assistant")


@asynccontextmanager
async def looked_at(
    flow: PenguiFlow, browser: webdriver.Chrome, **options: Any
) -> AsyncIterator[tuple[LiveView, Page]]:
    async with flow, serve(flow, port=0, interval_s=0.05, **options) as view:
        page = Page(browser)
        yield view, page
        await asyncio.to_thread(browser.get, "about:blank")


async def test_counts_move_and_nothing_complains(browser: webdriver.Chrome):
    gate = asyncio.Event()
    flow = assistant(gate)
    async with looked_at(flow, browser) as (view, page):
        await page.open(view.url)
        await page.until("document.getElementById('state').textContent", lambda text: text == "live")
        assert await page.value("document.title") == "assistant"
        await page.until(total("in-flight"), lambda text: text == "0")
        handles = [flow.start(Message(payload=f"slow {x}", trace_id=f"t{x}")) for x in range(5)]
        await page.until(total("in-flight"), lambda text: text == "5")
        assert await page.until(pills("waits"), lambda texts: len(texts) == 2) == ["2 running", "3 waiting"]
        assert await page.value(pills("part")) == []
        assert len(await page.value(rows("#traces li"))) == 5
        gate.set()
        for handle in handles:
            await handle.result()
        await page.until(total("in-flight"), lambda text: text == "0")
        assert await page.value(total("completed")) == "5"
        assert await page.value(pills("waits")) == []
        with contextlib.suppress(FlowError):
            await flow.ask("bad")
        await page.until(total("errors"), lambda text: text == "1")
        assert await page.value(pills("waits")) == ["1 error"]
        await page.click("#tab-errors")
        (told,) = await page.value(rows("#mishaps li"))
        assert told.endswith("waits ValueError: no <good> & bad")
        assert await page.complaints() == []


async def test_cancel_cancels(browser: webdriver.Chrome):
    flow = assistant(asyncio.Event())
    async with looked_at(flow, browser) as (view, page):
        first, second, third = (flow.start(Message(payload="slow", trace_id=f"t{x}")) for x in range(3))
        await page.open(view.url)
        await page.until(rows("#traces li"), lambda found: len(found) == 3)
        await page.click("[data-trace=t1] .stop")
        await page.until("document.getElementById('said').textContent", lambda text: text == "Trace t1 is cancelled.")
        assert (first.outcome, second.outcome, third.outcome) == (None, "cancelled", None)
        await page.until(rows("[data-trace=t1] .chip"), lambda found: found == ["cancelled"])
        assert await page.value("document.querySelector('[data-trace=t1] .stop').hidden")
        await page.click("[data-trace=t2] .open")
        await page.until("document.getElementById('cancel').checkVisibility()")
        await page.click("#cancel")
        await page.until("document.getElementById('how').textContent", lambda text: text.startswith("cancelled"))
        assert (first.outcome, third.outcome) == (None, "cancelled")
        assert await page.complaints() == []
        await first.cancel()


async def test_a_chosen_trace_shows_its_waterfall_which_goes_on(browser: webdriver.Chrome):
    gate = asyncio.Event()
    flow = assistant(gate)
    async with looked_at(flow, browser) as (view, page):
        handle = flow.start(Message(payload="slow", trace_id="</script><b>t</b>"))
        await page.open(view.url)
        await page.until(rows("#traces li"), lambda found: len(found) == 1)
        await page.click("#traces .open")
        names = (
            "[...document.querySelectorAll('#waterfall .pw-run')].map((run) => run.querySelector('text').textContent)"
        )
        every = ["part", "left", "right", "both", "choose", "waits"]
        assert await page.until(names, lambda found: len(found) == 6) == every
        assert await page.value("document.getElementById('which').textContent") == "</script><b>t</b>"
        assert "node 'waits' is running" in await page.value(rows("#waits li"))
        bar = "document.querySelector('#waterfall .pw-running .pw-works')?.getAttribute('width')"
        before = await page.value(bar)
        await page.until(bar, lambda width: width != before)
        gate.set()
        await handle.result()
        await page.until("document.querySelector('#how .chip').textContent", lambda text: text == "completed")
        assert await page.value("document.querySelectorAll('#waterfall .pw-success').length") == 6
        assert await page.complaints() == []


async def test_it_is_reached_with_the_keyboard(browser: webdriver.Chrome):
    flow = assistant(asyncio.Event())
    async with looked_at(flow, browser) as (view, page):
        handle = flow.start(Message(payload="slow", trace_id="t"))
        await page.open(view.url)
        await page.until(rows("#traces li"), lambda found: len(found) == 1)
        await page.value("document.querySelector('.skip').focus()")
        await page.press("\ue007")  # Enter
        assert await page.value("document.activeElement.id") == "list"
        await page.press("\ue004")  # Tab
        assert await page.value("document.activeElement.className") == "open"
        await page.press("\ue007")
        await page.until("document.getElementById('which').textContent", lambda text: text == "t")
        await page.value("document.getElementById('tab-trace').focus()")
        await page.press("\ue014")  # right
        assert await page.value("document.getElementById('panel-nodes').hidden") is False
        await page.value("document.querySelector('[data-name=waits]').focus()")
        await page.press("\ue007")
        assert await page.value(rows("#rows tr.on td:first-child")) == ["waits"]
        await page.value("document.querySelector('#traces .stop').focus()")
        await page.press("\ue007")
        await page.until("document.querySelector('#traces .chip').textContent", lambda text: text == "cancelled")
        assert handle.outcome == "cancelled"


CONTRAST = """(() => {
  const bright = (text) => {
    const parts = text.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255);
    const [r, g, b] = parts.map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const page = bright(getComputedStyle(document.body).backgroundColor);
  const shown = (element) => element.checkVisibility() && element.textContent.trim();
  const texts = [...document.querySelectorAll("h1, #state, dt, dd, h2, .chip, .id, .more, .stop, [role=tab], th, td")];
  return texts.filter(shown).map((element) => {
    const own = bright(getComputedStyle(element).color);
    return [element.textContent, (Math.max(own, page) + 0.05) / (Math.min(own, page) + 0.05)];
  });
})()"""


async def test_light_and_dark_are_both_legible(browser: webdriver.Chrome, tmp_path: Path):
    flow = assistant(gate := asyncio.Event())
    async with looked_at(flow, browser) as (view, page):
        for text in ("bad", "quick"):
            await asyncio.gather(flow.ask(text), return_exceptions=True)
        handles = [flow.start(Message(payload="slow", trace_id=f"t{x}")) for x in range(4)]
        backs = []
        for theme in ("light", "dark"):
            await page.open(view.url, theme)
            await page.until(rows("#traces li"), lambda found: len(found) == 6)
            await page.click("#tab-nodes")
            poor = [found for found in await page.value(CONTRAST) if found[1] < 4.5]
            assert poor == []
            backs.append(await page.value("getComputedStyle(document.body).backgroundColor"))
            await page.click("[data-trace=t0] .open")
            await page.until("document.querySelectorAll('#waterfall .pw-run').length", lambda count: count == 6)
            await page.picture(tmp_path / f"{theme}.png")
            assert await page.complaints() == []
        assert backs == ["rgb(255, 255, 255)", "rgb(15, 23, 42)"]
        gate.set()
        for handle in handles:
            await handle.result()


async def test_the_page_asks_for_the_token_and_takes_it_from_its_address(browser: webdriver.Chrome):
    flow = assistant(asyncio.Event())
    async with looked_at(flow, browser, token=TOKEN) as (view, page):
        await page.open(view.url)
        await page.until("document.getElementById('ask').checkVisibility()")
        for given in ("wrong-token-0123456789", TOKEN):
            await page.value("document.getElementById('token').select()")
            await asyncio.to_thread(browser.find_element("id", "token").send_keys, given)
            await page.press("\ue007")
            if given != TOKEN:
                await page.until("document.getElementById('wrong').textContent")
        await page.until("document.getElementById('state').textContent", lambda text: text == "live")
        assert await page.value("document.getElementById('ask').hidden")
        await page.value("sessionStorage.clear()")
        await page.open(f"{view.url}#token={TOKEN}")
        await page.until("document.getElementById('state').textContent", lambda text: text == "live")
        assert await page.value("location.href") == view.url
        assert await page.complaints() == []


async def test_the_page_says_that_the_flow_has_stopped(browser: webdriver.Chrome):
    flow = assistant(asyncio.Event())
    async with looked_at(flow, browser) as (view, page):
        await page.open(view.url)
        await page.until("document.getElementById('state').textContent", lambda text: text == "live")
        await flow.ask("quick")
        await flow.stop()
        await view.closed()
        await page.until("document.getElementById('state').textContent", lambda text: text == "the flow has stopped")
        assert await page.value(total("completed")) == "1"
        assert await page.complaints() == []


FOREIGN = """
const [target, done] = arguments;
const all = [
  fetch(target + "api/cancel", {method: "POST", body: "t"}),
  fetch(target + "api/cancel", {method: "POST", body: "t", headers: {"X-PenguiFlow-View": "1"}}),
  fetch(target + "api/cancel", {method: "POST", body: "t", mode: "no-cors"}),
  fetch(target + "api/drawing"),
];
Promise.allSettled(all).then((told) => done(told.map((each) => each.status)));
"""


class Empty(BaseHTTPRequestHandler):
    """Another site: one empty page."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextlib.contextmanager
def another_site() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Empty) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


async def test_a_page_of_another_site_can_neither_read_nor_cancel(browser: webdriver.Chrome):
    flow = assistant(asyncio.Event())
    async with looked_at(flow, browser) as (view, page):
        handle = flow.start(Message(payload="slow", trace_id="t"))
        with another_site() as site:
            await page.open(site)
            told = await asyncio.to_thread(browser.execute_async_script, FOREIGN, view.url)
            await asyncio.to_thread(browser.get, "about:blank")
        assert told == ["rejected"] * 4
        assert handle.outcome is None
        await handle.cancel()
