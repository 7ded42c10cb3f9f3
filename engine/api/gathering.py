"""Group commit: requests that wait become one transaction, and each is answered when it is durable.

Rule 1: one transaction is under way at a time; what comes meanwhile is the next one.
Rule 2: each key has a line of its own with a bound, and the lines are served in turn: one sender cannot hold up others.
Rule 3: what breaks a transaction for a reason of its own is found by halving it; the others go on.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from engine.api.answers import Refused, busy, cannot
from engine.api.newcomers import Bringing
from engine.core.model import Event
from engine.errors import CannotRun
from engine.ports import Rejected, Store
from engine.runtime.jobs import Jobs

_log = logging.getLogger(__name__)


@dataclass
class Parcel:
    """What one request brings."""

    events: list[tuple[Event, bytes]]
    rejected: list[Rejected] = field(default_factory=list)
    by: Bringing | None = None  #: who answers for new users in it; None: nobody counts them
    barred: int = 0  #: seconds for which it may bring no new users

    @property
    def size(self) -> int:
        """Its records."""
        return len(self.events) + len(self.rejected)


Repeated = frozenset[int]
"""Places in ``events`` of those whose id was there before."""


@dataclass(frozen=True)
class Written:
    """What became of a parcel."""

    repeated: Repeated
    strangers: tuple[str, ...] = ()  #: users that nobody knew before
    taken: bool = True  #: False: it may bring no new users now, and has some


class Gathering:
    """Parcels on their way into the store; belongs to the server's loop.

    Parameters
    ----------
    jobs: the way to the thread that owns the store.
    commit: records one transaction holds, or one parcel that is larger.
    waiting: records of one key that may wait.
    """

    def __init__(self, jobs: Jobs, *, commit: int, waiting: int) -> None:
        self._jobs = jobs
        self._commit = commit
        self._most = waiting
        self._lines: dict[str, deque[tuple[Parcel, asyncio.Future[Repeated]]]] = {}
        self._waiting: dict[str, int] = {}
        self._task: asyncio.Task[None] | None = None

    async def put(self, who: str, parcel: Parcel) -> Repeated:
        """Have a parcel committed; which of its events were there before.

        Raises Refused (503) when its line is full or the store cannot take it now.
        """
        if self._waiting.get(who, 0) + parcel.size > self._most and self._waiting.get(who, 0):
            raise busy("busy", "too many records of this sender wait for their commit")
        promise: asyncio.Future[Repeated] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(who, deque()).append((parcel, promise))
        self._waiting[who] = self._waiting.get(who, 0) + parcel.size
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
        # Shielded: whoever stops waiting for an answer does not stop the commit.
        return await asyncio.shield(promise)

    async def _work(self) -> None:
        while self._lines:
            chosen = self._choose()
            try:
                await self._write(chosen)
            except BaseException as error:  # the loop is being closed
                for _, promise in chosen:
                    _fail(promise, error)
                raise

    def _choose(self) -> list[tuple[Parcel, asyncio.Future[Repeated]]]:
        """The next transaction: from each line in turn, as much as fits."""
        chosen: list[tuple[Parcel, asyncio.Future[Repeated]]] = []
        size = 0
        while self._lines:
            who = next(iter(self._lines))
            line = self._lines.pop(who)
            if chosen and size + line[0][0].size > self._commit:
                self._lines = {who: line, **self._lines}
                break
            chosen.append(line.popleft())
            size += chosen[-1][0].size
            self._waiting[who] -= chosen[-1][0].size
            if line:
                self._lines[who] = line  # last in turn now
            else:
                del self._waiting[who]
        return chosen

    async def _write(self, chosen: Sequence[tuple[Parcel, asyncio.Future[Repeated]]]) -> None:
        """Commit, and keep every promise, one way or the other."""
        parcels = [parcel for parcel, _ in chosen]
        for parcel in parcels:
            parcel.barred = parcel.by.newcomers.debt(parcel.by.names) if parcel.by is not None else 0
        try:
            found = await asyncio.wrap_future(self._jobs.submit(lambda store: write(store, parcels)))
        except CannotRun as error:
            refused = cannot(error)
            for _, promise in chosen:
                _fail(promise, refused)
            return
        except Exception as error:
            if len(chosen) > 1:
                middle = len(chosen) // 2
                await self._write(chosen[:middle])
                await self._write(chosen[middle:])
                return
            _log.error("a request broke its commit: %s", type(error).__name__, exc_info=error)
            words = "the store cannot take this request; nothing of it was taken"
            _fail(chosen[0][1], Refused(500, "internal", words))
            return
        for (parcel, promise), written in zip(chosen, found, strict=True):
            if written.taken and parcel.by is not None:
                parcel.by.newcomers.came(parcel.by.names, written.strangers)
            if not written.taken:
                _fail(promise, _too_many(parcel.barred))
            elif not promise.done():
                promise.set_result(written.repeated)


def write(store: Store, parcels: Sequence[Parcel]) -> list[Written]:
    """Put parcels into the inbox, in one transaction; what became of each.

    Called by the thread that owns the store, so nothing comes between the question and the writing.
    """
    ids = [event.id for parcel in parcels for event, _ in parcel.events]
    met = store.known(ids) if ids else set()
    strange = _strangers(store, parcels)
    found: list[Written] = []
    taken: list[Parcel] = []
    for parcel in parcels:
        places = [place for place, (event, _) in enumerate(parcel.events) if event.id in met]
        repeated = set(places)
        new = {event.user: None for place, (event, _) in enumerate(parcel.events) if place not in repeated}
        users = tuple(user for user in new if user in strange) if parcel.by is not None else ()
        if users and parcel.barred:
            found.append(Written(frozenset(), users, taken=False))
            continue
        for place, (event, _) in enumerate(parcel.events):
            if event.id in met:
                repeated.add(place)
            met.add(event.id)
        strange.difference_update(users)  # the next parcel brings them no more
        found.append(Written(frozenset(repeated), users))
        taken.append(parcel)
    store.ingest([it for parcel in taken for it in parcel.events], [it for parcel in taken for it in parcel.rejected])
    return found


def _strangers(store: Store, parcels: Sequence[Parcel]) -> set[str]:
    """The users of these events whom nobody knows, where somebody counts them."""
    users = {
        event.user
        for parcel in parcels
        if parcel.by is not None
        for event, _ in parcel.events
        if event.user is not None and not parcel.by.newcomers.met(event.user)
    }
    return store.strangers(sorted(users)) if users else set()


def _too_many(seconds: int) -> Refused:
    message = "more new users were brought than the feed lets in; of users who are known, events are taken"
    hint = f"nothing was taken; send it again in {seconds} s"
    return Refused(429, "new_users", message, hint, {"retry-after": str(seconds)})


def _fail(promise: asyncio.Future[Repeated], error: BaseException) -> None:
    if not promise.done():
        promise.set_exception(error if isinstance(error, Exception) else busy("stopping", "the engine is leaving", 5))
        promise.exception()  # read once: whoever waited may be gone, and that is no fault
