"""A drawing as Mermaid: a flowchart with a subgraph for each subflow and playbook.

Rules: ids are our own; what people typed is written with every character that could mean something as an entity.
"""

from __future__ import annotations

from collections.abc import Iterator

from penguiflow_viz import model
from penguiflow_viz.formats.colours import FADED, ink
from penguiflow_viz.model import Box, Cluster, Drawing, Link

_SHAPES = {
    model.ROUTER: ("{", "}"),
    model.JOIN: ("[\\", "/]"),
    model.OPENSEA: ("([", "])"),
    model.ROOKERY: ("([", "])"),
    model.PLAYBOOK: ("[[", "]]"),
}
_STYLES = {
    model.NODE: "fill:#ffffff,stroke:#64748b,color:#0f172a",
    model.CONTROLLER: "fill:#ede9fe,stroke:#7c3aed,color:#2e1065",
    model.ROUTER: "fill:#fef3c7,stroke:#d97706,color:#451a03",
    model.JOIN: "fill:#ccfbf1,stroke:#0d9488,color:#042f2e",
    model.OPENSEA: "fill:#e0f2fe,stroke:#0284c7,color:#082f49",
    model.ROOKERY: "fill:#e2e8f0,stroke:#475569,color:#0f172a",
    model.PLAYBOOK: "fill:#fce7f3,stroke:#db2777,color:#500724",
}


_PAIRS = ("\ufb02\u00b0", "\u00b6\u00df", "\\n", "$$", ":f")


def mermaid(drawing: Drawing, direction: str) -> str:
    """The drawing as the text of a Mermaid flowchart."""
    return "".join(f"{line}\n" for line in _lines(drawing, direction))


def _lines(drawing: Drawing, direction: str) -> Iterator[str]:
    yield f"%% {escaped(drawing.root.label)}"
    for line in drawing.legend:
        yield f"%% {escaped(line)}"
    yield f"flowchart {direction}"
    yield from _contents(drawing, drawing.root, "    ")
    for link in drawing.links:
        yield f"    {_link(link)}"
    kinds = [kind for kind in model.BOX_KINDS if any(box.kind == kind for box in drawing.boxes)]
    for kind in kinds:
        yield f"    classDef {kind} {_STYLES[kind]}"
    for kind in kinds:
        yield f"    class {','.join(box.id for box in drawing.boxes if box.kind == kind)} {kind}"
    yield from _looks(drawing)


def _contents(drawing: Drawing, cluster: Cluster, indent: str) -> Iterator[str]:
    for box in drawing.boxes:
        if box.cluster == cluster.id:
            yield f"{indent}{_box(box)}"
    for inner in drawing.clusters:
        if inner.parent == cluster.id:
            label = _label((inner.label, *inner.details, *inner.badges))
            yield f'{indent}subgraph {inner.id} ["{label}"]'
            yield from _contents(drawing, inner, f"{indent}    ")
            yield f"{indent}end"


def _box(box: Box) -> str:
    opening, closing = _SHAPES.get(box.kind, ("[", "]"))
    return f'{box.id}{opening}"{_label((box.label, *box.details, *box.badges))}"{closing}'


def _link(link: Link) -> str:
    arrow = "-.->" if link.back or link.kind == model.CALLS else "-->"
    label = f'|"{escaped(link.label)}"|' if link.label else ""
    return f"{link.source} {arrow}{label} {link.target}"


def _looks(drawing: Drawing) -> Iterator[str]:
    for box in drawing.boxes:
        if box.fill:
            yield f"    style {box.id} fill:{box.fill},color:{ink(box.fill)}"
    for cluster in drawing.clusters:
        if cluster.fill:
            yield f"    style {cluster.id} fill:{cluster.fill}28,stroke:{cluster.fill}"
    items: list[Box | Cluster] = [*drawing.boxes, *drawing.clusters]
    faded = [item.id for item in items if item.faded]
    if faded:
        yield f"    classDef faded opacity:{FADED}"
        yield f"    class {','.join(faded)} faded"
    links: dict[str, list[str]] = {}
    for place, link in enumerate(drawing.links):
        links.setdefault(_stroke(link), []).append(str(place))
    for look, places in links.items():
        if look:
            yield f"    linkStyle {','.join(places)} {look}"


def _stroke(link: Link) -> str:
    """The look of a link, all of it: Mermaid keeps only what it was told last."""
    parts = ["stroke:#c2410c"] if link.cycle is not None or link.back else []
    parts += [f"stroke-width:{1.5 * link.width:.2g}px"] if link.width != 1 else []
    parts += [f"opacity:{FADED}"] if link.faded else []
    return ",".join(parts)


def _label(lines: tuple[str, ...]) -> str:
    return "<br/>".join(map(escaped, lines))


def escaped(text: str) -> str:
    """The text with each character that isn't a letter, a digit or a space as an entity.

    Mermaid takes some pairs of characters for more than they are even then: the marks that it writes around entities
    itself, a backslash and an n, formulas, icons. Between these stands a character that isn't seen.
    """
    for pair in _PAIRS:
        text = text.replace(pair, f"{pair[0]}\u2060{pair[1]}")
    return "".join(char if char.isalnum() or char in " _" else f"#{ord(char)};" for char in text)
