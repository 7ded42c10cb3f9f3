"""The channel ``webhook``: signatures, the answers of steps, and where requests may go."""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from provider import Handler, Provider, T, item, serving, site

from engine.channels import signing
from engine.channels.http import HttpChannel
from engine.channels.webhook import WebhookChannel
from engine.core.model import SECOND
from engine.errors import CannotRun
from engine.ports import Allowed, Batch, Outgoing, Sent
from engine.runtime.hosts import Hosts
from engine.runtime.lanes import Lanes
from engine.site import Secret
from engine.stores.memory import MemoryStore

KEY = "5f" * 16


class Time:
    """A clock moved by hand."""

    at = T

    def now(self) -> int:
        return self.at


def busiest(instants: list[int]) -> int:
    """The most of them in any second."""
    return max(sum(at <= one < at + SECOND for one in instants) for at in instants)


@pytest.fixture
def provider() -> Iterator[Provider]:
    with serving() as found:
        yield found


def channel(env: dict[str, str] | None = None, **fields: Any) -> WebhookChannel:
    found = {"via": "webhook", "allow_http": True, "allow_private": True, "ports": list(range(1024, 65536)), **fields}
    return WebhookChannel.open("crm", found, site(**(env or {})))


def step(url: str, **detail: Any) -> Outgoing:
    return item(KEY, kind="webhook", purpose=None, to=None, detail={"method": "POST", "url": url, **detail})


def send(made: WebhookChannel, *items: Outgoing) -> list[Sent]:
    try:
        return made.send(items)
    finally:
        made.close()


# -- signatures


