"""The commands and their options, as `typer` reads them.

Rules: a command collects what was typed and asks the module that does the work. What goes wrong is a sentence on
stderr and an exit code, never a traceback.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

import penguiflow
from penguiflow import PenguiFlow
from penguiflow.cli import targets
from penguiflow.cli.copying import Kind, copied, template
from penguiflow.cli.doctor import examined
from penguiflow.cli.drawing import delivered, drawn, options_of
from penguiflow.cli.explain import explained
from penguiflow.cli.listing import listed, settings_text
from penguiflow.cli.running import given_input, ran, told_result
from penguiflow.cli.speech import INTERRUPTED, TERMINATED, WRONG, Complaint, OutputError, aside, document, say, show

app: typer.Typer = typer.Typer(
    name="penguiflow",
    help="Run and draw flows, and look after their plugins.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
plugins: typer.Typer = typer.Typer(
    help="Look after the plugins.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(plugins, name="plugins")

Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, and nothing else.")]
Target = Annotated[str, typer.Argument(metavar="MODULE:FLOW", help="module:flow or path/to/file.py:flow")]


@contextlib.contextmanager
def _speaking(as_json: bool) -> Iterator[None]:
    """Whatever can't be done is said, and ends the command."""
    try:
        yield
    except Complaint as complaint:
        if as_json and complaint.code in (WRONG, INTERRUPTED, TERMINATED):
            show(document(complaint.document))
        say(complaint.text)
        raise typer.Exit(complaint.code) from None
    except OutputError as error:  # nobody reads, or nothing can be written: stdout must not be flushed at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if not isinstance(error.__cause__, BrokenPipeError):
            say(str(error))
        raise typer.Exit(WRONG) from None
    except KeyboardInterrupt:
        say("interrupted")
        raise typer.Exit(INTERRUPTED) from None


def _flow(target: str, as_json: bool) -> PenguiFlow:
    with aside(as_json):
        return targets.loaded(target)


def _version(wanted: bool) -> None:
    if wanted:
        show(f"penguiflow {penguiflow.__version__}")
        raise typer.Exit


@app.callback()
def top(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Its version.")] = False,
) -> None:
    """Run and draw flows, and look after their plugins."""


@app.command()
def run(
    target: Target,
    input: Annotated[str, typer.Option(help="The message as JSON; - reads stdin, @FILE a file.")],
    stream: Annotated[bool, typer.Option("--stream", help="Print chunks as they come, then the result.")] = False,
    timeout: Annotated[float | None, typer.Option(min=0, help="Seconds until the trace expires.")] = None,
    as_json: Json = False,
) -> None:
    """Send one message through a flow.

    What comes out is printed as JSON.
    """
    with _speaking(as_json):
        flow = _flow(target, as_json)
        message = given_input(input)
        with aside(as_json):
            given = ran(flow, message, timeout, stream, as_json)
        show(told_result(given, as_json, stream))


@app.command()
def record(
    target: Target,
    input: Annotated[str, typer.Option(help="The message as JSON; - reads stdin, @FILE a file.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file, instead of stdout.")] = None,
    name: Annotated[str | None, typer.Option(help="The test's name.")] = None,
    timeout: Annotated[float | None, typer.Option(min=0, help="Seconds until the trace expires.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    as_json: Json = False,
) -> None:
    """Send one message through a flow, and write a test that does it again.

    In the test each node gives what it gave now, after as long, in virtual time.
    """
    with _speaking(as_json):
        recording: Any = importlib.import_module("penguiflow.cli.recording")  # no other command needs the testkit
        recording.refuse_existing(output, force)
        flow = _flow(target, as_json)
        message = given_input(input)
        with aside(True):
            trace = recording.recorded(flow, message, timeout)
        source = recording.tested(trace, target, name, output)
        if output is not None:
            recording.written(source, output)
        if as_json:
            show(document({"outcome": trace.played.outcome, "file": output and str(output), "test": source}))
        elif output is None:
            show(source, end="")
        else:
            say(f"{output}: the trace ended as {trace.played.outcome}, after {len(trace.runs)} runs of nodes")


@app.command()
def graph(
    target: Target,
    format: Annotated[str, typer.Option(help="Whatever an installed plugin knows.")] = "mermaid",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file, instead of stdout.")] = None,
    option: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="For the plugin; repeatable.")] = None,
    as_json: Json = False,
) -> None:
    """Draw a flow."""
    with _speaking(as_json):
        options = options_of(option or ())
        flow = _flow(target, as_json)
        with aside(as_json):
            written = drawn(flow, format, options)
        delivered(written, format, output, as_json)


@plugins.command("list")
def list_plugins(as_json: Json = False) -> None:
    """Show what is installed.

    And what would become of it and why, without importing any of it.
    """
    with _speaking(as_json):
        listing = listed()
        if as_json:
            show(document(listing.to_document()))
        else:
            if listing.settings:
                show(f"{settings_text(listing.settings)}\n")
            show(listing.to_text())
        for problem in listing.problems:
            say(f"wrong: {problem}")
        for note in listing.notes:
            say(f"note: {note}")
        if listing.problems:
            raise typer.Exit(WRONG)


@plugins.command()
def doctor(
    probe: Annotated[bool, typer.Option("--probe/--no-probe", help="Run a small flow with each plugin.")] = True,
    as_json: Json = False,
) -> None:
    """Say what is wrong with them.

    Each is loaded as a flow would load it, and a small flow is run with it.
    """
    with _speaking(as_json):
        if probe:
            say(
                "Probing: each plugin runs alone, in a process of its own, in a small flow with every kind of event ..."
            )
        verdict = examined(probe)
        show(document(verdict.to_document()) if as_json else verdict.to_text())
        if not verdict.well:
            raise typer.Exit(WRONG)


@plugins.command()
def explain(
    target: Target,
    measure: Annotated[bool, typer.Option("--measure/--no-measure", help="Call each hook to time it.")] = True,
    as_json: Json = False,
) -> None:
    """Show who is called at each hook of a flow.

    In which order, and what a call costs.
    """
    with _speaking(as_json):
        flow = _flow(target, as_json)
        if measure:
            say("Measuring: each hook is called with made-up objects, and no plugin is started ...")
        with aside(as_json):
            told = explained(flow, measure)
        show(document(told.to_document()) if as_json else told.to_text())


@plugins.command()
def new(
    name: Annotated[str, typer.Argument(help="Small letters, digits and hyphens, as in slow-nodes.")],
    kind: Annotated[Kind, typer.Option(help="Whether it watches flows, or routes their messages.")] = "observer",
    into: Annotated[Path, typer.Option(help="The folder that the new one is made in.")] = Path(),
    as_json: Json = False,
) -> None:
    """Start a plugin of your own.

    It is a distribution that works, with tests.
    """
    with _speaking(as_json):
        made = copied(template(), name, into, kind)
        show(document(made.to_document()) if as_json else made.to_text())
