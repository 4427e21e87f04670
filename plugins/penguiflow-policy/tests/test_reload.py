"""Rules change while the flow runs: at once and as a whole, or not at all."""

from __future__ import annotations

import asyncio
import errno
import itertools
import logging
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from desk import flow_of, policy, request, rule, targets

from penguiflow import FlowEvent, Node, create, hookimpl, router
from penguiflow_policy import Options, Policy, PolicyChange, PolicyError, plugin
from penguiflow_policy._watch import signature

A = "rules:\n  - name: ra\n    route: a\n"
B = "rules:\n  - name: rb\n    route: b\n"
SECONDS = 20


def put(file: Path, text: str) -> None:
    """A whole new file in the place of the old one."""
    new = file.with_name(f".{file.name}.new")
    new.write_text(text, encoding="utf-8")
    os.replace(new, file)


class Changes:
    """What a policy tells its subscribers, one after the other."""

    def __init__(self, policy: Policy) -> None:
        self.queue: asyncio.Queue[PolicyChange] = asyncio.Queue()
        self.end: Callable[[], None] = policy.subscribe(self.queue.put_nowait)

    async def next(self) -> PolicyChange:
        return await asyncio.wait_for(self.queue.get(), SECONDS)


class Watch:
    """Shows decisions to a function."""

    name = "watch"
    event_types = ("route_decided", "route_dropped")

    def __init__(self, see: Callable[[FlowEvent], None]) -> None:
        self.see = see

    @hookimpl
    def on_event(self, event: FlowEvent) -> None:
        self.see(event)


class Enough:
    """Waits until so many things have happened."""

    def __init__(self) -> None:
        self.counted, self.wanted = 0, 0
        self.reached = asyncio.Event()

    def count(self) -> None:
        self.counted += 1
        if self.counted >= self.wanted:
            self.reached.set()

    async def after(self, wanted: int) -> None:
        self.wanted = wanted
        self.reached.clear()
        if self.counted < self.wanted:
            await self.reached.wait()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    put(tmp_path / "routing.yaml", A)
    return tmp_path / "routing.yaml"


async def test_a_changed_file_is_used_and_a_broken_one_is_not(file: Path, caplog: pytest.LogCaptureFixture):
    made, events = Policy.from_file(file), list[FlowEvent]()
    changes = Changes(made)
    caplog.set_level(logging.INFO, "penguiflow_policy")
    async with flow_of(plugins=[made], on_event=events.append) as flow:
        first = made.version
        put(file, B)
        change = await changes.next()
        assert (change.kind, change.previous, change.version) == ("reloaded", first, made.version)
        assert targets(made.select(request())) == ["b"]
        put(file, B.replace("route: b", "route: x"))
        refused = await changes.next()
        assert (refused.kind, refused.version) == ("refused", change.version)
        assert "router 'desk' doesn't lead to 'x'" in str(refused.problems[0])
        assert f"{file}:3:12" in str(refused.problems[0])
        assert targets(made.select(request())) == ["b"]
        assert await flow.ask(1) == 1
        put(file, "rules: [")
        assert (await changes.next()).kind == "refused"
        put(file, A)
        assert (await changes.next()).kind == "reloaded"
    errors = [event for event in events if event.event_type == "plugin_error"]
    assert [(event.extra["plugin"], event.extra["hook"]) for event in errors] == [("policy", "reload")] * 2
    assert isinstance(errors[0].error, PolicyError)
    assert [record.levelname for record in caplog.records] == ["INFO", "ERROR", "ERROR", "INFO"]
    assert f"version {change.version} stays" in caplog.records[1].getMessage()


async def test_the_same_mistake_is_told_once(file: Path, caplog: pytest.LogCaptureFixture):
    made = Policy.from_file(file)
    changes = Changes(made)
    put(file, "rules: 7")
    for _ in range(3):
        with pytest.raises(PolicyError):
            made.reload()
    assert len(caplog.records) == 1
    assert (await changes.next()).kind == "refused"
    assert changes.queue.empty()


