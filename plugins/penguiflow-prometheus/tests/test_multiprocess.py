"""The multiprocess mode: real processes that share a directory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from prometheus_client import multiprocess
from promkit.scrapes import Scrape, read

WORKER = Path(__file__).parent / "promkit" / "worker.py"
PATIENCE_S = 20.0


class Worker:
    """One of the processes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.port = int(self.answer().removeprefix("port "))

    def answer(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.wait()
        return line.strip()

    def send(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def tell(self, line: str) -> None:
        self.send(line)
        assert self.answer() == "done"

    def shows(self, **params: object) -> Scrape:
        answer = httpx.get(f"http://127.0.0.1:{self.port}/metrics", params=params, trust_env=False)
        answer.raise_for_status()
        return read(answer.text)

    def stop(self) -> str:
        self.send("stop")
        said = self.answer()
        assert self.process.wait(PATIENCE_S) == 0
        return said

    def crash(self) -> None:
        self.send("crash")
        assert self.process.wait(PATIENCE_S) == -9


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    with ExitStack() as stack:

        def started(name: str, folder: Path = tmp_path, **environment: str) -> Worker:
            process = subprocess.Popen(
                [sys.executable, str(WORKER), name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=shared(folder) | environment,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return Worker(process)

        yield started


def shared(folder: Path) -> dict[str, str]:
    """The environment of a process that shares a directory."""
    return {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder), "PYTHONPATH": str(WORKER.parent.parent)}


def ran(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A script that was run as such a process."""
    command = [sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=shared(folder))


def waited(seen: Callable[[], object], value: object) -> None:
    """Wait until something has a value."""
    until = time.monotonic() + PATIENCE_S
    while (now := seen()) != value:
        assert time.monotonic() < until, now
        time.sleep(0.02)


def traces(seen: Scrape) -> dict[tuple[str, ...], float]:
    return seen.by("penguiflow_traces_started_total", "flow")


def test_any_process_shows_the_sums_of_all(start: Callable[..., Worker]):
    one, two = start("shop"), start("shop")
    one.tell("ask 30")
    two.tell("ask 20")
    waited(lambda: traces(one.shows()), {("shop",): 50})
    waited(lambda: traces(two.shows()), {("shop",): 50})
    seen = one.shows()
    assert seen.by("penguiflow_traces_total", "outcome") == {("completed",): 40, ("failed",): 10}
    assert seen.by("penguiflow_node_errors_total", "error_type") == {("ValueError",): 30, ("ConnectionError",): 13}
    assert seen.value("penguiflow_node_duration_seconds_count", flow="shop", node="tell", outcome="success") == 40
    assert seen.value("penguiflow_flows_running", flow="shop") == 2
    assert traces(one.shows(**{"name[]": "penguiflow_traces_started_total"})) == {("shop",): 50}
    one.tell("ask 10")
    waited(lambda: traces(two.shows()), {("shop",): 60})


def test_a_process_shows_its_own_counts_at_once_and_all_of_them_when_it_has_stopped(start: Callable[..., Worker]):
    one, two = start("one", INTERVAL="3600"), start("two", INTERVAL="3600")
    one.tell("ask 10")
    assert traces(one.shows()) == {("one",): 10}
    two.tell("ask 5")
    assert two.stop() == "threads []"
    assert traces(one.shows()) == {("one",): 10, ("two",): 5}


def test_gauges_of_a_process_that_crashed_go_and_its_counts_stay(start: Callable[..., Worker], tmp_path: Path):
    one, two = start("shop"), start("shop")
    one.tell("stay 3")
    two.tell("stay 4")
    two.tell("ask 10")
    waited(lambda: one.shows().by("penguiflow_traces_active", "flow"), {("stay",): 7})
    waited(lambda: traces(one.shows())[("shop",)], 10)
    two.crash()
    multiprocess.mark_process_dead(two.process.pid, str(tmp_path))
    seen = one.shows()
    assert seen.by("penguiflow_traces_active", "flow") == {("stay",): 3}
    assert seen.by("penguiflow_node_runs_active", "flow") == {("stay",): 3}
    assert traces(seen) == {("stay",): 7, ("shop",): 10}


def test_gauges_are_0_when_a_process_has_stopped(start: Callable[..., Worker]):
    one, two = start("one"), start("two")
    two.tell("stay 4")
    assert two.stop() == "threads []"
    seen = one.shows()
    assert not seen.by("penguiflow_traces_active", "flow")
    assert seen.by("penguiflow_flows_running", "flow") == {("one",): 1, ("stay",): 1}


@pytest.mark.parametrize("made", [False, True], ids=["no directory", "a directory that goes"])
def test_without_its_directory_the_flow_runs_all_the_same(tmp_path: Path, made: bool):
    folder = tmp_path / "shared"
    if made:
        folder.mkdir()
    script = (
        "import asyncio, logging, shutil, sys\n"
        "from promkit.flows import busy, use\n"
        "from penguiflow_prometheus import Options, Prometheus\n"
        "logging.basicConfig(stream=sys.stdout, format='%(message)s')\n"
        "async def main():\n"
        "    async with busy([Prometheus(Options(multiprocess_interval_s=0.01))]) as flow:\n"
        f"        shutil.rmtree({str(folder)!r}, ignore_errors=True)\n"
        "        await use(flow, range(10))\n"
        "        print(await flow.ask(1))\n"
        "asyncio.run(main())\n"
    )
    done = ran(script, folder)
    assert done.returncode == 0, done.stderr
    assert "told 1" in done.stdout
    if not made:
        assert "PROMETHEUS_MULTIPROC_DIR names the directory of the multiprocess mode" in done.stdout
        assert str(folder) in done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork a process")
def test_a_process_that_is_forked_counts_from_nothing(tmp_path: Path):
    script = (
        "import asyncio, os, urllib.request\n"
        "from promkit.flows import busy, use\n"
        "from prometheus_client import REGISTRY\n"
        "from penguiflow_prometheus import Prometheus, start_http_server\n"
        "async def main(count):\n"
        "    async with busy([Prometheus()]) as flow:\n"
        "        await use(flow, range(count))\n"
        "    labels = {'flow': 'busy', 'mode': 'ask'}\n"
        "    print('# own', REGISTRY.get_sample_value('penguiflow_traces_started_total', labels), flush=True)\n"
        "asyncio.run(main(30))\n"
        "child = os.fork()\n"
        "if child:\n"
        "    assert os.waitpid(child, 0)[1] == 0\n"
        "    with start_http_server(0) as server:\n"
        "        print(urllib.request.urlopen(f'http://127.0.0.1:{server.port}').read().decode())\n"
        "else:\n"
        "    asyncio.run(main(5))\n"
    )
    done = ran(script, tmp_path)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("# own")] == ["# own 30", "# own 5"]
    assert traces(read(done.stdout)) == {("busy",): 35}
