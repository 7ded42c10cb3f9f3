"""Scores: who is how far up among all, frozen from one turn to the next; RFM against a pencil on real purchases."""

from __future__ import annotations

import gzip
import json
import random
from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from semantics_kit import HEAD, Row, event, play
from steps_kit import Live

from engine.core.figures import borders, place
from engine.core.instants import format_instant, parse_instant
from engine.core.localtime import UTC
from engine.core.model import DAY, HOUR, MINUTE
from engine.core.periods import Calendar
from engine.insight.replay import course
from engine.stores.memory import MemoryStore

ROOT = Path(__file__).parents[2]
ANY = "entry: {mode: parallel, limit: unlimited}\n"
OPEN = HEAD + "profile: open\n"

figures = st.one_of(st.integers(-5, 5), st.decimals(-2, 2, places=1), st.integers(-(10**9), 10**9))


@given(values=st.lists(figures, min_size=1, max_size=80), parts=st.integers(2, 9))
def test_parts_are_as_equal_as_ties_allow(values: list[Any], parts: int) -> None:
    """Semantics: score.ties — equal values have equal scores, a higher one never a lower score, and each part begins
    where its share of all ends."""
    edges = borders(values, parts)
    assert len(edges) == parts - 1
    assert set(edges) <= set(values)
    scores = [place(it, edges) for it in values]
    assert all(1 <= it <= parts for it in scores)
    for one, other in zip(values, scores, strict=True):
        below = sum(it < one for it in values)
        upto = sum(it <= one for it in values)
        # the score is that of the share in which the last of those with this value stands
        assert other == max(1, min(k for k in range(1, parts + 1) if k * len(values) > below * parts)), (one, upto)


def test_distinct_values_fall_into_equal_parts() -> None:
    """Without ties the parts differ by one at most, whatever the order in which values come."""
    for count in range(1, 40):
        values = list(range(count))
        random.Random(count).shuffle(values)
        edges = borders(values, 4)
        sizes = [sum(place(it, edges) == score for it in values) for score in (1, 2, 3, 4)]
        assert max(sizes) - min(sizes) <= 1


# ---------------------------------------------------------------------- frozen


SPEND = """\
metrics:
  spend: {score: 'sum("order.paid", "amount")', parts: 3, per: month, if: count("order.paid") >= 1}
"""
SAY = {"say": "trigger: {event: look}\n" + ANY + "steps: [{set: {user.n: \"{{ score('spend') }}\"}}]\n"}


def look(id_: str, time: str, user: str) -> Row:
    return event(id_, "look", time, user)


def paid(id_: str, time: str, user: str, amount: Any) -> Row:
    return event(id_, "order.paid", time, user, amount=amount)


def said(effects: Sequence[Row]) -> list[tuple[str, str, Any]]:
    return [(row["time"][:10], row["user"], row["detail"]["value"]) for row in effects]


FROZEN = [
    *(paid(f"o{n}", "2026-03-10T09:00:00Z", f"u{n}", 10 * n) for n in range(1, 7)),
    look("a", "2026-03-20T09:00:00Z", "u1"),  # no turn yet
    look("b", "2026-04-02T09:00:00Z", "u1"),
    paid("c", "2026-04-03T09:00:00Z", "u1", 1_000),  # counts from May on
    look("d", "2026-04-03T10:00:00Z", "u1"),
    paid("e", "2026-04-04T09:00:00Z", "u9", 500),  # a newcomer
    look("f", "2026-04-04T10:00:00Z", "u9"),
    look("g", "2026-04-29T10:00:00Z", "u6"),  # nothing was decided for him since the turn
    look("h", "2026-05-01T00:00:00Z", "u1"),  # the turn itself is still April
    look("i", "2026-05-02T10:00:00Z", "u1"),
    look("j", "2026-05-02T10:00:00Z", "u9"),
    look("k", "2026-05-02T10:00:00Z", "u6"),
]
WANTED = [
    ("2026-03-20", "u1", None), ("2026-04-02", "u1", 1), ("2026-04-03", "u1", 1), ("2026-04-04", "u9", None),
    ("2026-04-29", "u6", 3), ("2026-05-01", "u1", 1), ("2026-05-02", "u1", 3), ("2026-05-02", "u9", 3),
    ("2026-05-02", "u6", 2),
]  # fmt: skip


@pytest.mark.parametrize("traced", [True, False])
def test_a_score_stays_until_the_next_turn(tmp_path: Path, traced: bool) -> None:
    """Semantics: score.frozen — what somebody buys within the month moves nobody's score before the month turns."""
    seen = [
        play(tmp_path / str(n), SAY, FROZEN, catalog=SPEND, head=OPEN, batch=n, traced=traced) for n in (1, 7, 500)
    ]
    assert [said(it.effects) for it in seen] == [WANTED] * 3


