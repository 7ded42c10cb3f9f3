"""Redis and NATS servers for tests: started on a free place of this machine, killed and started again at will."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from engine.feeds import kafka as kafka_feed
from engine.feeds import nats as nats_feed
from engine.feeds import redis as redis_feed

T = TypeVar("T")
DEADLINE = 30.0


def eventually(ask: Callable[[], T], what: str, pause: float = 0.01, deadline: float = DEADLINE) -> T:
    """The first answer that is true; fails after a generous deadline."""
    end = time.monotonic() + deadline
    while True:
        found = ask()
        if found:
            return found
        if time.monotonic() > end:
            pytest.fail(f"waited {deadline:.0f} s in vain: {what}; at last: {found!r}")
        time.sleep(pause)


@contextmanager
def brisk() -> Iterator[None]:
    """Servers answer sooner that there is nothing, so that a feed that is closed need not wait for that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redis_feed, "BLOCK", 50)
        patch.setattr(nats_feed, "EXPIRES", 0.05)
        patch.setattr(kafka_feed, "ANSWER", 1.0)
        patch.setattr(kafka_feed, "SILENT", 1_200)  # the mock brokers make others wait so long even for one that left
        yield


def program(name: str) -> str:
    """The path of a server; skips where it is missing, and fails there in CI, which has to install it."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/bin")
    if found is None:
        if os.environ.get("DRUMBEAT_CI") == "1":
            pytest.fail(f"{name} is missing: .ci/servers installs it")
        pytest.skip(f"{name} is not installed (Debian: apt-get install {name})")
    return found


class Server:
    """A process with a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> Sequence[str]:
        raise NotImplementedError

    def answers(self) -> bool:
        raise NotImplementedError

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self.command(), stdout=log, stderr=log, cwd=self.folder)
        eventually(self.answers, f"{type(self).__name__} answers")

    def kill(self) -> None:
        """Kill it, as a power cut would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None


class RedisServer(Server):
    """Redis on a socket file; every write is on the disk before it is answered."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._program = program("redis-server")
        self.url = f"unix://{folder / 'redis.sock'}"

    def command(self) -> Sequence[str]:
        return [
            self._program, "--port", "0", "--unixsocket", str(self.folder / "redis.sock"), "--dir", str(self.folder),
            "--appendonly", "yes", "--appendfsync", "always", "--save", "",
        ]  # fmt: skip

    def client(self) -> Any:
        import redis

        return redis.Redis.from_url(self.url)

    def answers(self) -> bool:
        import redis

        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.exceptions.RedisError:
            return False

    def send(self, stream: str, payloads: Sequence[bytes], field: bytes = b"payload") -> list[bytes]:
        """Add entries with one field; their ids."""
        with self.client() as client:
            return [client.xadd(stream, {field: it}) for it in payloads]

    def unacknowledged(self, stream: str, group: str = "drumbeat") -> int:
        """Entries given out and not acknowledged."""
        with self.client() as client:
            return int(client.xpending(stream, group)["pending"])


class NatsServer(Server):
    """NATS with JetStream, on a port it chose itself at its first start."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._program = program("nats-server")
        self._port = -1

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self._port}"

    def command(self) -> Sequence[str]:
        return [
            self._program, "--addr", "127.0.0.1", "--port", str(self._port), "--jetstream",
            "--store_dir", str(self.folder), "--ports_file_dir", str(self.folder),
        ]  # fmt: skip

    def answers(self) -> bool:
        if self._port < 0:
            for path in self.folder.glob("*.ports"):
                try:
                    found = json.loads(path.read_text())
                except ValueError:  # not written to its end yet
                    return False
                self._port = int(found["nats"][0].rpartition(":")[2])
        return self._port > 0 and self._can(lambda js: js.account_info())

    def _can(self, do: Callable[[Any], Awaitable[Any]]) -> bool:
        try:
            self.run(do)
        except Exception:  # whatever it is, it does not answer yet
            return False
        return True

    def run(self, do: Callable[[Any], Awaitable[T]]) -> T:
        """Do something with JetStream on a connection of its own."""
        from nats.aio.client import Client

        async def work() -> T:
            client = Client()
            await client.connect(self.url, allow_reconnect=False, connect_timeout=2, error_cb=_silent)
            try:
                return await do(client.jetstream(timeout=10))
            finally:
                await client.close()

        return asyncio.run(work())

    def make(self, stream: str) -> None:
        """A stream with one subject."""

        async def do(js: Any) -> None:
            await js.add_stream(name=stream, subjects=[f"{stream}.>"])

        self.run(do)

    def send(self, stream: str, payloads: Sequence[bytes]) -> None:
        """Publish, each answered by the server."""

        async def do(js: Any) -> None:
            for it in payloads:
                await js.publish(f"{stream}.events", it)

        self.run(do)

    def unacknowledged(self, stream: str, durable: str = "drumbeat") -> int:
        """Messages given out and not acknowledged."""

        async def do(js: Any) -> int:
            return int((await js.consumer_info(stream, durable)).num_ack_pending or 0)

        return self.run(do)


async def _silent(error: Exception) -> None:
    """The library would print it."""
