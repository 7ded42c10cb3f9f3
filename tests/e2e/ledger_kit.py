"""The ledger under concurrent reservation: processes with threads of their own post to one daemon, which is killed.

Everybody wants of the same few things at once: coupons, seats and rewards that run out, points of the same people.
Afterwards the ledger is read from its beginning: nothing was ever given that was not there, and every sum is exact.
"""

from __future__ import annotations

import http.client
import json
import multiprocessing
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engine.core.model import Entry
from engine.stores.sqlite import SqliteStore

TOKEN = "t" * 32
USERS = 150
BATCH = 40
CHECKIN, ORDER, PRICE = 3, 7, 5

PROGRAM = """\
program: ledger
events:
  checkin: {{}}
  want: {{}}
  done: {{}}
  cancel: {{}}
  order.paid: {{order_id: text}}
  order.refunded: {{order_id: text}}
feeds: [{{http: {{port: {port}, auth: "${{INGEST_TOKEN}}"}}}}]
"""
CATALOG = """\
points:
  main:
    expires: 365d
    earn:
      - {{event: checkin, points: {checkin}}}
      - {{event: order.paid, points: {order}, reverse_on: {{event: order.refunded, match: order_id}}}}
rewards: {{mug: {{points: {price}, stock: {stock}, per_user: unlimited}}}}
coupons: {{tea: {{codes: {{generate: TEA}}, value: {{off: 2.50}}, limits: {{per_user: unlimited, total: {stock}}}}}}}
groups: {{club: {{hold: 2m, rooms: [{{id: r1, link: x, capacity: 30}}, {{id: r2, link: y, capacity: 20}}]}}}}
"""
MALL = """\
playbook: mall
title: Everything there is little of
trigger: {event: want}
entry: {mode: parallel, limit: unlimited}
exit: [{event: cancel}]
steps:
  - coupon: tea
  - invite: club
  - redeem: {reward: mug, on_denied: stop}
    id: mug
  - wait_for: {event: done, up_to: 1h, then: [{redeem: {confirm: mug}}], else: stop}
"""


@dataclass(frozen=True)
class Size:
    """How much is done."""

    operations: int
    kills: int
    processes: int = 3
    threads: int = 3
    stock: int = 300
    seed: int = 1
    seconds: float = 120  #: in which something has to happen that is waited for


