"""The compiled plan: what a program means, as values the core can run.

Rule 1: everything that can be known before the first event is found out here, not per event (which playbooks listen to
a type, which history a condition needs, where a step goes on).
Rule 2: a plan carries objects (kinds, conditions, templates); the core never imports a kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from engine.core import localtime
from engine.core.calendars import Calendar
from engine.core.fold import Fold
from engine.core.fuse import Following, Quick, following, nobody, quick, slow
from engine.core.fuse_wakes import QuickWake, quick_wake, slow_wake
from engine.core.groups import RoleInfo, group_of
from engine.core.kinds import Action, Trigger
from engine.core.links import Links
from engine.core.model import Event, GoalWatch, Journey, State
from engine.core.moment import Condition, Env, Moment, Value, zone_of_groups
from engine.core.points import Account, EarnRule
from engine.core.policies import Cap, Control, Freeze, Quiet, Quota
from engine.core.referrals import Referral
from engine.core.subjects import GROUP, PROGRAM, PROGRAM_KIND, SIGN, USER, kind_of, of_group

if TYPE_CHECKING:
    from engine.core.existing import Standing
    from engine.core.slots import Scheduled


@dataclass(frozen=True, kw_only=True)
class Span:
    """A length of time: elapsed microseconds, or N local days (to a wall time)."""

    text: str  #: as written
    elapsed: int = 0  #: microseconds; used when ``days`` is None
    days: int | None = None  #: local days
    at: str | None = None  #: wall time ``HH:MM`` of that day

    def after(self, instant: int, zone: str) -> int:
        """The instant this long after ``instant`` for a subject in ``zone``."""
        if self.days is None:
            return instant + self.elapsed
        return localtime.add_days(instant, self.days, self.at, localtime.zone(zone) or localtime.UTC)


@dataclass(frozen=True, kw_only=True)
class Limit:
    """How many entries a playbook takes in a window of the program's clock."""

    count: int
    per: str  #: hour | day | run


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Who may enter, and how often."""

    mode: str  #: once | single | restart | queue | parallel
    key: Value | None = None  #: one journey a (playbook, subject, key)
    again_after: Span | None = None  #: counted from the end of the last journey, inclusive
    limit: Limit | None = None  #: None: unlimited
    on_limit: str = "wait"  #: wait | drop
    inside: tuple[str, ...] = ()  #: must be in one of these segments
    outside: tuple[str, ...] = ()  #: must be in none of these

    @property
    def segments(self) -> bool:
        """Does membership of a segment matter?"""
        return bool(self.inside or self.outside)


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What counts as success of one entry."""

    events: frozenset[str]
    test: Condition | None
    within: Span
    then: str  #: exit | continue
    value: Value | None


@dataclass(frozen=True, kw_only=True)
class Exit:
    """What ends a journey early."""

    events: frozenset[str] = frozenset()
    test: Condition | None = None
    segment: str | None = None
    moves: str | None = None  #: enters | leaves, for ``segment``


@dataclass(frozen=True, kw_only=True)
class Holdout:
    """The share of subjects kept as control of one playbook."""

    percent: int  #: in hundredths of a percent: 0..10000
    salt: str


@dataclass(frozen=True, kw_only=True)
class Policy:
    """The safety belts of one playbook's messages."""

    name: str
    consent: Mapping[str, str]  #: purpose -> none | required | opt_out
    caps: tuple[Cap, ...] = ()
    quiet: Quiet | None = None  #: None: never quiet
    freeze: Freeze | None = None


@dataclass(kw_only=True, eq=False)
class Node:
    """One step in place: its kind, its guard, and where it goes on."""

    id: str
    action: Action
    guard: Condition | None = None
    on_error: str = "continue"  #: continue | stop | steps
    rescue: Block | None = None  #: for on_error: steps
    next: Node | None = None  #: set by ``link``
    where: str = ""  #: file:line:col
    path: str = ""  #: place in the playbook, for traces
    used: bool = False  #: something in the playbook reads ``steps.<id>``, or a template it sends
    told: bool = False  #: a message, or what another step hands on, is made of ``steps.<id>``
    within: tuple[str, ...] = ()  #: the ``repeat`` steps around it, outermost first; set by ``link``


