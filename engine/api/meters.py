"""What the HTTP side counts about itself, for ``/metrics``.

Rule: a label is a word of ours, never of a sender: routes as they are written, statuses, names of feeds.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

OTHER = "other"
"""The route of whatever no route takes."""

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Meters:
    """Counters of one daemon. ``registry``: where they are shown; None: nowhere."""

    def __init__(self, registry: CollectorRegistry | None) -> None:
        self._requests = Counter(
            "drumbeat_http_requests", "Requests answered.", ("route", "status"), registry=registry
        )
        self._seconds = Histogram(
            "drumbeat_http_request_seconds", "From the end of the headers to the end of the answer.", ("route",),
            registry=registry, buckets=_SECONDS,
        )  # fmt: skip
        self._records = Counter(
            "drumbeat_http_records", "Records taken in over HTTP.", ("feed", "status"), registry=registry
        )

    def request(self, route: str, status: int, seconds: float) -> None:
        """A request was answered; ``status`` 0: its sender was gone."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def records(self, feed: str, *, accepted: int, duplicate: int, quarantined: int) -> None:
        """A request's records are durable."""
        for status, number in (("accepted", accepted), ("duplicate", duplicate), ("quarantined", quarantined)):
            if number:
                self._records.labels(feed, status).inc(number)
