"""One journey at one step: what an action may do (``Run``).

Rule 1: an action decides through ``Run`` and returns where the journey goes on; it never touches another subject.
Rule 2: every effect of a held-out journey is recorded as ``held_out`` and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from engine.core import localtime
from engine.core.chance import step_key
from engine.core.couponing import saying
from engine.core.groups import NO_CARD, holders
from engine.core.kinds import STOP, WAIT, Pause
from engine.core.model import (
    DAY,
    MAX_DEPTH,
    Effect,
    Entry,
    Event,
    Journey,
    Release,
    Reserve,
    Spare,
    State,
    Waiting,
    Why,
)
from engine.core.moment import Moment
from engine.core.plan import Node, Plan, Playbook, zone_of
from engine.core.points import purse_of
from engine.core.spreads import Spread
from engine.core.subjects import GROUP, SIGN, USER, kind_of, name_of, receiver_of, shown_as

if TYPE_CHECKING:
    from engine.core.couponing import Couponing

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOVING = frozenset({"points", "badge", "tag", "set"})
"""Kinds of effects that change what the metric of a ladder or the condition of a segment may look at."""


def as_datetime(instant: int | None) -> datetime | None:
    """An instant as expressions and templates see it."""
    return None if instant is None else _EPOCH + timedelta(microseconds=instant)


class Run:
    """One journey at one step."""

    __slots__ = ("journey", "known", "m", "node", "now", "plan", "playbook", "state", "turn")

    def __init__(self, turn: Couponing, playbook: Playbook, journey: Journey, node: Node, m: Moment) -> None:
        self.turn = turn
        self.playbook = playbook
        self.journey = journey
        self.node = node
        self.m = m
        self.plan: Plan = turn.plan
        self.state: State = turn.state
        self.now: int = turn.now
        self.known: str | None = None  #: the effect key, once it was worked out

    @property
    def held(self) -> bool:
        """External effects are held back."""
        return self.journey.held is not None

    @property
    def zone(self) -> str:
        """The subject's zone."""
        return zone_of(self.state, self.plan.env)

    def key(self, index: str = "") -> str:
        """The effect key of this step in this journey; ``index`` tells several effects of one step apart."""
        if self.known is not None and not index:
            return self.known
        journey, node = self.journey, self.node
        occurrence = journey.occurrence
        if node.within:
            rounds = journey.rounds or {}
            occurrence += "".join([f"#{rounds[id_][0] if id_ in rounds else 0}" for id_ in node.within])
        found = step_key(journey.playbook, node.id, self.state.id, journey.key, occurrence, index)
        if not index:
            self.known = found
        return found

    def effect(
        self,
        kind: str,
        detail: dict[str, Any],
        *,
        status: str = "planned",
        reason: str | None = None,
        index: str = "",
        deliver: str | None = None,
        purpose: str | None = None,
        to: str | None = None,
        spares: Sequence[Spare] = (),
        until: int | None = None,
    ) -> bool:
        """Record a decided effect; True when it is to take place (planned and not held out)."""
        journey = self.journey
        if journey.held is not None:
            held = journey.held
            status, reason, deliver = ("suppressed", "shadow", None) if held == "shadow" else ("held_out", held, None)
        planned = status == "planned"
        turn, key = self.turn, self.key(index)
        carries = saying(journey, kind, key, deliver is not None) if planned and journey.grants else ()
        if deliver is not None and planned:
            journey.queued = [*journey.queued, key]
        subject = self.state.id
        user, group = (subject, None) if subject[0] != SIGN else shown_as(subject)
        turn.out.effects.append(
            Effect(
                key,
                self.now,
                self.playbook.id,
                self.node.id,
                kind,
                user,
                group,
                status,
                reason,
                detail,
                deliver if planned else None,
                purpose,
                to,
                spares=spares,
                until=until,
                carries=carries,
            )
        )
        if planned and kind in _MOVING:
            turn.moved = True
        return planned

    def book(
        self,
        book: str,
        name: str,
        what: str,
        delta: int,
        *,
        index: str = "",
        unit: str | None = None,
        amount: Decimal | None = None,
        until: int | None = None,
        origin: str | None = None,
    ) -> None:
        """Write an entry of the ledger, see ``Entry``; ``index`` tells several entries of one step apart."""
        key = f"{self.key()}:{index}" if index else self.key()
        self.turn.out.entries.append(
            Entry(
                key, self.now, book, name, what, delta, self.state.id, unit, amount, until,
                self.playbook.id, self.node.id, origin,
            )
        )  # fmt: skip

    def result(self, value: dict[str, Any] | None) -> None:
        """Set ``steps.<id>`` of this step."""
        results = {**self.journey.results, self.node.id: value}
        self.journey.results = results
        self.m.steps = results

    def wait_until(self, instant: int) -> Node | Pause | None:
        """Wait; an instant that is not ahead goes on at once."""
        if instant <= self.now:
            return self.node.next
        self.journey.waiting = Waiting(kind="time", until=instant)
        return WAIT

    def pause_until(self, instant: int, kind: str = "time") -> Pause:
        """Wait and then resume this very step; ``kind`` says what for."""
        if kind == "quiet_hours":
            self.turn.out.waits.append((self.playbook.id, self.node.id))
        self.journey.waiting = Waiting(kind=kind, until=instant)
        return WAIT

    def wait_for_event(self, until: int) -> Pause:
        """Wait for an event the step wants, at the latest until ``until`` (inclusive)."""
        self.journey.waiting = Waiting(kind="event", until=until, since=self.now)
        return WAIT

    def wait_for_word(self, key: str, until: int | None) -> Pause:
        """Wait for an event that names an effect of this step; None: as long as it takes."""
        self.journey.waiting = Waiting(kind="event", until=until, key=key, since=self.now)
        return WAIT

    def ask(
        self,
        kind: str,
        names: list[str],
        match: str = "first",
        *,
        queue: str | None = None,
        index: str = "",
        question: Any = None,
    ) -> Pause:
        """Ask for a scarce unit, or what else the runtime knows; the step is resumed with the answer.

        ``index`` tells several requests of one step apart; ``queue`` is the key under which the subject waits for a
        seat; ``question`` is what the census is asked.
        """
        key = self.key(index)
        ask = Reserve(
            key=key, subject=self.state.id, kind=kind, names=names, match=match, queue=queue, question=question
        )
        self.turn.asks.append(ask)
        self.journey.waiting = Waiting(kind="answer", key=key)
        return WAIT

    def hold_back(self, why: str) -> None:
        """From here on the journey is one of the control group, its goal too."""
        self.journey.held = why
        for goal in self.state.goals:
            if goal.playbook == self.playbook.id and goal.occurrence == self.journey.occurrence:
                goal.held = True
        self.turn.out.lives.append((self.playbook.id, "held", True))
        self.milestone("held", why)
        self.turn.mark(self.journey, "held_out", why)

    def milestone(self, what: str, name: str) -> None:
        """Keep that the journey came this far; see ``Milestone``."""
        row = (self.playbook.id, self.journey.occurrence, self.state.id, what, name, self.now)
        self.turn.out.milestones.append(row)

    def round(self) -> tuple[int, int] | None:
        """Of a ``repeat``: (number of its round, from 0; instant it began); None before the first."""
        return (self.journey.rounds or {}).get(self.node.id)

    def begin_round(self, number: int, inner: Iterable[str]) -> None:
        """A round of this ``repeat`` begins: what its steps gave in the round before is gone."""
        self.journey.rounds = {**(self.journey.rounds or {}), self.node.id: (number, self.now)}
        if not self.journey.results.keys().isdisjoint(inner):
            gone = frozenset(inner)
            self.journey.results = {name: it for name, it in self.journey.results.items() if name not in gone}
            self.m.steps = self.journey.results

    def leave_rounds(self) -> None:
        """This ``repeat`` is over; when it is reached again, it begins at its first round."""
        rounds = {name: it for name, it in (self.journey.rounds or {}).items() if name != self.node.id}
        self.journey.rounds = rounds or None

    def keep_from(self) -> None:
        """A message does not reach the subject, as one of the program's control group: nor does the goal count as
        treated."""
        for goal in self.state.goals:
            if goal.playbook == self.playbook.id and goal.occurrence == self.journey.occurrence and not goal.held:
                goal.held = True
                self.turn.out.lives.append((self.playbook.id, "held", True))
                self.milestone("held", "control_group")

    def explain(self, at: str, value: bool | None, text: str, **seen: Any) -> None:
        """Say in the trace what a gate made of a message, where everything is traced."""
        self.turn.remark(self.playbook, Why(at=f"{self.node.id}: {at}", value=value, text=text, seen=seen))

    def mark(self, instant: int) -> None:
        """Remember when this step was reached, for ``valid_for``."""
        self.journey.reached = instant

    def marked(self) -> int:
        """When this step was reached."""
        return self.now if self.journey.reached is None else self.journey.reached

    def failed(self) -> Node | Pause | None:
        """Where the journey goes on after a failure of this step that has its own row (``on_error``)."""
        node = self.node
        if node.on_error == "stop":
            return STOP
        return (node.rescue.first if node.rescue is not None else None) or node.next

    def release(self, group: str, room: str) -> None:
        """Give a seat back."""
        self.turn.out.releases.append(Release(key=self.key(), kind="seat", name=group, unit=room))

    def emit(self, type_: str, data: dict[str, Any], user: str | None, group: str | None) -> None:
        """Emit an event, to this subject unless another is named."""
        detail: dict[str, Any] = {"type": type_, "data": data}
        if user is not None:
            detail["user"] = user
        if group is not None:
            detail["group"] = group
        if self.turn.depth >= MAX_DEPTH:
            self.effect("emit", detail, status="suppressed", reason="depth")
            return
        if not self.effect("emit", detail):
            return
        if user is None and group is None:
            user, group = receiver_of(self.state.id)
        self.turn.out.emits.append(
            Event(
                id=self.key(),
                type=type_,
                time=self.now,
                user=user,
                group=group,
                data=data,
                depth=self.turn.depth + 1,
                internal=True,
            )
        )

    def send(self, type_: str, user: str, data: dict[str, Any], index: str, group: str | None = None) -> None:
        """An event for another user, which the engine makes of this step. ``index`` tells several of them apart."""
        if self.turn.depth < MAX_DEPTH:
            self.turn.out.emits.append(
                Event(
                    id=self.key(index), type=type_, time=self.now, user=user, group=group, data=data,
                    depth=self.turn.depth + 1, internal=True, maker=self.state.id,
                )
            )  # fmt: skip

    def emit_to_all(self, to: str, type_: str, data: dict[str, Any]) -> None:
        """Emit an event to each of many: the members of this group, or the audience of the step."""
        detail: dict[str, Any] = {"type": type_, "data": data, "to": to}
        if self.turn.depth >= MAX_DEPTH:
            self.effect("emit", detail, status="suppressed", reason="depth")
        elif self.effect("emit", detail):
            self.turn.out.spreads.append(
                Spread(
                    key=self.key(), at=self.now, maker=self.state.id, type=type_, data=data,
                    depth=self.turn.depth + 1, playbook=self.playbook.id, step=self.node.id,
                    version=self.journey.version,
                )
            )  # fmt: skip

    def tell(self, type_: str, data: dict[str, Any], changes: dict[str, tuple[Any, Any]] | None = None) -> None:
        """Let playbooks hear of what the engine did (``badge.earned`` ...), if any of them listens."""
        if type_ in self.plan.told:
            self.turn.tell(type_, data, self.key() + ":" + type_, changes)


