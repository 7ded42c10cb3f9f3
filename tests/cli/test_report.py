"""``drumbeat report``: counts that add up, and no share of too few."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.cli.main import run

PROGRAM = """
program: shop
channels: {box: {via: file, path: out.jsonl}}
feeds: [{file: feed.jsonl}]
policies: {default: {consent: {marketing: required, service: none}, quiet_hours: never}}
"""

CATALOG = """
coupons:
  gift: {title: t, value: {off: 5, currency: CNY}, codes: {generate: G}, valid_for: 7d, limits: {per_user: 1, total: 9}}
  open: {title: t, value: {off: 1}, codes: {generate: O}, valid_for: 7d, limits: {per_user: 1, total: unlimited}}
groups:
  club:
    title: t
    hold: 900d
    rooms:
      - {id: r1, link: "https://x.example/1", capacity: 10, soft: 8}
      - {id: r2, link: "https://x.example/2", capacity: 10, soft: 8}
points: {main: {title: t}}
"""

BOOK = """
playbook: welcome
title: t
trigger: {signup: true}
entry: {mode: once}
holdout: {percent: 40}
goal: {event: order.paid, within: 30d, then: continue}
steps:
  - {coupon: {pool: gift, on_exhausted: skip}, id: gift}
  - {message: {template: hello, via: box, purpose: service}}
  - {message: {template: hello, via: box, purpose: marketing}}
  - {invite: {groups: [club], match: first, on_full: skip}, id: seat}
"""


def program(folder: Path, users: int) -> Path:
    """Sign-ups, every second of which orders; one bad line. Run once."""
    (folder / "playbooks" / "catalog").mkdir(parents=True)
    (folder / "templates").mkdir()
    (folder / "templates" / "hello.box.j2").write_text("hi", encoding="utf-8")
    (folder / "drumbeat.yaml").write_text(PROGRAM, encoding="utf-8")
    (folder / "playbooks" / "catalog" / "all.yaml").write_text(CATALOG, encoding="utf-8")
    (folder / "playbooks" / "welcome.yaml").write_text(BOOK, encoding="utf-8")
    rows = []
    for number in range(users):
        rows.append({"id": f"s{number}", "time": "2026-01-01T00:00:00Z", "type": "user.signup", "user": f"u{number}"})
    for number in range(0, users, 2):
        rows.append({"id": f"o{number}", "time": "2026-01-02T00:00:00Z", "type": "order.paid", "user": f"u{number}"})
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "feed.jsonl").write_text(text + "{broken\n", encoding="utf-8")
    assert run(["run", "--until-idle", "--program", str(folder), "--quiet"]) == 0
    return folder


def said(capsys: pytest.CaptureFixture[str], folder: Path, *args: str) -> str:
    """What the report prints."""
    capsys.readouterr()
    assert run(["report", "--program", str(folder), *args]) == 0
    return capsys.readouterr().out


def figures(capsys: pytest.CaptureFixture[str], folder: Path) -> dict[str, Any]:
    """The report as the one JSON object it prints."""
    found = json.loads(said(capsys, folder, "--format", "json"))
    assert isinstance(found, dict)
    return found


def test_figures_add_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Entries, goals of both sides, effects, coupons, rooms, deliveries and quarantine of a known feed."""
    found = figures(capsys, program(tmp_path, 400))
    book = found["playbooks"]["welcome"]
    held, treated = book["holdout"], book["treated"]
    assert book["entered"] == book["finished"] == 400
    assert book["held_out"] == held["entries"] == 400 - treated["entries"]
    assert held["goals"] + treated["goals"] == 200
    assert held["percent"] == pytest.approx(100 * held["goals"] / held["entries"], abs=0.05)
    points = 100 * (treated["goals"] / treated["entries"] - held["goals"] / held["entries"])
    assert book["difference"]["points"] == pytest.approx(points, abs=0.05)
    assert 0 < book["difference"]["give_or_take"] < 20
    entries = treated["entries"]
    assert found["effects"]["coupon"] == {"planned": 9, "denied": entries - 9, "held_out": held["entries"]}
    refused = {(it["kind"], it["status"], it["reason"]): it["count"] for it in found["refused"]}
    assert refused == {
        ("coupon", "denied", "sold_out"): entries - 9,
        ("invite", "denied", "full"): entries - 16,
        ("message", "suppressed", "consent"): entries,
    }
    gift, open_ = found["coupons"]
    assert (gift["given"], gift["left"], gift["total"], gift["spent"], gift["currency"]) == (9, 0, 9, 45, "CNY")
    assert (open_["given"], open_["left"], open_["total"], open_["spent"]) == (0, None, None, 0)
    (club,) = found["groups"]
    assert (club["taken"], club["capacity"]) == (16, 20)
    assert [(it["room"], it["taken"], it["invites_stop_at"]) for it in club["rooms"]] == [("r1", 8, 8), ("r2", 8, 8)]
    assert found["deliveries"] == {"box": {"sent": entries}}
    assert sum(found["quarantine"].values()) == found["events"]["quarantined"] == 1


