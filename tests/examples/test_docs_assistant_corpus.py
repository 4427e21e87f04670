"""The reference text as passages: what is kept together, what is told apart, what is dropped."""

from pydoc_data.topics import topics

import pytest

from examples.docs_assistant.corpus import Passage, read_passages

WITH = """\
The "with" statement
********************

The "with" statement wraps the execution of a block. [1] It does pre-
computed things.

   with_stmt ::= "with" expression ":" suite

The following code:

   with EXPRESSION as TARGET:
       SUITE

   more()

is equivalent to:

   manager = (EXPRESSION)

Another paragraph stands alone, and says something of its own.

Changed in version 3.10: Parentheses.

Note:

  Be careful with this.

See also: **PEP 343**

-[ Footnotes ]-

[1] A footnote that nobody needs.
"""

METHODS = """\
Text
****

Methods
=======

class text(object='')

   A text.

   split(sep=None)

      Return the words.

      >>> "a b".split()
      ['a', 'b']

+--------+----------+-------+
| Name   | Meaning  | Notes |
|========|==========|=======|
| "**"   | power of | (1)   |
|        | two      |       |
+--------+----------+-------+
"""


@pytest.fixture(scope="module")
def passages() -> list[Passage]:
    return read_passages(topics)


def _one(passages: list[Passage], **wanted: object) -> Passage:
    (found,) = (one for one in passages if all(getattr(one, key) == value for key, value in wanted.items()))
    return found


def test_a_paragraph_keeps_the_code_it_introduces_and_what_goes_on_from_there() -> None:
    passage = _one(read_passages({"with": WITH}), kind="prose", position=0)

    assert [block.kind for block in passage.blocks] == ["text", "text", "code", "text", "code"]
    assert passage.blocks[2].text == "with EXPRESSION as TARGET:\n    SUITE\n\nmore()"


def test_a_paragraph_of_its_own_is_a_passage_of_its_own() -> None:
    passage = _one(read_passages({"with": WITH}), kind="prose", position=1)

    assert passage.text == "Another paragraph stands alone, and says something of its own."


def test_quoted_code_is_marked_and_footnotes_and_line_ends_are_gone() -> None:
    lead = _one(read_passages({"with": WITH}), kind="prose", position=0)

    assert lead.headings == ("The `with` statement",)
    assert lead.blocks[0].text == "The `with` statement wraps the execution of a block. It does pre-computed things."


def test_grammar_notes_and_history_are_kinds_of_their_own_and_links_are_dropped() -> None:
    read = read_passages({"with": WITH})

    assert {passage.kind for passage in read} == {"prose", "grammar", "version", "note"}
    assert _one(read, kind="grammar").text == 'with_stmt ::= "with" expression ":" suite'
    assert _one(read, kind="version").text == "Changed in version 3.10: Parentheses."
    assert _one(read, kind="note").text == "Note: Be careful with this."
    assert not any("PEP 343" in passage.text or "footnote" in passage.text for passage in read)


def test_a_documented_name_is_an_entry_qualified_by_its_class() -> None:
    split = _one(read_passages({"text": METHODS}), entry="text.split")

    assert split.headings == ("Text", "Methods")
    assert [block.kind for block in split.blocks] == ["signature", "text", "code"]
    assert split.blocks[0].text == "split(sep=None)"


def test_a_table_becomes_rows_without_its_header_and_note_numbers() -> None:
    rows = [block for passage in read_passages({"text": METHODS}) for block in passage.blocks if block.kind == "item"]

    assert [row.text for row in rows] == ["`**` — power of two"]


def test_text_that_stands_in_two_topics_is_kept_in_the_more_specific_one() -> None:
    longer = WITH + "\nAnd this stands only here, in the longer one of the two.\n"
    read = read_passages({"compound": longer.replace("-[ Footnotes ]-", ""), "with": WITH})

    assert [passage.topic for passage in read if passage.text.startswith("Another")] == ["with"]
    assert [passage.topic for passage in read if passage.text.startswith("And this")] == ["compound"]


def test_the_real_reference_is_read_whole(passages: list[Passage]) -> None:
    assert len(passages) > 1000
    assert [passage.number for passage in passages] == list(range(len(passages)))
    assert all(passage.blocks and passage.text.strip() for passage in passages)
    assert {passage.topic for passage in passages} >= {"with", "function", "try", "naming", "string-methods"}


def test_no_markup_of_the_source_is_left_in_running_text(passages: list[Passage]) -> None:
    texts = [block.text for passage in passages for block in passage.blocks if block.kind == "text"]

    assert not [text for text in texts if "::=" in text or "+---" in text or "****" in text or "\n" in text]


def test_passages_stay_small_enough_to_quote(passages: list[Passage]) -> None:
    sizes = sorted(len(passage.text) for passage in passages)

    assert sizes[len(sizes) // 2] < 500
    assert sizes[-1] < 6000


def test_known_entries_of_the_real_reference_are_found(passages: list[Passage]) -> None:
    entries = {name for passage in passages for name in passage.entry.split()}

    assert entries >= {"str.split", "object.__init__", "object.__slots__", "dict.get", "list.sort"}
