"""The records of the core: what goes in, what is kept, what comes out.

Rule 1: every instant is an ``int``: microseconds since 1970-01-01T00:00:00Z.
Rule 2: no number in here is a binary float; fractions are ``decimal.Decimal``.
Rule 3: records are plain values. Reading a clock, a file or a store happens elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from engine.core.spreads import Spread

    Instant = int
else:  # the door decodes records straight into events and puts the instant in the place of its text
    Instant = Spread = Any

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

NONE: Mapping[str, Any] = MappingProxyType({})
"""The empty mapping that subjects share."""

MAX_DEPTH = 16
MOST_EFFECTS = 1_000  # of one event, or wake-up, with all that follows from it at that instant, for whomever
"""How many times an event may beget another before the chain is cut."""


class Event(msgspec.Struct, gc=False):
    """Something that happened to one user (or one group)."""

    id: str  #: unique among all feeds; for events made by the engine the key of the effect that made them
    type: str  #: for example ``order.paid``
    time: Instant  #: when it happened, microseconds UTC
    user: str | None = None  #: the user it happened to
    group: str | None = None  #: the group it happened in
    data: dict[str, Any] = {}  #: the payload as it came; fractions as Decimal
    depth: int = 0  #: how many engine-made events stand between this one and an external one
    internal: bool = False  #: made by the engine (then it has a depth) or put in by a verb, not by a feed
    history: bool = False  #: updates state only, starts nothing (``ingest --history``)
    changes: dict[str, tuple[Any, Any]] | None = None  #: trait -> (before, after), for engine-made ``user.updated``
    maker: str | None = None  #: subject whose decision made it, of one that others hear beside it


class Grant(msgspec.Struct, array_like=True, frozen=True):
    """A coupon a journey was given and may have to give back: nothing that tells of it is known to have gone out."""

    code: str
    pool: str
    at: int  #: instant it was given
    key: str  #: effect key of the step that gave it
    said: tuple[str, ...] = ()  #: keys of what was decided since and may have told of it; none: it goes back at the end
    lost: tuple[str, ...] = ()  #: those of them that will never go out


class Waiting(msgspec.Struct, array_like=True):
    """What a journey waits for."""

    kind: str  #: time event (wait_for) answer (a reservation) slot (entry limit) queue rest (again_after) parked begin,
    #: and of a message: at quiet_hours cap
    until: int | None = None  #: when it goes on at the latest, microseconds UTC
    key: str | None = None
    """For "answer": key of the reservation; for "event": effect key of the step that waits for a word; for "slot": the
    place in the order of arrival."""
    since: int = 0  #: for "event": instant at which the step was reached; for "slot": of arrival
    event: Event | None = None  #: for "event": what was waited for came while the playbook was paused


class Reserved(msgspec.Struct, array_like=True, frozen=True):
    """A reward a journey has reserved and neither confirmed nor given back."""

    step: str  #: id of the step
    reward: str
    account: str
    points: int  #: what it costs
    key: str  #: effect key of the step
    parts: Sequence[tuple[int | None, int]] = ()  #: (when they would have lapsed, points) that were taken


class Journey(msgspec.Struct, array_like=True):
    """One subject's way through one playbook."""

    playbook: str  #: id of the playbook
    key: str  #: value of ``entry.key`` ("" without one)
    occurrence: str  #: id of the entering event, or ``wake:<instant>``, or ``slot:<instant>``; part of every effect key
    started: int  #: instant of entry
    at: str | None  #: id of the step it stands at; None before the first and after the last
    trigger: str  #: id of the trigger that fired
    entry: Event | None = None  #: the event that began it; None when a wake-up did
    held: str | None = None  #: None, or why external effects are held back ("holdout", "arm")
    waiting: Waiting | None = None  #: None while running
    results: dict[str, Any] = {}  #: step id -> what the step gave
    reached: int | None = None  #: when a message step was reached, for ``valid_for``
    rounds: dict[str, tuple[int, int]] | None = None  #: running ``repeat`` -> (round from 0, instant it began)
    queued: list[str] = []  #: keys of what it gave to the outbox: cancelled, as far as it is not sent, when it exits
    version: str = ""  #: of the playbook it runs on, set when it begins; "": begun before versions were kept
    passed: tuple[str, ...] = ()  #: steps it took on the version it came from: they are not taken again
    grants: tuple[Grant, ...] = ()  #: coupons nobody may have seen yet
    reserved: tuple[Reserved, ...] = ()  #: rewards it holds until they are confirmed


