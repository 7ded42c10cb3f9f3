"""Idle spells, and the small journey that answers them.

Design lines encoded (semantics.md, "inactivity", "order"; cli.md, end of the clock; language.md, "G, goal", "E,
entry"):

* once per idle spell, at ``last activity + P`` if no activity event has a time in ``(last, last+P]``; an activity
  event at exactly that instant prevents it; re-armed by the next activity; a user with no activity event never
  fires;
* the default activity is any *external* event of the user, or the program's ``activity:`` list; emitted events are
  not external;
* ``when`` is judged on the state at that instant; ``single`` with ``again_after`` from the end of the last journey,
  inclusive; a spell whose entry was refused is not asked again;
* wake-ups due at or before the end of the clock fire, after the events of that instant; later ones stay;
* a goal event within D of the start, the deadline included, ends the journey at that event.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from oracle_harness import Ev

Deadline = Callable[[int], int]


def spells(history: Sequence[Ev], types: Sequence[str] | None, deadline: Deadline, horizon: int) -> list[int]:
    """The instants at which inactivity fires; ``types`` None means any event."""
    moments = sorted({event.time for event in history if types is None or event.type in types})
    fired = []
    for index, last in enumerate(moments):
        due = deadline(last)
        following = moments[index + 1] if index + 1 < len(moments) else None
        if following is not None and last < following <= due:
            continue
        if due <= horizon:
            fired.append(due)
    return fired


def before(history: Sequence[Ev], now: int) -> list[Ev]:
    """What has happened when the wake-ups of ``now`` are looked at: all events up to and including that instant."""
    return [event for event in history if event.time <= now]


def campaign(
    history: Sequence[Ev],
    fired: Sequence[int],
    when: Callable[[Sequence[Ev], int], bool],
    rest: int | None,
    length: int,
    goal: str | None,
    goal_within: int,
    horizon: int,
) -> list[tuple[str, int]]:
    """Rows ``("a", start)`` and ``("b", start + length)`` of mode ``single`` with ``again_after`` and a goal.

    The tests choose lengths that never let a journey's last step fall on the instant of a firing (left open).
    """
    rows: list[tuple[str, int]] = []
    busy_until: int | None = None  # the end of the last journey; a goal of the same instant has already ended it
    for start in fired:
        if busy_until is not None and start < busy_until:
            continue
        if busy_until is not None and rest is not None and start < busy_until + rest:
            continue
        if not when(before(history, start), start):
            continue
        rows.append(("a", start))
        end = start + length
        reached = [event.time for event in history if event.type == goal and start < event.time <= start + goal_within]
        if reached and min(reached) <= end:
            busy_until = min(reached)
            continue
        busy_until = end
        if end <= horizon:
            rows.append(("b", end))
    return rows
