"""The rows of the table: which work, which sides, and what ratio is allowed."""

from __future__ import annotations

from typing import Any

from benchmarks import baselines, flows, work
from benchmarks.measure import Row, at_once, in_flight, one_at_a_time

_chain: dict[str, Any] = {
    "requests": work.items,
    "check": work.went("first", "second", "third"),
}
_chain_sides = {"floor": baselines.bare_chain, "queue": baselines.queued_chain, "ours": flows.our_chain}

ROWS: tuple[Row, ...] = (
    Row(
        "chain",
        "3-node chain, one at a time",
        drive=one_at_a_time,
        sides=_chain_sides,
        against="queue",
        at_most=1.15,
        count=2000,
        **_chain,
    ),
    Row(
        "chain-64",
        "same, 64 in flight",
        drive=in_flight(64),
        sides=_chain_sides,
        against="queue",
        at_most=3.5,
        count=64 * 60,
        **_chain,
    ),
    Row(
        "loop",
        f"loop of {work.HOPS} hops",
        requests=work.memories,
        drive=one_at_a_time,
        check=work.final_answers,
        sides={"floor": baselines.bare_loop, "queue": baselines.queued_loop, "ours": flows.our_loop},
        against="queue",
        at_most=3.5,
        count=300,
    ),
    Row(
        "fan-out",
        f"fan-out {work.BRANCHES} + join",
        requests=work.numbers,
        drive=one_at_a_time,
        check=work.totals,
        sides={"floor": baselines.bare_fan_out, "ours": flows.our_fan_out},
        against="floor",
        at_most=2.5,
        count=600,
    ),
    Row(
        "stream",
        "stream, per chunk",
        requests=work.streams,
        drive=one_at_a_time,
        check=work.texts,
        sides={"floor": baselines.bare_stream, "queue": baselines.queued_stream, "ours": flows.our_stream},
        against="queue",
        at_most=2.5,
        count=3,
        least=1,
        units=work.CHUNKS,
    ),
    Row(
        "nap-256",
        "10 ms node, 256 at once, per request",
        requests=work.items,
        drive=at_once(256),
        check=work.went("nap"),
        sides={"floor": baselines.bare_nap, "ours": flows.our_nap},
        against="floor",
        at_most=1.25,
        count=4 * 256,
        least=256,
    ),
    *(
        Row(
            f"listeners-{count}",
            f"chain with {word} on_event listener{'s'[: count - 1]}",
            drive=one_at_a_time,
            sides={"without": flows.our_chain, "ours": flows.chain_heard_by(count)},
            against="without",
            at_most=at_most,
            count=2000,
            **_chain,
        )
        for count, word, at_most in ((1, "one", 1.5), (3, "three", 1.6))
    ),
)
