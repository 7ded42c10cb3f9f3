"""``drumbeat draw``: the draws of a store, their files, and working a published one out again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from engine.cli.common import EXIT_OK, EXIT_WRONG, common_options, emit_json, store_options, with_store

_KEY = 12
_key = click.argument("key", metavar="KEY")


@click.group()
def draw() -> None:
    """Draws: who won, and the file by which anybody can check it."""


@draw.command("list")
@store_options
def list_(store: str | None, program: Path | None, format_: str, quiet: bool, no_color: bool) -> int:
    """All draws of the store, the oldest first."""
    from engine.insight.draws import draws

    opened = with_store(program, store, read_only=True)[1]
    try:
        found = draws(opened)
    finally:
        opened.close()
    if format_ == "json":
        emit_json({"total": len(found), "draws": found})
    else:
        click.echo("\n".join(_line(it) for it in found) if found else "no draws")
    return EXIT_OK


@draw.command()
@_key
@store_options
def show(key: str, store: str | None, program: Path | None, format_: str, quiet: bool, no_color: bool) -> int:
    """One draw: what was promised, and who won what."""
    from engine.insight.draws import draw_of

    opened = with_store(program, store, read_only=True)[1]
    try:
        found = draw_of(opened, key)
    finally:
        opened.close()
    if format_ == "json":
        emit_json(found)
    else:
        click.echo("\n".join(_shown(found)))
    return EXIT_OK


@draw.command()
@_key
@click.option("--out", "out", type=click.Path(path_type=Path, dir_okay=False), default=None, help="Write it there.")
@store_options
def publish(
    key: str, out: Path | None, store: str | None, program: Path | None, format_: str, quiet: bool, no_color: bool
) -> int:
    """The file of a draw for the public: before the draw the promise, after it all that is needed to check it.

    It names nobody: entrants and winners stand in it by pseudonym.
    """
    from engine.insight.draws import publication_of

    opened = with_store(program, store, read_only=True)[1]
    try:
        found = publication_of(opened, key)
    finally:
        opened.close()
    text = json.dumps(found, ensure_ascii=False, indent=1) + "\n"
    if out is None:
        click.echo(text, nl=False)
        return EXIT_OK
    out.write_text(text, encoding="utf-8")
    if format_ == "json":
        emit_json({"draw": found["draw"], "file": str(out), "drawn": "seed" in found})
    else:
        click.echo(f"written     {out}\ncommitment  {found['commitment']}")
    return EXIT_OK


@draw.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--commitment", default=None, metavar="HASH", help="The hash as it was published before the draw.")
@click.option("--me", default=None, metavar="ID", help="Also say how this user stands in the draw.")
@common_options
def verify(
    file: Path, commitment: str | None, me: str | None, program: Path | None, format_: str, quiet: bool, no_color: bool
) -> int:
    """Work a published draw out again; ends with 1 and says what is wrong when it does not come out the same.

    Needs neither a program nor a store.
    """
    from engine.core.draws import faults
    from engine.insight.draws import standing

    found, wrong = _read(file)
    wrong = wrong or faults(found, commitment)
    whole = isinstance(found, dict) and not wrong
    own = standing(found, me) if whole and me is not None else None
    if format_ == "json":
        emit_json({"ok": not wrong, "problems": wrong, **({"you": own} if own is not None else {})})
    elif wrong:
        click.echo("\n".join(f"wrong       {sentence}" for sentence in wrong))
    else:
        click.echo("\n".join(_right(found, commitment, own)))
    return EXIT_WRONG if wrong else EXIT_OK


def _read(file: Path) -> tuple[Any, list[str]]:
    """The file as JSON; (None, why not) where it is none."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) < len(pairs):
            raise _Twice
        return dict(pairs)

    try:
        return json.loads(file.read_bytes(), object_pairs_hook=once), []
    except _Twice:
        return None, ["a name stands twice in one object, so two readers may see two files"]
    except (ValueError, RecursionError):
        return None, ["the file is no JSON"]


class _Twice(Exception):
    """A name stands twice in one object."""


def _right(found: dict[str, Any], commitment: str | None, own: dict[str, Any] | None) -> list[str]:
    entries = sum(number for _, number in found["entrants"])
    lines = [
        f"right       {len(found['winners'])} winners of {len(found['entrants']):,} entrants with {entries:,} entries",
        f"closed      {found['closes_at']}, promised {found['committed_at']}",
    ]
    if commitment is None:
        lines.append(f"promise     {found['commitment']}: compare it with what was published before the draw")
    if own is not None:
        places = ", ".join(str(place) for place in own["won"])
        lines.append(
            f"you         {own['pseudonym']}: {own['entries']} entries, "
            + (f"won place {places}" if places else "not drawn")
        )
    return lines


def _line(it: dict[str, Any]) -> str:
    won = f", {len(it['winners'])} winners" if "winners" in it else f", closes {it['closes_at']}"
    return f"{it['key'][:_KEY]}  {it['state']:<8}  {it['playbook']}/{it['step']}: {it['prize']}{won}"


def _shown(it: dict[str, Any]) -> list[str]:
    facts = [
        ("draw", it["key"]),
        ("state", it["state"]),
        ("playbook", f"{it['playbook']}/{it['step']}"),
        ("group", it["group"] or ""),
        ("prize", f"{it['wanted']} of {it['prize']}"),
        ("promised", it["committed_at"]),
        ("commitment", it["commitment"]),
        ("closes", it["closes_at"]),
        ("drawn", it.get("drawn_at", "")),
        ("seed", it.get("seed", "")),
    ]
    lines = [f"{name:<10}  {value}" for name, value in facts if value]
    for place, one in enumerate(it.get("winners", ()), 1):
        lines.append(f"{'winner' if place == 1 else '':<10}  {place}. {one['user']}  {one['code'] or 'no prize left'}")
    return lines
