"""Erasing a user by a person's will: on a store that nobody else is writing, or by asking the daemon that writes it.

Rule 1: it is decided like the event ``user.deleted`` of a feed, by the same core, and committed like any batch.
Rule 2: without a daemon the engine's clock does not move: nothing else becomes due by it.
Rule 3: what a feed still brings of the user from before the request is dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from engine.core.chance import effect_key
from engine.core.instants import format_instant
from engine.core.model import Event
from engine.core.plan import Plan
from engine.core.step import NOTABLE
from engine.ports import Batch, Store
from engine.runtime.session import Session

DELETED = "user.deleted"


@dataclass(frozen=True)
class Erased:
    """What an erasure found."""

    events: int
    effects: int
    cancelled: int  #: deliveries that were not sent yet
    quarantined: int  #: records in quarantine that named the user


def erase_user(plan: Plan, store: Store, user: str, now: int, secret: bytes) -> Erased:
    """Erase a user; what there was of it.

    Parameters
    ----------
    plan: decides what follows (journeys end, seats go back).
    store: opened for writing, and used by no session.
    now: the machine's clock; what happened to the user up to then stays out.
    secret: key of generated coupon codes.
    """
    before = _found(store, user)
    session = Session(plan, store, secret=secret, tracing=NOTABLE)
    clock = store.clock()
    session.take([Event(id=request_id(user, now), type=DELETED, time=clock, user=user, internal=True)])
    store.commit(session.batch(counts={"erased": 1}))
    store.commit(_from_now(clock, user, now))
    return replace(before, quarantined=before.quarantined - _found(store, user).quarantined)


def ask_daemon(store: Store, user: str, now: int, waited: Callable[[], bool]) -> Erased | None:
    """Have a daemon erase a user; what there was of it, None when it has not done so yet.

    Parameters
    ----------
    store: read here, written through the daemon.
    now: the machine's clock.
    waited: waits a little for the daemon; False: long enough.
    """
    before = _found(store, user)
    at = max(now, store.clock())
    store.ingest([(Event(id=request_id(user, at), type=DELETED, time=at, user=user, internal=True), b"")], [])
    while store.erased([user]).get(user, at - 1) < at:
        if not waited():
            return None
    return replace(before, quarantined=before.quarantined - _found(store, user).quarantined)


def request_id(user: str, now: int) -> str:
    """Id of the event of a request; it names nobody."""
    return f"erase:{effect_key(user, format_instant(now))}"


def _from_now(clock: int, user: str, now: int) -> Batch:
    """The same erasure with the instant of the request, which may lie behind the engine's clock by far."""
    return Batch(
        clock=clock, states=[], events=[], effects=[], answers=[], resources={}, decisions=[], goals=[], rejected=[],
        positions={}, erased=[(user, max(now, clock))],
    )  # fmt: skip


def _found(store: Store, user: str) -> Erased:
    effects = list(store.effects(user))
    waiting = sum(delivery in ("pending", "sending", "dead", "unknown") for _, delivery in effects)
    return Erased(
        events=sum(1 for _ in store.events(user)),
        effects=len(effects),
        cancelled=waiting,
        quarantined=sum(1 for _ in store.quarantine()),
    )
