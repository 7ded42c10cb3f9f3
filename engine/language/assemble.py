"""Puts compiled playbooks and catalog together into a Plan: what happens at which event type, found out beforehand."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256

from engine.core.couponing import EXPIRED, EXPIRING, MOVING
from engine.core.existing import Standing
from engine.core.fold import (
    EXTERNAL_ONLY,
    FOLDS,
    GROUP_FOLDS,
    NO_SIGN_OF_A_GROUP,
    NOT_THEIR_DOING,
    PROGRAM_FOLDS,
    Fold,
    traits,
)
from engine.core.history import HistoryBook, Streak
from engine.core.hours import Hours
from engine.core.kinds import Trigger
from engine.core.links import Links
from engine.core.moment import Env
from engine.core.periods import PERIODS
from engine.core.plan import ChannelInfo, Dispatch, Ladder, Plan, Playbook, Policy, Segment, Sieve, sieve
from engine.core.points import Account, EarnRule
from engine.core.policies import Control
from engine.core.slots import Scheduled, Slotted
from engine.core.subjects import GROUP, PROGRAM_KIND, USER
from engine.core.tasks import DONE as TASK_DONE
from engine.core.turns import turning
from engine.core.watch import grace_change
from engine.language.catalog import Catalog, membership

_MOVED = {"enters": "segment.entered", "leaves": "segment.left"}
_TOLD = frozenset(
    {
        "tier.changed", "segment.entered", "segment.left", "badge.earned", "points.changed",
        "points.expired", "points.expiring", "coupon.issued", EXPIRED, EXPIRING,
        "journey.started", "journey.finished", "user.updated", "group.updated", "draw.committed", "draw.closed",
        "survey.sent", "role.expiring", "role.revoked",
    }
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What the plans of all kinds of subjects share.

    Parameters
    ----------
    program, digest: the name, and the content hash of everything the plan is made from.
    env: of users; the others have one beside it.
    books: kind of subject -> the history its conditions ask for.
    watched: segments somebody waits to be entered or left.
    kept, lost, archived, statuses: as in Plan.
    """

    program: str
    digest: str
    env: Env
    catalog: Catalog
    books: Mapping[str, HistoryBook]
    channels: Mapping[str, ChannelInfo]
    policies: Iterable[Policy]
    watched: set[str]
    activity: frozenset[str]
    act_within: int
    control: Control | None = None
    links: Links | None = None
    kept: Mapping[tuple[str, str], Playbook] = field(default_factory=dict)
    lost: Mapping[tuple[str, str], str] = field(default_factory=dict)
    archived: Mapping[str, Playbook] = field(default_factory=dict)
    statuses: Mapping[str, str] = field(default_factory=dict)


def assemble(ground: Ground, playbooks: list[Playbook]) -> Plan:
    """The plan of a valid program."""
    ordered = sorted(playbooks, key=_by_priority)
    walked = [*ordered, *ground.kept.values()]  # those who may be on the way; new ones begin on ``ordered`` alone
    ranks = {place: rank for rank, place in enumerate(sorted({_by_priority(playbook) for playbook in walked}))}
    for playbook in walked:
        playbook.rank = ranks[_by_priority(playbook)]
        playbook.exit_events |= {_MOVED[spec.moves] for spec in playbook.exits if spec.moves is not None}
    parts: dict[str, Plan] = {}
    kinds = {playbook.subject for playbook in walked} | _named(ground)
    heard: frozenset[str] | None = frozenset()
    if PROGRAM_KIND in kinds:
        parts[PROGRAM_KIND] = _part(ground, PROGRAM_KIND, ordered, walked, frozenset())
        heard = _of_program(parts[PROGRAM_KIND], walked, ground.books[PROGRAM_KIND])
    if GROUP in kinds:
        parts[GROUP] = _part(ground, GROUP, ordered, walked, heard)
    plan = _part(ground, USER, ordered, walked, heard)
    plan.playbooks = tuple(ordered)
    plan.metrics = tuple(ground.catalog.metrics.values())
    plan.turnings = tuple(turning(per) for per in PERIODS if any(it.per == per for it in plan.metrics))
    plan.schedules = tuple(_schedules([playbook for playbook in ordered if not playbook.paused]))
    for one in (plan, *parts.values()):
        one.parts, one.heard, one.told_users = parts, heard, plan.told
        one.by_id = {playbook.id: playbook for playbook in ordered}
    return plan


