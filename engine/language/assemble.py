"""Puts compiled playbooks and catalog together into a Plan: what happens at which event type, found out beforehand."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from types import MappingProxyType
from typing import Any

from engine.core.existing import Standing
from engine.core.fold import EXTERNAL_ONLY, FOLDS, NOT_THEIR_DOING, traits
from engine.core.history import HistoryBook, Streak
from engine.core.hours import Hours
from engine.core.kinds import Trigger
from engine.core.links import Links
from engine.core.moment import Env
from engine.core.plan import ChannelInfo, Dispatch, Plan, Playbook, Policy, Sieve, sieve
from engine.core.policies import Control
from engine.core.slots import Scheduled, Slotted
from engine.core.watch import grace_change
from engine.language.catalog import Catalog, membership

_MOVED = {"enters": "segment.entered", "leaves": "segment.left"}
_TOLD = frozenset(
    {
        "tier.changed", "segment.entered", "segment.left", "badge.earned", "points.changed", "coupon.issued",
        "journey.started", "journey.finished", "user.updated", "draw.committed", "draw.closed", "survey.sent",
    }
)  # fmt: skip
NO_OLDER: Mapping[Any, Any] = MappingProxyType({})


def assemble(
    program: str,
    digest: str,
    env: Env,
    playbooks: list[Playbook],
    catalog: Catalog,
    book: HistoryBook,
    channels: Mapping[str, ChannelInfo],
    policies: Iterable[Policy],
    watched: set[str],
    activity: frozenset[str],
    act_within: int,
    control: Control | None = None,
    *,
    links: Links | None = None,
    kept: Mapping[tuple[str, str], Playbook] = NO_OLDER,
    lost: Mapping[tuple[str, str], str] = NO_OLDER,
    archived: Iterable[Playbook] = (),
    statuses: Mapping[str, str] = NO_OLDER,
) -> Plan:
    """The plan of a valid program; ``kept`` and the others as in Plan."""
    ordered = sorted(playbooks, key=_by_priority)
    walked = [*ordered, *kept.values()]  # those who may be on the way; new ones begin on ``ordered`` alone
    ranks = {place: rank for rank, place in enumerate(sorted({_by_priority(playbook) for playbook in walked}))}
    for playbook in walked:
        playbook.rank = ranks[_by_priority(playbook)]
        playbook.exit_events |= {_MOVED[spec.moves] for spec in playbook.exits if spec.moves is not None}
    _fill(env, catalog, watched)
    entered = [playbook for playbook in ordered if not playbook.paused]
    timed = tuple((playbook, trigger) for playbook in entered for trigger in playbook.triggers if trigger.own)
    clocks = {clock[0]: clock[1] for _, trigger in timed if (clock := trigger.clock()) is not None}
    heard = _heard(walked)
    types = set(book.by_type) | set(FOLDS) | NOT_THEIR_DOING | heard | activity
    types |= {type_ for it in clocks.values() for type_ in it}
    exact = any(playbook.always for playbook in walked)
    watching = bool(catalog.ladders or watched)
    listeners = _listeners(entered)
    default = _dispatch("", listeners, timed, clocks, book, activity, watching, exact)
    windows = [cap.reach for policy in policies for cap in policy.caps]
    timers = tuple(sieve(playbook, (trigger,), timed=True) for playbook, trigger in timed)
    retimed = frozenset({"zone"}).union(*(trigger.traits or () for _, trigger in timed))
    dispatch = {
        type_: _dispatch(type_, listeners, timed, clocks, book, activity, watching, exact) for type_ in sorted(types)
    }
    return Plan(
        program=program,
        digest=digest,
        env=env,
        playbooks=tuple(ordered),
        dispatch=dispatch,
        default=default,
        ladders=tuple(catalog.ladders),
        watched=tuple(catalog.segments[name] for name in sorted(watched)),
        timers=timers,
        channels=channels,
        badges=frozenset(catalog.badges),
        groups=frozenset(catalog.groups),
        accounts=frozenset(catalog.accounts or ["main"]),
        pools=catalog.pools,
        rooms=catalog.groups,
        calendars=catalog.calendars,
        admitting=tuple(trigger for _, trigger in timed if isinstance(trigger, Standing)),
        retimed=retimed,
        cap_window=max(windows, default=0),
        act_within=act_within,
        told=_TOLD & (heard | set(book.by_type)),
        by_id={playbook.id: playbook for playbook in ordered},
        watching=watching,
        exact=exact,
        clocks=clocks,
        schedules=tuple(_schedules(entered)),
        control=control,
        links=links,
        kept=kept,
        lost=lost,
        archived={playbook.id: playbook for playbook in archived},
        statuses=statuses,
    )


def _schedules(playbooks: list[Playbook]) -> Iterator[Scheduled]:
    """Who is entered at slots: by rank, then as written."""
    for playbook in playbooks:
        triggers = [trigger for trigger in playbook.triggers if isinstance(trigger, Slotted)]
        for trigger in triggers if playbook.status in ("live", "shadow") else ():
            yield Scheduled(playbook, trigger, f"{playbook.id}/{trigger.id}", alone=len(triggers) == 1)


def _by_priority(playbook: Playbook) -> tuple[int, str]:
    return -playbook.priority, playbook.id


def _fill(env: Env, catalog: Catalog, watched: set[str]) -> None:
    """Give the environment what conditions ask it for at run time."""
    for name, segment in catalog.segments.items():
        env.segments[name] = membership(segment)
        if segment.test is not None and segment.test.next_change is not None:
            env.segment_changes[name] = segment.test.next_change
    for ladder in catalog.ladders:
        if ladder.metric.next_change is not None:
            env.changes.append(ladder.metric.next_change)
        env.changes.append(grace_change(ladder))
    for name in sorted(watched):
        if name in env.segment_changes:
            env.changes.append(env.segment_changes[name])


def _heard(playbooks: list[Playbook]) -> set[str]:
    """Every event type some part of some playbook listens to."""
    heard: set[str] = set()
    for playbook in playbooks:
        for trigger in playbook.triggers:
            heard |= trigger.listens() or frozenset()
        if playbook.goal is not None:
            heard |= playbook.goal.events
        heard |= playbook.exit_events
        for node in playbook.nodes.values():
            heard |= node.action.hears()
    return heard


Listeners = Mapping[str | None, list[tuple[int, int, Playbook]]]
"""Event type -> (rank, place of the trigger, playbook) of those that listen to it; None: those that hear every type."""


def _listeners(playbooks: list[Playbook]) -> Listeners:
    found: defaultdict[str | None, list[tuple[int, int, Playbook]]] = defaultdict(list)
    for rank, playbook in enumerate(playbooks):
        for place, trigger in enumerate(playbook.triggers):
            heard = trigger.tells if trigger.own else trigger.listens()
            for type_ in (None,) if heard is None else heard:
                found[type_].append((rank, place, playbook))
    return found


def _sieves(type_: str, listeners: Listeners) -> tuple[Sieve, ...]:
    """Those who may be entered at a type, by rank, each with the triggers that hear it."""
    entered: dict[str, tuple[Playbook, list[Trigger]]] = {}
    heard = [*listeners.get(type_, ()), *listeners.get(None, ())]
    for _, place, playbook in sorted(heard, key=lambda it: it[:2]):
        entered.setdefault(playbook.id, (playbook, []))[1].append(playbook.triggers[place])
    return tuple(sieve(playbook, tuple(triggers)) for playbook, triggers in entered.values())


def _dispatch(
    type_: str,
    listeners: Listeners,
    timed: tuple[tuple[Playbook, Trigger], ...],
    clocks: Mapping[str, frozenset[str]],
    book: HistoryBook,
    activity: frozenset[str],
    watching: bool,
    exact: bool,
) -> Dispatch:
    active = type_ in activity if activity else type_ not in NOT_THEIR_DOING
    paced = [t for _, t in timed if t.traits is None]
    pushed = [t for t in paced if (type_ in clock[1] if (clock := t.clock()) is not None else active)]
    shortest = [span for trigger in pushed if (span := trigger.shortest()) is not None]
    return Dispatch(
        series=book.of(type_),
        sieves=_sieves(type_, listeners),
        short=FOLDS.get(type_) in (None, traits) and not (watching or exact) and len(shortest) == len(pushed),
        local=any(isinstance(series, Streak | Hours) for series in book.of(type_)),
        fold=FOLDS.get(type_),
        fold_internal=type_ not in EXTERNAL_ONLY,
        activity=active,
        clocks=tuple(name for name, types in clocks.items() if type_ in types),
        idle=min(shortest, default=None),
        retimes=len(shortest) < len(pushed),
    )


def digest_of(parts: Iterable[tuple[str, bytes]]) -> str:
    """Content hash of everything a plan is made from."""
    whole = sha256()
    for name, data in sorted(parts):
        whole.update(f"{name}\0{len(data)}\0".encode())
        whole.update(data)
    return whole.hexdigest()
