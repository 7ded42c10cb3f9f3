"""Tables for terminals, full-width characters counted as two cells."""

from __future__ import annotations

from collections.abc import Sequence

from wcwidth import wcswidth


def width(text: str) -> int:
    """Cells a text takes on a terminal."""
    return max(0, wcswidth(text))


def pad(text: str, cells: int, right: bool = False) -> str:
    """Text filled up with blanks to a number of cells."""
    blanks = " " * max(0, cells - width(text))
    return blanks + text if right else text + blanks


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; columns after the first stand to the right."""
    cells = [max(width(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = []
    for row in (head, *rows):
        parts = [pad(text, cells[column], right=column > 0) for column, text in enumerate(row)]
        lines.append("  ".join(parts).rstrip())
    lines.insert(1, "  ".join("-" * size for size in cells))
    return "\n".join(lines)
