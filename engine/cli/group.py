"""``drumbeat group``: one group as the store has it."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli.common import EXIT_OK, common_options, compiled, emit_json, say, tell
from engine.cli.user import LAST, lines


@click.command()
@click.argument("group")
@click.option("--all", "all_", is_flag=True, help=f"The whole timeline, not only its last {LAST} lines.")
@click.option("--store", "store", default=None, help="Another store than the program's, for example sqlite:///copy.db.")
@common_options
def group(
    group: str,
    all_: bool,
    store: str | None,
    program: Path | None,
    format_: str,
    quiet: bool,
    no_color: bool,
) -> int:
    """Members, roles, silence, traits, journeys and the timeline of GROUP."""
    from engine import wiring
    from engine.cli.atwork import at_work
    from engine.core.subjects import of_group
    from engine.insight.subject import portrait

    found = compiled(program)
    opened = wiring.open_store(found.settings, found.root, read_only=True, override=store)
    try:
        found, remarks = at_work(found, opened)
        for remark in remarks:
            say(f"note: {remark}", quiet)
        seen = portrait(found.plan, opened, of_group(group), None if all_ else LAST)
    finally:
        opened.close()
    if format_ == "json":
        emit_json(seen)
    else:
        tell(lines(seen))
    return EXIT_OK
