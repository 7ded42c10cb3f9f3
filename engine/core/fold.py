"""What an event does to the state of its subject before anything is decided.

Rule 1: reserved types touch traits, consents and memberships; what they name and the program does not define changes
nothing (semantics.md, "reserved types from outside").
Rule 2: folding never decides; it returns the seats to give back and the traits that changed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import structs

from engine.core import localtime, points, referrals, tasks
from engine.core.groups import MEMBER, NO_ROLES, RoleInfo, came, granted, revoked, went
from engine.core.model import NONE, Entry, Event, Hold, Release, State
from engine.core.points import Account

ERASED = "erased"  # key of State.memory: when the subject was erased


def is_erased(state: State) -> bool:
    """Was it erased, and has nothing been heard of it since?"""
    erased = state.memory.get(ERASED)
    return erased is not None and max(state.created_at or 0, state.last_active or 0) <= erased


Fold = Callable[[State, Event, "Folding"], None]


class Folding:
    """What folding needs to know and gives back."""

    __slots__ = ("accounts", "badges", "changes", "entries", "groups", "lapses", "releases", "roles")

    def __init__(
        self,
        badges: frozenset[str],
        groups: frozenset[str] | None,
        accounts: Mapping[str, Account],
        lapses: Callable[[State, str, int], int | None] = lambda state, account, instant: None,
        roles: Mapping[str, RoleInfo] = NO_ROLES,
    ) -> None:
        self.badges = badges
        self.groups = groups  #: those of the catalog; None: groups are subjects, so any may be joined
        self.accounts = accounts
        self.lapses = lapses  #: when points given to a subject at an instant lapse
        self.roles = roles
        self.releases: list[Release] = []
        self.entries: list[Entry] = []
        self.changes: dict[str, tuple[Any, Any]] | None = None


def traits(state: State, event: Event, folding: Folding) -> None:
    """``user.signup`` and ``user.updated``: data merges into the traits; a bad zone or e-mail address is left out."""
    if event.internal and event.changes is not None:
        folding.changes = event.changes  # ``set`` applied them already
        return
    if event.type == "user.signup" and state.created_at is None:
        state.created_at = event.time
    data = event.data
    if not state.traits and CHECKED.keys().isdisjoint(data):
        state.traits = dict(data)
        folding.changes = {name: (None, value) for name, value in data.items() if value is not None}
        return
    changes: dict[str, tuple[Any, Any]] = {}
    for name, value in data.items():
        if name in CHECKED and value is not None and not CHECKED[name][1](value):
            continue
        before = state.traits.get(name)
        if before != value or before.__class__ is not value.__class__:
            changes[name] = (before, value)
        state.traits[name] = value
    folding.changes = changes


def _is_zone(value: object) -> bool:
    return isinstance(value, str) and localtime.zone(value) is not None


def _is_address(value: object) -> bool:
    return isinstance(value, str) and len(value) <= 254 and _ADDRESS.fullmatch(value) is not None


_ADDRESS = re.compile(r"[^@\s<>\"(),:;\[\]\\]+@[^@\s<>\"(),:;\[\]\\]+")

TRAIT_TYPES = frozenset({"user.signup", "user.updated"})
"""Event types whose data become traits of a user."""

CHECKED: Mapping[str, tuple[str, Callable[[object], bool]]] = {
    "zone": ("time zone", _is_zone),
    "email": ("e-mail address", _is_address),
}
"""Fields of the user that must be what their name says: what they are called, and the test."""


def bad_fields(event: Event) -> list[tuple[str, str]]:
    """(field, what it should be) of the traits a sign-up or update brings and ``traits`` leaves out."""
    if event.type not in TRAIT_TYPES:
        return []
    data = event.data
    return [
        (name, what) for name, (what, right) in CHECKED.items() if data.get(name) is not None and not right(data[name])
    ]


def consent(state: State, event: Event, folding: Folding) -> None:
    """``consent.granted`` and ``consent.revoked``: data ``{channel?, purpose?}``; an absent one means all."""
    granted = event.type == "consent.granted"
    for channel in _words(event.data.get("channel", event.data.get("channels"))):
        for purpose in _words(event.data.get("purpose", event.data.get("purposes"))):
            _set_consent(state, channel, purpose, granted)


def unsubscribed(state: State, event: Event, folding: Folding) -> None:
    """``message.unsubscribed``: as ``consent.revoked``, by the link in a message."""
    consent(state, event, folding)


def complained(state: State, event: Event, folding: Folding) -> None:
    """``message.complained``: nothing more on that channel, whatever for; without a channel on none."""
    for channel in _words(event.data.get("channel")):
        _set_consent(state, channel, "*", False)


def bounced(state: State, event: Event, folding: Folding) -> None:
    """``message.bounced``: as a complaint, when the address is gone for good; a passing bounce changes nothing."""
    data = event.data
    if data.get("permanent") is True or data.get("kind") in PERMANENT:
        complained(state, event, folding)


PERMANENT = ("permanent", "hard")
"""What providers call a bounce that is no use trying again."""


def _words(value: object) -> list[str]:
    if isinstance(value, str) and value:
        return [value]
    if isinstance(value, list):
        return [word for word in value if isinstance(word, str)]
    return ["*"]


def _set_consent(state: State, channel: str, purpose: str, granted: bool) -> None:
    """The newest word wins, so it goes last and takes away what it covers."""
    kept = {}
    for place, value in state.consents.items():
        its_channel, _, its_purpose = place.partition("/")
        if channel not in ("*", its_channel) or purpose not in ("*", its_purpose):
            kept[place] = value
    kept[f"{channel}/{purpose}"] = granted
    state.consents = kept


def consent_given(state: State, channel: str, purpose: str) -> bool | None:
    """The newest word on a channel and purpose: granted, revoked, or None when there is none."""
    if not state.consents:
        return None
    for place in reversed(list(state.consents)):
        its_channel, _, its_purpose = place.partition("/")
        if its_channel in ("*", channel) and its_purpose in ("*", purpose):
            return state.consents[place]
    return None


def joined(state: State, event: Event, folding: Folding) -> None:
    """``group.joined``: a held seat becomes the member's; a join without an invite takes one when it names its room."""
    group = event.group or event.data.get("group")
    if not isinstance(group, str) or (folding.groups is not None and group not in folding.groups):
        return
    if folding.groups is None:
        event.changes = {MEMBER: (group in state.groups, True)}
    if group in state.groups:
        return
    state.groups = [*state.groups, group]
    state.joined = {**state.joined, group: event.time}
    for hold in state.holds:
        if hold.group == group:
            hold.until = None
            folding.entries.append(seat(state, hold, "joined", 0, event.time))
            return
    room = event.data.get("room")
    if isinstance(room, str):
        hold = Hold(group=group, room=room, until=None, key=event.id)
        state.holds = [*state.holds, hold]
        folding.entries.append(structs.replace(seat(state, hold, "joined", 1, event.time), key=event.id, origin=None))
        folding.releases.append(Release(key=event.id, kind="join", name=group, unit=room))


