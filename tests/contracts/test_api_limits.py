"""Limits of a request, each at one below, at, and one above; hostile bytes on the wire; how much and how fast."""

from __future__ import annotations

import json
import socket
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_kit import BEARER, JSON, LINES, TOKEN, Desk, drained, served

from engine.api.limits import KIB, MIB, Limits
from engine.api.rates import MOST, Buckets
from engine.errors import CannotRun
from engine.feeds.http import HttpFeed
from engine.site import Site

HOST = b"host: 127.0.0.1\r\n"
POST = b"POST /v1/events HTTP/1.1\r\n" + HOST + b"content-type: application/json\r\n"
QUICK = Limits(header_seconds=1.0, body_seconds=1.0, drain_seconds=0.5)


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_a_body_of_one_mebibyte(tmp_path: Path, more: int) -> None:
    """1 MiB is read, one byte more is 413 and nothing of it is taken, with and without a length said beforehand.

    Semantics: door.body
    """
    with served(tmp_path) as desk:
        body = json.dumps(desk.event("e1")).encode() + b"\n"
        body += b"\n" * (MIB + more - len(body))

        def parts() -> Iterator[bytes]:
            for start in range(0, len(body), 60_000):
                yield body[start : start + 60_000]

        for sent in (body, parts()):
            answer = desk.call("POST", "/v1/events", sent, LINES)
            if more > 0:
                assert (answer.status, answer.code) == (413, "too_large")
            else:
                assert answer.status == 202
        assert desk.ids() == ([] if more > 0 else ["e1"])


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_a_batch_of_a_thousand(tmp_path: Path, more: int) -> None:
    """1,000 records are taken, 1,001 are 413 and none of them is."""
    with served(tmp_path) as desk:
        answer = desk.batch([desk.event(f"e{n}") for n in range(1_000 + more)])
        if more > 0:
            assert (answer.status, answer.code) == (413, "batch")
        else:
            assert answer.json["accepted"] == 1_000 + more
        assert len(desk.ids()) == (0 if more > 0 else 1_000 + more)


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_an_event_of_64_kibibytes(tmp_path: Path, more: int) -> None:
    """64 KiB are an event, one byte more goes to quarantine as oversize, and its neighbours are taken.

    Semantics: door.limits
    Failure: event.oversize — over HTTP
    """
    with served(tmp_path) as desk:
        texts = ["x" * 16_000] * 4 + [""]
        size = len(json.dumps(desk.event("e1", data={"a": texts})))
        texts[-1] = "x" * (64 * KIB + more - size)
        raw = json.dumps(desk.event("e1", data={"a": texts})).encode()
        assert len(raw) == 64 * KIB + more
        answer = desk.batch([desk.event("before"), raw, desk.event("after")])
        assert answer.json["records"][1]["status"] == ("quarantined" if more > 0 else "accepted")
        assert desk.ids() == (["before", "after"] if more > 0 else ["before", "e1", "after"])
        if more > 0:
            ((_, line, reason, kept),) = desk.quarantined()
            assert (line, reason, len(kept)) == (2, "oversize", KIB)


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_headers_of_16_kibibytes(tmp_path: Path, more: int) -> None:
    """16 KiB of request line and headers are read, one byte more is 431, sent at once or in pieces."""
    with served(tmp_path) as desk:
        head = b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\nx-pad: "
        counted = len(head) - len(b"GET /healthz HTTP/1.1\r\n") + len(b"GET") + len(b"/healthz") + 12
        pad = 16 * KIB + more - counted - 2
        whole = head + b"x" * pad + b"\r\n\r\n"
        for parts in ([whole], [whole[:9_000], whole[9_000:]]):
            said = desk.say(*parts)
            assert said.startswith(b"HTTP/1.1 431 " if more > 0 else b"HTTP/1.1 200 "), (more, said[:200])


