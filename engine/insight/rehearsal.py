"""Runs a scenario test through the very pump and store of the daemon, on a clock that is moved by hand.

Rule 1: nothing here decides. Events go through the door into the inbox, the pump decides, the outbox delivers; the
batches that were committed and what the channels were handed are all that is looked at.
Rule 2: the clock stops at every instant at which something is due, so each thing happens at its own time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import msgspec

from engine.core.coupons import with_stand_ins
from engine.core.instants import InstantError, format_instant, parse_instant
from engine.core.model import Effect, Event
from engine.core.plan import Plan
from engine.core.starts import CALLED
from engine.core.subjects import PROGRAM, PROGRAM_KIND, USER, of_group, shown_as, subject_of
from engine.door import read_event
from engine.errors import DrumbeatError, EventRejected, InternalError
from engine.insight.coverage import Coverage, spied
from engine.insight.matching import SNAPSHOT, TEXTS, Fact, Verdict, compare
from engine.insight.why import answer
from engine.language.compiled import Compiled
from engine.language.diagnostics import Mark
from engine.language.scenario_forms import EFFECTS
from engine.language.scenario_model import Check, Given, Person, Scenario
from engine.ports import Batch, Channel, Clock, Outgoing, Record, Sent, Settlement, Store
from engine.runtime.claims import Claims
from engine.runtime.intake import Intake
from engine.runtime.outbox import Outbox
from engine.runtime.pump import Pump
from engine.runtime.virtual import RecordingChannel, VirtualClock

FEED = "scenario"

_encode = msgspec.json.Encoder(decimal_format="number").encode
_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_MOST_WHYS = 3
_TIMES = ("expires_at", "due")
_VERDICTS = ("error", "capped", "late")


@dataclass(frozen=True)
class Judged:
    """One ``expect``, judged."""

    at: int
    mark: Mark
    verdict: Verdict
    whys: tuple[dict[str, Any], ...] = ()  #: why somebody who should have entered did not


@dataclass
class Rehearsed:
    """One scenario, run."""

    scenario: Scenario
    checks: list[Judged] = field(default_factory=list)
    refused: list[tuple[Mark, str]] = field(default_factory=list)  #: events the door did not let in
    texts: dict[str, str] = field(default_factory=dict)  #: snapshot -> the text there is now

    @property
    def ok(self) -> bool:
        """Everything came as expected."""
        return not self.refused and all(check.verdict.ok for check in self.checks)


def rehearse(
    compiled: Compiled,
    scenario: Scenario,
    store: Store,
    *,
    fresh: Callable[[], Store],
    stored: Callable[[str], str | None] | None,
    coverage: Coverage | None = None,
) -> Rehearsed:
    """Run one scenario.

    Parameters
    ----------
    compiled: the program.
    store: an empty one; the caller closes it.
    fresh: makes an empty store in memory, for asking why.
    stored: the snapshots there are; None: any text fits (they are being written).
    coverage: told which parts of playbooks were gone through.
    """
    if compiled.rehearse is None:
        raise InternalError("a program with errors cannot be rehearsed")
    plan = laid_down(compiled.rehearse(scenario.playbooks), scenario)
    seen = coverage if coverage is not None else Coverage()
    seen.learn(plan.playbooks)
    with spied(plan, seen):
        return _Stage(compiled, plan, scenario, store, fresh, stored, seen).run()


def laid_down(plan: Plan, scenario: Scenario) -> Plan:
    """The plan with the chance and the codes of the scenario."""
    pools = dict(with_stand_ins(plan.pools, lambda name: 0))
    for name, codes in scenario.fixed.codes.items():
        pools[name] = replace(pools[name], codes=codes, prefix=None, imported=False)
    fixed = {"webhooks": dict(scenario.fixed.answers)}

    def laid(one: Plan) -> Plan:
        return replace(one, pools=pools, env=replace(one.env, drawn=scenario.fixed.draws, fixed=fixed))

    parts = {kind: laid(part) for kind, part in plan.parts.items()}
    for part in parts.values():
        part.parts = parts
    return replace(laid(plan), parts=parts)


class _Stage:
    """One scenario on its way."""

    def __init__(
        self,
        compiled: Compiled,
        plan: Plan,
        scenario: Scenario,
        store: Store,
        fresh: Callable[[], Store],
        stored: Callable[[str], str | None] | None,
        coverage: Coverage,
    ) -> None:
        self.plan = plan
        self.scenario = scenario
        self.store = store
        self.fresh = fresh
        self.stored = stored
        self.coverage = coverage
        self.known_types = compiled.known_types
        self.clock = VirtualClock(scenario.clock)
        self.channels = {name: RecordingChannel(name, self.clock, self._reply) for name in plan.channels}
        self.facts: list[Fact] = []
        self.result = Rehearsed(scenario)
        self.handed = dict.fromkeys(self.channels, 0)
        self.said: dict[str, int] = {}
        self.place = 0
        self.cancelled: set[str] = set()  #: keys of messages known to be taken back
        self.begun: set[tuple[str, str]] = set()  #: (playbook, user) of all journeys so far
        self.only = plan.playbooks[0] if len(plan.playbooks) == 1 else None
        # the program is published where the scenario begins, as if it had been deployed then
        store.commit(Batch(scenario.clock, [], [], [], [], {}, [], [], [], {}))
        claims = _Claims(plan, store, self.clock, self._back)
        outbox = Outbox(store, dict[str, Channel](self.channels), self.clock, claims)
        self.pump = Pump(
            plan, store, [], outbox, self.clock,
            secret=f"scenario:{plan.program}".encode(), known_types=self.known_types, watch=self._take,
        )  # fmt: skip

    # ------------------------------------------------------------------ the course of it

    def run(self) -> Rehearsed:
        """Past, timeline, and what nobody asked about at the end."""
        for person in self.scenario.people:
            self._past(person)
        self.pump.until_idle()
        entries = list(self.scenario.timeline)
        for place, entry in enumerate(entries):
            if isinstance(entry, Given):
                self._advance(entry.at - 1)
                self.clock.advance(entry.at)
                self._ingest(entry)
                following = entries[place + 1] if place + 1 < len(entries) else None
                if not (isinstance(following, Given) and following.at == entry.at):
                    self.pump.settle(entry.at)
            else:
                self._advance(entry.at)
                self.pump.settle(entry.at)
                self._check(entry)
        self._after_all()
        return self.result

    def _advance(self, until: int) -> None:
        """Let time pass, stopping wherever something is due."""
        while (due := self.pump.next_due()) is not None and due <= until:
            self.clock.advance(due)
            self.pump.settle(self.clock.now())
            again = self.pump.next_due()
            if again is not None and again <= due:
                raise InternalError(f"what is due at {format_instant(due)} stays due")
        self.clock.advance(until)

    def _past(self, person: Person) -> None:
        """Traits, consents and history start nothing, and the first two are no activity."""
        times = [it.time for it in person.history]
        before = min([*times, self.scenario.clock]) - 1
        made = [("consent.granted", {"channel": it[0], "purpose": it[1]}) for it in person.consent]
        user, group = (person.id, None) if person.members is None else (None, person.id)
        if person.traits:
            made.append(("user.updated" if group is None else "group.updated", dict(person.traits)))
        events = [
            Event(f"{person.id}/past/{n}", type_, before, user, group, data=_clean(data), internal=True)
            for n, (type_, data) in enumerate(made)
        ]
        events += [
            Event(f"{person.id}/member/{one}", "group.joined", before, one, group, internal=True)
            for one in person.members or ()
        ]
        for one in person.history:
            event = self._event(one)
            if event is not None:
                events.append(event)
        self._put(events, self.scenario.mark, history=True)

    def _ingest(self, given: Given) -> None:
        event = self._event(given)
        if event is not None:
            self._put([event], given.mark, history=False)

    def _event(self, given: Given) -> Event | None:
        """Through the strict door, as from any feed."""
        number = self.said[given.type] = self.said.get(given.type, 0) + 1
        row = {
            "id": given.id or f"{given.user or given.group}/{given.type}/{number}",
            "type": given.type,
            "time": format_instant(given.time),
            "user": None if given.user == PROGRAM else given.user,
            "group": "-" if given.user == PROGRAM else given.group,
            "data": given.data,
        }
        try:
            event = read_event(_encode({name: value for name, value in row.items() if value is not None}))
        except EventRejected as error:
            self.result.refused.append((given.mark, f"{given.type} is refused: {error.message}"))
            return None
        event.internal = given.by_hand
        event.user, event.group = given.user, given.group
        wrong = self.known_types.wrong_data(event) if self.known_types is not None else None
        if wrong is not None:
            self.result.refused.append((given.mark, f"{given.type} is refused: {wrong[1]}"))
            return None
        return event

    def _put(self, events: Iterable[Event], mark: Mark, *, history: bool) -> None:
        intake = Intake(self.store, self.clock, known_types=self.known_types, history=history)
        records = []
        for event in events:
            self.place += 1
            records.append(Record(FEED, self.place, b"", event))
        intake.take(records)
        for reason, number in intake.taken.reasons.items():
            self.result.refused.append((mark, f"{number} event(s) went to quarantine: {reason}"))

    def _reply(self, channel: str, item: Outgoing, attempt: int) -> Sent:
        """What a channel says: yes, unless the scenario lays a failure down."""
        for it in self.scenario.fixed.refusals:
            meant = it.channel == channel and (it.user is None or it.user == item.effect.user)
            if meant and (not it.attempts or attempt in it.attempts):
                return Sent(ok=False, reason=it.reason, passing=not it.definitive)
        return Sent(ok=True)

    # ------------------------------------------------------------------ what happened

    def _take(self, batch: Batch) -> None:
        """A batch was committed."""
        for mark in batch.marks:
            fields = {"playbook": mark.playbook, "user": mark.user, "group": mark.group, "reason": mark.reason or None}
            self.facts.append(Fact(mark.verdict, mark.time, fields, must=False))
            if mark.verdict in ("entered", "held_out"):
                self.begun.add((mark.playbook, subject_of(mark.user, mark.group)))
                self.coverage.hit(mark.playbook, "entries", mark.trigger)
        for playbook, _, subject, _, time in batch.goals:
            user, group = shown_as(subject)
            self.facts.append(Fact("goal", time, {"playbook": playbook, "user": user, "group": group}, must=False))
        self.facts.extend(map(_fact, batch.effects))
        taken_back = dict(batch.cancels)
        for item, reason in self.store.deliveries("cancelled") if taken_back else ():
            if item.key in taken_back and item.key not in self.cancelled:
                self._back(item, reason or taken_back[item.key], batch.clock)
        told = {(it.time, it.playbook, it.user) for it in batch.effects if it.status == "suppressed"}
        for decision in batch.decisions:
            if decision.verdict in _VERDICTS:
                last = decision.why[-1] if decision.why else None
                reason = None if last is None else f"{last.at}: {last.seen.get('error') or last.text}"
                who = {"user": decision.user, "group": decision.group}
                fields = {"playbook": decision.playbook, **who, "reason": reason}
                must = decision.verdict == "error" and (decision.time, decision.playbook, decision.user) not in told
                self.facts.append(Fact(decision.verdict, decision.time, fields, must))
        for rejected in batch.rejected:
            self.result.refused.append((self.scenario.mark, f"{rejected.reason}: {rejected.message}"))

    def _back(self, item: Outgoing, reason: str, now: int) -> None:
        """A message that waited to be sent was taken back."""
        self.cancelled.add(item.key)
        fields = {**_handed(item), "via": item.channel, "reason": reason}
        self.facts.append(Fact("cancelled", now, fields, must=False))

    def _delivered(self) -> list[Fact]:
        """What the channels were handed since the last look."""
        found = []
        for name, channel in self.channels.items():
            for handed in channel.handed[self.handed[name] :]:
                told = {"via": name, "attempt": handed.attempt, "reason": handed.answer.reason}
                fields = {**_handed(handed.item), **told}
                kind = "sent" if handed.answer.ok else "failed"
                found.append(Fact(kind, handed.time, fields, must=False))
            self.handed[name] = len(channel.handed)
        return found

    def _check(self, check: Check) -> None:
        facts = [*self.facts, *self._delivered()]
        self.facts = []
        verdict = compare(check.expected, facts, self.stored)
        if not check.expected:
            entered = [it for it in facts if it.kind in ("entered", "held_out")]
            verdict = replace(verdict, unexpected=(*entered, *verdict.unexpected))
        for wanted, fact in verdict.met:
            for key in TEXTS:
                rules = wanted.wanted.get(key)
                if isinstance(rules, dict) and SNAPSHOT in rules:
                    self.result.texts[rules[SNAPSHOT]] = str(fact.fields.get(key)).rstrip("\n")
        self.result.checks.append(Judged(check.at, check.mark, verdict, tuple(self._whys(verdict))))

    def _after_all(self) -> None:
        """What happened behind the last ``expect`` was expected by nobody."""
        left = tuple(fact for fact in self.facts if fact.must)
        if left:
            mark = self.scenario.timeline[-1].mark
            self.result.checks.append(Judged(self.clock.now(), mark, Verdict(unexpected=left)))

    def _whys(self, verdict: Verdict) -> Iterator[dict[str, Any]]:
        """Why not, for everybody who should have entered (or got something) and never began the playbook."""
        asked: dict[tuple[str, str], None] = {}
        for miss in verdict.misses:
            wanted = miss.expected.wanted
            if miss.expected.word != "entered" and (miss.expected.word not in EFFECTS or miss.nearest is not None):
                continue
            playbook = wanted.get("playbook") or (self.only.id if self.only is not None else None)
            if playbook is not None:
                users = self._asked(playbook, wanted)
                asked.update(((playbook, one), None) for one in users if (playbook, one) not in self.begun)
        for playbook, one in list(asked)[:_MOST_WHYS]:
            self.coverage.paused = True
            try:
                yield answer(self.plan, self.store, one, playbook=playbook, fresh=self.fresh)
            except DrumbeatError as error:
                yield {"user": one, "error": str(error)}
            finally:
                self.coverage.paused = False


    def _asked(self, playbook: str, wanted: Mapping[str, Any]) -> list[str]:
        """The subjects an expectation may be about."""
        kind = self.plan.by_id[playbook].subject if playbook in self.plan.by_id else USER
        named = wanted.get(kind) if kind != PROGRAM_KIND else None
        if kind == PROGRAM_KIND:
            return [PROGRAM]
        people = [it.id for it in self.scenario.people if (it.members is None) == (kind == USER)]
        found = [str(named)] if named is not None else people
        return found if kind == USER else [of_group(one) for one in found]


def _clean(value: Any) -> Any:
    """As a store would give it back: no dates, no tuples."""
    return _decode(_encode(value))


class _Claims(Claims):
    """The last judgement before sending, telling ``told`` of each message it takes back."""

    def __init__(
        self, plan: Plan, store: Store, clock: Clock, told: Callable[[Outgoing, str, int], None]
    ) -> None:
        super().__init__(plan, store, clock)
        self._clock = clock
        self._told = told

    def judge(self, items: Sequence[Outgoing]) -> tuple[list[Outgoing], list[Settlement]]:
        wanted, refused = super().judge(items)
        by_key = {item.key: item for item in items}
        for it in refused:
            if it.status == "cancelled":
                self._told(by_key[it.key], it.reason or "", self._clock.now())
        return wanted, refused


def _handed(item: Outgoing) -> dict[str, Any]:
    effect = item.effect
    told = {"user": effect.user, "playbook": effect.playbook, "step": effect.step, "to": effect.to}
    return {"group": effect.group, **_clean(effect.detail), **told}


def _fact(effect: Effect) -> Fact:
    detail = _clean(effect.detail)
    kind = effect.kind
    if kind == "emit" and str(detail.get("type")).startswith(CALLED):
        kind, detail["starts"] = "start", str(detail["type"]).removeprefix(CALLED)
    if kind == "task":
        detail["escalated"] = "escalates" in detail
    reason = effect.reason if effect.reason is not None else detail.get("reason")
    for name in _TIMES:
        if isinstance(detail.get(name), str):
            with suppress(InstantError):  # a trait of that name
                detail[name] = parse_instant(detail[name])
    fields = {
        "group": effect.group, **detail,
        "user": effect.user, "playbook": effect.playbook, "step": effect.step, "status": effect.status,
        "reason": reason, "to": detail.get("to", effect.to),
    }  # fmt: skip
    by_rule = kind == "points" and effect.playbook is None  # a scenario tests playbooks, not the catalog
    return Fact(kind, effect.time, fields, must=effect.status != "held_out" and not by_rule)
