"""What a test may claim about a trace: node sequences, retries, outcomes, and that nothing is left."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penguiflow import Context, FlowError, FlowEvent, Message, Node, PenguiFlow, create, join_k, node, subflow
from penguiflow.testkit import (
    Recorder,
    any_times,
    assert_no_pending,
    assert_node_sequence,
    assert_outcome,
    assert_retries,
    assert_settled,
    parallel,
    quiet,
    run_one,
    run_outputs,
    simulate_error,
    times,
    virtual_time,
    watch,
)
from tests.utils.nodes import nap, same, stuck


def chain(names: str, **options: Any) -> PenguiFlow:
    """A flow of nodes with these names, one after the other."""
    nodes = [Node(same.func, name) for name in names]
    return create(nodes[0], *(one.to(other) for one, other in itertools.pairwise(nodes)), **options)


def ran(names: str) -> Recorder:
    """A recorder that has seen these nodes run, in this order, one letter each."""
    seen = Recorder()

    async def drive(x: str, ctx: Context) -> None:
        for name in x:
            await ctx.emit(name, to=name)

    nodes = [Node(nap_for_nothing, name) for name in sorted(set(names))]
    run_one(create(Node(drive).to(*nodes), on_event=seen), names)
    return seen


async def nap_for_nothing(x: Any) -> None:
    return None


def fits(expected: Any, names: str) -> bool:
    try:
        assert_node_sequence(recorded(names), expected)
    except AssertionError:
        return False
    return True


def recorded(names: str) -> Recorder:
    """A recorder with node runs of these names, without the flow that it takes."""
    first, runs = _events()
    seen = Recorder()
    for event in (first, *(runs[name] for name in names)):
        seen(event)
    return seen


@functools.cache
def _events() -> tuple[FlowEvent, dict[str | None, FlowEvent]]:
    source = Recorder()
    run_one(chain("abcdxyz", on_event=source), 1)
    return source.of("trace_start")[0], {event.node_name: event for event in source.of("node_start")}


# --- sequences ------------------------------------------------------------------------------------


def test_a_chain_ran_as_it_is_drawn():
    flow = chain("abc")
    run_one(flow, 1)
    assert_node_sequence(flow, ["a", "b", "c"])
    assert_node_sequence(flow, ("a", ["b", "c"]))


def test_a_trace_is_named_or_is_the_last():
    flow = chain("ab")
    run_one(flow, Message(payload=1, trace_id="first"))
    run_one(flow, 2)
    assert_node_sequence(flow, "first", ["a", "b"])
    assert_node_sequence(flow, None, ["a", "b"])
    with pytest.raises(LookupError, match="no trace 'other' has been recorded"):
        assert_node_sequence(flow, "other", ["a"])
    with pytest.raises(TypeError, match="the second of three arguments is a trace's id"):
        assert_node_sequence(flow, ["a"], ["b"])  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=r"write assert_node_sequence\(flow, \[\.\.\.\]\)"):
        assert_node_sequence(flow)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("expected", "good", "bad"),
    [
        (["a", "b"], ["ab"], ["", "a", "ba", "abb", "aab", "abc"]),
        ([], [""], ["a"]),
        ("a", ["a"], ["", "aa", "b"]),
        (["a", ..., "d"], ["ad", "abcd", "add"], ["a", "abc", "d"]),
        (["a", parallel("b", "c"), "d"], ["abcd", "acbd"], ["abd", "abcbd", "adbc"]),
        (parallel(["a", "b"], ["c", "d"]), ["abcd", "acbd", "cdab", "cadb"], ["bacd", "abdc", "abc"]),
        (["a", times("b", 3)], ["abbb"], ["ab", "abb", "abbbb"]),
        (times("a", 1, 3), ["a", "aa", "aaa"], ["", "aaaa"]),
        (["a", times("b", 0), "c"], ["ac"], ["abc"]),
        (any_times("a"), ["", "a", "aaaa"], ["b", "ab"]),
        (any_times(["a", "b"], 1), ["ab", "abab"], ["", "a", "aba", "ba"]),
        (["a", any_times(parallel("b", "c")), "d"], ["ad", "abcd", "abccbd"], ["abd", "abbccd"]),
        (parallel("a", "a", "b"), ["aab", "aba", "baa"], ["ab", "aabb"]),
        (parallel(times("a", 2), ["b", ...]), ["aab", "baxya", "abxaz"], ["abb", "aa"]),
        (times(times("a", 1, 2), 2), ["aa", "aaa", "aaaa"], ["a", "aaaaa"]),
    ],
)
def test_what_fits_a_pattern_and_what_does_not(expected: Any, good: list[str], bad: list[str]):
    assert [names for names in good if not fits(expected, names)] == []
    assert [names for names in bad if fits(expected, names)] == []


def test_a_loop_and_branches_of_a_real_flow_fit():
    assert_node_sequence(ran("abab"), ["drive", times(["a", "b"], 2)])
    both = join_k("both", 2)
    a, b = Node(nap.func, "a"), Node(nap.func, "b")
    start = Node(same.func, "start")
    flow = create(start.to(a, b), a.to(both), b.to(both))
    with virtual_time():
        run_one(flow, 1.0)
    assert_node_sequence(flow, ["start", parallel("a", "b"), "both"])


@given(st.lists(st.sampled_from(["a", "b", "c", ["a", "b"], ["c", "a"]]), max_size=3))
def test_branches_fit_just_where_they_can_be_taken_apart(branches: list[Any]):
    """Against the definition: a shuffle of the branches, each in its own order."""
    parts = ["".join(branch) for branch in branches]
    letters = "".join(parts)
    shuffles = {"".join(names) for names in _shuffled(parts)}
    for names in {"".join(order) for order in itertools.permutations(letters)}:
        assert fits(parallel(*branches), names) == (names in shuffles)


def _shuffled(parts: list[str]) -> set[str]:
    if not any(parts):
        return {""}
    return {
        part[0] + rest
        for place, part in enumerate(parts)
        if part
        for rest in _shuffled([*parts[:place], part[1:], *parts[place + 1 :]])
    }


def test_sequences_may_be_as_long_as_loops_are():
    seen = recorded("a" * 2000)
    for expected in (["a"] * 2000, times("a", 2000), any_times("a")):
        assert_node_sequence(seen, expected)
    with pytest.raises(AssertionError, match="run 2000 is a, where b was expected") as caught:
        assert_node_sequence(seen, [*["a"] * 1999, "b"])
    expected, happened = str(caught.value).splitlines()[1:3]
    assert expected.startswith("  expected: a -> a -> ")
    assert expected.endswith(" -> a -> b")
    assert max(len(expected), len(happened)) < 1100


def test_what_can_not_be_expected_is_refused():
    seen = recorded("a")
    with pytest.raises(TypeError, match=r"expect a node's name, \.\.\., a list of them, parallel"):
        assert_node_sequence(seen, {"a", "b"})  # type: ignore[call-overload]
    for wrong in (lambda: times("a", -1), lambda: times("a", 2, 1), lambda: any_times("a", -1)):
        with pytest.raises(ValueError, match="least is a number from 0 on"):
            wrong()


def test_a_wrong_sequence_says_where_it_went_wrong_and_shows_the_timeline():
    flow = chain("abc")
    run_one(flow, 1)
    with pytest.raises(AssertionError) as caught:
        assert_node_sequence(flow, ["a", parallel("c", "d"), "b"])
    text = str(caught.value).splitlines()
    assert text[0] == "run 2 is b, where c or d was expected"
    assert text[1:3] == ["  expected: a -> (c | d) -> b", "  ran:      a -> b -> c"]
    assert text[3].endswith("ms")
    assert "of 'flow': completed after" in text[3]
    with pytest.raises(AssertionError, match="it ended after run 3, where d was expected"):
        assert_node_sequence(flow, ["a", "b", "c", "d"])
    with pytest.raises(AssertionError, match="run 3 is c, where b or the end was expected"):
        assert_node_sequence(flow, ["a", any_times("b")])


def test_the_nodes_of_subflows_are_seen_by_those_who_look_for_them():
    inner = chain("xy", name="inner")
    flow = create(Node(same.func, "a").to(sub := subflow("sub", inner)), sub, name="a/odd name")
    run_one(flow, 1)
    assert_node_sequence(flow, ["a", "sub"])
    assert_node_sequence(flow, ["a", "sub", "sub/inner/x", "sub/inner/y"], nested=True)
    with simulate_error("sub/inner/x", flow=flow), pytest.raises(FlowError):
        run_one(flow, 1)
    with pytest.raises(AssertionError, match="node 'x' never ran: there were a, sub"):
        assert_retries(flow, "x", 0)
    assert_retries(flow, "sub/inner/x", 0, nested=True)


# --- retries, outcomes ----------------------------------------------------------------------------


def test_retries_are_counted_over_all_runs_of_a_node():
    @node(max_retries=3, backoff_base=0)
    async def flaky(x: int, ctx: Context) -> int:
        if ctx.attempt < x:
            raise ValueError(x)
        return x

    @node
    async def thrice(x: int, ctx: Context) -> None:
        for number in range(3):
            await ctx.emit(number)

    flow = create(thrice.to(flaky))
    run_outputs(flow, 1)
    assert_retries(flow, "flaky", 3)
    assert_retries(flow, "thrice", 0)
    with pytest.raises(AssertionError, match="node 'flaky' was retried 3 times, not once\ntrace"):
        assert_retries(flow, "flaky", 1)


def test_an_outcome_is_checked_with_its_code():
    flow = create(same)
    run_one(flow, 1)
    assert_outcome(flow, "completed")
    with pytest.raises(AssertionError, match="the trace is completed, not failed\n"):
        assert_outcome(flow, "failed")
    with pytest.raises(AssertionError, match="the trace ended with no error, not ROUTING\n"):
        assert_outcome(flow, "completed", code="ROUTING")
    with pytest.raises(ValueError, match="there is no outcome 'done': there are completed, failed"):
        assert_outcome(flow, "done")
    with simulate_error(same), pytest.raises(FlowError):
        run_one(flow, 1)
    assert_outcome(flow, "failed", code="NODE_EXCEPTION")
    with pytest.raises(AssertionError, match="the trace ended with NODE_EXCEPTION: node 'same' raised"):
        assert_outcome(flow, "failed", code="ROUTING")


# --- nothing left ---------------------------------------------------------------------------------


@virtual_time
async def test_what_goes_on_is_neither_settled_nor_without_anything_pending():
    flow = create(stuck)
    with watch(flow) as seen:
        async with flow:
            handle = flow.start(1)
            await quiet()
            with pytest.raises(AssertionError, match="began once and ended never; a run of 'stuck' began once"):
                assert_settled(flow)
            with pytest.raises(AssertionError, match="1 trace is under way\ntrace .*\n  - node 'stuck' is running"):
                assert_no_pending(flow)
            with pytest.raises(AssertionError, match="1 trace is under way\ntrace .* goes on after"):
                assert_no_pending(seen)
            with pytest.raises(AssertionError, match="the trace goes on, and isn't completed"):
                assert_outcome(flow, "completed")
            await handle.cancel()
    assert_settled(flow)
    assert_no_pending(flow)
    assert_outcome(flow, "cancelled", code="TRACE_CANCELLED")
