"""``drumbeat users``: who is in the store; giving a person everything held on them; forgetting a person."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from engine.cli.common import EXIT_OK, emit_json, say, store_options, with_store

F = TypeVar("F", bound=Callable[..., Any])

_SHOWN = 100

_PATIENCE = 30.0
"""Seconds a running daemon is waited for."""

_LITTLE = 20_000
"""Microseconds between two looks at what it has done."""


@click.group()
def users() -> None:
    """The people in the store: list them, export what is held on one, erase one."""


@users.command("list")
@click.option("--after", default="", metavar="ID", help="Only users behind this one, in order of id.")
@click.option("--limit", type=click.IntRange(min=1), default=_SHOWN, show_default=True, help="Users shown at most.")
@store_options
def list_(
    after: str,
    limit: int,
    store: str | None,
    program: Path | None,
    format_: str,
    quiet: bool,
    no_color: bool,
) -> int:
    """Users in order of id, with when they were last active and how many journeys they are on."""
    from engine.core.subjects import BEFORE_USERS
    from engine.insight.subject import instant

    opened = with_store(program, store, read_only=True)[1]
    try:
        total = opened.head_count()
        names = opened.population(max(after, BEFORE_USERS), limit)
        states = opened.load(names)
    finally:
        opened.close()
    rows = [
        {"user": name, "last_active_at": instant(states[name].last_active), "journeys": len(states[name].journeys)}
        for name in names
    ]
    if format_ == "json":
        emit_json({"total": total, "users": rows, "next": names[-1] if len(names) == limit else None})
    else:
        lines = [f"{it['user']}  active {it['last_active_at'] or 'never'}, {it['journeys']} journey(s)" for it in rows]
        click.echo("\n".join([*lines, f"{len(rows):,} of {total:,}"]))
    return EXIT_OK


@users.command()
@click.argument("user", metavar="ID")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), default=None, help="Into a file instead.")
@store_options
def export(
    user: str,
    out: Path | None,
    store: str | None,
    program: Path | None,
    format_: str,
    quiet: bool,
    no_color: bool,
) -> int:
    """Everything the store holds on a user, as one JSON object."""
    import json
    import os

    import msgspec

    from engine.insight.export import export as everything

    found, opened = with_store(program, store, read_only=True)
    try:
        held = everything(found.plan, opened, user)
    finally:
        opened.close()
    if out is None:
        emit_json(held)
        return EXIT_OK
    raw = msgspec.json.Encoder(decimal_format="number").encode(held)
    # for nobody else's eyes: made with these rights, not given them afterwards
    with os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(json.loads(raw), file, ensure_ascii=False, indent=2)
        file.write("\n")
    if format_ == "json":
        emit_json({"user": user, "file": str(out)})
    else:
        click.echo(f"written     {out}")
    return EXIT_OK


@users.command()
@click.argument("user", metavar="ID")
@click.option("--scrub/--no-scrub", default=True, help="Write the file anew, so that no freed byte is left (default).")
@store_options
def erase(
    user: str,
    scrub: bool,
    store: str | None,
    program: Path | None,
    format_: str,
    quiet: bool,
    no_color: bool,
) -> int:
    """Forget a user: what waits to be sent is cancelled; traits, events, texts and records in quarantine go.

    Ledgers (coupons, points, tiers) keep their amounts under a pseudonym. What a feed brings again from before now is
    dropped. What channels wrote to files or handed to providers is theirs to erase; so are backups. A running daemon
    erases at its next turn, and writes the file anew in its housekeeping.
    """
    from engine.api.remote import through_daemon
    from engine.insight.subject import known_user
    from engine.runtime.clock import SystemClock
    from engine.runtime.erasure import ask_daemon

    found, opened = with_store(program, store, read_only=False)
    try:
        if not opened.erased([user]):
            known_user(opened, user)
        live = through_daemon(opened)
        if live:
            clock = SystemClock()
            done = ask_daemon(opened, user, clock.now(), _patience(clock))
        else:
            done = _erased(found, opened, user)
        clean = scrub and not live
        if clean:
            say("writing the file anew", quiet)
            opened.scrub()
            clean = not opened.unscrubbed()  # somebody may look at what was there before
    finally:
        opened.close()
    _told(user, done, live=live, scrubbed=clean, as_json=format_ == "json")
    return EXIT_OK


def _erased(found: Any, opened: Any, user: str) -> Any:
    """Erase a user here and now."""
    from engine import wiring
    from engine.errors import ProgramError
    from engine.runtime.clock import SystemClock
    from engine.runtime.erasure import erase_user

    found = wiring.with_older(found, opened)
    if found.plan is None:
        raise ProgramError("an older version of the program cannot be compiled any more")
    return erase_user(found.plan, opened, user, SystemClock().now(), wiring.secret_of(opened))


def _patience(clock: Any) -> Callable[[], bool]:
    """Waits a little each time it is called, until it has been long enough."""
    until = clock.elapsed() + _PATIENCE

    def waited() -> bool:
        clock.pause(_LITTLE)
        return bool(clock.elapsed() < until)

    return waited


def _told(user: str, done: Any, *, live: bool, scrubbed: bool, as_json: bool) -> None:
    """What was erased, and what is still to come."""
    if done is None:
        if as_json:
            emit_json({"user": user, "erased": False, "scrubbed": False})
        else:
            click.echo(f"asked       the running daemon will erase {user}; it has not come to it yet")
            click.echo(f"next        drumbeat user {user} shows what there still is")
        return
    if as_json:
        counts = {"events": done.events, "effects": done.effects, "cancelled": done.cancelled}
        emit_json({"user": user, "erased": True, **counts, "quarantined": done.quarantined, "scrubbed": scrubbed})
    else:
        parts = f"{done.events:,} event(s), {done.effects:,} effect(s), {done.quarantined:,} record(s) in quarantine"
        lines = [f"erased      {user}: {parts}"]
        if done.cancelled:
            lines.append(f"            {done.cancelled:,} delivery(s) were not sent yet and will not be")
        if live:
            lines.append("next        freed bytes are in the file until the daemon's housekeeping scrubs it")
        elif not scrubbed:
            lines.append("next        freed bytes are in the file until drumbeat users erase or housekeeping scrubs it")
        click.echo("\n".join(lines))
