"""Charts as inline SVG and HTML, drawn here: no script, no style attribute, nothing fetched.

Rule 1: all text goes through ``Markup.format``, which escapes it; nothing is put together by hand.
Rule 2: what a picture shows stands in words beside it (title and description, and a table by the caller).
Rule 3: bars stand beside HTML text, so that labels wrap on a small screen and never lie over one another; lines are
drawn twice, wide and narrow, and the style shows one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from markupsafe import Markup

SHADES = 7
"""Steps of colour of a heat map, 0 is nothing."""

_WIDTHS = (("wide", 760, 230), ("narrow", 350, 220))
_EMPTY = Markup("")
_LETTER = 7  # width of a digit in the labels of an axis


@dataclass(frozen=True)
class Line:
    """One line of a chart; None is a gap."""

    name: str
    values: Sequence[float | None]


def lines(title: str, about: str, labels: Sequence[str], drawn: Sequence[Line]) -> Markup:
    """Lines over the same points, with a legend; every line has a colour and a dash of its own."""
    legend = _EMPTY.join(
        Markup('<span class="key"><svg width="26" height="10" aria-hidden="true"><line class="line l{}" x1="1" y1="5" '
               'x2="25" y2="5"/></svg>{}</span>').format(place, line.name)
        for place, line in enumerate(drawn)
    )  # fmt: skip
    pictures = _EMPTY.join(_lines(name, width, height, title, about, labels, drawn) for name, width, height in _WIDTHS)
    return Markup('<div class="legend">{}</div>{}').format(legend, pictures)


def _lines(
    name: str, width: int, height: int, title: str, about: str, labels: Sequence[str], drawn: Sequence[Line]
) -> Markup:
    top = max((value for line in drawn for value in line.values if value is not None), default=0.0)
    ticks = scale(top)
    left, right, above, below = 12 + 8 * max(len(_tick(it)) for it in ticks), 14, 12, 26
    inner, high = width - left - right, height - above - below

    def x(place: int) -> float:
        return left + (inner / 2 if len(labels) < 2 else inner * place / (len(labels) - 1))

    def y(value: float) -> float:
        return above + high * (1 - value / ticks[-1])

    grid = _EMPTY.join(
        Markup('<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/><text class="tick" text-anchor="end" '
               'x="{}" y="{:.1f}">{}</text>').format(left, width - right, y(it), y(it), left - 6, y(it) + 4, _tick(it))
        for it in ticks
    )  # fmt: skip
    half = max(map(len, labels), default=0) * _LETTER / 2
    every = max(1, ceil(len(labels) * (2 * half + 30) / inner))
    shown = range(0, len(labels), every)
    below_axis = _EMPTY.join(
        Markup('<text class="tick" text-anchor="{}" x="{:.1f}" y="{}">{}</text>').format(
            "start" if x(place) < half else "end" if x(place) > width - half else "middle",
            x(place), height - 8, labels[place],
        )
        for place in shown
    )  # fmt: skip
    paths = _EMPTY.join(_path(place, line, x, y) for place, line in enumerate(drawn))
    return Markup(
        '<svg class="chart {}" viewBox="0 0 {} {}" role="img" aria-label="{}"><title>{}</title><desc>{}</desc>{}{}{}'
        "</svg>"
    ).format(name, width, height, title, title, about, grid, below_axis, paths)


def _path(place: int, line: Line, x: Callable[[int], float], y: Callable[[float], float]) -> Markup:
    parts, pen = [], "M"
    dots = _EMPTY
    for at, value in enumerate(line.values):
        if value is None:
            pen = "M"
            continue
        parts.append(f"{pen}{x(at):.1f} {y(value):.1f}")
        alone = pen == "M" and (at + 1 == len(line.values) or line.values[at + 1] is None)
        if alone:
            dots += Markup('<circle class="dot d{}" cx="{:.1f}" cy="{:.1f}" r="3"/>').format(place, x(at), y(value))
        pen = "L"
    return Markup('<path class="line l{}" d="{}"/>{}').format(place, " ".join(parts), dots)


def scale(top: float) -> list[float]:
    """Round figures from 0 to at least ``top``, some five of them."""
    if top <= 0:
        return [0.0, 1.0]
    rough = top / 5
    size = 10 ** floor(log10(rough))
    step = next(it * size for it in (1, 2, 2.5, 5, 10) if it * size >= rough)
    if top >= 4:
        step = max(1.0, float(ceil(step)))
    return [place * step for place in range(ceil(top / step - 1e-9) + 1)]


def _tick(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}".rstrip("0")


# ---------------------------------------------------------------------- bars


@dataclass(frozen=True)
class Bar:
    """A row of a bar chart."""

    label: str
    value: float
    shown: str  #: the figure with its unit
    note: str = ""  #: small words after it
    kind: str = ""  #: class of its colour
    part: float | None = None  #: how much of it stands out; None: all


def bars(title: str, rows: Sequence[Bar], top: float | None = None) -> Markup:
    """Horizontal bars, a row each: label, bar, figure. ``top``: what a full bar stands for; None: the longest."""
    most = max([top or 0.0, *(it.value for it in rows)]) or 1.0
    parts = [
        Markup(
            '<li><span class="label">{}</span><svg class="bar" width="100%" height="16" aria-hidden="true">'
            '<rect class="back" width="100%" height="16" rx="3"/><rect class="fill {}" width="{:.2f}%" height="16" '
            'rx="3"/>{}</svg><span class="figure">{}{}</span></li>'
        ).format(
            it.label, it.kind, 100 * it.value / most,
            "" if it.part is None else Markup('<rect class="fill" width="{:.2f}%" height="16" rx="3"/>').format(
                100 * it.part / most
            ), it.shown,
            Markup(' <small>{}</small>').format(it.note) if it.note else "",
        )
        for it in rows
    ]  # fmt: skip
    return Markup('<ul class="bars" aria-label="{}">{}</ul>').format(title, _EMPTY.join(parts))


@dataclass(frozen=True)
class Range:
    """A row of an interval chart."""

    label: str
    value: float
    low: float
    high: float
    shown: str
    kind: str = ""


def ranges(title: str, rows: Sequence[Range]) -> Markup:
    """Figures with their intervals, one under the other on one scale that begins at 0 or below."""
    low, high = min(0.0, *(it.low for it in rows)), max(0.0, *(it.high for it in rows))
    width = (high - low) * 1.04 or 1.0

    def at(value: float) -> float:
        return 100 * (value - low) / width

    parts = [
        Markup(
            '<li><span class="label">{}</span><svg class="bar" width="100%" height="18" aria-hidden="true">'
            '<line class="zero" x1="{:.2f}%" x2="{:.2f}%" y1="0" y2="18"/>'
            '<line class="reach {}" x1="{:.2f}%" x2="{:.2f}%" y1="9" y2="9"/>'
            '<circle class="mean {}" cx="{:.2f}%" cy="9" r="5"/></svg><span class="figure">{}</span></li>'
        ).format(it.label, at(0), at(0), it.kind, at(it.low), at(it.high), it.kind, at(it.value), it.shown)
        for it in rows
    ]
    return Markup('<ul class="bars" aria-label="{}">{}</ul>').format(title, _EMPTY.join(parts))


# ---------------------------------------------------------------------- tables


def table(head: Sequence[str], rows: Sequence[Sequence[str | Markup]], caption: str = "") -> Markup:
    """A plain table; the first column heads its row. A cell may bring a class by ``shaded``."""
    top = _EMPTY.join(Markup('<th scope="col">{}</th>').format(it) for it in head)
    body = _EMPTY.join(
        Markup('<tr><th scope="row">{}</th>{}</tr>').format(
            row[0], _EMPTY.join(it if isinstance(it, _Cell) else Markup("<td>{}</td>").format(it) for it in row[1:])
        )
        for row in rows
    )
    above = Markup("<caption>{}</caption>").format(caption) if caption else ""
    return Markup('<div class="scroll"><table>{}<thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>').format(
        above, top, body
    )


class _Cell(Markup):
    """A whole cell of a table."""

    __slots__ = ()


def shaded(text: str, value: float, top: float) -> Markup:
    """A cell whose colour says how much it is."""
    return _Cell(Markup('<td class="s{}">{}</td>').format(shade(value, top), text))


def shade(value: float, top: float) -> int:
    """Step of colour of a figure; only nothing has none."""
    return 0 if value <= 0 or top <= 0 else min(SHADES - 1, 1 + int((SHADES - 1) * value / top))


def heat(title: str, about: str, names: Sequence[str], counts: Sequence[Sequence[int]]) -> Markup:
    """A map of weekdays and hours, wide and narrow."""
    sizes = (("wide", 29, 24), ("narrow", 12, 22))
    return _EMPTY.join(_heat(kind, width, high, title, about, names, counts) for kind, width, high in sizes)


def _heat(
    kind: str, width: int, high: int, title: str, about: str, names: Sequence[str], counts: Sequence[Sequence[int]]
) -> Markup:
    top = max((max(row) for row in counts), default=0)
    left = 46
    cells = _EMPTY.join(
        Markup('<rect class="s{}" x="{}" y="{}" width="{}" height="{}"><title>{} {}:00 · {:,}</title></rect>').format(
            shade(count, top), left + hour * width, 4 + day * high, width - 1, high - 1, names[day], hour, count
        )
        for day, row in enumerate(counts)
        for hour, count in enumerate(row)
    )
    days = _EMPTY.join(
        Markup('<text class="tick" x="{}" y="{}" text-anchor="end">{}</text>').format(
            left - 6, 8 + day * high + high / 2, it
        )
        for day, it in enumerate(names)
    )
    base = 4 + len(counts) * high
    marks = _EMPTY.join(
        Markup('<text class="tick" x="{}" y="{}" text-anchor="middle">{}</text>').format(
            left + hour * width + width / 2, base + 16, hour
        )
        for hour in range(0, 24, 3 if kind == "wide" else 6)
    )
    return Markup(
        '<svg class="chart {}" viewBox="0 0 {} {}" role="img" aria-label="{}"><title>{}</title><desc>{}</desc>'
        "{}{}{}</svg>"
    ).format(kind, left + 24 * width + 6, base + 24, title, title, about, cells, days, marks)
