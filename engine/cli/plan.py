"""``drumbeat plan``: what putting a program to work would do on a real store; and ``drumbeat apply``."""

from __future__ import annotations

from contextlib import ExitStack
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import click

from engine.cli.common import (
    EXIT_OK,
    EXIT_WRONG,
    emit_json,
    program_root,
    progress_bar,
    quick_garbage,
    say,
    store_options,
    tell,
    tidied_up,
)
from engine.errors import ProgramError

EXIT_CHANGES = 10


def _amount(_: click.Context, __: click.Parameter, value: str | None) -> Decimal | None:
    if value is None:
        return None
    try:
        amount = Decimal(value)
    except InvalidOperation:
        raise click.BadParameter("an amount such as 5000 or 1250.50") from None
    if not amount.is_finite() or amount < 0:
        raise click.BadParameter("an amount such as 5000 or 1250.50")
    return amount


@click.command()
@click.option("--against", metavar="REV", default=None, help="Plan the program as of this git revision.")
@click.option(
    "--days", default=28, show_default=True, type=click.IntRange(0, 400),
    help="How many of the last days the store holds are played once more; 0: no estimate.",
)
@click.option("--max-audience", type=click.IntRange(min=0), metavar="N", help="Exit 1 when more people are reached.")
@click.option("--max-cost", callback=_amount, metavar="AMOUNT", help="Exit 1 when its coupons may cost more.")
@click.option("--allow-over", is_flag=True, help="What is over a gate is meant to be, and may be applied.")
@click.option("--detailed-exitcode", is_flag=True, help="Exit 10 when the plan changes anything.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the plan here, for drumbeat apply.")
@store_options
def plan(
    against: str | None,
    days: int,
    max_audience: int | None,
    max_cost: Decimal | None,
    allow_over: bool,
    detailed_exitcode: bool,
    out: Path | None,
    store: str | None,
    program: Path | None,
    format_: str,
    quiet: bool,
    no_color: bool,
) -> int:
    """What putting the program to work on its store would do. The store is only read, also beside a running daemon.

    The plan is published on a copy of the store, as a reload would do it, and the last weeks the store holds are played
    once more from now on, with the people, journeys and stock of now. So the figures are those of the engine itself.

    With --against the program as of a git revision is planned instead of the folder: what going back would do.
    """
    from engine.cli.plan_text import lines
    from engine.insight.planning.figures import Gates

    root = program_root(program)
    gates = Gates(max_audience, max_cost, allow_over)
    with ExitStack() as closing:
        closing.enter_context(tidied_up())
        folder = root
        if against is not None:
            from engine.cli.against import program_at

            folder = closing.enter_context(program_at(root, against))
        row, save = _planned(closing, root, folder, store, days, gates, quiet)
    if out is not None:
        if against is not None:
            say("note: to apply the program of a revision, check it out: drumbeat apply takes the folder", quiet)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(save(row))
    if format_ == "json":
        emit_json(row)
    else:
        tell(lines(row))
    if not row["gates"]["allowed"]:
        return EXIT_WRONG
    return EXIT_CHANGES if detailed_exitcode and row["changes"] else EXIT_OK


def _planned(
    closing: ExitStack, root: Path, folder: Path, store: str | None, days: int, gates: Any, quiet: bool
) -> tuple[dict[str, Any], Any]:
    """(the plan in figures, what makes a file of it)."""
    from tempfile import TemporaryDirectory

    from engine import wiring
    from engine.cli.run import can_run
    from engine.insight.planning import saved
    from engine.insight.planning.changes import compare
    from engine.insight.planning.figures import Tried, figures
    from engine.insight.planning.trial import attempt
    from engine.language.keeping import pack
    from engine.runtime import applied

    packed = pack(folder)
    first = _whole(folder, ())
    place = wiring.store_place(first.settings, root, store)
    if not place.exists():
        can_run(first)
        row = figures(compare(first, None, {}, False), None, days, gates)
        return _named(row, first, None), lambda it: saved.to_save(
            it, base="", plan=first.plan.digest, pack=packed, lists=saved.lists_of(folder, first.lists), store=""
        )
    scratch = Path(closing.enter_context(TemporaryDirectory(prefix="drumbeat-plan-")))
    copy = wiring.trial_store(first.settings, root, scratch, override=store)
    closing.callback(copy.close)
    base, active, mark = applied.base_of(copy), copy.get_meta("plan") or "", _mark(copy)
    found = _whole(folder, copy.versions())
    can_run(found)
    if pack(folder) != packed:
        raise ProgramError(f"the program in {folder} was changed while it was planned", hint="plan once more")
    old, why = _running(copy, root, active)
    changes = compare(found, old, _published(copy), found.plan.digest == active, why)
    concerned = changes.concerned
    running = None
    if old is not None and days and changes.any:
        with ExitStack() as over, quick_garbage(), progress_bar(None, "as it runs", quiet) as advance:
            same = f"sqlite:///{scratch / 'trial.db'}"  # the very moment of the other copy
            other = wiring.trial_store(first.settings, root, scratch, "running.db", same)
            over.callback(other.close)
            running = attempt(
                old.plan, other, secret=wiring.secret_of(other), known_types=old.known_types, days=days, publish=False,
                concerned=concerned, progress=advance,
            )  # fmt: skip
    with quick_garbage(), progress_bar(None, "as planned", quiet) as advance:
        trial = attempt(
            found.plan, copy, secret=wiring.secret_of(copy), known_types=found.known_types, days=days,
            concerned=concerned, progress=advance,
        )  # fmt: skip
    row = figures(changes, Tried(found.plan, trial, copy, running), days, gates)
    return _named(row, found, str(place)), lambda it: saved.to_save(
        it, base=base, plan=found.plan.digest, pack=packed, lists=saved.lists_of(folder, found.lists), store=mark
    )


