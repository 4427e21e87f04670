"""The assistant as a flow.

    understand -> route -> explain | compare | look_up | spell_out -> research -> answer
                                                                      ^      |
                                                                      +------+

Rules: `understand` reads the question, `route` picks one way to plan the search, `research` is the controller: each
time round it runs the playbook `retrieve -> rerank -> compress -> judge` for what is still open, and then hands on the
evidence, asks again in other words, or says that there is nothing. Its working memory carries hop and token budgets
that the runtime enforces. `answer` streams. Every step notes what it did and cost in `meta["steps"]`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import replace
from typing import Any

from examples.docs_assistant import quoting, ranking
from examples.docs_assistant.answerers import AnswererBusyError, estimate_tokens
from examples.docs_assistant.library import Library, open_library
from examples.docs_assistant.models import (
    Evidence,
    Findings,
    Found,
    Inquiry,
    Question,
    Ranked,
    Search,
    Understood,
    Verdict,
)
from examples.docs_assistant.question import Reading, Subject, read_question, refine
from examples.docs_assistant.sources import number_sources
from penguiflow import (
    Context,
    FinalAnswer,
    FlowEvent,
    Message,
    PenguiFlow,
    RoutingRequest,
    create,
    node,
    predicate_router,
)

FLOW = "docs_assistant"
ROUTES = ("compare", "spell_out", "look_up", "explain")  # the most particular first
CONVINCING = 0.6  # the confidence from which the judge is content
_CANDIDATES = 60  # passages that the index hands to the reranker


# Reading the question, and choosing how to plan the search for it.


@node
async def understand(question: Question, ctx: Context) -> Understood:
    library = _library(ctx)
    reading = read_question(question.text)
    documented = [name for name in reading.names if library.index.named(name)]
    _note(ctx, "understand", f"looks for {'; '.join(subject.shown() for subject in reading.subjects)}")
    return Understood(question=question, reading=reading, documented=documented)


class OneRoute:
    """The routing policy: of the ways that a question may be planned, the forced one or the first that fits.

    The router proposes by the form of the question alone; the policy knows what can be served. A name that the
    reference has no entry for can't be looked up, however much it looks like one.
    """

    def __init__(self, forced: str | None = None) -> None:
        self._forced = forced

    def select(self, request: RoutingRequest) -> Sequence[str]:
        if self._forced:
            return [self._forced]
        understood: Understood = request.message.payload
        servable = [name for name in request.proposed_names if name != "look_up" or understood.documented]
        return servable[:1]


def propose_routes(message: Message[Understood]) -> list[str]:
    """All that the form of the question suggests; the router lists them in the order drawn."""
    reading = message.payload.reading
    suggested = {
        "compare": len(reading.subjects) > 1,
        "spell_out": reading.wants_syntax,
        "look_up": bool(reading.names),
        "explain": True,
    }
    return [name for name, fits in suggested.items() if fits]


@node
async def explain(understood: Understood, ctx: Context) -> Inquiry:
    """One subject, whatever the question mentions."""
    return _inquiry(understood, ctx, [_whole(understood)], understood.reading, names=[])


@node
async def compare(understood: Understood, ctx: Context) -> Inquiry:
    """Each side is searched for by itself, and gets its share of the answer."""
    return _inquiry(understood, ctx, list(understood.reading.subjects), understood.reading, names=understood.documented)


@node
async def look_up(understood: Understood, ctx: Context) -> Inquiry:
    """The entries of the names come first, whatever words they use."""
    return _inquiry(understood, ctx, [_whole(understood)], understood.reading, names=understood.documented)


@node
async def spell_out(understood: Understood, ctx: Context) -> Inquiry:
    """A question about syntax wants the grammar, which other answers leave out."""
    return _inquiry(understood, ctx, [_whole(understood)], replace(understood.reading, wants_syntax=True), names=[])


def _whole(understood: Understood) -> Subject:
    subjects = understood.reading.subjects
    terms = dict.fromkeys(term for subject in subjects for term in subject.terms)
    return Subject(" and ".join(subject.text for subject in subjects), tuple(terms))


def _inquiry(
    understood: Understood, ctx: Context, subjects: list[Subject], reading: Reading, names: list[str]
) -> Inquiry:
    question = understood.question
    ctx.meta["route"] = ctx.node_name
    _note(ctx, ctx.node_name, f"plans to search for {_count(len(subjects), 'subject')}")
    return Inquiry(
        query=" | ".join(subject.shown() for subject in subjects),
        question=question.text,
        budget_hops=question.hops,
        budget_tokens=question.tokens,
        open=[
            Search(
                subject=subject,
                reading=reading,
                names=[name for name in names if name in subject.text],
                size=quoting.SIZE_OF_ANSWER // len(subjects),
            )
            for subject in subjects
        ],
    )


# The playbook: one search, from terms to a verdict on the evidence.


@node
async def retrieve(search: Search, ctx: Context) -> Found:
    library = _library(ctx)
    hits = library.index.search(ranking.match_expression(search.subject), _CANDIDATES) if search.subject.terms else []
    best = hits[0][1] if hits else 1.0
    named = {number: best for name in search.names for number in library.index.named(name)}
    hits = list({**named, **{number: named.get(number, score) for number, score in hits}}.items())
    _note(ctx, "retrieve", f"{len(hits)} of {len(library.index.passages)} passages")
    return Found(search=search, hits=hits)


@node
async def rerank(found: Found, ctx: Context) -> Ranked:
    search, library = found.search, _library(ctx)
    scored = ranking.rerank(found.hits, search.subject, search.reading, library.index)
    tokens = sum(estimate_tokens(one.passage.text) for one in scored)
    _note(ctx, "rerank", f"best: {scored[0].passage.title}" if scored else "nothing to rank", tokens)
    return Ranked(search=search, scored=scored)


@node
async def compress(ranked: Ranked, ctx: Context) -> Evidence:
    search, library = ranked.search, _library(ctx)
    passages = quoting.choose(ranked.scored, search.subject, library.index, search.size)
    if search.reading.wants_syntax:
        passages.sort(key=lambda passage: passage.kind != "grammar")
    tokens = sum(estimate_tokens(passage.text) for passage in passages)
    _note(ctx, "compress", f"{_count(len(passages), 'passage')} kept", tokens)
    return Evidence(search=search, passages=passages)


@node
async def judge(evidence: Evidence, ctx: Context) -> Verdict:
    """Sure enough, or not: by how much of the question the evidence covers, and whether it is about it."""
    confidence, missing = ranking.confidence_in(evidence.passages, evidence.search.subject, _library(ctx).index)
    enough = confidence >= CONVINCING
    _note(ctx, "judge", f"{confidence:.2f}, {'enough' if enough else 'not enough'}")
    return Verdict(evidence=evidence, confidence=confidence, enough=enough, missing=missing)


SEARCH = create(retrieve.to(rerank), rerank.to(compress), compress.to(judge), name="search")


# The controller, and the answer.


@node(allow_cycle=True, playbooks=[SEARCH])
async def research(inquiry: Inquiry, ctx: Context) -> Inquiry | Findings | FinalAnswer:
    """One time round: search for all that is open, and decide what comes next."""
    before = _tokens(ctx)
    verdicts: list[Verdict] = [await ctx.call_playbook(SEARCH, search) for search in inquiry.open]
    facts = [*inquiry.facts, *(verdict.evidence for verdict in verdicts if verdict.enough)]
    doubtful = [verdict for verdict in verdicts if not verdict.enough]
    again = [search for verdict in doubtful if (search := _asked_again(verdict, ctx))]
    decision = "gives up" if len(again) < len(doubtful) else "asks again"
    _note_hop(ctx, inquiry.query, verdicts, decision)
    if not doubtful:
        return Findings(question=inquiry.question, evidence=_in_order(facts))
    if decision == "gives up":
        ctx.meta["gave_up"] = True
        return FinalAnswer(text=_nothing_found(inquiry.question, doubtful))
    return inquiry.model_copy(
        update={
            "query": " | ".join(search.subject.shown() for search in again),
            "open": again,
            "facts": facts,
            "confidence": min(verdict.confidence for verdict in verdicts),
            "tokens_used": inquiry.tokens_used + _tokens(ctx) - before,
        }
    )


def _asked_again(verdict: Verdict, ctx: Context) -> Search | None:
    """The search with the missing terms put otherwise; `None` when there is no other way to put them."""
    search, index = verdict.evidence.search, _library(ctx).index
    subject = refine(search.subject, verdict.missing, index.knows, index.spelled_like)
    return None if subject is None else search.model_copy(update={"subject": subject})


def _in_order(facts: list[Evidence]) -> list[Evidence]:
    """By the order of the question: a side that was found on a later hop may come first."""
    asked = [subject.text for subject in facts[0].search.reading.subjects]
    return sorted(facts, key=lambda one: asked.index(one.search.subject.text)) if len(facts) > 1 else facts


def _nothing_found(question: str, doubtful: Sequence[Verdict]) -> str:
    terms = [term for verdict in doubtful for term in verdict.missing]
    if not any(verdict.evidence.search.subject.terms for verdict in doubtful):
        return f'there is nothing to look for in "{question}": name the keyword, operator or idea that you mean'
    missing = f"it says nothing about {', '.join(terms)}" if terms else "it has the words, but in other contexts"
    return f'the language reference has no answer to "{question}": {missing}'


@node(timeout_s=120, max_retries=2, retry_on=(AnswererBusyError,), backoff_base=0.3)
async def answer(findings: Findings, ctx: Context) -> FinalAnswer:
    """Streams the answer as it is written. A busy server is tried again, as long as nothing was streamed."""
    text, tokens = "", 0
    async with aclosing(_library(ctx).answerer.stream(findings)) as pieces:
        async for piece in pieces:
            tokens += piece.tokens
            if piece.text:
                text += piece.text
                await ctx.emit_chunk(piece.text)
    await ctx.emit_chunk("", done=True)
    sources = number_sources(findings.passages())
    ctx.meta["answered_by"] = _library(ctx).answerer.name
    _note(ctx, "answer", f"{len(text.split())} words from {_count(len(sources), 'source')}", tokens)
    return FinalAnswer(text=text.strip(), citations=list(sources))


def build_flow(
    *,
    route: str | None = None,
    on_event: Callable[[FlowEvent], None] | None = None,
    resources: Callable[[], AbstractAsyncContextManager[Library]] = open_library,
    plugins: Sequence[Any] = (),
) -> PenguiFlow:
    """The assistant. `route` forces one of `ROUTES`; `resources` opens what the nodes share."""
    routing = predicate_router("route", propose_routes, policy=OneRoute(route))
    return create(
        understand.to(routing),
        routing.to(compare, spell_out, look_up, explain),
        compare.to(research),
        spell_out.to(research),
        look_up.to(research),
        explain.to(research),
        research.to(research, answer),
        name=FLOW,
        resources=resources,
        on_event=on_event,
        plugins=plugins,
    )


def _library(ctx: Context) -> Library:
    library: Library = ctx.resources
    return library


def _note(ctx: Context, step: str, did: str, tokens: int = 0) -> None:
    """The step's line in `meta`, and its tokens on the trace's account."""
    ctx.meta["steps"] = [*ctx.meta.get("steps", []), {"step": step, "did": did, "tokens": tokens}]
    ctx.spend(tokens=tokens)


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _note_hop(ctx: Context, query: str, verdicts: Sequence[Verdict], otherwise: str) -> None:
    confidence = min(verdict.confidence for verdict in verdicts)
    lacking = ", ".join(term for verdict in verdicts if not verdict.enough for term in verdict.missing)
    enough = all(verdict.enough for verdict in verdicts)
    decision = "enough" if enough else f"{f'lacks {lacking}' if lacking else 'is off the subject'}: {otherwise}"
    hop = {"query": query, "confidence": confidence, "decision": decision}
    ctx.meta["hops"] = [*ctx.meta.get("hops", []), hop]


def _tokens(ctx: Context) -> int:
    return sum(step["tokens"] for step in ctx.meta.get("steps", []))
