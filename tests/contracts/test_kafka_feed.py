"""What only Kafka has: partitions that come and go, offsets in two places, keys and headers, tombstones, retention."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from feed_servers import brisk, eventually
from kafka_cluster import KafkaCluster

from engine.door import read_event
from engine.errors import CannotRun, UsageError
from engine.feeds import kafka as kafka_feed
from engine.feeds.kafka import KafkaFeed
from engine.feeds.mapping import PayloadMap
from engine.ports import Record
from engine.runtime.clock import SystemClock
from engine.runtime.gather import Gather
from engine.runtime.merge import Merge, present
from engine.site import Site
from engine.stores.sqlite import SqliteStore

ROOT = Path(__file__).resolve().parents[2]
EVENTS = int(os.environ.get("DRUMBEAT_KAFKA_EVENTS", "2000"))
KILLS = int(os.environ.get("DRUMBEAT_KAFKA_KILLS", "2"))
PARTITIONS = 4


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with brisk():
        yield


@pytest.fixture
def asked_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader hears of another one before the group goes on without it.

    It hears of it with a heartbeat, for which the library takes up to a second, however short the interval. Real
    brokers wait minutes for it; the mock brokers wait as long as SILENT less a second, and then its partitions are lost
    to it, and not taken away.
    """
    monkeypatch.setattr(kafka_feed, "SILENT", 3_500)


@pytest.fixture(scope="module")
def cluster() -> Iterator[KafkaCluster]:
    cluster = KafkaCluster()
    yield cluster
    cluster.close()


def event(n: int, **more: object) -> bytes:
    return json.dumps(
        {"id": f"e{n}", "type": "t", "user": f"u{n % 7}", "time": "2026-03-01T02:00:00Z", **more}
    ).encode()


class Engine:
    """What the daemon does with feeds, and a store that only keeps positions and what was decided, in order."""

    def __init__(self, identity: str = "aa", before: Engine | None = None) -> None:
        self.decided: list[Record] = before.decided if before else []
        self.positions: dict[str, int] = before.positions if before else {}
        self._identity = identity
        self._clock = SystemClock()
        self.feeds: list[KafkaFeed] = []
        self.gather = Gather(self.feeds, self.position, self._clock.elapsed)

    def position(self, feed: str) -> int:
        return self.positions.get(feed, 0)

    def get_meta(self, name: str) -> str | None:
        return self._identity if name == "secret" else None

    def set_meta(self, name: str, value: str) -> None:
        raise AssertionError

    def open(self, cluster: KafkaCluster, topic: str, **more: Any) -> KafkaFeed:
        site = Site(ROOT, {}, now=self._clock.now, elapsed=self._clock.elapsed, notes=self)
        (feed,) = KafkaFeed.open({"brokers": cluster.brokers, "topic": topic, "group": topic, **more}, site)
        self.gather.feeds.append(feed)
        return feed

    def turn(self, limit: int = 100) -> None:
        records = self.gather.take(limit)
        self.decided += records
        self.positions |= {record.feed: record.position for record in records}
        self.gather.acknowledge(self.position, {record.feed for record in records})

    def until(self, number: int) -> list[Record]:
        """Decide until so many are decided, and a little longer."""

        def enough() -> bool:
            self.turn()
            return len(self.decided) >= number

        eventually(enough, f"{number} are decided")
        self.turn()
        return self.decided

    def close(self) -> None:
        for feed in self.gather.feeds:
            feed.close()  # type: ignore[attr-defined]  # all are of ours


def ids(records: Sequence[Record]) -> list[str]:
    return [it.event.id if it.event is not None else f"!{it.reason}" for it in records]


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    engine.close()


