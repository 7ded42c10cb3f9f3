"""A cheap proof that one file is in order already and repeats no id, so that ``simulate`` may simply read it.

Rule 1: the proof is about every line or it is none: each must begin with its id and have one time, all of one length
and ending in ``Z``, so that times compare as bytes.
Rule 2: nothing is concluded from a failed proof: the careful way of ``replay`` then looks at each record.
"""

from __future__ import annotations

from array import array
from typing import BinaryIO, Final

_HEAD: Final = b'{"id":"'
_NEXT: Final = b"\n" + _HEAD
_TIME: Final = b'"time":"'
_BLOCK: Final = 1 << 20
_MOST: Final = 3_000_000
"""Lines up to which ids are compared in memory; beyond that the careful way needs less of it."""


def in_order(file: BinaryIO) -> bool:
    """Whether the lines are proven to be in order of time and to bear different ids.

    Parameters
    ----------
    file: the uncompressed content, read from its beginning to its end.
    """
    marks = array("q")
    latest, size, rest = b"", 0, b""
    while block := file.read(_BLOCK):
        block = rest + block
        cut = block.rfind(b"\n") + 1
        rest = block[cut:]
        if not cut:
            return False  # a line longer than a block is not usual
        proven = _piece(block[:cut], latest, size, marks)
        if proven is None:
            return False
        latest, size = proven
    if rest:
        proven = _piece(rest + b"\n", latest, size, marks)
        if proven is None:
            return False
    return len(marks) <= _MOST and len(set(marks)) == len(marks)


def _piece(text: bytes, latest: bytes, size: int, marks: array[int]) -> tuple[bytes, int] | None:
    """Whole lines: (the last time, the length of times), or None when something is not usual or not in order."""
    lines = text[len(_HEAD) :].split(_NEXT)
    many = len(lines)
    # Each line begins with its id, has one time (were it not its own, the record would be refused), and no escapes.
    if not text.startswith(_HEAD) or many != text.count(b"\n") or many != text.count(_TIME) or b"\\" in text:
        return None
    try:
        ids = [line[: line.index(b'"')] for line in lines]
        times = [line[(at := line.index(_TIME) + len(_TIME)) : line.index(b'"', at)] for line in lines]
    except ValueError:
        return None
    size = size or len(times[0])
    ends = b"".join(times)[size - 1 :: size]  # with times of one length: their last characters
    if set(map(len, times)) != {size} or ends != b"Z" * many or times[0] < latest or times != sorted(times):
        return None
    if len(marks) > _MOST:
        return None
    marks.extend(map(hash, ids))
    return times[-1], size
