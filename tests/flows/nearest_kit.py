"""Whether the nearest change that ``why`` names is one: tried in feeds of their own, by the simulation."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from engine import wiring
from engine.cli.main import run
from engine.core.instants import format_instant, parse_instant
from engine.core.model import DAY, HOUR
from engine.feeds.replay import Replay
from engine.insight.supposing import put as nested
from engine.insight.why import answer
from engine.language.compile import compile_program
from engine.runtime.simulate import simulate as replay_feed
from engine.stores.memory import MemoryStore

BASE = parse_instant("2026-01-01T00:00:00Z")
Row = dict[str, Any]


def program(root: Path, books: Mapping[str, tuple[Any, str | None]], catalog: Row, rows: Iterable[Row]) -> Path:
    """A program with a playbook a name, run over a feed."""
    (root / "playbooks" / "catalog").mkdir(parents=True)
    head: Row = {"program": "t", "channels": {"box": {"via": "file", "path": "out.jsonl"}}}
    documents = {"drumbeat.yaml": {**head, "feeds": [{"file": "feed.jsonl"}]}, "playbooks/catalog/all.yaml": catalog}
    for name, (trigger, when) in books.items():
        book: Row = {"playbook": name, "title": "t", "trigger": trigger}
        book |= {} if when is None else {"when": when}
        book |= {"entry": {"mode": "parallel", "limit": "unlimited"}, "steps": [{"tag": {"add": [f"did-{name}"]}}]}
        documents[f"playbooks/{name}.yaml"] = book
    for name, document in documents.items():
        (root / name).write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), encoding="utf-8")
    (root / "feed.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert run(["run", "--until-idle", "--program", str(root), "--quiet"]) == 0
    return root


def feed(rng: random.Random, users: int) -> list[Row]:
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

    def decisions(self, rows: Iterable[Row]) -> list[Row]:
        """Every verdict of a simulation."""
        self.scratch.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        out = io.BytesIO()
        assert self.found.plan is not None
        replay_feed(self.found.plan, Replay([self.scratch], None), MemoryStore(keep_log=False), decisions=out)
        return [json.loads(line) for line in out.getvalue().splitlines()]

    def changed(
        self, user: str, cause: str | None, at: str, changes: Sequence[Row], end: str | None = None
    ) -> list[Row]:
        """The feed of one user with changes in it; other events come right before the one at hand."""
        rows = [deepcopy(row) for row in self.rows if row["user"] in (user, "end")]
        place = next((n for n, row in enumerate(rows) if row["id"] == cause), None)
        if place is None:  # by time: right before the last event, or behind it
            last = max(n for n, row in enumerate(rows) if row["user"] == user and row["time"] <= at)
            put = [it["at"] for it in changes if it["change"] not in _ELSEWHERE]
            place = last + (bool(put) and put[0] != rows[last]["time"])
        if end is not None and end >= rows[-1]["time"]:
            rows.append({"id": "z", "type": "page.seen", "user": "end", "time": end})
        for change in changes:
            if change["change"] == "data":
                rows[place]["data"] = nested(rows[place]["data"], change["name"], change["value"])
        more, past, gone = [], [], set()
        for number, change in enumerate(changes):
            kind, name = change["change"], change["name"]
            if kind == "without":
                gone.add(change["value"])
            elif kind == "moved":
                moved = next(row for row in rows if row["time"] == change["has"] and row["type"] == name)
                gone.add(moved["id"])
                past.append({**moved, "id": "moved", "time": change["value"]})
            elif kind == "days":
                like = next((row["data"] for row in reversed(rows[: place + 1]) if row["type"] == name), {})
                own = {"type": name, "user": user, "data": like}
                days = [{**own, "id": f"more{day}", "time": day} for day in change["value"]]
                past += [it for it in days if it["time"] != change["at"]]
                more += [it for it in days if it["time"] == change["at"]]
            elif kind == "fewer":
                of = {name} if name != "activity" else {row["type"] for row in rows}
                before = [row["id"] for row in rows[:place] if row["type"] in of and row["time"] <= at]
                gone |= set(before[-change["times"] :])
            else:
                more += self._made(user, number, change, rows[:place])
        rows = [*rows[:place], *more, *rows[place:]]
        for row in past:
            n = (n for n, it in enumerate(rows) if it["time"] > row["time"] or it["id"] == cause)
            rows.insert(next(n, len(rows)), row)
        return [row for row in rows if row["id"] not in gone]

    def _made(self, user: str, number: int, change: Row, before: list[Row]) -> Iterator[Row]:
        """The events of one change."""
        kind, name = change["change"], change["name"]
        made: Row = {"time": change["at"], "user": user}
        if kind == "events":
            like = [row["data"] for row in before if row["type"] == name]
            made |= {"type": name, "data": {**(like[-1] if like else {}), **change["data"]}}
        elif kind == "trait":
            made |= {"type": "user.updated", "data": {name: change["value"]}}
        elif kind in ("join", "leave"):
            made |= {"type": f"group.{'joined' if kind == 'join' else 'left'}", "group": name}
        elif kind == "points":
            made |= {"type": "points.changed", "data": {"account": name, "delta": change["value"]}}
        else:
            return  # tags are put on by steps alone
        for one in range(change["times"]):
            row = {**deepcopy(made), "id": f"more{number}-{one}"}
            if kind == "join" and not name:
                row["group"] = GROUPS[one]
            if change["fresh"]:
                row["data"][change["fresh"]] = f"another {one + 1}"
            yield row

    def verdict(
        self,
        playbook: str,
        rows: list[Row],
        cause: dict[str, str],
        at: str,
        before: str | None,
        later: str | None = None,
    ) -> str | None:
        """What the playbook makes of the same cause; what it makes of the events put in, where that is an entry.

        ``later``: when time alone brings the verdict.
        """
        own = [it for it in self.decisions(rows) if it["playbook"] == playbook and it["user"] != "end"]
        if later is not None:
            then = [it["verdict"] for it in own if it["time"] == later]
            return "entered" if "entered" in then else (then or [None])[-1]
        mine = [it["verdict"] for it in own if it["cause"] == cause and it["time"] == at]
        new = [it["verdict"] for it in own if it["cause"].get("event", "").startswith("more")]
        if before == "entered":
            return mine[-1] if mine else "never looked at"
        return "entered" if "entered" in new and "entered" not in mine else (mine or new or [None])[-1]


GROUPS = ("club", "den", "hall")
_ELSEWHERE = ("without", "moved", "days")


def lesser(changes: Sequence[Row]) -> Iterator[list[Row]]:
    """The same changes with a little less in one of them."""
    for place, change in enumerate(changes):
        rest = [*changes[:place], *changes[place + 1 :]]
        if change["change"] == "days":
            for day in change["value"]:
                yield [*rest, {**change, "value": [it for it in change["value"] if it != day]}]
        elif change["change"] == "moved":
            before, after = parse_instant(change["has"]), parse_instant(change["value"])
            nearer = after + (1_000_000 if before > after else -1_000_000)
            yield [*rest, {**change, "value": format_instant(nearer)}]
        elif change["times"] > 1:
            yield [*rest, {**change, "times": change["times"] - 1}]
        elif change["change"] == "points" and change["value"] > 1:
            yield [*rest, {**change, "value": change["value"] - 1}]
        elif change["change"] in ("events", "data") and (amount := _amount(change)) is not None:
            less = {**change, "data": {"amount": amount - 0.01}, "value": amount - 0.01}
            yield [*rest, less]
        elif isinstance(change["value"], list) and len(change["value"]) > len(change["has"] or ()):
            yield [*rest, {**change, "value": change["value"][:-1]}]
        yield rest


def _amount(change: Row) -> float | None:
    of_event = change["change"] == "data" and change["name"] == "amount"
    found = change["value"] if of_event else change["data"].get("amount")
    return None if found is None else float(found)


def proven(world: World, folder: Path, users: Sequence[str], books: Sequence[str]) -> tuple[dict[str, int], set[str]]:
    """(how often a playbook's verdict was flipped, by which kinds of change): each change that is named, and less."""
    found, store = world.found, wiring.open_store(world.found.settings, folder, read_only=True)
    assert found.plan is not None
    assert found.audiences is not None
    flipped: dict[str, int] = {}
    kinds: set[str] = set()
    known = {row["id"] for row in world.rows}
    for user in users:
        for name in books:
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
            at, before = (entry["time"], entry["verdict"]) if entry else (said["at"], None)
            assert near["options"] or near["from"] or near["cannot_say"], (user, name)
            for option in near["options"]:
                changes, later = option["changes"], option["time"]
                if any(it["change"] in ("tag", "untag", "by_hand", "told") for it in changes):
                    continue
                kinds.update(it["change"] for it in changes)
                where = (cause.get("event"), at) if later is None else (None, said["at"])
                rows = world.changed(user, *where, changes, later)
                then = world.verdict(name, rows, cause, at, before, later)
                assert then == option["verdict"] != before, (user, name, before, option)
                for less in lesser(changes):
                    rows = world.changed(user, *where, less, later)
                    then = world.verdict(name, rows, cause, at, before, later)
                    assert then in (before, "skipped", None), (user, name, option, less)
                flipped[name] = flipped.get(name, 0) + 1
            if near["from"] is not None and near["from"]["proved"] and cause.get("event") in known:
                _by_time(world, name, user, near["from"]["at"], cause["event"], at, before)
                flipped[f"{name} by time"] = 1
    store.close()
    return flipped, kinds


def _by_time(world: World, name: str, user: str, from_: str, cause: str, at: str, before: str | None) -> None:
    """The same event at that instant has another verdict, and right before it has not."""
    for moment, wanted in ((from_, False), (format_instant(parse_instant(from_) - 1), True)):
        own = [row for row in world.rows if row["user"] == user and row["time"] <= at]
        again = next(row for row in own if row["id"] == cause)
        own.remove(again)
        end = {"id": "z", "type": "page.seen", "user": "end", "time": moment}
        rows = [*own, {**again, "id": "more", "time": moment}, end]
        then = world.verdict(name, rows, {"event": "more"}, moment, before)
        assert (then == before) is wanted, (user, name, moment)
