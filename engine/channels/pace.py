"""How fast, how wide and how long: the keys every channel takes, as a ``Pace``, and those of a host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.core.model import DAY, HOUR, MINUTE, SECOND
from engine.ports import Allowed, Pace

_UNITS = {"s": SECOND, "min": MINUTE, "h": HOUR}


def rate_of(text: str) -> tuple[int, int]:
    """(how often, microseconds) of a rate such as ``100/s``."""
    number, _, unit = text.partition("/")
    return int(number), _UNITS[unit]


def allowed_of(fields: Mapping[str, Any]) -> Allowed:
    """What an entry of ``hosts:`` lets a host be asked."""
    least = Allowed()
    rate = rate_of(fields["rate"]) if "rate" in fields else least.rate
    return Allowed(rate=rate, concurrency=fields.get("concurrency", least.concurrency))


def pace_of(fields: Mapping[str, Any], *, concurrency: int = 8, batch: int = 1, attempts: int = 8) -> Pace:
    """The pace an entry of ``channels:`` asks for.

    Parameters
    ----------
    fields: the entry, with ``rate``, ``concurrency``, ``attempts`` and ``retry_for`` where they are written.
    concurrency, attempts: what holds when the entry is silent.
    batch: messages one call carries.
    """
    rate = rate_of(fields["rate"]) if fields.get("rate") else None
    horizon = fields.get("retry_for")
    return Pace(
        rate=rate,
        concurrency=fields.get("concurrency", concurrency),
        batch=batch,
        attempts=fields.get("attempts", attempts),
        horizon=DAY if horizon is None else horizon.elapsed,
    )
