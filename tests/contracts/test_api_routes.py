"""Routes beside events: health, metrics, the document, calls that begin playbooks, and whatever is none of these."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from api_kit import JSON, TOKEN, Answer, Desk, served, signed
from jsonschema import Draft202012Validator
from starlette.responses import Response

from engine.api.answers import Refused, json_answer
from engine.api.engine import Engine, Trouble
from engine.api.gathering import Gathering
from engine.api.meters import Meters
from engine.api.ways import Ask, Way
from engine.core.model import SECOND
from engine.core.starts import WEBHOOK
from engine.language.compile import compile_program
from engine.runtime.clock import SystemClock
from engine.runtime.jobs import Jobs
from engine.runtime.pump import Pump
from engine.stores.sqlite import SqliteStore

HOOK = "/v1/playbooks/hook-me/webhook"


def _call(desk: Desk, body: Any, path: str = HOOK, headers: dict[str, str] | None = None) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return desk.call("POST", path, raw, {**JSON, **(headers or {})})


def _inbox(desk: Desk) -> list[Any]:
    store = SqliteStore.open(desk.path, read_only=True)
    try:
        return [event for _, event in store.inbox(0, 100)]
    finally:
        store.close()


def test_a_call_begins_a_playbook(tmp_path: Path) -> None:
    """The call is durable when it is answered, and the next decision begins the playbook with its data.

    Semantics: webhook.http
    """
    with served(tmp_path) as desk:
        answer = _call(desk, {"user": "小明", "data": {"city": "上海"}, "id": "ticket-7"})
        assert answer.status == 202
        assert answer.json == {"playbook": "hook-me", "user": "小明", "id": "ticket-7", "status": "accepted"}
        (event,) = _inbox(desk)
        assert (event.type, event.internal, event.depth) == (WEBHOOK + "hook-me", True, 0)
    found = compile_program(tmp_path / "tea")
    assert found.plan is not None
    store = SqliteStore.open(tmp_path / "tea/drumbeat.db")
    Pump(found.plan, store, [], None, SystemClock(), secret=b"x").until_idle()
    assert store.load(["小明"])["小明"].traits == {"city": "上海"}
    store.close()


def test_a_call_needs_a_key(tmp_path: Path) -> None:
    """Without the key of the feed a call is 401 and begins nothing.

    Semantics: webhook.http
    """
    with served(tmp_path, {"auth": ["${TOKEN}"]}, env={"TOKEN": TOKEN}) as desk:
        assert _call(desk, {"user": "u1"}).status == 401
        assert _inbox(desk) == []
        assert _call(desk, {"user": "u1"}, headers={"authorization": f"Bearer {TOKEN}"}).status == 202


def test_the_same_call_begins_nothing_twice(tmp_path: Path) -> None:
    """By the id of the body, else by the id its sender gave the request; a call without any stands for itself.

    Semantics: webhook.http
    """
    with served(tmp_path, {"secret": ["${TOKEN}"], "auth": ["${TOKEN}"]}, env={"TOKEN": TOKEN}) as desk:
        key = {"authorization": f"Bearer {TOKEN}"}

        def statuses(body: Any, headers: dict[str, str]) -> list[str]:
            return [_call(desk, body, headers=headers).json["status"] for _ in range(2)]

        assert statuses({"user": "u1", "id": "a"}, key) == ["accepted", "duplicate"]
        assert statuses({"user": "u1"}, {**key, "idempotency-key": "k1"}) == ["accepted", "duplicate"]
        assert statuses({"user": "u1"}, key) == ["accepted", "accepted"]
        assert statuses({"user": "u1", "id": None}, key) == ["accepted", "accepted"]
        body, at = b'{"user": "u1"}', desk.clock.now() // SECOND
        tries = [_call(desk, body, headers=signed(TOKEN, body, id_="msg_1", at=at + n)) for n in (0, 1)]
        assert [it.json["status"] for it in tries] == ["accepted", "duplicate"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "not_object"),
        (b"[]", "not_object"),
        (b"{", "not_object"),
        (b"{}", "no_subject"),
        (b"{}}", "json"),
        (b'{"user": "u1"}{"user": "u2"}', "json"),
        (b'{"user": ""}', "user"),
        (b'{"user": 7}', "user"),
        (b'{"user": null, "group": "g"}', "user"),
        (b'{"user": "u1", "group": "g"}', "user"),
        (b'{"user": "u1", "user": "u2"}', "duplicate_key"),
        (b'{"user": "u1", "type": "order.paid"}', "duplicate_key"),
        (b'{"user": "u1", "time": "2026-01-01T00:00:00Z"}', "duplicate_key"),
        (b'{"user": "u1", "data": {"a": NaN}}', "nan"),
        (b'{"user": "u1", "data": []}', "data"),
        (b'{"user": "u1", "name": "x"}', "unknown_key"),
        (b'{"user": "\xff"}', "utf8"),
        (b'{"user": "u1", "data": {"a": "' + b"x" * 70_000 + b'"}}', "oversize"),
    ],
)
def test_a_call_that_is_none_is_400(tmp_path: Path, body: bytes, code: str) -> None:
    """A call is read as strictly as any record, and refused with its reason; it has a caller, so nothing is kept."""
    with served(tmp_path) as desk:
        answer = _call(desk, body)
        assert (answer.status, answer.code) == (400, code)
        assert _inbox(desk) == []
        assert desk.quarantined() == []


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("hook-mee", "did you mean 'hook-me'?"),
        ("zzz", "these can be: hook-me"),
        ("by-hand", "these can be: hook-me"),
        ("%2e%2e%2fhook-me", "did you mean 'hook-me'?"),
    ],
)
def test_a_playbook_that_takes_no_calls_is_404(tmp_path: Path, name: str, hint: str) -> None:
    """An unknown name is answered with the nearest; a playbook without the trigger says what it lacks."""
    with served(tmp_path) as desk:
        answer = _call(desk, {"user": "u1"}, f"/v1/playbooks/{name}/webhook")
        assert answer.status == 404
        if "%" not in name:
            assert answer.code == "playbook"
            assert answer.json["error"]["hint"] == hint
        assert ("no trigger {webhook: true}" in answer.json["error"]["message"]) == (name == "by-hand")


def test_readiness_says_what_is_wrong(tmp_path: Path) -> None:
    """/readyz is 503 with every reason while the engine drains, pauses or has no store; /healthz stays 200."""
    with served(tmp_path) as desk:
        assert desk.get("/readyz").json == {"status": "ready", "reasons": [], "notes": []}
        desk.troubles += [Trouble("draining", "the daemon is stopping"), Trouble("paused", "the disk is full")]
        answer = desk.get("/readyz")
        assert answer.status == 503
        assert [it["code"] for it in answer.json["reasons"]] == ["draining", "paused"]
        assert answer.headers["retry-after"] == "5"
        assert desk.get("/healthz").status == 200


def test_metrics_are_those_of_the_registry(tmp_path: Path) -> None:
    """/metrics shows the registry it was given, in the text form Prometheus reads."""
    with served(tmp_path) as desk:
        answer = desk.get("/metrics")
        assert answer.status == 200
        assert answer.headers["content-type"].startswith("text/plain")
        assert b"drumbeat_tests_total 1.0" in answer.raw


def test_metrics_name_nothing_a_sender_made_up(tmp_path: Path) -> None:
    """Requests and records are counted by route, status and feed: whatever senders make up makes no new series."""
    with served(tmp_path) as desk:
        desk.batch([desk.event("e1"), desk.event("e1"), b"{", desk.event("e2", type="made.up")])
        for number in range(50):
            desk.get(f"/made/up/{number}")
            _call(desk, {"user": "u1"}, f"/v1/playbooks/made-up-{number}/webhook")
        shown = desk.get("/metrics").raw.decode()
        assert 'drumbeat_http_requests_total{route="/v1/events",status="202"} 1.0' in shown
        assert 'drumbeat_http_requests_total{route="other",status="404"} 50.0' in shown
        assert 'drumbeat_http_requests_total{route="/v1/playbooks/{id}/webhook",status="404"} 50.0' in shown
        assert 'drumbeat_http_records_total{feed="http",status="quarantined"} 1.0' in shown
        assert 'drumbeat_http_records_total{feed="http",status="accepted"} 2.0' in shown
        assert "made" not in shown


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "not_found"),
        ("GET", "/v1/event", 404, "not_found"),
        ("POST", "/v1/events/", 404, "not_found"),
        ("GET", "/v1/events", 405, "method"),
        ("DELETE", "/healthz", 405, "method"),
        ("BREW", "/healthz", 405, "method"),
        ("POST", "/admin/ingest", 404, "not_found"),
        ("GET", "/../../etc/passwd", 404, "not_found"),
        ("GET", "/%00", 404, "not_found"),
        ("GET", "/v1/openapi.json%0d%0aX-Evil:1", 404, "not_found"),
    ],
)
def test_what_is_not_there_is_json_too(tmp_path: Path, method: str, path: str, status: int, code: str) -> None:
    """Unknown routes and methods are errors in the one form, and verbs are not served over the network."""
    with served(tmp_path) as desk:
        answer = desk.call(method, path)
        assert (answer.status, answer.code) == (status, code)
        assert "x-evil" not in answer.headers


def test_heads_are_answered_without_a_body(tmp_path: Path) -> None:
    """HEAD on what is read is GET without the body."""
    with served(tmp_path) as desk:
        answer = desk.call("HEAD", "/healthz")
        assert (answer.status, answer.raw) == (200, b"")


def test_a_fault_of_ours_says_nothing_of_itself(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An exception in a route is 500 in the one form; only the log says what it was, and the server goes on."""
    with served(tmp_path) as desk:
        wanted = desk.troubles
        wanted.append("no trouble at all")  # type: ignore[arg-type]  # the fault that is planted
        with caplog.at_level(logging.CRITICAL + 1):
            answer = desk.get("/readyz")
        assert (answer.status, answer.code) == (500, "internal")
        assert b"AttributeError" not in answer.raw
        wanted.clear()
        assert desk.get("/readyz").status == 200