class GoalWatch(msgspec.Struct, array_like=True):
    """A goal still open for one entry; it outlives the steps of the journey."""

    playbook: str
    key: str
    occurrence: str
    started: int
    until: int  #: last instant at which the goal counts, inclusive
    held: bool  #: entry was held out, for treated against holdout
    entry: Event | None = None
    queued: list[str] = []  #: ``Journey.queued`` of a journey whose steps are over
    version: str = ""  #: as of its journey


class Hold(msgspec.Struct, array_like=True):
    """A seat kept for the subject until it joins or the hold ends."""

    group: str
    room: str
    until: int | None  #: instant at which the seat goes back; None: never
    key: str  #: effect key of the invite


class Task(msgspec.Struct, array_like=True):
    """Something a person has to do about the subject, until it is done, withdrawn or the subject is erased."""

    key: str  #: effect key of the step; what ``task.done`` names
    playbook: str
    step: str
    title: str
    given: int  #: instant it was given
    due: int | None  #: instant by which it should be done
    outcomes: list[str]  #: how it may end; empty: any ``task.done`` closes it
    escalate_at: int | None = None  #: instant at which somebody else is told; None: nobody, or told already
    to: str | None = None  #: who that is


class Lapse(msgspec.Struct, array_like=True, frozen=True):
    """An instant of a coupon's life that somebody wants to hear of."""

    at: int  #: when
    what: str  #: expiring | expired
    code: str
    key: str  #: effect key of the step that gave it


class Claim(msgspec.Struct, array_like=True, frozen=True):
    """Points a rule gave for one event, which wait to be settled or may be taken back."""

    key: str  #: of the entry that gave them
    rule: str  #: name of the rule
    match: str | None  #: what a reversal must name, such as the id of an order; None: nothing takes them back
    left: int  #: points given, less those taken back
    until: int | None  #: instant at which they lapse
    settles: int | None  #: instant from which they can be spent; None: they can
    open: int  #: last time of an event that may take them back


class Purse(msgspec.Struct, array_like=True, frozen=True):
    """What is known of a subject's points in one account beside the balance."""

    lots: Sequence[tuple[int, int]] = ()
    """(instant at which they lapse, points left), the oldest first; the rest of the balance never lapses."""
    claims: Sequence[Claim] = ()  #: what waits to be settled or may be taken back, in order of earning
    days: Sequence[tuple[int, dict[str, int]]] = ()
    """(local day, {rule: times it gave, "": points all rules gave}), where something limits them."""
    owed: Sequence[tuple[str, int]] = ()  #: (key of what was reversed, points not taken): paid by what comes next
    undone: Sequence[tuple[str, str, int, int]] = ()
    """(rule, match, points or -1 for all, last instant it counts) of reversals that came before what they reverse."""
    reminded: int = 0  #: lots that lapse up to here were told of

    def waiting(self) -> int:
        """Points that are not settled yet."""
        return sum(it.left for it in self.claims if it.settles is not None)
class Role(msgspec.Struct, array_like=True):
    """A role somebody holds in a group: a line of the state of the group, and one of the user's."""

    role: str  #: its name
    whom: str  #: in the state of a group: the user who holds it; in that of a user: the group
    since: int  #: instant at which it was granted
    until: int | None = None  #: instant at which its term ends; None: it has none
    told: bool = False  #: that it ends soon was told (core/terms.py)


class State(msgspec.Struct, omit_defaults=True):
    """All that is kept of one subject. ``step`` is handed it and hands it back.

    What most subjects never have is an empty constant they share (see ``new_state``): but for ``traits``, ``series``
    and ``memory`` everything is replaced, never changed in place.
    """

    id: str  #: the subject: the user id, or what core/subjects.py makes of a group and of the program
    wake_at: int | None = None  #: earliest instant to look at the subject again
    last_active: int | None = None  #: newest time of an activity event
    series: dict[str, Any] = {}  #: history by series key, see core/history.py
    memory: dict[str, Any] = {}  #: what a trigger remembers, by ``playbook/trigger id``
    journeys: Sequence[Journey] = ()  #: those still running
    goals: Sequence[GoalWatch] = ()
    holds: Sequence[Hold] = ()
    tasks: Sequence[Task] = ()  #: open tasks for people, in the order they were given

    clock: int = 0  #: newest instant at which this subject was looked at
    born: bool = False  #: ladders and segments were placed on the empty history
    created_at: int | None = None  #: time of the sign-up
    traits: dict[str, Any] = {}  #: user.* fields
    tags: list[str] = []
    badges: list[str] = []
    points: Mapping[str, int] = NONE  #: account -> balance: what can be spent
    purses: Mapping[str, Purse] = NONE  #: account -> what is known of its points, where they lapse or follow rules
    consents: Mapping[str, bool] = NONE  #: "channel/purpose" ("*" for any) -> granted
    tiers: dict[str, list[Any]] = {}  #: ladder -> [level or None, below since or None]
    segments: Sequence[str] = ()  #: watched segments the subject is in
    joined: Mapping[str, int] = NONE  #: group -> instant at which the user became a member
    selections: Sequence[str] = ()  #: sets of ``select`` steps the user was chosen for
    groups: list[str] = []  #: groups joined
    rewards: Mapping[str, int] = NONE  #: reward -> how many it has, or has reserved
    coupons: Mapping[str, list[int]] = NONE  #: pool -> instants of grants, for per-user limits
    ends: Mapping[str, int] = NONE  #: "playbook|key" -> end of the last journey, where entry needs it
    entered: Sequence[str] = ()  #: "playbook|key" of every once-entry
    slots: Sequence[tuple[int, str, str]] = ()  #: cap slots taken: (instant, purpose, channel)
    lapses: Sequence[Lapse] = ()  #: instants of its coupons that playbooks listen for
    members: int = 0  #: of a group: how many users joined it and did not leave; who they are stands in their states
    roles: Sequence[Role] = ()  #: roles held: in a group by whom, by a user in which groups


