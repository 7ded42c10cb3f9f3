"""A plan tried on a copy of a store: published as a reload publishes it, then the last weeks once more.

Rule 1: there is no second logic: the pump that ``run`` uses does it all, on a copy nobody else sees. Nothing is sent.
Rule 2: the copy begins with the people, journeys, stock and balances of the store, so whatever would bind, binds.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, cast

from engine.core.admission import EventTypes
from engine.core.model import Effect
from engine.core.plan import Plan
from engine.core.subjects import name_of
from engine.insight.planning.again import Again, Window
from engine.insight.planning.journeys import Standing, standing
from engine.insight.sampling import Sample, short
from engine.ports import Batch, EventLog, Store
from engine.runtime.pump import Pump

DONE = "planned"


class _At:
    """The machine's clock of a trial: nothing lies ahead of it."""

    def __init__(self, instant: int) -> None:
        self._instant = instant

    def now(self) -> int:
        return self._instant


class _Seen:
    """A store that shows every batch before it is written."""

    def __init__(self, store: Store, look: Callable[[Batch], object]) -> None:
        self._store = store
        self._look = look

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def commit(self, batch: Batch) -> int:
        """As the store does."""
        self._look(batch)
        return self._store.commit(batch)


@dataclass
class Refusals:
    """Effects of one kind that were refused for one reason."""

    count: int = 0
    users: set[int] = field(default_factory=set)
    first: int = 0  #: instant of the first


@dataclass
class Tally:
    """What the batches of a part of a trial hold.

    ``concerned``: playbooks whose people count as met by the change; None: all.
    """

    plan: Plan
    concerned: frozenset[str] | None = None
    entered: Counter[str] = field(default_factory=Counter)  #: playbook -> entries
    held_out: Counter[str] = field(default_factory=Counter)
    samples: defaultdict[str, Sample] = field(default_factory=lambda: defaultdict(Sample))
    done: Counter[tuple[str, str]] = field(default_factory=Counter)  #: (playbook or "", kind) -> planned effects
    messages: Counter[tuple[str, str]] = field(default_factory=Counter)  #: (playbook, channel) -> planned
    coupons: Counter[tuple[str, str]] = field(default_factory=Counter)  #: (playbook, pool) -> given
    points: Counter[str] = field(default_factory=Counter)  #: account -> given less taken
    refused: defaultdict[tuple[str, str, str, str, str], Refusals] = field(
        default_factory=lambda: defaultdict(Refusals)
    )
    """(playbook, kind, status, reason, channel or pool or group) -> what was refused."""
    windows: Counter[tuple[str, str]] = field(default_factory=Counter)  #: (playbook, entry limit) -> windows reached
    errors: Counter[str] = field(default_factory=Counter)
    quarantined: Counter[str] = field(default_factory=Counter)  #: reason -> events that are not let in
    met: set[int] = field(default_factory=set)  #: users something is done for by the playbooks that are concerned
    cost: dict[str, Decimal] = field(default_factory=dict)  #: currency -> what the coupons of all playbooks may cost
    cost_concerned: dict[str, Decimal] = field(default_factory=dict)  #: of those that are concerned

    def take(self, batch: Batch) -> None:
        """Add one batch."""
        for playbook, verdict, held in batch.lives:
            if verdict == "entered":
                self.entered[playbook] += 1
                self.held_out[playbook] += held
            elif verdict == "held":
                self.held_out[playbook] += 1
        for mark in batch.marks:
            if mark.verdict == "entered":
                who = mark.user or mark.group or ""
                self.samples[mark.playbook].add(who)
                if self._concerns(mark.playbook):
                    self.met.add(short(who))
        for effect in batch.effects:
            self._effect(effect)
        for alert in batch.alerts:
            self.windows[alert.playbook, alert.limit] += 1
        self.errors.update(batch.errors)
        for it in batch.rejected:
            self.quarantined[it.reason] += 1

    def _concerns(self, playbook: str | None) -> bool:
        return self.concerned is None or playbook is None or playbook in self.concerned

    def _effect(self, effect: Effect) -> None:
        playbook, kind = effect.playbook or "", effect.kind
        what = effect.detail.get("via") or effect.detail.get("pool") or effect.detail.get("group") or ""
        who = short(effect.user or effect.group or "")
        if effect.status != DONE:
            if effect.status in ("suppressed", "denied"):
                row = self.refused[playbook, kind, effect.status, effect.reason or "", str(what)]
                row.first = row.first or effect.time
                row.count += 1
                row.users.add(who)
            return
        self.done[playbook, kind] += 1
        if effect.playbook is not None and self._concerns(effect.playbook):
            self.met.add(who)
        if kind == "message":
            self.messages[playbook, str(what)] += 1
        elif kind == "coupon":
            self._coupon(playbook, str(what))
        elif kind == "points":
            self.points[str(effect.detail.get("account"))] += int(effect.detail.get("delta") or 0)

    def _coupon(self, playbook: str, name: str) -> None:
        self.coupons[playbook, name] += 1
        pool = self.plan.pools.get(name)
        if pool is None:
            return
        currency = str((pool.value or {}).get("currency") or "")
        self.cost[currency] = self.cost.get(currency, Decimal(0)) + pool.cost
        if self._concerns(playbook or None):
            self.cost_concerned[currency] = self.cost_concerned.get(currency, Decimal(0)) + pool.cost


