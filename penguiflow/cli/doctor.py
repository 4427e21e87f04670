"""`penguiflow plugins doctor`: loads each plugin as a flow would, probes it, and says what is wrong with it.

Rules: each plugin is looked at in a process of its own, so none can harm, hide or hold up another, or the doctor. A
plugin that settings keep out is not imported here either.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from penguiflow._loading import AVAILABLE, BLOCKED, FAILED, LOADED
from penguiflow._settings import Settings, read_settings
from penguiflow.cli import findings
from penguiflow.cli.findings import Finding
from penguiflow.cli.listing import UNKNOWN, Entry, Listing, listed
from penguiflow.cli.probe import Job, limit_s
from penguiflow.cli.speech import duration


@dataclass(slots=True)
class Diagnosis:
    """What was found out about one plugin."""

    entry: Entry
    status: str
    reason: str
    hooks: list[str] = field(default_factory=list)
    load_ms: float | None = None
    times_ms: dict[str, float] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def to_document(self) -> dict[str, Any]:
        """The same for `--json`."""
        entry = self.entry
        return {
            "name": entry.name,
            "group": entry.group,
            "distribution": entry.distribution,
            "version": entry.version,
            "status": self.status,
            "reason": self.reason,
            "hooks": self.hooks,
            "load_ms": self.load_ms,
            "times_ms": self.times_ms,
            "findings": [finding.to_document() for finding in self.findings],
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found out about all of them.

    Attributes:
        listing: What is installed, and the settings.
        diagnoses: One for each plugin.
        problems: What stops every flow from being built here.
        probed: Whether flows were run with them.
    """

    listing: Listing
    diagnoses: tuple[Diagnosis, ...]
    problems: tuple[str, ...]
    probed: bool

    @property
    def well(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems and not any(diagnosis.findings for diagnosis in self.diagnoses)

    def to_document(self) -> dict[str, Any]:
        """The same for `--json`."""
        return {
            "ok": self.well,
            "probed": self.probed,
            "settings": [asdict(setting) for setting in self.listing.settings],
            "problems": list(self.problems),
            "notes": list(self.listing.notes),
            "plugins": [diagnosis.to_document() for diagnosis in self.diagnoses],
        }

    def to_text(self) -> str:
        """The same for a person."""
        parts = ["\n".join(_told(diagnosis)) for diagnosis in self.diagnoses]
        if self.problems:
            parts.append("\n  - ".join(["No flow can be built here:", *self.problems]))
        parts += [f"Note: {note}" for note in self.listing.notes]
        return "\n\n".join([*parts, self._summary()])

    def _summary(self) -> str:
        count, wrong = len(self.diagnoses), sum(bool(diagnosis.findings) for diagnosis in self.diagnoses)
        plugins = "no plugin is installed" if not count else f"{count} plugin{'s' * (count > 1)} installed"
        return f"{plugins}, {wrong} with something wrong." if count else f"{plugins}.".capitalize()


def _told(diagnosis: Diagnosis) -> Iterator[str]:
    entry = diagnosis.entry
    line = f"{entry.name} ({entry.distribution} {entry.version}, {entry.group}): {diagnosis.status}"
    if diagnosis.load_ms is not None and diagnosis.status == LOADED:
        line += f" in {diagnosis.load_ms:.3g} ms"
    yield line
    for hook in diagnosis.hooks:
        took = diagnosis.times_ms.get(hook)
        yield f"  {hook}" + ("" if took is None else f": {duration(took)} a call")
    if diagnosis.status in (BLOCKED, AVAILABLE, UNKNOWN):
        yield f"  {diagnosis.reason}"
    for finding in diagnosis.findings:
        yield f"  ! {finding.what}"
        if finding.where is not None:
            yield f"    at {finding.where}"
        yield f"    -> {finding.advice}"


def examined(probing: bool = True) -> Verdict:
    """Look at every plugin that is installed."""
    listing = listed()
    if not listing.settings:  # a block-list that can't be read must not let anything in
        diagnoses = tuple(Diagnosis(entry, entry.status, entry.reason) for entry in listing.plugins)
        return Verdict(listing, diagnoses, listing.problems, False)
    settings = read_settings()
    with tempfile.TemporaryDirectory(prefix="penguiflow-doctor-", ignore_cleanup_errors=True) as folder:
        diagnoses = tuple(
            _diagnosed(entry, listing, settings, Job(str(Path(folder, f"{i}")), *_key(entry), probing))
            for i, entry in enumerate(listing.plugins)
        )
        problems = listing.problems
        if all(diagnosis.status != UNKNOWN for diagnosis in diagnoses):
            problems = tuple(_done(Job(str(Path(folder, "build"))), settings).get("problems", [()])[-1])
    return Verdict(listing, diagnoses, problems, probing)


def _key(entry: Entry) -> tuple[str, str, str]:
    return entry.group, entry.name, entry.distribution


def _diagnosed(entry: Entry, listing: Listing, settings: Settings, job: Job) -> Diagnosis:
    diagnosis = Diagnosis(entry, entry.status, entry.reason)
    if entry.status == LOADED:
        _examine(diagnosis, _done(job, settings))
    elif entry.status == FAILED:
        same = [e for e in listing.plugins if (e.group, e.name) == (entry.group, entry.name)]
        others = [f"{e.distribution}:{e.name}" for e in same]
        diagnosis.findings.append(findings.ambiguous(entry.name, entry.reason, others))
    return diagnosis


def _examine(diagnosis: Diagnosis, lines: dict[str, list[Any]]) -> None:
    """Read what a process has left."""
    diagnosis.findings += [Finding(**finding) for finding in lines.get("finding", [])]
    for record in lines.get("record", []):
        diagnosis.hooks, diagnosis.load_ms = record["hooks"], record["load_ms"]
        diagnosis.status, diagnosis.reason = record["status"], record["reason"] or diagnosis.reason
    if "record" not in lines:
        diagnosis.status, diagnosis.reason = UNKNOWN, "it could not be loaded to the end"
    for times in lines.get("times_ms", []):
        diagnosis.times_ms = times
    if "done" not in lines:
        diagnosis.findings.append(_lost(diagnosis.entry.name, lines))


def _lost(name: str, lines: dict[str, list[Any]]) -> Finding:
    """A process that didn't come to its end: it hung with everything in it, or was ended."""
    stage = lines.get("stage", ["starting"])[-1]
    code, last_words = lines["end"][0]
    if lines["late"]:
        return findings.stuck(name, stage, lines["late"][0], None)
    return findings.crashed(name, stage, code, last_words)


def _done(job: Job, settings: Settings) -> dict[str, list[Any]]:
    """Run a job in a process of its own; its lines by their kind, and how it ended."""
    Path(job.report).touch()
    code = f"import sys; sys.path[:] = {sys.path!r}; from penguiflow.cli.probe import Job, main; main({job!r})"
    late: list[float] = []
    with open(f"{job.report}.out", "wb+") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            process.wait(limit_s(settings))
        except subprocess.TimeoutExpired:
            late.append(limit_s(settings))  # it didn't even come to say so itself
        finally:
            _killed(process)
        output.seek(0)
        said = output.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
    lines: dict[str, list[Any]] = {"end": [(process.wait(), said[:200])], "late": late}
    for line in Path(job.report).read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(ValueError):  # a line that the end of the process cut off
            for kind, value in json.loads(line).items():
                lines.setdefault(kind, []).append(value)
    return lines


def _killed(process: subprocess.Popen[bytes]) -> None:
    """End the process, and what it has started."""
    try:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    except (ProcessLookupError, PermissionError):
        pass
