"""A picture as SVG, drawn by ourselves: no script, no font, no outside file; it follows light and dark by itself."""

from __future__ import annotations

from typing import Final
from xml.sax.saxutils import escape, quoteattr

from wcwidth import wcwidth

from engine.insight.graph.layout import Link, Placed, Spot, place
from engine.insight.graph.picture import Box, Picture, printable

_CELL, _LINE, _PAD = 7.0, 18.0, 12.0
_WRAP: Final = 38  #: cells of a line
_MARGIN: Final = 20.0
_TITLE: Final = 34.0

_LIGHT: Final = {
    "paper": "#ffffff", "ink": "#1f2733", "soft": "#5b6675", "line": "#9aa5b4", "box": "#f7f8fa",
    "trigger": "#6d4aff", "wait": "#b06f00", "choice": "#1d6fb8", "goal": "#1f7a4d", "step": "#44515f",
}  # fmt: skip
_DARK: Final = {
    "paper": "#12161c", "ink": "#e6eaf0", "soft": "#a3aebb", "line": "#5d6978", "box": "#1c222b",
    "trigger": "#a793ff", "wait": "#e0a94a", "choice": "#6db3f2", "goal": "#63c795", "step": "#b4bfcc",
}  # fmt: skip
_FAMILIES: Final = {
    "trigger": ("trigger", "entry", "playbook"),
    "wait": ("wait",),
    "choice": ("choice",),
    "goal": ("goal",),
    "step": ("step", "end", "source"),
}
"""Colour -> the kinds of boxes that have it."""

_SHAPES: Final = """
.box { stroke-width: 1.4; }
.way { fill: none; stroke-width: 1.4; }
.aside { stroke-dasharray: 5 4; }
.wait { stroke-dasharray: 5 3; }
.source { stroke-dasharray: 2 3; }
text { font-family: system-ui, -apple-system, "Segoe UI", "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC",
  sans-serif;
  font-size: 12.5px; text-anchor: middle; }
.title { font-size: 15px; font-weight: 600; text-anchor: start; }
.head { font-weight: 600; }
.words { font-size: 11.5px; }
.people { font-weight: 600; font-size: 11px; }
"""


def _colors(of: dict[str, str]) -> str:
    """The rules that differ between light and dark. Plain values, since not every viewer knows variables."""
    rules = [
        f".paper, .people {{ fill: {of['paper']}; }}", f".box {{ fill: {of['box']}; }}",
        f"text {{ fill: {of['ink']}; }}", f".words {{ fill: {of['soft']}; }}",
        f".way {{ stroke: {of['line']}; }}", f".tip {{ fill: {of['line']}; }}",
    ]  # fmt: skip
    for name, kinds in _FAMILIES.items():
        rules.append(", ".join(f".{kind}" for kind in kinds) + f" {{ stroke: {of[name]}; }}")
        rules.append(", ".join(f".t-{kind}" for kind in kinds) + f" {{ fill: {of[name]}; }}")
    return "\n".join(rules)


_STYLE: Final = f"{_SHAPES}{_colors(_LIGHT)}\n@media (prefers-color-scheme: dark) {{\n{_colors(_DARK)}\n}}\n"
_ROUND: Final = {"trigger": 16, "source": 16, "end": 16, "wait": 12}


def svg(picture: Picture) -> str:
    """The text of the image."""
    texts = {box.id: _lines(box) for box in picture.boxes}
    sizes = [(box.id, _width(texts[box.id], box), len(texts[box.id]) * _LINE + _PAD) for box in picture.boxes]
    words = [wrapped(arrow.text) if arrow.text else [] for arrow in picture.arrows]
    links = [
        Link(arrow.source, arrow.target, max(map(cells, said)) * _CELL + 8 if said else 0.0, len(said) * _LINE)
        for arrow, said in zip(picture.arrows, words, strict=True)
    ]
    placed = place(sizes, links)
    notes = [line for note in picture.notes for line in wrapped(note)]
    title = wrapped(picture.title, 2 * _WRAP)
    wide = max([placed.width, *(cells(line) * 9.0 for line in title), *(cells(line) * _CELL for line in notes)])
    top = _MARGIN + len(title) * _TITLE
    parts = _ways(picture, placed, words) + [_box(box, placed.boxes[box.id], texts[box.id]) for box in picture.boxes]
    height = top + placed.height + len(notes) * _LINE + 2 * _MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {wide + 2 * _MARGIN:.0f} {height:.0f}"'
            f' width="{wide + 2 * _MARGIN:.0f}" height="{height:.0f}"'
            f" aria-label={quoteattr(printable(picture.title))}>",
            f"<title>{_said(picture.title)}</title>",
            f"<style>{_STYLE}</style>",
            '<rect class="paper" width="100%" height="100%" rx="10"/>',
            *(_text(_MARGIN, _MARGIN + 10 + place_ * 22, line, "title") for place_, line in enumerate(title)),
            f'<g transform="translate({_MARGIN + (wide - placed.width) / 2:.1f} {top:.1f})">',
            *parts,
            "</g>",
            *(
                _text(_MARGIN + wide / 2, top + placed.height + _MARGIN + (place_ + 1) * _LINE, line, "words")
                for place_, line in enumerate(notes)
            ),
            "</svg>",
            "",
        ]
    )


