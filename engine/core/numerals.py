"""Exact numbers as whole numbers of a power of ten: how history keeps sums small, exact and storable.

A store keeps plain data; a whole number outside 64 bits would not survive it, so it is kept as text of digits
(``packed``), and ``int(...)`` reads both.
"""

from __future__ import annotations

from decimal import Context, Decimal, Inexact, InvalidOperation
from functools import lru_cache
from typing import Any, Final

from engine.errors import ExpressionError

Number = int | Decimal

_WIDEST: Final = 400
"""Numbers of more digits before or after the point are no amounts of anything; history leaves them out."""

_LOW, _HIGH = -(1 << 63), (1 << 63) - 1
_EXACT: Final = Context(prec=4 * _WIDEST, Emin=-999_999, Emax=999_999, traps=[Inexact, InvalidOperation])
_PLACES: Final = tuple(Decimal(1).scaleb(-places) for places in range(_WIDEST + 1))
_UNITS: Final = tuple(10**places for places in range(_WIDEST + 1))
_BITS: Final = 1328  # of 10 ** 400
_LONGEST_PLAIN: Final = 100


def scaled(value: Any, scale: int) -> tuple[int, int] | None:
    """(whole number, scale): the value as whole number of ``10 ** -scale``, with a larger scale where it needs one.

    None when it is not an exact number (text, a bool, a missing value, a float, or absurdly long).
    """
    if value.__class__ is int:
        return (value * 10**scale, scale) if value.bit_length() <= _BITS else None
    if value.__class__ is not Decimal or not value.is_finite() or not -_WIDEST <= value.adjusted() <= _WIDEST:
        return None
    # The fraction is exact whatever the thread's decimal context says, and twice as fast as scaling in one of ours.
    over, under = value.as_integer_ratio()
    if under == 1:
        return over * 10**scale, scale
    unit = 10**scale
    if not unit % under:
        return over * (unit // under), scale
    while unit % under and scale <= _WIDEST:
        scale += 1
        unit *= 10
    return (over * (unit // under), scale) if scale <= _WIDEST else None


def packed(whole: int) -> int | str:
    """The whole number as a store can keep it."""
    return whole if _LOW <= whole <= _HIGH else str(whole)


def exact(whole: int, scale: int) -> Number:
    """The exact number again, without trailing zeros: a whole one is an ``int``."""
    if not scale:
        return whole
    unit: int = _UNITS[scale]
    if not whole % unit:
        return whole // unit
    while not whole % 10:
        whole //= 10
        scale -= 1
    return _EXACT.multiply(whole, _PLACES[scale])


number = lru_cache(maxsize=1024)(exact)
"""The same, remembered: several conditions ask for the same sum at one event."""


def text_key(value: Any) -> str | None:
    """Text that is equal for equal values: 1, 1.0 and 1.00 are one number, "1" is another value. None: no value."""
    if value.__class__ is str:
        return "=" + value
    if value.__class__ is bool:
        return "true" if value else "false"
    found = scaled(value, 0)
    if found is None:
        return None
    whole, scale = found
    return f"{whole}e-{scale}" if scale else str(whole)


def number_text(value: Number) -> str:
    """A number in plain digits; only one of absurd length keeps its exponent."""
    if isinstance(value, int):
        if value.bit_length() > 4 * _BITS:
            raise ExpressionError("a number of more than a thousand digits")
        return str(value)
    return format(value, "f") if value.is_finite() and abs(value.adjusted()) <= _LONGEST_PLAIN else str(value)