def left(state: State, event: Event, folding: Folding) -> None:
    """``group.left``: the seat goes back."""
    group = event.group or event.data.get("group")
    if not isinstance(group, str):
        return
    if folding.groups is None and (not event.internal or event.changes is None):  # an erasure has said so itself
        event.changes = {MEMBER: (group in state.groups, False)}
    if group not in state.groups:
        return
    state.groups = [name for name in state.groups if name != group]
    state.joined = {name: at for name, at in state.joined.items() if name != group}
    if state.roles:
        state.roles = [role for role in state.roles if role.whom != group]
    for hold in [h for h in state.holds if h.group == group]:
        state.holds = [h for h in state.holds if h is not hold]
        folding.releases.append(Release(key=event.id, kind="seat", name=group, unit=hold.room))
        folding.entries.append(seat(state, hold, "released", -1, event.time))


def seat(state: State, hold: Hold, what: str, delta: int, time: int) -> Entry:
    """What becomes of a held seat, for the ledger; each of these happens to a hold once."""
    key = f"{hold.key}:{what}"
    return Entry(key, time, "seat", hold.group, what, delta, state.id, hold.room, origin=hold.key)


def badge(state: State, event: Event, folding: Folding) -> None:
    """``badge.earned`` from outside: held when the catalog defines it."""
    name = event.data.get("badge", event.data.get("name"))
    if isinstance(name, str) and name in folding.badges and name not in state.badges:
        state.badges = [*state.badges, name]


