"""`python -m examples.docs_assistant`, as a person at a terminal meets it."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "examples.docs_assistant", *arguments],
        cwd=ROOT,
        env={**inherited, "PYTHONIOENCODING": "utf-8", "COLUMNS": "100", **environment},
        capture_output=True,
        stdin=subprocess.DEVNULL,
        encoding="utf-8",
        timeout=60,
    )


def _sentence(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The last line of stderr, of a run that failed as it should."""
    assert done.returncode == code, done
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


def test_without_a_question_it_asks_some_of_its_own_on_different_routes() -> None:
    done = _run()

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("Q: ") == 3
    for promised in ("`__exit__()`", "**nonlocal**", "(route: explain)", "(route: compare)", "asks again", "2 hops"):
        assert promised in done.stdout


def test_your_own_question_is_answered_with_sources_and_costs() -> None:
    done = _run("what is a decorator?")

    assert (done.returncode, done.stderr) == (0, "")
    answer, _, rest = done.stdout.partition("Sources")
    assert "wrapped by one or more" in answer
    assert '[1] Function definitions, help("def")' in rest
    assert "Answered by quoting the reference word for word: no model" in rest
    rows = [line.split()[:1] for line in rest.splitlines() if line]
    for node in ("understand", "route", "research", "retrieve", "rerank", "compress", "judge", "answer", "total"):
        assert [node] in rows


def test_a_question_needs_no_quotes() -> None:
    assert "Q: what is a decorator" in _run("what", "is", "a", "decorator").stdout


def test_no_line_is_wider_than_the_terminal() -> None:
    done = _run("what is the operator precedence?", COLUMNS="60")

    assert done.returncode == 0
    assert max(len(line) for line in done.stdout.splitlines()) <= 60


def test_nothing_but_plain_text_goes_into_a_pipe() -> None:
    assert "\x1b" not in _run("what is a decorator?").stdout


def test_a_terminal_that_knows_ascii_only_is_no_reason_to_fail() -> None:
    done = _run("how does the with statement work?", PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C")

    assert (done.returncode, done.stderr) == (0, "")
    assert "?item?" in done.stdout


def test_a_wrong_option_is_wrong_usage() -> None:
    assert "unrecognized arguments: --fast" in _sentence(_run("--fast"), 2)


@pytest.mark.parametrize("question", ["", "   "])
def test_an_empty_question_is_wrong_usage(question: str) -> None:
    assert "the question is empty: ask something" in _sentence(_run(question), 2)


@pytest.mark.parametrize("value", ["0", "-1", "many"])
def test_a_budget_that_is_no_positive_number_is_wrong_usage(value: str) -> None:
    assert f"{value!r} is not a positive whole number" in _sentence(_run("--hops", value, "what is a list?"), 2)


def test_an_unknown_route_is_wrong_usage() -> None:
    assert "invalid choice: 'guess'" in _sentence(_run("--route", "guess"), 2)


def test_a_question_with_no_answer_says_what_is_missing() -> None:
    sentence = _sentence(_run("how do I bake bread?"), 1)

    assert "the language reference has no answer" in sentence
    assert "it says nothing about bake, bread" in sentence


def test_a_question_of_small_words_says_what_to_do() -> None:
    assert "name the keyword, operator or idea" in _sentence(_run("what is this?"), 1)


def test_a_budget_that_runs_out_says_how_to_allow_more() -> None:
    sentence = _sentence(_run("--hops", "1", "how can a context manager swallow an exception?"), 1)

    assert "hop budget" in sentence
    assert "--hops" in sentence


def test_a_forced_route_is_taken() -> None:
    done = _run("--route", "spell_out", "what is a lambda?")

    assert "(route: spell_out)" in done.stdout
    assert "lambda_expr" in done.stdout


def test_a_reader_who_has_seen_enough_is_no_failure() -> None:
    command = f"{shlex.quote(sys.executable)} -m examples.docs_assistant | head -n 1"
    done = subprocess.run(
        ["sh", "-c", command], cwd=ROOT, capture_output=True, encoding="utf-8", timeout=60, env={**os.environ}
    )

    assert done.stdout.startswith("Q: ")
    assert done.stderr == ""


def test_what_could_show_more_and_is_not_installed_is_named_after_the_answer(tmp_path: Path) -> None:
    for name in ("penguiflow_viz", "penguiflow_otel", "penguiflow_mlflow"):
        (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError('no {name}')\n", encoding="utf-8")
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "question-3.svg").touch()  # of a run with more questions
    done = _run("--keep", str(tmp_path / "kept"), "what is a decorator?", PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")

    assert (done.returncode, done.stderr) == (0, "")
    assert "wrapped by one or more" in done.stdout
    path = Path(sys.executable)
    python = str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)
    needed = "./penguiflow-viz './penguiflow-otel[sdk]' ./penguiflow-mlflow"
    assert done.stdout.splitlines()[-1] == f"To see what happened: {shlex.quote(python)} -m pip install -e . {needed}"
    assert list((tmp_path / "kept").iterdir()) == []


def test_help_is_there() -> None:
    done = _run("--help")

    assert done.returncode == 0
    assert "OPENAI_BASE_URL" in done.stdout
