"""The way out for everything decided: claim, send, settle; what goes over a network goes in lanes of its own.

Rule 1: a message is marked ``sending`` durably before it touches a wire, and settled after the channel's answer. That
is the only lease there is: deciding takes none.
Rule 2: the store is touched by the engine's thread alone. Others only send, and ring when they have an answer.
Rule 3: nothing sleeps in here: a message to be tried later carries the instant, and the caller comes back.
Rule 4: a message is claimed when somebody is free to send it, noted when it begins (``noting``): what a crash
leaves in doubt was on the wire.
Rule 5: what waits for its host (``hosts``) goes back into the store, so that others are claimed; then it is called.
Rule 6: a channel without a ``pace`` writes to this machine; it sends in the engine's thread, in order of decision.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from heapq import heapify, heappop, heappush
from queue import Empty, SimpleQueue
from threading import Condition

from engine.ports import Channel, Clock, Outgoing, Pace, Sent, Settlement, Store
from engine.runtime import tracing
from engine.runtime.claims import Claims
from engine.runtime.hosts import Hosts, Line
from engine.runtime.lane import Crew, Lane, Result, Threads
from engine.runtime.noting import Notes, carry, not_sent
from engine.runtime.rate import Bucket
from engine.runtime.verdicts import Terms, again, at_once, doubts, overdue, proof, told, verdict

BATCH = 500
"""Messages of channels without a pace that are claimed in one transaction."""

_LOOKS = 8
"""Claims in a row that may find nothing but messages whose hosts take no more: each is twice as large as the last."""

Ended = tuple[Outgoing, Settlement, Sent | None]
"""A message, what becomes of it, and the channel's answer if it gave one."""