_newborn = State(id="").__copy__  # type: ignore[attr-defined]  # every Struct has it


def new_state(id: str) -> State:
    """The state of a subject nobody has heard of; what is only ever replaced is shared by all of them."""
    state: State = _newborn()
    state.id = id
    state.traits, state.series, state.memory = {}, {}, {}
    return state


class Spare(msgspec.Struct, array_like=True):
    """The same message as another channel would carry it, for when the one before refuses it for good."""

    channel: str
    to: str | None
    text: str | None
    subject: str | None = None
    html: bool = False  #: ``text`` is HTML
    fields: dict[str, str] | None = None  #: the other front matter: title, buttons ...


class Effect(msgspec.Struct):
    """One decided deed, done or not: a row of ``--effects`` (see cli.md for ``detail`` by kind)."""

    key: str  #: deterministic; the same decision always has the same key
    time: int  #: instant of the decision
    playbook: str | None
    step: str | None
    kind: str  #: message coupon invite points badge tag tier task webhook emit post nominate draw set
    user: str | None
    group: str | None
    status: str  #: planned | held_out | suppressed | denied
    reason: str | None
    detail: dict[str, Any]
    deliver: str | None = None  #: name of the channel that must carry it out; None: nothing to send
    purpose: str | None = None  #: purpose of a message
    to: str | None = None  #: address of a message
    spares: Sequence[Spare] = ()  #: the other channels it may go through, in order
    until: int | None = None
    """Last instant at which it may be sent (``valid_for``); by the engine's clock, and in a store by the machine's."""
    carries: Sequence[str] = ()  #: coupon codes that go back to their pools if nothing that tells of them goes out


class Reserve(msgspec.Struct):
    """A request for a unit that several subjects compete for."""

    key: str  #: effect key of the step that asks; the answer is remembered under it
    subject: str
    kind: str
    """"coupon" | "seat" | "slot" | "reward", or one of core/coupons.py: what becomes of a code; "census": of everybody;
    "promise" and "seed": of a draw"""
    names: list[str]  #: pools, groups or the playbook, in order of preference; or the code; of a draw: its key
    match: str = "first"  #: for seats: first | best
    queue: str | None = None  #: for seats: key under which the subject waits when there is none; None: it does not
    at: int | None = None  #: of a code: when it happened; None: now
    question: Any = None  #: for "census": what is asked (core/census.py); for "promise": the draw's terms


class Answer(msgspec.Struct):
    """The runtime's answer to a Reserve."""

    key: str
    granted: bool
    reason: str | None = None  #: why not: sold_out full budget per_day ...
    name: str | None = None  #: the pool, group or playbook that gave it
    unit: str | None = None  #: coupon code or room id
    at: int | None = None  #: for "slot": the instant at which the entry may go on
    data: dict[str, Any] = {}  #: what else the unit carries (link, expires ...)


class Alert(msgspec.Struct):
    """A playbook reached its entry limit: the first entry over it in a window; or one event made too many effects."""

    playbook: str
    time: int  #: when
    limit: str  #: ``3000/day``, ``1000 effects/event``
    waits: bool  #: what is over it waits for the next window


