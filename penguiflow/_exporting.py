"""What is said where no plugin exports a graph in the format that was asked for."""

from __future__ import annotations

from collections.abc import Sequence

from penguiflow._loading import PluginRecord
from penguiflow._names import same_distribution

_DRAWS = "penguiflow-viz"


def nobody_exports(format: str, records: Sequence[PluginRecord]) -> str:
    """Who was asked; and, unless it was among them, why the package that draws was not.

    Args:
        format: What was asked for.
        records: What became of the flow's plugins.
    """
    asked = [record for record in records if "export_graph" in record.hooks]
    told = []
    if asked:
        names = " and ".join(repr(record.name) for record in asked)
        told.append(f"{names} {'knows' if len(asked) == 1 else 'know'} no such format")
    if not any(_draws(record) for record in asked):
        there = next((record for record in records if _draws(record)), None)
        told.append(
            f"install {_DRAWS}, or mend the name of the format"
            if there is None
            else f"{_DRAWS} is installed, but its plugin {there.name!r} is {there.status}: {there.reason}"
        )
    return f"no plugin exports {format!r}: {'; '.join(told)}"


def _draws(record: PluginRecord) -> bool:
    return record.name == "viz" if record.distribution is None else same_distribution(record.distribution, _DRAWS)