def test_the_document_is_true(tmp_path: Path) -> None:
    """openapi.json is OpenAPI 3.1, names each route, and what is answered fits what it says."""
    with served(tmp_path, {"auth": ["${TOKEN}"], "secret": ["${TOKEN}"]}, env={"TOKEN": TOKEN}) as desk:
        key = {"authorization": f"Bearer {TOKEN}"}
        document = desk.get("/v1/openapi.json", key).json
        assert document["openapi"] == "3.1.0"
        assert set(document["paths"]) == {
            "/v1/events", "/v1/playbooks/{id}/webhook", "/v1/receipts/{channel}", "/healthz", "/readyz", "/metrics",
            "/v1/openapi.json", "/v1/coupons/redeem",
        }  # fmt: skip
        tried = [
            ("/v1/coupons/redeem", "post", desk.call("POST", "/v1/coupons/redeem", b"{}", {**JSON, **key})),
            ("/v1/coupons/redeem", "post", desk.call("POST", "/v1/coupons/redeem", b'{"code":"X"}', {**JSON, **key})),
            ("/v1/events", "post", desk.batch([desk.event("e1"), desk.event("e1"), b"{"], key)),
            ("/v1/events", "post", desk.send(desk.event("e1"))),
            ("/v1/playbooks/{id}/webhook", "post", _call(desk, {"user": "u1"}, headers=key)),
            ("/v1/playbooks/{id}/webhook", "post", _call(desk, {}, headers=key)),
            ("/v1/playbooks/{id}/webhook", "post", _call(desk, {}, "/v1/playbooks/no/webhook", key)),
            ("/v1/receipts/{channel}", "post", desk.call("POST", "/v1/receipts/box", b"{}", {**JSON, **key})),
            ("/healthz", "get", desk.get("/healthz")),
            ("/readyz", "get", desk.get("/readyz")),
        ]
        for path, method, answer in tried:
            said = document["paths"][path][method]["responses"][str(answer.status)]
            schema = said["content"]["application/json"]["schema"]
            whole = {**schema, "components": document["components"]}
            Draft202012Validator(whole).validate(answer.json)
        assert document["paths"]["/healthz"]["get"]["security"] == []
        assert document["paths"]["/v1/events"]["post"]["security"] == [{"bearer": []}, {"signature": []}]


