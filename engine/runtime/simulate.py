"""Replays a feed in memory on the virtual clock: the same loop as ``run``, with a store that keeps nothing.

Most files are in order and repeat no id. So a file is first read as it comes, once; should it turn out otherwise, all
that was decided is thrown away and the careful way begins, which looks at the whole file before the first event.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, BinaryIO, Concatenate, ParamSpec, Protocol

import msgspec

from engine.core.admission import EventTypes
from engine.core.coupons import with_stand_ins
from engine.core.instants import format_instant
from engine.core.model import Effect, Event
from engine.core.plan import Plan
from engine.core.starts import asked_for, take_for_verbs
from engine.core.step import ALL, NOTABLE, SILENT
from engine.core.subjects import GROUP, USER, kind_of
from engine.errors import DrumbeatError, InternalError
from engine.ports import Batch, NotInOrder, Store
from engine.runtime.rows import EffectFile, decision_row, effect_row
from engine.runtime.session import Session
from engine.runtime.shards import Coupled, Shard


class Replayed(Protocol):
    """An ordered feed and what was left out of it."""

    read: int
    accepted: int
    duplicate: int
    quarantined: int
    end: int | None
    assigned_ids: bool

    @property
    def reasons(self) -> Any: ...

    def hopeful(self, size: int = ...) -> Iterable[list[Event]]: ...

    def chunks(self, size: int = ...) -> Iterable[list[Event]]: ...


class Observer(Protocol):
    """Looks on while a feed is replayed, and changes nothing."""

    closely: bool  #: every verdict is wanted

    def saw(self, events: Sequence[Event]) -> None:
        """These events are decided next."""

    def took(self, batch: Batch) -> None:
        """This was decided."""


class Recorder(Protocol):
    """Who is told everything that a simulation decides, for a report."""

    def take(self, batch: Batch) -> None: ...

    def begin_anew(self) -> None:
        """What was told so far is thrown away."""
        ...


class Volatile(Store, Protocol):
    """A store that can begin anew."""

    def begin_anew(self) -> None: ...


@dataclass
class Outcome:
    """Figures of a simulation."""

    events: dict[str, Any] = field(default_factory=dict)
    users: int = 0
    groups: int | None = None  #: groups that are subjects; None: they are none in this program
    journeys: dict[str, int] = field(default_factory=dict)
    effects: dict[str, dict[str, int]] = field(default_factory=dict)
    playbooks: dict[str, dict[str, int]] = field(default_factory=dict)
    clock: dict[str, str | None] = field(default_factory=dict)
    contested: dict[str, int] = field(default_factory=dict)
    quotas: dict[str, QuotaUse] = field(default_factory=dict)  #: channel with a quota -> what became of it
    put_off: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(playbook, step) -> how often quiet hours put it off."""


@dataclass
class QuotaUse:
    """How far the quota of a channel went."""

    allows: str  #: ``4/month``: messages a user in a window
    sent: dict[str, int] = field(default_factory=dict)  #: playbook -> messages
    refused: dict[str, int] = field(default_factory=dict)  #: playbook -> messages the quota held back
    users: set[str] = field(default_factory=set)  #: whom something was held back from


