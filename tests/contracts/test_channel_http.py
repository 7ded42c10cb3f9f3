"""The channel ``http`` against a real server that takes, refuses, hangs, lies and breaks off.

``DRUMBEAT_DEADLINE`` is the time of a whole call in seconds, for a provider that dribbles (default 0.4; it is 15).
"""

from __future__ import annotations

import json
import os
import ssl
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import trustme
from provider import Handler, Provider, item, poll, serving, site

import engine.channels.network as network
from engine.channels.guard import Guard, Refused
from engine.channels.http import HttpChannel
from engine.channels.wire import Caller, Limits
from engine.core.model import HOUR, SECOND
from engine.core.plan import Span
from engine.errors import CannotRun
from engine.ports import Pace, Sent


@pytest.fixture
def provider() -> Iterator[Provider]:
    with serving() as found:
        yield found


def channel(url: str, **more: Any) -> HttpChannel:
    env = more.pop("env", {})
    fields = {"via": "http", "url": url, "allow_http": True, "allow_private": True, **more}
    return HttpChannel.open("sms", fields, site(**env))


DEADLINE = float(os.environ.get("DRUMBEAT_DEADLINE", "0.4"))


def quick(monkeypatch: pytest.MonkeyPatch, **limits: float) -> None:
    """Time-outs a test can wait for."""
    monkeypatch.setattr(network, "seconds_of", lambda fields: Limits(**limits))


def send(made: HttpChannel, *items: Any) -> list[Sent]:
    try:
        return made.send(items or [item()])
    finally:
        made.close()


# -- requests


def test_plain_request(provider: Provider) -> None:
    """With nothing but an address a JSON object goes there, and the effect key with it.

    Semantics: effect-key.given — the key goes along as the idempotency key.
    """
    (answer,) = send(channel(provider.url + "/send"))
    assert answer == Sent(ok=True)
    (request,) = provider.requests
    assert (request.method, request.path) == ("POST", "/send")
    assert request.headers["idempotency-key"] == "5f" * 16
    assert request.headers["host"] == f"127.0.0.1:{provider.port}"
    assert request.headers["content-type"] == "application/json"
    wanted = {"to": "+100", "text": "你好 Ada", "user": "u1", "template": "welcome/hello", "key": "5f" * 16}
    assert request.json() == wanted


def test_templated_request(provider: Provider) -> None:
    """Values stand in address, headers and body, each written for its place."""
    made = channel(
        provider.url + "/v1/{{ to }}/send?who={{ user.id }}&x=${TOKEN}",
        method="PUT",
        headers={"Authorization": "Bearer ${TOKEN}", "X-Step": "{{ step }}", "X-Half": "{{ key|truncate(4, '') }}"},
        body={"content": "{{ text }}", "n": "{{ detail.amount }}", "list": ["{{ fields }}", 7, True, "a {{ to }}"]},
        key_header="X-Request-Id",
        env={"TOKEN": "s3cret&token"},
    )
    text = 'quote " brace } \n newline {{ user }} \\ end'
    detail = {"text": text, "amount": Decimal("12.50"), "fields": {"title": "T"}}
    (answer,) = send(made, item(to="a b/../c?d&e", detail=detail))
    assert answer.ok
    (request,) = provider.requests
    assert (request.method, request.path) == ("PUT", "/v1/a%20b%2F..%2Fc%3Fd%26e/send?who=u1&x=s3cret&token")
    assert request.headers["authorization"] == "Bearer s3cret&token"
    assert request.headers["x-step"] == "hello"
    assert request.headers["x-half"] == "5f5f"
    assert request.headers["x-request-id"] == "5f" * 16
    assert "idempotency-key" not in request.headers
    assert request.json() == {"content": text, "n": 12.5, "list": [{"title": "T"}, 7, True, "a a b/../c?d&e"]}
    assert b'"n":12.50' in request.body


def test_form(provider: Provider) -> None:
    """A form is written by the engine, whatever the values hold."""
    made = channel(provider.url, form={"To": "{{ to }}", "Body": "{{ text }}", "From": "${FROM}"}, env={"FROM": "+1&2"})
    assert send(made, item(to="+100&x=1", detail={"text": "a=b&c 你"}))[0].ok
    (request,) = provider.requests
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert parse_qs(request.body.decode()) == {"To": ["+100&x=1"], "Body": ["a=b&c 你"], "From": ["+1&2"]}


