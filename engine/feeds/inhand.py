"""What a live feed has taken from its source and the program has not committed yet.

Rule 1: a thread puts in, the program takes out; neither waits for the other, and the source is not asked for more than
there is room for.
Rule 2: a record stays in hand until it is committed, so that a batch that was given up can be read once more.
Rule 3: what is committed is told to the source by the thread, after ``acknowledge``; only then its room is free again.
Rule 4: positions grow. A source may hand out something old again; then the position is one more than the last.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final

from engine.errors import CannotRun
from engine.ports import Record

MOST: Final = 25_000  #: records in hand; more than two transactions of them, or reading would wait for a commit
MOST_BYTES: Final = 64 << 20  #: bytes of them
LARGEST: Final = (1 << 63) - 1  #: position a store can keep

Piece = tuple[Record, int, Any]
"""A record, the place it has in its source (0: none), and what the source calls it."""


class InHand:
    """The records in hand, in order.

    Parameters
    ----------
    wake: called when something came.
    most, most_bytes: how much is taken before the program has committed any of it; None: ``MOST``, ``MOST_BYTES``.
    """

    def __init__(self, wake: Callable[[], None], *, most: int | None = None, most_bytes: int | None = None) -> None:
        self._wake = wake
        self._most = MOST if most is None else most
        self._most_bytes = MOST_BYTES if most_bytes is None else most_bytes
        self._changed = threading.Condition()
        self._fresh: deque[Piece] = deque()  #: not read yet
        self._read: deque[Piece] = deque()  #: read, with positions, not committed
        self._done: list[Any] = []  #: committed, the source does not know yet
        self._keys: set[Any] = set()  #: what the source calls all of these
        self._bytes = 0
        self._last = 0  #: the highest position given
        self._committed = 0
        self._quiet = False  #: the source had nothing more when it was last asked
        self._failure: CannotRun | None = None

    # ------------------------------------------------------------------ the thread's side

    def put(self, record: Record, place: int, key: Any) -> bool:
        """Take a record in; False when it is in hand already."""
        with self._changed:
            if key in self._keys:
                return False
            self._keys.add(key)
            first = not self._fresh
            self._fresh.append((record, place, key))
            self._bytes += len(record.raw)
            self._quiet, self._failure = False, None
            self._changed.notify_all()
        if first:  # who finds some reads on until there are none
            self._wake()
        return True

    def room(self) -> int:
        """How many more records may be taken in."""
        with self._changed:
            return max(0, self._most - len(self._keys)) if self._bytes < self._most_bytes else 0

    def wait_for_room(self, seconds: float) -> None:
        """Until something is committed, at most so long."""
        with self._changed:
            if not self._done and not self._room():
                self._changed.wait(seconds)

    def wait_for_work(self, seconds: float) -> None:
        """Until something is committed or somebody stirs, at most so long."""
        with self._changed:
            if not self._done:
                self._changed.wait(seconds)

    def _room(self) -> bool:
        return self._bytes < self._most_bytes and len(self._keys) < self._most

    def committed(self) -> list[Any]:
        """What the source may be told; call ``told`` with it afterwards."""
        with self._changed:
            return list(self._done)

    def told(self, keys: list[Any]) -> None:
        """The source knows these."""
        with self._changed:
            self._done = self._done[len(keys) :]
            self._keys.difference_update(keys)
            self._changed.notify_all()

    def quiet(self) -> None:
        """The source has nothing more at this moment."""
        with self._changed:
            self._quiet, self._failure = True, None
            self._changed.notify_all()

    def well(self) -> None:
        """The source answers again; whether it has something more is not known."""
        with self._changed:
            self._failure = None
            self._changed.notify_all()

    def failed(self, error: CannotRun) -> None:
        """The source cannot be asked; who waits for it is told."""
        with self._changed:
            self._failure = error
            self._changed.notify_all()

    def failure(self) -> CannotRun | None:
        """What stands between the feed and its source at this moment."""
        with self._changed:
            return self._failure

    def forget_fresh(self) -> None:
        """Let go of what the program has not read yet: the source gives it again, or to somebody else."""
        with self._changed:
            for record, _, key in self._fresh:
                self._keys.discard(key)
                self._bytes -= len(record.raw)
            self._fresh.clear()
            self._changed.notify_all()

    def being_decided(self) -> bool:
        """The program has read records that it has not committed."""
        with self._changed:
            return bool(self._read)

    def stir(self) -> None:
        """Let whoever waits look again."""
        with self._changed:
            self._changed.notify_all()

    # ------------------------------------------------------------------ the program's side

    def take(self, position: int, limit: int, *, until_quiet: bool = False) -> Iterator[Record]:
        """At most ``limit`` records after a position: first those read before and not committed, then fresh ones.

        Parameters
        ----------
        until_quiet: go on, and wait, until the source had nothing more; raises what stands in its way.
        """
        with self._changed:
            if not self._last:
                self._committed = position  # the first reader comes with the store's
            repeats = self._read if position < self._last else ()
            self._last = max(self._last, position)
            again = [record for record, _, _ in repeats if record.position > position]
        yield from again[:limit]
        for _ in range(limit - len(again)):
            record = self._next(until_quiet)
            if record is None:
                return
            yield record

    def _next(self, until_quiet: bool) -> Record | None:
        with self._changed:
            while not self._fresh:
                if not until_quiet or self._quiet or not (self._room() or self._done):
                    return None
                if self._failure is not None:
                    raise self._failure
                self._changed.wait()
            record, place, key = self._fresh.popleft()
            record.position = place if self._last < place <= LARGEST else self._last + 1
            self._last = record.position
            self._read.append((record, place, key))
            return record

    def acknowledge(self, position: int) -> None:
        """Everything up to a position is committed."""
        with self._changed:
            self._committed = max(self._committed, position)
            while self._read and self._read[0][0].position <= position:
                record, _, key = self._read.popleft()
                self._bytes -= len(record.raw)
                self._done.append(key)
            self._changed.notify_all()

    def position(self) -> int:
        """Committed up to here, as far as this process was told."""
        with self._changed:
            return self._committed

    def waiting(self) -> int:
        """Records in hand that are not committed."""
        with self._changed:
            return len(self._fresh) + len(self._read)
