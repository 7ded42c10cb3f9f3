"""What every verb shares: the program's folder, errors without tracebacks, output as text or one JSON object."""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import click

from engine.cli.terminal import tame
from engine.errors import ProgramError, UsageError

F = TypeVar("F", bound=Callable[..., Any])

EXIT_OK, EXIT_WRONG, EXIT_USAGE, EXIT_CANNOT, EXIT_INTERRUPTED = 0, 1, 2, 3, 130

_alone: list[bool] = []  # not empty: see ``alone``
_spoken: list[object] = []  # what the running verb has written as JSON: it must be one object, whatever happens


def common_options(verb: F, formats: tuple[str, ...] = ("text", "json")) -> F:
    """``--program``, ``--format``, ``--quiet`` and ``--no-color``, accepted after the verb."""
    for option in (
        click.option("--no-color", is_flag=True, help="Plain text, also on a terminal (or set NO_COLOR)."),
        click.option("--quiet", is_flag=True, help="Only results, no progress and no remarks."),
        click.option(
            "--format", "format_", type=click.Choice(formats), default="text", help="Form of the result.",
        ),
        click.option(
            "--program", "program", type=click.Path(path_type=Path), default=None,
            help="Folder of the program (default: nearest drumbeat.yaml upwards).",
        ),
    ):  # fmt: skip
        verb = option(verb)
    return verb


def store_options(verb: F) -> F:
    """``common_options`` and ``--store``, for verbs that look into a store or change it."""
    words = "Another store than the program's, for example sqlite:///copy.db."
    return common_options(click.option("--store", "store", default=None, help=words)(verb))


def program_root(program: Path | None) -> Path:
    """The folder of the program; raises UsageError when there is none."""
    from engine.language.files import PROGRAM_FILE, find_root

    if program is not None:
        if program.is_file() and program.name == PROGRAM_FILE:
            return program.parent
        if not program.is_dir():
            raise ProgramError(f"there is no folder {program}", hint="give the folder that holds drumbeat.yaml")
        return program
    found = find_root(Path.cwd())
    if found is None:
        hint = "change into a program or use --program DIR"
        raise UsageError("no drumbeat.yaml here or in a folder above", hint=hint)
    return found


def compiled(program: Path | None) -> Any:
    """The program with its plan; raises ProgramError, problems shown, when it is invalid."""
    from engine.language.compile import compile_program

    found = compile_program(program_root(program))
    if found.plan is None:
        context = click.get_current_context(silent=True)
        if context is not None and context.params.get("format_") == "json":
            emit_json(verdict(found, found.problems, failed=True))
        raise ProgramError(f"the program is invalid: {found.errors} error(s)", problems=(found,))
    return found


def with_store(program: Path | None, store: str | None, *, read_only: bool) -> tuple[Any, Any]:
    """The program and its store, opened; the caller closes it. What is written goes through a running daemon."""
    from engine import wiring

    found = compiled(program)
    if read_only:
        return found, wiring.open_store(found.settings, found.root, read_only=True, override=store)
    return found, writer(found, store)


def writer(found: Any, store: str | None) -> Any:
    """The store of a program for writing: the file, or the daemon that holds it; the caller closes it."""
    from engine.api.remote import open_writer

    return open_writer(found.settings, found.root, store)


def who_decides(store: Any) -> str:
    """What becomes of something that was put into the inbox of a store."""
    from engine.api.remote import through_daemon

    return "the running daemon decides" if through_daemon(store) else "drumbeat run --until-idle decides"


def verdict(found: Any, problems: Iterable[Any], *, failed: bool) -> dict[str, Any]:
    """What is wrong with a program, for readers of JSON."""
    from engine.language.diagnostics import to_json

    rows = [to_json(problem) for problem in problems]
    errors = sum(row["severity"] == "error" for row in rows)
    return {
        "ok": not failed,
        "errors": errors,
        "warnings": len(rows) - errors,
        "problems": rows,
        "counts": dict(found.counts),
    }


def colors(no_color: bool, stream: Any) -> bool:
    """Colours on a terminal, unless refused."""
    return not no_color and not os.environ.get("NO_COLOR") and _is_terminal(stream)


def _is_terminal(stream: Any) -> bool:
    return bool(getattr(stream, "isatty", lambda: False)())


def say(text: str, quiet: bool = False) -> None:
    """A remark, on the error stream; one that cannot be written (its disk is full) stops nobody."""
    if not quiet:
        with suppress(OSError):
            click.echo(text, err=True)


def tell(lines: Iterable[str]) -> None:
    """Results as text, with nothing in them that a terminal would act on."""
    click.echo(tame("\n".join(lines)))


