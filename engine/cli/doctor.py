"""``drumbeat doctor``: is everything there that the daemon needs, and what to do where it is not."""

from __future__ import annotations

import os
from pathlib import Path

import click

from engine.cli.common import EXIT_OK, EXIT_WRONG, common_options, emit_json, program_root
from engine.cli.tables import pad


@click.command()
@click.option("--store", "store_", default=None, help="Another store than the program's, for example sqlite:///copy.db.")
@common_options
def doctor(store_: str | None, program: Path | None, format_: str, quiet: bool, no_color: bool) -> int:
    """Look at the machine, the program, its secrets, its folders and its store; change nothing.

    Exit code 1 when something is bad: the daemon would not start, or would not do what it should.
    """
    from engine.cli import checkup
    from engine.language.compile import compile_program
    from engine.runtime.clock import SystemClock

    found = compile_program(program_root(program))
    findings = [
        *checkup.machine(),
        *checkup.program(found),
        *checkup.surroundings(found, os.environ),
        *checkup.store(found, store_, SystemClock().now()),
    ]
    bad = sum(it.verdict == checkup.BAD for it in findings)
    if format_ == "json":
        rows = [{"name": it.name, "verdict": it.verdict, "text": it.text, "advice": it.advice} for it in findings]
        emit_json({"ok": not bad, "findings": rows})
    else:
        for it in findings:
            click.echo(f"{it.verdict:<4}  {pad(it.name, 14)}  {it.text}")
            if it.advice and it.verdict != checkup.OK:
                click.echo(f"{'':<4}  {'':<14}  -> {it.advice}")
    return EXIT_WRONG if bad else EXIT_OK
