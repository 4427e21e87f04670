"""The answering node with a model behind it: a real HTTP server on loopback speaks the chat-completions protocol."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from examples.docs_assistant.answerers import AnswererError, ExtractiveAnswerer, choose_answerer

pytest.importorskip("openai", reason="needs the extra: pip install -e '.[llm]'")

ROOT = Path(__file__).parents[2]
QUESTION = "what is a decorator?"


class ChatServer:
    """Answers each request with the next script; the last one goes on."""

    def __init__(self, scripts: list[Callable[["_Handler"], None]]) -> None:
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.scripts = scripts
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self.http.chat = self  # type: ignore[attr-defined]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        chat: ChatServer = self.server.chat  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers["Content-Length"]))
        chat.requests.append({"path": self.path, **json.loads(body)})
        chat.keys.append(self.headers["Authorization"])
        chat.scripts[min(len(chat.requests), len(chat.scripts)) - 1](self)

    def log_message(self, format: str, *args: object) -> None:
        pass

    def start_stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def send_event(self, data: str) -> None:
        event = f"data: {data}\n\n".encode()
        self.wfile.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
        self.wfile.flush()

    def send_delta(self, text: str | None, finish_reason: str | None = None) -> None:
        delta = {} if text is None else {"content": text}
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        self.send_event(json.dumps(_chunk(choices=[choice])))


def _chunk(**fields: Any) -> dict[str, Any]:
    return {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "tiny", "choices": [], **fields}


def answers(handler: _Handler) -> None:
    handler.start_stream()
    for text in ("A decorator ", "wraps a ", "function [1].\n\n```python\n@f\n", "def g(): ...\n```\n"):
        handler.send_delta(text)
    handler.send_delta(None, finish_reason="stop")
    handler.send_event(json.dumps(_chunk(usage={"prompt_tokens": 900, "completion_tokens": 77, "total_tokens": 977})))
    handler.send_event("[DONE]")
    handler.wfile.write(b"0\r\n\r\n")


def breaks_off(handler: _Handler) -> None:
    """The connection is gone in the middle of the answer."""
    handler.start_stream()
    handler.send_delta("A decorator is")
    handler.close_connection = True


def ends_early(handler: _Handler) -> None:
    """The stream ends as it should, but nothing said that the answer does."""
    handler.start_stream()
    handler.send_delta("A decorator is")
    handler.send_event("[DONE]")
    handler.wfile.write(b"0\r\n\r\n")


def fails_with(status: int, message: str) -> Callable[[_Handler], None]:
    def fails(handler: _Handler) -> None:
        body = json.dumps({"error": {"message": message, "type": "server_error"}}).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return fails


@contextmanager
def serving(*scripts: Callable[[_Handler], None]) -> Iterator[ChatServer]:
    chat = ChatServer(list(scripts))
    thread = threading.Thread(target=chat.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield chat
    finally:
        chat.http.shutdown()
        chat.http.server_close()
        thread.join()


def _run(url: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("OPENAI_") and not name.lower().endswith("_proxy")
    }
    return subprocess.run(
        [sys.executable, "-m", "examples.docs_assistant", QUESTION],
        cwd=ROOT,
        env={**inherited, "OPENAI_BASE_URL": url, "PYTHONIOENCODING": "utf-8", "COLUMNS": "100", **environment},
        capture_output=True,
        stdin=subprocess.DEVNULL,
        encoding="utf-8",
        timeout=60,
    )


def _sentence(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


def test_a_model_writes_the_answer_from_the_passages_found() -> None:
    with serving(answers) as chat:
        done = _run(chat.url, OPENAI_MODEL="tiny", OPENAI_API_KEY="secret")

    assert (done.returncode, done.stderr) == (0, "")
    assert "A decorator wraps a function [1].\n\n    @f\n    def g(): ...\n" in done.stdout
    assert "wrapped by one or more" not in done.stdout
    assert f"Answered by tiny at {chat.url}" in done.stdout
    (request,) = chat.requests
    assert (request["path"], request["model"], request["stream"]) == ("/v1/chat/completions", "tiny", True)
    assert chat.keys == ["Bearer secret"]
    assert "wrapped by one or more *decorator* expressions" in request["messages"][1]["content"]
    assert request["messages"][1]["content"].endswith(f"Question: {QUESTION}")


def test_the_tokens_that_the_server_counted_are_shown_as_the_cost() -> None:
    with serving(answers) as chat:
        done = _run(chat.url)

    (row,) = (line.split() for line in done.stdout.splitlines() if line.startswith("answer "))
    assert row[3] == "977"


def test_a_server_of_your_own_needs_no_key_and_no_model_name() -> None:
    with serving(answers) as chat:
        done = _run(chat.url)

    assert done.returncode == 0
    assert chat.requests[0]["model"] == "gpt-4o-mini"


def test_a_server_that_is_busy_is_asked_again() -> None:
    with serving(fails_with(503, "overloaded"), answers) as chat:
        done = _run(chat.url)

    assert (done.returncode, len(chat.requests)) == (0, 2)
    assert done.stdout.count("A decorator wraps") == 1


def test_a_server_that_stays_busy_is_given_up_with_a_sentence() -> None:
    with serving(fails_with(500, "the model fell over")) as chat:
        sentence = _sentence(_run(chat.url))

    assert len(chat.requests) == 3
    assert "doesn't answer" in sentence
    assert "the model fell over" in sentence


@pytest.mark.parametrize(
    ("status", "advice"), [(401, "check OPENAI_API_KEY"), (404, "check OPENAI_BASE_URL and OPENAI_MODEL")]
)
def test_a_refusal_is_not_tried_again_and_says_what_to_check(status: int, advice: str) -> None:
    with serving(fails_with(status, "no")) as chat:
        sentence = _sentence(_run(chat.url))

    assert len(chat.requests) == 1
    assert sentence.endswith(advice)


def test_a_request_that_the_server_turns_down_is_reported_with_its_reason() -> None:
    with serving(fails_with(400, "context too long")) as chat:
        assert "context too long" in _sentence(_run(chat.url))


@pytest.mark.parametrize("script", [breaks_off, ends_early])
def test_an_answer_that_breaks_off_is_not_taken_for_one(script: Callable[[_Handler], None]) -> None:
    with serving(script) as chat:
        done = _run(chat.url)

    assert "broke off after 14 characters" in _sentence(done)
    assert "A decorator is\n" in done.stdout
    assert len(chat.requests) == 1


def test_a_server_that_is_not_there_is_reported_with_a_sentence() -> None:
    with serving(answers) as chat:
        url = chat.url

    assert "doesn't answer" in _sentence(_run(url))


@pytest.mark.parametrize("variable", ["OPENAI_API_KEY", "OPENAI_BASE_URL"])
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)

    with pytest.raises(AnswererError, match=rf"{variable} is set, but the package `openai` is missing: pip install"):
        choose_answerer({variable: "x"})


def test_without_a_server_the_reference_is_quoted() -> None:
    assert isinstance(choose_answerer({"OPENAI_MODEL": "tiny"}), ExtractiveAnswerer)
