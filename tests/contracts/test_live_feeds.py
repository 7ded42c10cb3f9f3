"""What every live feed keeps, whoever is behind it: nothing lost, nothing twice, nobody waits; with real servers."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from feed_servers import NatsServer, RedisServer, brisk, eventually, program
from kafka_cluster import KafkaCluster
from rabbit_server import RabbitServer

from engine.cli.main import run
from engine.core.plan import Span
from engine.door import MAX_EVENT
from engine.errors import CannotRun
from engine.feeds import FEEDS
from engine.ports import Gathering, Lag, LiveFeed, Record
from engine.runtime.clock import SystemClock
from engine.site import Site
from engine.stores.sqlite import SqliteStore

ROOT = Path(__file__).resolve().parents[2]
_number = itertools.count()


def event(n: int, **data: object) -> bytes:
    text = {"id": f"e{n}", "type": "t", "user": f"u{n % 7}", "time": "2026-03-01T02:00:00Z", "data": data}
    return json.dumps(text).encode()


def told(records: Sequence[Record]) -> list[str]:
    return [r.event.id if r.event is not None else f"!{r.reason}" for r in records]


def names(first: int, last: int) -> list[str]:
    return [f"e{n}" for n in range(first, last)]


class Kit:
    """One kind of feed with what stands behind it."""

    word = ""
    remembers = True  #: the source still has what was not acknowledged

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bell = threading.Event()
        self.site = Site(folder, {}, False, self.bell.set, SystemClock().now)

    def setting(self) -> dict[str, Any]:
        """Its entry in ``feeds:``."""
        raise NotImplementedError

    def open(self, **more: Any) -> LiveFeed:
        kind: Any = FEEDS.get(self.word)
        (feed,) = kind.open({**self.setting(), **more}, self.site)
        assert isinstance(feed, LiveFeed)
        return feed

    def send(self, payloads: Sequence[bytes]) -> None:
        raise NotImplementedError

    def unacknowledged(self) -> int:
        """What the source gave out and was not told of."""
        return 0


class FileKit(Kit):
    word = "file"

    def setting(self) -> dict[str, Any]:
        return {"path": "live.jsonl"}

    def send(self, payloads: Sequence[bytes]) -> None:
        with (self.folder / "live.jsonl").open("ab") as file:
            file.write(b"".join(it + b"\n" for it in payloads))


class StdinKit(Kit):
    word = "stdin"
    remembers = False

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.out, self.into = os.pipe()

    def setting(self) -> dict[str, Any]:
        return {}

    def open(self, **more: Any) -> LiveFeed:
        from engine.feeds.mapping import PayloadMap
        from engine.feeds.stdin import StdinFeed

        return StdinFeed(self.site, PayloadMap.of(more["map"]) if "map" in more else None, fd=self.out)

    def send(self, payloads: Sequence[bytes]) -> None:
        os.write(self.into, b"".join(it + b"\n" for it in payloads))


class RedisKit(Kit):
    word = "redis"

    def __init__(self, folder: Path, server: RedisServer) -> None:
        super().__init__(folder)
        self.server = server
        self.stream = f"s{os.getpid()}-{next(_number)}"

    def setting(self) -> dict[str, Any]:
        return {"url": self.server.url, "stream": self.stream, "field": "payload"}

    def send(self, payloads: Sequence[bytes]) -> None:
        self.server.send(self.stream, payloads)

    def unacknowledged(self) -> int:
        return self.server.unacknowledged(self.stream)


class NatsKit(Kit):
    word = "nats"

    def __init__(self, folder: Path, server: NatsServer) -> None:
        super().__init__(folder)
        self.server = server
        self.stream = f"s{os.getpid()}-{next(_number)}"
        server.make(self.stream)

    def setting(self) -> dict[str, Any]:
        return {"url": self.server.url, "stream": self.stream, "ack_wait": Span(text="1s", elapsed=1_000_000)}

    def send(self, payloads: Sequence[bytes]) -> None:
        self.server.send(self.stream, payloads)

    def unacknowledged(self) -> int:
        return self.server.unacknowledged(self.stream)


class KafkaKit(Kit):
    """A topic of one partition, which is a feed as the others are."""

    word = "kafka"

    def __init__(self, folder: Path, cluster: KafkaCluster) -> None:
        super().__init__(folder)
        self.cluster = cluster
        self.topic = f"t{os.getpid()}-{next(_number)}"
        cluster.topic(self.topic, 1)

    def setting(self) -> dict[str, Any]:
        return {"brokers": self.cluster.brokers, "topic": self.topic, "group": self.topic}

    def open(self, **more: Any) -> LiveFeed:
        return Alone(super().open(**more))

    def send(self, payloads: Sequence[bytes]) -> None:
        self.cluster.send(self.topic, [(0, it) for it in payloads])
        self.sent = getattr(self, "sent", 0) + len(payloads)

    def unacknowledged(self) -> int:
        return int(self.sent - max(0, *self.cluster.told(self.topic, 1, self.topic), 0))


class Alone:
    """The only partition of a topic, and its topic behind it."""

    def __init__(self, topic: Any) -> None:
        self._topic = topic
        self._member: Any = None
        self.name = f"{topic.name}/0"

    def _find(self) -> Any:
        self._member = next(iter(self._topic.members()), self._member)
        return self._member

    def read(self, position: int, limit: int) -> Iterator[Record]:
        found = self._find()
        return found.read(position, limit) if found is not None else iter(())

    def acknowledge(self, position: int) -> None:
        self._member.acknowledge(position)

    def lag(self) -> Lag:
        return self._member.lag() if self._member is not None else self._topic.lag()

    def close(self) -> None:
        self._topic.close()


class RabbitKit(Kit):
    word = "rabbitmq"

    def __init__(self, folder: Path, server: RabbitServer) -> None:
        super().__init__(folder)
        self.server = server
        self.queue = f"q{os.getpid()}-{next(_number)}"
        server.make(self.queue)

    def setting(self) -> dict[str, Any]:
        return {"url": self.server.url, "queue": self.queue}

    def send(self, payloads: Sequence[bytes]) -> None:
        self.server.send(self.queue, payloads)

    def unacknowledged(self) -> int:
        return self.server.depth(self.queue)  # right when nobody reads: what was out is given back then


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with brisk():
        yield


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def kafka_cluster() -> Iterator[KafkaCluster]:
    cluster = KafkaCluster()
    yield cluster
    cluster.close()


def make_kit(word: str, folder: Path, request: pytest.FixtureRequest) -> Kit:
    if word == "redis":
        return RedisKit(folder, request.getfixturevalue("redis_server"))
    if word == "nats":
        return NatsKit(folder, request.getfixturevalue("nats_server"))
    if word == "kafka":
        return KafkaKit(folder, request.getfixturevalue("kafka_cluster"))
    if word == "rabbitmq":
        return RabbitKit(folder, request.getfixturevalue("rabbit_server"))
    return {"file": FileKit, "stdin": StdinKit}[word](folder)


@pytest.fixture(params=["file", "stdin", "redis", "nats", "kafka", "rabbitmq"])
def kit(request: pytest.FixtureRequest, tmp_path: Path) -> Kit:
    return make_kit(request.param, tmp_path, request)


@pytest.fixture(params=["stdin", "redis", "nats", "kafka", "rabbitmq"])
def fetching(request: pytest.FixtureRequest, tmp_path: Path) -> Kit:
    """Kinds with a thread that fetches; a file is read as it is asked for, and nobody says that it has grown."""
    return make_kit(request.param, tmp_path, request)


@pytest.fixture(params=["file", "redis", "nats", "kafka", "rabbitmq"])
def remembering(request: pytest.FixtureRequest, tmp_path: Path) -> Kit:
    """Kinds that give again what was not acknowledged."""
    return make_kit(request.param, tmp_path, request)


@pytest.fixture
def closing() -> Iterator[Callable[[LiveFeed], LiveFeed]]:
    """Closes the feeds of a test."""
    opened: list[LiveFeed] = []

    def keep(feed: LiveFeed) -> LiveFeed:
        opened.append(feed)
        return feed

    yield keep
    for feed in opened:
        feed.close()


Closing = Callable[[LiveFeed], LiveFeed]


def take(feed: LiveFeed, number: int, position: int = 0) -> list[Record]:
    """The next records behind a position, as soon as there are so many; none is acknowledged."""
    out: list[Record] = []

    def enough() -> bool:
        got = list(feed.read(out[-1].position if out else position, number - len(out)))
        out.extend(got)
        return len(out) >= number

    eventually(enough, f"{number} records of {feed.name}, and there are {len(out)}")
    return out


# ---------------------------------------------------------------- reading


def test_gives_what_is_there(kit: Kit, closing: Closing) -> None:
    """Records come in the order they were sent, with growing positions; where there is none, reading ends at once."""
    feed = closing(kit.open())
    assert list(feed.read(0, 10)) == []
    kit.send([event(n) for n in range(40)])
    first = take(feed, 25)
    rest = take(feed, 15, first[-1].position)
    assert told(first + rest) == names(0, 40)
    positions = [it.position for it in first + rest]
    assert positions == sorted(set(positions))
    assert {it.feed for it in first} == {feed.name}
    assert list(feed.read(positions[-1], 10)) == []


def test_calls_out(fetching: Kit, closing: Closing) -> None:
    """A feed with a thread of its own says when something has come; a file is looked at every second."""
    feed = closing(fetching.open())
    list(feed.read(0, 1))
    fetching.bell.clear()
    fetching.send([event(0)])
    assert fetching.bell.wait(30)
    assert told(take(feed, 1)) == ["e0"]


def test_a_batch_given_up_is_read_again(kit: Kit, closing: Closing) -> None:
    """What was read and not committed is there again, by any batches, until it is acknowledged."""
    feed = closing(kit.open())
    kit.send([event(n) for n in range(10)])
    first = take(feed, 10)
    assert told(list(feed.read(0, 100))) == names(0, 10)
    feed.acknowledge(first[3].position)
    assert told(list(feed.read(first[3].position, 3))) == names(4, 7)
    assert told(list(feed.read(first[6].position, 100))) == names(7, 10)


def test_bad_records(kit: Kit, closing: Closing) -> None:
    """Semantics: event.refused — whatever is no event has its reason and its bytes, and the feed goes on."""
    bad = [b"{broken", b"\xff\xfe", event(1).replace(b'"e1"', b"null"), b'{"id":"x","id":"x"}', b"[1]", b'{"a":NaN}']
    big = b'{"id":"' + b"x" * MAX_EVENT + b'"}'
    feed = closing(kit.open())
    kit.send([event(0), *bad, event(2)])
    kit.send([big[:40_000] + big[40_000:], event(3)]) if kit.word != "stdin" else threading.Thread(
        target=kit.send, args=([big, event(3)],), daemon=True
    ).start()  # a pipe holds less than that
    records = take(feed, 10)
    assert told(records) == [
        "e0", "!json", "!utf8", "!no_id", "!duplicate_key", "!not_object", "!nan", "e2", "!oversize", "e3",
    ]  # fmt: skip
    assert [it.raw for it in records[1:7]] == bad
    assert records[8].raw == big[:1024]


def test_bounded(fetching: Kit, closing: Closing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded: no more is taken from the source than there is room for until some of it is committed."""
    monkeypatch.setattr("engine.feeds.inhand.MOST", 10)
    feed = closing(fetching.open())
    total = 95 if fetching.word != "kafka" else 25  # its library looks every second whether it may go on
    fetching.send([event(n) for n in range(total)])
    records = take(feed, 10)
    assert list(feed.read(records[-1].position, 100)) == []
    got = list(records)
    while len(got) < total:
        feed.acknowledge(got[-1].position)
        part = take(feed, min(10, total - len(got)), got[-1].position)
        got += part
    assert told(got) == names(0, total)


