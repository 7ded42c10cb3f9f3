"""Processes killed while threads send: what the provider got, and what the store says, put together."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from crash_world import without_disk
from provider_world import Time, planned

from engine.ports import Noting, Outgoing, Pace, Sent
from engine.runtime.outbox import Outbox
from engine.stores.sqlite import SqliteStore

COUNT = 40
STORE_POINTS = [
    f"{verb}.{edge}"
    for verb in ("claim", "settle")
    for edge in ("before_begin", "after_begin", "mark", "before_commit", "after_commit")
]
WIRE_POINTS = ["wire.before", "wire.taken", "wire.answered"]
NOTE_POINTS = ["wire.before_note", "wire.noted", "wire.after_note"]


class Ledger:
    """A channel whose provider writes down, for good, what it has taken; several threads send at once."""

    once = False
    pace = Pace(concurrency=3, batch=4)

    def __init__(self, path: Path, mode: str, aware: bool, fault: Callable[[str], object]) -> None:
        self.name = "sms"
        self.mode = mode
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self._path = path
        self._aware = aware
        self._fault = fault
        self._lock = threading.Lock()

    def send(self, items: Sequence[Outgoing]) -> list[Sent]:
        for item in items:
            self._fault("wire.before")
            with self._lock:
                known = self._aware and f"{item.key}\n".encode() in self._path.read_bytes()
                if not known:
                    os.write(self._fd, f"{item.key}\n".encode())
            self._fault("wire.taken")
        self._fault("wire.answered")
        return [Sent(ok=True) for _ in items]

    def close(self) -> None:
        os.close(self._fd)


class Mailing(Ledger):
    """The same, in one conversation: of many messages in a call one is on the wire."""

    pace = Pace(concurrency=2, batch=20)

    def send_noting(self, items: Sequence[Outgoing], noting: Noting) -> list[Sent]:
        answers = []
        for item in items:
            noting.begin([item])
            answers += self.send([item])
            noting.ended([(item, answers[-1])])
        return answers


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with without_disk():
        yield


def work(root: Path, mode: str, aware: bool, fault: Callable[[str], object], kind: type[Ledger] = Ledger) -> None:
    """Recover and send everything there is."""
    store = SqliteStore.open(root / "s.db")
    channel = kind(root / "taken", mode, aware, fault)
    outbox = Outbox(store, {"sms": channel}, Time())
    outbox.recover()
    store.fault = fault
    outbox.drain()
    store.fault = lambda point: None
    outbox.close()
    channel.close()
    store.close()


def killed(
    root: Path, mode: str, aware: bool, point: str, which: int, doing: Callable[..., None] = work
) -> bool:
    """Work in a child that is killed as it passes a point for the n-th time; whether it was."""
    child = os.fork()
    if child == 0:
        passed = iter(range(1, 1 << 30))
        lock = threading.Lock()

        def fault(name: str) -> None:
            if name == point:
                with lock:
                    if next(passed) == which:
                        os.kill(os.getpid(), signal.SIGKILL)

        doing(root, mode, aware, fault)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize("mode", ["at_most_once", "at_least_once"])
@pytest.mark.parametrize("aware", [True, False], ids=["aware", "blind"])
@pytest.mark.parametrize("point", [*STORE_POINTS, *WIRE_POINTS])
def test_killed_at(tmp_path: Path, point: str, aware: bool, mode: str) -> None:
    """Killed three times at a point: nothing lost, nothing twice, nothing unknown but as the mode promises.

    Semantics: effect-key.unknown, outbox.once
    Failure: send.unknown — killed
    """
    store = SqliteStore.open(tmp_path / "s.db")
    keys = planned(store, COUNT)
    store.close()
    kills = sum(killed(tmp_path, mode, aware, point, which) for which in (1, 2, 4))
    assert kills > 0
    work(tmp_path, mode, aware, lambda name: None)
    taken = Counter((tmp_path / "taken").read_text().split())
    store = SqliteStore.open(tmp_path / "s.db", read_only=True)
    found: dict[str, set[str]] = {}
    for effect, how in store.effects():
        found.setdefault(how, set()).add(effect.key)
    store.close()
    most = kills * Ledger.pace.concurrency * Ledger.pace.batch
    assert set(found) <= {"sent", "unknown"}
    assert found["sent"] <= set(taken), "lost"
    if mode == "at_most_once":
        assert max(taken.values()) == 1, "twice"
        assert set(taken) | found.get("unknown", set()) == set(keys)
        assert len(found.get("unknown", ())) <= most
    else:
        assert set(taken) == set(keys), "lost"
        assert "unknown" not in found
        assert taken.total() - COUNT <= (0 if aware else most), "twice"


class Early(Outbox):
    """Settles before it sends."""

    def _claim(self, names: Sequence[str], limit: int, total: Any) -> tuple[int, list[Outgoing]]:
        from engine.ports import Settlement

        number, wanted = super()._claim(names, limit, total)
        self._store.settle([Settlement(item.key, "sent") for item in wanted])
        return number, wanted


def test_the_power_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An outbox that settles before it sends is found out."""
    monkeypatch.setitem(work.__globals__, "Outbox", Early)
    with pytest.raises(AssertionError, match="lost"):
        test_killed_at(tmp_path, "wire.before", False, "at_least_once")


