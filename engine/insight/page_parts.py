"""The sections of the page about people, groups and what was sent; playbooks have a module of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from engine.insight.headlines import group_name, pool_name, titles
from engine.insight.page_playbooks import playbooks
from engine.insight.report_words import Words, clock_words, money, number, percent
from engine.insight.rivals import NOBODY
from engine.insight.sending import RECEIPTS
from engine.render.charts import Bar, Line, bars, heat, lines, shaded, table

__all__ = ["groups", "moves", "people", "playbooks", "sending", "tiles", "value"]

MOST_ROWS = 30
"""Rows of a chart; the table behind it has all."""

MOST_OPEN = 12
"""Rows of a table that stands open; a longer one is folded."""


def section(title: str, *inner: Markup | str) -> Markup:
    """A section with its heading."""
    return Markup("<section><h2>{}</h2>{}</section>").format(title, Markup("").join(inner))


def behind(w: Words, inner: Markup) -> Markup:
    """The figures behind a picture."""
    return Markup("<details><summary>{}</summary>{}</details>").format(w("figures"), inner)


def note(text: str) -> Markup:
    """A line in small print."""
    return Markup('<p class="note">{}</p>').format(text)


def sub(title: str) -> Markup:
    """A heading inside a section."""
    return Markup("<h3>{}</h3>").format(title)


def tiles(found: dict[str, Any], w: Words) -> Markup:
    """The figures everybody asks for first."""
    it = found["people"]
    before = {"active": it["active_before"], **(it["before"] or {})}
    messages = sum(row["messages"] for row in found["channels"])
    entries = sum(row["entered"] for row in found["playbooks"])
    shown = [
        (w("active"), number(it["active"]), change(it["active"], before["active"])),
        (w("new"), number(it["new"]), change(it["new"], before.get("new"))),
        (w("dau_mean"), number(it["dau"], 1), change(it["dau"], before.get("dau"))),
        (w("wau_last"), number(it["wau"]), change(it["wau"], before.get("wau"))),
        (w("mau_last"), number(it["mau"]), change(it["mau"], before.get("mau"))),
        (w("sticky"), percent(it["stickiness"]), ""),
        (w("entries"), number(entries), change(entries, before.get("entries"))),
        (w("messages"), number(messages), change(messages, before.get("messages"))),
    ]
    cells = Markup("").join(
        Markup("<div><dt>{}</dt><dd>{}{}</dd></div>").format(
            name, figure, Markup(" <small>{}</small>").format(rise) if rise else ""
        )
        for name, figure, rise in shown
    )
    drawn = Markup('<dl class="tiles">{}</dl>').format(cells)
    if it["before"] is None:
        return drawn
    return drawn + note(w("tiles_note", first=it["before"]["from"], last=it["before"]["to"]))


def change(now: float | None, before: float | None) -> str:
    """How a figure differs from the one before, in per cent; nothing where there is none to compare with."""
    if now is None or not before:
        return ""
    return f"{number(100 * (now - before) / before, 1, sign=True)}\u00a0%"


# ---------------------------------------------------------------------- people


def people(found: dict[str, Any], w: Words) -> Markup:
    """Activity, who comes back, at which hours."""
    it = found["people"]
    if not it["active"]:
        return section(w("people"), note(w("none")))
    grain = w("by_" + it["grain"])
    types = found["period"]["activity"]
    active = w("activity_is", types=("、" if w.chinese else ", ").join(types)) if types else w("activity_any")
    labels = [_label(row["from"], it["grain"]) for row in it["rows"]]
    drawn = [Line(w(name), [row[name] for row in it["rows"]]) for name in ("mau", "wau", "dau")]
    about = w("activity_note", grain=grain)
    head = [w("from"), w("to"), w("dau_mean"), w("new"), w("wau"), w("mau")]
    rows = [
        [row["from"], row["to"], number(row["dau"], 1), number(row["new"]), number(row["wau"]), number(row["mau"])]
        for row in it["rows"]
    ]
    return section(
        w("people"), sub(w("activity")), lines(w("activity"), about, labels, drawn), note(about), note(active),
        behind(w, table(head, rows)), _retention(found["retention"], w), _hours(found, w),
    )  # fmt: skip


def _label(day: str, grain: str) -> str:
    return day[:4] if grain == "year" else day[:7] if grain == "month" else day if grain == "week" else day[5:]


def _retention(it: dict[str, Any], w: Words) -> Markup:
    if not it["rows"]:
        return Markup("")
    names = ("day_1", "day_7", "day_30")
    tops = {name: max((row[name]["percent"] or 0 for row in it["rows"]), default=0) for name in names}
    rows: list[list[str | Markup]] = []
    for row in [*it["rows"], {"from": None, **it["total"]}]:
        cells: list[str | Markup] = []
        for name in names:
            share = row[name]["percent"]
            text = w("too_early") if share is None else f"{percent(share)} ({number(row[name]['back'])})"
            cells.append(shaded(text, share or 0, tops[name]) if row["from"] else text)
        label = w("all") if row["from"] is None else _label(row["from"], it["grain"])
        rows.append([label if it["grain"] in ("month", "year") or row["from"] is None else row["from"],
                     number(row["users"]), *cells])  # fmt: skip
    head = [w("cohort"), w("users"), *(w(name) for name in names)]
    return sub(w("retention")) + table(head, rows) + note(w("retention_note", grain=w("by_" + it["grain"])))


def _hours(found: dict[str, Any], w: Words) -> Markup:
    it, zone, names = found["hours"], found["period"]["zone"], w("weekdays").split()
    if not it["total"]:
        return Markup("")
    if it["dated"]:
        rows = [
            Bar(names[day], sum(counts), number(sum(counts)), percent(100 * sum(counts) / it["total"]))
            for day, counts in enumerate(it["counts"])
        ]
        return sub(w("hours")) + note(w("hours_dated")) + bars(w("hours"), rows)
    cells = [(count, -day, -hour) for day, row in enumerate(it["counts"]) for hour, count in enumerate(row)]
    count, day, hour = max(cells)
    about = w("hours_note", zone=zone, day=names[-day], hour=-hour, count=number(count))
    figures = [[names[day], *(number(count) for count in row)] for day, row in enumerate(it["counts"])]
    return (
        sub(w("hours")) + heat(w("hours"), about, names, it["counts"]) + note(about)
        + behind(w, table([w("weekday"), *(str(hour) for hour in range(24))], figures))
    )  # fmt: skip


# ---------------------------------------------------------------------- coupons and points


def value(found: dict[str, Any], w: Words) -> Markup:
    """What was given away and what it cost."""
    if not found["coupons"] and not found["points"]:
        return Markup("")
    inner: list[Markup] = []
    if found["coupons"]:
        rows = [
            Bar(pool_name(it), it["issued"], f"{number(it['redeemed'])} / {number(it['issued'])}",
                percent(it["percent"]), "given", it["redeemed"])
            for it in found["coupons"][:MOST_ROWS]
        ]  # fmt: skip
        head = [w("pool"), w("issued"), w("redeemed"), w("rate"), w("cost"), w("worth_given"), w("open"), w("expired"),
                w("returned")]  # fmt: skip
        figures = [
            [pool_name(it), number(it["issued"]), number(it["redeemed"]), percent(it["percent"]), money(it, w),
             _worth(it), number(it["open"]), number(it["expired"]), number(it["returned"])]
            for it in found["coupons"]
        ]  # fmt: skip
        most = max(it["issued"] for it in found["coupons"])
        title = f"{w('redeemed')} / {w('issued')}"
        inner += [sub(title), bars(title, rows, most), table(head, figures), note(w("coupons_note")),
                  sub(w("coupons_by_playbook")), _givers(found, w)]  # fmt: skip
    if found["points"]:
        rows_ = [
            [it["account"], w.kind(it["what"]), number(it["entries"]), number(it["points"], sign=True)]
            for it in found["points"]
        ]
        inner += [sub(w("points")), table([w("account"), w("what"), w("count"), w("points")], rows_)]
    return section(w("coupons"), *inner)


def _givers(found: dict[str, Any], w: Words) -> Markup:
    """What the coupons of each playbook came to."""
    name = titles(found)
    rows = [
        [name.get(book, book) or "–", pool_name(it), number(own["issued"]), number(own["redeemed"]),
         percent(own["percent"]), money({**own, "currency": it["currency"]}, w)]
        for it in found["coupons"] for book, own in it["playbooks"].items()
    ]  # fmt: skip
    return table([w("playbook"), w("pool"), w("issued"), w("redeemed"), w("rate"), w("cost")], rows)


def _worth(it: dict[str, Any]) -> str:
    """What the coupons given may cost; a percentage off has no such figure."""
    return f"{number(it['worth'], 2)} {it['currency'] or ''}".strip() if it["worth"] else number(None)


def _each(counts: dict[str, int], name: dict[str, str]) -> str:
    return ", ".join(f"{name.get(key, key) or '–'} {number(count)}" for key, count in counts.items())


# ---------------------------------------------------------------------- moves and groups


def moves(found: dict[str, Any], w: Words) -> Markup:
    """Who moved between levels, and in and out of segments."""
    it = found["moves"]
    if not it["ladders"] and not it["segments"]:
        return Markup("")
    inner: list[Markup] = []
    for ladder in it["ladders"]:
        rank = {level: place for place, level in enumerate(ladder["levels"])}
        rows = [
            Bar(f"{move['from'] or w('nothing')} → {move['to'] or w('nothing')}", move["count"], number(move["count"]),
                w("ladder_up" if rank.get(move["to"], -1) > rank.get(move["from"], -1) else "ladder_down"),
                "" if rank.get(move["to"], -1) > rank.get(move["from"], -1) else "quiet")
            for move in ladder["moves"]
        ]  # fmt: skip
        said = w("ladder_note", up=number(ladder["up"]), down=number(ladder["down"]))
        inner += [sub(f"{w('ladder')} {ladder['ladder']}"), *_standing(ladder["standing"], w),
                  Markup("<p>{}</p>").format(said), bars(said, rows) if rows else Markup("")]  # fmt: skip
    if it["segments"]:
        rows_ = [
            [row["segment"], number(row["entered"]), number(row["left"]),
             number(row["entered"] - row["left"], sign=True), number(row["now"])]
            for row in it["segments"]
        ]  # fmt: skip
        inner += [sub(w("segment")), table([w("segment"), w("came"), w("went"), w("net"), w("now")], rows_)]
    return section(w("moves"), *inner, note(w("standing_note", clock=clock_words(found["period"]))))


def _standing(levels: list[dict[str, Any]], w: Words) -> list[Markup]:
    """How many stand at each level now."""
    of = sum(it["users"] for it in levels)
    if not of:
        return []
    rows = [
        Bar(it["level"] or w("nothing"), it["users"], number(it["users"]), percent(100 * it["users"] / of))
        for it in levels
    ]  # fmt: skip
    return [Markup("<h4>{}</h4>").format(w("standing")), bars(w("standing"), rows)]


def groups(found: dict[str, Any], w: Words) -> Markup:
    """How groups live."""
    if not found["groups"]:
        return Markup("")
    stirring = [it for it in found["groups"] if it["active"]]
    rows = [Bar(group_name(it), it["active"], number(it["active"]), w("users_unit")) for it in stirring[:MOST_ROWS]]
    columns = {
        w("group"): [group_name(it) for it in found["groups"]],
        w("members_active"): [number(it["active"]) for it in found["groups"]],
        w("posts"): [number(it["events"]) for it in found["groups"]],
        w("posts_change"): [change(it["events"], it["events_before"]) or "–" for it in found["groups"]],
        w("members"): [number(it.get("members")) for it in found["groups"]],
        w("joined"): [number(it["joined"]) for it in found["groups"]],
        w("left"): [number(it["left"]) for it in found["groups"]],
        w("seats"): [
            f"{number(it['taken'])} / {number(it['capacity'])}" if it.get("capacity") else "–" for it in found["groups"]
        ],
        w("waiting"): [number(it.get("waiting")) for it in found["groups"]],
        w("silent"): [number(it.get("silent_days")) for it in found["groups"]],
    }
    head = [name for name, cells in columns.items() if set(cells) != {"–"}]
    figures = list(zip(*(columns[name] for name in head), strict=True))
    drawn = sub(w("members_active")) + bars(w("members_active"), rows) if rows else Markup("")
    silent = len(found["groups"]) - len(stirring)
    said = note(w("groups_silent", n=number(silent))) if silent else Markup("")
    every = table(head, figures)
    return section(w("groups"), drawn, said, behind(w, every) if len(figures) > MOST_OPEN else every)


# ---------------------------------------------------------------------- sending


def sending(found: dict[str, Any], w: Words, *, simulated: bool) -> Markup:
    """What went out, what did not and why, and who lost to whom."""
    inner: list[Markup] = []
    if found["channels"]:
        inner += _channels(found["channels"], w, simulated)
    if found["refusals"]:
        inner += _refusals(found, w)
    if found["collisions"]:
        inner += _collisions(found, w)
    return section(w("sending"), *(inner or [note(w("none"))]))


def _channels(rows: Sequence[dict[str, Any]], w: Words, simulated: bool) -> list[Markup]:
    drawn = [
        Bar(it["channel"], it["messages"] if simulated else it["sent"],
            number(it["messages"] if simulated else it["sent"]),
            "" if simulated else f"{w('sent')} / {number(it['messages'])}")
        for it in rows
    ]  # fmt: skip
    failed = [
        Bar(f"{it['channel']} · {w('dead')}", it["dead"], number(it["dead"]), "", "bad") for it in rows if it["dead"]
    ]
    states = ("messages", "sent", "dead", "unknown", "pending", "cancelled", *RECEIPTS)
    figures = [
        [it["channel"], *(number(it[name] + (it["sending"] if name == "pending" else 0)) for name in states)]
        for it in rows
    ]
    said = note(w("simulated")) if simulated else Markup("")
    return [sub(w("channels")), bars(w("channels"), [*drawn, *failed]), said,
            behind(w, table([w("channel"), *(w(name) for name in states)], figures))]  # fmt: skip


def _refusals(found: dict[str, Any], w: Words) -> list[Markup]:
    rows, name = found["refusals"], titles(found)
    drawn = [Bar(f"{w.kind(it['kind'])} · {w.reason(it['reason'])}", it["count"], number(it["count"]), "", "quiet")
             for it in rows[:MOST_ROWS]]  # fmt: skip
    figures = [
        [f"{w.kind(it['kind'])} · {w.reason(it['reason'])}", number(it["count"]), _each(it["playbooks"], name)]
        for it in rows
    ]
    return [sub(w("refusals")), bars(w("refusals"), drawn),
            behind(w, table([w("reason"), w("count"), w("by_playbook")], figures))]  # fmt: skip


MOST_RIVALS = 12
"""Playbooks in the matrix; the table behind it has all."""


def _collisions(found: dict[str, Any], w: Words) -> list[Markup]:
    name = {**titles(found), NOBODY: w("nobody")}
    losses: dict[tuple[str, str], int] = {}
    for it in found["collisions"]:
        losses[it["lost"], it["to"]] = losses.get((it["lost"], it["to"]), 0) + it["count"]
    between: dict[str, int] = {}  # what concerns two comes first
    for (lost, won), count in losses.items():
        for it in (lost, won):
            between[it] = between.get(it, 0) + (count if won != lost else 0)
    known = sorted(between, key=lambda it: (-between[it], -losses.get((it, it), 0), it))[:MOST_RIVALS]
    rows, columns = ([it for it in known if any(pair[side] == it for pair in losses)] for side in (0, 1))
    top = max((count for (lost, won), count in losses.items() if lost != won), default=0)
    matrix = [
        [name.get(lost, lost),
         *(shaded(number(losses.get((lost, won), 0) or None), losses.get((lost, won), 0) * (lost != won), top)
           for won in columns)]
        for lost in rows
    ]  # fmt: skip
    figures = [
        [name.get(it["lost"], it["lost"]), name.get(it["to"], it["to"]), w.reason(it["reason"]), number(it["count"])]
        for it in found["collisions"]
    ]
    corner = f"{w('lost')} ↓  {w('won')} →"
    head = [w("lost"), w("won"), w("reason"), w("count")]
    wide = Markup('<div class="matrix">{}</div>').format(
        table([corner, *(name.get(it, it) for it in columns)], matrix)
    )
    return [sub(w("collisions")), wide,
            note(w("collisions_note")), behind(w, table(head, figures))]  # fmt: skip
