"""``drumbeat validate``: every problem at once."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import click

from engine.cli.common import (
    EXIT_OK,
    EXIT_WRONG,
    colors,
    common_options,
    emit_json,
    program_root,
    quick_garbage,
    say,
    verdict,
)
from engine.errors import ProgramError

_PARTS = ("drumbeat.yaml", "playbooks", "templates", "scenarios", "lists")


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--strict", is_flag=True, help="Warnings fail too.")
@click.option(
    "--against", default=None, metavar="REV|STORE",
    help="Also what the edits since a git revision do to people on their way, or to the people of a store.",
)
@partial(common_options, formats=("text", "json", "github", "sarif"))
def validate(
    paths: tuple[Path, ...],
    strict: bool,
    against: str | None,
    program: Path | None,
    format_: str,
    quiet: bool,
    no_color: bool,
) -> int:
    """Check a program: playbooks, catalog, templates, scenarios; every problem of every file in one pass.

    PATHS restrict what is shown to these files and folders; the whole program is read all the same, since names are
    defined elsewhere.

    With --against, steps are compared by their ids: one that is gone while people stand in it (or, against a git
    revision, may stand in it) is an error unless 'migrate' says where they go.
    """
    from engine.core.localtime import UTC, local_date
    from engine.language.compile import compile_program
    from engine.runtime.clock import SystemClock

    root = program_root(_program_of(paths, program))
    wanted = _wanted(paths, root)
    with quick_garbage(never=True):
        found = compile_program(root, today=local_date(SystemClock().now(), UTC), scenarios=True)
    everything = found.problems
    if against is not None and found.plan is not None:
        from engine.cli.against import compare

        found, edits = compare(found, against)
        everything = tuple(sorted((*everything, *edits)))
    elif against is not None:
        say(f"note: not compared with {against}: mend the errors first", quiet)
    problems = _chosen(everything, wanted, root)
    failed = any(strict or problem.severity == "error" for problem in problems)
    if format_ == "json":
        emit_json(verdict(found, problems, failed=failed))
    elif format_ == "sarif":
        emit_json(_sarif(problems, root))
    else:
        _text(found, problems, quiet, no_color, root if format_ == "github" else None)
    return EXIT_WRONG if failed else EXIT_OK


def _program_of(paths: tuple[Path, ...], program: Path | None) -> Path | None:
    """``validate DIR`` means the program in DIR when one is there, or above it."""
    from engine.language.files import find_root

    if program is not None or not paths:
        return program
    first = paths[0]
    return find_root(first if first.is_dir() else first.parent) or (first if first.is_dir() else None)


def _wanted(paths: tuple[Path, ...], root: Path) -> list[Path]:
    """The files and folders to show problems of; raises ProgramError for one that is no part of the program."""
    base = root.resolve()
    wanted = []
    for path in paths:
        place = (path if path.exists() else root / path).resolve()
        if not place.exists():
            raise ProgramError(f"there is no {path}", hint="PATHS are files and folders of the program")
        inside = place.relative_to(base).parts if place.is_relative_to(base) else ()
        if not base.is_relative_to(place) and (not inside or inside[0] not in _PARTS):
            raise ProgramError(f"{path} is no part of the program in {root}", hint="its parts: " + ", ".join(_PARTS))
        wanted.append(place)
    return wanted


def _chosen(problems: tuple[Any, ...], wanted: list[Path], root: Path) -> list[Any]:
    if not wanted or any(root.resolve().is_relative_to(path) for path in wanted):
        return list(problems)
    chosen = []
    for problem in problems:
        place = (root / problem.file).resolve()
        if any(place == path or place.is_relative_to(path) for path in wanted):
            chosen.append(problem)
    return chosen


def _sarif(problems: list[Any], root: Path) -> dict[str, Any]:
    from engine import __version__
    from engine.language.codes import PAGES
    from engine.language.formats import sarif

    return sarif(problems, PAGES, __version__, _folder(root))


def _folder(root: Path) -> str:
    """The program's folder as seen from here, which in CI is the top of the repository."""
    here, there = Path.cwd().resolve(), root.resolve()
    return there.relative_to(here).as_posix() if there.is_relative_to(here) else ""


def _text(found: Any, problems: list[Any], quiet: bool, no_color: bool, github_root: Path | None) -> None:
    from engine.language.diagnostics import render_text
    from engine.language.formats import github

    if problems and github_root is not None:
        click.echo(github(problems, _folder(github_root)))
    elif problems:
        click.echo(render_text(problems, found.sources, colors(no_color, sys.stdout)))
    if quiet:
        return
    counts = found.counts
    errors = sum(problem.severity == "error" for problem in problems)
    what = f"{counts.get('playbooks', 0)} playbook(s), {counts.get('templates', 0)} template(s)"
    what += f", {counts['scenarios']} scenario(s)" if "scenarios" in counts else ""
    verdict = "no problems" if not problems else f"{errors} error(s), {len(problems) - errors} warning(s)"
    click.echo(f"{what}: {verdict}", err=bool(problems))
