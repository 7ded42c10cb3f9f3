"""What one condition says about another, against a brute-force oracle over all small values."""

from __future__ import annotations

from decimal import Decimal
from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from engine.core.history import HistoryBook
from engine.core.model import State
from engine.core.moment import Condition, Env, Moment
from engine.language.expressions import Schema, Scope, compile_condition
from engine.language.lint.terms import Choice, clash, covers_all, implies, terms

SCOPE = Scope(schema=Schema(profile_open=True))
VALUES = (None, -1, 0, 1, 2, 3, Decimal("1.5"), "a", "b", True, False)
FIELDS = ("x", "y")
NUMBERS = ("0", "1", "2", "1.5")

leaves = st.one_of(
    st.builds(
        lambda field, op, value: f"user.{field} {op} {value}",
        st.sampled_from(FIELDS), st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), st.sampled_from(NUMBERS),
    ),
    st.builds(
        lambda field, op, value: f"user.{field} {op} {value}",
        st.sampled_from(FIELDS), st.sampled_from(["==", "!="]), st.sampled_from(["'a'", "'b'", "none", "true"]),
    ),
    st.builds(lambda field: f"not user.{field}", st.sampled_from(FIELDS)),
    st.builds(lambda field: f"user.{field}", st.sampled_from(FIELDS)),
    st.builds(lambda value: f"{value} < user.x", st.sampled_from(["0", "1", "2"])),
)  # fmt: skip
conjunctions = st.lists(leaves, min_size=1, max_size=3).map(" and ".join)
conditions = st.lists(conjunctions, min_size=1, max_size=2).map(lambda parts: " or ".join(f"({one})" for one in parts))


def compiled(text: str) -> Condition:
    found, issues = compile_condition(text, SCOPE, HistoryBook())
    assert found is not None, issues
    return found


def outcomes(condition: Condition) -> list[bool | None]:
    """The verdict for every pair of values; None where it is an error."""
    found: list[bool | None] = []
    for x, y in product(VALUES, VALUES):
        state = State(id="u")
        state.traits = {name: value for name, value in (("x", x), ("y", y)) if value is not None}
        try:
            found.append(condition.test(Moment(state, None, 0, 0, Env())))
        except Exception:
            found.append(None)
    return found


@given(conditions, conditions)
def test_what_is_said_to_follow_follows(one: str, other: str) -> None:
    """A condition said to imply another is never true where the other is false."""
    left, right = compiled(one), compiled(other)
    if implies(terms(left), terms(right)):
        for a, b in zip(outcomes(left), outcomes(right), strict=True):
            assert not (a is True and b is False), (one, other)


@given(conjunctions)
def test_what_is_said_to_clash_is_never_true(text: str) -> None:
    """A condition two parts of which are said to exclude each other is true of no value."""
    found = compiled(text)
    if clash(terms(found)) is not None:
        assert True not in outcomes(found), text


@given(leaves, leaves)
def test_what_is_said_to_hold_always_does(one: str, other: str) -> None:
    """Of two alternatives said to cover everything one holds for each value, also for a missing one."""
    found = compiled(f"{one} or {other}")
    for term in terms(found):
        if isinstance(term, Choice) and covers_all(term) is not None:
            assert False not in outcomes(found), (one, other)


def test_the_plain_cases_are_seen() -> None:
    """The examples people meet are not missed, or a silent check would pass the tests above."""
    assert implies(terms(compiled("user.x > 5")), terms(compiled("user.x > 3")))
    assert not implies(terms(compiled("user.x > 3")), terms(compiled("user.x > 5")))
    assert implies(terms(compiled("user.x == 5 and user.y")), terms(compiled("user.x >= 5 or user.y == 1")))
    assert clash(terms(compiled("user.x > 5 and user.y and user.x < 3"))) is not None
    assert clash(terms(compiled("user.x == 'a' and user.x == 'b'"))) is not None
    assert clash(terms(compiled("user.x and not user.x"))) is not None
    assert clash(terms(compiled("user.x >= 5 and user.x <= 5"))) is None
