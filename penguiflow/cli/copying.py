"""`penguiflow plugins new`: a distribution of one's own, copied from the template.

Rules: the template is itself a working distribution, so nothing in it is a placeholder but its name. Either the whole
copy is there in the end, or nothing is.
"""

from __future__ import annotations

import re
import shlex
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import penguiflow
from penguiflow.cli.speech import USAGE, WRONG, Complaint

_WORD = re.compile(r"[Tt]emplate")
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LEFT_OUT = ("__pycache__", "*.pyc", ".*_cache", ".venv*", "*.egg-info", "dist", "build", ".git", ".coverage")
_PREFIX = "penguiflow-"


@dataclass(frozen=True, slots=True)
class Copy:
    """The new distribution."""

    folder: str
    distribution: str
    package: str
    entry_point: str
    next: tuple[str, ...]

    def to_document(self) -> dict[str, Any]:
        """The same for `--json`."""
        return asdict(self)

    def to_text(self) -> str:
        """The same for a person."""
        steps = "\n".join(f"  {command}" for command in self.next)
        return f"{self.folder} is there: distribution {self.distribution}, package {self.package}. Next:\n{steps}"


def template() -> Path:
    """The folder of the template: in the installed package, or in a checkout.

    Raises:
        Complaint: it is in neither.
    """
    package = Path(penguiflow.__file__).parent
    for folder in (package / "_template", package.parent / "plugins" / "template"):
        if (folder / "pyproject.toml").is_file():
            return folder
    raise Complaint(f"the template is missing from {package}: install PenguiFlow again", WRONG)


def copied(source: Path, name: str, into: Path) -> Copy:
    """Copy the template `source` as a plugin of that name, as a new folder in `into`.

    Raises:
        Complaint: the name won't do, the folder is there already, or it can't be written.
    """
    _refuse_bad(name)
    made = Copy(
        folder=str(into / f"{_PREFIX}{name}"),
        distribution=f"{_PREFIX}{name}",
        package=f"penguiflow_{name.replace('-', '_')}",
        entry_point=name,
        next=_steps(into / f"{_PREFIX}{name}"),
    )
    target = Path(made.folder)
    if target.exists():
        raise Complaint(f"{target} is there already: choose another name, or another folder with --into", USAGE)
    try:
        into.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".penguiflow-new-", dir=into) as scratch:
            draft = Path(scratch, "draft")
            shutil.copytree(source, draft, ignore=shutil.ignore_patterns(*_LEFT_OUT))
            _renamed(draft, name)
            draft.rename(target)
    except OSError as exc:
        raise Complaint(f"{target} can't be made: {exc}", WRONG) from None
    return made


def _refuse_bad(name: str) -> None:
    if name.startswith(_PREFIX):
        raise Complaint(f"leave the prefix away: penguiflow plugins new {name.removeprefix(_PREFIX)}", USAGE)
    if name == "options":
        raise Complaint("the template has a class Options for its options already: choose another name", USAGE)
    if not _NAME.fullmatch(name):
        hint = re.sub(r"[^a-z0-9]+", "-", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()).strip("-")
        said = f": did you mean {hint!r}?" if _NAME.fullmatch(hint) else ""
        raise Complaint(
            f"{name!r} is no name for a plugin: small letters, digits and single hyphens, as in slow-nodes{said}", USAGE
        )


def _steps(folder: Path) -> tuple[str, ...]:
    return (f"cd {shlex.quote(str(folder))}", "pip install --editable '.[test]'", "pytest")


def _renamed(folder: Path, name: str) -> None:
    """Put the name into every text and every file name, the deepest first."""
    for path in sorted(folder.rglob("*"), key=lambda path: len(path.parts), reverse=True):
        if path.is_file():
            _rewritten(path, name)
        title = spelled(path.name, name, path.suffix == ".py" or path.is_dir())
        if title != path.name:
            path.rename(path.with_name(title))


def _rewritten(path: Path, name: str) -> None:
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        return  # no text
    changed = spelled(text, name)
    if changed != text:
        path.write_bytes(changed.encode("utf-8"))


def spelled(text: str, name: str, identifiers: bool = False) -> str:
    """The text with the new name in the template's places: as a class, inside an identifier, or as it is."""

    def put(found: re.Match[str]) -> str:
        if found[0] == "Template":
            return "".join(part.capitalize() for part in name.split("-"))
        before, after = text[: found.start()][-1:], text[found.end() :][:1]
        inside = "_" in (before, after) or before.isalnum() or after.isalnum()
        return name.replace("-", "_") if inside or (identifiers and before != "-") else name

    return _WORD.sub(put, text)