@contextmanager
def tidied_up() -> Iterator[None]:
    """Who is told to end (SIGTERM) clears away what it made for the while, as after Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def emit_json(value: Any) -> None:
    """One JSON object on standard output."""
    import msgspec

    _spoken.append(value)
    raw = msgspec.json.Encoder(decimal_format="number").encode(value)
    click.echo(json.dumps(json.loads(raw), ensure_ascii=False, indent=2))


def one_json(*, asked: bool) -> Callable[[str, int], int]:
    """Whoever asked for JSON gets one object, also when the verb fails before it has any.

    Returns a function that takes what went wrong and the exit code, and gives the exit code back.
    """
    _spoken.clear()

    def fail(message: str, code: int) -> int:
        if asked and not _spoken:
            emit_json({"ok": False, "error": message, "exit_code": code})
        return code

    return fail


@contextmanager
def progress_bar(total: int | None, label: str, quiet: bool) -> Iterator[Callable[[int], None] | None]:
    """A progress bar on a terminal; None elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    with click.progressbar(length=total or 0, label=label, file=sys.stderr, show_pos=True) as bar:

        def advance(done: int) -> None:
            if total is None:
                bar.length = max(bar.length or 0, bar.pos + done * 2)
            bar.update(done)

        yield advance


def columns_option(verb: F) -> F:
    """``--columns``, for verbs that read files of events."""
    words = (
        "Which columns of CSV and Parquet files form an event: time=at,user=customer,type_is=order.paid,id=shop+no"
        " (default: as the program's feed of that file says)."
    )
    return click.option("--columns", default=None, metavar="KEY=COLUMN,...", help=words)(verb)


def moment(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    """An instant given on the command line, as microseconds."""
    from engine.core.instants import InstantError, parse_instant

    if value is None:
        return None
    try:
        return parse_instant(value)
    except InstantError as error:
        raise click.BadParameter(f"{error} (for example 2026-03-01T09:00:00+08:00)") from None


def map_option(verb: F) -> F:
    """``--map``, for verbs that read files of events."""
    return click.option(
        "--map", "map_", type=click.Path(path_type=Path, dir_okay=False),
        help="How records of other systems become events (default: as the program's feed of that file says).",
    )(verb)  # fmt: skip


def replay_of(
    found: Any, events: tuple[str, ...], until: int | None = None, columns: str | None = None, map_: Path | None = None
) -> Any:
    """Feed files to be read, in the layout the options or the program's feeds give them; ``until`` as for simulate."""
    from engine.feeds.layouts import layout_of
    from engine.feeds.replay import Replay

    layout = layout_of(found.settings.feeds, found.root, columns, map_)
    return Replay(feed_paths(events), until, layout=layout, types=found.known_types)


def replayed(
    found: Any, events: tuple[str, ...], until: int | None, columns: str | None = None, map_: Path | None = None
) -> Any:
    """A store in memory with all that a feed leads to, for whoever asks about somebody; ``until`` as for simulate."""
    from engine.runtime.simulate import simulate
    from engine.stores.memory import MemoryStore

    store = MemoryStore()
    replay = replay_of(found, events, until, columns, map_)
    simulate(found.plan, replay, store, until=until, known_types=found.known_types, log=True)
    return store


def feed_paths(patterns: tuple[str, ...]) -> list[Path]:
    """Files named on the command line, patterns expanded; raises ProgramError (exit 1) when one matches nothing."""
    out: list[Path] = []
    for pattern in patterns:
        path = Path(pattern)
        if path.is_file() or path.is_fifo():
            out.append(path)
            continue
        found = sorted(path.parent.glob(path.name)) if any(mark in path.name for mark in "*?[") else []
        files = [one for one in found if one.is_file()]
        if not files:
            hint = f"it is a folder; write {path}/*.jsonl for what lies in it" if path.is_dir() else "check the path"
            raise ProgramError(f"no input file matches {pattern}", hint=hint)
        out.extend(files)
    return out


@contextmanager
def quick_garbage(*, never: bool = False, last: bool = False) -> Iterator[None]:
    """States live long and hold no cycles: looking for such again and again is a waste.

    ``never``: do not look at all; for verbs that end soon, and whose trees were measured to hold no cycles either.
    ``last``: what is held at the end may be held until the process ends: nothing looks for it any more.

    What is held at the beginning is not searched first: imports and a compiled program leave about a thousand small
    objects behind, and looking for them takes longer than all the rest of this.
    """
    gc.freeze()
    old = gc.get_threshold()
    gc.set_threshold(0 if never else 1_000_000, 20, 100)
    try:
        yield
    finally:
        if not (never and _alone):  # a process that is about to end need not look through everything once more
            if last and _alone:
                gc.freeze()  # a session holds itself in a cycle, and with it every subject: none is worth a look now
            gc.set_threshold(*old)
            if not (last and _alone):
                gc.unfreeze()


def alone() -> None:
    """This process does one verb and ends."""
    _alone.append(True)


@contextmanager
def writing(path: Path | None) -> Iterator[BinaryIO | None]:
    """A file for output, in a folder that is made where it is missing; None: there is none."""
    if path is None:
        yield None
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb", buffering=1 << 20) as out:
        yield out
