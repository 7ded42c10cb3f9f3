"""The terms of roles: who holds one hears that it ends, and when it ended.

Rule 1: the group tells it, once each: it keeps who holds what until when.
Rule 2: nothing is told that no playbook listens for, and then nobody is woken for it: a role whose term is over is held
by nobody anyway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from engine.core.chance import effect_key
from engine.core.instants import format_instant
from engine.core.model import DAY, Event, Role, State
from engine.core.plan import Plan
from engine.core.subjects import GROUP, kind_of, name_of

if TYPE_CHECKING:
    from engine.core.judging import Judging

REVIEW = 7 * DAY
"""How long before its end a term is looked at; of a term shorter than two of these at its half."""

EXPIRING, REVOKED = "role.expiring", "role.revoked"


def review_at(role: Role) -> int | None:
    """When it is told that a term ends."""
    if role.until is None:
        return None
    return max(role.until - REVIEW, role.since + (role.until - role.since) // 2)


def next_term(state: State, plan: Plan) -> int | None:
    """The next instant at which a group has something to tell of a term."""
    if kind_of(state.id) != GROUP or not _heard(plan):
        return None
    found = [role.until if role.told else review_at(role) for role in state.roles if role.until is not None]
    return min((it for it in found if it is not None), default=None)


def end_terms(turn: Judging) -> None:
    """Tell of the terms that end soon, and of those that are over."""
    state, kept = turn.state, []
    if kind_of(state.id) != GROUP or not _heard(turn.plan):
        return
    for role in state.roles:
        review = review_at(role)
        if role.until is None or review is None or review > turn.now:
            kept.append(role)
            continue
        if not role.told:
            _tell(turn, EXPIRING, role, {"until": format_instant(role.until)})
        if role.until > turn.now:
            kept.append(replace(role, told=True))
        else:
            _tell(turn, REVOKED, role, {"reason": "term"})
    state.roles = kept


def _heard(plan: Plan) -> frozenset[str]:
    return (plan.told | plan.told_users) & {EXPIRING, REVOKED}


def _tell(turn: Judging, type_: str, role: Role, more: dict[str, str]) -> None:
    """The user and the group hear it, in this order."""
    if type_ not in _heard(turn.plan):
        return
    turn.out.emits.append(
        Event(
            id=effect_key(type_, role.role, role.whom, turn.state.id, str(role.until)), type=type_, time=turn.now,
            user=role.whom, group=name_of(turn.state.id), data={"role": role.role, **more}, depth=1, internal=True,
            maker=turn.state.id,
        )
    )  # fmt: skip
