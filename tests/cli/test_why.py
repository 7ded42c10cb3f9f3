"""``drumbeat why`` and ``drumbeat user``: what they say, and what they say when there is nothing to say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.cli.main import run
from engine.cli.tables import width

PROGRAM = """
program: shop
channels: {box: {via: file, path: out.jsonl}}
feeds: [{file: feed.jsonl}]
policies: {default: {consent: {marketing: required, service: none}, quiet_hours: never}}
"""

CATALOG = """
coupons:
  gift: {title: t, value: {off: 5}, codes: {generate: G}, valid_for: 7d, limits: {per_user: 1, total: 1}}
groups:
  club: {title: t, hold: 30d, rooms: [{id: r1, link: "https://x.example/1", capacity: 3}]}
points: {main: {title: t}}
"""

BOOKS = {
    "loyal": """
title: 老朋友
trigger: {event: order.paid}
when: count("order.paid") >= 2 and (event.amount > 50 or user.city == "上海")
entry: {mode: once}
steps: [{message: {template: hello, via: box, purpose: marketing}}]
""",
    "welcome": """
title: Welcome
trigger: {signup: true}
entry: {mode: once}
goal: {event: order.paid, within: 60d, then: continue}
steps:
  - {coupon: {pool: gift, on_exhausted: skip}, id: gift}
  - {message: {template: hello, via: box, purpose: service}}
  - {invite: {groups: [club], match: first, on_full: skip}, id: seat}
  - {wait: 30d}
""",
    "thrice": """
title: Three times
trigger: {count: {event: order.paid, at_least: 3}}
entry: {mode: once}
steps: [{points: {add: 1}}]
""",
    "idle": """
title: Gone quiet
trigger: {inactivity: 30d, activity: [order.paid]}
entry: {mode: single}
holdout: {percent: 100}
steps: [{points: {add: 1}}]
""",
    "back": """
title: Returned
trigger: {event: order.returned}
entry: {mode: single}
steps: [{points: {add: 1}}]
""",
}

FEED = [
    ("2026-01-01T08:00:00Z", "user.signup", "anna", {"city": "上海", "zone": "Asia/Shanghai"}),
    ("2026-01-01T09:00:00Z", "user.signup", "ben", {"city": "Bern"}),
    ("2026-01-02T08:00:00Z", "order.paid", "anna", {"amount": 20}),
    ("2026-01-02T09:00:00Z", "order.paid", "ben", {"amount": 20}),
    ("2026-01-03T08:00:00Z", "order.paid", "anna", {"amount": 10}),
    ("2026-01-03T09:00:00Z", "order.paid", "ben", {"amount": 20}),
    ("2026-01-03T10:00:00Z", "order.paid", "anna", {"amount": 10}),
]


def program(folder: Path) -> Path:
    """The program, with its feed, run once."""
    (folder / "playbooks" / "catalog").mkdir(parents=True)
    (folder / "templates").mkdir()
    (folder / "templates" / "hello.box.j2").write_text("你好 {{ user.id }}", encoding="utf-8")
    (folder / "drumbeat.yaml").write_text(PROGRAM, encoding="utf-8")
    (folder / "playbooks" / "catalog" / "all.yaml").write_text(CATALOG, encoding="utf-8")
    for name, text in BOOKS.items():
        (folder / "playbooks" / f"{name}.yaml").write_text(f"playbook: {name}{text}", encoding="utf-8")
    rows = [
        {"id": f"e{place}", "time": time, "type": type_, "user": user, "data": data}
        for place, (time, type_, user, data) in enumerate(FEED)
    ]
    (folder / "feed.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert run(["run", "--until-idle", "--program", str(folder), "--quiet"]) == 0
    return folder


@pytest.fixture
def shop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """The program in a folder of its own; what making it printed is gone."""
    folder = program(tmp_path)
    capsys.readouterr()
    return folder


def ask(capsys: pytest.CaptureFixture[str], folder: Path, *args: str, code: int = 0) -> str:
    """Standard output of a verb, or standard error when it must fail."""
    verb, *rest = args
    assert run([verb, "--program", str(folder), *rest]) == code
    said = capsys.readouterr()
    return said.err if code else said.out


def asked(capsys: pytest.CaptureFixture[str], folder: Path, *args: str) -> dict[str, Any]:
    """The one JSON object a verb prints."""
    found = json.loads(ask(capsys, folder, *args, "--format", "json", "--quiet"))
    assert isinstance(found, dict)
    return found


def test_a_false_condition_shows_each_leaf_and_the_nearest_change(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every leaf with its value; for simple comparisons what it needs and has, either one under ``or``."""
    said = ask(capsys, shop, "why", "--user", "ben", "--playbook", "loyal")
    for line in (
        "skipped at 2026-01-03T09:00:00Z, at order.paid e5",
        "false when[0]: count('order.paid') >= 2 and (event.amount > 50 or user.city == '上海')",
        "true  count('order.paid') >= 2",
        "count('order.paid') = 2",
        "false or",
        "event.amount = 20",
        "user.city = 'Bern'",
        "needs more than 50, has 20 (event.amount > 50)",
        "or needs '上海', has 'Bern' (user.city == '上海')",
        "verdicts so far: 2 skipped",
    ):
        assert line in said
    first = ask(capsys, shop, "why", "--user", "ben", "--playbook", "loyal", "--at", "2026-01-02T12:00:00Z")
    assert "needs 2, has 1" in first
    assert "verdicts so far" not in first


