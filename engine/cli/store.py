"""``drumbeat store``: what is done with a store as a whole."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli.common import EXIT_OK, common_options, compiled, emit_json


@click.group()
def store() -> None:
    """The store as a whole: move it into another database."""


@store.command("migrate")
@click.argument("source")
@click.argument("target")
@common_options
def migrate(source: str, target: str, program: Path | None, format_: str, quiet: bool, no_color: bool) -> int:
    """Move everything in SOURCE, a store, into TARGET, an empty one, and compare the two.

    Such as from sqlite:///drumbeat.db to postgresql://host/database, or back; a password is written as ${NAME} and
    looked up as in drumbeat.yaml. Nothing may be running on either. Both are checked as by drumbeat fsck, and every
    record of the new store is read back and compared. From the first step on the old store sends nothing.

    Interrupted, it leaves nothing half done: say the same again.
    """
    from engine import wiring
    from engine.stores.relocating import relocate

    found = compiled(program)
    places = [wiring.store_place(found.settings, found.root, url) for url in (source, target)]
    names = (str(places[0]), str(places[1]))
    said: list[str] = []

    def progress(words: str) -> None:
        if not quiet and format_ != "json" and words not in said:
            said.append(words)
            click.echo(words, err=True)

    old, new, seal = wiring.stores_to_move(found.settings, found.root, places[0], places[1])
    try:
        moved = relocate(old, new, names, seal, progress)
    finally:
        new.close()
        old.close()
    counts = {kind: it.count for kind, it in moved.sums.items()}
    if format_ == "json":
        emit_json({
            "from": names[0], "to": names[1], "resumed": moved.resumed, "held": moved.held,
            "records": {kind: {"count": it.count, "digest": it.shown()} for kind, it in moved.sums.items()},
        })  # fmt: skip
        return EXIT_OK
    lines = [
        f"moved       {names[0]} to {names[1]}: {counts['state']:,} states, {counts['event']:,} events, "
        f"{counts['effect']:,} effects, {counts['entry']:,} entries of the ledger; equal on both sides",
        f"held        {names[0]} sends nothing any more; keep it until you are sure",
    ]
    if moved.held is not None:
        lines.append(f"            nor does the new store, as before: {moved.held}")
    lines.append(f"next        set 'store' in drumbeat.yaml to {target}")
    click.echo("\n".join(lines))
    return EXIT_OK
