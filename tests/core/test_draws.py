"""Draws: what anybody can recompute, and what a changed file gives away."""

from __future__ import annotations

import json
import re
from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core import draws
from engine.core.draws import Terms, announcement, drawing_key, faults, frozen, publication, ranking, seed_of

ROOT = Path(__file__).resolve().parents[2]
DRAWING = drawing_key(b"secret of a store")
TERMS = Terms(
    program="tea-shop", playbook="raffle", step="lots", draw="0f" * 16, prize="gift", wanted=3, per_user=1,
    committed_at="2026-03-01T10:00:00Z", closes_at="2026-03-02T10:00:00Z",
)  # fmt: skip

USERS = st.dictionaries(st.text(min_size=1, max_size=6), st.integers(0, 4), max_size=12)
SEEDS = st.binary(min_size=32, max_size=32).map(bytes.hex)


def h(*parts: object) -> str:
    """The hash of the formula, written a second time."""
    return sha256("\n".join(map(str, parts)).encode()).hexdigest()


def slow_winners(seed: str, listed: str, entrants: list[tuple[str, int]], count: int, per_user: int) -> list[str]:
    """All lots sorted, and gone through from the lowest: the oracle."""
    lots = sorted((h(seed, listed, alias, entry), alias) for alias, n in entrants for entry in range(1, n + 1))
    won: list[str] = []
    for _, alias in lots:
        if len(won) < count and won.count(alias) < per_user:
            won.append(alias)
    return won


def made(**changes: Any) -> dict[str, Any]:
    """A whole published draw of forty people, as it is read from its file."""
    salt, seed = draws.salt_of(DRAWING, TERMS.draw), seed_of(DRAWING, TERMS.draw)
    entrants, _ = frozen(salt, [(f"u{number}", 1 + number % 3) for number in range(40)])
    announced = announcement(TERMS, TERMS.commitment(salt, seed))
    found = publication(announced, salt, seed, entrants, ranking(seed, entrants, TERMS.wanted, TERMS.per_user))
    read: dict[str, Any] = json.loads(json.dumps({**found, **changes}))
    return read


@given(USERS, SEEDS, st.integers(1, 8), st.integers(1, 3))
def test_winners_are_those_of_the_sorted_lots(users: dict[str, int], seed: str, count: int, per_user: int) -> None:
    """The heap gives what sorting every single lot gives, for any entries, prizes and prizes a person."""
    entrants, behind = frozen("ab" * 16, users.items())
    assert [alias for alias, _ in entrants] == sorted(behind)
    assert sum(number for _, number in entrants) == sum(users.values())
    expected = slow_winners(seed, draws.list_hash(entrants), entrants, count, per_user)
    assert ranking(seed, entrants, count, per_user) == expected


@given(USERS, SEEDS)
def test_one_prize_a_person(users: dict[str, int], seed: str) -> None:
    """However many entries somebody has, he wins once; and with prizes for all, everybody with an entry wins."""
    entrants, _ = frozen("ab" * 16, users.items())
    won = ranking(seed, entrants, 100)
    assert sorted(won) == [alias for alias, _ in entrants]


@given(USERS)
def test_the_list_does_not_hang_on_the_order_in_which_people_came(users: dict[str, int]) -> None:
    """The same people with the same entries are the same list and the same hash."""
    there, _ = frozen("ab" * 16, users.items())
    back, _ = frozen("ab" * 16, reversed(users.items()))
    assert there == back
    assert draws.list_hash(there) == h(*(f"{alias} {number}" for alias, number in there))


def test_the_seed_is_not_to_be_guessed_and_never_changes() -> None:
    """The seed follows from the store's secret and the draw alone: other secrets and other draws have other seeds."""
    seeds = {seed_of(drawing_key(secret), draw) for secret in (b"a", b"b") for draw in ("1" * 32, "2" * 32)}
    assert len(seeds) == 4
    assert seed_of(DRAWING, TERMS.draw) == seed_of(drawing_key(b"secret of a store"), TERMS.draw)
    assert draws.salt_of(DRAWING, TERMS.draw) not in seed_of(DRAWING, TERMS.draw)


def test_everybody_has_the_same_chance() -> None:
    """Over 4,000 seeds twenty people with one entry win alike: chi-square below the bound of one in a thousand."""
    entrants, _ = frozen("ab" * 16, [(f"u{number}", 1) for number in range(20)])
    wins: Counter[str] = Counter()
    for number in range(4_000):
        wins.update(ranking(h("seed", number), entrants, 2))
    expected = 4_000 * 2 / 20
    chi = sum((wins[alias] - expected) ** 2 / expected for alias, _ in entrants)
    assert chi * 20 / 18 < 43.8  # 19 degrees of freedom; two winners a draw make the counts a little more even


