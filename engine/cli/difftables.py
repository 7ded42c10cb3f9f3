"""The tables of a comparison as rows of text, for the terminal and for Markdown alike."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

CHANGES = ("gained", "lost", "moved", "changed")
COUNTS = ["before", "after", *CHANGES, "people"]
_TITLE = 24  # characters of a playbook's title that are shown


class Table(NamedTuple):
    """One table."""

    title: str
    head: list[str]
    rows: list[list[str]]  #: the first column is what the row is about


def tables(result: dict[str, Any]) -> Iterator[Table]:
    """What is worth a table, the most important first; rows in which nothing differs are left out."""
    titles = {row["playbook"]: row["title"] for row in result["journeys"]}
    was = {row["playbook"]: row["was"] for row in result["journeys"] if row["was"]}
    for dimension in ("playbook", "step", "channel", "day"):
        rows = [row for row in result["by"][dimension] if _differs(row)]
        if rows:
            head = [dimension if dimension != "step" else "step of a playbook", *COUNTS]
            yield Table(f"By {dimension}", head, [[_name(dimension, row, titles, was), *_counts(row)] for row in rows])
    yield from _cost(result["cost"])
    rows = [[_held(row), *_both(row["old"], row["new"])] for row in result["held_back"] if row["old"] != row["new"]]
    if rows:
        yield Table("Held back: caps, consent, stock ...", ["what, and why", "before", "after", "more or less"], rows)
    rows = [
        [f"{row['status']}: {row['reason'] or '-'}", "lost to it" if row["what"] == "lost" else "free of it now",
         f"{row['effects']:,}"]
        for row in result["because"]
    ]  # fmt: skip
    if rows:
        yield Table("What stood in the way", ["reason", "what became of them", "effects"], rows)
    rows = [[_step(row), *_both(row["old"], row["new"])] for row in result["put_off"] if row["old"] != row["new"]]
    if rows:
        yield Table("Put off by quiet hours", ["step", "before", "after", "more or less"], rows)
    rows = [[row["playbook"] or "-", f"{row['into']:,}", f"{row['out_of']:,}"] for row in result["holdout"]]
    if rows:
        yield Table("Control group", ["playbook", "people who came into it", "who left it"], rows)
    yield from _journeys(result["journeys"])
    yield from _renamed(result["renamed"])


def _differs(row: dict[str, Any]) -> bool:
    return row["old"] != row["new"] or any(row[what] for what in CHANGES)


def _counts(row: dict[str, Any]) -> list[str]:
    changes = (_mark(row[what]) for what in CHANGES)
    return [f"{row['old']:,}", f"{row['new']:,}", *changes, _mark(row["users"]["any"])]


def _mark(number: int) -> str:
    return f"{number:,}" if number else "."


def _name(dimension: str, row: dict[str, Any], titles: dict[str, str | None], was: dict[str, str]) -> str:
    if dimension == "step":
        return f"{_step(row)} ({row['kind']})"
    if dimension == "day":
        return str(row["day"])
    name = row[dimension]
    if dimension == "channel" or name is None:
        return name or "(no playbook)"
    title = titles.get(name) or ""
    short = title if len(title) <= _TITLE else title[: _TITLE - 1] + "…"
    return f"{name} {short}".rstrip() + (f" (was {was[name]})" if name in was else "")


def _step(row: dict[str, Any]) -> str:
    return "(no playbook)" if row["playbook"] is None else f"{row['playbook']} / {row['step'] or '-'}"


def _both(old: Any, new: Any) -> list[str]:
    return [_number(old), _number(new), _more(new - old)]


def _number(value: Any) -> str:
    return f"{Decimal(value):,f}" if isinstance(value, Decimal) else f"{value:,}"


def _more(value: Any) -> str:
    return "." if not value else ("+" if value > 0 else "") + _number(value)


def _cost(cost: dict[str, Any]) -> Iterator[Table]:
    rows = []
    if cost["messages"]["old"] != cost["messages"]["new"]:
        rows.append(["messages", *_both(cost["messages"]["old"], cost["messages"]["new"])])
    for row in cost["coupons"]:
        if row["old"] != row["new"]:
            rows.append([f"coupon {row['pool']}", *_both(row["old"], row["new"])])
    for row in cost["coupon_value"]:
        if row["old"] != row["new"]:
            rows.append([f"coupons, {row['currency'] or 'money'} at most", *_both(row["old"], row["new"])])
    for row in cost["points"]:
        if row["old"] != row["new"]:
            rows.append([f"points {row['account']}", *_both(row["old"], row["new"])])
    if rows:
        yield Table("Cost", ["what is given", "before", "after", "more or less"], rows)


def _held(row: dict[str, Any]) -> str:
    return f"{row['kind']} {row['status']}: {row['reason'] or '-'}"


_WORDS = {
    "entered": "entered", "held_out": "held out", "goals": "goals reached", "goals_held_out": "goals, held out",
    "errors": "errors", "limited": "windows in which the entry limit was reached",
}  # fmt: skip


def _journeys(found: list[dict[str, Any]]) -> Iterator[Table]:
    rows = []
    for row in found:
        if row["old"] is None or row["new"] is None:
            rows.append([row["playbook"], "is new" if row["old"] is None else "is gone", "", "", ""])
        for word, shown in _WORDS.items():
            old, new = ((row[side] or {}).get(word, 0) for side in ("old", "new"))
            if old != new:
                rows.append([row["playbook"], shown, *_both(old, new)])
    if rows:
        yield Table("Journeys and goals", ["playbook", "what", "before", "after", "more or less"], rows)


def _renamed(found: dict[str, Any]) -> Iterator[Table]:
    rows = [[row["old"], row["new"], ""] for row in found["playbooks"]]
    same = {(_step(row["old"]), _step(row["new"])): row["effects"] for row in found["effects"]}
    pairs = {(_step(row["old"]), _step(row["new"])) for row in found["names"]} | same.keys()
    rows += [[before, after, f"{same.get((before, after), 0):,}"] for before, after in sorted(pairs)]
    if rows:
        yield Table("Under another name", ["before", "after", "the same effects"], rows)


def sample_lines(result: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(who, what became of what, from what to what) of each sample."""
    for one in result["samples"]["effects"]:
        who = one["user"] if one["user"] is not None else one["group"] if one["group"] is not None else "(program)"
        old, new = one["old"], one["new"]
        what, how = f"{one['what']} {one['kind']} {_step(one)}", _how(one, old, new)
        yield printable(who), printable(what), printable(how)


def printable(text: str) -> str:
    """Without the signs a terminal would act on: ids and texts come from events."""
    return text if text.isprintable() else "".join(sign if sign.isprintable() else "?" for sign in text)


def _how(one: dict[str, Any], old: dict[str, Any] | None, new: dict[str, Any] | None) -> str:
    if one["what"] == "moved" and old is not None and new is not None:
        more = [field for field in one["fields"] if field != "time"]
        return f"{old['time']} -> {new['time']}" + (f" ({', '.join(more)})" if more else "")
    if one["what"] == "changed" and old is not None and new is not None:
        return f"{new['time']}: " + "; ".join(_field(field, old, new) for field in one["fields"])
    there = new if one["what"] == "gained" else old
    other = old if one["what"] == "gained" else new
    then = "was" if one["what"] == "gained" else "now"
    why = "" if other is None else f" ({then} {other['status']}: {other['reason']})"
    return f"{there['time'] if there is not None else '-'}{why}"


def _field(field: str, old: dict[str, Any], new: dict[str, Any]) -> str:
    before, after = (side.get(field, side["detail"].get(field)) for side in (old, new))
    if before is None and after is None:
        return field
    return f"{field} {_short(before)} -> {_short(after)}"


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 48 else text[:47] + "…"
