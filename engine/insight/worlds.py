"""The world beside a subject, as it is supposed to have been: figures of metrics, lists of segments."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from engine.core.moment import Env, Moment
from engine.core.plan import Plan
from engine.insight import change as kinds
from engine.insight.change import Change


@contextmanager
def otherwise(plan: Plan, world: Sequence[Change], at: int) -> Iterator[None]:
    """Have some of it be otherwise while this lasts; ``at``: the instant of the decision that is to see it."""
    if not world:
        yield
        return
    envs = list({id(it.env): it.env for it in (plan, *plan.parts.values())}.values())
    segments = [dict(env.segments) for env in envs]
    taken = [{name: list(rows) for name, rows in env.figures.taken.items()} for env in envs]
    try:
        for env in envs:
            for change in world:
                _put(env, change, at)
        yield
    finally:
        for env, members, rows in zip(envs, segments, taken, strict=True):
            env.segments.clear()
            env.segments.update(members)
            env.figures.taken.clear()
            env.figures.taken.update(rows)


def _put(env: Env, change: Change, at: int) -> None:
    if change.kind == kinds.FIGURE:
        _figure(env, change, at)
    elif change.name in env.segments:
        env.segments[change.name] = _always(change.kind == kinds.LISTED)


def _always(inside: bool) -> Callable[[Moment], bool]:
    return lambda m: inside


def _figure(env: Env, change: Change, at: int) -> None:
    """Another number for the period a decision at an instant sees, or for one so many before it."""
    figures = env.figures
    seen = figures.seen(change.name, at)
    if seen is None:
        return
    number = seen.number - int(change.data.get("ago", 0))
    value = None if change.value is None else str(change.value)
    rows = figures.taken[change.name]
    others = [row for row in rows if row.number != number]
    like = next((row for row in rows if row.number == number), seen)
    new = type(like)(number, like.at, like.decided, value if not isinstance(change.value, int) else change.value)
    figures.taken[change.name] = sorted([*others, new], key=lambda row: row.number)
