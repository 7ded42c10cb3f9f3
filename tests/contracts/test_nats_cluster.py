"""NATS JetStream on three nodes: the leader of the stream is killed while events are published and read."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from feed_servers import DEADLINE, NatsServer, eventually
from wire import free_port

from engine.stores.sqlite import SqliteStore

ROOT = Path(__file__).resolve().parents[2]
EVENTS = int(os.environ.get("DRUMBEAT_NATS_EVENTS", "600"))
KILLS = int(os.environ.get("DRUMBEAT_NATS_KILLS", "1"))
LANES = 32  #: events on their way to the stream at once
STREAM = "SHOP"

PROGRAM = """\
program: live
timezone: UTC
events: {t: {}}
feeds: [{nats: {url: "%s", stream: SHOP, ack_wait: 2s}}]
channels: {box: {via: file, path: out/box.jsonl, mode: at_least_once}}
policies: {default: {consent: {service: none}, quiet_hours: never}}
"""
PLAYBOOK = """\
playbook: each
title: One message for each event
trigger: {event: t}
entry: {mode: parallel, limit: unlimited}
steps:
  - message: {template: hello, via: box, purpose: service}
"""


class Node(NatsServer):
    """One of several servers that know each other by the ports of ``routes``."""

    def __init__(self, folder: Path, name: str, port: int, routes: Sequence[int]) -> None:
        super().__init__(folder)
        self.name = name
        self._routes = ",".join(f"nats://127.0.0.1:{it}" for it in routes)
        self._route = port

    def command(self) -> Sequence[str]:
        return [
            *super().command(), "--name", self.name, "--cluster_name", "tests",
            "--cluster", f"nats://127.0.0.1:{self._route}", "--routes", self._routes,
        ]  # fmt: skip

    def alive(self) -> bool:
        return self._process is not None


class Cluster:
    """Three nodes, and a stream that all of them have."""

    def __init__(self, folder: Path) -> None:
        ports = [free_port() for _ in range(3)]
        self.nodes = {f"n{n}": Node(folder / f"n{n}", f"n{n}", port, ports) for n, port in enumerate(ports)}
        starting = [threading.Thread(target=it.start) for it in self.nodes.values()]
        for it in starting:  # none of them answers alone
            it.start()
        for it in starting:
            it.join()
        eventually(self._made, "the stream is there", 0.1, 2 * DEADLINE)

    @property
    def url(self) -> str:
        return ",".join(it.url for it in self.nodes.values())

    def _made(self) -> bool:
        async def do(js: Any) -> bool:
            await js.add_stream(name=STREAM, subjects=["shop.>"], num_replicas=3)
            return True

        return bool(self._ask(do))

    def _ask(self, do: Any) -> Any:
        for node in self.nodes.values():
            with suppress(Exception):  # one that is down, or has no leader yet
                if node.alive():
                    return node.run(do)
        return None

    def leader(self) -> Node:
        """The node that leads the stream; the others follow it and are up to date."""

        async def do(js: Any) -> str | None:
            info = (await js.stream_info(STREAM)).cluster
            return info.leader if all(it.current for it in info.replicas) and len(info.replicas) == 2 else None

        return self.nodes[eventually(lambda: self._ask(do), "the stream has a leader, and two who follow", 0.1)]

    def close(self) -> None:
        for it in self.nodes.values():
            it.kill()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path / "servers")
    yield cluster
    cluster.close()


class Publisher(threading.Thread):
    """Publishes until the cluster has acknowledged every event; what got no answer is sent again under its id."""

    def __init__(self, servers: Sequence[str]) -> None:
        super().__init__(daemon=True)
        self._servers = list(servers)
        self.acknowledged: set[int] = set()
        self.again = 0

    def run(self) -> None:
        asyncio.run(self._publish())

    async def _publish(self) -> None:
        from nats.aio.client import Client

        async def hush(error: Exception) -> None:
            """The library would print it."""

        client = Client()
        await client.connect(
            servers=self._servers, max_reconnect_attempts=-1, reconnect_time_wait=0.1, connect_timeout=2, error_cb=hush
        )
        stream = client.jetstream(timeout=1)
        waiting = list(range(EVENTS))[::-1]

        async def lane() -> None:
            while waiting:
                n = waiting.pop()
                body = {"id": f"e{n}", "type": "t", "user": f"u{n % 7}", "time": "2026-03-01T02:00:00Z"}
                while n not in self.acknowledged:
                    try:
                        await stream.publish("shop.t", json.dumps(body).encode(), headers={"Nats-Msg-Id": f"e{n}"})
                        self.acknowledged.add(n)
                    except Exception:  # no answer: nobody knows whether it is there
                        self.again += 1
                        await asyncio.sleep(0.1)

        await asyncio.gather(*(lane() for _ in range(LANES)))
        await client.close()


def test_the_leader_is_killed(
    cluster: Cluster, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Semantics: feed.unreachable — leaders killed while events are published and read: none lost, none decided twice.

    Failure: broker.leader
    Size: DRUMBEAT_NATS_EVENTS, DRUMBEAT_NATS_KILLS.
    """
    root = tmp_path / "program"
    files = {"drumbeat.yaml": PROGRAM % cluster.url, "playbooks/each.yaml": PLAYBOOK, "templates/hello.box.j2": "hi"}
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    publisher = Publisher(cluster.url.split(","))
    command = [sys.executable, str(Path(__file__).with_name("live_child.py")), str(root), str(EVENTS), "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "LIVE_BATCH": str(max(5, EVENTS // 40))}
    reader = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    try:
        publisher.start()
        chance = random.Random(7)
        for kill in range(KILLS):
            upto = (kill + chance.random()) * EVENTS / KILLS
            eventually(lambda upto=upto: len(publisher.acknowledged) >= upto, "publishing goes on")
            leader = cluster.leader()
            leader.kill()
            eventually(lambda: cluster._ask(_led), "another one leads", 0.1)
            leader.start()
        publisher.join(120)
        assert len(publisher.acknowledged) == EVENTS
        _, said = reader.communicate(timeout=120)
        assert reader.returncode == 0, said.decode()
    finally:
        reader.kill()
        reader.wait()
    keys = [json.loads(line)["key"] for line in (root / "out" / "box.jsonl").read_text().splitlines()]
    store = SqliteStore.open(root / "drumbeat.db", read_only=True)
    found = [it.id for user in range(7) for it, _ in store.events(f"u{user}") if it.type == "t"]
    counts = store.counts()
    store.close()
    record_property("nats_events", EVENTS)
    record_property("leaders_killed", KILLS)
    record_property("published_again", publisher.again)
    record_property("came_twice", counts.get("duplicate", 0))
    assert sorted(found) == sorted(f"e{n}" for n in publisher.acknowledged)
    assert (len(keys), len(set(keys))) == (EVENTS, EVENTS)


async def _led(js: Any) -> str | None:
    leader = (await js.stream_info(STREAM)).cluster.leader
    return str(leader) if leader else None
