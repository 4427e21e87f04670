"""`penguiflow record`: one message in, a test out that passes without the nodes' own code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.utils.commandline import invoke, sentence, workplace, write
from tests.utils.hostile import ROOT, clean_environment

here = pytest.fixture(workplace, autouse=True)


LOUD = """
    from penguiflow import create, node

    @node
    async def loud(x: int) -> int:
        print(x)
        return x

    flow = create(loud)
"""
BROKEN = """
    from penguiflow import create, node

    @node
    async def fine(x: int) -> int:
        return x

    def opening():
        raise OSError("no disk")

    flow = create(fine, resources=opening)
"""


def verdict(*arguments: str, path: str | None = None) -> str:
    """What pytest says, in a process of its own."""
    environment = {**clean_environment(), "PYTHONPATH": os.pathsep.join(filter(None, [path, str(ROOT)]))}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio", *arguments]
    done = subprocess.run(
        command, env=environment, capture_output=True, stdin=subprocess.DEVNULL, encoding="utf-8", timeout=300
    )
    return done.stdout + done.stderr


def test_the_test_is_printed_and_passes():
    write("shop.py")
    result = invoke("record", "shop:flow", "--input", '{"text": "hello there"}')
    assert (result.exit_code, result.stderr) == (0, "")
    Path("test_shop.py").write_text(result.stdout, encoding="utf-8")
    assert "1 passed" in verdict("test_shop.py", path=".")
    assert 'played.chunks == ["hello ", "there "]' in result.stdout
    assert "from shop import Answer, Query, flow\n" in result.stdout


def test_a_file_is_written_and_finds_a_flow_that_a_file_holds():
    Path("flows").mkdir()
    Path("checks").mkdir()
    write("flows/shop.py")
    result = invoke(
        "record", "flows/shop.py:flow", "--input", '{"text": "a"}', "-o", "checks/test_shop.py", "--name", "test_a"
    )
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "checks/test_shop.py: the trace ended as completed, after 1 runs of nodes\n"
    text = Path("checks/test_shop.py").read_text(encoding="utf-8")
    assert 'sys.path.insert(0, str(pathlib.Path(__file__).parent / "../flows"))' in text
    assert "def test_a():" in text
    assert "1 passed" in verdict("checks/test_shop.py")


def test_a_trace_that_fails_makes_a_test_as_well():
    write("shop.py")
    result = invoke("record", "shop:checks", "--input", "-1")
    assert 'assert played.code == "NODE_EXCEPTION"' in result.stdout
    Path("test_shop.py").write_text(result.stdout, encoding="utf-8")
    assert "1 passed" in verdict("test_shop.py", path=".")


def test_what_the_test_can_not_hold_runs_itself():
    write("shop.py")
    result = invoke("record", "shop:checks", "--input", "0")
    assert "# check runs itself: what it gave has a builtins.object" in result.stdout
    assert "assert len(played.outputs) == 1" in result.stdout


def test_a_function_that_makes_the_flow_is_called_by_the_test_and_a_trace_may_run_out():
    write("shop.py")
    result = invoke("record", "shop:stuck", "--input", "1", "--timeout", "0.04")
    assert "    flow = stuck()\n    played = replay(flow, 1, RUNS, timeout_s=0.04)\n" in result.stdout
    Path("test_shop.py").write_text(result.stdout, encoding="utf-8")
    assert "1 passed" in verdict("test_shop.py", path=".")


def test_a_document_has_the_test_and_where_it_is():
    write("shop.py")
    document = json.loads(invoke("record", "shop:flow", "--input", '{"text": "a"}', "-o", "test_x.py", "--json").stdout)
    assert (document["outcome"], document["file"]) == ("completed", "test_x.py")
    assert document["test"] == Path("test_x.py").read_text(encoding="utf-8")


def test_what_nodes_print_stays_out_of_the_test():
    write("loud.py", LOUD)
    result = invoke("record", "loud:flow", "--input", "7")
    assert (result.stdout.startswith('"""'), result.stderr) == (True, "7\n")


def test_nothing_is_overwritten_unasked():
    write("shop.py")
    Path("test_shop.py").write_text("mine", encoding="utf-8")
    arguments = ("record", "shop:flow", "--input", '{"text": "a"}', "-o", "test_shop.py")
    assert sentence(*arguments, code=2) == "test_shop.py is there already: name another file, or say --force\n"
    assert Path("test_shop.py").read_text(encoding="utf-8") == "mine"
    assert invoke(*arguments, "--force").exit_code == 0
    assert "1 passed" in verdict("test_shop.py", path=".")


def test_what_goes_wrong_is_a_sentence():
    write("shop.py")
    write("broken.py", BROKEN)
    assert sentence("record", "shop:flow", "--input", "{", code=2).startswith("--input is not JSON")
    assert sentence("record", "shop:nope", "--input", "1", code=2).startswith("shop has no 'nope'")
    assert sentence("record", "shop:flow", "--input", "1", "--timeout", "nan", code=2).find("--timeout") >= 0
    assert sentence("record", "broken:flow", "--input", "1", code=1).startswith(
        "flow 'flow' can't run: OSError: no disk"
    )
    assert sentence("record", "shop:flow", "--input", '{"text": "a"}', "-o", "no/such/x.py", code=2).startswith(
        "the test can't be written: "
    )
