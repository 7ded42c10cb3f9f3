"""One partition of a topic as a feed: its position is the offset of the record that comes next.

Rule 1: the position the store has decides where reading begins. The source learns offsets later, and only so that its
own tools can tell how far we are.
Rule 2: a partition that is taken away gives nothing more that is new. What the program has read of it already stays
until it is committed. Given again it is another feed of the same name, which begins where the store stands then.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from engine.errors import CannotRun
from engine.feeds import inhand
from engine.feeds.inhand import InHand
from engine.ports import Lag, Record
from engine.site import Site

FEWEST: Final = 1_000  #: records each partition may have in hand, however many there are
FEWEST_BYTES: Final = 1 << 20


class Partition:
    """A partition that was given to us. The thread of its topic puts records in, the program takes them out.

    Parameters
    ----------
    name: name of the feed; its position is kept under it.
    number: of the partition.
    site: the surroundings.
    share: how many partitions share what may be in hand.
    """

    def __init__(self, name: str, number: int, site: Site, share: int) -> None:
        self.name = name
        self.number = number
        self._site = site
        self.begin: int | None = None  #: the store's position; None: the program has not asked yet
        self.begun = False  #: records are fetched
        self.paused = False  #: nothing is fetched, there is no room
        self.next = 0  #: offset after the last record that came
        self.end: int | None = None  #: offset the next record of the topic will get
        if site.final:  # everything is read at once, and a transaction may want all it can hold of one partition
            share = 1
        most, most_bytes = inhand.MOST, inhand.MOST_BYTES
        self.hand = InHand(
            site.wake,
            most=max(most // share, min(most, FEWEST)),
            most_bytes=max(most_bytes // share, min(most_bytes, FEWEST_BYTES)),
        )
        self._done = 0  #: offset after what is committed
        self._told = 0  #: offset the source was told last

    def read(self, position: int, limit: int) -> Iterator[Record]:
        """At most ``limit`` records from an offset on that are not committed."""
        if self.begin is None:
            self.begin = position
        return self.hand.take(position, limit, until_quiet=self._site.final)

    def acknowledge(self, position: int) -> None:
        """Everything before an offset is committed."""
        self.hand.acknowledge(position)

    def lag(self) -> Lag:
        """Where the partition stands."""
        behind = None if self.end is None else max(0, self.end - self.next) + self.hand.waiting()
        failure = self.hand.failure()
        words = failure.message if failure is not None else ""
        return Lag(self.hand.position(), self.end, behind, words, failure is not None)

    def close(self) -> None:
        """Nothing more is new."""
        self.hand.forget_fresh()
        if self.hand.failure() is None:  # whoever waits for all of it must not take a failure for the end
            self.hand.quiet()

    # ------------------------------------------------------------------ the thread's side

    def put(self, record: Record, offset: int) -> None:
        """Take in the record at an offset."""
        self.hand.put(record, offset + 1, offset)
        self.next = offset + 1

    def failed(self, failure: CannotRun) -> None:
        """The source cannot be asked."""
        self.hand.failed(failure)

    def full(self) -> bool:
        """There is no room for more; that of what is committed is free again."""
        done = self.hand.committed()
        if done:
            self._done = done[-1] + 1
            self.hand.told(done)
        return not self.hand.room()

    def tell_again(self) -> None:
        """What the source was told last did not reach it."""
        self._told = 0

    def to_tell(self) -> int | None:
        """The offset the source may be told, if it is another than before."""
        self.full()
        if self.begun and not self.hand.waiting():  # records that are none for us are done, too
            self._done = self.next
        if self._done <= self._told:
            return None
        self._told = self._done
        return self._told
