"""``drumbeat fsck``: what must be true of the store, checked."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli.common import EXIT_OK, EXIT_WRONG, emit_json, store_options, with_store


@click.command()
@store_options
def fsck(store: str | None, program: Path | None, format_: str, quiet: bool, no_color: bool) -> int:
    """Check the store: ledgers against balances, codes against pools, index against states, counters against logs.

    Only reads; a daemon may go on meanwhile. Exit code 1 when something does not hold.
    """
    opened = with_store(program, store, read_only=True)[1]
    try:
        faults = opened.check()
        users = opened.head_count()
        counts = opened.counts()
    finally:
        opened.close()
    if format_ == "json":
        rows = [{"check": it.check, "message": it.message, "count": it.count, "examples": it.examples} for it in faults]
        emit_json({"ok": not faults, "faults": rows, "users": users, "events": counts["events"]})
    elif faults:
        click.echo("\n".join(f"{it.check}: {it.message} ({it.count:,}): {', '.join(it.examples)}" for it in faults))
        click.echo(f"{len(faults)} promise(s) broken; take a backup now, and look at drumbeat restore")
    else:
        click.echo(f"ok          {users:,} users, {counts['events']:,} events: every promise holds")
    return EXIT_WRONG if faults else EXIT_OK
