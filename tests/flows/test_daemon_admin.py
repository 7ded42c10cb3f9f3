"""Verbs that write beside a daemon in a process of its own: it does what they ask, and goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from engine.api.remote import Link
from engine.api.unix import socket_path
from engine.cli.main import run
from engine.core.model import Effect, State
from engine.ports import Batch, Settlement
from engine.runtime.standing import HELD
from engine.stores.sqlite import SqliteStore

FILES = {
    "drumbeat.yaml": (
        "program: tea\nprofile: {city: text | none}\nfeeds: [{file: feed/*.jsonl}]\n"
        "channels: {box: {via: file, path: out/box.jsonl}, gone: {via: file, path: out/gone.jsonl}}\n"
        "policies: {default: {consent: {marketing: none}, quiet_hours: never}}\n"
    ),
    "playbooks/thanks.yaml": (
        "playbook: thanks\ntitle: 谢谢\nowner: tea@shop.example\ntrigger: {event: order.paid}\n"
        "entry: {mode: parallel, limit: unlimited}\n"
        "steps:\n  - message: {template: thanks, via: box, purpose: service}\n  - wait: 3d\n"
    ),
    "templates/thanks.box.j2": "谢谢 {{ user.id }}\n",
}
CANARY = "canary-9753"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A program, and its store with deliveries that are dead and unknown."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "feed").mkdir()
    store = SqliteStore.open(tmp_path / "drumbeat.db")
    names = [f"dead-{n}" for n in range(3)] + ["unknown-1"]
    states = [State(id=f"u-{name}") for name in names]
    effects = [_effect(name) for name in names]
    store.commit(Batch(1, states, [], effects, [], {}, [], [], [], {}))
    store.claim(["box"], 1, 10)
    store.settle([Settlement(name, name.partition("-")[0], "it went wrong") for name in names])
    store.close()
    return tmp_path


def _effect(key: str) -> Effect:
    return Effect(
        key=key, time=1, playbook="thanks", step="message[1]", kind="message", user=f"u-{key}", group=None,
        status="planned", reason=None, detail={"template": "thanks", "text": "谢谢"}, deliver="box",
    )  # fmt: skip


@contextmanager
def _daemon(root: Path) -> Iterator[subprocess.Popen[bytes]]:
    """``drumbeat run``, answering verbs; it leaves in order."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with (root / "daemon.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "engine", "run", "--program", str(root)], env=env, stdout=log, stderr=log
        )
        try:

            def ready() -> bool:
                assert process.poll() is None, (root / "daemon.log").read_text()
                return Link.find(socket_path(root / "drumbeat.db")) is not None

            _until(ready)
            yield process
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0, (root / "daemon.log").read_text()
        finally:
            process.kill()
            process.wait()


def _until(true: Callable[[], bool]) -> None:
    """Wait for something that another process does."""
    until, pause = time.monotonic() + 60, threading.Event()
    while not true():
        assert time.monotonic() < until, "it did not happen"
        pause.wait(0.02)


def _sent(root: Path) -> list[str]:
    """Users to whom a message went out."""
    path = root / "out/box.jsonl"
    rows = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return sorted(json.loads(it)["user"] for it in rows)


def _read(root: Path, look: Callable[[SqliteStore], Any]) -> Any:
    store = SqliteStore.open(root / "drumbeat.db", read_only=True)
    try:
        return look(store)
    finally:
        store.close()


def _verb(capsys: pytest.CaptureFixture[str], root: Path, *words: str) -> tuple[int, str]:
    capsys.readouterr()
    code = run([*words, "--program", str(root)])
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return code, out + err


def test_deliveries_by_hand(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Deliveries are tried again and dropped by the running daemon, which sends what is tried again at once.

    Semantics: store.through-daemon — deliveries
    """
    with _daemon(root):
        code, out = _verb(capsys, root, "outbox", "retry", "dead-0", "unknown-1")
        assert (code, out) == (0, "retried     2: the running daemon sends them\n")
        _until(lambda: _sent(root) == ["u-dead-0", "u-unknown-1"])
        assert _verb(capsys, root, "outbox", "drop", "--status", "dead") == (0, "dropped     2\n")
        code, out = _verb(capsys, root, "outbox", "retry", "dead-1")
        assert (code, "dead-1 is cancelled" in out) == (2, True)
        assert _read(root, lambda store: [it.item.key for it in store.outbox("cancelled")]) == ["dead-1", "dead-2"]


def test_a_held_store_is_let_go(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A daemon on a restored store sends nothing; the verb lets it go while it runs, and for its next life.

    Semantics: store.through-daemon — release
    """
    store = SqliteStore.open(root / "drumbeat.db")
    store.redrive(["dead-0"])
    store.set_meta(HELD, "it was restored")
    store.close()
    with _daemon(root):
        assert "held: nothing is sent: it was restored" in _verb(capsys, root, "outbox", "list")[1]
        assert _sent(root) == []
        assert _verb(capsys, root, "outbox", "release") == (0, "released    it was held: it was restored\n")
        _until(lambda: _sent(root) == ["u-dead-0"])
        assert _verb(capsys, root, "outbox", "release")[1] == "nothing held it: this store may send\n"
    with _daemon(root):
        assert _read(root, lambda store: store.get_meta(HELD)) == ""


def test_erase_while_a_daemon_runs(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The daemon erases whoever the verb names, and what a feed brings again from before then is dropped.

    Semantics: erasure.records — through the daemon
    """
    at = datetime.now(UTC).isoformat().replace("+00:00", "Z")

    def line(id_: str, user: str) -> str:
        return json.dumps({"id": id_, "type": "order.paid", "user": user, "time": at}) + "\n"

    (root / "feed/a.jsonl").write_text(line(f"{CANARY}-1", f"{CANARY}-u"), encoding="utf-8")
    with _daemon(root):
        _until(lambda: _sent(root) == [f"{CANARY}-u"])
        code, out = _verb(capsys, root, "users", "erase", f"{CANARY}-u", "--format", "json")
        said = json.loads(out)
        assert (code, said["erased"], said["events"], said["effects"], said["scrubbed"]) == (0, True, 1, 1, False)
        assert _verb(capsys, root, "user", f"{CANARY}-u", "--format", "json")[0] == 0  # that it was erased is known
        with (root / "feed/a.jsonl").open("a", encoding="utf-8") as feed:
            feed.write(line(f"{CANARY}-2", f"{CANARY}-u") + line("e3", "v"))
        _until(lambda: "v" in _sent(root))
        assert _sent(root) == [f"{CANARY}-u", "v"]
        assert _read(root, lambda store: [it.type for it, _ in store.events(f"{CANARY}-u")]) == []
        assert _read(root, lambda store: sum(1 for _ in store.effects(f"{CANARY}-u"))) == 0
        assert "freed bytes" in _verb(capsys, root, "users", "erase", f"{CANARY}-u")[1]
    assert _verb(capsys, root, "fsck")[0] == 0