def test_run_and_why_give_the_same_scores_and_show_the_borders(tmp_path: Path) -> None:
    """Semantics: score.frozen — the same in ``run``, cut anywhere, and ``why`` shows value and borders."""
    top = "trigger: {event: look}\nwhen: score(\"spend\") == 3\n" + ANY + "steps: [{tag: {add: [top]}}]\n"
    book = {**SAY, "top": top}
    for batch in (1, 7, 500):
        live = Live(tmp_path / str(batch), book, catalog=SPEND, head=OPEN)
        for place_ in range(0, len(FROZEN), 5):
            live.run(*FROZEN[place_ : place_ + 5], batch=batch)
        values = [(it.user, it.detail["value"]) for it in live.effects("set")]
        assert values == [(user, value) for _, user, value in WANTED]
        live.check_replay("u1", "u6", "u9")
    found = course(live.plan, live.store, "u6", fresh=MemoryStore).decisions
    asked = [why.seen for it in found if it.playbook == "top" for why in it.why if why.seen]
    assert asked[-1] == {"score('spend')": 2, "spend: values at the turn": [60], "spend: borders": [[40, 60]]}


def test_who_was_unknown_at_the_turn_has_no_score(tmp_path: Path) -> None:
    """Semantics: score.newcomer — also where the value of somebody unknown would be 0."""
    catalog = SPEND.replace(', if: count("order.paid") >= 1', "")
    seen = play(tmp_path, SAY, FROZEN, catalog=catalog, head=OPEN)
    assert said(seen.effects)[3] == ("2026-04-04", "u9", None)
    assert said(seen.effects)[7] == ("2026-05-02", "u9", 3)


def test_segments_and_ladders_move_when_scores_are_frozen_anew(tmp_path: Path) -> None:
    """Semantics: score.turns — a segment or a ladder made of a score is entered right after the turn, by time alone."""
    catalog = SPEND + 'segments: {top: {if: score("spend") == 3}}\n'
    catalog += 'tiers: {worth: {metric: score("spend"), levels: {low: 1, middle: 2, high: 3}}}\n'
    books = {
        "top": "trigger: {segment: {enters: top}}\n" + ANY + "steps: [{tag: {add: [top]}}]\n",
        "worth": "trigger: {tier_change: {ladder: worth, to: high}}\n" + ANY + "steps: [{points: 1}]\n",
    }
    seen = play(tmp_path, books, FROZEN, catalog=catalog, head=OPEN)
    entered = sorted((row["time"], row["user"]) for row in seen.effects if row["kind"] == "tag")
    assert entered == [(f"2026-04-01T00:00:00{tail}", user) for user in ("u5", "u6") for tail in (".000001Z",)] + [
        ("2026-05-01T00:00:00.000001Z", "u1"),
        ("2026-05-01T00:00:00.000001Z", "u9"),
    ]
    assert sorted((it["time"], it["user"]) for it in seen.effects if it["kind"] == "points") == entered


def test_groups_have_scores_of_their_own(tmp_path: Path) -> None:
    """Semantics: score.groups — with ``subject: group`` groups are cut into parts, by their own history."""
    catalog = """\
metrics: {worth: {subject: group, score: 'count("group.post", within="90d")', parts: 2, per: month}}
groups:
  tea: {title: 茶, rooms: [{id: t, link: "https://g.example/t", capacity: 9}]}
  ink: {title: 墨, rooms: [{id: i, link: "https://g.example/i", capacity: 9}]}
"""
    trigger = "subject: group\ntrigger: {schedule: {cron: \"0 9 2 * *\", audience: score(\"worth\") == 2}}\n"
    book = {"best": trigger + ANY + "steps: [{task: {assign: li, title: \"{{ group.title }}\"}}]\n"}
    rows = []
    for n in range(6):
        row = event(f"p{n}", "group.post", f"2026-03-0{n + 2}T10:00:00Z", f"u{n}")
        rows.append(row | {"group": "tea" if n % 3 else "ink"})
    rows.append(event("z", "noise", "2026-04-05T00:00:00Z"))
    seen = play(tmp_path, book, rows, catalog=catalog)
    assert [(it["time"], it["detail"]["title"]) for it in seen.effects] == [("2026-04-02T09:00:00Z", "茶")]


# ---------------------------------------------------------------------- RFM on real purchases


