"""The README's service is run, and prints what it says."""

import asyncio
import re
import subprocess
from pathlib import Path

from webkit import client, serving

TEXT = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = dict(enumerate(re.findall(r"```(\w+)\n(.*?)```", TEXT, re.DOTALL)))


async def test_the_service_streams_what_the_readme_shows_and_can_be_mounted():
    sources = [code for kind, code in BLOCKS.values() if kind == "python"]
    shown = next(code for kind, code in BLOCKS.values() if kind == "text")
    names: dict = {}
    for source in sources:
        exec(compile(source, "README.md", "exec"), names)
    async with serving(names["app"]) as url:
        body = ["-H", "Authorization: Bearer a-secret", "--json", '{"text": "hello there"}']
        process = await asyncio.create_subprocess_exec("curl", "-sN", f"{url}/stream", *body, stdout=subprocess.PIPE)
        out = (await process.stdout.read()).decode()
        await process.wait()
    assert re.sub("[0-9a-f]{32}", "...", out) == shown
    async with serving(names["api"]) as url, client(url, "a-secret") as web:
        assert (await web.post("/shout/", json={"text": "hi"})).json() == {"text": "HI"}


def test_every_limit_s_default_is_a_number_that_the_docstring_explains():
    from dataclasses import fields

    from penguiflow_asgi import Limits

    assert [one.name for one in fields(Limits) if f"{one.name}:" not in Limits.__doc__] == []