def test_text_and_xml(provider: Provider) -> None:
    """A text goes as it is; in XML what a message gives is escaped."""
    evil = "</m><m>&\"'"
    assert send(channel(provider.url, body="say {{ text }}"), item(detail={"text": evil}))[0].ok
    made = channel(provider.url, body="<m>{{ text }}</m>", headers={"Content-Type": "application/xml"})
    assert send(made, item(detail={"text": evil}))[0].ok
    assert provider.requests[0].body == f"say {evil}".encode()
    assert provider.requests[1].body == b"<m>&lt;/m&gt;&lt;m&gt;&amp;&#34;&#39;</m>"


def test_get(provider: Provider) -> None:
    """A GET carries nothing but its address."""
    assert send(channel(provider.url + "/s?to={{ to }}", method="GET"))[0].ok
    assert (provider.requests[0].path, provider.requests[0].body) == ("/s?to=%2B100", b"")


@pytest.mark.parametrize("evil", ["a\r\nX-Evil: 1", "a\nb", "a\x00b", "a\u2028b", "a\x7f", "你"])
def test_no_header_is_added(provider: Provider, evil: str) -> None:
    """A value that could begin another header refuses the message; nothing is sent.

    Threat: header.inject — requests of http
    """
    (answer,) = send(channel(provider.url, headers={"X-To": "{{ to }}"}), item(to=evil))
    assert (answer.ok, answer.passing, answer.unknown) == (False, False, False)
    assert evil not in str(answer.reason)
    assert provider.requests == []


@pytest.mark.parametrize("to", ["\r\nHost: evil", "@evil.example", "/../../admin", "?x#y", "\\evil", "é\u2028", "%2e"])
def test_no_address_is_changed(provider: Provider, to: str) -> None:
    """Whatever a message gives stays one part of the path."""
    assert send(channel(provider.url + "/v1/{{ to }}/x"), item(to=to))[0].ok
    (request,) = provider.requests
    assert request.path.count("/") == 3
    assert not set(request.path) & set("?#@\\ \r\n")


def test_missing_value(provider: Provider) -> None:
    """A value that is missing refuses the message and names itself; a default helps."""
    (answer,) = send(channel(provider.url, body={"title": "{{ title }}"}))
    assert answer.reason is not None
    assert not answer.passing
    assert "title is missing" in answer.reason
    assert send(channel(provider.url, body={"title": "{{ title|default('-') }}"}))[0].ok
    assert [request.json() for request in provider.requests] == [{"title": "-"}]


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ({"url": "https://{{ to }}/x"}, "url"),
        ({"url": "https://sms.{{ to }}"}, "url"),
        ({"url": "ftp://sms.example"}, "url"),
        ({"url": "https://u:p@sms.example/"}, "url"),
        ({"body": {"x": "{{ nope }}"}}, "body"),
        ({"body": {"x": ["{% for a in text %}{% endfor %}"]}}, "body"),
        ({"body": {"x": "{{ text.__class__ }}"}}, "body"),
        ({"headers": {"X": "{{ text"}}, "headers"),
        ({"headers": {"Host": "x"}}, "headers"),
        ({"headers": {"Content-Type": "application/json"}, "body": '{"a": "{{ text }}"}'}, "body"),
        ({"method": "GET", "body": {}}, "method"),
        ({"body": {}, "form": {}}, "form"),
        ({"success": {"path": "code"}}, "success"),
        ({"form": {"a": "{{ '${X}' }}"}}, "form"),
    ],
)
def test_faults(more: dict[str, Any], key: str) -> None:
    """What is wrong with an entry is told when the program is checked, at its key."""
    fields = {"via": "http", "url": "https://sms.example/", **more}
    assert [found for found, _, _ in HttpChannel.faults(fields)][:1] == [key]


def test_no_faults() -> None:
    """The forms that are right have none."""
    for url in ("${URL}", "https://${HOST}/x", "https://a.example", "https://a.example/{{ to }}", "${URL}?to={{ to }}"):
        assert list(HttpChannel.faults({"via": "http", "url": url})) == []


@pytest.mark.parametrize("url", ["nonsense", "https://?", "ftp://x.example", "https://u:s3cr3t@x.example/", "https://x:y/"])
def test_address_from_the_environment(url: str) -> None:
    """An address that is none refuses the start, and is not quoted."""
    with pytest.raises(CannotRun) as refused:
        channel("${URL}", env={"URL": url})
    assert url not in str(refused.value)


