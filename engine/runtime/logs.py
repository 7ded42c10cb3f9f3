"""The daemon's log: one JSON object a line, without secrets and without people's words.

Rule 1: writing a log never holds the engine up: a thread of its own writes, and what it cannot keep up with is
dropped and counted.
Rule 2: a disk that is full, a pipe that is closed: the engine goes on without a log.
Rule 3: what is logged names people by a hash (``masking``). Behind that stands a second wall: known secrets, mail
addresses and telephone numbers are masked in whatever is written.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from logging.handlers import QueueHandler, QueueListener
from queue import Empty, Full, Queue
from typing import TextIO

import msgspec

from engine.core.instants import format_instant

MASK = "***"
_WAITING = 10_000
"""Lines that may wait for the writer."""

_MAIL = re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]{1,190}\.[A-Za-z]{2,24}")
_PHONE = re.compile(r"(?<![\w.:+-])(?:\+\d{1,3}[ -]?)?\d{3}[ -]?\d{3,4}[ -]?\d{4}(?![\w.:])")
_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_encode = msgspec.json.Encoder(enc_hook=str).encode


class Masking:
    """Takes out of a text what must not be seen.

    Parameters
    ----------
    secrets: the secrets in use; asked each time, since a reload may bring new ones.
    """

    def __init__(self, secrets: Callable[[], Collection[str]] = tuple) -> None:
        self._secrets = secrets

    def __call__(self, text: str) -> str:
        for secret in self._secrets():
            if len(secret) >= 4 and secret in text:  # a shorter one would mask half of every line
                text = text.replace(secret, MASK)
        return _PHONE.sub(MASK, _MAIL.sub(MASK, text))


class JsonLines(logging.Formatter):
    """A record as one line of JSON: time, level, where, message, and the fields given with ``extra``."""

    def __init__(self, mask: Masking) -> None:
        super().__init__()
        self._mask = mask

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": format_instant(int(record.created * 1_000) * 1_000),
            "level": record.levelname.lower(),
            "where": record.name,
            "message": self._mask(record.getMessage()),
        }
        for name, value in vars(record).items():
            if name not in _PLAIN:
                line[name] = value if isinstance(value, int | None) else self._mask(str(value))
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
            line["at"] = _places(record.exc_info[2])
        return _encode(line).decode()


class TextLines(logging.Formatter):
    """The same for people: level and message."""

    def __init__(self, mask: Masking) -> None:
        super().__init__()
        self._mask = mask

    def format(self, record: logging.LogRecord) -> str:
        words = f"{record.levelname.lower()}: {self._mask(record.getMessage())}"
        return words.replace("\n", " ")


def _places(trace: object) -> list[str]:
    """Where an error came from: files and lines alone, no values and no text of the source."""
    found = []
    while trace is not None:
        code = trace.tb_frame.f_code  # type: ignore[attr-defined]  # a traceback, as logging hands it over
        found.append(f"{code.co_filename.rpartition('engine/')[2]}:{trace.tb_lineno}")  # type: ignore[attr-defined]
        trace = trace.tb_next  # type: ignore[attr-defined]
    return found[-8:]


class _Patient(QueueHandler):
    """Hands lines to the writer; a queue that is full costs the line."""

    def __init__(self, queue: Queue[logging.LogRecord]) -> None:
        super().__init__(queue)
        self.dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record  # the writer formats it; nothing in a record changes afterwards

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except Full:
            self.dropped += 1


class _Bearing(logging.StreamHandler[TextIO]):
    """Writes, and bears it when that fails."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Nothing: there is nowhere to say it."""


@contextmanager
def logging_to(stream: TextIO, mask: Masking, *, as_json: bool, level: int = logging.INFO) -> Iterator[_Patient]:
    """Write the engine's log to a stream; at the end what is waiting is written, as far as the stream takes it."""
    handler = _Bearing(stream)
    handler.setFormatter(JsonLines(mask) if as_json else TextLines(mask))
    queue: Queue[logging.LogRecord] = Queue(_WAITING)
    patient = _Patient(queue)
    listener = QueueListener(queue, handler)
    top = logging.getLogger("engine")
    before = top.level, top.propagate
    top.addHandler(patient)
    top.setLevel(level)
    top.propagate = False
    listener.start()
    try:
        yield patient
    finally:
        top.removeHandler(patient)
        top.setLevel(before[0])
        top.propagate = before[1]
        _make_room(queue)
        listener.stop()


def _make_room(queue: Queue[logging.LogRecord]) -> None:
    """The word that ends the writer must find its place."""
    if queue.full():
        try:
            queue.get_nowait()
        except Empty:
            return