def test_lag(kit: Kit, closing: Closing) -> None:
    """A feed says how far behind it is, and that it has caught up."""
    feed = closing(kit.open())
    kit.send([event(n) for n in range(8)])
    records = take(feed, 8)
    eventually(lambda: (feed.lag().behind or 0) >= 8, "the lag is seen")
    feed.acknowledge(records[-1].position)
    list(feed.read(records[-1].position, 1))
    eventually(lambda: feed.lag().behind == 0, "nothing is behind")
    assert feed.lag().position == records[-1].position
    assert feed.lag().says == ""


def test_mapped(kit: Kit, closing: Closing) -> None:
    """Semantics: event.id-from-fields — any live feed makes events of payloads by ``map``, to the last digit."""
    mapping = {"id": "n", "type_is": "paid", "user": "who.id", "time": "at", "time_unit": "ms"}
    feed = closing(kit.open(map=mapping))
    kit.send([b'{"n":7,"who":{"id":12},"at":1767225600123,"sum":19.90}', b'{"n":8,"at":1767225600123}'])
    good, bad = take(feed, 2)
    assert good.event is not None
    assert (good.event.id, good.event.user, good.event.time) == ("7", "12", 1_767_225_600_123_000)
    assert str(good.event.data["sum"]) == "19.90"
    assert (bad.reason, bad.raw) == ("unmapped", b'{"n":8,"at":1767225600123}')
    assert "who.id" in bad.message


