"""``simulate --report``: a report a person can read, and no playbook that never fires without saying why."""

from __future__ import annotations

import gzip
import json
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from engine.cli.firing import CELLS
from engine.cli.tables import width

if TYPE_CHECKING:
    from conftest import Drumbeat, Make

ROOT = Path(__file__).resolve().parents[2]
FEEDS = ROOT / "tests" / "feeds"
CDNOW = ROOT / "examples" / "cdnow" / "feed"

HEAD = "owner: tea@shop.example\nentry: {mode: parallel, limit: unlimited}\n"
TAG = "steps:\n  - tag: {add: seen}\n"
PLAYBOOKS = {
    "thanks": "title: 谢谢\ntrigger: {event: order.paid}\n" + HEAD + TAG,
    "big": "title: 大单\ntrigger: {event: order.paid}\nwhen: event.amount >= 100 and user.city == '上海'\n"
    + HEAD
    + TAG,
    "never-seen": "title: 没有这种事\ntrigger: {event: cart.abandoned}\n" + HEAD + TAG,
    "by-hand": "title: 手动\ntrigger: {manual: true}\n" + HEAD + TAG,
    "asks": "title: 问\ntrigger: {event: cart.abandoned}\n" + HEAD + "steps:\n  - emit: {type: asked.once}\n",
    "asked": "title: 被问\ntrigger: {event: asked.once}\n" + HEAD + TAG,
    "next-year": "title: 明年\ntrigger: {schedule: {cron: '0 9 1 1 *', audience: true}}\n" + HEAD + TAG,
    "monthly": "title: 每月\ntrigger: {schedule: {cron: '0 9 2 3 *', audience: \"user.city == '上海'\"}}\n"
    + HEAD
    + TAG,
    "comes-back": "title: 回来\ntrigger: {segment: {enters: rich}}\n" + HEAD + TAG,
    "stock": "title: 库存\nsubject: group\n"
    "trigger: {event: order.paid, if: event.amount >= 1}\n" + HEAD + "steps:\n  - emit: {type: stocked.once}\n",
}


@pytest.fixture
def shop(make: Make) -> Path:
    """A small program in which only one playbook fires."""
    files = {f"playbooks/{name}.yaml": f"playbook: {name}\n{text}" for name, text in PLAYBOOKS.items()}
    files["playbooks/catalog/segments.yaml"] = "segments: {rich: {if: \"sum('order.paid', 'amount') >= 1000\"}}\n"
    rows = [
        {"id": f"e{n}", "type": "order.paid", "user": f"u{n}", "time": f"2026-03-0{n}T01:00:00Z", "data": {"amount": n}}
        for n in (1, 2, 3)
    ]
    return make(files, feed="".join(json.dumps(row) + "\n" for row in rows))


def test_each_playbook_that_never_fired_says_why(drumbeat: Drumbeat, shop: Path) -> None:
    """Each reason is told from the run: the missing event, the condition and what came nearest, the slot, the hand."""
    said = drumbeat("simulate", "--program", shop, "--events", shop / "feed.jsonl", "--report", "--format", "json")
    assert said.code == 0
    told = {row["playbook"]: row for row in said.json["never_fired"]}
    assert "thanks" not in told
    assert {name: row["reason"] for name, row in told.items()} == {
        "big": "refused", "never-seen": "no_event", "by-hand": "by_hand", "asks": "no_event", "asked": "waits_for",
        "next-year": "no_slot", "monthly": "refused", "comes-back": "no_move", "stock": "nobody",
    }  # fmt: skip
    assert told["never-seen"]["text"] == "no event cart.abandoned"
    assert told["big"]["looked_at"] == 3
    near = told["big"]["refused"][0]
    assert (near["at"], near["times"]) == ("when[0]", 3)
    assert near["nearest"] == ["user.city never had a value", "event.amount >= 100, was 1 to 3"]
    assert told["asked"]["text"] == "needs asked.once by asks: never fired either"
    assert told["next-year"]["text"].endswith("comes first at 2027-01-01T01:00:00Z")
    assert told["monthly"]["refused"][0]["nearest"] == ["user.city never had a value"]
    assert told["stock"]["text"] == "order.paid came, but none of a group"


