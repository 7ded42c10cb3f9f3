"""The Messages section of the design, gate by gate; each test quotes the line it holds to."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from semantics_kit import Row, Seen, event, play

from engine.core.instants import format_instant, parse_instant
from engine.core.localtime import UTC
from engine.core.model import MINUTE
from engine.core.policies import DEFAULT_QUIET
from engine.core.policies import Quiet as QuietHours

FREE = "consent: {marketing: none, community: none, service: none, transactional: none}"
CATALOG = "calendars: {sale: {dates: [2026-03-01..2026-03-02]}}\n"
PARALLEL = "trigger: {event: a}\nentry: {mode: parallel, limit: unlimited}\n"
AFTER = ", {tag: {add: [after]}}"


def head(policy: str = "", more: str = "", consent: str = FREE) -> str:
    """A program file with one channel that needs no address and one that does."""
    channels = "channels: {box: {via: file, path: o}, sms: {via: file, path: s, address: user.phone}}\n"
    return f"program: kit\n{channels}policies:\n  default:\n    {consent}\n    {policy or 'quiet_hours: never'}\n{more}"


def steps(message: str = "template: hi, purpose: marketing, via: box", more: str = AFTER) -> str:
    return f"steps: [{{message: {{{message}}}}}{more}]\n"


def released(at: str, user: str = "u1", quiet: QuietHours = DEFAULT_QUIET) -> str:
    """When the window of an instant lets a user's message go, in UTC."""
    return format_instant(quiet.release(parse_instant(at), user, UTC))


def messages(seen: Seen) -> list[tuple[str, str]]:
    """(time, status or reason) of every message."""
    return [(row["time"], row["reason"] or row["status"]) for row in seen.effects if row["kind"] == "message"]


# ---------------------------------------------------------------------- the order of the gates


GATES: list[tuple[str, str]] = [
    ("holdout", "holdout"),
    ("freeze", "freeze"),
    ("consent", "consent"),
    ("address", "no_address"),
    ("render", "missing_variable"),
    ("valid_for", "expired"),
    ("quiet_hours", "waits"),
    ("cap", "cap"),
]
"""Each gate in the order of the design, and the outcome it leaves behind when it refuses."""

NEIGHBOURS = list(pairwise(GATES))


def gated(root: Path, closed: set[str], playbook: str = "", more: str = "") -> str:
    """The outcome of one message judged at 10:00, with some gates closed."""
    policy = "quiet_hours: " + ("{from: '09:30', to: '10:30'}" if "quiet_hours" in closed else "never")
    policy += "\n    freeze: [sale]" if "freeze" in closed else ""
    policy += "\n    caps: [{max: never, per: day}]" if "cap" in closed else ""
    consent = "consent: {marketing: required}" if "consent" in closed else FREE
    message = "template: t, purpose: marketing, at: '10:00', via: " + ("sms" if "address" in closed else "box")
    message += ", with: {name: '{{ user.get(\"name\") }}'}" if "render" not in closed else ""
    message += ", valid_for: 1h" if "valid_for" in closed else ""
    text = PARALLEL + playbook + ("holdout: {percent: 100}\n" if "holdout" in closed else "") + steps(message)
    for name in ("box", "sms"):
        path = root / f"templates/t.{name}.j2"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("hi {{ with.name|default('you') }}" if "render" not in closed else "hi {{ with.name }}")
    feed = [event("1", "a", "08:30"), event("z", "end", "10:15", "zz")]
    seen = play(root, {"p": text}, feed, catalog=CATALOG, head=head(policy, more, consent))
    rows = messages(seen)
    assert [time for time, _ in rows] in ([], ["2026-03-01T10:00:00Z"])
    return rows[0][1] if rows else "waits"


def test_a_message_passes_where_no_gate_is_closed(tmp_path: Path) -> None:
    """The table below proves something: with every gate open the message is planned."""
    assert gated(tmp_path, set()) == "planned"


@pytest.mark.parametrize(("gate", "outcome"), GATES)
def test_each_gate_leaves_its_own_outcome(tmp_path: Path, gate: str, outcome: str) -> None:
    """Semantics: gates.reason — "the first that refuses names the reason"."""
    assert gated(tmp_path, {gate}) == outcome


