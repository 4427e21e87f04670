"""Errors: they say what happened, survive pickling and JSON, and keep the original exception."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest

from penguiflow import (
    CycleError,
    FlowError,
    FlowErrorCode,
    FlowStateError,
    GraphError,
    Message,
    Node,
    TraceCancelled,
    create,
)
from tests.utils.flowtestkit import quiet, virtual_time


class Unpicklable(Exception):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


class NeedsTwo(Exception):
    """Pickles, but can't be unpickled: the default `__reduce__` gives one argument."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


class OwnError(FlowError):
    """A user's own kind, with another constructor."""

    def __init__(self, text: str) -> None:
        super().__init__(code="OWN", message=text, trace_id="t")
        self.tenant = "zoo"


def flow_error(**changes: Any) -> FlowError:
    fields: dict[str, Any] = {
        "trace_id": "t",
        "node_name": "n",
        "node_id": "flow/n",
        "code": FlowErrorCode.NODE_EXCEPTION,
        "message": "node 'n' raised ValueError: no",
        "original_exc": ValueError("no"),
        "metadata": {"attempts": 2},
    }
    return FlowError(**{**fields, **changes})


def fields(error: FlowError) -> dict[str, Any]:
    names = ("trace_id", "node_name", "node_id", "code", "message", "metadata")
    return {name: getattr(error, name) for name in names} | {"text": str(error), "type": type(error)}


# --- pickling -------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_error_pickles_with_all_that_it_says(protocol: int):
    error = flow_error()
    again = pickle.loads(pickle.dumps(error, protocol))
    assert fields(again) == fields(error)
    assert (type(again.original_exc), str(again.original_exc)) == (ValueError, "no")
    assert again.__cause__ is again.original_exc


@pytest.mark.parametrize("cause", [Unpicklable("held"), NeedsTwo("one", "two")], ids=lambda e: type(e).__name__)
def test_an_error_pickles_even_when_its_cause_does_not(cause: Exception):
    again = pickle.loads(pickle.dumps(flow_error(original_exc=cause)))
    assert isinstance(again.original_exc, Exception)
    assert str(again.original_exc) == f"{type(cause).__name__}: {cause}"


