"""``drumbeat validate``: every problem at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from engine.cli.common import EXIT_OK, EXIT_WRONG, colors, common_options, emit_json, program_root


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--strict", is_flag=True, help="Warnings fail too.")
@common_options
def validate(
    paths: tuple[Path, ...], strict: bool, program: Path | None, format_: str, quiet: bool, no_color: bool
) -> int:
    """Check a program: playbooks, catalog, templates; every problem of every file in one pass.

    PATHS restrict what is shown to these files and folders; the whole program is read all the same, since names are
    defined elsewhere.
    """
    from engine.language.compile import compile_program

    root = program_root(_program_of(paths, program))
    found = compile_program(root)
    problems = _chosen(found.problems, paths, root)
    errors = sum(problem.severity == "error" for problem in problems)
    warnings = len(problems) - errors
    failed = errors > 0 or (strict and warnings > 0)
    if format_ == "json":
        _json(found, problems, errors, warnings, failed)
    else:
        _text(found, problems, errors, warnings, quiet, no_color)
    return EXIT_WRONG if failed else EXIT_OK


def _program_of(paths: tuple[Path, ...], program: Path | None) -> Path | None:
    """``validate DIR`` means the program in DIR when one is there, or above it."""
    from engine.language.files import find_root

    if program is not None or not paths:
        return program
    first = paths[0]
    return find_root(first if first.is_dir() else first.parent) or (first if first.is_dir() else None)


def _chosen(problems: tuple[Any, ...], paths: tuple[Path, ...], root: Path) -> list[Any]:
    wanted = [path.resolve() for path in paths]
    if not wanted or root.resolve() in wanted:
        return list(problems)
    chosen = []
    for problem in problems:
        place = (root / problem.file).resolve()
        if any(place == path or place.is_relative_to(path) for path in wanted):
            chosen.append(problem)
    return chosen


def _json(found: Any, problems: list[Any], errors: int, warnings: int, failed: bool) -> None:
    from engine.language.diagnostics import to_json

    emit_json(
        {
            "ok": not failed,
            "errors": errors,
            "warnings": warnings,
            "problems": [to_json(problem) for problem in problems],
            "counts": dict(found.counts),
        }
    )


def _text(found: Any, problems: list[Any], errors: int, warnings: int, quiet: bool, no_color: bool) -> None:
    from engine.language.diagnostics import render_text

    if problems:
        click.echo(render_text(problems, found.sources, colors(no_color, sys.stdout)))
    if quiet:
        return
    counts = found.counts
    what = f"{counts.get('playbooks', 0)} playbook(s), {counts.get('templates', 0)} template(s)"
    verdict = "no problems" if not problems else f"{errors} error(s), {warnings} warning(s)"
    click.echo(f"{what}: {verdict}", err=bool(problems))