# -- text


def cells(text: str) -> int:
    """Half-width cells a text takes: a Chinese character takes two."""
    return sum(max(0, wcwidth(char)) for char in text)


def wrapped(text: str, limit: int = _WRAP) -> list[str]:
    """Lines of at most ``limit`` cells, broken at blanks or between full-width characters where it can be."""
    out, line, left = [], "", 0  # left: place in the line behind which it may be broken
    for char in printable(text):
        if cells(line + char) > limit and line:
            cut = left or len(line)
            out.append(line[:cut].rstrip())
            line, left = line[cut:].lstrip(), 0
        line += char
        if char == " " or wcwidth(char) == 2:
            left = len(line)
    return [*out, line] if line.strip() or not out else out


def _lines(box: Box) -> list[str]:
    return [*wrapped(box.head), *(line for text in box.body for line in wrapped(text))]


def _width(lines: list[str], box: Box) -> float:
    badge = 26.0 if box.people else 0.0
    return max(64.0, max(map(cells, lines)) * _CELL + 2 * _PAD + badge)


def _said(text: str) -> str:
    return escape(printable(text))


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{_said(text)}</text>'


# -- shapes


def _box(box: Box, spot: Spot, lines: list[str]) -> str:
    left, head = spot.x - spot.width / 2, len(wrapped(box.head))
    parts = [
        f"<g id={quoteattr(printable(box.id))}>",
        f'<rect class="box {box.kind}" x="{left:.1f}" y="{spot.y:.1f}" width="{spot.width:.1f}"'
        f' height="{spot.height:.1f}" rx="{_ROUND.get(box.kind, 5)}"/>',
    ]
    for number, line in enumerate(lines):
        kind = f"head t-{box.kind}" if number < head else "words"
        parts.append(_text(spot.x, spot.y + _PAD / 2 + (number + 1) * _LINE - 5, line, kind))
    if box.people:
        shown = f"{box.people:,}"
        width = len(shown) * 7 + 10
        x = left + spot.width - width / 2
        parts.append(
            f'<rect class="t-{box.kind}" x="{x - width / 2:.1f}" y="{spot.y - 8:.1f}" width="{width}"'
            ' height="17" rx="8"/>'
        )
        parts.append(_text(x, spot.y + 4.5, shown, "people"))
    return "\n".join([*parts, "</g>"])


def _ways(picture: Picture, placed: Placed, words: list[list[str]]) -> list[str]:
    out = []
    for arrow, way, label, said in zip(picture.arrows, placed.ways, placed.labels, words, strict=True):
        kind = "way aside" if arrow.aside else "way"
        if way[0] is way[-1]:
            out.append(_loop(way[0], kind, arrow.text))
            continue
        # between two layers only a label needs a stop; without one the curve goes through
        stops = [spot for spot in way if spot is label or not (spot.holder and spot.layer % 2)]
        out.append(f'<path class="{kind}" d="{_path(stops)}"/>')
        end, down = _end(way)
        out.append(_tip(way[-1].x, end, down))
        if label is not None:
            out.append(
                f'<rect class="paper" x="{label.x - label.width / 2:.1f}" y="{label.y:.1f}" width="{label.width:.1f}"'
                f' height="{label.height:.1f}"/>'
            )
            out += [_text(label.x, label.y + (n + 1) * _LINE - 5, line, "words") for n, line in enumerate(said)]
    return out


def _end(way: list[Spot]) -> tuple[float, float]:
    """Where an arrow ends, and whether it points down (1) or up (-1)."""
    last, before = way[-1], way[-2]
    return (last.y, 1.0) if before.layer < last.layer else (last.y + last.height, -1.0)


def _path(way: list[Spot]) -> str:
    """A smooth line through the middle of all spots; it leaves and arrives upright."""
    down = way[0].layer < way[-1].layer
    first = way[0]
    x, y = first.x, first.y + (first.height if down else 0.0)
    out = f"M {x:.1f} {y:.1f}"
    for number, spot in enumerate(way[1:], 1):
        last = number == len(way) - 1
        into = _end(way)[0] if last else spot.y + (0.0 if down else spot.height)
        middle = (y + into) / 2
        out += f" C {x:.1f} {middle:.1f} {spot.x:.1f} {middle:.1f} {spot.x:.1f} {into:.1f}"
        x, y = spot.x, into
        if not last and spot.height:
            y = spot.y + (spot.height if down else 0.0)
            out += f" L {x:.1f} {y:.1f}"
    return out


def _loop(spot: Spot, kind: str, text: str) -> str:
    """An arrow from a box to itself, at its right side; its words show when it is pointed at."""
    x, y = spot.x + spot.width / 2, spot.y + spot.height / 2
    said = f"<title>{_said(text)}</title>" if text else ""
    return f'<path class="{kind}" d="M {x:.1f} {y - 8:.1f} c 22 -8 22 24 0 16">{said}</path>'


def _tip(x: float, y: float, down: float) -> str:
    return f'<path class="tip" d="M {x:.1f} {y:.1f} l -4.5 {-8 * down:.0f} l 9 0 z"/>'