def test_pace() -> None:
    """The common keys become the channel's pace."""
    made = channel(
        "http://127.0.0.1", rate="100/s", concurrency=3, attempts=2, retry_for=Span(text="2h", elapsed=2 * HOUR),
        mode="at_most_once",
    )
    assert made.pace == Pace(rate=(100, SECOND), concurrency=3, batch=1, attempts=2, horizon=2 * HOUR)
    assert made.mode == "at_most_once"
    assert channel("http://127.0.0.1").pace == Pace(concurrency=8, batch=1)


# -- answers


@pytest.mark.parametrize(
    ("status", "passing", "unknown"),
    [
        (301, False, False), (302, False, False), (400, False, False), (401, False, False), (404, False, False),
        (408, True, False), (409, False, False), (410, False, False), (422, False, False), (425, True, False),
        (429, True, False), (500, True, False), (502, True, False), (503, True, False), (504, True, True),
    ],
)  # fmt: skip
def test_statuses(provider: Provider, status: int, passing: bool, unknown: bool) -> None:
    """Definitive and passing refusals are told apart; a gateway that heard nothing leaves it open."""
    provider.answer = lambda handler: handler.reply(status, Location="http://169.254.169.254/latest/meta-data")
    (answer,) = send(channel(provider.url))
    assert (answer.ok, answer.passing, answer.unknown) == (False, passing, unknown)
    assert str(status) in str(answer.reason)
    assert len(provider.requests) == 1


@pytest.mark.parametrize(
    ("header", "pause"),
    [
        ("7", 7 * SECOND),
        ("0", 0),
        ("86400", HOUR),
        ("99999999999999", HOUR),
        ("Sun, 01 Mar 2026 02:00:30 GMT", 30 * SECOND),
        ("Sun, 01 Mar 2026 01:00:00 GMT", 0),
        ("Mon, 01 Mar 2027 02:00:00 GMT", HOUR),
        ("soon", None),
        ("-5", None),
        ("7.5", None),
        ("", None),
    ],
)
def test_retry_after(provider: Provider, header: str, pause: int | None) -> None:
    """Seconds or a date, an hour at most; what cannot be read is none.

    Failure: provider.busy — what a provider may ask for
    """
    provider.answer = lambda handler: handler.reply(429, Retry_After=header)
    (answer,) = send(channel(provider.url))
    assert (answer.passing, answer.retry_after) == (True, pause)


RULES = {
    "success": {"status": [200], "path": "errcode", "equals": [0]},
    "retry": {"path": "errcode", "equals": [45009]},
    "error": "errmsg",
    "id": "data.ids.0",
}


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, {"errcode": 0, "data": {"ids": [77]}}, Sent(ok=True, receipt="77")),
        (200, {"errcode": 0}, Sent(ok=True)),
        (200, {"errcode": 45009, "errmsg": "too fast"}, ("errcode 45009, errmsg too fast", True, False)),
        (200, {"errcode": 40003, "errmsg": "no such user"}, ("errcode 40003, errmsg no such user", False, False)),
        (200, b"<html>", ("without the JSON", True, True)),
        (200, b'{"errcode": 0', ("without the JSON", True, True)),
        (201, {"errcode": 0}, ("answered 201, errcode 0", False, False)),
        (500, {"errcode": 1}, ("answered 500, errcode 1", True, False)),
        (400, {"errmsg": "bad\r\nthing"}, ("errmsg bad thing", False, False)),
    ],
)
def test_rules(provider: Provider, status: int, body: Any, expected: Any) -> None:
    """An answer that says no with status 200 is understood, and so is one that says: not now."""
    provider.answer = lambda handler: handler.reply(status, body)
    (answer,) = send(channel(provider.url, **RULES))
    if isinstance(expected, Sent):
        assert answer == expected
        return
    words, passing, unknown = expected
    assert (answer.ok, answer.passing, answer.unknown) == (False, passing, unknown)
    assert words in str(answer.reason)


def test_listed_codes(provider: Provider) -> None:
    """``retry`` may name codes that are refusals otherwise."""
    provider.answer = lambda handler: handler.reply(409, Retry_After="3")
    (answer,) = send(channel(provider.url, retry={"status": [409]}))
    assert (answer.passing, answer.retry_after) == (True, 3 * SECOND)


# -- trouble on the line


def test_nobody_there() -> None:
    """A connection that is refused means: not sent, worth another try."""
    with serving() as gone:
        pass
    (answer,) = send(channel(gone.url))
    assert (answer.ok, answer.passing, answer.unknown) == (False, True, False)


