"""What the HTTP side counts about itself, for ``/metrics``.

Rule: a label is a word of ours, never of a sender: routes as they are written, statuses, names of feeds.
"""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram

OTHER = "other"
"""The route of whatever no route takes."""

_FATES = ("taken", "repeated", "nobody", "not_ours", "refused")

LINKS = {"ask": ("shown", "not_ours"), "unsubscribe": _FATES, "click": (*_FATES, "head"), "survey": _FATES}
"""Link -> what may become of following it. ``not_ours``: the token is not signed by this store; ``nobody``: the message
or its person is gone; ``refused``: the store took nothing (a click is led on all the same); ``head``: nobody read."""

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

        self._links = Counter(
            "drumbeat_links", "Signed links that were followed.", ("link", "outcome"), registry=registry
        )
        self._receipts = Counter(
            "drumbeat_receipts", "Reports of providers on messages.", ("channel", "outcome"), registry=registry
        )
        for link, outcomes in LINKS.items():
            for outcome in outcomes:
                self._links.labels(link, outcome)  # shown as 0 from the start on

    def link(self, link: str, outcome: str) -> None:
        """A link was followed; both are of ``LINKS``."""
        self._links.labels(link, outcome).inc()

    def receipts(self, channel: str, counts: Mapping[str, int]) -> None:
        """Reports were taken, by outcome; the channel is one of the program."""
        for outcome, number in counts.items():
            self._receipts.labels(channel, outcome).inc(number)

    def request(self, route: str, status: int, seconds: float) -> None:
        """A request was answered; ``status`` 0: its sender was gone."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def records(self, feed: str, *, accepted: int, duplicate: int, quarantined: int) -> None:
        """A request's records are durable."""
        for status, number in (("accepted", accepted), ("duplicate", duplicate), ("quarantined", quarantined)):
            if number:
                self._records.labels(feed, status).inc(number)