_OWN: dict[str, Callable[[State, Plan], Any]] = {
    "id": lambda state, plan: state.id,
    "tier": lambda state, plan: (state.tiers.get(plan.env.ladder or "") or (None,))[0],
    "tags": lambda state, plan: state.tags,
    "badges": lambda state, plan: state.badges,
    "groups": lambda state, plan: state.groups,
    "points": lambda state, plan: state.points.get(plan.env.account, 0),
    "points_pending": lambda state, plan: purse_of(state, plan.env.account).waiting(),
    "zone": lambda state, plan: zone_of(state, plan.env),
    "locale": lambda state, plan: state.traits.get("locale") or plan.env.locale,
    "created_at": lambda state, plan: as_datetime(state.created_at),
    "last_active_at": lambda state, plan: as_datetime(state.last_active),
}
"""The user's own fields, which stand above traits of the same name."""


def user_view(state: State, plan: Plan, names: frozenset[str] | None = None) -> dict[str, Any]:
    """The user as templates see it; of ``names`` alone where it is known that nothing else is looked at."""
    if names is None:
        return {**state.traits, **{name: read(state, plan) for name, read in _OWN.items()}}
    traits = state.traits
    return {name: _OWN[name](state, plan) if name in _OWN else traits.get(name) for name in names}


