"""The daemon: one thread owns the store and does everything with it, a piece at a time.

A turn: what others ask for (jobs), a program that was edited, a piece of events, a piece of what is due, deliveries;
then it sleeps until something is due or somebody rings.

Rule 1: the engine's clock is the machine's, and never behind the last commit. A jump of the machine's clock ahead is
not believed at once (``steady``): meanwhile events are decided, and nothing that is due fires.
Rule 2: a program is swapped between two pieces by one assignment, and only when it is whole.
Rule 3: a store that cannot be written ends nothing: what was not committed is forgotten and read again, after a pause.
Rule 4: asked to leave, it takes nothing more, finishes the piece at hand, and waits for what is on its way out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from engine.core.model import MINUTE, SECOND, Alert, PoolAlert
from engine.errors import CannotRun, StoreError, StoreFull, StoreHeld
from engine.ports import Channel, Feed, Store
from engine.runtime import applied, programs
from engine.runtime.applied import Pin
from engine.runtime.bell import Bell
from engine.runtime.claims import Claims
from engine.runtime.fittings import Change, Fittings, NoChange, Program
from engine.runtime.fulldisk import SOON, FullDisk
from engine.runtime.gather import Gather
from engine.runtime.housekeeping import MINUTE_SECONDS, Housekeeping, Wishes
from engine.runtime.jobs import Jobs
from engine.runtime.masking import Mask
from engine.runtime.pump import Done, InboxFeed, Pump
from engine.runtime.reload import Built, Reloader
from engine.runtime.sending import A_TURN, Sending
from engine.runtime.standing import held
from engine.runtime.state import DaemonState
from engine.runtime.steady import SteadyClock
from engine.runtime.suspects import Suspects
from engine.runtime.worker import PIECE, Worker

POLL = 1.0
"""Seconds after which feeds that cannot ring are asked again, and clocks are compared."""

STALL = 2 * MINUTE
"""A pause between two turns from which on the engine counts as having been down: slots are caught up, not fired."""

DRAIN_SECONDS = 20.0
"""How long what is on its way out is waited for when the daemon leaves."""

LAST_GOOD = applied.LAST_GOOD
"""Name under which the store keeps the files of the last program that was whole."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0

_log = logging.getLogger(__name__)


