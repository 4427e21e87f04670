"""Text as it is shown: visible, in one line, not endless, and broken where a reader would break it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vizkit.hostile import names

from penguiflow_viz.text import elided, visible, width, wrapped


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 企 🐧", "plain é 企 🐧"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x00\x1b[31m\x85", "\\x00\\x1b[31m\\x85"),
        ("\u202eevil\u2028", "\\u202eevil\\u2028"),
        ("\ud800\U0010ffff", "\\ud800\\U0010ffff"),
        ("👩\u200d👧", "👩\u200d👧"),
    ],
    ids=["plain", "white space", "controls", "directions", "no characters", "joined emoji"],
)
def test_what_cannot_be_seen_is_written_as_an_escape(text: str, shown: str):
    assert visible(text) == shown


@given(names())
def test_what_is_shown_can_be_written_to_any_file(name: str):
    shown = visible(name)
    assert shown.encode("utf-8")
    assert shown.isprintable() or "\u200d" in shown or any(char.isspace() for char in shown)
    assert len(shown.splitlines()) == 1


@given(names(), st.integers(4, 40))
def test_a_wrapped_text_loses_nothing_but_space(name: str, limit: int):
    text = visible(name)
    lines = wrapped(text, limit)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(len(line) <= limit for line in lines)


def test_a_text_is_broken_after_a_mark():
    assert wrapped("a_very_long_name_for_a_node_that_does_little", 20) == (
        "a_very_long_name_",
        "for_a_node_that_",
        "does_little",
    )


def test_a_long_text_keeps_its_beginning_and_its_end():
    assert elided("short") == "short"
    long = "start" + "x" * 500 + "end"
    assert elided(long).startswith("start")
    assert elided(long).endswith("end")
    assert len(elided(long)) == 120


def test_widths_are_those_of_the_font():
    assert width("iiii", 10) < width("mmmm", 10) / 2
    assert width("企鹅", 10) == pytest.approx(21)
    assert width("e\u0301", 10) == width("e", 10)
    assert width("name", 10, bold=True) > width("name", 10)
