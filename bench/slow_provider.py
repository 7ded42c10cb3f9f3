"""Does a provider that sends a byte a second hold up the messages of another channel?

    python bench/slow_provider.py [SECONDS]        (20 of each phase by default)

A daemon with two channels: one whose provider answers at once, one whose provider sends its answer a byte at a time.
Twenty messages a second go to the first, and in the second phase ten a second to the other one as well. Stated is how
long after its event was taken in each message is at the first provider. Aim: no longer in the second phase than before.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "e2e"))
from service_kit import Service, stamp

FILES = {
    "drumbeat.yaml": """\
program: slow
profile: {phone: text | none}
feeds: [{http: {port: 0}}]
channels:
  quick: {via: http, url: "http://127.0.0.1:%d/", allow_http: true, allow_private: true, address: user.phone}
  slow: {via: http, url: "http://localhost:%d/", allow_http: true, allow_private: true, address: user.phone}
policies: {default: {quiet_hours: never, consent: {service: none}}}
""",
    "playbooks/quick.yaml": """\
playbook: quick
title: To the quick one
trigger: {event: quick}
entry: {mode: parallel, limit: unlimited}
steps: [{message: {template: hi, via: quick, purpose: service}}]
""",
    "playbooks/slow.yaml": """\
playbook: slow
title: To the slow one
trigger: {event: slow}
entry: {mode: parallel, limit: unlimited}
steps: [{message: {template: hi, via: slow, purpose: service}}]
""",
    "templates/hi.quick.j2": "{{ user.id }}",
    "templates/hi.slow.j2": "{{ user.id }}",
}


class Provider(ThreadingHTTPServer):
    """Notes when what came; ``slow``: its answer comes a byte a second."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, slow: bool) -> None:
        self.came: dict[str, float] = {}
        self.held = 0
        provider = self

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if not slow:
                    provider.came[body.decode(errors="replace")] = time.monotonic()
                    self.send_response(200)
                    self.send_header("content-length", "0")
                    self.end_headers()
                    return
                provider.held += 1
                try:
                    for byte in b"HTTP/1.1 200 OK\r\ncontent-length: 600\r\n\r\n" + b"x" * 600:
                        self.wfile.write(bytes([byte]))
                        self.wfile.flush()
                        time.sleep(1)
                except OSError:
                    return

            def log_message(self, *words: Any) -> None:
                """Nothing."""

        super().__init__(("127.0.0.1", 0), Answer)
        threading.Thread(target=self.serve_forever, daemon=True).start()


def phase(service: Service, quick: Provider, name: str, seconds: float, slow: bool) -> list[float]:
    """Milliseconds each message to the quick provider took, in order of size."""
    begun, number, asked = time.monotonic(), 0, {}
    connection = service.connection()
    while time.monotonic() - begun < seconds:
        user = f"{name}{number:05d}"
        rows = [
            {"id": "u" + user, "type": "user.signup", "user": user, "time": stamp(), "data": {"phone": user}},
            {"id": user, "type": "quick", "user": user, "time": stamp(), "data": {}},
        ]
        if slow and number % 2:
            rows.append({"id": "s" + user, "type": "slow", "user": user, "time": stamp(), "data": {}})
        asked[user] = time.monotonic()
        status, _, _ = service.post("\n".join(map(json.dumps, rows)).encode(), connection)
        assert status == 202
        number += 1
        time.sleep(max(0.0, begun + number / 20 - time.monotonic()))

    def there(user: str) -> float | None:
        return next((at for body, at in list(quick.came.items()) if user in body), None)

    service.until(lambda: there(user) is not None)
    arrived = dict(quick.came)
    took = []
    for one, at in asked.items():
        came = next((when for body, when in arrived.items() if one in body), None)
        assert came is not None, one
        took.append((came - at) * 1_000)
    return sorted(took)


def main() -> None:
    """Measure and print."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 20
    quick, slow = Provider(slow=False), Provider(slow=True)
    with tempfile.TemporaryDirectory() as folder:
        files = dict(FILES)
        files["drumbeat.yaml"] = files["drumbeat.yaml"] % (quick.server_address[1], slow.server_address[1])
        service = Service(Path(folder), files)
        service.start()
        try:
            phase(service, quick, "warm", 2, slow=False)
            for name, both in (("alone", False), ("beside", True)):
                took = phase(service, quick, name, seconds, slow=both)
                p50, p99 = (took[int(len(took) * share)] for share in (0.5, 0.99))
                words = f"p50 {p50:6.1f} ms  p99 {p99:6.1f} ms  longest {took[-1]:6.1f} ms"
                print(f"{name:<8} {len(took):5} messages  {words}")
            print(f"the slow provider was asked {slow.held} times")
        finally:
            service.stop()


if __name__ == "__main__":
    main()
