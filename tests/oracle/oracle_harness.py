"""What every oracle test needs: a program on disk, a feed, one run of ``drumbeat simulate``, rows to compare.

Design lines encoded (cli.md):

* ``simulate --program DIR --events FILE... --effects OUT --decisions OUT2 --format json --quiet``; with ``--format
  json`` stdout holds exactly one JSON object, also under ``--quiet``; events are taken by (time, file, line);
* an effect row is ``{"key","time","playbook","step","kind","user","group","status","reason","detail"}``;
* the virtual clock ends at the last well-formed event, or at ``--until``.

Rows are compared as multisets of (time, playbook, step, kind, user, status, reason, chosen detail). ``reason`` is
compared only where the effect did not happen; numbers are compared as exact decimals, however they are spelt.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import random
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import oracle_time as clock
import yaml

from engine.cli import main

ROOT = Path(__file__).resolve().parents[2]
SCALE = float(os.environ.get("ORACLE_SCALE", "1"))
SEEDS = [int(seed) for seed in os.environ.get("ORACLE_SEEDS", "11,12").split(",")]
BASE = clock.at("2026-01-01T00:00:00Z")

Row = tuple[int, str | None, str | None, str, str | None, str, str | None, tuple[tuple[str, str], ...]]


def scaled(count: int) -> int:
    """A number of users, blown up by ORACLE_SCALE for the long runs."""
    return max(1, round(count * SCALE))


# ---------------------------------------------------------------- events


@dataclass
class Ev:
    """One line of a feed, as the oracles see it; ``line`` is its place in the file."""

    time: int
    type: str
    user: str | None
    data: dict[str, Any] = field(default_factory=dict)
    group: str | None = None
    id: str = ""
    line: int = -1


def numbered(events: Iterable[Ev]) -> list[Ev]:
    """Give every event its line, and an id when it has none."""
    out = list(events)
    for line, event in enumerate(out):
        event.line = line
        if not event.id:
            event.id = f"e{line:06d}"
    return out


def shuffled(rng: random.Random, events: Iterable[Ev]) -> list[Ev]:
    """The same events in any order of lines, numbered: the feed is not in time order."""
    out = list(events)
    rng.shuffle(out)
    return numbered(out)


def in_order(events: Iterable[Ev]) -> list[Ev]:
    """(time, line) order: the only order that counts."""
    return sorted(events, key=lambda event: (event.time, event.line))


def by_user(events: Iterable[Ev]) -> dict[str, list[Ev]]:
    """Every user's own events in order."""
    out: dict[str, list[Ev]] = defaultdict(list)
    for event in in_order(events):
        if event.user is not None:
            out[event.user].append(event)
    return dict(out)


def end_of(events: Iterable[Ev]) -> int:
    """The end of the virtual clock: the last well-formed event."""
    return max(event.time for event in events)


def to_json(value: Any) -> str:
    """JSON text in which a Decimal keeps its own spelling."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {to_json(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(to_json(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)


OFFSETS = ["Z", "+00:00", "+08:00", "-05:00", "+05:45"]


def spelt(instant: int, offset: str) -> str:
    """An instant written at some offset; the offset never means anything."""
    if offset == "Z":
        return clock.show(instant)
    sign = 1 if offset[0] == "+" else -1
    shift = sign * (int(offset[1:3]) * clock.HOUR + int(offset[4:6]) * clock.MINUTE)
    return clock.show(instant + shift)[:-1] + offset


def line_of(event: Ev) -> str:
    """The JSON line of an event; the offset varies with the line and carries no meaning."""
    record: dict[str, Any] = {"id": event.id, "type": event.type}
    if event.user is not None:
        record["user"] = event.user
    if event.group is not None:
        record["group"] = event.group
    record["time"] = spelt(event.time, OFFSETS[event.line % len(OFFSETS)])
    if event.data:
        record["data"] = event.data
    return to_json(record)


def write_feed(path: Path, events: Iterable[Ev]) -> Path:
    """A feed file, one event a line, in the order given."""
    return write_lines(path, [line_of(event) for event in events])


def write_lines(path: Path, lines: Iterable[str]) -> Path:
    """A file of these very lines; gzip when the name says so."""
    text = "".join(f"{line}\n" for line in lines)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


# ---------------------------------------------------------------- programs

OPEN_POLICY: dict[str, Any] = {
    "consent": {"marketing": "none", "community": "none", "service": "none", "transactional": "none"},
    "quiet_hours": "never",
}


@dataclass
class Program:
    """A small program as plain data, written out as the YAML an operator would write."""

    playbooks: list[dict[str, Any]]
    catalog: dict[str, Any] = field(default_factory=dict)
    policy: dict[str, Any] = field(default_factory=lambda: dict(OPEN_POLICY))
    head: dict[str, Any] = field(default_factory=dict)
    templates: Sequence[str] = ("x.box", "x.pad")

    def write(self, folder: Path) -> Path:
        """The program's folder, made anew."""
        (folder / "playbooks" / "catalog").mkdir(parents=True, exist_ok=True)
        (folder / "templates").mkdir(exist_ok=True)
        head: dict[str, Any] = {
            "program": "t",
            "channels": {"box": {"via": "file", "path": "out.jsonl"}, "pad": {"via": "file", "path": "pad.jsonl"}},
            "policies": {"default": self.policy},
        }
        head.update(self.head)
        put_yaml(folder / "drumbeat.yaml", head)
        for playbook in self.playbooks:
            named = {"playbook": playbook["playbook"], "title": "t", **playbook}
            put_yaml(folder / "playbooks" / f"{playbook['playbook']}.yaml", named)
        for kind, entries in self.catalog.items():
            put_yaml(folder / "playbooks" / "catalog" / f"{kind}.yaml", {kind: entries})
        for name in self.templates:
            (folder / "templates" / f"{name}.j2").write_text("hi {{ user.id }}", encoding="utf-8")
        return folder


