"""What a store keeps of one subject, as it is needed to decide its life once more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from engine.core.existing import Standing
from engine.core.figures import ROW
from engine.core.judging import TOO_MANY
from engine.core.model import Answer, Decision, Effect, Event, Release, Reserve, State
from engine.core.plan import Plan
from engine.core.scarce import Desk
from engine.core.spreads import PREFIX
from engine.core.subjects import USER, kind_of
from engine.insight.eras import Era
from engine.ports import Store
from engine.runtime.session import HISTORY_UNTIL


@dataclass(frozen=True)
class Asked:
    """A scarce unit that was asked for, and the answer on record."""

    time: int
    ask: Reserve
    answer: Answer


@dataclass
class Record:
    """What a store keeps of one subject."""

    user: str
    events: list[tuple[Event, int]]
    answers: dict[str, Answer]
    effects: dict[str, str]  #: key -> status
    times: dict[str, int]  #: effect key -> instant
    end: int  #: where the engine stands
    settled: int  #: wake-ups up to here have fired
    slots: dict[str, bytes]  #: how far the slots of schedules are walked
    storms: frozenset[int] = frozenset()  #: instants at which an event was cut for making too many effects
    history_until: int = 0  #: time of the newest event of the history that came in before the first decision
    published: dict[str, int] = field(default_factory=dict)  #: playbook -> instant
    edits: Mapping[str, Callable[[State], None]] = field(default_factory=dict)
    """Id of an event -> what is supposed to have been done to the state right before it."""
    supposed: bool = False  #: not everything here is on record
    turns: list[tuple[int, str, Standing | Era | None]] = field(default_factory=list)
    """(instant, playbook, what happened then): the trigger that let in who was in its segment; a program that was put
    to work; None: the playbook was opened again after a pause."""

    @classmethod
    def read(cls, plan: Plan, store: Store, user: str) -> Record:
        state = store.load([user]).get(user)
        end = store.clock()
        waiting = state.wake_at if state is not None and state.wake_at is not None else end + 1
        effects, times = {}, {}
        for effect, _ in store.effects(user):
            if _others(plan, user, effect):
                continue
            effects[effect.key], times[effect.key] = effect.status, effect.time
        # a run that was killed may have left wake-ups of its last instant unfired
        settled = min(end, waiting - 1)
        events, answers = [it for it in store.events(user) if _hears(plan, user, it[0])], store.answers(user)
        slots = {name: row for name, row in store.slots().items() if not name.startswith((PREFIX, ROW))}
        found = cls(user, events, answers, effects, times, end, settled, slots)
        found.storms = frozenset(it.time for it in store.decisions(user) if _stormed(it))
        # that of all, also of others, unless some of it came in only after the engine had begun
        history, begun = int(store.get_meta(HISTORY_UNTIL) or 0), next((clock for _, clock in events if clock), end)
        found.history_until = history if history <= begun else 0
        return found


def _stormed(decision: Decision) -> bool:
    """Is this the error of an event that made too many effects?"""
    return decision.verdict == "error" and any(why.text == TOO_MANY for why in decision.why)


def _hears(plan: Plan, subject: str, event: Event) -> bool:
    """A store names more events for the program than it hears."""
    return kind_of(subject) == USER or event.user == subject or subject in plan.others(event)


def _others(plan: Plan, user: str, effect: Effect) -> bool:
    """Was an effect on this subject decided by another one: a prize that the program or a group drew?"""
    playbook = plan.by_id.get(effect.playbook or "")
    return playbook is not None and playbook.subject != kind_of(user)


class RecordedDesk(Desk):
    """Answers as the record says; what is not on record is denied."""

    def __init__(self, plan: Plan, answers: Mapping[str, Answer], asked: list[Asked], *, supposed: bool) -> None:
        super().__init__(pools=plan.pools, groups=plan.rooms, limits=plan.limits, zone=plan.env.zone, secret=b"")
        self._recorded = answers
        self._asked = asked
        self._supposed = supposed

    def take(self, ask: Reserve, now: int) -> Answer:
        """The recorded answer; where something is supposed, a limit nobody asked about before has room."""
        room = self._supposed and ask.kind == "slot"
        answer = self._recorded.get(ask.key) or Answer(key=ask.key, granted=room, reason=None if room else "unknown")
        self._asked.append(Asked(now, ask, answer))
        return answer

    def give_back(self, release: Release) -> None:
        """Nothing was taken."""
