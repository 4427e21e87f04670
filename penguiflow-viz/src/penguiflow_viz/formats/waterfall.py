"""One trace over time, as SVG: a row for each run, with its attempts, pauses and chunks; subflows nested.

Rules: one file with its own style, light or dark as the reader's system is. Colour is never the only sign: what didn't
go well is also said in words.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape
from typing import NamedTuple

from penguiflow_viz.formats.colours import style
from penguiflow_viz.record.facts import MOST_ATTEMPTS, RunRecord, TraceRecord
from penguiflow_viz.record.marks import duration
from penguiflow_viz.record.rows import Piece, Row, latest, pieces, rows
from penguiflow_viz.text import elided, visible, width

MOST_ROWS, MOST_EMBEDDED = 400, 150
ROW, HEAD, FOOT, MARGIN = 24.0, 78.0, 30.0, 16.0
BARS, NOTES, INDENT = 560.0, 190.0, 14.0
DEEPEST = 8
NAME = 12.0
LEAST = 2.0
"""How wide the shortest bar is, in pixels."""

_LIGHT = "--pw-success:#2f7fc4;--pw-failed:#cf3a2e;--pw-cancelled:#7b8794;--pw-expired:#c26a00;--pw-running:#2f9e62"
_DARK = "--pw-success:#5aa9ee;--pw-failed:#f2786d;--pw-cancelled:#94a3b3;--pw-expired:#f0a347;--pw-running:#4fca8b"
_RULES = (
    ".pw-title{font-size:15px;font-weight:600}"
    ".pw text{font-size:12px}"
    ".pw .pw-soft{font-size:11px;fill:var(--pf-soft)}"
    ".pw-grid{stroke:var(--pf-rim);stroke-width:1px;opacity:.35}"
    ".pw-band{fill:var(--pf-group)}"
    + "".join(
        f".pw-{outcome} .pw-works{{fill:var(--pw-{outcome})}}"
        for outcome in ("success", "failed", "cancelled", "expired", "running")
    )
    + ".pw-error{fill:var(--pw-failed)}.pw-timeout{fill:var(--pw-expired)}"
    ".pw-calls .pw-works{opacity:.45}"
    ".pw-pause,.pw-wait{stroke:var(--pf-soft);stroke-width:1.2px;stroke-dasharray:2 2}"
    ".pw-tick{stroke:var(--pf-page);stroke-width:1.4px}"
    ".pw-bad{fill:var(--pw-failed)!important}"
)


def waterfall_style() -> str:
    """The style sheet, for a page that has the drawings' own already."""
    return f".pf{{{_LIGHT}}}.pf-dark{{{_DARK}}}@media(prefers-color-scheme:dark){{.pf-auto{{{_DARK}}}}}{_RULES}"


def waterfall(trace: TraceRecord, theme: str) -> str:
    """A trace as an SVG document."""
    head = f'class="pf pf-{theme} pw" role="img"'
    return _joined(
        _document(trace, rows(trace), latest(trace), BARS, head, f"<style>{style()}{waterfall_style()}</style>")
    )


def embedded_waterfall(trace: TraceRecord, now: float, wide: float) -> Iterator[str]:
    """A trace as an element of a page that has the style and tells what the trace is, line by line.

    Args:
        trace: The trace.
        now: Until when lasts what is under way.
        wide: How wide it should be, in pixels, if that is possible.
    """
    until = max(now, latest(trace)) if trace.ended is None else trace.ended
    every = rows(trace)
    names = [_label(row) for row in _chosen(every, MOST_EMBEDDED, trace)]
    bars = min(max(wide - NOTES - 2 * MARGIN - max(map(_wide, names), default=0.0) - 40, 240.0), 2_000.0)
    return (f"{line}\n" for line in _document(trace, every, until, bars, 'class="pw" role="img"', ""))


class _Scale(NamedTuple):
    """From times to places."""

    left: float
    top: float
    bars: float
    began: float
    length: float

    def x(self, at: float) -> float:
        share = (at - self.began) / self.length
        return self.left + self.bars * min(max(share, 0.0), 1.0)


