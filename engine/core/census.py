"""Questions about everybody at once: who is chosen, who is nominated, who takes part in a draw.

Rule 1: a question goes over all users in order of id and looks at each once; it keeps no more than it needs of them.
Rule 2: its answer is plain JSON and is kept under the effect key of the step that asked, so ``why`` never asks again.
Rule 3: who cannot be judged (a condition or value errs) is left out and counted; one broken record stops nobody else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from engine.core.choosing import Figure, figure
from engine.core.fold import is_erased
from engine.core.model import State
from engine.core.moment import Condition, Moment, Value
from engine.core.plan import Plan
from engine.core.watch import place

KIND = "census"
"""``Reserve.kind`` of a question."""


class Left:
    """How many could not be judged, and what the first of them broke."""

    __slots__ = ("count", "text")

    def __init__(self) -> None:
        self.count = 0
        self.text: str | None = None  #: the condition or value that erred; never a user's data

    def note(self, text: str) -> None:
        """One more."""
        self.count += 1
        self.text = self.text or text

    def told(self) -> dict[str, Any]:
        """For the answer and the row; nothing when everybody was judged."""
        return {"unjudged": self.count, "unjudged_by": self.text} if self.count else {}


Gather = Callable[[Iterator[Moment], Left], dict[str, Any]]
"""From everybody asked about to the answer, JSON-able; it may be handed people of whom it keeps nothing."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a step asks of everybody."""

    gather: Gather
    where: Condition | None = None  #: only those for whom this holds
    group: str | None = None  #: only members of this group

    def answer(self, states: Iterable[State], now: int, plan: Plan) -> dict[str, Any]:
        """Ask it of these users.

        Parameters
        ----------
        states: all users, in order of id; they are not changed.
        now: instant of the decision.
        """
        left = Left()
        return {**self.gather(self._fitting(states, now, plan, left), left), **left.told()}

    def _fitting(self, states: Iterable[State], now: int, plan: Plan, left: Left) -> Iterator[Moment]:
        group, where = self.group, self.where
        for state in states:
            if is_erased(state) or (group is not None and group not in state.groups):
                continue
            m = placed(state, now, plan)
            if where is not None:
                try:
                    if not where.test(m):
                        continue
                except Exception:  # an error is neither true nor false: he is left out, and counted
                    left.note(where.text)
                    continue
            yield m


def read(value: Value, m: Moment, left: Left) -> Figure | None:
    """A figure of one user; None for what is missing or errs (which is counted)."""
    try:
        found = value.get(m)
    except Exception:  # as above
        left.note(value.text)
        return None
    number = figure(found)
    if number is None and found is not None and found is not False:
        left.note(value.text)
    return number


def exact(number: Figure) -> Figure:
    """A figure as a store gives it back: whole ones are whole numbers."""
    return int(number) if isinstance(number, Decimal) and number == number.to_integral_value() else number


def placed(state: State, now: int, plan: Plan) -> Moment:
    """The user at this instant; who stands on no ladder yet (it is new, or history came in) is placed on a copy."""
    m = Moment(state, None, now, now, plan.env)
    if plan.watching and not (state.born and len(state.tiers) == len(plan.ladders)):
        m.state = replace(state, memory=dict(state.memory))
        place(plan, m)
    return m
