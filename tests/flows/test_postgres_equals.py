"""``run`` over PostgreSQL decides what ``simulate`` and ``run`` over SQLite decide, and faults change nothing.

``DRUMBEAT_KILLS`` says how many sessions are ended in one run (default 40).
"""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from daemon_kit import Life
from flow_program import (
    compiled,
    effects_of,
    lines_of,
    make_events,
    picture,
    picture_of,
    run,
    sent_keys,
    simulated,
    write_feed,
    write_program,
)

from engine.core.model import MINUTE, Event
from engine.errors import StoreError, StoreHeld
from engine.language.compiled import Compiled
from engine.stores.postgres import PgStore

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "contracts"))
import postgres_server
from feed_servers import eventually

BATCHES = (1, 7, 500)
FAULTS = int(os.environ.get("DRUMBEAT_KILLS", "40"))


class OnPostgres:
    """Stands where ``run`` expects the class of a store."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.opened: PgStore | None = None

    def open(self, path: Path, fault: Callable[[str], object]) -> PgStore:
        """The store at the address; the path is that of a file."""
        self.opened = PgStore.open(self.url, fault=fault)
        return self.opened

    def read(self, show: Callable[[PgStore], Any]) -> Any:
        """What the store shows."""
        store = PgStore.open(self.url, read_only=True)
        try:
            return show(store)
        finally:
            store.close()


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    return compiled(write_program(tmp_path_factory.mktemp("program")))


def folder_with(root: Path, content: bytes) -> Path:
    root.mkdir()
    write_feed(root, content)
    return root


def test_simulate_sqlite_and_postgres_agree(program: Compiled, tmp_path: Path) -> None:
    """The same effects in every column, states, ledgers, answers and figures, whatever the batches.

    Semantics: order.batches, scarce.exact
    """
    content = lines_of(make_events(3, 300, users=20))
    wanted = simulated(program, write_feed(tmp_path, content))
    assert len(wanted) > 150
    filed = folder_with(tmp_path / "file", content)
    run(program, filed, deliver=False)
    assert effects_of(filed) == wanted
    expected = picture(filed)
    for batch in BATCHES:
        root = folder_with(tmp_path / f"postgres{batch}", content)
        postgres = OnPostgres(postgres_server.server().schema())
        run(program, root, batch=batch, deliver=False, store_class=postgres)
        found = postgres.read(lambda store, root=root: (picture_of(store, root), store.check()))  # type: ignore[misc]
        assert found[0] == expected
        assert found[1] == []


def test_sent_once_over_either(program: Compiled, tmp_path: Path) -> None:
    """With everything sent: the same lines in the same order in the files of the channels; run again, nothing comes."""
    content = lines_of(make_events(5, 200))
    filed, root = (folder_with(tmp_path / name, content) for name in ("file", "postgres"))
    postgres = OnPostgres(postgres_server.server().schema())
    run(program, filed)
    run(program, root, store_class=postgres)
    again = run(program, root, store_class=postgres)
    assert (again.read, again.accepted, again.sent, again.conflicts) == (0, 0, {}, 0)
    for channel in ("box", "ads"):
        assert sent_keys(root, channel) == sent_keys(filed, channel)
        assert sent_keys(root, channel)
    assert postgres.read(lambda store: picture_of(store, root)) == picture(filed)


def test_hundreds_of_ended_sessions(program: Compiled, tmp_path: Path) -> None:
    """The server ends the engine's session again and again, at points drawn by lot: nothing is lost or comes twice.

    Failure: commit.cut — at random
    """
    content = lines_of(make_events(11, 300, users=15))
    wanted = simulated(program, write_feed(tmp_path, content))
    root = folder_with(tmp_path / "postgres", content)
    postgres = OnPostgres(postgres_server.server().schema())
    beside, lot, ended = postgres_server.server().connect(), random.Random(7), 0

    def fault(point: str) -> None:
        nonlocal ended
        store = postgres.opened
        if store is not None and ended < FAULTS and lot.random() < 0.2:
            ended += 1
            pid = store._file.db.info.backend_pid
            beside.execute("select pg_terminate_backend(%s, 10000)", (pid,))

    try:
        for _ in range(200):
            try:
                done = run(program, root, batch=5, store_class=postgres, fault=fault)
                break
            except StoreError:  # a verb that is cut off again and again gives up; the process is started anew
                continue
        else:
            pytest.fail("never came to an end")
    finally:
        beside.close()
    assert ended == FAULTS
    assert done.conflicts == 0
    found, faults = postgres.read(lambda store: (picture_of(store, root), store.check()))
    assert found["effects"] == wanted
    assert faults == []
    keys = sent_keys(root, "ads")
    assert len(set(keys)) == len(keys)


def test_processes_killed_again_and_again(program: Compiled, tmp_path: Path) -> None:
    """The process is killed at points drawn by lot, until one comes to the end: nothing is lost or comes twice.

    Failure: kill.anywhere — over PostgreSQL
    """
    content = lines_of(make_events(13, 200, users=15))
    wanted = simulated(program, write_feed(tmp_path, content))
    root = folder_with(tmp_path / "postgres", content)
    postgres, lot, killed = OnPostgres(postgres_server.server().schema()), random.Random(5), 0
    while killed < FAULTS // 2:
        after = lot.randrange(1, 400)
        child = os.fork()
        if child == 0:
            dying(program, root, postgres, after)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            break
        assert os.WTERMSIG(status) == signal.SIGKILL
        killed += 1
    eventually(lambda: not postgres_server.server().busy(), "the server has noticed")
    done = run(program, root, batch=5, store_class=postgres)
    assert done.conflicts == 0
    assert killed > 3
    found, faults = postgres.read(lambda store: (picture_of(store, root), store.check()))
    assert found["effects"] == wanted
    assert faults == []
    keys = sent_keys(root, "ads")
    assert len(set(keys)) == len(keys)


def dying(program: Compiled, root: Path, postgres: OnPostgres, after: int) -> None:
    """Run until so many points are passed, and die there; never comes back."""
    left = after

    def fault(point: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    code = 1
    try:
        for _ in range(1_000):
            try:
                run(program, root, batch=5, store_class=postgres, fault=fault)
                code = 0
                break
            except StoreHeld:  # the server ends the session of the one before some time after its death
                continue
    finally:
        os._exit(code)


class LifeOnPostgres(Life):
    """A daemon over PostgreSQL."""

    def opened(self, watch: Callable[[str], object], busy_seconds: float) -> Any:
        self.url = postgres_server.server().schema()
        return PgStore.open(self.url, fault=watch, gentle=True)


def test_the_clock_waits_for_what_cannot_be_read_yet(tmp_path: Path) -> None:
    """An event that was taken in, and may not be read because somebody began earlier and has not ended: what is due
    after it waits with it, also when the machine's clock has passed both.

    Failure: ingest.silent — wake-ups wait
    """
    life = LifeOnPostgres(tmp_path)
    life.start()
    life.say("user.signup", "u1")
    life.say("user.signup", "u2")
    life.quiet()
    silent, quick = PgStore.open(life.url, beside=True), PgStore.open(life.url, beside=True)
    silent._file.db.execute("begin")
    silent._file.db.execute("select pg_current_xact_id()")
    life.pass_(59 * MINUTE)
    left = Event(id="left", type="app.left", time=life.clocks.wall, user="u1")
    assert quick.ingest([(left, b"")], []) == (1, 0)
    life.pass_(5 * MINUTE)
    assert life.store is not None
    assert len(list(life.store.effects())) == 2
    silent._file.db.execute("rollback")
    life.pass_(MINUTE)
    assert sorted(it.user or "" for it, _ in life.store.effects()) == ["u1", "u2", "u2"]
    for it in (silent, quick):
        it.close()
    life.end()


def test_the_server_is_cut_off_amid_a_run(program: Compiled, tmp_path: Path) -> None:
    """The server falls as by a power cut and rises again, several times in a run: the same effects, each once."""
    content = lines_of(make_events(12, 200, users=15))
    wanted = simulated(program, write_feed(tmp_path, content))
    root = folder_with(tmp_path / "postgres", content)
    server = postgres_server.PostgresServer()
    done: list[Any] = []
    try:
        server.start()
        postgres = OnPostgres(server.schema())
        working = Thread(target=lambda: done.append(run(program, root, batch=3, store_class=postgres)))
        working.start()
        for _ in range(3):
            before = server.commits()
            while working.is_alive() and server.commits() < before + 30:
                """It works on."""
            server.stop(signal.SIGQUIT)
            server.start()
        working.join()
        assert done
        assert done[0].conflicts == 0
        assert postgres.read(lambda store: picture_of(store, root))["effects"] == wanted
    finally:
        server.remove()