class Entry(msgspec.Struct):
    """One line of the ledger: something of value that moved. It is never changed; what undoes it is another entry.

    Of a subject's own (points, coupons it has, seats it sits on) ``delta`` is seen from the subject.
    """

    key: str
    """Unique: the effect key (or id of the event) that caused it, with ``:<what>`` where one cause makes several."""
    time: int  #: instant of the decision; of what an event booked by itself the time of the event
    book: str  #: points | coupon | prize | reward | seat | entitlement | cap
    name: str  #: account, pool, group ...
    what: str
    """Of points: earned pending settled taken expired reversed; of coupons: issued redeemed reversed expired
    returned; of seats: held joined released; of caps: used, one for each window of an entry ``limit`` that is over; of
    all: opening, which is what stood there before there was a ledger."""
    delta: int  #: whole units; what the balance of (book, name, subject) changes by
    subject: str | None = None  #: whose
    unit: str | None = None  #: code, room id ...
    amount: Decimal | None = None  #: money it stands for; of caps: how many there were
    until: int | None = None  #: instant at which it lapses
    playbook: str | None = None
    step: str | None = None
    origin: str | None = None  #: key of the entry it reverses, settles or lapses


class Release(msgspec.Struct):
    """Gives a unit back (a seat whose hold ended, a member who left)."""

    key: str
    kind: str  #: "seat" | "join" | "reward"
    name: str
    unit: str


class Why(msgspec.Struct):
    """One judged condition of a verdict."""

    at: str  #: place in the playbook, for example ``when[0]``
    value: bool | None  #: None: could not be judged
    text: str  #: the condition in its normal form, or a sentence
    seen: dict[str, Any] = {}  #: leaf text -> value it had


class Decision(msgspec.Struct):
    """What was decided about one playbook for one subject at one event or wake-up."""

    time: int
    playbook: str
    user: str | None
    group: str | None
    cause: dict[str, str]  #: {"event": id} or {"wake": reason}
    verdict: str  #: entered advanced skipped unknown error late capped held_out exited finished
    why: list[Why]


class Mark(msgspec.Struct):
    """Something that became of a journey, for whoever watches (scenario tests)."""

    time: int
    playbook: str
    user: str | None
    verdict: str  #: entered | held_out | finished | exited
    reason: str  #: holdout, arm; end, stop, goal ...
    trigger: str  #: id of the trigger that began the journey
    group: str | None = None  #: whose journey it is, where no user's


class PoolAlert(msgspec.Struct):
    """Little or nothing is left of a coupon pool."""

    pool: str
    time: int  #: when
    what: str  #: stock | budget
    percent: int  #: of it is given: 80, 95 or 100

    def words(self) -> str:
        """The warning in a sentence."""
        if self.percent == 100:
            return f"the {self.what} of coupon {self.pool} is used up"
        return f"{self.percent} % of the {self.what} of coupon {self.pool} is used up"


Milestone = tuple[str, str, str, str, str | None, int]
"""(playbook, occurrence, subject, what, name, instant) of somebody's way through a playbook: what is ``entered``,
``held`` (name: why: holdout, shadow, arm, control_group), ``arm`` (name: ``<split>=<arm>``) or ``exited`` (name: why);
of no playbook ("") it is ``segment.entered`` or ``segment.left`` (name: the segment)."""


class Out(msgspec.Struct):
    """What calls of the core give; one may collect the output of many."""

    effects: list[Effect] = []
    root: int = 0  #: how many effects there were before the event, or wake-up, from which all at hand follows
    stormed: bool = False  #: it made more than one may, and that was said
    alerts: list[Alert] = []
    emits: list[Event] = []  #: events for this or other subjects, to be handled next, in order
    releases: list[Release] = []
    trace: list[Decision] = []
    goals: list[tuple[str, str, str, bool, int]] = []  #: (playbook, occurrence, user, held out, instant) reached
    lives: list[tuple[str, str, bool]] = []  #: (playbook, "entered" | "held" | "finished" | "exited", held out)
    milestones: list[Milestone] = []  #: who began what when, and was held back or drawn for an arm, in order
    worth: list[tuple[int, Decimal]] = []  #: (place in ``goals``, what it was worth), where the goal says
    errors: dict[str, int] = {}  #: playbook -> verdicts that were errors
    spreads: list[Spread] = []  #: events for many: members of a group, an audience
    marks: list[Mark] | None = None  #: what became of journeys; None: nobody watches
    cancels: list[tuple[str, str]] = []  #: (effect key, reason): not to be sent any more, where that is not too late
    entries: list[Entry] = []  #: what of value moved, in order
    erased: list[tuple[str, int]] = []  #: (subject, instant): everything about it up to then is to be forgotten
    waits: list[tuple[str, str]] = []  #: (playbook, step) of every message and post that quiet hours put off
