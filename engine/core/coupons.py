"""What the engine knows of coupons: pools of the catalog, what each gave, and codes that were given.

Rule 1: a pool is one small record, a coupon that was given another; ``coupon_desk`` alone changes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol

import msgspec

REDEEM, REVERSE, LAPSE, LOOK, RETURN = "redeem", "reverse", "lapse", "look", "return"
"""Kinds of requests about a coupon that was given; ``names`` of each holds its code."""

MOVES = frozenset({REDEEM, REVERSE, LAPSE, LOOK, RETURN})

ISSUED, REDEEMED, REVERSED, EXPIRED, RETURNED = "issued", "redeemed", "reversed", "expired", "returned"
"""Where a coupon stands; also what the ledger calls the move that brought it there."""

LEVELS = (80, 95, 100)
"""Percent of a pool given at which the operator is told."""

OPEN = (ISSUED, REVERSED)
"""Where a coupon stands that can be redeemed."""

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_CODE_BYTES = 10  # 80 bits, 16 letters: not to be guessed (reliability.md, threat 19)
_PAIRS = [one + other for one in _ALPHABET for other in _ALPHABET]  # two letters for ten bits


@dataclass(frozen=True, kw_only=True)
class CouponPool:
    """A coupon of the catalog, as deciding needs it."""

    name: str
    total: int | None  #: coupons in all; None: unlimited
    per_day: int | None = None  #: coupons a day of the program's zone
    budget: Decimal | None = None  #: sum of ``cost`` in all
    cost: Decimal = Decimal(0)  #: what one coupon may cost (``value.off``)
    prefix: str | None = None  #: generated codes begin so
    codes: tuple[str, ...] = ()  #: codes from a file, given in order
    imported: bool = False  #: codes are taken from the store, in the order in which they were imported
    valid_for: Any = None  #: Span | None
    remind: int | None = None  #: microseconds before it lapses at which ``coupon.expiring`` is told
    value: Mapping[str, Any] | None = None  #: what the coupon is worth, as written
    per_user: int | None = None  #: coupons a subject; None: unlimited
    per_user_window: int | None = None  #: rolling window of ``per_user``, microseconds; None: for ever
    fallback: str | None = None  #: pool used when this one is exhausted
    title: str | None = None  #: shown to people


def within_user_limit(pool: CouponPool, given: Sequence[int], now: int) -> bool:
    """May a subject who was given coupons of a pool at these instants have one more?"""
    if pool.per_user is None:
        return True
    if pool.per_user_window is not None:
        given = [at for at in given if at > now - pool.per_user_window]
    return len(given) < pool.per_user


class PoolState(msgspec.Struct):
    """What a coupon pool has given."""

    issued: int = 0  #: coupons given and not returned
    day: int = 0  #: local day number of ``today``
    today: int = 0
    spent: Decimal = Decimal(0)  #: cost of what is issued
    last: str | None = None  #: the newest code given from a file: the next one stands behind it
    cursor: int = 0  #: place of the newest code given of those that were imported
    free: list[str] = []  #: codes of a list that were returned; they go first
    redeemed: int = 0  #: how often one was, over the whole life; the others likewise
    reversed: int = 0
    expired: int = 0
    returned: int = 0
    told: int = 0  #: the highest of ``LEVELS`` the operator was told of


class Coupon(msgspec.Struct):
    """One code that was given."""

    code: str
    pool: str
    key: str  #: effect key of the step that gave it
    subject: str  #: whose it is
    at: int  #: instant it was given
    until: int | None = None  #: last instant at which it can be redeemed; None: any
    amount: Decimal | None = None  #: what it may cost
    playbook: str | None = None
    step: str | None = None
    status: str = ISSUED
    moved: int = 0  #: instant of its newest move
    by: str = ""  #: key of the ledger's entry of that move


class PoolFigures(NamedTuple):
    """How a pool stands."""

    issued: int
    redeemed: int  #: less those that were reversed
    left: int | None  #: coupons there still are; None: as many as are asked for
    budget_left: Decimal | None  #: None: no budget


class Records(Protocol):
    """What the desk asks the store for."""

    def coupon(self, code: str) -> Coupon | None:
        """A code that was given; None: it was not."""
        ...

    def codes(self, pool: str, after: int, limit: int) -> list[tuple[int, str]]:
        """At most ``limit`` imported codes of a pool behind a place, each with its place, in order."""
        ...

    def code_count(self, pool: str) -> int:
        """How many codes were imported into a pool."""
        ...

    def carriers(self, subject: str, code: str) -> list[tuple[str, str]]:
        """(effect key, how far its delivery is) of everything to a subject that told of a code."""
        ...


class NoRecords:
    """A desk without a store: nothing was given before, nothing was imported."""

    def coupon(self, code: str) -> Coupon | None:
        return None

    def codes(self, pool: str, after: int, limit: int) -> list[tuple[int, str]]:
        return []

    def code_count(self, pool: str) -> int:
        return 0

    def carriers(self, subject: str, code: str) -> list[tuple[str, str]]:
        return []


def code_for(prefix: str, key: str, secret: bytes) -> str:
    """A coupon code nobody can guess: keyed BLAKE2b of the effect key, in Crockford's base 32."""
    digest = blake2b(key.encode(), key=secret[:64], digest_size=_CODE_BYTES).digest()
    number, pairs = int.from_bytes(digest, "big"), _PAIRS
    return (
        f"{prefix}-{pairs[number >> 70]}{pairs[number >> 60 & 1023]}{pairs[number >> 50 & 1023]}"
        f"{pairs[number >> 40 & 1023]}{pairs[number >> 30 & 1023]}{pairs[number >> 20 & 1023]}"
        f"{pairs[number >> 10 & 1023]}{pairs[number & 1023]}"
    )


def with_stand_ins(pools: Mapping[str, CouponPool], there: Callable[[str], int]) -> Mapping[str, CouponPool]:
    """The pools as a rehearsal gives them out: what would be imported is generated, up to ``total``.

    ``there``: how many codes a pool has all the same; those of such a pool are given.
    """
    return {
        name: replace(it, imported=False, prefix=f"SIM-{name}") if it.imported and not there(name) else it
        for name, it in pools.items()
    }


def pool_names(pools: Mapping[str, CouponPool], first: str, fits: Callable[[CouponPool], bool]) -> list[str]:
    """A pool and its fall-backs in order, less those that do not fit; none where the first does not."""
    names: list[str] = []
    name: str | None = first
    while name is not None and name not in names:
        if fits(pools[name]):
            names.append(name)
        elif name == first:
            return []
        name = pools[name].fallback
    return names