@pytest.mark.parametrize(("earlier", "later"), NEIGHBOURS, ids=[f"{a[0]}-{b[0]}" for a, b in NEIGHBOURS])
def test_of_two_gates_the_earlier_one_wins(tmp_path: Path, earlier: tuple[str, str], later: tuple[str, str]) -> None:
    """Semantics: gates.order, gates.reason — "in this order": of two closed neighbours the first one names the reason.
    """
    assert gated(tmp_path, {earlier[0], later[0]}) == earlier[1]


def test_of_all_gates_the_first_wins(tmp_path: Path) -> None:
    """Semantics: gates.order — with everything closed, "status and holdout" speaks."""
    everything = {gate for gate, _ in GATES}
    for gate, outcome in GATES:
        assert gated(tmp_path / gate, everything) == outcome
        everything.discard(gate)


@pytest.mark.parametrize(
    ("playbook", "more", "outcome"),
    [
        ("status: shadow\n", "", "shadow"),
        ("", "control_group: {percent: 100}\n", "control_group"),
        ("holdout: {percent: 100}\n", "control_group: {percent: 100}\n", "holdout"),
    ],
)
def test_status_holdout_and_control_group_stand_before_freeze(
    tmp_path: Path, playbook: str, more: str, outcome: str
) -> None:
    """Semantics: gates.order — "status and holdout, freeze, ...": the three kinds of the first gate."""
    assert gated(tmp_path, {"freeze"}, playbook, more) == outcome


def test_why_shows_each_gate(tmp_path: Path) -> None:
    """ "each gate leaves its own recorded outcome, and `why` shows it": a line with what the gate saw.

    Semantics: gates.reason
    """
    policy = "caps: [{max: never, per: day}]"
    texts = {
        "frozen": (steps(), "quiet_hours: never\n    freeze: [sale]"),
        "capped": (steps(), f"quiet_hours: never\n    {policy}"),
        "unheard": (steps("template: hi, purpose: marketing, via: sms"), "quiet_hours: never"),
        "night": (steps(), "quiet_hours: {from: '09:00', to: '11:00'}"),
    }
    later = released("2026-03-01T10:00:00Z", quiet=QuietHours.of("09:00", "11:00"))
    wanted = {
        "frozen": ["message[0]: freeze", "2026-03-01 in UTC lies in 'sale'"],
        "capped": ["message[0]: cap", "no room for marketing by box; room again: never"],
        "unheard": ["message[0]: address", "no address for sms: phone is empty"],
        "night": ["message[0]: quiet_hours", f"quiet 09:00-11:00, 10:00 in UTC: waits until {later}"],
    }  # fmt: skip
    for name, (text, own) in texts.items():
        root = tmp_path / name
        (root / "templates").mkdir(parents=True)
        (root / "templates/hi.sms.j2").write_text("hi")
        seen = play(root, {"p": PARALLEL + text}, [event("1", "a", "10:00")], catalog=CATALOG, head=head(own))
        assert [wanted[name]] == [[it["at"], it["text"]] for it in seen.decisions[0]["why"] if it["value"] is False]


# ---------------------------------------------------------------------- quiet hours


NIGHT = "2026-03-01T23:00:00Z"
END = event("z", "end", "2026-03-20T00:00:00Z", "zz")


def silent(more: str = "") -> str:
    """A policy that says nothing of quiet hours."""
    return head("caps: []", more)


def test_a_policy_that_is_silent_keeps_the_default(tmp_path: Path) -> None:
    """Semantics: quiet.default, quiet.release — "default 22:00-08:00; the message waits to the end of the window plus
    a stable per-user jitter": the journey stands at the step meanwhile."""
    seen = play(tmp_path, {"p": PARALLEL + steps()}, [event("1", "a", NIGHT), END], head=silent())
    when = released(NIGHT)
    assert "2026-03-02T08:00:00Z" <= when < "2026-03-02T08:30:00Z"
    assert seen.brief() == [(when, "message[0]", "message", "planned"), (when, "tag[1]", "tag", "planned")]
    assert seen.verdicts("p") == [("2026-03-01T23:00:00Z", "entered"), (when, "finished")]


