"""One part of ``drumbeat simulate --workers N``, a process of its own: what it is asked comes on standard input.

On standard output it says a line of JSON at a time how far it is, and at the end what became of it. Rows go into files
without names that it was handed open, so whatever happens to it leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from engine.cli.common import alone, quick_garbage
from engine.errors import CannotRun, DrumbeatError

EVERY = 20_000
"""Events between two words on how far it is."""


class Request(msgspec.Struct, kw_only=True):
    """What a part is asked for."""

    number: int  #: which part, from 0
    of: int  #: how many there are
    root: str  #: folder of the program
    digest: str  #: of the program, as whoever asks has read it
    home: str  #: folder the patterns of its feeds stand for
    events: list[str]  #: files of the feed, in order
    columns: str | None
    payload: str | None  #: file that says which fields form an event
    until: int | None  #: end of the virtual clock, microseconds
    batch: int
    effects: int | None  #: descriptor rows go to; None: they are not wanted
    decisions: int | None


class Progress(msgspec.Struct, tag="progress"):
    """How far it is."""

    done: int  #: events read since the last word
    anew: bool = False  #: what was decided so far is void, and so is what was taken
    taken: dict[str, tuple[Decimal, Decimal]] = {}  #: bound -> the most that was taken of it, how much there is


class Coupled(msgspec.Struct, tag="coupled"):
    """The subjects cannot be decided apart."""

    why: str


class Failure(msgspec.Struct, tag="failure"):
    """It could not be done."""

    message: str
    exit_code: int


class Quota(msgspec.Struct):
    """As ``QuotaUse``."""

    allows: str
    sent: dict[str, int]
    refused: dict[str, int]
    users: set[str]


class Done(msgspec.Struct, tag="done", kw_only=True):
    """The figures of a part; as in ``Outcome``."""

    events: dict[str, Any]  #: of the whole feed
    clock: dict[str, str | None]  #: of the whole feed
    assigned_ids: bool  #: of the whole feed
    users: int
    journeys: dict[str, int]
    effects: dict[str, dict[str, int]]
    playbooks: dict[str, dict[str, int]]
    quotas: dict[str, Quota]
    put_off: list[tuple[str, str, int]]
    cpu_seconds: float
    peak_mb: float


Word = Progress | Coupled | Failure | Done


def main() -> int:
    """Do what is asked; the exit code."""
    asked = msgspec.json.decode(sys.stdin.buffer.read(), type=Request)
    try:
        return _simulate(asked)
    except DrumbeatError as error:
        return _failed(str(error), error.exit_code)
    except MemoryError:
        return _failed("there is not enough memory", 3)
    except BrokenPipeError:
        raise
    except OSError as error:
        return _failed(f"{error.filename}: {error.strerror}" if error.filename else str(error), 3)
    except Exception as error:
        if os.environ.get("DRUMBEAT_TRACE"):
            raise
        return _failed(f"an internal fault of Drumbeat: {type(error).__name__}: {error}", 3)


def _failed(message: str, exit_code: int) -> int:
    _say(Failure(message, exit_code))
    return exit_code


def _simulate(asked: Request) -> int:
    from engine.feeds.layouts import layout_of
    from engine.feeds.replay import Replay
    from engine.language.compile import compile_program
    from engine.runtime import shards
    from engine.runtime.simulate import simulate
    from engine.spill import BOUND
    from engine.stores.memory import MemoryStore

    found = compile_program(Path(asked.root))
    if found.plan is None or found.plan.digest != asked.digest:
        raise CannotRun("the program was changed while it was simulated", hint="simulate it again")
    layout = layout_of(
        found.settings.feeds, Path(asked.home), asked.columns, None if asked.payload is None else Path(asked.payload)
    )
    # what is sorted in memory is sorted by every part
    replay = Replay(
        [Path(path) for path in asked.events], asked.until, layout=layout, types=found.known_types,
        bound=BOUND // asked.of,
    )  # fmt: skip
    shard = shards.Shard(asked.number, asked.of)
    told = _Told(shard)
    with (
        quick_garbage(),
        _rows(asked.effects) as effects,
        _rows(asked.decisions) as decisions,
    ):
        try:
            outcome = simulate(
                found.plan, replay, MemoryStore(keep_log=False), until=asked.until, effects=effects,
                decisions=decisions, batch_size=asked.batch, known_types=found.known_types, progress=told, shard=shard,
            )  # fmt: skip
        except shards.Coupled as coupled:
            _say(Coupled(str(coupled)))
            return 0
    told.rest()
    _say(figures(outcome, replay.assigned_ids))
    return 0


def figures(outcome: Any, assigned_ids: bool) -> Done:
    """What a part says at its end."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return Done(
        events=outcome.events, clock=outcome.clock, assigned_ids=assigned_ids, users=outcome.users,
        journeys=outcome.journeys, effects=outcome.effects, playbooks=outcome.playbooks,
        quotas={name: Quota(it.allows, it.sent, it.refused, it.users) for name, it in outcome.quotas.items()},
        put_off=[(*place, number) for place, number in outcome.put_off.items()],
        cpu_seconds=round(used.ru_utime + used.ru_stime, 2), peak_mb=round(used.ru_maxrss / 1024, 1),
    )  # fmt: skip


class _Told:
    """Says from time to time how far it is."""

    def __init__(self, shard: Any) -> None:
        self._shard = shard
        self._usage: Any = None
        self._done = 0

    def __call__(self, done: int) -> None:
        self._done += done
        if self._done >= EVERY:
            self.rest()

    def rest(self) -> None:
        """Say what has not been said."""
        usage = self._shard.usage
        anew, self._usage = self._usage is not None and usage is not self._usage, usage
        _say(Progress(self._done, anew, usage.news()))
        self._done = 0


def _rows(descriptor: int | None) -> Any:
    return contextlib.nullcontext() if descriptor is None else os.fdopen(descriptor, "r+b", buffering=1 << 20)


def _say(word: Word) -> None:
    os.write(1, msgspec.json.encode(word) + b"\n")


if __name__ == "__main__":
    alone()
    try:
        sys.exit(main())
    except (KeyboardInterrupt, BrokenPipeError):
        os._exit(130)  # whoever asked is gone or goes, and says so itself