@dataclass(kw_only=True, eq=False)
class Block:
    """A list of steps inside a playbook."""

    nodes: list[Node] = field(default_factory=list)

    @property
    def first(self) -> Node | None:
        return self.nodes[0] if self.nodes else None

    def link(self, after: Node | None, within: tuple[str, ...] = ()) -> None:
        """Set where each step goes on; the last one goes on at ``after``, that of a ``repeat`` at the repeat itself."""
        following = after
        for here in reversed(self.nodes):
            here.next, here.within = following, within
            for block in here.action.blocks():
                if here.action.rounds:
                    block.link(here, (*within, here.id))
                else:
                    block.link(following, within)
            if here.rescue is not None:
                here.rescue.link(following, within)
            following = here

    def walk(self) -> list[Node]:
        """All steps in order of writing, nested ones included."""
        out: list[Node] = []
        for node in self.nodes:
            out.append(node)
            for block in node.action.blocks():
                out.extend(block.walk())
            if node.rescue is not None:
                out.extend(node.rescue.walk())
        return out


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What a playbook means, and what it was made from."""

    version: str  #: short content hash of its meaning: playbook and templates
    sources: bytes  #: packed, for the store: all that is needed to compile it again


@dataclass(kw_only=True, eq=False)
class Playbook:
    """One compiled playbook."""

    id: str
    title: str
    status: str  #: live | shadow | paused (the others are not in a running plan)
    priority: int
    triggers: tuple[Trigger, ...]
    when: tuple[Condition, ...]
    entry: Entry
    goal: Goal | None
    exits: tuple[Exit, ...]
    holdout: Holdout | None
    policy: Policy
    variables: Mapping[str, Any]
    body: Block
    subject: str = USER  #: what it is about: user | group | program
    rank: int = 0  #: place in the order (priority descending, id)
    nodes: dict[str, Node] = field(default_factory=dict)  #: step id -> step
    exit_events: frozenset[str] = frozenset()  #: types any exit listens to
    always: bool = False  #: an exit must be judged at every event and wake-up
    on_change: str = "finish"  #: finish | move | cancel: what a new version means for those on an older one
    migrate: Mapping[str, str] = field(default_factory=dict)  #: step of an older version -> keep | cancel | own step
    places: Mapping[str, str] = field(default_factory=dict)  #: key of the file -> file:line:col
    identify: Callable[[], Identity] | None = None  #: finds ``identity`` out; asked once, and not by ``validate``

    @cached_property
    def identity(self) -> Identity:
        """Its version and sources."""
        return Identity(version="", sources=b"") if self.identify is None else self.identify()

    @cached_property
    def version(self) -> str:
        """Short content hash of its meaning; one text all its journeys share."""
        return self.identity.version

    @property
    def paused(self) -> bool:
        """Its journeys take no step for now."""
        return self.status == "paused"


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """A tier ladder: levels over a metric."""

    name: str
    metric: Value
    levels: tuple[tuple[str, Any], ...]  #: (level, threshold), ascending
    grace: Span
    keeps: Mapping[str, Any] = field(default_factory=dict)  #: level -> lower threshold at which it is kept

    def level(self, metric: Any) -> str | None:
        """The highest level whose threshold is reached; None below the lowest or without a metric."""
        found = None
        if metric is None:
            return None
        for name, threshold in self.levels:
            if metric < threshold:
                break
            found = name
        return found

    def settled(self, metric: Any, here: str | None) -> str | None:
        """Where somebody belongs who stands at ``here``: as ``level``, but a level is kept down to its ``keep``."""
        found = self.level(metric)
        if not self.keeps or metric is None:
            return found
        names = [name for name, _ in self.levels]
        for name in reversed(names[self.rank(found) + 1 : self.rank(here) + 1]):
            if name in self.keeps and metric >= self.keeps[name]:
                return name
        return found

    def rank(self, level: str | None) -> int:
        """Place of a level, -1 for none."""
        for place, (name, _) in enumerate(self.levels):
            if name == level:
                return place
        return -1


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A named audience."""

    name: str
    test: Condition | None = None
    members: frozenset[str] | None = None  #: a static list
    selection: str | None = None  #: the set of the ``select`` steps of this name
    subject: str = USER  #: of what: user | group


@dataclass(frozen=True, kw_only=True)
class ChannelInfo:
    """What deciding needs to know of a channel."""

    name: str
    via: str  #: kind of the channel
    address: str | None  #: trait that holds the address; None: needs none
    receipts: Mapping[str, Any] | None = None  #: how reports of its provider are read; None: there are none
    quota: Quota | None = None  #: how many messages a user it takes at most; None: any number


Test = tuple[Callable[[Moment], bool], str | None, Mapping[str, Any]]
"""(a bare test, its source where it has one, the constants that source names)."""


@dataclass(frozen=True, slots=True, eq=False)
class Sieve:
    """A playbook that may be entered at an event type, and all that must hold for it, as bare tests.

    There are no tests when there is nothing to test, or when there are several triggers and each must be asked in turn.
    """

    playbook: Playbook
    triggers: tuple[Trigger, ...]
    tests: tuple[Test, ...]
    trigger: str
    variables: Mapping[str, Any]
    needs: bool  #: a test asks for ``trigger.id`` or ``vars``
    place: str  #: key of ``State.ends`` and ``State.entered`` for an entry without ``key``; "" when it has one
    rest_time: int | None  #: ``again_after`` in elapsed microseconds, for such an entry
    single: bool  #: the tests are all there is to judge of trigger, ``if`` and ``when``