def test_a_program_without_policies_is_quiet_at_night(tmp_path: Path) -> None:
    """Semantics: quiet.default — the default holds where no policy is written at all."""
    text = PARALLEL + steps("template: hi, purpose: service, via: box")
    bare = "program: kit\nchannels: {box: {via: file, path: o}}\n"
    seen = play(tmp_path, {"p": text}, [event("1", "a", NIGHT), END], head=bare)
    assert messages(seen) == [(released(NIGHT), "planned")]


@pytest.mark.parametrize(("purpose", "waits"), [("transactional", False), ("service", True), ("community", True)])
def test_only_transactional_messages_go_at_night(tmp_path: Path, purpose: str, waits: bool) -> None:
    """Semantics: quiet.transactional — "`transactional` exempt"."""
    text = PARALLEL + steps(f"template: hi, purpose: {purpose}, via: box")
    seen = play(tmp_path, {"p": text}, [event("1", "a", NIGHT), END], head=silent())
    assert messages(seen) == [(released(NIGHT) if waits else NIGHT, "planned")]


def test_quiet_hours_go_by_the_users_clock(tmp_path: Path) -> None:
    """Semantics: traits.zone, quiet.zone — "subject -> group -> program zone, traced `zone assumed`; never 'send
    now'"."""
    feed = [
        event("0", "user.updated", "2026-03-01T12:00:00Z", "far", zone="America/New_York"),
        event("1", "a", "2026-03-01T15:00:00Z", "far"),
        event("2", "a", "2026-03-01T15:00:00Z", "near"),
        END,
    ]
    seen = play(tmp_path, {"p": PARALLEL + steps(more="")}, feed, head=silent("timezone: Asia/Shanghai\n"))
    times = {row["user"]: row["time"] for row in seen.effects}
    assert times["far"] == "2026-03-01T15:00:00Z"
    assert "2026-03-02T00:00:00Z" <= times["near"] < "2026-03-02T00:30:00Z"
    said = {
        row["user"]: [it["text"] for it in row["why"] if it["at"] == "message[0]: zone"]
        for row in seen.decisions if row["verdict"] == "entered"
    }  # fmt: skip
    assert said == {"far": [], "near": ["zone assumed: Asia/Shanghai"]}


CHANGES: dict[str, tuple[str, Row | None, str]] = {
    "nothing": ("", None, "planned"),
    "if": (", if: 'not user.get(\"vip\")'", event("2", "user.updated", "2026-03-02T01:00:00Z", vip=True), "condition"),
    "when": ("", event("2", "order", "2026-03-02T01:00:00Z"), "condition"),
    "consent": ("", event("2", "consent.revoked", "2026-03-02T01:00:00Z"), "consent"),
    "cap": ("", event("2", "b", "2026-03-02T01:00:00Z"), "cap"),
}


@pytest.mark.parametrize("change", list(CHANGES))
def test_everything_is_judged_again_at_release(tmp_path: Path, change: str) -> None:
    """Semantics: quiet.again — "at release consent, exit, conditions and caps are judged again"."""
    modifier, later, outcome = CHANGES[change]
    one = f"{{message: {{template: hi, purpose: marketing, via: box}}, id: m{modifier}}}"
    playbooks = {
        "p": PARALLEL + f"when: count('order') == 0\nsteps: [{one}]\n",
        "other": "trigger: {event: b}\nentry: {mode: single}\npolicy: loud\n" + steps(more=""),
    }
    more = f"  loud:\n    {FREE}\n    quiet_hours: never\n"
    policy = "caps: [{purpose: marketing, max: 1, per: 12h}]"
    feed = [event("0", "consent.granted", "12:00"), event("1", "a", NIGHT), *([later] if later else []), END]
    seen = play(tmp_path, playbooks, feed, head=head(policy, more, "consent: {marketing: required}"))
    assert [(row["time"], row["reason"] or row["status"]) for row in seen.effects if row["step"] == "m"] == [
        (released(NIGHT), outcome)
    ]


def test_a_condition_that_errs_at_release_parks(tmp_path: Path) -> None:
    """ "A condition that *errors* parks that run", also when it is judged again."""
    text = PARALLEL + "steps: [{message: {template: hi, purpose: marketing, via: box}, if: 'user.get(\"n\") != 5 or "
    text += "user.get(\"n\") > \"x\"'}, {tag: {add: [after]}}]\n"
    feed = [event("1", "a", NIGHT), event("2", "user.updated", "2026-03-02T01:00:00Z", n=5), END]
    seen = play(tmp_path, {"p": text}, feed, head=silent())
    assert seen.effects == []
    assert seen.outcome.journeys["running"] == 1
    assert "error" in [verdict for _, verdict in seen.verdicts("p")]


