"""Reads what stands in the feeds right now, merged by time, piece by piece.

Rule 1: each feed keeps its own order; between feeds the earlier event goes first, at one instant the feed named first.
Rule 2: nothing waits: a feed gives what is there. What was read and not yet handed out is held, at most one piece a
feed.
Rule 3: a feed that breaks is left alone for a while and the others go on.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice

from engine.errors import DrumbeatError, StoreError
from engine.ports import Feed, Lag, LiveFeed, Record
from engine.runtime.merge import present

PAUSE = 5.0
"""Seconds a broken feed is left alone."""

_log = logging.getLogger(__name__)


class _Reader:
    """One feed: where it stands, and what was read ahead."""

    def __init__(self, feed: Feed, position: Callable[[str], int]) -> None:
        self.feed = feed
        self.ahead: deque[Record] = deque()
        self.at = position(feed.name)  #: position after the last record read
        self.more = True  #: there may be more right now
        self.broken: str | None = None  #: why it cannot be read
        self.deaf: str | None = None  #: why it cannot be told what is committed
        self.rest_until = 0.0

    def fill(self, limit: int, elapsed: float) -> None:
        """Read on, if nothing is held."""
        if self.ahead or not self.more:
            return
        self.more = False
        if self.broken is not None and elapsed < self.rest_until:
            return
        try:
            self.ahead.extend(islice(self.feed.read(self.at, limit), limit))  # some give more than asked for
        except StoreError:
            raise  # the inbox: the store is everybody's trouble
        except Exception as error:  # whatever it is, the other feeds go on
            self.rest_until = elapsed + PAUSE
            self.broken = self._tell(error, self.broken)
            return
        self.broken = None
        if self.ahead:
            self.at = self.ahead[-1].position
            self.more = len(self.ahead) >= limit

    def acknowledge(self, position: int) -> None:
        """Tell the source how far its records are committed; when it cannot be told now, the next word says more."""
        if isinstance(self.feed, LiveFeed):
            try:
                self.feed.acknowledge(position)
            except StoreError:
                raise
            except Exception as error:  # the records are committed: coming again they are known
                self.deaf = self._tell(error, self.deaf)
                return
        self.deaf = None

    def _tell(self, error: Exception, told: str | None) -> str:
        words = str(error) if isinstance(error, DrumbeatError) else f"{type(error).__name__}: {error}"
        if words != told:
            _log.error("feed %s is in trouble: %s", self.feed.name, words, extra={"feed": self.feed.name})
        return words


class Gather:
    """What stands in several feeds.

    Parameters
    ----------
    feeds: in order of precedence.
    position: where each feed goes on, by the store.
    elapsed: seconds on a steady clock.
    """

    def __init__(self, feeds: Sequence[Feed], position: Callable[[str], int], elapsed: Callable[[], float]) -> None:
        self.feeds = list(feeds)
        self._position = position
        self._elapsed = elapsed
        self._readers: list[_Reader] = []
        self._lost: dict[str, str] = {}  #: feed -> why its source cannot be reached

    def reset(self) -> None:
        """Begin again where the store says: what was held is read once more."""
        self._readers = []

    def _look(self) -> None:
        """Feeds behind one setting come and go; whoever is new begins where the store says."""
        known = {id(reader.feed): reader for reader in self._readers}  # one that left and came again is a new one
        self._readers = [known.get(id(feed)) or _Reader(feed, self._position) for feed in present(self.feeds)]

    def take(self, limit: int, until: int | None = None) -> list[Record]:
        """The next records, at most ``limit``; none of an event after ``until``, nor what stands behind it."""
        self._look()
        for reader in self._readers:
            reader.more = True
        out: list[Record] = []
        elapsed = self._elapsed()
        while len(out) < limit:
            best = self._first(limit, until, elapsed)
            if best is None:
                break
            out.append(best.ahead.popleft())
        return out

    def frontier(self, limit: int) -> int | None:
        """Time of the earliest event that is there and was not taken; None: all were."""
        best = self._first(limit, None, self._elapsed())
        return None if best is None else _time(best.ahead[0])

    def heads(self) -> list[int]:
        """Times of the events from outside that stand at the heads of the feeds."""
        heads = [reader.ahead[0].event for reader in self._readers if reader.ahead]
        return [event.time for event in heads if event is not None and not event.internal]

    def acknowledge(self, positions: Callable[[str], int], names: set[str]) -> None:
        """Tell live feeds how far their records are committed."""
        for reader in self._readers:
            if reader.feed.name in names:
                reader.acknowledge(positions(reader.feed.name))

    def lags(self) -> dict[str, Lag]:
        """Where each live feed stands; those that cannot say are left out."""
        found = {}
        for feed in self.feeds:
            if isinstance(feed, LiveFeed):
                with suppress(Exception):  # it is among the broken ones, or will be
                    found[feed.name] = feed.lag()
        lost = {name: lag.says for name, lag in found.items() if lag.broken}
        for name in lost.keys() - self._lost.keys():
            _log.error("feed %s is in trouble: %s", name, lost[name], extra={"feed": name})
        for name in self._lost.keys() - lost.keys():
            _log.warning("feed %s is well again", name, extra={"feed": name})
        self._lost = lost
        return found

    @property
    def broken(self) -> dict[str, str]:
        """Feeds that cannot be read or told anything, or whose source cannot be reached, and why."""
        return self._lost | {it.feed.name: why for it in self._readers if (why := it.broken or it.deaf) is not None}

    def _first(self, limit: int, until: int | None, elapsed: float) -> _Reader | None:
        """The feed whose next record goes first."""
        best: _Reader | None = None
        earliest = 0
        for reader in self._readers:
            reader.fill(limit, elapsed)
            if not reader.ahead:
                continue
            time = _time(reader.ahead[0])
            if (until is None or time <= until) and (best is None or time < earliest):
                best, earliest = reader, time
        return best


def _time(record: Record) -> int:
    return -1 << 62 if record.event is None else record.event.time