def sieve(playbook: Playbook, triggers: tuple[Trigger, ...], *, timed: bool = False) -> Sieve:
    """The sieve of a playbook for the triggers that listen; ``timed``: for a wake-up, which no event fires."""
    trigger = triggers[0]
    conditions = [*([trigger.condition] if trigger.condition is not None else []), *playbook.when]
    tests: list[Test] = [(condition.test, condition.body, condition.names) for condition in conditions]
    if type(trigger).fires is not Trigger.fires and not timed:
        body, names = trigger.bare() or (None, {})
        tests.insert(0, (trigger.fires, body, names))
    if len(triggers) > 1:
        tests = []
    needs = bool(playbook.variables) or any("trigger." in condition.text for condition in conditions)
    entry = playbook.entry
    place = f"{playbook.id}|" if entry.key is None else ""
    pause = entry.again_after
    rest_time = pause.elapsed if pause is not None and pause.days is None and place else None
    single = len(triggers) == 1
    return Sieve(playbook, triggers, tuple(tests), trigger.id, playbook.variables, needs, place, rest_time, single)


@dataclass(kw_only=True, eq=False)
class Dispatch:
    """Everything that can happen at one event type, found out beforehand."""

    series: tuple[Any, ...] = ()  #: history to update
    sieves: tuple[Sieve, ...] = ()  #: playbooks that may be entered at it, in order of rank
    short: bool = False  #: there is a short way: nothing is folded but traits, no ladder or segment is watched
    way: Quick = slow  #: the short way, see ``core/fuse.py``
    following: Following = nobody  #: the tests of the sieves, from one of them on
    local: bool = False  #: some history of it goes by local days
    fold: Fold | None = None  #: reserved type: traits, consents, memberships ...
    fold_internal: bool = True  #: engine-made events of this type are folded too
    activity: bool = True  #: an external event of this type moves ``user.last_active_at``
    clocks: tuple[str, ...] = ()  #: activity clocks this type pushes on
    idle: int | None = None  #: shortest inactivity this type re-arms, microseconds
    rules: tuple[tuple[Account, EarnRule, bool], ...] = ()
    """What it does to points: (account, rule, whether it takes back what the rule gave)."""
    retimes: bool = False  #: it pushes a clock whose deadline is a calendar day, so ``wake_at`` is found anew


