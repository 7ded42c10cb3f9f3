"""Segments, recomputed in full after every event and at every instant at which time alone could change them.

Design lines encoded (semantics.md, "segment", "order", head; language.md, ``segment`` trigger, "Functions and
tests"):

* ``segment: {enters}`` / ``{leaves}`` fire when the full recompute changes; windows ``(t-W, t]``, so an event stops
  standing at exactly ``time + W``; ``x is older_than("30d")`` is true from exactly 30 days on (thresholds are
  inclusive);
* at one instant events first, then wake-ups.

Kept out of the tests: subjects for whom the segment is already true of an empty history (``existing``), and users
for whom "judged after each event of the instant" and "judged when all events of the instant have happened" differ
at an instant where time alone also moves something.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from oracle_harness import Ev

Member = Callable[[Sequence[Ev], int], bool]


def crossings(
    history: Sequence[Ev], member: Member, lags: Sequence[int], horizon: int, each_event: bool
) -> list[tuple[int, str]]:
    """``(time, "enters" | "leaves")``; ``lags`` are the distances after an event at which time alone can matter."""
    inside = False
    rows: list[tuple[int, str]] = []

    def judge(now: int, known: Sequence[Ev]) -> None:
        nonlocal inside
        if member(known, now) != inside:
            inside = not inside
            rows.append((now, "enters" if inside else "leaves"))

    instants = {event.time for event in history}
    for lag in lags:
        instants |= {event.time + lag for event in history}
    for now in sorted(instants):
        if now > horizon:
            break
        if each_event:
            for index, event in enumerate(history):
                if event.time == now:
                    judge(now, history[: index + 1])
        judge(now, [event for event in history if event.time <= now])
    return rows


def trait(history: Sequence[Ev], name: str) -> object:
    """The value a trait has: data of user.signup and user.updated, later ones over earlier ones."""
    value: object = None
    for event in history:
        if event.type in ("user.signup", "user.updated") and name in event.data:
            value = event.data[name]
    return value