def orders(users: int) -> list[Row]:
    """The purchases of the first so many customers of CDNOW."""
    found: list[Row] = []
    with gzip.open(ROOT / "examples/cdnow/feed/cdnow_orders.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            if '"user": "00' in line or '"user":"00' in line:
                row = json.loads(line, parse_float=Decimal)
                if int(row["user"]) <= users:
                    found.append(row)
    return found


def quintile(value: Any, everybody: Sequence[Any]) -> int:
    """Which fifth of all a value stands in, those equal to it counted into the lowest of theirs."""
    below = sum(it < value for it in everybody)
    return below * 5 // len(everybody) + 1


def pencil(rows: Sequence[Row], at: int, window: int) -> dict[str, tuple[int, int, int]]:
    """Recency, frequency and money of each customer, as a spreadsheet would have them."""
    mine: dict[str, list[tuple[int, Decimal]]] = defaultdict(list)
    for row in rows:
        time = parse_instant(row["time"])
        if time <= at:
            mine[row["user"]].append((time, Decimal(row["data"]["amount"])))
    measured = {}
    for user, buys in mine.items():
        inside = [(time, amount) for time, amount in buys if time > at - window]
        if inside:
            days = (at - max(time for time, _ in buys)) // DAY
            measured[user] = (-days, len(inside), sum(amount for _, amount in inside))
    columns = list(zip(*measured.values(), strict=True))
    return {
        user: tuple(quintile(value, column) for value, column in zip(values, columns, strict=True))  # type: ignore[misc]  # three
        for user, values in measured.items()
    }


def test_rfm_of_real_customers_is_what_a_spreadsheet_says(tmp_path: Path) -> None:
    """Semantics: score.rfm — fifths by days since the last order, by orders and by money; half a year of CDNOW."""
    rows = orders(200)
    assert len({it["user"] for it in rows}) > 150
    catalog = "metrics: {rfm: {rfm: {event: order.paid, amount: amount, within: 180d}, per: quarter}}\n"
    parts = ", ".join(
        f"user.{part}: \"{{{{ score('rfm', part='{part}') }}}}\"" for part in ("recency", "frequency", "money")
    )
    trigger = "trigger: {schedule: {cron: \"0 9 1 * *\", audience: true}}\n"
    book = {"say": f"{trigger}{ANY}steps: [{{set: {{{parts}}}}}]\n"}
    text = [row | {"data": {**row["data"], "amount": float(row["data"]["amount"])}} for row in rows]
    seen = play(tmp_path, book, text, catalog=catalog, head=OPEN, traced=False)
    told: dict[str, dict[str, dict[str, Any]]] = defaultdict(lambda: defaultdict(dict))
    for it in seen.effects:
        told[it["time"][:10]][it["user"]][it["detail"]["field"].removeprefix("user.")] = it["detail"]["value"]
    checked = 0
    for morning, users in told.items():
        turn = Calendar("quarter", UTC).before(parse_instant(morning + "T09:00:00Z"))
        wanted = pencil(rows, turn, 180 * DAY)
        for user, values in users.items():
            found = tuple(values[part] for part in ("recency", "frequency", "money"))
            assert found == wanted.get(user, (None, None, None)), (morning, user)
            checked += found[0] is not None
    assert checked > 1_000


# ---------------------------------------------------------------------- at random


@pytest.mark.parametrize("seed", range(2))
def test_any_cut_freezes_the_same(tmp_path: Path, seed: int) -> None:
    """Semantics: score.frozen — random lives with waits, points and erasures: ``run`` is ``simulate`` for any batch."""
    rng, rows, at = random.Random(seed), [], parse_instant("2026-03-01T00:00:00Z")
    for n in range(140):
        at += rng.choice([0, MINUTE, HOUR, 9 * HOUR])
        type_ = rng.choice(["order.paid", "order.paid", "look", "look", "user.deleted" if n % 9 == 0 else "look"])
        amount = rng.choice([1, 2.5, 9])
        rows.append(event(f"e{n:03d}", type_, format_instant(at), f"u{rng.randrange(8)}", amount=amount))
    catalog = """\
metrics:
  spend: {score: 'sum("order.paid", "amount", within="10d")', parts: 3, per: week}
  rich: {score: user.points, parts: 2, per: day, if: user.points >= 1}
segments: {top: {if: score("spend") == 3}}
"""
    books = {
        **SAY,
        "top": "trigger: {segment: {enters: top}}\n" + ANY + "steps: [{points: 3}, {wait: 30h}, {tag: {add: [t]}}]\n",
        "rich": "trigger: {event: look}\nwhen: score(\"rich\") == 2\n" + ANY + "steps: [{wait: 5h}, {points: 1}]\n",
    }
    wanted = play(tmp_path / "s", books, rows, catalog=catalog, head=OPEN)
    short = play(tmp_path / "q", books, rows, catalog=catalog, head=OPEN, traced=False)
    assert short.effects == wanted.effects
    assert {it["kind"] for it in wanted.effects} == {"set", "points", "tag"}
    kept = {f"u{n}" for n in range(8)} - {it["user"] for it in rows if it["type"] == "user.deleted"}
    for batch in (1, 7, 500):
        live = Live(tmp_path / str(batch), books, catalog=catalog, head=OPEN)
        for place_ in range(0, len(rows), 33):
            live.run(*rows[place_ : place_ + 33], batch=batch)
        found = [(format_instant(it.time), it.user, it.kind, it.detail) for it in live.effects() if it.user in kept]
        whole = [(it["time"], it["user"], it["kind"], it["detail"]) for it in wanted.effects]
        assert found == [it for it in whole if it[1] in kept]
        live.check_replay(*sorted(kept))