@pytest.mark.parametrize("way", ["exit: [{event: order}]\n", "goal: {event: order, within: 7d}\n"])
def test_who_did_it_at_night_hears_nothing(tmp_path: Path, way: str) -> None:
    """Semantics: quiet.again — "exit ... judged again": subscribed, so the journey ends at the event itself."""
    feed = [event("1", "a", NIGHT), event("2", "order", "2026-03-02T01:00:00Z"), END]
    seen = play(tmp_path, {"p": PARALLEL + way + steps()}, feed, head=silent())
    assert seen.effects == []
    assert seen.outcome.journeys == {"started": 1, "finished": 1, "running": 0}


@pytest.mark.parametrize(
    ("valid", "outcome"), [("2h", "expired"), ("8h", "expired"), ("9h", "planned"), ("10h", "planned")]
)
def test_what_is_past_its_time_is_skipped(tmp_path: Path, valid: str, outcome: str) -> None:
    """Semantics: quiet.valid-for — "past `valid_for` it is skipped with a reason"; the jitter alone never makes it
    late."""
    text = PARALLEL + steps(f"template: hi, purpose: marketing, via: box, valid_for: {valid}")
    seen = play(tmp_path, {"p": text}, [event("1", "a", NIGHT), END], head=silent())
    time = "2026-03-02T08:00:00Z" if valid == "9h" else released(NIGHT)
    assert messages(seen) == [(time, outcome)]
    assert [row["time"] for row in seen.effects if row["kind"] == "tag"] == [time]


def test_a_release_into_another_night_waits_again(tmp_path: Path) -> None:
    """Semantics: quiet.again — who flew west meanwhile is asleep at the release, so the message waits once more."""
    feed = [event("1", "a", NIGHT), event("2", "user.updated", "2026-03-02T02:00:00Z", zone="America/New_York"), END]
    seen = play(tmp_path, {"p": PARALLEL + steps()}, feed, head=silent())
    (time, outcome), *_ = messages(seen)
    assert outcome == "planned"
    assert "2026-03-02T13:00:00Z" <= time < "2026-03-02T13:30:00Z"


def test_a_wall_time_in_the_window_waits_for_its_end(tmp_path: Path) -> None:
    """Semantics: quiet.release — a message `at: "23:30"` is due in the window, and waits like any other."""
    text = PARALLEL + steps("template: hi, purpose: marketing, via: box, at: '23:30'")
    seen = play(tmp_path, {"p": text}, [event("1", "a", "10:00"), END], head=silent())
    assert messages(seen) == [(released(NIGHT), "planned")]


def test_held_out_journeys_do_not_wait(tmp_path: Path) -> None:
    """Semantics: gates.order — holdout stands before quiet hours: the row is written when the step is reached."""
    text = PARALLEL + "holdout: {percent: 100}\n" + steps()
    seen = play(tmp_path, {"p": text}, [event("1", "a", NIGHT), END], head=silent())
    assert messages(seen) == [(NIGHT, "holdout")]


# ---------------------------------------------------------------------- freeze and control group


@pytest.mark.parametrize(
    ("freeze", "purpose", "outcome"),
    [
        ("[sale]", "marketing", "freeze"),
        ("sale", "community", "freeze"),
        ("[sale]", "service", "freeze"),
        ("[sale]", "transactional", "planned"),
        ("{calendars: [sale], purposes: [marketing]}", "service", "planned"),
        ("{calendars: [sale], purposes: [marketing]}", "marketing", "freeze"),
        ("[]", "marketing", "planned"),
    ],
)
def test_freeze(tmp_path: Path, freeze: str, purpose: str, outcome: str) -> None:
    """Policies: `freeze: [double-11]` — nothing goes out on the days of a calendar; transactional messages do.

    Semantics: gates.freeze
    """
    text = PARALLEL + steps(f"template: hi, purpose: {purpose}, via: box")
    policy = f"quiet_hours: never\n    freeze: {freeze}"
    seen = play(tmp_path, {"p": text}, [event("1", "a", "10:00"), END], catalog=CATALOG, head=head(policy))
    assert messages(seen) == [("2026-03-01T10:00:00Z", outcome)]