async def test_a_file_that_vanishes_keeps_its_rules_until_it_is_back(file: Path):
    made = Policy.from_file(file)
    changes = Changes(made)
    async with flow_of(plugins=[made]):
        os.unlink(file)
        change = await changes.next()
        assert "there is no such file" in str(change.problems[0])
        assert targets(made.select(request())) == ["a"]
        put(file, B)
        assert (await changes.next()).kind == "reloaded"


async def test_a_file_that_is_as_it_was_again_is_told(file: Path, caplog: pytest.LogCaptureFixture):
    made = Policy.from_file(file)
    changes = Changes(made)
    caplog.set_level(logging.INFO, "penguiflow_policy")
    put(file, "rules: 7")
    with pytest.raises(PolicyError):
        made.reload()
    put(file, A)
    assert made.reload() is False
    assert made.reload() is False
    assert (await changes.next()).kind == "refused"
    assert await changes.next() == PolicyChange("reloaded", made.version, made.version)
    assert changes.queue.empty()
    assert f"nothing is wrong any more, and version {made.version} stays" in caplog.records[-1].getMessage()


async def test_a_file_that_can_not_be_read_for_a_while_is_read_as_soon_as_it_can(
    file: Path, monkeypatch: pytest.MonkeyPatch
):
    """Neither its times nor its size change when a network or a disk is well again."""
    made = Policy.from_file(file)
    changes = Changes(made)
    opened = Path.open

    def fails(path: Path, *given: Any, **named: Any) -> Any:
        if path == file:
            raise OSError(errno.EIO, "Input/output error")
        return opened(path, *given, **named)

    async with flow_of(plugins=[made]):
        with monkeypatch.context() as patched:
            patched.setattr(Path, "open", fails)
            put(file, B)
            refused = await changes.next()
        assert [problem.text for problem in refused.problems] == ["it can't be read: Input/output error"]
        assert (await changes.next()).kind == "reloaded"
        assert targets(made.select(request())) == ["b"]


def test_what_is_seen_of_a_file_changes_with_its_rights_and_when_its_time_is_put_back(file: Path):
    before = signature(file)
    file.chmod(0o600)
    now = signature(file)
    assert now != before
    found = file.stat()
    file.write_text(B, encoding="utf-8")
    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert signature(file) != now


@pytest.mark.parametrize("way", ["truncate", "backup", "in place", "link", "folder", "own folder"])
async def test_whatever_way_an_editor_or_a_deployment_writes_it_the_file_is_read(way: str, tmp_path: Path):
    folder = tmp_path / "config"
    folder.mkdir()
    file = folder / "routing.yaml"
    put(file, A)
    made = Policy.from_file(file)
    changes = Changes(made)
    async with flow_of(plugins=[made]):
        if way == "truncate":
            file.write_text(B, encoding="utf-8")
        elif way == "backup":
            file.rename(folder / "routing.yaml~")
            file.write_text(B, encoding="utf-8")
        elif way == "in place":
            with file.open("r+", encoding="utf-8") as opened:
                opened.write(B)
        elif way == "link":
            put(tmp_path / "other.yaml", B)
            file.unlink()
            file.symlink_to(tmp_path / "other.yaml")
        elif way == "folder":
            folder.rename(tmp_path / "old")
            folder.mkdir()
            put(file, B)
        else:
            shutil.rmtree(folder)
            folder.mkdir()
            put(file, B)
        while (await changes.next()).kind != "reloaded":  # in between there may be no file
            continue
        assert targets(made.select(request())) == ["b"]


async def test_a_mounted_configuration_that_swaps_its_link_is_noticed(tmp_path: Path):
    for name, text in (("one", A), ("two", B)):
        (tmp_path / name).mkdir()
        put(tmp_path / name / "routing.yaml", text)
    (tmp_path / "..data").symlink_to("one")
    (tmp_path / "routing.yaml").symlink_to("..data/routing.yaml")
    made = Policy.from_file(tmp_path / "routing.yaml")
    changes = Changes(made)
    async with flow_of(plugins=[made]):
        for name, version in (("two", "b"), ("one", "a")):
            (tmp_path / "..new").symlink_to(name)
            os.replace(tmp_path / "..new", tmp_path / "..data")
            assert (await changes.next()).kind == "reloaded"
            assert targets(made.select(request())) == [version]