class Tally:
    """Counts what the batches hold."""

    def __init__(self, plan: Plan) -> None:
        self.outcome = Outcome(playbooks={playbook.id: _zeros() for playbook in plan.playbooks})
        for name, channel in sorted(plan.channels.items()):
            if channel.quota is not None:
                self.outcome.quotas[name] = QuotaUse(channel.quota.text)
        self.started = self.ended = 0

    def take(self, batch: Batch) -> None:
        """Add one batch."""
        effects, playbooks = self.outcome.effects, self.outcome.playbooks
        for effect in batch.effects:
            by_status = effects.setdefault(effect.kind, {})
            by_status[effect.status] = by_status.get(effect.status, 0) + 1
            if effect.playbook is not None:
                playbooks[effect.playbook]["effects"] += 1
                if self.outcome.quotas and effect.kind == "message":
                    self._quota(effect, effect.playbook)
        for playbook, verdict, held in batch.lives:
            if verdict == "entered":
                self.started += 1
                playbooks[playbook]["entered"] += 1
                playbooks[playbook]["held_out"] += held
            elif verdict == "held":
                playbooks[playbook]["held_out"] += 1
            else:
                self.ended += 1
        for alert in batch.alerts:
            playbooks[alert.playbook]["limited"] += 1
        self.outcome.put_off.update(batch.waits)
        for playbook, number in batch.errors.items():
            playbooks[playbook]["errors"] += number
        for playbook, _, _, held, _ in batch.goals:
            playbooks[playbook]["goals"] += 1
            playbooks[playbook]["goals_held_out"] += held

    def _quota(self, effect: Effect, playbook: str) -> None:
        use = self.outcome.quotas.get(effect.detail.get("via") or "")
        if use is None or (effect.status != "planned" and effect.reason != "quota"):
            return
        counts = use.sent if effect.status == "planned" else use.refused
        counts[playbook] = counts.get(playbook, 0) + 1
        if effect.reason == "quota" and effect.user is not None:
            use.users.add(effect.user)


def _zeros() -> dict[str, int]:
    return {"entered": 0, "held_out": 0, "effects": 0, "goals": 0, "goals_held_out": 0, "errors": 0, "limited": 0}


_P = ParamSpec("_P")


def _nobody_answers(call: Callable[Concatenate[Plan, _P], Outcome]) -> Callable[Concatenate[Plan, _P], Outcome]:
    """While it lasts no webhook is answered, unless ``plan.env.fixed`` says by what."""

    @wraps(call)
    def fixed(plan: Plan, /, *args: _P.args, **kwargs: _P.kwargs) -> Outcome:
        before = dict(plan.env.fixed)
        plan.env.fixed.setdefault("webhooks", {})
        try:
            return call(plan, *args, **kwargs)
        finally:
            plan.env.fixed.clear()
            plan.env.fixed.update(before)

    return fixed


@_nobody_answers
def simulate(
    plan: Plan,
    replay: Replayed,
    store: Volatile,
    *,
    until: int | None = None,
    effects: BinaryIO | None = None,
    decisions: BinaryIO | None = None,
    batch_size: int = 2_000,
    known_types: EventTypes | None = None,
    progress: Callable[[int], None] | None = None,
    observer: Callable[[], Observer] | None = None,
    recorder: Recorder | None = None,
    log: bool = False,
    shard: Shard | None = None,
) -> Outcome:
    """Run a whole feed through a plan.

    Parameters
    ----------
    plan, replay, store: what, over which events, kept where (a memory store without log).
    until: where the virtual clock ends, microseconds; None: at the last well-formed event.
    effects, decisions: where the rows go.
    batch_size: events decided at once; never changes an outcome.
    known_types: whose types are let in; None: any. What schemas say of the data is the matter of ``replay``.
    progress: told how many events were decided.
    observer: makes somebody who looks on; a new one each time the replay begins anew.
    recorder: told all that was decided, with the events.
    log: keep events, effects and answers in the store, too, for whoever asks about somebody.
    shard: the part of the subjects that is decided; None: all. Rows come with their places then, and Coupled is raised
        when they cannot be decided apart. What the outcome says of events and of the clock is of all.
    """
    plan = dataclasses.replace(plan, pools=with_stand_ins(plan.pools, store.code_count))
    files = [file for file in (effects, decisions) if file is not None]
    replaying = _Replaying(
        plan, replay, store, until, effects, decisions, known_types, progress, observer, recorder, log, shard
    )
    if all(file.seekable() for file in files):  # what cannot be taken back must not be written in hope
        begins = [file.tell() for file in files]
        try:
            return replaying.run(replay.hopeful(batch_size))
        except NotInOrder:
            store.begin_anew()
            if recorder is not None:
                recorder.begin_anew()
            for file, begin in zip(files, begins, strict=True):
                file.seek(begin)
                file.truncate()
    return replaying.run(replay.chunks(batch_size))


