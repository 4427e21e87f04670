"""A recorded trace of flow 'desk': completed after 5 s.

Each node gives what it gave then, after as long; the flow between them is what
runs. Time is virtual.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from desk import Answer, Found, Question, desk

from penguiflow.testkit import Act, Attempt, Run, assert_node_sequence, replay

RUNS = [
    Run(
        "triage",
        Question(text="Why does it rain?"),
        attempts=[Attempt(0.0, returns=Question(text="why does it rain?"))],
    ),
    Run(
        "search",
        Question(text="why does it rain?"),
        attempts=[
            Attempt(
                5.002255,
                returns=Found(
                    topic="rain",
                    text="Warm air rises, cools, and lets go of its water.",
                ),
            ),
        ],
    ),
    Run(
        "reply",
        Found(topic="rain", text="Warm air rises, cools, and lets go of its water."),
        attempts=[
            Attempt(
                0.0,
                returns=Answer(text="Warm air rises, cools, and lets go of its water."),
                acts=[
                    Act(0.0, "chunk", "Warm "),
                    Act(0.0, "chunk", "air "),
                    Act(0.0, "chunk", "rises, "),
                    Act(0.0, "chunk", "cools, "),
                    Act(0.0, "chunk", "and "),
                    Act(0.0, "chunk", "lets "),
                    Act(0.0, "chunk", "go "),
                    Act(0.0, "chunk", "of "),
                    Act(0.0, "chunk", "its "),
                    Act(0.0, "chunk", "water. "),
                ],
            ),
        ],
    ),
]


def test_desk_completed():
    played = replay(desk, {"text": "Why does it rain?"}, RUNS)
    assert played.outcome == "completed"
    assert played.outputs == [
        Answer(text="Warm air rises, cools, and lets go of its water."),
    ]
    assert played.chunks == [
        "Warm ",
        "air ",
        "rises, ",
        "cools, ",
        "and ",
        "lets ",
        "go ",
        "of ",
        "its ",
        "water. ",
    ]
    assert_node_sequence(desk, ["triage", "search", "reply"])
