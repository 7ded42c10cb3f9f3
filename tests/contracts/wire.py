"""A port that leads to another one until it is cut: a server that goes away and comes back, with all it has."""

from __future__ import annotations

import selectors
import socket
import threading
from contextlib import closing, suppress


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Wire:
    """A port that leads to another one, until it is cut."""

    def __init__(self, port: int) -> None:
        self._to = port
        self.port = free_port()
        self._ends: list[socket.socket] = []
        self._door: socket.socket | None = None

    def mend(self) -> None:
        """Let connections through."""
        door = socket.create_server(("127.0.0.1", self.port), reuse_port=True)
        self._door = door
        threading.Thread(target=self._serve, args=(door,), daemon=True).start()

    def cut(self) -> None:
        """Break what there is, and let nobody in."""
        if self._door is not None:
            with suppress(OSError):  # closing alone does not wake who waits for somebody
                self._door.shutdown(socket.SHUT_RDWR)
            self._door.close()
            self._door = None
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._ends.clear()

    def _serve(self, door: socket.socket) -> None:
        while True:
            try:
                near, _ = door.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                return
            self._ends += [near, far]
            threading.Thread(target=_carry, args=(near, far), daemon=True).start()


def _carry(near: socket.socket, far: socket.socket) -> None:
    with near, far, selectors.DefaultSelector() as ready, suppress(OSError):
        ready.register(near, selectors.EVENT_READ, far)
        ready.register(far, selectors.EVENT_READ, near)
        while True:
            for key, _ in ready.select():
                piece = key.fileobj.recv(1 << 16)  # type: ignore[union-attr]  # both are sockets
                if not piece:
                    return
                key.data.sendall(piece)