def _named(row: dict[str, Any], found: Any, store: str | None) -> dict[str, Any]:
    return {"program": found.plan.program, "plan": found.plan.digest, "store": store, **row}


def _whole(folder: Path, older: Any) -> Any:
    """The program in a folder, with older versions; raises ProgramError, problems shown, when it is invalid."""
    from engine.cli.common import compiled
    from engine.language.compile import compile_program

    found = compile_program(folder, older)
    return found if found.plan is not None else compiled(folder)


def _running(store: Any, root: Path, active: str) -> tuple[Any, str]:
    """(the program the store runs, compiled as a whole, or None; why not)."""
    from engine.language.keeping import compile_pack
    from engine.runtime import applied

    if not active:
        return None, "nothing runs on the store yet"
    pinned = applied.read(store)
    packed = pinned.pack if pinned is not None and pinned.plan == active else store.get_meta(applied.LAST_GOOD)
    if not packed:
        return None, "the store was last run by a drumbeat that did not keep its files"
    found = compile_pack(packed, root, store.versions())
    if found.plan is None or found.plan.digest != active:
        return None, "the files the store keeps give another plan by now: a list they read was changed"
    return found, ""


def _published(store: Any) -> dict[str, tuple[str, str]]:
    """Playbook -> (status, version) of the last publication."""
    from engine.runtime.publish import published

    return published(store)


def _mark(store: Any) -> str:
    """What tells this store from every other, and gives nothing of it away."""
    from hashlib import sha256

    secret = store.get_meta("secret")
    return "" if secret is None else sha256(f"plan {secret}".encode()).hexdigest()[:16]


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--wait", default=30, show_default=True, type=click.IntRange(0, 600),
    help="Seconds to wait until a running daemon has taken it.",
)
@store_options
def apply(
    file: Path, wait: int, store: str | None, program: Path | None, format_: str, quiet: bool, no_color: bool
) -> int:
    """Put the plan in FILE to work: a running daemon takes it at once, the next `drumbeat run` begins with it.

    It is refused when it is stale: the program's folder is not what was planned any more, or the store runs another
    plan than it was made against. From then on the store takes applied plans only and edits of files change nothing,
    until `drumbeat run --follow-files`.
    """
    from engine.api.remote import apply as hand_over
    from engine.api.remote import open_writer, through_daemon
    from engine.insight.planning.saved import saved
    from engine.language.compile import compile_program
    from engine.runtime.applied import Apply

    found = saved(file)
    target = found["target"]
    if not found["gates"]["allowed"]:
        raise ProgramError(
            f"{file} is over its gates: " + "; ".join(found["gates"]["over"]),
            hint="make it smaller, or plan it with --allow-over",
        )
    root = program_root(program)
    _fresh(root, target, file)
    opened = open_writer(compile_program(root).settings, root, store)
    try:
        if target["store"] and _mark(opened) != target["store"]:
            raise ProgramError(f"{file} was made on another store", hint="plan once more, on this store")
        already = opened.get_meta("plan") == target["plan"]
        other = hand_over(opened, Apply(target["base"], target["plan"], target["pack"]))
        if other is not None:
            raise ProgramError(
                f"{file} is stale: the store runs another plan than it was made against",
                hint="plan once more, and look at what it says now",
            )
        daemon = through_daemon(opened)
        at_work = already or (daemon and _taken(opened, target["plan"], wait))
    finally:
        opened.close()
    return _told(found, daemon, at_work, format_, quiet)


def _fresh(root: Path, target: dict[str, Any], file: Path) -> None:
    """Raise ProgramError when the folder is not what was planned."""
    from engine.insight.planning.saved import lists_of
    from engine.language.keeping import pack

    hint = "plan once more, and look at what it says now"
    if pack(root) != target["pack"]:
        raise ProgramError(f"{file} is stale: the program in {root} was changed since it was planned", hint=hint)
    changed = [name for name, digest in target["lists"].items() if lists_of(root, [name])[name] != digest]
    if changed:
        raise ProgramError(f"{file} is stale: {', '.join(changed)} changed since it was planned", hint=hint)


def _taken(store: Any, digest: str, seconds: int) -> bool:
    """Whether a daemon has a plan at work, within so many seconds."""
    from engine.runtime.clock import SystemClock

    clock = SystemClock()
    until = clock.elapsed() + seconds
    while store.get_meta("plan") != digest:
        if clock.elapsed() >= until:
            return False
        clock.pause(_LOOK)
    return True


_LOOK = 100_000
"""Microseconds between two looks at what the daemon runs."""


def _told(found: dict[str, Any], daemon: bool, at_work: bool, format_: str, quiet: bool) -> int:
    digest = found["target"]["plan"]
    if format_ == "json":
        emit_json({"applied": digest, "daemon": daemon, "at_work": at_work})
    elif at_work:
        click.echo(f"applied     plan {digest[:12]} is at work")
    elif daemon:
        click.echo(f"applied     plan {digest[:12]}; the daemon has not taken it yet: drumbeat doctor says why")
    else:
        click.echo(f"applied     plan {digest[:12]}: the next drumbeat run begins with it")
    say("note: the store takes applied plans only from now on; drumbeat run --follow-files is the way back", quiet)
    return EXIT_OK if at_work or not daemon else EXIT_WRONG
