"""``drumbeat run`` as a service: real processes, real signals, real files.

``DRUMBEAT_LOCK_SECONDS`` says how long somebody else holds the store's lock (default 0.5; the daemon waits 10).
"""

from __future__ import annotations

import http.client
import json
import os
import re
import resource
import select
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from engine.cli.service import Signals
from engine.stores.sqlite import SqliteStore

FILES = {
    "drumbeat.yaml": """\
program: service
feeds: [{file: feed/a.jsonl}]
channels: {box: {via: file, path: out/box.jsonl}}
policies: {default: {quiet_hours: never, consent: {service: none}}}
""",
    "playbooks/hello.yaml": """\
playbook: hello
title: Hello, and again
trigger: {signup: true}
entry: {mode: once, limit: unlimited}
steps:
  - message: {template: hello, via: box, purpose: service}
  - wait: 1s
  - message: {template: again, via: box, purpose: service}
""",
    "templates/hello.box.j2": "hello",
    "templates/again.box.j2": "again",
}
HELD = float(os.environ.get("DRUMBEAT_LOCK_SECONDS", "0.5"))
PATIENCE = 60.0
"""Seconds after which something that should happen has not."""


class Service:
    """A program in a folder and the daemons at work on it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.all: list[subprocess.Popen[str]] = []
        self.number = 0
        for name, text in FILES.items():
            self.write(name, text)
        (root / "feed").mkdir()

    def write(self, name: str, text: str) -> None:
        """A file, whole or not at all, as editors write."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(path.name + ".new")
        fresh.write_text(text, encoding="utf-8")
        fresh.rename(path)

    def start(self, *words: str) -> subprocess.Popen[str]:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "engine", "run", *words, "--program", str(self.root)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.all.append(daemon)
        return daemon

    def at_work(self, *words: str) -> subprocess.Popen[str]:
        """A daemon that has said that it is at work."""
        daemon = self.start(*words)
        self.hears(daemon, "at work")
        return daemon

    def hears(self, daemon: subprocess.Popen[str], words: str) -> str:
        """Wait until a daemon says something on its error stream."""
        assert daemon.stderr is not None
        ends = time.monotonic() + PATIENCE
        heard = ""
        while words not in heard:
            ready, _, _ = select.select([daemon.stderr], [], [], max(0.0, ends - time.monotonic()))
            piece = os.read(daemon.stderr.fileno(), 65_536).decode() if ready else ""
            assert piece, f"never said {words!r}, but {heard!r}"
            heard += piece
        return heard

    def say(self, user: str, ago: float = 0.0) -> None:
        self.number += 1
        at = (datetime.now(UTC) - timedelta(seconds=ago)).isoformat().replace("+00:00", "Z")
        row = {"id": f"e{self.number}", "type": "user.signup", "user": user, "time": at}
        with (self.root / "feed" / "a.jsonl").open("a") as feed:
            feed.write(json.dumps(row) + "\n")

    def sent(self) -> list[tuple[str, str]]:
        path = self.root / "out" / "box.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [(row["user"], row["text"]) for row in rows]

    def until(self, true: Callable[[], Any]) -> None:
        """Look again and again until something is so."""
        ends = time.monotonic() + PATIENCE
        while not true():
            assert time.monotonic() < ends, f"it never came; sent was {self.sent()}"
            select.select([], [], [], 0.02)

    def ends(self, daemon: subprocess.Popen[str], code: int) -> tuple[str, str]:
        out, err = daemon.communicate(timeout=PATIENCE)
        assert daemon.returncode == code, err
        return out, err


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = Service(tmp_path)
    yield made
    for daemon in made.all:
        if daemon.poll() is None:
            daemon.kill()
        daemon.communicate()


def test_events_wakeups_and_leaving(service: Service) -> None:
    """A daemon decides what comes, wakes who is due, and leaves in order at SIGTERM."""
    daemon = service.at_work()
    service.say("u1")
    service.until(lambda: service.sent() == [("u1", "hello"), ("u1", "again")])
    daemon.send_signal(signal.SIGTERM)
    out, _ = service.ends(daemon, 0)
    assert "1 accepted of 1 read" in out
    assert "2 sent" in out


