"""A provider that is slow, hangs, fails, asks to be left alone and lies, on a clock moved by hand, in one thread.

One seed is one world: what a request meets is a hash of its key and of how often that key was asked before. A call
takes as long as the provider says; a process that dies leaves its calls on the way: some arrive all the same.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any

from engine.core.chance import bucket
from engine.core.model import SECOND, Effect
from engine.ports import Batch, Outgoing, Pace, Sent
from engine.runtime.lanes import Lanes

START = 1_800_000_000 * SECOND


class Time:
    """The clock of a world: by it and by nothing else anything happens."""

    def __init__(self, at: int = START) -> None:
        self.at = at

    def now(self) -> int:
        return self.at

    def ticks(self) -> int:
        return self.at


@dataclass
class Moods:
    """Which requests of ten thousand meet what."""

    swallowed: int = 0  #: the message goes out, and the answer is lost
    lost: int = 0  #: the message is lost, and so is the answer
    hanging: int = 0  #: as lost, after the whole time-out
    failing: int = 0  #: 503
    slow: int = 0  #: it takes ten seconds instead of a twentieth of one


@dataclass
class Provider:
    """The other side. ``aware``: it knows the keys it has seen, and sends nothing twice."""

    time: Time
    moods: Moods
    aware: bool = True
    limit: int | None = None  #: requests it takes in any one second; the others get 429
    outage: tuple[int, int] | None = None  #: from, until: nothing but 503
    outgoing: Counter[str] = field(default_factory=Counter)  #: key -> messages that really went out
    asked: Counter[str] = field(default_factory=Counter)  #: key -> requests
    arrivals: list[tuple[int, str]] = field(default_factory=list)  #: (instant, how it ended) of every request
    unconfirmed: int = 0  #: messages that went out without an answer
    doubtful: set[str] = field(default_factory=set)  #: keys of requests whose end nobody was told
    window: deque[int] = field(default_factory=deque)

    def takes(self, items: Sequence[Outgoing]) -> int:
        """Microseconds a call takes: a hash of the first key."""
        mood = self._mood(items[0].key)
        long = {"hanging": 15 * SECOND, "slow": 10 * SECOND}.get(mood, SECOND // 20)
        return long + bucket(f"takes/{self.asked[items[0].key]}", items[0].key) * 5

    def ask(self, key: str, heard: bool = True) -> Sent:
        """One request; ``heard``: somebody is there to hear the answer."""
        mood = self._mood(key)
        self.asked[key] += 1
        if self.outage is not None and self.outage[0] <= self.time.at < self.outage[1]:
            mood = "failing"
        elif self.limit is not None and not self._within_limit():
            mood = "limited"
        self.arrivals.append((self.time.at, mood))
        if mood == "failing":
            return Sent(ok=False, reason="503", passing=True)
        if mood == "limited":
            return Sent(ok=False, reason="429", passing=True, retry_after=self.window[0] + SECOND - self.time.at)
        if mood in ("lost", "hanging"):
            self.doubtful.add(key)
            return Sent(ok=False, reason="time-out", unknown=True)
        fresh = not (self.aware and self.outgoing[key])
        self.outgoing[key] += fresh
        if mood == "swallowed" or not heard:
            self.unconfirmed += fresh
            self.doubtful.add(key)
            return Sent(ok=False, reason="the connection broke", unknown=True)
        return Sent(ok=True, receipt=f"r-{key}")

    def _mood(self, key: str) -> str:
        drawn = bucket(f"mood/{self.asked[key]}", key)
        for mood, share in vars(self.moods).items():
            if drawn < share:
                return str(mood)
            drawn -= share
        return "well"

    def _within_limit(self) -> bool:
        assert self.limit is not None
        while self.window and self.window[0] <= self.time.at - SECOND:
            self.window.popleft()
        if len(self.window) >= self.limit:
            return False
        self.window.append(self.time.at)
        return True


class Wire:
    """A channel to the provider; ``cut``: nobody hears the answers any more."""

    once = False

    def __init__(self, name: str, provider: Provider, pace: Pace, mode: str | None) -> None:
        self.name = name
        self.provider = provider
        self.pace = pace
        self.mode = mode
        self.cut = False

    def send(self, items: Sequence[Outgoing]) -> list[Sent]:
        return [self.provider.ask(item.key, not self.cut) for item in items]

    def close(self) -> None:
        """Nothing is open."""


class World:
    """A store with messages, a provider, and processes that send and die."""

    def __init__(self, store: Any, time: Time, provider: Provider, pace: Pace, mode: str | None, seed: int = 1) -> None:
        self.store = store
        self.time = time
        self.provider = provider
        self.pace = pace
        self.mode = mode
        self.rng = random.Random(seed)
        self.kills = 0
        self.ended: Counter[str] = Counter()
        self._calls: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = 0
        self.begin()

    def begin(self) -> None:
        """A process starts."""
        self.wire = Wire("sms", self.provider, self.pace, self.mode)
        self.lanes = Lanes(self.store, {"sms": self.wire}, self.time, crew=lambda name, width: self)
        self.ended.update(self.lanes.recover())

    def kill(self) -> None:
        """The process dies at this instant: of the calls on their way some arrive, and nobody hears an answer."""
        self.kills += 1
        self.wire.cut = True
        flying = [key for lane in self.lanes._lanes.values() for key in lane.flying]
        self.provider.doubtful.update(flying)
        calls, self._calls = self._calls, []
        for _, _, work in calls:
            if self.rng.random() < 0.5:
                work()
        self.begin()

    # -- the crew of the lane

    def give(self, work: Callable[[], None]) -> None:
        """A call begins; it is over after the time the provider takes."""
        self._numbers += 1
        part = work.args[0]  # type: ignore[attr-defined]  # the messages of the call
        heappush(self._calls, (self.time.at + self.provider.takes(part), self._numbers, work))

    def close(self) -> None:
        """Nobody has to go."""

    # -- what happens

    def run(self, until: int | None = None, kills: float = 0) -> None:
        """Let time pass until nothing is left to do; ``kills``: how likely the process dies at each turn."""
        while True:
            self.ended.update(self.lanes.drain())
            if kills and self.rng.random() < kills:
                self.kill()
                continue
            due = self.lanes.next_due()
            call = self._calls[0][0] if self._calls else None
            at = min((it for it in (due, call) if it is not None), default=None)
            if at is None or (until is not None and at > until):
                self.time.at = max(self.time.at, until or 0)
                return
            self.time.at = max(self.time.at, at)
            while self._calls and self._calls[0][0] <= self.time.at:
                heappop(self._calls)[2]()

    def statuses(self) -> Counter[str]:
        """Deliveries by status."""
        return Counter(delivery for _, delivery in self.store.effects())

    def keys(self, status: str) -> set[str]:
        return {it.item.key for it in self.store.outbox(status)}


def planned(store: Any, count: int, *, channel: str = "sms", purpose: str = "service", name: str = "m") -> list[str]:
    """So many messages are decided."""
    keys = [f"{name}{number:06d}" for number in range(count)]
    for start in range(0, count, 5_000):
        effects = [
            Effect(
                key=key, time=START, playbook="p", step="s", kind="message", user=f"u-{key}", group=None,
                status="planned", reason=None, detail={"text": key}, deliver=channel, purpose=purpose,
            )
            for key in keys[start : start + 5_000]
        ]  # fmt: skip
        store.commit(
            Batch(
                clock=START, states=[], events=[], effects=effects, answers=[], resources={}, decisions=[], goals=[],
                rejected=[], positions={},
            )
        )  # fmt: skip
    return keys


def busiest(instants: Sequence[int], window: int = SECOND) -> int:
    """The most of these instants (in order) that lie in any half-open window."""
    best = first = 0
    for place, at in enumerate(instants):
        while instants[first] <= at - window:
            first += 1
        best = max(best, place - first + 1)
    return best
