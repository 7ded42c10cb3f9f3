"""Whom of an audience a message could reach: by channel consent, address and room under the caps; and who is held out.

Rule 1: each is asked as the engine asks it at a ``message`` step, at one instant; nothing is decided.
Rule 2: quiet hours and freezes pass by themselves and are left out; a condition of a playbook's own is left out, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from engine.actions.message import SendMessage
from engine.core import localtime
from engine.core.coupons import CouponPool, within_user_limit
from engine.core.fold import consent_given
from engine.core.model import State
from engine.core.plan import ChannelInfo, Holdout, Plan, Playbook, Policy, zone_of
from engine.core.policies import DRAW, Cap, consents
from engine.errors import ProgramError
from engine.registry import nearest

MARKETING = "marketing"


@dataclass(frozen=True)
class Aim:
    """What an audience would be sent, as far as it is known."""

    purpose: str
    policy: Policy
    channels: tuple[ChannelInfo, ...]
    priority: int = 0
    playbook: str | None = None  #: whose belts and holdout these are
    holdout: Holdout | None = None


def aim(
    plan: Plan, policies: Mapping[str, Policy], *, playbook: str | None, purpose: str | None, holdout: Decimal | None
) -> Aim:
    """What to ask about reach.

    Parameters
    ----------
    playbook: whose policy, priority, channels and holdout count; None: the default policy, every channel.
    purpose: of the message; None: of the playbook's first message, or marketing.
    holdout: percent kept out, under the salt of the playbook, or ``audience``; None: the playbook's own.

    Raises ProgramError for a playbook that is not there.
    """
    if playbook is None:
        part = _part(holdout, "audience")
        channels = tuple(plan.channels[name] for name in sorted(plan.channels))
        return Aim(purpose or MARKETING, policies["default"], channels, holdout=part)
    found = plan.by_id.get(playbook)
    if found is None:
        near = nearest(playbook, plan.by_id)
        hint = f"did you mean '{near}'?" if near else "playbooks at work: " + (", ".join(sorted(plan.by_id)) or "none")
        raise ProgramError(f"there is no playbook '{playbook}' at work", hint=hint)
    messages = [node.action for node in found.nodes.values() if isinstance(node.action, SendMessage)]
    purpose = purpose or next((it.purpose for it in messages), MARKETING)
    names = dict.fromkeys(name for it in messages if it.purpose == purpose for name in it.via)
    channels = tuple(plan.channels[name] for name in names or sorted(plan.channels))
    return Aim(purpose, found.policy, channels, found.priority, found.id, _holdout_of(found, holdout))


def _holdout_of(playbook: Playbook, percent: Decimal | None) -> Holdout | None:
    salt = playbook.holdout.salt if playbook.holdout is not None else playbook.id
    return playbook.holdout if percent is None else _part(percent, salt)


def _part(percent: Decimal | None, salt: str) -> Holdout | None:
    return None if percent is None else Holdout(percent=int(percent * 100), salt=salt)


@dataclass
class Reach:
    """Counts an audience, one by one.

    Parameters
    ----------
    plan, aim, now: by what, for what, at which instant.
    """

    plan: Plan
    aim: Aim
    now: int
    consented: Counter[str] = field(default_factory=Counter)  #: channel -> people
    addressed: Counter[str] = field(default_factory=Counter)
    roomy: Counter[str] = field(default_factory=Counter)
    reachable: Counter[str] = field(default_factory=Counter)
    any: int = 0  #: whom at least one channel reaches
    control: int = 0  #: of the program's control group
    held_out: int = 0  #: of the playbook's holdout, and not of the control group

    def __post_init__(self) -> None:
        aim = self.aim
        self._limits: dict[str, list[Cap]] = {}  #: channel -> what bounds its messages
        for channel in aim.channels:
            quota = [] if channel.quota is None else [channel.quota.open_to(aim.priority)]
            caps = [cap for cap in aim.policy.caps if cap.concerns(aim.purpose, channel.name)]
            self._limits[channel.name] = [*caps, *quota]

    def take(self, state: State) -> None:
        """One more."""
        aim = self.aim
        if self._controlled(state):
            self.control += 1
            kept = True
        else:
            kept = self._held_out(state)
            self.held_out += kept
        reached = False
        for channel in aim.channels:
            name = channel.name
            rule = aim.policy.consent.get(aim.purpose, "required")
            agreed = consents(rule, consent_given(state, name, aim.purpose))
            address = channel.address is None or bool(state.traits.get(channel.address))
            room = self._has_room(state, channel)
            self.consented[name] += agreed
            self.addressed[name] += address
            self.roomy[name] += room
            if agreed and address and room and not kept:
                self.reachable[name] += 1
                reached = True
        self.any += reached

    def _controlled(self, state: State) -> bool:
        control = self.plan.control
        if control is None or self.aim.purpose not in control.purposes:
            return False
        return control.holds(state.id, self.aim.purpose, self.plan.env.drawn.get((DRAW["control_group"], state.id)))

    def _held_out(self, state: State) -> bool:
        holdout = self.aim.holdout
        return holdout is not None and (
            self.plan.env.draw(self.aim.playbook or "", holdout.salt, state.id) < holdout.percent
        )

    def _has_room(self, state: State, channel: ChannelInfo) -> bool:
        limits = self._limits[channel.name]
        if not state.slots or not limits:  # nobody wrote yet: only what lets nothing through at all is full
            return all(cap.most for cap in limits)
        tz = localtime.zone(zone_of(state, self.plan.env)) or localtime.UTC
        return all(cap.full_until(state.slots, self.now, tz) is None for cap in limits)

    def row(self) -> dict[str, Any]:
        """Ready for JSON."""
        aim = self.aim
        return {
            "purpose": aim.purpose,
            "policy": aim.policy.name,
            "playbook": aim.playbook,
            "channels": [
                {"channel": it.name, "consented": self.consented[it.name], "with_address": self.addressed[it.name],
                 "not_capped": self.roomy[it.name], "reachable": self.reachable[it.name]}
                for it in aim.channels
            ],
            "reachable": self.any,
            "control_group": self.control,
            "holdout": None if aim.holdout is None else {
                "percent": Decimal(aim.holdout.percent) / 100, "salt": aim.holdout.salt, "count": self.held_out,
            },
        }  # fmt: skip


@dataclass
class CouponReach:
    """Counts who of an audience has had all of a coupon a person may have."""

    pool: CouponPool
    now: int
    reached: int = 0

    def take(self, state: State) -> None:
        """One more."""
        self.reached += not within_user_limit(self.pool, state.coupons.get(self.pool.name, ()), self.now)
