"""`penguiflow-viz live`: a flow by its name, followed until somebody ends it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from vizkit.watching import MARK

from penguiflow_viz.live.command import main

FLOW = """
from penguiflow import Node, create

async def double(x: int) -> int:
    if x < 0:
        raise ValueError("negative")
    return 2 * x

def make():
    return create(Node(double, "double"), name="doubles")

flow = make()
no_flow = 1

def broken():
    raise RuntimeError("no luck")
"""
COMMAND = Path(sys.executable).with_name("penguiflow-viz")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "doubles.py").write_text(FLOW, encoding="utf-8")
    return tmp_path


@asynccontextmanager
async def following(folder: Path, *arguments: str, **environ: str) -> AsyncIterator[str]:
    """The command while it runs; gives the line that it prints."""
    process = await asyncio.create_subprocess_exec(
        COMMAND,
        "live",
        *arguments,
        "--port",
        "0",
        cwd=folder,
        env=os.environ | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored below a shell's background job
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            yield (await process.stdout.readline()).decode().strip()
    finally:
        process.send_signal(signal.SIGINT)
        try:
            _, told = await asyncio.wait_for(process.communicate(), 30)
        except TimeoutError:
            process.kill()
            raise
    assert (process.returncode, b"Traceback" in told) == (130, False), told.decode()


async def completed(url: str, headers: dict[str, str], wanted: int) -> None:
    """Wait until the stream says that so many traces have completed and as many have failed."""
    async with httpx.AsyncClient(headers=headers) as asking, asking.stream("GET", f"{url}api/events") as answer:
        assert answer.status_code == 200
        async for line in answer.aiter_lines():
            found = re.search(r'"completed":(\d+),"failed":(\d+)', line)
            if found and min(map(int, found.groups())) >= wanted:
                return


@pytest.mark.parametrize("target", ["doubles:make", "doubles.py:flow"])
async def test_a_flow_is_run_fed_and_followed(folder: Path, target: str):
    async with following(folder, target, "--input", "1", "--input", "-1", "--every", "0.05") as url:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", url)
        await completed(url, MARK, 3)


async def test_bound_elsewhere_it_makes_a_token_and_shows_it_once(folder: Path):
    async with following(folder, "doubles:flow", "--host", "0.0.0.0", "--input", "1", "--input", "-1") as link:
        url, token = link.split("#token=")
        local = re.sub(r"//.*:", "//127.0.0.1:", url)
        async with httpx.AsyncClient(headers=MARK) as asking:
            assert (await asking.get(f"{local}api/drawing")).status_code == 401
        await completed(local, MARK | {"Authorization": f"Bearer {token}"}, 1)


async def test_a_token_of_the_environment_is_not_shown(folder: Path):
    token = "a-token-of-our-own-0123456789"
    async with following(folder, "doubles:flow", PENGUIFLOW_VIZ_TOKEN=token) as link:
        assert "token" not in link
        async with httpx.AsyncClient(headers=MARK) as asking:
            assert (await asking.get(f"{link}api/drawing")).status_code == 401
            right = {"Authorization": f"Bearer {token}"}
            assert (await asking.get(f"{link}api/drawing", headers=right)).status_code == 200


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["doubles"], 2, "'doubles' names no flow: write module:flow"),
        (["missing.py:flow"], 2, "there is no file 'missing.py' here"),
        (["doubles:nobody"], 1, "doubles:nobody can't be loaded: AttributeError"),
        (["nowhere:flow"], 1, "nowhere:flow can't be loaded: ModuleNotFoundError"),
        (["doubles:no_flow"], 2, "doubles:no_flow is 1, and no flow"),
        (["doubles:broken"], 1, "doubles:broken can't be loaded: RuntimeError: no luck"),
        (["doubles:flow", "--input", "{"], 2, "--input '{' is not JSON"),
        (["doubles:flow", "--every", "0"], 2, "--every is a number of seconds above 0"),
        (["doubles:flow", "--host", "203.0.113.1"], 1, "203.0.113.1"),
        (["doubles:flow", "--port", "65536"], 1, "port is a whole number from 0 to 65535, not 65536"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    said: str,
):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(SystemExit) as ended:
        main(["live", *arguments])
    sys.modules.pop("doubles", None)
    assert ended.value.code == code
    assert said in capsys.readouterr().err


def test_without_the_extra_it_says_what_to_install(folder: Path):
    (folder / "starlette.py").write_text("raise ModuleNotFoundError('no', name='starlette')", encoding="utf-8")
    done = subprocess.run(
        [COMMAND, "live", "doubles:flow"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.strip() == "the live view needs starlette: pip install 'penguiflow-viz[live]'"
