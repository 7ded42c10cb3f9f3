"""The daemon in a process of its own, spoken to over HTTP: what was answered 202 is decided exactly once."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engine.stores.sqlite import SqliteStore

KILLS = 4
STRANGERS = int(os.environ.get("DRUMBEAT_STRANGERS", "30000"))
"""Records of random users and types in the flood; the design's size is 1000000."""
ENV = {"INGEST_TOKEN": "a" * 32, "SHOP_TOKEN": "b" * 32}
PLAYBOOK = (
    "playbook: {0}\ntitle: 谢谢\nowner: tea@shop.example\ntrigger: {{{1}}}\n"
    "entry: {{mode: parallel, limit: unlimited}}\n"
    "steps:\n  - message: {{template: thanks, via: box, purpose: service}}\n"
)


def _program(root: Path) -> int:
    """A program with two feeds on one free port; the port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    files = {
        "drumbeat.yaml": (
            "program: tea\nprofile: {city: text | none}\nfeeds:\n"
            f'  - http: {{port: {port}, auth: "${{INGEST_TOKEN}}"}}\n'
            f'  - http: {{port: {port}, path: /v1/shop, name: shop, auth: "${{SHOP_TOKEN}}",\n'
            "           map: {id: oid, type_is: order.paid, user: customer.id, time: at}}\n"
            "channels: {box: {via: file, path: out/box.jsonl}}\n"
            "policies: {default: {consent: {marketing: none}, quiet_hours: never}}\n"
        ),
        "playbooks/thanks.yaml": PLAYBOOK.format("thanks", "event: order.paid"),
        "playbooks/hook.yaml": PLAYBOOK.format("hook", "webhook: true"),
        "templates/thanks.box.j2": "谢谢你\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return port


@contextmanager
def _daemon(root: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """``drumbeat run``, listening."""
    env = {**os.environ, **ENV, "PYTHONPATH": os.pathsep.join(sys.path)}
    log = (root / "daemon.log").open("ab")
    process = subprocess.Popen(
        [sys.executable, "-m", "engine", "run", "--program", str(root)], env=env, stdout=log, stderr=log
    )
    try:
        until, pause = time.monotonic() + 60, threading.Event()
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, (root / "daemon.log").read_text()
                assert time.monotonic() < until, "the daemon does not listen"
                pause.wait(0.02)
        yield process
    finally:
        process.kill()
        process.wait()
        log.close()


def _post(port: int, path: str, body: Any, token: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        headers = {"content-type": "application/json", "authorization": f"Bearer {ENV[token]}"}
        connection.request("POST", path, json.dumps(body).encode(), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def _gauge(port: int, name: str, feed: str) -> float | None:
    """One of the series of ``/metrics`` that have a feed."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", "/metrics")
        begins = f'drumbeat_feed_{name}{{feed="{feed}"}} '
        lines = connection.getresponse().read().decode().splitlines()
        return next((float(line.removeprefix(begins)) for line in lines if line.startswith(begins)), None)
    finally:
        connection.close()


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _sent(root: Path) -> list[tuple[str, str]]:
    """(playbook, user) of each message that went out, in order."""
    path = root / "out/box.jsonl"
    rows = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [(it["playbook"], it["user"]) for it in map(json.loads, rows)]


def _until(true: Any) -> None:
    """Wait for something that other processes do."""
    until, pause = time.monotonic() + 60, threading.Event()
    while not true():
        assert time.monotonic() < until, "it did not happen"
        pause.wait(0.02)


