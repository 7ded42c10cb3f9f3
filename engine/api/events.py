"""``POST /v1/events``: one JSON event, or a batch of JSON lines.

Rule 1: the content type says which. ``application/json`` is one event, on as many lines as it likes;
``application/x-ndjson`` (or ``application/jsonl``) is one event a line, blank lines left out. Nothing else is read: a
page in somebody's browser can send other types without being asked.
Rule 2: 202 says that every record of the request is durable, as an event, as a repeated one, or in quarantine with its
reason. Nothing else than 202 says that anything was taken.
"""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from engine.api.answers import Refused, json_answer
from engine.api.engine import Engine
from engine.api.gathering import Gathering, Parcel
from engine.api.keys import Keyring
from engine.api.limits import Limits
from engine.api.meters import Meters
from engine.api.newcomers import Bringing, Newcomers
from engine.api.openapi import EVENTS_SPEC
from engine.api.rates import Buckets
from engine.api.ways import Ask, Way
from engine.core.admission import EventTypes
from engine.core.model import Event
from engine.door import read_event, read_many
from engine.errors import EventRejected
from engine.feeds.files import kept
from engine.feeds.http import HttpFeed
from engine.ports import Rejected
from engine.runtime import tracing
from engine.runtime.intake import refusal

ONE = ("application/json",)
LINES = ("application/x-ndjson", "application/ndjson", "application/jsonl")

Line = tuple[int, bytes]


class Events:
    """The door of one feed."""

    def __init__(
        self, feed: HttpFeed, engine: Engine, gathering: Gathering, limits: Limits, meters: Meters,
        newcomers: Newcomers,
    ) -> None:  # fmt: skip
        self._feed = feed
        self._engine = engine
        self._gathering = gathering
        self._limits = limits
        self._meters = meters
        self._newcomers = newcomers

    def way(self, keys: Keyring, buckets: Buckets) -> Way:
        """Its route."""
        return Way(
            method="POST", path=self._feed.path, answer=self.answer, spec=EVENTS_SPEC, body=True, keys=keys,
            buckets=buckets,
        )  # fmt: skip

    async def answer(self, ask: Ask) -> Response:
        """Take what was sent."""
        with tracing.span("ingest") as span:
            span.note(feed=self._feed.name)
            program = self._engine.running()
            lines = lines_of(ask, self._limits)
            ask.charge(len(lines))
            parcel, rows = self._read(lines, program.known_types)
            parcel.by = Bringing(ask.names, self._newcomers)
            places = await self._gathering.put(f"{self._feed.path} {ask.who}", parcel)
            self._feed.took(parcel.size, max((event.time for event, _ in parcel.events), default=None))
            taken = _account(parcel, rows, places)
            counts = {name: taken[name] for name in ("accepted", "duplicate", "quarantined")}
            self._meters.records(self._feed.name, **counts)
            span.note(**counts)
            return json_answer(202, taken)

    def _read(self, lines: list[Line], known_types: EventTypes | None) -> tuple[Parcel, list[dict[str, Any]]]:
        """The parcel, and a row for each record with ``place`` where it is an event of the parcel."""
        now = self._engine.clock.now()
        parcel, rows = Parcel([]), []
        for (number, raw), found in zip(lines, self._events([raw for _, raw in lines]), strict=True):
            event = found if isinstance(found, Event) else None
            words = refusal(found, now, known_types) if isinstance(found, Event) else (found.reason, found.message)
            if event is not None and words is None:
                rows.append({"line": number, "id": event.id, "place": len(parcel.events)})
                parcel.events.append((event, raw))
            elif words is not None:
                reason, message = words
                rows.append({"line": number, "id": event.id if event is not None else None, "words": words})
                parcel.rejected.append(Rejected(self._feed.name, number, reason, message, kept(raw), now))
        return parcel, rows

    def _events(self, lines: list[bytes]) -> list[Event | EventRejected]:
        if self._feed.reader is None and (many := read_many(lines)) is not None:
            return list(many)
        return [self._event(raw) for raw in lines]

    def _event(self, raw: bytes) -> Event | EventRejected:
        try:
            return read_event(raw if self._feed.reader is None else self._feed.reader(raw))
        except EventRejected as error:
            return error


def lines_of(ask: Ask, limits: Limits) -> list[Line]:
    """The records of a body, numbered from 1, none of them parsed; raises Refused."""
    given = ask.request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given not in ONE + LINES:
        hint = f"content-type: {ONE[0]} for one event, {LINES[0]} for a batch"
        raise Refused(415, "content_type", f"content type {given[:80]!r} is not read", hint)
    raw = ask.body.split(b"\n") if given in LINES else [ask.body.strip(b" \t\r\n")]
    lines = [(number, it) for number, line in enumerate(raw, 1) if (it := line.rstrip(b"\r")) and not it.isspace()]
    if not lines:
        raise Refused(400, "empty", "the body holds no record", "send at least one event")
    return bounded(lines, limits)


def bounded(lines: list[Line], limits: Limits) -> list[Line]:
    """The records of a request; raises Refused where there are too many."""
    if len(lines) > limits.batch:
        message = f"the batch has {len(lines)} records; at most {limits.batch} are taken at once"
        raise Refused(413, "batch", message, "send smaller batches")
    return lines


def _account(parcel: Parcel, rows: list[dict[str, Any]], repeated: frozenset[int]) -> dict[str, Any]:
    """What became of each record."""
    records = []
    for row in rows:
        if "words" in row:
            reason, message = row["words"]
            kept_ = {"status": "quarantined", "reason": reason, "message": message}
            records.append({"line": row["line"], "id": row["id"], **kept_})
        else:
            status = "duplicate" if row["place"] in repeated else "accepted"
            records.append({"line": row["line"], "id": row["id"], "status": status})
    return {
        "accepted": len(parcel.events) - len(repeated),
        "duplicate": len(repeated),
        "quarantined": len(parcel.rejected),
        "records": records,
    }
