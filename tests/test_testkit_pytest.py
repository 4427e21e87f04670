"""What pytest finds of the testkit: the fixture, the marker, the timelines; beside pytest-asyncio and anyio."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[1]
FLOWS = """
    import asyncio
    import pytest
    from penguiflow import create, node

    @node(max_retries=1, backoff_base=600)
    async def triage(x: int) -> int:
        return x

    @node
    async def pack(x: int) -> str:
        return f"packed {x}"

    @node
    async def stuck(x: int) -> int:
        await asyncio.Event().wait()

    flow = create(triage.to(pack), name="shop")
    hanging = create(stuck, name="hanging")
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs pytest in a process of its own on some tests; with the plugins named, and no other."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.delenv("CI", raising=False)  # under it, pytest's summary has the failure once more

    def run(tests: str, *plugins: str, options: tuple[str, ...] = ()) -> pytest.RunResult:
        pytester.makepyfile(flows=FLOWS, test_flows="from flows import *\n" + _dedented(tests))
        loaded = [part for plugin in ("pytest_penguiflow", *plugins) for part in ("-p", plugin)]
        return pytester.runpytest_subprocess("-W", "error", "-p", "no:cacheprovider", *loaded, *options, timeout=120)

    return run


def _dedented(text: str) -> str:
    lines = text.strip("\n").splitlines()
    return "\n".join(line.removeprefix("    ") for line in lines)


# --- the fixture ----------------------------------------------------------------------------------


def test_the_fixture_has_the_kit_and_undoes_what_a_test_did(run: Any):
    run("""
    import time
    before = triage.func, time.time

    def test_retry(flowkit):
        clock = flowkit.virtual_time()
        flowkit.simulate_error(triage, fail_times=1)
        assert flowkit.run_one(flow, 1) == "packed 1"
        flowkit.assert_node_sequence(flow, ["triage", "pack"])
        flowkit.assert_retries(flow, "triage", 1)
        assert clock.elapsed == 600

    def test_fake(flowkit):
        assert (triage.func, time.time) == before
        fake = flowkit.fake(flow, "triage", returns=7)
        assert flowkit.run_one(flow, 1) == "packed 7"
        assert fake.messages == [1]
    """).assert_outcomes(passed=2)


def test_a_simulated_error_that_was_never_met_is_an_error_of_a_test_that_passes(run: Any):
    result = run("""
    def test_passes(flowkit):
        flowkit.simulate_error(triage)

    def test_fails(flowkit):
        flowkit.simulate_error(triage)
        assert False, "for its own reason"
    """)
    result.assert_outcomes(passed=1, errors=1, failed=1)
    result.stdout.fnmatch_lines(["*AssertionError: node 'triage' was never called while its error was simulated*"])


def test_a_block_may_end_what_the_fixture_has_begun_before_the_test_does(run: Any):
    run("""
    import time
    before = triage.func, pack.func, time.time

    def test_blocks(flowkit):
        with flowkit.virtual_time() as clock, flowkit.watch(flow) as seen:
            with flowkit.simulate_error(triage) as simulated:
                assert flowkit.run_one(flow, 1) == "packed 1"
            with flowkit.fake(flow, "pack", returns="faked") as fake:
                assert flowkit.run_one(flow, 1) == "faked"
        assert (triage.func, pack.func, time.time) == before
        assert (simulated.calls, fake.messages, clock.elapsed) == (2, [1], 600)
        assert len(seen.trace_ids) == 2
        assert flowkit.run_one(flow, 1) == "packed 1"
        assert simulated.calls == 2

    def test_the_end_says_nothing_twice(flowkit):
        with pytest.raises(AssertionError, match="was never called"):
            with flowkit.simulate_error(triage):
                pass

    def test_what_has_no_block_ends_with_the_test(flowkit):
        assert time.time is before[2]
        flowkit.virtual_time()
        flowkit.simulate_error(triage)
        with flowkit.simulate_error(pack):
            with pytest.raises(Exception, match="a test wants this node to fail"):
                flowkit.run_one(flow, 1)
        assert pack.func is before[1]
        assert triage.func is not before[0]

    def test_nothing_is_left():
        assert (triage.func, pack.func, time.time) == before
    """).assert_outcomes(passed=4)


