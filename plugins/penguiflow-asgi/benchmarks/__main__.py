"""What a client that reads nothing costs the others: `python plugins/penguiflow-asgi/benchmarks`.

Rules: a real server in a process of its own, whose node writes without end to the lazy client and waits for it. The
stream beside it is measured in turn with the same stream alone, and read whole each time; medians, and their ratio.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from crowdkit import crowd, lazy_client, pace

CHUNKS, ROUNDS = 2_000, 14


async def measure(rounds: int, chunks: int = CHUNKS) -> dict[str, list[tuple[float, float]]]:
    """For a stream alone and one beside a lazy client: its seconds, and those of the server's processor."""
    found: dict[str, list[tuple[float, float]]] = {"alone": [], "beside a lazy client": []}
    async with crowd() as (web, port, _):
        await pace(web, port, chunks)
        for _ in range(rounds):
            found["alone"].append(await pace(web, port, chunks))
            async with lazy_client(web, port):
                found["beside a lazy client"].append(await pace(web, port, chunks))
    return found


def show(found: dict[str, list[tuple[float, float]]], chunks: int = CHUNKS) -> None:
    """Print the medians and, beside the lazy client, how many times those of the stream alone they are."""
    print(f"{chunks:,} chunks over server-sent events, {len(found['alone'])} rounds")
    base = medians(found["alone"])
    for name, seen in found.items():
        took, spent = medians(seen)
        ratios = "" if name == "alone" else f"   {took / base[0]:.2f} x and {spent / base[1]:.2f} x"
        print(f"{name:>22}   {took:.3f} s, of which the server's processor {spent:.3f} s{ratios}")


def medians(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    took, spent = zip(*pairs, strict=True)
    return statistics.median(took), statistics.median(spent)


if __name__ == "__main__":
    show(asyncio.run(measure(ROUNDS)))
