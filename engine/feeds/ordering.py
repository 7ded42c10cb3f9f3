"""Records of files in the order of (time, file, line), with bounded memory, however large the files are.

Rule 1: a first pass looks at the head of every record: is each file in order, and may an id have come before? Hashes of
ids are sorted, on the disk where there are many; equal ones only raise the suspicion, and then the records are read.
Rule 2: a file that is in order is read as it stands. One that is not is sorted, in runs on the disk where it is large.
Rule 3: the files are merged. Each pass reads the files from their beginning to their end, so packed ones need no room.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import pairwise
from struct import Struct
from typing import Final, NamedTuple

import msgspec

from engine.core.instants import parse_instant
from engine.errors import CannotRun, EventRejected
from engine.feeds.files import Source
from engine.spill import BOUND, Sorter

_MARK: Final = Struct(">QQ")  # hash of an id, number of the record
_PLACE: Final = Struct(">QQ?")  # time, line, is it a repetition
_NUMBER: Final = Struct(">Q")
_ALL: Final = (1 << 64) - 1
_EPOCH: Final = 1 << 63  # instants before 1970 are negative


class Head(msgspec.Struct, gc=False):
    """What the passes need; the door looks at the rest."""

    time: str
    id: str | None = None


_head: Final = msgspec.json.Decoder(Head).decode


class Placed(NamedTuple):
    """A record when its turn has come."""

    time: int  #: instant, microseconds
    file: int  #: number of its file
    line: int  #: number of its first line
    raw: bytes  #: as it came; nothing of a repetition that was sorted
    repeated: bool  #: an accepted record before it has its id


class Claim(NamedTuple):
    """What the door says of a record whose id may come again."""

    id: str
    accepted: bool  #: only then it makes others repetitions


class Ordering:
    """Files as one ordered stream.

    Parameters
    ----------
    sources: the files, in their order.
    odd: time and id of a record whose head cannot be read; None where it is none. Told whether this is the first time.
    claim: what the door says of a record (file, line, raw); None when it refuses it.
    bound: bytes that may be held in memory for sorting.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        odd: Callable[[int, int, bytes, bool], tuple[int, str | None] | None],
        claim: Callable[[int, int, bytes], Claim | None],
        bound: int = BOUND,
    ) -> None:
        self._sources = sources
        self._odd = odd
        self._claim = claim
        self._bound = bound
        self._starts: list[int] = []  # number of the first record of each file
        self._in_order: list[bool] = []
        self._count = 0
        self._again: list[Sorter | None] = [None] * len(sources)  # numbers of the repetitions of each file

    def __iter__(self) -> Iterator[Placed]:
        for source in self._sources:
            if source.path.is_fifo():
                raise CannotRun(
                    f"{source.name} is a pipe, and its records have to be put in order", hint="write it to a file first"
                )
        with Sorter(self._bound) as suspects:
            self._index(suspects)
            if len(suspects):
                self._find_repeated(suspects)
        share = self._bound // max(1, self._in_order.count(False))
        files = [self._file(n) if fine else self._sorted(n, share) for n, fine in enumerate(self._in_order)]
        try:
            yield from files[0] if len(files) == 1 else heapq.merge(*files)
        finally:
            for file in files:
                file.close()
            for again in self._again:
                if again is not None:
                    again.close()

    # -- passes over one file

    def _heads(self, file: int, first: bool) -> Iterator[tuple[int, bytes, int, str | None]]:
        """(line, raw, time, id) of each record of a file; what is none is left out, the same in each pass."""
        source = self._sources[file]
        plain = not source.is_table
        for batch in source.batches():
            for line, raw in enumerate(batch.lines, batch.number):
                try:
                    head = _head(raw if plain else source.json(raw))
                    time, id = parse_instant(head.time), head.id
                except (ValueError, EventRejected, RecursionError):
                    found = self._odd(file, line, raw, first)
                    if found is None:
                        continue
                    time, id = found
                yield line, raw, time, id

    def _file(self, file: int) -> Generator[Placed, None, None]:
        """A file as it stands."""
        again = iter(self._again[file] or ())
        number, next_again = self._starts[file], _following(again)
        for line, raw, time, _ in self._heads(file, first=False):
            repeated = number == next_again
            if repeated:
                next_again = _following(again)
            number += 1
            yield Placed(time, file, line, raw, repeated)
        end = self._starts[file + 1] if file + 1 < len(self._starts) else self._count
        if number < end:
            name = self._sources[file].name
            raise CannotRun(f"{name} became shorter while it was read", hint="simulate on a copy")

    def _sorted(self, file: int, bound: int) -> Generator[Placed, None, None]:
        """A file that is not in order."""
        with Sorter(bound) as sorter:
            for it in self._file(file):
                place = _PLACE.pack(it.time + _EPOCH, it.line, it.repeated)
                sorter.add(place if it.repeated else place + it.raw)
            size = _PLACE.size
            for record in sorter:
                time, line, repeated = _PLACE.unpack_from(record)
                yield Placed(time - _EPOCH, file, line, record[size:], repeated)

    # -- repeated ids

    def _index(self, suspects: Sorter) -> None:
        """Find out which files are in order, and the numbers of records whose id may occur more than once."""
        number = 0
        with Sorter(self._bound) as marks:
            for file, source in enumerate(self._sources):
                self._starts.append(number)
                latest, fine = -_EPOCH, True
                for line, _, time, id in self._heads(file, first=True):
                    if time < latest:
                        fine = False
                    latest = time
                    marks.add(_MARK.pack(hash(f"{source.name}:{line}" if id is None else id) & _ALL, number))
                    number += 1
                self._in_order.append(fine)
            self._count = number
            noted = b""
            for one, other in pairwise(marks):
                if one[:8] == other[:8]:
                    if one != noted:
                        suspects.add(one[8:])
                    suspects.add(other[8:])
                    noted = other

    def _find_repeated(self, suspects: Sorter) -> None:
        """Read the suspects; of each id all are repetitions that come after the first the door accepts."""
        wanted = iter(suspects)
        awaited, number = _following(wanted), 0
        with Sorter(self._bound) as claims:
            for file in range(len(self._sources)):
                for line, raw, _, _ in self._heads(file, first=False):
                    if number == awaited:
                        awaited = _following(wanted)
                        found = self._claim(file, line, raw)
                        if found is not None:
                            id = found.id.encode("utf-8", "surrogatepass").replace(b"\0", b"\0\1") + b"\0\0"
                            claims.add(id + _NUMBER.pack(number) + (b"1" if found.accepted else b"0"))
                    number += 1
            last, claimed = b"", False
            for record in claims:
                id = record[:-9]
                if id != last:
                    last, claimed = id, False
                if claimed:
                    self._repeated(_NUMBER.unpack(record[-9:-1])[0])
                elif record.endswith(b"1"):
                    claimed = True

    def _repeated(self, number: int) -> None:
        file = max(n for n, start in enumerate(self._starts) if start <= number)
        again = self._again[file]
        if again is None:
            again = self._again[file] = Sorter(self._bound // len(self._sources))
        again.add(_NUMBER.pack(number))


def _following(numbers: Iterator[bytes]) -> int:
    """The next number; -1 after the last."""
    found = next(numbers, None)
    return -1 if found is None else int(_NUMBER.unpack(found)[0])
