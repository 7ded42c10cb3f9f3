"""A daemon of its own process with an HTTP feed and a channel to a file, and what a test asks of it."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from engine.stores.sqlite import SqliteStore

FILES = {
    "drumbeat.yaml": """\
program: service
feeds: [{http: {port: 0}}]
channels: {box: {via: file, path: out/box.jsonl}}
policies: {default: {quiet_hours: never, consent: {service: none}}}
""",
    "playbooks/hello.yaml": """\
playbook: hello
title: Hello
trigger: {signup: true}
entry: {mode: once, limit: unlimited}
steps:
  - message: {template: hello, via: box, purpose: service}
""",
    "templates/hello.box.j2": "hello",
}
PATIENCE = 120.0
"""Seconds after which something that should happen has not."""


def write(root: Path, files: Mapping[str, str]) -> None:
    """The files of a program, each whole or not at all."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(path.name + ".new")
        fresh.write_text(text, encoding="utf-8")
        fresh.rename(path)


def stamp() -> str:
    """The present, as a record writes it."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def signups(users: Iterable[str], **data: Any) -> bytes:
    """A batch of records: each user signs up now."""
    at = stamp()
    rows = ({"id": f"e-{it}", "type": "user.signup", "user": it, "time": at, "data": data} for it in users)
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


class Service:
    """One daemon after the other on one program; ``store``: elsewhere than in the program's folder."""

    def __init__(self, root: Path, files: Mapping[str, str] = FILES, store: Path | None = None) -> None:
        self.root = root
        self.store = store or root / "drumbeat.db"
        self.port = 0
        self.daemon: subprocess.Popen[bytes] | None = None
        self.log = root / "log.txt"
        write(root, files)

    def start(self, log: IO[bytes] | None = None, port: bool = True) -> None:
        """Begin, and wait until it is at work; ``log``: where its error stream goes, when it cannot be read here."""
        words = [sys.executable, "-m", "engine", "run", "--program", str(self.root), "--store", f"sqlite:///{self.store}"]
        stream = log or self.log.open("ab")
        before = 0 if log else self.log.stat().st_size
        self.daemon = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=stream)
        if log is None:
            stream.close()
            self.until(lambda: b"at work" in self.log.read_bytes()[before:])
            found = re.search(rb"listening: http://[^:]+:(\d+)", self.log.read_bytes()[before:])
            self.port = int(found[1]) if found else 0

    def end(self, how: int = signal.SIGTERM) -> None:
        """It leaves, in order or not."""
        assert self.daemon is not None
        self.daemon.send_signal(how)
        code = self.daemon.wait(PATIENCE)
        assert code == (0 if how == signal.SIGTERM else -how)

    def stop(self) -> None:
        """Whatever became of it, it is gone."""
        if self.daemon is not None and self.daemon.poll() is None:
            self.daemon.kill()
            self.daemon.wait()

    def until(self, true: Callable[[], Any], seconds: float = PATIENCE) -> float:
        """Look again and again until something is so; how many seconds it took."""
        begun = time.monotonic()
        while not true():
            assert time.monotonic() - begun < seconds, "it never came: " + self.told()[-2_000:]
            assert self.daemon is None or self.daemon.poll() is None, self.told()[-2_000:]
            time.sleep(0.02)
        return time.monotonic() - begun

    def told(self) -> str:
        """What it said so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    # -- over HTTP

    def connection(self, timeout: float = 60) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def post(self, body: bytes, on: http.client.HTTPConnection | None = None) -> tuple[int, Any, Mapping[str, str]]:
        """Post a batch; (status, body, headers)."""
        own = on or self.connection()
        try:
            own.request("POST", "/v1/events", body, {"content-type": "application/x-ndjson"})
            answer = own.getresponse()
            return answer.status, json.loads(answer.read()), dict(answer.getheaders())
        finally:
            if on is None:
                own.close()

    def get(self, path: str) -> tuple[int, bytes]:
        own = self.connection()
        try:
            own.request("GET", path)
            answer = own.getresponse()
            return answer.status, answer.read()
        finally:
            own.close()

    # -- the process and the store

    def memory(self, what: str = "VmRSS") -> float:
        """MB it holds (VmRSS), or the most it ever held (VmHWM)."""
        assert self.daemon is not None
        lines = Path(f"/proc/{self.daemon.pid}/status").read_text().splitlines()
        return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(what)), 0.0)

    def sent(self) -> list[tuple[str, str]]:
        """(user, text) of the messages that went out."""
        path = self.root / "out" / "box.jsonl"
        rows = [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []
        return [(row["user"], row["text"]) for row in rows]

    def sound(self) -> bool:
        """Is every promise of the store kept?"""
        store = SqliteStore.open(self.store, read_only=True)
        try:
            return store.check() == []
        finally:
            store.close()