def test_freeze_goes_by_the_users_day(tmp_path: Path) -> None:
    """A freeze of the 1st and the 2nd begins and ends at midnight of each user's own zone.

    Semantics: gates.freeze
    """
    hours = ["2026-02-28T15:59:59Z", "2026-02-28T16:00:00Z", "2026-03-02T15:59:59Z", "2026-03-02T16:00:00Z"]
    feed = [event("0", "user.updated", "2026-02-20T00:00:00Z", zone="Asia/Shanghai")]
    feed += [event(f"e{n}", "a", time) for n, time in enumerate(hours)] + [END]
    policy = "quiet_hours: never\n    freeze: [sale]"
    seen = play(tmp_path, {"p": PARALLEL + steps()}, feed, catalog=CATALOG, head=head(policy))
    assert [outcome for _, outcome in messages(seen)] == ["planned", "freeze", "freeze", "planned"]


def test_the_control_group_hears_no_marketing(tmp_path: Path) -> None:
    """Policies: `control_group: {percent, salt, applies_to}` — held out of these purposes in every playbook, and of
    nothing else; the draw is the same everywhere.

    Semantics: gates.control
    """
    playbooks = {
        "p": PARALLEL + steps(),
        "q": PARALLEL + steps("template: hi, purpose: service, via: box"),
        "r": PARALLEL + steps(more=""),
    }
    feed = [event(f"e{n}", "a", "10:00", f"u{n:03d}") for n in range(200)]
    seen = play(tmp_path, playbooks, feed, head=head(more="control_group: {percent: 20, salt: s}\n"))
    held = {name: {row["user"] for row in seen.effects if row["playbook"] == name and row["status"] == "held_out"}
            for name in playbooks}  # fmt: skip
    assert 20 < len(held["p"]) < 60
    assert held["p"] == held["r"]
    assert held["q"] == set()
    assert {row["reason"] for row in seen.effects if row["status"] == "held_out"} == {"control_group"}
    assert all(row["status"] == "planned" for row in seen.effects if row["kind"] == "tag")


def test_goals_of_the_control_group_count_as_held_out(tmp_path: Path) -> None:
    """Who was kept from a playbook's message is on the side of the holdout when goals are compared, once."""
    text = PARALLEL + "goal: {event: order, within: 7d, then: continue}\n" + steps(
        more=", {message: {template: hi, purpose: marketing, via: box}}")  # fmt: skip
    feed = [event("1", "a", "10:00"), event("2", "order", "11:00")]
    seen = play(tmp_path, {"p": text}, feed, head=head(more="control_group: {percent: 100}\n"))
    figures = seen.outcome.playbooks["p"]
    assert [figures[name] for name in ("entered", "held_out", "goals", "goals_held_out")] == [1, 1, 1, 1]


# ---------------------------------------------------------------------- caps


def test_slots_are_taken_by_priority(tmp_path: Path) -> None:
    """Semantics: cap.order — "slots are taken at decision in order (priority, due time, id)": messages held back
    overnight are released together, and the important playbook has the slot."""
    playbooks = {
        "a-low": "priority: 10\n" + PARALLEL + steps(more=""),
        "z-high": "priority: 90\n" + PARALLEL.replace("event: a", "event: b") + steps(more=""),
        "b-low": "priority: 10\n" + PARALLEL + steps(more=""),
    }
    feed = [event("1", "a", NIGHT), event("2", "b", "2026-03-02T03:00:00Z"), END]
    policy = "caps: [{purpose: marketing, max: 2, per: day}]"
    seen = play(tmp_path, playbooks, feed, head=head(policy))
    assert {row["playbook"]: row["reason"] or row["status"] for row in seen.effects} == {
        "z-high": "planned", "a-low": "planned", "b-low": "cap",
    }  # fmt: skip


