"""Why something was decided: the life of one subject once more, through the very core that decided it.

What a store keeps of a subject is enough to decide everything about it again: its events with the engine's clock at
each decision, and the answers to its reservations. Nothing of the verdicts themselves has to be stored.

Rule 1: it is the same ``Session``; only scarce units are answered from the record, and other subjects are left out.
Rule 2: wake-ups fire where the run fired them: those due before the clock of a decision come before it.
Rule 3: where one event was cut because it made too many effects, also for others, it is cut after as many of the
subject's own as stand on record at that instant. Of somebody whom the others sent several events in such a storm it is
not known which of them were cut; then what differs is counted (``Course.unmatched``).
Rule 4: what happened first at one and the same instant is not recorded when several subjects (or several runs, or
several slots) had a part in it. The usual order is tried first; where it does not give the effects on record, the
others are.
Rule 5: each part of a life is decided by the program that was at work then, as far as the store kept it (``eras``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import pairwise

from engine.core.model import Decision, Event, State
from engine.core.plan import Plan
from engine.insight.change import Change
from engine.insight.eras import Era, distinct, era_at, reopenings
from engine.insight.judged import Glimpse, watching
from engine.insight.passage import Course, Early, Turn, best, moved, passage
from engine.insight.record import Asked, Record
from engine.insight.worlds import otherwise
from engine.ports import Store
from engine.runtime.arming import met_before


def replay(
    plan: Plan, store: Store, user: str, until: int | None = None, *, fresh: Callable[[], Store]
) -> list[Decision]:
    """Every verdict about a user up to an instant, in order.

    Parameters
    ----------
    plan, store, user: by what, from where, about whom.
    until: the last instant that counts; None: where the engine stands.
    fresh: makes an empty store in memory.
    """
    return course(plan, store, user, until, fresh=fresh).decisions


def course(plan: Plan, store: Store, user: str, until: int | None = None, *, fresh: Callable[[], Store]) -> Course:
    """As ``replay``, with effects, their causes, and the state at the end."""
    return Life(plan, store, user, fresh).course(until)


class Life:
    """What a store keeps of one subject, to be decided once more: as it was, and as it would be with other events.

    Parameters
    ----------
    plan, store, user, fresh: as for ``replay``.
    eras: the programs that were at work, in order, the last one that of ``plan``; none: it decided everything.
    """

    def __init__(
        self, plan: Plan, store: Store, user: str, fresh: Callable[[], Store], eras: Sequence[Era] = ()
    ) -> None:
        self.plan = plan
        self.eras = tuple(eras) or (Era(0, plan),)
        self.fresh = fresh
        self.subject = user
        self.passes = 0  #: how often it was supposed to have been otherwise
        record = Record.read(plan, store, user)
        playbooks = {it.id for one in distinct(self.eras) for it in one.playbooks}
        record.published = {id_: int(store.get_meta(f"published:{id_}") or 0) for id_ in playbooks}
        reopened = {id_: int(store.get_meta(f"opened:{id_}") or 0) for id_ in playbooks}
        # a store keeps when a playbook was opened again last; the times before are told by the programs themselves
        openings = {(at, id_) for id_, at in reopened.items() if at} | set(reopenings(self.eras))
        turns: list[Turn] = [(at, id_, None) for at, id_ in sorted(openings)]
        turns += [(era.since, "", era) for era in self.eras[1:]]
        met = met_before(store)
        for era, after in pairwise((*self.eras, Era(record.end + 1, plan))):
            for it in era.plan.part(user).admitting:
                at = met.get(it.met_as())
                if at is not None and (era is self.eras[0] or era.since <= at) and at < after.since:
                    turns.append((at, it.playbook, it))
        record.turns = sorted(turns, key=lambda it: (it[0], 0 if it[2] is None else 1 if isinstance(it[2], Era) else 2))
        self._record = record
        self._slots = store.slots()
        self._early: Early = {}

    def course(self, until: int | None = None) -> Course:
        """As it was, up to an instant; None: where the engine stands."""
        with self._put_to_work():
            self._early, found = best(self.eras, self._record, self.fresh)
            if until is not None and until < self._record.end:
                found = passage(self.eras, self._record, self._early, self.fresh, until)
        return found

    def published(self, playbook: str) -> int:
        """Up to when it was not published, so that what is decided before is no verdict of it."""
        return self._record.published.get(playbook, 0)

    @property
    def events(self) -> Sequence[tuple[Event, int]]:
        """The events on record, with the engine's clock at each."""
        return self._record.events

    def suppose(
        self,
        events: Sequence[tuple[Event, int]],
        until: int,
        *,
        glimpse: Glimpse | None = None,
        edits: Mapping[str, Callable[[State], None]] | None = None,
        world: Sequence[Change] = (),
    ) -> Course:
        """What would have been decided with other events; ``course`` was asked before.

        Parameters
        ----------
        events: all of them, with the clock at each.
        until: the last instant that counts.
        glimpse: what else is to be looked at.
        edits: id of an event -> what is done to the state right before it.
        world: what is otherwise beside the subject: figures of metrics, lists of segments.
        """
        self.passes += 1
        record = replace(self._record, events=list(events), edits=dict(edits or {}), supposed=True)
        record.end, record.settled = max(record.end, until), max(record.settled, until)
        with self._put_to_work(glimpse, world, until):
            return passage(self.eras, record, moved(self._early, self._record.events, events), self.fresh, until)

    def era(self, instant: int) -> Era:
        """The program that decided what happened at an instant."""
        return era_at(self.eras, instant)

    @contextmanager
    def _put_to_work(
        self, glimpse: Glimpse | None = None, world: Sequence[Change] = (), at: int = 0
    ) -> Iterator[None]:
        with ExitStack() as all_:
            for plan in distinct(self.eras):
                all_.enter_context(self._at_work(plan, glimpse))
                all_.enter_context(otherwise(plan, world, at))
            yield

    @contextmanager
    def _at_work(self, plan: Plan, glimpse: Glimpse | None) -> Iterator[None]:
        before = dict(plan.env.published)
        figures = plan.env.figures
        taken = dict(figures.taken)
        figures.load(self._slots)  # what was seen at each decision is found by its instant
        plan.env.published.clear()
        plan.env.published.update(self._record.published)
        try:
            with watching(plan, glimpse):
                yield
        finally:
            plan.env.published.clear()
            plan.env.published.update(before)
            figures.taken.clear()
            figures.taken.update(taken)


__all__ = ["Asked", "Course", "Life", "course", "replay"]
