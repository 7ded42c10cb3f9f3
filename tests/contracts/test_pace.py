"""What a channel's rate and breaker promise, on a clock that is a number."""

from __future__ import annotations

import random

import pytest

from engine.core.model import HOUR, MINUTE, SECOND
from engine.runtime.breaker import LAST, PROBE_EVERY, Breaker
from engine.runtime.rate import Bucket


def busiest(instants: list[int], window: int) -> int:
    """The most of these instants that lie in any half-open window."""
    return max(sum(at <= other < at + window for other in instants) for at in instants)


@pytest.mark.parametrize("rate", [(1, HOUR), (3, MINUTE), (10, SECOND), (50, SECOND), (200, SECOND)])
def test_no_window_holds_more_than_the_rate(rate: tuple[int, int]) -> None:
    """Asked at random instants, a bucket never lets more through in a period than its rate; asked often, nearly all.

    Semantics: outbox.rates
    """
    rng = random.Random(1)
    most, period = rate
    bucket, now, sent = Bucket(rate, 0), 0, list[int]()
    while now < 12 * period:
        now += rng.choice([1, period // most // 7, period // most // 2, period // 3])
        number = bucket.tokens(now)
        bucket.take(number)
        sent += [now] * number
    assert busiest(sent, period) <= most
    eager, now, count = Bucket(rate, 0), 0, 0
    while now < 10 * period:
        count += eager.tokens(now) > 0
        eager.take(eager.tokens(now) > 0)
        now = max(now + 1, eager.opens_at(now))
    assert 9 * most <= count <= 10 * most + 1


def test_a_new_bucket_holds_one() -> None:
    """A process that has just begun sends one message, not a second's worth."""
    bucket = Bucket((1_000, SECOND), 5)
    assert bucket.tokens(5) == 1
    bucket.take(1)
    assert bucket.tokens(5) == 0
    assert bucket.opens_at(5) > 5
    assert bucket.tokens(bucket.opens_at(5)) == 1
    assert bucket.tokens(5 + HOUR) == 50  # a twentieth of a second's


def test_a_clock_that_goes_back() -> None:
    """It gives no tokens and takes none."""
    bucket = Bucket((10, SECOND), HOUR)
    bucket.take(bucket.tokens(HOUR))
    assert bucket.tokens(0) == 0
    assert bucket.tokens(SECOND // 10) == 1


def test_what_the_provider_refuses_makes_it_slower() -> None:
    """Each refusal takes 3 % of the flow, at most a fifth; every minute in peace gives 1 % back."""
    bucket = Bucket((1, SECOND), 0)

    def pause(now: int) -> int:
        bucket.take(bucket.tokens(now))
        return bucket.opens_at(now) - now

    assert pause(0) == SECOND
    bucket.refused(0)
    assert pause(0) == -(-SECOND * 100 // 97)
    for _ in range(50):
        bucket.refused(0)
    assert pause(0) == SECOND * 100 // 80
    for minute in range(1, 30):
        bucket.tokens(minute * MINUTE)
    assert pause(30 * MINUTE) == SECOND


def test_breaker_opens_at_half_of_twenty() -> None:
    """Ten passing failures of the last twenty open it; nine, or fewer answers, do not.

    Semantics: outbox.rates
    """
    for bad in (LAST // 2 - 1, LAST // 2):
        breaker = Breaker()
        for number in range(LAST):
            assert breaker.lets_through(number) is None
            breaker.answered(number < bad, number)
        assert breaker.is_open is (bad >= LAST // 2)
    young = Breaker()
    for number in range(LAST - 1):
        young.answered(True, number)
    assert not young.is_open


def test_breaker_forgets() -> None:
    """Failures older than five minutes do not count."""
    breaker = Breaker()
    for number in range(LAST - 1):
        breaker.answered(True, number)
    breaker.answered(True, 5 * MINUTE + LAST)
    assert not breaker.is_open


def test_breaker_probes() -> None:
    """Open, it lets one message through every five seconds; the answer to that one alone closes it.

    Semantics: outbox.rates
    """
    breaker = Breaker()
    for _ in range(LAST):
        breaker.answered(True, 0)
    assert breaker.lets_through(PROBE_EVERY - 1) == 0
    assert breaker.opens_at() == PROBE_EVERY
    assert breaker.lets_through(PROBE_EVERY) == 1
    breaker.probe(PROBE_EVERY)
    assert breaker.lets_through(HOUR) == 0
    assert breaker.opens_at() is None
    breaker.answered(False, PROBE_EVERY)  # sent before it opened
    assert breaker.is_open
    breaker.probed(True)
    assert breaker.lets_through(2 * PROBE_EVERY - 1) == 0
    assert breaker.lets_through(2 * PROBE_EVERY) == 1
    breaker.probe(2 * PROBE_EVERY)
    breaker.probed(False)
    assert breaker.lets_through(2 * PROBE_EVERY) is None
