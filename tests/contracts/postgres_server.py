"""A PostgreSQL server for tests: one a process, made anew in a folder in memory; a schema a test.

Nothing is left when the process ends, however it ends: the server gets a signal when its parent dies. It listens on a
socket file alone. ``fsync`` stays on: in memory it costs nothing.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import count
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from engine.stores.postgres import PgStore

_NAMES = count(1)
_USER = "nobody"  #: the server will not run as root
_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "80",
    "shared_buffers": "32MB",
    "max_wal_size": "256MB",
    "log_min_messages": "fatal",
    "log_min_error_statement": "panic",
}


def program(name: str) -> str:
    """The path of one of the server's programs; skips where it is missing, and fails there in CI."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *map(str, places)]))
    if found is None or shutil.which("setpriv") is None:
        if os.environ.get("DRUMBEAT_CI") == "1":
            pytest.fail(f"{name} is missing: .ci/servers installs it")
        pytest.skip(f"{name} is not installed (Debian: apt-get install postgresql)")
    return found


class PostgresServer:
    """A server of its own, with one database; ``settings`` are added to those of every test."""

    def __init__(self, **settings: str) -> None:
        memory = Path(os.environ.get("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir()))
        initdb, self._program = program("initdb"), program("postgres")
        self.folder = Path(tempfile.mkdtemp(prefix="drumbeat-pg-", dir=memory))
        self.settings = _SETTINGS | settings
        self._process: subprocess.Popen[bytes] | None = None
        if os.geteuid() == 0:
            shutil.chown(self.folder, _USER)
        self._run([
            initdb, "--pgdata", str(self.folder / "data"), "--username", "drumbeat", "--auth", "trust", "--no-sync",
            "--encoding", "UTF8", "--locale", "C.UTF-8",
        ])  # fmt: skip

    def _as(self) -> list[str]:
        ours = ["setpriv", "--pdeathsig", "INT"]
        if os.geteuid() == 0:
            ours += ["--reuid", _USER, "--regid", "nogroup", "--clear-groups"]
        return ours

    def _run(self, command: list[str]) -> None:
        done = subprocess.run([*self._as(), *command], capture_output=True, text=True, cwd=self.folder)
        assert done.returncode == 0, done.stderr

    @property
    def url(self) -> str:
        """Its database."""
        return f"postgresql://drumbeat@/postgres?host={self.folder}"

    @property
    def pid(self) -> int:
        """Its process, of which all others are children."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it answers; it ends with the thread that starts it."""
        import psycopg
        from feed_servers import eventually

        words = [f"--{name}={value}" for name, value in self.settings.items()]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._as(), self._program, "-D", str(self.folder / "data"), "-k", str(self.folder), *words],
                stdout=log, stderr=log, cwd=self.folder,
            )  # fmt: skip

        def answers() -> bool:
            try:
                psycopg.connect(self.url).close()
            except psycopg.OperationalError:
                return False
            return True

        eventually(answers, "PostgreSQL answers", pause=0.02)

    def stop(self, how: int = signal.SIGINT) -> None:
        """Stop it: fast (SIGINT), or at once as a power cut would (SIGQUIT)."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        """Nothing of it is left."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def connect(self) -> Any:
        """A session beside the store's."""
        import psycopg

        return psycopg.connect(self.url, autocommit=True)

    @contextmanager
    def copied(self) -> Iterator[None]:
        """Somebody copies what it writes, as a standby does."""
        copy = self.folder / f"copy{next(_NAMES)}"
        copy.mkdir()
        if os.geteuid() == 0:
            shutil.chown(copy, _USER)
        command = [program("pg_receivewal"), "-D", str(copy), "-h", str(self.folder), "-U", "drumbeat", "--no-sync"]
        process = subprocess.Popen([*self._as(), *command], stderr=subprocess.DEVNULL, cwd=self.folder)
        try:
            yield
        finally:
            process.kill()
            process.wait()

    def commits(self) -> int:
        """How many transactions that wrote it has begun."""
        with self.connect() as db:
            return int(db.execute("select pg_snapshot_xmax(pg_current_snapshot())::text").fetchone()[0])

    def busy(self) -> bool:
        """Does anybody decide on a store of it?"""
        with self.connect() as db:
            return bool(db.execute("select count(*) from pg_locks where locktype = 'advisory'").fetchone()[0])

    def schema(self) -> str:
        """The address of a store that does not exist yet."""
        return f"{self.url}&schema=test_{next(_NAMES)}"


class Proxy:
    """Stands between a session and the server, and can cut it off at its next COMMIT.

    ``cut``: "before": the server never hears of it. "after": the server does it, and its answer is lost.
    """

    def __init__(self, server: PostgresServer) -> None:
        self.cut = ""
        self.cuts = 0
        self._server = str(server.folder / ".s.PGSQL.5432")
        self._port = 6000 + next(_NAMES)
        self._path = server.folder / f".s.PGSQL.{self._port}"
        self._door = socket.socket(socket.AF_UNIX)
        self._door.bind(str(self._path))
        self._door.listen()
        Thread(target=self._admit, daemon=True).start()

    def through(self, url: str) -> str:
        """The same store by way of here."""
        return f"{url}&port={self._port}"

    def close(self) -> None:
        """Nobody is let in any more."""
        self._door.close()
        self._path.unlink()

    def _admit(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._door.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._server)
                Thread(target=self._there, args=(client, server), daemon=True).start()
                Thread(target=self._back, args=(server, client), daemon=True).start()

    def _there(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError), client, server:
            while data := client.recv(1 << 16):
                if self.cut and b"commit\0" in data:
                    how, self.cut = self.cut, ""
                    self.cuts += 1
                    if how == "after":
                        client.shutdown(socket.SHUT_RDWR)  # the answer finds nobody
                        server.sendall(data)
                        server.shutdown(socket.SHUT_WR)
                        while server.recv(1 << 16):
                            """Until the server has done it and hung up."""
                    for end in (client, server):
                        with suppress(OSError):
                            end.shutdown(socket.SHUT_RDWR)
                    return
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def _back(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(1 << 16):
                client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)


@cache
def _common() -> PostgresServer:
    server = PostgresServer()
    atexit.register(server.remove)
    server.start()
    return server


def server() -> PostgresServer:
    """The server all tests of this process share."""
    program("postgres")
    return _common()


@contextmanager
def store(**how: Any) -> Iterator[PgStore]:
    """A new store on the common server."""
    made = PgStore.open(server().schema(), **how)
    try:
        yield made
    finally:
        made.close()