def _named(ground: Ground) -> set[str]:
    """Kinds of subjects that somebody speaks of who is none of them: segments and roles of groups."""
    catalog = ground.catalog
    found = {segment.subject for segment in catalog.segments.values()}
    found |= {metric.subject for metric in catalog.metrics.values()}
    return found | ({GROUP} if catalog.roles or catalog.spoken else set())


def _of_program(plan: Plan, walked: list[Playbook], book: HistoryBook) -> frozenset[str] | None:
    """The event types the program hears as a subject: what its playbooks name."""
    own = [playbook for playbook in walked if playbook.subject == PROGRAM_KIND]
    if any(trigger.listens() is None for playbook in own for trigger in playbook.triggers):
        return None
    return frozenset(_heard(own)).union(book.by_type, *plan.clocks.values(), (TASK_DONE,))


def _part(
    ground: Ground, kind: str, playbooks: list[Playbook], walked: list[Playbook], heard: frozenset[str] | None
) -> Plan:
    """What subjects of one kind are decided by; ``heard``: what of theirs the program hears, too."""
    catalog, book = ground.catalog, ground.books[kind]
    env = ground.env if kind == USER else replace(ground.env, segments={}, segment_changes={}, changes=[], ladder=None)
    ordered = [playbook for playbook in playbooks if playbook.subject == kind]
    mine = [playbook for playbook in walked if playbook.subject == kind]
    segments = {name: it for name, it in catalog.segments.items() if it.subject == kind}
    watched = ground.watched & segments.keys()
    ladders = catalog.ladders if kind == USER else []
    _fill(env, segments, ladders, watched)
    entered = [playbook for playbook in ordered if not playbook.paused]
    timed = tuple((playbook, trigger) for playbook in entered for trigger in playbook.triggers if trigger.own)
    clocks = {clock[0]: clock[1] for _, trigger in timed if (clock := trigger.clock()) is not None}
    named = _heard(mine)
    exact = any(playbook.always for playbook in mine)
    watching = bool(ladders or watched)
    accounts = catalog.accounts or {"main": Account(name="main")}
    rules = _rules(accounts.values()) if kind == USER else {}
    folds = _folds(kind, coupons=bool(catalog.pools))
    world = _World(_listeners(entered), timed, clocks, book, ground.activity, watching, exact, kind, folds, rules)
    types = {*book.by_type, *folds, *NOT_THEIR_DOING, *named, *ground.activity, *rules}
    types |= {type_ for it in clocks.values() for type_ in it}
    windows = [cap.reach for policy in ground.policies for cap in policy.caps]
    windows += [channel.quota.whole.reach for channel in ground.channels.values() if channel.quota is not None]
    told = _TOLD if heard is None else _TOLD & (named | book.by_type.keys() | heard)
    return Plan(
        program=ground.program,
        digest=ground.digest,
        env=env,
        playbooks=tuple(ordered),
        dispatch={type_: world.dispatch(type_) for type_ in sorted(types)},
        default=world.dispatch(""),
        ladders=tuple(ladders),
        watched=tuple(segments[name] for name in sorted(watched)),
        timers=tuple(sieve(playbook, (trigger,), timed=True) for playbook, trigger in timed),
        channels=ground.channels,
        badges=frozenset(catalog.badges),
        repeating=frozenset(catalog.repeating),
        groups=frozenset(catalog.groups),
        accounts=accounts,
        pools=catalog.pools,
        rooms=catalog.groups,
        referrals=catalog.referrals,
        rewards=catalog.rewards,
        calendars=catalog.calendars,
        admitting=tuple(trigger for _, trigger in timed if isinstance(trigger, Standing)),
        retimed=frozenset({"zone"}).union(*(trigger.traits or () for _, trigger in timed)),
        cap_window=max(windows, default=0),
        act_within=ground.act_within,
        told=told,
        watching=watching,
        exact=exact,
        clocks=clocks,
        control=ground.control,
        links=ground.links,
        kept=ground.kept,
        lost=ground.lost,
        archived=ground.archived,
        statuses=ground.statuses,
        roles=catalog.roles,
        scored=tuple(name for name, it in sorted(catalog.metrics.items()) if it.kind == "score" and it.subject == kind),
    )