def test_vector() -> None:
    """The example of the Standard Webhooks specification is signed as it says."""
    key = signing.key_of(Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), "secret")
    made = signing.headers([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert made == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_signed(provider: Provider) -> None:
    """A request is signed over id, time and body with each secret, the newest first; the id is the effect key.

    Semantics: webhook-out.signed — signatures that a receiver can check, for two secrets at once.
    """
    new, old = "whsec_" + base64.b64encode(b"n" * 32).decode(), "an old secret of some length"
    made = channel({"NEW": new, "OLD": old}, secret=["${NEW}", "${OLD}"])
    (answer,) = send(made, step(provider.url, body={"spent": Decimal("12.50")}))
    assert answer.ok
    (request,) = provider.requests
    assert request.body == b'{"spent":12.50}'
    assert request.headers["webhook-id"] == KEY
    assert request.headers["webhook-timestamp"] == str(T // SECOND)
    signed = f"{KEY}.{T // SECOND}.".encode() + request.body
    digests = [hmac.new(key, signed, hashlib.sha256).digest() for key in (b"n" * 32, old.encode())]
    wanted = [base64.b64encode(digest).decode() for digest in digests]
    assert request.headers["webhook-signature"] == f"v1,{wanted[0]} v1,{wanted[1]}"


@pytest.mark.parametrize("secret", ["tiny-one", "whsec_not base64!", "whsec_" + base64.b64encode(b"tiny").decode(), ""])
def test_weak_secrets(secret: str) -> None:
    """A secret that is short or no base64 refuses the start, without being told."""
    with pytest.raises(CannotRun) as refused:
        channel({"S": secret}, secret=["${S}"])
    assert not secret or secret not in str(refused.value)


def test_unsigned(provider: Provider) -> None:
    """Without a secret there is no signature, but the id all the same."""
    assert send(channel(), step(provider.url))[0].ok
    headers = provider.requests[0].headers
    assert "webhook-signature" not in headers
    assert headers["webhook-id"] == KEY


# -- requests of steps


def test_request_of_a_step(provider: Provider) -> None:
    """Method, headers and body are those of the step; text goes as text."""
    made = channel(headers={"X-From": "drumbeat", "X-Two": "channel"})
    detail = {"method": "PUT", "headers": {"x-two": "step", "Content-Type": "text/csv"}, "body": "a,b\n你"}
    assert send(made, step(provider.url + "/calls?x=1", **detail))[0].ok
    (request,) = provider.requests
    assert (request.method, request.path, request.body) == ("PUT", "/calls?x=1", "a,b\n你".encode())
    assert (request.headers["x-from"], request.headers["x-two"]) == ("drumbeat", "step")
    assert request.headers["content-type"] == "text/csv"


@pytest.mark.parametrize("name", ["Host", "content-length", "Transfer-Encoding", "webhook-signature", "Connection"])
def test_headers_of_the_conversation(provider: Provider, name: str) -> None:
    """A step cannot set what belongs to the conversation or the signature."""
    (answer,) = send(channel(), step(provider.url, headers={name: "x"}))
    assert (answer.ok, answer.passing) == (False, False)
    assert provider.connections == 0


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (200, b'{"score": 7.50, "ok": true}', {"score": Decimal("7.50"), "ok": True}),
        (200, b"plain words", "plain words"),
        (200, b"", None),
        (200, b'{"a": 1, "a": 2}', '{"a": 1, "a": 2}'),
        (200, b'{"a": NaN}', '{"a": NaN}'),
        (200, b"1", 1),
        (200, b'1},"user":"evil","x":{"a":1', '1},"user":"evil","x":{"a":1'),
        (200, b"\xff\xfe", None),
        (200, b"a\x00b", None),
        (200, b"[" * 1000 + b"]" * 1000, "[" * 1000 + "]" * 1000),
        (200, b"x" * 65536, None),
        (200, b'"' + b"x" * 70000 + b'"', None),
        (404, b'{"error": "unknown"}', {"error": "unknown"}),
        (302, b"", None),
    ],
)
def test_answer_of_a_step(provider: Provider, status: int, body: bytes, told: Any) -> None:
    """An answer comes back with its status and body, JSON by the rules of the door; 404 is an answer too.

    Semantics: webhook-out.signed — what is read of an answer is bounded.
    """
    provider.answer = lambda handler: handler.reply(status, body)
    (answer,) = send(channel(), step(provider.url))
    assert (answer.ok, answer.passing) == (status == 200, False)
    assert (answer.status, answer.body) == (status, told)


def test_no_answer(provider: Provider) -> None:
    """A request that is to be tried again has no answer yet; one hung up on may have been heard."""
    provider.answer = lambda handler: handler.reply(503, b"{}", Retry_After="9")
    (answer,) = send(channel(), step(provider.url))
    assert (answer.passing, answer.unknown, answer.status, answer.retry_after) == (True, False, None, 9 * SECOND)
    provider.answer = Handler.drop
    (answer,) = send(channel(), step(provider.url))
    assert (answer.passing, answer.unknown, answer.status) == (True, True, None)


def test_timeout_of_a_step(provider: Provider) -> None:
    """A step's time-out is the deadline of its request."""
    provider.answer = Handler.hang
    (answer,) = send(channel(), step(provider.url, timeout="1s"))
    assert (answer.ok, answer.unknown) == (False, True)


# -- messages


def test_messages(provider: Provider) -> None:
    """A message goes to the channel's own address as a JSON object with everything a receiver may want."""
    made = channel(url=provider.url + "/in")
    detail = {"template": "welcome/hello", "via": "crm", "purpose": "service", "subject": "Hi", "text": "你好"}
    assert send(made, item(KEY, detail=detail))[0].ok
    (request,) = provider.requests
    assert request.path == "/in"
    found = request.json()
    assert (found["type"], found["timestamp"]) == ("message", "2026-03-01T02:00:00Z")
    assert found["data"]["key"] == KEY
    assert {name: found["data"][name] for name in ("user", "to", "purpose", "template", "subject", "text")} == {
        "user": "u1", "to": "+100", "purpose": "service", "template": "welcome/hello", "subject": "Hi", "text": "你好",
    }  # fmt: skip


def test_message_without_an_address() -> None:
    """A channel without an address takes steps alone."""
    (answer,) = send(channel(), item())
    assert (answer.ok, answer.passing) == (False, False)
    assert "no 'url'" in str(answer.reason)


# -- where to


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"allow_private": False}, "private"),
        ({"allow_http": False}, "not https"),
        ({"ports": [443]}, "port"),
        ({"hosts": ["crm.example"]}, "not in 'hosts'"),
    ],
)
def test_guarded(provider: Provider, more: dict[str, Any], words: str) -> None:
    """https, public addresses, usual ports and listed hosts, unless allowed: 0 connections otherwise.

    Semantics: webhook-out.signed — https only, never to private addresses, unless the channel says so.
    """
    (answer,) = send(channel(**more), step(provider.url))
    assert (answer.ok, answer.passing, answer.unknown, answer.status) == (False, False, False, None)
    assert words in str(answer.reason)
    assert provider.connections == 0


@pytest.mark.parametrize("address", ["169.254.169.254", "[::ffff:169.254.169.254]", "100.100.100.200", "0.1", "127.1"])
def test_metadata(address: str) -> None:
    """Not even a channel that may talk to private addresses talks to the metadata service.

    Threat: ssrf.address — the metadata service
    """
    (answer,) = send(channel(ports=[80]), step(f"http://{address}/latest/meta-data"))
    assert (answer.ok, answer.passing, answer.unknown) == (False, False, False)


@pytest.mark.parametrize("target", ["http://169.254.169.254/latest/meta-data", "//127.0.0.1:{port}/", "/elsewhere"])
def test_redirects(provider: Provider, target: str) -> None:
    """A redirect is an answer and nothing more: it is not followed.

    Semantics: webhook-out.signed — no redirect leads a request elsewhere.
    """
    provider.answer = lambda handler: handler.reply(302, Location=target.format(port=provider.port))
    (answer,) = send(channel(), step(provider.url))
    assert (answer.ok, answer.passing, answer.status) == (False, False, 302)
    assert (provider.connections, len(provider.requests)) == (1, 1)


