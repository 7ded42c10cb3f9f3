"""The words the runtime and the adapters share: Feed, Store, Channel, Clock and their records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol, runtime_checkable

import msgspec

from engine.core.coupons import Coupon
from engine.core.model import (
    HOUR,
    SECOND,
    Alert,
    Answer,
    Decision,
    Effect,
    Entry,
    Event,
    Mark,
    Milestone,
    PoolAlert,
    State,
)
from engine.core.predicate import Filter, Selection

UNSCRUBBED = "unscrubbed"
"""Name under which a store keeps that somebody was erased, or came in again, since its file was written anew."""


class NotBegun(Exception):  # it says that a message has to wait
    """It could not be noted that a message is about to be sent, so nothing of it may leave."""


class NotInOrder(Exception):  # it says that the careful way is needed
    """A feed that was read as it comes is not in order of time, or repeats an id, or is more than one plain file."""


class Record(msgspec.Struct, gc=False):
    """One line of a feed: an event, or why it is none."""

    feed: str  #: name of the feed
    position: int  #: position after this record (the feed goes on here); grows
    raw: bytes  #: the bytes as they came
    event: Event | None = None
    reason: str | None = None  #: short code when there is no event
    message: str = ""  #: the sentence for people


class Rejected(msgspec.Struct):
    """A record in quarantine."""

    feed: str
    position: int
    reason: str
    message: str
    raw: bytes
    at: int  #: when it was rejected, by the machine's clock, microseconds UTC
    number: int = 0  #: the store's own number


class Fault(msgspec.Struct):
    """Something a store promises and does not keep."""

    check: str  #: name of the check
    message: str  #: what is wrong
    count: int  #: how often
    examples: list[str] = []  #: a few places


class Batch(msgspec.Struct):
    """Everything one transaction must hold; all of it or nothing is written."""

    clock: int  #: engine clock after this batch
    states: list[State]  #: states of subjects that changed
    events: list[tuple[Event, int]]  #: events decided, with the engine clock at their decision, in order
    effects: list[Effect]
    answers: list[Answer]  #: reservations answered, granted or not
    resources: dict[str, bytes]  #: scarce resources whose state changed
    decisions: list[Decision]  #: verdicts worth keeping (all but "skipped")
    goals: list[tuple[str, str, str, bool, int]]  #: (playbook, occurrence, user, held out, time)
    rejected: list[Rejected]
    positions: dict[str, int]  #: feed -> position
    inbox_done: int = 0  #: ingested events up to this sequence number are decided
    counts: dict[str, int] = {}  #: counters to add to (duplicates, late, ...)
    lives: list[tuple[str, str, bool]] = []  #: (playbook, "entered" | "held" | "finished" | "exited", held out)
    milestones: list[Milestone] = []  #: who began what when, was held back, drawn for an arm, sent out; in order
    worth: list[tuple[int, Decimal]] = []  #: (place in ``goals``, what that one was worth), where the goal says
    errors: dict[str, int] = {}  #: playbook -> verdicts that were errors
    askers: dict[str, str] = {}  #: answer key -> subject that asked, where no effect of that key names it
    slots: dict[str, bytes | None] = {}  #: rows of the slot table that changed (core/slots.py); None: one that goes
    marks: list[Mark] = []  #: what became of journeys, when somebody watches; no store keeps it
    cancels: list[tuple[str, str]] = []
    """(effect key, reason): what was pending of these before this batch is not sent any more. Effects of the batch
    itself are left alone: a backlog is delivered as it would have been then, whatever the size of batches."""
    erased: list[tuple[str, int]] = []
    """(subject, instant): whoever was erased; what the store has of it up to then goes with this batch."""
    others: list[tuple[int, str]] = []
    """(place in ``events``, subject) of every event that was decided for a group or the program: theirs too."""
    alerts: list[Alert] = []  #: entry limits reached, once a playbook and window; counted as ``limit.<playbook>``
    entries: list[Entry] = []  #: what of value moved, for the ledger
    pool_alerts: list[PoolAlert] = []  #: coupon pools of which little or nothing is left
    waits: list[tuple[str, str]] = []  #: (playbook, step) of every message and post that quiet hours put off; not kept
    letters: list[tuple[Event, int]] = []  #: events for subjects of other parts, each with the engine clock


class CouponSum(msgspec.Struct):
    """How many coupons stand alike."""

    pool: str
    playbook: str | None  #: which gave them
    amount: Decimal | None  #: what each may cost
    status: str  #: issued | redeemed | reversed | expired | returned
    count: int


class Imported(msgspec.Struct):
    """What became of codes that were to be imported."""

    added: int
    repeated: int  #: stood twice among them, or in the pool already
    elsewhere: int  #: belong to another pool


class Version(msgspec.Struct):
    """One version of a playbook, as the store keeps it."""

    playbook: str  #: id of the playbook
    hash: str  #: content hash of its meaning, see language/versions.py
    since: int  #: engine clock when it was first published
    sources: bytes  #: packed: all that is needed to compile it again
    used: bool = True  #: journeys or open goals may still run on it


class Outgoing(msgspec.Struct):
    """An effect in the outbox, claimed for sending."""

    key: str  #: effect key, given to the provider as idempotency key
    channel: str
    effect: Effect  #: as this channel carries it
    attempts: int  #: how often this channel was given it before
    first: int | None = None  #: instant of the first try by this channel, by the machine's clock; None: none yet


@dataclass(frozen=True)
class Noted:
    """What the session before had begun to send."""

    modes: Mapping[str, str | None]  #: of its channels; nothing is known of others
    begun: frozenset[tuple[str, int]]  #: (key, number of the try), without those of which is known that they failed
    sent: Mapping[tuple[str, int], str | None]  #: those of them that went out, with the provider's id


class Noting(Protocol):
    """Hears from a channel what it begins, and how that ends."""

    def begin(self, items: Sequence[Outgoing]) -> None:
        """Messages are about to be sent; raises NotBegun when they must not be."""
        ...

    def ended(self, answers: Sequence[tuple[Outgoing, Sent]]) -> None:
        """What was said of them."""
        ...


class WireNotes(Protocol):
    """Notes, durably, what is about to go over a wire, so that of what was claimed the rest is known not to have."""

    before: Noted | None  #: what the session before noted; None: nothing is known of it

    def settled(self) -> None:
        """What ``before`` told was acted upon; from now on the notes of this session count."""
        ...

    def begin(self, items: Iterable[Outgoing]) -> None:
        """Messages are about to be sent; raises OSError or StoreError when they must not be. Any thread calls it."""
        ...

    def ended(self, answers: Iterable[tuple[Outgoing, Sent]]) -> None:
        """What a channel said of messages that were begun; never raises, and need not be durable at once."""
        ...

    def tidy(self, flying: Iterable[str]) -> None:
        """Keep only notes of messages that are under way, when it is time; the engine's thread calls it."""
        ...

    def close(self) -> None:
        """Nothing more is begun."""
        ...


