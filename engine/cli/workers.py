"""``drumbeat simulate --workers N``: the subjects in N parts, a process each, and their rows put together again."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Final

import msgspec

from engine.cli import oneshard
from engine.cli.common import say
from engine.errors import CannotRun, DrumbeatError, ProgramError, UsageError

if TYPE_CHECKING:
    from engine.runtime.simulate import Outcome

EACH: Final = 16 << 20
"""Bytes of plain records for which a process more is worth its start."""

_PACKED: Final = {".gz": 8, ".zst": 8, ".parquet": 8}  # about how many bytes of records one of theirs stands for
_READ: Final = 1 << 16


@dataclass(frozen=True)
class Feed:
    """What every part is given."""

    paths: Sequence[Path]
    columns: str | None = None
    payload: Path | None = None
    until: int | None = None
    batch: int = 2_000
    home: Path | None = None  #: folder the patterns of the program's feeds stand for; None: that of the program


@dataclass(frozen=True)
class Together:
    """What came of all parts."""

    outcome: Outcome
    assigned_ids: bool  #: at least one event got its ``file:line`` as id
    parts: tuple[oneshard.Done, ...]


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def fitting(paths: Sequence[Path], at_most: int) -> int:
    """How many processes a feed of this size is worth."""
    size = 0
    for path in paths:
        with suppress(OSError):
            size += path.stat().st_size * _PACKED.get(path.suffix, 1)
    return max(1, min(at_most, size // EACH))


def one_core_for(plan: Any, paths: Sequence[Path], *, verdicts: bool = False) -> str | None:
    """Why a feed cannot be decided in parts, in words; None: it is worth a try."""
    from engine.runtime.shards import coupled_by

    if not all(path.is_file() for path in paths):
        return "what comes through a pipe can be read by one only"
    return coupled_by(plan, verdicts=verdicts)


def in_parts(
    found: Any,
    feed: Feed,
    asked: int | None,
    *,
    alone: str | None = None,
    at_most: int | None = None,
    effects: BinaryIO | None,
    decisions: BinaryIO | None = None,
    progress: Callable[[int], None] | None,
    quiet: bool,
) -> Together | None:
    """Simulate in parts where that is possible and worth it; None: nothing was done, one core has to.

    Parameters
    ----------
    asked: how many processes; None: by cores and size.
    alone: why there can be one only, in words.
    at_most: processes at most where nobody says how many; None: one a core.
    """
    number = fitting(feed.paths, at_most or cores()) if asked is None else asked
    if number == 1:
        return None
    why = alone or one_core_for(found.plan, feed.paths, verdicts=decisions is not None)
    if why is None:
        from engine.runtime.shards import Coupled

        try:
            return together(found, feed, number, effects=effects, decisions=decisions, progress=progress)
        except Coupled as coupled:
            why = str(coupled)
    say(f"note: decided in one process: {why}", quiet)
    return None


def together(
    found: Any,
    feed: Feed,
    number: int,
    *,
    effects: BinaryIO | None,
    decisions: BinaryIO | None,
    progress: Callable[[int], None] | None,
) -> Together:
    """Simulate in parts, and write their rows as one core would.

    Raises Coupled, before a row is written, when the subjects cannot be decided apart; CannotRun when a part died.
    """
    with ExitStack() as stack:
        parts = [_Part(stack, found, feed, one, number, effects, decisions) for one in range(number)]
        _hear(parts, progress)
        from engine.runtime.shardrows import merge

        for out, files in ((effects, [it.effects for it in parts]), (decisions, [it.decisions for it in parts])):
            if out is not None:
                merge([file for file in files if file is not None], out)
        done = tuple(it.done for it in parts if it.done is not None)
    return Together(whole(done), done[0].assigned_ids, done)


class _Part:
    """One process, with what it writes into."""

    def __init__(
        self,
        stack: ExitStack,
        found: Any,
        feed: Feed,
        number: int,
        of: int,
        effects: BinaryIO | None,
        decisions: BinaryIO | None,
    ) -> None:
        self.name = f"worker {number + 1} of {of}"
        self.effects = None if effects is None else _file(stack)
        self.decisions = None if decisions is None else _file(stack)
        self.done: oneshard.Done | None = None
        self.taken: dict[str, tuple[Decimal, Decimal]] = {}
        self._rest = b""
        handed = [None if it is None else it.fileno() for it in (self.effects, self.decisions)]
        asked = oneshard.Request(
            number=number, of=of, root=str(found.root), digest=found.plan.digest, home=str(feed.home or found.root),
            events=[str(path) for path in feed.paths], columns=feed.columns,
            payload=None if feed.payload is None else str(feed.payload), until=feed.until, batch=feed.batch,
            effects=handed[0], decisions=handed[1],
        )  # fmt: skip
        here = str(Path(__file__).resolve().parents[2])  # the same engine, wherever this one was imported from
        paths = os.pathsep.join(part for part in (here, os.environ.get("PYTHONPATH", "")) if part)
        # in a group of its own: who is at the terminal ends this process, which ends the others
        self.process = subprocess.Popen(  # noqa: S603 - this very Python
            [sys.executable, "-m", oneshard.__name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            pass_fds=[it for it in handed if it is not None], process_group=0,
            env={**os.environ, "PYTHONPATH": paths},
        )  # fmt: skip
        stack.callback(self._stop)
        self.out: IO[bytes] = self.process.stdout  # type: ignore[assignment]  # it was asked for
        if self.process.stdin is not None:
            with suppress(BrokenPipeError), self.process.stdin as pipe:  # one that died says so by its silence
                pipe.write(msgspec.json.encode(asked))

    def words(self) -> Iterator[oneshard.Word] | None:
        """What it said since the last call; None: it says no more."""
        block = os.read(self.out.fileno(), _READ)
        if not block:
            return None
        *lines, self._rest = (self._rest + block).split(b"\n")
        return (msgspec.json.decode(line, type=oneshard.Word) for line in lines)

    def died(self) -> DrumbeatError:
        """It ended without a last word."""
        code = self.process.wait()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        return CannotRun(f"{self.name} {how}", hint="it may have had too little memory; try --workers 1")

    def _stop(self) -> None:
        """No part outlives the simulation."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.out.close()