def _rules(accounts: Iterable[Account]) -> dict[str, list[tuple[Account, EarnRule, bool]]]:
    """Event type -> what it does to points, in the order of the catalog."""
    found: dict[str, list[tuple[Account, EarnRule, bool]]] = {}
    for account in accounts:
        for rule in account.rules:
            found.setdefault(rule.event, []).append((account, rule, False))
            if rule.undone_by is not None:
                found.setdefault(rule.undone_by, []).append((account, rule, True))
    return found


def _folds(kind: str, *, coupons: bool) -> Mapping[str, Fold]:
    """What reserved events do to the state of a subject of a kind."""
    folds = {USER: FOLDS, GROUP: GROUP_FOLDS, PROGRAM_KIND: PROGRAM_FOLDS}[kind]
    return folds if coupons else {type_: it for type_, it in folds.items() if type_ not in MOVING}


def _schedules(playbooks: list[Playbook]) -> Iterator[Scheduled]:
    """Who is entered at slots: by rank, then as written."""
    for playbook in playbooks:
        triggers = [trigger for trigger in playbook.triggers if isinstance(trigger, Slotted)]
        for trigger in triggers if playbook.status in ("live", "shadow") else ():
            yield Scheduled(playbook, trigger, f"{playbook.id}/{trigger.id}", alone=len(triggers) == 1)


def _by_priority(playbook: Playbook) -> tuple[int, str]:
    return -playbook.priority, playbook.id


def _fill(env: Env, segments: Mapping[str, Segment], ladders: Iterable[Ladder], watched: set[str]) -> None:
    """Give the environment what conditions ask it for at run time."""
    for name, segment in segments.items():
        env.segments[name] = membership(segment)
        if segment.test is not None and segment.test.next_change is not None:
            env.segment_changes[name] = segment.test.next_change
    for ladder in ladders:
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


@dataclass(frozen=True)
class _World:
    """What makes the dispatch of the subjects of one kind."""

    listeners: Listeners
    timed: tuple[tuple[Playbook, Trigger], ...]
    clocks: Mapping[str, frozenset[str]]
    book: HistoryBook
    activity: frozenset[str]
    watching: bool
    exact: bool
    kind: str
    folds: Mapping[str, Fold]
    rules: Mapping[str, list[tuple[Account, EarnRule, bool]]]  #: event type -> what it does to points

    def dispatch(self, type_: str) -> Dispatch:
        """Everything that can happen at one event type."""
        book, folds, silent = self.book, self.folds, NOT_THEIR_DOING
        rules = tuple(self.rules.get(type_, ()))
        if self.kind == GROUP:
            silent |= NO_SIGN_OF_A_GROUP
        active = type_ in self.activity if self.activity else type_ not in silent
        paced = [t for _, t in self.timed if t.traits is None]
        pushed = [t for t in paced if (type_ in clock[1] if (clock := t.clock()) is not None else active)]
        shortest = [span for trigger in pushed if (span := trigger.shortest()) is not None]
        rules = tuple(self.rules.get(type_, ()))
        simple = folds.get(type_) in (None, traits) and not (self.watching or self.exact or rules)
        return Dispatch(
            series=book.of(type_),
            sieves=_sieves(type_, self.listeners),
            short=simple and len(shortest) == len(pushed),
            rules=rules,
            local=any(isinstance(series, Streak | Hours) for series in book.of(type_)),
            fold=folds.get(type_),
            fold_internal=type_ not in EXTERNAL_ONLY,
            activity=active,
            clocks=tuple(name for name, types in self.clocks.items() if type_ in types),
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
