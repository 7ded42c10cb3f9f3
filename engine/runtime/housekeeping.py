"""What a daemon does beside its work, so that a store can be left alone for years.

A round an hour: forget what is older than ``retention`` says, bring the log of the file into the file, count the day,
and write the file anew when somebody was erased. The room on the disk is looked at every minute.

Rule 1: the alarm only says that it is time; the work is done by the engine's thread, a small piece a turn.
Rule 2: nothing is forgotten while the machine's clock is doubted.
Rule 3: the one piece that is not small, writing the file anew, waits for the night when the file is large.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from engine.core import localtime
from engine.core.model import DAY, HOUR, SECOND
from engine.errors import StoreError
from engine.ports import FileStore, Scrubbing, Store
from engine.runtime.state import DaemonState

MINUTE_SECONDS = 60.0
"""How often the alarm rings."""

PIECE = 1_000
"""Events, ids, verdicts or records that are forgotten in one transaction: some hundredths of a second."""

RESERVE = 1 << 30
"""Bytes of the disk that should stay free."""

SMALL = 64 << 20
"""Bytes of a file that is written anew at any hour, within a second or so."""

NIGHT = (3, 5)
"""Hours of the program's zone, from and before, in which a larger one is."""

_ROUND, _DAY = HOUR // SECOND, DAY // SECOND  # in seconds of the clock that never jumps

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wishes:
    """What the program at work asks for."""

    retention: Mapping[str, int]  #: kind of ``Store.forget`` -> microseconds it is kept
    zone: str  #: in which it is night
    now: int  #: the machine's clock, which is not doubted, microseconds UTC


class Housekeeping:
    """Looks after the store of a daemon.

    Parameters
    ----------
    store: opened for writing; every method but ``call`` belongs to the thread that owns it.
    state: what is told.
    elapsed: seconds on a clock that never jumps.
    """

    def __init__(self, store: Store, state: DaemonState, elapsed: Callable[[], float]) -> None:
        self._store = store
        self._file = store if isinstance(store, FileStore) else None
        self._state = state
        self._elapsed = elapsed
        self._called = False
        self._left: deque[Callable[[Wishes], bool]] = deque()  #: pieces of the round at hand
        self._round_at: float | None = None
        self._day_at = elapsed()  #: opening the store counted the day

    def call(self) -> None:
        """It is time to look; may be called by any thread."""
        self._called = True

    def clean_up(self) -> None:
        """The disk is full: a round begins now, with what gives room back first."""
        self._left.clear()
        self._round_at = self._elapsed()
        self._left.extend((self._shrink, self._forget, self._shrink))

    def piece(self, wishes: Wishes) -> bool:
        """Do a piece of what is to be done; True: there is more. Raises StoreError, and is tried again then."""
        if self._called:
            self._called = False
            self._begin()
        if self._left and not self._left[0](wishes):
            self._left.popleft()
        return bool(self._left)

    def _begin(self) -> None:
        self._look()
        now = self._elapsed()
        if self._left or (self._round_at is not None and now - self._round_at < _ROUND):
            return
        self._round_at = now
        self._left.extend((self._forget, self._count_day, self._checkpoint, self._scrub))

    def _look(self) -> None:
        """The room on the disk."""
        if self._file is None:
            return
        room = self._file.room()
        before, self._state.room = self._state.room, room
        low = room.free < RESERVE
        if low and (before is None or before.free >= RESERVE):
            self._state.shout(f"only {room.free >> 20:,} MiB are free on the disk of the store: make room")
        self._state.low_disk = f"only {room.free >> 20:,} MiB are free on the disk of the store" if low else ""
        if not self._file.full:
            self._state.reserve = self._file.keep_reserve()

    # ------------------------------------------------------------------ the pieces; each says whether it has more

    def _forget(self, wishes: Wishes) -> bool:
        before = {kind: wishes.now - kept for kind, kept in wishes.retention.items()}
        if not before:
            return False
        went = {kind: n for kind, n in self._store.forget(before, PIECE).items() if n}
        self._state.add({f"forgotten.{kind}": n for kind, n in went.items()})
        return bool(went)

    def _count_day(self, wishes: Wishes) -> bool:
        if self._file is not None and self._elapsed() - self._day_at >= _DAY:
            self._file.count_day()
            self._day_at = self._elapsed()
        return False

    def _checkpoint(self, wishes: Wishes) -> bool:
        if self._file is not None:
            self._file.checkpoint()
        return False

    def _shrink(self, wishes: Wishes) -> bool:
        if self._file is not None:
            self._file.shrink_log()
        return False

    def _scrub(self, wishes: Wishes) -> bool:
        if not isinstance(self._store, Scrubbing) or not self._store.unscrubbed():
            return False
        hour = localtime.local_hour(wishes.now, localtime.zone(wishes.zone) or localtime.UTC)
        night = NIGHT[0] <= hour < NIGHT[1]
        if not (night if self._file is None else self._has_room_to_scrub(self._file, night)):
            return False
        begun = self._elapsed()
        try:
            self._store.scrub()
        except StoreError as error:  # whatever it was, the store works; the next round tries again
            self._state.shout(f"the file could not be written anew: {error}")
            return False
        self._state.count("scrubs")
        _log.info("the file was written anew without what was erased", extra={"seconds": self._elapsed() - begun})
        return False

    def _has_room_to_scrub(self, file: FileStore, night: bool) -> bool:
        """A large file waits for the night, and for room; of a server nobody knows how much there is."""
        room = file.room()
        if room.size > SMALL and not night:
            return False
        if room.free < 2 * room.size + RESERVE:
            self._state.shout(
                f"the file cannot be written anew: that needs {(2 * room.size + RESERVE) >> 20:,} MiB free"
            )
            return False
        return True
