"""Audiences of a compiled program: a condition on the subject alone, as a store can ask it and as Python judges it.

``of`` takes a condition the compiler has built; ``read`` takes a text from the command line. History a text asks for
and no playbook keeps cannot be read from the store, so it is refused: an empty history would be a wrong answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from engine.core.history import HistoryBook, Where
from engine.core.model import State
from engine.core.moment import Condition, Env, Moment
from engine.core.plan import Segment
from engine.core.predicate import Ask, Choice, Filter, Missing, Place, asks, paths
from engine.errors import ProgramError
from engine.language.expressions import Issue, Scope, compile_condition
from engine.language.expressions.questions import Setting, question
from engine.language.expressions.unparse import quoted


class NoHistory(ProgramError):
    """A condition asks for events the program does not count."""


class _KeptBook(HistoryBook):
    """What a program keeps, to be asked and not added to; notes what is missing in it."""

    def __init__(self, kept: HistoryBook) -> None:
        super().__init__(kept.late)
        self._kept = kept
        self.lacking: list[str] = []  #: event types

    def _want(self, kind: type[Any], type_: str, path: str, where: Where | None, window: int = 0) -> Any:
        series = super()._want(kind, type_, path, where, window)
        there = {one.key: one.keep for one in self._kept.by_type.get(type_, ())}
        if there.get(series.key, -1) < window + self.late and type_ not in self.lacking:
            self.lacking.append(type_)
        return series


@dataclass(frozen=True)
class Audiences:
    """Makes filters for one program.

    Parameters
    ----------
    scope: names a condition on the user alone may use.
    book: the history the program keeps.
    env: what conditions ask for at run time.
    segments: by name.
    """

    scope: Scope
    book: HistoryBook
    env: Env
    segments: Mapping[str, Segment]

    def of(self, condition: Condition) -> Filter:
        """The filter of a condition on the subject alone; its ``asks`` say what a store cannot answer, and why."""
        found = question(condition, Setting(self.scope, _KeptBook(self.book), self.env, self.segments))
        return Filter(condition.text, found, _judge(condition, self.env), tuple(asks(found)))

    def at_slots(self, condition: Condition) -> Filter:
        """The filter of a slot, which places a subject on ladders before it is judged (core/slotting.py).

        Whom a new ladder or imported history has not placed yet has no tier a store could see: Python is asked.
        """
        chosen = self.of(condition)
        ladders = sorted({str(path[1]) for path in paths(chosen.predicate) if path[0] == "tiers"})
        predicate = chosen.predicate
        for ladder in ladders:
            unplaced = Missing(Place(("tiers", ladder), own=True))
            predicate = Choice(unplaced, Ask("user.tier", "not placed yet"), predicate)
        return replace(chosen, predicate=predicate)

    def read(self, text: str) -> tuple[Filter | None, list[Issue]]:
        """The filter of a text, which may be the name of a segment alone; None when one of the issues is an error.

        Raises ProgramError when it asks for history the program does not keep.
        """
        if text.strip() in self.segments:
            text = f"in_segment({quoted(text.strip())})"
        book = _KeptBook(self.book)
        condition, issues = compile_condition(text, replace(self.scope, event_types=None), book)
        if condition is None:
            return None, issues
        if book.lacking:
            raise NoHistory(
                f"the program keeps no such history of '{book.lacking[0]}', so nobody can be judged by it",
                hint="define a segment with this condition: what happens from then on is kept; or ask a feed: --events",
            )
        return self.of(condition), issues


def remark(chosen: Filter) -> tuple[str, str] | None:
    """(message, hint) for ``validate`` where a store cannot answer an audience at all; None where it can sort out.

    A condition of two parts of which SQL knows one is as it should be: no reason for ``--strict`` to fail.
    """
    if chosen.way != "python":
        return None
    first = chosen.asks[0]
    message = f"'{first.text}' is no question for the database ({first.reason}): every user is judged in Python"
    return message, "the result is the same and takes longer; a condition SQL knows beside it leaves fewer to judge"


def _judge(condition: Condition, env: Env) -> Callable[[State, int], bool]:
    test = condition.test

    def judge(state: State, now: int) -> bool:
        return test(Moment(state, None, now, now, env))

    return judge