def event_view(event: Event | None, names: frozenset[str] | None = None) -> dict[str, Any] | None:
    """An event as templates see it: its data, and its own fields above them; ``names`` as in ``user_view``."""
    if event is None:
        return None
    if names is not None and _EVENTS_OWN.isdisjoint(names):
        return event.data
    return {
        **event.data,
        "id": event.id,
        "type": event.type,
        "time": as_datetime(event.time),
        "user": event.user,
        "group": event.group,
        "data": event.data,
    }


def group_view(state: State, plan: Plan, now: int, entry: Event | None) -> dict[str, Any] | None:
    """The group as templates see it: that of the playbook, or what the catalog says of the one the entry names."""
    if kind_of(state.id) != GROUP:
        return None if entry is None or entry.group is None else group_card(plan, entry.group)
    name = name_of(state.id)
    silent = None if state.last_active is None else max(0, now - state.last_active) // DAY
    own = {field: read(state, plan) for field, read in _OWN.items() if field not in ("id", "tier", "groups")}
    roles = holders(state, now)
    return {
        **_card(plan, name), **state.traits, **own,
        "id": name, "members": state.members, "roles": roles, "silent_days": silent,
    }  # fmt: skip


def group_card(plan: Plan, name: str) -> dict[str, Any]:
    """A group as one sees it whose playbook is about somebody else: what the catalog says."""
    return {"id": name, **_card(plan, name), "zone": plan.env.zones.get(name)}


def _card(plan: Plan, name: str) -> dict[str, Any]:
    card = plan.env.cards.get(name, NO_CARD)
    return {field: card.get(field) for field in ("title", "topic", "platform", "owner", "deputies")}


_EVENTS_OWN = frozenset({"id", "type", "time", "user", "group", "data"})


def template_context(run: Run, values: Mapping[str, Any], reads: Mapping[str, frozenset[str] | None]) -> dict[str, Any]:
    """What a template may look at, as far as it does: ``reads`` has the fields by root, None for maybe any."""
    context: dict[str, Any] = {"steps": run.journey.results, "with": values, "vars": run.playbook.variables}
    entry = run.journey.entry
    if "user" in reads and kind_of(run.state.id) == USER:
        context["user"] = user_view(run.state, run.plan, reads["user"])
    if "event" in reads:
        context["event"] = event_view(entry, reads["event"])
    if "group" in reads:
        context["group"] = group_view(run.state, run.plan, run.now, entry)
    if "now" in reads or "today" in reads:
        now = (_EPOCH + timedelta(microseconds=run.now)).astimezone(localtime.zone(run.zone) or localtime.UTC)
        context["now"], context["today"] = now, now.date()
    return context
