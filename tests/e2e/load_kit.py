"""``drumbeat run`` under load: clients that post, receivers that lie, kills at random, and what became of everything.

Each event gives a point and one message over one of four channels: mail and HTTP, each ``at_least_once`` and
``at_most_once``. The text of a message names its event, so at the receivers it is seen what came twice.
"""

from __future__ import annotations

import http.client
import json
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
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from receivers import Ledger, http_receiver, mail_receiver

from engine.channels.mail import address_of, message_id
from engine.stores.sqlite import SqliteStore

TOKEN = "t" * 32
CHANNELS = ("letter", "notice", "push", "sms")
ONCE = ("notice", "sms")
"""Channels that never send again what may have gone out."""

MAILS = ("letter", "notice")
USERS = 40
"""Users of one client: each has many events."""

SENDER = address_of("a@shop.example", "from")
CONCURRENCY = 8
MAIL_CONCURRENCY, MAIL_BATCH = 2, 20

PROGRAM = """\
program: load
profile: {{email: text, phone: text}}
feeds: [{{http: {{port: {port}, auth: "${{INGEST_TOKEN}}"}}}}]
policies: {{default: {{consent: {{service: none}}, quiet_hours: never}}}}
hosts: {{127.0.0.1: {{rate: 1000000/s, concurrency: 64}}}}
channels:
  letter: {{via: smtp, url: "smtp://127.0.0.1:{mail}", from: a@shop.example, starttls: never, timeout: 2s,
    headers: {{X-Channel: letter}}, mode: at_least_once, attempts: 30, address: user.email}}
  notice: {{via: smtp, url: "smtp://127.0.0.1:{mail}", from: a@shop.example, starttls: never, timeout: 2s,
    headers: {{X-Channel: notice}}, mode: at_most_once, attempts: 30, address: user.email}}
  push: {{via: http, url: "http://127.0.0.1:{http}/push", allow_http: true, allow_private: true, timeout: 2s,
    concurrency: 8, mode: at_least_once, attempts: 30, address: user.phone}}
  sms: {{via: http, url: "http://127.0.0.1:{http}/sms", allow_http: true, allow_private: true, timeout: 2s,
    concurrency: 8, mode: at_most_once, attempts: 30, address: user.phone}}
"""
PLAYBOOK = """\
playbook: {0}
title: One point and one message
trigger: {{event: order.paid, if: event.way == "{0}"}}
entry: {{mode: parallel, limit: unlimited}}
steps:
  - points: 1
  - message: {{template: thanks, via: {0}, purpose: service}}
"""
TEMPLATE = "---\nsubject: Thanks\n---\norder {{ event.n }}\n"
PLAIN = "order {{ event.n }}\n"

QUICK = "import engine.runtime.verdicts as v; v._FIRST_DELAY //= 60; from engine.cli.main import main; main()"
"""The daemon with pauses between tries that a test can wait for."""


@dataclass(frozen=True)
class Size:
    """How much is done."""

    events: int
    kills: int
    clients: int = 4
    quick: bool = False  #: pauses between tries sixty times shorter
    seed: int = 1
    seconds: float = 120  #: in which something has to happen that is waited for


@dataclass
class Told:
    """What the clients were told."""

    accepted: set[str] = field(default_factory=set)  #: numbers of events that were answered 202
    requests: int = 0
    failures: int = 0  #: requests without an answer
    refused: Counter[int] = field(default_factory=Counter)  #: other answers than 202, by status
    lock: threading.Lock = field(default_factory=threading.Lock)


