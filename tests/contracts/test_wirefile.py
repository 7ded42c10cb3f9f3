"""Notes of what is about to be sent: what they prove after a crash, and when they prove nothing."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from engine.core.model import Effect
from engine.errors import StoreHeld
from engine.ports import Batch, Noting, Outgoing, Pace, Sent
from engine.runtime import standing
from engine.runtime.outbox import Outbox
from engine.stores import wirefile
from engine.stores.sqlite import SqliteStore
from engine.stores.wirefile import WireFile

ONCE = {"sms": "at_most_once"}


class Clock:
    def now(self) -> int:
        return 1_800_000_000_000_000


def effect(key: str) -> Effect:
    return Effect(
        key=key, time=1_000, playbook="p", step="s", kind="message", user=f"u-{key}", group=None, status="planned",
        reason=None, detail={"text": key}, deliver="sms", purpose="service",
    )  # fmt: skip


def item(key: str, attempts: int = 0) -> Outgoing:
    return Outgoing(key, "sms", effect(key), attempts)


def decided(store: Any, keys: Sequence[str]) -> None:
    store.commit(
        Batch(
            clock=1_000, states=[], events=[], effects=[effect(key) for key in keys], answers=[], resources={},
            decisions=[], goals=[], rejected=[], positions={},
        )
    )  # fmt: skip


class Notebook:
    """A file and what the store knows of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.id: str | None = None

    def session(self) -> WireFile:
        return WireFile(self.path, self.id, ONCE, self._keep, lambda point: None)

    def _keep(self, id_: str) -> None:
        self.id = id_


@pytest.fixture
def book(tmp_path: Path) -> Notebook:
    return Notebook(tmp_path / "s.db.wire")


def begun(book: Notebook, *keys: str) -> WireFile:
    """A session that has begun some."""
    wire = book.session()
    wire.settled()
    for key in keys:
        wire.begin([item(key)])
    return wire


def test_the_next_session_reads_what_was_begun(book: Notebook) -> None:
    """Keys with the number of their try, how they ended, the modes of the channels; a first session knows nothing."""
    first = begun(book, "a", "é b")
    assert first.before is None
    first.begin([item("a", attempts=2), item("no"), item("yes"), item("who knows")])
    first.ended(
        [
            (item("yes"), Sent(ok=True, receipt="r 1")), (item("no"), Sent(ok=False)),
            (item("who knows"), Sent(ok=False, unknown=True)),
        ]
    )  # fmt: skip
    before = book.session().before
    assert before is not None
    assert before.begun == {("a", 1), ("é b", 1), ("a", 3), ("yes", 1), ("who knows", 1)}
    assert before.sent == {("yes", 1): "r 1"}
    assert before.modes == ONCE
    assert book.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("damage", ["cut", "zeroed", "flipped", "glued", "foreign", "gone", "empty", "headless"])
def test_what_is_not_whole_proves_nothing(book: Notebook, damage: str) -> None:
    """A last line without its end was not begun; with any other damage all is in doubt.

    Failure: send.unknown — notes that are torn
    """
    begun(book, "a", "b").close()
    data = book.path.read_bytes()
    lines = data.splitlines(keepends=True)
    damaged = {
        "cut": data[:-3],
        "zeroed": data[:-4] + bytes(4) + b"\n",
        "flipped": data.replace(b'"a"', b'"c"'),
        "glued": lines[0] + lines[1][:5] + lines[2],
        "foreign": begun_elsewhere(book),
        "gone": None,
        "empty": b"",
        "headless": b"".join(lines[1:]),
    }[damage]
    book.path.unlink()
    if damaged is not None:
        book.path.write_bytes(damaged)
    before = book.session().before
    if damage == "cut":
        assert before is not None
        assert before.begun == {("a", 1)}
    else:
        assert before is None


def begun_elsewhere(book: Notebook) -> bytes:
    """The notes of another store."""
    other = Notebook(book.path.with_name("other"))
    begun(other, "a").close()
    return other.path.read_bytes()


def test_every_torn_end(book: Notebook) -> None:
    """Cut at any byte the notes say what was whole, or that they know nothing; never more, and never less."""
    begun(book, "a", "b", "c").close()
    data, id_ = book.path.read_bytes(), book.id
    ends = [place for place, byte in enumerate(data) if byte == 10]
    for size in range(len(data)):
        book.path.write_bytes(data[:size])
        book.id = id_
        before = book.session().before
        whole = sum(end < size for end in ends)
        keys = None if before is None else {key for key, _ in before.begun}
        assert keys == (None if whole == 0 else set("abc"[: whole - 1]))


def test_a_start_that_broke_off(book: Notebook) -> None:
    """Killed between the new file and the store that knows it: the next session believes neither."""
    begun(book, "a")
    book.session()  # and never ``settled``
    assert book.session().before is None


def test_who_was_there_before_begins_nothing(book: Notebook) -> None:
    """Two sessions: from the moment the second has read the notes the first can begin nothing more.

    Failure: two.daemons — what is on its way
    """
    first = begun(book, "a")
    second = book.session()
    assert second.before is not None
    with pytest.raises(StoreHeld):
        first.begin([item("b")])
    second.begin([item("b")])
    book.path.unlink()
    with pytest.raises(StoreHeld):
        second.begin([item("c")])
    first.close()
    with pytest.raises(OSError, match="closed"):
        first.begin([item("d")])


