"""``drumbeat run --until-idle --workers N``: N processes decide on one store, this one reads feeds and delivers.

Rule 1: the store is in parts while they are at work, and whole again afterwards. Where this process died in between,
the next run goes on with the parts first.
Rule 2: one that dies is replaced: what it had not committed is decided by another.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from engine.cli import onepart
from engine.errors import CannotRun

_DEATHS = 1_000
"""How many may die before the others are told to leave."""


@dataclass(frozen=True)
class Asked:
    """How many decide, and what."""

    root: Path
    digest: str
    store: str | None
    workers: int
    batch: int


def until_idle(asked: Asked, opened: Any, porter: Callable[[Any, Callable[[], None]], Any]) -> Any:
    """Do all that is there; what came of it.

    Parameters
    ----------
    opened: the store, by the session that may decide all of it; its program is published.
    porter: makes who takes in and delivers, of a door and of what looks after those who decide.
    """
    from engine.stores.sql.postgres_parts import PgDoor, join, part

    part(opened)
    crew = _Crew(asked)
    try:
        done = porter(PgDoor(opened), crew.look).until_idle()
        for said in crew.leave():
            done.accepted += said.accepted
            done.duplicate += said.duplicate
            done.quarantined += said.quarantined
            done.reasons.update(said.reasons)
            done.late += said.late
            done.conflicts += said.conflicts
            for name, windows in said.limits.items():
                done.limits[name] = done.limits.get(name, 0) + windows
    finally:
        crew.stop()
    join(opened)
    return done


class _Crew:
    """Those who decide."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._deaths = 0
        self._processes = [self._start() for _ in range(asked.workers)]

    def _start(self) -> subprocess.Popen[bytes]:
        here = str(Path(__file__).resolve().parents[2])  # the same engine, wherever this one was imported from
        paths = os.pathsep.join(part for part in (here, os.environ.get("PYTHONPATH", "")) if part)
        # in a group of its own: who is at the terminal ends this process, which ends the others
        process = subprocess.Popen(  # noqa: S603 - this very Python
            [sys.executable, "-m", onepart.__name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0,
            env={**os.environ, "PYTHONPATH": paths},
        )  # fmt: skip
        asked = self._asked
        request = onepart.Request(root=str(asked.root), digest=asked.digest, store=asked.store, batch=asked.batch)
        if process.stdin is not None:
            with suppress(BrokenPipeError):  # one that died says so by its silence
                process.stdin.write(msgspec.json.encode(request) + b"\n")
                process.stdin.flush()
        return process

    def look(self) -> None:
        """Replace whoever died; raises CannotRun where one says that it cannot go on."""
        for place, process in enumerate(self._processes):
            if process.poll() is None:
                continue
            said = _last_word(process)
            if said is not None:
                raise CannotRun(said.error or "a worker left its work")
            self._deaths += 1
            if self._deaths > _DEATHS:
                raise CannotRun(f"workers died {self._deaths} times", hint="they may have too little memory")
            self._processes[place] = self._start()

    def leave(self) -> list[onepart.Done]:
        """All are done; what they say."""
        found = []
        for process in self._processes:
            if process.stdin is not None:
                process.stdin.close()
        for process in self._processes:
            said = _last_word(process)
            if said is not None and said.error is not None:
                raise CannotRun(said.error)
            found.append(said or onepart.Done())
        return found

    def stop(self) -> None:
        """No one outlives the run."""
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(BrokenPipeError):
                        pipe.close()


def _last_word(process: subprocess.Popen[bytes]) -> onepart.Done | None:
    """What one said at its end; None: it was killed."""
    if process.stdout is None:
        return None
    words = process.stdout.read()
    process.wait()
    return msgspec.json.decode(words, type=onepart.Done) if words else None
