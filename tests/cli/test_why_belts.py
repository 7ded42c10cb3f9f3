"""``why`` in words for whoever was not written to: each gate, the night, a slot, an older version."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

HEAD = """\
program: belts
timezone: Asia/Shanghai
profile: {city: text | none, name: text | none, phone: text | none}
feeds: [{file: feed/*.jsonl}]
channels: {box: {via: file, path: out/box.jsonl}}
policies:
  default:
    consent: {marketing: required, service: none, community: none}
    caps: [{purpose: marketing, max: 1, per: 7d}]
    freeze: [sale]
control_group: {percent: 99.9, salt: x, applies_to: [community]}
"""
SAY = (
    "playbook: {name}\ntitle: t\nowner: a@b.example\ntrigger: {trigger}\nentry: {entry}\n"
    "steps:\n  - message: {what}\n    id: say\n  - wait: 30d\n"
)
PARALLEL = "{mode: parallel, limit: unlimited}"


def book(name: str, what: str, trigger: str = "", entry: str = PARALLEL) -> dict[str, str]:
    """A playbook that says one thing."""
    text = SAY.format(name=name, trigger=trigger or f"{{event: {name}}}", entry=entry, what=what)
    return {f"playbooks/{name}.yaml": text}


FILES = {
    "drumbeat.yaml": HEAD,
    "playbooks/catalog/c.yaml": "calendars: {sale: {dates: [2026-03-20..2026-03-22]}}\n",
    "templates/hi.box.j2": "hi {{ user.id }}",
    "templates/name.box.j2": "hi {{ user.name }}",
    **book("ad", "{template: hi, via: box, purpose: marketing}"),
    **book("short", "{template: hi, via: box, purpose: service, valid_for: 3h}"),
    **book("named", "{template: name, via: box, purpose: service}"),
    **book("club", "{template: hi, via: box, purpose: community}"),
    **book(
        "slot", "{template: hi, via: box, purpose: service}",
        '{schedule: {cron: "0 10 * * *", audience: user.city == "上海"}}', "once",
    ),
}  # fmt: skip
AGREE = ("consent.granted", {"channel": "box", "purpose": "marketing"})
ROWS: list[tuple[str, str, str, dict[str, Any]]] = [
    ("2026-03-01T01:00:00Z", "user.signup", "slotted", {"city": "上海"}),
    ("2026-03-03T05:00:00Z", "ad", "asked-nobody", {}),
    ("2026-03-03T05:00:00Z", *("consent.granted", "capped"), AGREE[1]),
    ("2026-03-03T05:00:01Z", "ad", "capped", {}),
    ("2026-03-03T06:00:00Z", "ad", "capped", {}),
    ("2026-03-03T06:00:00Z", "named", "nameless", {}),
    ("2026-03-03T06:00:00Z", "club", "control", {}),
    ("2026-03-03T16:00:00Z", "short", "late", {}),
    ("2026-03-21T05:00:00Z", "consent.granted", "frozen", AGREE[1]),
    ("2026-03-21T05:00:01Z", "ad", "frozen", {}),
    ("2026-03-25T16:00:00Z", "short", "awake", {}),
]


@pytest.fixture
def shop(tmp_path: Path, drumbeat: Any) -> Path:
    """The program, run over its feed."""
    rows = [
        json.dumps({"id": f"e{n}", "time": time, "type": type_, "user": user, "data": data})
        for n, (time, type_, user, data) in enumerate(ROWS)
    ]
    for name, text in {**FILES, "feed/a.jsonl": "\n".join(rows) + "\n"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    said = drumbeat("run", "--until-idle", "--program", tmp_path)
    assert said.code == 0, said.err
    return tmp_path


@pytest.mark.parametrize(
    ("user", "playbook", "words"),
    [
        ("asked-nobody", "ad", ["say: consent: marketing by box is required, and was never given", "(consent)"]),
        ("capped", "ad", ["say: cap: no room for marketing by box; room again: 2026-03-10T05:00:01Z", "(cap)"]),
        ("nameless", "named", ["say: render: templates/name.box.j2:1: 'user.name' is missing", "(missing_variable)"]),
        ("control", "club", ["say: control_group: one of the 99.9 % no community reaches", "held_out (control_group)"]),
        ("late", "short", ["say: valid_for: was of use until 2026-03-03T19:00:00Z", "suppressed (expired)"]),
        ("frozen", "ad", ["say: freeze: 2026-03-21 in Asia/Shanghai lies in 'sale'", "suppressed (freeze)"]),
        ("awake", "short", ["say: quiet_hours: quiet 22:00-08:00, 00:00 in Asia/Shanghai: waits until 2026-03-26T00:",
                            "at step say, waits for the end of quiet hours, until 2026-03-26T00:"]),
        ("slotted", "slot", ["by time (schedule)", "entry: once: entered before", "next slot of its schedule:",
                             "message say planned, sent by box: template='hi', by time (schedule)"]),
        ("asked-nobody", "slot", ["trigger.audience: user.city == '上海'", "needs '上海', has none"]),
    ],
)  # fmt: skip
def test_why_not(shop: Path, drumbeat: Any, user: str, playbook: str, words: list[str]) -> None:
    """Semantics: gates.reason — the first that refuses names the reason, and what it saw; who waits hears what for."""
    said = drumbeat("why", "--user", user, "--playbook", playbook, "--program", shop).out
    assert [it for it in words if it not in said] == [], said


def test_a_note_is_about_what_was_asked(shop: Path, drumbeat: Any) -> None:
    """That a journey runs on an older version is said for its own playbook, not for another one."""
    file = shop / "playbooks" / "slot.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("30d", "31d"), encoding="utf-8")
    assert drumbeat("run", "--until-idle", "--program", shop).code == 0
    asked = {it: drumbeat("why", "--user", "slotted", "--playbook", it, "--program", shop).out for it in ("slot", "ad")}
    assert "note: a journey of slot runs on an older version" in asked["slot"]
    assert "(an older one)" in asked["slot"]
    assert "older" not in asked["ad"]
