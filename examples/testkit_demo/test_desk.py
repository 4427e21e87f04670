"""Tests of the help desk, as its developers would write them: `pytest examples/testkit_demo`."""

import pytest
from desk import Answer, Found, Question, desk, search

from penguiflow import FlowError
from penguiflow.testkit import (
    FakeNode,
    assert_node_sequence,
    assert_outcome,
    assert_retries,
    explore,
    run_one,
    run_stream,
    simulate_error,
    virtual_time,
)

PENGUINS = Question(text="Why do penguins huddle?")


@virtual_time
def test_the_library_is_asked_again_when_it_was_away():
    with simulate_error(search, fail_times=2, exc=ConnectionError):
        assert "huddle" in run_one(desk, PENGUINS).text
    assert_node_sequence(desk, ["triage", "search", "reply"])
    assert_retries(desk, "search", 2)


@virtual_time
def test_a_library_that_never_answers_is_given_up():
    with simulate_error(search, fail_times=9, timeout=True), pytest.raises(FlowError, match="timeout_s of 60 s"):
        run_one(desk, PENGUINS)
    assert_outcome(desk, "failed", code="NODE_TIMEOUT")


def test_the_answer_is_what_was_found():
    with FakeNode(desk, "search", returns=Found(topic="x", text="forty two")) as library:
        chunks, answer = run_stream(desk, PENGUINS)
    assert [chunk.text for chunk in chunks] == ["forty ", "two "]
    assert answer == Answer(text="forty two")
    assert library.messages == [Question(text="why do penguins huddle?")]


async def test_a_question_may_wait_for_an_hour(flowkit):
    """The fixture undoes what a test has put in place: the fake and the virtual time end with it."""
    clock = flowkit.virtual_time()
    flowkit.fake(desk, "search", returns=Found(topic="x", text="late"), latency_s=40)
    assert (await flowkit.arun_one(desk, PENGUINS, timeout_s=3600)).text == "late"
    assert clock.elapsed == pytest.approx(40)


def test_two_people_never_get_each_others_answers():
    questions = [Question(text="penguins"), Question(text="rain")]

    def own_answers(answers):
        assert ["huddle" in answer.text for answer in answers] == [True, False]

    assert explore(desk, questions, own_answers, runs=50) == 50