def test_two_entries_are_twice_the_chance() -> None:
    """Over 6,000 seeds with one winner wins go by entries: chi-square below the bound of one in a thousand."""
    entrants, behind = frozen("ab" * 16, [(f"u{number}", 1 + number) for number in range(4)])
    wins = Counter(ranking(h("seed", number), entrants, 1)[0] for number in range(6_000))
    chi = 0.0
    for alias, number in entrants:
        expected = 6_000 * number / 10
        chi += (wins[alias] - expected) ** 2 / expected
    assert chi < 16.3
    assert wins.keys() == behind.keys()


def test_each_place_of_the_ranking_is_fair() -> None:
    """Over 3,000 seeds the first and the last of five people in the list stand at each place alike."""
    entrants, _ = frozen("ab" * 16, [(f"u{number}", 1) for number in range(5)])
    places = Counter(
        (place, alias) for number in range(3_000) for place, alias in enumerate(ranking(h("s", number), entrants, 5))
    )
    chi = sum((places[place, alias] - 600) ** 2 / 600 for place in range(5) for alias, _ in entrants)
    assert chi < 39.3  # 16 degrees of freedom, one in a thousand


def test_a_true_file_has_no_fault() -> None:
    """Semantics: draw.verify — what was published is found right, also against the promise somebody wrote down."""
    found = made()
    assert faults(found) == [] == faults(found, found["commitment"])


CHANGES: dict[str, Any] = {
    "format": 2, "program": "other", "playbook": "other", "step": "other", "draw": "ee" * 16, "prize": "car",
    "winners_wanted": 2, "per_user": 2, "committed_at": "2026-03-01T10:00:01Z", "closes_at": "2026-03-03T10:00:00Z",
    "salt": "cd" * 16, "seed": "ef" * 32, "commitment": "01" * 32, "entrants_hash": "02" * 32,
    "entrants": [["00" * 16, 1]], "winners": ["00" * 16],
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_each_changed_field_is_found(name: str) -> None:
    """Semantics: draw.verify — no field of a published draw can be changed, or left out, unseen."""
    assert faults(made(**{name: CHANGES[name]}))
    short = made()
    del short[name]
    assert faults(short)


def test_every_field_is_among_the_changed_ones() -> None:
    """The test above forgets no field that a file has."""
    assert made().keys() == CHANGES.keys()


@given(st.data())
@settings(max_examples=60)
def test_each_changed_entrant_and_winner_is_found(data: st.DataObject) -> None:
    """One entry more, one person more or fewer, two winners in another order: each is found."""
    found = made()
    rows, won = found["entrants"], found["winners"]
    place = data.draw(st.integers(0, len(rows) - 1))
    how = data.draw(st.sampled_from(["more", "gone", "twice", "swap", "other"]))
    if how == "more":
        rows[place][1] += 1
    elif how == "gone":
        del rows[place]
    elif how == "twice":
        rows.insert(place, rows[place])
    elif how == "swap":
        won[0], won[1] = won[1], won[0]
    else:
        loser = next(alias for alias, _ in rows if alias not in won)
        won[data.draw(st.integers(0, len(won) - 1))] = loser
    assert faults(found)


def test_a_draw_with_another_seed_needs_another_promise() -> None:
    """Who draws anew and promises anew is found by whoever wrote the first promise down."""
    first = made()
    salt, seed = first["salt"], "9" * 64
    entrants = [(alias, number) for alias, number in first["entrants"]]
    announced = announcement(TERMS, TERMS.commitment(salt, seed))
    second = publication(announced, salt, seed, entrants, ranking(seed, entrants, 3))
    assert faults(second) == []
    assert faults(second, first["commitment"]) == ["the commitment is not the one that was published before the draw"]


def test_a_file_from_before_the_draw_says_so() -> None:
    """The promise alone is no draw, and is told apart from a broken file."""
    found = announcement(TERMS, "01" * 32)
    assert faults(found) == ["nothing is drawn yet: the file holds the promise, and no seed, entrants and winners"]


@pytest.mark.parametrize("text", ["[]", "1", '{"format": true}', '{"format": 1, "entrants": 3}', "null"])
def test_what_is_no_draw_is_said_and_not_raised(text: str) -> None:
    """Any JSON gets a sentence."""
    assert faults(json.loads(text))


@given(st.sampled_from(sorted(CHANGES)), st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_no_value_in_any_field_breaks_the_check(name: str, value: Any) -> None:
    """Whatever stands in a field, the check ends with an answer."""
    assert faults({**made(), name: value}) or made()[name] == value


def test_the_formula_of_the_manual_is_the_engines() -> None:
    """The lines of docs/draws.md, run as they stand, accept what the engine publishes and nothing else."""
    page = (ROOT / "docs" / "draws.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert code is not None
    lines = compile(code[1].replace('json.load(open("draw.json", encoding="utf-8"))', "found"), "draws.md", "exec")
    exec(lines, {"found": made()})  # noqa: S102 - the page itself is what is tested
    for name in sorted(CHANGES.keys() - {"format"}):
        with pytest.raises(AssertionError):
            exec(lines, {"found": made(**{name: CHANGES[name]})})  # noqa: S102 - as above
