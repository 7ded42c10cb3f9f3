"""``on_error`` of every verb: what a step that fails leaves behind, and where the journey goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from semantics_kit import HEAD, event, play

from engine.actions import ACTIONS

END = event("z", "end", "2026-03-20T00:00:00Z", "zz")
ENTRY = "trigger: {event: a}\nentry: {mode: parallel, limit: unlimited}\n"
TO_FILE = HEAD.replace("path: out.jsonl}", "path: out.jsonl}, webhook: {via: file, path: hooks.jsonl}")
CATALOG = (
    "referrals: {r: {codes: {generate: R}, field: user.code, limits: {per_inviter: 2/30d}}}\nroles: {m: {}}\n"
    "surveys: {bad: {open: 2d, questions: [{id: q, text: q, kind: text}]}, "
    "gone: {open: 2d, questions: [{id: q, text: q, kind: text}]}}\n"
    "coupons: {c: {codes: {generate: C}, limits: {per_user: 1, total: 1}}}\nbadges: {b: {title: b}}\n"
    "groups: {g: {title: t, match: 'user.get(\"n\") > 3', rooms: [{id: r, link: x, capacity: 1}]}}\n"
)
GO = event("1", "a", "10:00", n="x", number=7)

FAILING = {
    "emit": ("{type: q, data: {n: '{{ event.n + 1 }}'}}", "error"),
    "message": ("{template: hi, purpose: service, with: {n: '{{ event.n + 1 }}'}}", "error"),
    "points": ("'{{ event.n }}'", "error"),
    "post": ("{group: '{{ event.n + 1 }}', template: needy}", "error"),
    "referral": ("{take: r, code: '{{ event.n + 1 }}'}", "error"),
    "set": ("{user.a: '{{ event.n + 1 }}'}", "error"),
    "survey": ("{name: bad, via: box}", "render"),
    "task": ("{assign: li, title: '{{ event.n + 1 }}'}", "error"),
    "wait": ("{until: event.n + 1}", None),
    "wait_for": ("{event: b, up_to: {until: event.n + 1}}", None),
    "webhook": ("{url: '{{ event.n }}'}", "error"),
}
"""Verb -> (a step that cannot be worked out, reason of its row; None: it has none)."""

MISSING = {
    "emit": "{type: q, user: '{{ event.gone }}'}",
    "message": "{template: needy, purpose: service}",
    "points": "'{{ event.gone }}'",
    "post": "{group: '{{ event.gone }}', template: needy}",
    "survey": "{name: gone, via: box}",
    "task": "{assign: li, title: '{{ event.gone }}'}",
    "webhook": "{url: '{{ event.gone }}'}",
}
PARKING = {
    "choose": "[{when: user.get('n') > 3, do: []}]",
    "invite": "g",
    "repeat": "{times: 2, every: 1d, until: user.get('n') > 3, do: [{points: 1}]}",
}
"""Verbs that judge a condition: an error in it is neither true nor false, whatever ``on_error`` says."""

SURE = {"badge", "coupon", "redeem", "split", "start", "stop", "tag"}
"""Verbs with nothing to work out: they are denied or done, and never fail."""

CENSUS = {"draw", "rank", "select"}
"""Verbs that ask about everybody; who cannot be judged is left out and counted: ``test_select``, ``test_rank``."""

OF_GROUPS = {"nominate"}
"""Verbs only groups have (see ``test_nominate``)."""

ROWS = {"referral": "emit", "survey": "message"}
"""Verb -> the kind of its row, where that is another."""


def rows(root: Path, verb: str, step: str, on_error: str, more: str = "") -> list[tuple[str, str, str | None]]:
    """(kind, status, reason) of all rows but those of other playbooks, in the order of the steps."""
    (root / "templates" / "survey").mkdir(parents=True, exist_ok=True)
    (root / "templates" / "needy.box.j2").write_text("{{ event.gone }}")
    (root / "templates" / "survey" / "gone.box.j2").write_text("{{ event.gone }}")
    (root / "templates" / "survey" / "bad.box.j2").write_text("{{ event.n + 1 }}")
    text = f"steps:\n  - {verb}: {step}\n    id: it\n{on_error}{more}  - tag: {{add: [after]}}\n"
    feed = [event("0", "user.updated", "09:00", n="x"), GO, END]
    seen = play(root, {"p": ENTRY + text}, feed, head=TO_FILE, catalog=CATALOG)
    kinds = {"points": 1, "tag": 2}
    found = sorted(seen.effects, key=lambda row: (row["time"], kinds.get(row["kind"], 0) if row["step"] != "it" else 0))
    return [(row["kind"], row["status"], row["reason"]) for row in found]


def test_every_verb_is_looked_at() -> None:
    """A new verb has to say here what it does when it fails."""
    assert set(ACTIONS) == {*FAILING, *PARKING, *SURE, *CENSUS, *OF_GROUPS}


MODES = {
    "": [("tag", "planned", None)],
    "    on_error: continue\n": [("tag", "planned", None)],
    "    on_error: stop\n": [],
    "    on_error: []\n": [("tag", "planned", None)],
    "    on_error: [{points: 7}]\n": [("points", "planned", None), ("tag", "planned", None)],
    "    on_error: [{points: 7}, {stop: x}]\n": [("points", "planned", None)],
    "    on_error: [{points: '{{ event.n }}', on_error: stop}]\n": [("points", "suppressed", "error")],
}
"""How ``on_error`` is written -> the rows after that of the step itself."""


@pytest.mark.parametrize("on_error", list(MODES))
@pytest.mark.parametrize("verb", sorted(FAILING))
def test_a_step_that_fails(tmp_path: Path, verb: str, on_error: str) -> None:
    """`on_error?: continue (default) | stop | [steps]`, after the row of what would have been done."""
    step, reason = FAILING[verb]
    own = [] if reason is None else [(ROWS.get(verb, verb), "suppressed", reason)]
    assert rows(tmp_path, verb, step, on_error) == own + MODES[on_error]


@pytest.mark.parametrize("on_error", ["", "    on_error: stop\n", "    on_error: [{points: 7}]\n"])
@pytest.mark.parametrize("verb", sorted(MISSING))
def test_a_value_that_is_missing(tmp_path: Path, verb: str, on_error: str) -> None:
    """ "a missing variable at run time: not sent, recorded, journey goes on per `on_error`": for every verb.

    Semantics: render.missing
    """
    assert rows(tmp_path, verb, MISSING[verb], on_error) == [
        (ROWS.get(verb, verb), "suppressed", "missing_variable"),
        *MODES[on_error],
    ]


@pytest.mark.parametrize("on_error", ["", "    on_error: stop\n", "    on_error: [{points: 7}]\n"])
@pytest.mark.parametrize("verb", sorted(PARKING))
def test_a_condition_that_errs_parks(tmp_path: Path, verb: str, on_error: str) -> None:
    """ "An *error* ... is neither true nor false": the run is parked, also with `on_error`.

    Semantics: condition.parked, condition.error
    Failure: rule.error
    """
    assert rows(tmp_path, verb, PARKING[verb], on_error) == []


@pytest.mark.parametrize("on_error", ["    on_error: stop\n", "    on_error: [{points: 7}]\n"])
def test_a_refusal_is_no_failure(tmp_path: Path, on_error: str) -> None:
    """Denied and suppressed by a gate is decided as meant: `on_error` is not asked."""
    head = TO_FILE.replace("service: none", "service: required")
    text = f"steps:\n  - points: {{take: 5}}\n{on_error}  - message: {{template: hi, purpose: service}}\n{on_error}"
    seen = play(tmp_path, {"p": ENTRY + text + "  - tag: {add: [after]}\n"}, [GO, END], head=head)
    assert {(row["kind"], row["reason"]) for row in seen.effects} == {
        ("points", "insufficient"),
        ("message", "consent"),
        ("tag", None),
    }


@pytest.mark.parametrize("code", ["'{{ event.gone }}'", "' '", "'{{ event.number }}'"])
def test_to_come_without_a_code_is_a_refusal(tmp_path: Path, code: str) -> None:
    """Nobody brought who has no code to show, be it missing, blank or no text: denied, and `on_refused` is asked.

    Semantics: referral.refused
    """
    step = f"{{take: r, code: {code}, on_refused: [{{points: 7}}]}}"
    assert rows(tmp_path, "referral", step, "    on_error: stop\n") == [
        ("emit", "denied", "no_code"),
        ("points", "planned", None),
        ("tag", "planned", None),
    ]


def test_a_failure_after_a_wait(tmp_path: Path) -> None:
    """A step that waits first and fails then goes the same way."""
    step = "{template: needy, purpose: service, at: '12:00'}"
    assert rows(tmp_path, "message", step, "    on_error: [{points: 7}]\n") == [
        ("message", "suppressed", "missing_variable"),
        ("points", "planned", None),
        ("tag", "planned", None),
    ]


@pytest.mark.parametrize("verb", ["task", "webhook"])
def test_what_a_failed_step_gives_is_none(tmp_path: Path, verb: str) -> None:
    """ "A step that was denied, skipped or not reached leaves `steps.<id>` none": a failed one, too."""
    text = f"steps: [{{{verb}: {FAILING[verb][0]}, id: it}}, {{set: {{user.x: '{{{{ steps.it is none }}}}'}}}}]\n"
    seen = play(tmp_path, {"p": ENTRY + text}, [GO, END], head=TO_FILE)
    assert [row["detail"]["value"] for row in seen.effects if row["kind"] == "set"] == [True]


def test_the_error_is_told(tmp_path: Path) -> None:
    """Every failure is a verdict `error`, with the place and what was wrong."""
    text = "steps: [{choose: [{otherwise: [{set: {user.a: '{{ event.n + 1 }}'}}]}]}]\n"
    seen = play(tmp_path, {"p": ENTRY + text}, [GO, END])
    errors = [row["why"] for row in seen.decisions if row["verdict"] == "error"]
    assert [(why[0]["at"], "error" in why[0]["seen"]) for why in errors] == [("steps[0].1[0]", True)]
    assert seen.outcome.playbooks["p"]["errors"] == 1
