"""What travels along the floes of the assistant, in the order in which it comes to be.

Rules: plain data. Passages, terms and readings are the library's own values; nothing here knows of flows or indexes
but `Inquiry`, the working memory of the controller loop.
"""

from __future__ import annotations

from pydantic import BaseModel, Field

from examples.docs_assistant.corpus import Passage
from examples.docs_assistant.question import Reading, Subject
from examples.docs_assistant.ranking import Scored
from penguiflow import WM


class Question(BaseModel):
    """What was asked, and how much may be spent on finding the answer."""

    text: str
    hops: int = Field(default=4, ge=1)
    tokens: int = Field(default=50_000, ge=1)


class Understood(BaseModel):
    """A question that has been read; `documented` are the names in it that the reference has an entry for."""

    question: Question
    reading: Reading
    documented: list[str] = Field(default_factory=list)


class Search(BaseModel):
    """One subject to find evidence for. `names` are entries to be found by name, whatever their words."""

    subject: Subject
    reading: Reading
    names: list[str] = Field(default_factory=list)
    size: int


class Found(BaseModel):
    """Candidates for a search: passage numbers and how well the index thinks they match, best first."""

    search: Search
    hits: list[tuple[int, float]]


class Ranked(BaseModel):
    """The candidates in the order in which they fit the question."""

    search: Search
    scored: list[Scored]


class Evidence(BaseModel):
    """The passages that answer a search, compressed to what will be quoted."""

    search: Search
    passages: list[Passage] = Field(default_factory=list)


class Verdict(BaseModel):
    """The judge's view of the evidence: how sure it is (0 to 1), whether that is enough, and what is missing."""

    evidence: Evidence
    confidence: float
    enough: bool
    missing: list[str] = Field(default_factory=list)


class Inquiry(WM):
    """The working memory of the search: `open` is still to be found, `facts` holds the evidence that convinced."""

    question: str
    open: list[Search]


class Findings(BaseModel):
    """Enough evidence to answer, one piece per subject, in the order of the question."""

    question: str
    evidence: list[Evidence]

    def passages(self) -> list[Passage]:
        """Everything to quote, each passage once, in the order in which it is numbered as a source."""
        return list({passage.number: passage for one in self.evidence for passage in one.passages}.values())