def test_a_test_that_is_run_again_is_judged_anew(run: Any, pytester: pytest.Pytester):
    pytester.makeconftest("""
        from _pytest.runner import runtestprotocol

        def pytest_runtest_protocol(item, nextitem):
            for _ in range(2):
                item._initrequest()
                runtestprotocol(item, nextitem=nextitem)
            return True
        """)
    run("""
    runs = []

    def test_fails_at_first(flowkit):
        flowkit.simulate_error(triage)
        runs.append(1)
        assert len(runs) == 2
    """).assert_outcomes(failed=1, passed=1, errors=1)


# --- timelines ------------------------------------------------------------------------------------


def test_a_failing_test_shows_what_happened_in_its_flows(run: Any):
    result = run("""
    def test_before(flowkit):
        flowkit.run_one(hanging_not := flow, 5)

    def test_fails(flowkit):
        assert flowkit.run_one(flow, 1) == "sent 1"
    """)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["*- Flow timelines -*", "trace * of 'shop': completed after *", "* triage  starts", "* pack    ends after *"]
    )
    assert str(result.stdout).count(" of 'shop': completed") == 1


def test_a_timeline_that_the_failure_tells_already_is_not_told_twice(run: Any):
    result = run("""
    def test_fails(flowkit):
        flowkit.run_one(flow, 1)
        flowkit.assert_node_sequence(flow, ["pack"])
    """)
    assert str(result.stdout).count(" of 'shop': completed") == 1
    assert "Flow timelines" not in str(result.stdout)


def test_of_many_traces_the_last_are_shown(run: Any):
    result = run("""
    def test_fails(flowkit):
        flowkit.run_many(flow, range(10))
        assert False
    """)
    assert str(result.stdout).count(" of 'shop': completed") == 3
    result.stdout.fnmatch_lines(["(7 traces before)"])


def test_of_very_many_traces_nobody_counts_those_before(run: Any):
    result = run("""
    def test_fails(flowkit):
        flowkit.run_many(flow, range(300))
        assert False
    """)
    result.stdout.fnmatch_lines(["(at least 61 traces before)"])
    assert "kept" not in str(result.stdout)  # what is shown is whole


def test_a_test_without_flows_shows_nothing(run: Any):
    result = run("""
    def test_fails():
        assert False
    """)
    assert "Flow timelines" not in str(result.stdout)


# --- the marker -----------------------------------------------------------------------------------

MARKED = """
    {mark}
    @pytest.mark.flow_timeout(0.05)
    async def test_async(flowkit{more}):
        flowkit.watch(hanging)
        async with hanging:
            await hanging.ask(1)

    @pytest.mark.flow_timeout(0.05)
    def test_plain(flowkit):
        flowkit.run_one(hanging, 1)

    {mark}
    @pytest.mark.flow_timeout(20)
    async def test_quick(flowkit{more}):
        assert await flowkit.arun_one(flow, 1) == "packed 1"

    {mark}
    @pytest.mark.flow_timeout(20)
    async def test_of_its_own(flowkit{more}):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.sleep(5)
"""


@pytest.mark.parametrize(
    ("plugin", "mark", "more", "options"),
    [
        ("pytest_asyncio.plugin", "@pytest.mark.asyncio", "", ("-o", "asyncio_default_fixture_loop_scope=function")),
        ("anyio.pytest_plugin", "@pytest.mark.anyio", ", anyio_backend_name", ()),
    ],
    ids=["pytest-asyncio", "anyio"],
)
def test_the_marker_limits_async_and_plain_tests_and_says_what_they_wait_for(
    run: Any, pytester: pytest.Pytester, plugin: str, mark: str, more: str, options: tuple[str, ...]
):
    pytester.makeconftest("import pytest\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n")
    result = run(MARKED.format(mark=mark, more=more), plugin, options=options)
    result.assert_outcomes(failed=2, passed=2)
    result.stdout.fnmatch_lines(
        [
            "E*AssertionError: the flow didn't end within 0.05 s",
            "E*trace * is live",
            "E*- node 'stuck' is running",
            "E*still running: stuck",
        ]
    )


