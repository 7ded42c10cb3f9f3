"""Points of rules, one promise after the other: what is said of them in docs/language.md."""

from __future__ import annotations

from pathlib import Path

import pytest
from semantics_kit import Row, event, play
from steps_kit import Live, write

from engine.cli.rehearsing import run_one
from engine.core import points
from engine.core.instants import format_instant
from engine.core.model import Claim, Purse
from engine.insight.coverage import Coverage
from engine.insight.export import export
from engine.insight.subject import portrait
from engine.language.compile import compile_program

END = event("z", "end", "2026-05-30T00:00:00Z", "zz")


def catalog(account: str, rules: str = "") -> str:
    return f"points: {{main: {{{account}{', ' if account and rules else ''}{f'earn: [{rules}]' if rules else ''}}}}}\n"


ORDER = (
    '{event: order.paid, points: "{{ event.amount // 10 }}", reverse_on: {event: order.refunded, match: order_id%s}%s}'
)


def order(id_: str, time: str, amount: object = 100, name: str = "A") -> Row:
    return event(id_, "order.paid", time, amount=amount, order_id=name)


def refund(id_: str, time: str, name: str = "A", **more: object) -> Row:
    return event(id_, "order.refunded", time, order_id=name, **more)


def rows(live: Live) -> list[tuple[str, object, str]]:
    """(time, change, why) of what was booked by rules."""
    return [
        (
            format_instant(it.time)[5:16],
            it.detail["delta"] or it.detail.get("pending"),
            it.reason or it.detail["reason"],
        )
        for it in live.effects("points")
    ]


def test_points_wait_for_the_end_of_the_refund_window(tmp_path: Path) -> None:
    """They cannot be spent before the local midnight after the window; conditions and `drumbeat user` see both.

    Semantics: points.pending
    """
    steps = {"p": "trigger: {event: look}\nentry: {mode: parallel, limit: unlimited}\nsteps:\n"
             "  - points: {take: 5}\n"
             "  - set: {user.seen: '{{ user.points_pending }}'}\n"}  # fmt: skip
    live = Live(tmp_path, steps, catalog=catalog("", ORDER % ("", ", pending: 7d")))
    live.run(
        event("0", "user.updated", "2026-02-01T00:00:00Z", zone="Asia/Shanghai"),
        order("1", "2026-03-01T17:00:00Z"), event("2", "look", "2026-03-08T16:59:00Z"),
        event("3", "look", "2026-03-09T16:00:01Z"),
    )  # fmt: skip
    assert rows(live)[:3] == [
        ("03-01T17:00", 10, "earned"), ("03-08T16:59", -5, "insufficient"), ("03-09T16:00", 10, "settled"),
    ]  # fmt: skip
    assert [it.detail["value"] for it in live.effects("set")] == [10, 0]


def test_what_was_pending_is_taken_back_whole(tmp_path: Path) -> None:
    """A refund inside the window leaves no trace in the balance; the ledger has both entries, linked."""
    live = Live(tmp_path, {}, catalog=catalog("", ORDER % ("", ", pending: 7d")))
    live.run(order("1", "10:00"), order("2", "11:00", 50, "B"), refund("3", "12:00"))
    shown = portrait(live.plan, live.store, "u1")
    assert (shown["points"], shown["points_pending"]) == ({}, {"main": 5})
    live.run(END)
    assert live.state().points == {"main": 5}
    first, _, back, *_ = live.store.ledger()
    assert (first.what, back.what, back.delta, back.origin) == ("pending", "reversed", -10, first.key)
    live.check_replay("u1")


@pytest.mark.parametrize("negative", [False, True])
def test_what_is_spent_is_owed(tmp_path: Path, negative: bool) -> None:
    """Spent points make the balance negative where that is declared; else the next points pay, and nobody is below 0.

    Semantics: points.debt
    """
    live = Live(tmp_path, {}, catalog=catalog("negative: allowed" if negative else "", ORDER % ("", "")))
    live.run(order("1", "10:00"), event("2", "points.changed", "11:00", account="main", delta=-8), refund("3", "12:00"))
    assert live.state().points == {"main": -8 if negative else 0}
    live.run(order("4", "13:00", 50, "B"), order("5", "14:00", 50, "C"))
    assert live.state().points == {"main": 2}
    assert sum(it.delta for it in live.store.ledger()) == 2
    entries = list(live.store.ledger())
    assert {it.origin for it in entries if it.what == "reversed"} == {entries[0].key}