# ---------------------------------------------------------------- again


def test_acknowledged_is_gone(remembering: Kit, closing: Closing) -> None:
    """Law 1 — the source is told after the commit, and what it was told of never comes again."""
    feed = remembering.open()
    remembering.send([event(n) for n in range(10)])
    records = take(feed, 10)
    feed.acknowledge(records[5].position)
    feed.close()
    again = closing(remembering.open())
    assert told(take(again, 4, records[5].position)) == names(6, 10)


def test_not_acknowledged_comes_again(remembering: Kit, closing: Closing) -> None:
    """Law 1 — what was read and not acknowledged comes again, from whatever position was committed."""
    feed = remembering.open()
    remembering.send([event(n) for n in range(10)])
    records = take(feed, 10)
    if remembering.word not in ("file", "rabbitmq"):
        eventually(lambda: remembering.unacknowledged() == 10, "all ten are out")
    feed.close()
    again = closing(remembering.open())
    position = records[3].position  # committed, and the process died before it could say so
    wanted = names(4, 10) if remembering.word in ("file", "kafka") else names(0, 10)
    back = take(again, len(wanted), position)
    assert sorted(told(back)) == sorted(wanted)
    assert all(it.position > position for it in back)
    again.acknowledge(back[-1].position)
    again.close()
    eventually(lambda: remembering.unacknowledged() == 0, "all is acknowledged")


