"""Where a store may be written: on a disk of this machine, and as safe as was asked."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from engine.cli.main import run as drumbeat
from engine.errors import StoreError
from engine.stores import places
from engine.stores.places import FilePlace
from engine.stores.sql import sqlite_file, sqlite_place
from engine.stores.sql.sqlite_place import is_remote, kind_of
from engine.stores.sqlite import SqliteStore

TABLE = """\
proc /proc proc rw 0 0
/dev/sda1 / ext4 rw 0 0
a:/b /data nfs4 rw,vers=4.2 0 0
/dev/sdb1 /data/local xfs rw 0 0
auto /shared autofs rw 0 0
//h/share /shared cifs rw 0 0
me@h: /home/me/my\\040files fuse.sshfs rw 0 0
half a line
"""

PROGRAM = {
    "drumbeat.yaml": "program: p\nfeeds: [{file: feed/*.jsonl}]\nchannels: {box: {via: file, path: out/box.jsonl}}\n"
    "policies: {default: {quiet_hours: never, consent: {service: none}}}\n",
    "playbooks/hello.yaml": "playbook: hello\ntitle: Hello\ntrigger: {signup: true}\nentry: once\n"
    "steps: [{points: 1}]\n",
    "playbooks/catalog.yaml": "points: {main: {title: Points}}\n",
}


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/x.db", "ext4"),
        ("/data/x.db", "nfs4"),
        ("/data/local/x.db", "xfs"),
        ("/database/x.db", "ext4"),
        ("/shared/x.db", "cifs"),
        ("/home/me/my files/x.db", "fuse.sshfs"),
    ],
)
def test_kind_of_a_place(path: str, kind: str) -> None:
    """The innermost mount tells the kind; of two on one place the later one; names with blanks are read.

    Failure: power.torn — the table of mounts
    """
    assert kind_of(Path(path), TABLE) == kind


def test_a_table_that_says_nothing() -> None:
    """Without a line for a path nothing is known, and nothing is refused."""
    assert kind_of(Path("/x"), "") == ""
    assert not is_remote("")


@pytest.mark.parametrize(
    "kind",
    ["nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "davfs", "fuse.sshfs",
     "fuse.rclone", "fuse.s3fs", "fuse.gcsfuse", "fuse.glusterfs", "fuse.ceph-fuse", "fuse.mount.davfs"],
)  # fmt: skip
def test_kinds_of_elsewhere(kind: str) -> None:
    """Network file systems are known by their kind, those through FUSE too.

    Failure: power.torn — kinds that are refused
    """
    assert is_remote(kind)


@pytest.mark.parametrize(
    "kind", ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "fuseblk", "fuse.mergerfs", "apfs"]
)
def test_kinds_of_this_machine(kind: str) -> None:
    """What is local passes."""
    assert not is_remote(kind)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    for name, text in PROGRAM.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("words", [("--until-idle",), ("--once",), ("--standby", "--once")])
def test_run_refuses_a_network_disk(
    program: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    """``run`` on a network disk ends with exit code 3 and what to do, and has written nothing there, no lock either.

    Failure: power.torn — refused at start
    """
    away, table = program / "away", program / "mounts"
    away.mkdir()
    table.write_text(f"/dev/sda1 / ext4 rw 0 0\nh:/x {away} nfs4 rw 0 0\n", encoding="utf-8")
    monkeypatch.setattr(sqlite_place, "MOUNTS", table)
    (program / "link.db").symlink_to(away / "s.db")
    for url in (f"sqlite:///{away}/s.db", f"sqlite:///{program}/link.db"):
        assert drumbeat(["run", "--program", str(program), "--store", url, *words]) == 3
        said = capsys.readouterr().err
        assert "is on nfs4, a network file system" in said
        assert "drumbeat backup" in said
    assert list(away.iterdir()) == []
    assert drumbeat(["run", "--program", str(program), "--store", f"sqlite:///{program}/s.db", *words]) == 0


def test_reading_is_not_refused(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who only looks may look: a copy on a share can be read, and one that is thrown away may lie anywhere."""
    SqliteStore.open(program / "s.db").close()
    table = program / "mounts"
    table.write_text(f"h:/x {program} nfs4 rw 0 0\n", encoding="utf-8")
    monkeypatch.setattr(sqlite_place, "MOUNTS", table)
    SqliteStore.open(program / "s.db", read_only=True).close()
    SqliteStore.open(program / "t.db", durable=False).close()
    with pytest.raises(StoreError, match="network file system"):
        SqliteStore.open(program / "s.db")


@pytest.mark.parametrize(
    ("asked", "said"), [("synchronous = off", "synchronous 0"), ("journal_mode = delete", "delete")]
)
def test_less_than_was_asked_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str, said: str) -> None:
    """A SQLite that keeps to less than ``synchronous = full`` and a write-ahead log is found out at the start, and the
    lock is given back.

    Failure: power.torn — synchronous = off
    """
    monkeypatch.setattr(sqlite_file, "_WRITER", (*sqlite_file._WRITER, f"pragma {asked}"))
    with pytest.raises(StoreError, match=said):
        SqliteStore.open(tmp_path / "s.db")
    monkeypatch.undo()
    SqliteStore.open(tmp_path / "s.db").close()


def test_no_word_of_an_address_turns_it_off(tmp_path: Path) -> None:
    """What follows a question mark in the address of a store is part of a file's name, not a setting.

    Failure: power.torn — by the address
    """
    SqliteStore.open(tmp_path / "s.db?synchronous=off&vfs=unix-none").close()
    assert (tmp_path / "s.db?synchronous=off&vfs=unix-none").exists()
    with sqlite3.connect(tmp_path / "s.db?synchronous=off&vfs=unix-none") as db:
        assert db.execute("pragma journal_mode").fetchone() == ("wal",)
    db.close()


@pytest.mark.parametrize("known", ["", None], ids=["empty", "absent"])
def test_a_copy_among_containers_is_another_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: str | None
) -> None:
    """In containers, which have no machine's id and the same path everywhere, a copied file is told from the first; one
    and the same file stays what it was.

    Failure: backup.old — a volume that was copied
    """
    monkeypatch.setattr(places, "MACHINE", tmp_path / "machine-id")
    if known is not None:
        places.MACHINE.write_text(known, encoding="ascii")
    here, copy = tmp_path / "s.db", tmp_path / "copy.db"
    here.write_bytes(b"one")
    first = FilePlace(here).mark(None)
    assert FilePlace(here).mark(None) == first
    copy.write_bytes(here.read_bytes())
    copy.replace(here)  # the same path, on another host
    assert FilePlace(here).mark(None) != first
    places.MACHINE.write_text("0123abcd\n", encoding="ascii")
    assert FilePlace(here).mark(None) not in (first, "")
