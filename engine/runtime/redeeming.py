"""Redeeming a coupon on request: the one question whose answer cannot wait for the next piece of events.

Rule 1: what is done is an event ``coupon.redeemed`` like any other, decided at once and alone; its id is made of the id
of the request. So a request that comes again is answered as before, whoever was killed in between.
Rule 2: a refusal changes nothing and is not remembered: the same request may be granted later.
Rule 3: the engine's thread alone calls this, between two of its transactions.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from engine.core.couponing import REDEEMED as REDEEMED_EVENT
from engine.core.couponing import told
from engine.core.coupons import EXPIRED, REDEEMED, RETURNED, Coupon, CouponPool
from engine.core.instants import format_instant
from engine.core.model import Event
from engine.errors import InternalError
from engine.ports import Record, Store
from engine.runtime.pump import Pump

FEED = "coupons"
"""Name of the feed under which requests are decided."""

_REQUEST = "redeem:"


class Redeem(msgspec.Struct, forbid_unknown_fields=True):
    """A request to redeem a code."""

    id: str  #: of the request: the same id redeems once
    code: str
    user: str | None = None  #: who shows it; None: whoever it was given to
    order: str | None = None  #: what it is redeemed for
    amount: Decimal | None = None  #: what the order comes to
    currency: str | None = None  #: of the amount
    now: int | None = None  #: the machine's clock of who asks, for validity; None: the engine's


class Verdict(msgspec.Struct):
    """What became of a request."""

    status: str  #: redeemed | refused
    code: str
    reason: str | None = None
    """Why it is refused: unknown, not_yours, cancelled, redeemed, expired, min_spend, currency."""
    message: str = ""  #: the refusal in a sentence
    repeated: bool = False  #: this very request had redeemed it before
    pool: str | None = None
    user: str | None = None  #: whose it is
    value: Mapping[str, Any] | None = None  #: what it is worth, as the catalog says
    expires_at: str | None = None
    time: str | None = None  #: when it was redeemed


def redeem(pump: Pump, ask: Redeem, at: int) -> Verdict:
    """Redeem a code, or say why not. ``at``: the instant at which it happens, by the engine's clock."""
    store, pools = pump.store, pump.plan.pools
    event_id = _REQUEST + ask.id
    entry = f"{event_id}:{REDEEMED}"
    before = _done_before(store, ask, event_id, entry)
    if before is not None:
        return before
    coupon = store.coupon(ask.code)
    pool: CouponPool | None = None if coupon is None else pools.get(coupon.pool)
    refused = _refusal(ask, coupon, pool, max(at, ask.now or at))
    if refused is not None or coupon is None:
        return Verdict("refused", ask.code, *(refused or ("unknown", told("unknown"))))
    data: dict[str, Any] = {"code": ask.code, "pool": coupon.pool}
    data |= {name: it for name in ("order", "amount", "currency") if (it := getattr(ask, name)) is not None}
    event = Event(event_id, REDEEMED_EVENT, at, coupon.subject, None, data, internal=True)
    pump.decide([Record(FEED, 0, b"", event)])
    coupon = store.coupon(ask.code)
    if coupon is None or coupon.by != entry:
        raise InternalError(f"redeeming was decided and not done: the record of request {ask.id!r} is in quarantine")
    return _redeemed(ask, coupon, pool, repeated=False)


def _done_before(store: Store, ask: Redeem, event_id: str, entry: str) -> Verdict | None:
    """The answer to a request that was decided before."""
    if not store.known([event_id]):
        return None
    coupon = store.coupon(ask.code)
    if coupon is None or (ask.user is not None and coupon.subject != ask.user):
        return None
    if coupon.by == entry or any(it.key == entry for it in store.ledger(subject=coupon.subject, book="coupon")):
        return _redeemed(ask, coupon, None, repeated=True)
    return Verdict("refused", ask.code, "request", "the id of this request redeemed another code")


def _redeemed(ask: Redeem, coupon: Coupon, pool: CouponPool | None, *, repeated: bool) -> Verdict:
    return Verdict(
        "redeemed", ask.code, repeated=repeated, pool=coupon.pool, user=coupon.subject,
        value=None if pool is None else pool.value,
        expires_at=None if coupon.until is None else format_instant(coupon.until), time=format_instant(coupon.moved),
    )  # fmt: skip


def _refusal(ask: Redeem, coupon: Coupon | None, pool: CouponPool | None, now: int) -> tuple[str, str] | None:
    """(reason, sentence) against redeeming a code at an instant."""
    reason = _objection(ask, coupon, now)
    if reason is not None:
        return reason, told(reason)
    value = {} if pool is None or pool.value is None else pool.value
    currency, least = value.get("currency"), value.get("min_spend")
    if ask.currency is not None and currency is not None and ask.currency != currency:
        return "currency", f"it is worth something in {currency}, and the order is in {ask.currency}"
    if least is not None and (ask.amount is None or ask.amount < least):
        spent = "the amount of the order is not known" if ask.amount is None else f"the order comes to {ask.amount}"
        return "min_spend", f"it asks for an order of at least {least}, and {spent}"
    return None


def _objection(ask: Redeem, coupon: Coupon | None, now: int) -> str | None:
    if coupon is None or not coupon.subject:
        return "unknown"
    if ask.user is not None and ask.user != coupon.subject:
        return "not_yours"
    if coupon.status == RETURNED:
        return "cancelled"
    if coupon.status == REDEEMED:
        return "redeemed"
    lapsed = coupon.until is not None and now > coupon.until
    return "expired" if lapsed or coupon.status == EXPIRED else None