PROGRAM = {
    "drumbeat.yaml": """\
program: live
timezone: UTC
events: {t: {}}
feeds: [{%s: %s}]
channels: {box: {via: file, path: out/box.jsonl, mode: at_least_once}}
policies: {default: {consent: {service: none}, quiet_hours: never}}
""",
    "playbooks/each.yaml": """\
playbook: each
title: One message for each event
trigger: {event: t}
entry: {mode: parallel, limit: unlimited}
steps:
  - message: {template: hello, via: box, purpose: service}
""",
    "templates/hello.box.j2": "hello {{ user.id }}",
}


def test_killed_between_commit_and_acknowledge(remembering: Kit, tmp_path: Path) -> None:
    """Semantics: feed.acknowledged — killed between commit and acknowledgement: nothing lost, nothing twice."""
    root = tmp_path / "program"
    for name, text in PROGRAM.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        setting = {**remembering.setting(), **({"ack_wait": "1s"} if remembering.word == "nats" else {})}
        if remembering.word == "rabbitmq":
            setting["url"] = "${THE_URL}"  # it holds a password
        (root / name).write_text(text % (remembering.word, json.dumps(setting)) if "%s" in text else text)
    if remembering.word == "file":
        remembering.folder = root
    command = [sys.executable, str(Path(__file__).with_name("live_child.py")), str(root), "60"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "THE_URL": str(remembering.setting().get("url"))}
    remembering.send([event(n) for n in range(60)])
    kills = (1, 4) if remembering.word in ("kafka", "rabbitmq") else (1, 2, 1, 4, 1)
    for kill_at in kills:
        done = subprocess.run([*command, str(kill_at)], env=environment, capture_output=True, timeout=120)
        assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    done = subprocess.run([*command, "0"], env=environment, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    keys = [json.loads(line)["key"] for line in (root / "out" / "box.jsonl").read_text().splitlines()]
    store = SqliteStore.open(root / "drumbeat.db", read_only=True)
    counts = store.counts()
    store.close()
    assert counts["events"] == 60
    assert (len(keys), len(set(keys))) == (60, 60)
    if remembering.word not in ("file", "kafka"):  # these two go on where the store stands
        assert counts["duplicate"] >= len(kills), "each kill leaves at least a batch that comes again"
    eventually(lambda: remembering.unacknowledged() == 0, "all is acknowledged at last")


# ---------------------------------------------------------------- a source that comes and goes


def start_late(word: str, folder: Path) -> tuple[Kit, RedisServer | NatsServer]:
    if word == "redis":
        redis = RedisServer(folder / "server")
        return RedisKit(folder, redis), redis
    nats = NatsServer(folder / "server")
    nats.start()  # it finds its port, and gets its stream
    kit = NatsKit(folder, nats)
    return kit, nats


@pytest.mark.parametrize("word", ["redis", "nats"])
def test_the_server_comes_and_goes(word: str, tmp_path: Path, closing: Closing) -> None:
    """Semantics: feed.unreachable — a server that is down, or killed, stops nobody, and nothing is lost."""
    kit, server = start_late(word, tmp_path)
    try:
        server.kill()
        feed = closing(kit.open())
        assert list(feed.read(0, 10)) == []
        eventually(lambda: feed.lag().says, "the feed says that nobody answers")
        assert feed.lag().broken
        server.start()
        kit.send([event(n) for n in range(10)])
        records = take(feed, 10)
        eventually(lambda: not feed.lag().says, "all is well again")
        feed.acknowledge(records[4].position)
        eventually(lambda: kit.unacknowledged() == 5, "half is acknowledged")
        server.kill()
        feed.acknowledge(records[6].position)
        eventually(lambda: feed.lag().says, "the feed says that nobody answers")
        assert told(list(feed.read(records[6].position, 10))) == names(7, 10)
        server.start()
        kit.send([event(n) for n in range(10, 20)])
        rest: list[Record] = []

        def all_there() -> bool:
            rest.extend(feed.read(rest[-1].position if rest else records[6].position, 100))
            return set(told(rest)) >= set(names(7, 20))

        eventually(all_there, "everything comes")
        if word == "redis":  # NATS writes down what was acknowledged a little later, and gives it again: ids decide
            assert len(rest) == 13
        feed.acknowledge(rest[-1].position)
        eventually(lambda: kit.unacknowledged() == 0, "all is acknowledged")
    finally:
        server.kill()


def test_a_stream_names_its_messages(request: pytest.FixtureRequest, tmp_path: Path, closing: Closing) -> None:
    """Semantics: event.missing-id — NATS: with ``id: sequence`` stream and sequence stand for it."""
    kit = make_kit("nats", tmp_path, request)
    nameless = event(0).replace(b'"id": "e0", ', b"")
    kit.send([nameless, event(1)])
    own = closing(kit.open(id="sequence", durable="own"))
    assert told(take(own, 2)) == [f"{kit.setting()['stream']}/1", "e1"]
    mapping = {"type": "@.subject", "user": "user"}
    (mapped, _) = take(closing(kit.open(id="sequence", durable="mapped", map=mapping)), 2)
    assert mapped.event is not None
    assert mapped.event.type == f"{kit.setting()['stream']}.events"
    assert "!no_id" in told(take(closing(kit.open(durable="strict")), 2))


@pytest.mark.parametrize("word", ["redis", "nats"])
def test_until_idle_waits_for_the_source(word: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Where everything has to be done before leaving, reading goes on until the source has nothing more."""
    kit = make_kit(word, tmp_path, request)
    kit.site = replace(kit.site, final=True)
    kit.send([event(n) for n in range(1200)])
    feed = kit.open()
    records = list(feed.read(0, 1 << 62))
    assert told(records) == names(0, 1200)
    feed.acknowledge(records[-1].position)
    feed.close()
    eventually(lambda: kit.unacknowledged() == 0, "all is acknowledged")


@pytest.mark.parametrize("word", ["redis", "nats", "kafka", "rabbitmq"])
def test_run_until_idle(
    word: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """``run --until-idle`` decides and acknowledges everything, also more than may be in hand; then nothing is left."""
    monkeypatch.setattr("engine.feeds.inhand.MOST", 100)
    monkeypatch.chdir(tmp_path)
    kit = make_kit(word, tmp_path, request)
    place = "brokers" if word == "kafka" else "url"
    monkeypatch.setenv("THE_URL", str(kit.setting()[place]))
    setting = {key: str(it) for key, it in {**kit.setting(), place: "${THE_URL}"}.items() if key != "ack_wait"}
    (tmp_path / "drumbeat.yaml").write_text(f"program: p\nfeeds: [{{{word}: {json.dumps(setting)}}}]\n")
    number = 350 if word != "kafka" else 150  # its library looks every second whether it may go on
    kit.send([event(n) for n in range(number)])
    for accepted in (number, 0):
        assert run(["run", "--until-idle", "--batch", "40", "--format", "json"]) == 0
        assert json.loads(capsys.readouterr().out)["events"] == {
            "read": accepted, "accepted": accepted, "duplicate": 0, "quarantined": 0, "late": 0, "reasons": {},
        }  # fmt: skip
    eventually(lambda: kit.unacknowledged() == 0, "all is acknowledged")


@pytest.mark.parametrize("word", ["redis", "nats"])
def test_until_idle_says_who_does_not_answer(word: str, tmp_path: Path, closing: Closing) -> None:
    """Without the server ``run --until-idle`` cannot run; the message shows no password."""
    site = Site(tmp_path, {}, True, now=SystemClock().now)
    kind: Any = FEEDS.get(word)
    url = f"{word}://user:hunter2@127.0.0.1:1"  # nobody listens on port 1
    (feed,) = kind.open({"url": url, "stream": "s"}, site)
    closing(feed)
    with pytest.raises(CannotRun) as caught:
        list(feed.read(0, 10))
    assert feed.name in str(caught.value)
    assert "hunter2" not in str(caught.value) + feed.lag().says


def test_standard_input_ends(tmp_path: Path, closing: Closing) -> None:
    """The end of standard input ends the feed and not the program; its last line needs no newline."""
    kit = StdinKit(tmp_path)
    feed = closing(kit.open())
    kit.send([event(0)])
    os.write(kit.into, event(1))
    os.close(kit.into)
    records = take(feed, 2)
    assert told(records) == ["e0", "e1"]
    eventually(lambda: "ended" in feed.lag().says, "the end is seen")
    assert list(feed.read(records[-1].position, 10)) == []


def test_standard_input_until_idle(tmp_path: Path, closing: Closing) -> None:
    """Where everything has to be done, standard input is read to its end."""
    kit = StdinKit(tmp_path)
    kit.site = replace(kit.site, final=True)
    feed = closing(kit.open())
    os.set_blocking(kit.into, True)

    def write() -> None:
        for n in range(500):
            kit.send([event(n)])
        os.close(kit.into)

    threading.Thread(target=write, daemon=True).start()
    assert told(list(feed.read(0, 1 << 62))) == names(0, 500)


def test_gathering_is_a_feed(tmp_path: Path) -> None:
    """A pattern is one setting with several feeds; alone it reads nothing."""
    kind: Any = FEEDS.get("file")
    (feed,) = kind.open({"path": "*.jsonl"}, Site(tmp_path))
    assert isinstance(feed, LiveFeed)
    assert isinstance(feed, Gathering)
    assert list(feed.read(0, 10)) == []


def test_a_missing_server_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its server a test skips with a clear word, and fails in CI, which installs it."""
    monkeypatch.delenv("DRUMBEAT_CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"apt-get install no-such-server"):
        program("no-such-server")
    monkeypatch.setenv("DRUMBEAT_CI", "1")
    with pytest.raises(pytest.fail.Exception, match=r"\.ci/servers"):
        program("no-such-server")


@pytest.mark.parametrize(
    ("word", "fields"),
    [
        ("redis", {"url": "redis://h", "stream": "s"}), ("nats", {"url": "nats://h", "stream": "S"}),
        ("confluent_kafka", {"brokers": "h", "topic": "t"}), ("pika", {"url": "amqp://h", "queue": "q"}),
    ],
)  # fmt: skip
def test_without_the_library(
    word: str, fields: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the extra the feed names it; nothing else needs the library."""
    monkeypatch.setitem(sys.modules, word, None)
    feed = {"confluent_kafka": "kafka", "pika": "rabbitmq"}.get(word, word)
    kind: Any = FEEDS.get(feed)
    with pytest.raises(CannotRun, match="needs the library") as caught:
        kind.open(fields, Site(tmp_path))
    assert caught.value.hint == f"pip install 'drumbeat[{feed}]'"
