"""Who puts the answer into words: the embedded extractor, or any server that speaks OpenAI's chat protocol.

Rules: an answerer turns findings into a stream of Markdown pieces and says what they cost. It quotes or cites the
numbered sources and adds no knowledge. `choose_answerer` decides by the environment alone; the `openai` package is
imported only when it is needed, and its errors become sentences.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from examples.docs_assistant.corpus import Passage
from examples.docs_assistant.markup import Block
from examples.docs_assistant.models import Findings
from examples.docs_assistant.sources import citation, number_sources

DEFAULT_MODEL = "gpt-4o-mini"
_INSTALL = "pip install -e '.[llm]'"
_INSTRUCTIONS = (
    "You answer questions about the Python language from numbered excerpts of its reference. Use only the excerpts and "
    "cite them as [1], [2]. If they don't answer the question, say so. Be brief; write Markdown; put code in fences."
)


class AnswererError(RuntimeError):
    """The answer could not be written; the message is a sentence for the user."""


class AnswererBusyError(AnswererError):
    """The server can't be reached or is overloaded: worth another attempt, as long as nothing was streamed."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of the answer, and the tokens read and written for it; a server reports them once, at the end."""

    text: str
    tokens: int = 0


class Answerer(Protocol):
    @property
    def name(self) -> str:
        """Completes the sentence "answered by ..."."""

    def stream(self, findings: Findings) -> AsyncGenerator[Piece, None]:
        """The answer as it is written."""

    async def close(self) -> None:
        """Gives back what it holds."""


def choose_answerer(environment: Mapping[str, str]) -> Answerer:
    """The server that the environment names, else the extractor.

    Raises:
        AnswererError: A server is named, but the `openai` package isn't installed.
    """
    key, base_url = environment.get("OPENAI_API_KEY"), environment.get("OPENAI_BASE_URL")
    if not key and not base_url:
        return ExtractiveAnswerer()
    variable = "OPENAI_BASE_URL" if base_url else "OPENAI_API_KEY"
    try:
        openai = importlib.import_module("openai")
        httpx = importlib.import_module("httpx")
    except ImportError as error:
        raise AnswererError(
            f"{variable} is set, but the package `{error.name}` is missing: {_INSTALL}, "
            f"or unset {variable} to use the embedded answerer"
        ) from error
    # A server on your own machine wants no key, but the client insists on one.
    client = openai.AsyncOpenAI(api_key=key or "none", base_url=base_url or None, max_retries=0)
    return OpenAIAnswerer(client, environment.get("OPENAI_MODEL") or DEFAULT_MODEL, openai.APIError, httpx.HTTPError)


def estimate_tokens(text: str) -> int:
    """The usual rule of thumb: four characters a token."""
    return -(-len(text) // 4)


class ExtractiveAnswerer:
    """Quotes the reference word for word, passage by passage, each with the number of its source."""

    name = "quoting the reference word for word: no model (set OPENAI_API_KEY or OPENAI_BASE_URL to have one write)"

    async def stream(self, findings: Findings) -> AsyncGenerator[Piece, None]:
        sources = number_sources(findings.passages())
        told: set[int] = set()
        for evidence in findings.evidence:
            if len(findings.evidence) > 1:
                yield _piece(f"**{evidence.search.subject.text}**\n\n")
            cited = 0
            for passage in evidence.passages:
                number = sources[citation(passage)]
                text = (
                    f"See [{number}] above."
                    if passage.number in told
                    else markdown(passage, "" if number == cited else f" [{number}]")
                )
                told.add(passage.number)
                cited = number
                for word in re.findall(r"\S+\s*|\s+", f"{text}\n\n"):
                    yield _piece(word)

    async def close(self) -> None:
        """Nothing to give back."""


def _piece(text: str) -> Piece:
    return Piece(text, estimate_tokens(text))


def markdown(passage: Passage, mark: str = "") -> str:
    """A passage as Markdown, with `mark` behind its first text."""
    marked = next((place for place, block in enumerate(passage.blocks) if block.kind in ("text", "item")), -1)
    parts = [_block(block, mark if place == marked else "") for place, block in enumerate(passage.blocks)]
    gaps = [_gap(one, two) for one, two in zip(passage.blocks, passage.blocks[1:], strict=False)] + [""]
    return "".join(part + gap for part, gap in zip(parts, gaps, strict=True))


def _gap(one: Block, two: Block) -> str:
    return "\n" if one.kind == two.kind == "item" else "\n\n"


def _block(block: Block, mark: str) -> str:
    if block.kind in ("code", "signature", "grammar"):
        return f"```\n{block.text}\n```"
    text = f"{block.text[:-1]}{mark}:" if block.text.endswith(":") else block.text + mark
    bullet = f"{block.marker} " if block.kind == "item" else ""
    return "   " * block.depth + bullet + text


class OpenAIAnswerer:
    """Has a model write the answer from the same passages, and streams it as it comes."""

    def __init__(self, client: Any, model: str, api_error: type[Exception], connection_error: type[Exception]) -> None:
        self.name = f"{model} at {client.base_url}"
        self._client = client
        self._model = model
        self._api_error = api_error
        self._connection_error = connection_error

    async def stream(self, findings: Findings) -> AsyncGenerator[Piece, None]:
        written = ""
        finished = False
        try:
            chunks = await self._client.chat.completions.create(
                model=self._model,
                messages=_messages(findings),
                stream=True,
                stream_options={"include_usage": True},
            )
            async for chunk in chunks:
                for choice in chunk.choices[:1]:
                    finished = finished or choice.finish_reason is not None
                    if choice.delta.content:
                        written += choice.delta.content
                        yield Piece(choice.delta.content)
                if chunk.usage is not None:
                    yield Piece("", chunk.usage.total_tokens)
        except (self._api_error, self._connection_error) as error:
            raise self._explained(error, written) from error
        if not finished:
            raise AnswererError(f"{self.name} broke off after {len(written)} characters: ask again")

    async def close(self) -> None:
        await self._client.close()

    def _explained(self, error: Exception, written: str) -> AnswererError:
        status = getattr(error, "status_code", None)
        said = " ".join(str(error).split())[:200] or type(error).__name__
        if written:
            return AnswererError(f"{self.name} broke off after {len(written)} characters ({said}): ask again")
        if status in (401, 403):
            return AnswererError(f"{self.name} refused the key ({said}): check OPENAI_API_KEY")
        if status == 404:
            return AnswererError(f"{self.name} isn't there ({said}): check OPENAI_BASE_URL and OPENAI_MODEL")
        if status is None or status == 429 or status >= 500:
            return AnswererBusyError(
                f"{self.name} doesn't answer ({said}): try again, or unset OPENAI_BASE_URL and OPENAI_API_KEY"
            )
        return AnswererError(f"{self.name} turned the request down ({said})")


def _messages(findings: Findings) -> Sequence[Mapping[str, str]]:
    sources = number_sources(findings.passages())
    excerpts = "\n\n".join(
        f"[{sources[citation(one)]}] {citation(one)}\n\n{markdown(one)}" for one in findings.passages()
    )
    return [
        {"role": "system", "content": _INSTRUCTIONS},
        {"role": "user", "content": f"{excerpts}\n\nQuestion: {findings.question}"},
    ]
