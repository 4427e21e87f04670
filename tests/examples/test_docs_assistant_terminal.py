"""What the terminal shows: Markdown that wraps while it streams, and a table that fits."""

import io

import pytest

from examples.docs_assistant.terminal import MarkdownStream, Screen, Timings, show_costs, show_sources, show_table


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _forty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")


def _streamed(
    text: str, size: int = 1000, out: io.StringIO | None = None, environment: dict[str, str] | None = None
) -> str:
    out = out or io.StringIO()
    stream = MarkdownStream(Screen(out, environment or {}))
    for start in range(0, len(text), size):
        stream.feed(text[start : start + size])
    stream.finish()
    return out.getvalue()


MARKDOWN = """\
A paragraph that is longer than the forty columns of this screen. [1]

1. An item that is also longer than one line can be.
2. Two.

   What belongs to it.

- A bullet.

```python
def f(x):

    return x
```
And *this* is `code` that ends it."""

SHOWN = """\
A paragraph that is longer than the
forty columns of this screen. [1]

1. An item that is also longer than one
   line can be.
2. Two.

   What belongs to it.

- A bullet.

    def f(x):

        return x

And *this* is `code` that ends it.
"""


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 1000])
def test_markdown_looks_the_same_however_it_is_cut(size: int) -> None:
    assert _streamed(MARKDOWN, size) == SHOWN


def test_a_word_is_shown_as_soon_as_it_is_complete() -> None:
    out = io.StringIO()
    stream = MarkdownStream(Screen(out, {}))

    stream.feed("One two thr")
    assert out.getvalue() == "One two"
    stream.feed("ee ")
    assert out.getvalue() == "One two three"


def test_a_short_sentence_at_the_start_of_a_line_is_no_list_item() -> None:
    assert _streamed("Yes. It is one that wraps around this screen.") == (
        "Yes. It is one that wraps around this\nscreen.\n"
    )


def test_nothing_streamed_shows_nothing() -> None:
    assert _streamed("") == ""
    assert _streamed("\n\n") == ""


def test_a_word_wider_than_the_screen_is_shown_whole() -> None:
    assert _streamed(f"See {'x' * 60} there") == f"See\n{'x' * 60}\nthere\n"


def test_a_terminal_gets_colours_instead_of_marks() -> None:
    shown = _streamed("Use `with x` and **now**.", out=_Terminal(), environment={"TERM": "xterm"})

    assert "\x1b[36mwith\x1b[0m" in shown
    assert "\x1b[36mx\x1b[0m" in shown
    assert "\x1b[1mnow\x1b[0m" in shown
    assert "`" not in shown


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colours_can_be_refused(environment: dict[str, str]) -> None:
    assert "\x1b" not in _streamed(MARKDOWN, out=_Terminal(), environment=environment)


def test_a_pipe_gets_no_colours() -> None:
    assert "\x1b" not in _streamed(MARKDOWN)


def test_a_screen_is_never_wider_than_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")

    assert Screen(io.StringIO(), {}).width == 100


def test_a_table_lines_up_and_cuts_what_does_not_fit() -> None:
    out = io.StringIO()
    show_table(
        Screen(out, {}),
        ("node", "ms", "what it did"),
        [("retrieve", "1.5", "60 of 1139 passages, and then some more")],
        ("total", "12.5", "1 hop"),
    )

    head, rule, row, _, total = out.getvalue().splitlines()
    assert (head, total) == ("node         ms   what it did", "total      12.5   1 hop")
    assert row == "retrieve    1.5   60 of 1139 passages..."
    assert len(rule) == len(row) == 40


def test_costs_are_added_up_by_node_and_nested_nodes_are_set_in() -> None:
    out = io.StringIO()
    timings = Timings()
    for name, nested in [("research", False), ("judge", True), ("judge", True)]:
        timings.start(name, nested)
    timings.add("judge", 1.0)
    timings.add("judge", 2.0)
    timings.add("research", 4.0)
    steps = [{"step": "judge", "did": "no", "tokens": 5}, {"step": "judge", "did": "yes", "tokens": 6}]
    show_costs(Screen(out, {}), timings, steps, hops=2, total_ms=9.0)

    lines = [line.split() for line in out.getvalue().splitlines()]
    assert lines[2] == ["research", "1", "4.0"]
    assert lines[3] == ["judge", "2", "3.0", "11", "yes"]
    assert lines[5] == ["total", "3", "9.0", "11", "2", "hops"]
    assert "\n  judge " in out.getvalue()


def test_sources_are_numbered_and_say_who_answered() -> None:
    out = io.StringIO()
    show_sources(Screen(out, {}), ["Lambdas", "Calls"], "a model")

    assert out.getvalue() == "Sources\n  [1] Lambdas\n  [2] Calls\n  Answered by a model.\n"
