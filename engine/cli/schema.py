"""``drumbeat schema``: the JSON Schemas for editors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from engine.cli.common import EXIT_OK, common_options, emit_json, program_root, say

KINDS = ("playbook", "catalog", "program", "scenario", "event")


@click.command()
@click.argument("kind", required=False, type=click.Choice(KINDS))
@click.option(
    "--write", "folder", type=click.Path(path_type=Path, file_okay=False), is_flag=False, flag_value=Path("schemas"),
    default=None, help="Write KIND.schema.json files into DIR (schemas when DIR is left out).",
)  # fmt: skip
@common_options
def schema(
    kind: str | None, folder: Path | None, program: Path | None, format_: str, quiet: bool, no_color: bool
) -> int:
    """The JSON Schemas (draft 7) of playbooks, catalogs, the program file, scenarios and events.

    With --program the names of its coupons, segments, templates, groups, badges and channels become choices.
    """
    made = _made(program)
    chosen = made if kind is None else {kind: made[kind]}
    if folder is None:
        emit_json(chosen if kind is None else chosen[kind])
        return EXIT_OK
    folder.mkdir(parents=True, exist_ok=True)
    for name, found in chosen.items():
        (folder / f"{name}.schema.json").write_text(text_of(found), encoding="utf-8")
    if format_ == "json":
        emit_json({"written": [str(folder / f"{name}.schema.json") for name in chosen]})
    else:
        say(f"{len(chosen)} schema(s) written to {folder}", quiet)
    return EXIT_OK


def _made(program: Path | None) -> dict[str, dict[str, Any]]:
    from engine.language.jsonschema import program_names, schemas

    return schemas(None if program is None else program_names(program_root(program)))


def text_of(found: dict[str, Any]) -> str:
    """A schema as its file holds it."""
    return json.dumps(found, ensure_ascii=False, indent=2) + "\n"