def test_dropped_after_the_request(provider: Provider) -> None:
    """Taken and hung up on: nobody knows whether it was sent.

    Failure: send.unknown — a request that was taken
    """
    provider.answer = lambda handler: handler.drop()
    (answer,) = send(channel(provider.url))
    assert (answer.ok, answer.passing, answer.unknown) == (False, True, True)
    assert len(provider.requests) == 1


@pytest.mark.parametrize("lie", [b"", b"hello\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"\x00\xff" * 100, b"HTTP/1.1 200"])
def test_answer_that_is_none(provider: Provider, lie: bytes) -> None:
    """Something that is no HTTP is no answer: nobody knows."""
    provider.answer = lambda handler: handler.raw(lie)
    (answer,) = send(channel(provider.url))
    if lie == b"HTTP/1.1 200":  # cut behind the status: it was said
        assert answer.ok
    else:
        assert (answer.ok, answer.unknown) == (False, True)


def test_body_that_is_cut_off(provider: Provider) -> None:
    """The status was heard, so the message was taken; only the id is lost."""
    provider.answer = lambda handler: handler.raw(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"data"')
    assert send(channel(provider.url, id="data.id")) == [Sent(ok=True)]


def test_hanging_provider(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that says nothing is left when the silence is too long: nobody knows."""
    quick(monkeypatch, connect=2.0, read=0.1, total=30.0)
    provider.answer = Handler.hang
    (answer,) = send(channel(provider.url))
    assert (answer.ok, answer.unknown) == (False, True)
    assert "did not answer in time" in str(answer.reason)


@pytest.mark.parametrize("what", ["status", "headers", "body", "chunks"])
def test_dribbling_provider(
    provider: Provider, monkeypatch: pytest.MonkeyPatch, what: str, record_property: Callable[[str, object], None]
) -> None:
    """The deadline counts from the beginning, not from the last byte: a slot is freed from who sends one at a time.

    Failure: provider.slow — a byte at a time
    """
    quick(monkeypatch, connect=2.0, read=5.0, total=DEADLINE)
    head = b"HTTP/1.1 200 OK\r\n"
    streams = {
        "status": b"HTTP/1.1 200 " + b"x" * 5000,
        "headers": head + b"X-A: b\r\n" * 2000,
        "body": head + b"Content-Length: 9000\r\n\r\n" + b"x" * 9000,
        "chunks": head + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 2000,
    }
    said: list[int] = []
    provider.answer = lambda handler: said.append(handler.dribble(streams[what]))
    begun = time.monotonic()
    (answer,) = send(channel(provider.url))
    record_property(f"freed_after_ms_{what}", round((time.monotonic() - begun) * 1_000))
    provider.over.set()
    assert poll(lambda: said)
    assert said[0] < len(streams[what]) // 4  # all of it would take minutes
    if what in ("status", "headers"):
        assert (answer.ok, answer.unknown) == (False, True)


def test_endless_answer(provider: Provider) -> None:
    """64 KiB of an answer are read, then the connection is closed.

    Threat: response.bounded
    """
    sent = 0

    def endless(handler: Handler) -> None:
        nonlocal sent
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while sent < 1 << 30:
                handler.wfile.write(b"x" * 65536)
                sent += 65536
        except OSError:
            handler.close_connection = True

    provider.answer = endless
    assert send(channel(provider.url)) == [Sent(ok=True)]
    assert sent < 64 << 20


def test_redirect_is_not_followed(provider: Provider) -> None:
    """A redirect, to the metadata address or anywhere, is a refusal: 0 further connections.

    Threat: ssrf.address — redirects of providers
    """
    with serving() as other:
        provider.answer = lambda handler: handler.reply(302, Location=other.url)
        (answer,) = send(channel(provider.url))
        assert (answer.ok, answer.passing) == (False, False)
        assert other.connections == 0


def test_guarded(provider: Provider) -> None:
    """Without the words that allow it neither this machine nor an open line is talked to: 0 connections."""
    for more, words in (({"allow_private": False}, "private"), ({"allow_http": False}, "not https")):
        (answer,) = send(channel(provider.url, **more))
        assert (answer.ok, answer.passing, answer.unknown) == (False, False, False)
        assert words in str(answer.reason)
    assert provider.connections == 0


def test_no_proxy_of_the_environment(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxies of the environment are not asked."""
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert send(channel(provider.url))[0].ok


def test_connections_are_kept(provider: Provider) -> None:
    """Messages one after the other go over one connection; one the server closed is not used again."""
    made = channel(provider.url)
    assert [answer.ok for answer in made.send([item(f"{n:032x}") for n in range(5)])] == [True] * 5
    assert provider.connections == 1
    provider.answer = lambda handler: handler.reply(200, Connection="close")
    assert made.send([item("a"), item("b")]) == [Sent(ok=True)] * 2
    assert provider.connections == 2
    made.close()


def test_tls(tmp_path: Path) -> None:
    """Over TLS the certificate is checked, against authorities of one's own where they are named."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    fields = {"via": "http", "allow_private": True}
    with serving(context) as provider:
        fields["url"] = f"https://127.0.0.1:{provider.port}/"
        (refused,) = send(HttpChannel.open("sms", fields, site(tmp_path)))
        assert (refused.ok, refused.passing, refused.unknown) == (False, True, False)
        assert "certificate" in str(refused.reason)
        assert provider.requests == []
        assert send(HttpChannel.open("sms", {**fields, "ca": "ca.pem"}, site(tmp_path)))[0].ok
        assert len(provider.requests) == 1
    with pytest.raises(CannotRun, match=r"nothing\.pem"):
        HttpChannel.open("sms", {**fields, "ca": "nothing.pem"}, site(tmp_path))


def test_the_checked_address_is_called(tmp_path: Path) -> None:
    """The connection goes to the address that was checked, with the name in ``Host`` and in the certificate's check; a
    resolver that gives another answer later is not asked again.

    Threat: ssrf.address — connected to the checked address, no second look-up
    """
    asked: list[str] = []

    def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["169.254.169.254"]

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("shop.example").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with serving(context) as provider:
        guard = Guard(allow_private=True, ports=None, resolve=rebinding)
        caller = Caller(guard, time.monotonic, ca=str(tmp_path / "ca.pem"))
        url = f"https://shop.example:{provider.port}/x"
        assert caller.call("GET", url, {}, None).status == 200
        assert caller.call("GET", url, {}, None).status == 200  # over the connection that is kept
        caller.close()
        assert provider.requests[0].headers["host"] == f"shop.example:{provider.port}"
        assert (asked, provider.connections) == (["shop.example"], 1)
        with pytest.raises(Refused):
            caller.call("GET", url, {}, None)
        assert provider.connections == 1
    assert asked == ["shop.example"] * 2


def test_threads_do_not_meet(provider: Provider) -> None:
    """Many threads use one channel; each has its own answers."""
    from concurrent.futures import ThreadPoolExecutor

    provider.answer = lambda handler: handler.reply(200, {"id": handler.headers["Idempotency-Key"]})
    made = channel(provider.url, id="id")
    keys = [f"{n:032x}" for n in range(60)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda key: made.send([item(key)])[0].receipt, keys))
    made.close()
    assert answers == keys
    assert sorted(request.headers["idempotency-key"] for request in provider.requests) == keys


CANARY = "canary-5up3r-53cr3t"


@pytest.mark.parametrize(
    "answer",
    [
        lambda handler: handler.reply(400, {"message": f"bad token {CANARY}", "x": 1}),
        lambda handler: handler.reply(500, {"message": f"bad token {CANARY}"}),
        lambda handler: handler.reply(302, Location=f"https://x.example/{CANARY}"),
        lambda handler: handler.drop(),
        lambda handler: handler.raw(CANARY.encode()),
    ],
)
def test_secrets_are_not_told(provider: Provider, answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    """No reason, text of the channel or log holds a secret, whatever the provider says.

    Threat: secret.logs — the canary of the http channel.
    """
    caplog.set_level(0)
    provider.answer = answer
    env = {"TOKEN": CANARY, "URL": f"{provider.url}/{CANARY}/x?key={CANARY}"}
    with pytest.raises(CannotRun) as refused:
        channel("${URL}{{ nope }}", env=env)
    assert CANARY not in f"{refused.value} {refused.value!r}"
    for url in ("${URL}", "${URL}&to={{ to }}&t=${TOKEN}"):
        made = channel(
            url, headers={"Authorization": "Bearer ${TOKEN}", "X": "{{ title|default('') }}${TOKEN}"},
            body={"k": "${TOKEN}"}, error="message", env=env,
        )  # fmt: skip
        found = send(made, item(), item(to="\ud800"), item(detail={"text": "x", "fields": {"title": "\r\n"}}))
        assert CANARY not in f"{found} {made} {made!r} {caplog.text}"
    assert json.loads(provider.requests[0].body) == {"k": CANARY}