async def test_polling_notices_as_well(file: Path):
    made = Policy.from_file(file, force_polling=True)
    changes = Changes(made)
    async with flow_of(plugins=[made]):
        put(file, B)
        assert (await changes.next()).kind == "reloaded"


async def test_the_companion_of_a_routers_policy_watches_its_file(file: Path):
    made = Policy.from_file(file)
    changes = Changes(made)
    async with flow_of(policy=made, plugins=[made.companion]):
        put(file, B)
        assert (await changes.next()).kind == "reloaded"


async def test_a_change_between_reading_and_starting_is_noticed(file: Path):
    made = Policy.from_file(file)
    changes = Changes(made)
    put(file, B)
    async with flow_of(plugins=[made]):
        assert (await changes.next()).kind == "reloaded"


async def test_a_candidates_file_is_watched_too(tmp_path: Path, file: Path):
    candidate = tmp_path / "candidate.yaml"
    put(candidate, A)
    made = plugin(Options(file=str(file), shadow=str(candidate)))
    shadow = made.shadowed_by
    assert shadow is not None
    changes = Changes(shadow)
    async with flow_of(plugins=[made]):
        put(candidate, B)
        assert (await changes.next()).kind == "reloaded"


async def test_a_candidate_that_comes_while_the_flow_runs_is_watched_from_then_on(tmp_path: Path, file: Path):
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    put(one, A)
    put(two, A)
    made = Policy.from_file(file)
    made.shadow(Policy.from_file(one))
    before = asyncio.all_tasks()
    async with flow_of(plugins=[made]):
        candidate = Policy.from_file(two)
        changes = Changes(candidate)
        made.shadow(candidate)
        put(two, B)
        assert (await changes.next()).kind == "reloaded"
        made.shadow(None)
    assert asyncio.all_tasks() == before


async def test_a_candidate_no_more_is_watched_while_it_is_a_plugin_of_its_own(tmp_path: Path, file: Path):
    one = tmp_path / "one.yaml"
    put(one, A)
    made, candidate = Policy.from_file(file), Policy.from_file(one)
    made.shadow(candidate)
    changes = Changes(candidate)
    async with flow_of(plugins=[made, candidate.companion]):
        made.shadow(None)
        put(one, B)
        assert (await changes.next()).kind == "reloaded"


async def test_a_flow_that_has_the_policy_twice_leaves_nothing_behind(file: Path):
    made = Policy.from_file(file)
    before = asyncio.all_tasks()
    async with flow_of(policy=made, plugins=[made, made.companion]):
        watching = [task for task in asyncio.all_tasks() - before if task.get_name().startswith("watch")]
        assert len(watching) == 1
    assert asyncio.all_tasks() == before


def test_one_companion_is_enough_for_all_routers_of_a_flow():
    made = policy(rule("x", route="a"))
    with pytest.raises(TypeError, match="given twice"):
        flow_of(policy=made, plugins=[made.companion, made.companion])


async def test_without_reload_the_file_is_not_watched(file: Path):
    made = Policy.from_file(file, reload=False)
    before = asyncio.all_tasks()
    async with flow_of(plugins=[made]):
        assert not [task for task in asyncio.all_tasks() - before if task.get_name().startswith("watch")]


async def test_nothing_is_left_when_the_flow_stops(file: Path):
    made = Policy.from_file(file)
    before = asyncio.all_tasks()
    for _ in range(2):
        async with flow_of(plugins=[made]):
            pass
        assert asyncio.all_tasks() == before


async def test_subscribers_may_raise_and_leave(file: Path, caplog: pytest.LogCaptureFixture):
    made, seen = Policy.from_file(file), list[str]()

    def raises(change: PolicyChange) -> None:
        raise RuntimeError("no")

    made.subscribe(raises)
    end = made.subscribe(lambda change: seen.append(change.kind))
    put(file, B)
    assert made.reload() is True
    end()
    end()
    put(file, A)
    assert made.reload() is True
    assert seen == ["reloaded"]
    assert caplog.text.count("a subscriber raised") == 2