def test_a_message_that_waits_takes_no_slot(tmp_path: Path) -> None:
    """Semantics: gates.slot — "Only a message that passed all gates takes a cap slot": one asleep leaves it to others.
    """
    loud = f"  loud:\n    {FREE}\n    quiet_hours: never\n    caps: [{{max: 1, per: 1d}}]\n"
    playbooks = {
        "p": PARALLEL + steps(more=""),
        "q": PARALLEL.replace("event: a", "event: b") + "policy: loud\n" + steps(more=""),
    }
    feed = [event("1", "a", NIGHT), event("2", "b", "2026-03-01T23:30:00Z"), END]
    seen = play(tmp_path, playbooks, feed, head=head("caps: [{max: 1, per: 1d}]", loud))
    assert [(row["playbook"], row["reason"] or row["status"]) for row in seen.effects] == [
        ("q", "planned"), ("p", "cap"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("per", "times"),
    [
        ("day", ["2026-03-01T10:00:00Z", "2026-03-02T00:00:00Z"]),
        ("week", ["2026-03-01T10:00:00Z", "2026-03-02T00:00:00Z"]),
        ("month", ["2026-03-01T10:00:00Z", "2026-04-01T00:00:00Z"]),
        ("36h", ["2026-03-01T10:00:00Z", "2026-03-02T22:00:00Z"]),
    ],
)
def test_on_cap_wait_goes_when_the_window_ends(tmp_path: Path, per: str, times: list[str]) -> None:
    """Semantics: cap.wait, cap.windows — "rolling (`7d`) or calendar (`day`) windows"; "over the cap: ... `wait`"."""
    text = PARALLEL + steps("template: hi, purpose: marketing, via: box, on_cap: wait", more="")
    feed = [event("1", "a", "10:00"), event("2", "a", "11:00"), event("z", "end", "2026-05-01T00:00:00Z", "zz")]
    seen = play(tmp_path, {"p": text}, feed, head=head(f"quiet_hours: never\n    caps: [{{max: 1, per: {per}}}]"))
    assert messages(seen) == [(time, "planned") for time in times]


def test_a_cap_that_frees_at_night_waits_for_the_morning(tmp_path: Path) -> None:
    """Semantics: cap.wait — what waited for the cap passes all gates again: quiet hours hold it once more."""
    text = PARALLEL + steps("template: hi, purpose: marketing, via: box, on_cap: wait", more="")
    feed = [event("1", "a", "10:00"), event("2", "a", "11:00"), END]
    seen = play(tmp_path, {"p": text}, feed, head=head("caps: [{max: 1, per: day}]"))
    assert messages(seen) == [("2026-03-01T10:00:00Z", "planned"), (released("2026-03-02T00:00:00Z"), "planned")]


def test_zero_is_refused(tmp_path: Path) -> None:
    """Semantics: cap.never — "`0` is refused: write `never`"."""
    with pytest.raises(AssertionError, match=r"at least 1 or .*never.*, got 0"):
        play(tmp_path, {"p": PARALLEL + steps()}, [END], head=head("caps: [{max: 0, per: day}]"))


def test_policies_belong_to_their_playbooks(tmp_path: Path) -> None:
    """ "policy?: name": each playbook keeps the belts of its own policy; slots are counted over all of them."""
    night = f"  night:\n    {FREE}\n    quiet_hours: never\n    caps: []\n"
    playbooks = {"p": PARALLEL + steps(more=""), "q": PARALLEL + "policy: night\n" + steps(more="")}
    seen = play(tmp_path, playbooks, [event("1", "a", NIGHT), END], head=head("caps: [{max: 1, per: 1d}]", night))
    assert {row["playbook"]: (row["time"], row["reason"]) for row in seen.effects} == {
        "q": (NIGHT, None), "p": (released(NIGHT), "cap"),
    }  # fmt: skip


# ---------------------------------------------------------------------- best hour


def active(hours: list[int], user: str = "u1") -> list[Row]:
    """One visit a day of February at these hours."""
    return [event(f"{user}{n}", "open", f"2026-02-{n + 1:02d}T{hour:02d}:20:00Z", user) for n, hour in enumerate(hours)]


BEST = PARALLEL + steps("template: hi, purpose: marketing, via: box, at: best_hour", more="")


@pytest.mark.parametrize(
    ("hours", "due"),
    [
        ([20, 20, 20, 9, 9], "2026-03-01T20:00:00Z"),
        ([9, 9, 9, 20, 20], "2026-03-02T09:00:00Z"),
        ([10, 10, 10, 9, 20], "2026-03-01T10:05:00Z"),  # now: the hour is running
        ([9, 20, 9, 20, 12], "2026-03-02T09:00:00Z"),  # the earliest of equals
        ([23, 23, 23, 23, 20], "2026-03-01T20:00:00Z"),  # never an hour in which it may not go
        ([20, 20, 20, 20], "2026-03-02T07:30:00Z"),  # too little is known: the program's hour, and 07:30 is quiet
        ([23, 23, 23, 23, 23], "2026-03-02T07:30:00Z"),  # known only at hours at which nothing may go
        ([], "2026-03-02T07:30:00Z"),
    ],
)
def test_best_hour(tmp_path: Path, hours: list[int], due: str) -> None:
    """Steps: `at: best_hour` — the hour the user was active most, quiet hours left out; else the program's."""
    more = "activity: [open]\nbest_hour: '07:30'\n"
    feed = [*active(hours), event("1", "a", "10:05"), END]
    seen = play(tmp_path, {"p": BEST}, feed, head=head("caps: []", more))
    expected = released("2026-03-02T07:30:00Z") if due.endswith("07:30:00Z") else due
    assert messages(seen) == [(expected, "planned")]


def test_the_programs_hour_without_a_word_is_ten(tmp_path: Path) -> None:
    """Who is new gets it at 10:00 of their own day, unless the program says otherwise."""
    feed: list[Row] = [event("0", "user.updated", "2026-01-20T03:00:00Z", zone="Asia/Shanghai")]
    feed += [event("1", "a", "2026-03-01T01:00:00Z"), END]
    seen = play(tmp_path, {"p": BEST}, feed, head=head("quiet_hours: never"))
    assert messages(seen) == [("2026-03-01T02:00:00Z", "planned")]


def test_best_hour_goes_by_the_users_clock_and_by_external_events(tmp_path: Path) -> None:
    """Without `activity` any event from outside counts, at its local hour; what the engine makes does not."""
    feed: list[Row] = [event("0", "user.updated", "2026-01-20T03:00:00Z", zone="Asia/Shanghai")]
    feed += active([12, 12, 12, 12, 12])
    feed += [event("1", "a", "2026-03-01T02:00:00Z"), END]
    echo = "trigger: {event: open}\nentry: {mode: parallel, limit: unlimited}\n"
    echo += "steps: [{wait: 6h}, {emit: {type: e}}, {emit: {type: e}}, {emit: {type: e}}]\n"
    seen = play(tmp_path, {"p": BEST, "echo": echo}, feed, head=head("quiet_hours: never"))
    assert messages(seen) == [("2026-03-01T12:00:00Z", "planned")]


# ---------------------------------------------------------------------- whatever the batches


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("traced", [True, False])
def test_batches_change_nothing(tmp_path: Path, batch: int, traced: bool) -> None:
    """ "Batching never changes an outcome", with every gate in use.

    Semantics: order.batches
    """
    more = "control_group: {percent: 50}\nactivity: [open]\n"
    policy = "caps: [{max: 1, per: day}, {max: 3, per: week}]\n    freeze: [sale]"
    playbooks: dict[str, Any] = {
        "p": "priority: 60\n" + PARALLEL + steps("template: hi, purpose: marketing, via: box, on_cap: wait"),
        "q": BEST.replace("event: a", "event: [a, b]"),
        "r": PARALLEL + "goal: {event: order, within: 2d}\n" + steps("template: hi, purpose: service, via: box"),
    }
    feed = []
    for n in range(240):
        time = format_instant(parse_instant("2026-02-27T00:00:00Z") + n * 37 * MINUTE)
        feed.append(event(f"e{n:03d}", ("a", "open", "b", "open", "order")[n % 5], time, f"u{n % 7}"))
    feed.append(END)
    one = play(tmp_path / "one", playbooks, feed, catalog=CATALOG, head=head(policy, more))
    other = play(
        tmp_path / "other", playbooks, feed, catalog=CATALOG, head=head(policy, more), batch=batch, traced=traced
    )
    assert one.effects == other.effects
    found = {row["reason"] or row["status"] for row in one.effects}
    assert found >= {"planned", "cap", "freeze", "control_group"}