def test_part_of_an_order_goes_back(tmp_path: Path) -> None:
    """With `points` a refund takes back so many, together never more than were earned; after `within` nothing."""
    rule = ORDER % (', points: "{{ event.amount // 10 }}", within: 10d', "")
    live = Live(tmp_path, {}, catalog=catalog("", rule))
    live.run(order("1", "10:00"), refund("2", "11:00", amount=30), refund("3", "12:00", amount=40))
    assert live.state().points == {"main": 3}
    live.run(refund("4", "13:00", amount=900), refund("5", "14:00", amount=900))
    assert live.state().points == {"main": 0}
    live.run(order("6", "2026-03-02T10:00:00Z", 100, "B"), refund("7", "2026-03-12T10:00:01Z", "B", amount=100))
    assert live.state().points == {"main": 10}


def test_a_refund_may_overtake_its_order(tmp_path: Path) -> None:
    """A refund that comes before the order it is about takes it back when it comes; a later order of the name stays."""
    live = Live(tmp_path, {}, catalog=catalog("", ORDER % ("", "")))
    live.run(refund("1", "12:00"))
    live.run(order("2", "11:00"))
    assert live.state().points == {"main": 0}
    live.run(order("3", "13:00"))
    assert live.state().points == {"main": 10}


def test_what_has_lapsed_is_not_taken_back(tmp_path: Path) -> None:
    """Points that lapsed are gone already: a refund afterwards takes nothing, from nowhere."""
    live = Live(tmp_path, {}, catalog=catalog("expires: 2d", ORDER % ("", "")))
    live.run(order("1", "10:00"), order("2", "2026-03-03T10:00:00Z", 50, "B"), refund("3", "2026-03-04T10:00:00Z"))
    assert live.state().points == {"main": 5}


def test_reminders_come_once_a_lot(tmp_path: Path) -> None:
    """`points.expiring` comes so long before a lot lapses, once, with how many and when; then `points.expired`.

    Semantics: points.remind
    """
    entry = "entry: {mode: parallel, limit: unlimited}\nsteps: [{set: {user.last: '{{ event.points }}'}}]\n"
    books = {
        "soon": "trigger: {event: points.expiring}\n" + entry,
        "gone": "trigger: {event: points.expired}\n" + entry,
    }
    text = catalog("expires: 10d, remind: 3d", "{event: checkin, points: 4}")
    live = Live(tmp_path, books, catalog=text)
    live.run(event("1", "checkin", "10:00"), event("2", "checkin", "11:00"),
             event("3", "checkin", "2026-03-03T10:00:00Z"),
             event("4", "points.changed", "2026-03-04T10:00:00Z", account="main", delta=-2), END)  # fmt: skip
    told = [(format_instant(it.time)[5:16], it.playbook, it.detail["value"]) for it in live.effects("set")]
    assert told == [
        ("03-09T00:00", "soon", 6), ("03-11T00:00", "soon", 4),
        ("03-12T00:00", "gone", 6), ("03-14T00:00", "gone", 4),
    ]  # fmt: skip
    live.check_replay("u1")


def test_points_that_lapse_soon_are_known(tmp_path: Path) -> None:
    """`points_expiring("7d")` counts what lapses within that time, and a segment of it is entered by time alone."""
    segments = 'segments: {hurry: {if: \'points_expiring("7d") >= 5 and points("main") >= 5\'}}\n'
    text = "trigger: {segment: {enters: hurry}}\nentry: {mode: single}\nsteps: [{tag: {add: [x]}}]\n"
    live = Live(tmp_path, {"p": text}, catalog=segments + catalog("expires: 30d", "{event: checkin, points: 5}"))
    live.run(event("1", "checkin", "10:00"), END)
    assert [format_instant(it.time) for it in live.effects("tag")] == ["2026-03-25T00:00:00Z"]


def test_steps_follow_the_account(tmp_path: Path) -> None:
    """What a step adds lapses like everything of its account, and a step takes what lapses first."""
    text = ("trigger: {event: a}\nentry: {mode: parallel, limit: unlimited}\n"
            "steps: [{points: 10}, {wait: 1d}, {points: 20}, {points: {take: 12}}]\n")  # fmt: skip
    live = Live(tmp_path, {"p": text}, catalog=catalog("expires: 5d"))
    live.run(event("1", "a", "10:00"), event("y", "end", "2026-03-03T00:00:00Z", "zz"))
    ((_, left),) = live.state().purses["main"].lots
    assert (left, live.state().points["main"]) == (18, 18)
    live.run(END)
    assert live.state().points["main"] == 0


