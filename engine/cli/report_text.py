"""The figures of a period as tables for a terminal."""

from __future__ import annotations

from typing import Any

from engine.cli.tables import table
from engine.insight.headlines import group_name, headlines, name_of, pool_name, titles
from engine.insight.page import coverage, span_words
from engine.insight.page_playbooks import lift_words, split_title, split_words, stage_labels
from engine.insight.report_words import Words, money, number, percent
from engine.insight.rivals import NOBODY
from engine.render.charts import shade

POINTS = 12
"""Newest points of the activity that are shown."""


def period_text(found: dict[str, Any], locale: str, *, simulated: bool = False) -> str:
    """Headlines, then tables; what is empty is left out."""
    w = Words(locale)
    out = [span_words(found, w), coverage(found, w, simulated=simulated), ""]
    out += [f"- {it}" for it in headlines(found, w)]
    for part in (_activity, _retention, _hours, _playbooks, _coupons, _moves, _groups, _channels, _refusals, _lost):
        shown = part(found, w)
        if shown:
            out += ["", shown]
    return "\n".join(out).translate(_CONTROL)


_CONTROL = dict.fromkeys((*range(10), *range(11, 32), *range(127, 160)), "�")
"""Names come from feeds too: what a terminal would obey is shown as a sign that something stood there."""


def _activity(found: dict[str, Any], w: Words) -> str:
    rows = [
        [row["from"], number(row["dau"], 1), number(row["new"]), number(row["wau"]), number(row["mau"])]
        for row in found["people"]["rows"][-POINTS:]
    ]
    return table([w("from"), "DAU", w("new"), "WAU", "MAU"], rows) if found["people"]["active"] else ""


def _retention(found: dict[str, Any], w: Words) -> str:
    it = found["retention"]
    rows = []
    for row in [*it["rows"][-POINTS:], {"from": w("all"), **it["total"]}] if it["rows"] else []:
        shares = [row[name]["percent"] for name in ("day_1", "day_7", "day_30")]
        cells = [w("too_early") if share is None else percent(share) for share in shares]
        rows.append([row["from"], number(row["users"]), *cells])
    return table([w("cohort"), w("users"), w("day_1"), w("day_7"), w("day_30")], rows) if rows else ""


_SHADES = " ·-=+*#"


def _hours(found: dict[str, Any], w: Words) -> str:
    """The heat map in signs."""
    it = found["hours"]
    if not it["total"] or it["dated"]:
        return ""
    top = max(max(row) for row in it["counts"])
    lines = [
        f"{name}  {''.join(_SHADES[shade(count, top)] * 2 for count in row)}"
        for name, row in zip(w("weekdays").split(), it["counts"], strict=True)
    ]
    hours = "".join(f"{hour:<6}" for hour in range(0, 24, 3)).rstrip()
    blanks = " " * (len(lines[0]) - 48 + (2 if w.chinese else 0))
    return "\n".join([w("hours"), *lines, blanks + hours])


def _playbooks(found: dict[str, Any], w: Words) -> str:
    out = []
    for it in found["playbooks"]:
        if not it["entered"]:
            continue
        stages = it["funnel"]
        labels = stage_labels(stages, w, it["holdout"] is not None)
        first = stages[0]["reached"] if stages else 0
        rows = [
            [label, number(stage["reached"]), percent(100 * stage["reached"] / first) if first else "–"]
            for label, stage in zip(labels, stages, strict=True)
        ]
        lines = [f"{name_of(it)} ({it['playbook']})"]
        if rows:
            lines.append(table([w("stage"), w("entries"), w("share")], rows))
        if it["holdout"]:
            lines += [said for _, said in lift_words(it, w)]
        for split in it["splits"]:
            lines.append(_split(split, w))
        out.append("\n".join(lines))
    return "\n\n".join(out)


def _split(split: dict[str, Any], w: Words) -> str:
    rows = [
        [it["arm"], number(it["entries"]), number(it["goals"]), percent(it["share"]["value"]) if it["share"] else "–",
         "–" if it["against"] is None else f"{it['against']['p']:.4f}"]
        for it in split["arms"]
    ]  # fmt: skip
    said = [said for _, said in split_words(split, w)]
    head = [split_title(split, w), w("entries"), w("goals"), w("conversion"), w("p")]
    return "\n".join([table(head, rows), *said])


def _coupons(found: dict[str, Any], w: Words) -> str:
    rows = [
        [pool_name(it), number(it["issued"]), number(it["redeemed"]), percent(it["percent"]),
         money(it, w), number(it["open"]), number(it["expired"])]
        for it in found["coupons"]
    ]  # fmt: skip
    head = [w("pool"), w("issued"), w("redeemed"), w("rate"), w("cost"), w("open"), w("expired")]
    if not rows:
        return ""
    name = titles(found)
    own = [
        [name.get(book, book) or "–", pool_name(it), number(by["issued"]), number(by["redeemed"]),
         percent(by["percent"]), money({**by, "currency": it["currency"]}, w)]
        for it in found["coupons"] for book, by in it["playbooks"].items()
    ]  # fmt: skip
    return "\n\n".join(
        [table(head, rows), table([w("playbook"), w("pool"), w("issued"), w("redeemed"), w("rate"), w("cost")], own)]
    )


def _moves(found: dict[str, Any], w: Words) -> str:
    rows = [
        [f"{it['ladder']}: {move['from'] or w('nothing')} → {move['to'] or w('nothing')}", number(move["count"])]
        for it in found["moves"]["ladders"] for move in it["moves"]
    ]  # fmt: skip
    out = [table([w("ladder"), w("count")], rows)] if rows else []
    rows = [
        [f"{it['ladder']}: {own['level'] or w('nothing')}", number(own["users"])]
        for it in found["moves"]["ladders"] for own in it["standing"]
    ]  # fmt: skip
    out += [table([w("ladder"), w("now")], rows)] if rows else []
    rows = [
        [it["segment"], number(it["entered"]), number(it["left"]), number(it["now"])]
        for it in found["moves"]["segments"]
    ]
    out += [table([w("segment"), w("came"), w("went"), w("now")], rows)] if rows else []
    return "\n\n".join(out)


def _groups(found: dict[str, Any], w: Words) -> str:
    rows = [[group_name(it), *(number(it[name]) for name in ("active", "events", "joined", "left"))]
            for it in found["groups"]]  # fmt: skip
    return table([w("group"), w("members_active"), w("posts"), w("joined"), w("left")], rows) if rows else ""


def _channels(found: dict[str, Any], w: Words) -> str:
    states = ("messages", "sent", "dead", "unknown", "pending", "bounced", "clicked")
    rows = [[it["channel"], *(number(it[name]) for name in states)] for it in found["channels"]]
    return table([w("channel"), *(w(name) for name in states)], rows) if rows else ""


def _refusals(found: dict[str, Any], w: Words) -> str:
    rows = [[f"{w.kind(it['kind'])}: {w.reason(it['reason'])}", number(it["count"])] for it in found["refusals"]]
    return table([w("refusals"), w("count")], rows) if rows else ""


def _lost(found: dict[str, Any], w: Words) -> str:
    name = {**titles(found), NOBODY: w("nobody")}
    rows = [
        [name.get(it["lost"], it["lost"]), name.get(it["to"], it["to"]), w.reason(it["reason"]), number(it["count"])]
        for it in found["collisions"]
    ]
    return table([w("lost"), w("won"), w("reason"), w("count")], rows) if rows else ""
