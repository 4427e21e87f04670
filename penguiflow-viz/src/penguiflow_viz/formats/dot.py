"""A drawing as DOT, for Graphviz: a cluster for each subflow and playbook.

Rules: ids are our own; labels are quoted, with backslashes doubled and ampersands as entities, so that Graphviz shows
what was meant. A link to or from a subflow is cut at its cluster's border.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from penguiflow_viz import model
from penguiflow_viz.formats.colours import FADED, ink
from penguiflow_viz.model import Box, Cluster, Drawing, Link

_LOOKS: Mapping[str, Mapping[str, str]] = {
    model.NODE: {"fillcolor": "#ffffff", "color": "#64748b"},
    model.CONTROLLER: {"fillcolor": "#ede9fe", "color": "#7c3aed", "peripheries": "2"},
    model.ROUTER: {"shape": "diamond", "style": "filled", "fillcolor": "#fef3c7", "color": "#d97706"},
    model.JOIN: {"shape": "invtrapezium", "style": "filled", "fillcolor": "#ccfbf1", "color": "#0d9488"},
    model.OPENSEA: {"shape": "oval", "style": "filled", "fillcolor": "#e0f2fe", "color": "#0284c7"},
    model.ROOKERY: {"shape": "oval", "style": "filled", "fillcolor": "#e2e8f0", "color": "#475569"},
    model.PLAYBOOK: {"shape": "component", "style": "filled", "fillcolor": "#fce7f3", "color": "#db2777"},
}

_LINE = "#64748b"


def dot(drawing: Drawing, direction: str) -> str:
    """The drawing as the text of a DOT digraph."""
    return "".join(f"{line}\n" for line in _lines(drawing, direction))


def _lines(drawing: Drawing, direction: str) -> Iterator[str]:
    yield f"digraph {quoted(drawing.root.label)} {{"
    yield f"  graph {_attributes(charset='UTF-8', compound='true', rankdir=direction, fontname='Helvetica')}"
    yield f"  node {_attributes(shape='box', style='rounded,filled', fontname='Helvetica')}"
    yield f"  edge {_attributes(fontname='Helvetica', fontsize='10', color=_LINE)}"
    if drawing.legend:
        yield f"  graph {_attributes(label=drawing.legend, labelloc='b', labeljust='l')}"
    yield from _contents(drawing, drawing.root, "  ", 1)
    ends = {cluster.id: (cluster.opensea, cluster.rookery) for cluster in drawing.clusters}
    for link in drawing.links:
        yield f"  {_link(link, ends)}"
    yield "}"


def _contents(drawing: Drawing, cluster: Cluster, indent: str, depth: int) -> Iterator[str]:
    for box in drawing.boxes:
        if box.cluster == cluster.id:
            yield f"{indent}{_box(box)}"
    for inner in drawing.clusters:
        if inner.parent == cluster.id:
            yield f"{indent}subgraph cluster_{inner.id} {{"
            yield f"{indent}  graph {_cluster_look(inner, depth)}"
            yield from _contents(drawing, inner, f"{indent}  ", depth + 1)
            yield f"{indent}}}"


def _cluster_look(cluster: Cluster, depth: int) -> str:
    lines = (cluster.label, *cluster.details, *cluster.badges)
    ground = "#f6f7f9" if depth % 2 else "#ffffff"  # told apart from what is around it, however deep
    look = {"style": "rounded", "color": "#64748b", "bgcolor": f"{cluster.fill}28" if cluster.fill else ground}
    if cluster.kind == model.PLAYBOOK:
        look |= {"style": "rounded,dashed", "color": "#db2777"}
    if cluster.faded:
        look = _faded(look)
    return _attributes(label=lines, tooltip=cluster.tooltip, **look)


def _box(box: Box) -> str:
    look = dict(_LOOKS[box.kind])
    if box.fill:
        look |= {"fillcolor": box.fill, "fontcolor": ink(box.fill)}
    if box.faded:
        look = _faded(look)
    lines = (box.label, *box.details, *box.badges)
    return f"{box.id} {_attributes(label=lines, tooltip=box.tooltip or lines, **look)}"


def _link(link: Link, ends: Mapping[str, tuple[str, str]]) -> str:
    source, target = ends.get(link.source, ("", link.source))[1], ends.get(link.target, (link.target, ""))[0]
    look: dict[str, str] = {}
    if link.source in ends and link.source != link.target:
        look["ltail"] = f"cluster_{link.source}"
    if link.target in ends and link.source != link.target:
        look["lhead"] = f"cluster_{link.target}"
    if link.label:
        look["label"] = link.label
    if link.cycle is not None or link.back:
        look["color"] = "#c2410c"
    if link.back or link.kind == model.CALLS:
        look["style"] = "dashed"
    if link.width != 1:
        look["penwidth"] = f"{link.width:.2g}"
    if link.faded:
        look = _faded({"color": _LINE, **look})
    return f"{source} -> {target} {_attributes(id=link.id, **look)}"


def _faded(look: Mapping[str, str]) -> dict[str, str]:
    """The look of what stands back: its colours, hardly opaque."""
    opaque = {"fontcolor": "#000000", **look}
    return {
        name: f"{value}{round(FADED * 255):02x}" if len(value) == 7 and value[0] == "#" else value
        for name, value in opaque.items()
    }


def _attributes(**given: str | tuple[str, ...]) -> str:
    return f"[{', '.join(f'{name}={_value(value)}' for name, value in given.items())}]"


def _value(value: str | tuple[str, ...]) -> str:
    return quoted(value) if isinstance(value, str) else quoted(*value)


def quoted(*lines: str) -> str:
    """The lines as one quoted string."""
    return '"' + "\\n".join(map(_escaped, lines)) + '"'


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"')