def test_around_a_payload(cluster: KafkaCluster, engine: Engine) -> None:
    """Semantics: event.id-from-fields — key, headers and time of a record are in reach of ``map``."""
    cluster.topic("around", 1)
    setting = {
        "id": ["@.headers.source", "@.offset"], "type": "@.headers.ce\\.type", "user": "@.key",
        "time": "@.timestamp", "time_unit": "ms",
    }  # fmt: skip
    engine.open(cluster, "around", map=setting)
    good = {
        "key": "u7", "headers": [("source", "x"), ("source", "shop"), ("ce.type", b"paid")], "timestamp": 1767225600123,
    }  # fmt: skip
    around = [good, {**good, "key": b"\xff"}, {**good, "headers": []}, good]
    payloads = [b'{"sum": 19.90}', b'{"n":1}', b"{}", b'{"@":1}']
    cluster.send("around", [(0, it) for it in payloads], around.__getitem__, **{"compression.type": "zstd"})
    first, *bad = engine.until(4)
    assert first.event is not None
    assert (first.event.id, first.event.type, first.event.user) == ("shop|0", "paid", "u7")
    assert (first.event.time, str(first.event.data)) == (1_767_225_600_123_000, "{'sum': Decimal('19.90')}")
    assert [it.reason for it in bad] == ["unmapped", "unmapped", "duplicate_key"]
    assert read_event(PayloadMap.of(setting).event_bytes(first.raw)) == first.event, "as quarantine reads once more"
    assert bad[0].raw == (
        b'{"@":{"headers":{"ce.type":"paid","source":"shop"},"offset":1,"timestamp":1767225600123},"n":1}'
    ), "what was around it is kept, so that it can be read once more"


def test_what_names_a_record(cluster: KafkaCluster, engine: Engine) -> None:
    """Semantics: event.missing-id — with ``id: offset`` topic, partition and offset stand for it, and only then."""
    cluster.topic("own", 2)
    nameless = event(0).replace(b'"id": "e0", ', b"")
    cluster.send("own", [(1, nameless), (1, event(5)), (1, None), (1, nameless)])
    engine.open(cluster, "own", id="offset")
    found = engine.until(4)
    assert ids(found) == ["own/1/0", "e5", "!tombstone", "own/1/3"]
    assert [it.position for it in found] == [1, 2, 3, 4]
    assert (
        found[2].raw
        == b'{"@":{"topic":"own","partition":1,"offset":2,"timestamp":%d}}' % json.loads(found[2].raw)["@"]["timestamp"]
    )
    strict = Engine()
    strict.open(cluster, "own", group="strict", tombstones="skip")
    assert ids(strict.until(3)) == ["!no_id", "e5", "!no_id"]
    strict.close()
    eventually(lambda: cluster.told("own", 2, "strict")[1] == 4, "what is skipped is told, too")


def test_the_store_decides(cluster: KafkaCluster) -> None:
    """Semantics: feed.partitions — reading goes on where our store stands, whatever Kafka was told.

    So a backup that is put back reads again what it lost. Another store of the group is believed: what it decided is
    not decided again.
    """
    cluster.topic("ours", 1)
    cluster.send("ours", [(0, event(n)) for n in range(10)])
    first = Engine()
    first.open(cluster, "ours")
    first.until(10)
    first.close()
    assert cluster.told("ours", 1, "ours") == [10]
    backup = Engine()
    backup.positions = {"kafka:ours/0": 4}
    backup.open(cluster, "ours")
    assert ids(backup.until(6)) == [f"e{n}" for n in range(4, 10)]
    backup.close()
    stranger = Engine("bb")
    stranger.positions = {"kafka:ours/0": 4}
    stranger.open(cluster, "ours")
    cluster.send("ours", [(0, event(10))])
    assert ids(stranger.until(1)) == ["e10"]
    stranger.close()


def test_a_new_group_and_only_what_is_new(cluster: KafkaCluster, engine: Engine) -> None:
    """``from: new`` leaves out what was there before the group, and nothing that comes while nobody reads."""
    cluster.topic("new", 2)
    cluster.send("new", [(n % 2, event(n)) for n in range(6)])
    before = Engine()
    before.open(cluster, "new", **{"from": "new"})
    eventually(lambda: before.turn() or cluster.told("new", 2, "new") == [3, 3], "the group begins")
    before.close()
    cluster.send("new", [(0, event(6)), (1, event(7))])
    engine.open(cluster, "new", **{"from": "new"})
    assert sorted(ids(engine.until(2))) == ["e6", "e7"]


