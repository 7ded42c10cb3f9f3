"""A mail server for tests that takes whatever comes: aiosmtpd on 127.0.0.1."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # aiosmtpd speaks of its own future while it is imported
    from aiosmtpd.controller import Controller

MAILS: dict[int, list[bytes]] = {}
"""What came in, by port."""


class FreePort(Controller):  # type: ignore[misc]  # the library has no types
    """A controller that takes port 0: it calls its server once, and has to know where that is."""

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


class _Keeper:
    def __init__(self) -> None:
        self.mails: list[bytes] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.mails.append(envelope.original_content)
        return "250 OK"


@contextmanager
def mailbox() -> Iterator[int]:
    """The port of a server; what it took stands in ``MAILS``."""
    keeper = _Keeper()
    controller = FreePort(keeper, hostname="127.0.0.1", port=0)
    controller.start()
    port: int = controller.port
    MAILS[port] = keeper.mails
    try:
        yield port
    finally:
        controller.stop()
        del MAILS[port]
