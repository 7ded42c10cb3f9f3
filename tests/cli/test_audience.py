"""``drumbeat audience``: how many, who, at what cost, answered by whom; and what is said about a wrong condition."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from engine.cli.main import run

CITIES = ("上海", "Oslo", "杭州", None)
CATALOG = """\
segments:
  oslo: {if: 'user.city == "Oslo"'}
  buyers: {if: 'count("order.paid") >= 1'}
coupons:
  gift: {title: 礼券, value: {off: 12.50, currency: CNY}, codes: {generate: G}, valid_for: 7d,
         limits: {per_user: 1, per_day: 5, total: 4, budget: 1000}}
  share: {title: t, value: {percent: 10}, codes: {generate: S}, valid_for: 7d, limits: {per_user: 1, total: unlimited}}
  free: {title: t, value: {off: 1}, codes: {generate: F}, valid_for: 7d, limits: {per_user: 1, total: unlimited}}
"""


def people(number: int) -> str:
    """Sign-ups of users u0, u1 ..., a quarter from each city, one of no city at all."""
    rows = [
        {"id": f"s{n}", "type": "user.signup", "user": f"u{n}", "time": "2026-03-01T00:00:00Z",
         "data": {"city": CITIES[n % 4]}}
        for n in range(number)
    ]  # fmt: skip
    return "".join(json.dumps(row) + "\n" for row in rows)


PROGRAM = """\
program: tea
timezone: Asia/Shanghai
profile: {city: text | none}
channels: {box: {via: file, path: out/box.jsonl}}
policies: {default: {quiet_hours: never}}
"""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program with 40 users in its store."""
    root = tmp_path_factory.mktemp("audience") / "tea"
    for file, text in {"drumbeat.yaml": PROGRAM, "playbooks/catalog/all.yaml": CATALOG}.items():
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(text, encoding="utf-8")
    take_in(root, people(40))
    return root


@pytest.fixture
def tea(filled: Path, tmp_path: Path) -> Path:
    """A copy of it for one test."""
    return shutil.copytree(filled, tmp_path / "tea")


def take_in(root: Path, feed: str) -> None:
    """Events go through the daemon into the store."""
    (root / "feed.jsonl").write_text(feed, encoding="utf-8")
    assert run(["ingest", str(root / "feed.jsonl"), "--program", str(root), "--quiet"]) == 0
    assert run(["run", "--until-idle", "--program", str(root), "--quiet"]) == 0


def test_how_many_and_who(tea: Path, drumbeat: Any) -> None:
    """Count, share and a sample that is the same at every look; the store stays as it is."""
    before = (tea / "drumbeat.db").read_bytes()
    found = drumbeat("audience", 'user.city == "上海"', "--program", tea, "--format", "json", "--sample", 3).json
    again = drumbeat("audience", 'user.city in ["上海"]', "--program", tea, "--format", "json", "--sample", 3).json
    assert (found["count"], found["of"], found["percent"]) == (10, 40, 25.0)
    assert found["sample"] == again["sample"]
    assert len(found["sample"]) == 3
    assert {int(one[1:]) % 4 for one in found["sample"]} == {0}
    assert (found["answered_by"], found["asked_of_python"]) == ("sql", 0)
    assert (tea / "drumbeat.db").read_bytes() == before


def test_a_segment_name_is_enough(tea: Path, drumbeat: Any) -> None:
    """The name of a segment means its members."""
    for word in ("oslo", 'in_segment("oslo")'):
        assert drumbeat("audience", word, "--program", tea, "--format", "json").json["count"] == 10


def test_python_answers_what_sql_cannot(tea: Path, drumbeat: Any) -> None:
    """The text says which part the database could not answer, and how many were judged in Python."""
    said = drumbeat("audience", 'user.city == "Oslo" and bucket("x") >= 0', "--program", tea)
    assert "10 of 40 users (25.0 %)" in said.out
    assert "answered by SQL and Python in" in said.out
    assert "10 users judged by Python" in said.out
    assert "not in SQL: bucket('x') >= 0 (bucket() is a hash)" in said.out


def test_cost_of_a_coupon(tea: Path, drumbeat: Any) -> None:
    """Value times count, exactly, with stock and budget left and for how many that is enough."""
    found = drumbeat("audience", "oslo", "--coupon", "gift", "--program", tea, "--format", "json").json["coupon"]
    assert found == {
        "pool": "gift", "each": 12.5, "cost": 125, "currency": "CNY", "stock_left": 4, "budget_left": 1000,
        "per_day": 5, "enough_for": 4, "per_user": 1, "had_theirs": 0, "would_get": 10, "percent_off": None,
    }  # fmt: skip
    said = drumbeat("audience", "oslo", "--coupon", "gift", "--program", tea).out
    assert "coupon gift: 10 x 12.50 = 125.00 CNY" in said
    assert "enough for 4 of them" in said
    said = drumbeat("audience", "oslo", "--coupon", "free", "--program", tea).out
    assert "stock left unlimited" in said
    assert "enough for" not in said


