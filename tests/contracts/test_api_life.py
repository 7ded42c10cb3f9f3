"""The life of the server: leaving in order, breaking down, being killed."""

from __future__ import annotations

import http.client
import json
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from api_kit import LINES, Answer, served

from engine.api.remote import Link
from engine.api.unix import socket_path
from engine.errors import InternalError
from engine.stores.sqlite import SqliteStore

KIT = Path(__file__).with_name("api_kit.py")
KILLS = 6


def test_what_is_under_way_is_answered_when_the_server_leaves(tmp_path: Path) -> None:
    """A request that waits for its commit while the server is told to leave gets its 202; new ones find no server."""
    with served(tmp_path) as desk:
        desk.hold.clear()
        answers: list[Answer] = []
        thread = threading.Thread(target=lambda: answers.append(desk.send(desk.event("e1"))))
        thread.start()
        with desk.dial() as wire:  # answered only after the request above was read: both are under way
            wire.sendall(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
            assert wire.recv(4_096).startswith(b"HTTP/1.1 200 ")
        while not desk.jobs._work:  # the request's job is in line
            assert thread.is_alive()
        desk.api.stop()
        desk.hold.set()
        thread.join()
        assert [it.status for it in answers] == [202]
        desk.api.join(30)
        assert desk.api.stopped
        with pytest.raises(ConnectionRefusedError):
            desk.get("/healthz")
        assert desk.ids() == ["e1"]


def test_an_engine_that_never_comes_back_keeps_nobody(tmp_path: Path) -> None:
    """A request whose job is never done is told 503 when the grace is over, and the server ends."""
    with served(tmp_path, grace=1) as desk:
        desk.hold.clear()
        answers: list[Answer] = []
        thread = threading.Thread(target=lambda: answers.append(desk.send(desk.event("e1"))))
        thread.start()
        while not desk.jobs._work:
            assert thread.is_alive()
        desk.api.stop()
        thread.join()
        desk.api.join(30)
        assert [(it.status, it.code) for it in answers] == [(503, "stopping")]


def test_stopping_before_anything_and_twice_is_harmless(tmp_path: Path) -> None:
    """``stop`` may come at any time and more than once."""
    with served(tmp_path, admin=True) as desk:
        desk.api.stop()
        desk.api.stop()
        desk.api.join(30)
        assert desk.api.stopped


def test_a_server_that_breaks_down_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """When the server's thread dies the daemon is called, and joining says what it was."""

    async def broken(counter: int) -> bool:
        raise RuntimeError("planted")

    told = threading.Event()
    with served(tmp_path, broke=told.set) as desk:
        with caplog.at_level(logging.CRITICAL + 1):
            desk.api._servers[0].on_tick = broken  # type: ignore[method-assign]  # the fault that is planted
            assert told.wait(30)
        with pytest.raises(InternalError, match="the HTTP server broke down: planted"):
            desk.api.join(30)
        desk.api._error = None  # it was told: the kit need not tell it again
    assert desk.api.stopped


def test_what_was_answered_survives_sigkill(tmp_path: Path) -> None:
    """Killed at random under load, over and over: each record that was answered 202 is in the store, once; nothing
    that was not answered stops the next start.

    Semantics: store.atomic
    Failure: kill.anywhere — over HTTP
    """
    acknowledged: set[str] = set()
    for round_ in range(KILLS):
        process = subprocess.Popen(
            [sys.executable, str(KIT), str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            port = int(process.stdout.readline())
            wanted = threading.Semaphore(0)
            threads = [
                threading.Thread(target=_send_until_it_dies, args=(port, f"r{round_}s{n}", acknowledged, wanted))
                for n in range(3)
            ]
            for thread in threads:
                thread.start()
            for _ in range(3 + 4 * round_):
                assert wanted.acquire(timeout=60)
            process.kill()
            for thread in threads:
                thread.join()
        finally:
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()
    path = tmp_path / "tea/drumbeat.db"
    assert Link.find(socket_path(path)) is None
    store = SqliteStore.open(path)
    ids = [event.id for _, event in store.inbox(0, 1_000_000)]
    store.close()
    assert len(ids) == len(set(ids))
    assert acknowledged <= set(ids)
    assert len(acknowledged) >= KILLS * 3 * 20


def _send_until_it_dies(port: int, name: str, acknowledged: set[str], wanted: threading.Semaphore) -> None:
    """Batch after batch on one connection; ids are noted when they were answered."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    number = 0
    try:
        while True:
            ids = [f"{name}-{number}-{n}" for n in range(20)]
            record = {"type": "order.paid", "user": "u1", "time": "2026-03-01T00:00:00Z"}
            body = b"\n".join(json.dumps({"id": it, **record}).encode() for it in ids)
            connection.request("POST", "/v1/events", body, LINES)
            answer = connection.getresponse()
            said = json.loads(answer.read())
            assert (answer.status, said["accepted"]) == (202, 20)
            acknowledged.update(ids)
            wanted.release()
            number += 1
    except (ConnectionError, http.client.HTTPException, json.JSONDecodeError):
        return
    finally:
        connection.close()
