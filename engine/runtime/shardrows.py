"""Rows of several parts, each with its place in the order of one core: a part writes them, who has all merges them."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from itertools import islice
from struct import Struct
from typing import BinaryIO, Final

_FRAME: Final = Struct(">HI")  # bytes of the place, bytes of the row
_READ: Final = 1 << 18
_AT_ONCE: Final = 1000


def framed(place: bytes, row: bytes) -> bytes:
    """A row behind its place; rows of one part come in the order of their places."""
    return _FRAME.pack(len(place), len(row)) + place + row


def merge(parts: Sequence[BinaryIO], out: BinaryIO) -> None:
    """All rows in the order of their places, without them. Two parts have no place in common."""
    rows = heapq.merge(*map(_rows, parts), key=lambda it: it[0]) if len(parts) > 1 else iter(_rows(parts[0]))
    while some := [row for _, row in islice(rows, _AT_ONCE)]:
        out.write(b"".join(some))


def _rows(part: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    part.seek(0)
    rest, head, unpack = b"", _FRAME.size, _FRAME.unpack_from
    while block := part.read(_READ):
        rest += block
        at, full = 0, len(rest)
        while at + head <= full:
            place, row = unpack(rest, at)
            begin = at + head + place
            if begin + row > full:
                break
            yield rest[at + head : begin], rest[begin : begin + row]
            at = begin + row
        rest = rest[at:]