def _joined(lines: Iterator[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _document(
    trace: TraceRecord, every: list[Row], now: float, bars: float, attributes: str, styled: str
) -> Iterator[str]:
    headed = bool(styled)
    drawn = _chosen(every, MOST_ROWS if headed else MOST_EMBEDDED, trace)
    left = MARGIN + max([90.0, *(_indent(row) + _wide(_label(row)) for row in drawn)]) + 14
    began = min([trace.began, *(row.run.began - row.run.waited_ms / 1e3 for row in drawn)])
    scale = _Scale(left, HEAD if headed else 8.0, bars, began, max(now - began, 1e-6))
    rest = len(every) - len(drawn)
    wide, high = left + bars + NOTES + MARGIN, scale.top + ROW * (len(drawn) + bool(rest)) + FOOT
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" {attributes} width="{wide:.0f}" height="{high:.0f}" '
        f'viewBox="0 0 {wide:.0f} {high:.0f}" aria-label="{escape(_summary(trace, now, len(every)), True)}">'
    )
    yield styled
    yield f'<rect class="pf-page" width="{wide:.0f}" height="{high:.0f}"/>'
    if headed:
        yield from _header(trace, now, len(every))
    yield from _axis(scale, len(drawn))
    for place, row in enumerate(drawn):
        yield from _row(row, place, scale, now)
    if rest:
        which = "more" if trace.ended is not None else "earlier"
        yield _text(f"… and {rest:,} {which} runs", MARGIN, high - ROW / 2, "pw-soft")
    yield "</svg>"


def _chosen(every: list[Row], most: int, trace: TraceRecord) -> list[Row]:
    """The first rows of a trace that has ended; the last of one that goes on."""
    return every[:most] if trace.ended is not None else every[-most:]


def _indent(row: Row) -> float:
    return INDENT * min(row.depth, DEEPEST)


def _wide(name: str) -> float:
    return width(name, NAME)


def _label(row: Row) -> str:
    return elided(visible(row.run.node.name), 30)


def _summary(trace: TraceRecord, now: float, count: int) -> str:
    how = trace.outcome or "under way"
    runs = f"{count:,} run{'' if count == 1 else 's'}"
    gone = f" (and {trace.gone:,} that ended first and are not kept)" if trace.gone else ""
    parts = [how, duration((now - trace.began) * 1e3), runs + gone]
    parts += [f"{trace.errors:,} failed attempt{'' if trace.errors == 1 else 's'}"] if trace.errors else []
    parts += [f"{trace.tokens:,} tokens"] if trace.tokens else []
    parts += [f"cost {trace.cost:g}"] if trace.cost else []
    return " · ".join(parts)


def _header(trace: TraceRecord, now: float, count: int) -> Iterator[str]:
    title = f"{elided(visible(trace.flow), 40)} · {elided(visible(trace.trace_id), 48)}"
    yield _text(title, MARGIN, 22, "pw-title")
    yield _text(_summary(trace, now, count), MARGIN, 42, "pw-soft")
    if trace.error:
        yield _text(elided(visible(trace.error), 130), MARGIN, 58, "pw-soft pw-bad")


def _axis(scale: _Scale, count: int) -> Iterator[str]:
    bottom = scale.top + ROW * count
    step = _step(scale.length * 1e3)
    for place in range(int(scale.length * 1e3 / step + 1e-9) + 1):
        x = scale.x(scale.began + place * step / 1e3)
        yield f'<line class="pw-grid" x1="{x:.1f}" y1="{scale.top - 4:.1f}" x2="{x:.1f}" y2="{bottom:.1f}"/>'
        label = "0" if not place else duration(place * step)
        yield _text(label, x, bottom + 14, "pw-soft", "middle" if place else "start")


def _step(milliseconds: float) -> float:
    """A round time, of which at most six fit in."""
    rough = milliseconds / 6
    power: float = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))


