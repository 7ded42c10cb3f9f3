"""What makes a group one: who belongs to it, who holds which role in it.

Rule 1: who the members are stands in the states of the users; a group knows how many there are, and who holds a role.
Rule 2: an event counts a member once: the user's own state says whether it joins or was in already, and the event
carries that on to the group (``Event.changes``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from engine.core.instants import parse_duration
from engine.core.model import Event, Role, State
from engine.core.subjects import GROUP, kind_of

if TYPE_CHECKING:
    from engine.core.fold import Folding

MEMBER: Final = "member"
"""Key of ``Event.changes`` of ``group.joined`` and ``group.left``: was the user a member before, is it one after?"""

MEMBERSHIP: Final = frozenset({"group.joined", "group.left", "role.granted", "role.revoked"})
"""Events that may name their group in the data."""


@dataclass(frozen=True, kw_only=True)
class RoleInfo:
    """A role of the catalog."""

    name: str
    per_members: int | None = None  #: one holder for so many members; None: not said
    term: int | None = None  #: how long it is granted for, microseconds; None: until it is revoked
    min_tenure: int | None = None  #: how long a candidate must have been a member, microseconds

    def until(self, event: Event) -> int | None:
        """When a term that begins with an event ends: by its own ``term`` (``90d``), else by that of the catalog."""
        said = event.data.get("term")
        try:
            term = parse_duration(said) if isinstance(said, str) else self.term
        except ValueError:
            term = self.term
        return None if term is None else event.time + term


NO_ROLES: Final[Mapping[str, RoleInfo]] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class GroupCard:
    """What the catalog says of a group, beside its rooms."""

    title: str | None = None
    topic: str | None = None
    platform: str | None = None
    owner: str | None = None
    deputies: tuple[str, ...] = ()
    zone: str | None = None
    channel: str | None = None  #: the channel of the program that carries posts into it

    def get(self, name: str) -> Any:
        """A field as expressions see it."""
        found = getattr(self, name)
        return list(found) if isinstance(found, tuple) else found


NO_CARD: Final = GroupCard()


def group_of(event: Event) -> str | None:
    """The group an event happened in; what makes and unmakes members may name it in the data."""
    if event.group is not None or event.type not in MEMBERSHIP:
        return event.group
    named = event.data.get("group")
    return named if isinstance(named, str) and named else None


def came(state: State, event: Event, folding: Folding) -> None:
    """``group.joined``, for the group: one member more, when the user was none before."""
    if event.changes is not None and event.changes.get(MEMBER) == (False, True):
        state.members += 1


def went(state: State, event: Event, folding: Folding) -> None:
    """``group.left``, for the group: one member less, when the user was one; its roles here end."""
    if event.changes is None or event.changes.get(MEMBER) != (True, False):
        return
    state.members -= 1
    state.roles = [it for it in state.roles if it.whom != event.user]


def granted(state: State, event: Event, folding: Folding) -> None:
    """``role.granted``: data ``{role, term?}``; a role of the catalog, held in the group of the event."""
    role, whom = event.data.get("role"), _other(state, event)
    info = folding.roles.get(role) if isinstance(role, str) else None
    if not isinstance(role, str) or info is None or whom is None:
        return
    kept = _without(state, role, whom, event.time)
    state.roles = [*kept, Role(role, whom, event.time, info.until(event))]


def revoked(state: State, event: Event, folding: Folding) -> None:
    """``role.revoked``: data ``{role}``."""
    role, whom = event.data.get("role"), _other(state, event)
    if isinstance(role, str) and whom is not None:
        state.roles = _without(state, role, whom, event.time)


def _without(state: State, role: str, whom: str, time: int) -> list[Role]:
    return [it for it in state.roles if (it.role, it.whom) != (role, whom) and (it.until is None or it.until > time)]


def _other(state: State, event: Event) -> str | None:
    """Of a role, who it is about beside the subject: for a user the group, for a group the user."""
    return event.user if kind_of(state.id) == GROUP else group_of(event)


def holders(state: State, time: int) -> dict[str, list[str]]:
    """Role -> who holds it at an instant, in the order in which they were granted it."""
    found: dict[str, list[str]] = {}
    for it in state.roles:
        if it.until is None or it.until > time:
            found.setdefault(it.role, []).append(it.whom)
    return found


def has_role(state: State, role: str, time: int) -> bool:
    """Does somebody (of a group), or the user itself, hold a role at an instant?"""
    return any(it.role == role and (it.until is None or it.until > time) for it in state.roles)


def role_ends(state: State, time: int) -> int | None:
    """The first instant after one at which a term ends."""
    return min((it.until for it in state.roles if it.until is not None and it.until > time), default=None)
