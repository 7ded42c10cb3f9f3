"""``drumbeat apply``: exactly the plan that was looked at is taken, and no other; whatever its folder says by then."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from daemon_kit import Life
from plan_kit import NEW, OLD, THANKS, feed, life, write

from engine.cli.main import run
from engine.runtime import applied
from engine.stores.sqlite import FAULT_POINTS, SqliteStore

PATIENCE = 60.0
EDITED = {"playbooks/thanks.yaml": THANKS.replace("points: 5", "points: 7")}


class Heard:
    """Runs verbs in this process."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self.capsys = capsys
        self.err = ""

    def __call__(self, *words: object, code: int = 0) -> Any:
        """What a verb said in JSON, and that it ended so."""
        self.capsys.readouterr()
        found = run([*map(str, words), "--program", str(self.root), "--format", "json", "--quiet"])
        out, self.err = self.capsys.readouterr()
        assert found == code, self.err
        return json.loads(out)

    def plan(self, *words: object, code: int = 0) -> Path:
        """A plan in a file."""
        file = self.root.parent / "plan.json"
        self("plan", "--out", file, "--days", 0, *words, code=code)
        return file


@pytest.fixture
def shop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Heard:
    """A shop that ran for some days and was edited."""
    root = write(tmp_path / "shop", {**OLD, "feed/a.jsonl": feed(life()[:20])})
    heard = Heard(root, capsys)
    heard("run", "--until-idle")
    write(root, NEW)
    return heard


def at_work(root: Path) -> dict[str, str]:
    """Playbook -> version of what a store runs."""
    store = SqliteStore.open(root / "drumbeat.db", read_only=True)
    try:
        found = json.loads(store.get_meta("published programme") or "{}")
        return {id_: row[1] for id_, row in found.items()}
    finally:
        store.close()


def test_applied_is_taken_whatever_the_folder_says_then(shop: Heard) -> None:
    """The next run begins with the applied plan, also when files are edited or broken meanwhile; edits change nothing
    until ``--follow-files``."""
    said = shop("apply", shop.plan())
    assert (said["daemon"], said["at_work"]) == (False, False)
    write(shop.root, EDITED)
    shop("run", "--until-idle")
    taken = at_work(shop.root)
    assert "loyal" in taken
    shop("plan", "--days", 0)
    assert shop("plan", "--days", 0)["difference"]["playbooks"][2]["what"] == "changed"  # the edit waits
    write(shop.root, {"playbooks/thanks.yaml": "playbook: thanks\n"})
    shop("run", "--until-idle")
    assert at_work(shop.root) == taken
    write(shop.root, EDITED)
    shop("run", "--until-idle", "--follow-files")
    assert at_work(shop.root)["thanks"] != taken["thanks"]


