"""Leaderboards: who leads, who ties, who stays out, and what the list is good for."""

from __future__ import annotations

import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from semantics_kit import HEAD, Row, Seen, event, play

from engine.core.choosing import leaders

ANY = "entry: {mode: parallel, limit: unlimited}\n"
OPEN = HEAD.replace("channels: {box", "channels: {club: {via: file, path: club.jsonl}, box") + "profile: open\n"
BOARD = (
    "subject: program\ntrigger: {event: close}\n"
    + ANY
    + """steps:
  - rank: {name: week, by: 'count("a", within="7d")', top: 2, where: not user.unranked, show: user.name}
    id: board
  - post: {group: tea, template: board, with: {rows: "{{ steps.board.rows }}", ranked: "{{ steps.board.ranked }}"}}
"""
)
WON = (
    "trigger: {event: rank.placed, if: event.rank == 'week' and event.place <= 1}\n"
    + ANY
    + ("steps: [{points: {add: '{{ 100 // event.place }}', reason: board}}]\n")
)
CATALOG = """\
points: {main: {}}
groups:
  tea: {title: 茶友, platform: club, rooms: [{id: t, link: "https://g.example/t", capacity: 9}]}
"""
LINES = """\
{% for row in with.rows %}{{ row.place }} {{ row.name|default('-') }} {{ row.score }}
{% endfor %}of {{ with.ranked }}
"""


def acts(time: str, **counts: int) -> list[Row]:
    return [event(f"{user}-{n}-{time}", "a", time, user) for user, number in counts.items() for n in range(number)]


def named(**names: str) -> list[Row]:
    return [event(f"n-{user}", "user.updated", "08:00", user, name=name) for user, name in names.items()]


def close(time: str) -> Row:
    return event(f"c-{time}", "close", time, "op")


def ranked(root: Path, rows: list[Row], **books: str) -> Seen:
    (root / "templates").mkdir(parents=True)
    (root / "templates/board.club.j2").write_text(LINES, encoding="utf-8")
    return play(root, {"board": BOARD, "won": WON, **books}, rows, catalog=CATALOG, head=OPEN)


def rows_of(seen: Seen) -> list[list[Any]]:
    """The lists, as (place, user, score)."""
    found = [row["detail"]["rows"] for row in seen.effects if row["kind"] == "rank"]
    return [[(it["place"], it["user"], it["score"]) for it in rows] for rows in found]


def test_a_list_with_ties_is_posted_and_rewarded(tmp_path: Path) -> None:
    """Semantics: ranking.places — equal numbers share a place, and the next is as many further on; who has none, or
    stays out by his own field, is in no list; the next week begins anew."""
    out = event("o", "user.updated", "08:00", "u9", unranked=True)
    rows = [*named(u1="小一", u2="小二", u3="小三"), out, *acts("09:00", u1=3, u2=5, u3=5, u4=1, u9=9), close("10:00")]
    later = "2026-03-12T09:00:00Z"
    rows += [event(f"l{n}", "a", later, "u4") for n in range(2)]
    rows += [event("c2", "close", "2026-03-12T10:00:00Z", "op")]
    seen = ranked(tmp_path, rows)
    assert rows_of(seen) == [[(1, "u2", 5), (1, "u3", 5)], [(1, "u4", 2)]]
    posts = [row["detail"]["text"] for row in seen.effects if row["kind"] == "post"]
    assert posts[0].splitlines() == ["1 小二 5", "1 小三 5", "of 4"]
    points = sorted((row["user"], row["detail"]["delta"]) for row in seen.effects if row["kind"] == "points")
    assert points == [("u2", 100), ("u3", 100), ("u4", 100)]


def test_a_tie_that_fills_the_list_is_left_out(tmp_path: Path) -> None:
    """Semantics: ranking.places — a tie at the end goes in whole, or, where it makes the list longer than twice
    ``top``, not at all: nobody is preferred by an id."""
    many = {f"u{n}": 1 for n in range(1, 8)}
    seen = ranked(tmp_path, [*acts("09:00", u0=2, **dict(list(many.items())[:3])), close("10:00"),
                             *acts("11:00", **dict(list(many.items())[3:])), close("12:00")])  # fmt: skip
    first, second = rows_of(seen)
    assert [place for place, _, _ in first] == [1, 2, 2, 2]
    assert second == [(1, "u0", 2)]


def test_points_of_a_period_and_members_of_a_group(tmp_path: Path) -> None:
    """Semantics: ranking.placed — a ranking by points goes by what was earned in the window; in a group only members
    are ranked, and each of the list is told his place once."""
    books = {
        "board": "subject: group\ntrigger: {event: close}\n" + ANY + "steps:\n"
        '  - rank: {name: month, by: \'sum("points.changed", "delta", within="7d")\', top: 3}\n',
        "won": "trigger: {event: rank.placed}\n" + ANY + "steps: [{set: {user.place: '{{ event.place }}'}}]\n",
        "earn": "trigger: {event: a}\n" + ANY + "steps: [{points: 10}]\n",
    }
    joins = [{**event(f"j{n}", "group.joined", "08:00", f"u{n}"), "group": "tea"} for n in (1, 2)]
    rows = [*joins, *acts("09:00", u1=1, u2=2, u3=5), {**close("10:00"), "user": None, "group": "tea"}]
    seen = ranked(tmp_path, rows, **books)
    assert rows_of(seen) == [[(1, "u2", 20), (2, "u1", 10)]]
    assert {row["user"]: row["detail"]["value"] for row in seen.effects if row["kind"] == "set"} == {"u2": 1, "u1": 2}


def test_who_cannot_be_judged_is_left_out_and_counted(tmp_path: Path) -> None:
    """Somebody whose number is none is in no list and no reason to fail: the row says how many they were."""
    board = BOARD.replace("""'count("a", within="7d")'""", "user.worth * 1")
    people = [event(f"w{n}", "user.updated", "08:00", f"u{n}", worth=worth) for n, worth in enumerate((5, "much", 7))]
    seen = ranked(tmp_path, [*people, close("10:00")], board=board)
    (row,) = [it for it in seen.effects if it["kind"] == "rank"]
    assert rows_of(seen) == [[(1, "u2", 7), (2, "u0", 5)]]
    assert row["detail"]["unjudged"] == 1


def test_held_back_nobody_is_told(tmp_path: Path) -> None:
    """In the shadow there is a row, and no word to anybody."""
    seen = ranked(tmp_path, [*acts("09:00", u1=1), close("10:00")], board="status: shadow\n" + BOARD)
    assert {row["kind"]: row["reason"] for row in seen.effects} == {"rank": "shadow", "post": "shadow"}


@pytest.mark.parametrize("seed", range(30))
def test_places_are_those_of_a_full_sort(seed: int) -> None:
    """Against counting by hand: a place is one more than those who are better; the bound holds."""
    rng = random.Random(seed)
    scores = {f"u{n:02d}": Decimal(rng.randrange(1, 6)) for n in range(rng.randrange(0, 25))}
    last = rng.randrange(1, 6)
    found, number = leaders(last, ((user, score, user) for user, score in scores.items()))
    places = {user: 1 + sum(other > score for other in scores.values()) for user, score in scores.items()}
    wanted = sorted((place, user, scores[user], user) for user, place in places.items() if place <= last)
    if len(wanted) > 2 * last:
        wanted = [row for row in wanted if row[0] != wanted[-1][0]]
    assert (found, number) == (wanted, len(scores))