def test_a_note_that_cannot_be_written(book: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk: nothing is begun, no half line is left, and it goes on when there is room."""
    wire, write = begun(book, "a"), os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:7]))
    with pytest.raises(OSError, match="No space"):
        wire.begin([item("b")])
    monkeypatch.setattr(os, "write", write)
    wire.begin([item("c")])
    before = book.session().before
    assert before is not None
    assert before.begun == {("a", 1), ("c", 1)}


def test_begun_anew_when_large(book: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large file is replaced by a new one with the notes of what is under way."""
    monkeypatch.setattr(wirefile, "LARGEST", 10_000)
    wire, keys = begun(book), [f"k{n}" for n in range(1_000)]
    for key in keys:
        wire.begin([item(key)])
    wire.ended([(item(key), Sent(ok=True)) for key in keys[::2]])
    old = book.id
    wire.tidy(["k7", "k8", "never"])
    wire.begin([item("z")])
    assert book.path.stat().st_size < 1_000
    assert book.id != old
    before = book.session().before
    assert before is not None
    assert before.begun == {("k7", 1), ("k8", 1), ("z", 1)}
    assert before.sent == {("k8", 1): None}


def test_many_threads_share_the_disk(book: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each note is on the disk before ``begin`` returns; one visit to the disk serves who came meanwhile."""
    syncs: list[int] = []
    sync = os.fsync
    wire = begun(book)

    def slowly(fd: int) -> None:
        syncs.append(book.path.read_bytes().count(b"\n") - 1)
        threading.Event().wait(0.002)
        sync(fd)

    monkeypatch.setattr(os, "fsync", slowly)
    def work(first: int) -> None:
        for number in range(first, first + 25):
            wire.begin([item(f"n{number}")])

    threads = [threading.Thread(target=work, args=(first,)) for first in range(0, 200, 25)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(syncs) == 200
    assert len(syncs) < 200
    before = book.session().before
    assert before is not None
    assert len(before.begun) == 200


# ---------------------------------------------------------------------- with a store


class Sms:
    """A channel that remembers what it was given, and may stop in the midst of a call."""

    name, once, mode = "sms", False, "at_most_once"
    pace = Pace(concurrency=1, batch=20)

    def __init__(self, sent: list[str]) -> None:
        self.sent = sent
        self.met, self.go = threading.Event(), threading.Event()
        self.stop_at: str | None = None

    def send(self, items: Sequence[Outgoing]) -> list[Sent]:
        raise AssertionError("send_noting is asked instead")

    def send_noting(self, items: Sequence[Outgoing], noting: Noting) -> list[Sent]:
        for one in items:
            if one.key == self.stop_at:
                self.met.set()
                self.go.wait(60)
            noting.begin([one])
            self.sent.append(one.key)
            if one.key != "b":
                noting.ended([(one, Sent(ok=True, receipt=f"r-{one.key}"))])
        return [Sent(ok=True) for _ in items]

    def close(self) -> None:
        self.go.set()


@pytest.fixture
def hung(tmp_path: Path) -> Iterator[tuple[Path, list[str], Outbox, Sms]]:
    """A process with ten mails in one conversation, stopped before the fourth."""
    sent: list[str] = []
    store = SqliteStore.open(tmp_path / "s.db")
    decided(store, "abcdefghij")
    channel = Sms(sent)
    channel.stop_at = "d"
    outbox = Outbox(store, {"sms": channel}, Clock())
    outbox.recover()
    outbox._turn(None, Counter())  # as ``drain``, without waiting
    assert channel.met.wait(60)
    yield tmp_path, sent, outbox, channel
    channel.close()
    with suppress(StoreHeld):
        outbox.stop(60)
    outbox.close()
    store.close()


def statuses(store: SqliteStore) -> dict[str, str | None]:
    return {effect.key: how for effect, how in store.effects()}


def test_a_process_that_was_only_slow(hung: tuple[Path, list[str], Outbox, Sms]) -> None:
    """Where no lock holds: what hung was taken for dead; it wakes up and sends nothing that the other has sent.

    Failure: two.daemons — what is on its way
    """
    root, sent, first, slow = hung
    (root / "s.db.lock").unlink()
    store = SqliteStore.open(root / "s.db")
    outbox = Outbox(store, {"sms": Sms(sent)}, Clock())
    outbox.recover()
    slow.go.set()
    with pytest.raises(StoreHeld):
        first.stop(60)
    outbox.drain()
    found = statuses(store)
    outbox.close()
    store.close()
    assert sorted(sent) == [*"abcdefghij"]
    assert found == {key: "unknown" if key == "b" else "sent" for key in "abcdefghij"}


@pytest.mark.parametrize("how", ["restored", "other mode between", "held between", "notes gone"])
def test_when_nothing_is_believed(hung: tuple[Path, list[str], Outbox, Sms], how: str) -> None:
    """A copy that was released, sessions that noted nothing, notes that are gone: all that was claimed is in doubt.

    Failure: backup.old — what was on its way
    """
    root, sent, _, _ = hung
    path = root / "s.db"
    if how == "restored":
        with_notes = SqliteStore.open(path, read_only=True)
        path = root / "copy.db"
        with_notes.backup(path, {standing.HELD: "a copy"})
        with_notes.close()
        (root / "copy.db.wire").write_bytes((root / "s.db.wire").read_bytes())
    else:
        (root / "s.db.lock").unlink()
    if how == "notes gone":
        (root / "s.db.wire").unlink()
    store = SqliteStore.open(path)
    if how == "restored":
        standing.release(store, "here")
    elif how != "notes gone":
        between = Sms(sent)
        between.mode = "at_least_once"
        other = Outbox(store, {"letter": between} if how == "other mode between" else {}, Clock())
        other.recover()
        other.close()
    outbox = Outbox(store, {"sms": Sms(sent)}, Clock())
    outbox.recover()
    outbox.drain()
    found = statuses(store)
    outbox.close()
    store.close()
    assert set(found.values()) == {"unknown"}
    assert sent == [*"abc"]
