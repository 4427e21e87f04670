"""The colours of drawings, light and dark, as a style sheet.

Rules: every rule names a class that begins with `pf`, since a page may have the drawing among other things.
"""

from __future__ import annotations

from penguiflow_viz import model

THEMES = ("auto", "light", "dark")

FADED = 0.28
"""How opaque is what stands back."""

FONT = "Helvetica,Arial,'Liberation Sans',sans-serif"

# Fill and border of each kind.
_LIGHT = {
    model.NODE: ("#ffffff", "#64748b"),
    model.CONTROLLER: ("#f1ecff", "#7c3aed"),
    model.ROUTER: ("#fff6db", "#c77700"),
    model.JOIN: ("#dcf7f3", "#0d8577"),
    model.OPENSEA: ("#e0f2fe", "#0277b8"),
    model.ROOKERY: ("#e5eaf1", "#475569"),
    model.PLAYBOOK: ("#fdeaf4", "#c72c72"),
}
_DARK = {
    model.NODE: ("#1e293b", "#8292a8"),
    model.CONTROLLER: ("#2e2350", "#a78bfa"),
    model.ROUTER: ("#3b2c0b", "#f0b03f"),
    model.JOIN: ("#0f3532", "#3ecbb8"),
    model.OPENSEA: ("#0c3048", "#4cb9f5"),
    model.ROOKERY: ("#2b3648", "#a3b2c7"),
    model.PLAYBOOK: ("#451c34", "#f07ab6"),
}
_LIGHT_REST = {
    "page": "#ffffff",
    "text": "#0f172a",
    "soft": "#475569",
    "line": "#64748b",
    "round": "#c2410c",
    "group": "#64748b0f",
    "ground": "#f6f7f9",
    "rim": "#94a3b8",
}
_DARK_REST = {
    "page": "#0f172a",
    "text": "#f1f5f9",
    "soft": "#b6c2d2",
    "line": "#8ea0b8",
    "round": "#fb923c",
    "group": "#94a3b812",
    "ground": "#182134",
    "rim": "#5b6b82",
}


def style() -> str:
    """The style sheet, for what is of class `pf-light`, `pf-dark`, or `pf-auto`, which follows the reader's system."""
    light, dark = _variables(_LIGHT, _LIGHT_REST), _variables(_DARK, _DARK_REST)
    return f".pf{{{light}}}.pf-dark{{{dark}}}@media(prefers-color-scheme:dark){{.pf-auto{{{dark}}}}}{_RULES}"


def _variables(kinds: dict[str, tuple[str, str]], rest: dict[str, str]) -> str:
    pairs = [f"--pf-{kind}:{fill};--pf-{kind}-rim:{rim}" for kind, (fill, rim) in kinds.items()]
    return ";".join([*pairs, *(f"--pf-{name}:{value}" for name, value in rest.items())])


_RULES = (
    f".pf{{font-family:{FONT}}}"
    ".pf-page{fill:var(--pf-page)}"
    ".pf text{fill:var(--pf-text)}"
    ".pf .pf-name{font-size:13px;font-weight:600}"
    ".pf .pf-small{font-size:11px;fill:var(--pf-soft)}"
    ".pf-box>rect,.pf-box>polygon{stroke-width:1.4px;stroke-linejoin:round}"
    + "".join(
        f".pf-{kind}>rect,.pf-{kind}>polygon{{fill:var(--pf-{kind});stroke:var(--pf-{kind}-rim)}}" for kind in _LIGHT
    )
    + ".pf-cluster>rect,.pf-cluster.pf-playbook>rect{fill:var(--pf-ground);stroke:var(--pf-rim);stroke-width:1.2px}"
    ".pf-cluster.pf-even>rect{fill:var(--pf-page)}"  # told apart from what is around it, however deep
    ".pf-cluster.pf-playbook>rect{stroke:var(--pf-playbook-rim);stroke-dasharray:6 4}"
    ".pf-link>path{fill:none;stroke:var(--pf-line);stroke-width:1.4px}"
    ".pf-link>.pf-head{fill:var(--pf-line);stroke:none}"
    ".pf-link.pf-cycle>path{stroke:var(--pf-round)}"
    ".pf-link.pf-cycle>.pf-head{fill:var(--pf-round);stroke:none}"
    ".pf-link.pf-back>path:first-of-type,.pf-link.pf-calls>path:first-of-type{stroke-dasharray:5 3}"
    ".pf-link.pf-calls>path{stroke:var(--pf-playbook-rim)}"
    ".pf-link.pf-calls>.pf-head{fill:var(--pf-playbook-rim);stroke:none}"
    ".pf-tag>rect{fill:var(--pf-page)}"
    ".pf-tag.pf-cycle text{fill:var(--pf-round)}"
    f".pf-faded:not(.pf-tag),.pf-tag.pf-faded text{{opacity:{FADED}}}"
)


def ink(fill: str) -> str:
    """Black or white, whichever is read more easily on `fill`, at a contrast of 4.5 at least; empty for no fill."""
    if not fill:
        return ""
    red, green, blue = (int(fill[place : place + 2], 16) / 255 for place in (1, 3, 5))
    return "#000000" if 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2 > 0.179 else "#ffffff"