def test_history_earns_nothing(tmp_path: Path) -> None:
    """What happened before the program is history: rules do not give points for it.

    Semantics: points.rules — history
    """
    live = Live(tmp_path, {}, catalog=catalog("", "{event: checkin, points: 5}"))
    rows_ = [event("1", "checkin", "10:00")]
    from steps_kit import event_of

    past = [event_of(row) for row in rows_]
    for it in past:
        it.history = True
    live.store.ingest([(it, b"") for it in past], [])
    live.run(event("2", "checkin", "11:00"))
    assert live.state().points == {"main": 5}


def test_a_rule_that_cannot_be_judged_is_told_of(tmp_path: Path) -> None:
    """A missing amount, or a fraction of a point, earns nothing and leaves a row with the reason."""
    rule = '{event: a, points: "{{ event.n }}"}, {event: b, points: "{{ event.n / 4 }}", if: event.n > 0}'
    live = Live(tmp_path, {}, catalog=catalog("", rule))
    live.run(
        event("1", "a", "10:00"), event("2", "b", "10:01", n=2), event("3", "b", "10:02", n=8), event("4", "b", "10:03")
    )
    assert [(it.status, it.reason, it.detail["delta"]) for it in live.effects("points")] == [
        ("suppressed", "missing_variable", None), ("suppressed", "error", None), ("planned", None, 2),
    ]  # fmt: skip
    live.run(event("5", "a", "10:04", n=-3), event("6", "a", "10:05", n=0))
    assert live.state().points == {"main": 2}


def test_an_erasure_ends_what_waits(tmp_path: Path) -> None:
    """Who is erased has nothing that waits any more; what was spendable stays in the sums under the pseudonym."""
    live = Live(
        tmp_path, {}, catalog=catalog("expires: 9d", "{event: checkin, points: 2}, " + ORDER % ("", ", pending: 3d"))
    )
    live.store.set_meta("secret", "ab" * 32)
    live.run(event("1", "checkin", "10:00"), order("2", "11:00"), event("3", "user.deleted", "12:00"))
    sums: dict[str, int] = {}
    for it in live.store.ledger():
        sums[it.name] = sums.get(it.name, 0) + it.delta
        assert it.subject != "u1"
    assert sums == {"main": 2, "main" + points.PENDING: 0}
    live.run(END, event("4", "checkin", "2026-05-30T10:00:00Z"))
    assert live.state().points["main"] == 2  # the same person again: what had lapsed meanwhile lapsed


def test_lots_stay_few(tmp_path: Path) -> None:
    """Points of two years are a lot a day where they last a month, and a lot a month where they last for years."""
    feed = []
    for n in range(700):
        month, day = divmod(n, 28)
        feed.append(event(f"e{n}", "checkin", f"{2026 + month // 12}-{month % 12 + 1:02}-{day + 1:02}T10:00:00Z"))
    for expires, most in (("30d", 31), ("1825d", 26)):
        live = Live(
            tmp_path / expires, {}, catalog=catalog(f"expires: {expires}, daily_cap: 9", "{event: checkin, points: 2}")
        )
        live.run(*feed)
        purse = live.state().purses["main"]
        assert len(purse.lots) <= most
        assert len(purse.days) <= 3
        assert sum(n for _, n in purse.lots) == live.state().points["main"]


def test_too_many_orders_are_no_longer_taken_back() -> None:
    """Over `MOST_CLAIMS` earnings the oldest cannot be taken back any more; what waits is not lost."""
    purse = Purse()
    for n in range(points.MOST_CLAIMS + 200):
        settles = 10_000 if n % 2 else None
        purse = points.with_claim(purse, Claim(f"k{n}", "r", f"o{n}", 3, None, settles, 99_999), 0)
    assert len(purse.claims) <= points.MOST_CLAIMS + 1
    assert purse.waiting() == 3 * (points.MOST_CLAIMS + 200) // 2
    assert {it.key for it in purse.claims} >= {f"k{n}" for n in range(300, 700, 2)}


