"""How much one host is asked, whatever channel asks it: a rate and a number of requests at once.

Rule 1: a host is known by its name. Channels that lead to the same name share what it takes; ``.shop.example`` in the
program file is one host with all that is below it.
Rule 2: nobody has to write anything: what no setting names has the limits of ``EVERY``. A host that a channel names in
its own ``url`` takes at least what that channel says.
Rule 3: who waits for a host waits in line behind those who were decided before, and in nobody else's way: other hosts
are asked meanwhile. Waiting is no try.
Rule 4: only the engine's thread changes what stands here. Instants are those of a clock that never jumps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush

from engine.core.model import HOUR, SECOND
from engine.ports import Allowed, Outgoing, Pace
from engine.runtime.rate import Bucket

EVERY = Allowed()
"""What a host takes of which nobody says anything."""

LONGEST_LINE = 50_000
"""Messages of one channel whose places are remembered. Beyond that they come back after a while, as new ones do."""

_MANY_HOSTS = 1_024
_SOONEST, _LATEST = 10 * SECOND, HOUR


@dataclass(eq=False)
class Host:
    """One destination."""

    name: str
    allowed: Allowed
    bucket: Bucket
    busy: int = 0  #: requests on their way
    held: int = 0  #: messages that were called from a line, and not sent yet
    lines: set[Line] = field(default_factory=set)  #: in which somebody waits for it

    def room(self, now: int) -> int:
        """Messages it takes now."""
        return max(0, min(self.bucket.tokens(now), self.allowed.concurrency - self.busy) - self.held)

    def opens_at(self, now: int) -> int | None:
        """Instant at which it takes another; None: when a request comes back, or who was called has come."""
        if self.held or self.busy >= self.allowed.concurrency:
            return None
        return self.bucket.opens_at(now)

    def take(self, number: int = 1) -> None:
        """So many messages go there."""
        self.bucket.take(number)
        self.busy += number

    def back(self, number: int, now: int) -> None:
        """So many requests are over."""
        self.busy -= number
        self.tell(now)

    def release(self, now: int) -> None:
        """One who was called is no longer waited for."""
        self.held -= 1
        self.tell(now)

    def tell(self, now: int) -> None:
        """Whoever waits in a line may look again."""
        for line in self.lines:
            line.look_at(self, now)

    def idle(self, now: int) -> bool:
        """Whether nobody would notice that it is forgotten."""
        return not (self.busy or self.held or self.lines) and self.bucket.full(now)


class Hosts:
    """All hosts a process talks to; it outlives the channels.

    Parameters
    ----------
    limits: name, ``.name`` (with all below) or ``*`` (every other) -> what it takes.
    """

    def __init__(self, limits: Mapping[str, Allowed] | None = None) -> None:
        self._limits = dict(limits or {})
        self._own: dict[str, Allowed] = {}  #: host of a channel's own ``url`` -> what its channels say
        self._hosts: dict[str, Host] = {}
        self._most = _MANY_HOSTS  #: with so many it is looked who can be forgotten

    def allow(self, limits: Mapping[str, Allowed]) -> None:
        """Other limits from now on, also for who waits already."""
        self._limits = dict(limits)
        self._renew()

    def named(self, paces: Iterable[tuple[str, Pace]]) -> None:
        """Which hosts the channels name in their ``url``, and how they want to use them."""
        self._own = {}
        for name, pace in paces:
            before = self._own.get(name, EVERY)
            rate = before.rate if pace.rate is None else max(before.rate, pace.rate, key=_per_hour)
            self._own[name] = Allowed(rate=rate, concurrency=max(before.concurrency, pace.concurrency))
        self._renew()

    def at(self, name: str, now: int) -> Host:
        """The host of a name, or the one of the program file that it belongs to."""
        entry = self._entry(name)
        found = self._hosts.get(entry)
        if found is None:
            if len(self._hosts) >= self._most:
                self._hosts = {key: it for key, it in self._hosts.items() if not it.idle(now)}
                self._most = max(_MANY_HOSTS, 2 * len(self._hosts))
            allowed = self._allowed(entry)
            found = self._hosts[entry] = Host(entry, allowed, Bucket(allowed.rate, now))
        return found

    def _entry(self, name: str) -> str:
        if name in self._limits:
            return name
        rest = name
        while rest:
            _, dot, rest = rest.partition(".")
            if dot and f".{rest}" in self._limits:
                return f".{rest}"
        return name

    def _allowed(self, entry: str) -> Allowed:
        return self._limits.get(entry) or _more(self._own.get(entry), self._limits.get("*", EVERY))

    def _renew(self) -> None:
        for entry, host in self._hosts.items():
            allowed = self._allowed(entry)
            if allowed.rate != host.allowed.rate:
                host.bucket.change(allowed.rate)
            host.allowed = allowed


def _per_hour(rate: tuple[int, int]) -> int:
    return rate[0] * HOUR // rate[1]


def _more(one: Allowed | None, other: Allowed) -> Allowed:
    if one is None:
        return other
    rate = max(one.rate, other.rate, key=_per_hour)
    return Allowed(rate=rate, concurrency=max(one.concurrency, other.concurrency))


class Line:
    """The messages of one channel that wait for hosts, for each host in order of decision.

    They stand in the store as pending, with an instant at which they come back by themselves: that is for a process
    that dies. Before that they are called.
    """

    def __init__(self) -> None:
        self._waiting: dict[Host, dict[str, None]] = {}
        self._called: dict[str, Host] = {}
        self._count = 0
        self._looks: list[tuple[int, int, Host]] = []  #: (instant, number, host) at which to look whether it takes one
        self._earliest: dict[Host, int] = {}  #: the first of these instants
        self._number = 0

    def __len__(self) -> int:
        return self._count

    def admit(self, item: Outgoing, host: Host, now: int) -> bool:
        """Whether a claimed message may go; if not it has a place in the line."""
        called = self._called.pop(item.key, None)
        if called is not None:
            called.release(now)
        waiting = self._waiting.get(host)
        first = waiting is None or next(iter(waiting)) == item.key
        if called is host or (first and host.room(now) > 0):
            self._leave(host, item.key)
            host.take()
            host.tell(now)
            return True
        if (waiting is None or item.key not in waiting) and self._count < LONGEST_LINE:
            self._waiting.setdefault(host, {})[item.key] = None
            self._count += 1
            host.lines.add(self)
        self.look_at(host, now)
        return False

    def returns(self, host: Host, now: int) -> int:
        """Instant at which a message that waits comes back by itself: after twice as long as the line may take.

        Many come back together, so that nobody is woken for each of them.
        """
        rate = host.allowed.rate
        pause = min(_LATEST, max(_SOONEST, 2 * len(self._waiting.get(host, ())) * rate[1] // rate[0]))
        return (now + pause) // _SOONEST * _SOONEST + _SOONEST

    def look_at(self, host: Host, now: int) -> None:
        """Something has changed at a host for which somebody waits."""
        at = host.opens_at(now) if host in self._waiting else None
        if at is not None and at < self._earliest.get(host, at + 1):
            self._number += 1
            self._earliest[host] = at
            heappush(self._looks, (at, self._number, host))

    def opens_at(self) -> int | None:
        """Instant at which somebody may be called; None: when a request comes back, or nobody waits."""
        return self._looks[0][0] if self._looks else None

    def call(self, room: int, now: int) -> list[str]:
        """Keys of at most so many messages whose hosts take them now; they are to be claimed again."""
        called: list[str] = []
        while self._looks and self._looks[0][0] <= now and len(called) < room:
            at, _, host = heappop(self._looks)
            if self._earliest.get(host) == at:
                del self._earliest[host]
            keys = list(self._waiting.get(host, ()))[: min(host.room(now), room - len(called))]
            for key in keys:
                self._leave(host, key)
                self._called[key] = host
                host.held += 1
            called += keys
            self.look_at(host, now)
        return called

    def gone(self, now: int) -> None:
        """All that can be claimed was claimed: who was called and did not come was taken back meanwhile."""
        called = list(self._called.values())
        self._called.clear()
        for host in called:
            host.release(now)

    def dissolve(self, now: int) -> list[str]:
        """Everybody who waits; nobody has a place any more."""
        keys = [key for keys in self._waiting.values() for key in keys]
        for host in self._waiting:
            host.lines.discard(self)
        self.gone(now)
        self._waiting.clear()
        self._looks.clear()
        self._earliest.clear()
        self._count = 0
        return keys

    def _leave(self, host: Host, key: str) -> None:
        waiting = self._waiting.get(host)
        if waiting is None or key not in waiting:
            return
        del waiting[key]
        self._count -= 1
        if not waiting:
            del self._waiting[host]
            host.lines.discard(self)
