"""`module:flow`: what names a flow, and the sentence for each way to get it wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.utils.commandline import invoke, sentence, workplace, write

here = pytest.fixture(workplace, autouse=True)

ONE = """
    from penguiflow import create, node

    @node
    async def same(x: int) -> int:
        return x

    flow = create(same.to())

    class Holder:
        inner = flow

    def make():
        return flow

    def needs(size):
        return flow

    async def later():
        return flow

    def nothing():
        return 3

    def raises():
        raise LookupError("no configuration")

    number = 3
"""


@pytest.mark.parametrize(
    "target", ["one:flow", "one:make", "one.py:flow", "./one.py:make", "one:Holder.inner", "deep.sub:flow"]
)
def test_a_flow_is_found_by_module_file_or_function(target):
    write("one.py", ONE)
    Path("deep").mkdir()
    write("deep/sub.py", ONE)
    assert invoke("run", target, "--input", "7").stdout == "7\n"


def test_a_file_finds_its_neighbours_as_if_python_ran_it():
    Path("elsewhere").mkdir()
    write("elsewhere/neighbour.py", ONE)
    write("elsewhere/main.py", "from neighbour import flow\n")
    assert invoke("run", "elsewhere/main.py:flow", "--input", "7").stdout == "7\n"


def test_a_file_may_be_called_like_a_module_that_is_there_already():
    write("json.py", ONE)
    assert invoke("run", "json.py:flow", "--input", "7").stdout == "7\n"


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("one", "'one' names no flow: write module:flow or path/to/file.py:flow"),
        (":flow", "':flow' names no flow"),
        ("one:", "'one:' names no flow"),
        ("onee:flow", "there is no module 'onee' here or among what is installed: did you mean 'one'?"),
        ("one.two:flow", "there is no module 'one.two'"),
        ("nope.py:flow", "there is no file 'nope.py' here"),
        ("some/where:flow", "'some/where' is neither a module nor a file"),
        ("one:folw", "one has no 'folw': did you mean 'flow'?"),
        ("one:zzz", "one has no 'zzz': its flows are flow"),
        ("one:number", "one:number is 3, and no flow"),
        ("one:Holder", "one:Holder is <class 'one.Holder'>, and no flow"),
        ("one:needs", "one:needs can't be called without arguments (missing a required argument: 'size')"),
        ("one:later", "one:later is async: name a flow, or a plain function that returns one"),
        ("one:nothing", "one:nothing() returned 3, and no flow"),
        ("empty:flow", "empty has no 'flow': it has no flow"),
        ("..:flow", "'..' is no module: write module:flow"),
        (".one:flow", "'.one' is no module: write module:flow"),
    ],
)
def test_a_wrong_name_is_wrong_usage_and_said_in_a_sentence(target, said):
    write("one.py", ONE)
    write("empty.py", "")
    assert sentence("run", target, "--input", "7", code=2).startswith(said)


SILENT = """
class Silent(BaseException):
    def __str__(self):
        raise ValueError
    __repr__ = __str__
"""


def test_what_is_no_flow_and_cannot_be_shown_is_named_by_its_type():
    write("odd.py", SILENT + "flow = Silent()\n")
    assert sentence("run", "odd:flow", "--input", "7", code=2).startswith("odd:flow is a Silent, and no flow: name")


@pytest.mark.parametrize(
    ("target", "code", "said"),
    [
        ("bad:flow", "1 / 0\n", "bad can't be imported: ZeroDivisionError: division by zero ("),
        ("bad:flow", "import no_such_thing\n", "bad can't be imported: ModuleNotFoundError: No module named 'no_such_"),
        ("bad.py:flow", "raise SystemExit(4)\n", "bad.py can't be imported: SystemExit: 4 ("),
        ("bad.py:flow", "import pytest\npytest.importorskip('nothing')\n", "bad.py can't be imported: Skipped: could"),
        ("bad:flow", "import asyncio\nraise asyncio.CancelledError\n", "bad can't be imported: CancelledError ("),
        ("bad:flow", "def __getattr__(name):\n    raise LookupError(name)\n", "bad:flow can't be read: LookupError: "),
        ("bad:flow", SILENT + "raise Silent\n", "bad can't be imported: Silent: (it can't be shown as text) ("),
        ("bad:flow", SILENT + "def flow():\n    raise Silent\n", "bad:flow() raised: Silent: (it can't be shown"),
        ("bad:flow", "def flow(:\n", "bad can't be imported: SyntaxError: invalid syntax"),
        ("one:raises", "", "one:raises() raised: LookupError: no configuration ("),
        ("bad:flow", "from penguiflow import create\nflow = create()\n", "bad can't be imported: the graph has"),
    ],
)
def test_code_that_raises_is_something_wrong_and_says_where(target, code, said):
    write("one.py", ONE)
    write("bad.py", code)
    text = sentence("run", target, "--input", "7", code=1)
    assert text.startswith(said)
    assert "Traceback" not in text
    if said.endswith("("):
        assert f"{Path.cwd()}" in text


def test_a_plugin_that_is_missing_leads_to_the_doctor(monkeypatch):
    monkeypatch.setenv("PENGUIFLOW_PLUGINS_REQUIRE", "absent")
    write("one.py", ONE)
    said = sentence("run", "one:flow", "--input", "7", code=1)
    assert "PENGUIFLOW_PLUGINS_REQUIRE names 'absent'" in said
    assert said.endswith("`penguiflow plugins doctor` looks at each plugin\n")
