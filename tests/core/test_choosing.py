"""Sets within a band, and best-of: against what sorting everybody gives."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from engine.core.choosing import Band, Candidate, choose, figure, top

SCORES = st.none() | st.integers(-2, 12) | st.decimals(0, 12, places=1)
PEOPLE = st.lists(
    st.builds(
        Candidate,
        id=st.text("abc", min_size=1, max_size=3),
        score=SCORES,
        inside=st.booleans(),
        cost=st.none() | st.integers(0, 5),
    ),
    unique_by=lambda one: one.id,
    max_size=12,
)
BANDS = st.builds(
    lambda low, more, margin, ceiling: Band(low=low, high=low + more, margin=margin, ceiling=ceiling),
    st.integers(1, 4), st.integers(0, 5), st.sampled_from([0, 10, 50]), st.none() | st.integers(0, 20),
)  # fmt: skip


def slowly(people: list[Candidate], band: Band) -> tuple[bool, set[str]]:
    """The set by the words of the manual: (published, members)."""
    able = [one for one in people if one.score is not None and one.score > 0 and one.cost is not None]

    def worth(one: Candidate) -> Decimal:
        return Decimal(one.score or 0) * (100 + band.margin if one.inside else 100)

    able.sort(key=lambda one: one.id)
    able.sort(key=lambda one: one.inside, reverse=True)
    able.sort(key=worth, reverse=True)
    chosen: list[Candidate] = []
    for one in able[: band.high]:
        if band.ceiling is not None and sum(it.cost or 0 for it in [*chosen, one]) > band.ceiling:
            break
        chosen.append(one)
    if len(chosen) < band.low:
        return False, {one.id for one in people if one.inside}
    return True, {one.id for one in chosen}


@given(PEOPLE, BANDS)
def test_the_set_is_that_of_sorting_everybody(people: list[Candidate], band: Band) -> None:
    """Semantics: core-users.select — the best within band and ceiling, or the last set when the band is not met."""
    published, members = slowly(people, band)
    found = choose(people, band)
    last = {one.id for one in people if one.inside}
    assert (found.published, set(found.members)) == (published, members)
    assert set(found.entered) == members - last
    assert set(found.left) == last - members
    assert (found.reason is None) == published
    assert found.kept == len(last & members)


@given(PEOPLE, BANDS)
def test_a_published_set_keeps_band_and_ceiling(people: list[Candidate], band: Band) -> None:
    """Never fewer than the least, more than the most, or dearer than the ceiling."""
    found = choose(people, band)
    if found.published:
        assert band.low <= len(found.members) <= band.high
        costs = {one.id: one.cost for one in people}
        spent = sum(costs[name] or 0 for name in found.members)
        assert spent == found.cost
        assert (band.ceiling is None or spent <= band.ceiling)
    else:
        assert not found.entered
        assert not found.left


@given(PEOPLE.flatmap(lambda people: st.tuples(st.just(people), st.permutations(people))), BANDS)
def test_the_order_of_the_candidates_does_not_matter(
    both: tuple[list[Candidate], list[Candidate]], band: Band
) -> None:
    """The same people in another order are the same set, also with equal scores."""
    assert choose(both[1], band) == choose(both[0], band)


@given(PEOPLE, BANDS)
def test_choosing_again_changes_nothing(people: list[Candidate], band: Band) -> None:
    """With the same scores the set of today is that of yesterday: nobody goes in and out."""
    first = choose(people, band)
    if not first.published:
        return
    inside = set(first.members)
    again = choose([Candidate(one.id, one.score, one.id in inside, one.cost) for one in people], band)
    if band.ceiling is None:  # a ceiling may let others in when those who were in left
        assert again.members == first.members
        assert not again.entered
        assert not again.left


def test_who_is_in_stays_unless_somebody_is_clearly_better() -> None:
    """Semantics: core-users.select — a newcomer takes a place only with a score above it by the margin."""
    band = Band(low=1, high=1, margin=10)
    inside = Candidate("old", 100, inside=True)
    assert choose([inside, Candidate("new", 110)], band).members == ("old",)  # ties go to who is in
    assert choose([inside, Candidate("new", 111)], band).members == ("new",)


def test_outside_the_band_the_last_set_stays_and_says_why() -> None:
    """Semantics: core-users.select — too few, or too dear: nobody enters, nobody leaves, and the reason is named."""
    inside = Candidate("old", 0, inside=True)
    few = choose([inside, Candidate("new", 5)], Band(low=2, high=3))
    dear = choose([inside, Candidate("a", 5, cost=3), Candidate("b", 4, cost=3)], Band(low=2, high=3, ceiling=5))
    assert [(it.published, it.reason, it.members, it.entered, it.left) for it in (few, dear)] == [
        (False, "too_few", ("old",), (), ()),
        (False, "ceiling", ("old",), (), ()),
    ]
    assert (dear.found, dear.cost) == (1, 3)


def test_the_figure_of_stability() -> None:
    """The share of the last set that stays, and what both share of what either has; none for the first set."""
    people = [Candidate(name, 5, inside=name in "abc") for name in "abd"]
    found = choose([*people, Candidate("c", None, inside=True)], Band(low=1, high=9))
    assert found.stability() == (Decimal("0.6667"), Decimal("0.5000"))
    assert choose([Candidate("a", 1)], Band(low=1, high=1)).stability() == (None, None)


@given(st.dictionaries(st.text("abc", max_size=3), SCORES, max_size=12), st.integers(1, 5))
def test_the_top_is_that_of_sorting(scores: dict[str, int | Decimal | None], count: int) -> None:
    """The best first, ties by id, nobody without a figure."""
    able = {name: score for name, score in scores.items() if score is not None}
    expected = sorted(able, key=lambda name: (-Decimal(able[name]), name))[:count]
    assert top(count, scores.items()) == expected


def test_what_is_a_figure() -> None:
    """Whole and exact numbers are; truth, text, nothing and what lies beyond all measure are not."""
    values = (3, Decimal("1.5"), True, "3", None, Decimal("NaN"), Decimal("1E+9000"))
    assert [figure(value) for value in values] == [3, Decimal("1.5"), None, None, None, None, None]
