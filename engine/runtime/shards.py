"""A part of the subjects, simulated alone: the same session, which sees at once when a part is not enough.

Rule 1: every part reads the whole feed, so order, repeated ids, quarantine and the clock are those of one core; it
decides the events of its own subjects only.
Rule 2: what several subjects share is counted. As long as the parts together took no more than there is, one after the
other would never have been refused either, so every answer is the one they would have got. At the first answer of which
that cannot be said the part gives up (``Coupled``): then one core decides.
Rule 3: a row carries its place in the order of one core, so the parts' rows can be merged.
Rule 4: a slot goes over the subjects of the part; when slots begin, and which zones there are, concerns nobody before
his own first event. Verdicts of a slot stand in pieces whose ends hang on everybody: one core decides where they are
wanted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import compress, islice
from struct import Struct
from typing import Any, Final
from zlib import crc32

from engine.core.coupons import MOVES, REDEEM, REVERSE
from engine.core.model import Answer, Decision, Effect, Event, Release, Reserve, State, Why
from engine.core.plan import Plan
from engine.core.referrals import GIVE
from engine.core.scarce import Desk
from engine.core.seats import GroupInfo
from engine.core.slots import Due
from engine.core.step import ALL
from engine.core.subjects import USER
from engine.ports import Batch, Store
from engine.runtime.referring import KINDS
from engine.runtime.rows import decision_row, effect_row
from engine.runtime.session import Session
from engine.runtime.shardrows import framed

_OFFSET: Final = 1 << 63  # instants before 1970 sort before the others, too
_TIME: Final = Struct(">Q")
_EVENT: Final = Struct(">QBQ")
_WAKE: Final = Struct(">QBQI")
_A: Final = {"hour": "an hour", "day": "a day", "run": "in a run"}
_WINDOW: Final = "|"  # behind it, in the name of a bound: which window of it


class Coupled(Exception):
    """The subjects cannot be decided apart; the text says what they share."""


def coupled_by(plan: Plan, *, verdicts: bool = False) -> str | None:
    """What makes subjects of a plan hang together whatever happens, in words; None: that only shows on the way.

    ``verdicts``: each is wanted, in the order of one core.
    """
    if plan.parts:
        other = next((it for it in plan.playbooks if it.subject != USER), None)
        about = "groups are subjects of this program"
        return about if other is None else f"playbook {other.id} is about the {other.subject}"
    if plan.metrics or plan.turnings:
        named = f"metric {plan.metrics[0].name}" if plan.metrics else "a metric"
        return f"{named} is a figure of everybody"
    if plan.schedules and verdicts:
        return f"the verdicts of playbook {plan.schedules[0].playbook.id} stand in the order of its walk over everybody"
    for playbook in plan.playbooks:
        for node in playbook.nodes.values():
            if node.action.word in _OF_ALL:
                return f"step {node.id} of playbook {playbook.id} ({node.action.word}) asks about everybody"
            if getattr(node.action, "audience", None) is not None:
                return f"step {node.id} of playbook {playbook.id} sends events to an audience"
    return None


_OF_ALL: Final = frozenset({"select", "nominate", "rank", "draw"})


@dataclass
class Usage:
    """The most that was ever taken of each bound at once, and how much there is of it."""

    most: dict[str, tuple[Decimal, Decimal]] = field(default_factory=dict)
    _changed: set[str] = field(default_factory=set)

    def note(self, bound: str, taken: int | Decimal, there: int | Decimal) -> None:
        """So much of a bound is taken now."""
        known = self.most.get(bound)
        if known is None or taken > known[0]:
            self.most[bound] = (Decimal(taken), Decimal(there))
            self._changed.add(bound)

    def news(self) -> dict[str, tuple[Decimal, Decimal]]:
        """What grew since the last call."""
        found = {bound: self.most[bound] for bound in self._changed}
        self._changed.clear()
        return found


def bound_name(bound: str) -> str:
    """A bound in words, without its window."""
    return bound.partition(_WINDOW)[0]


class ShardDesk(Desk):
    """Gives units out, and counts them; what would need to know what other parts took is not answered."""

    usage: Usage
    told: bool = False  #: the verdicts are written down, the reasons of refusals among them

    def take(self, ask: Reserve, now: int) -> Answer:
        """As always; raises Coupled where other parts might have changed the answer."""
        kind = ask.kind
        if kind == "coupon":
            return self._coupon(ask, now)
        if kind in MOVES:
            answer = super().take(ask, now)
            if answer.reason == "unknown" and kind in (REDEEM, REVERSE) and self.told:
                raise Coupled(f"an event names the coupon code {ask.names[0]}, which may be anybody's")
            return answer
        if kind == "seat":
            return self._seat(ask, now)
        if kind == "reward":
            reward = self.rewards[ask.names[0]]
            answer = super().take(ask, now)
            if reward.stock is not None:
                bound = f"reward {reward.name} has a stock of {reward.stock}"
                self._granted(answer, bound)
                self.usage.note(bound, self.state("reward", reward.name).taken, reward.stock)
            return answer
        if kind == "slot":
            return self._entry(ask, now)
        raise Coupled(f"{ask.names[0] if ask.names else 'a step'} asks about everybody")

    def give_back(self, release: Release) -> None:
        """As always; a seat taken by joining is counted."""
        super().give_back(release)
        if release.kind == "join" and release.name in self.groups:
            self._sat(self.groups[release.name], release.unit)

    @staticmethod
    def _granted(answer: Answer, bound: str) -> None:
        if not answer.granted:
            raise Coupled(bound)

    def _coupon(self, ask: Reserve, now: int) -> Answer:
        pool = self.pools[ask.names[0]]
        if pool.prefix is None:
            raise Coupled(f"coupon {pool.name} gives the codes of a list in turn")
        answer = super().take(ask, now)
        if not answer.granted or answer.name != pool.name:
            raise Coupled(f"coupon {pool.name} is used up")
        state, note = self.state("coupon", pool.name), self.usage.note
        if pool.total is not None:
            note(f"coupon {pool.name} has a total of {pool.total}", state.issued, pool.total)
        if pool.budget is not None:
            note(f"coupon {pool.name} has a budget of {pool.budget}", state.spent, pool.budget)
        if pool.per_day is not None:
            note(f"coupon {pool.name} has {pool.per_day} a day{_WINDOW}{state.day}", state.today, pool.per_day)
        return answer

    def _seat(self, ask: Reserve, now: int) -> Answer:
        """Only where the room could be told beforehand: there is one, or the first takes everybody."""
        group = self.groups[ask.names[0]]
        open_ = [room for room in group.rooms if room.expires is None or now < room.expires]
        answer = super().take(ask, now)
        certain = len(open_) == 1 or group.rotate == "fill_first"
        first = bool(open_) and answer.name == group.name and answer.unit == open_[0].id
        if not (certain and first) or (ask.match == "best" and len(ask.names) > 1):
            raise Coupled(f"group {group.name} gives its seats in turn")
        self._sat(group, open_[0].id)
        return answer

    def _sat(self, group: GroupInfo, unit: str) -> None:
        room = next((room for room in group.rooms if room.id == unit), None)
        if room is not None:
            bound = f"group {group.name} has {room.soft} seats in room {room.id}"
            self.usage.note(bound, self.state("seat", group.name).taken.get(unit, 0), room.soft)

    def _entry(self, ask: Reserve, now: int) -> Answer:
        name = ask.names[0]
        limit = self.limits[name]
        bound = f"playbook {name} takes {limit.count} {_A[limit.per]}"
        answer = super().take(ask, now)
        if not answer.granted or answer.data:
            raise Coupled(bound)
        if limit.per == "run":
            self.usage.note(bound, self.run_slots[name], limit.count)
        else:
            state = self.state("slot", name)
            self.usage.note(f"{bound}{_WINDOW}{state.end}", state.used, limit.count)
        return answer


class ShardSession(Session):
    """A session of a part of the subjects; raises Coupled when one of them tells another something."""

    desk_kind = ShardDesk

    def __init__(self, usage: Usage, plan: Plan, store: Store, **options: Any) -> None:
        self._usage = usage
        super().__init__(plan, store, **options)

    def _new_desk(self, secret: bytes) -> Desk:
        desk = super()._new_desk(secret)
        if isinstance(desk, ShardDesk):
            desk.usage, desk.told = self._usage, self.tracing == ALL
        return desk

    def _take(self, ask: Reserve) -> Answer:
        if ask.kind in KINDS and ask.kind != GIVE:
            raise Coupled(f"referral {ask.names[0]} joins those who invite with those who come")
        return super()._take(ask)

    def _spread(self) -> None:
        raise Coupled("a step sends events to an audience")

    def _once(
        self,
        state: State,
        event: Event | None,
        place: int,
        before: int | None,
        slot: tuple[Due, list[Why]] | None = None,
    ) -> None:
        super()._once(state, event, place, before, slot)
        for made in self.out.emits:
            if made.user is not None and made.user != state.id:
                raise Coupled(f"an event {made.type} goes from one user to another")


class PlacedSession(ShardSession):
    """Notes where in the order of one core each verdict stands."""

    def __init__(self, usage: Usage, plan: Plan, store: Store, **options: Any) -> None:
        self.ordinals: deque[int] = deque()  #: places in the feed of the events that come next
        self.places: list[tuple[bytes, int]] = []  #: (place, verdicts there), of the batch at hand
        self._noted = 0  # verdicts of the batch that have their place
        self._last = b""
        self._rounds = (-1, -1, 0)  # clock, instant and number of the newest round of wake-ups
        super().__init__(usage, plan, store, **options)

    def batch(self, **options: Any) -> Batch:
        self._note()
        self._noted = 0
        return super().batch(**options)

    def placed(self) -> list[tuple[bytes, int]]:
        """The places of the verdicts of the newest batch, and forget them."""
        found, self.places = self.places, []
        return found

    def _turn(self, state: State, event: Event, place: int, before: int | None) -> None:
        self._at(_EVENT.pack(self.clock + _OFFSET, 0, self.ordinals.popleft()))
        super()._turn(state, event, place, before)

    def _fire_all(self, instant: int, first: str) -> None:
        """Where entries queue, who is due again in the instant of its wake-up goes after all others: a round later."""
        clock, newest, number = self._rounds
        now = max(self.clock, instant)
        if clock == now and instant < newest:
            raise Coupled(f"a wake-up of {first} leads to one before it")
        self._rounds = (now, instant, number + 1 if (clock, newest) == (now, instant) else 0)
        super()._fire_all(instant, first)

    def _fire(self, instant: int, subject: str) -> None:
        place = _WAKE.pack(max(instant, self.clock) + _OFFSET, 1, instant + _OFFSET, self._rounds[2])
        self._at(place + subject.encode() + b"\0")
        super()._fire(instant, subject)

    def _at(self, place: bytes) -> None:
        """What is decided from here on stands at a place; what was made due before it goes right behind its cause."""
        self._note()
        self._last = max(self._last, place)

    def _note(self) -> None:
        made = len(self.out.trace) - self._noted
        if made:
            self.places.append((self._last, made))
            self._noted += made


class Shard:
    """One part of the subjects.

    Parameters
    ----------
    number: which part, from 0.
    of: how many parts there are.
    """

    def __init__(self, number: int, of: int) -> None:
        self._number = number
        self._of = of
        self.usage = Usage()
        self._session: ShardSession
        self._seen = 0

    def begin(self, plan: Plan, store: Store, **options: Any) -> Session:
        """The session that decides this part; whatever was decided before is void."""
        self.usage, self._seen = Usage(), 0
        verdicts = options.get("tracing") == ALL
        if verdicts and (why := coupled_by(plan, verdicts=True)) is not None:
            raise Coupled(why)
        kind = PlacedSession if verdicts else ShardSession
        self._session = kind(self.usage, plan, store, **options)
        return self._session

    def own(self, events: list[Event]) -> list[Event]:
        """Those of the events that are decided here."""
        number, of = self._number, self._of
        mine = [it.user is not None and crc32(it.user.encode()) % of == number for it in events]
        if isinstance(self._session, PlacedSession):
            self._session.ordinals.extend(place for place, one in enumerate(mine, self._seen) if one)
            self._seen += len(events)
        return list(compress(events, mine))

    def decisions(self, decisions: Iterable[Decision]) -> bytes:
        """Rows of the verdicts of the newest batch, each with its place."""
        if not isinstance(self._session, PlacedSession):
            return b""
        left = iter(decisions)
        return b"".join(
            framed(place, decision_row(one)) for place, count in self._session.placed() for one in islice(left, count)
        )

    @staticmethod
    def effect(effect: Effect) -> bytes:
        """The row of an effect, with its place."""
        return framed(_TIME.pack(effect.time + _OFFSET) + effect.key.encode(), effect_row(effect))
