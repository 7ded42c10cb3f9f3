"""``drumbeat backup`` and ``restore``; a store that is a copy sends nothing."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.runtime import standing
from engine.stores.sqlite import SqliteStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from conftest import Drumbeat, Make

LATER = json.dumps({"id": "e9", "type": "order.paid", "user": "u9", "time": "2026-03-09T01:00:00Z"}) + "\n"


@pytest.fixture
def root(make: Make, drumbeat: Drumbeat) -> Path:
    """A program whose store has three messages sent."""
    found = make()
    drumbeat("ingest", found / "feed.jsonl", "--program", found)
    assert drumbeat("run", "--until-idle", "--program", found).code == 0
    assert len(box(found)) == 3
    return found


def box(root: Path) -> list[str]:
    """What was sent."""
    return (root / "out" / "box.jsonl").read_text(encoding="utf-8").splitlines()


def more(root: Path, drumbeat: Drumbeat) -> str:
    """One more event is decided; what the run said beside its result."""
    (root / "later.jsonl").write_text(LATER, encoding="utf-8")
    assert drumbeat("ingest", root / "later.jsonl", "--program", root).code == 0
    said = drumbeat("run", "--until-idle", "--program", root)
    assert said.code == 0
    return said.err


def test_a_restored_store_sends_nothing_until_released(root: Path, drumbeat: Drumbeat, tmp_path: Path) -> None:
    """It decides what comes, holds what it would send, says so each time, and sends it once when released.

    Semantics: store.restored
    Failure: backup.old
    """
    copy = tmp_path / "b.db"
    said = drumbeat("backup", copy, "--program", root, "--format", "json")
    assert (said.code, said.json["bytes"], said.json["pending"]) == (0, copy.stat().st_size, 0)
    more(root, drumbeat)
    assert len(box(root)) == 4
    said = drumbeat("restore", copy, "--program", root, "--format", "json")
    assert said.code == 0
    assert Path(said.json["before"]).exists()
    assert "nothing is sent: it was restored from the backup of 20" in more(root, drumbeat)
    assert len(box(root)) == 4
    assert "nothing is sent" in drumbeat("run", "--until-idle", "--program", root).err
    store = SqliteStore.open(root / "drumbeat.db")
    assert len(store.deliveries("pending")) == 1
    place = store.get_meta(standing.PLACE)
    assert place is not None
    assert "restored" in (standing.release(store, place) or "")
    store.close()
    shutil.rmtree(root / "out")
    assert drumbeat("run", "--until-idle", "--program", root).err == ""
    assert len(box(root)) == 1


def test_a_copy_elsewhere_is_a_dry_run(root: Path, drumbeat: Drumbeat) -> None:
    """The same file at another path decides and sends nothing; the original goes on as ever.

    Semantics: store.restored — copied
    """
    copy = root.with_name("copy")
    shutil.copytree(root, copy)
    assert "at another path: this may be a copy" in more(copy, drumbeat)
    assert len(box(copy)) == 3
    assert more(root, drumbeat) == ""
    assert len(box(root)) == 4


def test_an_old_file_put_back_is_noticed(root: Path, drumbeat: Drumbeat, tmp_path: Path) -> None:
    """A file copied by hand and put back later knows of fewer openings than its lock file.

    Semantics: store.restored — by hand
    """
    old = tmp_path / "old.db"
    shutil.copy(root / "drumbeat.db", old)
    more(root, drumbeat)
    for rest in ("-wal", "-shm"):
        (root / f"drumbeat.db{rest}").unlink(missing_ok=True)
    shutil.copy(old, root / "drumbeat.db")
    assert "an older copy of this store was put back" in more(root, drumbeat)
    assert len(box(root)) == 4


def test_a_backup_while_somebody_writes(root: Path, drumbeat: Drumbeat, tmp_path: Path) -> None:
    """The copy is one whole moment, taken while the writer holds its lock and a transaction."""
    store = SqliteStore.open(root / "drumbeat.db")
    writer = sqlite3.connect(root / "drumbeat.db", isolation_level=None)
    writer.execute("begin immediate")
    writer.execute("insert into meta values ('half', 'done')")
    assert drumbeat("backup", tmp_path / "b.db", "--program", root).code == 0
    writer.execute("rollback")
    writer.close()
    store.close()
    copy = SqliteStore.open(tmp_path / "b.db", read_only=True)
    assert copy.get_meta("half") is None
    assert copy.counts()["events"] == 3
    copy.close()


def test_a_backup_never_overwrites(root: Path, drumbeat: Drumbeat, tmp_path: Path) -> None:
    """A file that is there stays as it is."""
    (tmp_path / "b.db").write_text("mine")
    said = drumbeat("backup", tmp_path / "b.db", "--program", root)
    assert (said.code, "exists" in said.err) == (3, True)
    assert (tmp_path / "b.db").read_text() == "mine"


def torn(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[8192:12288] = bytes(4096)
    path.write_bytes(raw)


BROKEN: dict[str, Callable[[Path], object]] = {
    "torn": torn,
    "no database": lambda path: path.write_text("hello"),
    "somebody else's": lambda path: (path.unlink(), sqlite3.connect(path).execute("create table t (x)")),
    "missing": lambda path: path.unlink(),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_bad_backup_is_not_put_back(root: Path, drumbeat: Drumbeat, tmp_path: Path, how: str) -> None:
    """What is not a whole store is refused, and the store that is there stays."""
    copy = tmp_path / "b.db"
    assert drumbeat("backup", copy, "--program", root).code == 0
    BROKEN[how](copy)
    said = drumbeat("restore", copy, "--program", root)
    assert (said.code, said.err.startswith("error: ")) == (3, True)
    assert more(root, drumbeat) == ""
    assert len(box(root)) == 4


def test_restore_needs_the_lock(root: Path, drumbeat: Drumbeat, tmp_path: Path) -> None:
    """While somebody writes the store, nothing is put in its place."""
    copy = tmp_path / "b.db"
    assert drumbeat("backup", copy, "--program", root).code == 0
    store = SqliteStore.open(root / "drumbeat.db")
    said = drumbeat("restore", copy, "--program", root)
    assert (said.code, "is being written by process" in said.err) == (3, True)
    store.close()
