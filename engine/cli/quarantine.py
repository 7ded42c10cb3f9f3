"""``drumbeat quarantine``: records that were refused, and what to do with them."""

from __future__ import annotations

import base64
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from engine.cli.common import EXIT_OK, EXIT_WRONG, emit_json, store_options, with_store
from engine.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])

_SHOWN = 100
_numbers = click.argument("numbers", nargs=-1, type=click.IntRange(min=1), metavar="N...")
_reason = click.option("--reason", default=None, help="All records refused for this reason, for example unknown_type.")


@click.group()
def quarantine() -> None:
    """Records that are no events, or that broke the deciding: look at them, try again, drop them."""


@quarantine.command("list")
@_reason
@click.option("--limit", type=click.IntRange(min=1), default=_SHOWN, show_default=True, help="Records shown at most.")
@click.option("--after", type=click.IntRange(min=0), default=0, metavar="N", help="Only records behind this number.")
@store_options
def list_(
    reason: str | None,
    limit: int,
    after: int,
    store: str | None,
    program: Path | None,
    format_: str,
    quiet: bool,
    no_color: bool,
) -> int:
    """The oldest records, one a line, and how many there are for each reason; --after goes on behind a page."""
    opened = with_store(program, store, read_only=True)[1]
    try:
        reasons: Counter[str] = Counter()
        shown: list[Any] = []
        behind = 0
        for record in opened.quarantine():
            if reason in (None, record.reason):
                reasons[record.reason] += 1
                if record.number > after:
                    behind += 1
                    if len(shown) < limit:
                        shown.append(record)
    finally:
        opened.close()
    total, more = reasons.total(), behind - len(shown)
    last = shown[-1].number if more else None
    if format_ == "json":
        rows, counted = [_row(it) for it in shown], dict(sorted(reasons.items()))
        emit_json({"total": total, "reasons": counted, "records": rows, "next": last})
    else:
        click.echo(_listed(shown, reasons, more))
    return EXIT_OK


@quarantine.command()
@click.argument("number", type=click.IntRange(min=1), metavar="N")
@click.option("--raw", is_flag=True, help="Only the bytes of the record, as they came.")
@store_options
def show(
    number: int, raw: bool, store: str | None, program: Path | None, format_: str, quiet: bool, no_color: bool
) -> int:
    """One record: where it came from, why it was refused, and its bytes."""
    opened = with_store(program, store, read_only=True)[1]
    try:
        record = opened.rejected(number)
    finally:
        opened.close()
    if record is None:
        raise _missing([number])
    if raw:
        sys.stdout.buffer.write(record.raw)
    elif format_ == "json":
        emit_json({**_row(record), "raw": _visible(record.raw), "raw_base64": base64.b64encode(record.raw).decode()})
    else:
        lines = [f"{name:<10}{value}" for name, value in _row(record).items()]
        click.echo("\n".join([*lines, "raw       " + _visible(record.raw)]))
    return EXIT_OK


@quarantine.command()
@_numbers
@_reason
@store_options
def retry(
    numbers: tuple[int, ...],
    reason: str | None,
    store: str | None,
    program: Path | None,
    format_: str,
    quiet: bool,
    no_color: bool,
) -> int:
    """Read records again; what is an event now goes into the inbox. Exit code 1 when some are still refused."""
    from engine import wiring
    from engine.door import read_event
    from engine.runtime.clock import SystemClock
    from engine.runtime.intake import retry as read_again

    found, opened = with_store(program, store, read_only=False)
    try:
        wanted = _wanted(opened, numbers, reason)
        shaped = wiring.payload_shaper(found.settings)
        taken, stay = read_again(opened, wanted, read_event, SystemClock().now(), found.known_types, shaped)
    finally:
        opened.close()
    refused = [{"number": number, "reason": why, "message": words} for number, (why, words) in stay.items()]
    if format_ == "json":
        counts = {"read": taken.read, "accepted": taken.accepted, "duplicate": taken.duplicate}
        emit_json({**counts, "quarantined": taken.quarantined, "refused": refused})
    else:
        parts = f"{taken.accepted:,} accepted, {taken.duplicate:,} duplicate, {taken.quarantined:,} still refused"
        lines = [f"  {it['number']}  {it['reason']}: {it['message']}" for it in refused[:_SHOWN]]
        click.echo("\n".join([f"retried     {taken.read:,}: {parts}", *lines]))
    return EXIT_WRONG if refused else EXIT_OK


@quarantine.command()
@_numbers
@_reason
@store_options
def drop(
    numbers: tuple[int, ...],
    reason: str | None,
    store: str | None,
    program: Path | None,
    format_: str,
    quiet: bool,
    no_color: bool,
) -> int:
    """Forget records for good."""
    opened = with_store(program, store, read_only=False)[1]
    try:
        wanted = _wanted(opened, numbers, reason)
        opened.release(wanted)
    finally:
        opened.close()
    if format_ == "json":
        emit_json({"dropped": len(wanted)})
    else:
        click.echo(f"dropped     {len(wanted):,}")
    return EXIT_OK


def _wanted(store: Any, numbers: tuple[int, ...], reason: str | None) -> list[int]:
    """The numbers meant; one that is not there is refused before anything is done."""
    if (reason is None) == (not numbers):
        raise UsageError("name records by their numbers or by --reason", hint="drumbeat quarantine list shows both")
    if reason is not None:
        return [record.number for record in store.quarantine() if record.reason == reason]
    missing = [number for number in numbers if store.rejected(number) is None]
    if missing:
        raise _missing(missing)
    return list(dict.fromkeys(numbers))


def _missing(numbers: list[int]) -> UsageError:
    words = ", ".join(map(str, numbers))
    return UsageError(f"no record {words} is in quarantine", hint="drumbeat quarantine list shows what there is")


def _row(record: Any) -> dict[str, Any]:
    from engine.core.instants import format_instant

    return {
        "number": record.number,
        "feed": record.feed,
        "position": record.position,
        "reason": record.reason,
        "message": record.message,
        "at": format_instant(record.at),
    }


def _listed(shown: list[Any], reasons: Counter[str], more: int) -> str:
    if not reasons:
        return "quarantine is empty"
    lines = [_visible(f"{it.number}  {it.feed}:{it.position}  {it.reason}: {it.message}".encode()) for it in shown]
    if more:
        lines.append(f"... {more:,} more: --after {shown[-1].number}")
    lines.append(", ".join(f"{number:,} {reason}" for reason, number in sorted(reasons.items())))
    return "\n".join(lines)


def _visible(raw: bytes) -> str:
    """Bytes as text that changes no terminal: what is not plain text is escaped."""
    text = raw.decode("utf-8", "backslashreplace")
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
