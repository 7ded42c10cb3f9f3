"""Clients that mean no good, before a daemon of its own process: strangers without end, slow ones, bodies without end.

Sizes: ``DRUMBEAT_STRANGERS`` users and types nobody knows (default 3,000), ``DRUMBEAT_SLOW_CLIENTS`` connections whose
headers never end (default 60), ``DRUMBEAT_BODY_MIB`` of one body without a length (default 256),
``DRUMBEAT_CAPPED`` of them against a cap on new users of a fiftieth of that a minute (default 3,000).
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from service_kit import FILES, Service, signups, stamp

STRANGERS = int(os.environ.get("DRUMBEAT_STRANGERS", "3000"))
SLOW = int(os.environ.get("DRUMBEAT_SLOW_CLIENTS", "60"))
CAPPED = int(os.environ.get("DRUMBEAT_CAPPED", "3000"))
BODY = int(os.environ.get("DRUMBEAT_BODY_MIB", "256"))
Told = Callable[[str, object], None]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = Service(tmp_path)
    made.start()
    yield made
    made.stop()


def test_strangers_without_end(service: Service, record_property: Told) -> None:
    """Each event names a user and a type nobody ever saw: no series of the metrics comes of them, and memory does not
    grow with them.

    Threat: ingest.rate — strangers
    """
    connection, accepted, later, halfway = service.connection(), 0, 0, 0.0
    for first in range(0, STRANGERS, 500):
        at = stamp()
        rows = [
            {"id": f"s{n}", "type": f"type-{n}", "user": f"stranger-{n}", "time": at, "data": {f"key-{n}": n}}
            for n in range(first, min(STRANGERS, first + 500))
        ]
        status, said, _ = service.post("\n".join(map(json.dumps, rows)).encode(), connection)
        assert status in (202, 429)
        accepted += said["accepted"] if status == 202 else 0
        later += status == 429
        if first <= STRANGERS // 2:
            halfway = service.memory()
    service.until(lambda: service.get("/readyz")[0] == 200)
    _, page = service.get("/metrics")
    series = [line for line in page.decode().splitlines() if line and not line.startswith("#")]
    grown = service.memory() - halfway
    connection.close()
    record_property("strangers", STRANGERS)
    record_property("accepted", accepted)
    record_property("refused_429", later)
    record_property("series", len(series))
    record_property("rss_mb", round(service.memory()))
    record_property("rss_grown_mb", round(grown))
    assert len(series) < 1_000
    assert b"stranger" not in page
    assert b"type-1" not in page
    assert grown < 100
    service.end()


def test_strangers_over_the_cap(tmp_path: Path, record_property: Told) -> None:
    """Whoever brings more new users than the cap allows is told to wait, and no more of them are stored; who is known
    goes on; neither memory nor the series of the metrics grow with those who were refused.

    Threat: ingest.rate — strangers over the cap
    """
    cap = max(60, CAPPED // 50)
    files = {**FILES, "drumbeat.yaml": FILES["drumbeat.yaml"].replace("port: 0", f"port: 0, new_users: {cap}/min")}
    service = Service(tmp_path, files)
    service.start()
    connection = service.connection()
    try:
        assert service.post(signups(["known"]), connection)[0] == 202
        service.until(lambda: len(service.sent()) == 1)
        counts, waits, known, before, begun = {202: 0, 429: 0}, set(), 0, 0.0, time.monotonic()
        for first in range(0, CAPPED, 500):
            at = stamp()
            rows = [
                {"id": f"s{n}", "type": f"type-{n}", "user": f"stranger-{n}", "time": at, "data": {f"key-{n}": n}}
                for n in range(first, min(CAPPED, first + 500))
            ]
            status, _, headers = service.post("\n".join(map(json.dumps, rows)).encode(), connection)
            counts[status] += len(rows)
            if status == 429:
                waits.add(int(headers["retry-after"]))
            row = {"id": f"k{first}", "type": "hello", "user": "known", "time": stamp(), "data": {}}
            known += service.post(json.dumps(row).encode() + b"\n", connection)[0] == 202
            if first <= CAPPED // 10:
                before = service.memory()
        took = time.monotonic() - begun
        service.until(lambda: service.get("/readyz")[0] == 200)
        page = service.get("/metrics")[1].decode()
        grown = service.memory() - before
        series = [line for line in page.splitlines() if line and not line.startswith("#")]
        service.end()
    finally:
        connection.close()
        service.stop()
    record_property("capped_strangers", CAPPED)
    record_property("capped_seconds", round(took))
    record_property("capped_accepted", counts[202])
    record_property("capped_refused_429", counts[429])
    record_property("capped_series", len(series))
    record_property("capped_rss_grown_mb", round(grown))
    assert counts[429] > CAPPED / 2
    assert counts[202] <= cap * (1 + took / 60) + 500
    assert min(waits) > 0
    assert known == len(range(0, CAPPED, 500)), "who is known is never held up"
    assert len(series) < 1_000
    assert "stranger" not in page
    assert grown < 50


def test_slow_clients(service: Service, record_property: Told) -> None:
    """Connections whose headers come by the byte cost those nothing that send as one should.

    Threat: ingest.protocol — very many slow ones
    """
    alone = sorted(timed(service, f"a{n}") for n in range(200))
    sitting = []
    try:
        for _ in range(SLOW):
            wire = socket.create_connection(("127.0.0.1", service.port), timeout=30)
            wire.sendall(b"POST /v1/events HTTP/1.1\r\nx-slow: ")
            sitting.append(wire)
        among = []
        for number in range(200):
            for wire in sitting[number % 20 :: 20]:
                try:
                    wire.sendall(b"x")
                except OSError:
                    continue  # it was cut off, as it should be
            among.append(timed(service, f"b{number}"))
    finally:
        for wire in sitting:
            wire.close()
    among.sort()
    record_property("slow_clients", len(sitting))
    record_property("p99_alone_us", round(alone[197] * 1e6))
    record_property("p99_among_slow_us", round(among[197] * 1e6))
    service.until(lambda: len(service.sent()) == 400)
    service.end()


def timed(service: Service, user: str) -> float:
    """Seconds of one good request on a connection of its own."""
    body = signups([user])
    begun = time.perf_counter()
    status, _, _ = service.post(body)
    took = time.perf_counter() - begun
    assert status == 202
    return took


def test_a_body_without_end(service: Service, record_property: Told) -> None:
    """Somebody wants to send gigabytes without saying how many: it is cut off, and next to nothing of it is held.

    Threat: ingest.protocol — endless, in a process of its own
    """
    service.post(signups(["warm"]))
    before, wanted, sent, tries = service.memory("VmHWM"), BODY << 20, 0, 0
    piece = b"10000\r\n" + b"\n" * 65_536 + b"\r\n"
    ends = time.monotonic() + 600
    while sent < wanted and time.monotonic() < ends:
        tries += 1
        with socket.create_connection(("127.0.0.1", service.port), timeout=30) as wire:
            wire.sendall(b"POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-ndjson\r\n")
            wire.sendall(b"transfer-encoding: chunked\r\n\r\n")
            try:
                for _ in range(wanted >> 16):
                    wire.sendall(piece)
                    sent += 65_536
            except OSError:
                continue
            pytest.fail("all of it was read")
    grown = service.memory("VmHWM") - before
    record_property("mib_sent", sent >> 20)
    record_property("bodies", tries)
    record_property("kib_grown", round(grown * 1024))
    assert tries > 3
    assert grown < 20
    assert service.post(signups(["after"]))[0] == 202
    service.end()
