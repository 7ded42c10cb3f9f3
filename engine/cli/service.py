"""``drumbeat run`` as a service: signals, waiting for the store, and what is said at the end."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import click

from engine.cli import checkup
from engine.cli.common import EXIT_OK, compiled, emit_json, program_root, quick_garbage, say

if TYPE_CHECKING:
    from engine.runtime.daemon import Daemon

_STANDBY = 0.1
"""Seconds between two tries for the store."""


@dataclass(frozen=True)
class Wishes:
    """What the command line asked for."""

    program: Path | None
    store: str | None
    once: bool
    standby: bool
    trust_clock: bool
    json: bool
    quiet: bool
    follow_files: bool = False  #: a plan that was applied counts no more
    logs: str = "auto"  #: json | text | auto: text on a terminal


class Signals:
    """What the process was told by signals, also before there is a daemon to tell it to."""

    def __init__(self) -> None:
        self.leaving = Event()
        self.daemon: Daemon | None = None

    def attach(self, daemon: Daemon) -> None:
        """From now on signals go to a daemon."""
        self.daemon = daemon
        if self.leaving.is_set():
            daemon.stop()

    def leave(self, number: int, frame: Any) -> None:
        """SIGTERM, SIGINT: leave in order; a second SIGINT: at once."""
        if number == signal.SIGINT and self.leaving.is_set():
            raise KeyboardInterrupt
        self.leaving.set()
        if self.daemon is not None:
            self.daemon.stop()

    def reload(self, number: int, frame: Any) -> None:
        """SIGHUP: compile the program's files."""
        if self.daemon is not None:
            self.daemon.reload()

    def trust(self, number: int, frame: Any) -> None:
        """SIGUSR1: the machine's clock is right."""
        if self.daemon is not None:
            self.daemon.trust_clock()

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Listen to signals."""
        wanted = {
            signal.SIGTERM: self.leave, signal.SIGINT: self.leave, signal.SIGHUP: self.reload,
            signal.SIGUSR1: self.trust,
        }  # fmt: skip
        before = {number: signal.signal(number, call) for number, call in wanted.items()}
        try:
            yield
        finally:
            for number, call in before.items():
                signal.signal(number, call)


def serve(wishes: Wishes, accept: Callable[[Any], None]) -> int:
    """Run the daemon until it is told to leave; the exit code. ``accept`` raises CannotRun for what cannot be run."""
    signals = Signals()
    with signals.heard():
        counts = _serve(wishes, accept, signals)
    if counts is not None:
        if wishes.json:
            emit_json({"counts": dict(sorted(counts.items()))})
        else:
            click.echo(_farewell(counts))
    elif wishes.json:
        emit_json({"counts": {}})
    return EXIT_OK


def _serve(wishes: Wishes, accept: Callable[[Any], None], signals: Signals) -> dict[str, int] | None:
    from engine import serving, wiring
    from engine.cli.front import Front
    from engine.language.keeping import look_at
    from engine.runtime import applied
    from engine.runtime.clock import SystemClock
    from engine.runtime.daemon import Daemon
    from engine.runtime.jobs import Jobs
    from engine.runtime.lanes import Lanes
    from engine.runtime.logs import Masking, logging_to
    from engine.runtime.standing import settle_in
    from engine.runtime.state import DaemonState
    from engine.runtime.steady import SteadyClock
    from engine.runtime.tracing import tracing

    _leave_no_core()
    clock, jobs, state = SteadyClock(SystemClock(), believing=wishes.trust_clock), Jobs(), DaemonState()
    with ExitStack() as closing:
        store, place = _open(wishes, signals)
        if store is None:
            return None
        closing.callback(store.close)
        root = program_root(wishes.program)
        site = wiring.site_of(root, final=wishes.once, wake=jobs.ring, notes=store)
        as_json = wishes.logs == "json" or (wishes.logs == "auto" and not sys.stderr.isatty())
        closing.enter_context(logging_to(sys.stderr, Masking(lambda: list(site.seen)), as_json=as_json))
        closing.enter_context(tracing(os.environ, wiring.secret_of(store)))
        settle_in(store, place.mark(store))
        for words, advice in checkup.cautions(store):
            say(f"warning: {words} ({advice})", wishes.quiet)
        if wishes.follow_files:
            applied.follow_files(store)
        pin = applied.Pin(store)
        seen = look_at(root)
        program, found = serving.first_program(root, store, accept)
        adapters = serving.Adapters(site)
        closing.callback(adapters.close)
        closing.enter_context(quick_garbage())
        front = None
        if not wishes.once:
            front = Front(
                jobs, state, clock, store, place.beside, adapters.fit(program.settings).feeds, wiring.secret_of(store)
            )
        daemon = Daemon(
            program, store, adapters,
            lambda channels, claims: Lanes(store, channels, clock, claims, jobs.ring, hosts=adapters.hosts),
            clock, secret=wiring.secret_of(store), jobs=jobs, state=state,
            reloader=None if wishes.once else serving.reloader(
                root, jobs, accept, found.lists, seen, None if wishes.store else found.settings.store, pin
            ),
            goodbye=_nothing if front is None else front.goodbye,
            listen=_nobody if front is None else front.listen, pin=pin,
        )  # fmt: skip
        signals.attach(daemon)
        if wishes.once:
            daemon.run_once()
        else:
            if front is not None:
                front.open(daemon)
                for host, port in front.api.addresses:
                    say(f"listening: http://{host}:{port}", wishes.quiet)
            what = "program" if not pin.words else "the plan that was applied, not the program"
            say(f"at work: {what} in {root}, store {place}", wishes.quiet)
            daemon.run()
        return dict(state.counts)


def _open(wishes: Wishes, signals: Signals) -> tuple[Any, Any]:
    """The store, opened for writing, and its place; with ``--standby`` as soon as nobody else has it.

    On a full disk it is waited for room. None instead of the store: told to leave before.
    """
    from engine import wiring
    from engine.errors import StoreFull, StoreHeld
    from engine.language.compile import compile_program

    root = program_root(wishes.program)
    found = compile_program(root)
    place = wiring.store_place(found.settings, root, wishes.store)
    if found.plan is None and not place.exists():
        found = compiled(wishes.program)  # says what is wrong
    told = False
    while not signals.leaving.is_set():
        try:
            return wiring.open_store(found.settings, root, override=wishes.store, for_good=True), place
        except StoreHeld as error:
            if not wishes.standby:
                raise
            if not told:
                say(f"standing by: {error.message}", wishes.quiet)
            told = True
            signals.leaving.wait(_STANDBY)
        except StoreFull as error:
            if wishes.once:
                raise
            if not told:
                say(f"waiting for room: {error.message}", wishes.quiet)
            told = True
            signals.leaving.wait(_STANDBY)
    return None, place


def _leave_no_core() -> None:
    """A process that crashes must not write its memory to a disk: keys and people's data are in it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _nobody(feeds: Any) -> Any:
    """Nobody listens."""
    from engine.runtime.fittings import NoChange

    return NoChange()


def _nothing() -> None:
    """Nobody lets events in."""


def _farewell(counts: dict[str, int]) -> str:
    """What was done, in a line or two."""
    read, accepted = counts.get("events.read", 0), counts.get("events.accepted", 0)
    lines = [f"events      {accepted:,} accepted of {read:,} read"]
    sent = {name.removeprefix("deliveries."): n for name, n in counts.items() if name.startswith("deliveries.")}
    if sent:
        lines.append("deliveries  " + ", ".join(f"{n:,} {status}" for status, n in sorted(sent.items())))
    return "\n".join(lines)
