"""The alarm of the daemon: it wakes the engine's thread, and decides nothing.

What is due stands in the store (``wake_at`` of subjects, the slot table, retries of the outbox). APScheduler only rings
when the next of these instants has come, and at the intervals of housekeeping: its own schedules fire twice when clocks
are set back, and drop what is late.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from apscheduler.jobstores.base import JobLookupError  # type: ignore[import-untyped]  # the library has no types
from apscheduler.schedulers.background import BackgroundScheduler  # type: ignore[import-untyped]  # as above

_DUE = "due"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FAR = 4_000_000_000_000_000
"""Some day in 2096: what is due later needs no alarm in this life of the process."""


class Bell:
    """Rings at instants and at intervals.

    Parameters
    ----------
    ring: called by the alarm's thread; must only wake somebody.
    """

    def __init__(self, ring: Callable[[], object]) -> None:
        self._ring = ring
        self._at: int | None = None
        self._scheduler = BackgroundScheduler(
            timezone=UTC, job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
        )
        self._scheduler.start()

    def at(self, instant: int | None) -> None:
        """Ring once at an instant, microseconds UTC, instead of the one named before; None: not at all."""
        if instant == self._at:
            return
        self._at = instant
        if instant is None or instant > _FAR:
            with suppress(JobLookupError):  # it has rung
                self._scheduler.remove_job(_DUE)
            return
        when = _EPOCH + timedelta(microseconds=instant)
        self._scheduler.add_job(self._rung, "date", run_date=when, id=_DUE, replace_existing=True)

    def every(self, seconds: float, call: Callable[[], object]) -> None:
        """Call something again and again, in the alarm's thread: it must be short, and leave the store alone."""
        self._scheduler.add_job(call, "interval", seconds=seconds)

    def close(self) -> None:
        """Ring no more."""
        self._scheduler.shutdown(wait=False)

    def _rung(self) -> None:
        self._at = None
        self._ring()
