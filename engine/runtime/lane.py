"""One channel with a pace: threads of its own, a rate, a breaker, and a gate that the provider closes.

Rule 1: a channel's threads are its own, so one that hangs holds nobody else.
Rule 2: only the engine's thread changes what stands here; a thread that sends hands its result over and rings.
Rule 3: a provider that asks to be left alone is believed, unless it does nothing else: then the pauses grow up to a
minute, and one message goes after each of them.
Rule 4: instants here are those of a clock that never jumps: they say how long to wait, not when it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Protocol

from engine.core.model import MINUTE, SECOND
from engine.ports import Channel, Outgoing, Pace, Sent, Settlement
from engine.runtime import tracing
from engine.runtime.breaker import Breaker
from engine.runtime.hosts import Host, Hosts, Line
from engine.runtime.noting import Notes, carry, untried
from engine.runtime.rate import Bucket
from engine.runtime.verdicts import Terms, failed, pause_of, proof

_LONGEST_OWN_PAUSE = MINUTE
_MANY_PAUSES = 2

Work = Callable[[], None]


class Crew(Protocol):
    """Those who do the sending of a channel."""

    def give(self, work: Work) -> None:
        """Have it done, soon, by somebody; there is never more at once than the crew was made for."""
        ...

    def close(self) -> None:
        """No more work comes; what hangs is left behind."""
        ...


class Threads:
    """A crew of threads, begun as they are needed. They do not keep the process alive: what hangs dies with it."""

    def __init__(self, name: str, width: int) -> None:
        self._name = name
        self._width = width
        self._begun = 0
        self._work: SimpleQueue[Work | None] = SimpleQueue()

    def give(self, work: Work) -> None:
        """Put it into the queue of the threads."""
        if self._begun < self._width:
            self._begun += 1
            Thread(target=self._run, name=f"lane-{self._name}-{self._begun}", daemon=True).start()
        self._work.put(work)

    def close(self) -> None:
        """Every thread ends after what it does now."""
        for _ in range(self._begun):
            self._work.put(None)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()


@dataclass(frozen=True)
class Result:
    """What came of one call of a channel."""

    lane: Lane
    items: Sequence[Outgoing]
    answers: Sequence[Sent]  #: in order of the items; fewer when the channel left some without an answer
    broke: str | None  #: what it raised instead
    proven: set[str]  #: keys without an answer that went out all the same
    probe: bool  #: it was sent to see whether the provider works again


@dataclass(eq=False)
class Lane:
    """The way of one channel."""

    channel: Channel
    pace: Pace
    crew: Crew
    bucket: Bucket | None
    terms: Terms
    notes: Notes
    breaker: Breaker = field(default_factory=Breaker)
    gate: int = 0  #: instant before which the provider wants to be left alone
    pauses: int = 0  #: how often it has asked for that since it last took a message
    busy: int = 0  #: calls under way
    flying: dict[str, Outgoing] = field(default_factory=dict)  #: messages under way, by key
    more: bool = False  #: messages may be waiting that could not be claimed
    host: Host | None = None  #: where all of its messages go
    line: Line | None = None  #: of a channel whose messages go to several hosts: those who wait for one
    hosts: dict[str, Host] = field(default_factory=dict)  #: where messages under way go, by key
    exhausted: tuple[int, int] | None = None  #: all who could be claimed were, when the store stood like this
    turn: int = 0  #: when it last sent something: who did so longest ago comes first

    @property
    def name(self) -> str:
        return self.channel.name

    def room(self, now: int) -> int:
        """Messages it can take on now: each goes on the wire at once."""
        probes = self.breaker.lets_through(now)
        free = self.pace.concurrency - self.busy
        if self.pauses >= _MANY_PAUSES and self.busy:
            free = 0
        if free <= 0 or now < self.gate or probes == 0:
            return 0
        room = 1 if probes is not None or self.pauses >= _MANY_PAUSES else free * self.pace.batch
        room = room if self.bucket is None else min(room, self.bucket.tokens(now))
        return room if self.host is None else min(room, self.host.room(now))

    def opens_at(self, now: int) -> int | None:
        """Instant at which it has room, and its host; None: when something under way comes back."""
        if self.busy >= (1 if self.pauses >= _MANY_PAUSES else self.pace.concurrency):
            return None
        probe = self.breaker.opens_at()
        if probe is None and self.breaker.is_open:
            return None
        host = now if self.host is None else self.host.opens_at(now)
        if host is None:
            return None
        return max(self.gate, probe or now, host, now if self.bucket is None else self.bucket.opens_at(now))

    def calls_at(self, now: int) -> int | None:
        """Instant at which somebody in its line may be called; None: when something comes back, or nobody waits."""
        at = None if self.line is None else self.line.opens_at()
        opens = None if at is None else self.opens_at(now)
        return None if at is None or opens is None else max(at, opens)

    def only_slow(self, now: int) -> bool:
        """Whether nothing but its rate stands against the next message."""
        return self.more and now >= self.gate and not self.breaker.is_open and self.busy < self.pace.concurrency

    def admit(
        self, wanted: list[Outgoing], hosts: Hosts, room: int, now: int, at: int
    ) -> tuple[list[Outgoing], list[Settlement]]:
        """(those of claimed messages that go now, what becomes of the others); ``at``: now, by the machine's clock."""
        where = getattr(self.channel, "host_of", None)
        if self.line is None or where is None:
            return wanted, []
        going: list[Outgoing] = []
        waiting: list[Settlement] = []
        for item in wanted:
            name = where(item)
            if len(going) == room:
                waiting.append(untried(item, None, at, at))
            elif name is None:
                going.append(item)
            elif self.line.admit(item, host := hosts.at(name, now), now):
                self.hosts[item.key] = host
                going.append(item)
            else:
                waiting.append(untried(item, f"waits for its turn at {name}", at, self.line.returns(host, at)))
        return going, waiting

    def send(self, items: Sequence[Outgoing], now: int, report: Callable[[Result], None]) -> None:
        """Give claimed messages to the crew, spread over all who are free."""
        probe = self.breaker.is_open
        if probe:
            self.breaker.probe(now)
        if self.bucket is not None:
            self.bucket.take(len(items))
        if self.host is not None:
            self.host.take(len(items))
            self.hosts.update((item.key, self.host) for item in items)
        free = self.pace.concurrency - self.busy
        size = min(self.pace.batch, -(-len(items) // free))
        for start in range(0, len(items), size):
            part = items[start : start + size]
            self.busy += 1
            self.flying.update((item.key, item) for item in part)
            self.crew.give(partial(self._work, part, probe, report))

    def _work(self, items: Sequence[Outgoing], probe: bool, report: Callable[[Result], None]) -> None:
        report(self._call(items, probe))

    def _call(self, items: Sequence[Outgoing], probe: bool) -> Result:
        """In a thread of the crew: what the channel says."""
        try:
            answers = tracing.send(self.channel, items, partial(carry, self.channel, items, self.notes))
            silent, broke = items[len(answers) :], None
        except BaseException as error:  # whatever it was, the messages must come back
            answers, silent, broke = [], items, f"{type(error).__name__}: {error}"
        try:
            proven = proof(self.channel, silent) if silent else set()
        except BaseException:  # no proof
            proven = set()
        return Result(self, items, answers, broke, proven, probe)

    def back(self, result: Result, now: int) -> None:
        """A call is over: what its answers say about the provider."""
        self.busy -= 1
        for item in result.items:
            self.flying.pop(item.key, None)
            host = self.hosts.pop(item.key, None)
            if host is not None:
                host.back(1, now)
        answers = result.answers[: len(result.items)]
        silent = len(result.items) - len(answers)
        bad = [failed(answer) for answer in answers] + [True] * silent
        if result.probe:
            self.breaker.probed(any(bad))
        else:
            for one in bad:
                self.breaker.answered(one, now)
        self._shut(answers, now)

    def _shut(self, answers: Sequence[Sent], now: int) -> None:
        if any(answer.ok for answer in answers):
            self.pauses = 0
        asked = max((pause for answer in answers if (pause := pause_of(answer)) is not None), default=None)
        if asked is None:
            return
        if now >= self.gate:  # once for all calls that met the same refusal
            if self.bucket is not None:
                self.bucket.refused(now)
            self.pauses += 1
        own = min(_LONGEST_OWN_PAUSE, SECOND << min(self.pauses, 8)) if self.pauses > _MANY_PAUSES else 0
        self.gate = max(self.gate, now + max(asked, own))
