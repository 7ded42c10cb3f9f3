"""Quiet hours in front of caps: a user's messages, minute by minute.

Design lines encoded (semantics.md, "gates", "quiet hours", "caps"; docs/language.md for the jitter):

* consent is judged first, at the decision and again at the release; quiet hours stand before the cap;
* a message decided in the window waits for the first minute of the user's own clock that is not in it, and then for the
  user's jitter: a hash of ``quiet_hours`` and the user's id spread over half an hour, in whole seconds;
* ``transactional`` never waits;
* what is released at one instant takes slots in the order (priority, due time, id).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from zoneinfo import ZoneInfo

import oracle_policies as policies
import oracle_time as clock
from oracle_harness import Ev


@dataclass(frozen=True)
class Ask:
    """A playbook that says one thing."""

    book: str
    purpose: str
    channel: str
    priority: int


@cache
def shown(minute: int, zone: str) -> str:
    """What the user's clock reads at a minute: the small oracle under all others."""
    return clock.moment_of(minute * clock.MINUTE).astimezone(ZoneInfo(zone)).strftime("%H:%M")


@dataclass
class Night:
    """The window, as two wall times."""

    start: str
    end: str

    def quiet(self, instant: int, zone: str) -> bool:
        """Does the user's clock read a time in the window?"""
        now = shown(instant // clock.MINUTE, zone)
        if self.start < self.end:
            return self.start <= now < self.end
        return now >= self.start or now < self.end

    def release(self, instant: int, zone: str, user: str) -> int:
        """When a message may go."""
        at = instant
        while self.quiet(at, zone):
            at = (at // clock.MINUTE + 1) * clock.MINUTE
        if at == instant:
            return at
        drawn = int.from_bytes(sha256(f"quiet_hours:{user}".encode()).digest()[:8], "big") % 10_000
        second = clock.MINUTE // 60
        return at + 30 * clock.MINUTE * drawn // 10_000 // second * second


Said = tuple[int, Ask, str | None]
"""(when, what, why not)"""


def messages(story: list[Ev], asks: dict[str, list[Ask]], gate: policies.Gate, night: Night, end: int) -> list[Said]:
    """Everything that is said to one user, or kept from it; ``asks``: event type -> who speaks then."""
    said: list[Said] = []
    waiting: list[tuple[int, Ask]] = []
    history: list[Ev] = []
    zone = "UTC"

    def judge(ask: Ask, now: int) -> None:
        user = history[0].user or ""
        if not policies.consented(history, gate.rules[ask.purpose], ask.purpose, ask.channel):
            said.append((now, ask, "consent"))
            return
        at = now if ask.purpose == "transactional" else night.release(now, zone, user)
        if at > now:
            waiting.append((at, ask))
        else:
            said.append((now, ask, gate.judge(history, now, ask.purpose, ask.channel)))

    def let_go(before: int) -> None:
        while waiting and min(at for at, _ in waiting) < before:
            first = min(at for at, _ in waiting)
            due = [item for item in waiting if item[0] == first]
            waiting[:] = [item for item in waiting if item[0] != first]
            for at, ask in sorted(due, key=lambda item: (-item[1].priority, item[0], item[1].book)):
                judge(ask, at)

    for event in story:
        let_go(event.time)
        history.append(event)
        zone = event.data.get("zone", zone)
        for ask in sorted(asks.get(event.type, []), key=lambda it: (-it.priority, it.book)):
            judge(ask, event.time)
    let_go(end + 1)
    return said
