"""`penguiflow run`: one message in, its result out as JSON, and a sentence where that can't be."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.utils.commandline import invoke, sentence, workplace, write
from tests.utils.hostile import ROOT, clean_environment

here = pytest.fixture(workplace, autouse=True)


def test_the_result_of_a_model_is_printed_as_json():
    write("shop.py")
    result = invoke("run", "shop:flow", "--input", '{"text": "hello there"}')
    assert (result.exit_code, result.stdout, result.stderr) == (0, '{"words": 2}\n', "")


def test_a_stream_prints_the_chunks_and_then_the_result_on_a_line_of_its_own():
    write("shop.py")
    result = invoke("run", "shop:flow", "--input", '{"text": "hello there"}', "--stream")
    assert result.stdout == 'hello there \n{"words": 2}\n'


def test_the_document_has_the_trace_its_results_and_the_chunks_that_were_asked_for():
    write("shop.py")
    document = json.loads(invoke("run", "shop:flow", "--input", '{"text": "a b"}', "--stream", "--json").stdout)
    assert document.pop("trace_id")
    assert document == {"chunks": ["a ", "b "], "results": [{"words": 2}]}
    assert "chunks" not in json.loads(invoke("run", "shop:flow", "--input", '{"text": "a b"}', "--json").stdout)


def test_the_input_comes_from_stdin_or_a_file():
    write("shop.py")
    Path("input.json").write_text('{"text": "aé b c"}', encoding="utf-8")
    assert invoke("run", "shop:flow", "--input", "@input.json").stdout == '{"words": 3}\n'
    assert invoke("run", "shop:flow", "--input", "-", input='{"text": "a"}').stdout == '{"words": 1}\n'


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("hello", "--input is not JSON: Expecting value: line 1 column 1 (char 0): a text needs its quotes"),
        ("@absent.json", "the input can't be read: [Errno 2] No such file"),
        ("@broken.json", "broken.json is not JSON: Expecting"),
        ("-", "stdin is not JSON: Expecting value"),
    ],
)
def test_input_that_cannot_be_read_is_wrong_usage(given, said):
    write("shop.py")
    Path("broken.json").write_text("{", encoding="utf-8")
    assert sentence("run", "shop:flow", "--input", given, code=2).startswith(said)


def test_a_failure_is_its_text_and_its_place_without_a_traceback():
    write("shop.py")
    said = sentence("run", "shop:checks", "--input", "-1", code=1).splitlines()
    line = 1 + Path("shop.py").read_text(encoding="utf-8").splitlines().index('        raise ValueError("below zero")')
    assert said == [
        "NODE_EXCEPTION: node 'check' raised ValueError: below zero",
        f"  at {Path.cwd() / 'shop.py'}:{line}",
    ]


def test_a_failure_is_a_payload_in_the_document():
    write("shop.py")
    result = invoke("run", "shop:checks", "--input", "-1", "--json")
    document = json.loads(result.stdout)
    assert result.exit_code == 1
    assert (document["error"]["code"], document["error"]["exception"]) == ("NODE_EXCEPTION", "below zero")
    assert document["trace_id"] == document["error"]["trace_id"]


def test_an_input_that_does_not_fit_the_first_node_is_a_failure():
    write("shop.py")
    assert "text: Field required" in sentence("run", "shop:flow", "--input", '{"txt": 1}', code=1)


def test_what_json_has_no_form_for_is_said():
    write("shop.py")
    assert "can't be written as JSON: Unable to serialize" in sentence("run", "shop:checks", "--input", "0", code=1)


def test_a_result_may_hold_models_dates_and_sets():
    write(
        "kinds.py",
        """
        import datetime
        from dataclasses import dataclass
        from pydantic import BaseModel
        from penguiflow import create, node

        class Model(BaseModel):
            at: datetime.date

        @dataclass
        class Data:
            models: list[Model]
            names: set[str]

        @node
        async def give(x: int) -> Data:
            return Data([Model(at=datetime.date(2024, 2, 29))], {"é"})

        flow = create(give.to())
        """,
    )
    assert invoke("run", "kinds:flow", "--input", "1").stdout == '{"models": [{"at": "2024-02-29"}], "names": ["é"]}\n'


def test_several_results_are_a_line_each_and_no_result_is_null():
    write(
        "many.py",
        """
        from penguiflow import create, node

        @node
        async def count(n: int):
            for i in range(n):
                yield i

        flow = create(count.to())
        """,
    )
    assert invoke("run", "many:flow", "--input", "3").stdout == "0\n1\n2\n"
    assert invoke("run", "many:flow", "--input", "0").stdout == "null\n"
    assert json.loads(invoke("run", "many:flow", "--input", "2", "--json").stdout)["results"] == [0, 1]


def test_the_time_limit_ends_the_trace():
    write("shop.py")
    assert sentence("run", "shop:stuck", "--input", "1", "--timeout", "0.01", code=1).startswith("DEADLINE_EXCEEDED: ")


@pytest.mark.parametrize("seconds", ["-1", "soon", "nan"])
def test_a_time_limit_is_a_number_of_seconds(seconds):
    write("shop.py")
    assert "--timeout" in sentence("run", "shop:stuck", "--input", "1", "--timeout", seconds, code=2)


def test_with_json_what_nodes_print_goes_to_stderr():
    write(
        "loud.py",
        """
        from penguiflow import create, node

        print("imported")

        @node
        async def shout(x: int) -> int:
            print("running")
            return x

        flow = create(shout.to())
        """,
    )
    result = invoke("run", "loud:flow", "--input", "1", "--json")
    assert json.loads(result.stdout)["results"] == [1]
    assert result.stderr == "imported\nrunning\n"


def test_a_flow_that_cannot_start_is_said_without_a_traceback():
    write(
        "closed.py",
        """
        from penguiflow import create, node

        @node
        async def same(x: int) -> int:
            return x

        def shut():
            raise ConnectionError("no database")

        flow = create(same.to(), resources=shut)
        """,
    )
    said = sentence("run", "closed:flow", "--input", "1", code=1)
    assert said.startswith("flow 'flow' can't run: ConnectionError: no database (")


def test_a_retried_stream_starts_on_a_new_line():
    write(
        "again.py",
        """
        from penguiflow import Context, create, node

        @node(max_retries=1, backoff_base=0)
        async def tell(x: int, ctx: Context) -> int:
            await ctx.emit_chunk("half")
            if ctx.attempt == 0:
                raise ValueError("cut off")
            await ctx.emit_chunk(" done")
            return x

        flow = create(tell.to())
        """,
    )
    assert invoke("run", "again:flow", "--input", "1", "--stream").stdout.endswith("half\nhalf done\n1\n")


SLOW = """
    import asyncio, pathlib
    from penguiflow import Context, create, node

    @node
    async def tell(x: int, ctx: Context) -> str:
        await ctx.emit_chunk("first ")
        try:
            async with asyncio.timeout(30):
                while not pathlib.Path("go-on").exists():
                    await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            pathlib.Path("cancelled").touch()
            raise
        await ctx.emit_chunk("second")
        return "all"

    flow = create(tell.to())
