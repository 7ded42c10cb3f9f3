"""What only RabbitMQ has: ids beside the payload, a wire that breaks, messages that come again, no queue.

The server is the one of the session, see ``test_live_feeds.py`` for what this feed has in common with others.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from feed_servers import brisk, eventually
from rabbit_server import RabbitServer
from wire import Wire

from engine.errors import CannotRun, UsageError
from engine.feeds.rabbitmq import RabbitFeed
from engine.ports import Record
from engine.runtime.clock import SystemClock
from engine.site import Site
from engine.stores.sqlite import SqliteStore

ROOT = Path(__file__).resolve().parents[2]
EVENTS = int(os.environ.get("DRUMBEAT_RABBIT_EVENTS", "500"))
KILLS = int(os.environ.get("DRUMBEAT_RABBIT_KILLS", "1"))
NAMELESS = b'{"type":"t","user":"u","time":"2026-03-01T02:00:00Z"}'


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with brisk():
        yield


@pytest.fixture
def feeds(rabbit_server: RabbitServer, tmp_path: Path) -> Iterator[Any]:
    """Opens feeds on a queue of the test's own, and closes them."""
    opened: list[RabbitFeed] = []
    queue = tmp_path.name
    rabbit_server.make(queue)

    def open_feed(url: str = rabbit_server.url, **more: Any) -> RabbitFeed:
        site = Site(tmp_path, {}, now=SystemClock().now)
        (feed,) = RabbitFeed.open({"url": url, "queue": queue, **more}, site)
        opened.append(feed)
        return feed

    open_feed.queue = queue  # type: ignore[attr-defined]
    yield open_feed
    for feed in opened:
        feed.close()


def take(feed: RabbitFeed, number: int, position: int = 0) -> list[Record]:
    found: list[Record] = []

    def enough() -> bool:
        found.extend(feed.read(found[-1].position if found else position, number - len(found)))
        return len(found) == number

    eventually(enough, f"{number} records")
    return found


def told(records: list[Record]) -> list[str]:
    return [it.event.id if it.event is not None else f"!{it.reason}" for it in records]


def event(n: int) -> bytes:
    return NAMELESS.replace(b"{", b'{"id":"e%d",' % n, 1)


def test_what_names_a_message(rabbit_server: RabbitServer, feeds: Any) -> None:
    """Semantics: event.missing-id — with ``id: message`` ``message_id`` names a message; nothing does otherwise."""
    around = [{"message_id": "m1"}, {"message_id": "m1"}, {}]
    rabbit_server.send(feeds.queue, [NAMELESS, event(1), NAMELESS], around)
    named = feeds(id="message")
    found = take(named, 3)
    assert told(found) == [f"{feeds.queue}/m1", "e1", "!no_id"]
    assert "the publisher must set one" in found[2].message
    named.close()
    strict = feeds()  # nothing was acknowledged: all of it comes again
    assert told(take(strict, 3)) == ["!no_id", "e1", "!no_id"]


def test_a_publishers_sequence(rabbit_server: RabbitServer, feeds: Any) -> None:
    """Semantics: event.id-from-fields — publisher and its sequence are an id, with headers in reach of ``map``."""
    mapping = {
        "id": ["@.queue", "@.app_id", "@.headers.sequence"], "type": "@.type", "user": "who",
        "time": "@.timestamp", "time_unit": "s",
    }  # fmt: skip
    good = {"app_id": "shop", "headers": {"sequence": 17}, "type": "paid", "timestamp": 1767225600}
    around = [good, {**good, "headers": {"sequence": b"\xff"}}]
    rabbit_server.send(feeds.queue, [b'{"who":"u1"}', b'{"who":"u1"}'], around)
    first, second = take(feeds(map=mapping), 2)
    assert first.event is not None
    assert (first.event.id, first.event.type) == (f"{feeds.queue}|shop|17", "paid")
    assert (first.event.time, first.event.data) == (1_767_225_600_000_000, {})
    assert (second.reason, "@.headers.sequence" in second.message) == ("unmapped", True)


