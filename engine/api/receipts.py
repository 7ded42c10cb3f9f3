"""``POST /v1/receipts/{channel}``: what a provider reports of messages becomes events of the people who got them.

Rule 1: a report names a message by the id its provider gave it; whose it is, and what it was for, only the store says.
Rule 2: a report of an unknown message, or with a status that means nothing, is counted and no error: providers send
them for as long as they get errors.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from hashlib import sha256

import msgspec
from starlette.responses import Response

from engine.api.answers import Refused, json_answer
from engine.api.engine import Engine
from engine.api.events import Line, bounded, lines_of
from engine.api.gathering import Gathering, Parcel
from engine.api.limits import Limits
from engine.api.links import Brought, asked, delivery_of, event_of
from engine.api.meters import Meters
from engine.api.openapi import RECEIPTS_SPEC
from engine.api.rates import Buckets
from engine.api.ways import Ask, Way
from engine.core.instants import parse_instant
from engine.door import read_payload
from engine.errors import EventRejected
from engine.feeds.receipts import ReceiptMap, Report
from engine.ports import Store
from engine.registry import nearest

COUNTS = ("accepted", "duplicate", "unknown", "ignored", "unreadable")
_LONGEST = 200  #: characters of a provider's id that stand in the id of an event


class Receipts:
    """Takes the reports of all channels.

    Parameters
    ----------
    patience: seconds a report of an unknown message waits, once: some providers are quicker with it than with the
        answer in which they give the message its id.
    """

    def __init__(
        self, engine: Engine, gathering: Gathering, limits: Limits, meters: Meters, *, patience: float = 1.0
    ) -> None:
        self._engine = engine
        self._gathering = gathering
        self._limits = limits
        self._meters = meters
        self._patience = patience

    def way(self, buckets: Buckets | None = None) -> Way:
        """Its route."""
        return Way(
            method="POST", path="/v1/receipts/{channel}", answer=self.answer, spec=RECEIPTS_SPEC, body=True,
            buckets=buckets,
        )  # fmt: skip

    async def answer(self, ask: Ask) -> Response:
        """Take reports."""
        channel = ask.request.path_params["channel"]
        reader = self._reader(channel)
        lines = self._lines(ask)
        ask.charge(len(lines))
        counts = Counter(dict.fromkeys(COUNTS, 0))
        reports = self._reports(reader, lines, counts)
        found = await asked(self._engine, lambda store: events_of(store, channel, reports))
        if None in found:
            await asyncio.sleep(self._patience)
            found = await asked(self._engine, lambda store: events_of(store, channel, reports))
        events = [it for it in found if it is not None]
        repeated = await self._gathering.put(f"receipts {channel} {ask.who}", Parcel(events)) if events else ()
        counts["unknown"] = len(found) - len(events)
        counts["duplicate"], counts["accepted"] = len(repeated), len(events) - len(repeated)
        self._meters.receipts(channel, counts)
        return json_answer(202, dict(counts))

    def _reader(self, channel: str) -> ReceiptMap:
        known = {name: it for name, it in self._engine.running().plan.channels.items() if it.receipts is not None}
        found = known.get(channel)
        if found is None or found.receipts is None:
            near = nearest(channel, known)
            hint = f"did you mean '{near}'?" if near else "channels: {NAME: {receipts: {id: data.id, status: type}}}"
            raise Refused(404, "channel", f"no channel with receipts is called {channel[:80]!r}", hint)
        return ReceiptMap(found.receipts)

    def _lines(self, ask: Ask) -> list[Line]:
        """The reports of a request, none of them parsed; a list is taken apart."""
        lines = lines_of(ask, self._limits)
        if len(lines) == 1 and lines[0][1].lstrip()[:1] == b"[":
            try:
                items = msgspec.json.decode(lines[0][1], type=list[msgspec.Raw])
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                raise Refused(400, "json", "the list is not JSON", "send a list of objects") from None
            lines = bounded([(number, bytes(it)) for number, it in enumerate(items, 1)], self._limits)
        return lines

    def _reports(self, reader: ReceiptMap, lines: list[Line], counts: Counter[str]) -> list[Report]:
        now = self._engine.clock.now()
        found: list[Report] = []
        for _, raw in lines:
            try:
                read = reader.read(read_payload(raw), now)
            except EventRejected:
                read = "unreadable"
            if isinstance(read, Report):
                found.append(read)
            else:
                counts[read] += 1
        return found


def events_of(store: Store, channel: str, reports: list[Report]) -> list[Brought | None]:
    """The event of each report; None where no message of the channel has its id. By the thread of the store."""
    return [_event(store, channel, report) for report in reports]


def _event(store: Store, channel: str, report: Report) -> Brought | None:
    # A mail's own id stands between < and > where mail programs write it, and without them in the store.
    names = dict.fromkeys((report.id, report.id.strip("<>")))
    key = next((it for name in names if name and (it := store.by_receipt(channel, name)) is not None), None)
    found = delivery_of(store, key) if key is not None else None
    if found is None:
        return None
    id_ = report.id if len(report.id) <= _LONGEST else sha256(report.id.encode()).hexdigest()
    name = f"receipt:{channel}:{id_}:{report.status}"
    return event_of(found[0], name, report.type, parse_instant(report.time), report.more)
