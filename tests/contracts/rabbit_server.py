"""A RabbitMQ server for tests: a node of its own on free ports of this machine."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from feed_servers import DEADLINE, Server, eventually
from wire import free_port

PROGRAM = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")  # the one on the PATH changes to another user


class RabbitServer(Server):
    """A node without plugins.

    Parameters
    ----------
    folder: all it has.
    port: of one that runs already; 0: it is still to be started.
    """

    def __init__(self, folder: Path, port: int = 0) -> None:
        if not PROGRAM.exists():
            if os.environ.get("DRUMBEAT_CI") == "1":
                pytest.fail("rabbitmq-server is missing: .ci/servers installs it")
            pytest.skip("rabbitmq-server is not installed (Debian: apt-get install rabbitmq-server)")
        super().__init__(folder)
        self.port, names, far = port or free_port(), free_port(), free_port()
        if port:
            return
        (folder / "plugins").write_text("[].\n")
        (folder / "server.conf").write_text("loopback_users = none\n")
        self._environment = {
            **os.environ,
            "HOME": str(folder),
            "ERL_EPMD_PORT": str(names),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"test{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(far),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "logs"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_CONFIG_FILE": str(folder / "server"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_FEATURE_FLAGS_FILE": str(folder / "flags"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none",
        }
        self._names = names
        self._name_server: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/%2F"

    def command(self) -> Sequence[str]:
        return [str(PROGRAM)]

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._name_server = subprocess.Popen(
                ["epmd", "-port", str(self._names), "-address", "127.0.0.1"], stdout=log, stderr=log
            )
            self._process = subprocess.Popen(
                self.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder,
                env=self._environment, start_new_session=True,
            )  # fmt: skip
        eventually(self.answers, "RabbitMQ answers", 0.1, 4 * DEADLINE)

    def answers(self) -> bool:
        from pika.exceptions import AMQPError

        try:
            with closing(self.connection()) as found:
                return bool(found.is_open)
        except (AMQPError, OSError):  # not yet
            return False

    def let_go(self) -> tuple[int, int]:
        """The processes (of the node, and of its names); whoever asks has to end them."""
        assert self._process is not None
        assert self._name_server is not None
        for it in (self._process, self._name_server):
            it.returncode = 0  # nobody waits for it here
        return self._process.pid, self._name_server.pid

    def connection(self) -> Any:
        import pika

        return pika.BlockingConnection(pika.URLParameters(self.url))

    def make(self, queue: str) -> None:
        """A quorum queue."""
        with closing(self.connection()) as connection:
            connection.channel().queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})

    def send(self, queue: str, payloads: Sequence[bytes], around: Sequence[dict[str, Any]] = ()) -> None:
        """Publish, each confirmed by the server; ``around``: properties of each."""
        import pika

        with closing(self.connection()) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            for n, it in enumerate(payloads):
                properties = pika.BasicProperties(delivery_mode=2, **(around[n] if around else {}))
                channel.basic_publish("", queue, it, properties, mandatory=True)

    def depth(self, queue: str) -> int:
        """Messages that are given to nobody."""
        with closing(self.connection()) as connection:
            return int(connection.channel().queue_declare(queue, passive=True).method.message_count)


@contextmanager
def shared(place: Path) -> Iterator[RabbitServer]:
    """The server of a folder that several processes know: who comes first starts it, who leaves last ends it."""
    state = place / "rabbit.json"
    with (place / "rabbit.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if state.exists():
            found = json.loads(state.read_text())
            server = RabbitServer(place / "rabbit", found["port"])
        else:
            server = RabbitServer(place / "rabbit")
            try:
                server.start()
            except BaseException:
                _end(*server.let_go())
                raise
            found = {"port": server.port, "pids": server.let_go(), "users": 0}
        state.write_text(json.dumps({**found, "users": found["users"] + 1}))
        fcntl.flock(lock, fcntl.LOCK_UN)
        try:
            yield server
        finally:
            fcntl.flock(lock, fcntl.LOCK_EX)
            found = json.loads(state.read_text())
            found["users"] -= 1
            state.write_text(json.dumps(found))
            if not found["users"]:
                state.unlink()
                _end(*found["pids"])


def _end(node: int, names: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(node, signal.SIGKILL)
    with suppress(ProcessLookupError):
        os.kill(names, signal.SIGKILL)