def test_the_text_is_grouped_and_stands_straight(drumbeat: Drumbeat, shop: Path) -> None:
    """One table of what fired, titles in Chinese aligned; the others by reason, with their number."""
    said = drumbeat("simulate", "--program", shop, "--events", shop / "feed.jsonl", "--report")
    lines = said.out.splitlines()
    fired = next(line for line in lines if line.startswith("thanks "))
    assert fired.split() == ["thanks", "3", "0", "3", "0", "谢谢"]
    assert "never fired  9 of 10 playbooks" in lines
    assert "  no such event in this feed (2)" in lines
    assert next(line for line in lines if line.startswith("    cart.abandoned")).split() == [
        "cart.abandoned", "asks,", "never-seen"
    ]  # fmt: skip
    assert max(map(width, lines)) <= CELLS


def test_what_was_kept_back_is_counted(drumbeat: Drumbeat, make: Make) -> None:
    """Effects that did not happen are named with the reason, and a program in which all fire is not looked at twice."""
    root = make({"drumbeat.yaml": "program: tea\nchannels: {box: {via: file, path: out/box.jsonl}}\n"
                 "policies: {default: {consent: {service: required}, quiet_hours: never}}\n"})  # fmt: skip
    said = drumbeat("simulate", "--program", root, "--events", root / "feed.jsonl", "--report", "--format", "json")
    assert (said.json["kept_back"], said.json["never_fired"]) == ({"thanks": {"consent": 3}}, [])
    text = drumbeat("simulate", "--program", root, "--events", root / "feed.jsonl", "--report").out
    assert "kept back" in text
    assert "never fired" not in text


def test_records_of_another_system(drumbeat: Drumbeat, shop: Path) -> None:
    """``--map`` reads records as the ``map`` of a feed does; one that lacks a named field is in quarantine."""
    (shop / "map.yaml").write_text("id: n\ntype_is: order.paid\nuser: who\ntime: at\ndata: .\n", encoding="utf-8")
    rows = [{"n": n, "who": f"u{n}", "at": f"2026-03-0{n}T01:00:00Z", "amount": 5} for n in (1, 2, 3)]
    (shop / "other.jsonl").write_text("".join(json.dumps(it) + "\n" for it in [*rows, {"n": 9}]), encoding="utf-8")
    words = ("simulate", "--program", shop, "--events", shop / "other.jsonl", "--format", "json", "--map")
    said = drumbeat(*words, shop / "map.yaml")
    assert said.json["playbooks"]["thanks"]["entered"] == 3
    assert said.json["events"]["reasons"] == {"unmapped": 1}
    (shop / "map.yaml").write_text("id: n\ntype: [\n", encoding="utf-8")
    assert drumbeat(*words, shop / "map.yaml").code == 2
    assert drumbeat(*words, shop / "no.yaml").code == 2


@pytest.mark.parametrize("feed", ["retail", "community"])
def test_the_shipped_library_over_a_real_feed(drumbeat: Drumbeat, tmp_path: Path, feed: str) -> None:
    """Each playbook of the library either fired or says why not, in at most 200 lines of a terminal's width."""
    if feed == "retail":
        names = ("cdnow_signups_derived.jsonl.gz", "cdnow_orders.jsonl.gz")
        words: tuple[object, ...] = ("--events", _slice([CDNOW / name for name in names], tmp_path / "feed.jsonl"))
    else:
        words = ("--events", FEEDS / "history_meta_se.jsonl", "--map", FEEDS / "history_meta_se.map.yaml")
    said = drumbeat("simulate", "--program", ROOT, *words, "--report", "--format", "json")
    assert said.code == 0
    never = {row["playbook"] for row in said.json["never_fired"]}
    fired = {name for name, it in said.json["playbooks"].items() if it["entered"] or it["held_out"]}
    assert len(fired) >= 5
    assert never | fired == set(said.json["playbooks"])
    assert not never & fired
    assert all(row["text"] for row in said.json["never_fired"])
    text = drumbeat("simulate", "--program", ROOT, *words, "--report").out.splitlines()
    assert len(text) <= 200
    assert max(map(width, text)) <= CELLS


def _slice(files: list[Path], target: Path) -> Path:
    with target.open("wb") as out:
        for path in files:
            with gzip.open(path, "rb") as file:
                out.writelines(islice(file, 40))
    return target
