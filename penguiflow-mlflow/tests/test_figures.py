"""How figures are kept until they are written: names, steps, totals, windows, deadlines."""

from __future__ import annotations

import json
import math
import re
import threading
import time

import pytest
from support import first, second

from penguiflow import NodePolicy, create, join_k, node
from penguiflow_mlflow._courier import hidden
from penguiflow_mlflow._facts import graph_hash, policy_text
from penguiflow_mlflow._mailbox import BATCH, Mailbox
from penguiflow_mlflow.writer.book import MOST_KEYS, Book, quantile
from penguiflow_mlflow.writer.deadline import Deadline
from penguiflow_mlflow.writer.keys import LONGEST_PATH, safe, safe_path
from penguiflow_mlflow.writer.modes import Table
from penguiflow_mlflow.writer.reading import MOST_OPEN, Reader
from penguiflow_mlflow.writer.windows import SAMPLES, Window

NOTE = ("node_start", 1.0, "trace", "flow/node", "run", 0.5, 0)


@pytest.mark.parametrize("name", ["node", "a/b", "a b", "a.b", "a-b_c", "größe", "x" * LONGEST_PATH])
def test_a_safe_name_stays_as_it_is(name: str):
    assert safe_path(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "/", "//", "a//b", "/a", "a/", "..", "a/../b", ".", "a/./b", " ", "a\nb", "a\0b", "a:b", "x" * 300, "🐧"],
)
def test_any_other_name_becomes_a_relative_path_of_plain_signs(name: str):
    key = safe_path(name)
    assert re.fullmatch(r"[\w.\- /]+", key)
    assert len(key) <= LONGEST_PATH
    assert all(part.strip(". ") for part in key.split("/"))
    assert key == safe_path(name) == safe_path(key), "the same each time, and safe"


def test_two_names_never_become_one():
    names = [f"{a}{b}" for a in ("a?", "a!", "a//", "a/./", "x" * 400) for b in ("", "?", "/b", "/../b", " ")]
    assert len({safe(name) for name in names}) == len(names)


def test_steps_rise_by_one_for_each_key_of_its_own():
    book = Book()
    for number in range(3):
        book.point("a", number, 1.0)
    book.point("b", 7, 1.0)
    book.add("total", 2, 1.0)
    book.add("total", 3, 2.5)
    assert book.rows() == [
        ("a", 0, 1000, 0),
        ("a", 1, 1000, 1),
        ("a", 2, 1000, 2),
        ("b", 7, 1000, 0),
        ("total", 5, 2500, 0),
    ]
    book.point("a", 3, 3.0)
    assert book.rows() == [("a", 3, 3000, 3)], "a total that hasn't changed isn't written again"
    book.add("total", 1, 4.0)
    assert book.rows() == [("total", 6, 4000, 1)]


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, None, "text", 10**400])
def test_what_is_no_finite_number_is_refused_and_counted(value: object):
    book = Book()
    window = Window(book)
    book.point("a", value, 1.0)  # type: ignore[arg-type]
    window.point("a", value, 1.0)  # type: ignore[arg-type]
    assert (book.rows(), window.rows(1.0), book.refused) == ([], [], 2)


def test_a_run_has_no_endless_number_of_keys():
    book = Book()
    for number in range(MOST_KEYS + 10):
        book.point(f"key {number}", 1.0, 1.0)
        book.add(f"total {number}", 1, 1.0)
    assert len(book.rows()) == MOST_KEYS
    assert book.refused == 10 + 10 + MOST_KEYS, "the totals' keys came too late"


def test_a_window_is_exact_as_far_as_it_says():
    window = Window(Book())
    values = [float(number) for number in range(2 * SAMPLES)]
    for value in values:
        window.point("a", value, 1.0)
    found = {row.key: row.value for row in window.rows(9.0)}
    assert found["a/count"] == len(values)
    assert found["a/mean"] == sum(values) / len(values)
    assert found["a/max"] == values[-1]
    assert found["a/p50"] == pytest.approx(SAMPLES, rel=0.1)
    assert found["a/p95"] == pytest.approx(1.9 * SAMPLES, rel=0.1)
    assert window.rows(10.0) == [], "a new window begins"


def test_quantiles_are_values_that_occurred():
    assert [quantile([1.0, 2.0, 3.0, 4.0], part) for part in (0.0, 0.5, 0.75, 0.95, 1.0)] == [1, 2, 3, 4, 4]
    assert quantile([5.0], 0.5) == 5