"""


def started(*arguments: str) -> subprocess.Popen[bytes]:
    """The command in a process of its own, once it has printed its first chunk."""
    process = subprocess.Popen(
        [sys.executable, "-m", "penguiflow", "run", "slow:flow", "--input", "1", "--stream", *arguments],
        env={**clean_environment(), "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A shell that runs this in the background ignores SIGINT, and what it starts would too.
        preexec_fn=None if os.name == "nt" else lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout is not None
    assert process.stdout.read(6) == b"first "
    return process


def test_a_chunk_is_printed_when_it_comes():
    write("slow.py", SLOW)
    process = started()
    Path("go-on").touch()
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, b'second\n"all"\n', b"")


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no such signal to one process")
@pytest.mark.parametrize(
    ("sent", "code", "says"), [(signal.SIGINT, 130, b"interrupted"), (signal.SIGTERM, 143, b"terminated")]
)
def test_ctrl_c_and_sigterm_cancel_the_trace(sent: signal.Signals, code: int, says: bytes):
    write("slow.py", SLOW)
    process = started()
    process.send_signal(sent)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (code, b"\n", says + b": the trace is cancelled\n")
    assert Path("cancelled").exists()


TALKS = """
    from penguiflow import Context, create, node

    @node
    async def talk(x: object, ctx: Context) -> object:
        await ctx.emit_chunk("a chunk ")
        return x

    flow = create(talk.to())
"""


def shell(line: str) -> subprocess.CompletedProcess[str]:
    """Run a line with `$RUN` for the command."""
    environment = {**os.environ, "RUN": f"{sys.executable} -m penguiflow run talks:flow", "PYTHONUTF8": "0"}
    return subprocess.run(["sh", "-c", line], env=environment, capture_output=True, encoding="utf-8", timeout=60)


@pytest.mark.parametrize("stream", ["", "--stream"])
@pytest.mark.parametrize(("where", "says"), [(">&-", "closed"), (">/dev/full", "No space left")])
def test_a_result_that_cannot_be_written_is_told_in_a_sentence(stream: str, where: str, says: str):
    write("talks.py", TALKS)
    done = shell(f"$RUN --input 1 {stream} {where}")
    assert done.returncode == 1
    assert done.stderr.startswith("stdout can't be written: ")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_reader_that_leaves_is_no_fault_of_the_flow():
    write("talks.py", TALKS)
    done = shell("{ $RUN --input 1 --stream; echo $? >code; } | true; cat code")
    assert (done.stdout, done.stderr) in [("1\n", ""), ("0\n", "")]  # 0 if it was quicker than the reader


def test_stdin_is_utf_8_whatever_the_terminal_speaks():
    write("talks.py", TALKS)
    line = r"""printf '"h\303\251"' | LC_ALL=C PYTHONCOERCECLOCALE=0 $RUN --input -"""
    assert shell(line).stdout == '"h\\u00e9"\n'
    done = shell(r"""printf '"\377"' | $RUN --input -""")
    assert done.returncode == 2
    assert done.stderr.startswith("stdin can't be read: ")
    done = shell("$RUN --input - <&-")
    assert (done.returncode, done.stderr) == (2, "stdin is closed, and --input - reads it\n")
