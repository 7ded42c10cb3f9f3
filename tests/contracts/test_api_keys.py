"""Who may send: bearer tokens, signatures, and what happens without either."""

from __future__ import annotations

import json
import logging
import re
import socket
from pathlib import Path
from typing import Any

import pytest
from api_kit import BEARER, JSON, TOKEN, Answer, free_port, served, signed

from engine.api.keys import Keyring, Seen, Signature
from engine.core.model import SECOND
from engine.errors import CannotRun
from engine.site import Secret

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 - the published example
EVERYWHERE = "0.0.0.0"  # noqa: S104 - what is tested is that it needs keys
ENV = {"TOKEN": TOKEN, "NEXT": "n" * 32, "SECRET": SECRET, "SECOND": "plain secret"}
LOCKED: dict[str, Any] = {"auth": ["${TOKEN}", "${NEXT}"], "secret": ["${SECRET}", "${SECOND}"]}


def test_the_vector_of_standard_webhooks() -> None:
    """The example that is published with Standard Webhooks is recognized; with one byte changed it is not."""
    body = b'{"test": 2432232314}'
    mark = b"g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    given = Signature(b"msg_p5jXN8AQM9LWM0D4loKWxJek", b"1614265330", (mark,))
    ring = Keyring(secrets=[Secret(SECRET)])
    assert ring.signed(given, body) == "secret 1"
    assert ring.signed(given, body + b" ") is None
    assert Keyring(secrets=[Secret("whsec_AAAA")]).signed(given, body) is None


@pytest.mark.parametrize("token", [TOKEN, "n" * 32])
def test_each_of_several_tokens_fits(tmp_path: Path, token: str) -> None:
    """While tokens are rotated the old and the new one are taken; the scheme may be written in any case."""
    with served(tmp_path, LOCKED, env=ENV) as desk:
        assert desk.send(desk.event("e1"), {"authorization": f"bEaReR {token}"}).status == 202
        assert desk.ids() == ["e1"]


