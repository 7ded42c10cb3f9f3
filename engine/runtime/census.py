"""Answers questions about everybody (``engine/core/census.py``): walks all users of a session, in order of id.

What was decided since the last commit is newer than what the store has, so the session's states go over the store's.
The store's are read a piece at a time and not kept: however many users there are, the memory is that of one piece.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from engine.core.census import Question
from engine.core.model import Answer, Reserve, State
from engine.core.subjects import USER, span
from engine.errors import InternalError

if TYPE_CHECKING:
    from engine.runtime.session import Session

PIECE = 2_000
"""Users read from the store at once."""


class Census:
    """The users of one session."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def take(self, ask: Reserve, now: int) -> Answer:
        """Answer a question at an instant."""
        if not isinstance(ask.question, Question):
            raise InternalError(f"the census was asked nothing by {ask.names}")
        data = ask.question.answer(self.people(), now, self.session.plan)
        return Answer(key=ask.key, granted=True, name=ask.names[0] if ask.names else None, data=data)

    def people(self, kind: str = USER) -> Iterator[State]:
        """Every user (or group) anybody has heard of, in order of id."""
        first, behind = span(kind)
        for state in self._behind(first, behind):
            if behind is not None and state.id >= behind:
                return
            yield state

    def _behind(self, first: str, behind: str | None) -> Iterator[State]:
        session = self.session
        mine = sorted(name for name in session.states if name > first and (behind is None or name < behind))
        if session.resident:
            yield from (session.states[name] for name in mine)
            return
        after, place, more = first, 0, True
        while more:
            names = session.store.population(after, PIECE)
            more = len(names) == PIECE
            after = names[-1] if names else after
            begin = place
            while place < len(mine) and (not more or mine[place] <= after):
                place += 1
            piece = sorted({*names, *mine[begin:place]})
            found = session.store.load(name for name in names if name not in session.states)
            for name in piece:
                state = session.states.get(name) or found.get(name)
                if state is not None:
                    yield state