def test_the_wire_breaks(rabbit_server: RabbitServer, feeds: Any) -> None:
    """Semantics: feed.unreachable — a broken connection stops nobody; what was not acknowledged comes again."""
    wire = Wire(rabbit_server.port)
    feed = feeds(f"amqp://guest:guest@127.0.0.1:{wire.port}/%2F", prefetch=20)
    list(feed.read(0, 1))
    eventually(lambda: feed.lag().broken, "nobody answers")
    assert "guest" not in feed.lag().says
    wire.mend()
    rabbit_server.send(feeds.queue, [event(n) for n in range(60)])
    records = take(feed, 10)
    assert not feed.lag().broken
    feed.acknowledge(records[4].position)
    eventually(lambda: rabbit_server.depth(feeds.queue) == 60 - 25, "five more came for the five that are done")
    wire.cut()
    eventually(lambda: feed.lag().broken, "it is seen")
    assert told(list(feed.read(records[4].position, 5))) == [f"e{n}" for n in range(5, 10)], "in hand all the same"
    feed.acknowledge(records[7].position)
    wire.mend()
    seen: list[Record] = []

    def all_there() -> bool:
        got = list(feed.read(seen[-1].position if seen else records[9].position, 10))
        seen.extend(got)
        if got:
            feed.acknowledge(got[-1].position)
        return {f"e{n}" for n in range(10, 60)} <= set(told(seen))

    eventually(all_there, "everything comes")
    assert set(told(seen)) <= {f"e{n}" for n in range(5, 60)}, "what was acknowledged stays away"
    eventually(lambda: feed.lag().behind == 0, "nothing is behind")
    feed.close()
    assert rabbit_server.depth(feeds.queue) == 0
    wire.cut()


def test_no_queue(feeds: Any) -> None:
    """A queue that is not there is said, and nothing is made in its place."""
    feed = feeds(queue="no-such-queue")
    list(feed.read(0, 1))
    eventually(lambda: "no-such-queue" in feed.lag().says, "the missing queue is named")


PROGRAM = """\
program: live
timezone: UTC
events: {t: {}}
feeds: [{rabbitmq: {url: "${THE_URL}", queue: shop, id: message, prefetch: 200}}]
"""


def test_every_message_is_decided_once(
    rabbit_server: RabbitServer, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Semantics: feed.acknowledged — killed between commit and acknowledgement, and the wire cut: each message once.

    Failure: broker.reader
    Size: DRUMBEAT_RABBIT_EVENTS, DRUMBEAT_RABBIT_KILLS.
    """
    (tmp_path / "drumbeat.yaml").write_text(PROGRAM)
    rabbit_server.make("shop")
    rabbit_server.send("shop", [NAMELESS] * EVENTS, [{"message_id": f"m{n}"} for n in range(EVENTS)])
    wire = Wire(rabbit_server.port)
    wire.mend()
    url = f"amqp://guest:guest@127.0.0.1:{wire.port}/%2F"
    command = [sys.executable, str(Path(__file__).with_name("live_child.py")), str(tmp_path), str(EVENTS)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "THE_URL": url, "LIVE_BATCH": str(max(5, EVENTS // 50))}
    for kill in range(KILLS):
        done = subprocess.run([*command, str(1 + kill % 3)], env=environment, capture_output=True, timeout=120)
        assert done.returncode == -signal.SIGKILL, done.stderr.decode()
        wire.cut()
        wire.mend()
    done = subprocess.run([*command, "0"], env=environment, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    store = SqliteStore.open(tmp_path / "drumbeat.db", read_only=True)
    found = [it.id for it, _ in store.events("u")]
    counts = store.counts()
    store.close()
    assert sorted(found) == sorted(f"shop/m{n}" for n in range(EVENTS))
    assert counts["duplicate"] >= KILLS
    record_property("rabbit_events", EVENTS)
    record_property("readers_killed", KILLS)
    eventually(lambda: rabbit_server.depth("shop") == 0, "all is acknowledged")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"map": {"type": "t", "user": "u"}}, "a queue numbers nothing"),
        ({"map": {"id": "@.messageid", "type": "t", "user": "u"}}, "@.messageid"),
    ],
)
def test_wrong_settings(fields: dict[str, Any], words: str) -> None:
    """Where no id can come from, ``validate`` says what is required."""
    with pytest.raises(UsageError, match=words) as caught:
        RabbitFeed.check({"url": "x", "queue": "q", **fields})
    assert "message" in caught.value.hint
    RabbitFeed.check({"url": "x", "queue": "q", "id": "message", "map": {"type": "t", "user": "u"}})


def test_no_address(tmp_path: Path) -> None:
    """An address that is none is said when the feed is opened, without showing it."""
    for url in ("hunter2", "http://hunter2@h", "amqp://u:hunter2@h:port"):
        with pytest.raises(CannotRun) as caught:
            RabbitFeed.open({"url": url, "queue": "q"}, Site(tmp_path))
        assert "hunter2" not in str(caught.value)


def test_json_stays_exact(rabbit_server: RabbitServer, feeds: Any) -> None:
    """Numbers stay the digits they came as, also where something was put around the payload."""
    mapping = {"id": "@.message_id", "type_is": "t", "user": "u", "time": "at"}
    body = json.dumps({"u": "u1", "at": "2026-03-01T02:00:00Z"}).replace("}", ', "sum": 19.900}')
    rabbit_server.send(feeds.queue, [body.encode()], [{"message_id": "m"}])
    (record,) = take(feeds(map=mapping), 1)
    assert record.event is not None
    assert str(record.event.data["sum"]) == "19.900"
