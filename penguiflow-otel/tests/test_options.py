"""Options, how the plugin is found, and what it does where there is no SDK."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
from opentelemetry import metrics, trace
from pydantic import ValidationError
from seeing import said

from penguiflow import PluginError, create, node
from penguiflow_otel import Options, Telemetry


@node
async def first(x: int) -> int:
    return x


@node
async def second(x: int) -> int:
    return x


def redact_all(payload: object) -> str:
    return "***"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"max_spans": 0}, "max_spans"),
        ({"payload": True}, "payload"),
        ({"node_span": "run {who}"}, "no other braces"),
        ({"node_span": "run {"}, "no other braces"),
        ({"workflow_span": " "}, "a span has a name"),
        ({"redact": "penguiflow_otel:Options"}, "set payloads = true"),
        ({"redact": "no.such:function", "payloads": True}, "redact"),
        ({"redact": 5, "payloads": True}, "redact"),
        ({"agents": ["a", "b"], "tools": ["b"]}, "not both: b"),
        ({"tracer_provider": "otlp"}, "tracer_provider"),
    ],
    ids=str,
)
def test_options_that_make_no_sense_are_refused(options, complaint):
    with pytest.raises(ValidationError, match=complaint):
        Options(**options)


async def test_names_of_spans_can_be_chosen(seen, telemetry):
    plugin = telemetry(workflow_span="flow {flow}", node_span="{flow}.{node}", agents=["first"], tools=["f/second"])
    async with create(first.to(second), second.to(node(third)), name="f", plugins=[plugin]) as flow:
        await flow.ask(1)
    assert seen.tree() == ["flow f", "  invoke_agent first", "  execute_tool second", "  f.third"]
    assert said(seen.one("invoke_agent first"))["gen_ai.agent.name"] == "first"
    assert said(seen.one("invoke_agent first"))["gen_ai.operation.name"] == "invoke_agent"
    assert said(seen.one("execute_tool second"))["gen_ai.tool.name"] == "second"
    assert said(seen.one("execute_tool second"))["gen_ai.tool.type"] == "function"


async def third(x: int) -> int:
    return x


def test_a_deployments_file_sets_the_options(tmp_path, monkeypatch):
    config = tmp_path / "penguiflow.toml"
    config.write_text("[plugins.options.otel]\nattempts = true\nmax_span = 3\n")
    monkeypatch.setenv("PENGUIFLOW_CONFIG", str(config))
    monkeypatch.setenv("PENGUIFLOW_PLUGINS", "otel")
    monkeypatch.setenv("PENGUIFLOW_PLUGINS_REQUIRE", "otel")
    with pytest.raises(PluginError, match="max_span"):
        create(first)
    config.write_text(
        '[plugins.options.otel]\npayloads = true\nredact = "json:dumps"\nagents = ["a"]\nnode_span = "run {node}"\n'
    )
    (record,) = [record for record in create(first).plugins if record.name == "otel"]
    assert (record.status, record.distribution) == ("loaded", "penguiflow-otel")


async def test_without_an_sdk_nothing_is_kept_and_nothing_is_made():
    assert type(trace.get_tracer_provider()).__module__.startswith("opentelemetry.trace")
    assert type(metrics.get_meter_provider()).__module__.startswith("opentelemetry.metrics")
    plugin = Telemetry()
    async with create(first.to(second), plugins=[plugin]) as flow:
        await flow.ask(1)
        handle = flow.start(1)
        assert plugin.under_way() == {}
        await handle.result()


def run(code: str, **environment: str) -> str:
    """What a process of its own prints; warnings and errors of its log are there too."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


FLOW = """
import asyncio
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from penguiflow import create, node

def show(span):
    return f"{span.name} {span.status.status_code.name}\\n"

def sdk():
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(formatter=show)))
    trace.set_tracer_provider(provider)

@node
async def first(x: int) -> int:
    return x

"""

MAIN = """
async def main():
    async with create(first) as flow:
        await flow.ask(1)

asyncio.run(main())
"""

SHOWN = "invoke_node first UNSET\ninvoke_workflow flow UNSET\n"


def test_installed_it_needs_no_code_but_an_sdk():
    assert run(FLOW + "sdk()\n" + MAIN) == SHOWN


def test_an_sdk_that_comes_later_is_found():
    code = FLOW + (
        "async def main():\n    async with create(first) as flow:\n        await flow.ask(1)\n"
        "        print('now')\n        sdk()\n        await flow.ask(1)\nasyncio.run(main())"
    )
    assert run(code) == "now\n" + SHOWN


def test_either_half_of_an_sdk_that_comes_later_is_found():
    later = """
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

reader = InMemoryMetricReader()
halves = {"spans": sdk, "metrics": lambda: metrics.set_meter_provider(MeterProvider([reader]))}

async def main():
    before, after = ORDER
    halves[before]()
    async with create(first) as flow:
        begun = flow.start(1)
        await flow.ask(1)
        print("now")
        halves[after]()
        await flow.ask(1)
        await begun.result()
    data = reader.get_metrics_data()
    names = [m.name for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics]
    print("penguiflow.node.duration" in names)

asyncio.run(main())
"""
    assert run(FLOW + later.replace("ORDER", "'spans', 'metrics'")) == SHOWN + SHOWN + "now\n" + SHOWN + "True\n"
    assert run(FLOW + later.replace("ORDER", "'metrics', 'spans'")) == "now\n" + SHOWN + "True\n"


def test_an_sdk_that_is_disabled_is_none():
    assert run(FLOW + "sdk()\n" + MAIN, OTEL_SDK_DISABLED="true") == ""


def test_the_plugin_that_is_given_takes_the_place_of_the_one_that_is_installed():
    code = FLOW + (
        "from penguiflow_otel import Options, Telemetry\nsdk()\nasync def main():\n"
        "    given = Telemetry(Options(node_span='run {node}'))\n"
        "    async with create(first, plugins=[given]) as flow:\n        await flow.ask(1)\nasyncio.run(main())"
    )
    assert run(code) == "run first UNSET\ninvoke_workflow flow UNSET\n"


def test_it_imports_no_sdk():
    code = """
        import sys
        import penguiflow_otel
        print(sorted({name.split(".")[1] for name in sys.modules if name.startswith("opentelemetry.")}))
    """
    assert "'sdk'" not in run(code)
