"""The store of a simulation and of tests: everything in this process, nothing kept after it.

Rule 1: records are handed over as they are, not copied; who changes a loaded state commits it or gives up the store.
Rule 2: a commit is checked whole before anything is changed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import structs

from engine.core.couponing import unsent
from engine.core.coupons import Coupon
from engine.core.model import Answer, Decision, Effect, Entry, Event, State
from engine.core.predicate import Filter, Selection
from engine.core.subjects import BEFORE_USERS, PROGRAM, SIGN, subject_of
from engine.errors import InternalError
from engine.ports import Batch, Rejected, Version
from engine.stores import erasing, tally
from engine.stores.memory_coupons import MemoryCoupons
from engine.stores.memory_forgetting import Forgotten, take_away
from engine.stores.memory_outbox import MemoryOutbox, Row
from engine.stores.wakes import Wakes

_VERBS = ("commit", "ingest", "release", "claim", "settle", "redrive", "drop", "meta", "version", "forget")
FAULT_POINTS = tuple(f"{verb}.{edge}" for verb in _VERBS for edge in ("before", "after"))
"""Names given to ``fault``."""


class MemoryStore(MemoryOutbox, MemoryCoupons):
    """A store in memory.

    ``keep_log``: False keeps no events, effects and decisions, only their counts; then no id is known, no effect
    conflicts and nothing stands in the outbox. That is what ``simulate`` needs, which writes them out itself.
    """

    def __init__(self, *, keep_log: bool = True) -> None:
        self.keep_log = keep_log
        self.fault: Callable[[str], object] = _nothing
        self._states: dict[str, State] = {}
        self._order: list[str] = []  #: ids of the states, sorted when last asked for
        self._slots: dict[str, bytes] = {}
        self._wakes = Wakes()
        self._clock = 0
        self._ids: set[str] = set()  #: of events decided
        self._events: dict[str, list[tuple[Event, int]]] = {}
        self._heard: dict[str, list[tuple[Event, int]]] = {}  #: of groups and the program, beside those of users
        self._old = Forgotten()
        self._rows: dict[str, Row] = {}
        self._pending: list[tuple[int, str]] = []  #: (place, key), sorted
        self._answers: dict[str, dict[str, Answer]] = {}
        self._askers: dict[str, str] = {}  #: key of an answer -> whose it is
        self._coupons: dict[str, Coupon] = {}
        self._imported: dict[str, list[str]] = {}
        self._pool_of: dict[str, str] = {}
        self._resources: dict[str, bytes] = {}
        self._decisions: dict[str, list[Decision]] = {}
        self._ledger: list[Entry] = []
        self._rejected: dict[int, Rejected] = {}
        self._rejected_last = 0
        self._positions: dict[str, int] = {}
        self._meta: dict[str, str] = {}
        self._versions: dict[tuple[str, str], Version] = {}
        self._inbox: dict[int, Event] = {}
        self._erased: dict[str, int] = {}  #: pseudonym -> when
        self._waiting: set[str] = set()  #: ids of events in the inbox
        self._inbox_last = 0
        self._counts: Counter[str] = Counter()
        self._figures: Counter[tuple[str, str]] = Counter()

    def close(self) -> None:
        """Nothing is open."""

    def begin_anew(self) -> None:
        """Begin anew, as if nothing had been handed over; codes that were imported are there still."""
        fault, imported, pool_of = self.fault, self._imported, self._pool_of
        self.__init__(keep_log=self.keep_log)  # type: ignore[misc]  # all there is is set there
        self.fault, self._imported, self._pool_of = fault, imported, pool_of

    # -- deciding

    def load(self, subjects: Iterable[str]) -> dict[str, State]:
        states = self._states
        if not self._erased:
            return {subject: states[subject] for subject in subjects if subject in states}
        found = {}
        for subject in subjects:
            alias = self._alias(subject)
            if subject in states:
                found[subject] = states[subject]
            elif alias in states:
                found[subject] = structs.replace(states[alias], id=subject)
        return found

    def erased(self, subjects: Iterable[str]) -> dict[str, int]:
        known = self._erased
        return {it: known[alias] for it in set(subjects) if (alias := self._alias(it)) in known} if known else {}

    def scrub(self) -> None:
        """Nothing is in any file."""

    def _alias(self, subject: str) -> str:
        return erasing.alias_of(subject, self._meta.get("secret"))

    def forget(self, before: Mapping[str, int], limit: int) -> dict[str, int]:
        self.fault("forget.before")
        counts = take_away(
            self._old, before, limit, self._events, self._ids, self._decisions, self._rejected, self._heard
        )
        self.fault("forget.after")
        return counts

    def forgotten(self, user: str) -> int | None:
        return self._old.until if user in self._old.subjects else None

    def due(self, before: int, limit: int) -> list[State]:
        return [self._states[subject] for _, subject in self._wakes.due(before, limit)]

    def wakes(self, before: int, limit: int) -> list[tuple[int, str]]:
        return self._wakes.due(before, limit)

    def next_wake(self) -> int | None:
        return self._wakes.first()

    def population(self, after: str, limit: int, audience: Filter | None = None, now: int = 0) -> list[str]:
        if audience is not None:
            return self.candidates(audience, now, after, limit)
        if len(self._order) != len(self._states):
            self._order = sorted(self._states)
        place = bisect_right(self._order, after)
        return self._order[place : place + limit]

    def slots(self) -> dict[str, bytes]:
        return dict(sorted(self._slots.items()))

    def known(self, ids: Sequence[str], *, waiting: bool = True) -> set[str]:
        decided = self._ids.intersection(ids)
        return decided | self._waiting.intersection(ids) if waiting else decided

    def strangers(self, subjects: Sequence[str]) -> set[str]:
        return {it for it in subjects if it not in self._states}

    def commit(self, batch: Batch) -> int:
        self.fault("commit.before")
        self._check(batch)
        self._book(batch.entries)
        states, put = self._states, self._wakes.put
        for state in batch.states:
            states[state.id] = state
            put(state.id, state.wake_at)
            if self._erased and (alias := self._alias(state.id)) in self._erased:
                if erasing.at_rest(state):
                    self._hide(state)
                elif self._states.pop(alias, None) is not None:
                    self._order = []
        cancelled = self._cancel(batch.cancels, batch.clock)
        conflicts = self._log(batch) if self.keep_log else 0
        asked = tally.askers(batch)
        for answer in batch.answers:
            self._askers[answer.key] = asked.get(answer.key, "")
            self._answers.setdefault(self._askers[answer.key], {})[answer.key] = answer
        self._resources.update(batch.resources)
        for name, row in batch.slots.items():
            if row is None:
                self._slots.pop(name, None)
            else:
                self._slots[name] = row
        self._quarantine(batch.rejected)
        self._positions.update(batch.positions)
        if batch.inbox_done:
            for seq in [seq for seq in self._inbox if seq <= batch.inbox_done]:
                self._waiting.discard(self._inbox.pop(seq).id)
        self._counts.update(tally.counters(batch, cancelled))
        self._figures.update(tally.figures(batch))
        self._clock = batch.clock
        for subject, at in batch.erased:
            self._erase(subject, at)
        self.fault("commit.after")
        return conflicts

    def _check(self, batch: Batch) -> None:
        """Refuse what must never be written, before anything is."""
        self._book(batch.entries, only_check=True)
        if self.keep_log:
            ids = [event.id for event, _ in batch.events]
            if len(set(ids)) < len(ids) or not self._ids.isdisjoint(ids):
                raise InternalError("the store refused a batch: an event was decided twice")

    def _log(self, batch: Batch) -> int:
        """Keep events, effects and decisions; the number of effect keys that existed already."""
        for event, decided_at in batch.events:
            self._ids.add(event.id)
            self._events.setdefault(event.user or event.group or "", []).append((event, decided_at))
        for place, subject in batch.others:
            self._heard.setdefault(subject, []).append(batch.events[place])
        conflicts = 0
        for effect in batch.effects:
            if effect.key in self._rows:
                conflicts += 1
                continue
            delivery = tally.first_delivery(effect)
            row = self._rows[effect.key] = Row(len(self._rows), effect, delivery, effect.deliver or "")
            if row.delivery:
                self._pending.append((row.place, effect.key))
        for decision in batch.decisions:
            self._decisions.setdefault(subject_of(decision.user, decision.group), []).append(decision)
        self._ledger.extend(batch.entries)
        return conflicts

    def _hide(self, state: State) -> None:
        del self._states[state.id]
        self._order = []
        self._wakes.put(state.id, None)
        hidden = erasing.disguised(state, self._alias(state.id))
        self._states[hidden.id] = hidden

    def _erase(self, subject: str, at: int) -> None:
        """Everything about a subject up to an instant is emptied, or goes on under a pseudonym."""
        alias = self._alias(subject)
        self._erased[alias] = max(at, self._erased.get(alias, at))
        state = self._states.get(subject)
        if state is not None and erasing.at_rest(state):
            self._hide(state)
        self._ids.difference_update(self._old.erase(subject, at))
        events = self._events.pop(subject, [])
        self._ids.difference_update(event.id for event, _ in events if event.time <= at)
        if left := [it for it in events if it[0].time > at]:
            self._events[subject] = left
        for heard in self._heard.values():
            heard[:] = [it for it in heard if it[0].user != subject or it[0].time > at]
        if kept := [it for it in self._decisions.pop(subject, []) if it.time > at]:
            self._decisions[subject] = kept
        if subject in self._answers:
            self._askers.update(dict.fromkeys(self._answers[subject], alias))
            self._answers.setdefault(alias, {}).update(self._answers.pop(subject))
        for number in erasing.about(self._rejected.values(), subject):
            del self._rejected[number]
        for row in self._rows.values():
            if subject == subject_of(row.effect.user, row.effect.group) and row.effect.time <= at:
                self._scrub(row, alias)
        for code, coupon in self._coupons.items():
            if coupon.subject == subject:
                self._coupons[code] = structs.replace(coupon, subject=alias)
        self._unname(subject, alias, at)
        self._ledger = [erasing.anonymous(it, subject, at, self._alias) for it in self._ledger]

    def _unname(self, subject: str, alias: str, at: int) -> None:
        """Rows about groups and the program name users: who was chosen, proposed, drawn."""
        asked = [answers for asker, answers in self._answers.items() if asker[:1] == SIGN]
        names = erasing.Unnamed(subject, alias, (it for answers in asked for it in answers.values()))
        for row in self._rows.values():
            if row.effect.user is None and row.effect.time <= at:
                row.effect = names.effect(row.effect) or row.effect
        for answers in asked:
            for key, answer in answers.items():
                answers[key] = names.answer(answer) or answer

    def _scrub(self, row: Row, alias: str) -> None:
        row.effect = erasing.scrubbed(row.effect, alias)
        if row.delivery == "pending":
            self._pending.remove((row.place, row.effect.key))
        row.next_at, row.receipt = None, None
        row.outcome = row.outcome if row.delivery == "cancelled" else None
        if row.delivery in ("pending", "sending", "dead", "unknown"):
            row.delivery, row.outcome = "cancelled", erasing.OUTCOME

    def _cancel(self, cancels: Iterable[tuple[str, str]], now: int) -> int:
        """Take back what is not being sent yet; how many deliveries that were."""
        found = 0
        for key, reason in cancels:
            row = self._rows.get(key)
            if row is None or not (row.delivery == "pending" or (row.delivery, reason) == ("dead", tally.RETURNED)):
                continue
            self._turn(key, row, "cancelled")
            row.next_at, row.outcome = None, reason
            found += 1
            if row.effect.carries and reason != tally.RETURNED:
                self._admit([(event, b"") for event in unsent(row.effect, now)])
        return found

    def _quarantine(self, rejected: Iterable[Rejected]) -> None:
        for it in rejected:
            self._rejected_last += 1
            kept = Rejected(it.feed, it.position, it.reason, it.message, it.raw, it.at, self._rejected_last)
            self._rejected[kept.number] = kept

    def clock(self) -> int:
        return self._clock

    def position(self, feed: str) -> int:
        return self._positions.get(feed, 0)

    def resources(self) -> dict[str, bytes]:
        return dict(sorted(self._resources.items()))

    def get_meta(self, name: str) -> str | None:
        return self._meta.get(name)

    def set_meta(self, name: str, value: str) -> None:
        self.fault("meta.before")
        self._meta[name] = value
        self.fault("meta.after")

    # -- versions of playbooks

    def versions(self, *, used: bool = True) -> list[Version]:
        found = [it for it in self._versions.values() if it.used or not used]
        return sorted(found, key=lambda it: (it.playbook, it.since, it.hash))

    def keep_versions(self, versions: Sequence[Version]) -> None:
        self.fault("version.before")
        for it in versions:
            kept = self._versions.get((it.playbook, it.hash), it)
            self._versions[it.playbook, it.hash] = structs.replace(kept, used=it.used)
        self.fault("version.after")

    def in_flight(self) -> Iterator[State]:
        return (state for state in self.subjects() if state.journeys or state.goals)

    # -- ingest

    def ingest(self, events: Sequence[tuple[Event, bytes]], rejected: Sequence[Rejected]) -> tuple[int, int]:
        self.fault("ingest.before")
        taken = self._take_in(events)
        self._quarantine(rejected)
        self._counts["quarantined"] += len(rejected)
        self.fault("ingest.after")
        return taken

    def _take_in(self, events: Sequence[tuple[Event, bytes]]) -> tuple[int, int]:
        """Put what came from outside into the inbox; (accepted, duplicates)."""
        accepted, duplicates = self._admit(events)
        self._counts["duplicate"] += duplicates
        return accepted, duplicates

    def _admit(self, events: Sequence[tuple[Event, bytes]]) -> tuple[int, int]:
        fresh = tally.first_copies(events, self.known([event.id for event, _ in events]))
        for event in fresh:
            self._inbox_last += 1
            self._inbox[self._inbox_last] = event
            self._waiting.add(event.id)
        return len(fresh), len(events) - len(fresh)

    def waiting(self) -> tuple[int, int]:
        return next(iter(self._inbox), 0), len(self._inbox)

    def inbox(self, after: int, limit: int) -> list[tuple[int, Event]]:
        return [(seq, event) for seq, event in self._inbox.items() if seq > after][:limit]

    def held_back(self) -> int | None:
        return None

    # -- quarantine

    def quarantine(self) -> Iterator[Rejected]:
        yield from list(self._rejected.values())

    def rejected(self, number: int) -> Rejected | None:
        return self._rejected.get(number)

    def release(self, numbers: Sequence[int], events: Sequence[tuple[Event, bytes]] = ()) -> tuple[int, int]:
        self.fault("release.before")
        for number in numbers:
            self._rejected.pop(number, None)
        taken = self._take_in(events)
        self.fault("release.after")
        return taken

    # -- reading

    def fold(self) -> None:
        """Everything is in its place already."""

    def effects(self, user: str | None = None) -> Iterator[tuple[Effect, str]]:
        rows = [it for it in self._rows.values() if user is None or user == subject_of(it.effect.user, it.effect.group)]
        for row in sorted(rows, key=lambda it: (it.effect.time, it.effect.key)):
            moved = row.channel != (row.effect.deliver or "")
            yield structs.replace(row.effect, deliver=row.channel) if moved else row.effect, row.delivery or ""

    def outcomes(self, user: str) -> dict[str, str]:
        rows = self._rows.values()
        return {
            row.effect.key: row.outcome
            for row in rows
            if row.outcome is not None and user == subject_of(row.effect.user, row.effect.group)
        }

    def events(self, user: str) -> Iterator[tuple[Event, int]]:
        rows = self._heard if user[:1] == SIGN else self._events
        own = self._events.get(user, []) if user == PROGRAM else []  # what is sent to the program by its id
        both = sorted([*rows.get(user, []), *own], key=lambda it: it[1]) if own else rows.get(user, [])
        yield from (it for it in both if it[0].maker != user)

    def answers(self, user: str) -> dict[str, Answer]:
        return dict(sorted(self._answers.get(user, {}).items()))

    def asker(self, key: str) -> str | None:
        return self._askers.get(key)

    def decisions(self, user: str) -> Iterator[Decision]:
        yield from self._decisions.get(user, [])

    def ledger(
        self, *, subject: str | None = None, book: str | None = None, name: str | None = None
    ) -> Iterator[Entry]:
        return (it for it in self._ledger if tally.asked_for(it, subject, book, name))

    def subjects(self) -> Iterator[State]:
        for subject in sorted(self._states):
            yield self._states[subject]

    def head_count(self) -> int:
        return sum(subject[:1] != SIGN for subject in self._states)

    def audience(self, filter: Filter, now: int, after: str = "", limit: int = 1000) -> Selection:
        ids: list[str] = []
        errors: list[tuple[str, str]] = []
        after = max(after, BEFORE_USERS)
        wanted = sorted(subject for subject in self._states if subject > after) if limit > 0 else []
        for asked, subject in enumerate(wanted, 1):
            try:
                if filter.judge(self._states[subject], now):
                    ids.append(subject)
            except Exception as error:  # an error is neither a yes nor a no, whatever kind it is
                errors.append((subject, str(error)))
            if len(ids) == limit:
                return Selection(ids, errors, asked, subject)
        return Selection(ids, errors, len(wanted), None if limit > 0 else after)

    def candidates(self, filter: Filter, now: int, after: str, limit: int) -> list[str]:
        page = self.audience(filter, now, after, limit)
        return sorted([*page.ids, *(subject for subject, _ in page.errors)])[: max(0, limit)]

    def counts(self) -> dict[str, int]:
        return dict.fromkeys(tally.COUNTERS, 0) | dict(sorted(self._counts.items()))

    def summary(self) -> dict[str, Any]:
        return tally.summary([(playbook, figure, n) for (playbook, figure), n in self._figures.items()])


def _nothing(point: str) -> None:
    """The fault that never happens."""