class Plain(yaml.SafeDumper):
    """YAML without anchors: everything is written out."""

    def ignore_aliases(self, data: Any) -> bool:
        """Nothing is an alias."""
        return True


def put_yaml(path: Path, data: Any) -> None:
    """Plain YAML, keys in the order given."""
    text = yaml.dump(data, Dumper=Plain, sort_keys=False, allow_unicode=True, width=1000)
    path.write_text(text, encoding="utf-8")


# ---------------------------------------------------------------- one run


@dataclass
class Run:
    """What one ``simulate`` left behind."""

    code: int
    effects: bytes
    decisions: bytes
    summary: dict[str, Any]
    stdout: str
    stderr: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The effect rows, numbers as exact decimals."""
        return [json.loads(line, parse_float=Decimal) for line in self.effects.decode().splitlines()]


def simulate(program: Path, feeds: Sequence[Path], *extra: str, check: bool = True, process: bool = False) -> Run:
    """Run ``drumbeat simulate`` and collect its files; ``process``: in a process, with hashes, of its own."""
    effects, decisions = program / "effects.out.jsonl", program / "decisions.out.jsonl"
    for path in (effects, decisions):
        path.unlink(missing_ok=True)
    args = ["simulate", "--program", str(program)]
    for feed in feeds:
        args += ["--events", str(feed)]
    args += ["--effects", str(effects), "--decisions", str(decisions), "--format", "json", "--quiet", *extra]
    code, out, err = _in_a_process(args) if process else _here(args)
    if check and code != 0:
        raise AssertionError(f"simulate left with {code}\n{out[-4000:]}\n{err[-6000:]}")
    summary = json.loads(out) if out.strip().startswith("{") else {}
    return Run(
        code,
        effects.read_bytes() if effects.exists() else b"",
        decisions.read_bytes() if decisions.exists() else b"",
        summary,
        out,
        err,
    )


def _in_a_process(args: Sequence[str]) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "engine", *args],
        cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=False, timeout=600,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def _here(args: Sequence[str]) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main.run(list(args))
    return code, out.getvalue(), err.getvalue()


# ---------------------------------------------------------------- rows

DETAIL: dict[str, tuple[str, ...]] = {
    "tag": ("add",),
    "set": ("field", "value"),
    "tier": ("ladder", "from", "to"),
    "message": ("template", "via", "purpose", "text"),
    "coupon": ("pool", "expires_at"),
    "invite": ("group", "room"),
    "points": ("delta", "balance"),
    "badge": ("name",),
    "emit": ("type",),
}


def canonical(value: Any) -> str:
    """One spelling for each value: decimals without trailing zeros, lists joined, null as ``null``."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, Decimal)):
        number = Decimal(value)
        return "#0" if number == 0 else f"#{number.normalize():f}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(canonical(item) for item in value) + "]"
    return str(value)


