"""``drumbeat user``: one user as the store has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from engine.cli.common import EXIT_OK, compiled, emit_json, say, store_options, tell
from engine.cli.tables import pad, width
from engine.cli.why import gist, shown, standing

LAST = 50


@click.command()
@click.argument("user")
@click.option("--all", "all_", is_flag=True, help=f"The whole timeline, not only its last {LAST} lines.")
@store_options
def user(
    user: str,
    all_: bool,
    store: str | None,
    program: Path | None,
    format_: str,
    quiet: bool,
    no_color: bool,
) -> int:
    """Traits, tiers, points, groups, journeys and the timeline of USER."""
    return portray(user, all_, store, program, format_, quiet)


def portray(subject: str, all_: bool, store: str | None, program: Path | None, format_: str, quiet: bool) -> int:
    """Show the portrait of a subject; ``all_``: with its whole timeline."""
    from engine import wiring
    from engine.cli.atwork import at_work
    from engine.insight.subject import portrait

    found = compiled(program)
    opened = wiring.open_store(found.settings, found.root, read_only=True, override=store)
    try:
        found, remarks = at_work(found, opened)
        for remark in remarks:
            say(f"note: {remark}", quiet)
        seen = portrait(found.plan, opened, subject, None if all_ else LAST)
    finally:
        opened.close()
    if format_ == "json":
        emit_json(seen)
    else:
        tell(lines(seen))
    return EXIT_OK


def lines(seen: dict[str, Any]) -> list[str]:
    """The portrait as text."""
    whose = [("user", seen["user"])] if seen["user"] is not None else _group(seen)
    out = _block([*whose, *_facts(seen)])
    if seen["journeys"]:
        out += ["", "journeys"]
        out += [f"  {it['playbook']}, since {it['started']}: {standing(it)}" for it in seen["journeys"]]
    if seen["goals"]:
        out += ["", "open goals"]
        out += [f"  {it['playbook']}, until {it['until']}" for it in seen["goals"]]
    shown_, total = len(seen["timeline"]), seen["timeline_total"]
    head = "timeline" if shown_ == total else f"timeline (last {shown_} of {total}; --all shows the rest)"
    gone = seen["forgotten_until"]
    note = [] if gone is None else [f"  events up to {gone} were forgotten (retention); effects and state are whole"]
    return [*out, "", head, *note, *_timeline(seen["timeline"])]


def _group(seen: dict[str, Any]) -> list[tuple[str, str]]:
    roles = [f"{role}: {', '.join(holders)}" for role, holders in seen["roles"].items()]
    silent = "" if seen["silent_days"] is None else str(seen["silent_days"])
    facts = [(name, seen[name] or "") for name in ("title", "topic", "platform", "owner")]
    facts += [("members", str(seen["members"])), ("roles", "; ".join(roles)), ("silent days", silent)]
    return [("group", seen["group"]), *((name, text) for name, text in facts if text)]


def _facts(seen: dict[str, Any]) -> list[tuple[str, str]]:
    seats = [f"{it['group']}/{it['room']}" + _held(it["held_until"]) for it in seen["seats"]]
    facts = [
        ("zone", seen["zone"]),
        ("locale", seen["locale"]),
        ("signed up" if seen["user"] is not None else "known since", seen["created_at"] or ""),
        ("last active", seen["last_active_at"] or ""),
        ("looked at", seen["looked_at"] or ""),
        ("wakes at", seen["wake_at"] or ""),
        ("traits", _pairs(seen["traits"])),
        ("tiers", _pairs(seen["tiers"])),
        ("points", _pairs(seen["points"])),
        ("pending", _pairs(seen["points_pending"])),
        ("lapse", "; ".join(f"{name} {lots[0]['points']} on {lots[0]['at']}" for name, lots in _lapses(seen))),
        ("rewards", _pairs(seen["rewards"])),
        ("badges", ", ".join(seen["badges"])),
        ("tags", ", ".join(seen["tags"])),
        ("segments", ", ".join(seen["segments"])),
        ("consents", ", ".join(f"{it} {'granted' if yes else 'revoked'}" for it, yes in seen["consents"].items())),
        ("groups", ", ".join(seen["groups"])),
        ("seats", ", ".join(seats)),
        ("tasks", ", ".join(it["title"] + (f" (due {it['due']})" if it["due"] else "") for it in seen["tasks"])),
    ]
    return [(name, text) for name, text in facts if text]


def _held(until: str | None) -> str:
    return "" if until is None else f" (held until {until})"


def _lapses(seen: dict[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Account -> what of it lapses, the next first."""
    return list(seen["points_lapse"].items())


def _pairs(found: dict[str, Any]) -> str:
    return ", ".join(f"{name}: {shown(value)}" for name, value in found.items())


def _block(facts: list[tuple[str, str]]) -> list[str]:
    cells = max(width(name) for name, _ in facts)
    return [f"{pad(name, cells)}  {text}" for name, text in facts]


def _timeline(rows: list[dict[str, Any]]) -> list[str]:
    if not rows:
        return ["  nothing yet"]
    cells = [_row(row) for row in rows]
    sizes = [max(width(row[place]) for row in cells) for place in range(3)]
    return [
        "  " + "  ".join([*(pad(text, size) for text, size in zip(row, sizes, strict=False)), row[3]]).rstrip()
        for row in cells
    ]


def _row(row: dict[str, Any]) -> tuple[str, str, str, str]:
    if "event" in row:
        late = f"(late, came at {row['decided']}: it changed state only) " if row["late"] else ""
        return row["time"], row["event"], "", late + _pairs(row["data"])
    what = f"  {row['effect']}"
    place = f"{row['playbook']}/{row['step']}" if row["playbook"] else ""
    reason = f" ({row['reason']})" if row["reason"] else ""
    sent = f", {row['delivery']} by {row['channel']}" if row["delivery"] else ""
    return row["time"], what, place, f"{row['status']}{reason}{sent}: {gist(row)}"