class Settlement(msgspec.Struct):
    """What became of a claimed effect."""

    key: str
    status: str  #: sent | retry | dead | unknown | cancelled | passed_on
    reason: str | None = None
    next_at: int | None = None  #: for retry
    channel: str | None = None  #: for passed_on: the channel that has its try now, with all tries before it
    receipt: str | None = None  #: the provider's own id of the message, where it gave one
    uncounted: bool = False  #: for retry: the provider only asked to come later, so it was no try
    untried: bool = False  #: for retry: it was claimed for the first time and not begun, so its time has not begun


class Delivery(msgspec.Struct):
    """Where an effect stands in the outbox."""

    item: Outgoing  #: ``attempts``: tries begun so far
    status: str  #: pending | sending | sent | dead | unknown | cancelled
    reason: str | None  #: of what was settled last
    next_at: int | None  #: instant before which it is not tried again
    receipt: str | None  #: the provider's own id of the message


class Sent(msgspec.Struct):
    """A channel's answer for one effect."""

    ok: bool
    reason: str | None = None
    passing: bool = False  #: True: worth another try; False: definitive
    unknown: bool = False  #: nobody can tell whether it went out: the request was complete, the answer never came
    retry_after: int | None = None  #: microseconds the provider asks to be left alone, by all messages of the channel
    receipt: str | None = None  #: the provider's own id of the message, by which its receipts name it
    status: int | None = None  #: of an answer that is wanted (webhook steps): the status
    body: object = None  #: of an answer that is wanted: its body, JSON where it is JSON


