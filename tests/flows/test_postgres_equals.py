"""``run`` over PostgreSQL decides what ``simulate`` and ``run`` over SQLite decide, and faults change nothing."""

from __future__ import annotations

import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
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

from engine.errors import StoreError
from engine.language.compiled import Compiled
from engine.stores.postgres import PgStore

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "contracts"))
import postgres_server

BATCHES = (1, 7, 500)
FAULTS = 300


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
    """The server ends the session of the engine 300 times at points drawn by lot: nothing is lost, nothing comes twice.

    Failure: commit.cut — 300 sessions
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
