"""``existing: enter`` of a segment: who is in it already when the playbook is published, found once and let in once.

Rule 1: publication notes in a subject's state that it was inside (``noted``); its wake-up at that very instant lets it
in. So the walk over everybody only writes states, in transactions of bounded size, and may be done again after a crash.
Rule 2: a playbook and a segment meet once on a store: editing, pausing or moving a trigger never notes anybody again.
Rule 3: whom only history makes known counts as there at publication, and is judged at the end of the history.
"""

from __future__ import annotations

from engine.core.kinds import Trigger
from engine.core.model import State
from engine.core.moment import Env, Moment

_BY_HISTORY, _OVER = -1, -2
"""What stands in ``State.memory`` beside the instant of a publication: made known by history; let in, or not to be."""


class Standing(Trigger):
    """A trigger that goes by a segment, and says what happens to those who are in it already."""

    segment: str  #: its name
    playbook: str  #: whose trigger it is
    admits: bool = False  #: those who are in it already enter
    of_members: bool = True  #: it is about being inside, not about having left

    def met_as(self) -> str:
        """Under which name a store remembers that the playbook and the segment met."""
        return f"{self.playbook} {self.segment}"

    def inside(self, state: State, at: int, env: Env) -> bool:
        """Is the subject in the segment at an instant? What cannot be judged is not."""
        try:
            return bool(env.segments[self.segment](Moment(state, None, at, at, env)))
        except Exception:  # neither in nor out
            return False

    def noted(self, state: State, at: int, due: int, env: Env) -> bool:
        """Note a subject that is inside at a publication; True when its state changed.

        ``due``: from when on it is let in.
        """
        if self.place in state.memory or not self.inside(state, at, env):
            return False
        state.memory[self.place] = due
        return True

    def told_by_history(self, state: State) -> None:
        """An event of history came in: note the subject when nothing else was ever decided for it."""
        state.memory.setdefault(self.place, _OVER if state.born else _BY_HISTORY)

    def deadline(self, m: Moment) -> int | None:
        at: int | None = m.state.memory.get(self.place)
        if at is None or at == _OVER or not self.admits:
            return None
        return m.env.since(self.playbook) if at == _BY_HISTORY else at

    def due(self, m: Moment) -> bool:
        found = self.deadline(m)
        if found is None or found > m.time:
            return False
        at, m.state.memory[self.place] = m.state.memory[self.place], _OVER
        return at != _BY_HISTORY or self.inside(m.state, max(m.time - 1, found), m.env)
