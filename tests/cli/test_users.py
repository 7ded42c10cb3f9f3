"""``drumbeat users``: list, export, erase."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from conftest import Drumbeat, Make

CANARY = "canary-8642"

BOOK = """playbook: gift
title: 礼物
trigger: {event: order.paid}
entry: {mode: parallel, limit: unlimited}
steps:
  - points: 5
  - message: {template: thanks, via: box, purpose: service}
  - wait: 3d
  - message: {template: thanks, via: box, purpose: service}
"""


def record(id_: str, user: str, time: str, type_: str = "order.paid") -> str:
    """One line of a feed with words only a person would know."""
    data = {"name": f"{CANARY}-{user}"} if type_ == "user.signup" else {"note": f"{CANARY}-{user}"}
    return json.dumps({"id": id_, "type": type_, "user": user, "time": time, "data": data}) + "\n"


FEED = (
    record("s1", f"{CANARY}-a", "2026-03-01T00:00:00Z", "user.signup")
    + record("e1", f"{CANARY}-a", "2026-03-01T01:00:00Z")
    + record("e2", "b", "2026-03-01T02:00:00Z")
    + f'{{"id": "bad", "type": "x", "user": "{CANARY}-a", "time": "yesterday"}}\n'
)


@pytest.fixture
def root(make: Make, drumbeat: Drumbeat) -> Path:
    """A program in which two users have orders, gifts and journeys, and one a broken record."""
    found = make({"playbooks/thanks.yaml": BOOK, "templates/thanks.box.j2": "谢谢 {{ user.id }}\n"})
    (found / "feed.jsonl").write_text(FEED, encoding="utf-8")
    drumbeat("ingest", found / "feed.jsonl", "--program", found)
    assert drumbeat("run", "--until-idle", "--program", found).code == 0
    return found


def test_list(root: Path, drumbeat: Drumbeat) -> None:
    """Users in order of id, page by page."""
    said = drumbeat("users", "list", "--program", root, "--format", "json", "--limit", 1).json
    assert (said["total"], [it["user"] for it in said["users"]], said["next"]) == (2, ["b"], "b")
    said = drumbeat("users", "list", "--program", root, "--after", "b")
    assert said.out.splitlines() == [f"{CANARY}-a  active 2026-03-01T01:00:00Z, 1 journey(s)", "1 of 2"]


def test_export_holds_everything(root: Path, drumbeat: Drumbeat, tmp_path: Path) -> None:
    """Events, effects with texts, verdicts, the inbox and quarantine: all in one file that only the owner can read."""
    (root / "more.jsonl").write_text(record("e9", f"{CANARY}-a", "2026-03-01T09:00:00Z"), encoding="utf-8")
    drumbeat("ingest", root / "more.jsonl", "--program", root)
    out = tmp_path / "held.json"
    assert drumbeat("users", "export", f"{CANARY}-a", "--program", root, "--out", out).code == 0
    held = json.loads(out.read_text(encoding="utf-8"))
    assert [it["id"] for it in held["timeline"] if "event" in it][:2] == ["s1", "e1"]
    assert {it["kind"] for it in held["effects"]} == {"points", "message"}
    assert [it["detail"]["text"] for it in held["effects"] if it["kind"] == "message"] == [f"谢谢 {CANARY}-a"]
    assert ([it["id"] for it in held["inbox"]], len(held["quarantine"])) == (["e9"], 1)
    assert out.stat().st_mode & 0o077 == 0


def test_erase_leaves_no_byte(root: Path, drumbeat: Drumbeat) -> None:
    """No file of the store holds a word of the erased; the journey ends, and the others go on untouched.

    Semantics: erasure.records — by the verb
    Threat: erase.whole — by the verb
    """
    said = drumbeat("users", "erase", f"{CANARY}-a", "--program", root, "--format", "json")
    assert (said.code, said.json["events"], said.json["effects"], said.json["quarantined"]) == (0, 2, 2, 1)
    held = b"".join(it.read_bytes() for it in root.glob("drumbeat.db*"))
    assert f"{CANARY}-a".encode() not in held
    assert f"{CANARY}-b".encode() in held
    counts = drumbeat("simulate", "--events", root / "feed.jsonl", "--program", root, "--format", "json").json
    assert counts["journeys"]["started"] == 2
    assert drumbeat("user", "b", "--program", root, "--format", "json").json["journeys"][0]["stands_at"] is not None


def test_a_replay_brings_nobody_back(root: Path, drumbeat: Drumbeat) -> None:
    """The same feed read again: what happened before the request is dropped, and the file written anew without it.

    Semantics: erasure.records — replayed
    Threat: erase.whole — replayed
    """
    assert drumbeat("users", "erase", f"{CANARY}-a", "--program", root).code == 0
    events = [line for line in FEED.splitlines(keepends=True) if '"bad"' not in line]  # whose time nobody can read
    (root / "again.jsonl").write_text("".join(events).replace('"e1"', '"e1-again"'), encoding="utf-8")
    drumbeat("ingest", root / "again.jsonl", "--program", root)
    assert drumbeat("run", "--until-idle", "--program", root).code == 0
    assert drumbeat("user", f"{CANARY}-a", "--program", root, "--format", "json").json["timeline"] == []
    assert drumbeat("users", "list", "--program", root, "--format", "json").json["total"] == 2
    assert drumbeat("run", "--once", "--program", root).code == 0
    held = b"".join(it.read_bytes() for it in root.glob("drumbeat.db*"))
    assert (f"{CANARY}-a".encode() in held, f"{CANARY}-b".encode() in held) == (False, True)


def test_an_unknown_user(root: Path, drumbeat: Drumbeat) -> None:
    """Who is not there cannot be erased; the nearest id is named."""
    said = drumbeat("users", "erase", f"{CANARY}-aa", "--program", root)
    assert (said.code, f"did you mean '{CANARY}-a'?" in said.err) == (1, True)
