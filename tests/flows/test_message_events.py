"""What is told of a message afterwards: bounces, complaints and unsubscribings, from any feed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from semantics_kit import event, play
from steps_kit import Live, write

HEAD = """\
program: kit
channels: {box: {via: file, path: o}, sms: {via: file, path: s, address: user.phone}}
policies:
  default:
    consent: {marketing: required, service: opt_out}
    quiet_hours: never
"""
PLAYBOOK = """\
trigger: {event: go}
entry: once
steps:
  - message: {template: hi, purpose: marketing, via: box}
  - message: {template: hi, purpose: service, via: box}
  - message: {template: other, purpose: marketing, via: sms}
"""
OPEN = (None, None, None)
SHUT = "consent"
CASES: list[tuple[str, dict[str, Any], tuple[str | None, str | None, str | None]]] = [
    ("message.unsubscribed", {"channel": "box", "purpose": "marketing"}, (SHUT, None, None)),
    ("message.unsubscribed", {"purpose": "marketing"}, (SHUT, None, SHUT)),
    ("message.unsubscribed", {"channel": "box"}, (SHUT, SHUT, None)),
    ("message.unsubscribed", {}, (SHUT, SHUT, SHUT)),
    ("message.complained", {"channel": "box", "purpose": "marketing"}, (SHUT, SHUT, None)),
    ("message.complained", {}, (SHUT, SHUT, SHUT)),
    ("message.bounced", {"channel": "box", "permanent": True}, (SHUT, SHUT, None)),
    ("message.bounced", {"channel": "box", "kind": "hard"}, (SHUT, SHUT, None)),
    ("message.bounced", {"channel": "sms", "kind": "permanent"}, (None, None, SHUT)),
    ("message.bounced", {"channel": "box"}, OPEN),
    ("message.bounced", {"channel": "box", "kind": "soft"}, OPEN),
    ("message.bounced", {"channel": "box", "permanent": "true"}, OPEN),
    ("message.bounced", {"channel": "box", "permanent": 1}, OPEN),
    ("message.bounced", {"channel": "nowhere", "permanent": True}, OPEN),
    ("message.delivered", {"channel": "box", "permanent": True}, OPEN),
]


def feed(type_: str, data: dict[str, Any], *, regranted: bool = False) -> list[dict[str, Any]]:
    """Consent, then what is told, then the playbook."""
    return [
        event("0", "user.signup", "09:00", phone="+861"),
        event("1", "consent.granted", "09:01", purpose="marketing"),
        event("2", type_, "09:30", **data),
        *([event("3", "consent.granted", "09:40")] if regranted else []),
        event("4", "go", "10:00"),
    ]


def written(root: Path) -> Path:
    """The second template, which the kit does not write itself."""
    (root / "templates").mkdir(parents=True, exist_ok=True)
    (root / "templates" / "other.sms.j2").write_text("hi {{ user.id }}", encoding="utf-8")
    return root


def reasons_of(found: list[tuple[dict[str, Any], str | None]]) -> tuple[str | None, ...]:
    """(detail, reason) of the three messages -> their reasons, in the order of the playbook."""
    by = {(detail["via"], detail["purpose"]): reason for detail, reason in found}
    assert len(found) == 3
    return tuple(by[it] for it in (("box", "marketing"), ("box", "service"), ("sms", "marketing")))


@pytest.mark.parametrize(("type_", "data", "reasons"), CASES)
@pytest.mark.parametrize("traced", [True, False])
def test_what_is_told_of_a_message_removes_consent(
    tmp_path: Path, type_: str, data: dict[str, Any], reasons: tuple[str | None, ...], traced: bool
) -> None:
    """Unsubscribing closes channel and purpose, a complaint or a bounce for good the channel, a passing bounce nothing.

    Semantics: consent.unsubscribed, consent.complained, consent.bounced
    """
    seen = play(written(tmp_path), {"p": PLAYBOOK}, feed(type_, data), head=HEAD, traced=traced)
    assert reasons_of([(row["detail"], row["reason"]) for row in seen.effects]) == reasons


@pytest.mark.parametrize(("type_", "data", "reasons"), CASES[::4])
def test_run_removes_what_simulate_removes(
    tmp_path: Path, type_: str, data: dict[str, Any], reasons: tuple[str | None, ...]
) -> None:
    """Over SQLite, each event a batch of its own, the same messages are held back.

    Semantics: consent.unsubscribed, consent.complained, consent.bounced
    """
    live = Live(written(tmp_path), {"p": PLAYBOOK}, head=HEAD)
    for record in feed(type_, data):
        live.run(record)
    assert reasons_of([(it.detail, it.reason) for it in live.effects()]) == reasons


@pytest.mark.parametrize("type_", ["message.unsubscribed", "message.complained"])
def test_a_later_grant_is_the_newer_word(tmp_path: Path, type_: str) -> None:
    """Who says yes again hears from us again.

    Semantics: consent.unsubscribed, consent.complained
    """
    seen = play(written(tmp_path), {"p": PLAYBOOK}, feed(type_, {}, regranted=True), head=HEAD)
    assert reasons_of([(row["detail"], row["reason"]) for row in seen.effects]) == OPEN


@pytest.mark.parametrize(
    ("type_", "fires"),
    [("message.delivered", True), ("message.bounced", True), ("message.sent", True), ("message.clicked", False)],
)
def test_a_message_that_arrives_is_no_sign_of_life(tmp_path: Path, type_: str, fires: bool) -> None:
    """Who is silent for a day is silent, whatever providers report meanwhile; a click is theirs.

    Semantics: inactivity.external
    """
    book = "trigger: {inactivity: 1d}\nentry: once\nsteps: [{tag: {add: [quiet]}}]\n"
    rows = [
        event("1", "a", "2026-03-01T10:00:00Z"),
        event("2", type_, "2026-03-02T09:00:00Z"),
        event("z", "end", "2026-03-02T12:00:00Z", "zz"),
    ]
    assert bool(play(tmp_path, {"p": book}, rows).effects) is fires


@pytest.mark.parametrize(
    ("receipts", "code"),
    [
        ("{id: data.id, status: kind}", None),
        ("{id: 'a\\.b.0.id | mail', status: kind, time: at, time_unit: ms, statuses: {DEAD: bounced_permanent}}", None),
        ("{id: data.id}", "missing-key"),
        ("{id: data..id, status: kind}", "wrong-value"),
        ("{id: '', status: kind}", "wrong-value"),
        ("{id: data.id, status: kind, statuses: {DEAD: died}}", "wrong-value"),
        ("{id: data.id, status: kind, time_unit: min}", "wrong-value"),
        ("{id: data.id, state: kind, status: kind}", "unknown-key"),
    ],
)
def test_how_reports_are_read_is_checked(tmp_path: Path, receipts: str, code: str | None) -> None:
    """A path that leads nowhere and a meaning that is none are found before the first report comes."""
    head = HEAD.replace("path: o}", f"path: o, receipts: {receipts}}}")
    found = [it for it in write(written(tmp_path), {"p": PLAYBOOK}, head=head).problems if it.severity == "error"]
    assert [(it.code, it.file) for it in found] == ([] if code is None else [(code, "drumbeat.yaml")])
