"""What the feeds that listen to somebody else have in common: a thread that fetches, and records in hand.

Rule 1: reading never waits for the network. Only where everything has to be done before leaving (``Site.final``) it
waits until the source has said that there is nothing more.
Rule 2: a source that cannot be reached is tried again, with ever longer pauses; the program goes on meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Final

from engine.door import read_fast, read_slow
from engine.errors import CannotRun, EventRejected
from engine.feeds.inhand import InHand
from engine.feeds.mapping import PayloadMap
from engine.ports import Lag, Record
from engine.site import Site

FIRST_PAUSE: Final = 0.25  #: seconds after the first failure; doubled at each further one
LONGEST_PAUSE: Final = 30.0
_LEAVING: Final = 10.0  #: seconds the thread has to tell its source what is committed, when the feed is closed


def read_record(feed: str, raw: bytes, mapping: PayloadMap | None = None, own_id: str | None = None) -> Record:
    """The record of a payload, without position.

    Parameters
    ----------
    feed: its name.
    raw: the payload; quarantine keeps these bytes.
    mapping: how it becomes an event; None: it is one.
    own_id: id where the payload has none; None refuses it.
    """
    try:
        line = raw if mapping is None else mapping.event_bytes(raw)
        return Record(feed, 0, raw, read_fast(line, own_id) or read_slow(line, own_id))
    except EventRejected as error:
        return Record(feed, 0, raw, reason=error.reason, message=error.message)


class Receiving:
    """A live feed with a thread of its own. A kind says in ``_session`` how it fetches.

    Parameters
    ----------
    name: name of the feed; positions are kept under it.
    site: the surroundings.
    mapping: how payloads become events.
    """

    def __init__(self, name: str, site: Site, mapping: PayloadMap | None) -> None:
        self.name = name
        self._site = site
        self._mapping = mapping
        self._hand = InHand(site.wake)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._pause = FIRST_PAUSE
        self._newest: int | None = None
        self._undelivered: int | None = None  #: records the source still has for us

    def read(self, position: int, limit: int) -> Iterator[Record]:
        """At most ``limit`` records that stand after ``position`` and are not committed."""
        self._begin_work()
        return self._hand.take(position, limit, until_quiet=self._site.final)

    def _begin_work(self) -> None:
        if self._thread is None and not self._stop.is_set():
            self._thread = threading.Thread(target=self._work, name=f"feed {self.name}", daemon=True)
            self._thread.start()

    def acknowledge(self, position: int) -> None:
        """Everything up to a position is committed: the thread tells the source."""
        self._hand.acknowledge(position)

    def lag(self) -> Lag:
        """Where the feed stands, and what stands in its way."""
        waiting, undelivered, failure = self._hand.waiting(), self._undelivered, self._hand.failure()
        behind = None if undelivered is None else undelivered + waiting
        words = failure.message if failure is not None else ""
        return Lag(self._hand.position(), self._newest, behind, words, failure is not None)

    def close(self) -> None:
        """Tell the source what is committed, and leave it."""
        self._stop.set()
        self._hand.stir()
        if self._thread is not None:
            self._thread.join(_LEAVING)
            self._thread = None

    def _session(self) -> None:
        """Fetch until ``_stop`` is set; any exception ends the session, and another one begins later."""
        raise NotImplementedError

    def _failed(self, failure: CannotRun) -> None:
        """A session broke: whoever waits is told."""
        self._hand.failed(failure)

    def _went_well(self) -> None:
        """The source answers: the next failure is a first one again."""
        self._pause = FIRST_PAUSE

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                self._session()
                return
            except Exception as error:  # whatever it is, it must not end the feed
                words = f"{self.name}: {type(error).__name__}: {error}"
                failure = error if isinstance(error, CannotRun) else CannotRun(words)
                self._failed(failure)
                self._site.wake()
            self._stop.wait(self._pause)
            self._pause = min(2 * self._pause, LONGEST_PAUSE)


def need_library(feed: str, extra: str, error: ImportError) -> CannotRun:
    """What to say where the library of an extra is missing."""
    return CannotRun(f"feed '{feed}' needs the library {extra}: {error}", hint=f"pip install 'drumbeat[{extra}]'")