def meanwhile(root: Path, mode: str, aware: bool, fault: Callable[[str], object]) -> None:
    """As ``work`` with ``Mailing``, killed also while it takes the notes over."""
    store = SqliteStore.open(root / "s.db", fault=fault)
    channel = Mailing(root / "taken", mode, aware, fault)
    outbox = Outbox(store, {"sms": channel}, Time())
    outbox.recover()
    outbox.drain()
    os._exit(0)


def _ends(root: Path) -> dict[str, set[str]]:
    store = SqliteStore.open(root / "s.db", read_only=True)
    found: dict[str, set[str]] = {}
    for effect, how in store.effects():
        found.setdefault(how, set()).add(effect.key)
    store.close()
    return found


TURN_POINTS = ["wire.before_turn", "wire.turned", "meta.before_begin", "meta.before_commit", "meta.after_commit"]


@pytest.mark.parametrize("point", [*STORE_POINTS, *WIRE_POINTS, *NOTE_POINTS, *TURN_POINTS])
def test_only_what_was_begun_is_in_doubt(tmp_path: Path, point: str) -> None:
    """Twenty are claimed for a conversation, and killed: those that were not begun go out, once, and only they.

    Semantics: effect-key.unknown
    Failure: send.unknown — of what is claimed only what was begun is in doubt
    """
    store = SqliteStore.open(tmp_path / "s.db")
    keys = planned(store, COUNT * 3)
    store.close()
    doing = partial(work, kind=Mailing)
    kills = sum(killed(tmp_path, "at_most_once", False, "wire.taken", which, doing) for which in (3, 7))
    doing = doing if point not in TURN_POINTS else meanwhile
    kills += sum(killed(tmp_path, "at_most_once", False, point, which, doing) for which in (1, 2))
    assert kills >= 3
    work(tmp_path, "at_most_once", False, lambda name: None, Mailing)
    taken, found = Counter((tmp_path / "taken").read_text().split()), _ends(tmp_path)
    assert set(found) == {"sent", "unknown"}
    assert max(taken.values()) == 1, "twice"
    assert found["sent"] <= set(taken), "lost"
    assert set(taken) | found["unknown"] == set(keys)
    together = Mailing.pace.concurrency
    # Killed between a new file and the store that knows it, nothing is known any more: that is in doubt as a whole.
    most = kills * together * (Mailing.pace.batch if point in TURN_POINTS else 1)
    assert 1 <= len(found["unknown"]) <= most


class Late(Mailing):
    """Notes what it has sent already."""

    def send_noting(self, items: Sequence[Outgoing], noting: Noting) -> list[Sent]:
        answers = []
        for item in items:
            answers += self.send([item])
            noting.begin([item])
        return answers


def test_the_power_of_notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A channel that notes a message behind its first byte is found out."""
    monkeypatch.setitem(test_only_what_was_begun_is_in_doubt.__globals__, "Mailing", Late)
    with pytest.raises(AssertionError, match="twice"):
        test_only_what_was_begun_is_in_doubt(tmp_path, "wire.taken")
