"""What was expected against what happened: the quick way and the slow, obvious one agree."""

from __future__ import annotations

from itertools import pairwise, permutations

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.insight.matching import Fact, compare, same
from engine.language.diagnostics import Mark
from engine.language.scenario_model import Expectation

HERE = Mark("s.yaml", 1, 1)


def wanted(**keys: object) -> Expectation:
    """An expectation of a badge."""
    return Expectation("badge", "badge", keys, None, HERE, str(keys))


def fact(time: int, must: bool, **keys: object) -> Fact:
    """A badge that was given."""
    return Fact("badge", time, keys, must)


expectations = st.lists(
    st.builds(
        lambda name, user: wanted(**{key: value for key, value in (("name", name), ("user", user)) if value}),
        st.sampled_from(["a", "b", None]), st.sampled_from(["u", "v", None]),
    ),
    max_size=4,
)  # fmt: skip
facts = st.lists(
    st.builds(
        lambda time, must, name, user: fact(time, must, name=name, user=user),
        st.integers(1, 3), st.booleans(), st.sampled_from("ab"), st.sampled_from("uv"),
    ),
    max_size=5,
)  # fmt: skip


def slowly(expected: list[Expectation], happened: list[Fact]) -> bool:
    """Is there any way at all? Every choice is tried."""
    must = [it for it in happened if it.must]
    for chosen in permutations(happened, len(expected)):
        fits = all(
            all(it.fields.get(key) == value for key, value in one.wanted.items())
            for one, it in zip(expected, chosen, strict=True)
        )
        ordered = all(one.time <= two.time for one, two in pairwise(chosen))
        if fits and ordered and all(any(it is one for one in chosen) for it in must):
            return True
    return False


@settings(max_examples=150, deadline=None)
@given(expectations, facts)
def test_matching_equals_brute_force(expected: list[Expectation], happened: list[Fact]) -> None:
    """A check passes exactly when some assignment meets every expectation in order and leaves no effect over."""
    assert compare(expected, happened, None).ok is slowly(expected, happened)


@settings(max_examples=100, deadline=None)
@given(expectations, facts)
def test_a_verdict_is_whole(expected: list[Expectation], happened: list[Fact]) -> None:
    """Each expectation is met or missing, each effect met, near a missing one, or unexpected; never two of these."""
    verdict = compare(expected, happened, None)
    assert len(verdict.met) + len(verdict.misses) == len(expected)
    near = [miss.nearest for miss in verdict.misses if miss.nearest is not None]
    spoken = [id(it) for it in [*(it for _, it in verdict.met), *near, *verdict.unexpected]]
    assert len(spoken) == len(set(spoken))
    assert {id(it) for it in happened if it.must} <= set(spoken)


def test_the_nearest_miss_stands_first() -> None:
    """The pair that differs in fewest keys is shown first, with the keys that differ."""
    verdict = compare(
        [wanted(name="c", user="x"), wanted(name="a", user="v")], [fact(1, True, name="a", user="u")], None
    )
    assert [(miss.expected.wanted["name"], len(miss.differences)) for miss in verdict.misses] == [("a", 1), ("c", 0)]
    assert verdict.misses[0].differences[0].key == "user"


def test_mappings_are_compared_by_their_own_keys() -> None:
    """A mapping may have more keys than expected, a list more entries; true is not 1."""
    assert same({"off": 10}, {"off": 10, "currency": "CNY"})
    assert not same({"off": 10}, {"off": 20})
    assert same(["a"], ["b", "a"])
    assert not same([], ["a"])
    assert not same(1, True)
    assert same("12", 12)