def test_from_a_request_to_a_message(tmp_path: Path) -> None:
    """An event, another system's payload, a call and a verb: each is decided by the running daemon, and sent once.

    Semantics: webhook.http, store.through-daemon, event.id-from-fields
    """
    port = _program(tmp_path)
    with _daemon(tmp_path, port) as process:
        event = {"id": "e1", "type": "order.paid", "user": "u1", "time": _now()}
        assert _post(port, "/v1/events", event, "SHOP_TOKEN")[0] == 401
        for _ in range(2):  # a sender that tries again
            said = [
                _post(port, "/v1/events", event, "INGEST_TOKEN"),
                _post(port, "/v1/shop", {"oid": 7, "customer": {"id": "u2"}, "at": _now(), "total": 5.2}, "SHOP_TOKEN"),
                _post(port, "/v1/playbooks/hook/webhook", {"user": "u3", "id": "t1"}, "INGEST_TOKEN"),
            ]
            assert [status for status, _ in said] == [202] * 3
        record = json.dumps({"id": "e4", "type": "order.paid", "user": "u4", "time": _now()})
        verb = subprocess.run(
            [sys.executable, "-m", "engine", "ingest", "-", "--program", str(tmp_path)], input=record.encode(),
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, capture_output=True, check=True,
        )  # fmt: skip
        assert b"the running daemon decides them" in verb.stdout
        wanted = [("hook", "u3"), ("thanks", "u1"), ("thanks", "u2"), ("thanks", "u4")]
        _until(lambda: len(_sent(tmp_path)) >= len(wanted))
        # Each feed of the port is seen by its own name, and the inbox they share by its.
        _until(lambda: (_gauge(port, "position", "http"), _gauge(port, "position", "shop")) == (2, 2))
        marks = [_gauge(port, "watermark_seconds", name) for name in ("http", "shop")]
        assert None not in marks
        assert marks[0] != marks[1]
        _until(lambda: _gauge(port, "behind", "inbox") == 0)
        _until(lambda: (_gauge(port, "position", "inbox") or 0) >= len(wanted))
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert sorted(_sent(tmp_path)) == wanted
    assert not list(tmp_path.glob("*.sock"))