def test_a_share_of_too_few_is_not_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Below 100 entries on a side there is a count and the words, and no difference."""
    folder = program(tmp_path, 150)
    book = figures(capsys, folder)["playbooks"]["welcome"]
    assert book["holdout"]["entries"] < 100
    assert book["holdout"]["percent"] is None
    assert book["difference"] is None
    assert "not enough data" in said(capsys, folder)


def test_text_shows_tables_and_leaves_out_what_is_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The tables are there, and the report changes nothing."""
    folder = program(tmp_path, 20)
    before = (folder / "drumbeat.db").read_bytes()
    text = said(capsys, folder)
    for part in ("welcome", "coupon denied: sold_out", "0 of 9", "45 CNY", "unlimited", "  r1", "quarantine"):
        assert part in text
    assert (folder / "drumbeat.db").read_bytes() == before
    assert "another version" not in text
    book = folder / "playbooks" / "welcome.yaml"
    book.write_text(book.read_text(encoding="utf-8").replace("40", "41"), encoding="utf-8")
    assert run(["report", "--program", str(folder)]) == 0
    captured = capsys.readouterr()
    assert "note: the store is not yet run by what the folder holds: what is said is by the program" in captured.err
    assert captured.out.startswith(text.splitlines()[0])


def test_surveys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Asked, answered and the split are counts; the net promoter score stands there from a hundred answers on."""
    files = {
        "drumbeat.yaml": PROGRAM,
        "playbooks/catalog/all.yaml": "surveys: {nps: {questions: [{id: would, text: t, kind: nps}], open: 2d}}\n",
        "playbooks/ask.yaml": "playbook: ask\ntitle: t\ntrigger: {signup: true}\nentry: once\n"
        "steps: [{survey: {name: nps, via: box}}]\n",
        "templates/survey/nps.box.j2": "t",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    for users, expected in ((10, False), (200, True)):
        rows: list[dict[str, Any]] = [
            {"id": f"s{n}", "type": "user.signup", "user": f"u{n}", "time": "2026-03-01T10:00:00Z"}
            for n in range(users)
        ]
        scores = [10, 10, 9, 7, 8, 8, 3, None, 6, 9]
        for n in range(users):
            if scores[n % 10] is not None:
                data = {"survey": "nps", "answers": {"would": scores[n % 10]}}
                at = "2026-03-02T10:00:00Z"
                rows.append({"id": f"a{n}", "type": "survey.answered", "user": f"u{n}", "time": at, "data": data})
        rows.append({"id": "end", "type": "x", "user": "u0", "time": "2026-03-09T10:00:00Z"})
        (tmp_path / "feed.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        store = f"sqlite:///{users}.db"
        assert run(["run", "--until-idle", "--quiet", "--program", str(tmp_path), "--store", store]) == 0
        capsys.readouterr()
        assert run(["report", "--program", str(tmp_path), "--store", store, "--format", "json"]) == 0
        (found,) = json.loads(capsys.readouterr().out)["surveys"]
        part = users // 10
        assert [found[it] for it in ("asked", "answered", "promoters", "passives", "detractors")] == [
            users, 9 * part, 4 * part, 3 * part, 2 * part
        ]  # fmt: skip
        assert found["nps"] == (22.2 if expected else None)
        assert run(["report", "--program", str(tmp_path), "--store", store]) == 0
        assert ("+22.2" if expected else "not enough data") in capsys.readouterr().out
