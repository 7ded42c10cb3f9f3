"""The answer to "why?" and "why not?": what every playbook made of one user, ready for JSON.

Rule 1: verdicts come from the replay, effects and their delivery from the record.
Rule 2: a playbook that was never looked at is an answer too: what it listens to, and whether that ever came.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.core.chance import BUCKETS, bucket
from engine.core.changing import PUBLISH
from engine.core.model import Decision, Journey, Why
from engine.core.plan import Plan, Playbook, Segment
from engine.core.subjects import kind_of, name_of, shown_as
from engine.insight.eras import Era, era_at
from engine.insight.gates import gates
from engine.insight.judged import Branch, by_time, changes, placed, tree_of
from engine.insight.listening import listening
from engine.insight.nearest import Asking, nearest
from engine.insight.replay import Asked, Course, Life
from engine.insight.subject import (
    effect_row,
    forgotten_words,
    goal_row,
    instant,
    journey_row,
    known_playbook,
    known_user,
)
from engine.ports import Store, Version

ENTRY = frozenset({"entered", "held_out", "skipped", "capped", "late", "error", "unknown"})
"""Verdicts about a new journey; the others are about one on its way."""

WHY_FORGOTTEN = (
    "nothing is decided once more; effects and journeys are on record, of verdicts only errors, limits and late ones"
)

_NO_MORE = "nothing can be decided once more"

OTHER_VERSION = "decided under another version of the program; shown with the present one"


def answer(
    plan: Plan,
    store: Store,
    user: str,
    *,
    playbook: str | None = None,
    until: int | None = None,
    fresh: Callable[[], Store],
    segments: Mapping[str, Segment] | None = None,
    eras: Sequence[Era] = (),
    remarks: Sequence[str] = (),
) -> dict[str, Any]:
    """All that is to be said about a subject.

    Parameters
    ----------
    plan, store, user: by what, from where, about whom.
    playbook: only this one; None: all.
    until: as things stood then; None: as they stand.
    fresh: makes an empty store in memory.
    segments: those of the program, to be shown part by part where they decide.
    eras: the programs that were at work, that of ``plan`` last; none: what was decided before it is not known.
    remarks: what is to be said about them.
    """
    kept = known_user(store, user)
    present = plan
    if until is not None and until < store.clock() and eras:
        then = era_at(eras, until)
        plan, segments = then.plan, then.segments  # as things stood then
    if playbook is not None:
        known_playbook(plan, playbook)
    gone = store.forgotten(user)
    life = Life(present, store, user, fresh, eras) if gone is None else None
    found = _course(present, store, user, life, until)
    if until is None:  # what stands in the store is what is, also where it was begun by an older version
        found.state = kept
    effects = _effects(store, user, found)
    told = _Told(plan, present, store, found, effects, eras, segments or {}, life, gone)
    chosen = [it for it in plan.playbooks if it.subject == kind_of(user) and playbook in (None, it.id)]
    rows = told.about(chosen, alone=playbook is not None)
    name, group = shown_as(user)
    return {
        "user": name,
        **({} if group is None else {"group": group}),
        "at": instant(found.clock),
        "events": sum(not event.internal for event in found.events.values()),
        "remarks": [
            *forgotten_words(gone, WHY_FORGOTTEN),
            *remarks,
            *_remarks(plan, store, found, playbook, group=group is not None, known=bool(eras)),
        ],
        "program": _program(present, store),
        "playbooks": rows,
        "ladders": [row for row in effects if row["playbook"] is None] if playbook is None else [],
    }


def _course(plan: Plan, store: Store, user: str, life: Life | None, until: int | None) -> Course:
    """Everything decided once more, with what publications did to journeys: that is on record alone."""
    if life is None:
        return _on_record(plan, store, user, until)
    found = life.course(until)
    done = [it for it in store.decisions(user) if it.cause == PUBLISH and it.time <= found.clock]
    found.decisions = sorted([*found.decisions, *done], key=lambda it: it.time)
    return found


@dataclass
class _Told:
    """What is said of each playbook."""

    plan: Plan  #: as of then
    present: Plan
    store: Store
    found: Course
    effects: list[dict[str, Any]]
    eras: Sequence[Era]
    segments: Mapping[str, Segment]
    life: Life | None  #: None: early events are forgotten
    gone: int | None  #: up to when

    def about(self, chosen: Sequence[Playbook], *, alone: bool) -> dict[str, dict[str, Any]]:
        """A row each; all of them share the tries there are."""
        versions, rows, left = _versions(self.store), {}, _TRIES_OF_ALL
        for it in chosen:
            newest = self.present.by_id.get(it.id, it).version
            row = rows[it.id] = _playbook(self.plan, it, self.found, self.effects, newest)
            row["version"] = _version(newest, it, versions, self.found.clock, self.eras)
            state = self.found.state
            row["gates"] = gates(self.plan, it, state, self.found.clock) if state is not None else []
            mine = _TRIES if alone else min(left, _TRIES_EACH)
            row["nearest_change"], tried = self._change(it, mine, alone=alone)
            left -= tried
        return rows

    def _change(self, playbook: Playbook, tries: int, *, alone: bool) -> tuple[dict[str, Any] | None, int]:
        """(the nearest change, how often it was tried)."""
        if self.life is None:
            words = forgotten_words(self.gone, _NO_MORE)[0]
            lost = {"of": None, "options": (), "from": None, "cannot_say": words}
            return (lost if alone else None), 0
        asking = Asking(self.life, self.plan, playbook, self.found, self.segments, tries, alone)
        return _nearest(asking, alone=alone), tries - asking.tries


_TRIES, _TRIES_EACH, _TRIES_OF_ALL = 400, 20, 60
"""How often a life is decided once more for the nearest change: of one playbook asked for; of each of many; of all."""


def _nearest(asking: Asking, *, alone: bool) -> dict[str, Any] | None:
    """The nearest change of the last verdict about an entry.

    Among all playbooks (not ``alone``) only of a refusal: what would make one look, or keep somebody out who is in, is
    found out when it is asked for.
    """
    known = asking.life.published(asking.playbook.id)
    own = (it for it in asking.found.decisions if it.playbook == asking.playbook.id)
    looks = [it for it in own if not _unknown_then(it, known)]
    entries = [it for it in looks if it.verdict in ENTRY]
    if not looks:
        return nearest(asking, None) if alone else None
    if not entries or (entries[-1].verdict in ("entered", "held_out") and not alone):
        return None
    era = asking.found.under.get(id(entries[-1]))
    if era is not None and era.plan is not asking.plan and it_was(era, asking):
        asking.plan, asking.playbook = era.plan, era.plan.by_id[asking.playbook.id]
        asking.segments = era.segments
    return nearest(asking, entries[-1])


def _unknown_then(decision: Decision, published: int) -> bool:
    """Did it fall when the playbook was not published yet? Then it is none: the run did not have the playbook."""
    return decision.time < published or (decision.time == published and "event" in decision.cause)


def it_was(era: Era, asking: Asking) -> bool:
    """Had the program of then the playbook?"""
    return asking.playbook.id in era.plan.by_id


def _versions(store: Store) -> dict[str, list[Version]]:
    """Every version of each playbook this store ever ran, the oldest first."""
    found: dict[str, list[Version]] = {}
    for it in sorted(store.versions(used=False), key=lambda it: it.since):
        found.setdefault(it.playbook, []).append(it)
    return found


def _version(
    present: str, playbook: Playbook, versions: Mapping[str, list[Version]], at: int, eras: Sequence[Era]
) -> dict[str, Any]:
    """By what meaning of the playbook it was decided then, as far as the store knows."""
    known = versions.get(playbook.id, [])
    then = next((it for it in reversed(known) if it.since <= at), None)
    if eras:  # a version may have come back, so when it came first says nothing
        then = next((it for it in known if it.hash == playbook.version), None)
    return {
        "present": present,
        "then": None if then is None else then.hash,
        "since": None if then is None else instant(then.since),
        "same": then is None or then.hash == present,
    }


def _program(plan: Plan, store: Store) -> dict[str, Any]:
    """The digest of the program at hand, and of the one the store was last run by."""
    decided_by = store.get_meta("plan")
    return {"digest": plan.digest, "store": decided_by, "same": decided_by in (None, plan.digest)}


def _on_record(plan: Plan, store: Store, user: str, until: int | None) -> Course:
    """What is still known of somebody whose early events are forgotten: to decide the rest alone would be a guess."""
    clock = store.clock() if until is None else min(until, store.clock())
    return Course(
        decisions=[placed(it, plan) for it in store.decisions(user) if it.time <= clock],
        events={event.id: event for event, at in store.events(user) if at <= clock},
        clock=clock,
    )


def _remarks(
    plan: Plan, store: Store, found: Course, playbook: str | None, *, group: bool, known: bool
) -> list[str]:
    out = []
    decided_by = store.get_meta("plan")
    if decided_by is not None and decided_by != plan.digest and not known:
        out.append(OTHER_VERSION)
    journeys = found.state.journeys if found.state is not None else ()
    older = sorted({it.playbook for it in journeys if playbook in (None, it.playbook) and _older(plan, it)})
    if older:
        names = ", ".join(older)
        out.append(f"a journey of {names} runs on an older version")
    if found.unmatched:
        out.append(
            f"{found.unmatched} effect(s) differ from the record: they were decided by an earlier version, or in an"
            " order of several subjects at one instant that is not recorded"
            + (", or by what members did who were erased since" if group else "")
        )
    return out


def _older(plan: Plan, journey: Journey) -> bool:
    return bool(journey_row(plan, journey)["older"])


def _effects(store: Store, user: str, found: Course) -> list[dict[str, Any]]:
    """Effects on record, with their causes, in the order of decision as far as the replay knows it."""
    order = {effect.key: place for place, effect in enumerate(found.effects)}
    due = {effect.key: effect.time for effect in found.effects}
    kept = [(effect, delivery) for effect, delivery in store.effects(user) if effect.time <= found.clock]
    kept.sort(key=lambda it: (it[0].time, order.get(it[0].key, -1)))
    outcomes = store.outcomes(user)
    rows = []
    for effect, delivery in kept:
        cause = found.causes.get(effect.key)
        row = {**effect_row(effect, delivery), "delivery_reason": outcomes.get(effect.key)}
        row["due"] = instant(due[effect.key]) if due.get(effect.key, effect.time) < effect.time else None
        rows.append({**row, "cause": None if cause is None else _cause(cause, found)})
    return rows


def _cause(cause: dict[str, str], found: Course) -> dict[str, Any]:
    """A cause with the type of the event; for one the engine made also what that followed from."""
    event = found.events.get(cause.get("event", ""))
    if event is None:
        return dict(cause)
    shown: dict[str, Any] = {**cause, "type": event.type, "time": instant(event.time), "internal": event.internal}
    if event.id in found.makers:
        shown["after"] = _cause(found.makers[event.id], found)
    return shown


def _playbook(
    plan: Plan, playbook: Playbook, found: Course, effects: list[dict[str, Any]], newest: str
) -> dict[str, Any]:
    looks = [it for it in found.decisions if it.playbook == playbook.id]
    entries = [it for it in looks if it.verdict in ENTRY]
    last = looks[-1] if looks and not (entries and looks[-1] is entries[-1]) else None
    own = [row for row in effects if row["playbook"] == playbook.id]
    state = found.state
    return {
        "title": playbook.title,
        "status": playbook.status,
        "verdict": looks[-1].verdict if looks else None,
        "looked_at": len(looks),
        "verdicts": dict(sorted(Counter(it.verdict for it in looks).items())),
        "entry": _decision(entries[-1], playbook, found, own, newest) if entries else None,
        "last": _decision(last, playbook, found, own, newest) if last is not None else None,
        "listens": [listening(plan, trigger, found) for trigger in playbook.triggers],
        "journeys": [journey_row(plan, it) for it in state.journeys if it.playbook == playbook.id] if state else [],
        "goals": [goal_row(it) for it in state.goals if _open(it.until, it.playbook, playbook, found)] if state else [],
        "effects": own,
        "reservations": [_reservation(it) for it in found.asked if _asked_by(it, playbook, own)],
    }


def _open(until: int, of: str, playbook: Playbook, found: Course) -> bool:
    return of == playbook.id and until >= found.clock


def _decision(
    decision: Decision, playbook: Playbook, found: Course, effects: list[dict[str, Any]], newest: str
) -> dict[str, Any]:
    era = found.under.get(id(decision))
    then = era.plan.by_id.get(decision.playbook) if era is not None else None
    playbook = playbook if then is None else then
    lines = [_line(why) for why in decision.why]
    if decision.verdict in ("entered", "held_out") and playbook.holdout is not None:
        drawn = bucket(playbook.holdout.salt, name_of(found.state.id) if found.state else "")
        text = f"drew {drawn} of {BUCKETS}, held out below {playbook.holdout.percent}"
        lines.append({"at": "holdout", "value": decision.verdict != "held_out", "text": text, "seen": {}})
    # what came by time is decided once more at its due instant; its effects tell when it was carried out
    version = None if then is None else then.version
    late = [row["time"] for row in effects if row["due"] == instant(decision.time)]
    return {
        "time": instant(decision.time),
        "carried_out": min(late, default=None) if "wake" in decision.cause else None,
        "version": version,
        "present": version in (None, newest),
        "verdict": decision.verdict,
        "cause": _cause(decision.cause, found),
        "why": lines,
    }


def _line(why: Why) -> dict[str, Any]:
    line: dict[str, Any] = {"at": why.at, "value": why.value, "text": why.text, "seen": dict(why.seen)}
    tree = tree_of(why)
    if tree is not None:
        line["tree"] = _tree(tree)
        if tree.value is not True:
            line["nearest"] = [
                {"text": it.text, "needs": it.needs, "has": it.has, "either": it.either} for it in changes(tree)
            ]
            line["by_time"] = instant(by_time(why))
    elif why.value is False and why.seen:
        # a trigger that counts stayed silent: how far it is
        leaf = Branch(op="leaf", text=why.text, value=False, seen=dict(why.seen), parts=(), error=None)
        line["nearest"] = [
            {"text": it.text, "needs": it.needs, "has": it.has, "either": it.either} for it in changes(leaf)
        ]
    return line


def _tree(branch: Branch) -> dict[str, Any]:
    shown: dict[str, Any] = {"op": branch.op, "text": branch.text, "value": branch.value}
    if branch.error is not None:
        shown["error"] = branch.error
    if branch.parts:
        shown["parts"] = [_tree(part) for part in branch.parts]
    else:
        shown["seen"] = dict(branch.seen)
    return shown


# ---------------------------------------------------------------------- scarce units


def _asked_by(asked: Asked, playbook: Playbook, effects: list[dict[str, Any]]) -> bool:
    if asked.ask.kind == "slot":
        return asked.ask.names == [playbook.id]
    return any(row["key"] == asked.ask.key for row in effects)


def _reservation(asked: Asked) -> dict[str, Any]:
    answer = asked.answer
    return {
        "time": instant(asked.time),
        "kind": asked.ask.kind,
        "names": asked.ask.names,
        "granted": answer.granted,
        "reason": None if answer.granted else answer.reason,
        "name": answer.name,
        "unit": answer.unit,
        "at": instant(answer.at),
    }
