"""A recorded trace becomes a test: it runs without the nodes' own code, and fails when the flow behaves otherwise."""

from __future__ import annotations

import ast
import asyncio
import dataclasses
import datetime
import importlib
import math
import pathlib
import re
import subprocess
import sys
import zoneinfo
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, SecretStr

from penguiflow import WM, Budget, Context, FlowError, FlowErrorCode, Headers, Message, Node, PenguiFlow, create, node
from penguiflow.testkit import UNSET, Act, Attempt, FakeNode, Recording, Run, arecord, record, replay, to_pytest
from tests.utils import bazaar
from tests.utils.bazaar import Box, Deal, Kind, Login, Offer, Opaque, Refused, Rights, Slot, Visitor, Wish
from tests.utils.nodes import nap, same

ROOT = Path(__file__).parents[1]
WHERE = "tests.utils.bazaar"
FLOWS: dict[str, tuple[PenguiFlow, Any]] = {
    "market": (bazaar.market, Message(payload=Wish(text="figs dates", labels=["ripe"]), headers=Headers(tenant="t"))),
    "refusing": (bazaar.refusing, {"a": [1, 2.5, None]}),
    "opaque": (bazaar.opaque, 1),
    "slow": (bazaar.slow, 1),
    "thinking": (bazaar.thinking, Message(payload=WM(query="why?"), budget=Budget(hops=9))),
    "branching": (bazaar.branching, 1),
}


def again(recording: Recording, flow: PenguiFlow) -> Any:
    return replay(flow, recording.message, recording.runs, trace_id=recording.trace_id)


def outcome(source: str, tmp_path: Path) -> tuple[int, str]:
    """What pytest says of a test file."""
    (tmp_path / "test_recorded.py").write_text(source, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio", "test_recorded.py"]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, encoding="utf-8", timeout=120
    )
    return done.returncode, done.stdout + done.stderr


# --- recording ------------------------------------------------------------------------------------


def test_a_recording_has_what_each_node_was_given_did_and_gave():
    recording = record(*FLOWS["market"])
    hear, ask_around, *haggles, seal = recording.runs
    assert (hear.node, hear.takes) == ("hear", Wish(text="figs dates", labels=["ripe"]))
    failed, good = hear.attempts
    assert (type(failed.raises), failed.raises and failed.raises.args) == (ConnectionError, ("hard of hearing", 7))
    assert failed.took_s == pytest.approx(0.005, abs=0.5)
    assert good.returns == hear.takes
    assert [(act.kind, act.value, act.options) for act in good.acts] == [
        ("spend", None, {"tokens": 3}),
        ("meta", {"heard": {"by": "stall"}}, {}),
    ]
    assert [(act.kind, act.value) for act in ask_around.attempts[0].acts] == [
        ("yield", Offer("figs", 0.5, (1, 2))),
        ("yield", Offer("dates", 1.5, (1, 2))),
    ]
    assert [run.node for run in haggles] == ["stalls/row/haggle"] * 2
    assert haggles[0].attempts[0].acts[0].value == "figs? "
    assert seal.takes == [Offer("figs", 0.25, (1, 2)), Offer("dates", 0.75, (1, 2))]
    played = recording.played
    assert (played.outcome, played.chunks, played.code) == ("completed", ["figs? ", "dates? "], None)
    assert played.outputs[0] == Deal(Offer("figs", 0.25, (1, 2)), bazaar.uuid.UUID(int=2))
    assert played.metas == [{"heard": {"by": "stall"}}]
    assert recording.retries == {"hear": 1}


def test_what_a_node_changes_later_is_recorded_as_it_was():
    async def spoils(items: list[int]) -> list[int]:
        items.append(3)
        return items

    async def spoils_more(items: list[int]) -> list[int]:
        items.append(4)
        return items

    recording = record(create(Node(spoils).to(Node(spoils_more))), [1])
    assert [(run.takes, run.attempts[0].returns) for run in recording.runs] == [([1], [1, 3]), ([1, 3], [1, 3, 4])]
    assert recording.message == [1]


def test_targets_that_can_be_read_only_once_get_their_messages():
    async def sends(x: int, ctx: Context) -> None:
        await ctx.emit(x, to=(name for name in ["b"]))
        ctx.emit_nowait(x + 1, to=iter([b]))
        await ctx.emit_chunk("text", to=iter(["Rookery"]))

    b = Node(same.func, "b")
    recording = record(create(Node(sends).to(b, Node(same.func, "c"))), Message(payload=1))
    assert (recording.played.outputs, recording.played.chunks) == ([1, 2], ["text"])
    assert [act.options.get("to") for act in recording.runs[0].attempts[0].acts] == [["b"], ["b"], ["Rookery"]]


