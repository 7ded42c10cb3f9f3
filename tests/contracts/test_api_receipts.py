"""``POST /v1/receipts/{channel}``: what providers report, on a real socket, over a real store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from api_kit import JSON, LINES, Answer, Desk, signed
from jsonschema import Draft202012Validator
from links_world import World, go, now

from engine.core.instants import parse_instant
from engine.core.model import SECOND

ZERO = {"accepted": 0, "duplicate": 0, "unknown": 0, "ignored": 0, "unreadable": 0}


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A message each to two people."""
    made = World(tmp_path)
    made.decide(go("g1"), go("g2", "u2"))
    return made


def receipt(world: World, user: str = "u1") -> str:
    """The provider's id of the newest message to somebody."""
    key = [it.key for it in world.effects() if it.user == user][-1]
    return f"m-{user}-{key[:4]}"


def told(desk: Desk, body: Any, headers: dict[str, str] | None = None, channel: str = "box") -> Answer:
    """Report something."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return desk.call("POST", f"/v1/receipts/{channel}", raw, {**JSON, **(headers or {})})


@pytest.mark.parametrize(
    ("word", "type_", "more"),
    [
        ("ok", "message.delivered", {}),
        ("seen", "message.opened", {}),
        ("tap", "message.clicked", {}),
        ("soft", "message.bounced", {"permanent": False}),
        ("dead", "message.bounced", {"permanent": True}),
        ("spam", "message.complained", {}),
        ("off", "message.unsubscribed", {}),
        ("delivered", "message.delivered", {}),
    ],
)
def test_a_report_becomes_an_event_of_its_user(world: World, word: str, type_: str, more: dict[str, Any]) -> None:
    """Whose it is and what it was for comes from the store; the report only names the message and its fate.

    Semantics: receipt.events
    """
    id_ = receipt(world)
    with world.open() as desk:
        report = {"data": {"id": id_, "user": "u2", "channel": "sms"}, "kind": word, "at": 1_772_000_000}
        answer = told(desk, report)
        assert (answer.status, answer.json) == (202, {**ZERO, "accepted": 1})
        assert told(desk, report).json == {**ZERO, "duplicate": 1}
    (event,) = world.waiting()
    key = next(it.key for it in world.effects() if it.user == "u1")
    assert (event.type, event.user, event.time) == (type_, "u1", 1_772_000_000 * SECOND)
    assert event.data == {
        "channel": "box", "purpose": "marketing", "template": "tea", "playbook": "news", "step": event.data["step"],
        "effect": key, "receipt": id_, **more,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("word", "closed"), [("dead", True), ("spam", True), ("off", True), ("soft", False), ("ok", False)]
)
def test_what_was_reported_closes_the_channel(world: World, word: str, closed: bool) -> None:
    """After a bounce for good, a complaint or an unsubscribing nothing more goes out, to this person alone.

    Semantics: receipt.events, consent.bounced, consent.complained, consent.unsubscribed
    """
    with world.open() as desk:
        assert told(desk, {"mail": receipt(world), "kind": word}).json["accepted"] == 1
    world.decide(go("g3", time=now()), go("g4", "u2", time=now()))
    reasons = {user: {it.reason for it in world.effects() if it.user == user} for user in ("u1", "u2")}
    assert reasons == {"u1": {None, "consent"} if closed else {None}, "u2": {None}}


def test_one_a_list_and_lines(world: World) -> None:
    """One object, a list of them, or one a line; what is unknown, means nothing or cannot be read is only counted.

    Semantics: receipt.events
    """
    one, two = receipt(world), receipt(world, "u2")
    rows = [
        {"mail": one, "kind": "ok"},
        {"mail": f"<{two}>", "kind": "ok"},
        {"mail": one, "kind": "ok"},
        {"mail": "m-nobody", "kind": "ok"},
        {"mail": one, "kind": "queued"},
        {"kind": "ok"},
        {"mail": one},
        {"mail": {"a": 1}, "kind": "ok"},
        {"mail": True, "kind": "ok"},
    ]
    counts = {"accepted": 2, "duplicate": 1, "unknown": 1, "ignored": 1, "unreadable": 4}
    with world.open() as desk:
        assert told(desk, rows).json == counts
        lines = b"\n".join([*(json.dumps(row).encode() for row in rows), b"", b"{broken", b"7"])
        again = told(desk, lines, LINES)
        assert (again.status, again.json) == (202, {**counts, "accepted": 0, "duplicate": 3, "unreadable": 6})
        metrics = desk.get("/metrics").raw.decode().splitlines()
        shown = [line.rpartition(" ") for line in metrics if line.startswith("drumbeat_receipts_total{")]
        told_all = {name.partition('outcome="')[2].partition('"')[0]: int(float(n)) for name, _, n in shown}
        assert told_all == {"accepted": 2, "duplicate": 4, "unknown": 2, "ignored": 2, "unreadable": 10}
    assert sorted(it.user or "" for it in world.waiting()) == ["u1", "u2"]


@pytest.mark.parametrize("at", ["soon", None, {}, True, 10**30, -(10**30), 4_102_444_800, "1e400", [1]])
def test_a_time_that_is_none_is_now(world: World, at: object) -> None:
    """A report is taken whatever stands where its time should be, and never from ahead of us."""
    before = parse_instant(now())
    with world.open() as desk:
        assert told(desk, {"mail": receipt(world), "kind": "ok", "at": at}).json["accepted"] == 1
    (event,) = world.waiting()
    assert before <= event.time <= parse_instant(now())


def test_reports_need_the_keys_of_the_feed(world: World) -> None:
    """Threat: ingest.auth — nobody reports without a key or a signature, and no signed report is taken twice."""
    secret = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldY"
    body = json.dumps({"mail": receipt(world), "kind": "spam"}).encode()
    with world.open({"auth": "${KEY}", "secret": "${SECRET}"}, env={"KEY": "k" * 32, "SECRET": secret}) as desk:
        assert told(desk, body).status == 401
        assert told(desk, body, {"authorization": "Bearer " + "x" * 32}).status == 401
        assert world.waiting() == []
        marks = signed(secret, body, id_="r1", at=desk.clock.now() // SECOND)
        assert told(desk, body, marks).json["accepted"] == 1
        assert told(desk, body, marks).status == 401
        assert told(desk, body, {"authorization": "Bearer " + "k" * 32}).json["duplicate"] == 1


def test_what_is_refused_says_why(world: World) -> None:
    """A channel without receipts, other types of content, no JSON, too many at once."""
    with world.open() as desk:
        assert told(desk, {}, channel="bux").json["error"]["hint"] == "did you mean 'box'?"
        for channel in ("plain", "nobody", "x" * 300):
            answer = told(desk, {}, channel=channel)
            assert (answer.status, answer.code) == (404, "channel")
        assert told(desk, {}, {"content-type": "text/plain"}).code == "content_type"
        assert told(desk, b"[{]").code == "json"
        assert told(desk, b"[" * 100_000).code == "json"
        assert told(desk, b" ").code == "empty"
        assert told(desk, b"[]").json == ZERO
        assert told(desk, [{}] * 1_001).code == "batch"
        assert told(desk, b"nonsense").json == {**ZERO, "unreadable": 1}
    assert world.waiting() == []


def test_the_answer_is_as_described(world: World) -> None:
    """openapi.json tells the form of the answer."""
    with world.open() as desk:
        document = desk.get("/v1/openapi.json").json
        said = document["paths"]["/v1/receipts/{channel}"]["post"]["responses"]["202"]["content"]["application/json"]
        Draft202012Validator(said["schema"]).validate(told(desk, {"mail": receipt(world), "kind": "ok"}).json)


def test_an_erased_person_gets_no_events(world: World) -> None:
    """What a provider reports of a message to somebody who was erased is unknown."""
    id_ = receipt(world)
    world.decide({**go("bye", time=now()), "type": "user.deleted"})
    with world.open() as desk:
        assert told(desk, {"mail": id_, "kind": "spam"}).json == {**ZERO, "unknown": 1}
    assert world.waiting() == []


def test_very_long_ids_stay_apart(world: World) -> None:
    """An id no store could keep is unknown, and breaks nothing."""
    with world.open() as desk:
        rows = [{"mail": "x" * size, "kind": "ok"} for size in (511, 512, 513, 5_000)]
        assert told(desk, rows).json == {**ZERO, "unknown": 4}
