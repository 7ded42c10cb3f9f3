"""Parquet and CSV as feeds of simulate, diff and ingest, against the same events as JSON lines."""

from __future__ import annotations

import json
import random
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from engine.cli.main import run
from engine.core.model import Event
from engine.errors import CannotRun, UsageError
from engine.feeds.files import JsonlFeed
from engine.feeds.replay import Replay
from engine.feeds.table import CsvMapping, mapping_of

START = datetime(2026, 3, 1, tzinfo=UTC)
ZONED = pyarrow.timestamp("us", "Asia/Shanghai")


def rows(count: int, seed: int = 1) -> list[dict[str, Any]]:
    """Events out of order, some without amount, with values of every kind."""
    rng = random.Random(seed)
    found = []
    for n in range(count):
        time = START + timedelta(seconds=rng.randrange(10_000), milliseconds=rng.choice([0, 250]))
        amount = Decimal(rng.randrange(100_000)) / 100 if rng.random() < 0.8 else None
        found.append(
            {"id": f"e{n}", "type": "order.paid", "user": f"用户{rng.randrange(5)}", "time": time, "amount": amount,
             "big": 2**60 + n, "ok": rng.random() < 0.5, "note": rng.choice(["", '"x",\n', "茶"])}
        )  # fmt: skip
    return found


def as_json(found: list[dict[str, Any]]) -> str:
    lines = []
    for row in found:
        data = {key: row[key] for key in ("amount", "big", "ok", "note") if row[key] is not None}
        text = json.dumps({key: row[key] for key in ("id", "type", "user")}, ensure_ascii=False)[:-1]
        shown = row["time"].isoformat(timespec="milliseconds").replace("+00:00", "Z")
        values = {key: str(value) if key == "amount" else json.dumps(value) for key, value in data.items()}
        pairs = ",".join(f'"{key}":{value}' for key, value in values.items())
        lines.append(f'{text},"time":"{shown}","data":{{{pairs}}}}}')
    return "\n".join(lines) + "\n"


def write(path: Path, found: list[dict[str, Any]], **renamed: str) -> Path:
    schema = pyarrow.schema(
        [("id", pyarrow.string()), ("type", pyarrow.string()), ("user", pyarrow.string()), ("time", ZONED),
         ("amount", pyarrow.decimal128(12, 2)), ("big", pyarrow.int64()), ("ok", pyarrow.bool_()),
         ("note", pyarrow.string())]
    )  # fmt: skip
    table = pyarrow.Table.from_pylist(found, schema=schema)
    names = [renamed.get(name, name) for name in table.column_names]
    parquet.write_table(table.rename_columns(names), path, row_group_size=97)
    return path


def events(path: Path, **other: Any) -> list[Event]:
    return [event for chunk in Replay([path], **other).chunks() for event in chunk]


@pytest.mark.parametrize("bound", [1, 1 << 26])
def test_parquet_is_what_the_json_is(tmp_path: Path, bound: int) -> None:
    """The same events as Parquet and as JSON lines are the same, in the same order: exact decimals, 64-bit numbers,
    zoned instants, text of any kind; with columns of an event's own names and with others."""
    found = rows(700)
    (tmp_path / "a.jsonl").write_text(as_json(found), encoding="utf-8")
    wanted = events(tmp_path / "a.jsonl")
    assert len(wanted) == 700
    assert events(write(tmp_path / "a.parquet", found), bound=bound) == wanted
    other = write(tmp_path / "b.parquet", found, id="no", type="kind", user="who", time="at")
    assert events(other, mapping=mapping_of("id=no,type=kind,user=who,time=at"), bound=bound) == wanted
    with pytest.raises(UsageError, match=r"b\.parquet has no column 'time'.*no, kind, who, at"):
        events(other)


def test_a_column_of_structs_is_the_data(tmp_path: Path) -> None:
    """A column data of structs is the data of the event, lists and structs in it as they are, nulls left out."""
    table = pyarrow.table(
        {
            "user": [7, 8], "type": pyarrow.array(["a", "b"]).dictionary_encode(),
            "time": pyarrow.array([1_772_323_200_000] * 2, pyarrow.timestamp("ms", "UTC")),
            "data": [{"items": [{"sku": "x", "n": 2}], "city": None}, None], "score": [float("nan"), 0.5],
        }
    )  # fmt: skip
    parquet.write_table(table, tmp_path / "a.parquet")
    found = events(tmp_path / "a.parquet")
    assert [(it.id, it.user, it.type, it.data) for it in found] == [
        ("a.parquet:1", "7", "a", {"items": [{"sku": "x", "n": 2}]}),
        ("a.parquet:2", "8", "b", {"score": Decimal("0.5")}),
    ]