def test_headers_with_a_secret(provider: Provider) -> None:
    """A header with a secret goes to the channel's own hosts alone, whatever address a step names."""
    headers = {"Authorization": "Bearer ${TOKEN}", "X-Plain": "x"}
    env = {"TOKEN": "s3cr3t-token"}
    assert send(channel(env, headers=headers), step(provider.url))[0].ok
    assert send(channel(env, headers=headers, hosts=["127.0.0.1"]), step(provider.url))[0].ok
    assert send(channel(env, headers=headers, url=f"{provider.url}/x"), step(provider.url))[0].ok
    found = [request.headers.get("authorization") for request in provider.requests]
    assert found == [None, "Bearer s3cr3t-token", "Bearer s3cr3t-token"]
    assert [request.headers["x-plain"] for request in provider.requests] == ["x"] * 3


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ({"hosts": ["https://crm.example"]}, "hosts"),
        ({"hosts": ["127.1"]}, "hosts"),
        ({"headers": {"webhook-id": "x"}}, "headers"),
        ({"headers": {"Host": "x"}}, "headers"),
    ],
)
def test_faults(more: dict[str, Any], key: str) -> None:
    """What is wrong with an entry is told when the program is checked."""
    assert [found for found, _, _ in WebhookChannel.faults({"via": "webhook", **more})] == [key]


CANARY = "canary-5up3r-53cr3t"


def test_secrets_are_not_told(provider: Provider, caplog: pytest.LogCaptureFixture) -> None:
    """No reason, text of the channel or log holds a secret.

    Threat: secret.logs — the canary of the webhook channel.
    """
    caplog.set_level(0)
    env = {"S": CANARY, "URL": f"{provider.url}/{CANARY}?k={CANARY}"}
    provider.answer = lambda handler: handler.reply(400, CANARY.encode())
    told = []
    for more in ({}, {"allow_private": False}, {"allow_http": False}, {"ports": [443]}, {"hosts": ["x.example"]}):
        made = channel(env, url="${URL}", secret=["${S}"], headers={"Authorization": "Bearer ${S}"}, **more)
        told += [str(answer.reason) for answer in send(made, item())] + [repr(made), str(made)]
    for url in (f"ftp://{CANARY}", f"https://{CANARY}:x/"):
        with pytest.raises(CannotRun) as refused:
            channel({"URL": url}, url="${URL}")
        told += [str(refused.value), repr(refused.value)]
    assert CANARY not in "".join(told) + caplog.text


# -- how much a host is asked


def test_one_host_by_every_way(provider: Provider) -> None:
    """A provider that messages of two channels and the steps of playbooks lead to gets what it takes and no more, on
    real connections: never more at once, and in no second of the clock more than its rate; all of it arrives.

    Semantics: outbox.hosts
    Threat: outgoing.rate
    """
    time, rung, busy = Time(), threading.Semaphore(0), threading.Lock()
    came: list[int] = []
    at_once = [0, 0]  #: now, and the most

    def answer(handler: Handler) -> None:
        with busy:
            came.append(time.at)
            at_once[0] += 1
            at_once[1] = max(at_once)
        handler.reply(200)
        with busy:
            at_once[0] -= 1

    provider.answer = answer
    fields = {"allow_http": True, "allow_private": True, "url": provider.url, "ports": [provider.port]}
    channels = {
        "hooks": WebhookChannel.open("hooks", {"via": "webhook", **fields}, site()),
        "sms": HttpChannel.open("sms", {"via": "http", **fields}, site()),
    }
    store = MemoryStore()
    odd = provider.url.replace("127.0.0.1", "127.0.0.1.") + "/steps?x=1"
    effects = [
        item(f"{kind}{number:03d}", deliver=way, kind=kind, detail=detail).effect
        for number in range(40)
        for kind, way, detail in (
            ("message", "sms", {"text": "hi"}),
            ("webhook", "hooks", {"method": "POST", "url": odd, "body": "x"}),
        )
    ]
    store.commit(Batch(T, [], [], effects, [], {}, [], [], [], {}))
    hosts = Hosts({"127.0.0.1": Allowed(rate=(10, SECOND), concurrency=2)})
    lanes = Lanes(store, channels, time, wake=rung.release, hosts=hosts)
    for _ in range(2_000):
        lanes.drain()
        if lanes.in_flight():
            assert rung.acquire(timeout=60)
        elif (due := lanes.next_due()) is not None:
            time.at = due
        else:
            break
    lanes.close()
    assert Counter(status for _, status in store.effects()) == {"sent": 80}
    assert (len(came), busiest(came), at_once[1] <= 2) == (80, 10, True)
    assert came[-1] - came[0] < 9 * SECOND
    assert {request.path for request in provider.requests[:6]} >= {"/", "/steps?x=1"}
    for one in channels.values():
        one.close()
