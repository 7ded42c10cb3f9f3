"""``coupon``: give a coupon from a pool."""

from __future__ import annotations

from typing import Any

from engine.core.coupons import CouponPool, pool_names, within_user_limit
from engine.core.instants import format_instant
from engine.core.journeys import Run, as_datetime
from engine.core.kinds import STOP, Action, Build, Pause
from engine.core.model import Answer, Event
from engine.core.plan import Block, Node
from engine.core.shapes import ON_DENIED, Map, Ref, optional, required
from engine.core.subjects import USER


class GiveCoupon(Action):
    """Reserve a coupon before anything is said of it. ``steps.<id>`` has ``.code .expires_at .value``, or is none.

    Denied with ``sold_out``, ``budget``, ``per_day`` or ``per_user``; for the first three the pool's
    ``on_exhausted: {use: other}`` is tried first.

    Example:
        coupon: {pool: new-user-20, on_exhausted: skip}
    """

    word = "coupon"
    about = (USER,)
    results = frozenset({"code", "expires_at", "value", "pool"})
    shape = Map(
        {
            "pool": required(Ref("coupon"), "the coupon of the catalog"),
            "on_exhausted": optional(ON_DENIED, "when it is denied: skip (default), stop, or steps"),
        },
        short="pool",
    )

    def __init__(self, pool: str, on_denied: str | Block) -> None:
        self.pool = pool
        self.on_denied = on_denied

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> GiveCoupon:
        """The pool is checked against the catalog."""
        return cls(fields["pool"], fields.get("on_exhausted", "skip"))

    def gist(self) -> str:
        return self.pool

    def tells(self) -> list[tuple[str, str | None]]:
        return [("coupon.issued", self.pool)]

    def ways(self) -> list[tuple[str, Block | Pause | None]]:
        if self.on_denied == "skip":
            return [("", None)]
        return [("", None), ("none left", STOP if isinstance(self.on_denied, str) else self.on_denied)]

    def blocks(self) -> tuple[Block, ...]:
        return (self.on_denied,) if isinstance(self.on_denied, Block) else ()

    def run(self, run: Run) -> Node | Pause | None:
        run.result(None)
        if run.held:
            return self._hold_out(run)
        names = self._open_to(run)
        if not names:
            return self._denied(run, self.pool, "per_user")
        return run.ask("coupon", names)

    def resume(self, run: Run, cause: Event | Answer | None) -> Node | Pause | None:
        if not isinstance(cause, Answer) or not cause.granted or cause.name is None:
            reason = cause.reason if isinstance(cause, Answer) else None
            return self._denied(run, self.pool, reason or "sold_out")
        pool: CouponPool = run.plan.pools[cause.name]
        expires = _expiry(pool, run)
        if run.effect("coupon", _detail(pool, cause.unit, expires)):
            cost = pool.cost or None
            run.book("coupon", pool.name, "issued", 1, unit=cause.unit, amount=cost, until=expires)
            run.turn.granted(run.journey, pool, cause.unit or "", run.key(), expires, run.node.told)
        run.result(_result(pool, cause.unit, expires))
        run.tell("coupon.issued", {"pool": pool.name, "code": cause.unit})
        return run.node.next

    def _open_to(self, run: Run) -> list[str]:
        """The pool and its fall-backs, less those whose per-user limit the subject has reached."""
        return pool_names(run.plan.pools, self.pool, lambda pool: _within_user_limit(pool, run))

    def _hold_out(self, run: Run) -> Node | Pause | None:
        """A held-out subject walks on with the same times and without a code."""
        pool: CouponPool = run.plan.pools[self.pool]
        expires = _expiry(pool, run)
        run.effect("coupon", _detail(pool, None, expires))
        run.result(_result(pool, None, expires))
        return run.node.next

    def _denied(self, run: Run, pool: str, reason: str) -> Node | Pause | None:
        detail = {"pool": pool, "code": None, "expires_at": None, "value": None}
        run.effect("coupon", detail, status="denied", reason=reason)
        if isinstance(self.on_denied, Block):
            return self.on_denied.first or run.node.next
        return STOP if self.on_denied == "stop" else run.node.next


def _within_user_limit(pool: CouponPool, run: Run) -> bool:
    return within_user_limit(pool, run.state.coupons.get(pool.name, []), run.now)


def _expiry(pool: CouponPool, run: Run) -> int | None:
    return None if pool.valid_for is None else int(pool.valid_for.after(run.now, run.zone))


def _detail(pool: CouponPool, code: str | None, expires: int | None) -> dict[str, Any]:
    shown = None if expires is None else format_instant(expires)
    return {"pool": pool.name, "code": code, "expires_at": shown, "value": pool.value}


def _result(pool: CouponPool, code: str | None, expires: int | None) -> dict[str, Any]:
    return {"code": code, "expires_at": as_datetime(expires), "value": pool.value, "pool": pool.name}
