"""One of those who decide for ``drumbeat run --workers N``, a process of its own.

What it is asked comes as one line on standard input. It decides parts until that input ends, and says then, on standard
output, what became of them. Whoever asked may die at any moment: the input ends then, too.
"""

from __future__ import annotations

import os
import select
import sys
from pathlib import Path
from typing import Any

import msgspec

from engine.cli.common import alone, quick_garbage
from engine.errors import CannotRun, DrumbeatError

_IDLE = 0.02
"""Seconds without anything to do before it looks again."""


class Request(msgspec.Struct, kw_only=True):
    """What it is asked for."""

    root: str  #: folder of the program
    digest: str  #: of the program, as whoever asks has published it
    store: str | None  #: another store than the program's
    batch: int  #: events a transaction holds


class Done(msgspec.Struct, kw_only=True):
    """What became of it."""

    accepted: int = 0
    duplicate: int = 0
    quarantined: int = 0
    reasons: dict[str, int] = {}
    late: int = 0
    conflicts: int = 0
    limits: dict[str, int] = {}
    turns: int = 0
    error: str | None = None  #: why it could not go on
    exit_code: int = 0


def main() -> int:
    """Do what is asked; the exit code."""
    said = Done()
    try:
        _work(msgspec.json.decode(sys.stdin.buffer.readline(), type=Request), said)
    except DrumbeatError as error:
        said.error, said.exit_code = str(error), error.exit_code
    except Exception as error:
        if os.environ.get("DRUMBEAT_TRACE"):
            raise
        said.error, said.exit_code = f"an internal fault of Drumbeat: {type(error).__name__}: {error}", 3
    os.write(1, msgspec.json.encode(said) + b"\n")
    return said.exit_code


def _work(asked: Request, said: Done) -> None:
    from engine import wiring
    from engine.language.compile import compile_program
    from engine.runtime.clock import SystemClock
    from engine.runtime.parts import PartWorker

    found = compile_program(Path(asked.root))
    parts = wiring.open_parts(found.settings, Path(asked.root), asked.store)
    try:
        found = _chosen(asked, found, parts.store)
        if found.plan is None:
            raise CannotRun("an older version of a playbook cannot be compiled any more", hint="run it again")
        worker = PartWorker(
            found.plan, parts, SystemClock(), secret=wiring.secret_of(parts.store), known_types=found.known_types,
            batch=asked.batch,
        )  # fmt: skip
        with quick_garbage(last=True):
            while not _ended(0):
                if worker.turn():
                    said.turns += 1
                elif _ended(_IDLE):
                    break
        done = worker.done
        said.accepted, said.duplicate, said.quarantined = done.accepted, done.duplicate, done.quarantined
        said.reasons, said.limits = dict(done.reasons), done.limits
        said.late, said.conflicts = done.late, done.conflicts
    finally:
        parts.close()


def _chosen(asked: Request, found: Any, store: Any) -> Any:
    """The plan that was applied, where it is at work; else the program in the folder; with older versions."""
    from engine import wiring
    from engine.runtime import applied
    from engine.serving import compiled_applied

    wanted = applied.read(store)
    if wanted is not None and wanted.plan == asked.digest:
        return compiled_applied(wanted, Path(asked.root), store.versions())
    if found.plan is None or found.plan.digest != asked.digest:
        raise CannotRun("the program was changed while it began", hint="run it again")
    return wiring.with_older(found, store)


def _ended(seconds: float) -> bool:
    """Has whoever asked closed the input?"""
    return bool(select.select([sys.stdin], [], [], seconds)[0])


if __name__ == "__main__":
    alone()
    try:
        sys.exit(main())
    except (KeyboardInterrupt, BrokenPipeError):
        os._exit(130)  # whoever asked is gone or goes, and says so itself
