"""Entry modes: who gets a journey, when it starts, when it ends.

Design lines encoded (language.md, "E, entry"; semantics.md, "entry", "order", "count / streak"):

* per (playbook, subject, key): *once*: one journey ever. *single*: a new entry is ignored while one runs.
  *restart*: the running one is cancelled first. *queue*: after it. *parallel*: both;
* ``again_after`` counts from the end of the last journey, inclusive: entry at exactly end + D is allowed;
* at one instant events come first, then wake-ups: a journey whose last wait is due at T still runs for an event at
  T;
* ``count: {event, where, at_least, within}`` fires at the matching event that makes N stand in ``(t-W, t]``, and
  again at each further matching event that still finds N there.

The journey of these tests is: a row ``a`` at the start, one wait of fixed length (or none), a row ``b`` at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import oracle_windows as windows
from oracle_harness import Ev


@dataclass
class Firing:
    """A trigger fired: when, and the key its entry has."""

    time: int
    key: str


@dataclass
class Life:
    """What is remembered of one (playbook, subject, key)."""

    running: list[int]  # the instants at which the running journeys end
    queued: int = 0
    last_end: int | None = None
    ever: bool = False


def count_firings(
    history: Sequence[Ev], kind: str, at_least: int, within: int | None, where: windows.Where | None = None
) -> list[Ev]:
    """The matching events at which at least N matching events stand in the window."""
    fired = []
    for index, event in enumerate(history):
        if event.type != kind or (where is not None and not where(event)):
            continue
        known = history[: index + 1]
        if windows.count(known, event.time, kind, within, where) >= at_least:
            fired.append(event)
    return fired


def journeys(
    firings: Sequence[Firing], mode: str, length: int, again_after: int | None, horizon: int
) -> list[tuple[str, int]]:
    """The rows ``("a", start)`` and ``("b", end)`` of one user, by walking through every instant."""
    rows: list[tuple[str, int]] = []
    lives: dict[str, Life] = {}
    instants = {firing.time for firing in firings}
    done: set[int] = set()

    def begin(life: Life, now: int) -> None:
        life.ever = True
        rows.append(("a", now))
        if length == 0:
            rows.append(("b", now))
            life.last_end = now
        else:
            life.running.append(now + length)
            instants.add(now + length)

    def asked(life: Life, now: int) -> None:
        rested = again_after is None or life.last_end is None or now >= life.last_end + again_after
        if mode == "once":
            if not life.ever:
                begin(life, now)
        elif mode == "single":
            if not life.running and rested:
                begin(life, now)
        elif mode == "restart":
            if rested:
                life.running.clear()
                begin(life, now)
        elif mode == "queue":
            if life.running:
                life.queued += 1
            elif rested:
                begin(life, now)
        elif mode == "parallel" and rested:
            begin(life, now)

    while instants - done:
        now = min(instants - done)
        done.add(now)
        if now > horizon:
            break
        for firing in firings:
            if firing.time == now:
                asked(lives.setdefault(firing.key, Life([])), now)
        for life in lives.values():
            for end in list(life.running):
                if end == now:
                    life.running.remove(end)
                    life.last_end = now
                    rows.append(("b", now))
                    if life.queued and not life.running:
                        life.queued -= 1
                        begin(life, now)
    return rows
