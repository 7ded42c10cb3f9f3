"""What the store in PostgreSQL promises beyond the suite of all stores: who may write beside whom, and faults."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from threading import Thread
from typing import Any

import postgres_server
import pytest
from feed_servers import eventually
from postgres_server import PostgresServer, Proxy
from test_store import batch, effect, event, full_batch, issued

from engine.core.model import State
from engine.errors import StoreError, StoreHeld
from engine.ports import Rejected, Settlement
from engine.stores import postgres as postgres_module
from engine.stores.postgres import FAULT_POINTS, PgStore
from engine.stores.sql import Migration, migrations, postgres_file, postgres_schema, postgres_session
from engine.stores.sql.postgres_place import place
from engine.stores.sql.postgres_session import Lost


@pytest.fixture
def server() -> PostgresServer:
    return postgres_server.server()


@pytest.fixture
def url(server: PostgresServer) -> str:
    return server.schema()


@pytest.fixture
def store(url: str) -> Iterator[PgStore]:
    made = PgStore.open(url)
    yield made
    made.close()


def backend(store: PgStore) -> int:
    """The server's process behind a store."""
    return store._file.db.info.backend_pid


def test_second_writer_is_refused(url: str) -> None:
    """Who would decide beside another is told who that is; once that one is closed he may.

    Semantics: store.one-writer
    Failure: two.daemons — refused
    """
    store = PgStore.open(url)
    with pytest.raises(StoreHeld, match=f"process {os.getpid()} on ") as caught:
        PgStore.open(url)
    assert caught.value.exit_code == 3
    store.close()
    PgStore.open(url).close()


