"""The ``drumbeat`` command: its verbs, and the one place where errors become words and exit codes."""

from __future__ import annotations

import gc
import os
import sys
from importlib import import_module
from itertools import pairwise

import click

from engine import __version__
from engine.cli.common import EXIT_CANNOT, EXIT_INTERRUPTED, alone, colors, one_json
from engine.cli.terminal import guard_terminals, tame
from engine.errors import DrumbeatError, ProgramError

VERBS = {
    "apply": "engine.cli.plan:apply",
    "audience": "engine.cli.audience:audience",
    "backup": "engine.cli.backup:backup",
    "coupons": "engine.cli.coupons:coupons",
    "demo": "engine.cli.demo:demo",
    "diff": "engine.cli.diff:diff",
    "docs": "engine.cli.docs:docs",
    "doctor": "engine.cli.doctor:doctor",
    "draw": "engine.cli.draw:draw",
    "explain": "engine.cli.explain:explain",
    "fsck": "engine.cli.fsck:fsck",
    "graph": "engine.cli.graph:graph",
    "group": "engine.cli.group:group",
    "ingest": "engine.cli.ingest:ingest",
    "init": "engine.cli.init:init",
    "outbox": "engine.cli.outbox:outbox",
    "plan": "engine.cli.plan:plan",
    "preview": "engine.cli.preview:preview",
    "quarantine": "engine.cli.quarantine:quarantine",
    "report": "engine.cli.report:report",
    "restore": "engine.cli.backup:restore",
    "run": "engine.cli.run:run",
    "schema": "engine.cli.schema:schema",
    "simulate": "engine.cli.simulate:simulate",
    "store": "engine.cli.store:store",
    "tasks": "engine.cli.tasks:tasks",
    "test": "engine.cli.test:test",
    "trigger": "engine.cli.trigger:trigger",
    "user": "engine.cli.user:user",
    "users": "engine.cli.users:users",
    "validate": "engine.cli.validate:validate",
    "why": "engine.cli.why:why",
}
"""Verb -> "module:command", imported only when used: starting must be quick."""


class Verbs(click.Group):
    """A group that imports a verb when it is called for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module, _, name = VERBS[cmd_name].partition(":")
        command = getattr(import_module(module), name)
        return command if isinstance(command, click.Command) else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from engine.registry import nearest

        if args and args[0] not in VERBS and not args[0].startswith("-"):
            near = nearest(args[0], VERBS)
            hint = f" Did you mean '{near}'?" if near else ""
            raise click.UsageError(f"No such verb '{args[0]}'.{hint}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="drumbeat")
def cli() -> None:
    """Campaigns as code: playbooks in YAML, tested on a virtual clock, run durably."""


def main(args: list[str] | None = None) -> None:
    """Run the command line and leave with its exit code; no traceback ever reaches a user."""
    gc.set_threshold(50_000, 20, 100)  # what is imported or compiled is no garbage: the search took 2 to 4% of a verb
    guard_terminals()
    alone()
    sys.exit(run(args))


def run(args: list[str] | None = None) -> int:
    """Run the command line; its exit code."""
    words = sys.argv[1:] if args is None else args
    fail = one_json(asked="--format=json" in words or ("--format", "json") in pairwise(words))
    try:
        code = cli.main(args=args, prog_name="drumbeat", standalone_mode=False)
        sys.stdout.flush()
        return int(code) if isinstance(code, int) else 0
    except (click.exceptions.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return fail("interrupted", EXIT_INTERRUPTED)
    except click.ClickException as error:
        error.show()
        return fail(error.format_message(), error.exit_code)
    except DrumbeatError as error:
        if isinstance(error, ProgramError):
            _show_problems(error)
        click.echo(f"error: {tame(str(error))}", err=True)
        return fail(str(error), error.exit_code)
    except (BrokenPipeError, SystemExit):  # click leaves by SystemExit then, and for nothing else
        # the reader went away (``| head``); a second write at exit must not complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        click.echo(f"error: {tame(what)}", err=True)
        return fail(what, EXIT_CANNOT)
    except Exception as error:
        click.echo(f"error: an internal fault of Drumbeat: {type(error).__name__}: {tame(str(error))}", err=True)
        if os.environ.get("DRUMBEAT_TRACE"):
            raise
        click.echo("  this is our mistake; DRUMBEAT_TRACE=1 shows where it happened", err=True)
        return fail(f"internal fault: {type(error).__name__}", EXIT_CANNOT)


def _show_problems(error: ProgramError) -> None:
    from engine.language.compiled import Compiled
    from engine.language.diagnostics import render_text

    for found in error.problems:
        if isinstance(found, Compiled):
            errors = [problem for problem in found.problems if problem.severity == "error"]
            click.echo(render_text(errors, found.sources, colors(False, sys.stderr)), err=True)
