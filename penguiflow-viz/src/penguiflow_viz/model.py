"""What is drawn, as plain data: boxes, links between them, and clusters around them.

Rules: a drawing never changes, and everything in it has one order. Ids (`n0`, `e0`, `c0`) are made of letters and
digits, so that every format can use them; what people typed stands in `name`, and what is shown in `label`.
"""

from __future__ import annotations

from dataclasses import dataclass

NODE, CONTROLLER, ROUTER, JOIN = "node", "controller", "router", "join"
OPENSEA, ROOKERY = "opensea", "rookery"
FLOW, SUBFLOW, PLAYBOOK = "flow", "subflow", "playbook"
ENTRY, FLOE, CALLS, EXIT = "entry", "floe", "calls", "exit"
BOX_KINDS = (NODE, CONTROLLER, ROUTER, JOIN, OPENSEA, ROOKERY, PLAYBOOK)


@dataclass(frozen=True, slots=True)
class Box:
    """A node, or one of a flow's ends.

    Attributes:
        id: Unique in the drawing.
        node_id: The node's id in the flow's events; OpenSea and Rookery are named in the same way.
        name: The name as it was given.
        label: The name as it is shown, in one line.
        kind: `node`, `controller`, `router`, `join`, `opensea`, `rookery`, or `playbook` (one inside itself).
        cluster: The id of the cluster that it stands in.
        details: Short lines below the name.
        tooltip: Everything that is known, a line each.
        cycle: The number of the cycle of several nodes that it is on, from 1; `None` if it is on none.
        fill: A colour (`#rrggbb`) instead of its kind's; empty for that.
        badges: Lines that an overlay adds.
        faded: Whether it stands back, as what a trace didn't reach.
    """

    id: str
    node_id: str
    name: str
    label: str
    kind: str
    cluster: str
    details: tuple[str, ...] = ()
    tooltip: tuple[str, ...] = ()
    cycle: int | None = None
    fill: str = ""
    badges: tuple[str, ...] = ()
    faded: bool = False


@dataclass(frozen=True, slots=True)
class Cluster:
    """A flow: the whole one, a subflow, or a playbook that a node declares.

    A subflow is a node, too: links lead to and from its cluster.

    Attributes:
        id: Unique in the drawing; the whole flow is `c0`.
        node_id: The id, in the flow's events, of the node that the subflow stands for; empty for others.
        name: The name as it was given: of the node if it is a subflow, of the flow otherwise.
        label: The name as it is shown, in one line.
        kind: `flow`, `subflow` or `playbook`.
        parent: The id of the cluster around it; empty for the whole flow.
        opensea: The id of the box where messages enter.
        rookery: The id of the box where they leave.
    """

    id: str
    node_id: str
    name: str
    label: str
    kind: str
    parent: str
    opensea: str
    rookery: str
    details: tuple[str, ...] = ()
    tooltip: tuple[str, ...] = ()
    cycle: int | None = None
    fill: str = ""
    badges: tuple[str, ...] = ()
    faded: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """An arrow.

    Attributes:
        id: Unique in the drawing.
        source: The id of a box or cluster.
        target: The id of a box or cluster.
        cluster: The id of the cluster that it is drawn in.
        kind: `entry` (from OpenSea), `exit` (to Rookery), `floe` or `calls` (a node and its playbook).
        label: What is written on it.
        cycle: The number of the cycle that it belongs to; `None` if it belongs to none.
        back: Whether it closes the cycle: it leads back to where a message has been.
        width: How wide it is drawn, 1 being usual.
        tooltip: Everything that is known, a line each.
        faded: Whether it stands back.
    """

    id: str
    source: str
    target: str
    cluster: str
    kind: str
    label: str = ""
    cycle: int | None = None
    back: bool = False
    width: float = 1.0
    tooltip: tuple[str, ...] = ()
    faded: bool = False


@dataclass(frozen=True, slots=True)
class Drawing:
    """A flow as it is drawn. A cluster stands before what is in it.

    Attributes:
        name: The flow's name.
        clusters: The whole flow first, then what it contains, outer before inner.
        boxes: In the order of the clusters; in each: OpenSea, its nodes, Rookery.
        links: In the order of the clusters; in each: entries, floes, playbooks, exits.
        legend: Lines that say what an overlay shows.
    """

    name: str
    clusters: tuple[Cluster, ...]
    boxes: tuple[Box, ...]
    links: tuple[Link, ...]
    legend: tuple[str, ...] = ()

    @property
    def root(self) -> Cluster:
        """The whole flow."""
        return self.clusters[0]

    def depths(self) -> dict[str, int]:
        """In how many flows each cluster is nested, by its id; the whole flow in none."""
        found: dict[str, int] = {}
        for cluster in self.clusters:
            found[cluster.id] = found[cluster.parent] + 1 if cluster.parent else 0
        return found
