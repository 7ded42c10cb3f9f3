"""``/metrics``: what a daemon knows of itself, in series that nothing from outside can multiply."""

from __future__ import annotations

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from engine.api.metrics import registry
from engine.ports import Lag
from engine.runtime.state import DaemonState


def series(state: DaemonState) -> dict[str, float]:
    """Name with labels -> value, of our own metrics, as a collector reads them."""
    text = generate_latest(registry(state)).decode()
    return {
        sample.name + "".join(f"|{value}" for _, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("drumbeat")
    }


def test_state_is_shown_as_it_is_now() -> None:
    """Readiness, clocks, feeds and counters follow the state without being told."""
    state = DaemonState()
    assert series(state)["drumbeat_ready"] == 0
    state.ready, state.clock, state.now, state.next_due, state.in_flight = True, 5_000_000, 9_000_000, 6_000_000, 3
    state.feeds = {"file:a": Lag(position=70, behind=4), "nats": Lag(position=9)}
    state.broken_feeds = {"nats": "no server"}
    state.watermarks = {"file:a": 8_000_000}
    state.add({"events.accepted": 7, "deliveries.sent": 2, "reloads.failed": 1})
    seen = series(state)
    assert (seen["drumbeat_ready"], seen["drumbeat_clock_seconds"], seen["drumbeat_behind_seconds"]) == (1, 5, 4)
    assert (seen["drumbeat_overdue_seconds"], seen["drumbeat_deliveries_in_flight"]) == (3, 3)
    assert (seen["drumbeat_feed_position|file:a"], seen["drumbeat_feed_behind|file:a"]) == (70, 4)
    assert "drumbeat_feed_behind|nats" not in seen
    assert seen["drumbeat_feed_watermark_seconds|file:a"] == 8
    assert (seen["drumbeat_feed_broken|nats"], seen["drumbeat_feed_broken|file:a"]) == (1, 0)
    assert (seen["drumbeat_events_total|accepted"], seen["drumbeat_deliveries_total|sent"]) == (7, 2)
    assert (seen["drumbeat_reloads_failed_total"], seen["drumbeat_conflicts_total"]) == (1, 0)


def test_no_label_comes_from_outside() -> None:
    """Users, event types and ids are in no series: their number stays what the program makes it.

    Threat: ingest.rate — series
    """
    state = DaemonState()
    before = len(series(state))
    state.add({f"events.{word}": 1 for word in ("read", "accepted", "duplicate", "quarantined", "late")})
    state.add({f"deliveries.{word}": 1 for word in ("sent", "retry", "dead", "unknown", "cancelled", "passed_on")})
    assert len(series(state)) == before


def test_what_never_happened_is_shown() -> None:
    """Every fate of an event and of a delivery is 0 from the start, so an alert on an increase sees the first one."""
    seen = series(DaemonState())
    assert seen["drumbeat_deliveries_total|unknown"] == seen["drumbeat_events_total|quarantined"] == 0
    assert seen["drumbeat_held"] == 0