@dataclass(kw_only=True, eq=False)
class Plan:
    """A whole program, compiled."""

    program: str
    digest: str  #: content hash of everything the plan was made from
    env: Env
    playbooks: tuple[Playbook, ...]  #: in order of rank
    dispatch: Mapping[str, Dispatch]
    default: Dispatch  #: for types nothing names
    ladders: tuple[Ladder, ...]
    watched: tuple[Segment, ...]  #: segments somebody waits to be entered or left
    timers: tuple[Sieve, ...]  #: playbooks with a trigger that fires at wake-ups, one entry a trigger
    channels: Mapping[str, ChannelInfo]
    badges: frozenset[str]
    repeating: frozenset[str]  #: badges that may be earned again
    groups: frozenset[str]
    accounts: Mapping[str, Account]  #: points accounts, by name
    pools: Mapping[str, Any]  #: coupon pools, see core/scarce.py
    rooms: Mapping[str, Any]  #: groups with rooms, see core/scarce.py
    rewards: Mapping[str, Any]  #: what points buy, see core/rewards.py
    cap_window: int  #: longest window of any cap or quota, microseconds; 0: there are none
    act_within: int  #: age up to which a late event still acts, microseconds
    told: frozenset[str]  #: types of engine-made events somebody listens to
    by_id: Mapping[str, Playbook] = field(default_factory=dict)
    watching: bool = False  #: ladders or watched segments exist
    exact: bool = False  #: an exit is judged at every wake-up, so there must be none too many
    clocks: Mapping[str, frozenset[str]] = field(default_factory=dict)  #: activity clock -> types
    wake: QuickWake = slow_wake  #: the short way of wake-ups, see ``core/fuse_wakes.py``
    fused: bool = False  #: the short ways are written out
    schedules: tuple[Scheduled, ...] = ()  #: playbooks entered at slots, in the order in which they go at one instant
    calendars: Mapping[str, Calendar] = field(default_factory=dict)  #: calendars of the catalog, by name
    admitting: tuple[Standing, ...] = ()  #: triggers with ``existing: enter`` of a segment
    retimed: frozenset[str] = frozenset({"zone"})  #: traits that timers hang on
    control: Control | None = None  #: users some purposes never reach
    referrals: Mapping[str, Referral] = field(default_factory=dict)  #: referral programmes of the catalog, by name
    links: Links | None = None  #: where signed links in messages lead; None: there are none
    kept: Mapping[tuple[str, str], Playbook] = field(default_factory=dict)
    """(playbook, version) -> an older version somebody may still be on; version "": begun before versions were kept."""
    statuses: Mapping[str, str] = field(default_factory=dict)  #: playbook -> status, also of those not in the plan
    archived: Mapping[str, Playbook] = field(default_factory=dict)  #: those whose journeys end
    lost: Mapping[tuple[str, str], str] = field(default_factory=dict)  #: versions that cannot be compiled -> why
    roles: Mapping[str, RoleInfo] = field(default_factory=dict)  #: roles of the catalog
    parts: Mapping[str, Plan] = field(default_factory=dict)
    """What groups and the program are decided by, as far as the program has anything of them: the same records, with
    their own dispatch, timers, segments and history. The plan itself is that of users, but ``playbooks``, ``by_id``
    and ``schedules`` are of all; those of a part are its own."""
    told_users: frozenset[str] = frozenset()  #: ``told`` of users: what a group or the program may tell them
    metrics: tuple[Any, ...] = ()  #: metrics of the catalog, see core/metrics.py
    turnings: tuple[Any, ...] = ()  #: the turns at which their figures are taken, the shortest period first
    scored: tuple[str, ...] = ()  #: the scores its subjects have
    heard: frozenset[str] | None = frozenset()  #: event types the program as a subject hears; None: every type

    @property
    def grouped(self) -> bool:
        """Are groups subjects in this program?"""
        return GROUP in self.parts

    def part(self, subject: str) -> Plan:
        """What a subject is decided by."""
        return self.parts.get(kind_of(subject), self) if subject[:1] == SIGN else self

    def others(self, event: Event) -> list[str]:
        """The subjects an event is decided for after its user: its group, then the program."""
        found = []
        if GROUP in self.parts and (group := group_of(event)) is not None:
            found.append(of_group(group))
        if PROGRAM_KIND in self.parts and event.user != PROGRAM and (self.heard is None or event.type in self.heard):
            found.append(PROGRAM)
        return found

    @cached_property
    def reminds(self) -> dict[str, int]:
        """Account -> microseconds before its points lapse at which somebody hears of it."""
        listened = "points.expiring" in self.told
        return {it.name: it.remind for it in self.accounts.values() if listened and it.remind is not None}

    def lapses(self, state: State, account: str, instant: int) -> int | None:
        """When points a subject is given at an instant lapse; None: never."""
        found = self.accounts.get(account)
        return None if found is None or found.expires is None else found.lapses(instant, zone_of(state, self.env))

    def book(self, account: str) -> str:
        """The book of the ledger in which units of an account move."""
        found = self.accounts.get(account)
        return "points" if found is None else found.book

    @cached_property
    def standing(self) -> tuple[list[str], frozenset[str]]:
        """Names of the watched segments, and of the ladders, a subject stands on once it was placed."""
        return [it.name for it in self.watched], frozenset(it.name for it in self.ladders)

    def fuse(self) -> None:
        """Write the short ways out: done when the plan is first put to work, for most compiled ones never are."""
        if self.fused:
            return
        for one in (self.default, *self.dispatch.values()):
            one.way = quick(one, self.act_within, lambda state: zone_of(state, self.env), self.retimed)
            one.following = following(one.sieves)
        lapses = not self.told.isdisjoint(("coupon.expired", "coupon.expiring"))
        self.wake = slow_wake if self.watching else quick_wake(self.timers, lapses=lapses)
        self.fused = True

    def of(self, one: Journey | GoalWatch) -> Playbook | None:
        """The version a journey or goal runs on; what has yet to begin will begin on the newest.

        None when there is no such version in the plan: then it stands still.
        """
        newest, version = self.by_id.get(one.playbook), one.version
        if newest is not None and version == newest.version:
            return newest
        if one.__class__ is Journey and one.at is None and one.waiting is not None:
            return newest
        older = self.kept.get((one.playbook, version))
        return newest if older is None and not version else older

    @property
    def limits(self) -> Mapping[str, Limit]:
        return {p.id: p.entry.limit for p in self.playbooks if p.entry.limit is not None}


def zone_known(state: State) -> bool:
    """Has the subject a valid zone of its own?"""
    return localtime.zone(state.traits.get("zone")) is not None


def zone_of(state: State, env: Env) -> str:
    """Zone for all local arithmetic of a subject: its own trait ``zone`` when valid, else its group's, else the
    program's."""
    own = state.traits.get("zone")
    if own.__class__ is str and localtime.zone(own) is not None:
        return str(own)
    return env.zone if not env.zones else zone_of_groups(state, env)
