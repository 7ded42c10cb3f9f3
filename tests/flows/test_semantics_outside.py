"""What comes from outside: reserved types a feed sends itself, what becomes a trait, late events, an erasure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from semantics_kit import HEAD, event, play
from steps_kit import Live

from engine.language.expressions import RESERVED_TYPES

END = event("z", "end", "2026-03-20T00:00:00Z", "zz")
ENTRY = "entry: {mode: parallel, limit: unlimited}\nsteps: [{tag: {add: [heard]}}]\n"
CATALOG = """\
badges: {hero: {title: h}}
points: {main: {title: p}}
coupons: {gift: {codes: {generate: G}, limits: {per_user: 1, total: 1}}}
groups: {club: {title: c, topic: t, owner: o, rooms: [{id: r, link: 'https://x', capacity: 1}]}}
tiers: {m: {metric: user.points, levels: {low: 0, high: 100}}}
"""


@pytest.mark.parametrize("type_", sorted(RESERVED_TYPES))
def test_reserved_types_need_no_declaration(tmp_path: Path, type_: str) -> None:
    """Also where undeclared types are closed out, each reserved type is let in, counted and heard by a trigger.

    Semantics: reserved.names, reserved.outside
    """
    book = f"trigger: {{event: {type_}}}\nwhen: count('{type_}') == 1\n{ENTRY}"
    feed = [event("1", type_, "10:00"), event("2", "odd", "10:01")]
    closed = HEAD + "events: {'*': closed}\n"
    seen = play(tmp_path, {"p": book}, feed, head=closed)
    assert seen.outcome.events["quarantined"] == 1
    assert seen.verdicts("p")[0] == ("2026-03-01T10:00:00Z", "entered")


def test_undeclared_types_are_closed_out(tmp_path: Path) -> None:
    """What the program does not name goes to quarantine, and the rest is as if it had not come.

    Semantics: event.closed
    """
    live = Live(tmp_path, {"p": "trigger: {event: a}\n" + ENTRY}, head=HEAD + "events: {a: {}, '*': closed}\n")
    live.run(event("1", "a", "10:00"), event("2", "b", "10:00"))
    assert [it.reason for it in live.store.quarantine()] == ["unknown_type"]
    assert [it.kind for it in live.effects()] == ["tag"]


@pytest.mark.parametrize(
    ("type_", "data", "changes"),
    [
        ("badge.earned", {"badge": "hero"}, {"badges": ["hero"]}),
        ("badge.earned", {"badge": "nobody's"}, {}),
        ("points.changed", {"account": "main", "delta": 5}, {"points": {"main": 5}}),
        ("points.changed", {"account": "other", "delta": 5}, {}),
        ("points.changed", {"account": "main", "delta": "5"}, {}),
        ("group.joined", {"group": "club"}, {"groups": ["club"]}),
        ("group.joined", {"group": "elsewhere"}, {}),
        ("group.left", {"group": "club"}, {}),
        ("coupon.issued", {"pool": "nobody's", "code": "X"}, {}),
        ("coupon.redeemed", {"pool": "nobody's", "code": "X"}, {}),
        ("tier.changed", {"ladder": "m", "from": "low", "to": "high"}, {}),
        ("tier.changed", {"ladder": "other", "to": "x"}, {}),
        ("segment.entered", {"segment": "nobody's"}, {}),
    ],
)
def test_the_ledger_is_touched_by_what_the_program_defines(
    tmp_path: Path, type_: str, data: dict[str, Any], changes: dict[str, Any]
) -> None:
    """Names of the catalog are booked, others change nothing; none of them is quarantined, and triggers hear all.

    Semantics: reserved.ledger, reserved.outside
    """
    live = Live(tmp_path, {"p": f"trigger: {{event: {type_}}}\n{ENTRY}"}, catalog=CATALOG)
    live.run(event("1", type_, "10:00", **data))
    state = live.state()
    ledger = {"badges": state.badges, "points": state.points, "groups": state.groups, "coupons": state.coupons}
    assert {name: value for name, value in ledger.items() if value} == changes
    assert list(live.store.quarantine()) == []
    assert "tag" in [it.kind for it in live.effects()]


def test_a_tier_change_from_outside_fires(tmp_path: Path) -> None:
    """A feed that keeps the levels itself begins journeys; our own ladder stands where it stood.

    Semantics: tier-change.outside
    """
    book = "trigger: {tier_change: {ladder: m, direction: up, to: [high]}}\n" + ENTRY
    live = Live(tmp_path, {"p": book}, catalog=CATALOG)
    live.run(
        event("1", "tier.changed", "10:00", "u1", ladder="m", **{"from": "low", "to": "high"}),
        event("2", "tier.changed", "10:00", "u2", ladder="m", **{"from": "high", "to": "low"}),
    )
    assert [(it.user, it.kind) for it in live.effects()] == [("u1", "tag")]
    assert live.state().tiers["m"][0] == "low"


def test_what_becomes_a_trait(tmp_path: Path) -> None:
    """Sign-ups, updates and `set` write traits, the newest over the older; the data of any other event does not.

    Semantics: traits.source
    """
    book = "trigger: {event: order}\nentry: {mode: once}\nsteps: [{set: {user.stage: buyer}}]\n"
    live = Live(tmp_path, {"p": book})
    live.run(
        event("1", "user.signup", "10:00", city="上海", plan="free"),
        event("2", "user.updated", "11:00", plan="pro"),
        event("3", "order", "12:00", city="Lima", size=3),
        event("4", "consent.granted", "12:00", city="Lima"),
    )
    assert live.state().traits == {"city": "上海", "plan": "pro", "stage": "buyer"}


def test_signup_is_short_for_its_event(tmp_path: Path) -> None:
    """Both ways to write it hear the same events, a second sign-up too, and nothing else.

    Semantics: trigger.signup
    """
    books = {"short": "trigger: {signup: true}\n" + ENTRY, "long": "trigger: {event: user.signup}\n" + ENTRY}
    feed = [event("1", "user.signup", "10:00"), event("2", "user.updated", "10:30"), event("3", "user.signup", "11:00")]
    seen = play(tmp_path, books, [*feed, END])
    times = {name: [row["time"] for row in seen.effects if row["playbook"] == name] for name in books}
    assert times["short"] == times["long"] == ["2026-03-01T10:00:00Z", "2026-03-01T11:00:00Z"]


@pytest.mark.parametrize("within", ["30m", "2h", "3d"])
def test_how_late_an_event_may_act(tmp_path: Path, within: str) -> None:
    """`late_events` decides: exactly that age still acts, a second more only counts.

    Semantics: late.configured
    """
    age = {"30m": "T09:30:00Z", "2h": "T08:00:00Z", "3d": "T10:00:00Z"}[within]
    day = "2026-02-26" if within == "3d" else "2026-03-01"
    older = {"30m": "T09:29:59Z", "2h": "T07:59:59Z", "3d": "T09:59:59Z"}[within]
    live = Live(
        tmp_path, {"p": "trigger: {event: a}\n" + ENTRY}, head=HEAD + f"late_events: {{act_within: {within}}}\n"
    )
    live.run(event("1", "b", "10:00", "clock"))
    live.run(event("2", "a", day + age, "young"), event("3", "a", day + older, "old"))
    assert [it.user for it in live.effects()] == ["young"]
    assert live.store.counts()["late"] == 1


def test_an_erasure_empties_the_state(tmp_path: Path) -> None:
    """Nothing personal stays in the state; the seat goes back to whoever comes next; what is bought is kept as it was.

    Semantics: erasure.state
    """
    steps = "steps: [{invite: club}, {tag: {add: [x]}}, {badge: hero}, {wait: 30d}, {points: 1}]\n"
    live = Live(tmp_path, {"p": "trigger: {event: a}\nentry: {mode: once}\n" + steps}, catalog=CATALOG)
    live.run(
        event("1", "user.signup", "09:00", name="Ada", zone="Asia/Shanghai", email="a@b.example"),
        event("2", "consent.granted", "09:00"),
        event("3", "a", "10:00"),
        event("4", "a", "10:01", "u2"),
    )
    assert [it.reason or it.status for it in live.effects("invite")] == ["planned", "full"]
    live.run(event("5", "user.deleted", "11:00"), event("6", "a", "12:00", "u3"))
    state = live.state()
    assert (state.traits, state.consents, state.tags, state.badges, state.holds) == ({}, {}, [], [], [])
    assert (list(state.journeys), state.series, state.created_at, state.last_active) == ([], {}, None, None)
    former, after = [it.user or "" for it in live.effects("invite") if it.status == "planned"]
    assert (former.startswith("erased-"), after) == (True, "u3")
    live.run(event("7", "b", "2026-05-01T00:00:00Z", "zz"))
    assert [it.user for it in live.effects("points")] == ["u2", "u3"]


@pytest.mark.parametrize("trigger", ["inactivity: 5d", "segment: {enters: idle}", "inactivity: {days: 5, at: '09:00'}"])
def test_an_erased_user_is_not_missed(tmp_path: Path, trigger: str) -> None:
    """To be erased is no activity: nobody is written to for having been idle since.

    Semantics: inactivity.external, erasure.state
    """
    catalog = "segments: {idle: {if: user.last_active_at is older_than('5d')}}\n"
    feed = [event("1", "a", "10:00"), event("2", "a", "10:00", "u2"), event("3", "user.deleted", "11:00"), END]
    seen = play(tmp_path, {"p": f"trigger: {{{trigger}}}\n{ENTRY}"}, feed, catalog=catalog)
    assert {row["user"] for row in seen.effects} == {"u2"}