def test_json_holds_the_whole_tree(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One object, with operators, verdicts, values and what is nearest."""
    found = asked(capsys, shop, "why", "--user", "ben", "--playbook", "loyal")
    assert list(found["playbooks"]) == ["loyal"]
    (line,) = found["playbooks"]["loyal"]["entry"]["why"]
    assert (line["at"], line["value"], line["tree"]["op"]) == ("when[0]", False, "and")
    count, either = line["tree"]["parts"]
    assert (count["value"], count["seen"]) == (True, {"count('order.paid')": 2})
    assert [(part["op"], part["value"]) for part in either["parts"]] == [("leaf", False), ("leaf", False)]
    assert [(it["needs"], it["has"], it["either"]) for it in line["nearest"]] == [
        ("more than 50", 20, True),
        ("'上海'", "Bern", True),
    ]
    assert found["remarks"] == []


def test_gates_refusals_and_reservations_are_named(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A suppressed message, a denied coupon, an entry mode that refuses, each with its reason and cause."""
    anna = ask(capsys, shop, "why", "--user", "anna")
    assert "message message[0] suppressed (consent): template='hello', at order.paid e4" in anna
    assert "once: entered before" in anna
    assert "asked for coupon gift at 2026-01-01T08:00:00Z: given gift" in anna
    assert "message message[1] planned, sent by box: template='hello', at user.signup e0" in anna
    ben = asked(capsys, shop, "why", "--user", "ben")["playbooks"]["welcome"]
    assert [(it["kind"], it["granted"], it["reason"]) for it in ben["reservations"]] == [
        ("coupon", False, "sold_out"),
        ("seat", True, None),
    ]
    coupon = ben["effects"][0]
    assert (coupon["step"], coupon["status"], coupon["reason"]) == ("gift", "denied", "sold_out")
    assert coupon["cause"] == {"event": "e1", "type": "user.signup", "time": "2026-01-01T09:00:00Z", "internal": False}
    assert ben["journeys"][0]["until"] == "2026-01-31T09:00:00Z"
    assert ben["goals"] == []  # reached by the first order


def test_a_playbook_never_looked_at_says_what_it_waits_for(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing came; or it came and the trigger stayed quiet, with how far it is; or time has not come."""
    said = ask(capsys, shop, "why", "--user", "ben", "--playbook", "back")
    assert "never looked at" in said
    assert "listens to order.returned (event): none came" in said
    said = ask(capsys, shop, "why", "--user", "ben", "--playbook", "thrice")
    assert "false trigger: count('order.paid') >= 3" in said
    assert "needs 3, has 2" in said
    said = ask(capsys, shop, "why", "--user", "ben", "--playbook", "idle")
    assert "fires at 2026-02-02T09:00:00Z when nothing happens before" in said


def test_a_held_out_user_is_told_the_draw(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The verdict of a wake-up, and the bucket that held the user out."""
    more = {"id": "x", "time": "2026-02-10T00:00:00Z", "type": "order.paid", "user": "cora", "data": {"amount": 1}}
    with (shop / "feed.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(more) + "\n")
    assert run(["run", "--until-idle", "--program", str(shop), "--quiet"]) == 0
    capsys.readouterr()
    said = ask(capsys, shop, "why", "--user", "ben", "--playbook", "idle")
    assert "held_out at 2026-02-02T09:00:00Z, by time (inactivity)" in said
    assert "held out below 10000" in said
    assert "points[0] held_out (holdout)" in said


def test_unknown_names_fail_with_the_nearest_one(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, nothing on standard output, and a suggestion."""
    for args, near in (
        (["why", "--user", "annna"], "did you mean 'anna'?"),
        (["why", "--user", "anna", "--playbook", "welcom"], "did you mean 'welcome'?"),
        (["user", "bne"], "did you mean 'ben'?"),
    ):
        assert near in ask(capsys, shop, *args, code=1)


def test_another_version_of_the_program_is_pointed_out(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The store remembers which version decided: that one explains, and it says so where the folder holds another."""
    path = shop / "playbooks" / "loyal.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace(">= 2", ">= 1"), encoding="utf-8")
    said = ask(capsys, shop, "why", "--user", "ben")
    assert "note: the store is not yet run by what the folder holds: what is said is by the program at work, " in said
    assert "count('order.paid') >= 2" in said


def test_without_a_store_it_cannot_run(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Asking makes no store."""
    (shop / "drumbeat.db").unlink()
    assert "there is no store" in ask(capsys, shop, "why", "--user", "anna", code=3)
    assert not (shop / "drumbeat.db").exists()


def test_user_shows_state_and_timeline(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Traits, points, held seats, running journeys, and events before what followed from them."""
    found = asked(capsys, shop, "user", "anna")
    assert found["traits"] == {"city": "上海", "zone": "Asia/Shanghai"}
    assert (found["zone"], found["points"]) == ("Asia/Shanghai", {"main": 1})
    assert found["seats"] == [{"group": "club", "room": "r1", "held_until": "2026-01-31T08:00:00Z"}]
    assert found["journeys"][0]["playbook"] == "welcome"
    kinds = [row.get("event") or row["effect"] for row in found["timeline"]]
    assert kinds[0] == "user.signup"
    assert sorted(kinds[1:4]) == ["coupon", "invite", "message"]
    assert kinds[4] == "order.paid"
    sent = [row["delivery"] for row in found["timeline"] if row.get("effect") == "message"]
    assert sent == ["sent", None]
    said = ask(capsys, shop, "user", "anna")
    assert "city: '上海'" in said
    assert "welcome, since 2026-01-01T08:00:00Z: at step wait[3], waits until 2026-01-31T08:00:00Z" in said


def test_the_timeline_is_cut_to_its_end_unless_all_is_asked_for(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """50 lines, and a word about the rest."""
    rows = [
        {"id": f"m{n}", "time": f"2026-01-04T00:00:{n:02d}Z", "type": "page.seen", "user": "anna", "data": {}}
        for n in range(60)
    ]
    with (shop / "feed.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    assert run(["run", "--until-idle", "--program", str(shop), "--quiet"]) == 0
    capsys.readouterr()
    found = asked(capsys, shop, "user", "anna")
    assert len(found["timeline"]) == 50
    assert found["timeline"][-1]["id"] == "m59"
    assert len(asked(capsys, shop, "user", "anna", "--all")["timeline"]) == found["timeline_total"] > 60
    assert f"last 50 of {found['timeline_total']}" in ask(capsys, shop, "user", "anna")


def test_chinese_names_keep_the_columns(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An event type in Chinese takes two cells a letter in the timeline."""
    row = {"id": "q", "time": "2026-01-05T00:00:00Z", "type": "签到.完成", "user": "anna", "data": {"amount": 1}}
    with (shop / "feed.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    assert run(["run", "--until-idle", "--program", str(shop), "--quiet"]) == 0
    capsys.readouterr()
    body = [line for line in ask(capsys, shop, "user", "anna").splitlines() if "amount: " in line]
    assert len(body) == 4
    assert "签到" in body[-1]
    assert len({width(line[: line.index("amount")]) for line in body}) == 1
