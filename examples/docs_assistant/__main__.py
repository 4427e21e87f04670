"""`python -m examples.docs_assistant [QUESTION]`: ask the Python language reference, from a terminal.

Exit codes: 0 answered, 1 not answered (nothing found, budget used up, server trouble), 2 wrong usage, 130 interrupted.
Answers go to stdout, everything that went wrong to stderr.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from examples.docs_assistant.answerers import AnswererError
from examples.docs_assistant.flow import FLOW, ROUTES, build_flow
from examples.docs_assistant.index import IndexUnavailableError
from examples.docs_assistant.models import Question
from examples.docs_assistant.terminal import (
    MarkdownStream,
    Screen,
    Timings,
    show_costs,
    show_search,
    show_sights,
    show_sources,
)
from examples.docs_assistant.watching import Watch
from penguiflow import FinalAnswer, FlowError, FlowEvent, Message, PenguiFlow

QUESTIONS = (  # what is asked when nothing is: one of each kind
    "How does the with statement work?",
    "How can a context manager swallow an exception?",
    "What is the difference between global and nonlocal?",
)
_TROUBLES = (AnswererError, IndexUnavailableError)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    questions = [" ".join(options.question)] if options.question else list(QUESTIONS)
    if not all(question.strip() for question in questions):
        _parser().error('the question is empty: ask something, such as "how does the with statement work?"')
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(
            errors="replace"
        )  # the reference has typographic quotes, which not every terminal can show
    try:
        return asyncio.run(
            _ask_all(
                [Question(text=one, hops=options.hops, tokens=options.tokens) for one in questions],
                options.route,
                options.keep,
            )
        )
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m examples.docs_assistant",
        description="Answers questions about the Python language from the reference that this Python carries.",
        epilog="With OPENAI_API_KEY or OPENAI_BASE_URL set, a model writes the answer (OPENAI_MODEL names it).",
    )
    parser.add_argument("question", nargs="*", help="your question; without one, a few examples are asked")
    parser.add_argument("--route", choices=ROUTES, help="how to plan the search, instead of letting the router decide")
    parser.add_argument("--hops", type=_positive, default=4, help="how often the search may go round (default: 4)")
    parser.add_argument("--tokens", type=_positive, default=50_000, help="how much it may read (default: 50000)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="write there what happened, to be looked at")
    return parser


def _positive(text: str) -> int:
    value = int(text) if text.isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return value


@dataclass(slots=True)
class _Console:
    """One run of the program: where it prints, and the timings of the question at hand."""

    screen: Screen
    timings: Timings = field(default_factory=Timings)
    traces: list[str] = field(default_factory=list)

    def on_event(self, event: FlowEvent) -> None:
        if event.node_name is None:
            return
        if event.event_type == "node_start":
            self.timings.start(event.node_name, nested=event.flow_name != FLOW)
        elif event.event_type == "node_success":
            self.timings.add(event.node_name, event.latency_ms or 0.0)


async def _ask_all(questions: Sequence[Question], route: str | None, folder: Path | None) -> int:
    console = _Console(Screen(sys.stdout, os.environ))
    watch = None if folder is None else Watch(folder)
    plugins = [] if watch is None else watch.plugins
    try:
        async with build_flow(route=route, on_event=console.on_event, plugins=plugins) as flow:
            codes = [await _ask(flow, question, console) for question in questions]
            if folder is not None:
                console.screen.line(f"Writing to {folder} what happened ...\n")
    except _TROUBLES as trouble:
        return _complain(str(trouble))
    if watch is not None:
        show_sights(console.screen, watch.sights(flow, console.traces), watch.more())
    return max(codes)


async def _ask(flow: PenguiFlow, question: Question, console: _Console) -> int:
    screen, console.timings = console.screen, Timings()
    screen.line(f"{screen.styled('head', 'Q:')} {screen.styled('bold', question.text)}\n")
    text = MarkdownStream(screen)
    began = time.perf_counter()
    try:
        async with flow.stream(Message(payload=question)) as stream:
            console.traces.append(stream.trace_id)
            async for chunk in stream:
                text.feed(chunk.text)
            outcome: Message[FinalAnswer] = stream.result
    except FlowError as error:
        text.finish()
        return _complain(_sentence(error))
    text.finish()
    _show(screen, outcome, console.timings, (time.perf_counter() - began) * 1000)
    if outcome.payload.citations:
        return 0
    # The runtime writes the answer of a search that ran out of its budget, and knows nothing of our options.
    hint = "" if outcome.meta.get("gave_up") else " Allow more with --hops or --tokens."
    return _complain(outcome.payload.text + hint)


def _show(screen: Screen, outcome: Message[FinalAnswer], timings: Timings, took_ms: float) -> None:
    """All that comes after the answer's text."""
    meta, citations = outcome.meta, outcome.payload.citations
    if citations:
        screen.line()
        show_sources(screen, citations, meta.get("answered_by", "nobody"))
        screen.line()
    if "hops" in meta:
        show_search(screen, meta["route"], meta["hops"])
        screen.line()
    show_costs(screen, timings, meta.get("steps", []), len(meta.get("hops", [])), took_ms)
    screen.line()


def _sentence(error: FlowError) -> str:
    """What went wrong in the user's terms: the assistant's own errors are sentences already."""
    cause = error.unwrap()
    return str(cause) if isinstance(cause, _TROUBLES) else str(error)


def _complain(sentence: str) -> int:
    print(f"docs_assistant: {sentence}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
