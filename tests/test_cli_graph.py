"""`penguiflow graph`: a flow drawn by whoever knows the format."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from tests.utils.commandline import invoke, sentence, workplace, write

here = pytest.fixture(workplace, autouse=True)

DRAWN = """
    from penguiflow import create, hookimpl, node

    @node
    async def same(x: int) -> int:
        return x

    class Drawer:
        @hookimpl
        def export_graph(self, request):
            if request.format == "png":
                return b"\\x00\\xff"
            if request.format == "broken":
                raise OSError("no ink")
            if request.format == "mermaid":
                return f"graph {request.graph.name} é {dict(request.options)}\\n"

    flow = create(same.to(), name="drawn", plugins=[Drawer()])
    bare = create(same.to())
"""


@pytest.fixture(autouse=True)
def drawn(here):
    write("drawn.py", DRAWN)


def test_a_graph_is_printed():
    result = invoke("graph", "drawn:flow")
    assert (result.exit_code, result.stdout) == (0, "graph drawn é {}\n")


def test_options_are_words_or_json():
    options = ("--option", "theme=dark", "--option", "depth=3", "--option", "pairs=a=b")
    assert "{'theme': 'dark', 'depth': 3, 'pairs': 'a=b'}" in invoke("graph", "drawn:flow", *options).stdout


@pytest.mark.parametrize("option", ["theme", "=dark", "two words=1", "format=png"])
def test_an_option_is_a_key_and_a_value(option):
    assert sentence("graph", "drawn:flow", "--option", option, code=2) == f"--option {option!r}: write key=value\n"


def test_a_graph_goes_into_a_file():
    result = invoke("graph", "drawn:flow", "-o", "flow.mmd")
    assert (result.exit_code, result.stdout) == (0, "")
    assert Path("flow.mmd").read_text(encoding="utf-8") == "graph drawn é {}\n"


def test_bytes_are_written_as_they_are():
    assert invoke("graph", "drawn:flow", "--format", "png").stdout_bytes == b"\x00\xff"
    invoke("graph", "drawn:flow", "--format", "png", "-o", "flow.png")
    assert Path("flow.png").read_bytes() == b"\x00\xff"


def test_the_document_has_the_text_or_says_where_it_is():
    assert json.loads(invoke("graph", "drawn:flow", "--json").stdout)["text"] == "graph drawn é {}\n"
    document = json.loads(invoke("graph", "drawn:flow", "--format", "png", "--json").stdout)
    assert base64.b64decode(document["base64"]) == b"\x00\xff"
    document = json.loads(invoke("graph", "drawn:flow", "-o", "flow.mmd", "--json").stdout)
    assert document == {"format": "mermaid", "file": "flow.mmd"}


def test_a_plugin_that_cannot_draw_it_says_why():
    said = sentence("graph", "drawn:flow", "--format", "broken", code=1)
    assert said.endswith("plugin 'Drawer' can't export 'broken': OSError: no ink\n")


@pytest.mark.parametrize(
    ("target", "format", "asked"),
    [("drawn:bare", "mermaid", ""), ("drawn:flow", "dot", "'Drawer' knows no such format; ")],
)
def test_a_format_that_nobody_knows_says_what_to_install(target, format, asked):
    said = sentence("graph", target, "--format", format, code=1)
    assert said.endswith(
        f"no plugin exports '{format}': {asked}install penguiflow-viz, or mend the name of the format\n"
    )


def test_a_file_that_cannot_be_written_is_said():
    assert sentence("graph", "drawn:flow", "-o", "nowhere/flow.mmd", code=1).startswith(
        "nowhere/flow.mmd can't be writ"
    )