async def test_inside_a_loop_it_is_awaited_and_begins_before_the_flow():
    recording = await arecord(create(same), 1)
    assert recording.sequence == ("same",)
    with pytest.raises(RuntimeError, match=r"await arecord\(\.\.\.\)"):
        record(create(same), 1)
    async with create(same, name="early") as flow:
        with pytest.raises(RuntimeError, match="flow 'early' runs already"):
            await arecord(flow, 1)


def test_the_order_of_nodes_is_kept_only_where_they_make_a_chain():
    assert record(*FLOWS["thinking"]).sequence == ("think",) * 3
    assert record(*FLOWS["branching"]).sequence is None
    assert record(create(Node(nap.func, "a").to(Node(nap.func, "b"), Node(nap.func, "c"))), 0.001).sequence is None


# --- replaying ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in FLOWS if name != "opaque"])
def test_a_replay_gives_the_same_without_the_nodes_own_code(name: str):
    flow, message = FLOWS[name]
    recording = record(flow, message)
    bazaar.ran.clear()
    played = again(recording, flow)
    assert bazaar.ran == []
    assert dataclasses.replace(played, took_s=0.0) == dataclasses.replace(recording.played, took_s=0.0)
    assert played.took_s == pytest.approx(recording.played.took_s, abs=0.5)


def test_a_replay_takes_as_long_as_it_took_then_in_virtual_time():
    runs = [Run("same", 1, [Attempt(3600.0, returns=2)])]
    assert replay(create(same), 1, runs).took_s == 3600
    assert replay(create(same), 1, runs, timeout_s=60).code == "DEADLINE_EXCEEDED"


def test_every_act_is_done_again():
    async def does_nothing(x: Any) -> Any:
        return x

    a, b = Node(does_nothing, "a"), Node(does_nothing, "b")
    acts = [
        Act(1, "emit", 5, {"to": "b"}),
        Act(2, "emit_nowait", 6),
        Act(3, "chunk", "text", {"to": "Rookery", "meta": {"m": 1}}),
        Act(4, "spend", None, {"tokens": 2, "cost": 0.5}),
        Act(5, "meta", {"k": "v"}),
    ]
    runs = [Run("a", 1, [Attempt(6, returns=7, acts=acts)]), *(Run("b", x, [Attempt(0, returns=x)]) for x in (5, 6, 7))]
    played = replay(create(a.to(b)), Message(payload=1), runs)
    assert (played.outputs, played.metas) == ([5, 6, 7], [{}, {}, {"k": "v"}])
    assert (played.chunks, played.took_s) == (["text"], 6)


@pytest.mark.parametrize(
    "attempt",
    [
        Attempt(0, returns=[1]),
        Attempt(0, acts=[Act(0, "emit", [1])], returns=None),
        Attempt(0, acts=[Act(0, "emit_nowait", [1])], returns=None),
        Attempt(0, acts=[Act(0, "yield", [1])], returns=None),
    ],
    ids=["returns", "emit", "emit_nowait", "yield"],
)
def test_a_node_that_runs_itself_spoils_no_recorded_value(attempt: Attempt):
    async def spoils(items: Any) -> Any:
        items.append(2)
        return items

    async def gives(items: Any) -> AsyncIterator[Any]:
        yield items

    a = Node(gives if attempt.acts and attempt.acts[0].kind == "yield" else same.func, "a")
    flow, message = create(a.to(Node(spoils))), [0]
    for _ in range(2):
        assert replay(flow, message, [Run("a", [0], [attempt]), Run("spoils", [1])]).outputs == [[1, 2]]