def test_an_unknown_coupon_is_named(tea: Path, drumbeat: Any) -> None:
    """The nearest coupon is suggested."""
    said = drumbeat("audience", "oslo", "--coupon", "gitf", "--program", tea)
    assert said.code == 1
    assert "there is no coupon 'gitf'" in said.err
    assert "did you mean 'gift'?" in said.err


def test_a_wrong_condition_has_its_caret(tea: Path, drumbeat: Any) -> None:
    """A slip is shown as ``validate`` shows one, under the very word, also after Chinese text; exit code 1."""
    said = drumbeat("audience", 'user.city == "上海" and user.ctiy', "--program", tea)
    assert said.code == 1
    assert said.out == ""
    assert said.err.splitlines() == [
        "EXPR:1:28: error[unknown-field]: 'user' has no field 'ctiy'",
        '  1 | user.city == "上海" and user.ctiy',
        "    |                              ^^^^ did you mean 'city'?",
    ]
    found = drumbeat("audience", "user.city = 'x'", "--program", tea, "--format", "json")
    assert found.code == 1
    assert [one["code"] for one in found.json["problems"]] == ["slip-equals"]


def test_history_nobody_keeps_is_no_empty_audience(tea: Path, drumbeat: Any) -> None:
    """A count the program does not keep is refused with the next move, not answered with 0."""
    said = drumbeat("audience", 'count("app.opened") == 0', "--program", tea)
    assert said.code == 1
    assert "keeps no such history of 'app.opened'" in said.err
    assert "define a segment with this condition" in said.err
    assert drumbeat("audience", "buyers", "--program", tea, "--format", "json").json["count"] == 0


def test_who_cannot_be_judged_is_named(tea: Path, drumbeat: Any) -> None:
    """Errors are counted apart, with the reason."""
    rows = [{"id": "x", "type": "user.updated", "user": "u1", "time": "2026-03-02T00:00:00Z", "data": {"city": 5}}]
    take_in(tea, "".join(json.dumps(row) + "\n" for row in rows))
    said = drumbeat("audience", 'user.city < "P"', "--program", tea)
    assert "1 could not be judged, and are not counted" in said.out
    assert "u1: cannot compare a number (5) and text 'P'" in said.out


def test_the_instant_is_the_store_s_clock(tea: Path, drumbeat: Any) -> None:
    """Ages are measured at the last instant the store knows; a later one may be named, an earlier one is refused."""
    words = ('user.created_at is older_than("7d")', "--program", tea, "--format", "json")
    assert drumbeat("audience", *words).json["count"] == 0
    later = drumbeat("audience", *words, "--at", "2026-03-08T00:00:00Z").json
    assert (later["count"], later["at"]) == (40, "2026-03-08T00:00:00Z")
    assert drumbeat("audience", *words, "--at", "2020-01-01T00:00:00Z").code == 2


def test_without_a_store_there_is_nobody_to_count(make: Any, drumbeat: Any) -> None:
    """A program that never ran says so with exit code 3."""
    said = drumbeat("audience", "user.city is none", "--program", make())
    assert said.code == 3
    assert "there is no store" in said.err


def test_a_feed_keeps_the_history_a_condition_asks_for(tea: Path, drumbeat: Any) -> None:
    """What the program does not count is counted where a feed is read from its beginning; a store is told plainly."""
    feed = tea / "opened.csv"
    rows = [f"o{n},app.opened,u{n % 3},2026-03-0{1 + n % 4}T01:00:00Z" for n in range(9)]
    feed.write_text("\n".join(["no,what,who,at", *rows]) + "\n")
    words = ("audience", 'count("app.opened", within="30d") >= 3', "--program", tea)
    refused = drumbeat(*words)
    assert refused.code == 1
    assert "or ask a feed: --events" in refused.err
    asked = (*words, "--events", feed, "--columns", "id=no,type=what,user=who,time=at", "--coupon", "share")
    found = drumbeat(*asked, "--format", "json").json
    assert (found["count"], found["of"], found["sample"]) == (3, 3, ["u0", "u1", "u2"])
    assert (found["coupon"]["percent_off"], found["coupon"]["cost"]) == (10.0, 0)
    said = drumbeat(*asked).out
    assert "coupon share: 3 x 10 % of an order; what that comes to, their orders decide" in said
    assert not list((tea / "playbooks").glob("**/asked*"))
    assert drumbeat("audience", "oslo", "--columns", "id=no", "--program", tea).code == 2


def test_many_segments_are_listed_by_what_they_share(tea: Path, drumbeat: Any) -> None:
    """More segments than a table has room for: those with anybody, and the pairs that have most in common."""
    catalog = tea / "playbooks" / "catalog" / "all.yaml"
    more = "".join(f"  none{n}: {{if: 'user.city == \"N{n}\"'}}\n" for n in range(8))
    catalog.write_text(CATALOG.replace("segments:\n", "segments:\n  north: {if: 'user.city != \"上海\"'}\n" + more))
    said = drumbeat("audience", "--overlap", "--program", tea).out
    assert "users are in at least one of 11 segment(s)" in said
    assert "nobody is in the other 9" in said
    (row,) = [line for line in said.splitlines() if "north" in line and "oslo" in line]
    assert row.split() == ["north", "oslo", "10", "33.3", "%"]
    assert max(map(len, said.splitlines())) < 90
