"""From a flow's graph to its drawing.

Rules: every edge of the graph is one link, every entry a link from OpenSea, every exit a link to Rookery; nothing is
left out and nothing is made up. What stands below a name is short; the tooltip has all that is known.
"""

from __future__ import annotations

from dataclasses import replace

from penguiflow import OPEN_SEA, ROOKERY, Graph, GraphNode
from penguiflow_viz import model
from penguiflow_viz.cycles import closing, components
from penguiflow_viz.model import Box, Cluster, Drawing, Link
from penguiflow_viz.telling import details, flow_tooltip, shown, tooltip


def drawing_of(graph: Graph) -> Drawing:
    """What there is to draw of a flow's graph."""
    reader = _Reader()
    reader.flow(graph, model.FLOW, "", None)
    places = {cluster.id: place for place, cluster in enumerate(reader.clusters)}
    links = sorted(reader.links, key=lambda link: places[link.cluster])
    numbered = tuple(replace(link, id=f"e{place}") for place, link in enumerate(links))
    return Drawing(graph.name, tuple(reader.clusters), tuple(reader.boxes), numbered)


class _Reader:
    """Gathers clusters, boxes and links."""

    def __init__(self) -> None:
        self.clusters: list[Cluster] = []
        self.boxes: list[Box] = []
        self.links: list[Link] = []
        self._nodes = 0
        self._rounds = 0

    def flow(self, graph: Graph, kind: str, parent: str, node: GraphNode | None, cycle: int | None = None) -> Cluster:
        """A flow with all that is in it. `node` is the one that a subflow stands for."""
        cluster = self._cluster(graph, kind, parent, node, cycle)
        rounds = _rounds(graph)
        numbers = {name: self._rounds + place for place, group in enumerate(rounds, 1) for name in group}
        self._rounds += len(rounds)
        ids = self._boxes(graph, cluster, numbers)
        for found in graph.nodes:
            if found.subgraph is not None:
                number = numbers.get(found.name)
                ids[found.name] = self.flow(found.subgraph, model.SUBFLOW, cluster.id, found, number).id
        self._floes(graph, cluster, ids, numbers)
        for found in graph.nodes:
            for playbook in found.playbooks:
                self._playbook(playbook, cluster.id, ids[found.name])
        for name in graph.exits:
            self._link(ids[name], cluster.rookery, cluster.id, model.EXIT)
        return cluster

    def _cluster(self, graph: Graph, kind: str, parent: str, node: GraphNode | None, cycle: int | None) -> Cluster:
        number = len(self.clusters)
        name = graph.name if node is None else node.name
        cluster = Cluster(
            id=f"c{number}",
            node_id="" if node is None else node.node_id,
            name=name,
            label=shown(name),
            kind=kind,
            parent=parent,
            opensea=f"i{number}",
            rookery=f"o{number}",
            details=() if name == graph.name else (f"flow {shown(graph.name)}",),
            tooltip=tuple(flow_tooltip(graph, kind, node)),
            cycle=cycle,
        )
        self.clusters.append(cluster)
        return cluster

    def _boxes(self, graph: Graph, cluster: Cluster, numbers: dict[str, int]) -> dict[str, str]:
        """The ids of the boxes by the names of the nodes."""
        path = _path(graph)
        ids: dict[str, str] = {}
        self.boxes.append(Box(cluster.opensea, f"{path}{OPEN_SEA}", OPEN_SEA, OPEN_SEA, model.OPENSEA, cluster.id))
        for node in graph.nodes:
            if node.subgraph is None:
                ids[node.name] = self._box(node, cluster.id, numbers.get(node.name), len(graph.predecessors(node.name)))
        self.boxes.append(Box(cluster.rookery, f"{path}{ROOKERY}", ROOKERY, ROOKERY, model.ROOKERY, cluster.id))
        return ids

    def _box(self, node: GraphNode, cluster: str, cycle: int | None, inputs: int) -> str:
        box = Box(
            id=self._number(),
            node_id=node.node_id,
            name=node.name,
            label=shown(node.name),
            kind=node.kind,
            cluster=cluster,
            details=tuple(details(node, inputs)),
            tooltip=tuple(tooltip(node, inputs, cycle)),
            cycle=cycle,
        )
        self.boxes.append(box)
        return box.id

    def _number(self) -> str:
        self._nodes += 1
        return f"n{self._nodes - 1}"

    def _floes(self, graph: Graph, cluster: Cluster, ids: dict[str, str], numbers: dict[str, int]) -> None:
        back = _closing(graph)
        for name in graph.entries:
            self._link(cluster.opensea, ids[name], cluster.id, model.ENTRY)
        for edge in graph.edges:
            number = numbers.get(edge.source)
            number = number if number == numbers.get(edge.target) else None
            closes = (edge.source, edge.target) in back
            label = "" if not closes else "loop" if edge.source == edge.target else f"cycle {number}"
            self._link(ids[edge.source], ids[edge.target], cluster.id, model.FLOE, label, number, closes)

    def _playbook(self, playbook: Graph, cluster: str, caller: str) -> None:
        if playbook.nodes:
            target = self.flow(playbook, model.PLAYBOOK, cluster, None).id
        else:
            name = shown(playbook.name)
            box = Box(self._number(), "", playbook.name, name, model.PLAYBOOK, cluster, (), (f"{name} (drawn above)",))
            self.boxes.append(box)
            target = box.id
        self._link(caller, target, cluster, model.CALLS, "calls")

    def _link(
        self,
        source: str,
        target: str,
        cluster: str,
        kind: str,
        label: str = "",
        cycle: int | None = None,
        back: bool = False,
    ) -> None:
        self.links.append(Link("", source, target, cluster, kind, label, cycle, back))


def _path(graph: Graph) -> str:
    """What the ids of the graph's nodes begin with."""
    first = graph.nodes[0]
    return first.node_id[: len(first.node_id) - len(first.name)]


def _rounds(graph: Graph) -> list[list[str]]:
    """The names on each of the graph's cycles of several nodes."""
    groups = components(_after(graph))
    return [[graph.nodes[place].name for place in group] for group in groups if len(group) > 1]


def _closing(graph: Graph) -> set[tuple[str, str]]:
    """The edges that lead back."""
    places = {node.name: place for place, node in enumerate(graph.nodes)}
    found = closing(_after(graph), [places[name] for name in graph.entries])
    return {(graph.nodes[source].name, graph.nodes[target].name) for source, target in found}


def _after(graph: Graph) -> list[list[int]]:
    places = {node.name: place for place, node in enumerate(graph.nodes)}
    after: list[list[int]] = [[] for _ in graph.nodes]
    for edge in graph.edges:
        after[places[edge.source]].append(places[edge.target])
    return after
