"""Who was there: active users by day, week and month, who came back, at which hours, and who moved between levels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from engine.core.groups import NO_CARD
from engine.core.subjects import SIGN
from engine.insight.tables import Source, Span, Standing, date_of, rounded

WEEK, MONTH = 7, 30
"""Days of a week and of a month, as "active users of a week" and "of a month" count them."""

RETURNS = (1, 7, 30)
"""Days after the first at which a return is looked for: that very day."""


def activity(source: Source, span: Span, known: Span) -> dict[str, Any]:
    """Active users. ``known``: the days of which there are events; a week or month not wholly in it has no figure."""
    ask = source.tables.rows
    daily = {day: (active, new) for day, active, new in ask("daily", span.first, span.last)}
    wau = _standing(ask("rolling", WEEK, span.last), span)
    mau = _standing(ask("rolling", MONTH, span.last), span)
    rows = []
    for first, last in span.buckets(span.grain):
        days = range(first, last + 1)
        month = mau[last - span.first] if last >= known.first + MONTH - 1 else None
        rows.append(
            {
                "from": date_of(first).isoformat(),
                "to": date_of(last).isoformat(),
                "dau": rounded(sum(daily.get(day, (0, 0))[0] for day in days) / len(days), 1),
                "new": sum(daily.get(day, (0, 0))[1] for day in days),
                "wau": wau[last - span.first] if last >= known.first + WEEK - 1 else None,
                "mau": month,
            }
        )
    whole = [day for day in range(span.first, span.last + 1) if day >= known.first + MONTH - 1]
    months = sum(mau[day - span.first] for day in whole)
    before = Span(span.first - span.days, span.first - 1)
    return {
        "active": _one(ask("active_in", span.first, span.last)),
        "active_before": _one(ask("active_in", before.first, before.last)) if before.first >= known.first else None,
        "before": _before(source, before, known),
        "new": _one(ask("new_in", span.first, span.last)),
        "dau": rounded(sum(it[0] for it in daily.values()) / span.days, 1),
        "wau": wau[-1] if span.last >= known.first + WEEK - 1 else None,
        "mau": mau[-1] if whole else None,
        "stickiness": rounded(100 * sum(daily.get(day, (0, 0))[0] for day in whole) / months, 1) if months else None,
        "grain": span.grain,
        "rows": rows,
    }


def _before(source: Source, before: Span, known: Span) -> dict[str, Any] | None:
    """The same figures of the same number of days before; None: not all of those days are known."""
    if before.first < known.first:
        return None
    ask = source.tables.rows
    entries, messages = ask("entries_in", before.first, before.last)[0]
    entered = ask("daily", before.first, before.last)
    found: dict[str, Any] = {
        "from": date_of(before.first).isoformat(),
        "to": date_of(before.last).isoformat(),
        "new": _one(ask("new_in", before.first, before.last)),
        "dau": rounded(sum(it[1] for it in entered) / before.days, 1),
        "entries": entries,
        "messages": messages,
    }
    for name, width in (("wau", WEEK), ("mau", MONTH)):
        whole = before.last >= known.first + width - 1
        found[name] = _one(ask("active_in", before.last - width + 1, before.last)) if whole else None
    return found


def _one(rows: list[tuple[Any, ...]]) -> int:
    return int(rows[0][0])


def _standing(changes: list[tuple[Any, ...]], span: Span) -> list[int]:
    """A figure of each day of a span, from the days on which it changes."""
    found, at, value = [], 0, 0
    for day in range(span.first, span.last + 1):
        while at < len(changes) and changes[at][0] <= day:
            value = int(changes[at][1])
            at += 1
        found.append(value)
    return found


def hours(source: Source, span: Span) -> dict[str, Any]:
    """Activity by weekday (Monday first) and hour; ``dated``: nearly all of it bears midnight: only days are known."""
    counts = [[0] * 24 for _ in range(7)]
    midnight = total = 0
    for weekday, hour, count, dated in source.tables.rows("hours", span.first, span.last):
        counts[weekday][hour] = count
        total, midnight = total + count, midnight + dated
    return {"counts": counts, "total": total, "dated": total > 0 and midnight >= 0.99 * total}


def retention(source: Source, span: Span, over: int) -> dict[str, Any]:
    """Users by their first day, and how many were active again just so many days later.

    ``over``: the last day that is over: nobody is judged by a day that is not.
    """
    days = span.days
    grain = "day" if days <= 14 else "week" if days <= 120 else "month" if days <= 900 else "year"
    rows = []
    for bucket, users, *pairs in source.tables.cohorts(grain, RETURNS, span.first, span.last, over):
        back = zip(RETURNS, pairs[::2], pairs[1::2], strict=True)
        row: dict[str, Any] = {"from": date_of(bucket).isoformat(), "users": users}
        row |= {f"day_{n}": _back(of, came) for n, of, came in back}
        rows.append(row)
    total: dict[str, Any] = {"users": sum(row["users"] for row in rows)}
    for n in RETURNS:
        cells = [row[f"day_{n}"] for row in rows]
        total[f"day_{n}"] = _back(sum(it["of"] for it in cells), sum(it["back"] for it in cells))
    return {"grain": grain, "rows": rows, "total": total}


def _back(of: int, came: int) -> dict[str, Any]:
    return {"of": of, "back": came, "percent": rounded(100 * came / of, 1) if of else None}


def moves(source: Source, span: Span) -> dict[str, Any]:
    """Moves on ladders, and in and out of the segments somebody listens for, with who stands there now."""
    ladders: dict[str, dict[str, Any]] = {}
    for name, below, above, count in source.tables.rows("climbs", span.first, span.last):
        ladder = next((it for it in source.plan.ladders if it.name == name), None)
        found = ladders.setdefault(name, {"ladder": name, "up": 0, "down": 0, "levels": [], "moves": []})
        if ladder is not None:
            found["levels"] = [level for level, _ in ladder.levels]
            found["up" if ladder.rank(above) > ladder.rank(below) else "down"] += count
        found["moves"].append({"from": below, "to": above, "count": count})
    for ladder in source.plan.ladders:
        if any(name == ladder.name for name, _ in source.standing.levels):
            levels = [level for level, _ in ladder.levels]
            ladders.setdefault(ladder.name, {"ladder": ladder.name, "up": 0, "down": 0, "levels": levels, "moves": []})
    for name, found in ladders.items():
        own = {level: n for (of, level), n in source.standing.levels.items() if of == name}
        order = [*found["levels"], *(it for it in sorted(own, key=str) if it not in found["levels"])]
        found["standing"] = [{"level": level, "users": own.get(level, 0)} for level in order]
    moved = {
        name: (entered, left) for name, entered, left in source.tables.rows("moves", span.first, span.last) if name
    }
    segments = [
        {"segment": name, "entered": entered, "left": left, "now": source.standing.segments[name]}
        for name in sorted({*moved, *source.standing.segments})
        for entered, left in [moved.get(name, (0, 0))]
    ]
    return {"ladders": list(ladders.values()), "segments": segments}


def standing(places: Iterable[Any]) -> Standing:
    """Who stands where. ``places``: whatever has ``id``, ``tiers`` and ``segments`` of a state."""
    found = Standing()
    for it in places:
        if it.id[:1] != SIGN:
            found.levels.update((ladder, place[0]) for ladder, place in it.tiers.items())
            found.segments.update(it.segments)
    return found


def groups(source: Source, span: Span, known: Span) -> list[dict[str, Any]]:
    """How groups live: who is active in them, joins and leaves; seats and silence as the store stands."""
    found: dict[str, dict[str, Any]] = {}
    for name, active, events, joined, left in source.tables.rows("group_life", span.first, span.last):
        found[name] = {"group": name, "active": active, "events": events, "joined": joined, "left": left}
    for room in source.groups:
        empty = {"group": room["group"], "active": 0, "events": 0, "joined": 0, "left": 0}
        row = found.setdefault(room["group"], empty)
        row |= {name: room[name] for name in ("taken", "capacity", "waiting", "members", "silent_days") if name in room}
    for name, row in found.items():
        row["title"] = source.plan.env.cards.get(name, NO_CARD).get("title")
    before = Span(span.first - span.days, span.first - 1)
    earlier: dict[str, int] = {}
    if before.first >= known.first:
        earlier = {name: events for name, _, events, *_ in source.tables.rows("group_life", before.first, before.last)}
    for name, row in found.items():
        row["events_before"] = earlier.get(name, 0) if before.first >= known.first else None
    return sorted(found.values(), key=lambda it: (-it["active"], -it["joined"], it["group"]))
