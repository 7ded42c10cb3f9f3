"""Tier ladders, recomputed from the whole history at every instant that could matter.

Design lines encoded (semantics.md, "tier ladder", "tier_change", "empty history", "order"; cli.md, ``tier`` rows):

* before the first event a subject stands, with no row, in the highest level whose threshold is <= the metric of an
  empty history, else in none at all (null);
* promotion at the very event that crosses (``>=``); demotion when the window decays, at that instant, after
  ``grace``;
* a change is one row ``{ladder, from, to}`` with playbook null, also over several levels; ``from`` null only where
  there was no level; a level may be called ``none``; a metric without ``within`` never decays; an unused ladder is
  computed;
* a metric of none (``avg min max`` over nothing) meets no threshold.

Where the design is silent the oracle gives two readings and the tests keep only users for whom they agree:

* several events at the very instant a window decays: judged after each of them, or only when all have happened;
* a level that moves again while a grace runs: one demotion to the level of that moment, or each loss with a grace
  of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

from oracle_harness import Ev

Metric = Callable[[Sequence[Ev], int], Decimal | int | None]
Change = tuple[int, str | None, str | None]


def rank_of(levels: Mapping[str, Decimal | int], value: Decimal | int | None) -> int:
    """The place of the highest level met, -1 for none; levels are written in rising order."""
    rank = -1
    for place, threshold in enumerate(levels.values()):
        if value is not None and value >= threshold:
            rank = place
    return rank


def changes(
    history: Sequence[Ev],
    levels: Mapping[str, Decimal | int],
    metric: Metric,
    within: int | None,
    grace: int,
    horizon: int,
    each_event: bool,
    separate_graces: bool,
) -> list[Change]:
    """The moves of one user. ``each_event`` and ``separate_graces`` choose between the readings named above."""
    names: list[str | None] = list(levels)
    named = {-1: None, **dict(enumerate(names))}
    standing = rank_of(levels, metric([], 0))
    rows: list[Change] = []
    below_since: dict[int, int] = {}  # for each level held: since when the metric has been under it

    def judge(now: int, known: Sequence[Ev]) -> None:
        nonlocal standing
        value = rank_of(levels, metric(known, now))
        for level in range(len(names)):
            if value >= level:
                below_since.pop(level, None)
            else:
                below_since.setdefault(level, now)
        target = standing
        if value > standing:
            target = value
        elif separate_graces:
            while target > value and now >= below_since[target] + grace:
                target -= 1
        elif value < standing and now >= below_since[standing] + grace:
            target = value
        if target != standing:
            rows.append((now, named[standing], named[target]))
            standing = target

    instants = {event.time for event in history}
    if within is not None:
        instants |= {event.time + within for event in history}
    instants |= {instant + grace for instant in instants}
    for now in sorted(instants):
        if now > horizon:
            break
        if each_event:
            for index, event in enumerate(history):
                if event.time == now:
                    judge(now, history[: index + 1])
        judge(now, [event for event in history if event.time <= now])
    return rows


def readings(
    history: Sequence[Ev],
    levels: Mapping[str, Decimal | int],
    metric: Metric,
    within: int | None,
    grace: int,
    horizon: int,
) -> list[list[Change]]:
    """Every reading of the design for this user. A ladder that never decays is always judged event by event."""
    out = []
    for each_event in (True,) if within is None else (True, False):
        for separate in (True, False):
            out.append(changes(history, levels, metric, within, grace, horizon, each_event, separate))
    return out


def direction(levels: Mapping[str, Decimal | int], change: Change) -> str:
    """Up or down, by the order of the levels."""
    order = list(levels)
    places = [-1 if name is None else order.index(name) for name in change[1:]]
    return "up" if places[1] > places[0] else "down"
