"""What a plan says is what then happens: planned on a real store, then really put to work over the same weeks."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from plan_kit import BASE, DAYS, NEW, OLD, feed, life, write

from engine.cli.main import run
from engine.core.instants import format_instant, parse_instant
from engine.core.model import DAY
from engine.stores.sqlite import SqliteStore

WINDOW = 14  # of 17 days: whole weeks
NOW = BASE + DAYS * DAY


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop at work for some weeks, and then edited."""
    root = write(tmp_path_factory.mktemp("plan") / "shop", {**OLD, "feed/a.jsonl": feed(life())})
    assert run(["run", "--until-idle", "--program", str(root), "--quiet"]) == 0
    return write(root, NEW)


def said(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, Any]:
    """(exit code, JSON) of a verb."""
    capsys.readouterr()
    code = run([*map(str, words), "--format", "json", "--quiet"])
    return code, json.loads(capsys.readouterr().out)


def once_more() -> list[dict[str, object]]:
    """The last weeks, again: by hand, without the engine's code."""
    rows = life()
    begin = NOW - WINDOW * DAY
    known = {row["user"] for row in rows if row["at"] <= begin}  # type: ignore[operator]
    out = []
    for row in rows:
        at = row["at"]
        assert isinstance(at, int)
        if at > begin:
            user = row["user"] if row["user"] in known else f"{row['user']}~again"
            later = at + WINDOW * DAY
            out.append({**row, "id": f"plan:{row['id']}", "user": user, "at": later, "time": format_instant(later)})
    return out


def looks(root: Path) -> dict[str, str]:
    """The files of the store: hash and instant of change. An empty log is as good as none: readers leave one."""
    return {
        path.name: f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.stat().st_mtime_ns}"
        for path in sorted(root.glob("*.db*"))
        if not path.name.endswith("-shm") and path.stat().st_size
    }


def happened(root: Path) -> tuple[Counter[Any], Counter[Any], dict[str, Any]]:
    """(effects done, effects refused, figures of playbooks) of everything a store has decided."""
    store = SqliteStore.open(root / "drumbeat.db", read_only=True)
    try:
        done: Counter[Any] = Counter()
        refused: Counter[Any] = Counter()
        for effect, _ in store.effects():
            if effect.status == "planned":
                done[effect.playbook, effect.kind] += 1
            elif effect.status in ("suppressed", "denied"):
                refused[effect.playbook, effect.kind, effect.reason] += 1
        return done, refused, store.summary()
    finally:
        store.close()