def test_a_crash_leaves_no_core(service: Service) -> None:
    """Whatever its surroundings allow, the daemon's own memory is never written to a disk when it crashes.

    Threat: secret.logs — core dumps
    """
    allowed = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (allowed[1], allowed[1]))
    try:
        daemon = service.at_work()
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, allowed)
    limits = Path(f"/proc/{daemon.pid}/limits").read_text(encoding="ascii")
    (line,) = (it for it in limits.splitlines() if it.startswith("Max core file size"))
    assert line.split()[4] == "0"


def test_links_of_messages_are_answered(service: Service) -> None:
    """What was sent holds links to the daemon itself: a click is led on, a POST unsubscribes, and nothing more is sent.

    Semantics: link.click, link.unsubscribe
    """
    base, policy = "https://go.shop.example", "policies: {default: {quiet_hours: never, consent: {service: opt_out}}}"
    head = FILES["drumbeat.yaml"].partition("policies:")[0].replace("feeds: [", "feeds: [{http: {port: 0}}, ")
    service.write("drumbeat.yaml", f"{head}{policy}\nlinks: {{base: {base}, hosts: [shop.example]}}\n")
    service.write(
        "templates/hello.box.j2",
        '---\nlink_tea: "https://shop.example/tea?u={{ user.id }}"\n---\n{{ links.tea }} {{ links.unsubscribe }}',
    )
    service.write(
        "playbooks/hello.yaml",
        FILES["playbooks/hello.yaml"].replace("wait: 1s", "wait_for: {event: message.unsubscribed, up_to: 1h}"),
    )
    daemon = service.start()
    port = int(re.search(r"listening: http://127.0.0.1:(\d+)", service.hears(daemon, "at work"))[1])  # type: ignore[index]  # heard
    service.say("u1")
    service.until(service.sent)
    ((_, text),) = service.sent()
    click, leave = (it.removeprefix(base) for it in text.split(" "))

    def ask(method: str, path: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        connection.request(method, path, headers={"host": "go.shop.example"})
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer

    led = ask("GET", click)
    assert (led.status, led.getheader("location")) == (302, "https://shop.example/tea?u=u1")
    assert [ask("GET", leave).status, ask("POST", leave).status, ask("POST", leave[:-1]).status] == [200, 200, 404]

    def decided() -> list[tuple[str, str | None]]:
        store = SqliteStore.open(service.root / "drumbeat.db", read_only=True)
        try:
            return [(it.status, it.reason) for it, _ in store.effects() if it.kind == "message"]
        finally:
            store.close()

    service.until(lambda: len(decided()) == 2)
    assert decided()[1] == ("suppressed", "consent")
    daemon.send_signal(signal.SIGTERM)
    service.ends(daemon, 0)
    assert len(service.sent()) == 1


def test_one_object_as_json(service: Service) -> None:
    """With --format json standard output holds one object, the counters."""
    daemon = service.at_work("--format", "json")
    service.say("u1")
    service.until(lambda: len(service.sent()) == 2)
    daemon.send_signal(signal.SIGINT)
    out, _ = service.ends(daemon, 0)
    assert json.loads(out)["counts"]["deliveries.sent"] == 2


def test_leaving_under_load_loses_nothing(service: Service) -> None:
    """SIGTERM again and again while events come in: each leaves in order, nothing stays in doubt, nothing is lost.

    Failure: leave.drain
    """
    rounds, each = 4, 50
    for turn in range(rounds):
        daemon = service.at_work()
        for number in range(each):
            service.say(f"u{turn}-{number}")
        daemon.send_signal(signal.SIGTERM)
        service.ends(daemon, 0)
        with sqlite3.connect(service.root / "drumbeat.db") as db:
            stuck = db.execute("select count(*) from effect where delivery in ('sending', 'unknown')").fetchone()[0]
        db.close()
        assert stuck == 0
    service.at_work()
    service.until(lambda: len(service.sent()) == 2 * rounds * each)
    assert len(set(service.sent())) == 2 * rounds * each


def test_once(service: Service) -> None:
    """--once does what is there and what is due by now, and leaves; run again later it does the rest."""
    service.say("u1", ago=30)
    out, _ = service.ends(service.start("--once"), 0)
    assert "1 accepted of 1 read" in out
    assert service.sent()[0] == ("u1", "hello")

    def all_of_it() -> bool:
        service.ends(service.start("--once"), 0)
        return service.sent() == [("u1", "hello"), ("u1", "again")]

    service.until(all_of_it)


def test_a_second_daemon_leaves(service: Service) -> None:
    """Two daemons on one store: the second says who has it and leaves with 3.

    Semantics: store.one-writer — daemons too
    """
    first = service.at_work()
    _, err = service.ends(service.start(), 3)
    assert f"is being written by process {first.pid}" in err


def test_standing_by(service: Service) -> None:
    """With --standby the second waits, and takes over when the first is killed; what the first had begun goes on.

    Failure: two.daemons — handed over
    """
    first = service.at_work()
    second = service.start("--standby")
    service.hears(second, "standing by")
    for number in range(3):
        service.say(f"u{number}")
        service.until(lambda user=f"u{number}": (user, "hello") in service.sent())  # type: ignore[misc]
        first.kill()
        service.hears(second, "at work")
        first, second = second, service.start("--standby")
        service.hears(second, "standing by")
    service.until(lambda: len(service.sent()) == 6)
    assert len(set(service.sent())) == 6


def test_standing_by_and_told_to_leave(service: Service) -> None:
    """Who waits for the store can be told to leave."""
    service.at_work()
    second = service.start("--standby")
    service.hears(second, "standing by")
    second.send_signal(signal.SIGTERM)
    service.ends(second, 0)


def test_an_edit_is_put_to_work(service: Service) -> None:
    """An edited program is at work without a restart."""
    service.at_work()
    service.say("u1")
    service.until(lambda: ("u1", "hello") in service.sent())
    service.write("templates/hello.box.j2", "good day")
    users = iter(range(2, 10_000))

    def greeted_anew() -> bool:
        service.say(f"u{next(users)}")
        return any(text == "good day" for _, text in service.sent())

    service.until(greeted_anew)
    service.until(lambda: ("u1", "again") in service.sent())


def test_a_broken_edit_is_told_and_left_alone(service: Service) -> None:
    """A broken file is told with its place; the program at work goes on, over a restart too, until the file is right.

    Semantics: reload.whole — the last good program stays at work, also after a restart
    Failure: edit.broken
    """
    daemon = service.at_work()
    service.say("u1")
    service.until(lambda: len(service.sent()) == 2)
    service.write("playbooks/hello.yaml", FILES["playbooks/hello.yaml"].replace("wait: 1s", "wiat: 1s"))
    assert "playbooks/hello.yaml:7:" in service.hears(daemon, "stay at work")
    service.say("u2")
    service.until(lambda: len(service.sent()) == 4)
    daemon.send_signal(signal.SIGTERM)
    service.ends(daemon, 0)
    daemon = service.start()
    assert "playbooks/hello.yaml:7:" in service.hears(daemon, "stay at work")
    service.say("u3")
    service.until(lambda: len(service.sent()) == 6)
    service.write("playbooks/hello.yaml", FILES["playbooks/hello.yaml"].replace("template: hello", "template: again"))
    users = iter(range(4, 10_000))

    def greeted_anew() -> bool:
        service.say(f"u{next(users)}")
        return any(
            service.sent()[n] == (user, "again")
            for n, (user, text) in enumerate(service.sent())
            if (user, "hello") not in service.sent()
        )

    service.until(greeted_anew)


def test_a_hangup_compiles_at_once(service: Service) -> None:
    """SIGHUP compiles the files although nothing changed, and nothing changes by it."""
    daemon = service.at_work()
    service.write("drumbeat.yaml", "program: [")
    service.hears(daemon, "stay at work")
    daemon.send_signal(signal.SIGHUP)
    service.hears(daemon, "stay at work")
    service.say("u1")
    service.until(lambda: len(service.sent()) == 2)


def test_a_program_that_never_was_whole(service: Service) -> None:
    """Without a last good program a broken one is refused with 1, and its problems.

    Failure: edit.broken — after a restart
    """
    service.write("playbooks/hello.yaml", "playbook: hello\n")
    _, err = service.ends(service.start(), 1)
    assert "playbooks/hello.yaml:1:" in err


def test_killed_at_any_moment(service: Service) -> None:
    """SIGKILL while events come in, again and again: everybody has both messages once.

    Semantics: store.atomic — for the daemon, killed from outside
    Failure: kill.anywhere — the daemon
    """
    users = 0
    for turn in range(8):
        daemon = service.at_work()
        for _ in range(20 + 5 * turn):
            service.say(f"u{users}")
            users += 1
        before = len(service.sent())
        service.until(lambda was=before: len(service.sent()) > was)  # type: ignore[misc]
        daemon.kill()
        daemon.communicate()
    service.at_work()
    service.until(lambda: len(service.sent()) >= 2 * users)
    assert sorted(service.sent()) == sorted((f"u{n}", text) for n in range(users) for text in ("hello", "again"))


def test_a_full_disk(service: Service) -> None:
    """No byte can be added to the store for a while: the daemon says so, stays, and does everything afterwards.

    Semantics: store.trouble — a limit of the system on the size of files stands in for the disk
    """
    daemon = service.at_work()
    service.say("u1")
    service.until(lambda: len(service.sent()) == 2)
    size = (service.root / "drumbeat.db-wal").stat().st_size
    _, most = resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (size, most))
    for number in range(2, 50):
        service.say(f"u{number}")
    service.hears(daemon, "the store cannot be written")
    assert daemon.poll() is None
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (most, most))
    service.until(lambda: len(service.sent()) == 98)
    assert len(set(service.sent())) == 98
    daemon.send_signal(signal.SIGTERM)
    service.ends(daemon, 0)


