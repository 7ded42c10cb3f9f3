"""Intervals and tests for reports; the distributions are SciPy's.

Rule 1: an interval says how sure we are; a share without one is never compared.
Rule 2: who looks at an A/B test every Monday must not be fooled by looking often: arms are compared by a test that may
be read at any time (``anytime``); treated against holdout by the ordinary interval of one look (``difference``).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import ceil, exp, inf, log, sqrt
from typing import Any

from engine.errors import CannotRun

SURE = 0.95
"""How sure intervals are."""

POWER = 0.8
"""How often a difference that is there should be found, where entries that are missing are counted."""

ENOUGH = 100
"""Entries on a side below which nothing is said of it."""

TUNED = 5_000
"""Entries of both arms together at which the interval that may be read at any time is at its best; set beforehand."""


@dataclass(frozen=True)
class Interval:
    """A figure and between what it lies, as sure as ``SURE``."""

    value: float
    low: float
    high: float

    @property
    def clear(self) -> bool:
        """Nothing is not within it."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Moments:
    """A figure of many: how many, their sum and the sum of their squares; who has none counts as 0."""

    count: int
    total: float
    squares: float

    @property
    def mean(self) -> float:
        return self.total / self.count

    @property
    def variance(self) -> float:
        """Of the sample, one degree of freedom less."""
        return max(0.0, self.squares - self.total * self.total / self.count) / (self.count - 1)


@cache
def _stats() -> Any:
    try:
        from scipy import stats  # type: ignore[import-untyped]  # the library has no types
    except ImportError as error:
        hint = "pip install 'drumbeat[report]'"
        raise CannotRun("figures of a period need libraries that are not installed", hint=hint) from error
    return stats


def share(part: int, whole: int, sure: float = SURE) -> Interval:
    """A share with Wilson's score interval (1927)."""
    found = _stats().binomtest(part, whole).proportion_ci(sure, method="wilson")
    return Interval(part / whole, float(found.low), float(found.high))


def difference(part: int, whole: int, other: int, of: int, sure: float = SURE) -> Interval:
    """``part/whole`` less ``other/of`` with Newcombe's hybrid score interval (1998, method 10), of two Wilson ones."""
    one, two = share(part, whole, sure), share(other, of, sure)
    gap = one.value - two.value
    below = sqrt((one.value - one.low) ** 2 + (two.high - two.value) ** 2)
    above = sqrt((one.high - one.value) ** 2 + (two.value - two.low) ** 2)
    return Interval(gap, gap - below, gap + above)


def means(one: Moments, two: Moments, sure: float = SURE) -> Interval:
    """The mean of one less that of the other with Welch's interval: variances may differ."""
    gap = one.mean - two.mean
    first, second = one.variance / one.count, two.variance / two.count
    if first + second == 0:
        return Interval(gap, gap, gap)
    freedom = (first + second) ** 2 / (first**2 / (one.count - 1) + second**2 / (two.count - 1))
    reach = float(_stats().t.ppf(0.5 + sure / 2, freedom)) * sqrt(first + second)
    return Interval(gap, gap - reach, gap + reach)


def needed(one: float, two: float, ratio: float, power: float = POWER, sure: float = SURE) -> int | None:
    """Entries the second side needs to show that two shares differ; the first has ``ratio`` times as many.

    Fleiss' formula for two proportions, without correction for continuity; None where there is nothing to show.
    """
    if one == two:
        return None
    normal = _stats().norm
    pooled = (two + ratio * one) / (1 + ratio)
    level = float(normal.ppf(0.5 + sure / 2)) * sqrt(pooled * (1 - pooled) * (1 + 1 / ratio))
    chance = float(normal.ppf(power)) * sqrt(two * (1 - two) + one * (1 - one) / ratio)
    return ceil(((level + chance) / (one - two)) ** 2)


def anytime(one: Moments, two: Moments, sure: float = SURE) -> tuple[Interval, float]:
    """The mean of one less that of the other: an interval, and a p-value, that hold however often one looks.

    The mixture sequential probability ratio test with a normal mixture (Robbins 1970; Johari, Koomen, Pekelis and
    Walsh, "Always Valid Inference", 2022), as the asymptotic confidence sequence of Waudby-Smith and others (Annals of
    Statistics 2024). Its mixture is fixed beforehand by ``TUNED``.
    """
    size = one.count + two.count
    spread = size * (one.variance / one.count + two.variance / two.count)  # of one entry, as it were
    gap = one.mean - two.mean
    if spread == 0:
        return Interval(gap, -inf, inf), 1.0
    miss = 1 - sure
    rho = (-2 * log(miss) + log(-2 * log(miss) + 1)) / TUNED
    weight = size * rho + 1
    reach = sqrt(spread * 2 * weight / (size * size * rho) * log(sqrt(weight) / miss))
    p = min(1.0, sqrt(weight) * exp(-rho * size * size * gap * gap / (2 * spread * weight)))
    return Interval(gap, gap - reach, gap + reach), p
