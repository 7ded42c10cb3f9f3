"""Who brought whom: codes of people, and when one that somebody came with counts.

Rule 1: a code is a keyed hash of the programme and its owner: the same person has the same code for ever, and nobody
can guess another's.
Rule 2: a code is taken once a person and programme; who it belongs to is told by ``referral.accepted``, and what that
is worth is for playbooks to say.
Rule 3: who is refused is refused for one reason, looked for in a fixed order.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.core.coupons import code_for
from engine.core.model import Event, State

ACCEPTED = "referral.accepted"
"""Told to whoever brought somebody: data ``{referral, invitee, code}``."""

GIVE, USE = "referral code", "referral"
"""Kinds of requests: the own code of a subject (names: programme), the code it came with (names: programme, code)."""

MOST = 1_000
"""The largest limit of people one may bring in a window; so many instants are kept of an inviter."""


@dataclass(frozen=True, kw_only=True)
class Referral:
    """A referral programme of the catalog."""

    name: str
    prefix: str  #: codes begin so
    field: str  #: trait of the user that holds the own code
    differ: tuple[str, ...] = ()  #: traits in which the two must differ: device, card ...
    per_inviter: int | None = None  #: people one may bring; None: any number
    window: int | None = None  #: rolling window of ``per_inviter``, microseconds; None: for ever


def own_code(referral: Referral, subject: str, secret: bytes) -> str:
    """The code of a subject."""
    return code_for(referral.prefix, f"referral:{referral.name}:{subject}", secret)


def record(referral: str, code: str) -> str:
    """Key of the answer under which the store finds the owner of a code."""
    return f"referral:{referral}:{code}"


def place(referral: str) -> str:
    """Key of ``State.memory``: by whom the subject was brought."""
    return f"referral:{referral}"


def _brought(referral: str) -> str:
    return f"referral:{referral}:brought"


def refusal(referral: Referral, invitee: State, inviter: State | None, now: int) -> str | None:
    """Why a code does not count at an instant; None: it does.

    Parameters
    ----------
    invitee: who came with it.
    inviter: whose it is; None: nobody's.
    """
    if inviter is None:
        return "unknown_code"
    if inviter.id == invitee.id:
        return "own_code"
    if place(referral.name) in invitee.memory:
        return "already"
    for name in referral.differ:
        mine, other = invitee.traits.get(name), inviter.traits.get(name)
        if mine is not None and mine == other:
            return f"same_{name}"
    if referral.per_inviter is not None:
        brought = inviter.memory.get(_brought(referral.name), [])
        if referral.window is not None:
            brought = [at for at in brought if at > now - referral.window]
        if len(brought) >= referral.per_inviter:
            return "per_inviter"
    return None


def accepted(state: State, event: Event, folding: object) -> None:
    """``referral.accepted``, as the engine makes it: its receiver brought one more."""
    name = event.data.get("referral")
    if not event.internal or not event.depth or not isinstance(name, str):
        return
    where = _brought(name)
    state.memory[where] = [*state.memory.get(where, ()), event.time][-MOST:]
