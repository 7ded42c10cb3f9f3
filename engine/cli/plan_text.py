"""A plan as text."""

from __future__ import annotations

from typing import Any

from engine.cli.tables import table

_SIGN = {"added": "+", "changed": "~", "removed": "-", "touched": "≈"}
_WHAT = {"stays": "stay", "finishes": "finish on their version", "moves": "move to", "stops": "stop",
         "stands_still": "stand still"}  # fmt: skip


def lines(row: dict[str, Any]) -> list[str]:
    """The plan, in the order in which one decides: what changes, who moves, who enters, what it costs, what binds."""
    where = row["store"] or "a store that is not there yet"
    out = [f"plan {row['plan'][:12]} of {row['program']} on {where}"]
    if row["store"]:
        out[0] += f", which stands at {row['at']}"
    out += ["", *_changes(row)]
    if row["store"]:
        out += ["", *_journeys(row["journeys"]), "", *_at_once(row["at_once"])]
        out += ["", *_estimate(row["estimate"])]
    return out + _gates(row["gates"])


def _changes(row: dict[str, Any]) -> list[str]:
    found = row["difference"]
    if not row["changes"]:
        return ["no changes: the store runs what this plan means"]
    rows = [it for it in found["playbooks"] if it["what"] != "same"]
    counts = ", ".join(f"{n} {what}" for what in _SIGN if (n := sum(it["what"] == what for it in rows)))
    same = len(found["playbooks"]) - len(rows)
    out = [f"playbooks   {counts or 'none changed'}" + (f", {same} as they are" if same else "")]
    for it in rows:
        parts = f": {', '.join(it['parts'])}" if it["parts"] else ""
        out.append(f"  {_SIGN[it['what']]} {it['playbook']} {it['what']}{parts}")
    out += [f"  {_SIGN[it['what']]} {it['section']}.{it['name']} {it['what']}" for it in found["catalog"]]
    out += [f"  ~ {key} of drumbeat.yaml changed" for key in found["program"]]
    if found["unknown"]:
        out.append(f"  not compared as a whole: {found['unknown']}")
    return out


def _journeys(rows: list[dict[str, Any]]) -> list[str]:
    if not rows:
        return ["journeys    nobody is on the way"]
    total: dict[str, int] = {}
    for it in rows:
        total[it["what"]] = total.get(it["what"], 0) + it["count"]
    words = {"finishes": "finish on their version", "moves": "move"} | {k: v for k, v in _WHAT.items() if k != "moves"}
    out = ["journeys    " + ", ".join(f"{n:,} {words[what]}" for what, n in total.items())]
    cells = []
    for it in rows:
        what = _WHAT[it["what"]] + (f" {it['to']}" if it["to"] else "") + (f" ({it['why']})" if it["why"] else "")
        step = it["step"] or "(before the first step)"
        cells.append([it["playbook"], step, it["version"] or "-", f"{it['count']:,}", what, _some(it["sample"])])
    return [*out, *_left(table(["playbook", "step", "version", "people", "what", "such as"], cells))]


def _left(text: str) -> list[str]:
    """The lines of a table."""
    return ["  " + line for line in text.splitlines()]


def _some(names: list[str]) -> str:
    return ", ".join(names[:3])


def _at_once(part: dict[str, Any]) -> list[str]:
    if not part["entered"] and not part["messages"] and not part["coupons"]:
        return ["at once     nobody enters"]
    out = [f"at once     {part['entered']:,} enter" + _sums(part)]
    for it in part["playbooks"]:
        if it["entered"] or it["held_out"]:
            held = f" ({it['held_out']:,} of them held out)" if it["held_out"] else ""
            out.append(f"  {it['playbook']}: {it['entered']:,}{held}, such as {_some(it['sample']) or '-'}")
    return out


