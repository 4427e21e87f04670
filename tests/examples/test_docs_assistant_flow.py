"""The assistant's flow on the real reference: routes, refining, budgets, streaming, and what each step cost."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

import pytest

from examples.docs_assistant.answerers import Answerer, ExtractiveAnswerer, Piece
from examples.docs_assistant.flow import build_flow
from examples.docs_assistant.index import Index, IndexUnavailableError
from examples.docs_assistant.library import Library, build_index
from examples.docs_assistant.models import Findings, Question
from penguiflow import Budget, FinalAnswer, Message


class Ask(Protocol):
    """Asks the real assistant; the tests share its index, which takes most of the time to open."""

    async def __call__(self, text: str, *, route: str | None = None, **limits: Any) -> Message[FinalAnswer]: ...


Resources = Callable[[], AbstractAsyncContextManager[Library]]


@pytest.fixture(scope="module")
def index() -> Iterator[Index]:
    built = build_index()
    yield built
    built.close()


@pytest.fixture
def library(index: Index) -> Resources:
    return _opening(index, ExtractiveAnswerer())


def _opening(index: Index, answerer: Answerer) -> Resources:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Library]:
        yield Library(index, answerer)

    return opened


@pytest.fixture
def ask(library: Resources) -> Ask:
    async def asked(text: str, *, route: str | None = None, **limits: Any) -> Message[FinalAnswer]:
        async with build_flow(route=route, resources=library) as flow:
            answer: Message[FinalAnswer] = await flow.ask(Message(payload=Question(text=text, **limits)))
        return answer

    return asked


async def test_a_question_is_answered_with_numbered_sources(ask: Ask) -> None:
    answer = await ask("how does the with statement work?")

    assert "`__exit__()` method is invoked" in answer.payload.text
    assert "[1]" in answer.payload.text
    assert answer.payload.citations == ['The with statement, help("with")']


@pytest.mark.parametrize(
    ("question", "route"),
    [
        ("how does slicing work?", "explain"),
        ("what is the difference between global and nonlocal?", "compare"),
        ("what does str.split do?", "look_up"),
        ("what is the syntax of lambda?", "spell_out"),
    ],
)
async def test_the_form_of_a_question_decides_its_route(ask: Ask, question: str, route: str) -> None:
    assert (await ask(question)).meta["route"] == route


async def test_the_policy_looks_up_no_name_that_the_reference_does_not_document(ask: Ask) -> None:
    answer = await ask("what does os.path.join do?")

    assert answer.meta["route"] == "explain"
    assert answer.payload.citations == []


async def test_a_forced_route_is_taken_whatever_the_question_looks_like(ask: Ask) -> None:
    answer = await ask("what is the difference between global and nonlocal?", route="explain")

    assert answer.meta["route"] == "explain"
    assert "**global**" not in answer.payload.text


async def test_a_comparison_answers_for_both_sides_in_their_order(ask: Ask) -> None:
    answer = await ask("what is the difference between nonlocal and global?")

    assert answer.payload.text.index("**nonlocal**") < answer.payload.text.index("**global**")
    assert len(answer.payload.citations) == 2


async def test_a_side_found_late_still_stands_in_its_place(ask: Ask) -> None:
    answer = await ask("what is the difference between walrus and lambda?")

    assert answer.payload.text.index("**walrus**") < answer.payload.text.index("**lambda**")
    assert [hop["query"] for hop in answer.meta["hops"]] == [
        "walrus | `lambda`",
        "walrus → assignment expression / :=",
    ]


async def test_evidence_that_lacks_a_term_makes_the_controller_ask_in_other_words(ask: Ask) -> None:
    answer = await ask("how can a context manager swallow an exception?")
    first, second = answer.meta["hops"]

    assert first["confidence"] < 0.6 <= second["confidence"]
    assert first["decision"] == "lacks swallow: asks again"
    assert second["query"] != first["query"]
    assert second["decision"] == "enough"
    assert "should return a true value" in answer.payload.text


async def test_a_hop_budget_that_runs_out_ends_in_a_final_answer_that_says_so(ask: Ask) -> None:
    answer = await ask("how can a context manager swallow an exception?", hops=1)

    assert "hop budget" in answer.payload.text
    assert answer.payload.citations == []


async def test_a_token_budget_that_runs_out_ends_in_a_final_answer_that_says_so(ask: Ask) -> None:
    answer = await ask("how can a context manager swallow an exception?", tokens=100)

    assert "token budget" in answer.payload.text
    assert answer.payload.citations == []


async def test_a_trace_budget_counts_the_tokens_that_the_steps_report(library: Resources) -> None:
    question = Question(text="how does slicing work?")
    async with build_flow(resources=library) as flow:
        answer = await flow.ask(Message(payload=question, budget=Budget(tokens=500)))

    assert "token budget" in answer.payload.text


async def test_a_question_that_fits_its_budget_is_not_disturbed_by_it(ask: Ask) -> None:
    assert (await ask("how does slicing work?", hops=1)).payload.citations


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("how do I bake bread?", "says nothing about bake, bread"),
        ("how do threads work?", "in other contexts"),
        ("what is this?", "nothing to look for"),
        ("what is the difference between lambda and frobnication?", "says nothing about frobnication"),
    ],
)
async def test_a_question_with_no_answer_gets_a_sentence_that_says_why(ask: Ask, question: str, said: str) -> None:
    answer = await ask(question)

    assert said in answer.payload.text
    assert answer.payload.citations == []


async def test_every_step_notes_what_it_did_and_what_it_cost(ask: Ask) -> None:
    answer = await ask("how can a context manager swallow an exception?")
    steps = [step["step"] for step in answer.meta["steps"]]
    cost = {name: sum(s["tokens"] for s in answer.meta["steps"] if s["step"] == name) for name in steps}

    search = ["retrieve", "rerank", "compress", "judge"]
    assert steps == ["understand", "explain", *search, *search, "answer"]
    assert cost["rerank"] > cost["compress"] > 0
    assert cost["answer"] > 0
    assert answer.meta["answered_by"].startswith("quoting the reference word for word")


async def test_what_streams_is_the_answer(library: Resources) -> None:
    question = Message(payload=Question(text="what is a decorator?"))
    async with build_flow(resources=library) as flow, flow.stream(question) as stream:
        chunks = [chunk async for chunk in stream]
        answer: FinalAnswer = stream.result.payload

    assert "".join(chunk.text for chunk in chunks).strip() == answer.text
    assert len(chunks) > 50
    assert [chunk.done for chunk in chunks].index(True) == len(chunks) - 1


async def test_questions_asked_at_once_do_not_mix(library: Resources) -> None:
    asked = {
        "how does slicing work?": 'Slicings, help("SLICINGS")',
        "what is a decorator?": 'Function definitions, help("def")',
        "what does str.join do?": 'str.join (String Methods), help("STRINGMETHODS")',
        "how does comparison chaining work?": 'Comparisons, help("COMPARISON")',
    }
    async with build_flow(resources=library) as flow:
        answers = await asyncio.gather(*(flow.ask(Question(text=question)) for question in asked))

    assert [answer.citations[0] for answer in answers] == list(asked.values())


async def test_every_node_run_is_reported_as_it_ends(library: Resources) -> None:
    ended: list[str] = []
    flow = build_flow(
        resources=library,
        on_event=lambda event: ended.append(event.node_name or "") if event.event_type == "node_success" else None,
    )
    async with flow:
        await flow.ask(Question(text="how does slicing work?"))

    search = ["retrieve", "rerank", "compress", "judge"]
    assert ended == ["understand", "route", "explain", *search, "research", "answer"]


class _Endless:
    """An answerer that says one word, and would never come to an end."""

    name = "somebody who never ends"

    def __init__(self) -> None:
        self.gone = asyncio.Event()

    async def stream(self, findings: Findings) -> AsyncGenerator[Piece, None]:
        try:
            yield Piece("Well ")
            await asyncio.Event().wait()
        finally:
            self.gone.set()

    async def close(self) -> None:
        pass


async def test_leaving_the_stream_stops_the_answerer(index: Index) -> None:
    endless = _Endless()
    async with build_flow(resources=_opening(index, endless)) as flow:
        async with flow.stream(Question(text="how does slicing work?")) as stream:
            async for chunk in stream:
                assert chunk.text == "Well "
                break
        await asyncio.wait_for(endless.gone.wait(), timeout=5)


async def test_the_assistant_opens_its_own_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    async with build_flow() as flow:
        assert (await flow.ask(Question(text="how does slicing work?"))).citations


async def test_a_python_without_full_text_search_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    class Poor(sqlite3.Connection):
        def execute(self, *statement: Any) -> sqlite3.Cursor:
            raise sqlite3.OperationalError("no such module: fts5")

    monkeypatch.setattr(sqlite3, "connect", lambda *args, **options: Poor(":memory:"))
    with pytest.raises(IndexUnavailableError, match=r"has no FTS5 full-text search .* use a Python"):
        async with build_flow():
            pytest.fail("the flow started")


async def test_the_extractive_answer_repeats_no_passage_that_both_sides_share(ask: Ask) -> None:
    answer = await ask("what is the difference between == and !=?")

    paragraphs = [part for part in answer.payload.text.split("\n\n") if len(part) > 80]
    assert len(paragraphs) == len(set(paragraphs))


def test_the_extractive_answerer_says_that_no_model_was_used() -> None:
    assert "no model" in ExtractiveAnswerer.name