def pick(detail: Mapping[str, Any], names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The compared part of a row's detail."""
    out = []
    for name in names:
        value = detail.get(name)
        if name == "field" and isinstance(value, str):
            value = value.removeprefix("user.")
        if name == "text" and isinstance(value, str):
            value = value.strip()
        if name == "template" and isinstance(value, str):
            value = value.split(".")[0]
        out.append((name, canonical(value)))
    return tuple(out)


def compared(kind: str, status: str) -> tuple[str, ...]:
    """Which parts of the detail count: all when it happened, none when it did not, no text when it was held out."""
    if status == "planned":
        return DETAIL.get(kind, ())
    return tuple(name for name in DETAIL.get(kind, ()) if name != "text") if status == "held_out" else ()


def row(
    instant: int,
    playbook: str | None,
    step: str | None,
    kind: str,
    user: str | None,
    detail: Mapping[str, Any] | None = None,
    status: str = "planned",
    reason: str | None = None,
) -> Row:
    """A row as an oracle makes it."""
    names = compared(kind, status)
    return (instant, playbook, step, kind, user, status, reason, pick(detail or {}, names))


def seen_row(record: Mapping[str, Any]) -> Row:
    """The same projection of a row the engine wrote."""
    kind, status = record["kind"], record["status"]
    happened = status in ("planned", "held_out")
    return (
        clock.at(record["time"]),
        record["playbook"],
        None if kind == "tier" else record["step"],
        kind,
        record["user"],
        status,
        None if happened else record["reason"],
        pick(record["detail"] or {}, compared(kind, status)),
    )


def rows_of(run: Run, keep: Callable[[dict[str, Any]], bool] | None = None) -> list[Row]:
    """All rows of a run, projected; ``keep`` leaves out what the design does not settle."""
    return [seen_row(record) for record in run.rows if keep is None or keep(record)]


def pretty(item: Row) -> str:
    """A row on one line, for people."""
    instant, playbook, step, kind, user, status, reason, detail = item
    words = " ".join(f"{name}={value}" for name, value in detail)
    return f"{clock.show(instant)} {playbook}/{step} {kind} {user} {status} {reason or ''} {words}"


def compare(expected: Iterable[Row], got: Iterable[Row], events: Iterable[Ev], note: str = "") -> None:
    """The two multisets are equal, or the shortest story that tells them apart is printed."""
    want, have = Counter(expected), Counter(got)
    if want == have:
        return
    missing, surplus = want - have, have - want
    guilty = {item[4] for item in missing} | {item[4] for item in surplus}
    stories = by_user(events)
    shortest = sorted(guilty, key=lambda user: (len(stories.get(user or "", [])), user or ""))[0]
    lines = [
        f"{note} {sum(missing.values())} rows missing, {sum(surplus.values())} rows too many, {len(guilty)} users; "
        f"the shortest is {shortest}:"
    ]
    lines += [f"  feed line {event.line:4d}: {line_of(event)}" for event in stories.get(shortest or "", [])]
    lines += ["expected and not there:"] + [
        f"  - {pretty(item)}" for item in sorted_rows(missing) if item[4] == shortest
    ]
    lines += ["there and not expected:"] + [
        f"  + {pretty(item)}" for item in sorted_rows(surplus) if item[4] == shortest
    ]
    raise AssertionError("\n".join(lines))


def sorted_rows(rows: Iterable[Row]) -> list[Row]:
    """Rows in an order that never compares None with text."""
    return sorted(rows, key=lambda item: (item[0], str(item[1:])))


def check_file_shape(run: Run) -> None:
    """Keys are unique, rows stand in (time, key) order, and the summary counts exactly the rows that are there."""
    marks = [(clock.at(record["time"]), record["key"]) for record in run.rows]
    assert len({key for _, key in marks}) == len(marks), "two effects share a key"
    assert marks == sorted(marks), "effects are not sorted by (time, key)"
    kinds = Counter((record["kind"], record["status"]) for record in run.rows)
    told = {(kind, status): n for kind, of in run.summary["effects"].items() for status, n in of.items() if n}
    assert told == dict(kinds), "the summary does not count the effects that were written"
    by_playbook = Counter(record["playbook"] for record in run.rows if record["playbook"] is not None)
    assert {name: of["effects"] for name, of in run.summary["playbooks"].items() if of["effects"]} == dict(by_playbook)
    assert run.summary["journeys"]["started"] == sum(of["entered"] for of in run.summary["playbooks"].values())


def grid(rng: random.Random, days: int, step: int, jitter: bool) -> int:
    """An instant on a grid, so that exact ties are common; with ``jitter`` also a millisecond beside it."""
    instant = BASE + rng.randrange(days * clock.DAY // step + 1) * step
    if jitter:
        instant += rng.choice([0, 0, 0, 1, -1, 123])
    return instant