class Wire(msgspec.Struct, frozen=True):
    """A message as a channel hands it over, before anything is sent."""

    form: str  #: mail | request | line | call
    body: bytes  #: the bytes themselves: of a mail all of it, of a request what it carries
    head: tuple[tuple[str, str], ...] = ()  #: of a request: method, address and headers, without secrets
    refused: str | None = None  #: why the channel would not take it; then there are no bytes


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How a channel may be used: how fast, how wide, how long."""

    rate: tuple[int, int] | None = None  #: (messages, microseconds) it takes at most; None: no limit
    concurrency: int = 1  #: calls of ``send`` that may run at once, each in a thread of its own
    batch: int = 500  #: messages one call carries
    attempts: int = 8  #: tries before a message is given up
    horizon: int = 24 * HOUR  #: microseconds after the first try in which it may be tried again (provider's key life)


class Allowed(msgspec.Struct, frozen=True, kw_only=True):
    """How much one host may be asked, by all channels together."""

    rate: tuple[int, int] = (50, SECOND)  #: (requests, microseconds): at most so many in any such time
    concurrency: int = 6  #: requests on their way at once


class Room(msgspec.Struct):
    """How much room a store takes and has, in bytes."""

    size: int  #: of the file
    log: int  #: of its write-ahead log
    free: int  #: left on its disk


@runtime_checkable
class Feed(Protocol):
    """A source of records; acknowledges nothing itself, positions are kept by the store."""

    name: str

    def read(self, position: int, limit: int) -> Iterator[Record]:
        """Yield at most ``limit`` records that stand after ``position``."""
        ...


class Lag(msgspec.Struct):
    """Where a live feed stands."""

    position: int  #: read and committed up to here
    newest: int | None = None  #: position of the newest record there is; None: the source does not say
    behind: int | None = None  #: records still to be read (of a file: bytes); None: unknown
    says: str = ""  #: what people should know: why the source cannot be reached, that it has ended
    broken: bool = False  #: the source cannot be reached now
    brought: int | None = None  #: time of the newest event, where those it brings do not bear its name


@runtime_checkable
class LiveFeed(Feed, Protocol):
    """A feed that goes on: ``read`` gives what is there now and never waits for more.

    A kind that may call out when something has come (``wake``) does so; the others are asked every second.
    """

    def acknowledge(self, position: int) -> None:
        """What stands up to a position is committed: the source may forget it."""
        ...

    def lag(self) -> Lag: ...

    def close(self) -> None: ...


@runtime_checkable
class Gathering(Protocol):
    """Several feeds behind one setting, such as the files of a pattern; there may be more of them later."""

    def members(self) -> Sequence[Feed]:
        """The feeds there are now; each has a position of its own."""
        ...


@runtime_checkable
class Channel(Protocol):
    """A way out. ``send`` carries several effects and answers each, in order.

    ``once`` says what a crash between send and settle means: True: the channel remembers keys (or may be asked), so
    sending again with the same key does nothing. ``pace`` (optional, a ``Pace``) says how it may be used; without one
    its messages go in one thread, in batches. ``send`` of a channel with a concurrency is called by several threads.
    ``host`` (optional) is the host of its own address, to which its requests go; ``host_of(item)`` says where one goes
    when there may be others (None: none leaves). What goes to a host is held to what the host takes (``Allowed``).
    ``send_noting(items, noting)`` (optional) sends likewise, and calls ``noting.begin([item])`` just before the first
    byte of a message leaves (it raises NotBegun when the message must wait), ``noting.ended`` when it is answered.
    """

    name: str
    once: bool

    def send(self, items: Sequence[Outgoing]) -> list[Sent]: ...

    def close(self) -> None: ...


@runtime_checkable
class Clock(Protocol):
    """The only source of the present."""

    def now(self) -> int: ...


@runtime_checkable
class Store(Protocol):
    """Keeps subjects, effects and positions. One suite of tests holds for every implementation."""

    def close(self) -> None: ...

    # -- deciding
    def load(self, subjects: Iterable[str]) -> dict[str, State]:
        """States of the subjects that have one; the caller owns them until commit."""
        ...

    def due(self, before: int, limit: int) -> list[State]:
        """At most ``limit`` states with ``wake_at < before``, ordered by (wake_at, subject)."""
        ...

    def wakes(self, before: int, limit: int) -> list[tuple[int, str]]:
        """At most ``limit`` (wake_at, subject) with ``wake_at < before``, in order: ``due`` without the states."""
        ...

    def next_wake(self) -> int | None: ...

    def population(self, after: str, limit: int, audience: Filter | None = None, now: int = 0) -> list[str]:
        """At most ``limit`` subjects that have a state, of those behind ``after``, in order of id (by code points).

        ``audience``: a condition in a form a store may ask itself, at the instant ``now``; who certainly does not fit
        may be left out, everybody else must not: the caller judges them again. None: all.
        """
        ...

    def slots(self) -> dict[str, bytes]:
        """The slot table: name -> row."""
        ...

    def erased(self, subjects: Iterable[str]) -> dict[str, int]:
        """Which of these subjects were erased, and when: what happened to them up to then must not come in again."""
        ...

    def scrub(self) -> None:
        """See that no byte of what was erased is left in the files; may take as long as writing the store anew."""
        ...

    def forget(self, before: Mapping[str, int], limit: int) -> dict[str, int]:
        """Forget the oldest of what is older than an instant, in one transaction; how many of each kind went.

        ``before``: kind -> instant: ``events``, ``ids`` (of events), ``decisions``, ``quarantine``; what is not named
        stays. About ``limit`` of a kind go at most, and some that are old may stay as long as newer ones are kept with
        them. Effects, ledgers and states are never forgotten.
        """
        ...

    def forgotten(self, user: str) -> int | None:
        """Until when events of a user may be missing, because they were forgotten; None: none are."""
        ...

    def known(self, ids: Sequence[str], *, waiting: bool = True) -> set[str]:
        """Which of these event ids were decided already, or (unless ``waiting`` is False) wait in the inbox."""
        ...

    def strangers(self, subjects: Sequence[str]) -> set[str]:
        """Which of these subjects have no state."""
        ...

    def commit(self, batch: Batch) -> int:
        """Write the batch in one transaction; the number of effect keys that existed already (must be 0)."""
        ...

    def clock(self) -> int:
        """Engine clock of the last commit, 0 for a new store."""
        ...

    def position(self, feed: str) -> int: ...

    def resources(self) -> dict[str, bytes]: ...

    def get_meta(self, name: str) -> str | None: ...

    def set_meta(self, name: str, value: str) -> None: ...

    # -- coupons
    def coupon(self, code: str) -> Coupon | None:
        """A code that was given, as it stands; None: it was not given."""
        ...

    def coupons(self, pool: str | None = None) -> Iterator[Coupon]:
        """Codes that were given, by (pool, instant, code)."""
        ...

    def carriers(self, subject: str, code: str) -> list[tuple[str, str]]:
        """(effect key, how far its delivery is) of everything to a subject that carries a code."""
        ...

    def coupon_sums(self, now: int) -> list[CouponSum]:
        """How many coupons stand how; those that lapsed by an instant count as expired."""
        ...

    def coupon_days(self, since: int, until: int) -> dict[str, dict[int, int]]:
        """Pool -> days before ``until`` (1: the last 24 hours) -> coupons given then and not returned."""
        ...

    def first_coupons(self) -> dict[str, int]:
        """Pool -> instant of its first coupon."""
        ...

    def codes(self, pool: str, after: int, limit: int) -> list[tuple[int, str]]:
        """At most ``limit`` imported codes of a pool behind a place (the first has 1), each with its place."""
        ...

    def code_count(self, pool: str) -> int:
        """How many codes were imported into a pool."""
        ...

    def code_counts(self) -> dict[str, int]:
        """As ``code_count``, for every pool that has some."""
        ...

    def add_codes(self, pool: str, codes: Sequence[str]) -> Imported:
        """Put codes behind those of a pool, in one transaction; what is known already is passed over."""
        ...

    # -- versions of playbooks
    def versions(self, *, used: bool = True) -> list[Version]:
        """Versions kept, by (playbook, since); those that may still have journeys, or all."""
        ...

    def keep_versions(self, versions: Sequence[Version]) -> None:
        """Keep versions; one that is there is only marked as ``used`` says."""
        ...

    def in_flight(self) -> Iterator[State]:
        """The states with running journeys or goals, in order of subject."""
        ...

    # -- ingest
    def ingest(self, events: Sequence[tuple[Event, bytes]], rejected: Sequence[Rejected]) -> tuple[int, int]:
        """Put events into the inbox durably; (accepted, duplicates)."""
        ...

    def inbox(self, after: int, limit: int) -> list[tuple[int, Event]]:
        """Events taken in after a number, in the order in which they are to be decided."""
        ...

    def held_back(self) -> int | None:
        """Time of the earliest event that was taken in and could not be read yet when ``inbox`` was asked last, because
        others may still come before it; None: there was none."""
        ...

    def waiting(self) -> tuple[int, int]:
        """Number of the oldest event in the inbox (0: there is none), and how many there are; from 100,000 on perhaps
        no more than that."""
        ...

    # -- quarantine
    def quarantine(self) -> Iterator[Rejected]:
        """Records in quarantine, the oldest first."""
        ...

    def rejected(self, number: int) -> Rejected | None:
        """One record in quarantine."""
        ...

    def release(self, numbers: Sequence[int], events: Sequence[tuple[Event, bytes]] = ()) -> tuple[int, int]:
        """Take records out of quarantine and what was read from them into the inbox; (accepted, duplicates)."""
        ...

    # -- outbox
    def claim(self, channels: Sequence[str], now: int, limit: int) -> list[Outgoing]:
        """Mark planned (or due again) deliveries ``sending``, durably, and hand them out in order of decision.

        A store may have ``claim_keys(keys, now)`` too, for those of some keys that are pending, whatever their
        instants; and, where it alone writes, ``stirred``: a number that grows when something but ``settle`` makes one
        pending.
        """
        ...

    def settle(self, settlements: Sequence[Settlement], events: Sequence[Event] = ()) -> None:
        """What became of deliveries, and what follows from that: events for the inbox, all in one transaction.

        What was cancelled meanwhile stays cancelled, unless it went out or may have.
        """
        ...

    def stuck(self) -> list[Outgoing]:
        """Deliveries left ``sending`` by a process that died."""
        ...

    def deliveries(self, status: str) -> list[tuple[Outgoing, str | None]]:
        """Deliveries pending, sending, sent, dead, unknown or cancelled, in order of decision, with the reason last
        settled."""
        ...

    def waits(self, channel: str, now: int) -> bool:
        """Whether anything could be claimed for a channel."""
        ...

    def tries(self) -> list[int]:
        """The instants before which pending deliveries are not tried again, in no order."""
        ...

    def outbox(self, status: str) -> Iterator[Delivery]:
        """Deliveries in a status (see ``Delivery``), in order of decision, read as they are used."""
        ...

    def delivery(self, key: str) -> Delivery | None:
        """Where one effect stands; None where there is none of that key, or nothing of it to send."""
        ...

    def redrive(self, keys: Sequence[str]) -> int:
        """Dead and unknown deliveries are pending again, under their keys, as if they had never been tried; how many.

        That is for a person to ask for: whoever may have got the message gets it again, unless the provider knows its
        key still.
        """
        ...

    def drop(self, keys: Sequence[str], events: Sequence[Event] = ()) -> int:
        """Pending, dead and unknown deliveries are cancelled, with the reason ``dropped``; how many.

        ``events`` go to the inbox in the same transaction.
        """
        ...

    def by_receipt(self, channel: str, receipt: str) -> str | None:
        """Key of the newest delivery for which a channel's provider gave this id."""
        ...

    # -- reading
    def fold(self) -> None:
        """Put what was written lately in its places, so that many questions about single users are answered quickly."""
        ...

    def effects(self, user: str | None = None) -> Iterator[tuple[Effect, str]]:
        """Effects with their delivery status, ordered by (time, key)."""
        ...

    def outcomes(self, user: str) -> dict[str, str]:
        """Why deliveries to a user stand as they do, by effect key: the reason last settled, where there is one."""
        ...

    def events(self, user: str) -> Iterator[tuple[Event, int]]:
        """Events of a user in order of decision, each with the engine clock at its decision."""
        ...

    def answers(self, user: str) -> dict[str, Answer]:
        """Answers to the reservations of a user, by key."""
        ...

    def asker(self, key: str) -> str | None:
        """Whose answer stands under a key; None: there is none."""
        ...

    def decisions(self, user: str) -> Iterator[Decision]: ...

    def ledger(
        self, *, subject: str | None = None, book: str | None = None, name: str | None = None
    ) -> Iterator[Entry]:
        """Entries of the ledger in order of decision; what is named narrows them down."""
        ...

    def subjects(self) -> Iterator[State]: ...

    def head_count(self) -> int:
        """How many users there are."""
        ...

    def audience(self, filter: Filter, now: int, after: str = "", limit: int = 1000) -> Selection:
        """The first ``limit`` subjects after one, in order of id, that fit a condition at an instant.

        The next page begins after ``last``. Whom the condition cannot judge is named with the reason, and left out.
        """
        ...

    def candidates(self, filter: Filter, now: int, after: str, limit: int) -> list[str]:
        """The first ``limit`` subjects after one, in order of id, that may fit: for a caller who judges them himself.

        Left out is only who certainly does not fit; whom the condition cannot judge is among them.
        """
        ...

    def counts(self) -> dict[str, int]:
        """Counters of the whole life: events, duplicate, late, quarantined, ``effects.<kind>.<status>``."""
        ...

    def summary(self) -> dict[str, Any]:
        """Figures of playbooks: {id: {"entered", "held", "goals", "goals_held", "finished", "exited", "effects"}}.

        ``entered`` counts every entry, ``held`` those of them held out; ``goals`` and ``goals_held`` likewise.
        """
        ...