def test_endless_headers_are_cut_off(tmp_path: Path) -> None:
    """Headers that never end are answered 431, long before they fill any memory."""
    with served(tmp_path) as desk:
        said = desk.say(b"GET / HTTP/1.1\r\n", *[b"x-%d: " % n + b"y" * 8_000 + b"\r\n" for n in range(40)])
        assert said.startswith(b"HTTP/1.1 431 ") or said == b"", said[:200]  # a reset may take the answer away
        assert desk.get("/healthz").status == 200


def test_a_huge_chunked_body_uses_little_memory(tmp_path: Path) -> None:
    """Of 64 MiB without a length at most a few MiB are ever read: 413, and no more than these are held.

    Threat: ingest.protocol — endless
    """
    with served(tmp_path) as desk:
        desk.send(desk.event("warm"))
        sent = 0
        tracemalloc.start()
        with desk.dial() as wire:
            wire.sendall(
                b"POST /v1/events HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/x-ndjson\r\n"
                b"transfer-encoding: chunked\r\n\r\n"
            )
            piece = b"10000\r\n" + b"\n" * 65_536 + b"\r\n"
            try:
                for _ in range(1_024):
                    wire.sendall(piece)
                    sent += 65_536
            except ConnectionError:
                pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert sent < 32 * MIB
        assert peak < 10 * MIB
        assert desk.ids() == ["warm"]


def test_an_answer_before_the_body_reaches_its_sender(tmp_path: Path) -> None:
    """A sender that is refused at its first bytes still reads why, although it goes on sending."""
    with served(tmp_path, {"auth": ["${TOKEN}"]}, env={"TOKEN": TOKEN}) as desk:
        answer = desk.call("POST", "/v1/events", b"\n" * MIB, LINES)
        assert (answer.status, answer.code) == (401, "unauthorized")


def test_who_asks_first_is_told_first(tmp_path: Path) -> None:
    """``Expect: 100-continue``: who is refused is told so at once, and whoever is let in is asked for the body."""
    with served(tmp_path, {"auth": ["${TOKEN}"]}, env={"TOKEN": TOKEN}) as desk:
        body = json.dumps(desk.event("e1")).encode()
        head = (
            b"POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nexpect: 100-continue\r\n"
            b"content-length: %d\r\n" % len(body)
        )
        assert desk.say(head + b"\r\n").startswith(b"HTTP/1.1 401 ")
        with desk.dial() as wire:
            wire.sendall(head + b"connection: close\r\nauthorization: Bearer " + TOKEN.encode() + b"\r\n\r\n")
            assert wire.recv(4_096).startswith(b"HTTP/1.1 100 ")
            wire.sendall(body)
            assert drained(wire).startswith(b"HTTP/1.1 202 ")