def test_other_parts_bring_their_routes(tmp_path: Path) -> None:
    """A part adds its ways and stands in the document; its route is closed unless it says otherwise."""

    async def hello(ask: Ask) -> Response:
        return json_answer(200, {"who": ask.who, "path": ask.request.path_params["what"]})

    def more(gathering: Gathering, meters: Meters) -> list[Way]:
        spec = {"summary": "a greeting", "responses": {}}
        return [
            Way(method="GET", path="/u/{what}", answer=hello, spec=spec, public=True),
            Way(method="GET", path="/closed/{what}", answer=hello, spec=spec),
        ]

    key = {"authorization": f"Bearer {TOKEN}"}
    with served(tmp_path, {"auth": ["${TOKEN}"]}, env={"TOKEN": TOKEN}, more=more) as desk:
        assert desk.get("/u/x").json == {"who": "", "path": "x"}
        assert desk.get("/closed/x").status == 401
        assert desk.get("/closed/x", key).json == {"who": "token 1", "path": "x"}
        assert {"/u/{what}", "/closed/{what}"} <= set(desk.get("/v1/openapi.json", key).json["paths"])


def test_without_a_program_nothing_is_taken() -> None:
    """An engine that has no plan yet is not ready, and says so."""
    engine = Engine(Jobs(), SystemClock(), lambda: None)
    assert [it.code for it in engine.reasons()] == ["plan"]
    with pytest.raises(Refused, match="no program is loaded yet"):
        engine.running()


def test_there_is_no_console(tmp_path: Path) -> None:
    """No route gives out a cookie or a page, and what a browser sends along by itself opens nothing.

    Threat: console.web — no session
    """
    with served(tmp_path, {"auth": ["${TOKEN}"]}, env={"TOKEN": TOKEN}) as desk:
        key = {"authorization": f"Bearer {TOKEN}"}
        paths = [*desk.get("/v1/openapi.json", key).json["paths"], "/", "/login", "/console", "/admin", "/index.html"]
        for path in paths:
            for method in ("GET", "POST"):
                for headers in ({}, key):
                    answer = desk.call(method, path, b"{}" if method == "POST" else b"", {**JSON, **headers})
                    assert "set-cookie" not in answer.headers
                    assert "html" not in answer.headers.get("content-type", "")
        browser = {"cookie": f"session={TOKEN}; token={TOKEN}", "origin": "https://evil.example"}
        assert desk.call("POST", "/v1/events", b"{}", {**JSON, **browser}).status == 401
