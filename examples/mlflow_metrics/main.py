"""A flow whose figures go to MLflow, and what stands there afterwards.

    python main.py [TRACKING_URI]

The store is `sqlite:///mlflow.db` unless you name another, as the address of a server.
"""

import asyncio
import os
import sys

from penguiflow import Context, create, node
from penguiflow_mlflow import MlflowMetrics, Options, plugin

QUESTIONS = ("why do penguins huddle?", "how deep do they dive?", "what do they eat?") * 8


@node(max_retries=2, backoff_base=0.01)
async def look_up(question: str, ctx: Context) -> list[str]:
    """A search that fails now and then, and answers at the second attempt."""
    if question.startswith("how") and ctx.attempt == 0:
        raise ConnectionError("the library is closed for a moment")
    await asyncio.sleep(0.002)
    return question.strip("?").split()


@node(timeout_s=5)
async def answer(words: list[str], ctx: Context) -> str:
    """A model that streams its answer and says what it has used."""
    for word in words:
        await asyncio.sleep(0.001)
        await ctx.emit_chunk(word + " ")
    ctx.spend(tokens=10 * len(words), cost=0.25)
    return " ".join(words)


async def ask_all(metrics: MlflowMetrics) -> None:
    async with create(look_up.to(answer), name="penguin-desk", plugins=[metrics]) as flow:
        await asyncio.gather(*(flow.ask(question) for question in QUESTIONS))


TELLING = ("attempts", "errors", "retries", "success", "completed", "_total")  # the others differ from run to run


def show(uri: str, run_id: str) -> None:
    """Print counts and totals, as MLflow has them."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient  # only here: the flow's process doesn't need it

    run = MlflowClient(uri).get_run(run_id)
    print(f"{run.info.run_name}: {run.info.status}")
    for key, value in sorted(run.data.metrics.items()):
        if key.endswith(TELLING):
            print(f"  {key:<24} {value:g}")


def main() -> None:
    uri = sys.argv[1] if len(sys.argv) > 1 else "sqlite:///mlflow.db"
    metrics = plugin(Options(tracking_uri=uri))
    asyncio.run(ask_all(metrics))
    report = metrics.report
    if report.run_id is None:
        raise SystemExit(f"nothing was written: {report.problem}")
    show(uri, report.run_id)
    print(f"{report.events} events, {report.dropped_events + report.dropped_metrics} lost")


if __name__ == "__main__":
    main()