class Silent(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")

    def __reduce__(self) -> Any:
        raise TypeError("no pickle")


def test_an_error_pickles_and_tells_even_when_its_cause_cannot_be_shown():
    error = flow_error(original_exc=Silent())
    assert str(pickle.loads(pickle.dumps(error)).original_exc) == "Silent: (it can't be shown as text)"
    assert error.to_payload()["exception"] == "(it can't be shown as text)"


def test_an_error_pickles_even_when_its_metadata_does_not():
    again = pickle.loads(pickle.dumps(flow_error(metadata={"lock": threading.Lock(), "attempts": 2})))
    assert again.metadata["attempts"] == 2
    assert "lock" in again.metadata["lock"]


@pytest.mark.parametrize(
    "error",
    [
        TraceCancelled("t"),
        TraceCancelled("t", "because"),
        OwnError("mine"),
        flow_error(code="MY_CODE", original_exc=None),
        GraphError(["one", "two"]),
        CycleError(["a loop"]),
        FlowStateError("not now"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_every_kind_of_error_pickles_as_what_it_is(error: Any):
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is type(error)
        assert str(again) == str(error)
        for name in ("code", "trace_id", "message", "problems"):
            assert getattr(again, name, None) == getattr(error, name, None)


def test_what_a_kind_of_error_adds_survives_pickling():
    assert pickle.loads(pickle.dumps(OwnError("mine"))).tenant == "zoo"


def test_the_notes_of_an_error_survive_pickling():
    error = flow_error()
    error.add_note("also: node 'm' raised KeyError: 1")
    assert getattr(pickle.loads(pickle.dumps(error)), "__notes__", []) == error.__notes__


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
@pytest.mark.parametrize("cause", [Unpicklable("held"), NeedsTwo("one", "two")], ids=lambda e: type(e).__name__)
def test_a_copy_within_the_process_keeps_the_cause_that_does_not_pickle(cause: Exception, copied: Any):
    error = flow_error(original_exc=cause, metadata={"lock": (lock := threading.Lock()), "attempts": 2})
    again = copied(error)
    assert again is not error
    assert fields(again) == fields(error)
    assert again.original_exc is again.__cause__ is cause
    assert again.metadata["lock"] is lock


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_has_notes_and_metadata_of_its_own(copied: Any):
    error = flow_error()
    error.add_note("first")
    again = copied(error)
    again.add_note("second")
    again.metadata["attempts"] = 3
    assert (error.__notes__, again.__notes__) == (["first"], ["first", "second"])
    assert error.metadata == {"attempts": 2}


def test_a_deep_copy_shares_nothing_that_can_be_copied():
    error = flow_error(original_exc=ValueError(["no"]), metadata={"tried": ["a"]})
    again = copy.deepcopy(error)
    assert again.original_exc is not error.original_exc
    again.metadata["tried"].append("b")
    assert error.metadata == {"tried": ["a"]}


@virtual_time
async def test_an_error_out_of_a_flow_pickles_and_deep_copies():
    async def fails(x: int):
        raise Unpicklable("held") from KeyError("deeper")

    async with create(Node(fails)) as flow:
        with pytest.raises(FlowError) as caught:
            await flow.ask(1)
    error = caught.value
    assert isinstance(error.original_exc, Unpicklable)
    for again in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert fields(again) == fields(error)
        assert "Unpicklable: held" in str(again.original_exc) or isinstance(again.original_exc, Unpicklable)


def raise_in_worker() -> None:
    raise flow_error(original_exc=Unpicklable("held"))


def test_an_error_crosses_a_process_boundary():
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        with pytest.raises(FlowError, match="node 'n' raised ValueError: no") as caught:
            pool.submit(raise_in_worker).result()
    assert caught.value.metadata == {"attempts": 2}


# --- what an error says ---------------------------------------------------------------------------


def test_unwrap_gives_the_original_exception():
    cause = ValueError("no")
    error = flow_error(original_exc=cause)
    assert error.unwrap() is error.original_exc is error.__cause__ is cause
    assert flow_error(original_exc=None).unwrap() is None


@pytest.mark.parametrize(
    "value",
    [
        object(),
        {1, 2},
        b"raw",
        ValueError("x"),
        float("nan"),
        float("inf"),
        {1: {2: (3, object())}},
        FlowErrorCode.ROUTING,
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_payload_is_strict_json_whatever_the_metadata(value: Any):
    payload = flow_error(metadata={"value": value, "plain": [1, "x", None, True]}).to_payload()
    again = json.loads(json.dumps(payload, allow_nan=False))
    assert again["metadata"]["plain"] == [1, "x", None, True]


def test_a_payload_has_all_that_an_error_says():
    assert flow_error().to_payload() == {
        "code": "NODE_EXCEPTION",
        "message": "node 'n' raised ValueError: no",
        "trace_id": "t",
        "node_name": "n",
        "node_id": "flow/n",
        "exception_type": "ValueError",
        "exception": "no",
        "metadata": {"attempts": 2},
    }
    bare = FlowError(code="MINE", message="text").to_payload()
    assert (bare["code"], bare["exception_type"], bare["metadata"]) == ("MINE", None, {})


def test_codes_are_those_of_the_contract_and_strings():
    codes = """NODE_EXCEPTION NODE_TIMEOUT VALIDATION ROUTING DEADLINE_EXCEEDED HOP_BUDGET_EXHAUSTED
        TOKEN_BUDGET_EXHAUSTED COST_BUDGET_EXHAUSTED JOIN_STARVED TRACE_CANCELLED"""
    assert [str(code) for code in FlowErrorCode] == codes.split()
    assert FlowErrorCode.ROUTING == "ROUTING"


def test_a_cancelled_trace_is_a_flow_error_and_never_an_asyncio_one():
    assert issubclass(TraceCancelled, FlowError)
    assert not issubclass(TraceCancelled, asyncio.CancelledError)
    error = TraceCancelled("t")
    assert (error.code, error.trace_id) == (FlowErrorCode.TRACE_CANCELLED, "t")
    assert "cancelled" in str(error)


def test_a_graph_error_lists_its_problems():
    error = GraphError(["one is wrong", "two is worse"])
    assert error.problems == ("one is wrong", "two is worse")
    assert str(error) == "the graph has 2 problems:\n  - one is wrong\n  - two is worse"
    assert str(GraphError(["it"])).startswith("the graph has a problem:")


# --- out of a flow --------------------------------------------------------------------------------


@virtual_time
async def test_a_nodes_exception_is_kept_with_where_and_when():
    cause = LookupError("not here")

    async def fails(x: int):
        raise cause

    async with create(Node(fails), name="zoo") as flow:
        with pytest.raises(FlowError) as caught:
            await flow.ask(Message(payload=1, trace_id="t"))
    error = caught.value
    assert (error.code, error.node_name, error.node_id) == (FlowErrorCode.NODE_EXCEPTION, "fails", "zoo/fails")
    assert (error.trace_id, error.metadata["attempts"]) == ("t", 1)
    assert error.unwrap() is cause
    assert str(error) == error.message == "node 'fails' raised LookupError: not here"


@virtual_time
async def test_a_flow_error_that_a_node_raises_keeps_its_own_code_and_type():
    async def fails(x: int):
        raise OwnError("mine")

    async def foreign(x: int):
        raise FlowError(code="MINE", message="no trace yet", metadata={"k": 1})

    async with create(Node(foreign)) as flow:
        with pytest.raises(FlowError) as caught:
            await flow.ask(Message(payload=1, trace_id="t"))
        error = caught.value
        assert (error.code, error.trace_id, error.node_name) == ("MINE", "t", "foreign")
        assert error.metadata["k"] == 1
    async with create(Node(fails)) as flow:
        with pytest.raises(OwnError, match="mine"):
            await flow.ask(Message(payload=1, trace_id="t"))


@virtual_time
async def test_a_flow_error_that_is_raised_again_in_another_trace_keeps_its_code_and_says_where():
    closed = FlowError(code="CLOSED", message="the zoo is closed", metadata={"until": "nine"})

    async def fails(x: int):
        raise closed from (KeyError("key") if x else None)

    async with create(Node(fails)) as flow:
        for trace_id in ("one", "two"):
            with pytest.raises(FlowError) as caught:
                await flow.ask(Message(payload=1, trace_id=trace_id))
            error = caught.value
            assert (error.code, error.trace_id, error.node_id) == ("CLOSED", trace_id, "flow/fails")
            assert error.metadata == {"until": "nine", "attempts": 1}
            assert isinstance(error.__cause__, KeyError)
    assert (closed.trace_id, closed.node_name, closed.metadata) == (None, None, {"until": "nine"})


@virtual_time
async def test_the_error_of_another_branch_is_noted_on_the_one_that_is_raised():
    async def first(x: int):
        await asyncio.sleep(1)
        raise ValueError("first")

    async def second(x: int):
        try:
            await asyncio.sleep(5)
        finally:
            raise KeyError("second")

    async def fan(x: int) -> int:
        return x

    async with create(Node(fan).to(Node(first), Node(second))) as flow:
        with pytest.raises(FlowError, match="ValueError: first") as caught:
            await flow.ask(1)
        await quiet()
    assert any("second" in note for note in caught.value.__notes__)


@virtual_time
async def test_each_waiter_gets_the_error_without_the_others_traceback():
    async def fails(x: int):
        raise ValueError("no")

    async with create(Node(fails)) as flow:
        handle = flow.start(1)
        depths = []
        for _ in range(5):
            with pytest.raises(FlowError) as caught:
                await handle.result()
            depths.append(len(caught.traceback))
    assert len(set(depths)) == 1
