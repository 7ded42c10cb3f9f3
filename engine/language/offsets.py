"""Where each character of a scalar's value stands in the source.

libyaml says where a scalar begins and ends, not how its characters map to the file. So the written form is read a
second time here, by its style, keeping the offset of every character; the outcome is compared with the text libyaml
gave. Should the two ever differ, every character is placed at the scalar's beginning: a caret at the right value is
better than one under a wrong word.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_GAP = re.compile(r"[ \t]*(?:\r\n|\r|\n)[ \t\r\n]*")
_BLANKS = re.compile(r"[ \t]+")
_BREAK = re.compile(r"\r\n|\r|\n")
_HEADER = re.compile(r"[|>]([-+0-9]*)[^\r\n]*(?:\r\n|\r|\n)?")
_WIDTHS = {"x": 2, "u": 4, "U": 8}
_SHORT = {
    "0": "\0", "a": "\a", "b": "\b", "t": "\t", "\t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r", "e": "\x1b",
    " ": " ", '"': '"', "/": "/", "\\": "\\", "N": "\x85", "_": "\xa0", "L": "\u2028", "P": "\u2029",
}  # fmt: skip
_MAX_INDENT = 256


class _Read(NamedTuple):
    """A piece of text and, for each character, its offset in the written form."""

    chars: list[str]
    places: list[int]

    def put(self, text: str, place: int, step: int = 0) -> None:
        self.chars.extend(text)
        self.places.extend(place + step * number for number in range(len(text)))

    def join(self, other: _Read) -> None:
        self.chars.extend(other.chars)
        self.places.extend(other.places)


def offsets(written: str, style: str, text: str) -> list[int]:
    """The offset in ``written`` of every character of ``text``, and one more for its end.

    Parameters
    ----------
    written: the scalar as it stands in the file, quotes and block header included.
    style: "" for plain, or one of ' " | >.
    text: the value libyaml read from it.
    """
    if style in {"|", ">"}:
        read, end = _read_block(written, style == "|", text)
    elif style == "'":
        read, end = _read_flow(written, 1, len(written) - 1, "'"), len(written) - 1
    elif style == '"':
        read, end = _read_flow(written, 1, len(written) - 1, "\\"), len(written) - 1
    else:
        read, end = _read_flow(written, 0, len(written), ""), len(written)
    if "".join(read.chars) != text:
        return [0] * (len(text) + 1)
    return [*read.places, max(end, 0)]


def _read_flow(written: str, start: int, stop: int, escape: str) -> _Read:
    """Read a plain or quoted scalar; ``escape`` is the character that starts an escape, "" for none."""
    read = _Read([], [])
    place = start
    while place < stop:
        char = written[place]
        gap = _GAP.match(written, place, stop) if char in " \t\r\n" else None
        if gap is not None:
            folds = len(_BREAK.findall(gap[0])) - 1
            read.put("\n" * folds or " ", place)
            place = gap.end()
        elif char == escape == "\\":
            place = _read_escape(written, place, stop, read)
        elif char in " \t":
            blanks = _BLANKS.match(written, place, stop)
            run = blanks[0] if blanks else char
            read.put(run, place, 1)
            place += len(run)
        else:
            read.put(char, place)
            place += 2 if char == escape else 1  # '' inside single quotes is one quote
    return read


def _read_escape(written: str, place: int, stop: int, read: _Read) -> int:
    """Read one backslash escape of a double-quoted scalar; returns the offset behind it."""
    name = written[place + 1 : place + 2]
    if name in _WIDTHS:
        behind = place + 2 + _WIDTHS[name]
        try:
            read.put(chr(int(written[place + 2 : behind], 16)), place)
        except (ValueError, OverflowError):
            read.put("\ufffd", place)  # libyaml refused this scalar already; only the length matters
        return behind
    gap = _GAP.match(written, place + 1, stop) if name in {"\r", "\n"} else None
    if gap is not None:
        read.put("\n" * (len(_BREAK.findall(gap[0])) - 1), place)  # an escaped line break is no character at all
        return gap.end()
    read.put(_SHORT.get(name, name), place)
    return place + 2


def _read_block(written: str, literal: bool, text: str) -> tuple[_Read, int]:
    """Read a ``|`` or ``>`` scalar, trying indentations until the text is the one libyaml read.

    The indentation may be given relative to the parent, which the scalar itself does not know.
    """
    header = _HEADER.match(written)
    if header is None:
        return _Read([], []), 0
    lines = _lines(written, header.end())
    filled = [written[start:stop] for start, stop, _ in lines if written[start:stop].strip(" ")]
    widths = [len(line) - len(line.lstrip(" ")) for line in filled] or [0]
    for indent in dict.fromkeys((widths[0], min(widths), *range(min(max(widths), _MAX_INDENT) + 1))):
        read = _read_lines(written, lines, indent, literal, header[1])
        if "".join(read.chars) == text:
            return read, _block_end(read, lines)
    return _Read([], []), 0


def _block_end(read: _Read, lines: list[tuple[int, int, int]]) -> int:
    """Behind the last character of the text: for a kept line break, where the next line begins."""
    if not read.places:
        return lines[0][0] if lines else 0
    last = read.places[-1]
    return next((behind for _, stop, behind in lines if stop == last and read.chars[-1] == "\n"), last + 1)


def _lines(written: str, start: int) -> list[tuple[int, int, int]]:
    """(start, end, start of the next line) of each line from ``start`` on."""
    found = []
    for match in _BREAK.finditer(written, start):
        found.append((start, match.start(), match.end()))
        start = match.end()
    if start < len(written):
        found.append((start, len(written), len(written)))
    return found


def _read_lines(written: str, lines: list[tuple[int, int, int]], indent: int, literal: bool, header: str) -> _Read:
    """Join the lines of a block scalar as its style says."""
    read = _Read([], [])
    held = _Read([], [])  # the break of the last line with content: folded or kept, as the next line decides
    blank = _Read([], [])  # the breaks of empty lines since
    was_deeper = True  # before the first line nothing is folded
    for start, stop, behind in lines:
        begin = min(start + indent, stop)
        if begin == stop and not written[start:stop].strip(" "):
            blank.put("\n" if behind > stop else "", stop)
            continue
        deeper = written[begin] in " \t"
        if held.chars and not literal and not was_deeper and not deeper:
            if not blank.chars:
                read.put(" ", held.places[0])
        else:
            read.join(held)
        read.join(blank)
        held, blank = _Read([], []), _Read([], [])
        read.put(written[begin:stop], begin, 1)
        held.put("\n" if behind > stop else "", stop)
        was_deeper = deeper
    if "-" not in header:
        read.join(held)
    if "+" in header:
        read.join(blank)
    return read
