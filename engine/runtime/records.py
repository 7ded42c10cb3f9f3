"""What the desk knows of coupons: what the store has, and what was decided since the last commit."""

from __future__ import annotations

from collections.abc import Callable

from engine.core.coupons import Coupon
from engine.core.model import Out
from engine.ports import Store


class CouponRecords:
    """Records of a session.

    Parameters
    ----------
    store: where coupons are.
    out: what was decided since the last commit.
    """

    def __init__(self, store: Store, out: Callable[[], Out]) -> None:
        self._out = out
        self.coupon: Callable[[str], Coupon | None] = store.coupon
        self.codes = store.codes
        self.code_count = store.code_count
        self._carriers = store.carriers

    def carriers(self, subject: str, code: str) -> list[tuple[str, str]]:
        """What told a subject of a code: what was decided just now still may go out."""
        found = [(it.key, "pending") for it in self._out().effects if code in it.carries and it.user == subject]
        return [*self._carriers(subject, code), *found]
