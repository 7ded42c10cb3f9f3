"""Rewards people pay for with points: reserved first, then confirmed, or given back; once, whatever happens between.

Rule 1: a reservation belongs to a journey; what is still reserved when the journey ends goes back, however it ends.
Rule 2: points that are given back lapse as they would have; what would have lapsed meanwhile lives to the end of the
day.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from engine.core import earning, localtime, points
from engine.core.model import Answer, Entry, Journey, Release, Reserve, Reserved
from engine.core.plan import zone_of

if TYPE_CHECKING:
    from engine.core.judging import Judging

HELD = " held"
"""What the ledger adds to an account for points that are reserved."""


@dataclass(frozen=True, kw_only=True)
class Reward:
    """A reward of the catalog."""

    name: str
    points: int  #: what it costs
    account: str
    stock: int | None  #: how many there are; None: unlimited
    per_user: int | None  #: how many a subject may have; None: unlimited


class RewardState(msgspec.Struct):
    """What is gone of a reward."""

    taken: int = 0  #: reserved or confirmed


def answer(reward: Reward, state: RewardState, ask: Reserve) -> Answer:
    """Take one, if there is one."""
    if reward.stock is not None and state.taken >= reward.stock:
        return Answer(key=ask.key, granted=False, reason="sold_out", name=reward.name)
    state.taken += 1
    return Answer(key=ask.key, granted=True, name=reward.name)


def reserve(turn: Judging, journey: Journey, step: str, reward: Reward, key: str) -> Reserved:
    """Take the points; the reward itself was granted."""
    state = turn.state
    parts = points.take(state, reward.account, reward.points)
    found = Reserved(step, reward.name, reward.account, reward.points, key, parts)
    journey.reserved = (*journey.reserved, found)
    state.rewards = {**state.rewards, reward.name: state.rewards.get(reward.name, 0) + 1}
    _write(turn, journey, found, "held", main=-reward.points, held=reward.points, unit=1)
    return found


def of_step(journey: Journey, step: str) -> Reserved | None:
    """What a step of the journey has reserved, the newest first."""
    return next((it for it in reversed(journey.reserved) if it.step == step), None)


def confirm(turn: Judging, journey: Journey, it: Reserved) -> None:
    """The points are spent and the reward is the subject's."""
    journey.reserved = tuple(other for other in journey.reserved if other is not it)
    _write(turn, journey, it, "redeemed", main=0, held=-it.points, unit=0)


def give_back(turn: Judging, journey: Journey, it: Reserved) -> None:
    """The subject has its points again, and the reward is there for others."""
    journey.reserved = tuple(other for other in journey.reserved if other is not it)
    state = turn.state
    tz = localtime.zone(zone_of(state, turn.plan.env)) or localtime.UTC
    for until, n in it.parts:
        late = until is not None and until <= turn.now
        points.add(state, it.account, n, localtime.next_midnight(turn.now, tz) if late else until)
    left = state.rewards.get(it.reward, 0) - 1
    state.rewards = {**{name: n for name, n in state.rewards.items() if name != it.reward}}
    if left > 0:
        state.rewards = {**state.rewards, it.reward: left}
    turn.out.releases.append(Release(key=it.key, kind="reward", name=it.reward, unit=""))
    _write(turn, journey, it, "released", main=it.points, held=-it.points, unit=-1)
    earning.pay(turn, it.account, it.key)


def end(turn: Judging, journey: Journey) -> None:
    """A journey is over: what it has reserved goes back."""
    for it in journey.reserved:
        give_back(turn, journey, it)


def _write(turn: Judging, journey: Journey, it: Reserved, what: str, *, main: int, held: int, unit: int) -> None:
    """The movement in the ledger, and a row and an event of what can be spent."""
    origin = None if what == "held" else f"{it.key}:held"
    own = turn.plan.book(it.account)
    for suffix, book, name, delta in (
        ("", own, it.account, main),
        ("_back" if held < 0 else "_up", own, it.account + HELD, held),
        ("_unit", "reward", it.reward, unit),
    ):
        if delta or book == "reward":
            key = f"{it.key}:{what}{suffix}"
            turn.out.entries.append(
                Entry(
                    key, turn.now, book, name, what, delta, turn.state.id,
                    playbook=journey.playbook, step=it.step, origin=origin,
                )
            )  # fmt: skip
    if main:
        balance = turn.state.points.get(it.account, 0)
        detail = {"account": it.account, "delta": main, "balance": balance, "reason": what}
        turn.record("points", f"{it.key}:{what}", detail)
        told = {"account": it.account, "delta": main, "balance": balance}
        turn.tell(earning.CHANGED, told, f"{it.key}:{what}:{earning.CHANGED}", None)
        turn.moved = True