def test_a_plan_is_what_then_happens(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Who moves, stops and enters at once, and every effect of the weeks that follow: planned as it then comes.

    Semantics: plan.engine, publish.existing-segment
    """
    before = looks(shop)
    code, plan = said(capsys, "plan", "--program", shop, "--detailed-exitcode")
    assert code == 10
    assert looks(shop) == before  # not a byte, not an instant
    done, refused, figures = happened(shop)

    (shop / "feed" / "b.jsonl").write_text(feed(once_more()), encoding="utf-8")
    code, ran = said(capsys, "run", "--until-idle", "--program", shop)
    assert code == 0
    done_later, refused_later, later = happened(shop)

    fates: Counter[str] = Counter()
    for row in plan["journeys"]:
        fates[row["what"]] += row["count"]
    assert fates["moves"] == ran["published"]["moved"] > 0
    assert fates["stops"] == ran["published"]["cancelled"] > 0
    assert {(it["playbook"], it["step"], it["what"], it["to"]) for it in plan["journeys"]} == {
        ("welcome", "rest", "moves", "rest"), ("thanks", "pause", "stops", None), ("nudge", "stay", "stays", None)
    }  # fmt: skip

    estimate = plan["estimate"]
    assert estimate["window"]["days"] == WINDOW
    assert estimate["events"] == len(once_more())
    rows = {it["playbook"]: it for it in estimate["plan"]["playbooks"]}
    for name, row in rows.items():
        assert row["entered"] == later[name]["entered"] - figures.get(name, {}).get("entered", 0), name
        fresh = {kind: n for (one, kind), n in (done_later - done).items() if one == name}
        assert row["effects"] == fresh, name
    assert rows.keys() == {"welcome", "thanks", "nudge", "loyal"}
    held = Counter({(it["playbook"], it["kind"], it["reason"]): 0 for it in estimate["refused"]})
    for it in estimate["refused"]:
        held[it["playbook"], it["kind"], it["reason"]] += it["count"]
    assert held == refused_later - refused
    assert {it["limit"] for it in estimate["refused"]} >= {"frequency cap", "channel quota"}


def test_who_is_let_in_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Those in a segment with ``existing: enter`` are let in at the publication: as many as planned, those named.

    Nothing happens meanwhile, so every entry of the run is one of them; coupons are counted and their stock, too.
    """
    rows = life()
    root = write(tmp_path / "shop", {**OLD, "feed/a.jsonl": feed(rows)})
    assert run(["run", "--until-idle", "--program", str(root), "--quiet"]) == 0
    write(root, NEW)
    code, plan = said(capsys, "plan", "--program", root, "--days", 0)
    assert code == 0
    loyal = {row["user"] for row in rows} & {
        user for user, n in Counter(row["user"] for row in rows if row["type"] == "order.paid").items() if n >= 3
    }
    part = plan["at_once"]["playbooks"][0]
    assert (part["playbook"], part["entered"]) == ("loyal", len(loyal))
    assert len(loyal) > 3
    assert set(part["sample"]) <= loyal
    assert run(["run", "--until-idle", "--program", str(root), "--quiet"]) == 0
    done, refused, figures = happened(root)
    assert figures["loyal"]["entered"] == part["entered"]
    assert part["effects"] == {kind: n for (name, kind), n in done.items() if name == "loyal"}
    assert plan["at_once"]["cost"] == [{"currency": "CNY", "amount": 10 * done["loyal", "coupon"]}]
    assert plan["estimate"]["pools"][0]["left_after"] == 40 - done["loyal", "coupon"]
    assert refused["loyal", "message", "cap"] > 0

    code, plan = said(capsys, "plan", "--program", root, "--detailed-exitcode")
    assert (code, plan["changes"]) == (0, False)  # nothing is left to do


def test_little_is_said_to_be_little(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A store that holds five days says so: five days are played, from when to when is told, nothing is scaled."""
    rows = [row for row in life() if row["at"] < BASE + 5 * DAY]  # type: ignore[operator]
    root = write(tmp_path / "shop", {**OLD, "feed/a.jsonl": feed(rows)})
    assert run(["run", "--until-idle", "--program", str(root), "--quiet"]) == 0
    write(root, NEW)
    _, plan = said(capsys, "plan", "--program", root)
    window = plan["estimate"]["window"]
    assert (window["asked_days"], window["days"]) == (28, 5)
    assert window["held_from"] == rows[0]["time"]
    assert window["held_until"] == rows[-1]["time"]
    assert plan["estimate"]["events"] == len(rows)
    run(["plan", "--program", str(root)])
    assert "that is 5 days of the 28 asked for: nothing is scaled up" in capsys.readouterr().out
    last = rows[-1]["time"]
    assert isinstance(last, str)
    assert parse_instant(window["from"]) == parse_instant(last) - 5 * DAY


def test_stock_runs_out_in_the_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Stock of now against what is asked for: what is given, what is denied, and when first."""
    few = NEW | {"playbooks/catalog/all.yaml": OLD["playbooks/catalog/all.yaml"].replace("total: 40", "total: 4")}
    root = write(tmp_path / "shop", {**OLD, "feed/a.jsonl": feed(life())})
    assert run(["run", "--until-idle", "--program", str(root), "--quiet"]) == 0
    write(root, few)
    code, plan = said(capsys, "plan", "--program", root)
    assert code == 0
    pool = plan["estimate"]["pools"][0]
    assert (pool["pool"], pool["left_now"], pool["given"], pool["left_after"]) == ("gift", 4, 4, 0)
    assert pool["denied"] >= 2
    assert pool["first_denied"] == format_instant(NOW)
    assert {"section": "coupons", "name": "gift", "what": "changed"} in plan["difference"]["catalog"]


def test_what_is_forgotten_makes_nobody_new(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where retention took the oldest events, the plan says from when on the store holds some; whoever came before
    that is no newcomer, although nothing of them is left."""
    rows = life()
    root = write(tmp_path / "shop", {**OLD, "feed/a.jsonl": feed(rows)})
    assert run(["run", "--until-idle", "--program", str(root), "--quiet"]) == 0
    _, before = said(capsys, "plan", "--program", root)
    store = SqliteStore.open(root / "drumbeat.db")
    gone = store.forget({"events": NOW}, 100)["events"]
    store.close()
    assert 50 < gone < len(rows)
    _, plan = said(capsys, "plan", "--program", root)
    window = plan["estimate"]["window"]
    assert window["held_from"] == rows[gone]["time"]
    assert 1 < window["days"] < WINDOW
    begin = NOW - window["days"] * DAY
    known = {row["user"] for row in rows if row["at"] <= begin}  # type: ignore[operator]
    fresh = {row["user"] for row in rows if row["at"] > begin} - known  # type: ignore[operator]
    assert plan["estimate"]["newcomers"] == len(fresh) < before["estimate"]["newcomers"]


def test_what_counts_as_a_change(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Comments and titles change nothing; a playbook is touched by what it names, all of them by a policy; a store of
    which the files are not known says so, and everything counts as touched."""
    root = write(tmp_path / "shop", {**OLD, **NEW, "feed/a.jsonl": feed(life()[:20])})
    assert run(["run", "--until-idle", "--program", str(root), "--quiet"]) == 0

    def difference(**files: str) -> tuple[bool, dict[str, str], Any]:
        write(root, {**OLD, **NEW, **{name.replace("__", "/") + ".yaml": text for name, text in files.items()}})
        _, plan = said(capsys, "plan", "--program", root, "--days", 0)
        found = plan["difference"]
        return plan["changes"], {it["playbook"]: it["what"] for it in found["playbooks"]}, found

    catalog, program = OLD["playbooks/catalog/all.yaml"], OLD["drumbeat.yaml"]
    same = dict.fromkeys(("loyal", "nudge", "thanks", "welcome"), "same")
    nudge = OLD["playbooks/nudge.yaml"].replace("title: 想你", "title: 好久不见  # since May")
    assert difference(playbooks__nudge=nudge)[:2] == (False, same)
    changed, rows, found = difference(playbooks__catalog__all=catalog.replace(">= 3", ">= 2"))
    assert (changed, rows) == (True, same | {"loyal": "touched"})
    assert found["catalog"] == [{"section": "segments", "name": "loyal", "what": "changed"}]
    night = program.replace("quiet_hours: never", "quiet_hours: {from: '22:00', to: '08:00'}")
    changed, rows, found = difference(drumbeat=night)
    assert (changed, rows, found["program"]) == (True, dict.fromkeys(same, "touched"), ["policies"])
    changed, rows, found = difference(drumbeat=program.replace("feed/*.jsonl", "feed/a.jsonl"))
    assert (changed, rows, found["program"]) == (True, same, ["feeds"])
    paused = OLD["playbooks/nudge.yaml"].replace("title:", "status: paused\ntitle:")
    _, rows, found = difference(playbooks__nudge=paused)
    assert rows == same | {"nudge": "changed"}
    assert [it["parts"] for it in found["playbooks"] if it["playbook"] == "nudge"] == [["status live -> paused"]]

    store = SqliteStore.open(root / "drumbeat.db")
    store.set_meta("program", "")
    store.close()
    changed, rows, found = difference(playbooks__nudge=paused)
    assert (changed, found["known"], rows["nudge"], rows["loyal"]) == (True, False, "changed", "touched")