def test_the_export_has_the_ledger(tmp_path: Path) -> None:
    """`users export` shows every entry of the ledger about a person."""
    live = Live(tmp_path, {}, catalog=catalog("", "{event: checkin, points: 5}"))
    live.run(event("1", "checkin", "10:00"))
    (line,) = export(live.plan, live.store, "u1")["ledger"]
    assert (line["name"], line["what"], line["delta"], line["time"]) == ("main", "earned", 5, "2026-03-01T10:00:00Z")


WRONG = {
    "{event: points.changed, points: 1}": "conflict",
    "{event: a, points: 1.5}": "wrong-type",
    "{event: a, points: 0}": "wrong-type",
    "{event: a, points: '{{ event.x', per_day: 1}": "slip-cut",
    "{event: order.paid, points: '{{ event.amuont }}'}": "unknown-field",
    "{event: order.paid, if: event.amuont > 1, points: 1}": "unknown-field",
    "{event: order.paid, points: 1, reverse_on: {event: order.refunded, match: ordr_id}}": "unknown-field",
    "{event: a, points: 1, per_day: 0}": "out-of-range",
    "{event: a, points: 1, pr_day: 1}": "unknown-key",
}


@pytest.mark.parametrize("rule", WRONG)
def test_wrong_rules_are_refused(tmp_path: Path, rule: str) -> None:
    """What a rule cannot mean is an error of `validate`, at its place."""
    head = "program: kit\nevents:\n  order.paid: {order_id: text, amount: money}\n  order.refunded: {order_id: text}\n"
    found = write(tmp_path, {}, catalog=catalog("", rule), head=head)
    assert [it.code for it in found.problems if it.severity == "error"][:1] == [WRONG[rule]]
    assert all(it.file.endswith("all.yaml") for it in found.problems if it.severity == "error")


def test_a_reminder_needs_a_lapse(tmp_path: Path) -> None:
    """`remind` without `expires` is an error."""
    found = write(tmp_path, {}, catalog=catalog("remind: 3d"))
    assert [it.code for it in found.problems if it.severity == "error"] == ["conflict"]


def test_rules_beside_playbooks(tmp_path: Path) -> None:
    """The playbooks an event starts see what it earned, on the short and on the long way."""
    text = (
        "trigger: {event: checkin}\nentry: {mode: parallel, limit: unlimited}\nwhen: user.points >= 5\n"
        "steps: [{tag: {add: [x]}}]\n"
    )
    feed = [event(f"e{n}", "checkin", f"1{n}:00", f"u{n % 2}") for n in range(6)] + [END]
    for traced in (True, False):
        seen = play(
            tmp_path / str(traced), {"p": text}, feed, catalog=catalog("", "{event: checkin, points: 3}"), traced=traced
        )
        kinds = sorted((row["time"], row["user"], row["kind"]) for row in seen.effects)
        assert [kind for *_, kind in kinds] == ["points"] * 2 + ["points", "tag"] * 4
    assert compile_program(tmp_path / "True").plan is not None


SCENARIO = """scenario: 签到得积分
playbooks: [p]
clock: 2026-03-01T09:00:00Z
users: {u1: {history: [{checkin: {}, at: -3d}]}}
timeline:
  - {at: +1h, event: checkin, user: u1}
  - {at: +1h, expect: %s}
"""


@pytest.mark.parametrize(
    ("expected", "fine"),
    [
        ("[{tag: [x]}]", True),
        ("[{tag: [x]}, {points: 3, balance: 3}]", True),
        ("[{tag: [x]}, {points: 4}]", False),
        ("[{tag: [x]}, {points: 3}, {points: 3}]", False),
    ],
)
def test_scenarios_may_name_points_of_rules(tmp_path: Path, expected: str, fine: bool) -> None:
    """A scenario need not name what rules book, for it tests playbooks; what it names must be so."""
    text = "trigger: {event: checkin}\nentry: {mode: parallel, limit: unlimited}\nsteps: [{tag: {add: [x]}}]\n"
    write(tmp_path, {"p": text}, catalog=catalog("", "{event: checkin, points: 3}"))
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "scenarios/one.yaml").write_text(SCENARIO % expected, encoding="utf-8")
    found = compile_program(tmp_path, scenarios=True)
    (scenario,) = found.scenarios
    result, _ = run_one(found, scenario, Coverage(), update=False)
    assert result.ok is fine
