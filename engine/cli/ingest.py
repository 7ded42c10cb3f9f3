"""``drumbeat ingest``: events into the inbox of the store."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from engine.cli.common import (
    EXIT_OK,
    EXIT_WRONG,
    columns_option,
    common_options,
    compiled,
    emit_json,
    feed_paths,
    progress_bar,
    who_decides,
    writer,
)
from engine.ports import Record

STDIN = "-"


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE|-")
@columns_option
@click.option("--history", is_flag=True, help="The events only change state and start nothing.")
@click.option("--store", "store", default=None, help="Another store than the program's, for example sqlite:///copy.db.")
@click.option("--strict", is_flag=True, help="Quarantined or repeated records give exit code 1.")
@click.option("--batch", type=click.IntRange(min=1), default=2_000, hidden=True)
@common_options
def ingest(
    files: tuple[str, ...],
    columns: str | None,
    history: bool,
    store: str | None,
    strict: bool,
    batch: int,
    program: Path | None,
    format_: str,
    quiet: bool,
    no_color: bool,
) -> int:
    """Put events into the store, to be decided by the running daemon or the next drumbeat run.

    FILE holds JSON lines or CSV, plain or compressed (.gz, .zst), or Parquet; - reads JSON lines from standard input.
    What the verb has counted is on the disk. Interrupted, it can be given the same file again: ids that are there are
    counted as duplicates.
    """
    found = compiled(program)
    sources: list[Path | None] = []
    for name in files:
        sources += [None] if name == STDIN else feed_paths((name,))
    taken, decides = _take(found, sources, columns, history, store, batch, quiet)
    result = {
        "events": {
            "read": taken.read,
            "accepted": taken.accepted,
            "duplicate": taken.duplicate,
            "quarantined": taken.quarantined,
            "reasons": dict(sorted(taken.reasons.items())),
        }
    }
    if format_ == "json":
        emit_json(result)
    else:
        click.echo(_text(result["events"], decides))
    return EXIT_WRONG if strict and (taken.quarantined or taken.duplicate) else EXIT_OK


def _take(
    found: Any,
    sources: list[Path | None],
    columns: str | None,
    history: bool,
    store: str | None,
    batch: int,
    quiet: bool,
) -> tuple[Any, str]:
    from engine import wiring
    from engine.feeds.layouts import layout_of
    from engine.runtime.clock import SystemClock
    from engine.runtime.intake import Intake

    layout = layout_of(found.settings.feeds, found.root, columns)
    readers = [
        wiring.read_records(sys.stdin.buffer) if path is None else wiring.read_records(path, layout(path))
        for path in sources
    ]
    opened = writer(found, store)
    try:
        with progress_bar(None, "taking in", quiet) as advance:
            intake = Intake(
                opened, SystemClock(), known_types=found.known_types, history=history, batch=batch, progress=advance
            )
            intake.take(_all(readers))
    finally:
        opened.close()
    return intake.taken, who_decides(opened)


def _all(readers: list[Iterator[Record]]) -> Iterator[Record]:
    for reader in readers:
        yield from reader


def _text(events: Any, decides: str) -> str:
    lines = [
        f"events      {events['accepted']:,} accepted of {events['read']:,} read"
        f" ({events['duplicate']:,} duplicate, {events['quarantined']:,} quarantined)"
    ]
    lines += [f"            quarantined: {reason} {number:,}" for reason, number in events["reasons"].items()]
    if events["accepted"]:
        lines.append(f"next        {decides} them")
    if events["quarantined"]:
        lines.append("            drumbeat quarantine list shows what was refused, and why")
    return "\n".join(lines)
