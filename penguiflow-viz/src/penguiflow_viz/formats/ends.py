"""Where a link to a subflow ends in formats whose links lead from box to box."""

from __future__ import annotations

from penguiflow_viz.model import Drawing


def inner_ends(drawing: Drawing) -> dict[str, tuple[str, str]]:
    """For each cluster, the ids of its OpenSea and its Rookery."""
    return {cluster.id: (cluster.opensea, cluster.rookery) for cluster in drawing.clusters}
