"""Browsers: the example's page, and `EventSource` by itself."""

import asyncio
import json
import os
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import expect
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Mount, Route
from webkit import Answer, Ask, Watch, in_a_process, serving, speaking, until

from penguiflow_asgi import Limits, anybody, flow_app

ROOT = Path(__file__).parents[3]
QUESTION = "How does the with statement work?"
expect.set_options(timeout=30_000)  # a busy machine answers slowly


@asynccontextmanager
async def example(pace):
    """The example, as its README starts it; its address, and its process."""
    quiet = {key: value for key, value in os.environ.items() if not key.startswith("OPENAI_")}

    def command(port):
        return ("-m", "examples.streaming_llm", "--port", str(port), "--pace", str(pace))

    async with in_a_process(command, cwd=ROOT, env=quiet) as (port, process):
        yield f"http://127.0.0.1:{port}", process


NOTE_WHAT_IS_READ_OUT = """
window.readOut = [];
new MutationObserver((all) => { for (const one of all) for (const node of one.addedNodes) readOut.push(node.data); })
  .observe(document.querySelector("[role=status]"), { childList: true });
"""


@pytest.mark.parametrize("sink", ["sse", "ws"])
async def test_the_example_s_page_shows_words_as_they_come_sources_stop_and_errors(page, sink):
    async with example(0.01) as (url, _):
        await page.goto(url)
        await expect(page.locator("#graph g[data-name]")).to_have_count(8)
        await page.evaluate(NOTE_WHAT_IS_READ_OUT)
        await page.check(f"input[value={sink}]")
        await page.fill("#question", QUESTION)
        await page.press("#question", "Enter")
        answer, status = page.locator("#answer"), page.locator("#status")
        await expect(answer).to_contain_text("wrap the execution")
        await expect(answer).to_have_attribute("aria-busy", "true")
        await expect(page.locator("#graph g.now")).to_have_attribute("data-name", "answer")
        await expect(status).to_have_text("Done.")
        await expect(answer).to_contain_text("exit(manager, None, None, None)")
        await expect(page.locator("#list li").first).to_contain_text('help("with")')
        await expect(page.locator("#graph g.now")).to_have_count(0)
        assert await page.evaluate("readOut") == ["Searching …", "Answering …", "Done."]

        await page.press("#ask", "Enter")
        await expect(answer).to_contain_text("wrap the execution")
        await expect(page.locator("#stop")).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(status).to_have_text("Stopped.")
        await expect(page.locator("#ask")).to_be_focused()
        await expect(answer).not_to_contain_text("exit(manager")
        await expect(page.locator("#error")).to_have_text("")
        await expect(page.locator("#ask")).to_be_enabled()

        await page.evaluate("document.querySelector('#question').value = 'y'.repeat(30000)")
        await page.click("#ask")
        await expect(status).to_have_text("Not answered.")
        await expect(page.locator("#error")).not_to_have_text("")


@pytest.mark.parametrize("sink", ["sse", "ws"])
async def test_a_service_that_dies_is_an_error_on_the_page_and_not_a_page_that_waits(page, sink):
    async with example(0.01) as (url, process):
        await page.goto(url)
        await page.check(f"input[value={sink}]")
        await page.press("#question", "Enter")
        await expect(page.locator("#answer")).to_contain_text("wrap the execution")
        process.kill()
        if sink == "sse":
            await expect(page.locator("#status")).to_contain_text("Trying again")
            await page.click("#stop")
        await expect(page.locator("#status")).to_have_text("Not answered.")
        await expect(page.locator("#error")).to_contain_text("The connection was lost")
        await expect(page.locator("#ask")).to_be_enabled()


READER = """<!doctype html><title>reader</title><pre id=out></pre><script>
const out = [];
fetch("flow/traces", {method: "POST", headers: {"content-type": "application/json"}, body: JSON.stringify(ASK)})
  .then((answer) => answer.json()).then(({trace_id}) => {
    const source = new EventSource(`flow/traces/${trace_id}/events`);
    let opened = 0;
    source.onopen = () => { opened += 1; document.title = "reading"; };
    source.addEventListener("chunk", (event) => out.push(JSON.parse(event.data).text));
    source.addEventListener("end", (event) => {
      document.title = "over"; source.close();
      document.getElementById("out").textContent = JSON.stringify({out, opened, last: event.lastEventId});
    });
  });
</script>"""


class CutsOff:
    """Ends each event stream after so many parts, as a bad network does, so many times."""

    def __init__(self, app, times, parts):
        self.app, self.times, self.parts = app, times, parts

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http" or not scope["path"].endswith("/events") or self.times == 0:
            await self.app(scope, receive, send)
            return
        self.times -= 1
        left, cut = self.parts, asyncio.Event()

        async def sent(message):
            nonlocal left
            left -= message["type"] == "http.response.body"
            if left == 0:
                cut.set()
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            if left <= 0:
                await asyncio.Event().wait()
            await send(message)

        async def heard():
            await cut.wait()
            return {"type": "http.disconnect"}

        await self.app(scope, heard, sent)


async def test_a_browser_s_eventsource_reconnects_by_itself_and_misses_nothing(page):
    words = [f"{number}\r\n\x00\u2028" for number in range(100)]
    app = flow_app(speaking(), input=Ask, output=Answer, authenticate=anybody, limits=Limits(linger_s=30, retry_ms=10))
    html = READER.replace("ASK", json.dumps({"words": words}))
    outer = Starlette(
        routes=[Route("/", lambda request: HTMLResponse(html)), Mount("/flow", CutsOff(app, times=3, parts=20))],
        lifespan=app.lifespan,
    )
    async with serving(outer) as url:
        await page.goto(url)
        await expect(page).to_have_title("over")
        found = await page.evaluate("JSON.parse(document.getElementById('out').textContent)")
    assert found == {"out": words, "opened": 4, "last": "102"}


async def test_a_tab_that_is_closed_cancels_its_trace(page):
    watch = Watch()
    app = flow_app(speaking(watch), input=Ask, authenticate=anybody)
    html = READER.replace("ASK", '{"forever": true}')
    outer = Starlette(
        routes=[Route("/", lambda request: HTMLResponse(html)), Mount("/flow", app)], lifespan=app.lifespan
    )
    async with serving(outer) as url:
        await page.goto(url)
        await expect(page).to_have_title("reading")  # before it reads, the trace waits for a reader
        await page.close()
        await until(lambda: watch.cancelled == 1)