WRONG = {
    "nothing": [],
    "empty": [(b"authorization", b"")],
    "scheme alone": [(b"authorization", b"Bearer")],
    "wrong": [(b"authorization", b"Bearer " + b"x" * 32)],
    "shorter": [(b"authorization", b"Bearer " + TOKEN[:-1].encode())],
    "longer": [(b"authorization", b"Bearer " + TOKEN.encode() + b"t")],
    "other scheme": [(b"authorization", b"Basic " + TOKEN.encode())],
    "not ascii": [(b"authorization", "Bearer é茶".encode())],
    "bytes": [(b"authorization", b"Bearer \xff\xfe\x80")],
    "two": [(b"authorization", b"Bearer " + TOKEN.encode()), (b"authorization", b"Bearer " + TOKEN.encode())],
    "in the query": [],
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_token_is_401_and_never_a_fault(tmp_path: Path, case: str) -> None:
    """Whatever stands in the header, it is 401 with a JSON body that repeats nothing of it; nothing is written.

    Threat: ingest.auth — tokens
    """
    with served(tmp_path, LOCKED, env=ENV) as desk:
        body = json.dumps(desk.event("e1")).encode()
        query = f"?access_token={TOKEN}".encode() if case == "in the query" else b""
        lines = [b"POST /v1/events" + query + b" HTTP/1.1", b"host: x", b"content-type: application/json"]
        lines += [name + b": " + value for name, value in WRONG[case]]
        lines += [b"content-length: %d" % len(body), b"connection: close", b"", b""]
        said = desk.say(b"\r\n".join(lines) + body)
        head, _, rest = said.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 401 "), said
        assert b"www-authenticate: Bearer" in head
        assert json.loads(rest)["error"]["code"] == "unauthorized"
        assert TOKEN.encode() not in said
        assert desk.ids() == []


@pytest.mark.parametrize("secret", [SECRET, "plain secret"])
def test_a_signed_request_is_taken_once(tmp_path: Path, secret: str) -> None:
    """An exact copy is refused; the sender's own next try, signed anew under the same id, is taken as a duplicate.

    Threat: ingest.auth — signatures
    """
    with served(tmp_path, LOCKED, env=ENV) as desk:
        body = json.dumps(desk.event("e1")).encode()
        at = desk.clock.now() // SECOND
        headers = signed(secret, body, id_="msg_1", at=at)
        assert desk.send(body, headers).json["accepted"] == 1
        copied = desk.send(body, headers)
        assert (copied.status, copied.code) == (401, "unauthorized")
        again = desk.send(body, signed(secret, body, id_="msg_1", at=at + 1))
        assert (again.status, again.json["duplicate"]) == (202, 1)
        assert desk.ids() == ["e1"]


def _bent(what: str, secret: str, body: bytes, at: int) -> tuple[bytes, dict[str, str]]:
    """A signed request with one thing wrong."""
    headers = signed(secret, body, id_="msg_1", at=at)
    good = headers["webhook-signature"]
    bent = {
        "body": lambda: (body + b" ", headers),
        "id": lambda: (body, {**headers, "webhook-id": "msg_2"}),
        "no id": lambda: (body, {**headers, "webhook-id": ""}),
        "dot in the id": lambda: (body, signed(secret, body, id_="msg.1", at=at)),
        "long id": lambda: (body, signed(secret, body, id_="m" * 257, at=at)),
        "old": lambda: (body, signed(secret, body, id_="msg_1", at=at - 310)),
        "ahead": lambda: (body, signed(secret, body, id_="msg_1", at=at + 310)),
        "no number": lambda: (body, {**headers, "webhook-timestamp": "now"}),
        "not ascii digits": lambda: (body, {**headers, "webhook-timestamp": "\u00b2"}),
        "huge number": lambda: (body, {**headers, "webhook-timestamp": "9" * 400}),
        "other secret": lambda: (body, signed("whsec_AAAA", body, id_="msg_1", at=at)),
        "other version": lambda: (body, {**headers, "webhook-signature": "v1a" + good[2:]}),
        "no version": lambda: (body, {**headers, "webhook-signature": good[3:]}),
        "empty": lambda: (body, {**headers, "webhook-signature": ""}),
        "not base64": lambda: (body, {**headers, "webhook-signature": "v1,\u00e9\u00e9"}),
        "cut": lambda: (body, {**headers, "webhook-signature": good[:-2]}),
        "behind many": lambda: (body, {**headers, "webhook-signature": "v1,AAAA " * 16 + good}),
    }
    found: tuple[bytes, dict[str, str]] = bent[what]()
    return found


BENT = [
    "body", "id", "no id", "dot in the id", "long id", "old", "ahead", "no number", "not ascii digits", "huge number",
    "other secret", "other version", "no version", "empty", "not base64", "cut", "behind many",
]  # fmt: skip


def test_a_bent_signature_is_401_and_never_a_fault(tmp_path: Path) -> None:
    """Each part that is signed, each form a header may take: 401, nothing is written, and the good one still passes."""
    with served(tmp_path, LOCKED, env=ENV) as desk:
        body = json.dumps(desk.event("e1")).encode()
        at = desk.clock.now() // SECOND
        answers = {what: desk.send(*_bent(what, SECRET, body, at)) for what in BENT}
        assert {what: it.status for what, it in answers.items()} == dict.fromkeys(BENT, 401)
        assert {it.code for it in answers.values()} == {"unauthorized"}
        assert desk.ids() == []
        headers = signed(SECRET, body, id_="msg_1", at=at)
        headers["webhook-signature"] = "v1,AAAA v2,x " + headers["webhook-signature"]  # one of several, for rotation
        assert desk.send(body, headers).status == 202


def test_a_request_that_was_not_taken_may_come_again(tmp_path: Path) -> None:
    """A copy is refused only of what was taken: after 413 the same signed request is not a copy."""
    with served(tmp_path, {**LOCKED, "path": "/hook"}, env=ENV) as desk:
        body = b"\n" * 3
        headers = {**JSON, **signed(SECRET, body, id_="msg_1", at=desk.clock.now() // SECOND)}
        assert [desk.call("POST", "/hook", body, headers).status for _ in range(2)] == [400, 400]


def test_copies_are_remembered_within_bounds() -> None:
    """Marks go when their time is over; when the memory is full nothing more is let in, rather than forgotten."""
    seen = Seen(most=2)
    assert seen.claim((b"a", b"1"), 0.0)
    assert not seen.claim((b"a", b"1"), 599.0)
    assert seen.claim((b"a", b"2"), 1.0)
    assert not seen.claim((b"b", b"1"), 2.0)
    assert seen.claim((b"b", b"1"), 600.0)
    seen.release((b"b", b"1"))
    assert seen.claim((b"b", b"1"), 600.5)


@pytest.mark.parametrize("path", ["/v1/openapi.json", "/metrics", "/readyz"])
def test_what_is_not_public_needs_a_key(tmp_path: Path, path: str) -> None:
    """Everything but /healthz needs a key; where only this machine can ask, health and metrics do not.

    Threat: console.web, ingest.auth — nothing is open that need not be
    """
    with served(tmp_path, LOCKED, env=ENV) as desk:
        assert desk.get("/healthz").json == {"status": "ok"}
        open_ = path != "/v1/openapi.json"
        assert desk.get(path).status == (200 if open_ else 401)
        assert desk.get(path, BEARER).status == 200
    with served(tmp_path, {**LOCKED, "host": EVERYWHERE}, env=ENV) as desk:
        assert desk.get("/healthz").status == 200
        assert desk.get(path).status == 401
        assert desk.get(path, BEARER).status == 200


@pytest.mark.parametrize("host", [EVERYWHERE, "::", "::ffff:127.0.0.1", "example.invalid"])
def test_a_public_address_without_keys_is_refused_at_start(tmp_path: Path, host: str) -> None:
    """What others can reach is not listened on without keys; the message says what to write.

    Threat: ingest.auth — public
    """
    with pytest.raises(CannotRun) as refused, served(tmp_path, {"host": host}):
        pass
    assert "can be reached by others and has no keys" in refused.value.message
    assert "INGEST_TOKEN" in refused.value.hint


@pytest.mark.parametrize(
    ("setting", "env", "said"),
    [
        ({"auth": ["${TOKEN}"]}, {}, "TOKEN, and it is not set"),
        ({"auth": ["${TOKEN}"]}, {"TOKEN": ""}, "feeds.http.auth is empty"),
        ({"secret": ["${TOKEN}"]}, {"TOKEN": "whsec_%%%"}, "is not base64"),
    ],
)
def test_what_cannot_start_says_why(tmp_path: Path, setting: Any, env: Any, said: str) -> None:
    """A missing variable, an empty token, a broken secret: one sentence, no server."""
    with pytest.raises(CannotRun, match=re.escape(said)), served(tmp_path, setting, env=env):
        pass


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    """A port another process has: one sentence, no server."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        with pytest.raises(CannotRun, match=f"cannot listen on 127.0.0.1:{port}"), served(tmp_path, {"port": port}):
            pass


def test_two_feeds_share_a_listener_and_keep_their_keys(tmp_path: Path) -> None:
    """Feeds of one port differ by path; the key of one opens nothing of the other, and both open what they share."""
    port = free_port()
    ours = {"port": port, "auth": ["${TOKEN}"], "name": "ours"}
    theirs = {"port": port, "auth": ["${NEXT}"], "path": "/v1/shop", "name": "shop"}
    other = {"authorization": "Bearer " + "n" * 32}
    with served(tmp_path, ours, theirs, env=ENV) as desk:
        assert len(desk.api.addresses) == 1

        def post(path: str, headers: dict[str, str]) -> Answer:
            return desk.call("POST", path, b"{}", {**JSON, **headers})

        assert [post("/v1/events", it).status for it in (BEARER, other)] == [202, 401]
        assert [post("/v1/shop", it).status for it in (BEARER, other)] == [401, 202]
        assert [desk.get("/v1/openapi.json", it).status for it in (BEARER, other, {})] == [200, 200, 401]
        assert [it[0] for it in desk.quarantined()] == ["ours", "shop"]
    with pytest.raises(CannotRun, match="two feeds of kind http listen at"), served(tmp_path, ours, ours, env=ENV):
        pass


def test_a_page_that_points_its_name_here_gets_nothing(tmp_path: Path) -> None:
    """Without keys only names of this machine are served: a site in a browser cannot speak for its visitor.

    Threat: console.web, ingest.auth — a name that points here
    """
    with served(tmp_path) as desk:
        port = desk.address[1]
        for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "127.evil.example", ""):
            answer = desk.send(desk.event("e1"), {"host": host})
            assert (answer.status, answer.code) == (421, "host"), host
        for host in ("localhost", f"127.0.0.1:{port}", "[::1]:80", "LOCALHOST"):
            assert desk.send(desk.event("e1"), {"host": host}).status == 202, host
    with served(tmp_path, LOCKED, env=ENV) as desk:
        evil = {"host": "evil.example"}
        assert [desk.get(path, evil).status for path in ("/metrics", "/readyz", "/healthz")] == [401, 401, 200]
        assert desk.get("/metrics", {**evil, **BEARER}).status == 200
        assert desk.send(desk.event("e1"), {**evil, **BEARER}).status == 202


def test_keys_are_seen_nowhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever is sent, right, wrong or into a fault of ours: no token and no secret stands in an answer, in a log, in
    metrics or in the files of the store."""
    canaries = ["canary-token-" + "t" * 20, "canary-secret-" + "s" * 20, "canary-wrong-" + "w" * 20]
    right, secret, wrong = canaries
    setting = {"auth": ["${RIGHT}"], "secret": ["${SECRET}"]}
    said = b""
    with caplog.at_level(logging.DEBUG), served(tmp_path, setting, env={"RIGHT": right, "SECRET": secret}) as desk:
        key = {"authorization": f"Bearer {right}"}
        for headers in (key, {"authorization": f"Bearer {wrong}"}, {"authorization": wrong}, {"cookie": wrong}):
            said += desk.send(desk.event("e1"), headers).raw
            said += desk.batch([b"{broken", desk.event(None)], headers).raw
            said += desk.get("/v1/openapi.json", headers).raw + desk.get("/metrics", headers).raw
        body = json.dumps(desk.event("e2")).encode()
        said += desk.send(body, signed(secret, body, id_="m1", at=desk.clock.now() // SECOND)).raw
        said += desk.send(body, signed(wrong, body, id_="m2", at=desk.clock.now() // SECOND)).raw
        desk.troubles.append(None)  # type: ignore[arg-type]  # a fault that is planted
        assert desk.send(desk.event("e3"), key).status == 500
        desk.troubles.clear()
        stored = b"".join(it.read_bytes() for it in desk.path.parent.glob("drumbeat.db*"))
    assert "failed: TypeError" in caplog.text
    for canary in canaries:
        assert canary.encode() not in said
        assert canary not in caplog.text
        assert canary.encode() not in stored