def test_slow_senders_are_cut_off(tmp_path: Path) -> None:
    """Headers and bodies that come by the byte end with their time: no answer for the first, 408 for the second.

    Threat: ingest.protocol — slow
    """
    with served(tmp_path, limits=QUICK) as desk:
        assert _dripped(desk, b"POST /v1/events HTTP/1.1\r\nhost: 127.0.0.1\r\nx: ") == b""
        said = _dripped(
            desk,
            b"POST /v1/events HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
            b"content-length: 100000\r\n\r\n",
        )
        assert said.startswith(b"HTTP/1.1 408 ")
        assert json.loads(said.partition(b"\r\n\r\n")[2])["error"]["code"] == "slow"
        with desk.dial() as wire:  # a connection that says nothing at all
            assert drained(wire) == b""
        with desk.dial() as wire:  # one that stays after its answer
            wire.sendall(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
            assert drained(wire).startswith(b"HTTP/1.1 200 ")


def _dripped(desk: Desk, head: bytes) -> bytes:
    """What comes back while one byte goes out whenever the server lets us wait a little."""
    said = b""
    with desk.dial() as wire:
        wire.sendall(head)
        wire.settimeout(0.05)
        for _ in range(600):
            try:
                wire.sendall(b"x")
                part = wire.recv(65_536)
            except TimeoutError:
                continue
            except ConnectionError:
                break
            if not part:
                break
            said += part
        else:
            raise AssertionError("the server let a slow sender go on")
    return said


def test_idle_connections_make_room_for_good_ones(tmp_path: Path) -> None:
    """Ten times the connections that are let in, all of them half a request, and every good request is answered."""
    with served(tmp_path, {"connections": 8}) as desk:
        sitting: list[socket.socket] = []
        try:
            for number in range(80):
                wire = desk.dial()
                sitting.append(wire)
                try:
                    wire.sendall(b"GET /healthz HTTP/1.1\r\nx-slow: ")
                except ConnectionError:
                    continue
                if number % 8 == 7:
                    assert desk.send(desk.event(f"e{number}")).status == 202
        finally:
            for wire in sitting:
                wire.close()
        assert len(desk.ids()) == 10


def test_connections_at_work_are_never_cut_for_others(tmp_path: Path) -> None:
    """When every connection that is let in has a request under way, one more is 503, and those are answered."""
    with served(tmp_path, {"connections": 3}) as desk:
        working: list[tuple[socket.socket, bytes]] = []
        try:
            for number in range(3):
                body = json.dumps(desk.event(f"e{number}")).encode()
                head = POST + b"expect: 100-continue\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
                working.append((desk.dial(), body))
                working[-1][0].sendall(head)
                assert working[-1][0].recv(4_096).startswith(b"HTTP/1.1 100 ")
            answer = desk.get("/healthz")
            assert (answer.status, answer.code) == (503, "connections")
            for wire, body in working:
                wire.sendall(body)
                assert drained(wire).startswith(b"HTTP/1.1 202 ")
        finally:
            for wire, _ in working:
                wire.close()
        assert len(desk.ids()) == 3


def test_a_rate_holds_for_a_key_and_an_address(tmp_path: Path) -> None:
    """Records over the rate are 429 with Retry-After; another key of the same address is held by the address.

    Threat: ingest.rate
    """
    tokens = {"auth": ["${TOKEN}", "${NEXT}"], "rate": "10/h"}
    with served(tmp_path, tokens, env={"TOKEN": TOKEN, "NEXT": "n" * 32}) as desk:
        assert desk.batch([desk.event(f"e{n}") for n in range(12)], BEARER).status == 202
        answer = desk.send(desk.event("more"), BEARER)
        assert (answer.status, answer.code) == (429, "rate")
        assert 0 < int(answer.headers["retry-after"]) <= 720 + 1
        assert desk.send(desk.event("more"), {"authorization": "Bearer " + "n" * 32}).status == 429
        assert desk.send(desk.event("more"), {"authorization": "Bearer wrong"}).status == 401
        assert len(desk.ids()) == 12


def test_other_keys_give_nobody_a_new_rate(tmp_path: Path) -> None:
    """Feeds that change while the server runs: what a sender used up stays used up, while its rate is the same.

    Threat: ingest.rate — over a reload
    """
    env = {"TOKEN": TOKEN, "NEXT": "n" * 32}
    fields = {"port": 0, "auth": "${TOKEN}", "rate": "10/h"}
    with served(tmp_path, {"auth": "${TOKEN}", "rate": "10/h"}, env=env) as desk:
        assert desk.batch([desk.event(f"e{n}") for n in range(12)], BEARER).status == 202
        feed = HttpFeed({**fields, "auth": ["${NEXT}", "${TOKEN}"]}, Site(tmp_path, env))
        address = desk.address
        desk.api.listen([feed]).commit()
        end = time.monotonic() + 30
        while (answer := desk.send(desk.event("x"), {"authorization": "Bearer " + "n" * 32})).status == 401:
            assert time.monotonic() < end
        assert answer.status == 429
        assert desk.address == address
        with pytest.raises(CannotRun, match="GONE"):
            desk.api.listen([HttpFeed({**fields, "auth": "${GONE}"}, Site(tmp_path, env))])
        with pytest.raises(CannotRun, match="no keys"):
            desk.api.listen([HttpFeed({"port": 0, "host": "shop.example"}, Site(tmp_path, env))])
        desk.api.listen([HttpFeed({**fields, "rate": "100/h"}, Site(tmp_path, env))]).commit()
        while desk.send(desk.event("x"), BEARER).status == 429:
            assert time.monotonic() < end
        assert "x" in desk.ids()


def test_new_users_over_the_cap(tmp_path: Path) -> None:
    """Over the cap a request with users nobody knows is 429 with Retry-After and nothing of it is taken; one with known
    users is taken, and so is one whose ids were there before.

    Threat: ingest.rate — new users
    """

    def row(id_: str, user: str) -> dict[str, Any]:
        return desk.event(id_, user=user)

    with served(tmp_path, {"auth": "${TOKEN}", "new_users": "10/h"}, env={"TOKEN": TOKEN}) as desk:
        first = [row(f"a{n}", f"u{n % 12}") for n in range(24)]
        assert desk.batch(first, BEARER).status == 202, "what is over it is paid for afterwards"
        answer = desk.batch([row("b1", "u1"), row("b2", "stranger")], BEARER)
        assert (answer.status, answer.code) == (429, "new_users")
        assert 0 < int(answer.headers["retry-after"]) <= 2 * 360 + 1
        assert desk.batch(first, BEARER).json["duplicate"] == 24
        assert desk.batch([row("b1", "u1"), row("b2", "u11")], BEARER).status == 202
        for user, status in (("another", 429), ("u1", 202)):
            hook = json.dumps({"user": user, "id": "t1"}).encode()
            assert desk.call("POST", "/v1/playbooks/hook-me/webhook", hook, {**BEARER, **JSON}).status == status
        assert len(desk.ids()) == 27

    open_ = {"auth": "${TOKEN}", "new_users": "unlimited"}
    with served(tmp_path / "open", open_, env={"TOKEN": TOKEN}) as desk:
        for start in range(3):
            assert desk.batch([row(f"{start}-{n}", f"{start}-{n}") for n in range(900)], BEARER).status == 202


def test_a_bucket_keeps_the_mean() -> None:
    """A large batch goes through at once and is paid for afterwards; full buckets hold no more than they can."""
    now = [0.0]
    buckets = Buckets((100, 1_000_000), lambda: now[0])
    assert buckets.debt("a") == 0
    buckets.charge("a", 600)
    assert (buckets.debt("a"), buckets.debt("b")) == (5, 0)
    now[0] = 4.99
    assert buckets.debt("a") == 1
    now[0] = 5.01
    assert buckets.debt("a") == 0
    now[0] = 1_000.0
    buckets.charge("a", 100)
    assert buckets.debt("a") == 1  # not the hour of saving, one second's worth
    for number in range(MOST + 10):
        buckets.charge(f"x{number}", 1)
    assert len(buckets._levels) == MOST
    assert Buckets(None, lambda: 0.0).debt("a") == 0


WIRE = {
    "both framings": POST + b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": POST + b"content-length: 4\r\ncontent-length: 5\r\n\r\n{}  ",
    "two lengths in one": POST + b"content-length: 4, 5\r\n\r\n{}  ",
    "negative length": POST + b"content-length: -1\r\n\r\n",
    "signed length": POST + b"content-length: +2\r\n\r\n{}",
    "hex length": POST + b"content-length: 0x2\r\n\r\n{}",
    "huge length": POST + b"content-length: " + b"9" * 60 + b"\r\n\r\n",
    "not chunked": POST + b"transfer-encoding: gzip\r\n\r\n",
    "chunked twice": POST + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked hidden": POST + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked behind a tab": POST + b"transfer-encoding:\tchunked, identity\r\n\r\n0\r\n\r\n",
    "chunk without a size": POST + b"transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "negative chunk": POST + b"transfer-encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n",
    "huge chunk": POST + b"transfer-encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n{}\r\n0\r\n\r\n",
    "chunk longer than said": POST + b"transfer-encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n",
    "endless chunk extension": POST + b"transfer-encoding: chunked\r\n\r\n2;" + b"x" * 70_000,
    "space before the colon": b"POST /v1/events HTTP/1.1\r\n" + HOST + b"content-length : 2\r\n\r\n{}",
    "a name with a space": b"POST /v1/events HTTP/1.1\r\n" + HOST + b"bad name: 2\r\n\r\n",
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nhost: evil.example\r\n\r\n",
    "a NUL in a header": b"GET /healthz HTTP/1.1\r\n" + HOST + b"x: a\0b\r\n\r\n",
    "a bare CR in a header": b"GET /healthz HTTP/1.1\r\n" + HOST + b"x: a\rb\r\n\r\n",
    "no version": b"GET /healthz\r\n\r\n",
    "a version of tomorrow": b"GET /healthz HTTP/3.0\r\n" + HOST + b"\r\n",
    "a preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64 + b"\r\n\r\n",
    "not ascii in the path": "GET /茶 HTTP/1.1\r\n".encode() + HOST + b"\r\n",
    "nothing but newlines": b"\r\n" * 20_000,
    "bytes by chance": bytes(range(256)) * 300,
}


def test_hostile_bytes_are_refused_and_nothing_follows_them(tmp_path: Path) -> None:
    """Every form in which two servers could disagree on a request's end is an error that closes the connection: the
    request smuggled behind it is never looked at.

    Threat: ingest.protocol — smuggled
    """
    with served(tmp_path, limits=QUICK) as desk:
        smuggled = json.dumps(desk.event("smuggled")).encode()
        behind = POST + b"content-length: %d\r\n\r\n" % len(smuggled) + smuggled
        for what, raw in WIRE.items():
            said = desk.say(raw + behind)
            assert said.count(b"HTTP/1.1 ") <= 1, (what, said)
            assert said == b"" or said.startswith((b"HTTP/1.1 4", b"HTTP/1.1 50")), (what, said)
            if said and b"\r\n\r\n{" in said:
                assert json.loads(said.partition(b"\r\n\r\n")[2])["error"]["message"], what
        assert desk.ids() == []
        assert desk.send(desk.event("e1")).status == 202


def test_requests_in_one_breath_are_answered_in_order(tmp_path: Path) -> None:
    """Pipelined requests are answered one by one; a chunked body with trailers and extensions is read as HTTP says."""
    with served(tmp_path) as desk:
        raw = json.dumps(desk.event("e1")).encode()
        first = POST + b"transfer-encoding: chunked\r\n\r\n5;ext=1\r\n" + raw[:5] + b"\r\n"
        first += b"%x\r\n" % len(raw[5:]) + raw[5:] + b"\r\n0\r\nx-trailer: 1\r\n\r\n"
        last = b"GET /healthz HTTP/1.1\r\n" + HOST + b"connection: close\r\n\r\n"
        said = desk.say(first + first + last)
        assert [said.count(it) for it in (b"HTTP/1.1 202 ", b"HTTP/1.1 200 ")] == [2, 1]
        assert said.index(b'"accepted":1') < said.index(b'"duplicate":1') < said.index(b'"status":"ok"')


def test_large_bodies_at_once_are_bounded(tmp_path: Path) -> None:
    """What all requests hold together is bounded: over it the newest is 503, and the memory is given back."""
    with served(tmp_path, limits=Limits(buffered=2 * MIB)) as desk:
        halves: list[socket.socket] = []
        try:
            refused = b""
            for _ in range(4):
                wire = desk.dial()
                halves.append(wire)
                wire.sendall(POST + b"content-length: %d\r\n\r\n" % MIB + b" " * (MIB - 100))
            for wire in halves:
                wire.settimeout(1.0)
                try:
                    refused += wire.recv(4_096)
                except TimeoutError:
                    continue
            assert refused.startswith(b"HTTP/1.1 503 ")
        finally:
            for wire in halves:
                wire.close()
        assert desk.batch([desk.event("e1")] * 2, LINES).status == 202
