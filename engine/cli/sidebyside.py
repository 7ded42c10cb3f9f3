"""Two columns on a terminal, full-width characters counted as two cells."""

from __future__ import annotations

from collections.abc import Iterable

from wcwidth import wcwidth

from engine.cli.tables import pad
from engine.insight.showing import Row

NARROW = 60
"""Below so many cells two columns help nobody; they are at least this wide together."""


def columns(rows: Iterable[Row], width: int) -> list[str]:
    """The lines of rows under a head, at most ``width`` cells wide."""
    cells = (max(width, NARROW) - 7) // 2
    out = [_line("", "expected", "got", cells), "  " + "-" * cells + "-+-" + "-" * cells]
    for row in rows:
        left, right = wrapped(row.expected, cells), wrapped(row.got, cells)
        for place in range(max(len(left), len(right))):
            here = (left[place] if place < len(left) else "", right[place] if place < len(right) else "")
            out.append(_line("" if place else row.sign, *here, cells))
    return out


def _line(sign: str, left: str, right: str, cells: int) -> str:
    return f"{sign or ' '} {pad(left, cells)} | {right}".rstrip()


def wrapped(text: str, cells: int) -> list[str]:
    """A text in lines of at most so many cells, broken at blanks where there are any."""
    out: list[str] = []
    for part in text.split("\n"):
        indent = "  " if part.startswith("  ") else ""
        line, used, blank = "", 0, -1
        for char in part:
            size = max(0, wcwidth(char))
            if used + size > cells and line.strip():
                if blank > len(indent):
                    out.append(line[:blank])
                    line = indent + line[blank + 1 :]
                else:
                    out.append(line)
                    line = indent
                used, blank = sum(max(0, wcwidth(it)) for it in line), -1
            if char == " ":
                blank = len(line)
            line += char
            used += size
        out.append(line)
    return out
