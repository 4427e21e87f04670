"""The TOML file of a deployment's settings: read, and checked as a whole.

Rules: it gives what the file says and no default, so that a default stands in one place. Every problem is listed, with
where it stands.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from penguiflow._errors import PluginError
from penguiflow._names import meant

_Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Table(BaseModel):
    """The table `[plugins]`. Nothing in TOML is `None`: that is what the file doesn't say."""

    model_config = ConfigDict(extra="forbid", strict=True)

    allow: list[str] | None = None
    block: list[str] | None = None
    require: list[str] | None = None
    policies: list[str] | None = None
    order: list[str] | None = None
    strict: bool | None = None
    decision_timeout_s: _Seconds | None = None
    quarantine_after: Annotated[int, Field(ge=1)] | None = None
    start_timeout_s: _Seconds | None = None
    stop_timeout_s: _Seconds | None = None
    options: dict[str, dict[str, Any]] | None = None


def table(path: str, variable: str) -> tuple[Mapping[str, Any], str]:
    """What the file says of plugins, and where: in `[plugins]`, or next to a `tool` in `[tool.penguiflow.plugins]`.

    Args:
        path: The file.
        variable: What named it, for the texts of errors.

    Raises:
        PluginError: the file can't be read, or something in it is wrong; lists every problem.
    """
    section, at = _section(path, variable)
    problems = [f"{path}: there is no table {key!r}{meant(key, ['plugins'])}" for key in section if key != "plugins"]
    said: Mapping[str, Any] = {}
    try:
        checked = _Table.model_validate(section.get("plugins", {}))
        said = {key: getattr(checked, key) for key in checked.model_fields_set}
    except ValidationError as exc:
        problems += [_complaint(at, error) for error in exc.errors(include_url=False)]
    if problems:
        raise PluginError(problems)
    return said, at


def _section(path: str, variable: str) -> tuple[dict[str, Any], str]:
    """The part of the file that is ours, and where its table of plugins stands."""
    try:
        data = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise PluginError([f"{path} ({variable}) can't be read: {exc}"]) from exc
    tool = data.get("tool")
    if not isinstance(tool, dict):
        return data, f"{path}: plugins"
    if "plugins" in data:
        raise PluginError([f"{path}: next to a table 'tool', [plugins] is called [tool.penguiflow.plugins]"])
    section = tool.get("penguiflow")
    if not isinstance(section, dict):
        raise PluginError([f"{path} has no table [tool.penguiflow]: write one, or take {variable} away"])
    return section, f"{path}: tool.penguiflow.plugins"


def _complaint(at: str, error: Any) -> str:
    where = ".".join(map(str, (at, *error["loc"])))
    if error["type"] == "extra_forbidden":
        known = list(_Table.model_fields)
        return f"{where} is no setting{meant(str(error['loc'][0]), known) or ': there are ' + ', '.join(known)}"
    if not error["loc"]:
        return f"{where} has to be a table, and it is {error['input']!r:.60}"
    return f"{where}: {error['msg']}, and it is {error['input']!r:.60}"
