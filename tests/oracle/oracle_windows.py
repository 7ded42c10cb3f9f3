"""History windows: walk the whole list again for every question.

Design lines encoded (semantics.md, head; "numbers"; "empty history"; language.md, "Functions and tests"):

* windows are half-open, ``(t-W, t]``; without ``within`` the whole history stands;
* ``where`` is an expression on ``event``; an event is judged on the state *including* that event, and of the events of
  the same instant only those before it in (time, file, line) order have happened;
* every JSON number with a fraction or exponent is an exact decimal: 0.1 + 0.2 is 0.3;
* ``sum`` and ``count`` over nothing are 0; ``avg min max first last`` are none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Context, Decimal, setcontext
from typing import Any

from oracle_harness import Ev

setcontext(Context(prec=80))  # nothing in these tests is rounded

Where = Callable[[Ev], bool]


def standing(
    history: Sequence[Ev], now: int, kind: str, within: int | None = None, where: Where | None = None
) -> list[Ev]:
    """The events of a type that stand in the window at ``now``, oldest first."""
    found = []
    for event in history:
        if event.type != kind:
            continue
        if within is not None and not (now - within < event.time <= now):
            continue
        if where is not None and not where(event):
            continue
        found.append(event)
    return found


def count(history: Sequence[Ev], now: int, kind: str, within: int | None = None, where: Where | None = None) -> int:
    """How many stand in the window."""
    return len(standing(history, now, kind, within, where))


def numbers(
    history: Sequence[Ev], now: int, kind: str, name: str, within: int | None = None, where: Where | None = None
) -> list[Decimal]:
    """The values of a field in the window."""
    return [Decimal(event.data[name]) for event in standing(history, now, kind, within, where)]


def total(
    history: Sequence[Ev], now: int, kind: str, name: str, within: int | None = None, where: Where | None = None
) -> Decimal:
    """Their exact sum."""
    out = Decimal(0)
    for value in numbers(history, now, kind, name, within, where):
        out = out + value
    return out


def average(history: Sequence[Ev], now: int, kind: str, name: str, within: int | None = None) -> Decimal | None:
    """Their mean, none when there are none."""
    values = numbers(history, now, kind, name, within)
    return sum(values, Decimal(0)) / len(values) if values else None


def smallest(history: Sequence[Ev], now: int, kind: str, name: str, within: int | None = None) -> Decimal | None:
    """The least of them, none when there are none."""
    values = numbers(history, now, kind, name, within)
    return min(values) if values else None


def largest(history: Sequence[Ev], now: int, kind: str, name: str, within: int | None = None) -> Decimal | None:
    """The greatest of them, none when there are none."""
    values = numbers(history, now, kind, name, within)
    return max(values) if values else None


def distinct(history: Sequence[Ev], now: int, kind: str, name: str, within: int | None = None) -> int:
    """How many different values the field takes in the window."""
    return len({event.data[name] for event in standing(history, now, kind, within)})


def first(history: Sequence[Ev], kind: str) -> Ev | None:
    """The earliest event of a type."""
    found = standing(history, 0, kind)
    return found[0] if found else None


def last(history: Sequence[Ev], kind: str) -> Ev | None:
    """The latest event of a type, in (time, line) order."""
    found = standing(history, 0, kind)
    return found[-1] if found else None


def field_of(event: Ev | None, name: str) -> Any:
    """A field of an event or none; fields of none are none."""
    return None if event is None else event.data.get(name)
