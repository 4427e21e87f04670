"""A library that is away twice, half a minute and then a minute apart: what happens, in no time at all."""

from desk import Question, desk, search

from penguiflow import Message
from penguiflow.testkit import run_stream, simulate_error, timeline, virtual_time


def main() -> None:
    question = Message(payload=Question(text="Why do PENGUINS huddle?"), trace_id="demo")
    with virtual_time() as clock, simulate_error(search, fail_times=2, exc=ConnectionError("the library is closed")):
        streamed = run_stream(desk, question)
        print(streamed.text)
        print(f"after {clock.elapsed:g} seconds of virtual time:")
    print(timeline(desk))


if __name__ == "__main__":
    main()