def test_a_replay_spoils_neither_its_message_nor_recorded_annotations():
    async def spoils(message: Message[Any]) -> Message[Any]:
        message.payload.append(2)
        message.meta["seen"].append(2)
        return message

    runs = [Run("a"), Run("b", [1, 2], [Attempt(0, returns=[5], acts=[Act(0, "meta", {"seen": [1]})])]), Run("c", [5])]
    message = Message(payload=[1], meta={"seen": [0]})
    flow = create(Node(spoils, "a").to(b := Node(same.func, "b")), b.to(Node(spoils, "c")))
    for _ in range(2):
        played = replay(flow, message, runs)
        assert (played.outputs, played.metas) == ([[5, 2]], [{"seen": [1, 2]}])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda runs: runs[:1], "'b' ran once more than then"),
        (lambda runs: [*runs, runs[1]], "'b' ran 1 times less than then"),
        (lambda runs: [runs[0], Run("b", 9, runs[1].attempts)], "'b' was given 1, then 9"),
        (lambda runs: [Run("a", 1, [Attempt(0, raises=ValueError("x"))]), runs[1]], "'a' was tried 2 times, then 1 t"),
    ],
)
def test_a_flow_that_runs_otherwise_fails_the_replay(change: Callable[[Any], Any], text: str):
    a, b = node(name="a", max_retries=1, backoff_base=0)(same.func), Node(same.func, "b")
    flow = create(a.to(b))
    runs = list(record(flow, 1).runs)
    with pytest.raises(AssertionError) as caught:
        replay(flow, 1, change(runs))
    assert text in str(caught.value)
    assert "the flow doesn't run as it did then (" in str(caught.value)
    assert "\ntrace " in str(caught.value)


def test_a_run_without_attempts_is_the_nodes_own():
    bazaar.ran.clear()
    flow, message = FLOWS["opaque"]
    assert replay(flow, message, [Run("wrap", 1), Run("unwrap", attempts=[Attempt(0, returns=8)])]).outputs == [8]
    assert bazaar.ran == ["wrap"]


# --- the test file --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FLOWS)
def test_the_test_file_passes_and_is_plain_python(name: str, tmp_path: Path):
    source = to_pytest(record(*FLOWS[name]), f"{WHERE}:{name}")
    ast.parse(source)
    code, said = outcome(source, tmp_path)
    assert (code, "1 passed" in said) == (0, True), f"{said}\n{source}"


def test_the_test_file_fails_when_the_flow_is_wired_otherwise(tmp_path: Path):
    source = to_pytest(record(*FLOWS["market"]), f"{WHERE}:market")
    code, said = outcome(
        source.replace("        market,\n", "        thinking,\n").replace("(market, [", "(thinking, ["), tmp_path
    )
    assert code != 0
    assert "1 failed" in said or "error" in said
    given = '"seal",\n        [\n            Offer(name="figs", price=0.'
    changed = source.replace(f"{given}25", f"{given}26")
    assert changed != source
    code, said = outcome(changed, tmp_path)
    assert (code, "1 failed" in said) == (1, True)


def test_the_file_reads_like_one_that_a_person_wrote():
    runs = (
        Run("same", Wish(text="figs"), [Attempt(0.25, raises=Refused("no")), Attempt(1.5, returns=Offer("figs", 0.5))]),
    )
    recording = record(create(same, name="stall"), Wish(text="figs"))
    made = Recording(
        recording.flow, recording.message, 3.0, recording.trace_id, runs, recording.played, ("same",), {"same": 1}
    )
    source = to_pytest(made, "tests.utils.nodes:same", name="test_it")
    head, body = source.split("\n\nRUNS", 1)
    assert head.splitlines()[2:] == [
        "Each node gives what it gave then, after as long; the flow between them is what",
        "runs. Time is virtual.",
        '"""',
        "",
        "from penguiflow.testkit import (",
        "    Attempt,",
        "    Run,",
        "    assert_node_sequence,",
        "    assert_retries,",
        "    replay,",
        ")",
        "",
        "from tests.utils.bazaar import Offer, Refused, Wish",
        "from tests.utils.nodes import same",
    ]
    assert (
        f"RUNS{body}"
        == """\
RUNS = [
    Run(
        "same",
        Wish(text="figs"),
        attempts=[
            Attempt(0.25, raises=Refused("no")),
            Attempt(1.5, returns=Offer(name="figs", price=0.5, sizes=())),
        ],
    ),
]


def test_it():
    flow = same()
    played = replay(flow, Wish(text="figs"), RUNS, timeout_s=3.0)
    assert played.outcome == "completed"
    assert played.outputs == [Wish(text="figs")]
    assert_node_sequence(flow, ["same"])
    assert_retries(flow, "same", 1)
"""
    )


def test_what_can_not_be_written_is_said_in_the_file(tmp_path: Path):
    source = to_pytest(record(*FLOWS["opaque"]), f"{WHERE}:opaque")
    assert "    # wrap runs itself: what it gave has a tests.utils.bazaar.Opaque (<tests.utils.bazaar.Opaque" in source
    assert '    Run("wrap", 1),\n' in source
    assert '    Run("unwrap", attempts=[Attempt(' in source
    with pytest.raises(ValueError, match="the message can't be written as Python: it has a tests.utils.bazaar.Opaque"):
        to_pytest(record(create(same), Opaque()), f"{WHERE}:opaque")


