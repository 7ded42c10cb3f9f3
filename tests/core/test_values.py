"""What operators mean on values: exact numbers, missing values, no silent conversions."""

from __future__ import annotations

import math
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core import values as v
from engine.core.model import Event
from engine.core.numerals import number, number_text, packed, scaled, text_key
from engine.errors import ExpressionError

T0 = datetime(2026, 3, 1, 2, tzinfo=UTC)
DAY = timedelta(days=1)

whole = st.integers(-(10**30), 10**30)
fraction = st.decimals(-(10**12), 10**12, allow_nan=False, allow_infinity=False, places=6)
numbers = st.one_of(whole, fraction)
odd = st.one_of(
    st.none(),
    st.booleans(),
    numbers,
    st.sampled_from([Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), Decimal("1E+999999"), Decimal("1E-999999")]),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
    st.datetimes(),
    st.datetimes(timezones=st.just(UTC)),
    st.dates(),
    st.timedeltas(),
)
ORDER = {"<": v.lt, "<=": v.le, ">": v.gt, ">=": v.ge}
REST = [v.add, v.sub, v.mul, v.div, v.floordiv, v.mod]


def test_ordering_with_a_missing_value_is_false_on_either_side() -> None:
    """A missing value is neither more nor less than anything, itself included."""
    for compare in ORDER.values():
        others: tuple[Any, ...] = (None, 0, "x", T0, [], True)
        for other in others:
            assert compare(None, other) is False
            assert compare(other, None) is False


def test_arithmetic_with_a_missing_value_is_missing() -> None:
    """None goes through every operator, even past a wrong kind or a zero."""
    for operation in REST:
        others: tuple[Any, ...] = (None, 0, "x", [])
        for other in others:
            assert operation(None, other) is None
            assert operation(other, None) is None
    assert v.neg(None) is None
    assert v.pos(None) is None


def test_equality_treats_none_as_a_value_and_true_as_no_number() -> None:
    """== never raises: other kinds are simply different."""
    assert v.eq(None, None)
    assert not v.eq(None, 0)
    assert not v.eq(True, 1)
    assert not v.eq(0, False)
    assert v.eq(1, Decimal("1.00"))
    assert not v.eq("1", 1)
    assert v.ne("a", None)


@pytest.mark.parametrize(
    ("left", "right"),
    [("1", 1), (True, 1), (1.5, 1), ([1], [2]), (T0, date(2026, 3, 1)), (DAY, 1), ({}, {}), (True, False), ("x", T0)],
)
def test_ordering_different_or_unordered_kinds_is_an_error(left: Any, right: Any) -> None:
    """Text against numbers, true against 1, a float, a list: nothing is guessed."""
    for compare in ORDER.values():
        with pytest.raises(ExpressionError):
            compare(left, right)


def test_errors_name_what_was_found() -> None:
    """The message shows both values and their kinds."""
    with pytest.raises(ExpressionError, match=r"^cannot compare text 'abc' and a number \(5\)$"):
        v.ge("abc", 5)


@given(numbers, numbers)
def test_sum_difference_and_product_are_exact(a: Any, b: Any) -> None:
    """+ - * agree with fractions to the last digit."""
    assert Fraction(v.add(a, b)) == Fraction(a) + Fraction(b)
    assert Fraction(v.sub(a, b)) == Fraction(a) - Fraction(b)
    assert Fraction(v.mul(a, b)) == Fraction(a) * Fraction(b)


@given(numbers, numbers.filter(bool))
def test_floor_division_follows_the_rules_of_whole_numbers(a: Any, b: Any) -> None:
    """a // b is a whole number rounded down and a % b has the sign of b, also for fractions."""
    quotient, rest = v.floordiv(a, b), v.mod(a, b)
    assert quotient.__class__ is int
    assert quotient == math.floor(Fraction(a) / Fraction(b))
    assert Fraction(rest) == Fraction(a) - quotient * Fraction(b)


@given(numbers, numbers.filter(bool))
def test_division_is_right_to_28_digits(a: Any, b: Any) -> None:
    """a / b is off by less than half a unit of its 28th digit."""
    exact = Fraction(a) / Fraction(b)
    assert abs(Fraction(v.div(a, b)) - exact) <= abs(exact) * Fraction(1, 10**27)


@given(numbers, numbers)
def test_order_is_that_of_the_exact_numbers(a: Any, b: Any) -> None:
    """Whole and fractional numbers are ordered by value."""
    assert v.lt(a, b) == (Fraction(a) < Fraction(b))
    assert v.ge(a, b) == (Fraction(a) >= Fraction(b))


@given(odd, odd)
def test_whatever_comes_only_expression_errors_leave(a: Any, b: Any) -> None:
    """Any pair of values gives an answer or an ExpressionError, from every operator."""
    for operation in (*ORDER.values(), *REST, v.contains, v.item):
        with suppress(ExpressionError):
            operation(a, b)
    for single in (v.neg, v.pos, v.text, v.shown):
        with suppress(ExpressionError):
            single(a)


@pytest.mark.parametrize("operation", [v.div, v.floordiv, v.mod])
@pytest.mark.parametrize("zero", [0, Decimal("0.00"), timedelta(0)])
def test_division_by_zero_is_an_error(operation: Any, zero: Any) -> None:
    """Also of a duration by a zero duration."""
    with pytest.raises(ExpressionError, match="division by zero"):
        operation(DAY if zero.__class__ is timedelta else 1, zero)