class Lanes:
    """Sends what the store holds, without waiting for any network.

    Parameters
    ----------
    store: opened for writing; every method but ``wake``'s caller belongs to the thread that owns it.
    channels: by name; they are closed by whoever opened them, after ``close``.
    clock: the machine's clock; with ``ticks`` (microseconds that never jump) pauses are measured by these.
    claims: judges once more what is about to be sent.
    wake: called, from any thread, when an answer has come: ``drain`` has something to do.
    crew: makes those who send for a channel, from its name and concurrency.
    hosts: what each host takes, and who is talking to it already; None: nobody is, and they take what ``EVERY`` says.
    """

    def __init__(
        self,
        store: Store,
        channels: Mapping[str, Channel],
        clock: Clock,
        claims: Claims | None = None,
        wake: Callable[[], None] = lambda: None,
        crew: Callable[[str, int], Crew] = Threads,
        hosts: Hosts | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._ticks: Callable[[], int] = getattr(clock, "ticks", clock.now)
        self._claims = claims
        self._wake = wake
        self._channels = dict(channels)
        self._terms = {name: Terms.of(channel) for name, channel in self._channels.items()}
        self._notes = Notes(store, self._terms)
        self._hosts = Hosts() if hosts is None else hosts
        named = [(getattr(it, "host", None), getattr(it, "pace", None)) for it in self._channels.values()]
        self._hosts.named((host, pace) for host, pace in named if host is not None and pace is not None)
        self._turns = 0
        self._lanes = {
            name: self._lane(name, pace, crew)
            for name, channel in self._channels.items()
            if (pace := getattr(channel, "pace", None)) is not None
        }
        self._local = [name for name in self._channels if name not in self._lanes]
        self._later: list[int] = []  #: instants at which there is something to try again
        self._came = 0  #: how often something became claimable that was settled before
        self._owed: list[Ended] = []  #: not yet in the store: it could not be written
        self._results: SimpleQueue[Result] = SimpleQueue()
        self._arrived = Condition()  #: something stands in ``_results``, or a call is over
        self._calls = 0  #: calls begun and not over, guarded by ``_arrived``
        self._passed_on = False  #: a message went on to another channel, which may have been looked at already
        self._cut_short = False  #: a limit kept channels without a pace from being served to the end
        self._stopped = False

    def _lane(self, name: str, pace: Pace, crew: Callable[[str, int], Crew]) -> Lane:
        bucket = None if pace.rate is None else Bucket(pace.rate, self._ticks())
        channel = self._channels[name]
        lane = Lane(channel, pace, crew(name, pace.concurrency), bucket, self._terms[name], self._notes)
        own: str | None = getattr(channel, "host", None)
        if hasattr(channel, "host_of"):
            lane.line = Line()
        elif own is not None:
            lane.host = self._hosts.at(own, self._ticks())
        return lane

    # ------------------------------------------------------------------ what the engine's loop calls

    def recover(self) -> dict[str, int]:
        """Settle what a process that died left ``sending``; call it once, before the first ``drain``."""
        self._notes.turn()
        stuck: dict[str, list[Outgoing]] = {}
        ours = {key for lane in self._lanes.values() for key in lane.flying} | {item.key for item, _, _ in self._owed}
        for item in self._store.stuck():
            if item.key not in ours:
                stuck.setdefault(item.channel, []).append(item)
        now, ended = self._clock.now(), list[Ended]()
        for name, items in stuck.items():
            if name in self._channels:  # of a channel that is no more nothing can be known; its messages wait
                known = {item.key: end for item in items if (end := self._notes.left(item, now)) is not None}
                ended += [(item, known[item.key], None) for item in items if item.key in known]
                items = [item for item in items if item.key not in known]
                proven, terms = proof(self._channels[name], items), self._terms[name]
                ended += _paired(items, doubts(items, proven, "the process died while sending", terms, now, at_once))
        self._later = self._store.tries()
        heapify(self._later)
        settled = self._settle(ended)
        self._notes.settled()
        return settled

    def drain(self, limit: int | None = None) -> dict[str, int]:
        """Settle what came back, and send what may go now, at most ``limit`` messages; how many ended how.

        Channels without a pace are served to the end, the others as far as they have room. What a limit leaves is due
        at once (``next_due``).
        """
        total: Counter[str] = Counter(self._collect())
        self._turn(limit, total)
        self._tidy()
        return dict(total)

    def _tidy(self) -> None:
        self._notes.tidy(key for lane in self._lanes.values() for key in lane.flying)

    def next_due(self) -> int | None:
        """The earliest instant after now at which something can be sent, as far as this process knows.

        What hangs on an answer has no instant: ``wake`` is called when it comes.
        """
        self._past()
        now, ticks = self._clock.now(), self._ticks()
        found = [self._later[0]] if self._later else []
        if self._cut_short and self._local:
            found.append(now + 1)
        for lane in self._lanes.values():
            waits = (lane.opens_at(ticks) if lane.more else None, lane.calls_at(ticks))
            found += [now + max(1, at - ticks) for at in waits if at is not None]
        return min(found, default=None)

    def in_flight(self) -> int:
        """Messages handed to a channel whose answer is not settled yet."""
        return sum(len(lane.flying) for lane in self._lanes.values())

    def stop(self, seconds: float) -> dict[str, int]:
        """Send nothing more, wait for what is on its way, settle it; the rest stays ``sending`` for ``recover``.

        Parameters
        ----------
        seconds: how long to wait at most.
        """
        self._stopped = True
        with self._arrived:
            self._arrived.wait_for(lambda: self._calls == 0, seconds)
        settled = self._collect()
        self._dissolve()
        return settled

    def close(self) -> None:
        """Let the threads go; what hangs is left behind."""
        self._stopped = True
        now = self._ticks()
        for lane in self._lanes.values():
            lane.crew.close()
            for host in lane.hosts.values():  # its answer will be heard by nobody
                host.back(1, now)
            lane.hosts.clear()
        self._notes.close()

    # ------------------------------------------------------------------ lanes

    def _turn(self, limit: int | None, total: Counter[str]) -> int | None:
        """Send what may go now; what is left of the limit."""
        left = limit
        while True:
            self._passed_on = False
            left = self._serve_local(self._fill(left, total), total)  # lanes never take more than they have room for
            if not self._passed_on or left == 0:
                return left

    def _fill(self, limit: int | None, total: Counter[str]) -> int | None:
        """Claim for every lane that has room; what is left of the limit."""
        self._past()
        for lane in () if self._stopped else sorted(self._lanes.values(), key=lambda it: it.turn):
            now = self._ticks()
            lane.more = True
            limit = self._call(lane, limit, now, total)
            room = lane.room(now)
            room = room if limit is None else min(room, limit)
            state = self._state()
            if lane.line and state is not None and lane.exhausted == state:
                lane.more, room = False, 0  # nobody has come who does not wait in the line
            wide, looks = room, _LOOKS
            while room > 0:
                claimed, wanted = self._claim([lane.name], wide, total)
                going = self._admitted(lane, wanted, room, now)
                lane.more = claimed == wide or len(going) == room
                lane.exhausted = state if claimed < wide else None
                if lane.line is not None and claimed < wide:
                    lane.line.gone(now)
                spent = claimed - (len(wanted) - len(going))
                limit = None if limit is None else limit - spent
                if going:
                    self._launch(lane, going, now)
                looks -= not going and bool(wanted)
                wide = 2 * wide if wanted else room
                room = (room if limit is None else min(room, limit)) if claimed and not going and looks else 0
        return limit

    def _state(self) -> tuple[int, int] | None:
        """Changes when somebody may have come that could be claimed; None: it must be looked each time."""
        stirred: int | None = getattr(self._store, "stirred", None)
        return None if stirred is None else (stirred, self._came)

    def _past(self) -> None:
        """Forget the instants that are over: of each something may be tried again."""
        now = self._clock.now()
        while self._later and self._later[0] <= now:
            heappop(self._later)
            self._came += 1

    def _launch(self, lane: Lane, going: list[Outgoing], now: int) -> None:
        self._turns += 1
        lane.turn = self._turns
        with self._arrived:
            before = lane.busy
            lane.send(going, now, self._report)
            self._calls += lane.busy - before

    # ------------------------------------------------------------------ who waits for a host

    def _call(self, lane: Lane, limit: int | None, now: int, total: Counter[str]) -> int | None:
        """Claim whoever's host takes another; what is left of the limit."""
        line, room = lane.line, lane.room(now) if lane.line else 0
        room = room if limit is None else min(room, limit)
        if line is None or room <= 0 or not (called := line.call(room, now)):
            return limit
        at, claim = self._clock.now(), getattr(self._store, "claim_keys", None)
        if claim is None:  # they are claimed with all others
            self._store.settle([Settlement(key, "retry", None, at) for key in called])
            self._came += 1
            return limit
        claimed = claim(called, at)
        try:
            wanted = self._still_wanted(claimed, total)
        except BaseException:
            self._give_back(claimed)
            raise
        going = self._admitted(lane, wanted, len(called), now)
        line.gone(now)
        if going:
            self._launch(lane, going, now)
        return None if limit is None else limit - len(claimed)

    def _admitted(self, lane: Lane, wanted: list[Outgoing], room: int, now: int) -> list[Outgoing]:
        """Those of claimed messages that go now; the others wait again, and nothing is counted."""
        going, waiting = lane.admit(wanted, self._hosts, room, now, self._clock.now())
        by_key = {item.key: item for item in wanted} if waiting else {}
        self._settle([(by_key[it.key], it, None) for it in waiting])
        return going

    def _dissolve(self) -> None:
        """Whoever waits in a line can be claimed by anybody from now on."""
        now = self._ticks()
        keys = [key for lane in self._lanes.values() if lane.line is not None for key in lane.line.dissolve(now)]
        if keys:
            at = self._clock.now()
            self._store.settle([Settlement(key, "retry", None, at) for key in keys])

    def _report(self, result: Result) -> None:
        """In a thread that sends: an answer is there."""
        self._results.put(result)
        with self._arrived:
            self._calls -= 1
            self._arrived.notify_all()
        self._wake()

    def _collect(self) -> dict[str, int]:
        """Settle every answer that has come, in one transaction."""
        ended: list[Ended] = []
        while True:
            try:
                result = self._results.get_nowait()
            except Empty:
                return self._settle(ended)
            result.lane.back(result, self._ticks())
            terms = result.lane.terms
            found = self._judged(
                result.items, result.answers, result.broke, result.proven, terms.for_probe() if result.probe else terms
            )
            if result.probe:  # it asked after the provider, and says nothing of the message
                for _, settlement, _ in found:
                    settlement.uncounted = settlement.status == "retry"
            ended += found

    def _judged(
        self, items: Sequence[Outgoing], answers: Sequence[Sent], broke: str | None, proven: set[str], terms: Terms
    ) -> list[Ended]:
        now = self._clock.now()
        ended: list[Ended] = [
            (item, verdict(item, answer, terms, now), answer) for item, answer in zip(items, answers, strict=False)
        ]
        silent = items[len(ended) :]
        return ended + _paired(silent, doubts(silent, proven, broke or "the channel gave no answer", terms, now, again))

    # ------------------------------------------------------------------ channels without a pace

    def _serve_local(self, limit: int | None, total: Counter[str]) -> int | None:
        left = limit
        self._cut_short = left == 0
        while self._local and not self._stopped and (left is None or left > 0):
            claimed, wanted = self._claim(self._local, BATCH if left is None else min(BATCH, left), total)
            if not claimed:
                break
            unsent = _by_channel(wanted)
            try:
                while unsent:
                    name, items = unsent.pop(0)
                    total.update(self._send(self._channels[name], items))
            except BaseException:
                self._give_back(item for _, items in unsent for item in items)
                raise
            left = None if left is None else left - claimed
            self._cut_short = left == 0
        return left

    def _send(self, channel: Channel, items: Sequence[Outgoing]) -> dict[str, int]:
        answers: Sequence[Sent] = ()
        broke = None
        try:
            answers = tracing.send(channel, items, partial(carry, channel, items, self._notes))
        except Exception as error:  # a channel that breaks has answered nothing: it may have sent some, all or none
            broke = f"{type(error).__name__}: {error}"
        silent = items[len(answers) :]
        proven = proof(channel, silent) if silent else set()
        return self._settle(self._judged(items, answers, broke, proven, self._terms[channel.name]))

    # ------------------------------------------------------------------ the store

    def _claim(self, names: Sequence[str], limit: int, total: Counter[str]) -> tuple[int, list[Outgoing]]:
        """(how many were claimed, those of them that are to be sent)."""
        with tracing.span("claim") as span:
            claimed = self._store.claim(names, self._clock.now(), limit)
            if not claimed:
                span.forget()
                return 0, []
            span.messages(claimed)
            try:
                return len(claimed), self._still_wanted(claimed, total)
            except BaseException:
                self._give_back(claimed)
                raise

    def _still_wanted(self, claimed: list[Outgoing], total: Counter[str]) -> list[Outgoing]:
        wanted, refused = claimed, list[Settlement]()
        if self._claims is not None:
            wanted, refused = self._claims.judge(claimed)
        now, timely = self._clock.now(), []
        for item in wanted:
            late = overdue(item, self._terms[item.channel], now)
            if late is None:
                timely.append(item)
            else:
                refused.append(late)
        by_key = {item.key: item for item in claimed} if refused else {}
        total.update(self._settle([(by_key[it.key], it, None) for it in refused]))
        return timely

    def _give_back(self, items: Iterable[Outgoing]) -> None:
        """What was claimed and never sent waits again: nobody has to doubt it."""
        now, ends = self._clock.now(), {item.key for item, _, _ in self._owed}
        for item in items:
            if item.key not in ends:
                self._owed.append((item, not_sent(item, now), None))

    def _settle(self, ended: Iterable[Ended]) -> dict[str, int]:
        """What cannot be written stays owed, and is written the next time."""
        self._owed += ended
        if not self._owed:
            return {}
        now, settlements = self._stamp(), [settlement for _, settlement, _ in self._owed]
        told_all = [(item.key, told(item, settlement, answer, now)) for item, settlement, answer in self._owed]
        events = [event for key, some in told_all if some and self._stands(key) for event in some]
        self._store.settle(settlements, events)
        self._owed.clear()
        self._note_later(settlements)
        return dict(Counter(it.status for it in settlements))

    def _stands(self, key: str) -> bool:
        """Whether a delivery was not taken back meanwhile: then nobody waits any more, or nobody is to be named."""
        found = self._store.delivery(key)
        return found is not None and found.status == "sending"

    def _stamp(self) -> int:
        """The instant at which an answer comes, for the journey that waits for it."""
        return self._clock.now()

    def _note_later(self, settlements: Sequence[Settlement]) -> None:
        self.next_due()  # forget what is over
        for it in settlements:
            if it.next_at is not None:
                heappush(self._later, it.next_at)
            self._passed_on = self._passed_on or it.channel is not None
            self._came += it.channel is not None


def _paired(items: Sequence[Outgoing], settlements: Sequence[Settlement]) -> list[Ended]:
    return [(item, settlement, None) for item, settlement in zip(items, settlements, strict=True)]


def _by_channel(items: Iterable[Outgoing]) -> list[tuple[str, list[Outgoing]]]:
    groups: dict[str, list[Outgoing]] = {}
    for item in items:
        groups.setdefault(item.channel, []).append(item)
    return list(groups.items())
