"""What only Redis Streams have: entries of several fields, own ids, consumers that go silent, streams that vanish."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from feed_servers import RedisServer, brisk, eventually

from engine.core.plan import Span
from engine.errors import CannotRun
from engine.feeds.redis import RedisFeed
from engine.ports import Record
from engine.runtime.clock import SystemClock
from engine.site import Site

EVENT = {"id": "e1", "type": "t", "user": "u", "time": "2026-03-01T02:00:00Z"}


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with brisk():
        yield


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def feeds(server: RedisServer, tmp_path: Path) -> Iterator[Any]:
    """Opens feeds on a stream of the test's own, and closes them."""
    opened: list[RedisFeed] = []
    stream = f"{tmp_path.name}-{os.getpid()}"

    def open_feed(**more: Any) -> RedisFeed:
        site = Site(tmp_path, {}, now=SystemClock().now)
        (feed,) = RedisFeed.open({"url": server.url, "stream": stream, **more}, site)
        opened.append(feed)
        return feed

    open_feed.stream = stream  # type: ignore[attr-defined]
    yield open_feed
    for feed in opened:
        feed.close()


def take(feed: RedisFeed, number: int, position: int = 0) -> list[Record]:
    found: list[Record] = []

    def enough() -> bool:
        found.extend(feed.read(found[-1].position if found else position, number - len(found)))
        return len(found) == number

    eventually(enough, f"{number} records")
    return found


def test_fields_are_the_payload(server: RedisServer, feeds: Any) -> None:
    """Without ``field`` the fields are texts and ``data`` is JSON of its own: it cannot reach beyond itself."""
    feed = feeds()
    with server.client() as client:
        client.xadd(feeds.stream, {**EVENT, "data": '{"sum": 19.90}'})
        client.xadd(feeds.stream, {**EVENT, "data": '{}, "group": "g"'})
        client.xadd(feeds.stream, {**EVENT, "data": '{"a": 1, "a": 2}'})
        client.xadd(feeds.stream, {**EVENT, "user": b"\xff"})
        client.execute_command("XADD", feeds.stream, "*", *[it for pair in EVENT.items() for it in pair], "id", "e2")
        client.xadd(feeds.stream, {**EVENT, "more": "x"})
    good, *bad = take(feed, 6)
    assert good.event is not None
    assert (good.event.id, str(good.event.data["sum"])) == ("e1", "19.90")
    assert [it.reason for it in bad] == ["json", "duplicate_key", "utf8", "duplicate_key", "unknown_key"]
    assert b'"user"' in bad[2].raw


def test_the_field_is_missing(server: RedisServer, feeds: Any) -> None:
    """An entry without the field that holds the event goes to quarantine, with all its fields."""
    feed = feeds(field="body")
    with server.client() as client:
        client.xadd(feeds.stream, {"other": "x"})
    (record,) = take(feed, 1)
    assert (record.reason, record.raw) == ("unmapped", b'[["other","x"]]')
    assert "'body'" in record.message


def test_an_entry_names_itself(server: RedisServer, feeds: Any) -> None:
    """Semantics: event.missing-id — with ``id: entry`` stream and entry id stand for a missing id, and only then."""
    own, strict = feeds(id="entry", group="own"), feeds(group="strict")
    with server.client() as client:
        entry = client.xadd(feeds.stream, {key: it for key, it in EVENT.items() if key != "id"}).decode()
        client.xadd(feeds.stream, EVENT)
    records = take(own, 2)
    assert [it.event and it.event.id for it in records] == [f"{feeds.stream}/{entry}", "e1"]
    milliseconds, _, sequence = entry.partition("-")
    assert records[0].position == (int(milliseconds) << 20) + int(sequence)
    assert take(strict, 1)[0].reason == "no_id"


def test_a_silent_consumer(server: RedisServer, feeds: Any) -> None:
    """Entries a consumer took and never acknowledged are taken over after a while, and positions grow all the same."""
    with server.client() as client:
        client.xgroup_create(feeds.stream, "drumbeat", id="0", mkstream=True)
        client.xadd(feeds.stream, EVENT)
        client.xreadgroup("drumbeat", "silent", {feeds.stream: ">"})
        client.xadd(feeds.stream, {**EVENT, "id": "e2"})
    feed = feeds(take_over=Span(text="1s", elapsed=1_000_000))
    records = take(feed, 2)
    assert {it.event and it.event.id for it in records} == {"e1", "e2"}
    assert records[0].position < records[1].position
    feed.acknowledge(records[-1].position)
    eventually(lambda: server.unacknowledged(feeds.stream) == 0, "all is acknowledged")


def test_deleted_entries(server: RedisServer, feeds: Any) -> None:
    """An entry that was deleted after it was given out is let go of; it never comes back as a record."""
    with server.client() as client:
        client.xgroup_create(feeds.stream, "drumbeat", id="0", mkstream=True)
        gone = client.xadd(feeds.stream, EVENT)
        client.xadd(feeds.stream, {**EVENT, "id": "e2"})
        client.xreadgroup("drumbeat", "drumbeat", {feeds.stream: ">"})
        client.xdel(feeds.stream, gone)
    feed = feeds()
    (record,) = take(feed, 1)
    assert record.event is not None
    assert record.event.id == "e2"
    feed.acknowledge(record.position)
    eventually(lambda: server.unacknowledged(feeds.stream) == 0, "nothing is left")


def test_the_stream_vanishes(server: RedisServer, feeds: Any) -> None:
    """A stream that is deleted and made anew is read on: the group is made again, ids by hand are no trouble."""
    feed = feeds()
    with server.client() as client:
        client.xadd(feeds.stream, EVENT, id="5-1")
    (first,) = take(feed, 1)
    assert first.position == (5 << 20) + 1
    feed.acknowledge(first.position)
    eventually(lambda: server.unacknowledged(feeds.stream) == 0, "it is acknowledged")
    with server.client() as client:
        client.delete(feeds.stream)
        client.xadd(feeds.stream, {**EVENT, "id": "e2"}, id="1-1")
    (second,) = take(feed, 1, first.position)
    assert second.event is not None
    assert (second.event.id, second.position) == ("e2", first.position + 1)


def test_from_now_on(server: RedisServer, feeds: Any) -> None:
    """``from: new``: a new group leaves out what was there before it."""
    with server.client() as client:
        client.xadd(feeds.stream, EVENT)
        feed = feeds(**{"from": "new"})
        list(feed.read(0, 1))
        eventually(lambda: client.exists(feeds.stream) and client.xinfo_groups(feeds.stream), "the group is there")
        client.xadd(feeds.stream, {**EVENT, "id": "e2"})
    (record,) = take(feed, 1)
    assert record.event is not None
    assert record.event.id == "e2"


def test_no_address(tmp_path: Path) -> None:
    """An address that is none is said when the feed is opened, without showing it."""
    with pytest.raises(CannotRun) as caught:
        RedisFeed.open({"url": "hunter2", "stream": "s"}, Site(tmp_path))
    assert "hunter2" not in str(caught.value)
    with pytest.raises(CannotRun, match="REDIS_URL"):
        RedisFeed.open({"url": "${REDIS_URL}", "stream": "s"}, Site(tmp_path))
