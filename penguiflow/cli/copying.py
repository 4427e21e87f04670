"""`penguiflow plugins new`: a distribution of one's own, copied from the template.

Rules: the template is itself a working distribution, an observer, so nothing in it is a placeholder but its name. For
another kind of plugin, the files in the template's folder of that name take the place of the observer's. Either the
whole copy is there in the end, or nothing is.
"""

from __future__ import annotations

import ast
import keyword
import re
import shlex
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import penguiflow
from penguiflow._settings import VARIABLES
from penguiflow.cli.speech import USAGE, WRONG, Complaint

Kind: TypeAlias = Literal["observer", "policy"]
"""What a new plugin is for."""

KINDS: tuple[Kind, ...] = get_args(Kind)

_WORD = re.compile(r"[Tt]emplate")
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LEFT_OUT = ("__pycache__", "*.pyc", ".*_cache", ".venv*", "*.egg-info", "dist", "build", ".git", ".coverage")
_PREFIX = "penguiflow-"
_OURS = ("asgi", "mlflow", "otel", "policy", "prometheus", "viz")  # distributions of this project


@dataclass(frozen=True, slots=True)
class Copy:
    """The new distribution."""

    folder: str
    kind: Kind
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
        named = f" A policy loads only where it is named: {VARIABLES['policies']}={self.entry_point}."
        return (
            f"{self.folder} is there: {self.kind}, distribution {self.distribution}, package {self.package}."
            f"{named if self.kind == 'policy' else ''} Next:\n{steps}"
        )


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


def copied(source: Path, name: str, into: Path, kind: Kind = "observer") -> Copy:
    """Copy the template `source` as a plugin of that name and kind, as a new folder in `into`.

    Raises:
        Complaint: the name won't do, the folder is there already, or it can't be written.
    """
    _refuse_bad(name)
    made = Copy(
        folder=str(into / f"{_PREFIX}{name}"),
        kind=kind,
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
            _become(draft, kind)
            _refuse_taken(draft, name)
            _renamed(draft, name)
            draft.rename(target)
    except OSError as exc:
        raise Complaint(f"{target} can't be made: {exc}", WRONG) from None
    return made


def _refuse_bad(name: str) -> None:
    if name.startswith(_PREFIX):
        raise Complaint(f"leave the prefix away: penguiflow plugins new {name.removeprefix(_PREFIX)}", USAGE)
    if not _NAME.fullmatch(name):
        hint = re.sub(r"[^a-z0-9]+", "-", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()).strip("-")
        said = f": did you mean {hint!r}?" if _NAME.fullmatch(hint) else ""
        raise Complaint(
            f"{name!r} is no name for a plugin: small letters, digits and single hyphens, as in slow-nodes{said}", USAGE
        )
    if name in _OURS or keyword.iskeyword(_title(name)):
        why = f"{_PREFIX}{name} is there already" if name in _OURS else f"{_title(name)} can't name a class"
        raise Complaint(f"{name!r} is no name for a new plugin, since {why}: choose another one", USAGE)


def _become(draft: Path, kind: Kind) -> None:
    """Make another kind of an observer's copy, and leave no kind's own folder in it."""
    if kind != "observer":
        shutil.copytree(draft / kind, draft, dirs_exist_ok=True)
    for other in KINDS:
        shutil.rmtree(draft / other, ignore_errors=True)


def _refuse_taken(draft: Path, name: str) -> None:
    """The name becomes a class's, and must not hide another thing that the code uses."""
    title = _title(name)
    if title == "Template":  # it stays what it is
        return
    for path in sorted(draft.rglob("*.py")):
        for found in ast.walk(ast.parse(path.read_bytes())):
            if title in (getattr(found, "id", None), getattr(found, "name", None)):
                raise Complaint(f"the template uses the name {title} already: choose another one than {name!r}", USAGE)


def _title(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("-"))


def _steps(folder: Path) -> tuple[str, ...]:
    return (f"cd {shlex.quote(str(folder))}", "pip install --editable '.[test]'", "pytest")


def _renamed(folder: Path, name: str) -> None:
    """Put the name into every text and every file name, the deepest first."""
    for path in sorted(folder.rglob("*"), key=lambda path: len(path.parts), reverse=True):
        if path.is_file():
            _rewritten(path, name)
        title = spelled(path.name, name, path.suffix == ".py" or path.is_dir())
        if title != path.name:
            if path.with_name(title).is_file():
                raise Complaint(f"the template has a {title} already: choose another name than {name!r}", USAGE)
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
            return _title(name)
        before, after = text[: found.start()][-1:], text[found.end() :][:1]
        inside = "_" in (before, after) or before.isalnum() or after.isalnum()
        return name.replace("-", "_") if inside or (identifiers and before != "-") else name

    return _WORD.sub(put, text)
