"""``receipts:`` of a channel: what providers report of messages, without code.

Rule 1: what a status means is written in the program; a word it does not name is passed over, never guessed.
Rule 2: a report without a readable time, or from ahead of us, is of now: that it is told counts, more than when.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.core.instants import format_instant, parse_instant
from engine.core.receipts import GONE, STATUSES
from engine.errors import DrumbeatError
from engine.feeds.mapping import MISSING, Place, time_text


@dataclass(frozen=True)
class Report:
    """What a provider says of one message."""

    id: str  #: the provider's own id of it
    status: str  #: one of STATUSES
    time: str  #: when, as an event writes it

    @property
    def type(self) -> str:
        """The type of the event it is."""
        return "message." + self.status.removesuffix("_permanent")

    @property
    def more(self) -> dict[str, Any]:
        """Data beside what the message was."""
        if self.type != "message.bounced":
            return {"receipt": self.id}
        return {"receipt": self.id, "permanent": self.status == GONE}


class ReceiptMap:
    """Reads the reports of a channel's provider, as ``core/receipts.py`` has its setting."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._id = Place(fields["id"], "id", "receipts")
        self._status = Place(fields["status"], "status", "receipts")
        self._time = Place(fields["time"], "time", "receipts") if "time" in fields else None
        self._unit: str | None = fields.get("time_unit")
        self._statuses: Mapping[str, str] = fields.get("statuses") or {}

    def read(self, payload: dict[str, Any], now: int) -> Report | str:
        """The report in a payload; or why there is none: ``unreadable`` or ``ignored`` (a status without a meaning).

        Parameters
        ----------
        now: instant, microseconds.
        """
        id_, word = _word(self._id.find(payload)), _word(self._status.find(payload))
        if id_ is None or word is None:
            return "unreadable"
        status = self._statuses.get(word, word if word in STATUSES else None)
        return "ignored" if status is None else Report(id_, status, self._when(payload, now))

    def _when(self, payload: dict[str, Any], now: int) -> str:
        if self._time is not None:
            try:
                instant = parse_instant(time_text(payload, self._time, self._unit))
            except (DrumbeatError, ValueError):
                instant = now
            return format_instant(min(instant, now))
        return format_instant(now)


def _word(found: Any) -> str | None:
    if isinstance(found, str):
        return found
    return str(found) if found is not MISSING and isinstance(found, int) and not isinstance(found, bool) else None
