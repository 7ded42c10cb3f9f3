"""``drumbeat test``: scenario tests on the virtual clock."""

from __future__ import annotations

import shutil
import sys
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
    progress_bar,
    say,
    verdict,
)
from engine.errors import ProgramError

_WIDTH = 120


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("-k", "words", default="", metavar="EXPR", help="Only scenarios whose file, title or playbooks match.")
@click.option("--junit", type=click.Path(path_type=Path, dir_okay=False), help="Write JUnit XML here.")
@click.option("--diff", is_flag=True, help="Show what differs as a diff instead of two columns.")
@click.option("--update", is_flag=True, help="Write the text snapshots anew; look at them in version control.")
@click.option("--cover-min", type=click.IntRange(0, 100), help="Fail below so many per cent of coverage.")
@common_options
def test(
    paths: tuple[Path, ...],
    words: str,
    junit: Path | None,
    diff: bool,
    update: bool,
    cover_min: int | None,
    program: Path | None,
    format_: str,
    quiet: bool,
    no_color: bool,
) -> int:
    """Run the scenario tests of a program: real engine, store and outbox on a clock that is moved by hand.

    PATHS are files or folders below scenarios/; all of them without any. No scenario matched is a failure.
    """
    from engine.cli.picking import picker
    from engine.language.compile import compile_program
    from engine.language.files import find_root

    root = program_root(program if program is not None or not paths else find_root(_folder(paths[0])))
    pick = picker(words)
    found = compile_program(root, scenarios=True)
    if found.plan is None:
        if format_ == "json":
            emit_json(verdict(found, found.problems, failed=True))
        raise ProgramError("the program is invalid", problems=(found,))
    wanted = [_place(path, root) for path in paths]
    broken = _broken(found, root, wanted)
    below = [it for it in found.scenarios if _below(root, it.file, wanted)]
    chosen = [it for it in below if it.file not in broken and pick(_name(it))]
    if not chosen and not broken:
        raise ProgramError("no scenario matches", hint="scenarios/*.yaml hold them; look at PATHS and -k")
    run = _Run(found, diff=diff, update=update, width=_width())
    with progress_bar(len(chosen), "testing", quiet or format_ == "json") as advance:
        for scenario in chosen:
            run.one(scenario)
            if advance is not None:
                advance(1)
    run.problems(broken)
    percent = run.coverage.percent
    low = cover_min is not None and percent < cover_min
    if junit is not None:
        from engine.cli.junit import junit as written

        junit.parent.mkdir(parents=True, exist_ok=True)
        junit.write_bytes(written(found.plan.program, run.cases))
    failed = run.failed or bool(broken)
    if format_ == "json":
        emit_json(run.json(cover_min, ok=not (failed or low)))
    else:
        _text(run, quiet, no_color, cover_min)
    return EXIT_WRONG if failed or low else EXIT_OK


# ---------------------------------------------------------------------- which ones


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def _name(scenario: Any) -> str:
    return " ".join((scenario.file, scenario.title, *scenario.playbooks))


def _place(path: Path, root: Path) -> Path:
    """A path as given, or as one writes it inside the program."""
    base = root.resolve()
    for place in (path.resolve(), (root / path).resolve()):
        if place.exists() and (place.is_relative_to(base) or base.is_relative_to(place)):
            return place
    raise ProgramError(f"there is no {path} in this program", hint="PATHS are files and folders below scenarios/")


def _below(root: Path, file: str, wanted: list[Path]) -> bool:
    place = (root / file).resolve()
    return not wanted or any(place == path or place.is_relative_to(path) for path in wanted)


def _broken(found: Any, root: Path, wanted: list[Path]) -> dict[str, list[Any]]:
    """File -> its errors, of scenarios that cannot be read."""
    out: dict[str, list[Any]] = {}
    for problem in found.problems:
        if problem.severity == "error" and _below(root, problem.file, wanted):
            out.setdefault(problem.file, []).append(problem)
    return out


# ---------------------------------------------------------------------- running