@dataclass(frozen=True)
class _Replaying:
    """What ``simulate`` was asked for."""

    plan: Plan
    replay: Replayed
    store: Store
    until: int | None
    effects: BinaryIO | None
    decisions: BinaryIO | None
    known_types: EventTypes | None
    progress: Callable[[int], None] | None
    observer: Callable[[], Observer] | None
    recorder: Recorder | None
    log: bool
    shard: Shard | None

    def run(self, chunks: Iterable[list[Event]]) -> Outcome:
        """From the first event to the end of the virtual clock."""
        secret = f"simulate:{self.plan.program}".encode()
        looker = None if self.observer is None else self.observer()
        closely = self.decisions is not None or (looker is not None and looker.closely)
        log = self.log or self.recorder is not None
        tracing = ALL if closely else NOTABLE if log else SILENT
        shard = self.shard
        begin = Session if shard is None else shard.begin
        session = begin(self.plan, self.store, secret=secret, tracing=tracing, log=log, resident=not self.log)
        rows = EffectFile(self.effects, effect_row if shard is None else shard.effect)
        tally = Tally(self.plan)
        first: int | None = None
        unknown = 0

        def hand_over() -> None:
            batch = session.batch()
            tally.take(batch)
            if looker is not None:
                looker.took(batch)
            rows.take(batch.effects, batch.clock)
            if self.decisions is not None:
                self.decisions.write(
                    b"".join(map(decision_row, batch.decisions)) if shard is None else shard.decisions(batch.decisions)
                )
            if self.recorder is not None:
                self.recorder.take(batch)
            self.store.commit(batch)

        asked = frozenset(asked_for(self.plan.playbooks).values())
        for chunk in chunks:
            if asked:
                take_for_verbs(chunk, asked)
            if self.known_types is not None and not self.known_types.all_known(chunk):
                kept = [event for event in chunk if not self.known_types.unknown(event)]
                unknown += len(chunk) - len(kept)
                chunk = kept
            if not chunk:
                continue
            if first is None:
                first = chunk[0].time
            read = len(chunk)
            if shard is not None:
                chunk = shard.own(chunk)
            if looker is not None:
                looker.saw(chunk)
            _decide(session, chunk, hand_over)
            if self.progress is not None:
                self.progress(read)
        end = self.until if self.until is not None else self.replay.end
        if end is not None:
            while not session.settle(end):
                hand_over()
            hand_over()
        if self.recorder is not None and session.resident:  # so that a report can say who stands where
            self.store.commit(msgspec.structs.replace(session.batch(), states=list(session.states.values())))
        rows.close()
        outcome = _outcome(tally, self.replay, len(session.states) - session.strangers, first, end, unknown)
        if session.routing:
            kinds = Counter(map(kind_of, session.states))
            outcome.users = kinds[USER] - session.strangers
            outcome.groups = kinds[GROUP] if self.plan.grouped else None
        return outcome


def _decide(session: Session, chunk: list[Event], hand_over: Callable[[], None]) -> None:
    left: Sequence[Event] = chunk
    try:
        while left:
            left = left[session.take(left) :]
            hand_over()
    except (DrumbeatError, Coupled):
        raise
    except Exception as error:
        raise InternalError(
            f"deciding failed between event {chunk[0].id!r} and {chunk[-1].id!r}: {type(error).__name__}: {error}",
            hint="this is a fault of Drumbeat; please report it with these events",
        ) from error


def _outcome(
    tally: Tally, replay: Replayed, users: int, first: int | None, end: int | None, unknown: int
) -> Outcome:
    outcome = tally.outcome
    reasons = dict(sorted(replay.reasons.items()))
    if unknown:
        reasons["unknown_type"] = unknown
    outcome.events = {
        "read": replay.read,
        "accepted": replay.accepted - unknown,
        "duplicate": replay.duplicate,
        "quarantined": replay.quarantined + unknown,
        "late": 0,
        "reasons": reasons,
    }
    outcome.users = users
    outcome.journeys = {
        "started": tally.started,
        "finished": tally.ended,
        "running": tally.started - tally.ended,
    }
    outcome.effects = {kind: dict(sorted(by.items())) for kind, by in sorted(outcome.effects.items())}
    outcome.playbooks = dict(sorted(outcome.playbooks.items()))
    outcome.clock = {
        "from": None if first is None else format_instant(first),
        "until": None if end is None else format_instant(end),
    }
    return outcome