def test_the_flow_is_found_among_what_is_loaded_or_has_to_be_named(tmp_path: Path):
    assert "from tests.utils.bazaar import market\n" in to_pytest(record(bazaar.market, Wish(text="a b"))).replace(
        "Offer, Wish, market", "market"
    ).replace("Deal, ", "").replace("Kind, ", "")
    with pytest.raises(ValueError, match="no module that is loaded has the flow 'nowhere': say where a test finds it"):
        to_pytest(record(create(same, name="nowhere"), 1))
    with pytest.raises(ValueError, match="flow= says where the test finds the flow, as in module:flow, not 'x'"):
        to_pytest(record(create(same), 1), "x")
    source = to_pytest(record(bazaar.built(), 1), f"{WHERE}:built")
    assert "    flow = built()\n    played = replay(flow, 1, RUNS)\n" in source
    assert outcome(source, tmp_path)[0] == 0


# --- values ---------------------------------------------------------------------------------------


class Colour(BaseModel):
    name: str
    parent: Colour | None = None


def deep(levels: int, innermost: Any = 0) -> Any:
    for _ in range(levels):
        innermost = [innermost]
    return innermost


VALUES = [
    None,
    True,
    -3,
    2.5,
    math.inf,
    'it\'s "quoted"\n',
    'double "only"',
    "both ' and \" and \\ and \u2028 and \x00",
    b"it's",
    b"\x00bytes",
    [1, (2,), {3}, frozenset({4}), set(), frozenset(), ()],
    {"a": {1: [None]}},
    Kind.FISH,
    Decimal("1.10"),
    bazaar.uuid.UUID(int=5),
    datetime.datetime(2030, 1, 2, 3, 4, tzinfo=datetime.UTC),
    datetime.datetime(2030, 1, 2, tzinfo=datetime.timezone(datetime.timedelta(hours=1), "here")),
    datetime.datetime(2030, 6, 2, 3, fold=1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
    Slot.model_validate({"at": "2030-01-02T03:04:05Z"}),  # a zone of pydantic's own
    Slot.model_validate({"at": "2030-01-02T03:04:05+02:00"}),
    datetime.time(1, tzinfo=datetime.UTC),
    datetime.timedelta(seconds=1.5),
    Rights.READ,
    Rights.READ | Rights.WRITE,
    Rights(0),
    [{"key": "a long text " * 9, "more": ["another long text " * 3] * 4}, {"none": []}],
    pathlib.PurePosixPath("a/b"),
    Offer("x", 1.0, (3,)),
    Deal(Offer("x", 1.0), bazaar.uuid.UUID(int=1)),
    Wish(text="x", kind=Kind.FISH, labels=["a"]),
    Colour(name="teal", parent=Colour(name="blue")),
    Message[Wish](payload=Wish(text="x"), meta={"a": 1}).payload,
    Visitor.model_validate({"userName": "me"}),
    Box[int | None](item=None),
    Box[list[str | int] | dict[str, Box[Kind]]](item={"a": Box[Kind](item=Kind.FISH)}),
    deep(60),
    Box[datetime.date](item=datetime.date(2024, 1, 1)),
    [datetime.date, datetime.datetime(2024, 1, 1), Decimal("1.5"), datetime.timedelta],
    Box[list[datetime.datetime] | Decimal](
        item=[datetime.datetime(2024, 1, 1, tzinfo=zoneinfo.ZoneInfo("Asia/Tokyo"))]
    ),
    [zoneinfo.ZoneInfo, datetime.datetime(2024, 1, 1, tzinfo=zoneinfo.ZoneInfo("Asia/Tokyo"))],
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{type(value).__name__}-{value!s:.12}")
def test_a_value_comes_back_equal_from_the_file(value: Any, tmp_path: Path):
    source = to_pytest(record(bazaar.built(), value), f"{WHERE}:built")
    names: dict[str, Any] = {"__name__": "recorded", "__file__": str(tmp_path / "recorded.py")}
    exec(compile(source, "recorded.py", "exec"), names)
    (run,) = names["RUNS"]
    assert (run.takes, run.attempts[0].returns) == (value, value)
    assert type(run.takes) is type(value)
    assert formatted(source)
    assert sorted_as_it_should_be(source, tmp_path / "elsewhere")


def self_containing() -> list[Any]:
    items: list[Any] = []
    items.append(items)
    return items


class Hostile(BaseModel):
    def __repr_args__(self) -> Any:
        raise RuntimeError("nothing for you")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("nothing for you")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (10**5000, r"a int that can't be written \(ValueError\)"),
        (self_containing(), "values in values, more than 80 deep"),
        (deep(500), "values in values, more than 80 deep"),
        (deep(70, frozenset([frozenset([frozenset()])])), None),
        (Hostile(), "a Hostile that can't be written .RuntimeError"),
        (Visitor.model_validate({"userName": "me", "deep": [{"a": 1}]}), "a Visitor that can't be made again"),
        (Box[Literal["a"]](item="a"), "typing.Literal, which is no class"),
        (type(None), "which no test can import"),
    ],
    ids=["digits", "cycle", "deep", "brackets", "hostile", "alias-path", "literal", "NoneType"],
)
def test_a_node_runs_itself_whatever_it_gave(value: Any, text: str | None, tmp_path: Path):
    flow = create(Node(same.func, "first").to(Node(same.func, "last")), name="odd")
    recording = record(flow, 1)
    runs = (Run("first", 1, [Attempt(0, returns=value)]), Run("last", value, [Attempt(0, returns=1)]))
    source = to_pytest(dataclasses.replace(recording, runs=runs), f"{WHERE}:built")
    ast.parse(source)
    assert ("# first runs itself: what it gave has " in source) == (text is not None)
    assert text is None or re.search(text, source)


