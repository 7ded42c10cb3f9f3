"""``drumbeat backup`` and ``drumbeat restore``: a copy of the store while it runs, and putting one back."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli.common import EXIT_OK, compiled, emit_json, store_options, with_store


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@store_options
def backup(file: Path, store: str | None, program: Path | None, format_: str, quiet: bool, no_color: bool) -> int:
    """Copy the store into FILE, as it is at this moment; a running daemon goes on meanwhile.

    The copy knows that it is one: restored, it decides, but sends nothing until drumbeat outbox release.
    """
    from engine.core.instants import format_instant
    from engine.runtime.clock import SystemClock
    from engine.runtime.standing import HELD

    opened = with_store(program, store, read_only=True)[1]
    now = format_instant(SystemClock().now() // 1_000_000 * 1_000_000)
    try:
        pending = len(opened.deliveries("pending"))
        size = opened.backup(file, {HELD: f"it was restored from the backup of {now}"})
    finally:
        opened.close()
    if format_ == "json":
        emit_json({"file": str(file), "bytes": size, "at": now, "pending": pending})
    else:
        click.echo(f"written     {file}: {size:,} bytes, the store of {now}, {pending:,} delivery(s) pending in it")
    return EXIT_OK


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@store_options
def restore(file: Path, store: str | None, program: Path | None, format_: str, quiet: bool, no_color: bool) -> int:
    """Make FILE, a backup, the store of the program. The store that was there is kept beside it.

    What the backup believes pending may have been sent since: nothing goes out before drumbeat outbox list was looked
    at and drumbeat outbox release was said.
    """
    from engine import wiring
    from engine.core.instants import format_instant
    from engine.runtime.clock import SystemClock

    found = compiled(program)
    now = format_instant(SystemClock().now() // 1_000_000 * 1_000_000)
    aside = wiring.restore_store(found.settings, found.root, file, now, store)
    opened = wiring.open_store(found.settings, found.root, read_only=True, override=store)
    try:
        pending = len(opened.deliveries("pending"))
    finally:
        opened.close()
    if format_ == "json":
        emit_json({"file": str(file), "before": None if aside is None else str(aside), "pending": pending})
        return EXIT_OK
    lines = [f"restored    {file}"]
    if aside is not None:
        lines.append(f"            the store that was there is {aside}")
    lines.append(f"held        {pending:,} delivery(s): drumbeat outbox list shows them")
    lines.append("next        drumbeat outbox release lets them go")
    click.echo("\n".join(lines))
    return EXIT_OK