def changed_points(state: State, event: Event, folding: Folding) -> None:
    """``points.changed`` from outside: booked when it names an account of the catalog."""
    account, delta = event.data.get("account"), event.data.get("delta")
    if isinstance(account, str) and account in folding.accounts and isinstance(delta, int) and delta is not True:
        if state.points.get(account, 0) + delta < 0 and not (delta > 0 or folding.accounts[account].negative):
            return
        until = folding.lapses(state, account, event.time) if delta > 0 else None
        if delta > 0:
            points.add(state, account, delta, until)
        else:
            points.take(state, account, -delta)
        what = "taken" if delta < 0 else "earned"
        book = folding.accounts[account].book
        folding.entries.append(Entry(event.id, event.time, book, account, what, delta, state.id, until=until))


def selected(state: State, event: Event, folding: Folding) -> None:
    """``selection.entered`` and ``selection.left``: the engine's own word on a set; from outside it moves nobody."""
    name = event.data.get("select")
    if event.internal and isinstance(name, str):
        others = [it for it in state.selections if it != name]
        state.selections = [*others, name] if event.type == "selection.entered" else others


_PRIZES = 100  # grants kept of a pool: more than any limit a person writes


def won(state: State, event: Event, folding: Folding) -> None:
    """``draw.won`` of the engine: the prize counts among the coupons of its pool."""
    pool = event.data.get("pool")
    if event.internal and isinstance(pool, str):
        state.coupons = {**state.coupons, pool: [*state.coupons.get(pool, []), event.time][-_PRIZES:]}


def deleted(state: State, event: Event, folding: Folding) -> None:
    """``user.deleted``: traits, history and consents go; journeys are ended by the caller, seats go back."""
    for hold in state.holds:
        folding.releases.append(Release(key=event.id, kind="seat", name=hold.group, unit=hold.room))
        folding.entries.append(seat(state, hold, "released", -1, event.time))
    state.traits, state.series, state.memory, state.consents = {}, {}, {ERASED: event.time}, {}
    state.tags, state.badges, state.groups, state.holds, state.slots = [], [], [], [], []
    state.segments, state.goals, state.created_at, state.last_active = [], [], None, None
    state.tasks, state.lapses, state.roles, state.selections, state.joined = [], [], [], [], NONE
    state.born = False


def coupon(state: State, event: Event, folding: Folding) -> None:
    """``coupon.redeemed`` and the like: the desk says what becomes of the code, see ``couponing``."""


GROUP_FOLDS: dict[str, Fold] = {
    tasks.DONE: tasks.done,
    "group.updated": traits,
    "group.joined": came,
    "group.left": went,
    "role.granted": granted,
    "role.revoked": revoked,
}
"""What events do to the state of a group."""

PROGRAM_FOLDS: dict[str, Fold] = {tasks.DONE: tasks.done}

FOLDS: dict[str, Fold] = {
    "coupon.redeemed": coupon,
    "coupon.reversed": coupon,
    "coupon.unsent": coupon,
    tasks.DONE: tasks.done,
    "user.signup": traits,
    "user.updated": traits,
    "user.deleted": deleted,
    "consent.granted": consent,
    "consent.revoked": consent,
    "message.unsubscribed": unsubscribed,
    "message.complained": complained,
    "message.bounced": bounced,
    "group.joined": joined,
    "group.left": left,
    "selection.entered": selected,
    "selection.left": selected,
    "draw.won": won,
    "role.granted": granted,
    "role.revoked": revoked,
    "badge.earned": badge,
    "points.changed": changed_points,
    referrals.ACCEPTED: referrals.accepted,
}

NO_SIGN_OF_A_GROUP = frozenset({"group.updated", "group.left", "role.granted", "role.revoked"})
"""What is no sign of life of a group, beside what is none of its members."""

NOT_THEIR_DOING = frozenset(
    {"user.deleted", "message.sent", "message.delivered", "message.bounced", "coupon.reversed", "coupon.unsent"}
)
"""What the user did not do: an erasure would leave somebody behind who is written to for being idle, and a message that
arrives is no sign of life of who gets it."""

EXTERNAL_ONLY = frozenset({"badge.earned", "points.changed"})
"""Types whose engine-made events must not be booked again."""
