"""A cheap proof that one file is in order already and repeats no id, so that ``simulate`` may simply read it.

Rule 1: the proof is about every line or it is none: each must begin in the usual way (id, type, user, time), with a
time of one length that ends in ``Z``, so that times compare as bytes.
Rule 2: nothing is concluded from a failed proof: the careful way of ``replay`` then looks at each record.
"""

from __future__ import annotations

import re
from array import array
from typing import BinaryIO, Final

_USUAL: Final = re.compile(
    rb'^\{"id":"([^"\\\n]{1,512})","type":"[^"\\\n]+","user":"[^"\\\n]+",'
    rb'"time":"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?Z)"',
    re.MULTILINE,
)
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
    found = _USUAL.findall(text)
    if len(found) != text.count(b"\n") or len(marks) > _MOST:
        return None
    ids, times = zip(*found, strict=True)
    if set(map(len, times)) != {size or len(times[0])} or times[0] < latest or list(times) != sorted(times):
        return None
    marks.extend(map(hash, ids))
    return times[-1], len(times[0])
