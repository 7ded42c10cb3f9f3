"""Tables for terminals, full-width characters counted as two cells; and for spreadsheets, without formulas."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from wcwidth import wcswidth


def width(text: str) -> int:
    """Cells a text takes on a terminal."""
    return max(0, wcswidth(text))


def pad(text: str, cells: int, right: bool = False) -> str:
    """Text filled up with blanks to a number of cells."""
    blanks = " " * max(0, cells - width(text))
    return blanks + text if right else text + blanks


def cut(text: str, cells: int) -> str:
    """Text of at most so many cells; where something was left off it ends with "..."."""
    if width(text) <= cells:
        return text
    kept = ""
    for letter in text:
        if width(kept + letter) > cells - 3:
            break
        kept += letter
    return kept.rstrip() + "..."


def wrapped(words: Sequence[str], cells: int, between: str = ", ") -> Iterator[str]:
    """Words in lines of at most so many cells; a word that is longer has a line of its own."""
    line = ""
    for word in words:
        longer = f"{line}{between}{word}" if line else word
        if line and width(longer) > cells:
            yield line + between.rstrip()
            longer = word
        line = longer
    if line:
        yield line


def table(head: Sequence[str], rows: Sequence[Sequence[str]], left: Collection[int] = ()) -> str:
    """A table; columns after the first stand to the right, but for those numbered in ``left``."""
    cells = [max(width(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = []
    for row in (head, *rows):
        parts = [pad(text, cells[column], right=column > 0 and column not in left) for column, text in enumerate(row)]
        lines.append("  ".join(parts).rstrip())
    lines.insert(1, "  ".join("-" * size for size in cells))
    return "\n".join(lines)


_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\N{FULLWIDTH EQUALS SIGN}", "\N{FULLWIDTH PLUS SIGN}",
            "\N{FULLWIDTH HYPHEN-MINUS}", "\N{FULLWIDTH COMMERCIAL AT}")  # fmt: skip
"""What a cell begins with that spreadsheets take for a formula, the wide forms of East Asian keyboards among it."""

_APART = frozenset(",;\t\r\n\"")
"""What one spreadsheet or another cuts a line at, by its locale: a cell that holds one of these stands in quotes."""


def csv_line(cells: Iterable[object]) -> str:
    """A line of CSV in which no cell is a formula: what looks like one gets an apostrophe before it."""
    return ",".join(map(_cell, cells)) + "\n"


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    if text.lstrip(" \N{NO-BREAK SPACE}\N{IDEOGRAPHIC SPACE}").startswith(_FORMULA):
        text = "'" + text
    return '"' + text.replace('"', '""') + '"' if _APART.intersection(text) else text
