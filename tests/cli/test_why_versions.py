"""``why`` decides the past by the program that was at work then, also after edits, reverts and an applied plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from conftest import Drumbeat, Make

FILE = "playbooks/loyal.yaml"
LOYAL = """\
playbook: loyal
title: 回头客
trigger: {event: order.paid}
when: %s
entry: {mode: single, limit: unlimited}
steps:
  - {points: 5, id: thanks}
"""
TWO, THREE = 'count("order.paid") >= 2', 'sum("order.paid", "amount") >= 500 and count("order.paid") >= 3'


def order(number: int, user: str = "u1", amount: int = 100) -> str:
    """A day's order; the number is the day of March."""
    row = {"id": f"{user}-{number}", "type": "order.paid", "user": user, "time": f"2026-03-{number:02}T01:00:00Z"}
    return json.dumps({**row, "data": {"amount": amount}}) + "\n"


@pytest.fixture
def root(make: Make, drumbeat: Drumbeat) -> Path:
    """u1 ordered on 1 March, when two orders were asked for."""
    made = make({FILE: LOYAL % TWO}, feed=order(1))
    (made / "drumbeat.yaml").write_text((made / "drumbeat.yaml").read_text() + "feeds: [{file: feed.jsonl}]\n")
    assert drumbeat("run", "--until-idle", "--program", made).code == 0
    return made


def goes_on(root: Path, drumbeat: Drumbeat, condition: str, *orders: str) -> None:
    """Edit the playbook, let more events come, run."""
    (root / FILE).write_text(LOYAL % condition, encoding="utf-8")
    with (root / "feed.jsonl").open("a") as feed:
        feed.writelines(orders)
    assert drumbeat("run", "--until-idle", "--program", root).code == 0


def asked(root: Path, drumbeat: Drumbeat, *more: str) -> dict[str, Any]:
    said = drumbeat("why", "--user", "u1", "--playbook", "loyal", "--program", root, "--format", "json", *more)
    return dict(said.json)


def texts(said: dict[str, Any]) -> list[str]:
    return [line["text"] for line in said["playbooks"]["loyal"]["entry"]["why"] if line["at"].startswith("when")]


def test_a_past_verdict_is_told_by_the_version_of_then(root: Path, drumbeat: Drumbeat) -> None:
    """Semantics: why.then — the tree, the values and the nearest change are those of the version that decided."""
    goes_on(root, drumbeat, THREE, order(5))
    before = asked(root, drumbeat, "--at", "2026-03-01T01:00:00Z")
    (line,) = [it for it in before["playbooks"]["loyal"]["entry"]["why"] if it["at"] == "when[0]"]
    assert (line["text"], line["value"]) == ("count('order.paid') >= 2", False)
    assert line["seen"] == {"count('order.paid')": 1}
    assert line["nearest"] == [{"text": "count('order.paid') >= 2", "needs": "2", "has": 1, "either": False}]
    (option,) = before["playbooks"]["loyal"]["nearest_change"]["options"]
    assert [(it["change"], it["times"]) for it in option["changes"]] == [("events", 1)]
    version = before["playbooks"]["loyal"]["version"]
    assert version["then"] != version["present"]
    assert version["same"] is False
    assert before["playbooks"]["loyal"]["entry"]["version"] == version["then"]
    said = drumbeat("why", "--user", "u1", "--program", root, "--at", "2026-03-02T00:00:00Z").out
    assert f"by version {version['then']} (an older one)" in said
    assert "needs 2, has 1" in said
    assert not any("another version" in it or "differ from the record" in it for it in before["remarks"])
    now = asked(root, drumbeat)
    assert len(texts(now)) == 1
    assert "500" in texts(now)[0]
    assert now["playbooks"]["loyal"]["entry"]["present"] is True


def test_what_an_older_version_let_in_is_entered_still(root: Path, drumbeat: Drumbeat) -> None:
    """A verdict that the present version would not give is what it was, and every effect is matched."""
    goes_on(root, drumbeat, TWO, order(3))  # the second order: in, by the first version
    goes_on(root, drumbeat, THREE)
    said = asked(root, drumbeat)
    entry = said["playbooks"]["loyal"]["entry"]
    assert (entry["verdict"], entry["time"], entry["present"]) == ("entered", "2026-03-03T01:00:00Z", False)
    assert texts(said) == ["count('order.paid') >= 2"]
    assert [it["effect"] for it in said["playbooks"]["loyal"]["effects"]] == ["points"]
    assert said["playbooks"]["loyal"]["effects"][0]["cause"]["event"] == "u1-3"
    assert said["remarks"] == []


def test_a_version_that_came_back_is_found_in_both_its_times(root: Path, drumbeat: Drumbeat) -> None:
    """Edit, revert: each instant is told by what was at work then."""
    goes_on(root, drumbeat, THREE, order(5))
    goes_on(root, drumbeat, TWO, order(9))
    wanted = [("02", "count('order.paid') >= 2"), ("06", "500"), ("10", "count('order.paid') >= 2")]
    for day, words in wanted:
        said = asked(root, drumbeat, "--at", f"2026-03-{day}T00:00:00Z" if day != "10" else "2026-03-09T01:00:00Z")
        assert words in texts(said)[0], day
    same = asked(root, drumbeat, "--at", "2026-03-01T01:00:00Z")["playbooks"]["loyal"]["version"]
    assert same["same"] is True


