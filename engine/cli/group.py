"""``drumbeat group``: one group as the store has it."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli.common import store_options
from engine.cli.user import LAST, portray


@click.command()
@click.argument("group")
@click.option("--all", "all_", is_flag=True, help=f"The whole timeline, not only its last {LAST} lines.")
@store_options
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
    from engine.core.subjects import of_group

    return portray(of_group(group), all_, store, program, format_, quiet)