def test_the_marker_holds_in_virtual_time_too_and_for_unittest(run: Any):
    result = run("""
    import unittest
    from penguiflow.testkit import virtual_time, watch

    @pytest.mark.flow_timeout(60)
    @virtual_time
    async def test_virtual():
        while True:
            await asyncio.sleep(1)

    class TestCase(unittest.IsolatedAsyncioTestCase):
        @pytest.mark.flow_timeout(0.05)
        async def test_hangs(self):
            with watch(hanging):
                async with hanging:
                    await hanging.ask(1)

        @pytest.mark.flow_timeout(20)
        async def test_quick(self):
            async with flow:
                self.assertEqual(await flow.ask(1), "packed 1")

        @pytest.mark.flow_timeout(20)
        def test_plain(self):
            self.assertTrue(self)
    """)
    result.assert_outcomes(failed=2, passed=2)
    result.stdout.fnmatch_lines_random(
        [
            "E*AssertionError: the flow didn't end within 60 s",
            "E*AssertionError: the flow didn't end within 0.05 s",
            "E*- node 'stuck' is running",
        ]
    )


def test_the_marker_is_known_and_takes_a_positive_number(run: Any):
    result = run(
        """
    @pytest.mark.flow_timeout("soon")
    def test_wrong():
        pass
    """,
        options=("--strict-markers",),
    )
    result.stdout.fnmatch_lines(["*ValueError: flow_timeout takes a positive number of seconds, not 'soon'"])
    assert "flow_timeout(seconds)" in str(run("", options=("--markers",)).stdout)


# --- beside others --------------------------------------------------------------------------------

ASYNC = """
    {mark}
    async def test_virtual(flowkit{more}):
        clock = flowkit.virtual_time()
        flowkit.simulate_error(triage)
        assert await flowkit.arun_one(flow, 1) == "packed 1"
        assert clock.elapsed >= 600
        await asyncio.sleep(86400)

    {mark}
    async def test_real_again({more_alone}):
        began = asyncio.get_running_loop().time()
        await asyncio.sleep(0.01)
        assert 0.009 < asyncio.get_running_loop().time() - began < 10

    @pytest.fixture
    async def running({more_alone}):
        async with flow:
            yield flow

    {mark}
    async def test_a_fixture_that_runs_a_flow(running, flowkit{more}):
        flowkit.fake(running, "triage", returns=5)
        assert await flowkit.arun_one(running, 1) == "packed 5"
        assert await running.ask(1) == "packed 5"

    def test_plain(flowkit):
        assert flowkit.run_one(flow, 1) == "packed 1"
"""


def test_it_works_beside_pytest_asyncio(run: Any):
    tests = ASYNC.format(mark="", more="", more_alone="")
    options = ("-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function")
    run(tests, "pytest_asyncio.plugin", options=options).assert_outcomes(passed=4)


def test_it_works_beside_anyio(run: Any, pytester: pytest.Pytester):
    pytester.makeconftest("import pytest\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n")
    tests = ASYNC.format(mark="@pytest.mark.anyio", more=", anyio_backend", more_alone="anyio_backend")
    run(tests, "anyio.pytest_plugin").assert_outcomes(passed=4)


def test_it_works_beside_xdist(run: Any):
    result = run(
        """
    def test_fails(flowkit):
        assert flowkit.run_one(flow, 1) == "sent 1"

    @pytest.mark.flow_timeout(0.05)
    def test_hangs(flowkit):
        flowkit.run_one(hanging, 1)
    """,
        "xdist.plugin",
        options=("-n", "2"),
    )
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines_random(
        ["*- Flow timelines -*", "* pack    ends after *", "E*AssertionError: the flow didn't end within 0.05 s"]
    )


def test_pytest_finds_it_through_its_entry_point(pytestconfig: pytest.Config):
    assert pytestconfig.pluginmanager.get_plugin("penguiflow") is sys.modules["pytest_penguiflow"]


# --- what it costs --------------------------------------------------------------------------------


def _imported(code: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *options, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        stdin=subprocess.DEVNULL,
        encoding="utf-8",
        timeout=120,
        check=True,
    )


