"""Lines from standard input as a live feed.

Rule 1: standard input has no memory. What was read and not committed when the process died is gone, unless whoever
writes sends it again; what was committed is then dropped by its id.
Rule 2: who writes faster than is decided waits: the pipe is only read while there is room.
"""

from __future__ import annotations

import io
import os
import select
import threading
from collections.abc import Mapping
from typing import Any, Final, cast

from engine.core.shapes import Map, optional
from engine.door import MAX_EVENT
from engine.feeds.files import is_blank, kept, split_lines
from engine.feeds.mapping import SHAPE, PayloadMap, check_map
from engine.feeds.receiving import Receiving, read_record
from engine.ports import Lag
from engine.site import Site

_LOOK: Final = 0.25  #: seconds after which the thread looks whether it is to stop


class StdinFeed(Receiving):
    """JSON lines from standard input.

    There is no going back on it: send a stream that broke off once more, and what was decided is dropped by its id.
    Positions count lines. The end of the input ends the feed, not the daemon.

    Example:
        - stdin: true
    """

    shape = Map({"map": optional(SHAPE, "which fields of a payload form an event")}, flag=True)

    def __init__(self, site: Site, mapping: PayloadMap | None = None, *, fd: int = 0) -> None:
        super().__init__("stdin", site, mapping)
        self._fd = fd
        self._lines = 0
        self._ended = False

    @staticmethod
    def check(fields: Mapping[str, Any]) -> None:
        """What can be said without opening it; raises UsageError."""
        check_map(fields)

    @classmethod
    def open(cls, fields: Mapping[str, Any], site: Site) -> list[StdinFeed]:
        """The feed; raises UsageError for a mapping that is none."""
        return [cls(site, PayloadMap.of(fields["map"]) if "map" in fields else None)]

    def lag(self) -> Lag:
        """What was read and is not committed; nobody knows what is still to come."""
        lag = super().lag()
        lag.behind = self._hand.waiting()
        lag.says = lag.says or ("standard input has ended" if self._ended else "")
        return lag

    def _session(self) -> None:
        stream = cast("io.RawIOBase", _Pipe(self._fd, self._stop))
        with io.BufferedReader(stream) as file:
            for line in split_lines(file):
                if self._stop.is_set() and not line.finished:
                    return
                self._lines += 1
                if not is_blank(line.raw):
                    self._take(line.raw)
                if self._stop.is_set():
                    return
        self._ended = not self._stop.is_set()
        self._hand.quiet()
        self._site.wake()

    def _take(self, raw: bytes) -> None:
        while not self._hand.room() and not self._stop.is_set():
            self._forget()
            self._hand.wait_for_room(_LOOK)
        self._forget()
        if len(raw) > MAX_EVENT:
            record = read_record(self.name, raw.rstrip(b"\r\n"))  # refused by its size, before any mapping
            record.raw = kept(raw)
        else:
            record = read_record(self.name, raw.rstrip(b"\r\n"), self._mapping)
        self._hand.put(record, 0, self._lines)

    def _forget(self) -> None:
        """There is nobody to be told."""
        self._hand.told(self._hand.committed())


class _Pipe(io.RawIOBase):
    """A descriptor read so that the reading can be stopped: a thread that hangs in it could not be ended."""

    def __init__(self, fd: int, stop: threading.Event) -> None:
        self._fd = fd
        self._stop = stop

    def readable(self) -> bool:
        return True

    def readinto(self, target: object) -> int:
        out = memoryview(cast("bytearray", target)).cast("B")
        while not self._stop.is_set():
            ready, _, _ = select.select([self._fd], [], [], _LOOK)
            if ready:
                piece = os.read(self._fd, len(out))
                out[: len(piece)] = piece
                return len(piece)
        return 0