def _sums(part: dict[str, Any]) -> str:
    parts = [f"{n:,} messages by {channel}" for channel, n in part["messages"].items()]
    if part["coupons"]:
        parts.append(f"{part['coupons']:,} coupons of {_money(part['cost'])}")
    parts += [f"{n:+,} points in {account}" for account, n in part["points"].items()]
    return ": " + ", ".join(parts) if parts else ""


def _money(sums: list[dict[str, Any]]) -> str:
    return " and ".join(f"{it['amount']:,f} {it['currency'] or ''}".strip() for it in sums) or "0"


def _estimate(found: dict[str, Any]) -> list[str]:
    window = found["window"]
    if window["held_from"] is None:
        return ["estimate    none: the store holds no events to play once more"]
    held = f"the store holds events from {window['held_from']} to {window['held_until']}"
    if not window["days"]:
        return [f"estimate    none was asked for; {held}"]
    out = [f"estimate    the next {window['days']} days, if they bring what the last {window['days']} brought; {held}"]
    if window["days"] < window["asked_days"]:
        out.append(f"  that is {window['days']} days of the {window['asked_days']} asked for: nothing is scaled up")
    out.append(f"  {found['events']:,} events played once more, {found['newcomers']:,} people come as new ones,"
               f" {found['events_left_out']:,} events made by the engine left out")  # fmt: skip
    if found["refused_events"]:
        parts = ", ".join(f"{reason} {n:,}" for reason, n in found["refused_events"].items())
        out.append(f"  events the plan does not let in: {parts}")
    out += ["", *_table(found)]
    out.append(f"  all   {found['plan']['entered']:,} enter{_sums(found['plan'])}")
    if found["running"] is not None:
        out.append(f"  now   {found['running']['entered']:,} enter{_sums(found['running'])} by what the store runs")
    return out + _limits(found)


def _table(found: dict[str, Any]) -> list[str]:
    before = {it["playbook"]: it for it in found["running"]["playbooks"]} if found["running"] else None
    rows = []
    for it in found["plan"]["playbooks"]:
        old = None if before is None else before.get(it["playbook"], {"entered": 0, "messages": {}, "coupons": {}})
        cells = [f"{_SIGN.get(it['what'], ' ')} {it['playbook']}"]
        for now, then in (
            (it["entered"], None if old is None else old["entered"]),
            (sum(it["messages"].values()), None if old is None else sum(old["messages"].values())),
            (sum(it["coupons"].values()), None if old is None else sum(old["coupons"].values())),
        ):
            cells.append(f"{now:,}" + ("" if then is None or then == now else f" ({now - then:+,})"))
        rows.append(cells)
    return _left(table(["playbook", "enter", "messages", "coupons"], rows)) if rows else []


def _limits(found: dict[str, Any]) -> list[str]:
    out = []
    for it in found["pools"]:
        left = "unlimited" if it["left_now"] is None else f"{it['left_now']:,} left now"
        denied = f", {it['denied']:,} DENIED from {it['first_denied']} on" if it["denied"] else ""
        out.append(f"  coupon {it['pool']}: {it['given']:,} given of {left}{denied}")
    out += [f"  entry limit {it['limit']} of {it['playbook']} is reached in {it['windows']:,} window(s)"
            for it in found["entry_limits"]]  # fmt: skip
    for it in found["refused"]:
        if it["kind"] == "coupon" and it["limit"]:
            continue
        why = it["limit"] or it["reason"]
        of = f" ({it['of']})" if it["of"] else ""
        out.append(f"  {it['playbook'] or 'the program'}: {it['count']:,} {it['kind']}{of} {it['status']} by {why},"
                   f" of {it['users']:,} people")  # fmt: skip
    return ["", "limits", *out] if out else []


def _gates(found: dict[str, Any]) -> list[str]:
    out = ["", f"reaches     {found['audience']:,} people; coupons of what changes: {_money(found['cost'])}"]
    if found["over"]:
        out += [f"OVER        {one}" for one in found["over"]]
        out.append("            " + ("allowed by --allow-over" if found["allowed"] else "it cannot be applied"))
    return out
