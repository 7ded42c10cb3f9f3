"""``drumbeat graph``: a playbook as a flow, or the whole program, as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from engine.cli.common import EXIT_OK, compiled, say


@click.command()
@click.argument("playbook", required=False)
@click.option(
    "--format", "format_", type=click.Choice(["mermaid", "svg", "dot"]), default="mermaid", show_default=True,
    help="Form of the picture.",
)  # fmt: skip
@click.option("--out", "out", type=click.Path(path_type=Path, dir_okay=False), help="Write into this file.")
@click.option("--no-counts", is_flag=True, help="Leave out how many people stand at each step.")
@click.option("--store", "store", default=None, help="Another store than the program's, for example sqlite:///copy.db.")
@click.option(
    "--program", "program", type=click.Path(path_type=Path), default=None,
    help="Folder of the program (default: nearest drumbeat.yaml upwards).",
)  # fmt: skip
@click.option("--quiet", is_flag=True, help="Only results, no remarks.")
@click.option("--no-color", is_flag=True, help="Accepted, as everywhere; a picture goes by its viewer.")
def graph(
    playbook: str | None,
    format_: str,
    out: Path | None,
    no_counts: bool,
    store: str | None,
    program: Path | None,
    quiet: bool,
    no_color: bool,
) -> int:
    """PLAYBOOK as a flow, with live counts when a store is there; without it the program: who sets off whom."""
    from engine.insight.graph import WRITERS, flow, overview
    from engine.insight.subject import known_playbook

    found = compiled(program)
    if playbook is not None:
        known_playbook(found.plan, playbook)
    people = None if no_counts else _people(found, store)
    if playbook is None:
        picture = overview(found.plan, people)
    else:
        picture = flow(found.plan.by_id[playbook], people)
    text = WRITERS[format_](picture)
    if out is None:
        click.echo(text, nl=False)
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
        say(f"written to {out}", quiet)
    return EXIT_OK


def _people(found: Any, store: str | None) -> Any:
    """Who stands where, when there is a store."""
    from engine import wiring
    from engine.insight.graph import standing

    if store is None and not wiring.store_place(found.settings, found.root).exists():
        return None
    opened = wiring.open_store(found.settings, found.root, read_only=True, override=store)
    try:
        return standing(opened)
    finally:
        opened.close()