LAB = """
import decimal, uuid
from typing import Any
from pydantic import BaseModel
from penguiflow import create, node

class Run(BaseModel):
    distance: int
    class Lap(BaseModel):
        time: int

class Attempt(BaseModel):
    run: Run

class Decimal(BaseModel):
    digits: int

class TimeoutError(Exception):
    pass

@node(name="replay")
async def same(x: Any) -> Any:
    return x

replay = create(same, name="replay")

def flow():
    return create(same, name="replay")

def played():
    return flow()

RUNS = test_replay_completed = datetime = sys = replay
"""


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A module that has names of the kit's, and another with the same names."""
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("lab", "annex"):
        (tmp_path / f"{name}.py").write_text(LAB, encoding="utf-8")
        monkeypatch.delitem(sys.modules, name, raising=False)
    importlib.import_module("annex")
    yield importlib.import_module("lab")
    del sys.modules["lab"], sys.modules["annex"]


@pytest.mark.parametrize("where", ["replay", "flow", "played", "RUNS", "test_replay_completed"])
def test_whatever_has_the_name_of_something_else_has_a_number_in_the_file(where: str, lab: Any, tmp_path: Path):
    annex = sys.modules["annex"]
    message = [
        lab.Attempt(run=lab.Run(distance=1)),
        annex.Attempt(run=annex.Run(distance=2)),
        [lab.Run.Lap(time=3), lab.Decimal(digits=4), Decimal("5.0")],
        Box[lab.Run](item=lab.Run(distance=6)),
    ]
    source = to_pytest(record(lab.replay, message), f"lab:{where}")
    assert "Attempt_2(run=Run_2(distance=1))" in source
    assert "Attempt_3(run=Run_3(distance=2))" in source
    assert "from lab import Run as Run_2\n" in source
    code, said = outcome(source, tmp_path)
    assert code == 0, f"{said}\n{source}"
    assert formatted(source)
    assert sorted_as_it_should_be(source, tmp_path / "elsewhere")


@pytest.mark.parametrize("where", ["datetime", "sys"])
def test_a_flow_that_has_the_name_of_a_module_is_not_taken_for_it(where: str, lab: Any, tmp_path: Path):
    source = to_pytest(record(lab.replay, datetime.date(2024, 1, 1)), f"lab:{where}", folder=".")
    code, said = outcome(source, tmp_path)
    assert code == 0, f"{said}\n{source}"
    assert formatted(source)


def test_an_error_that_has_the_name_of_pythons_own_is_not_taken_for_it(lab: Any, tmp_path: Path):
    runs = (Run("replay", 1, [Attempt(0, raises=lab.TimeoutError("lab's"))]),)
    source = to_pytest(dataclasses.replace(record(lab.replay, 1), runs=runs), "lab:replay")
    names: dict[str, Any] = {}
    exec(compile(source, "recorded.py", "exec"), names)
    assert type(names["RUNS"][0].attempts[0].raises) is lab.TimeoutError
    assert "raises=TimeoutError_2(" in source


