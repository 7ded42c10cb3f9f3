"""Sorting what need not fit into the memory: sorted runs in one temporary file, merged when they are read.

Rule 1: a record is bytes, and bytes are its order; who sorts puts the key in front of what it carries.
Rule 2: what fits into the bound never touches the disk.
Rule 3: it may be read several times; each time begins at the smallest.
"""

from __future__ import annotations

import heapq
import os
import tempfile
from collections.abc import Iterable, Iterator
from struct import Struct
from types import TracebackType
from typing import Final

from engine.errors import CannotRun

BOUND: Final = 64 << 20
"""Bytes of records held before a run is written."""

_OVERHEAD: Final = 48  # of a bytes object in a list
_LARGEST_READ: Final = 1 << 20
_SMALLEST_READ: Final = 1 << 12
_LENGTH: Final = Struct(">I")


class Sorter:
    """Sorts records, bytes of any length up to 4 GiB each.

    Parameters
    ----------
    bound: bytes that may be held in memory, while records are put in and while they are read.
    """

    def __init__(self, bound: int = BOUND) -> None:
        self._bound = bound
        self._held: list[bytes] = []
        self._size = 0
        self._file: int | None = None  # descriptor of the temporary file; it has no name any more
        self._end = 0
        self._runs: list[tuple[int, int]] = []  # where each begins and ends
        self._count = 0
        self._sorted = True

    def __len__(self) -> int:
        return self._count

    @property
    def spilled(self) -> int:
        """Bytes in the temporary file."""
        return self._end

    def add(self, record: bytes) -> None:
        """Put a record in; raises CannotRun when the disk for temporary files is full."""
        self._held.append(record)
        self._count += 1
        self._size += len(record) + _OVERHEAD
        self._sorted = False
        if self._size > self._bound:
            self._spill()

    def __iter__(self) -> Iterator[bytes]:
        """All records in their order; nothing may be added meanwhile."""
        if not self._sorted:
            self._held.sort()
            self._sorted = True
        if not self._runs:
            return iter(self._held)
        self._spill()
        size = min(_LARGEST_READ, max(_SMALLEST_READ, self._bound // len(self._runs)))
        return heapq.merge(*(self._read(begin, end, size) for begin, end in self._runs))

    def close(self) -> None:
        """Give the room on the disk back."""
        self._held, self._runs = [], []
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __enter__(self) -> Sorter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _spill(self) -> None:
        """What is held becomes a run."""
        if not self._held:
            return
        self._held.sort()
        begin = self._end
        try:
            if self._file is None:
                with tempfile.TemporaryFile(prefix="drumbeat-") as made:
                    self._file = os.dup(made.fileno())
            for piece in _pieces(self._held):
                self._write(self._file, piece)
        except OSError as error:
            raise CannotRun(
                f"no room to sort in {tempfile.gettempdir()}: {error.strerror or error}",
                hint="TMPDIR names another folder for temporary files",
            ) from None
        self._runs.append((begin, self._end))
        self._held, self._size, self._sorted = [], 0, True

    def _write(self, file: int, piece: bytes) -> None:
        left = memoryview(piece)
        while left:
            done = os.pwrite(file, left, self._end)
            self._end += done
            left = left[done:]

    def _read(self, begin: int, end: int, size: int) -> Iterator[bytes]:
        """The records of one run."""
        rest, head = b"", _LENGTH.size
        while begin < end:
            assert self._file is not None  # noqa: S101 - there is no run without it
            block = os.pread(self._file, min(size, end - begin), begin)
            begin += len(block)
            rest += block
            at, full = 0, len(rest)
            while at + head <= full:
                after = at + head + _LENGTH.unpack_from(rest, at)[0]
                if after > full:
                    break
                yield rest[at + head : after]
                at = after
            rest = rest[at:]


def _pieces(records: Iterable[bytes]) -> Iterator[bytes]:
    """Records with their lengths, some at a time."""
    parts: list[bytes] = []
    size = 0
    for record in records:
        parts += (_LENGTH.pack(len(record)), record)
        size += len(record)
        if size >= _LARGEST_READ:
            yield b"".join(parts)
            parts, size = [], 0
    yield b"".join(parts)