def test_what_cannot_be_an_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Times without a zone are quarantined, not guessed; wrong columns, damage and a missing library are told."""
    path = tmp_path / "a.parquet"
    naive = pyarrow.array([1_772_323_200_000_000], pyarrow.timestamp("us"))
    parquet.write_table(pyarrow.table({"user": ["u"], "type": ["t"], "time": naive}), path)
    replay = Replay([path])
    assert list(replay.chunks()) == []
    assert dict(replay.reasons) == {"naive_time": 1}
    parquet.write_table(pyarrow.table({"user": [1.5], "type": ["t"], "time": ["2026-03-01T00:00:00Z"]}), path)
    with pytest.raises(UsageError, match="column 'user' is double, which cannot be the user of an event"):
        events(path)
    path.write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(CannotRun, match=r"cannot read a\.parquet"):
        events(path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(CannotRun, match=r"pip install 'drumbeat\[parquet\]'"):
        events(path)


def test_as_a_live_feed(tmp_path: Path) -> None:
    """A feed of kind file reads Parquet, and goes on after the row it stopped at."""
    feed = JsonlFeed(write(tmp_path / "a.parquet", rows(300)), "file:a.parquet", final=True)
    first = list(feed.read(0, 120))
    assert [record.position for record in first][-1] == 120
    rest = list(feed.read(120, 1_000))
    assert [record.event.id for record in (*first, *rest) if record.event] == [f"e{n}" for n in range(300)]


@pytest.mark.parametrize("text", ["time", "time=", "clock=at", "time=at,type_is=t", "time=at,type=a,type_is=b,user=u"])
def test_a_mapping_in_words(text: str) -> None:
    """What --columns cannot mean is refused with the keys there are; what it can mean is a mapping."""
    with pytest.raises(UsageError):
        mapping_of(text)
    meant = CsvMapping.of({"time": "at", "type_is": "t", "user": "u", "id": ["a", "b"], "numbers": ["x", "y"]})
    assert mapping_of("time=at, type_is=t, user=u, id=a+b, numbers=x+y") == meant


def test_the_verbs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """simulate, diff and ingest take CSV and Parquet with --columns, or as the program's feed of that file says."""
    root = tmp_path / "tea"
    (root / "playbooks").mkdir(parents=True)
    (root / "feed").mkdir()
    setting = "csv: {time: at, type_is: order.paid, user: who, id: no, numbers: [amount]}"
    (root / "drumbeat.yaml").write_text(f"program: tea\nfeeds:\n  - file: {{path: 'feed/*.csv', {setting}}}\n")
    (root / "playbooks" / "a.yaml").write_text(
        "playbook: a\ntitle: A\nowner: o\ntrigger: {event: order.paid}\nwhen: event.amount >= 100\n"
        "entry: {mode: parallel, limit: unlimited}\nsteps: [{tag: {add: [big]}}]\n"
    )
    found = [row for row in rows(60) if row["amount"] is not None]
    lines = [f"{it['id']},{it['time'].isoformat()},{it['user']},{it['amount']}" for it in found]
    text = "\n".join(["no,at,who,amount", *lines, ""])
    (root / "feed" / "a.csv").write_text(text, encoding="utf-8")
    packed = write(tmp_path / "b.parquet", found, id="no", time="at", user="who")
    big = sum(row["amount"] >= 100 for row in found)
    columns = ("--columns", "time=at,type=type,user=who,id=no")
    for words in (("--events", root / "feed" / "a.csv"), ("--events", packed, *columns)):
        assert run([str(it) for it in ("simulate", "--program", root, "--format", "json", *words)]) == 0
        summary = json.loads(capsys.readouterr().out)
        assert summary["effects"] == {"tag": {"planned": big}}
    assert run([str(it) for it in ("diff", root, root, "--events", packed, *columns)]) == 0
    assert f"{big} effects are the same" in capsys.readouterr().out
    for file, words in ((root / "feed" / "a.csv", ()), (packed, columns)):
        assert run([str(it) for it in ("ingest", "--program", root, "--format", "json", file, *words)]) == 0
        counts = json.loads(capsys.readouterr().out)["events"]
        assert counts["read"] == len(found)
    assert counts["duplicate"] == len(found)