def test_retention_and_a_topic_made_anew(cluster: KafkaCluster) -> None:
    """Semantics: feed.partitions — what Kafka deleted unread is said; offsets that begin again are not the old ones."""
    cluster.topic("short", 1)
    cluster.send("short", [(0, event(n) + b" " * 60_000) for n in range(120)])  # a mock partition keeps 5 MiB
    late = Engine()
    late.positions = {"kafka:short/0": 5}
    late.open(cluster, "short")
    eventually(lambda: late.turn() or (late.decided and late.decided[-1].position == 120), "all that is left is read")
    gone, *rest = late.decided
    low = gone.position
    assert 5 < low < 100
    assert (gone.reason, len(rest)) == ("gone", 120 - low)
    assert f"offsets 5 to {low - 1}" in gone.message
    assert ids(rest) == [f"e{n}" for n in range(low, 120)]
    late.close()

    ahead = Engine()
    ahead.positions = {"kafka:short/0": 1000}
    feed = ahead.open(cluster, "short", id="offset")
    eventually(lambda: ahead.turn() or "read up to 1000" in feed.lag().says, "it is said")
    assert ahead.gather.lags()[feed.name].broken
    assert feed.name in ahead.gather.broken
    assert ahead.decided == []
    ahead.gather.feeds.clear()
    feed.close()
    ahead.open(cluster, "short", id="offset", era=2, group="short-2")
    assert {it.feed for it in ahead.until(120 - low)} == {"kafka:short@2/0"}
    ahead.close()


def test_until_idle_goes_by_time(cluster: KafkaCluster, tmp_path: Path) -> None:
    """Where everything has to be done, partitions are merged by the time of their events, and read to their ends."""
    cluster.topic("merged", 3)
    times = [f"2026-03-01T{n // 60:02}:{n % 60:02}:00Z" for n in range(600)]
    cluster.send("merged", [(0 if n < 400 else n % 2, event(n, time=times[n])) for n in range(600)])
    clock = SystemClock()
    site = Site(tmp_path, final=True, now=clock.now, elapsed=clock.elapsed)
    (feed,) = KafkaFeed.open({"brokers": cluster.brokers, "topic": "merged", "group": "merged"}, site)
    merge = Merge([feed], lambda name: 0)
    found: list[Record] = []
    while records := merge.take(100):
        found += records
    assert ids(found) == [f"e{n}" for n in range(600)]
    for member in present([feed]):
        member.acknowledge(100)  # type: ignore[attr-defined]  # partitions are live feeds
    feed.close()
    assert cluster.told("merged", 3, "merged") == [100, 100, -1001]


def test_brokers_go_and_come(cluster: KafkaCluster, engine: Engine) -> None:
    """Semantics: feed.unreachable — brokers that are away stop nobody; the log hears of it, and nothing is lost."""
    cluster.topic("away", 2)
    feed = engine.open(cluster, "away")
    cluster.send("away", [(n % 2, event(n)) for n in range(10)])
    engine.until(10)
    for number in cluster.numbers:
        cluster.down(number)
    eventually(lambda: engine.gather.lags()[feed.name].broken, "it is seen")
    assert "do not answer" in engine.gather.broken[feed.name]
    engine.turn()  # and does not wait
    for number in cluster.numbers:
        cluster.up(number)
    cluster.send("away", [(n % 2, event(n)) for n in range(10, 20)])
    assert sorted(ids(engine.until(20))) == sorted(f"e{n}" for n in range(20))
    eventually(lambda: not engine.gather.lags()[feed.name].broken, "all is well again")
    assert engine.gather.broken == {}
    eventually(lambda: feed.lag().behind == 0, "nothing is behind")
    eventually(lambda: cluster.told("away", 2, "away") == [10, 10], "Kafka is told in the end")