def test_a_reader_remembers_a_bounded_number_of_open_node_runs():
    reader, book = Reader("flow"), Book()
    for number in range(MOST_OPEN + 1):
        reader.read(("node_start", 1.0, "trace", "flow/node", f"run {number}", 0.0, 0), book)
    reader.read(("stream_chunk", 2.0, "trace", "flow/node", "run 0", None, 0), book)
    reader.read(("stream_chunk", 2.0, "trace", "flow/node", f"run {MOST_OPEN}", None, 0), book)
    spoke = [row for row in book.rows() if row.key == "node/node/first_chunk_ms"]
    assert [row.value for row in spoke] == [1000.0], "the oldest is forgotten"


def test_a_mailbox_is_bounded_and_counts_what_it_turns_away():
    box = Mailbox(3)
    for _ in range(5):
        box.put(b"note")
    assert (len(box), box.came, box.dropped) == (3, 5, 2)
    assert box.take() == [b"note"] * 3
    box.put(b"note")
    box.close()
    box.put(b"note")
    assert (len(box), box.came, box.dropped) == (0, 7, 4)


def test_a_mailbox_wakes_the_other_side_when_a_batch_is_complete():
    box = Mailbox(10 * BATCH)
    for _ in range(BATCH - 1):
        box.put(b"note")
    assert not box.wake.is_set()
    box.put(b"note")
    assert box.wake.is_set()
    box.put(b"note")
    assert len(box.take()) == BATCH


def test_notes_from_several_threads_are_all_there():
    box = Mailbox(100_000)
    taken: list[object] = []

    def put() -> None:
        for _ in range(10_000):
            box.put(b"note")

    writers = [threading.Thread(target=put) for _ in range(4)]
    for thread in writers:
        thread.start()
    while any(thread.is_alive() for thread in writers) or len(box):
        taken += box.take()
    for thread in writers:
        thread.join()
    assert len(taken) == 40_000


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("at http://me:secret@host/x, twice", "at http://***@host/x, twice"),
        ("postgresql://me:p/w@se@cret@host/x", "postgresql://***@host/x"),
        ("mysql://host/x?ssl=1&password=secret&b=c", "mysql://host/x?ssl=1&password=***&b=c"),
        ("https://host/?access_token=secret", "https://host/?access_token=***"),
        ("https://host/me", "https://host/me"),
    ],
)
def test_what_an_address_keeps_secret_is_hidden(address: str, shown: str):
    assert hidden(address) == shown


def test_a_deadline_only_comes_nearer_and_wakes_whoever_waits():
    deadline = Deadline()
    assert not deadline.passed()
    started = time.monotonic()
    threading.Timer(0.05, deadline.within, [0.1]).start()
    deadline.pause(60)
    assert time.monotonic() - started < 30
    assert deadline.passed()
    deadline.within(60)
    assert deadline.passed()
    deadline.rest(60)
    assert time.monotonic() - started < 30


def test_a_table_keeps_the_latest_traces():
    table = Table(2)
    assert not table
    table.take([NOTE, *(("trace_finish", 0.0, f"t{n}", "completed", None, 1.5, (1, 0, 0.0)) for n in range(3))])
    content = json.loads(table.text())
    assert content["columns"][:3] == ["trace_id", "ended", "outcome"]
    assert content["data"] == [[f"t{n}", "1970-01-01T00:00:00Z", "completed", "", 1.5, 1, 0, 0.0] for n in (1, 2)]


def test_a_graphs_hash_follows_its_shape_and_nothing_else():
    def join_of(k: int) -> str:
        join = join_k("join", k)
        return graph_hash(create(first.to(second, third), second.to(join), third.to(join), name="g").graph)

    assert join_of(2) == join_of(2) != join_of(1)
    assert re.fullmatch(r"[0-9a-f]{16}", join_of(2))


@node
async def third(number: int) -> int:
    return number


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        (NodePolicy(), "default policy"),
        (NodePolicy(timeout_s=2, retry_on=OSError), "timeout_s=2.0, retry_on=OSError"),
        (NodePolicy(validate="none", max_concurrency=4), "validate=none, max_concurrency=4"),
    ],
)
def test_a_policy_is_told_by_what_it_changes(policy: NodePolicy, text: str):
    assert policy_text(policy) == text
