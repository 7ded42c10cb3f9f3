"""``drumbeat report`` of a period: figures against SQL and arithmetic of their own, on purchases of a real shop."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from report_world import purchases, write_program

from engine.cli import reporting
from engine.cli.main import run
from engine.stores.sqlite import SqliteStore

SHANGHAI = ZoneInfo("Asia/Shanghai")
FIRST = date(1970, 1, 1)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that ran over the purchases of every twentieth customer."""
    folder = write_program(tmp_path_factory.mktemp("shop"), purchases(20))
    assert run(["run", "--until-idle", "--quiet", "--program", str(folder)]) == 0
    return folder


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """The period of a report, as JSON."""

    def asked(folder: Path, *words: str) -> Any:
        capsys.readouterr()
        assert run(["report", "--program", str(folder), "--format", "json", *words]) == 0
        return json.loads(capsys.readouterr().out)["period"]

    return asked


def activities(folder: Path) -> sqlite3.Connection:
    """(user, local day, hour) of every order, read from the feed; days and hours by the standard library."""
    db = sqlite3.connect(":memory:")
    db.execute("create table act (user text, day integer, weekday integer, hour integer)")
    with (folder / "feed.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if row["type"] == "order.paid":
                at = datetime.fromisoformat(row["time"]).astimezone(SHANGHAI)
                db.execute(
                    "insert into act values (?, ?, ?, ?)",
                    (row["user"], (at.date() - FIRST).days, at.weekday(), at.hour),
                )
    return db


_ACTIVE = "select count(distinct user) from act where day between ? and ?"


def number(day: str) -> int:
    """The number of a day."""
    return (date.fromisoformat(day) - FIRST).days


def test_activity_is_what_plain_sql_counts(shop: Path, ask: Callable[..., Any]) -> None:
    """DAU, WAU, MAU, new users and hours of every point: plain SQL over the feed counts each anew, on local days."""
    db, found = activities(shop), ask(shop)
    first = db.execute("select min(day) from act").fetchone()[0]

    def active(low: int, high: int) -> int:
        return int(db.execute(_ACTIVE, (low, high)).fetchone()[0])

    people = found["people"]
    assert people["grain"] == "week"
    assert len(people["rows"]) > 70
    for row in people["rows"]:
        low, high = number(row["from"]), number(row["to"])
        days = [active(day, day) for day in range(low, high + 1)]
        assert row["dau"] == pytest.approx(sum(days) / len(days), abs=0.051)
        assert row["wau"] == (active(high - 6, high) if high >= first + 6 else None)
        assert row["mau"] == (active(high - 29, high) if high >= first + 29 else None)
        new = "select count(*) from (select min(day) as d from act group by user) where d between ? and ?"
        assert row["new"] == db.execute(new, (low, high)).fetchone()[0]
    for weekday, hour, count in db.execute("select weekday, hour, count(*) from act group by 1, 2"):
        assert found["hours"]["counts"][weekday][hour] == count
    assert found["hours"]["total"] == db.execute("select count(*) from act").fetchone()[0]
    whole = range(first + 29, number(found["period"]["to"]) + 1)
    sticky = sum(active(day, day) for day in whole) / sum(active(day - 29, day) for day in whole)
    assert people["stickiness"] == pytest.approx(100 * sticky, abs=0.051)


def test_retention_is_what_plain_sql_counts(shop: Path, ask: Callable[..., Any]) -> None:
    """Who came back on exactly day 1, 7 and 30: plain SQL says the same, and nobody is judged by a day not over."""
    db = activities(shop)
    found = ask(shop, "--from", "1997-01-10", "--to", "1997-04-02")
    over, low = number("1997-04-02"), number("1997-01-10")
    assert found["retention"]["grain"] == "week"
    for days in (1, 7, 30):
        seen = Counter[str]()
        back = Counter[str]()
        query = """
            select f.day, f.day + ?1 <= ?2, exists (select 1 from act where user = f.user and day = f.day + ?1)
            from (select user, min(day) as day from act group by user) as f where f.day between ?3 and ?2
        """
        for day, judged, came in db.execute(query, (days, over, low)):
            at = FIRST + timedelta(days=day)
            week = (at - timedelta(days=at.weekday())).isoformat()
            seen[week] += judged
            back[week] += judged and came
        for row in found["retention"]["rows"]:
            cell = row[f"day_{days}"]
            assert (cell["of"], cell["back"]) == (seen[row["from"]], back[row["from"]])
        assert found["retention"]["total"][f"day_{days}"]["of"] == sum(seen.values())


def effects(folder: Path) -> list[Any]:
    """Every effect of the store."""
    store = SqliteStore.open(folder / "drumbeat.db", read_only=True)
    try:
        return [effect for effect, _ in store.effects()]
    finally:
        store.close()


def test_sides_and_arms_are_what_the_rows_say(shop: Path, ask: Callable[..., Any]) -> None:
    """Entries, goals and what they were worth, of treated and holdout: from the feed and the rows of the effects."""
    orders: dict[str, list[tuple[datetime, float]]] = defaultdict(list)
    signed: dict[str, datetime] = {}
    with (shop / "feed.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            at = datetime.fromisoformat(row["time"])
            if row["type"] == "user.signup":
                signed[row["user"]] = at
            else:
                orders[row["user"]].append((at, row["data"]["amount"]))
    rows = [it for it in effects(shop) if it.playbook == "welcome"]
    held = {it.user for it in rows if it.status == "held_out"}
    short = {it.user for it in rows if it.step == "message[0].1[0]"}
    worth = {  # the second order makes the goal, if it comes in time
        user: bought[1][1]
        for user, bought in orders.items()
        if len(bought) > 1 and bought[1][0] <= signed[user] + timedelta(days=60)
    }
    (book,) = [it for it in ask(shop)["playbooks"] if it["playbook"] == "welcome"]
    for name, users in (("treated", signed.keys() - held), ("holdout", held)):
        goals = users & worth.keys()
        assert (book[name]["entries"], book[name]["goals"]) == (len(users), len(goals))
        assert book[name]["worth"]["sum"] == pytest.approx(sum(worth[it] for it in goals))
    assert book["difference"]["low"] < book["difference"]["value"] < book["difference"]["high"]
    first, other = book["splits"][0]["arms"]
    arms = (short - held, signed.keys() - short - held)
    for arm, users in zip((first, other), arms, strict=True):
        assert (arm["entries"], arm["goals"]) == (len(users), len(users & worth.keys()))
    assert (first["arm"], first["against"], other["arm"]) == ("short", None, "long")
    assert 0 < other["against"]["p"] <= 1
    stages = {it["step"]: it["reached"] for it in book["funnel"]}
    assert stages["message[0].1[0]"] == len({it.user for it in rows if it.step == "message[0].1[0]"} - held)


def test_who_lost_to_whom(shop: Path, ask: Callable[..., Any]) -> None:
    """Each message a cap held back lost to the playbooks whose messages of the seven days before had filled it."""
    rows = effects(shop)
    sent: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for it in rows:
        if it.kind == "message" and it.status == "planned" and it.detail["purpose"] == "marketing":
            sent[it.user].append((it.time, it.playbook))
    expected: Counter[tuple[str, str]] = Counter()
    week = 7 * 86_400 * 1_000_000
    for it in rows:
        if it.kind == "message" and it.reason == "cap":
            for winner in {playbook for at, playbook in sent[it.user] if it.time - week < at <= it.time}:
                expected[it.playbook, winner] += 1
    found = ask(shop)["collisions"]
    assert {(it["lost"], it["to"]): it["count"] for it in found if it["reason"] == "cap"} == expected
    assert expected["again", "welcome"] > 100
    assert not any(it["to"] == "?" for it in found)
    gave = [(it.time, it.playbook) for it in rows if it.kind == "coupon" and it.status == "planned"]
    dry: Counter[tuple[str, str]] = Counter()
    for it in rows:
        if it.kind == "coupon" and it.reason == "sold_out":
            dry.update((it.playbook, giver) for giver in {by for at, by in gave if at <= it.time})
    assert {(it["lost"], it["to"]): it["count"] for it in found if it["reason"] == "sold_out"} == dry
    assert len(dry) > 1
    once = sum(it["count"] for it in found if it["reason"] == "per_user")
    assert once == sum(it.reason == "per_user" for it in rows)


def test_who_stands_where(shop: Path, ask: Callable[..., Any]) -> None:
    """Users at each level and in each segment now: what the states in the store say, and what the moves come to."""
    store = SqliteStore.open(shop / "drumbeat.db", read_only=True)
    try:
        states = list(store.subjects())
    finally:
        store.close()
    found = ask(shop)["moves"]
    (ladder,) = found["ladders"]
    levels = Counter(it.tiers["member"][0] for it in states if "member" in it.tiers)
    assert [(it["level"], it["users"]) for it in ladder["standing"]] == [
        (level, levels[level]) for level in ("bronze", "silver", "gold")
    ]
    moved = Counter[str]()
    for it in ladder["moves"]:
        moved[it["to"]] += it["count"]
        moved[it["from"]] -= it["count"]
    assert levels["silver"] == moved["silver"] > 0
    (segment,) = found["segments"]
    assert segment["now"] == sum("buyers" in it.segments for it in states) == segment["entered"] - segment["left"]


def test_the_feed_says_what_the_store_says(shop: Path, ask: Callable[..., Any]) -> None:
    """The same files, simulated: the same figures, but that nothing was sent."""
    stored = ask(shop)
    played = ask(shop, "--events", str(shop / "feed.jsonl"))
    assert [it["sent"] for it in played["channels"]] == [0]
    for it in (stored, played):
        del it["channels"]
    assert stored == played
    assert stored["moves"]["segments"][0]["entered"] > 300
    assert {it["reason"] for it in stored["refusals"]} >= {"cap", "sold_out", "per_user"}
    (gift,) = stored["coupons"]
    assert (gift["issued"], gift["expired"], gift["open"], gift["worth"]) == (700, 700, 0, 3500)


def test_coverage_is_told(shop: Path, ask: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Forgotten events and unknown entries are named, and users whose first day is gone are in no cohort."""
    folder = shop.parent / "shortened"
    folder.mkdir(exist_ok=True)
    whole = ask(shop)
    copy = folder / "copy.db"
    source = sqlite3.connect(shop / "drumbeat.db")
    with sqlite3.connect(copy) as target:
        source.backup(target)
        target.execute("insert into meta (name, value) values ('milestones_since', '860000000000000')")
    target.close()
    source.close()
    store = SqliteStore.open(copy)
    before = int(datetime(1997, 2, 1, tzinfo=UTC).timestamp()) * 1_000_000
    while store.forget({"events": before}, 10_000)["events"]:
        pass
    store.close()
    words = ("--store", f"sqlite:///{copy}")
    found = ask(shop, *words)
    period, users = found["period"], found["retention"]["total"]["users"]
    assert period["events_forgotten_until"].startswith("1997-01-30")
    assert period["entries_known_since"] == "1997-04-02T16:53:20Z"
    assert 0 < users < whole["retention"]["total"]["users"] - 300
    assert found["people"]["rows"][0]["from"] > "1997-01-29"
    capsys.readouterr()
    assert run(["report", "--program", str(shop), *words, "--from", "1997-01-01", "--locale", "en"]) == 0
    said = capsys.readouterr().out
    for part in ("older events were forgotten", "entries of playbooks are known from", "begins before the first event"):
        assert part in said


def test_periods_and_words(shop: Path, ask: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Days are inside, the period before is compared; too few is said with how many are missing; both languages."""
    found = ask(shop, "--from", "1997-02-01", "--to", "1997-02-07")
    assert (found["period"]["days"], found["period"]["last_day_open"]) == (7, False)
    assert [row["from"] for row in found["people"]["rows"]] == [f"1997-02-0{day}" for day in range(1, 8)]
    db = activities(shop)
    before = (number("1997-01-25"), number("1997-01-31"))
    assert found["people"]["active_before"] == db.execute(_ACTIVE, before).fetchone()[0]
    week = ask(shop, "--from", "1997-01-25", "--to", "1997-01-31")
    told = found["people"]["before"]
    assert (told["from"], told["to"]) == ("1997-01-25", "1997-01-31")
    for name in ("new", "dau", "wau", "mau"):
        assert told[name] == week["people"][name]
    assert told["entries"] == sum(it["entered"] for it in week["playbooks"]) > 0
    assert told["messages"] == sum(it["messages"] for it in week["channels"]) > 0
    assert ask(shop, "--from", "1997-01-01", "--to", "1997-01-31")["people"]["before"] is None
    (book,) = [it for it in found["playbooks"] if it["playbook"] == "welcome"]
    assert book["missing"]["until"] == "shown"
    assert book["missing"]["holdout"] == 100 - book["holdout"]["entries"] > 0
    assert book["difference"] is None
    capsys.readouterr()
    words = ["report", "--program", str(shop), "--from", "1997-02-01", "--to", "1997-02-07"]
    assert run([*words, "--locale", "en"]) == 0
    missing = f"Holdout has {book['holdout']['entries']}, {book['missing']['holdout']} more needed"
    assert missing in capsys.readouterr().out
    assert run(words) == 0  # the program's own language
    assert f"对照组现有 {book['holdout']['entries']} 人次" in capsys.readouterr().out
    empty = ask(shop, "--from", "2001-01-01", "--to", "2001-01-02")
    assert (empty["people"]["active"], empty["channels"], empty["retention"]["rows"]) == (0, [], [])


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--from", "1997-03-01", "--to", "1997-02-01"], 2, "before it begins"),
        (["--from", "March"], 2, "is no day"),
        (["--totals", "--to", "1997-02-01"], 2, "--totals shows no period"),
        (["--events", "feed.jsonl", "--store", "sqlite:///x.db"], 2, "give one of them"),
        (["--html", "/dev/null/x.html"], 3, "cannot write"),
    ],
)
def test_what_cannot_be_asked(
    shop: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    """Each with its exit code and the next move."""
    assert run(["report", "--program", str(shop), *words]) == code
    assert said in capsys.readouterr().err


def test_without_the_libraries(
    shop: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The totals stay, with a note that names the extra; a period is refused by it, with exit code 3."""
    monkeypatch.setattr(reporting, "LIBRARIES", ("a_library_nobody_has",))
    capsys.readouterr()
    assert run(["report", "--program", str(shop)]) == 0
    said = capsys.readouterr()
    assert "welcome" in said.out
    assert "drumbeat[report]" in said.err
    for words in (["--html", "x.html"], ["--from", "1997-01-01"], ["--events", "feed.jsonl"]):
        assert run(["report", "--program", str(shop), *words]) == 3
        assert "pip install 'drumbeat[report]'" in capsys.readouterr().err
    assert run(["report", "--program", str(shop), "--totals", "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_a_group_has_a_funnel_and_a_past(tmp_path: Path, ask: Callable[..., Any]) -> None:
    """What is done for a group stands in the funnel of its playbook; its posts are compared with days before."""
    files = {
        "drumbeat.yaml": "program: club\nactivity: [group.post]\nchannels: {club: {via: file, path: out/club.jsonl}}\n",
        "playbooks/silent.yaml": "playbook: silent\ntitle: silent\nsubject: group\n"
        "trigger: {inactivity: 3d, activity: [group.post]}\nentry: {mode: parallel, limit: unlimited}\n"
        "goal: {event: group.post, within: 7d}\nsteps: [{post: {template: talk}}]\n",
        "templates/talk.club.j2": "talk",
        "feed.jsonl": "".join(
            json.dumps({"id": f"e{n}", "type": "group.post", "user": f"u{n}", "group": "tea", "time": f"2026-03-{day}"
                        "T09:00:00Z", "data": {}}) + "\n"
            for n, day in enumerate(("01", "02", "03", "08", "09"))
        ),
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    feed = str(tmp_path / "feed.jsonl")
    found = ask(tmp_path, "--events", feed, "--from", "2026-03-06", "--to", "2026-03-10")
    (group,) = found["groups"]
    assert (group["events"], group["events_before"], group["silent_days"]) == (2, 3, 0)
    (book,) = ask(tmp_path, "--events", feed)["playbooks"]
    assert [(it["stage"], it["reached"]) for it in book["funnel"]] == [("entered", 1), ("step", 1), ("goal", 1)]


def test_clock_times_of_a_real_community(tmp_path: Path, ask: Callable[..., Any]) -> None:
    """Hours, days and new members of a log whose events have times of day: plain SQL over the same lines agrees."""
    feed = Path(__file__).resolve().parents[1] / "feeds" / "history_meta_se.jsonl"
    kinds = {"comment.created", "post.created", "badge.earned"}
    (tmp_path / "drumbeat.yaml").write_text(f"program: meta\ntimezone: Asia/Shanghai\nactivity: {sorted(kinds)}\n")
    (tmp_path / "playbooks").mkdir()
    (tmp_path / "playbooks" / "hello.yaml").write_text(
        "playbook: hello\ntitle: t\nowner: a@shop.example\ntrigger: {signup: true}\nentry: {mode: once}\n"
        "steps: [{tag: {add: new}}]\n"
    )
    found = ask(tmp_path, "--events", str(feed))
    db = sqlite3.connect(":memory:")
    db.execute("create table act (user text, day integer, weekday integer, hour integer)")
    for row in map(json.loads, feed.read_text("utf-8").splitlines()):
        if row["type"] in kinds and row["user"] is not None:
            at = datetime.fromisoformat(row["time"]).astimezone(SHANGHAI)
            values = (row["user"], (at.date() - FIRST).days, at.weekday(), at.hour)
            db.execute("insert into act values (?, ?, ?, ?)", values)
    grid = [[0] * 24 for _ in range(7)]
    for weekday, hour, count in db.execute("select weekday, hour, count(*) from act group by 1, 2"):
        grid[weekday][hour] = count
    assert sum(1 for row in grid for count in row if count) > 4  # times of day, not midnights
    assert (found["hours"]["counts"], found["hours"]["dated"]) == (grid, False)
    for row in found["people"]["rows"]:
        low, high = number(row["from"]), number(row["to"])
        new = "select count(*) from (select min(day) as d from act group by user) where d between ? and ?"
        assert row["new"] == db.execute(new, (low, high)).fetchone()[0]
        days = [db.execute(_ACTIVE, (day, day)).fetchone()[0] for day in range(low, high + 1)]
        assert row["dau"] == pytest.approx(sum(days) / len(days), abs=0.051)