@pytest.mark.parametrize("name", FLOWS)
def test_formatters_leave_the_file_as_it_is(name: str):
    source = to_pytest(record(*FLOWS[name]), f"{WHERE}:{name}", folder="..")
    assert formatted(source)
    assert formatted(source, "--line-length=120")


def formatted(source: str, *options: str) -> bool:
    """Whether ruff finds nothing to change."""
    command = [sys.executable, "-m", "ruff", "format", "--isolated", *options, "-"]
    done = subprocess.run(command, input=source, capture_output=True, encoding="utf-8", timeout=60, check=True)
    assert done.stdout == source
    return True


def sorted_as_it_should_be(source: str, cwd: Path) -> bool:
    """Whether ruff finds no import in another's place."""
    cwd.mkdir()
    own = 'lint.isort.known-first-party=["annex", "lab", "tests"]'
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select=I,F", "--config", own, "--diff", "-"]
    done = subprocess.run(command, input=source, cwd=cwd, capture_output=True, encoding="utf-8", timeout=60)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout
    return True


@pytest.mark.parametrize("value", [ValueError("x"), math.nan, [math.nan, 1.0]], ids=repr)
def test_what_does_not_compare_is_counted(value: Any, tmp_path: Path):
    source = to_pytest(record(bazaar.built(), value), f"{WHERE}:built")
    assert "    # What came out doesn't compare.\n    assert len(played.outputs) == 1\n" in source
    code, said = outcome(source, tmp_path)
    assert code == 0, said


class Array:
    """Answers a comparison as arrays do."""

    def __eq__(self, other: object) -> Any:
        return Array()

    def __bool__(self) -> bool:
        raise ValueError("the truth of an array is ambiguous")

    def __repr__(self) -> str:
        return "Array"


def test_values_that_compare_as_arrays_do_are_replayed():
    recording = record(bazaar.built(), Array())
    assert replay(bazaar.built(), recording.message, recording.runs).outcome == "completed"


def test_secrets_are_never_written():
    message = Login(name="me", key=SecretStr("hunter2"))
    with pytest.raises(ValueError, match="the message can't be written as Python: it has a pydantic.types.SecretStr"):
        to_pytest(record(bazaar.built(), message), f"{WHERE}:built")
    flow = create(Node(same.func, "open"), name="vault")
    with FakeNode(flow, "open", returns=message):
        source = to_pytest(record(flow, 1), f"{WHERE}:built")
    assert "# open runs itself" in source
    assert "hunter2" not in source


def test_names_and_ids_stay_in_their_places_whatever_is_in_them():
    hostile = "x" + '"' * 3 + "\nraise SystemExit\n" + "'" * 3 + "\r#"
    flow = create(Node(same.func, hostile), name=hostile)
    with FakeNode(flow, hostile, returns=Opaque()):
        source = to_pytest(record(flow, Message(payload=hostile, trace_id=hostile)), f"{WHERE}:built")
    module = ast.parse(source)
    assert [type(part) for part in module.body] == [ast.Expr, *[ast.ImportFrom] * 3, ast.Assign, ast.FunctionDef]
    assert "def test_x____raise_SystemExit_______completed():\n" in source
    assert formatted(source)


def test_a_test_is_found_by_pytest_whatever_it_is_called():
    source = to_pytest(record(bazaar.built(), 1), f"{WHERE}:built", name="42 is the answer")
    assert "def test_42_is_the_answer():" in source


def test_errors_of_flows_are_written_by_their_code():
    async def gives_up(x: int) -> int:
        raise FlowError(code=FlowErrorCode.DEADLINE_EXCEEDED, message="too late", metadata={"x": object()})

    source = to_pytest(record(create(Node(gives_up)), 1), f"{WHERE}:built")
    assert 'raises=FlowError(code="DEADLINE_EXCEEDED", message="too late")' in source
    assert "from penguiflow import FlowError\n" in source


def test_nothing_stays_in_the_nodes_places():
    before = bazaar.hear.func, bazaar.hear.shape
    recording = record(*FLOWS["market"])
    again(recording, bazaar.market)
    with pytest.raises(AssertionError):
        replay(bazaar.market, recording.message, [])
    assert (bazaar.hear.func, bazaar.hear.shape) == before
    assert repr(UNSET) == "UNSET"


def test_a_recording_is_given_up_that_never_ends():
    with FakeNode(flow := create(same), "same", func=lambda x: asyncio.Event().wait()), pytest.raises(TimeoutError):
        record(flow, 1, within_s=0.02)
