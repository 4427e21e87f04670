"""What is wrong with a plugin, and what to do about it.

Rules: a finding is a sentence of fact, a place in a file where there is one, and the next step. The next step is for
whoever runs the deployment: what he can do now, before the plugin's author has mended it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from penguiflow import PluginError, PluginRecord
from penguiflow._discovery import POLICIES
from penguiflow._loading import INCOMPATIBLE, OptionsError
from penguiflow._settings import VARIABLES
from penguiflow.cli.speech import duration, place, told

SLOW_MS = 1.0

_FAILS_CLOSED = "that message fails with ROUTING"
_IS_PASSED_OVER = "it is logged and passed over, and after {n} failures in a row the plugin is no longer called"
_MENDED = "its author has to mend it"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong.

    Attributes:
        what: In a sentence.
        where: The file and line, if it came from one.
        advice: What to do about it.
    """

    what: str
    where: str | None
    advice: str

    def to_document(self) -> dict[str, str | None]:
        """The same for `--json`."""
        return asdict(self)


def block(name: str) -> str:
    """How to do without a plugin."""
    return f"until then: {VARIABLES['block']}={name}"


def unloaded(record: PluginRecord) -> Finding:
    """Why a plugin could not be loaded."""
    error = record.error
    return Finding(record.reason, None if error is None else place(error), _remedy(record))


def _remedy(record: PluginRecord) -> str:
    error, name = record.error, record.name
    if isinstance(error, OptionsError):
        return "correct the options where they stand, or set them if there are none"
    if record.status == INCOMPATIBLE:
        return f"install a version of {record.distribution} that is made for this one; {block(name)}"
    if isinstance(error, ModuleNotFoundError):
        return f"install {error.name}: {record.distribution} should depend on it; {block(name)}"
    if isinstance(error, SystemExit):
        return f"it tried to end the process: {_MENDED}; {block(name)}"
    if isinstance(error, TypeError) and POLICIES in str(error):
        return f"its author has to publish it as a policy; {block(name)}"
    return f"install another version of {record.distribution}, or {_MENDED}; {block(name)}"


def ambiguous(name: str, reason: str, others: list[str]) -> Finding:
    """Two distributions bring a plugin under the same name."""
    return Finding(reason, None, f"for instance: {VARIABLES['block']}={others[-1] if others else name}")


def raised(name: str, hook: str, error: BaseException, limit_s: float | None, quarantine_after: int) -> Finding:
    """A hook, or `start` or `stop`, raised; `limit_s` if it was given up for taking longer than that."""
    if hook in ("start", "stop"):
        what = str(error) if limit_s is not None else f"{hook} raises {_told(error)}"
        return Finding(what, place(error), f"{_LIFE[hook]}: {_MENDED}; {block(name)}")
    follows = _FAILS_CLOSED if hook == "resolve_route" else _IS_PASSED_OVER.format(n=quarantine_after)
    late = f"{hook} takes longer than {limit_s:g} s" if limit_s is not None else f"{hook} raises {_told(error)}"
    return Finding(f"{late}: {follows}", place(error), f"{_MENDED}; {block(name)}")


_LIFE = {
    "start": "the flow starts without it, or not at all if it is named or required",
    "stop": "a flow that stops gives it up, and it may lose what it held",
}


def unbuilt(name: str, error: BaseException) -> Finding:
    """A flow can't be built or started with a plugin."""
    return Finding(
        f"a flow with it fails: {_told(error)}", place(error.__cause__ or error), f"{_MENDED}; {block(name)}"
    )


def slow(name: str, hook: str, milliseconds: float, kind: str) -> Finding:
    """A hook keeps the event loop from everything else."""
    what = f"{hook} takes {duration(milliseconds)} {kind}, and blocks the event loop meanwhile: every trace waits"
    return Finding(what, None, f"it should hand its work to a thread or a task: {_MENDED}; {block(name)}")


def stuck(name: str, doing: str, seconds: float, where: str | None) -> Finding:
    """A plugin doesn't come back, and the whole process waits."""
    what = f"{doing} does not come back: after {seconds:g} s the process still hangs in it"
    return Finding(what, where, f"nothing runs meanwhile: {_MENDED}; {block(name)}")


def crashed(name: str, doing: str, code: int, last_words: str) -> Finding:
    """A plugin took its process with it."""
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    said = f": {last_words}" if last_words else ""
    return Finding(f"{doing} ended the process ({how}){said}", None, f"{_MENDED}; {block(name)}")


def _told(error: BaseException) -> str:
    if isinstance(error, PluginError):
        return "; ".join(error.problems)
    return told(error)