def _file(stack: ExitStack) -> BinaryIO:
    """A file without a name, gone with the last process that has it open."""
    try:
        return stack.enter_context(tempfile.TemporaryFile(prefix="drumbeat-"))
    except OSError as error:
        raise CannotRun(
            f"no room in {tempfile.gettempdir()}: {error.strerror or error}",
            hint="TMPDIR names another folder for temporary files",
        ) from None


def _hear(parts: list[_Part], progress: Callable[[int], None] | None) -> None:
    """Listen until all are done."""
    with selectors.DefaultSelector() as selector:
        for part in parts:
            selector.register(part.out, selectors.EVENT_READ, part)
        while selector.get_map():
            for key, _ in selector.select():
                words = key.data.words()
                if words is None:
                    selector.unregister(key.fileobj)
                    if key.data.done is None:
                        raise key.data.died()
                    continue
                for word in words:
                    _take(word, key.data, parts, progress)


def _take(word: oneshard.Word, part: _Part, parts: list[_Part], progress: Callable[[int], None] | None) -> None:
    from engine.runtime.shards import Coupled, bound_name

    match word:
        case oneshard.Progress():
            if word.anew:
                part.taken.clear()
            part.taken.update(word.taken)
            if progress is not None and part is parts[0]:  # every part reads the whole feed
                progress(word.done)
            for bound, (_, there) in word.taken.items():
                if sum(it.taken[bound][0] for it in parts if bound in it.taken) > there:
                    raise Coupled(f"{bound_name(bound)}, which is not enough for all")
        case oneshard.Coupled():
            raise Coupled(word.why)
        case oneshard.Failure():
            raise {1: ProgramError, 2: UsageError}.get(word.exit_code, CannotRun)(word.message)
        case oneshard.Done():
            part.done = word


def whole(parts: Sequence[oneshard.Done]) -> Outcome:
    """The figures of all parts as those of one."""
    from engine.runtime.simulate import Outcome, QuotaUse

    first = parts[0]
    if any((it.events, it.clock) != (first.events, first.clock) for it in parts):
        raise CannotRun("the feed was changed while it was simulated", hint="simulate it again")
    all_ = Outcome(events=first.events, clock=first.clock, users=sum(it.users for it in parts))
    all_.journeys = _sum([it.journeys for it in parts])
    kinds = sorted({kind for it in parts for kind in it.effects})
    all_.effects = {kind: dict(sorted(_sum([it.effects.get(kind, {}) for it in parts]).items())) for kind in kinds}
    all_.playbooks = {name: _sum([it.playbooks[name] for it in parts]) for name in first.playbooks}
    for name in first.quotas:
        uses = [it.quotas[name] for it in parts]
        all_.quotas[name] = QuotaUse(
            uses[0].allows, _sum([it.sent for it in uses]), _sum([it.refused for it in uses]),
            set().union(*(it.users for it in uses)),
        )  # fmt: skip
    all_.put_off = Counter()
    for part in parts:
        all_.put_off.update({(playbook, step): number for playbook, step, number in part.put_off})
    return all_


def _sum(figures: Sequence[dict[str, int]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for one in figures:
        for name, number in one.items():
            found[name] = found.get(name, 0) + number
    return found
