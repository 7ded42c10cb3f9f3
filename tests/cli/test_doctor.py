"""``drumbeat doctor``: each thing that can be wrong is named with what to do, and looking changes nothing."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.cli import checkup
from engine.stores.sql import sqlite_place
from engine.stores.sqlite import SqliteStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from conftest import Drumbeat, Make

PARTS = ("major", "minor", "micro")


@pytest.fixture
def root(make: Make, drumbeat: Drumbeat) -> Path:
    """A program that ran once."""
    found = make()
    drumbeat("ingest", found / "feed.jsonl", "--program", found)
    assert drumbeat("run", "--until-idle", "--program", found).code == 0
    return found


def verdicts(root: Path, drumbeat: Drumbeat) -> dict[str, Any]:
    """Name -> finding, of what is not well."""
    said = drumbeat("doctor", "--program", root, "--format", "json")
    assert said.code == (0 if said.json["ok"] else 1)
    return {it["name"]: it for it in said.json["findings"] if it["verdict"] == "bad"}


def touched(root: Path) -> dict[Path, int]:
    """When each file was written, but for the two that SQLite makes to read."""
    return {it: it.stat().st_mtime_ns for it in root.rglob("*.*") if not it.name.endswith(("-shm", "-wal"))}


def test_all_is_well(root: Path, drumbeat: Drumbeat) -> None:
    """A program that runs has nothing bad; no file is touched by looking."""
    before = touched(root)
    assert verdicts(root, drumbeat) == {}
    assert touched(root) == before
    out = drumbeat("doctor", "--program", root).out
    assert "ok    store           3 users, 3 events" in out
    assert "ok    sending         nothing is held" in out


def test_an_invalid_program(root: Path, drumbeat: Drumbeat) -> None:
    """A program that cannot run is bad, and everything else is looked at all the same."""
    (root / "playbooks" / "thanks.yaml").write_text("playbook: thanks\nsteps: []\n", encoding="utf-8")
    found = verdicts(root, drumbeat)
    assert "drumbeat validate" in found["program"]["advice"]
    assert list(found) == ["program"]


def test_a_secret_that_is_not_set(root: Path, drumbeat: Drumbeat, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable or file that a channel names and that is not there is told by name, never by value."""
    text = (root / "drumbeat.yaml").read_text(encoding="utf-8")
    (root / "drumbeat.yaml").write_text(text.replace("out/box.jsonl", "'out/${BOX_TOKEN}.jsonl'"), encoding="utf-8")
    monkeypatch.delenv("BOX_TOKEN", raising=False)
    assert "BOX_TOKEN" in verdicts(root, drumbeat)["channel box"]["advice"]
    monkeypatch.setenv("BOX_TOKEN", "geheim")
    said = drumbeat("doctor", "--program", root)
    assert (said.code, "geheim" in said.out + said.err) == (0, False)


def test_a_copy_is_told(root: Path, drumbeat: Drumbeat) -> None:
    """A store that would be held says so before the run."""
    copy = root.with_name("copy")
    shutil.copytree(root, copy)
    assert "holds it as a copy" in verdicts(copy, drumbeat)["sending"]["text"]


def test_a_clock_behind_the_store(root: Path, drumbeat: Drumbeat) -> None:
    """A machine whose clock is behind what was decided is told what follows."""
    store = SqliteStore.open(root / "drumbeat.db")
    store._file.db.execute("update clock set at = 9000000000000000")
    store.close()
    assert "ahead of this machine's" in verdicts(root, drumbeat)["clock"]["text"]


def test_a_damaged_store(root: Path, drumbeat: Drumbeat) -> None:
    """A store that cannot be read is one finding, without a traceback."""
    for rest in ("-wal", "-shm"):
        (root / f"drumbeat.db{rest}").unlink(missing_ok=True)
    (root / "drumbeat.db").write_bytes(b"hello" * 1000)
    assert "is not an SQLite database" in verdicts(root, drumbeat)["store"]["text"]


@pytest.mark.parametrize("kind", ["nfs4", "ext4"])
def test_network_disks_are_told(root: Path, drumbeat: Drumbeat, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """A store on a network file system is bad, and why is said; ``run`` would refuse it.

    Failure: power.torn — doctor
    """
    table = root / "mounts"
    table.write_text(f"a / ext4 rw\nb {root} {kind} rw\n", encoding="utf-8")
    monkeypatch.setattr(sqlite_place, "MOUNTS", table)
    found = verdicts(root, drumbeat).get("disk", {"text": ""})
    assert ("is on nfs4" in found["text"]) is (kind == "nfs4")


@pytest.mark.parametrize(
    ("version", "verdict"), [((3, 11, 14), "warn"), ((3, 11, 15), "ok"), ((3, 12, 12), "warn"), ((3, 12, 13), "ok")]
)
def test_an_old_python_is_told(monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int], verdict: str) -> None:
    """Below the patch release that shuts the known holes of the standard library `doctor` warns and says where to go.

    Threat: stdlib.old
    """
    monkeypatch.setattr(checkup.sys, "version_info", SimpleNamespace(**dict(zip(PARTS, version, strict=True))))
    found = next(it for it in checkup.machine() if it.name == "python")
    assert found.verdict == verdict
    assert (f"move to 3.{version[1]}." in found.advice) == (verdict == "warn")