@pytest.mark.usefixtures("asked_in_time")
def test_two_readers_share_a_topic(cluster: KafkaCluster) -> None:
    """Semantics: feed.partitions — partitions move between readers of one store: each event once, in order.

    Law 1 — a partition that is taken away is given up when what was read of it is committed.
    """
    cluster.topic("moves", PARTITIONS)
    total = 4_000
    sending = threading.Thread(
        target=lambda: [
            cluster.send("moves", [(n % PARTITIONS, event(n)) for n in range(start, start + 400)])
            for start in range(0, total, 400)
        ]
    )
    one = Engine()
    first = one.open(cluster, "moves")
    sending.start()
    one.until(300)
    two = Engine(before=one)
    second = two.open(cluster, "moves")

    def both(wanted: object) -> None:
        def turn() -> bool:
            one.turn(37)
            two.turn(53)
            return bool(wanted())  # type: ignore[operator]  # a condition

        eventually(turn, "the readers get on")

    both(lambda: len(first.members()) == len(second.members()) == PARTITIONS // 2)
    both(lambda: len(one.decided) > total // 2)
    one.close()
    one.gather.feeds.clear()
    both(lambda: len(second.members()) == PARTITIONS)
    both(lambda: len(one.decided) >= total)
    sending.join()
    two.turn()
    two.close()
    found = [(it.feed, it.position) for it in one.decided]
    for number in range(PARTITIONS):
        name = f"kafka:moves/{number}"
        assert [at for feed, at in found if feed == name] == list(range(1, total // PARTITIONS + 1)), name
    assert cluster.told("moves", PARTITIONS, "moves") == [total // PARTITIONS] * PARTITIONS


@pytest.mark.usefixtures("asked_in_time")
def test_a_partition_leaves_and_comes_back(cluster: KafkaCluster) -> None:
    """Semantics: feed.partitions — given up when what was read is committed; given again, it goes on there."""
    cluster.topic("back", 2)
    cluster.send("back", [(n % 2, event(n)) for n in range(20)])
    one = Engine()
    first = one.open(cluster, "back")
    read: list[Record] = []
    eventually(lambda: read.extend(one.gather.take(100)) or len(read) == 20, "all are read, and none is committed")
    two = Engine(before=one)
    second = two.open(cluster, "back")
    eventually(lambda: two.turn() or first._leaving, "one of them is to be given up")
    assert second.members() == []
    assert len(first.members()) == 2, "it stays until then"
    one.decided += read
    one.positions |= {"kafka:back/0": 10, "kafka:back/1": 10}
    one.gather.acknowledge(one.position, set(one.positions))
    eventually(lambda: [one.turn(), two.turn()] and len(second.members()) == 1, "the other one has it")
    cluster.send("back", [(n % 2, event(n)) for n in range(20, 30)])
    eventually(lambda: [one.turn(), two.turn()] and len(one.decided) >= 30, "both read on")
    two.close()
    two.gather.feeds.clear()
    cluster.send("back", [(n % 2, event(n)) for n in range(30, 40)])
    one.until(40)
    assert len(first.members()) == 2
    assert sorted(ids(one.decided)) == sorted(f"e{n}" for n in range(40))
    one.close()


PROGRAM = """\
program: live
timezone: UTC
events: {t: {}}
feeds: [{kafka: {brokers: "%s", topic: shop, id: offset}}]
"""


def test_every_event_is_decided_once(
    cluster: KafkaCluster, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Semantics: feed.unreachable — readers killed between commit and telling Kafka, brokers that go: each event once.

    Failure: broker.reader
    Size: DRUMBEAT_KAFKA_EVENTS, DRUMBEAT_KAFKA_KILLS.
    """
    (tmp_path / "drumbeat.yaml").write_text(PROGRAM % cluster.brokers)
    cluster.topic("shop", PARTITIONS)
    chance = random.Random(7)
    nameless = [event(n).replace(f'"id": "e{n}", '.encode(), b"") for n in range(EVENTS)]
    sending = threading.Thread(
        target=lambda: [
            (cluster.send("shop", [(n % PARTITIONS, nameless[n]) for n in range(at, min(EVENTS, at + 500))]), pause())
            for at in range(0, EVENTS, 500)
        ]
    )

    def pause() -> None:
        time.sleep(min(0.05, 20 / EVENTS))

    def disturb() -> None:
        for _ in range(max(1, KILLS // 2)):
            for number in cluster.numbers:
                cluster.down(number)
                time.sleep(0.2)
            for number in cluster.numbers:
                cluster.up(number)
            time.sleep(0.5)

    sending.start()
    disturbing = threading.Thread(target=disturb)
    command = [sys.executable, str(Path(__file__).with_name("live_child.py")), str(tmp_path), str(EVENTS)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "LIVE_BATCH": str(max(5, EVENTS // 40))}
    killed = 0
    while killed < KILLS:
        done = subprocess.run([*command, str(chance.randint(1, 3))], env=environment, capture_output=True, timeout=120)
        assert done.returncode == -signal.SIGKILL, done.stderr.decode()
        killed += 1
        if killed == 1:
            disturbing.start()
    done = subprocess.run([*command, "0"], env=environment, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    sending.join()
    disturbing.join()
    store = SqliteStore.open(tmp_path / "drumbeat.db", read_only=True)
    counts = store.counts()
    found = [it.id for user in range(7) for it, _ in store.events(f"u{user}")]
    positions = [store.position(f"kafka:shop/{it}") for it in range(PARTITIONS)]
    store.close()
    wanted = {f"shop/{n % PARTITIONS}/{n // PARTITIONS}" for n in range(EVENTS)}
    assert (counts["events"], len(found), set(found) ^ wanted) == (EVENTS, EVENTS, set())
    assert positions == [EVENTS // PARTITIONS] * PARTITIONS
    assert cluster.told("shop", PARTITIONS) == positions
    record_property("kafka_events", EVENTS)
    record_property("readers_killed", KILLS)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"map": {"type": "t", "user": "u"}}, "id is required"),
        ({"map": {"id": "i", "type": "t", "user": "@.kye"}}, "'@.kye'"),
        ({"user": "u"}, "belong together"),
    ],
)
def test_wrong_settings(fields: dict[str, Any], words: str) -> None:
    """What cannot hold is said by ``validate``; an id is never guessed."""
    with pytest.raises(UsageError, match=words):
        KafkaFeed.check({"brokers": "h:1", "topic": "t", **fields})
    KafkaFeed.check({"brokers": "h:1", "topic": "t", "id": "offset", "map": {"type": "t", "user": "@.key"}})


def test_secured(tmp_path: Path) -> None:
    """TLS and SASL settings are the library's own words; what it does not take is said without the password."""
    site = Site(tmp_path, {"PASS": "hunter2"})
    fields = {"brokers": "127.0.0.1:1", "topic": "t", "user": "me", "password": "${PASS}", "tls": True}
    (feed,) = KafkaFeed.open(fields, site)
    assert feed._settings["security.protocol"] == "SASL_SSL"
    with pytest.raises(CannotRun) as caught:
        KafkaFeed.open({**fields, "ca": "missing.pem"}, site)
    assert "hunter2" not in str(caught.value)


def test_no_topic(cluster: KafkaCluster, tmp_path: Path) -> None:
    """``run --until-idle`` without brokers cannot run, and says who does not answer."""
    clock = SystemClock()
    site = Site(tmp_path, final=True, now=clock.now, elapsed=clock.elapsed)
    (feed,) = KafkaFeed.open({"brokers": "127.0.0.1:1", "topic": "t"}, site)
    with pytest.raises(CannotRun, match="kafka:t: the brokers do not answer"):
        feed.members()
    feed.close()
