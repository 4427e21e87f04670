"""What every trace shares, opened with the flow and closed with it: the index and the answerer."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from examples.docs_assistant.answerers import Answerer, choose_answerer
from examples.docs_assistant.corpus import read_passages
from examples.docs_assistant.index import Index, IndexUnavailableError


@dataclass(frozen=True, slots=True)
class Library:
    """`ctx.resources` of every node."""

    index: Index
    answerer: Answerer


@asynccontextmanager
async def open_library() -> AsyncIterator[Library]:
    """The reference of the running Python, indexed, and the answerer that the environment asks for.

    Reading and indexing takes a fifth of a second of pure computation, so it happens in a thread. A query takes half a
    millisecond; nodes ask the index directly.

    Raises:
        IndexUnavailableError: This Python lacks FTS5 or its reference text.
        AnswererError: A server is configured, but its client isn't installed.
    """
    answerer = choose_answerer(os.environ)
    try:
        index = await asyncio.to_thread(build_index)
        try:
            yield Library(index, answerer)
        finally:
            index.close()
    finally:
        await answerer.close()


def build_index() -> Index:
    try:
        from pydoc_data.topics import topics
    except ImportError as error:  # some distributions package it apart
        raise IndexUnavailableError(
            "this Python was installed without its reference text (pydoc_data): install your distribution's full Python"
        ) from error
    return Index(read_passages(topics))
