"""The two sides of ``drumbeat diff``: where each program lies, and both simulations side by side, a process each."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import click
import msgspec

from engine.cli import oneside
from engine.cli.against import commit_of, program_at
from engine.cli.common import emit_json, program_root
from engine.cli.workers import cores
from engine.errors import CannotRun, InternalError, ProgramError, UsageError
from engine.insight.diff import Side, Sides
from engine.language.files import PROGRAM_FILE

OLD, NEW = "OLD", "NEW"


@dataclass(frozen=True)
class Place:
    """Where one side's program lies."""

    label: str  #: as it was named
    root: Path  #: its folder; of a revision a copy
    home: Path  #: the folder it belongs to in the work tree
    revision: str | None = None  #: the commit; None: a folder as it is


@dataclass(frozen=True)
class Feed:
    """What both sides are given."""

    events: Sequence[Path]
    columns: str | None
    until: int | None


@contextmanager
def places(old: str, new: str, program: Path | None) -> Iterator[tuple[Place, Place]]:
    """Both programs; a revision is written into a temporary folder, the work tree stays as it is."""
    home = _home((old, new), program)
    with ExitStack() as stack:
        yield _place(stack, OLD, old, home), _place(stack, NEW, new, home)


def _folder(word: str) -> Path | None:
    path = Path(word)
    if path.is_file() and path.name == PROGRAM_FILE:
        return path.parent
    return path if path.is_dir() and (path / PROGRAM_FILE).is_file() else None


def _home(words: tuple[str, str], program: Path | None) -> Path | None:
    """Whose revisions are meant: --program, or the side that is a folder, or the program here; None where none is."""
    folders = [_folder(word) for word in words]
    if all(folders):
        return None
    if program is None:
        for folder in reversed(folders):
            if folder is not None:
                return folder
    return program_root(program)


def _place(stack: ExitStack, side: str, word: str, home: Path | None) -> Place:
    folder = _folder(word)
    if folder is not None:
        return Place(word, folder, folder)
    assert home is not None  # noqa: S101 - it is asked for wherever one side is no folder
    commit = commit_of(home, word)
    if commit is None and Path(word).is_dir():
        raise ProgramError(f"{side}: there is no {PROGRAM_FILE} in {word}", hint="give the folder of a program")
    if commit is None:
        hint = f"a folder with a {PROGRAM_FILE}, or a branch, tag or commit of the repository of {home}"
        raise UsageError(f"{side}: '{word}' is no program and no revision", hint=hint)
    return Place(word, stack.enter_context(program_at(home, word)), home, commit)


# ---------------------------------------------------------------------- two processes


@contextmanager
def simulated(both: tuple[Place, Place], feed: Feed, work: Path, *, color: bool, quiet: bool) -> Iterator[Sides]:
    """Both simulations, done: figures and rows. Raises ProgramError, problems shown, when a program is invalid."""
    folders = [work / side for side in (OLD, NEW)]
    with ExitStack() as stack:
        running: list[subprocess.Popen[str]] = []
        for place, folder in zip(both, folders, strict=True):
            # one progress bar is enough: both sides read the same feed
            running.append(_begin(stack, place, feed, folder, color=color, quiet=quiet or bool(running)))
        ready = [_first_word(process) == oneside.READY for process in running]
        if not all(ready):
            _refuse(both, folders, ready)
        sides = [_end(*it) for it in zip((OLD, NEW), both, folders, running, strict=True)]
        rows: list[IO[bytes]] = [stack.enter_context((it / oneside.ROWS).open("rb", 1 << 20)) for it in folders]
        yield Sides(sides[0], sides[1], rows[0], rows[1])  # type: ignore[arg-type]  # IO of "rb" is a BinaryIO


def _begin(
    stack: ExitStack, place: Place, feed: Feed, folder: Path, *, color: bool, quiet: bool
) -> subprocess.Popen[str]:
    folder.mkdir()
    request = folder / oneside.REQUEST
    asked = oneside.Request(
        label=place.label, revision=place.revision, root=str(place.root), home=str(place.home),
        events=[str(path) for path in feed.events], columns=feed.columns, until=feed.until, color=color, quiet=quiet,
        workers=max(1, cores() // 2),
    )  # fmt: skip
    request.write_bytes(msgspec.json.encode(asked))
    here = str(Path(__file__).resolve().parents[2])  # the same engine, wherever this one was imported from
    paths = os.pathsep.join(part for part in (here, os.environ.get("PYTHONPATH", "")) if part)
    process = subprocess.Popen(  # noqa: S603 - this very Python
        [sys.executable, "-m", oneside.__name__, str(request)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip
    stack.callback(_stop, process)
    return process


def _stop(process: subprocess.Popen[str]) -> None:
    """No side outlives the comparison."""
    if process.poll() is None:
        process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _first_word(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None  # noqa: S101 - it was asked for
    return process.stdout.readline().strip()


def _refuse(both: tuple[Place, Place], folders: list[Path], ready: list[bool]) -> None:
    """Say what is wrong with which side."""
    said, verdicts = [], {}
    worst: oneside.Failure | None = None
    for side, place, folder, fine in zip((OLD, NEW), both, folders, ready, strict=True):
        if fine:
            continue
        failure = _failure(side, place, folder)
        worst = failure if worst is None or failure.exit_code > worst.exit_code else worst
        said.append(f"{side} ({place.label}): {failure.message}")
        if failure.verdict is not None:
            verdicts[side.lower()] = failure.verdict
        if failure.text:
            click.echo(f"{side} ({place.label}):\n{failure.text}", err=True)
    if verdicts and len(verdicts) == len(said):
        _as_json(verdicts, "; ".join(said))
    _raise(worst, "; ".join(said))


def _as_json(verdicts: dict[str, dict[str, Any]], message: str) -> None:
    context = click.get_current_context(silent=True)
    if context is not None and context.params.get("format_") == "json":
        emit_json({"ok": False, "error": message, "exit_code": 1, "sides": verdicts})


def _failure(side: str, place: Place, folder: Path) -> oneside.Failure:
    path = folder / oneside.FAILURE
    if path.is_file():
        return msgspec.json.decode(path.read_bytes(), type=oneside.Failure)
    return oneside.Failure(message="its process ended before it could say why", exit_code=3)


def _end(side: str, place: Place, folder: Path, process: subprocess.Popen[str]) -> Side:
    """Wait for a simulation; its figures."""
    code = process.wait()
    if code == 0:
        return msgspec.json.decode((folder / oneside.SIDE).read_bytes(), type=Side)
    if code < 0:
        hint = "it may have had too little memory"
        raise CannotRun(f"{side} ({place.label}): the simulation was killed by signal {-code}", hint=hint)
    failure = _failure(side, place, folder)
    _raise(failure, f"{side} ({place.label}): {failure.message}")
    raise InternalError("a failure is always raised")


def _raise(failure: oneside.Failure | None, message: str) -> None:
    kinds = {1: ProgramError, 2: UsageError}
    raise kinds.get(3 if failure is None else failure.exit_code, CannotRun)(message)
