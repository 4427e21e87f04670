"""What this distribution costs where it is installed and no policy is named, and what decisions cost where one is:
`python plugins/penguiflow-policy/benchmarks`.

Rules: a row of routers in the kernel alone and the same where the distribution is installed take turns in one process
and one event loop, each time another one first, and each answer is checked. For the kernel alone a distribution of the
same name without entry points stands before the real one on the import path while the flow is built, so the real one
isn't found. The figure is the median over the rounds of the ratio within a round, of what the event loop's own thread
spends (CPU time, which other processes don't inflate); the quartiles stand beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from penguiflow import Headers, Message, Node, PenguiFlow, RoutingRequest, create, node, predicate_router

HOPS = 10
AT_MOST = 1.03
MATCH_AT_MOST, CONDITIONS_AT_MOST = 20.0, 80.0
HIDING = "Metadata-Version: 2.1\nName: penguiflow-policy\nVersion: 0\n"
PAYLOAD = {"text": "hello there", "items": [1, 2, 3], "user": {"age": 44}, "kind": "k7"}
CONDITIONS = (
    "tenant == 'other' && priority >= 2",
    "payload.user.age > 50 && meta.lang == 'de'",
    "'z' in proposed",
    "payload.text.startsWith('bye')",
    "hour >= 14 && hour < 17 && priority > 9",
    "payload.items.exists(i, i > 3)",
    "has(meta.lang) && meta.score > 0.9",
    "topic.matches('^mil.*')",
    "size(payload.items) == 4",
    "tenant in ['x', 'y'] && priority > 5",
)


@node
async def last(number: int) -> int:
    return number + 1


def routers() -> PenguiFlow:
    """Ten routers in a row, none of which has a policy."""
    row = [predicate_router(f"r{place}", lambda message, to=f"r{place + 1}": to) for place in range(HOPS - 1)]
    row.append(predicate_router(f"r{HOPS - 1}", lambda message: "last"))
    return create(*(before.to(after) for before, after in zip(row, [*row[1:], last], strict=True)))


def alone() -> PenguiFlow:
    """The same, built where this distribution isn't found."""
    with tempfile.TemporaryDirectory() as folder:
        metadata = Path(folder, "penguiflow_policy-0.dist-info")
        metadata.mkdir()
        (metadata / "METADATA").write_text(HIDING, encoding="utf-8")
        sys.path.insert(0, folder)
        try:
            return routers()
        finally:
            sys.path.remove(folder)


async def turn(flow: PenguiFlow, requests: int) -> float:
    """Microseconds of CPU for each hop."""
    gc.collect()
    began = time.thread_time()
    for number in range(requests):
        if await flow.ask(number) != number + 1:
            raise SystemExit("a wrong answer")
    return (time.thread_time() - began) / requests / HOPS * 1e6


async def hops(rounds: int, requests: int) -> bool:
    """Measure and print both sides; whether the hop is unchanged."""
    without, beside = alone(), routers()
    records = [{record.name: record.status for record in flow.plugins} for flow in (without, beside)]
    if [found.get("policy") for found in records] != [None, "available"] or "penguiflow_policy" in sys.modules:
        raise SystemExit(f"this compares nothing: is penguiflow-policy installed? {records}")
    figures: dict[str, list[float]] = {"alone": [], "installed": []}
    async with without, beside:
        sides = [("alone", without), ("installed", beside)]
        for _, flow in sides:
            await turn(flow, requests)
        for _ in range(rounds):
            for name, flow in sides:
                figures[name].append(await turn(flow, requests))
            sides.reverse()
    ratios = [ours / bare for ours, bare in zip(figures["installed"], figures["alone"], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    bare, ours = (statistics.median(figures[name]) for name in ("alone", "installed"))
    ok = middle <= AT_MOST
    print(
        f"{_mark(ok)} a router's hop without a policy: {bare:.2f} us in the kernel alone, "
        f"{ours:.2f} us with this installed; ratio {middle:.3f} (quartiles {low:.3f} to {high:.3f}), at most {AT_MOST}"
    )
    return ok


def decisions(rounds: int) -> bool:
    """Measure and print what a decision costs; whether it is within its limits."""
    from penguiflow_policy import Policy  # not before: the hop is measured where nothing has imported it

    fields = {"topic": ["billing", "sales"], "payload.kind": ["k7", "k8"], "meta.lang": "de", "priority": [1, 2, 3]}
    match = [{"name": f"r{i}", "match": {"tenant": f"t{i}", **fields}, "route": "last"} for i in range(100)]
    when = [{"name": f"r{i}", "when": text, "route": "last"} for i, text in enumerate(CONDITIONS)]
    message = Message(
        payload=PAYLOAD,
        headers=Headers(tenant="t99", topic="billing", priority=3),
        meta={"lang": "de", "score": 0.5},
        trace_id="trace",
    )
    targets: tuple[Node[..., Any], ...] = (last,)
    request = RoutingRequest(message, "desk", targets, "trace", "flow")
    by_match, by_condition = (Policy.from_dict({"rules": rules}) for rules in (match, when))
    found = by_match.select(request)
    if found is None or found.rule != "r99" or by_condition.select(request) is not None:
        raise SystemExit("a wrong decision")
    ok = True
    for title, policy, most in (
        ("100 match rules", by_match, MATCH_AT_MOST),
        ("10 conditions, all of them asked", by_condition, CONDITIONS_AT_MOST),
    ):
        took = sorted(_each(lambda policy=policy: policy.select(request)) for _ in range(rounds))
        middle = statistics.median(took)
        ok = ok and middle <= most
        print(
            f"{_mark(middle <= most)} a decision over {title}: {middle:.1f} us (best {took[0]:.1f}), at most {most:g}"
        )
    return ok


def _each(call: Callable[[], Any], calls: int = 500) -> float:
    began = time.thread_time()
    for _ in range(calls):
        call()
    return (time.thread_time() - began) / calls * 1e6


def _mark(ok: bool) -> str:
    return "ok  " if ok else "OVER"


def main() -> None:
    """Measure, print, and exit with 1 if something is over its limit."""
    parser = argparse.ArgumentParser("benchmarks", description="What routing policies cost.")
    parser.add_argument("--rounds", type=int, default=41, help="turns of each side (41)")
    parser.add_argument("--requests", type=int, default=300, help="messages in a turn (300)")
    options = parser.parse_args()
    unchanged = asyncio.run(hops(max(2, options.rounds), options.requests))
    within = decisions(max(2, options.rounds))
    sys.exit(not (unchanged and within))


if __name__ == "__main__":
    main()
