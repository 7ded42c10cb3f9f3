"""``drumbeat outbox``: deliveries that wait, hang or failed, and what to do with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from engine.cli.common import EXIT_OK, emit_json, store_options, with_store
from engine.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])

_OPEN = ("pending", "held", "sending", "unknown", "dead")
_SHOWN = 100
_keys = click.argument("keys", nargs=-1, metavar="KEY...")
_channel = click.option("--channel", default=None, help="Only deliveries over this channel.")


def _status(*names: str) -> Callable[[F], F]:
    words = "Only deliveries in this status; may repeat."
    return click.option("--status", "statuses", multiple=True, type=click.Choice(names), help=words)


@click.group()
def outbox() -> None:
    """Messages and requests on their way out: look at them, try again, drop them.

    A delivery is pending (waits for its channel or its next try), sending, unknown (nobody can tell whether it went
    out), dead (refused for good, or given up) or held (pending in a store that was restored or copied).
    """


@outbox.command("list")
@_status(*_OPEN, "sent", "cancelled")
@_channel
@click.option("--limit", type=click.IntRange(min=1), default=_SHOWN, show_default=True, help="Lines shown at most.")
@store_options
def list_(
    statuses: tuple[str, ...],
    channel: str | None,
    limit: int,
    store: str | None,
    program: Path | None,
    format_: str,
    quiet: bool,
    no_color: bool,
) -> int:
    """What stands in the outbox, one line each, and how many there are in each status."""
    from engine.runtime.standing import held

    opened = with_store(program, store, read_only=True)[1]
    counts: Counter[str] = Counter()
    shown: list[dict[str, Any]] = []
    try:
        why_held = held(opened)
        for kept, status in _places(statuses or _OPEN, why_held is not None):
            for it in opened.outbox(kept):
                if channel in (None, it.item.channel):
                    counts[status] += 1
                    if len(shown) < limit:
                        shown.append({**_row(it), "status": status})
    finally:
        opened.close()
    if format_ == "json":
        counted = dict(sorted(counts.items()))
        emit_json({"total": counts.total(), "counts": counted, "held": why_held, "deliveries": shown})
    else:
        if why_held is not None:
            click.echo(f"held: nothing is sent: {why_held}; drumbeat outbox release lets what is pending go")
        click.echo(_listed(shown, counts))
    return EXIT_OK


@outbox.command()
@click.argument("key")
@store_options
def show(key: str, store: str | None, program: Path | None, format_: str, quiet: bool, no_color: bool) -> int:
    """One delivery: what it carries, to whom, how often it was tried, and why it stands where it does."""
    opened = with_store(program, store, read_only=True)[1]
    try:
        found = opened.delivery(key)
    finally:
        opened.close()
    if found is None:
        raise _missing([key])
    row = {**_row(found), **_more(found)}
    if format_ == "json":
        emit_json(row)
    else:
        detail = row.pop("detail")
        lines = [(name, value) for name, value in row.items() if value is not None]
        lines += [(f"  {name}", value) for name, value in detail.items()]
        click.echo("\n".join(f"{name:<14}{_plain(value)}" for name, value in lines))
    return EXIT_OK


@outbox.command()
@_keys
@_status("dead", "unknown")
@_channel
@store_options
def retry(
    keys: tuple[str, ...],
    statuses: tuple[str, ...],
    channel: str | None,
    store: str | None,
    program: Path | None,
    format_: str,
    quiet: bool,
    no_color: bool,
) -> int:
    """Send dead or unknown deliveries again, under the same keys, with all their tries before them.

    What is unknown may have gone out: whoever got it gets it twice, unless the provider still knows the key.
    """
    from engine.api.remote import redrive, through_daemon
    from engine.runtime.byhand import REDRIVEN

    opened = with_store(program, store, read_only=False)[1]
    try:
        live = through_daemon(opened)
        done = redrive(opened, _wanted(opened, keys, statuses, channel, REDRIVEN, "can be tried again"))
    finally:
        opened.close()
    if format_ == "json":
        emit_json({"retried": done})
    else:
        when = "the running daemon sends them" if live else "they go out with the next run"
        click.echo(f"retried     {done:,}: {when}")
    return EXIT_OK


@outbox.command()
@_keys
@_status("pending", "dead", "unknown")
@_channel
@store_options
def drop(
    keys: tuple[str, ...],
    statuses: tuple[str, ...],
    channel: str | None,
    store: str | None,
    program: Path | None,
    format_: str,
    quiet: bool,
    no_color: bool,
) -> int:
    """Give deliveries up for good; a journey that waits for an answer goes on without one."""
    from engine.api.remote import drop as give_up
    from engine.runtime.byhand import DROPPED
    from engine.runtime.clock import SystemClock

    opened = with_store(program, store, read_only=False)[1]
    try:
        wanted = _wanted(opened, keys, statuses, channel, DROPPED, "can be dropped")
        done = give_up(opened, wanted, SystemClock().now())
    finally:
        opened.close()
    if format_ == "json":
        emit_json({"dropped": done})
    else:
        click.echo(f"dropped     {done:,}")
    return EXIT_OK


@outbox.command()
@store_options
def release(store: str | None, program: Path | None, format_: str, quiet: bool, no_color: bool) -> int:
    """Let a restored or copied store send from now on, here: look at drumbeat outbox list first."""
    from engine import wiring
    from engine.api.remote import release_outbox

    found, opened = with_store(program, store, read_only=False)
    try:
        reason = release_outbox(opened, wiring.store_place(found.settings, found.root, store).mark(opened))
    finally:
        opened.close()
    if format_ == "json":
        emit_json({"released": reason is not None, "held": reason})
    elif reason is None:
        click.echo("nothing held it: this store may send")
    else:
        click.echo(f"released    it was held: {reason}")
    return EXIT_OK


def _places(statuses: tuple[str, ...], is_held: bool) -> list[tuple[str, str]]:
    """(status in the store, status for people): what is pending is held in a store that may not send."""
    waiting = "held" if is_held else "pending"
    wanted = [it for it in dict.fromkeys(statuses) if it not in ("pending", "held") or it == waiting]
    return [("pending" if it == waiting else it, it) for it in wanted]


def _wanted(
    store: Any, keys: tuple[str, ...], statuses: tuple[str, ...], channel: str | None, may: tuple[str, ...], what: str
) -> list[str]:
    """The keys meant; one that is not there, or stands elsewhere, is refused before anything is done."""
    if bool(keys) == bool(statuses) or (keys and channel):
        hint = "drumbeat outbox list shows the keys; or --status dead, with --channel sms for one channel"
        raise UsageError("name deliveries by their keys, or by --status", hint=hint)
    if statuses:
        found = (it for status in dict.fromkeys(statuses) for it in store.outbox(status))
        return [it.item.key for it in found if channel in (None, it.item.channel)]
    places = {key: store.delivery(key) for key in keys}
    missing = [key for key, it in places.items() if it is None]
    if missing:
        raise _missing(missing)
    other = [f"{key} is {it.status}" for key, it in places.items() if it.status not in may]
    if other:
        raise UsageError(f"{', '.join(other)}; what is {' or '.join(may)} {what}")
    return list(places)


def _missing(keys: list[str]) -> UsageError:
    words = ", ".join(keys)
    return UsageError(f"no delivery {words} stands in the outbox", hint="drumbeat outbox list shows what there is")


def _row(it: Any) -> dict[str, Any]:
    item = it.item
    return {
        "key": item.key,
        "status": it.status,
        "channel": item.channel,
        "kind": item.effect.kind,
        "user": item.effect.user,
        "playbook": item.effect.playbook,
        "step": item.effect.step,
        "attempts": item.attempts,
        "next_try": _instant(it.next_at) if it.status == "pending" else None,
        "reason": it.reason,
    }


def _more(it: Any) -> dict[str, Any]:
    effect = it.item.effect
    return {
        "decided": _instant(effect.time),
        "first_try": _instant(it.item.first),
        "not_after": _instant(effect.until),
        "purpose": effect.purpose,
        "to": effect.to,
        "group": effect.group,
        "receipt": it.receipt,
        "detail": effect.detail,
    }


def _instant(at: int | None) -> str | None:
    from engine.core.instants import format_instant

    return None if at is None else format_instant(at)


def _listed(shown: list[dict[str, Any]], counts: Counter[str]) -> str:
    if not shown:
        return "nothing of that stands in the outbox"
    lines = []
    for row in shown:
        tries = f"{row['attempts']} {'try' if row['attempts'] == 1 else 'tries'}"
        again = f", next {row['next_try']}" if row["next_try"] else ""
        why = f": {row['reason']}" if row["reason"] else ""
        what = f"{row['kind']} to {row['user'] or '-'} over {row['channel']}"
        lines.append(_plain(f"{row['key']}  {row['status']:<8}{what}, {tries}{again}{why}"))
    if counts.total() > len(shown):
        lines.append(f"... {counts.total() - len(shown):,} more")
    lines.append(", ".join(f"{number:,} {status}" for status, number in sorted(counts.items())))
    return "\n".join(lines)


def _plain(value: object) -> str:
    """A value as text that changes no terminal: what is not plain text is escaped."""
    return "".join(it if it.isprintable() else it.encode("unicode_escape").decode() for it in str(value))
