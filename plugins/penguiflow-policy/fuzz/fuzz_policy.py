"""Coverage-guided fuzzing of what reads policies; a target of its own, as it needs atheris and time.

    pip install atheris
    python fuzz/fuzz_policy.py -max_total_time=120 -max_len=4096 -timeout=5 -rss_limit_mb=2048

What it finds is kept in tests/test_hostile.py. Any exception but `PolicyError` and `ConditionError` is a finding, and
so is an input that takes longer or more memory than the options allow.
"""

import sys

import atheris

with atheris.instrument_imports(include=["penguiflow_policy", "yaml", "tomllib", "json"]):
    from penguiflow import Message, RoutingRequest
    from penguiflow_policy import Policy, PolicyError

READERS = (Policy.from_yaml, Policy.from_json, Policy.from_toml)
MESSAGE = Message(payload={"items": [1, "a", None, {"x": 1}], "x": "text"}, trace_id="trace")
REQUEST = RoutingRequest(MESSAGE, "desk", (), "trace", "flow")


def one_input(data: bytes) -> None:
    provider = atheris.FuzzedDataProvider(data)
    kind = provider.ConsumeIntInRange(0, 3)
    text = provider.ConsumeUnicodeNoSurrogates(4096)
    try:
        if kind == 3:
            made = Policy.from_dict({"rules": [{"name": "r", "route": "a", "when": text}]}, environ={})
        else:
            made = READERS[kind](text, environ={})
    except PolicyError:
        return
    assert str(made.explain_request(REQUEST))


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
