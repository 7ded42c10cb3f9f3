"""The blast guard, line by line: who waits, in which order, and who is told; the same from ``simulate`` and ``run``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from crash_world import without_disk
from flow_program import SECRET, Wall
from semantics_kit import HEAD, Row, event, play

from engine import wiring
from engine.core.instants import format_instant, parse_instant
from engine.core.model import MINUTE, Alert
from engine.insight.report import report
from engine.language.compile import compile_program
from engine.runtime import session
from engine.runtime.pump import Pump
from engine.stores.sqlite import SqliteStore

END = event("z", "end", "2026-03-20T00:00:00Z", "zz")
POOL = "coupons: {c: {title: c, codes: {file: lists/c.csv}, limits: {per_user: 1, total: 30}}}\n"
FIRST_DAY, SECOND_DAY, THIRD_DAY = "2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z", "2026-03-04T00:00:00Z"


def entry(limit: str, mode: str = "single", more: str = "") -> str:
    return f"trigger: {{event: a}}\nentry: {{mode: {mode}, limit: {limit}{more}}}\nsteps: [{{coupon: c}}]\n"


def codes(root: Path, many: int = 30) -> None:
    path = root / "lists/c.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"C{n:03d}\n" for n in range(many)))


def arrivals(users: list[str], start: str = "2026-03-01T10:00:00Z") -> list[Row]:
    """Each of them a minute after the one before."""
    at = parse_instant(start)
    return [event(f"{user}-{n}", "a", format_instant(at + n * MINUTE), user) for n, user in enumerate(users)]


def given(effects: list[Row]) -> dict[str, tuple[str, str | None]]:
    """User -> (time, code)."""
    return {row["user"]: (row["time"], row["detail"]["code"]) for row in effects if row["kind"] == "coupon"}


def test_who_waits_begins_in_the_order_of_arrival(tmp_path: Path) -> None:
    """Semantics: limit.order, limit.window, coupon.codes — "waits for the next window in order of arrival": the
    first to come has the first code, whatever the names."""
    codes(tmp_path)
    users = ["u9", "u8", "u3", "u7", "u1", "u5"]
    seen = play(tmp_path, {"p": entry("2/day")}, [*arrivals(users), END], catalog=POOL)
    assert given(seen.effects) == {
        "u9": ("2026-03-01T10:00:00Z", "C000"), "u8": ("2026-03-01T10:01:00Z", "C001"),
        "u3": (FIRST_DAY, "C002"), "u7": (FIRST_DAY, "C003"), "u1": (SECOND_DAY, "C004"), "u5": (SECOND_DAY, "C005"),
    }  # fmt: skip


def test_one_who_arrives_in_the_next_window_stands_behind_those_who_wait(tmp_path: Path) -> None:
    """Semantics: limit.order — the waiting ones have booked the window; who comes on that day waits in turn."""
    codes(tmp_path)
    feed = [*arrivals(["u1", "u2", "u3"]), *arrivals(["u0"], FIRST_DAY), END]
    seen = play(tmp_path, {"p": entry("1/day")}, feed, catalog=POOL)
    assert [given(seen.effects)[user][0] for user in ("u2", "u3", "u0")] == [FIRST_DAY, SECOND_DAY, THIRD_DAY]


def test_restart_keeps_the_place(tmp_path: Path) -> None:
    """Semantics: limit.order — an entry that waits and is restarted takes no second slot: its place in the order of
    arrival is handed on, and the event that counts is the new one."""
    codes(tmp_path)
    feed = arrivals(["u0", "u1", "u1", "u1", "u2"])
    feed[3]["data"] = {"n": 3}
    text = entry("1/day", "restart").replace("[{coupon: c}]", "[{coupon: c}, {points: '{{ event.n }}'}]")
    seen = play(tmp_path, {"p": text}, [*feed, END], catalog=POOL)
    assert [given(seen.effects)[user][0] for user in ("u0", "u1", "u2")] == [
        "2026-03-01T10:00:00Z", FIRST_DAY, SECOND_DAY,
    ]  # fmt: skip
    assert [row["detail"]["delta"] for row in seen.effects if row["kind"] == "points" and row["user"] == "u1"] == [3]
    capped = [row for row in seen.decisions if row["verdict"] == "capped" and row["user"] == "u1"]
    assert "keeps the place" in capped[1]["why"][-1]["text"]
    assert seen.outcome.journeys == {"started": 3, "finished": 3, "running": 0}


@pytest.mark.parametrize(
    ("limit", "more", "windows"),
    [("2/day", "", 2), ("2/day", ", on_limit: drop", 2), ("9/day", "", 0), ("2/run", "", 1), ("1/hour", "", 2)],
)
def test_a_limit_is_told_once_a_window(tmp_path: Path, limit: str, more: str, windows: int) -> None:
    """Semantics: limit.told — "traced, and the operator is alerted once": once for a playbook and window."""
    codes(tmp_path)
    feed = [*arrivals(["u1", "u2", "u3", "u4"]), *arrivals(["v1", "v2", "v3"], "2026-03-05T10:00:00Z"), END]
    seen = play(tmp_path, {"p": entry(limit, more=more)}, feed, catalog=POOL)
    assert seen.outcome.playbooks["p"]["limited"] == windows
    assert (windows > 0) == any(row["verdict"] == "capped" for row in seen.decisions)


@pytest.mark.parametrize(
    ("limit", "begins"),
    [
        ("2/hour", ["01T10:00", "01T10:01", "01T11:00", "01T11:00", "01T12:00"]),
        ("2/day", ["01T10:00", "01T10:01", "02T00:00", "02T00:00", "03T00:00"]),
        ("2/run", ["01T10:00", "01T10:01"]),
        ("5/hour", ["01T10:00", "01T10:01", "01T10:02", "01T10:03", "01T10:04"]),
    ],
)
@pytest.mark.parametrize("drop", [False, True])
def test_how_many_begin_in_a_window(tmp_path: Path, limit: str, begins: list[str], drop: bool) -> None:
    """Never more than the limit says begin in an hour, a day or a run; with `drop` the others never do.

    Semantics: limit.window, limit.drop
    """
    codes(tmp_path)
    feed = [*arrivals(["u1", "u2", "u3", "u4", "u5"]), END]
    seen = play(tmp_path, {"p": entry(limit, more=", on_limit: drop" if drop else "")}, feed, catalog=POOL)
    expected = [it for it in begins if it.startswith("01T10:")] if drop else begins
    assert [at[8:16] for at, _ in given(seen.effects).values()] == expected


# ---------------------------------------------------------------------- run


def program(root: Path, playbook: str) -> Any:
    """The kit's program with a feed, for ``run``."""
    codes(root)
    files = {
        "drumbeat.yaml": HEAD + "feeds: [{file: feed/*.jsonl}]\n",
        "playbooks/p.yaml": f"playbook: p\ntitle: t\n{playbook}",
        "playbooks/catalog/all.yaml": POOL, "templates/hi.box.j2": "hi {{ user.id }}",
    }  # fmt: skip
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    found = compile_program(root)
    assert found.plan is not None, [str(problem) for problem in found.problems]
    return found