class _Run:
    """The scenarios that were run, and what came of them."""

    def __init__(self, found: Any, *, diff: bool, update: bool, width: int) -> None:
        from engine.insight.coverage import Coverage
        from engine.runtime.clock import SystemClock

        self.found = found
        self.diff = diff
        self.update = update
        self.width = width
        self.clock = SystemClock()
        self.coverage = Coverage(found.rehearse(()).playbooks)
        self.cases: list[Any] = []
        self.rows: list[dict[str, Any]] = []
        self.reports: list[tuple[Any, list[str]]] = []
        self.written: list[Path] = []
        self.broken: list[Any] = []

    @property
    def failed(self) -> int:
        """How many of those run failed."""
        return sum(not row["ok"] for row in self.rows)

    def one(self, scenario: Any) -> None:
        """Run one scenario."""
        from engine.cli.junit import Case
        from engine.cli.rehearsing import report, run_one
        from engine.insight.showing import as_json

        begun = self.clock.elapsed()
        result, written = run_one(self.found, scenario, self.coverage, update=self.update)
        seconds = self.clock.elapsed() - begun
        lines = [] if result.ok else report(result, self.found.root, self.width, diff=self.diff)
        self.written += written
        self.cases.append(Case(scenario.file, scenario.title, seconds, failure="\n".join(lines)))
        if lines:
            self.reports.append((scenario, lines))
        self.rows.append(
            {
                "file": scenario.file,
                "title": scenario.title,
                "playbooks": list(scenario.playbooks),
                "ok": result.ok,
                "seconds": round(seconds, 3),
                "refused": [{"line": mark.line, "message": words} for mark, words in result.refused],
                "checks": [as_json(check, scenario.clock) for check in result.checks],
            }
        )

    def problems(self, broken: dict[str, list[Any]]) -> None:
        """Scenarios that could not be read."""
        from engine.cli.junit import Case
        from engine.language.diagnostics import render_text

        for file, problems in broken.items():
            self.broken += problems
            self.cases.append(Case(file, file, 0.0, error=render_text(problems, self.found.sources)))

    def json(self, cover_min: int | None, *, ok: bool) -> dict[str, Any]:
        """All of it as one object."""
        from engine.language.diagnostics import to_json

        return {
            "ok": ok,
            "passed": len(self.rows) - self.failed,
            "failed": self.failed,
            "scenarios": self.rows,
            "problems": [to_json(problem) for problem in self.broken],
            "snapshots": [str(path.relative_to(self.found.root)) for path in self.written],
            "coverage": {
                "percent": self.coverage.percent,
                "minimum": cover_min,
                "playbooks": self.coverage.rows(),
            },
        }


# ---------------------------------------------------------------------- showing


def _width() -> int:
    return shutil.get_terminal_size((_WIDTH, 24)).columns


def _text(run: _Run, quiet: bool, no_color: bool, cover_min: int | None) -> None:
    from engine.language.diagnostics import render_text

    color = colors(no_color, sys.stdout)
    for scenario, lines in run.reports:
        click.echo(_tinted(f"FAIL {scenario.file}: {scenario.title}", "1;31", color))
        click.echo("\n".join(f"  {line}" for line in lines) + "\n")
    if run.broken:
        click.echo(render_text(run.broken, run.found.sources, color) + "\n")
    if not quiet:
        for line in _coverage(run, cover_min):
            click.echo(line)
    for path in run.written:
        word = "wrote" if path.exists() else "removed"
        say(f"{word} {path.relative_to(run.found.root)}", quiet)
    files = len({problem.file for problem in run.broken})
    parts = [f"{len(run.rows) - run.failed} passed"]
    parts += [f"{run.failed} failed"] if run.failed else []
    parts += [f"{files} cannot be read"] if files else []
    parts += [f"coverage {run.coverage.percent} %" + ("" if cover_min is None else f" (at least {cover_min} % wanted)")]
    click.echo(", ".join(parts))


def _coverage(run: _Run, cover_min: int | None) -> list[str]:
    """The table, and what is missing when a minimum is asked for."""
    from engine.cli.tables import table
    from engine.insight.coverage import PARTS

    body = []
    rows = run.coverage.rows()
    for name, it in rows.items():
        counts = [f"{it[part]['covered']}/{it[part]['of']}" if it[part]["of"] else "-" for part in PARTS]
        body.append([name, *counts, f"{it['percent']} %"])
    out = [table(["coverage", *PARTS, "all"], body), ""] if body else []
    if cover_min is not None and run.coverage.percent < cover_min:
        out += [f"not covered: {name}: {part}" for name, it in rows.items() for part in it["missed"]]
    return out


def _tinted(text: str, style: str, color: bool) -> str:
    return f"\x1b[{style}m{text}\x1b[0m" if color else text
