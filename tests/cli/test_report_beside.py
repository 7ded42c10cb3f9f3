"""``drumbeat report`` on stores that are not at rest: one that is being written, and one of an older schema."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from threading import Event as Flag
from threading import Thread
from typing import Any

import pytest

from engine.cli.main import run
from engine.core.model import DAY, Effect, Event
from engine.ports import Batch
from engine.stores.sql import Migration, migrations, sqlite_schema
from engine.stores.sqlite import SqliteStore

FILES = {
    "drumbeat.yaml": "program: tea\nlocale: en\ntimezone: UTC\nchannels: {box: {via: file, path: out/box.jsonl}}\n"
    "feeds: [{file: feed.jsonl}]\npolicies: {default: {consent: {service: none}, quiet_hours: never}}\n",
    "playbooks/hello.yaml": "playbook: hello\ntitle: Hello\nowner: a@shop.example\ntrigger: {signup: true}\n"
    "entry: {mode: once}\nsteps: [{message: {template: hello, via: box, purpose: service}}]\n",
    "templates/hello.box.j2": "hello",
    "feed.jsonl": json.dumps({"id": "e1", "type": "user.signup", "user": "u1", "time": "2026-03-01T09:00:00Z",
                              "data": {}}) + "\n",
}  # fmt: skip
START = 20_513 * DAY
EACH = 25


@pytest.fixture
def tea(tmp_path: Path) -> Path:
    """A small program that ran."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert run(["run", "--until-idle", "--quiet", "--program", str(tmp_path)]) == 0
    return tmp_path


def piece(number: int) -> Batch:
    """So many events of so many users, and a message to each."""
    names = [f"p{number}-{n}" for n in range(EACH)]
    at = START + number
    detail = {"template": "hello", "via": "box", "purpose": "service", "text": "hello"}
    return Batch(
        clock=at, states=[], answers=[], resources={}, decisions=[], rejected=[], positions={}, goals=[],
        events=[(Event(name, "visit", at, name), at) for name in names],
        effects=[
            Effect(f"k{name}", at, "hello", "message[0]", "message", name, None, "planned", None, detail, deliver="box")
            for name in names
        ],
        milestones=[("hello", name, name, "entered", None, at) for name in names],
    )  # fmt: skip


def test_a_store_that_is_being_written_is_read_at_one_moment(tea: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Beside a writer every report succeeds, and its events, entries and messages are of the same moment."""
    begun, over, written = Flag(), Flag(), []

    def write() -> None:
        store = SqliteStore.open(tea / "drumbeat.db")
        while not over.wait(0.03):  # a daemon commits now and then
            store.commit(piece(len(written) + 1))
            written.append(1)
            begun.set()
        store.close()

    writer = Thread(target=write)
    writer.start()
    try:
        assert begun.wait(60)
        seen = []
        while len(seen) < 2:
            capsys.readouterr()
            assert run(["report", "--program", str(tea), "--format", "json"]) == 0
            period = json.loads(capsys.readouterr().out)["period"]
            (channel,) = period["channels"]
            (book,) = period["playbooks"]
            assert period["period"]["events"] == channel["messages"] == book["entered"]
            assert (period["period"]["events"] - 1) % EACH == 0
            seen.append(period["period"]["events"])
    finally:
        over.set()
        writer.join()
    assert seen == sorted(seen)
    assert seen[-1] > seen[0]  # it was being written indeed


NEXT = Migration(len(migrations("sqlite")) + 1, "later", "create table later (id text primary key) strict;")


def test_an_older_store_is_read_from_a_copy(
    tea: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store or backup of an older schema is reported as it is, said to be older, and not touched."""
    path = tea / "drumbeat.db"
    SqliteStore.open(path).close()  # nothing is left in its log
    before = sha256(path.read_bytes()).hexdigest()
    report = ["report", "--program", str(tea), "--format", "json"]
    capsys.readouterr()
    assert run(report) == 0
    told: Any = json.loads(capsys.readouterr().out)
    monkeypatch.setattr(sqlite_schema, "migrations", lambda dialect: [*migrations(dialect), NEXT])
    assert run(report) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == told
    assert f"schema {NEXT.version - 1}, this program needs {NEXT.version}" in said.err
    assert "a copy of it was brought there" in said.err
    assert run(["audience", "true", "--program", str(tea)]) == 0
    said = capsys.readouterr()
    assert "1 of 1 users" in said.out
    assert "the store is as it was" in said.err
    assert sha256(path.read_bytes()).hexdigest() == before
    monkeypatch.setattr(sqlite_schema, "migrations", lambda dialect: migrations(dialect)[:-1])
    assert run(report) == 3
    assert "written by a newer Drumbeat" in capsys.readouterr().err


def test_feeds_of_other_layouts_are_reported(tea: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Columns of CSV and a map of payloads, by options or as the feeds say; without files they are refused."""
    rows = ["no,what,who,at", "1,user.signup,u1,2026-03-01T09:00:00Z", "2,visit,u2,2026-03-01T09:00:00Z"]
    (tea / "shop.csv").write_text("\n".join(rows) + "\n")
    (tea / "hook.map.yaml").write_text("time: when\ntype: event\ntypes: {join: user.signup}\nuser: who\n")
    (tea / "hooks.jsonl").write_text(json.dumps({"event": "join", "who": "u7", "when": "2026-03-02T09:00:00Z"}) + "\n")
    report = ["report", "--program", str(tea), "--format", "json"]
    csv = ["--events", str(tea / "shop.csv"), "--columns", "id=no,type=what,user=who,time=at"]
    hooks = ["--events", str(tea / "hooks.jsonl"), "--map", str(tea / "hook.map.yaml")]
    for words, users in ((csv, 2), (hooks, 1)):
        capsys.readouterr()
        assert run([*report, *words]) == 0
        period = json.loads(capsys.readouterr().out)["period"]
        assert (period["people"]["active"], period["playbooks"][0]["entered"]) == (users, 1)
    settings = tea / "drumbeat.yaml"
    feed = "{file: {path: shop.csv, csv: {id: no, type: what, user: who, time: at}}}"
    settings.write_text(settings.read_text("utf-8").replace("{file: feed.jsonl}", feed))
    assert run([*report, "--events", str(tea / "shop.csv")]) == 0
    assert json.loads(capsys.readouterr().out)["period"]["people"]["active"] == 2
    assert run([*report, "--map", str(tea / "hook.map.yaml")]) == 2