def test_what_was_answered_is_decided_once_whatever_dies(tmp_path: Path) -> None:
    """The daemon is killed under load, over and over; its senders try again. Each record that was answered 202 has
    exactly one effect, and nothing has two.

    Semantics: store.atomic, event.duplicate
    """
    port = _program(tmp_path)
    acknowledged: set[str] = set()
    over = threading.Event()

    def sender(name: str) -> None:
        number = 0
        while not over.is_set():
            user = f"{name}-{number}"
            record = {"id": f"id-{user}", "type": "order.paid", "user": user, "time": _now()}
            try:
                status, _ = _post(port, "/v1/events", record, "INGEST_TOKEN")
            except (OSError, http.client.HTTPException, json.JSONDecodeError):
                over.wait(0.05)
                continue  # the same again
            if status == 202:
                acknowledged.add(user)
                number += 1

    threads = [threading.Thread(target=sender, args=(f"s{n}",)) for n in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(KILLS):
            with _daemon(tmp_path, port) as process:
                before = len(acknowledged)
                _until(lambda before=before: len(acknowledged) > before + 20)
                process.kill()
    finally:
        over.set()
        for thread in threads:
            thread.join()
    with _daemon(tmp_path, port) as process:
        _until(lambda: acknowledged <= {user for _, user in _sent(tmp_path)})
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    store = SqliteStore.open(tmp_path / "drumbeat.db", read_only=True)
    decided = [effect.user for effect, _ in store.effects()]
    store.close()
    assert len(decided) == len(set(decided))
    assert acknowledged <= set(decided)


def test_a_flood_of_strangers(tmp_path: Path, record_property: Any) -> None:
    """Random users and event types: over the cap 429 with Retry-After while known users go on, few metric series,
    bounded memory; all that was answered 202 is decided, and nobody else is in the store.

    Threat: ingest.rate — a flood of random users and types
    """
    port = _program(tmp_path)
    cap = STRANGERS // 10
    path = tmp_path / "drumbeat.yaml"
    own = f'http: {{port: {port}, new_users: {cap}/h, auth: "${{INGEST_TOKEN}}"}}'
    path.write_text(path.read_text().replace(f'http: {{port: {port}, auth: "${{INGEST_TOKEN}}"}}', own))
    with _daemon(tmp_path, port) as process:
        taken: set[str] = set()
        refused, begun = 0, 0
        headers = {"content-type": "application/x-ndjson", "authorization": f"Bearer {ENV['INGEST_TOKEN']}"}
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for start in range(0, STRANGERS, 500):
            users = [f"stranger-{start + n}" for n in range(500)]
            rows = [
                {"id": f"e-{it}", "type": f"type-{it}", "user": it, "time": _now(), "data": {it: it}} for it in users
            ]
            connection.request("POST", "/v1/events", "\n".join(map(json.dumps, rows)).encode(), headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status == 202:
                taken.update(users)
            else:
                assert answer.status == 429
                assert int(answer.headers["retry-after"]) > 0
                refused += 500
            if not begun and len(taken) >= cap:
                begun = _memory(process.pid)
        connection.close()
        assert cap <= len(taken) <= cap + 1_000
        assert refused == STRANGERS - len(taken)
        body = {"id": "known", "type": "order.paid", "user": "stranger-0", "time": _now()}
        assert _post(port, "/v1/events", body, "INGEST_TOKEN")[0] == 202
        _until(lambda: _sent(tmp_path) == [("thanks", "stranger-0")])
        _, metrics = _get(port, "/metrics")
        series = [line for line in metrics.splitlines() if line and not line.startswith("#")]
        assert len(series) < 1_000
        assert "stranger" not in metrics
        grown = _memory(process.pid) - begun
        record_property("grown", grown)
        assert grown < 100 << 20, "what is refused costs memory"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    store = SqliteStore.open(tmp_path / "drumbeat.db", read_only=True)
    try:
        assert store.head_count() == len(taken)
        assert not store.strangers(sorted(taken)[:5_000])
        assert store.check() == []
    finally:
        store.close()


def _memory(process: int) -> int:
    """Bytes a process has held at most."""
    text = Path(f"/proc/{process}/status").read_text()
    return int(text.partition("VmHWM:")[2].split()[0]) * 1024


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _get(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def _status(port: int, token: str, id_: str) -> int | None:
    """What the door says to a key; None: nobody answers there."""
    body = {"id": id_, "type": "order.paid", "user": id_, "time": _now()}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        headers = {"content-type": "application/json", "authorization": f"Bearer {token}"}
        connection.request("POST", "/v1/events", json.dumps(body).encode(), headers)
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


def test_feeds_change_while_it_runs(tmp_path: Path) -> None:
    """New keys, a new port, a removed one and a new file count from the reload on; an edited store is told everywhere
    and waits for the next start; a key that is not there keeps the old program.

    Semantics: reload.feeds
    """
    first, second = _free_port(), _free_port()
    _program(tmp_path)
    text = (tmp_path / "drumbeat.yaml").read_text()
    head, rest = text.partition("feeds:\n")[0], text[text.index("channels:"):]
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys/one").write_text("o" * 32)

    def edit(feeds: str, more: str = "") -> None:
        fresh = tmp_path / "drumbeat.yaml.new"
        fresh.write_text(f"{head}{more}feeds:\n{feeds}{rest}", encoding="utf-8")
        fresh.rename(tmp_path / "drumbeat.yaml")

    one = f'  - http: {{port: {first}, auth: "${{file:keys/one}}"}}\n'
    edit(one)
    with _daemon(tmp_path, first) as process:
        _until(lambda: _status(first, "o" * 32, "a") == 202)

        (tmp_path / "keys/two").write_text("t" * 32)
        edit(one.replace('"${file:keys/one}"', '["${file:keys/two}", "${file:keys/one}"]'))
        _until(lambda: _status(first, "t" * 32, "b") == 202)
        assert _status(first, "o" * 32, "c") == 202, "the old one stays as long as it is written"

        edit(one.replace("keys/one", "keys/none"))
        _until(lambda: "drumbeat_stale_program 1.0" in _get(first, "/metrics")[1])
        assert _status(first, "t" * 32, "d") == 202

        (tmp_path / "feed").mkdir()
        event = {"id": "f", "type": "order.paid", "user": "f", "time": _now()}
        (tmp_path / "feed/new.jsonl").write_text(json.dumps(event) + "\n")
        two = one.replace("keys/one", "keys/two").replace(str(first), str(second))
        edit(two + "  - file: feed/*.jsonl\n", "store: sqlite:///other.db\n")
        _until(lambda: _status(second, "t" * 32, "e") == 202)
        assert _status(second, "o" * 32, "no") == 401
        _until(lambda: _status(first, "t" * 32, "no") is None)
        _until(lambda: {user for _, user in _sent(tmp_path)} >= set("abcdef"))
        status, ready = _get(second, "/readyz")
        assert status == 200
        assert json.loads(ready)["notes"] == [
            {"code": "restart", "message": "takes effect at the next start only: store"}
        ]
        assert "drumbeat_restart_needed 1.0" in _get(second, "/metrics")[1]
        warned = [it for it in (tmp_path / "daemon.log").read_text().splitlines() if "next start only" in it]
        assert '"level":"warning"' in warned[0]
        assert '"key":"store"' in warned[0]

        edit(two, "")
        _until(lambda: "drumbeat_restart_needed 0.0" in _get(second, "/metrics")[1])
        (tmp_path / "keys/two").write_text("n" * 32)
        process.send_signal(signal.SIGHUP)  # a secret that changed behind its name
        _until(lambda: _status(second, "n" * 32, "g") == 202)
        assert _status(second, "t" * 32, "no") == 401
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert {user for _, user in _sent(tmp_path)} == set("abcdefg")
    assert not (tmp_path / "other.db").exists()