def test_inexact_results_are_refused_not_rounded() -> None:
    """A sum that does not fit 100 digits is an error: nothing is lost silently."""
    with pytest.raises(ExpressionError, match="exactly"):
        v.add(Decimal("1E+200"), Decimal("1"))


def test_nothing_grows_without_bound() -> None:
    """Products, texts and lists have limits, and text is never repeated."""
    with pytest.raises(ExpressionError):
        v.mul(1 << 4000, 1 << 4000)
    with pytest.raises(ExpressionError):
        v.add("x" * 40_000, "x" * 40_000)
    with pytest.raises(ExpressionError):
        v.mul("x", 3)
    with pytest.raises(ExpressionError):
        v.mod("%d", 3)


def test_times_and_durations() -> None:
    """The reckoning of times, dates and durations, and its edges."""
    assert v.sub(T0 + DAY, T0) == DAY
    assert v.add(T0, DAY) == v.add(DAY, T0) == T0 + DAY
    assert v.sub(date(2026, 3, 1), DAY) == date(2026, 2, 28)
    assert v.mul(DAY, 3) == v.mul(3, DAY) == 3 * DAY
    assert v.div(DAY, timedelta(hours=1)) == 24
    assert v.floordiv(DAY, timedelta(hours=7)) == 3
    assert v.mod(DAY, timedelta(hours=7)) == timedelta(hours=3)
    assert v.lt(T0, (T0 + DAY).astimezone(timezone(timedelta(hours=8))))
    with pytest.raises(ExpressionError, match="outside the years"):
        v.add(datetime.max.replace(tzinfo=UTC), DAY)
    with pytest.raises(ExpressionError, match="without a zone"):
        v.sub(T0, T0.replace(tzinfo=None))


def test_looking_inside() -> None:
    """Missing places are missing; wrong containers are errors."""
    event = Event(id="e1", type="order.paid", time=0, user="u", data={"amount": 5, "id": "A1"})
    assert v.field({"a": 1}, "a") == 1
    assert v.field({"a": 1}, "b") is None
    assert v.field(None, "b") is None
    assert v.field(event, "amount") == 5
    assert v.field(event, "id") == "e1"
    assert v.item(v.field(event, "data"), "id") == "A1"
    assert v.item([1, 2], -1) == 2
    assert v.item([1, 2], 2) is None
    with pytest.raises(ExpressionError, match="no field 'x'"):
        v.field("text", "x")
    with pytest.raises(ExpressionError):
        v.item([1], True)


def test_membership() -> None:
    """'in' looks into lists, texts and maps, by the rules of ==."""
    assert v.contains("a", ["a", "b"])
    assert not v.contains(1, [True])
    assert v.contains(None, [None])
    assert not v.contains(None, "text")
    assert not v.contains("a", None)
    assert v.contains("海", "上海")
    assert v.contains("k", {"k": 1})
    with pytest.raises(ExpressionError):
        v.contains("1", 123)
    with pytest.raises(ExpressionError):
        v.contains(1, "123")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        (True, "true"),
        (12, "12"),
        (Decimal("99.90"), "99.90"),
        (Decimal("1E+3"), "1000"),
        (Decimal("0.0000001"), "0.0000001"),
        (T0, "2026-03-01T02:00:00Z"),
        (date(2026, 3, 1), "2026-03-01"),
        (36 * timedelta(hours=1), "36h"),
        (timedelta(seconds=1, milliseconds=500), "1.5s"),
        (timedelta(0), "0s"),
        (-DAY, "-1d"),
        (["a", 1, None], "a, 1, "),
        ({"a": Decimal("1.50")}, '{"a":1.50}'),
    ],
)
def test_text_of_values(value: Any, shown: str) -> None:
    """Inside longer text numbers are plain, a missing value is empty, times are RFC 3339."""
    assert v.text(value) == shown


@given(numbers, st.integers(0, 8))
def test_kept_numbers_come_back(value: Any, scale: int) -> None:
    """A number kept as a whole number of a power of ten is the same number again, packed or not."""
    found = scaled(value, scale)
    assert found is not None
    kept, its_scale = found
    assert its_scale >= scale
    assert number(int(packed(kept)), its_scale) == value
    assert -(1 << 63) <= kept < 1 << 63 or packed(kept) == str(kept)


@pytest.mark.parametrize(
    "value",
    [None, True, "5", 1.5, [1], Decimal("NaN"), Decimal("Infinity"), Decimal("1E+500"), Decimal("1E-500"), 10**401],
)
def test_what_is_no_number_is_not_kept(value: Any) -> None:
    """Text, bools, floats and absurd sizes are left out of numeric history."""
    assert scaled(value, 2) is None


def test_equal_values_have_equal_keys() -> None:
    """1, 1.0 and 1.00 are one value; "1" and true are others."""
    assert text_key(1) == text_key(Decimal("1.0")) == text_key(Decimal("1.00"))
    assert len({text_key(one) for one in (1, "1", True, "true", Decimal("0.1"), Decimal("10"))}) == 6
    assert text_key(None) is None
    assert text_key([1]) is None
    assert number_text(Decimal("5.00")) == "5.00"
