"""Several feeds read as one, ordered by the time of the events.

Rule 1: each feed keeps its own order; between feeds the earlier event goes first, at one instant the feed named first.
Rule 2: a record that is no event goes as soon as it stands at the head of its feed: it must not hold up the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from heapq import heapify, heappop, heapreplace
from itertools import islice

from engine.ports import Feed, Gathering, Record

_READ_AHEAD = 1 << 62  # records a feed is asked for; it stops by itself at its end


def present(feeds: Sequence[Feed]) -> list[Feed]:
    """The feeds there are now, with the members of gatherings in their places."""
    return [it for feed in feeds for it in (feed.members() if isinstance(feed, Gathering) else (feed,))]


class Merge:
    """The records of several feeds, merged.

    Parameters
    ----------
    feeds: in order of precedence.
    position: where each feed goes on.
    """

    def __init__(self, feeds: Sequence[Feed], position: Callable[[str], int]) -> None:
        self._readers: list[Iterator[Record]] = [
            feed.read(position(feed.name), _READ_AHEAD) for feed in present(feeds)
        ]
        self._heads: list[tuple[int, int, Record]] = []
        for place, reader in enumerate(self._readers):
            head = next(reader, None)
            if head is not None:
                self._heads.append((_time(head), place, head))
        heapify(self._heads)

    def take(self, limit: int) -> list[Record]:
        """The next records, at most ``limit``; empty when every feed is read to its end."""
        out: list[Record] = []
        heads = self._heads
        while heads and len(out) < limit:
            _, place, record = heads[0]
            out.append(record)
            reader = self._readers[place]
            if len(heads) == 1:  # nobody to compare with
                out.extend(islice(reader, limit - len(out)))
            following = next(reader, None)
            if following is None:
                heappop(heads)
            else:
                heapreplace(heads, (_time(following), place, following))
        return out


def _time(record: Record) -> int:
    return -1 << 62 if record.event is None else record.event.time
