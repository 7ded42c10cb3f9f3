"""One source line and the caret under its word: widths in display cells, long lines cut to a window.

Characters are not cells: a CJK character takes two, a combining mark none. The caret line is made of plain spaces,
so everything in front of the word has to be measured as a terminal draws it.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from wcwidth import wcswidth, wcwidth

WINDOW = 100
"""Widest piece of a source line that is shown, in cells."""

_TAB = 4
_LEAD = 30  # cells kept in front of the word when the line is cut
_CUT = "..."  # not an ellipsis character: its width differs between terminals
_JOINER = "\u200d"
_EMOJI_STYLE = "\ufe0f"
_UNSEEN = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2028\u2029\u2066\u2067\u2068\u2069\ufeff")


@dataclass(frozen=True, slots=True)
class Excerpt:
    """What to print: the text, the cells in front of the carets, and the number of carets."""

    text: str
    pad: int
    carets: int


@dataclass(frozen=True, slots=True)
class _Cell:
    text: str
    width: int


def safe(text: str) -> str:
    """``text`` on one line, without characters that steer a terminal or reorder what is shown."""
    return "".join("\ufffd" if _steers(char) else char for char in text.replace("\t", " "))


def excerpt(line: str, col: int, length: int) -> Excerpt:
    """The shown piece of a source line.

    Parameters
    ----------
    line: the whole line, without its line break.
    col: where the word begins, in characters from 1; may lie just behind the end.
    length: characters of the word; what does not fit on the line is left out.
    """
    # A line may be as long as a file; only characters that could fit into the window are measured.
    first = max(0, col - 1 - WINDOW) if len(line) > 3 * WINDOW else 0
    last = min(len(line), col - 1 + 2 * WINDOW)
    cells = _cells(line[first:last])
    start = min(max(col - 1 - first, 0), len(cells))
    stop = min(start + max(length, 1), len(cells))
    return _window(cells, start, stop, cut_before=first > 0, cut_behind=last < len(line))


def _window(cells: list[_Cell], start: int, stop: int, *, cut_before: bool, cut_behind: bool) -> Excerpt:
    begin = 0
    if cut_before or _width(cells[:stop]) > WINDOW - _LEAD:
        begin = _back(cells, start, _LEAD)
    if begin == 0 and not cut_behind and _width(cells) <= WINDOW:
        end = len(cells)
    else:
        end = _ahead(cells, begin, WINDOW)
    before = _CUT if cut_before or begin > 0 else ""
    behind = _CUT if cut_behind or end < len(cells) else ""
    text = before + "".join(cell.text for cell in cells[begin:end]) + behind
    pad = len(before) + _width(cells[begin:start])
    return Excerpt(text, pad, max(1, _width(cells[start : min(stop, end)])))


def _back(cells: list[_Cell], index: int, room: int) -> int:
    """The first cell to show so that at most ``room`` cells stand before ``index``."""
    while index > 0 and room >= cells[index - 1].width:
        index -= 1
        room -= cells[index].width
    # A combining mark must not hang on the dots.
    while index < len(cells) and index > 0 and cells[index].width == 0:
        index += 1
    return index


def _ahead(cells: list[_Cell], index: int, room: int) -> int:
    while index < len(cells) and room >= cells[index].width:
        room -= cells[index].width
        index += 1
    return index


def _width(cells: list[_Cell]) -> int:
    return sum(cell.width for cell in cells)


def _cells(text: str) -> list[_Cell]:
    """One cell record per character, tabs expanded."""
    cells: list[_Cell] = []
    column = 0
    before = ""
    for char in text:
        if char == "\t":
            width = _TAB - column % _TAB
            cells.append(_Cell(" " * width, width))
        elif _steers(char):
            width = 1
            cells.append(_Cell("\ufffd", width))
        else:
            width = _added_width(before, char)
            cells.append(_Cell(char, width))
        column += width
        before = char
    return cells


def _added_width(before: str, char: str) -> int:
    """How many cells ``char`` adds behind ``before``."""
    if char.isascii():
        return 1
    if before == _JOINER:
        return 0  # the joined emoji is drawn into the cells of the first one
    if char == _EMOJI_STYLE and before:
        return max(0, wcswidth(before + char) - wcwidth(before))
    return max(0, wcwidth(char))


def _steers(char: str) -> bool:
    """Whether a character could steer the terminal or reorder the line."""
    if char.isascii():
        return not char.isprintable() and char != "\t"
    return char in _UNSEEN or unicodedata.category(char) in {"Cc", "Cs"}