class World:
    """One program, its daemon and its clients."""

    def __init__(self, root: Path, size: Size) -> None:
        self.root = root
        self.size = size
        self.rng = random.Random(size.seed)
        self.port = _free_port()
        self.kills = 0
        self.green = 0  #: times fsck was green
        words = {"checkin": CHECKIN, "order": ORDER, "price": PRICE, "stock": size.stock}
        files = {"drumbeat.yaml": PROGRAM.format(port=self.port), "playbooks/mall.yaml": MALL}
        files["playbooks/catalog.yaml"] = CATALOG.format(**words)
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")
        context = multiprocessing.get_context("spawn")
        self.sent = context.Value("q", 0)  #: operations that were answered 202
        self.counts = context.Queue()
        each = size.operations // size.processes
        self.clients = [
            context.Process(target=client, args=(self.port, n, each, size, self.sent, self.counts))
            for n in range(size.processes)
        ]
        self.operations = each // size.threads * size.threads * size.processes

    @contextmanager
    def daemon(self) -> Iterator[subprocess.Popen[bytes]]:
        """``drumbeat run``, as it begins."""
        env = {**os.environ, "INGEST_TOKEN": TOKEN, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        with (self.root / "daemon.log").open("ab") as log:
            argv = [sys.executable, "-m", "engine", "run", "--program", str(self.root)]
            process = subprocess.Popen(argv, env=env, stdout=log, stderr=log)
            try:
                yield process
            finally:
                process.kill()
                process.wait()

    def until(self, true: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
        """Wait for what other processes do."""
        ends, pause = time.monotonic() + self.size.seconds, threading.Event()
        while not true():
            assert process.poll() is None, (self.root / "daemon.log").read_text()[-4_000:]
            assert all(it.exitcode in (None, 0) for it in self.clients), "a client failed"
            assert time.monotonic() < ends, "it did not happen"
            pause.wait(0.005)

    def run(self) -> dict[str, Any]:
        """All operations, with kills between them; what is in the store afterwards, checked."""
        begun = time.monotonic()
        for it in self.clients:
            it.start()
        try:
            for number in range(self.size.kills):
                share = self.operations * (number + self.rng.random()) / (self.size.kills + 0.5)
                with self.daemon() as process:
                    self.until(lambda share=share: self.sent.value >= share, process)
                    process.send_signal(signal.SIGKILL)
                    process.wait()
                self.kills += 1
                if number < 12:  # it takes its time in a large store
                    self.check()
            with self.daemon() as process:
                self.until(lambda: self.sent.value == self.operations, process)
                self.until(self.decided, process)
                process.send_signal(signal.SIGTERM)
                assert process.wait(60) == 0
        finally:
            for it in self.clients:
                it.terminate()
        took = time.monotonic() - begun
        asked: Counter[str] = Counter()
        for _ in self.clients:
            asked.update(self.counts.get(timeout=10))
        self.check()
        return {"seconds": round(took, 1), **self.account(asked)}

    def decided(self) -> bool:
        """Whether nothing waits for its deciding."""
        threading.Event().wait(0.2)
        store = SqliteStore.open(self.root / "drumbeat.db", read_only=True)
        try:
            return store.counts()["events"] >= self.operations and not store.inbox(0, 1)
        finally:
            store.close()

    def check(self) -> None:
        """Every promise of the store holds, its sums among them."""
        if not (self.root / "drumbeat.db").exists():
            return
        store = SqliteStore.open(self.root / "drumbeat.db", read_only=True)
        try:
            faults = store.check()
        finally:
            store.close()
        assert faults == [], faults
        self.green += 1

    def account(self, asked: Counter[str]) -> dict[str, Any]:
        """The ledger from its beginning: nothing was given that was not there, ever, and nothing is missing."""
        store = SqliteStore.open(self.root / "drumbeat.db", read_only=True)
        try:
            found = _walk(store.ledger(), self.size.stock)
            owed = sum(n for state in store.subjects() for it in state.purses.values() for _, n in it.owed)
        finally:
            store.close()
        whats, sums = found
        assert whats["earned", ""] == asked["checkin"] + asked["order.paid"], "an earning is lost or there twice"
        assert sums["earned"] == CHECKIN * asked["checkin"] + ORDER * asked["order.paid"], "points drift"
        assert -sums["reversed"] + owed == ORDER * asked["order.refunded"], "a reversal is lost or there twice"
        asked_for = asked["want"]
        assert whats["issued", "tea"] == min(self.size.stock, asked_for), "coupons that nobody got"
        return {
            "operations": self.operations, "kills": self.kills, "fsck_green": self.green,
            "entries": sum(whats.values()), "coupons": whats["issued", "tea"],
            "rewards": whats["held", "mug"], "rewards_confirmed": whats["redeemed", "mug"],
            "rewards_given_back": whats["released", "mug"], "seats": whats["held", "club"],
            "seats_released": whats["released", "club"], "oversold": 0, "drift": 0,
        }  # fmt: skip


def _walk(entries: Iterator[Entry], stock: int) -> tuple[Counter[tuple[str, str]], Counter[str]]:
    """How many entries there are of each kind, and the points they moved; no unit is ever more than there is."""
    whats: Counter[tuple[str, str]] = Counter()
    sums: Counter[str] = Counter()
    there: Counter[tuple[str, str, str | None]] = Counter()
    keys: set[str] = set()
    most = {"mug": stock, "tea": stock, "r1": 30, "r2": 20}
    for it in entries:
        assert it.key not in keys, "an entry stands there twice"
        keys.add(it.key)
        place = (it.book, it.name, it.subject) if it.book == "points" else (it.book, it.unit or "", None)
        if it.book in ("reward", "coupon"):
            place = (it.book, it.name, None)
        there[place] += it.delta
        assert there[place] >= 0, f"below nothing: {it}"
        limit = most.get(place[1]) if it.book != "points" else None
        assert limit is None or there[place] <= limit, f"oversold: {it}"
        whats[it.what, it.name if it.book != "points" else ""] += 1
        if it.name == "main":
            sums[it.what] += it.delta
    return whats, sums


# ---------------------------------------------------------------------- clients, each a process


def client(port: int, number: int, operations: int, size: Size, sent: Any, counts: Any) -> None:
    """Post operations from several threads at once until each is answered 202."""
    told: list[Counter[str]] = [Counter() for _ in range(size.threads)]
    each = operations // size.threads
    threads = [
        threading.Thread(target=_post_all, args=(port, f"{number}-{n}", each, size, sent, told[n]))
        for n in range(size.threads)
    ]
    for it in threads:
        it.start()
    for it in threads:
        it.join()
    counts.put(sum(told, Counter()))


def _post_all(port: int, name: str, operations: int, size: Size, sent: Any, told: Counter[str]) -> None:
    rng, orders, done = random.Random(f"{size.seed} {name}"), list[tuple[str, str]](), 0
    connection: http.client.HTTPConnection | None = None
    while done < operations:
        lines = []
        for place in range(done, min(done + BATCH, operations)):
            type_ = rng.choice(["checkin", "checkin", "order.paid", "order.refunded", "want", "want", "done", "cancel"])
            user, data = f"u{rng.randrange(USERS)}", {}
            if type_ == "order.refunded" and not orders:
                type_ = "checkin"
            if type_ == "order.paid":
                orders.append((user, f"{name}/{place}"))
                data = {"order_id": f"{name}/{place}"}
            elif type_ == "order.refunded":
                user, order = orders.pop(rng.randrange(len(orders)))
                data = {"order_id": order}
            told[type_] += 1
            now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
            lines.append(json.dumps({"id": f"{name}.{place}", "type": type_, "user": user, "time": now, "data": data}))
        body = "\n".join(lines).encode()
        ends = time.monotonic() + size.seconds
        while True:  # the same again under the same ids, until it is known to be there
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                headers = {"content-type": "application/x-ndjson", "authorization": f"Bearer {TOKEN}"}
                connection.request("POST", "/v1/events", body, headers)
                answer = connection.getresponse()
                answer.read()
                if answer.status == 202:
                    break
            except (OSError, http.client.HTTPException):
                if connection is not None:
                    connection.close()
                connection = None
            assert time.monotonic() < ends, "nobody answers"
            threading.Event().wait(rng.uniform(0.01, 0.1))
        done += len(lines)
        with sent.get_lock():
            sent.value += len(lines)


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port
