"""How fast, how wide and how long: the keys every channel takes, as a ``Pace``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.core.model import DAY, HOUR, MINUTE, SECOND
from engine.ports import Pace

_UNITS = {"s": SECOND, "min": MINUTE, "h": HOUR}


def pace_of(fields: Mapping[str, Any], *, concurrency: int = 8, batch: int = 1, attempts: int = 8) -> Pace:
    """The pace an entry of ``channels:`` asks for.

    Parameters
    ----------
    fields: the entry, with ``rate``, ``concurrency``, ``attempts`` and ``retry_for`` where they are written.
    concurrency, attempts: what holds when the entry is silent.
    batch: messages one call carries.
    """
    rate = None
    if fields.get("rate"):
        number, _, unit = fields["rate"].partition("/")
        rate = (int(number), _UNITS[unit])
    horizon = fields.get("retry_for")
    return Pace(
        rate=rate,
        concurrency=fields.get("concurrency", concurrency),
        batch=batch,
        attempts=fields.get("attempts", attempts),
        horizon=DAY if horizon is None else horizon.elapsed,
    )