def run(root: Path, playbook: str, feed: list[Row], batch: int, alerts: list[Alert]) -> dict[str, tuple[str, str]]:
    found = program(root, playbook)
    (root / "feed").mkdir(exist_ok=True)
    (root / "feed/a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in feed))
    store = SqliteStore.open(root / "s.db")
    try:
        feeds = wiring.open_feeds(found.settings, root)
        pump = Pump(found.plan, store, feeds, None, Wall(), secret=SECRET, batch=batch, alert=alerts.append)
        done = pump.until_idle()
        assert done.limits == {name: n for name in ("p",) if (n := sum(it.playbook == name for it in alerts))}
        assert report(found.plan, store)["playbooks"]["p"]["limited"] == len(alerts)
        rows = [it for it, _ in store.effects() if it.kind == "coupon"]
        return {str(it.user): (format_instant(it.time), it.detail["code"]) for it in rows}
    finally:
        store.close()


@pytest.mark.parametrize("batch", [1, 7, 5_000])
@pytest.mark.parametrize("at_once", [2, 3, 5_000])
def test_run_begins_them_as_simulate_does(
    tmp_path: Path, batch: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Semantics: limit.order, scarce.exact — the order of arrival holds for any batch, also when more entries wait for
    one instant than a transaction takes wake-ups."""
    monkeypatch.setattr(session, "WAKES_AT_ONCE", at_once)
    users = [f"u{(n * 7) % 23:02d}" for n in range(23)]
    feed = [*arrivals(users), END]
    codes(tmp_path / "one")
    wanted = given(play(tmp_path / "one", {"p": entry("8/day")}, feed, catalog=POOL).effects)
    assert [wanted[user][1] for user in users] == [f"C{n:03d}" for n in range(23)]
    alerts: list[Alert] = []
    with without_disk():
        assert run(tmp_path / "two", entry("8/day"), feed, batch, alerts) == wanted
    assert [(it.playbook, it.limit, it.waits) for it in alerts] == [("p", "8/day", True)]