class Load:
    """One program, its daemon, its clients and its receivers."""

    def __init__(self, root: Path, size: Size, ports: tuple[int, int], ledgers: tuple[Ledger, Ledger]) -> None:
        self.root = root
        self.size = size
        self.rng = random.Random(size.seed)
        self.told = Told()
        self.over = threading.Event()
        self.mails, self.posts = ledgers
        self.broken: list[BaseException] = []  #: what ended a client
        self.kills = 0
        self.early = 0  #: kills before the daemon listened
        self.checked = 0  #: times fsck was green
        self.port = _free_port()
        self._write(*ports)

    def _write(self, mail: int, post: int) -> None:
        files = {"drumbeat.yaml": PROGRAM.format(port=self.port, mail=mail, http=post)}
        files["playbooks/catalog.yaml"] = "points: {main: {title: Points}}\n"
        for name in CHANNELS:
            files[f"playbooks/{name}.yaml"] = PLAYBOOK.format(name)
            files[f"templates/thanks.{name}.j2"] = TEMPLATE if name in MAILS else PLAIN
        for name, text in files.items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_text(text, encoding="utf-8")

    # ------------------------------------------------------------------ the daemon

    @contextmanager
    def daemon(self) -> Iterator[subprocess.Popen[bytes]]:
        """``drumbeat run``, as it begins."""
        env = {**os.environ, "INGEST_TOKEN": TOKEN, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        how = ["-c", QUICK] if self.size.quick else ["-m", "engine"]
        with (self.root / "daemon.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *how, "run", "--program", str(self.root)], env=env, stdout=log, stderr=log
            )
            try:
                yield process
            finally:
                process.kill()
                process.wait()

    def until(self, true: Callable[[], Any], process: subprocess.Popen[bytes] | None = None) -> None:
        """Wait for what other processes and threads do."""
        ends, pause = time.monotonic() + self.size.seconds, threading.Event()
        while not true():
            assert not self.broken, repr(self.broken[0])
            if process is not None:
                assert process.poll() is None, (self.root / "daemon.log").read_text()[-4_000:]
            assert time.monotonic() < ends, "it did not happen"
            pause.wait(0.005)

    def done(self) -> int:
        """Everything that has happened so far: acknowledged events and messages that went out."""
        return len(self.told.accepted) + self.mails.count() + self.posts.count()

    def kill_again_and_again(self) -> None:
        """Kill the daemon at instants nobody chose: while it begins, takes in, decides, sends, or settles."""
        total = 2 * self.size.events
        while self.kills < self.size.kills:
            with self.daemon() as process:
                if self.rng.random() < 0.15:  # while it begins, or recovers
                    threading.Event().wait(self.rng.uniform(0.05, 1.5))
                    self.early += not _listens(self.port)
                else:
                    share = (total - self.done()) / (self.size.kills - self.kills)
                    goal = min(self.done() + self.rng.uniform(0.1, 1.2) * max(share, 2), total * 0.97)
                    ends = time.monotonic() + self.size.seconds
                    self.until(lambda goal=goal, ends=ends: self.done() >= goal or time.monotonic() > ends, process)
                    threading.Event().wait(self.rng.uniform(0, 0.02))
                process.send_signal(signal.SIGKILL)
                process.wait()
            self.kills += 1
            self.check()

    def check(self) -> None:
        """Every promise of the store holds."""
        if (self.root / "drumbeat.db").exists():
            store = SqliteStore.open(self.root / "drumbeat.db", read_only=True)
            try:
                assert store.check() == []
            finally:
                store.close()
            self.checked += 1

    def finish(self) -> None:
        """Let the last daemon do what is left, and leave in order."""
        with self.daemon() as process:
            self.until(lambda: len(self.told.accepted) == self.size.events, process)
            self.until(self.settled, process)
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0

    def settled(self) -> bool:
        """Whether nothing waits for its deciding, or is on its way."""
        threading.Event().wait(0.1)
        store = SqliteStore.open(self.root / "drumbeat.db", read_only=True)
        try:
            return not (store.inbox(0, 1) or any(any(store.outbox(it)) for it in ("sending", "pending")))
        finally:
            store.close()

    # ------------------------------------------------------------------ the clients

    def client(self, which: int) -> None:
        """Post one's share; what goes wrong ends everything."""
        try:
            self._post_all(which)
        except BaseException as error:
            self.broken.append(error)

    def _post_all(self, which: int) -> None:
        """Each batch again until it is answered 202."""
        rng = random.Random(f"{self.size.seed}/{which}")
        mine = range(which, self.size.events, self.size.clients)
        place = 0
        while place < len(mine):
            numbers = mine[place : place + rng.choice((1, 1, 5, 20))]
            lines = [json.dumps(self._record(which, number)) for number in numbers]
            if self._post(lines):
                with self.told.lock:
                    self.told.accepted.update(map(str, numbers))
                place += len(numbers)
            elif self.over.wait(0.05):
                return

    def _record(self, which: int, number: int) -> dict[str, Any]:
        at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        data = {"n": number, "way": CHANNELS[number // self.size.clients % len(CHANNELS)]}
        user = f"u{which}-{number // self.size.clients % USERS}"
        return {"id": f"e{number}", "type": "order.paid", "user": user, "time": at, "data": data}

    def _post(self, lines: list[str]) -> bool:
        """Whether the daemon said that it has them."""
        self.told.requests += 1
        try:
            return self._said("\n".join(lines), len(lines))
        except (OSError, http.client.HTTPException, json.JSONDecodeError):
            self.told.failures += 1
            return False

    def _said(self, body: str, count: int) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"content-type": "application/x-ndjson", "authorization": f"Bearer {TOKEN}"}
        try:
            connection.request("POST", "/v1/events", body.encode(), headers)
            answer = connection.getresponse()
            said = json.loads(answer.read())
        finally:
            connection.close()
        if answer.status != 202:
            self.told.refused[answer.status] += 1
            return False
        assert said["accepted"] + said["duplicate"] == count, said
        return True

    def introduce(self) -> None:
        """Everybody's addresses, before anything else."""
        lines = []
        for which in range(self.size.clients):
            for number in range(USERS):
                name = f"u{which}-{number}"
                row = self._record(which, 0) | {"id": f"s{name}", "type": "user.updated", "user": name}
                row["data"] = {"email": f"{name}@home.example", "phone": f"+{which}{number:03d}"}
                lines.append(json.dumps(row))
        with self.daemon() as process:
            self.until(lambda: self._post(lines), process)
            self.until(self.settled, process)
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0

    def run(self) -> None:
        """Everything, from the first request to the last answer."""
        self.introduce()
        threads = [threading.Thread(target=self.client, args=(which,)) for which in range(self.size.clients)]
        for thread in threads:
            thread.start()
        try:
            self.kill_again_and_again()
            self.finish()
        finally:
            self.over.set()
            for thread in threads:
                thread.join()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


@contextmanager
def load(root: Path, size: Size) -> Iterator[Load]:
    """A load whose receivers are there."""
    with ExitStack() as stack:
        mail, mails = stack.enter_context(mail_receiver())
        post, posts = stack.enter_context(http_receiver())
        yield Load(root, size, (mail, post), (mails, posts))


# ---------------------------------------------------------------------- what became of everything


def account(load: Load) -> dict[str, Any]:
    """Check every promise against the store and the receivers; the figures."""
    load.check()
    store = SqliteStore.open(load.root / "drumbeat.db", read_only=True)
    try:
        effects = list(store.effects())
        reasons = {it.item.key: it.reason for status in ("dead", "unknown") for it in store.outbox(status)}
    finally:
        store.close()
    points = [effect for effect, _ in effects if effect.kind == "points"]
    sendings = [(effect, how) for effect, how in effects if effect.kind == "message"]
    _decided_once(load, points, [effect for effect, _ in sendings])
    figures: dict[str, Any] = {
        "events": load.size.events, "requests": load.told.requests, "requests_without_answer": load.told.failures,
        "other_answers": dict(load.told.refused), "kills": load.kills, "kills_while_it_began": load.early,
        "fsck_green": load.checked,
    }  # fmt: skip
    for channel in CHANNELS:
        mine = {effect.key: (str(effect.detail["text"]).strip(), how) for effect, how in sendings
                if effect.deliver == channel}  # fmt: skip
        figures[channel] = _settled_as_promised(load, channel, mine, reasons)
    figures["moods"] = dict(load.mails.met + load.posts.met)
    return figures


def _decided_once(load: Load, points: list[Any], messages: list[Any]) -> None:
    """What was answered 202 is decided exactly once, and nothing else is."""
    wanted = Counter({f"order {number}": 1 for number in load.told.accepted})
    assert Counter(str(it.detail["text"]).strip() for it in messages) == wanted, "accepted is not what was decided"
    clients = load.size.clients
    per_user = Counter(f"u{int(n) % clients}-{int(n) // clients % USERS}" for n in load.told.accepted)
    assert Counter(it.user for it in points) == per_user, "points are lost, or given twice"
    assert all(it.status == "planned" for it in [*points, *messages])


def _settled_as_promised(
    load: Load, channel: str, mine: dict[str, tuple[str, str]], reasons: dict[str, str | None]
) -> dict[str, Any]:
    """Each message has an end with a reason; what a receiver got twice was allowed to, under one key."""
    ledger = load.mails if channel in MAILS else load.posts
    name = _told_key if channel in MAILS else str
    taken = ledger.taken.get(channel, Counter())
    keys: dict[str, set[str]] = {}
    for key, (_, how) in mine.items():
        keys.setdefault(how, set()).add(name(key))
        assert how == "sent" or reasons[key], f"{key} is {how} without a reason"
    sent, dead, unknown = (keys.get(it, set()) for it in ("sent", "dead", "unknown"))
    assert set(keys) <= {"sent", "dead", "unknown"}, set(keys)
    assert sent <= set(taken), "told sent, and never taken"
    assert not dead & set(taken), "told dead, and taken"
    assert set(taken) <= sent | unknown, "taken under a key nobody decided"
    for key, (text, _) in mine.items():
        assert ledger.texts.get(f"{channel}/{text}", set()) <= {name(key)}, "one message under two keys"
    width = MAIL_CONCURRENCY * MAIL_BATCH if channel in MAILS else CONCURRENCY
    doubtful = ledger.silent & {name(key) for key in mine}
    doubles = {key for key, count in taken.items() if count > 1}
    if channel in ONCE:
        assert not doubles, "at_most_once: twice"
        assert doubtful <= unknown, "at_most_once: nobody knows, and it is not parked"
        assert len(unknown - doubtful) <= load.kills * width
    else:
        assert not unknown, "at_least_once: parked"
        assert len(doubles - doubtful) <= load.kills * width, "at_least_once: twice without a doubt"
    return {
        "messages": len(mine), "sent": len(sent), "dead": len(dead), "unknown": len(unknown),
        "taken": taken.total(), "doubled": len(doubles), "doubtful": len(doubtful),
        "in_doubt_by_kills": len((unknown if channel in ONCE else doubles) - doubtful),
    }  # fmt: skip


def _told_key(key: str) -> str:
    """The name a mail server knows a key by."""
    return message_id(key, SENDER)
