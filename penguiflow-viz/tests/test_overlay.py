"""Marks are laid over what they name, in every format, and over nothing else."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from vizkit.flows import same
from vizkit.programs import SVG

from penguiflow import Node, PenguiFlow, create, subflow
from penguiflow_viz import FORMATS, Drawing, LinkMark, NodeMark, Overlay, drawing_of, flow_to_dot, flow_to_mermaid
from penguiflow_viz.formats.colours import ink
from penguiflow_viz.overlay import laid_over
from penguiflow_viz.record.marks import heat


def flow() -> PenguiFlow:
    a, b = Node(same, "a"), Node(same, "b")
    return create(a.to(a, subflow("sub", create(b, name="inner"))), name="flow", allow_cycles=True)


def over(**given: object) -> Drawing:
    return laid_over(drawing_of(flow().graph), Overlay(**given))  # type: ignore[arg-type]


def test_a_mark_is_laid_over_the_node_that_it_names():
    mark = NodeMark("#d7301f", ("5 runs",), ("slowest 2 s",), faded=True)
    drawing = over(nodes={"flow/a": mark, "flow/sub/inner/b": mark, "flow/sub": mark, "flow/nobody": mark})
    marked = [item for item in [*drawing.boxes, *drawing.clusters] if item.badges]
    assert [item.name for item in marked] == ["a", "b", "sub"]
    assert {(item.fill, item.faded, item.tooltip[-1]) for item in marked} == {("#d7301f", True, "slowest 2 s")}
    assert all(item.tooltip[0].startswith(f"{item.name} (") for item in marked)


def test_a_mark_is_laid_over_the_link_between_two_nodes():
    links = {
        ("flow/OpenSea", "flow/a"): LinkMark(2, "10"),
        ("flow/a", "flow/a"): LinkMark(100, "20"),
        ("flow/a", "flow/sub"): LinkMark(0, "30", ("30 messages",)),
        ("flow/sub/inner/b", "flow/sub/inner/Rookery"): LinkMark(label="40"),
        ("flow/sub", "flow/a"): LinkMark(label="nothing"),
    }
    drawing = over(links=links)
    assert [(link.label, link.width) for link in drawing.links if link.label] == [
        ("10", 2),
        ("loop · 20", 5),
        ("30", 0.5),
        ("40", 1),
    ]


def test_what_a_mark_says_is_made_visible():
    drawing = over(nodes={"flow/a": NodeMark(badges=("a\nb",), tooltip=("\x00",))}, legend=("\u202e",))
    marked = next(box for box in drawing.boxes if box.name == "a")
    assert (marked.badges, marked.tooltip[-1], drawing.legend) == (("a\\nb",), "\\x00", ("\\u202e",))


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_shows_badges_labels_and_the_legend(format: str):
    overlay = Overlay(
        {"flow/a": NodeMark("#7f0000", ("5 runs",)), "flow/sub": NodeMark("#fdd49e", ("6 runs",))},
        {("flow/a", "flow/sub"): LinkMark(3, "7 sent")},
        ("colours are times",),
    )
    text = flow().export(format, overlay=overlay)
    for part in ("5 runs", "6 runs", "7 sent", "colours are times", "#7f0000", "#fdd49e"):
        assert part in text


def test_text_on_a_colour_is_dark_or_light_as_the_colour_wants_it():
    fills = {"#ffffff": "#000000", "#fdd49e": "#000000", "#7f0000": "#ffffff", "#000000": "#ffffff"}
    for fill, wanted in fills.items():
        overlay = Overlay({"flow/a": NodeMark(fill)})
        assert f'fillcolor="{fill}", color="#7c3aed", peripheries="2", fontcolor="{wanted}"' in flow_to_dot(
            flow(), overlay=overlay
        )
        assert f"fill:{fill},color:{wanted}" in flow_to_mermaid(flow(), overlay=overlay)


def test_text_is_legible_on_every_colour_of_time():
    for share in range(101):
        fill = heat(share / 100)
        light, dark = sorted((luminance(fill), luminance(ink(fill))), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, fill


def luminance(colour: str) -> float:
    """As WCAG defines it."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_what_stands_back_is_faded_with_its_label():
    overlay = Overlay({"flow/a": NodeMark(faded=True)}, {("flow/a", "flow/a"): LinkMark(faded=True)})
    root = ElementTree.fromstring(flow().export("svg", overlay=overlay))
    faded = [g.get("class", "").split()[0] for g in root.iter(f"{SVG}g") if "pf-faded" in g.get("class", "")]
    assert faded == ["pf-link", "pf-box", "pf-tag"]


@pytest.mark.parametrize("fill", ["red", "#fff", "#12345", "url(x)", '#ffffff"/>'])
def test_a_colour_is_six_hexadecimal_digits(fill: str):
    with pytest.raises(ValueError, match="a colour is written as #rrggbb, not"):
        NodeMark(fill)
