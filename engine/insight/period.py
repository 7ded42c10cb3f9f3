"""All figures of a period, ready for JSON: what ``report`` shows beside the totals of the store."""

from __future__ import annotations

from typing import Any

from engine.core.instants import format_instant
from engine.errors import UsageError
from engine.insight import campaigns, people, rivals, sending
from engine.insight.tables import Source, Span, date_of


def figures(source: Source, first: int | None = None, last: int | None = None) -> dict[str, Any]:
    """Figures from one day to another, both inside; None: from the first, or to the last, of which there are events.

    Raises UsageError for days that lie the wrong way round.
    """
    begin, end, events, _ = source.tables.rows("span")[0]
    today = source.day(source.clock)
    if begin is None:
        begin = end = today
    known = Span(begin, max(end, begin))
    span = Span(known.first if first is None else first, max(known.last, today) if last is None else last)
    if span.last < span.first:
        raise UsageError(
            f"the period ends on {date_of(span.last)}, before it begins on {date_of(span.first)}",
            hint="--from is the earlier day",
        )
    open_ = span.last >= today
    found = {
        "period": _period(source, span, known, events, open_),
        "people": people.activity(source, span, known),
        "hours": people.hours(source, span),
        "retention": people.retention(source, span, min(span.last if not open_ else today - 1, today - 1)),
        "playbooks": campaigns.playbooks(source, span),
        "coupons": sending.coupons(source, span),
        "points": sending.points(source, span),
        "moves": people.moves(source, span),
        "groups": people.groups(source, span, known),
        "channels": sending.channels(source, span),
        "refusals": sending.refusals(source, span),
        "collisions": rivals.collisions(source, span),
    }
    return found


def _period(source: Source, span: Span, known: Span, events: int, open_: bool) -> dict[str, Any]:
    """The days asked for, and how much of what happened in them is known."""
    forgotten, since = source.forgotten, source.entries_since
    return {
        "program": source.plan.program,
        "from": date_of(span.first).isoformat(),
        "to": date_of(span.last).isoformat(),
        "days": span.days,
        "zone": source.plan.env.zone,
        "clock": format_instant(source.clock),
        "events": events,
        "events_from": date_of(known.first).isoformat() if events else None,
        "events_to": date_of(known.last).isoformat() if events else None,
        "events_forgotten_until": None if forgotten is None else format_instant(forgotten),
        "entries_known_since": None if since is None else format_instant(since),
        "last_day_open": open_,
        "activity": sorted(_active_types(source)) or None,
    }


def _active_types(source: Source) -> list[str]:
    """The types that count as activity, where the program names them."""
    if source.plan.default.activity:
        return []
    return [name for name, dispatch in source.plan.dispatch.items() if dispatch.activity]