@dataclass
class Trial:
    """What came of a trial."""

    now: int  #: where the store stands
    standing: Standing  #: those on their way at publication
    at_once: Tally  #: decided at the instant of publication
    later: Tally  #: everything, from publication to the end of the window
    window: Window
    events: int = 0  #: played once more
    left_out: int = 0
    newcomers: int = 0
    stuck: dict[str, str] = field(default_factory=dict)  #: playbook@version that stands still -> why
    before: dict[str, bytes] = field(default_factory=dict)  #: scarce resources at the beginning
    codes: dict[str, int] = field(default_factory=dict)  #: pool -> imported codes


def attempt(
    plan: Plan,
    store: Store,
    *,
    secret: bytes,
    known_types: EventTypes | None,
    concerned: frozenset[str] | None = None,
    days: int = 28,
    publish: bool = True,
    progress: Callable[[int], None] | None = None,
) -> Trial:
    """Publish a plan on a copy of a store, and play the last days once more.

    Parameters
    ----------
    plan: compiled with the older versions the store keeps.
    store: a copy, opened for writing: it is changed.
    secret: key of generated coupon codes.
    concerned: playbooks whose people count as met; None: all.
    days: of the window, at most; 0: publication alone.
    publish: False where the plan is the one the store runs already: nobody is looked at then.
    progress: told how many events were played.
    """
    now = store.clock()
    window = Window.of(cast("EventLog", store), now, days)
    found = Trial(now, standing(plan, store.in_flight()) if publish else Standing(), Tally(plan, concerned),
                  Tally(plan, concerned), window, before=store.resources(), codes=store.code_counts())  # fmt: skip
    parts = [found.at_once, found.later]

    def look(batch: Batch) -> None:
        for part in parts:
            part.take(batch)

    fixed = dict(plan.env.fixed)
    plan.env.fixed.setdefault("webhooks", {})  # nobody answers
    try:
        pump = Pump(
            plan, cast("Store", _Seen(store, look)), (), None, _At(now + window.length), secret=secret,
            known_types=known_types, batch=10_000, watch=lambda batch: None,
        )  # fmt: skip
        found.stuck = pump.done.published.stuck
        _settle(pump, now)
        parts.remove(found.at_once)
        again = Again(cast("EventLog", store), window)
        for records in again.records() if window.days else ():
            pump.decide(records)
            if progress is not None:
                progress(len(records))
        _settle(pump, now + window.length)
    finally:
        plan.env.fixed.clear()
        plan.env.fixed.update(fixed)
    found.events, found.left_out, found.newcomers = again.events, again.left_out, again.newcomers
    return found


def _settle(pump: Pump, until: int) -> None:
    while not pump.settle_some(until):
        pass


def shaken(found: Trial) -> set[int]:
    """Users the change means something to: their journey moves or stops, or something is done for them."""
    return found.later.met | {short(name_of(it)) for it in found.standing.shaken}


