"""What ``/metrics`` shows: the state of the daemon, read when it is asked for.

Rule 1: names of feeds and coupons, statuses and outcomes are the only labels, and all come from the program or from the
code: nothing that is sent from outside makes a new series.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from engine.core.model import SECOND
from engine.runtime.state import DaemonState

_GROUPS = {"events.": ("drumbeat_events", "outcome", "Records of the feeds, by what became of them"),
           "deliveries.": ("drumbeat_deliveries", "status", "Deliveries settled, by how"),
           "forgotten.": ("drumbeat_forgotten", "kind", "What was forgotten because it was old")}  # fmt: skip
_KNOWN = {
    "events.": ("read", "accepted", "duplicate", "quarantined", "late"),
    "deliveries.": ("sent", "retry", "dead", "unknown", "cancelled", "passed_on"),
}
"""Shown from the start on, as 0: an alert on an increase sees the first one too."""
_SINGLE = {
    "turns": "Turns of the engine",
    "reloads": "Programs put to work while running",
    "reloads.failed": "Programs that were not taken",
    "store.errors": "Times the store could not be written",
    "scrubs": "Times the file was written anew because somebody was erased",
    "clock.jumps": "Jumps of the machine's clock",
    "limits": "Windows in which an entry limit was reached",
    "coupons.low": "Warnings that 80, 95 or 100 % of a coupon's stock or budget is used up",
    "poisoned": "Events quarantined because they broke the deciding or the process",
    "conflicts": "Effects that existed already; must stay 0",
}


class Metrics(Collector):
    """The state of a daemon as metrics."""

    def __init__(self, state: DaemonState) -> None:
        self._state = state

    def collect(self) -> Iterator[Metric]:
        """All of them, as they are now."""
        yield from self._gauges()
        yield from self._feeds()
        yield from self._coupons()
        yield from self._counters()

    def _gauges(self) -> Iterator[Metric]:
        state = self._state
        yield _gauge("drumbeat_ready", "1 while events are taken and progress is made", int(state.ready))
        yield _gauge("drumbeat_paused", "1 while what is due waits for the clock", int(state.status == "paused"))
        held = int(bool(state.held))
        yield _gauge("drumbeat_held", "1 while nothing is sent: the store was restored, copied or moved", held)
        stale = int(bool(state.reload_error))
        yield _gauge("drumbeat_stale_program", "1 while the files are not the program at work", stale)
        yield _gauge("drumbeat_clock_seconds", "The engine's clock", state.clock / SECOND)
        behind = max(0, state.now - state.clock) / SECOND
        yield _gauge("drumbeat_behind_seconds", "How far the engine's clock is behind the machine's", behind)
        late = 0 if state.next_due is None else max(0, state.now - state.next_due) / SECOND
        yield _gauge("drumbeat_overdue_seconds", "How long the earliest thing that is due has been waiting", late)
        yield _gauge("drumbeat_deliveries_in_flight", "Deliveries handed to channels and not settled", state.in_flight)
        if state.room is not None:
            yield _gauge("drumbeat_store_bytes", "Size of the file of the store", state.room.size)
            yield _gauge("drumbeat_store_log_bytes", "Size of its write-ahead log", state.room.log)
            yield _gauge("drumbeat_disk_free_bytes", "Left on the disk of the store", state.room.free)

    def _feeds(self) -> Iterator[Metric]:
        position = GaugeMetricFamily("drumbeat_feed_position", "Read and committed up to here", labels=["feed"])
        behind = GaugeMetricFamily("drumbeat_feed_behind", "Still to be read, where the feed knows", labels=["feed"])
        broken = GaugeMetricFamily("drumbeat_feed_broken", "1 while the feed cannot be read", labels=["feed"])
        words = "Time of the newest event it brought"
        mark = GaugeMetricFamily("drumbeat_feed_watermark_seconds", words, labels=["feed"])
        for name, at in sorted(self._state.watermarks.items()):
            mark.add_metric([name], at / SECOND)
        for name, lag in sorted(self._state.feeds.items()):
            position.add_metric([name], lag.position)
            if lag.behind is not None:
                behind.add_metric([name], lag.behind)
            broken.add_metric([name], int(name in self._state.broken_feeds))
        yield from (position, behind, broken, mark)

    def _coupons(self) -> Iterator[Metric]:
        labels = ["coupon"]
        issued = GaugeMetricFamily("drumbeat_coupons_issued", "Coupons given and not returned", labels=labels)
        redeemed = GaugeMetricFamily("drumbeat_coupons_redeemed", "Coupons redeemed and not reversed", labels=labels)
        left = GaugeMetricFamily("drumbeat_coupons_left", "Coupons left, where there is an end of them", labels=labels)
        budget = GaugeMetricFamily("drumbeat_coupons_budget_left", "Budget left, where there is one", labels=labels)
        for name, it in sorted(self._state.pools.items()):
            issued.add_metric([name], it.issued)
            redeemed.add_metric([name], it.redeemed)
            if it.left is not None:
                left.add_metric([name], it.left)
            if it.budget_left is not None:
                budget.add_metric([name], float(it.budget_left))
        yield from (issued, redeemed, left, budget)

    def _counters(self) -> Iterator[Metric]:
        counts = self._state.counts
        for start, (name, label, words) in _GROUPS.items():
            family = CounterMetricFamily(name, words, labels=[label])
            found = dict.fromkeys(_KNOWN.get(start, ()), 0)
            found |= {what.removeprefix(start): n for what, n in counts.items() if what.startswith(start)}
            for what, number in sorted(found.items()):
                family.add_metric([what], number)
            yield family
        for what, words in _SINGLE.items():
            yield CounterMetricFamily("drumbeat_" + what.replace(".", "_"), words, value=counts.get(what, 0))


def registry(state: DaemonState) -> CollectorRegistry:
    """Everything one daemon shows: itself and its process."""
    made = CollectorRegistry()
    made.register(Metrics(state))
    ProcessCollector(registry=made)
    return made


def _gauge(name: str, words: str, value: float) -> Metric:
    return GaugeMetricFamily(name, words, value=value)