def test_a_plan_for_a_store_that_is_not_there_yet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Everything is added, nobody is met; applied, the first run begins with it."""
    heard = Heard(write(tmp_path / "shop", {**OLD, "feed/a.jsonl": feed(life()[:20])}), capsys)
    row = heard("plan", "--detailed-exitcode", "--max-audience", 0, code=10)
    assert {it["what"] for it in row["difference"]["playbooks"]} == {"added"}
    heard("apply", heard.plan())
    write(heard.root, NEW)
    heard("run", "--until-idle")
    assert "loyal" not in at_work(heard.root)


def test_a_stale_plan_is_refused(shop: Heard) -> None:
    """Stale: the folder changed, the store runs another plan, another plan was applied; or the file was edited, or it
    was made on another store. Each is named, exit code 1, and the store is as it was.

    Semantics: plan.stale
    """
    file = shop.plan()
    before = at_work(shop.root)
    write(shop.root, EDITED)
    shop("apply", file, code=1)
    assert "is stale: the program in" in shop.err
    write(shop.root, NEW)
    text = file.read_text()
    file.write_text(text.replace('"max_audience": null', '"max_audience": 1'))
    shop("apply", file, code=1)
    assert "was changed after it was written" in shop.err
    file.write_text(text)
    assert at_work(shop.root) == before

    store = SqliteStore.open(shop.root / "drumbeat.db")
    store.set_meta("secret", "00")
    store.close()
    shop("apply", file, code=1)
    assert "was made on another store" in shop.err

    file = shop.plan()
    other = shop.root.parent / "other.json"
    write(shop.root, EDITED)
    shop("apply", shop.plan().rename(other))
    write(shop.root, NEW)
    file.write_text(text)
    shop("apply", shop.plan())  # made with the other one in sight
    write(shop.root, EDITED)
    shop("apply", other, code=1)
    assert "is stale: the store runs another plan" in shop.err
    write(shop.root, NEW)
    shop("run", "--until-idle")
    shop("apply", shop.plan())
    shop("apply", shop.root / "nothing.json", code=1)
    assert "there is no file" in shop.err


def test_gates_hold_at_apply(shop: Heard) -> None:
    """Over a gate is exit code 1 and says by how much; such a plan is applied only when it was allowed in the plan."""
    row = shop("plan", "--max-audience", 1, "--max-cost", 5, "--days", 7, code=1)
    assert row["gates"]["audience"] > 1
    assert row["gates"]["over"][0].startswith(f"it reaches {row['gates']['audience']} people, --max-audience is 1")
    assert any("coupons may cost" in one for one in row["gates"]["over"]) == (row["gates"]["cost"] != [])
    file = shop.plan("--max-audience", 0, code=1)
    shop("apply", file, code=1)
    assert "is over its gates" in shop.err
    shop("apply", shop.plan("--max-audience", 0, "--allow-over"))
    assert shop("plan", "--max-audience", 10_000, "--days", 7)["gates"]["over"] == []


@pytest.mark.parametrize("point", [it for it in FAULT_POINTS if it.startswith("meta")])
def test_killed_while_it_is_applied(shop: Heard, point: str) -> None:
    """Killed at any moment of applying, the next process begins with the plan before or with the new one, whole."""
    target = json.loads(shop.plan().read_text())["target"]
    wanted = applied.Apply(target["base"], target["plan"], target["pack"])

    def die(here: str) -> None:
        if here == point:
            raise KeyboardInterrupt

    store = SqliteStore.open(shop.root / "drumbeat.db", fault=die)
    with pytest.raises(KeyboardInterrupt):
        applied.apply(store, wanted)
    store.close()
    store = SqliteStore.open(shop.root / "drumbeat.db")
    found = applied.read(store)
    assert found is None or found == applied.Applied(wanted.plan, wanted.pack)
    base = applied.base_of(store)
    again = applied.apply(store, applied.Apply(base, wanted.plan, wanted.pack))
    assert again is None
    assert applied.apply(store, wanted) == applied.base_of(store)  # made against what was before
    store.close()
    shop("run", "--until-idle")
    assert "loyal" in at_work(shop.root)


def test_only_read_beside_a_daemon_at_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """While a daemon holds the store, a plan is made and not a byte of it changes; the daemon goes on as before.

    Semantics: plan.read-only
    """
    world = Life(tmp_path / "life")
    world.start()
    for number in range(30):
        world.say("user.signup", f"u{number}")
    world.quiet()
    files = [world.root / "s.db", world.root / "s.db-wal"]
    before = [(path.read_bytes(), path.stat().st_mtime_ns) for path in files]
    world.write("playbooks/hello.yaml", (world.root / "playbooks/hello.yaml").read_text().replace("1h", "2h"))
    heard = Heard(world.root, capsys)
    row = heard("plan", "--store", "sqlite:///s.db", "--out", tmp_path / "plan.json")
    assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in files] == before
    assert [(it["step"], it["what"], it["count"]) for it in row["journeys"]] == [("wait[1]", "finishes", 30)]
    world.pass_(3_600_000_000)
    assert len(world.sent()) == 60
    world.end()


@pytest.fixture
def daemons() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that are ended with the test."""
    found: list[subprocess.Popen[str]] = []
    yield found
    for it in found:
        it.kill()
        it.communicate()


def test_a_running_daemon_takes_it(shop: Heard, daemons: list[subprocess.Popen[str]]) -> None:
    """A daemon takes an applied plan at once and edits no more; killed, the next one begins with it."""
    words = [sys.executable, "-m", "engine", "run", "--program", str(shop.root)]

    def begin() -> subprocess.Popen[str]:
        found = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        daemons.append(found)
        assert found.stderr is not None
        for line in found.stderr:
            if "at work:" in line:
                return found
        raise AssertionError("it never was at work")

    write(shop.root, OLD)
    daemon = begin()
    file = shop.root.parent / "plan.json"
    elsewhere = write(shop.root.parent / "checkout", {**OLD, **NEW})  # as a pipeline has it, not where the daemon looks
    store = f"sqlite:///{shop.root / 'drumbeat.db'}"
    there = Heard(elsewhere, shop.capsys)
    there("plan", "--days", 0, "--store", store, "--out", file)
    said = there("apply", file, "--store", store)
    assert (said["daemon"], said["at_work"]) == (True, True)
    assert "loyal" in at_work(shop.root)
    write(shop.root, EDITED)
    os.kill(daemon.pid, signal.SIGHUP)
    assert daemon.stderr is not None
    for _ in ("applied", "told to look"):
        assert any("another program is at work" in line for line in daemon.stderr)
    taken = at_work(shop.root)
    assert "loyal" in taken
    daemon.kill()
    daemon.communicate(timeout=PATIENCE)
    begin()
    ends = time.monotonic() + PATIENCE
    while at_work(shop.root) != taken:
        assert time.monotonic() < ends
    assert there("plan", "--days", 0, "--store", store, "--detailed-exitcode")["changes"] is False
