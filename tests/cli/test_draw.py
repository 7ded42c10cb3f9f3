"""``drumbeat draw``: list, show, publish, and verify for everybody."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from conftest import Drumbeat, Make

RAFFLE = """playbook: raffle
title: 抽奖
subject: program
trigger: {event: raffle.opened}
entry: {mode: parallel, limit: unlimited}
steps:
  - draw: {entrants: {event: raffle.entered}, winners: 2, prize: gift, seed_from: 24h}
    id: lots
"""
CATALOG = "coupons:\n  gift: {codes: {generate: G}, limits: {per_user: unlimited, total: 10}}\n"


def line(id_: str, type_: str, time: str, user: str = "op") -> str:
    return json.dumps({"id": id_, "type": type_, "time": time, "user": user}) + "\n"


ENTRIES = "".join(line(f"e{n}", "raffle.entered", f"2026-03-0{1 + n % 2}T0{n}:00:00Z", f"u{n % 4}") for n in range(8))
FEED = line("go", "raffle.opened", "2026-03-01T12:00:00Z")
END = line("end", "x", "2026-03-09T00:00:00Z", "late")


@pytest.fixture
def root(make: Make, drumbeat: Drumbeat) -> Path:
    """A program that has promised a draw, and not drawn yet."""
    found = make({"playbooks/raffle.yaml": RAFFLE, "playbooks/catalog/c.yaml": CATALOG})
    rows = sorted([*ENTRIES.splitlines(True), FEED], key=lambda row: json.loads(row)["time"])
    (found / "feed.jsonl").write_text("".join(rows), encoding="utf-8")
    drumbeat("ingest", found / "feed.jsonl", "--program", found)
    assert drumbeat("run", "--until-idle", "--program", found).code == 0
    return found


def drawn(root: Path, drumbeat: Drumbeat) -> dict[str, Any]:
    """The draw, once it has been drawn."""
    (root / "end.jsonl").write_text(END, encoding="utf-8")
    drumbeat("ingest", root / "end.jsonl", "--program", root)
    assert drumbeat("run", "--until-idle", "--program", root).code == 0
    found: dict[str, Any] = drumbeat("draw", "list", "--program", root, "--format", "json").json["draws"][0]
    return found


def test_the_promise_and_the_draw(root: Path, drumbeat: Drumbeat) -> None:
    """Before the draw the list says when it closes; after it who won what."""
    said = drumbeat("draw", "list", "--program", root).out
    assert "promised  raffle/lots: gift, closes 2026-03-02T12:00:00Z" in said
    found = drawn(root, drumbeat)
    assert found["state"] == "drawn"
    shown = drumbeat("draw", "show", found["key"][:8], "--program", root).out
    assert f"seed        {found['seed']}" in shown
    assert all(f"{place}. {it['user']}  {it['code']}" in shown for place, it in enumerate(found["winners"], 1))


def test_anybody_can_check_the_file(root: Path, drumbeat: Drumbeat, tmp_path: Path) -> None:
    """Semantics: draw.verify — the promise published before, the file after: ``verify`` says right without a program,
    and tells whoever asks how he stands; with one winner changed it says what is wrong and ends with 1."""
    key = drumbeat("draw", "list", "--program", root, "--format", "json").json["draws"][0]["key"]
    promise, file = tmp_path / "promise.json", tmp_path / "draw.json"
    assert drumbeat("draw", "publish", key, "--out", promise, "--program", root).code == 0
    early = drumbeat("draw", "verify", promise)
    assert (early.code, "nothing is drawn yet" in early.out) == (1, True)
    found = drawn(root, drumbeat)
    assert drumbeat("draw", "publish", key, "--out", file, "--program", root).code == 0
    commitment = json.loads(promise.read_text(encoding="utf-8"))["commitment"]
    right = drumbeat("draw", "verify", file, "--commitment", commitment, "--me", found["winners"][1]["user"])
    assert right.code == 0
    assert "right       2 winners of 4 entrants with 8 entries" in right.out
    assert "won place 2" in right.out
    assert drumbeat("draw", "verify", file, "--commitment", "0" * 64).code == 1
    changed = json.loads(file.read_text(encoding="utf-8"))
    changed["winners"].reverse()
    file.write_text(json.dumps(changed), encoding="utf-8")
    wrong = drumbeat("draw", "verify", file, "--format", "json")
    assert wrong.code == 1
    assert wrong.json["ok"] is False
    assert wrong.json["problems"][0].startswith("winner 1 is ")


def test_who_did_not_take_part(root: Path, drumbeat: Drumbeat, tmp_path: Path) -> None:
    """Somebody who is not in the list hears that he has no entry."""
    key = drawn(root, drumbeat)["key"]
    drumbeat("draw", "publish", key, "--out", tmp_path / "d.json", "--program", root)
    found = drumbeat("draw", "verify", tmp_path / "d.json", "--me", "stranger", "--format", "json").json["you"]
    assert (found["entries"], found["won"]) == (0, [])


def test_the_file_goes_to_the_screen_too(root: Path, drumbeat: Drumbeat) -> None:
    """Without ``--out`` the file is printed, and holds no user's id."""
    key = drawn(root, drumbeat)["key"]
    found = drumbeat("draw", "publish", key, "--program", root).json
    assert found["draw"] == key
    assert len(found["entrants"]) == 4
    assert all(len(alias) == 32 for alias, _ in found["entrants"])


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1, "format": 1}', "[" * 5000, '{"format": NaN}', "\udcff"])
def test_what_is_no_draw_ends_with_1(drumbeat: Drumbeat, tmp_path: Path, text: str) -> None:
    """Whatever the file holds, there is a sentence and no traceback."""
    file = tmp_path / "x.json"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    said = drumbeat("draw", "verify", file)
    assert said.code == 1
    assert said.out.startswith("wrong       ")


def test_no_such_draw(root: Path, drumbeat: Drumbeat) -> None:
    """An unknown key and one too short to mean anything are wrong usage, with the next move."""
    for key, word in (("ffffffffff", "there is no draw"), ("ff", "too short")):
        said = drumbeat("draw", "show", key, "--program", root)
        assert said.code == 2
        assert word in said.err
        assert "drumbeat draw list" in said.err