def test_segments_are_those_of_then(make: Make, drumbeat: Drumbeat) -> None:
    """What is no part of a playbook's version is remembered, too: the whole program is."""
    catalog = "segments:\n  buyers: {if: 'count(\"order.paid\") >= %d'}\n"
    made = make({FILE: LOYAL % "in_segment('buyers')", "playbooks/catalog.yaml": catalog % 2}, feed=order(1))
    (made / "drumbeat.yaml").write_text((made / "drumbeat.yaml").read_text() + "feeds: [{file: feed.jsonl}]\n")
    assert drumbeat("run", "--until-idle", "--program", made).code == 0
    (made / "playbooks/catalog.yaml").write_text(catalog % 1)
    with (made / "feed.jsonl").open("a") as feed:
        feed.write(order(5))
    assert drumbeat("run", "--until-idle", "--program", made).code == 0
    then = asked(made, drumbeat, "--at", "2026-03-01T01:00:00Z")
    assert then["playbooks"]["loyal"]["entry"]["verdict"] == "skipped"
    (option,) = then["playbooks"]["loyal"]["nearest_change"]["options"]
    assert option["changes"][0]["times"] == 1
    assert asked(made, drumbeat)["playbooks"]["loyal"]["entry"]["verdict"] == "entered"


def test_a_folder_that_was_edited_and_not_run_changes_no_answer(root: Path, drumbeat: Drumbeat) -> None:
    """What is said is by the program at work, and that is what is said first."""
    before = asked(root, drumbeat)
    (root / FILE).write_text(LOYAL % THREE, encoding="utf-8")
    after = asked(root, drumbeat)
    assert before["playbooks"] == after["playbooks"]
    assert after["remarks"][0].startswith("the store is not yet run by what the folder holds: ")


def test_an_applied_plan_is_what_is_told(root: Path, drumbeat: Drumbeat, tmp_path: Path) -> None:
    """Semantics: plan.pinned — a store is explained by its plan, whatever the folder holds."""
    (root / FILE).write_text(LOYAL % THREE, encoding="utf-8")
    plan = tmp_path / "plan.json"
    assert drumbeat("plan", "--program", root, "--out", plan).code == 0
    assert drumbeat("apply", plan, "--program", root).code == 0
    with (root / "feed.jsonl").open("a") as feed:
        feed.write(order(5))
    assert drumbeat("run", "--until-idle", "--program", root).code == 0
    (root / FILE).write_text(LOYAL % TWO, encoding="utf-8")
    said = asked(root, drumbeat)
    assert "500" in texts(said)[0]
    assert said["remarks"][0].startswith("the store is run by a plan that was applied, not by the folder: ")
    for words in (("user", "u1"), ("report",)):
        assert "run by a plan that was applied" in drumbeat(*words, "--program", root).err


def test_a_store_without_programs_on_record_says_so(root: Path, drumbeat: Drumbeat) -> None:
    """What a store from before does not know is not made up."""
    import sqlite3

    with sqlite3.connect(root / "drumbeat.db") as file:
        file.execute("DELETE FROM meta WHERE name LIKE 'program%'")
    file.close()
    (root / FILE).write_text(LOYAL % THREE, encoding="utf-8")
    said = asked(root, drumbeat)
    assert said["remarks"] == ["decided under another version of the program; shown with the present one"]


DAILY = """\
playbook: daily
title: 每天
trigger: {schedule: {cron: "0 10 * * *", audience: 'count("order.paid", within="3d") >= %d'}}
entry: {mode: parallel, limit: unlimited}
steps:
  - {points: 1, id: day}
"""


def test_slots_of_a_schedule_that_was_removed_are_decided_again(make: Make, drumbeat: Drumbeat) -> None:
    """Semantics: why.then — also where it came back since with other slots behind it: each in its own time."""
    made = make({"playbooks/daily.yaml": DAILY % 1, FILE: LOYAL % TWO}, feed=order(1) + order(4))
    (made / "drumbeat.yaml").write_text((made / "drumbeat.yaml").read_text() + "feeds: [{file: feed.jsonl}]\n")
    assert drumbeat("run", "--until-idle", "--program", made).code == 0
    (made / "playbooks/daily.yaml").unlink()
    goes_on(made, drumbeat, TWO, order(9))
    (made / "playbooks/daily.yaml").write_text(DAILY % 2)
    goes_on(made, drumbeat, TWO, order(14), order(15), order(17))
    asked = ("why", "--user", "u1", "--program", made, "--format", "json", "--playbook", "daily")
    then = drumbeat(*asked, "--at", "2026-03-03T12:00:00Z").json
    assert then["remarks"] == []
    book = then["playbooks"]["daily"]
    assert (book["verdict"], book["looked_at"], len(book["effects"])) == ("entered", 3, 3)
    assert all(it["cause"] is not None for it in book["effects"])
    now = drumbeat(*asked).json
    assert now["remarks"] == []
    assert now["playbooks"]["daily"]["verdicts"]["entered"] > 3
    # before it came back nothing is decided, and nothing is guessed
    between = drumbeat(*asked[:-2], "--at", "2026-03-08T00:00:00Z").json
    assert between["remarks"] == []