def test_pytest_starts_without_importing_penguiflow(run: Any, pytester: pytest.Pytester):
    pytester.makepyfile(
        test_other="""
        import sys

        def test_other():
            found = [name for name in sys.modules if name.partition(".")[0] in ("penguiflow", "pydantic", "pluggy")]
            assert [name for name in found if not name.startswith("pluggy")] == []
            assert "pytest_penguiflow" in sys.modules
        """
    )
    result = pytester.runpytest_subprocess("-p", "pytest_penguiflow", "-p", "no:cacheprovider", "test_other.py")
    result.assert_outcomes(passed=1)


def test_the_plugin_itself_is_imported_in_no_time():
    """Microseconds, by Python's own account, after pytest; the best of five."""
    costs = []
    for _ in range(5):
        said = _imported("import pytest, pytest_penguiflow", "-X", "importtime").stderr
        (line,) = [line for line in said.splitlines() if line.endswith(" pytest_penguiflow")]
        costs.append(int(line.split("|")[1]))
    assert min(costs) < 5000


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder with PenguiFlow as a wheel leaves it: pytest sees from its list of files what belongs to a plugin."""
    site = tmp_path / "site"
    info = site / "penguiflow-2.0.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: penguiflow\nVersion: 2.0.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[pytest11]\npenguiflow = pytest_penguiflow\n", encoding="utf-8")
    for name in ("penguiflow", "pytest_penguiflow.py"):
        (site / name).symlink_to(ROOT / name)
    files = ["pytest_penguiflow.py", *(str(path.relative_to(ROOT)) for path in (ROOT / "penguiflow").rglob("*.py"))]
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in files), encoding="utf-8")
    return site


OWN_PYTEST = """
import sys
import penguiflow.testkit
import pytest
sys.exit(pytest.main(["-q", "-W", "error", "-p", "no:cacheprovider", "-p", "no:asyncio", "test_flows.py"]))
"""


def test_pytest_does_not_compile_penguiflow_anew_nor_warn_that_it_can_not(installed: Path, tmp_path: Path):
    (tmp_path / "conftest.py").write_text("import penguiflow\n", encoding="utf-8")
    (tmp_path / "test_flows.py").write_text(
        "import sys\n"
        "import penguiflow.testkit\n"
        "def test_loaders():\n"
        "    ours = [module for name, module in sys.modules.items() if name.partition('.')[0] == 'penguiflow']\n"
        "    assert {type(module.__loader__).__name__ for module in ours} == {'SourceFileLoader'}\n"
        f"    assert penguiflow.__file__.startswith({str(installed)!r})\n",
        encoding="utf-8",
    )
    options = ["-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "-p", "no:asyncio"]
    for arguments in (options, ["-c", OWN_PYTEST]):
        done = subprocess.run(
            [sys.executable, "-S", *arguments],
            cwd=tmp_path,
            env={"PYTHONPATH": os.pathsep.join([str(installed), *_site()])},
            capture_output=True,
            stdin=subprocess.DEVNULL,
            encoding="utf-8",
            timeout=120,
        )
        assert (done.returncode, "1 passed" in done.stdout) == (0, True), done.stdout + done.stderr


def _site() -> list[str]:
    return [path for path in sys.path if "site-packages" in path]


def test_the_plugin_leaves_imports_as_they_were(run: Any):
    assert not any(type(finder).__module__ == "pytest_penguiflow" for finder in sys.meta_path[1:])
    run("def test_passes(): pass\nimport sys\nassert 'pytest_penguiflow' == type(sys.meta_path[0]).__module__")
    code = (
        "import sys, pytest; before = list(sys.meta_path); pytest.main(['-q', '-p', 'pytest_penguiflow', '--version']);"
    )
    assert _imported(f"{code} print(sys.meta_path == before)").stdout.endswith("True\n")


def test_importing_penguiflow_imports_no_testkit():
    code = "import sys, penguiflow; print([name for name in sys.modules if 'testkit' in name or 'pytest' in name])"
    assert _imported(code).stdout == "[]\n"


def test_the_kit_needs_no_test_framework():
    code = "import sys, penguiflow.testkit; print([name for name in sys.modules if 'pytest' in name])"
    assert _imported(code).stdout == "[]\n"
