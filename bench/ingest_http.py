"""Events a second over HTTP, durable: senders in processes of their own, batches, one SQLite store.

    python bench/ingest_http.py [--seconds 10] [--batch 500] [--senders 2] [--slow 1000]

Each sender keeps one connection and sends the next batch when the last was answered 202. At the end every record that
was answered is looked for in the store. ``--slow`` connections send their headers by the byte meanwhile, and come
again when they are cut off.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import resource
import socket
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "contracts")]


def sender(address: tuple[str, int], number: int, batch: int, seconds: float, start: Any, answers: Any) -> None:
    """Send until the time is over; (records taken, seconds of each request)."""
    start.wait()  # for the others
    until = time.monotonic() + seconds
    connection = http.client.HTTPConnection(*address, timeout=60)
    taken, times, place = 0, [], 0
    while time.monotonic() < until:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        lines = []
        for _ in range(batch):
            place += 1
            data = {"order": place, "amount": 12.5, "city": "上海", "items": ["oolong", "cup"]}
            record = {"id": f"s{number}-{place}", "type": "order.paid", "user": f"u{place % 9_973}", "time": now}
            lines.append(json.dumps({**record, "data": data}, ensure_ascii=False))
        body = "\n".join(lines).encode()
        begun = time.monotonic()
        connection.request("POST", "/v1/events", body, {"content-type": "application/x-ndjson"})
        answer = connection.getresponse()
        said = json.loads(answer.read())
        times.append(time.monotonic() - begun)
        assert (answer.status, said["accepted"]) == (202, batch), said
        taken += batch
    connection.close()
    answers.put((taken, times))


def sitter(address: tuple[str, int], number: int, seconds: float, start: Any) -> None:
    """Hold connections open with headers that never end."""
    start.wait()
    until = time.monotonic() + seconds
    held: list[socket.socket] = []
    while time.monotonic() < until:
        while len(held) < number:
            held.append(socket.create_connection(address, timeout=10))
            held[-1].sendall(b"POST /v1/events HTTP/1.1\r\nx-slow: ")
        still = []
        for wire in held:
            try:
                wire.sendall(b"x")
                still.append(wire)
            except OSError:
                wire.close()
        held = still
        time.sleep(0.5)
    for wire in held:
        wire.close()


def main() -> None:
    """Measure, and print one line of JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--senders", type=int, default=2)
    parser.add_argument("--slow", type=int, default=0)
    asked = parser.parse_args()
    from api_kit import served

    with ExitStack() as closing:
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory()))
        desk = closing.enter_context(served(folder))
        context = multiprocessing.get_context("spawn")
        answers = context.Queue()
        start = context.Barrier(asked.senders + 2)
        slow = context.Process(target=sitter, args=(desk.address, asked.slow, asked.seconds, start))
        senders = [
            context.Process(target=sender, args=(desk.address, number, asked.batch, asked.seconds, start, answers))
            for number in range(asked.senders)
        ]
        for one in [*senders, slow]:
            one.start()
        start.wait()
        worked = time.process_time()
        begun = time.monotonic()
        found = [answers.get() for _ in senders]
        took = time.monotonic() - begun
        worked = time.process_time() - worked
        for one in [*senders, slow]:
            one.join()
        taken = sum(number for number, _ in found)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        times = sorted(it for _, some in found for it in some)
        stored = len(desk.ids())
        assert stored == taken, (stored, taken)
    result = {
        "events_per_second": round(taken / took),
        "cpu_us_per_event": round(worked / taken * 1e6, 1),  # of the daemon's process: does not hang on its neighbours
        "batch": asked.batch,
        "senders": asked.senders,
        "slow": asked.slow,
        "events": taken,
        "lost": taken - stored,
        "p50_ms": round(times[len(times) // 2] * 1_000, 1),
        "p99_ms": round(times[int(len(times) * 0.99)] * 1_000, 1),
        "rss_mb": peak,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