@runtime_checkable
class FileStore(Protocol):
    """What housekeeping does with a store that is a file."""

    def room(self) -> Room: ...

    def checkpoint(self) -> None:
        """Bring the write-ahead log into the file, as far as readers allow."""
        ...

    @property
    def full(self) -> bool:
        """The disk was found full, and there has been no reserve since."""
        ...

    def keep_reserve(self) -> bool:
        """See that the reserve for a full disk is there, and that there is room beside it; False: there is not."""
        ...

    def shrink_log(self) -> None:
        """As ``checkpoint``, and give the room of the log back to the disk where no reader needs it."""
        ...

    def count_day(self) -> None:
        """Count a day in the store and beside it: a copy of the store from before that is put back is found out."""
        ...

    def unscrubbed(self) -> bool:
        """Was anybody erased since the last ``scrub``?"""
        ...


@runtime_checkable
class Scrubbing(Protocol):
    """A store that knows whether a ``scrub`` is due."""

    def unscrubbed(self) -> bool:
        """Was anybody erased since the last ``scrub``?"""
        ...


@runtime_checkable
class EventLog(Protocol):
    """A store whose events can be read as a whole, in order of decision."""

    def decided_from(self) -> int | None:
        """Engine clock at the decision of the oldest event kept, history aside; None: there is none."""
        ...

    def decided(self, since: int) -> Iterator[tuple[Event, int]]:
        """Events decided after an instant, each with the engine clock at its decision."""
        ...

    def unheard(self, subjects: Sequence[str], until: int) -> set[str]:
        """Which of these subjects nothing was decided about up to an instant, ever; the store is open for writing."""
        ...
