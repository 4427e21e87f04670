"""What pytest loads of PenguiFlow: the fixture `flowkit`, the marker `flow_timeout`, and timelines of failing tests.

Rules: it stands beside the package, as importing anything in that would import all of it. Nothing is imported before a
test asks for it, so that whoever has PenguiFlow installed and tests something else waits for nothing. Whoever tests
flows waits no longer than anybody who imports PenguiFlow: pytest would compile all of it anew, as it does with plugins
to explain their assertions, and is kept from it (PYTEST_DONT_REWRITE).
"""

from __future__ import annotations

import importlib
import importlib.machinery
import sys
from collections.abc import Generator, Iterator, Sequence
from types import ModuleType
from typing import Any

import pytest

MARKER = "flow_timeout(seconds): the test's flows have so many seconds; then it fails, and says what they wait for"

_failed = pytest.StashKey[bool]()


class _AsEver:
    """Finds PenguiFlow where Python would, before pytest does."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        mine = name.partition(".")[0] == "penguiflow"
        return importlib.machinery.PathFinder.find_spec(name, path, target) if mine else None


_as_ever = _AsEver()


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    """Let PenguiFlow be imported as ever, from the first conftest.py on."""
    sys.meta_path.insert(0, _as_ever)


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", MARKER)


def pytest_unconfigure() -> None:
    """Leave Python's imports as they were."""
    if _as_ever in sys.meta_path:
        sys.meta_path.remove(_as_ever)


@pytest.fixture
def flowkit(request: pytest.FixtureRequest) -> Iterator[Any]:
    """The testkit, whose stand-ins, virtual time and recordings end with the test."""
    kit = importlib.import_module("penguiflow.testkit").FlowKit()
    yield kit
    kit.close(quietly=request.node.stash.get(_failed, False))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Forget the traces of the test before, and that this one has failed when it ran last."""
    item.stash[_failed] = False
    seen = sys.modules.get("penguiflow.testkit._watching")
    if seen is not None:
        seen.journal.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Hold a test to its time."""
    marker = item.get_closest_marker("flow_timeout")
    if marker is None or not isinstance(item, pytest.Function):
        return (yield)
    limits = importlib.import_module("penguiflow.testkit._limits")
    unittest: Any = sys.modules.get("unittest")
    case = unittest is not None and isinstance(item.instance, unittest.TestCase)
    where, name = (item.instance, item.name) if case else (item, "obj")  # a test case looks its method up by itself
    test = item.obj
    with limits.marked(*marker.args, **marker.kwargs):
        setattr(where, name, limits.limited(test))
        try:
            return (yield)
        finally:
            setattr(where, name, test)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what happened in the flows of a test that fails."""
    report = yield
    seen = sys.modules.get("penguiflow.testkit._watching")
    if report.failed:
        item.stash[_failed] = True
        if seen is not None and seen.journal:
            shown = seen.lately(str(report.longrepr))
            if shown:
                report.sections.append(("Flow timelines", shown))
    return report