def test_new_rules_have_to_suit_every_flow_also_those_of_one_name():
    made = policy(rule("x", route="a"))
    flow_of("a", "b", plugins=[made])
    flow_of("a", "c", plugins=[made])
    for name, other in (("b", "c"), ("c", "b")):
        with pytest.raises(PolicyError, match=f"doesn't lead to '{name}': there are a, {other}"):
            made.replace(policy(rule("y", route=name)))


def test_a_new_file_is_told_at_once_what_is_wrong_with_it_and_what_does_not_suit_the_flow(file: Path):
    made = Policy.from_file(file)
    flow_of("a", "b", plugins=[made])
    put(file, "rules:\n  - {name: one, rout: a}\n  - {name: two, route: c}\n")
    with pytest.raises(PolicyError) as caught:
        made.reload()
    first, second = caught.value.problems
    assert "there is no key 'rout'" in str(first)
    assert "router 'desk' doesn't lead to 'c'" in str(second)
    assert made.rules.rules[0].name == "ra"


def test_the_rules_of_another_policy_can_be_taken_over():
    made, other = policy(rule("x", route="a")), policy(rule("y", route="b"))
    flow_of(plugins=[made])
    assert made.replace(other) is True
    assert made.replace(other) is False
    assert made.version == other.version
    with pytest.raises(PolicyError, match="doesn't lead to 'zzz'"):
        made.replace(policy(rule("z", route="zzz")))
    assert targets(made.select(request())) == ["b"]


async def test_each_of_100000_messages_is_routed_by_one_version_while_the_file_flips_200_times(file: Path):
    """Every flip is in use while messages are under way; each fifth file is broken, and changes nothing."""
    messages, flips = 100_000, 200
    texts = {
        "even": "rules: [{name: even, route: [a, b]}]",
        "odd": "rules:\n  - {name: extra, match: {tenant: default}, add: d}\n  - {name: odd, route: c}\n",
    }
    outcomes = {"even": ["a", "b"], "odd": ["c", "d"]}
    put(file, texts["even"])
    made = Policy.from_file(file)
    known = {made.version: "even", Policy.from_yaml(texts["odd"]).version: "odd"}
    decided: Counter[str] = Counter()
    routed: Counter[str | None] = Counter()
    delivered: Counter[tuple[Any, ...]] = Counter()
    wrong: list[Any] = []
    enough = Enough()

    def seen(event: FlowEvent) -> None:
        name = known[event.extra["policy_version"]]
        decided[name] += 1
        routed[event.trace_id] += 1
        enough.count()
        if event.extra["targets"] != outcomes[name] or event.extra["rule"] != name:
            wrong.append(event.extra)

    async def send(flow: Any, flipping: asyncio.Task[Any]) -> None:
        while not flipping.done() or enough.counted < messages:
            delivered[tuple(await flow.start(1).results())] += 1

    async def flip(changes: Changes) -> Counter[str]:
        told: Counter[str] = Counter()
        good = itertools.cycle([texts["odd"], texts["even"]])
        for place in range(flips):
            put(file, f"rules: [{{name: broken{place}" if place % 5 == 4 else next(good))
            told[(await changes.next()).kind] += 1
            await enough.after(enough.counted + 100)
        return told

    async def slow(message: Any) -> Any:
        await asyncio.sleep(0.005)  # the work that messages are in while the rules change
        return message

    nodes = [Node(slow, name) for name in ("a", "b", "c", "d")]
    async with create(router("desk").to(*nodes), plugins=[made, Watch(seen)]) as flow:
        flipping = asyncio.create_task(flip(Changes(made)))
        await asyncio.gather(*(send(flow, flipping) for _ in range(50)))
        told = await flipping
    total = enough.counted
    assert total >= messages
    assert wrong == []
    assert len(routed) == sum(decided.values()) == total
    assert delivered == {(1, 1): total}
    assert min(decided.values()) > total / 10
    assert told == {"reloaded": flips * 4 / 5, "refused": flips / 5}
