"""The statistics of reports against statsmodels and SciPy, asked on their own, and on the purchases of a real shop."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from decimal import Decimal
from math import inf, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import (
    confint_proportions_2indep,
    proportion_confint,
    samplesize_proportions_2indep_onetail,
)
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from engine.insight.statistics import Moments, anytime, difference, means, needed, share

ORDERS = Path(__file__).resolve().parents[2] / "examples" / "cdnow" / "feed" / "cdnow_orders.jsonl.gz"


@pytest.fixture(scope="module")
def spent() -> dict[int, list[Decimal]]:
    """What the customers of the shop spent, in two groups: by whether their number is divisible by seven."""
    sums: dict[str, Decimal] = defaultdict(Decimal)
    with gzip.open(ORDERS, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line, parse_float=Decimal)
            sums[row["user"]] += row["data"]["amount"]
    sides: dict[int, list[Decimal]] = {0: [], 1: []}
    for user, total in sums.items():
        sides[int(user) % 7 == 0].append(total)
    return sides


def moments(values: Any) -> Moments:
    """Sums of values."""
    numbers = [float(it) for it in values]
    return Moments(len(numbers), sum(numbers), sum(it * it for it in numbers))


def test_shares_are_as_statsmodels_has_them(spent: dict[int, list[Decimal]]) -> None:
    """Wilson's interval of a share, Newcombe's of a difference: those of statsmodels, on real shares and small ones."""
    cases = [(sum(it > 100 for it in side), len(side)) for side in spent.values()]
    for part, whole in [*cases, (0, 40), (40, 40), (1, 3)]:
        found = share(part, whole)
        low, high = proportion_confint(part, whole, method="wilson")
        assert (found.value, found.low, found.high) == pytest.approx((part / whole, low, high), abs=1e-12)
    for one, two in [(cases[0], cases[1]), ((56, 70), (48, 80)), ((0, 10), (0, 20)), ((10, 10), (0, 20))]:
        gap = difference(*one, *two)
        assert (gap.low, gap.high) == pytest.approx(
            confint_proportions_2indep(*one, *two, method="newcomb", compare="diff"), abs=1e-12
        )
        assert gap.clear == (gap.low > 0 or gap.high < 0)


def test_means_are_as_statsmodels_has_them(spent: dict[int, list[Decimal]]) -> None:
    """Welch's interval of a difference of means: that of statsmodels, of what real customers spent."""
    one, two = ([float(it) for it in side] for side in spent.values())
    found = means(moments(one), moments(two))
    expected = CompareMeans(DescrStatsW(one), DescrStatsW(two)).tconfint_diff(usevar="unequal")
    assert (found.low, found.high) == pytest.approx(expected, rel=1e-9)
    assert found.value == pytest.approx(np.mean(one) - np.mean(two))
    same = means(Moments(5, 10.0, 20.0), Moments(9, 9.0, 9.0))  # nobody differs from the next
    assert (same.value, same.low, same.high) == (1.0, 1.0, 1.0)


def test_what_is_missing_is_as_statsmodels_has_it() -> None:
    """Entries the holdout needs to show a difference: those of statsmodels, for equal and unequal sides."""
    for one, two, ratio in [(0.24, 0.2, 9.0), (0.11, 0.1, 1.0), (0.05, 0.08, 4.0)]:
        first = samplesize_proportions_2indep_onetail(
            one - two, two, 0.8, ratio=1 / ratio, alpha=0.05, alternative="two-sided"
        )
        assert needed(one, two, ratio) == pytest.approx(first / ratio, abs=1)
    assert needed(0.2, 0.2, 1.0) is None


def test_the_sequential_interval_and_its_p_agree() -> None:
    """Nothing is left out of the interval exactly where p is below its level, and it is wider than that of one look."""
    for goals in range(80, 200, 5):
        one, two = Moments(1_000, float(goals), float(goals)), Moments(1_000, 100.0, 100.0)
        gap, p = anytime(one, two)
        assert gap.clear == (p < 0.05)
        assert gap.high - gap.low > means(one, two).high - means(one, two).low
        assert gap.value == pytest.approx((goals - 100) / 1_000)
    none, p = anytime(Moments(200, 0.0, 0.0), Moments(200, 0.0, 0.0))
    assert (none.low, none.high, p) == (-inf, inf, 1.0)


def test_looking_often_does_not_fool_it() -> None:
    """Of A/A tests looked at 60 times, fewer than one in twenty is ever called clear; the ordinary test is fooled."""
    chance = np.random.default_rng(6)
    fooled = naive = 0
    rounds, looks, size = 400, 60, 100
    level = float(stats.norm.ppf(0.975))
    for _ in range(rounds):
        goals = chance.binomial(size, 0.1, size=(2, looks)).cumsum(axis=1)
        clear = usual = False
        for look in range(looks):
            n, a, b = (look + 1) * size, float(goals[0, look]), float(goals[1, look])
            clear = clear or anytime(Moments(n, a, a), Moments(n, b, b))[0].clear
            pooled = (a + b) / (2 * n)
            usual = usual or abs(a - b) / n > level * sqrt(2 * pooled * (1 - pooled) / n)
        fooled += clear
        naive += usual
    assert fooled / rounds < 0.05
    assert naive / rounds > 0.2
