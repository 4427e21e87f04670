"""What a flow's graph says that there is to draw, and what a drawing's ids stand for: two ways to one description.

Rules: a node is named by its path, a tuple of names from the outermost flow in. A playbook's path goes on with the
node that declares it and its place among that node's playbooks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from penguiflow import Graph
from penguiflow_viz import Drawing

Path = tuple[str, ...]
Arrow = tuple[Path, Path]


def nodes_of(graph: Graph, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """The paths and kinds of everything that has to be drawn as a box or cluster."""
    yield (*path, "OpenSea"), "opensea"
    yield (*path, "Rookery"), "rookery"
    for node in graph.nodes:
        yield (*path, node.name), node.kind
        if node.subgraph is not None:
            yield from nodes_of(node.subgraph, (*path, node.name))
        for place, playbook in enumerate(node.playbooks):
            yield _playbook(path, node.name, place), "playbook"
            yield from nodes_of(playbook, _playbook(path, node.name, place))


def arrows_of(graph: Graph, path: Path = ()) -> Iterator[Arrow]:
    """Everything that has to be drawn as an arrow."""
    for name in graph.entries:
        yield (*path, "OpenSea"), (*path, name)
    for edge in graph.edges:
        yield (*path, edge.source), (*path, edge.target)
    for name in graph.exits:
        yield (*path, name), (*path, "Rookery")
    for node in graph.nodes:
        if node.subgraph is not None:
            yield from arrows_of(node.subgraph, (*path, node.name))
        for place, playbook in enumerate(node.playbooks):
            yield (*path, node.name), _playbook(path, node.name, place)
            yield from arrows_of(playbook, _playbook(path, node.name, place))


def _playbook(path: Path, name: str, place: int) -> Path:
    return (*path, name, f"playbook {place}")


def paths_of(drawing: Drawing) -> dict[str, Path]:
    """The path that each id of a drawing stands for."""
    callers = {link.target: link.source for link in drawing.links if link.kind == "calls"}
    places: Counter[str] = Counter()
    found: dict[str, Path] = {drawing.root.id: ()}

    def called(target: str, path: Path) -> Path:
        caller = callers[target]
        places[caller] += 1
        name = next(box.name for box in drawing.boxes if box.id == caller)
        return _playbook(path, name, places[caller] - 1)

    for cluster in drawing.clusters[1:]:
        path = found[cluster.parent]
        found[cluster.id] = called(cluster.id, path) if cluster.kind == "playbook" else (*path, cluster.name)
    for box in drawing.boxes:
        path = found[box.cluster]
        found[box.id] = called(box.id, path) if box.kind == "playbook" else (*path, box.name)
    return found


def squeezed(text: str) -> str:
    """The text with each run of white space as one space, as browsers show it."""
    return " ".join(text.split())
