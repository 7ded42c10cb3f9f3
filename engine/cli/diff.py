"""``drumbeat diff``: what another version of the program would do to the same people."""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import click

from engine.cli.common import (
    EXIT_OK,
    EXIT_WRONG,
    colors,
    columns_option,
    common_options,
    emit_json,
    feed_paths,
    moment,
    tell,
    tidied_up,
    writing,
)
from engine.errors import UsageError


@click.command()
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@click.option("--events", "events", multiple=True, required=True, help="Feed file, as for simulate; may repeat.")
@columns_option
@click.option("--until", callback=moment, help="Where the virtual clock ends (default: at the last event).")
@click.option(
    "--limit", type=click.IntRange(min=0), default=3, show_default=True,
    help="Samples of each kind of change of each step.",
)  # fmt: skip
@click.option(
    "--changes", type=click.Path(path_type=Path, dir_okay=False),
    help="Write every difference here, one JSON a line, by person.",
)  # fmt: skip
@click.option("--mask", is_flag=True, help="Call people user-1, user-2 ... and leave texts out.")
@partial(common_options, formats=("text", "json", "markdown"))
def diff(
    old: str,
    new: str,
    events: tuple[str, ...],
    columns: str | None,
    until: int | None,
    limit: int,
    changes: Path | None,
    mask: bool,
    program: Path | None,
    format_: str,
    quiet: bool,
    no_color: bool,
) -> int:
    """What would change, in effects and not in YAML: both programs over the same feed, side by side.

    OLD and NEW are folders with a program, or revisions of the repository of the program here. Nothing is written to a
    store, nothing is sent, and the work tree stays as it is. The exit code is 1 when anything differs.
    """
    from engine.cli.bothsides import Feed, places, simulated
    from engine.insight.diff import compare

    if mask and changes is not None:
        raise UsageError("--changes names people, so it does not go with --mask", hint="leave one of them out")
    feed = Feed(_readable(events), columns, until)
    with (
        tidied_up(),
        tempfile.TemporaryDirectory(prefix="drumbeat-diff-") as work,
        places(old, new, program) as both,
        simulated(both, feed, Path(work), color=colors(no_color, sys.stderr), quiet=quiet) as sides,
        writing(changes) as out,
    ):
        result = compare(sides, limit=limit, changes=out, mask=mask)
    if format_ == "json":
        emit_json(result)
    elif format_ == "markdown":
        from engine.cli.diffmark import markdown

        click.echo(markdown(result))
    else:
        from engine.cli.difftext import text

        tell([text(result)])
    return EXIT_WRONG if result["different"] else EXIT_OK


def _readable(events: tuple[str, ...]) -> list[Path]:
    """The files of the feed; each is read twice, which a pipe cannot be."""
    paths = feed_paths(events)
    for path in paths:
        if not path.is_file():
            raise UsageError(f"{path} is no file, and both sides have to read it", hint="write it to a file first")
    return paths


def verdict_of(result: dict[str, Any]) -> str:
    """The whole comparison in one sentence."""
    effects, users = result["effects"], result["users"]
    if not result["different"]:
        read = any(result[side]["events"]["accepted"] for side in ("old", "new"))
        if not read and not effects["unchanged"]:
            return "nothing was compared: the feed holds no event up to the end of the clock"
        return f"nothing differs: {effects['unchanged']:,} effects are the same"
    parts = [
        f"{users[word]:,} {verb}"
        for word, verb in (
            ("gain", "gain something"), ("lose", "lose something"), ("move", "get it at another time"),
            ("change", "get something else"),
        )
        if users[word]
    ]  # fmt: skip
    if not parts:
        changed = sum(effects[what] for what in ("gained", "lost", "moved", "changed"))
        if changed:
            return f"no single person is touched, but {changed:,} effects of groups or the program are"
        return "nobody gets anything else, but what is held back or counted differs"
    return f"of {users['any']:,} people whom it touches " + ", ".join(parts)