def test_the_right_to_write_dies_with_its_process(url: str) -> None:
    """A writer killed without closing holds nothing afterwards.

    Semantics: store.one-writer
    """
    child = os.fork()
    if child == 0:
        PgStore.open(url)
        os.kill(os.getpid(), signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL

    def opened() -> PgStore | None:
        try:
            return PgStore.open(url)
        except StoreHeld:
            return None

    eventually(opened, "the server has noticed").close()


def test_readers_and_servers_beside_the_writer(store: PgStore, url: str) -> None:
    """A reader sees each commit and cannot write; one beside takes events in and sends, and cannot decide."""
    reader, beside = PgStore.open(url, read_only=True), PgStore.open(url, beside=True)
    store.commit(full_batch(1))
    assert reader.clock() == beside.clock() == 10
    assert beside.ingest([(event("i1"), b""), (event("e1"), b"")], []) == (1, 1)
    assert [it.key for it in beside.claim(["sms"], 1, 9)] == ["k1"]
    beside.settle([Settlement("k1", "sent")], [event("i2")])
    assert [it.id for _, it in store.inbox(0, 9)] == ["i1", "i2"]
    assert [it.key for it, _ in reader.deliveries("sent")] == ["k1"]
    for write in (lambda: beside.commit(batch()), lambda: beside.set_meta("a", "b")):
        with pytest.raises(StoreError, match="taking in and sending only"):
            write()
    for write in (lambda: reader.commit(batch()), lambda: reader.ingest([], []), reader.fold):
        with pytest.raises(StoreError, match="reading only"):
            write()
    for other in (reader, beside):
        other.close()


def test_reader_keeps_its_moment(store: PgStore, url: str) -> None:
    """Subjects read by a reader are those of one instant, though the writer goes on meanwhile."""
    store.commit(batch(states=[State(id="a", points={"n": 1}), State(id="b", points={"n": 1})]))
    reader = PgStore.open(url, read_only=True)
    walk = reader.subjects()
    first = next(walk)
    store.commit(batch(states=[State(id="a", points={"n": 2}), State(id="b", points={"n": 2})]))
    assert [first.points, *(state.points for state in walk)] == [{"n": 1}, {"n": 1}]
    assert [state.points for state in reader.subjects()] == [{"n": 2}, {"n": 2}]
    reader.close()


# -- what is taken in at the same time


def test_nothing_is_read_before_what_may_still_come_before_it(
    store: PgStore, url: str, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one who began earlier has not ended, what others took in after him waits, and so does what is due by then;
    when he has, all comes, in order.
    """
    monkeypatch.setattr(postgres_file, "_LOOKED_FOR", 0.0)
    slow, quick = PgStore.open(url, beside=True), PgStore.open(url, beside=True)
    with slow._file.transaction("ingest"):
        slow._file.put([event("slow")])
        slow._file._wait()
        assert quick.ingest([(event("quick", time=77), b"")], []) == (1, 0)
        assert store.inbox(0, 9) == []
        assert store.held_back() == 77  # what is due then waits
        assert store.known(["quick", "slow"]) == {"quick"}
    found = store.inbox(0, 9)
    assert [it.id for _, it in found] == ["slow", "quick"]
    assert [it.id for _, it in store.inbox(found[0][0], 9)] == ["quick"]
    assert store.held_back() is None
    for it in (slow, quick):
        it.close()


def test_who_falls_silent_is_told_of_and_ended(
    store: PgStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One who begins to take in and falls silent is told of, and ended by the server; then the others' events flow.

    Failure: ingest.silent
    """
    assert "set idle_in_transaction_session_timeout to '60s'" in postgres_session._SETTINGS
    monkeypatch.setattr(postgres_file, "_LOOKED_FOR", 0.0)
    monkeypatch.setattr(postgres_module, "_LONG", 0.2)
    with monkeypatch.context() as patch:
        patch.setattr(postgres_session, "_SETTINGS", ("set idle_in_transaction_session_timeout to '1s'",))
        silent = PgStore.open(url, beside=True)
    waiting = silent._file.transaction("ingest")
    waiting.__enter__()
    silent._file.put([event("silent")])
    silent._file._wait()
    store.ingest([(event("i1"), b"")], [])
    assert store.inbox(0, 9) == []
    ((words, _),) = eventually(store.cautions, "it is told")
    assert f"drumbeat {os.getpid()}@" in words
    assert [it.id for _, it in eventually(lambda: store.inbox(0, 9), "it is ended")] == ["i1"]
    assert store.cautions() == []
    with pytest.raises(Lost):
        waiting.__exit__(None, None, None)
    silent.close()


def test_a_stranger_holds_nobody_up(store: PgStore, server: PostgresServer) -> None:
    """A transaction of another database of the server, however long, does not keep events waiting."""
    with server.connect() as db:
        db.execute("create database stranger")
    import psycopg

    with psycopg.connect(server.url.replace("/postgres?", "/stranger?")) as other:
        assert other.execute("select pg_current_xact_id()").fetchone()
        store.ingest([(event("i1"), b"")], [])
        assert [it.id for _, it in store.inbox(0, 9)] == ["i1"]
        other.rollback()


def test_all_that_is_taken_in_is_decided_once(store: PgStore, url: str) -> None:
    """Four take in at once, some the same; the one who decides meets each event exactly once."""
    each, share = 60, 40
    errors: list[BaseException] = []

    def take_in(number: int) -> None:
        try:
            it = PgStore.open(url, beside=True)
            for n in range(each):
                it.ingest([(event(f"{number}.{n}"), b""), (event(f"all.{n % share}"), b"")], [])
            it.close()
        except BaseException as error:
            errors.append(error)

    threads = [Thread(target=take_in, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    met, dropped = list[str](), list[str]()
    position = 0

    def decide() -> None:
        nonlocal position
        if found := store.inbox(position, 17):
            position = found[-1][0]
            decided = store.known([it.id for _, it in found], waiting=False)
            fresh = [it for _, it in found if it.id not in decided]
            met.extend(it.id for it in fresh)
            dropped.extend(it.id for _, it in found if it.id in decided)
            store.commit(batch(events=[(it, 1) for it in fresh], inbox_done=position))

    while any(thread.is_alive() for thread in threads):
        decide()
    for thread in threads:
        thread.join()
    while store.inbox(position, 1):
        decide()
    assert errors == []
    alone = [f"{k}.{n}" for k in range(4) for n in range(each)]
    assert sorted(met) == sorted([*alone, *(f"all.{n}" for n in range(share))])
    assert store.counts()["duplicate"] + len(dropped) == 4 * each - share


def test_a_copy_from_another_server_goes_on(store: PgStore, url: str, server: PostgresServer) -> None:
    """Events that wait in a store that was moved are read, though its transactions had higher numbers."""
    store.ingest([(event("i1"), b""), (event("i2"), b"")], [])
    store.close()
    with server.connect() as db:
        db.execute(f"update {place(url).schema}.inbox set seq = seq + (1::bigint << 50)")  # noqa: S608 - ours
    again = PgStore.open(url)
    again.ingest([(event("i3"), b"")], [])
    assert [it.id for _, it in again.inbox(0, 9)] == ["i1", "i2", "i3"]
    again.close()


# -- faults


def verbs(store: PgStore) -> dict[str, Any]:
    """What each verb answers; each can be done once."""
    return {
        "commit": lambda: store.commit(full_batch(2)),
        "ingest": lambda: store.ingest([(event("i1"), b"")], [Rejected("h", 1, "json", "", b"", 1)]),
        "release": lambda: store.release([1], [(event("i3"), b"")]),
        "claim": lambda: [it.key for it in store.claim(["sms"], 1, 9)],
        "settle": lambda: store.settle([Settlement("k1", "sent", receipt="r")], [event("i4")]),
        "redrive": lambda: store.redrive(["k2"]),
        "drop": lambda: store.drop(["k2"], [event("i5")]),
        "meta": lambda: store.set_meta("word", "new"),
        "import": lambda: store.add_codes("p", ["I1", "I2"]),
    }


def shown(store: PgStore) -> Any:
    """What the faults must leave as it would have been."""
    return [
        list(store.subjects()), list(store.effects()), list(store.events("u1")), list(store.ledger()),
        [it.id for _, it in store.inbox(0, 99)], store.counts(), store.summary(), store.clock(), store.position("f"),
        store.get_meta("word"), store.codes("p", 0, 9), list(store.decisions("u1")),
        [(it.feed, it.position) for it in store.quarantine()],
    ]  # fmt: skip


def test_sessions_that_are_ended_lose_nothing(store: PgStore, server: PostgresServer) -> None:
    """The server ends the session at every point of every verb, and the verb is done exactly once all the same.

    Failure: commit.cut — ended at any point
    """
    points = [it for it in FAULT_POINTS if it.split(".")[0] in verbs(store)]
    waiting: list[str] = []
    plain = PgStore.open(server.schema())
    beside = server.connect()
    ended = []

    def fault(point: str) -> None:
        if waiting and point == waiting[0]:
            ended.append(waiting.pop(0))
            beside.execute("select pg_terminate_backend(%s, 10000)", (backend(store),))

    try:
        for one in (store, plain):
            one.commit(full_batch(1))
        for name in verbs(store):
            expected = verbs(plain)[name]()
            waiting += [it for it in points if it.startswith(name + ".")]
            store.fault = fault
            # each try meets one more point; after the last before the end it gets through
            while waiting:
                met = len(ended)
                try:
                    answer = verbs(store)[name]()
                    break
                except StoreError as error:  # a verb gives up when its connection goes again and again
                    assert "cannot be" in str(error) or "lost" in str(error)  # noqa: PT017 - several may come
                    assert len(ended) > met
            store.fault = postgres_session.nothing
            assert answer == expected
            assert shown(store) == shown(plain)
    finally:
        beside.close()
        plain.close()
    assert ended == points


@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_commit_without_an_answer(server: PostgresServer, url: str, cut: str) -> None:
    """Cut off at COMMIT, before the server heard of it or after it did it: done exactly once, with the right answer.

    Failure: commit.cut — no answer
    """
    proxy, plain = Proxy(server), PgStore.open(server.schema())
    store = PgStore.open(proxy.through(url))
    try:
        for one in (store, plain):
            one.commit(full_batch(1))
        for number, name in enumerate(verbs(store), 1):
            expected = verbs(plain)[name]()
            proxy.cut = cut
            assert verbs(store)[name]() == expected
            assert proxy.cuts == number
            assert shown(store) == shown(plain)
    finally:
        store.close()
        plain.close()
        proxy.close()


@pytest.mark.parametrize("cut", ["before", "after"])
def test_taking_in_beside_without_an_answer(store: PgStore, server: PostgresServer, url: str, cut: str) -> None:
    """Who only takes in finds out from the server itself whether it was done; nothing is lost or counted twice."""
    proxy = Proxy(server)
    beside = PgStore.open(proxy.through(url), beside=True)
    for n in range(4):
        proxy.cut = cut
        assert beside.ingest([(event(f"i{n}"), b""), (event("i0"), b"")], []) == (1, 1 if n else 0) or n == 0
    assert proxy.cuts == 4
    assert [it.id for _, it in store.inbox(0, 9)] == ["i0", "i1", "i2", "i3"]
    assert store.counts()["duplicate"] == 4
    beside.close()
    proxy.close()


def test_a_batch_of_megabytes(store: PgStore) -> None:
    """A batch with far more than a connection takes at once, and questions between its statements, gets through."""
    big = [State(id=f"u{n:05d}", traits={"note": "x" * 2_000}) for n in range(3_000)]
    codes = [issued(f"c{n}", f"C{n}", time=n) for n in range(500)]
    assert store.commit(batch(states=big, effects=[effect(f"k{n}") for n in range(3_000)], entries=codes)) == 0
    assert store.head_count() == 3_000
    assert len(list(store.coupons())) == 500
    assert len(store.load([it.id for it in big])) == 3_000


def test_who_lost_the_right_cannot_write(store: PgStore, server: PostgresServer, url: str) -> None:
    """One whose session was ended, and who was followed by another, is refused when he comes back.

    Failure: two.daemons — the one who lost the lock
    """
    store.commit(full_batch(1))
    with server.connect() as beside:
        beside.execute("select pg_terminate_backend(%s, 10000)", (backend(store),))
    other = PgStore.open(url)
    with pytest.raises(StoreHeld, match=f"process {os.getpid()}"):
        store.commit(full_batch(2))
    other.commit(full_batch(3))
    other.close()
    with pytest.raises(StoreHeld, match="by another process since"):
        store.commit(full_batch(2))
    again = PgStore.open(url)
    assert [state.id for state in again.subjects()] == ["u1", "v1", "v3"]
    again.close()


def test_a_fence_beside_the_lock(store: PgStore, server: PostgresServer, url: str) -> None:
    """Even where the lock did not hold (a pooler between), a transaction of an older opening is refused whole."""
    store.commit(full_batch(1))
    with server.connect() as beside:
        beside.execute(f"update {place(url).schema}.engine set epoch = epoch + 1")  # noqa: S608 - ours
    with pytest.raises(StoreHeld, match="by another process since"):
        store.commit(full_batch(2))
    assert store.clock() == 10


def test_a_reader_comes_back(store: PgStore, server: PostgresServer, url: str) -> None:
    """A reader whose session was ended reads on."""
    reader = PgStore.open(url, read_only=True)
    with server.connect() as beside:
        beside.execute("select pg_terminate_backend(%s, 10000)", (backend(reader),))
    store.commit(full_batch(1))
    assert reader.clock() == 10
    with server.connect() as beside:
        beside.execute("select pg_terminate_backend(%s, 10000)", (backend(reader),))
    assert [state.id for state in reader.subjects()] == ["u1", "v1"]
    reader.close()


def test_the_server_falls_and_rises(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is stopped as by a power cut amid the work, and comes back: what was committed is there, once.

    Semantics: store.durable
    """
    server = PostgresServer()
    try:
        server.start()
        store = PgStore.open(server.schema())
        store.commit(full_batch(1))
        server.stop(signal.SIGQUIT)
        working = Thread(target=store.commit, args=(full_batch(2),))
        working.start()
        server.start()
        working.join()
        assert [state.id for state in store.subjects()] == ["u1", "v1", "v2"]
        server.stop(signal.SIGQUIT)
        monkeypatch.setattr(store._file, "_pauses", (0.0, 0.0))
        with pytest.raises(StoreError, match="cannot be reached"):
            store.commit(full_batch(3))
        server.start()
        store.commit(full_batch(3))  # whoever gave up may try again later
        assert [state.id for state in store.subjects()] == ["u1", "v1", "v2", "v3"]
        store.close()
    finally:
        server.remove()


def test_copies_that_nobody_waits_for_are_said(store: PgStore, server: PostgresServer) -> None:
    """A server that copies this one without being waited for is told of, with what follows; without one, nothing is.

    Failure: failover.told
    """
    assert store.cautions() == []
    with server.copied():
        eventually(store.cautions, "the server knows of the copy")
        ((words, advice),) = store.cautions()
        assert "1 server(s)" in words
        assert "may be missing" in words
        assert "synchronous_standby_names" in advice


def test_no_plan_hangs_on_statistics(store: PgStore) -> None:
    """What every batch asks goes by an index, for a store that was empty when it was opened and never analysed.

    Failure: statistics.lost — the plans
    """
    count = 5_000
    ids = [f"u{n}" for n in range(count)]
    states = [State(id=it, wake_at=n) for n, it in enumerate(ids)]
    store.commit(batch(states=states, events=[(event(it), 1) for it in ids]))
    store.ingest([(event(f"i{n}"), b"") for n in range(count)], [])
    asked: list[tuple[str, tuple[Any, ...]]] = [
        ("load_states", (ids[:9],)), ("strangers", (ids[:9],)), ("known_ids", (ids[:9],)), ("decided_ids", (ids[:9],)),
        ("due_subjects", (50, 10)), ("next_wake", ()), ("read_inbox", (0, 10)), ("clear_inbox", (5,)),
        ("events_of", ("u1",)), ("effects_of", ("u1",)), ("decisions_of", ("u1",)), ("position", ("f",)),
    ]  # fmt: skip
    for name, values in asked:
        lines = store._file._execute("explain (analyze) " + postgres_schema.Q[name], values).fetchall()
        plan = "\n".join(line for (line,) in lines)
        assert "Seq Scan" not in plan, name
        assert "Hash" not in plan, plan


# -- opening


def test_what_a_server_must_be(server: PostgresServer) -> None:
    """A database of another encoding, settings that lose what was committed, and foreign tables are refused."""
    with server.connect() as db:
        db.execute("create database latin encoding 'LATIN1' locale 'C' template template0")
        db.execute("create schema theirs create table t (a integer)")
        db.execute("create database careless")
        db.execute("alter database careless set synchronous_commit to off")
    for name, words in (("latin", "encoding LATIN1"), ("careless", "would not be safe")):
        with pytest.raises(StoreError, match=words):
            PgStore.open(server.url.replace("/postgres?", f"/{name}?"))
    with pytest.raises(StoreError, match="no Drumbeat store"):
        PgStore.open(f"{server.url}&schema=theirs")


def test_no_store_is_made_by_reading(server: PostgresServer, url: str) -> None:
    """Reading a store that is not there is refused, and makes nothing."""
    with pytest.raises(StoreError, match="there is no store"):
        PgStore.open(url, read_only=True)
    with server.connect() as db:
        schema = place(url).schema
        assert db.execute("select count(*) from pg_namespace where nspname = %s", (schema,)).fetchone() == (0,)


def test_newer_and_older_schemas(store: PgStore, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store of a newer program is refused, one of an older is brought up to date by who decides, in one step."""
    store.close()
    steps = migrations("postgres")
    more = [*steps, Migration(len(steps) + 1, "more", "create table more (a integer); select 1 / 0")]
    with monkeypatch.context() as patch:
        patch.setattr(postgres_schema, "migrations", lambda dialect: more)
        with pytest.raises(StoreError, match=f"has schema {len(steps)}, this program needs {len(more)}"):
            PgStore.open(url, read_only=True)
        with pytest.raises(StoreError, match="division by zero"):
            PgStore.open(url)
        more[-1] = Migration(len(steps) + 1, "more", "create table more (a integer)")
        PgStore.open(url).close()  # nothing was left of the one that failed
    with pytest.raises(StoreError, match=f"knows up to {len(steps)}"):
        PgStore.open(url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:canary@host:5433/db", "postgresql://host:5433/db"),
        ("postgresql://me:canary@host/db?sslmode=require&password=canary&schema=tea", "postgresql://host/db?schema=tea"),
        ("postgresql:///db?host=/run/pg&user=canary", "postgresql:///db?host=/run/pg"),
        ("postgresql://[::1]/db?schema=drumbeat", "postgresql://[::1]/db"),
        ("postgresql://me:canary@one:5432,two/db?target_session_attrs=any", "postgresql://one:5432,two/db"),
    ],
)
def test_who_logs_in_is_not_shown(url: str, shown: str) -> None:
    """People see where a store is, without user and password."""
    found = place(url)
    assert found.shown == str(found) == shown
    assert "canary" not in repr(found)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:canary@127.0.0.1:1/db",
        "postgresql://me:canary@127.0.0.1:1/db?connect_timeout=canary",
        "postgresql://me:can#ary@host/db",
        "postgresql://me:12/canary@host/db",
        "postgresql://me:12?canary@host/db",
        "postgresql://me:can@ary@host/db",
        "postgresql://me:canary@127.0.0.1:canary/db",
        "postgresql://me:canary@127.0.0.1/db?schema=Robert';",
    ],
)
def test_no_error_tells_a_password(url: str) -> None:
    """Whatever is wrong with an address, what is said of it has no password in it."""
    with pytest.raises(StoreError) as caught:
        PgStore.open(url)
    seen = caught.value
    while seen is not None:
        assert "can" not in f"{seen!s}{seen!r}".replace("cannot", "")
        seen = seen.__cause__


def test_an_ordinary_user_is_enough(server: PostgresServer) -> None:
    """Whoever may make a schema may have a store: no verb, no fault and no check needs more rights."""
    with server.connect() as db:
        db.execute("create role clerk login")
        db.execute("create database tea owner clerk")
    url = server.url.replace("//drumbeat@/postgres?", "//clerk@/tea?")
    store, stranger = PgStore.open(url), server.connect()
    try:
        store.commit(batch(states=[State(id="u1")], effects=[effect("k1")]))
        stranger.execute("begin")
        stranger.execute("select pg_current_xact_id()")
        beside = PgStore.open(url, beside=True)
        assert beside.ingest([(event("i1"), b"")], []) == (1, 0)
        assert [it.id for _, it in store.inbox(0, 9)] == ["i1"]
        stranger.execute("select pg_terminate_backend(%s, 10000)", (backend(store),))
        store.commit(batch(clock=2, effects=[effect("k2")]))
        assert store.check() == []
        assert store.sums() == []
        assert len(store.mark()) == 32
        assert store.cautions() == []
        with pytest.raises(StoreHeld, match=f"process {os.getpid()} on "):
            PgStore.open(url)
        beside.close()
    finally:
        store.close()
        stranger.close()