def _row(row: Row, place: int, scale: _Scale, now: float) -> Iterator[str]:
    run, top = row.run, scale.top + ROW * place
    state = f"pw-{run.outcome or 'running'}{' pw-calls' if row.calls else ''}"
    yield f'<g class="pw-run {state}" data-run="{escape(visible(run.invocation_id), True)}" data-depth="{row.depth}">'
    yield f"<title>{escape(chr(10).join(_told(run, scale, now)), False)}</title>"
    if not place % 2:
        wide = scale.left + scale.bars + NOTES + MARGIN
        yield f'<rect class="pw-band" x="0" y="{top:.1f}" width="{wide:.0f}" height="{ROW:.0f}"/>'
    yield _text(_label(row), MARGIN + _indent(row), top + ROW / 2)
    yield from _bars(row, top, scale, now)
    bad = " pw-bad" if run.outcome in ("failed", "expired") else ""
    yield _text(_note(run, now), scale.left + scale.bars + 10, top + ROW / 2, f"pw-soft{bad}")
    yield "</g>"


def _bars(row: Row, top: float, scale: _Scale, now: float) -> Iterator[str]:
    run, middle = row.run, top + ROW / 2
    if run.waited_ms:
        yield _line("pw-wait", scale.x(run.began - run.waited_ms / 1e3), scale.x(run.began), middle)
    high = 7.0 if row.calls else 13.0
    for piece in pieces(run, now):
        yield _piece(piece, scale, middle, high)
    for at in run.ticks or ():
        x, up, down = scale.x(at), middle - high / 2, middle + high / 2
        yield f'<line class="pw-tick" x1="{x:.1f}" y1="{up:.1f}" x2="{x:.1f}" y2="{down:.1f}"/>'


def _piece(piece: Piece, scale: _Scale, middle: float, high: float) -> str:
    start, end = scale.x(piece.began), scale.x(piece.ended)
    if piece.kind == "pause":
        return _line("pw-pause", start, end, middle)
    start = min(start, scale.left + scale.bars - LEAST)
    wide = max(end - start, LEAST)
    return (
        f'<rect class="pw-{piece.kind}" x="{start:.1f}" y="{middle - high / 2:.1f}" width="{wide:.1f}" '
        f'height="{high:.1f}" rx="2"/>'
    )


def _line(kind: str, start: float, end: float, y: float) -> str:
    return f'<line class="{kind}" x1="{start:.1f}" y1="{y:.1f}" x2="{end:.1f}" y2="{y:.1f}"/>'


def _note(run: RunRecord, now: float) -> str:
    parts = [duration(((now if run.ended is None else run.ended) - run.began) * 1e3)]
    if run.outcome != "success":
        parts.append(run.outcome or "running")
    if run.retries:
        parts.append(f"{run.retries} {'retry' if run.retries == 1 else 'retries'}")
    if run.chunks:
        parts.append(f"{run.chunks:,} chunk{'' if run.chunks == 1 else 's'}")
    return " · ".join(parts)


def _told(run: RunRecord, scale: _Scale, now: float) -> Iterator[str]:
    yield f"{visible(run.node.name)} ({visible(run.node.node_id)})"
    yield f"{_note(run, now)}, from {duration((run.began - scale.began) * 1e3)} on"
    if run.waited_ms:
        yield f"its message waited {duration(run.waited_ms)}"
    for number, attempt in enumerate(run.attempts, 1):
        what = "took too long" if attempt.timeout else visible(attempt.error)
        yield f"attempt {number}: {duration((attempt.ended - attempt.began) * 1e3)}, {what}"
    if len(run.attempts) == MOST_ATTEMPTS:
        yield "later attempts are not kept"
    if run.error:
        yield visible(run.error)


def _text(text: str, x: float, y: float, kind: str = "", anchor: str = "start") -> str:
    middle = ' text-anchor="middle"' if anchor == "middle" else ""
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{x:.1f}" y="{y:.1f}" dy="0.35em"{middle}>{escape(text, False)}</text>'
