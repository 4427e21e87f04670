"""Looks at one plugin, in a process of its own: loads it as a flow would, and runs a small flow with it.

Rules: whatever happens is written down at once, a line of JSON each, so that nothing is lost with the process. The
process ends when it is done, whatever threads and tasks the plugin has left.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penguiflow import PluginError, PluginRecord, create, node
from penguiflow._discovery import Found, installed
from penguiflow._host import options_of
from penguiflow._loading import LOADED, load
from penguiflow._settings import CONFIG, VARIABLES, Settings, read_settings
from penguiflow.cli import findings
from penguiflow.cli.findings import SLOW_MS, Finding
from penguiflow.cli.scenario import Scenario
from penguiflow.cli.speech import told
from penguiflow.cli.stopwatch import Stopwatch, Watchdog

ROUNDS, ROUNDS_S = 3, 2.0
SLACK_S = 5.0


@dataclass(frozen=True, slots=True)
class Job:
    """Which plugin to look at, and where to write.

    Attributes:
        report: The file that takes the lines.
        group, name, distribution: The plugin; an empty name for all of them at once, as a flow loads them.
        probing: Whether to run a flow with it.
    """

    report: str
    group: str = ""
    name: str = ""
    distribution: str = ""
    probing: bool = True


def limit_s(settings: Settings) -> float:
    """Seconds after which a process that looks at one plugin is given up from outside."""
    rounds = settings.start_timeout_s + settings.stop_timeout_s + 4 * settings.decision_timeout_s
    return settings.start_timeout_s + rounds + 4 * SLACK_S


class Report:
    """The lines that the process leaves behind."""

    def __init__(self, path: str) -> None:
        self._path: Path = Path(path)

    def add(self, kind: str, value: Any) -> None:
        """Write a line."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({kind: value}, default=repr) + "\n")

    def finding(self, finding: Finding) -> None:
        """Write down what is wrong."""
        self.add("finding", finding.to_document())


def main(job: Job) -> None:
    """Do the job, and end the process."""
    logging.getLogger("penguiflow").addHandler(logging.NullHandler())
    logging.getLogger("penguiflow").propagate = False
    report = Report(job.report)
    try:
        if job.name:
            Probe(job, report).look()
        else:
            _build(report)
    except KeyboardInterrupt:
        os._exit(130)
    report.add("done", True)
    os._exit(0)


def _build(report: Report) -> None:
    """Build a flow with every plugin that loads here."""

    @node
    async def nothing(x: Any) -> None: ...

    try:
        create(nothing, name="doctor")
    except PluginError as error:
        report.add("problems", error.problems)
    except Exception as exc:
        report.add("problems", [told(exc)])


class Probe:
    """One plugin under examination."""

    def __init__(self, job: Job, report: Report) -> None:
        self.name: str = job.name
        self.report: Report = report
        self._job: Job = job
        self._settings: Settings = read_settings()
        self._found: Found = next(p for p in installed() if (p.group, p.name, p.distribution) == _key(job))
        self._watchdog: Watchdog = Watchdog(self._stuck)
        self._seen: set[tuple[str, str, str | None]] = set()

    def _stuck(self, doing: str, seconds: float, where: str | None) -> None:
        self.report.finding(findings.stuck(self.name, doing, seconds, where))
        self.report.add("done", False)
        os._exit(0)

    def look(self) -> None:
        """Load it and, if it loads, run the flow with it."""
        plugin = self._loaded()
        if plugin is None or not self._job.probing:
            return
        self.report.add("stage", "probing it")
        watch = Stopwatch(self._watchdog, self._settings.decision_timeout_s)
        limit = limit_s(self._settings) - SLACK_S
        with self._watchdog.stage("a flow with it", limit):
            self._rounds(plugin, watch)
        self._timed(watch)

    def _loaded(self) -> Any:
        self.report.add("stage", "importing it")
        with self._watchdog.stage("importing it", self._settings.start_timeout_s):
            record, plugin = self._load()
        facts = {"status": record.status, "reason": record.reason, "hooks": record.hooks, "load_ms": record.load_ms}
        self.report.add("record", facts)
        if record.status != LOADED:
            self.report.finding(findings.unloaded(record))
        return plugin

    def _load(self) -> tuple[PluginRecord, Any]:
        return load(self._found, "", *options_of(self._settings, self._found))

    def _rounds(self, plugin: Any, watch: Stopwatch) -> None:
        """Several runs, each with a plugin of its own, as several flows have."""
        started = time.monotonic()
        for _ in range(ROUNDS):
            _alone(self._settings, Path(f"{self._job.report}.toml"))  # each time: the last factory may have changed it
            self._round(plugin, watch)
            if time.monotonic() - started > ROUNDS_S:
                return
            _, plugin = self._load()
            if plugin is None:
                return

    def _round(self, plugin: Any, watch: Stopwatch) -> None:
        loop = asyncio.new_event_loop()  # never closed: a plugin may leave tasks in it that ignore cancellation
        try:
            scenario = Scenario(plugin, self._settings.decision_timeout_s)
            watch.attach(scenario.flow, plugin)
            loop.run_until_complete(scenario.run())
        except (Exception, asyncio.CancelledError, SystemExit) as exc:
            self._once("", type(exc).__name__, findings.unbuilt(self.name, exc))
            return
        for event in scenario.witness.errors:
            self._raised(event.extra["hook"], event.error or RuntimeError("unknown"), watch)

    def _raised(self, hook: str, error: BaseException, watch: Stopwatch) -> None:
        settings = self._settings
        limits = {"start": settings.start_timeout_s, "stop": settings.stop_timeout_s}
        limit = limits.get(hook, settings.decision_timeout_s)
        late = "took longer" in str(error) if hook in limits else watch.waits.get(hook, 0.0) >= limit
        over_s = limit if late and isinstance(error, TimeoutError) else None
        self._once(
            hook, type(error).__name__, findings.raised(self.name, hook, error, over_s, settings.quarantine_after)
        )

    def _once(self, hook: str, kind: str, finding: Finding) -> None:
        """Write down what is wrong, if it is not the same again; texts differ with each trace."""
        key = (hook, kind, finding.where)
        if key not in self._seen:
            self._seen.add(key)
            self.report.finding(finding)

    def _timed(self, watch: Stopwatch) -> None:
        for hook, (milliseconds, kind) in watch.worst().items():
            if milliseconds > SLOW_MS:
                for_what = f"for each {kind}" if kind else "a call"
                self.report.finding(findings.slow(self.name, hook, milliseconds, for_what))
        self.report.add("times_ms", watch.typical())


def _key(job: Job) -> tuple[str, str, str]:
    return job.group, job.name, job.distribution


def _alone(settings: Settings, path: Path) -> None:
    """From here on, a flow of this process has no plugin but those it is given, and the deployment's time limits."""
    for variable in VARIABLES.values():
        os.environ.pop(variable, None)
    lines = [
        "[plugins]\nallow = []\npolicies = []\nquarantine_after = 1000000000",
        f"decision_timeout_s = {settings.decision_timeout_s!r}",
        f"start_timeout_s = {settings.start_timeout_s!r}",
        f"stop_timeout_s = {settings.stop_timeout_s!r}",
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    os.environ[CONFIG] = str(path)
