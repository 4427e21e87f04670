"""`penguiflow plugins explain`: who is called at each hook of a flow, in which order, and what a call costs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from penguiflow import EVENT_TYPES
from tests.utils.commandline import invoke, workplace, write
from tests.utils.distributions import POLICIES
from tests.utils.hostile import Folder, observer

here = pytest.fixture(workplace, autouse=True)

ROUTED = """
    import asyncio
    from penguiflow import create, hookimpl, node, predicate_router, router, subflow, union_router

    @node
    async def left(x: int) -> int:
        return x

    @node
    async def right(x: int) -> int:
        return x

    def by_size(x: int) -> list[str]:
        return ["left"]

    class Rules:
        def select(self, request):
            return None

    class Given:
        name = "given"
        event_types = ("node_success", "trace_finish")

        @hookimpl
        def on_event(self, event):
            assert event.event_type == "node_success" and event.message is not None

        @hookimpl
        async def resolve_route(self, request):
            await asyncio.sleep(0)
            assert request.proposed_names == ("left", "right")

        @hookimpl
        def on_error(self, error):
            raise KeyError(error.code)

        @hookimpl
        def export_graph(self, request):
            return None

    choose = predicate_router("choose", by_size, policy=Rules())
    flow = create(choose.to(left, right), name="routed", plugins=[Given()])
    bare = create(left.to())
    inside = create(router("all").to(left))
    nested = create(subflow("part", inside).to(right))
"""

POLICY = """
from penguiflow import hookimpl

class Policy:
    @hookimpl
    def resolve_route(self, request):
        return None

def plugin():
    return Policy()
"""


@pytest.fixture(autouse=True)
def routed(here):
    write("routed.py", ROUTED)


def explained(target: str, *options: str) -> dict[str, Any]:
    result = invoke("plugins", "explain", target, "--json", *options)
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_a_flow_without_plugins_has_nobody_at_any_hook():
    document = explained("routed:bare")
    assert all(asked == [] for asked in document["hooks"].values())
    assert document["unheard"] == list(EVENT_TYPES)
    assert document["routers"] == []
    assert (
        "Nobody listens to, and so none is built: every type of event"
        in invoke("plugins", "explain", "routed:bare").stdout
    )


def test_each_hook_is_measured_with_objects_like_the_real_ones():
    hooks = explained("routed:flow")["hooks"]
    for hook in ("on_event", "resolve_route", "export_graph"):
        (asked,) = hooks[hook]
        assert (asked["plugin"], asked["tier"], asked["error"]) == ("given", "given to create()", None)
        assert 0 < asked["microseconds"] < 1e5


def test_a_call_that_raises_is_shown_as_such():
    (asked,) = explained("routed:flow")["hooks"]["on_error"]
    assert asked["microseconds"] is None
    assert asked["error"].startswith("KeyError: <FlowErrorCode.NODE_EXCEPTION")
    assert "routed.py:" in asked["error"]


def test_without_measuring_no_hook_is_called():
    hooks = explained("routed:flow", "--no-measure")["hooks"]
    assert all(asked["microseconds"] is None and asked["error"] is None for each in hooks.values() for asked in each)


def test_events_that_are_wanted_and_those_that_nobody_hears_are_told():
    document = explained("routed:flow")
    assert document["hooks"]["on_event"][0]["types"] == ["node_success", "trace_finish"]
    assert document["unheard"] == [kind for kind in EVENT_TYPES if kind not in ("node_success", "trace_finish")]


def test_each_router_says_who_decides():
    assert explained("routed:flow")["routers"] == [
        {"name": "choose", "predicate": "predicate by_size", "policy": "Rules", "plugins": ["given"]}
    ]
    told = invoke("plugins", "explain", "routed:flow").stdout
    assert "router choose: predicate by_size, then policy Rules, then the plugins given (the first answer wins)" in told


def test_a_router_inside_a_subflow_is_told_too():
    assert [router["name"] for router in explained("routed:nested")["routers"]] == ["part/all"]


def test_a_hook_that_never_answers_is_given_up(monkeypatch):
    Path("c.toml").write_text("[plugins]\ndecision_timeout_s = 0.05\n", encoding="utf-8")
    monkeypatch.setenv("PENGUIFLOW_CONFIG", "c.toml")
    write(
        "late.py",
        """
        import asyncio
        from penguiflow import create, hookimpl, node

        @node
        async def same(x: int) -> int:
            return x

        class Late:
            @hookimpl
            async def on_error(self, error):
                await asyncio.Event().wait()

        flow = create(same.to(), plugins=[Late()])
        """,
    )
    assert explained("late:flow")["hooks"]["on_error"][0]["error"] == "took longer than 0.05 s"


def test_the_order_is_named_policies_then_what_code_gives_then_what_loads_by_itself(here):
    site = Folder(here / "site")
    site.plugin("watch", observer())
    site.plugin("rules", POLICY, group=POLICIES)
    (site.folder / "routed.py").write_text((here / "routed.py").read_text(encoding="utf-8"), encoding="utf-8")
    done = site.command("plugins", "explain", "routed:flow", "--json", PENGUIFLOW_POLICIES="rules")
    hooks = json.loads(done.stdout)["hooks"]
    assert [(a["plugin"], a["distribution"], a["tier"]) for a in hooks["resolve_route"]] == [
        ("rules", "acme-rules", "named policy"),
        ("given", None, "given to create()"),
    ]
    assert [(a["plugin"], a["distribution"], a["tier"]) for a in hooks["on_event"]] == [
        ("given", None, "given to create()"),
        ("watch", "acme-watch", "loads by itself"),
    ]