def test_somebody_holds_the_lock(service: Service) -> None:
    """A foreign process writes the store for a while: nothing is lost or done twice, it is told at most once, and the
    daemon goes on.

    Semantics: store.trouble — locked by another, for as long as it may
    Failure: busy.lock — by a process that takes its time
    """
    daemon = service.at_work()
    service.say("u0")
    service.until(lambda: len(service.sent()) == 2)
    other = sqlite3.connect(service.root / "drumbeat.db", isolation_level=None, timeout=PATIENCE)
    other.execute("begin immediate")
    ends, users = time.monotonic() + HELD, 0
    while time.monotonic() < ends:
        users += 1
        service.say(f"u{users}")
        select.select([], [], [], HELD / 20)
    assert len(service.sent()) == 2
    assert daemon.poll() is None
    other.execute("rollback")
    other.close()
    service.until(lambda: len(service.sent()) == 2 * (users + 1))
    assert len(set(service.sent())) == 2 * (users + 1)
    daemon.send_signal(signal.SIGTERM)
    _, err = service.ends(daemon, 0)
    told = err.count("the store cannot be written:")
    assert told == err.count("the store can be written again") == (HELD > 15)


def test_a_copied_store_sends_nothing(service: Service, tmp_path: Path) -> None:
    """A daemon on a copy of a store decides, and says that it sends nothing; the messages wait.

    Semantics: store.restored — by the daemon, too
    """
    service.say("u1")
    service.ends(service.start("--once"), 0)
    for path in tmp_path.glob("drumbeat.db*"):
        path.rename(path.with_name(path.name.replace("drumbeat", "copy")))
    before = service.sent()
    daemon = service.start("--store", "sqlite:///copy.db")
    service.hears(daemon, "nothing is sent")
    service.say("u2")

    def decided() -> bool:
        with sqlite3.connect(f"file:{tmp_path / 'copy.db'}?mode=ro", uri=True) as db:
            rows = db.execute("select count(*) from effect where delivery = 'pending'").fetchone()
        db.close()
        return int(rows[0]) >= 2

    service.until(decided)
    daemon.send_signal(signal.SIGTERM)
    service.ends(daemon, 0)
    assert service.sent() == before


def test_told_twice_by_hand() -> None:
    """The first ^C asks the daemon to leave, the second does not wait for it; SIGTERM may come as often as it likes."""
    signals = Signals()
    signals.leave(signal.SIGINT, None)
    assert signals.leaving.is_set()
    signals.leave(signal.SIGTERM, None)
    with pytest.raises(KeyboardInterrupt):
        signals.leave(signal.SIGINT, None)


def test_words_that_do_not_go_together(service: Service) -> None:
    """--until-idle goes by another clock than the daemon."""
    _, err = service.ends(service.start("--until-idle", "--once"), 2)
    assert "--until-idle" in err