class Daemon:
    """A program at work for good.

    Parameters
    ----------
    program: what to begin with.
    store: opened for writing, by the thread that calls ``run``.
    fittings: opens feeds and channels.
    sending: makes whoever carries deliveries out, from channels and claims.
    clock: the machine's clock.
    secret: key of generated coupon codes.
    jobs: what others ask of the engine's thread.
    state: what is told about the daemon.
    reloader: builds programs of edited files; None: the program stays as it is.
    listen: prepares whoever lets events in for the feeds of another program; raises CannotRun.
    pin: the applied plan the reloader goes by; None: files are followed, whatever is applied.
    goodbye: called when the daemon begins to leave, while jobs are still done: whoever lets events in stops there.
    """

    def __init__(
        self,
        program: Program,
        store: Store,
        fittings: Fittings,
        sending: Callable[[Mapping[str, Channel], Claims], Sending],
        clock: SteadyClock,
        *,
        secret: bytes,
        jobs: Jobs | None = None,
        state: DaemonState | None = None,
        reloader: Reloader[Program] | None = None,
        goodbye: Callable[[], None] = lambda: None,
        listen: Callable[[Sequence[Feed]], Change] = lambda feeds: NoChange(),
        piece: int = PIECE,
        fault: Callable[[str], object] = lambda point: None,
        pin: Pin | None = None,
    ) -> None:
        self.program = program
        self.jobs = jobs or Jobs()
        self.state = state or DaemonState()
        self.clock = clock
        self._store = store
        self._fittings = fittings
        self._make_sending = sending
        self._secret = secret
        self._reloader = reloader
        self._pin = pin
        self._goodbye = goodbye
        self._listen = listen
        self._piece = piece
        self._fault = fault
        self._stopping = False
        self._orderly = False  #: nothing broke: the next process has nobody to suspect
        self._trusting = False
        self._failed = False  #: the store could not be written: what the session holds is not what the store has
        self._pause = 0.0  #: seconds to wait before the store is tried again
        self._built: Program | None = None  #: a program waiting for its swap
        self._told_at = 0.0
        self._marks: dict[str, int] = {}  #: feed -> time of its newest event
        self._shown = Done()
        self._suspects = Suspects(store, piece, Mask(secret))
        self._disk = FullDisk(store, self.state)
        self._house = Housekeeping(store, self.state, clock.elapsed)
        self._fitted = fittings.fit(program.settings)
        self._worker = self._employ(program)
        self._claims = Claims(program.plan, store, clock)
        self._sending = self._open_sending()
        self._last_turn = store.clock()  #: the machine's clock at the last turn, ever
        self.jobs.deciding = self._decide

    # ------------------------------------------------------------------ told from outside, by any thread

    def stop(self) -> None:
        """Leave in order."""
        self._stopping = True
        self.jobs.ring()

    def reload(self) -> None:
        """Compile the program's files now."""
        if self._reloader is not None:
            self._reloader.force()

    def trust_clock(self) -> None:
        """The operator says that the machine's clock is right."""
        self._trusting = True
        self.jobs.ring()

    # ------------------------------------------------------------------ life

    def run(self) -> None:
        """Work until told to stop. Raises CannotRun for what no waiting can mend."""
        self._begin()
        bell = Bell(self.jobs.ring)
        bell.every(POLL, self.jobs.ring)
        bell.every(MINUTE_SECONDS, self._house.call)
        if self._reloader is not None:
            self._reloader.start()
        try:
            while not self._stopping:
                more = self.try_turn()
                if self._pause:
                    self._rest(self._pause)
                elif not more and not self._stopping:
                    bell.at(self.state.next_due)
                    self.jobs.wait(POLL)
            self._orderly = True
        finally:
            bell.close()
            self._leave()

    def run_once(self) -> None:
        """Do everything that is due by the machine's clock now, then leave. Raises StoreError."""
        self._begin()
        self._house.call()
        until = self.clock.now()
        try:
            while not self._stopping:
                if not self.turn(until) and not self._sending.in_flight():
                    break
                if self._sending.in_flight():
                    self.jobs.wait(POLL)
            self._orderly = True
        finally:
            self._leave()

    def try_turn(self) -> bool:
        """As ``turn``; a store in trouble is told and waited for."""
        try:
            if self._disk.full and not self._turn_while_full():
                return False
            more = self.turn()
        except StoreHeld:
            raise  # another process writes the store: this one must leave
        except StoreError as error:
            self._store_failed(error)
            return False
        if self._pause:
            self._pause = 0.0
            _log.warning("the store can be written again")
            self._tell()
        return more

    def _turn_while_full(self) -> bool:
        """Clean up, decide nothing; True: there is room again."""
        self._mind_the_clock()
        self._do_jobs()
        self._count(self._sending.drain(0))  # settles what came back, and claims nothing
        if self._disk.erase(self.program.plan, self._secret):
            self._worker.pump.abandon()
        if not self.clock.paused:
            self._house.piece(self._wishes())
        if self._disk.over():
            return True
        self._pause = SOON
        self._tell("the disk of the store is full: make room, work goes on by itself")
        return False

    def _do_jobs(self) -> None:
        """What others ask for."""
        if self.jobs.do(self._store):
            self._disk.asked()
            if (held(self._store) or "") != self.state.held:
                self._change_channels()  # somebody released the outbox
            if self._pin is not None and self._pin.heed(self._store):
                self.reload()  # somebody applied a plan
        if self.jobs.touched:
            self.jobs.touched = False
            self._worker.pump.abandon()  # nothing is under way: it only forgets the subjects it holds

    def _wishes(self) -> Wishes:
        return Wishes(self.program.retention, self.program.plan.env.zone, self.clock.now())

    def turn(self, until: int | None = None) -> bool:
        """One turn; True: there is more to do at once. ``until``: events after it are left in their feeds."""
        self._mind_the_clock()
        if self._failed:
            self._worker.again()
            self._worker.pump.stamp(self._worker.pump.session.clock)  # a commit that shows that it works
            self._failed = False
        self._do_jobs()
        self._disk.check()  # also a job may have found it full
        self._reload()
        now = self.clock.now()
        if not self.clock.paused:
            if now - self._last_turn > STALL:
                self._worker.pump.catch_up(now)
            self._last_turn = max(now, self._last_turn)
        records = self._worker.events(now, paused=self.clock.paused, until=until)
        for record in records:
            if record.event is not None and not record.event.internal:
                self._marks[record.feed] = max(record.event.time, self._marks.get(record.feed, 0))
                if self.clock.paused:
                    self.clock.heard(record.event.time)
        more = len(records) >= self._piece
        if records:
            self._deliver()  # what is new need not wait for everything that is due
        if not self.clock.paused:
            more |= self._worker.due(now)
        more |= self._deliver()
        if not self.clock.paused:
            more |= self._house.piece(self._wishes())
        self._tell()
        return more

    def _decide(self, work: Callable[[Pump, int], Any]) -> Any:
        """Let a job decide; while the machine's clock is in doubt it happens at the last instant that is believed."""
        pump = self._worker.pump
        at = pump.session.clock if self.clock.paused else max(self.clock.now(), pump.session.clock)
        pump.session.present = at + 1
        try:
            done = work(pump, at)
        except StoreError:
            self._failed = True  # what was decided is forgotten at the next turn
            raise
        self._tell_pools()  # whoever gets the answer finds it in the figures
        return done

    def _deliver(self) -> bool:
        """Carry out what there is room for; whether anything ended."""
        ended = self._sending.drain(A_TURN)
        self._count(ended)
        return bool(ended)

    def _count(self, ended: Mapping[str, int]) -> None:
        self.state.add({f"deliveries.{status}": n for status, n in ended.items()})

    def _begin(self) -> None:
        self._disk.begin()
        self._count(self._sending.recover())
        self._keep(self.program)
        if self._suspects.died:
            _log.warning("the last process died at work: its work is tried in small parts for a while")
        if self.program.warning:
            self._shout_reload(self.program.warning)
        self._tell()
        if self.state.held:
            _log.warning("nothing is sent: %s", self.state.held)
        _log.info("at work", extra={"plan": self.program.plan.digest})

    def _leave(self) -> None:
        """Take nothing more, wait for what is on its way, say good-bye to the store."""
        self.state.status, self.state.ready, self.state.reason = "draining", False, "the daemon is leaving"
        self.state.troubles = (("draining", "the daemon is leaving"),)
        try:
            self._goodbye()
        except CannotRun as error:
            _log.error("%s", error)
        self.jobs.close()
        if self._reloader is not None:
            self._reloader.close()
        try:
            try:
                self._say_goodbye()
            except StoreFull:
                self._say_goodbye()  # the reserve was given up for this
        except StoreError as error:
            _log.error("the store cannot be written, leaving all the same: %s", error)
        finally:
            self._sending.close()
            self._fittings.close()
            self.state.status = "stopped"

    def _say_goodbye(self) -> None:
        self.jobs.do(self._store)
        self._count(self._sending.stop(DRAIN_SECONDS))
        if self._orderly:
            self._suspects.leave()

    def _rest(self, seconds: float) -> None:
        """Wait, whoever rings, unless it is time to leave."""
        until = self.clock.elapsed() + seconds
        while not self._stopping and (left := until - self.clock.elapsed()) > 0:
            self.jobs.wait(left)

    # ------------------------------------------------------------------ trouble

    def _store_failed(self, error: StoreError) -> None:
        self._failed = True
        if isinstance(error, StoreFull):
            self._disk.found()
            self._house.clean_up()
        elif self._pause:  # it failed before, so the turn did not get as far as the jobs: nobody waits for ever
            self.jobs.refuse(error)
        if not self._pause:
            self.state.shout(f"the store cannot be written: {error}")
        self._pause = min(_LONGEST_PAUSE, self._pause * 2 or _FIRST_PAUSE)
        self.state.count("store.errors")
        self._tell(f"the store cannot be written: {error}")

    def _mind_the_clock(self) -> None:
        if self._trusting:
            self._trusting = False
            self.clock.trust()
            _log.warning("the machine's clock is trusted by hand")
        if self.clock.paused:
            for time in self._worker.gather.heads():
                self.clock.heard(time)
        words = self.clock.look()
        if words is not None:
            self.state.shout(words)
            self.state.count("clock.jumps")

    # ------------------------------------------------------------------ the program

    def _employ(self, program: Program) -> Worker:
        """A worker of this program; publishes it."""
        pump = Pump(
            program.plan, self._store, (), None, self.clock, secret=self._secret, known_types=program.known_types,
            batch=self._piece, alert=self._alert, fault=self._fault,
        )  # fmt: skip
        feeds = [InboxFeed(self._store), *self._fitted.feeds]
        gather = Gather(feeds, self._store.position, self.clock.elapsed)
        for version, why in pump.done.published.stuck.items():
            _log.warning("journeys of %s stand still, it cannot be compiled any more: %s", version, why)
        return Worker(pump, gather, self._suspects, self.clock.elapsed, self._piece)

    def _reload(self) -> None:
        built = self._reloader.take() if self._reloader is not None else None
        if built is not None:
            self._built = self._judged(built)
        if self._built is None:
            return
        try:
            self._swap(self._built)
        except StoreError:
            raise  # tried again when the store is well
        except Exception as error:  # whatever it is, the old program goes on
            if not isinstance(error, CannotRun):
                _log.exception("the new program could not be put to work")
            self._worker.again()
            self._shout_reload(str(error))
            self.state.count("reloads.failed")
        self._built = None

    def _judged(self, built: Built[Program]) -> Program | None:
        if built.program is None:
            self._shout_reload(built.problem)
            self.state.count("reloads.failed")
        return built.program

    def _swap(self, program: Program) -> None:
        """Put another program to work."""
        fitted = self._fittings.fit(program.settings)
        before, self._fitted = self._fitted, fitted
        change: Change = NoChange()
        try:
            change = self._listen(fitted.feeds)
            self._worker.pump.stamp(max(self.clock.now(), self._worker.pump.session.clock))
            worker = self._employ(program)
        except BaseException:
            change.abandon()
            self._fitted, self._failed = before, True
            raise
        change.commit()
        self._show()  # what the old one counted
        self._worker, self.program, self._shown = worker, program, Done()
        self._claims.adopt(program.plan)
        if dict(fitted.channels) != dict(before.channels):
            self._change_channels()
        self._fittings.tidy()
        self._keep(program)
        self.state.reload_error = ""
        self.state.at_restart = program.at_restart
        for key in program.at_restart:
            _log.warning("%s was changed: that takes effect at the next start only", key, extra={"key": key})
        self.state.count("reloads")
        _log.info("another program is at work", extra={"plan": program.plan.digest})

    def _open_sending(self) -> Sending:
        """Whoever delivers; without any channel while the store is held (``standing``)."""
        self.state.held = held(self._store) or ""
        return self._make_sending({} if self.state.held else self._fitted.channels, self._claims)

    def _change_channels(self) -> None:
        self._count(self._sending.stop(DRAIN_SECONDS))
        self._sending.close()
        self._sending = self._open_sending()
        self._count(self._sending.recover())

    def _keep(self, program: Program) -> None:
        """The files of a program that is at work are the last good ones."""
        programs.keep(self._store, program.plan.digest, program.pack)
        if program.pack and self._store.get_meta(LAST_GOOD) != program.pack:
            self._store.set_meta(LAST_GOOD, program.pack)

    def _shout_reload(self, words: str) -> None:
        self.state.reload_error = words
        self.state.shout(f"the program's files are not taken, the last good ones stay at work: {words}")

    # ------------------------------------------------------------------ telling

    def _alert(self, alert: Alert | PoolAlert) -> None:
        if isinstance(alert, PoolAlert):
            self.state.count("coupons.low")
            _log.warning(alert.words(), extra={"pool": alert.pool, "percent": alert.percent})
            return
        self.state.count("limits")
        _log.warning(
            "playbook %s reached its limit %s", alert.playbook, alert.limit, extra={"playbook": alert.playbook}
        )

    def _show(self) -> None:
        """Add to the counters what the pump has done since the last time."""
        done, shown = self._worker.pump.done, self._shown
        fresh = {
            "events.read": done.read - shown.read,
            "events.accepted": done.accepted - shown.accepted,
            "events.duplicate": done.duplicate - shown.duplicate,
            "events.quarantined": done.quarantined - shown.quarantined,
            "events.late": done.late - shown.late,
            "conflicts": done.conflicts - shown.conflicts,
            "poisoned": done.reasons["poison"] - shown.reasons["poison"],
        }
        self.state.add({name: n for name, n in fresh.items() if n})
        self._shown = Done(
            read=done.read, accepted=done.accepted, duplicate=done.duplicate, quarantined=done.quarantined,
            late=done.late, conflicts=done.conflicts, reasons=done.reasons.copy(),
        )  # fmt: skip

    def _tell(self, trouble: str = "") -> None:
        """Bring the state up to date."""
        state = self.state
        self._show()
        state.now = self.clock.now()
        state.clock = self._worker.pump.session.clock
        state.plan = self.program.plan.digest
        state.in_flight = self._sending.in_flight()
        state.ready = not trouble
        state.troubles = (("store", trouble),) if trouble else ()
        if self.clock.paused:
            state.status = "paused"
            ahead = self.clock.ahead // SECOND
            state.reason = trouble or f"the machine's clock is {ahead} seconds ahead of what is believed"
            state.next_due = None
        else:
            state.status = "running"
            state.reason = trouble or state.reload_error or state.held or state.low_disk or state.waiting
            state.next_due = None if trouble else self._next_due()
        elapsed = self.clock.elapsed()
        again = elapsed - self._told_at >= POLL
        if again:
            self._told_at = elapsed
            state.feeds = self._worker.gather.lags()
            self._marks |= {name: lag.brought for name, lag in state.feeds.items() if lag.brought is not None}
            state.watermarks = dict(self._marks)
            state.broken_feeds = self._worker.gather.broken
        if not trouble:  # else the desk holds what was never committed
            self._tell_pools(every=again)

    def _tell_pools(self, *, every: bool = False) -> None:
        """Bring up to date how coupons stand: those that something happened to, or all."""
        coupons = self._worker.pump.session.desk.coupons
        if every:
            self.state.pools = coupons.figures()
        elif coupons.moved:
            self.state.pools = {**self.state.pools, **coupons.figures(coupons.moved)}
        coupons.moved.clear()

    def _next_due(self) -> int | None:
        found = (self._worker.next_due(), self._sending.next_due())
        return min((it for it in found if it is not None), default=None)
