"""The nearest change ``why`` names is enough, and nothing less is: tried in feeds of their own, by the simulation."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine import wiring
from engine.cli.main import run
from engine.core.instants import format_instant, parse_instant
from engine.core.model import DAY, HOUR
from engine.feeds.replay import Replay
from engine.insight.replay import replay
from engine.insight.why import answer
from engine.language.compile import compile_program
from engine.runtime.rows import decision_row
from engine.runtime.simulate import simulate as replay_feed
from engine.stores.memory import MemoryStore

BASE = parse_instant("2026-01-01T00:00:00Z")
ORDER = {"event": "order.paid"}
WHEN = {
    "second": (ORDER, 'count("order.paid") >= 3'),
    "window": (ORDER, 'count("order.paid", within="3d") >= 3'),
    "few": (ORDER, 'not (count("order.paid", within="3d") > 1)'),
    "spent": (ORDER, 'sum("order.paid", "amount") > 150.5 and user.city == "上海"'),
    "big": (ORDER, 'event.amount >= 60 or count("order.paid", within="2d", where="event.amount >= 50") >= 2'),
    "mixed": (
        ORDER, 'user.city != "上海" and (sum("order.paid", "amount", within="4d") >= 90 or "vip" in user.tags)'
    ),
    "kinds": (ORDER, 'distinct("page.seen", "page") >= 2 and max("order.paid", "amount") >= 80'),
    "mean": (ORDER, 'avg("order.paid", "amount", within="6d") >= 70'),
    "small": (ORDER, 'avg("order.paid", "amount") < 55'),
    "daily": (ORDER, 'streak("page.seen") >= 2'),
    "old": (ORDER, 'user.created_at is older_than("4d") and user.level in ["a", "b"]'),
    "fresh": (ORDER, 'last("page.seen").time is newer_than("1h") or last("page.seen").page == "help"'),
    "gold": (ORDER, 'user.tier is at_least("gold") and points("main") >= 20'),
    "busy": (ORDER, 'in_segment("busy") and not in_group("club")'),
    "since": (ORDER, 'since("page.seen") < duration("1d") and user.born is not none'),
    "three": ({"count": {"event": "order.paid", "at_least": 3, "where": "event.amount >= 50", "within": "9d"}}, None),
    "idle": ({"inactivity": "2d", "activity": ["order.paid"]}, 'count("order.paid") >= 3 and user.city == "Bern"'),
    "slot": ({"schedule": {"cron": "0 10 * * *", "audience": 'count("order.paid", within="3d") >= 2'}}, None),
    "never": ({"event": "order.returned"}, 'user.city == "Bern" and count("order.paid") >= 4'),
}  # fmt: skip
CATALOG = {
    "segments": {"busy": {"if": 'count("order.paid", within="2d") >= 2'}},
    "tiers": {"level": {"metric": 'sum("order.paid", "amount", within="4d")', "levels": {"none": 0, "gold": 100}}},
    "points": {"main": {"title": "t"}},
    "groups": {"club": {"title": "t", "rooms": [{"id": "r1", "link": "https://x.example/1", "capacity": 99}]}},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program."""
    root = tmp_path_factory.mktemp("nearest")
    (root / "playbooks" / "catalog").mkdir(parents=True)
    head: dict[str, Any] = {"program": "t", "channels": {"box": {"via": "file", "path": "out.jsonl"}}}
    documents = {"drumbeat.yaml": {**head, "feeds": [{"file": "feed.jsonl"}]}, "playbooks/catalog/all.yaml": CATALOG}
    for name, (trigger, when) in WHEN.items():
        book: dict[str, Any] = {"playbook": name, "title": "t", "trigger": trigger}
        book |= {} if when is None else {"when": when}
        book |= {"entry": {"mode": "parallel", "limit": "unlimited"}, "steps": [{"tag": {"add": [f"did-{name}"]}}]}
        documents[f"playbooks/{name}.yaml"] = book
    for name, document in documents.items():
        (root / name).write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), encoding="utf-8")
    rows = feed(random.Random(11), 7)
    (root / "feed.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert run(["run", "--until-idle", "--program", str(root), "--quiet"]) == 0
    return root


def feed(rng: random.Random, users: int) -> list[dict[str, Any]]:
    """Sign-ups, pages and orders over some days."""
    rows = []
    for number in range(users):
        when, user = BASE + rng.randrange(24) * HOUR, f"u{number}"
        rows.append((when, "user.signup", user, {"city": rng.choice(["上海", "Bern"]), "level": rng.choice("abc")}))
        for _ in range(rng.randrange(2, 7)):
            at = when + rng.randrange(1, 9 * 24) * HOUR
            rows.append((at, "order.paid", user, {"amount": rng.choice([20, 45.5, 60])}))
            if rng.random() < 0.4:
                rows.append((at - HOUR // 2, "page.seen", user, {"page": rng.choice(["home", "shop"])}))
    rows.append((BASE + 12 * DAY, "page.seen", "end", {"page": "end"}))
    rows.sort(key=lambda it: it[0])
    return [
        {"id": f"e{n}", "time": format_instant(at), "type": type_, "user": user, "data": data}
        for n, (at, type_, user, data) in enumerate(rows)
    ]


class World:
    """The program's plan, and what it decides for one user over any feed."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        self.found = compile_program(folder)
        self.scratch = scratch / "feed.jsonl"
        self.rows = [json.loads(line) for line in (folder / "feed.jsonl").read_text(encoding="utf-8").splitlines()]

    def decisions(self, rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """Every verdict of a simulation."""
        self.scratch.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        out = io.BytesIO()
        assert self.found.plan is not None
        replay_feed(self.found.plan, Replay([self.scratch], None), MemoryStore(keep_log=False), decisions=out)
        return [json.loads(line) for line in out.getvalue().splitlines()]

    def changed(self, user: str, cause: str | None, at: str, changes: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The feed of one user with changes in it; other events come right before the one at hand."""
        rows = [deepcopy(row) for row in self.rows if row["user"] in (user, "end")]
        place = next((n for n, row in enumerate(rows) if row["id"] == cause), None)
        if place is None:  # by time: right before the last event, or behind it
            last = max(n for n, row in enumerate(rows) if row["user"] == user and row["time"] <= at)
            place = last + (bool(changes) and changes[0]["at"] != rows[last]["time"])
        for change in changes:
            if change["change"] == "data":
                rows[place]["data"][change["name"]] = change["value"]
        more, gone = [], set()
        for number, change in enumerate(changes):
            kind, name = change["change"], change["name"]
            if kind == "fewer":
                before = [row["id"] for row in rows[:place] if row["type"] == name and row["time"] <= at]
                gone |= set(before[-change["times"] :])
                continue
            made: dict[str, Any] = {"time": change["at"], "user": user}
            if kind == "events":
                like = [row["data"] for row in rows if row["type"] == name and row["time"] <= change["at"]]
                made |= {"type": name, "data": {**(like[-1] if like else {}), **change["data"]}}
            elif kind == "trait":
                made |= {"type": "user.updated", "data": {name: change["value"]}}
            elif kind in ("join", "leave"):
                made |= {"type": f"group.{'joined' if kind == 'join' else 'left'}", "group": name}
            elif kind == "points":
                made |= {"type": "points.changed", "data": {"account": name, "delta": change["value"]}}
            else:
                continue  # tags are put on by steps alone
            for one in range(change["times"]):
                row = {**deepcopy(made), "id": f"more{number}-{one}"}
                if change["fresh"]:
                    row["data"][change["fresh"]] = f"another {one + 1}"
                more.append(row)
        rows = [*rows[:place], *more, *rows[place:]]
        return [row for row in rows if row["id"] not in gone]

    def verdict(
        self, playbook: str, rows: list[dict[str, Any]], cause: dict[str, str], at: str, before: str | None
    ) -> str | None:
        """What the playbook makes of the same cause; what it makes of the events put in, where that is an entry."""
        own = [it for it in self.decisions(rows) if it["playbook"] == playbook and it["user"] != "end"]
        mine = [it["verdict"] for it in own if it["cause"] == cause and it["time"] == at]
        new = [it["verdict"] for it in own if it["cause"].get("event", "").startswith("more")]
        if before == "entered":
            return mine[-1] if mine else "never looked at"
        return "entered" if "entered" in new and "entered" not in mine else (mine or new or [None])[-1]


def lesser(changes: list[dict[str, Any]]) -> Iterable[list[dict[str, Any]]]:
    """The same changes with a little less in one of them."""
    for place, change in enumerate(changes):
        rest = [*changes[:place], *changes[place + 1 :]]
        if change["times"] > 1:
            yield [*rest, {**change, "times": change["times"] - 1}]
        elif change["change"] == "points" and change["value"] > 1:
            yield [*rest, {**change, "value": change["value"] - 1}]
        elif change["change"] in ("events", "data") and (amount := _amount(change)) is not None:
            less = {**change, "data": {"amount": amount - 0.01}, "value": amount - 0.01}
            yield [*rest, less]
        yield rest


def _amount(change: dict[str, Any]) -> float | None:
    of_event = change["change"] == "data" and change["name"] == "amount"
    found = change["value"] if of_event else change["data"].get("amount")
    return None if found is None else float(found)


def test_the_named_change_flips_the_verdict_and_one_less_does_not(folder: Path, tmp_path: Path) -> None:
    """Counts, sums, windows, fields, tiers, segments, points, groups, by events, time and slots; each one tried.

    Semantics: why.nearest
    """
    world = World(folder, tmp_path)
    found, store = world.found, wiring.open_store(world.found.settings, folder, read_only=True)
    assert found.plan is not None
    assert found.audiences is not None
    flipped: dict[str, int] = {}
    kinds: set[str] = set()
    for number in range(7):
        user = f"u{number}"
        for name in WHEN:
            said = answer(
                found.plan, store, user, playbook=name, fresh=lambda: MemoryStore(keep_log=False),
                segments=found.audiences.segments,
            )  # fmt: skip
            said = json.loads(json.dumps(said, default=float))
            book = said["playbooks"][name]
            near, entry = book["nearest_change"], book["entry"]
            if near is None:
                continue
            cause = {k: v for k, v in entry["cause"].items() if k in ("event", "wake")} if entry else {}
            at = entry["time"] if entry else said["at"]
            before = entry["verdict"] if entry else None
            assert near["options"] or near["from"] or near["cannot_say"], (user, name)
            for option in near["options"]:
                changes = option["changes"]
                if any(it["change"] in ("tag", "untag") for it in changes):
                    continue
                kinds.update(it["change"] for it in changes)
                rows = world.changed(user, cause.get("event"), at, changes)
                then = world.verdict(name, rows, cause, at, before)
                assert then == option["verdict"] != before, (user, name, changes)
                for less in lesser(changes):
                    rows = world.changed(user, cause.get("event"), at, less)
                    assert world.verdict(name, rows, cause, at, before) in (before, "skipped", None), (user, name, less)
                flipped[name] = flipped.get(name, 0) + 1
            if near["from"] is not None and near["from"]["proved"]:
                for moment, wanted in ((near["from"]["at"], False), (_before(near["from"]["at"]), True)):
                    own = [row for row in world.rows if row["user"] == user and row["time"] <= at]
                    again = next(row for row in own if row["id"] == cause["event"])
                    own.remove(again)
                    late = {**again, "id": "more", "time": moment}
                    end = {"id": "z", "type": "page.seen", "user": "end", "time": moment}
                    then = world.verdict(name, [*own, late, end], {"event": "more"}, moment, before)
                    assert (then == before) is wanted
                flipped[f"{name} by time"] = 1
    store.close()
    assert kinds >= {"events", "trait", "data", "fewer", "points"}
    assert set(WHEN) <= set(flipped), sorted(set(WHEN) - set(flipped))
    assert {"window by time", "few by time", "old by time"} & set(flipped)


def _before(at: str) -> str:
    return format_instant(parse_instant(at) - 1000)


def test_why_says_of_every_look_what_the_run_decided(folder: Path, tmp_path: Path) -> None:
    """The verdicts of a whole run, one by one, are those of the replay that ``why`` rests on."""
    world = World(folder, tmp_path)
    wanted: dict[str, list[bytes]] = {}
    for it in world.decisions(world.rows):
        wanted.setdefault(it["user"], []).append(json.dumps(it, sort_keys=True).encode())
    assert world.found.plan is not None
    store = wiring.open_store(world.found.settings, folder, read_only=True)
    for user, lines in wanted.items():
        own = replay(world.found.plan, store, user, fresh=lambda: MemoryStore(keep_log=False))
        assert [json.dumps(json.loads(decision_row(it)), sort_keys=True).encode() for it in own] == lines
    store.close()
