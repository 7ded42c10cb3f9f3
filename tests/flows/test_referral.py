"""Who brought whom: codes, the reasons for which one does not count, and rewards on both sides that come back."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
from semantics_kit import HEAD, Row, event, play
from steps_kit import At, Live, event_of, write

from engine.core.instants import format_instant, parse_instant
from engine.core.model import DAY, HOUR
from engine.core.referrals import own_code
from engine.insight.replay import course
from engine.language.compile import compile_program
from engine.runtime.pump import Pump
from engine.stores.memory import MemoryStore
from engine.stores.sqlite import SqliteStore

OPEN = HEAD + "profile: open\n"
CATALOG = """\
referrals:
  friends:
    codes: {generate: YQ}
    field: user.invite_code
    differ: [user.device, user.card]
    limits: {per_inviter: 2/30d}
"""
ANY = "entry: {mode: parallel, limit: unlimited}\n"
BOOKS = {
    "share": f"trigger: {{event: share}}\n{ANY}steps: [{{referral: friends, id: mine}}, {{tag: {{add: [shared]}}}}]\n",
    "brought": """trigger: {signup: true, if: event.invite_code is not none}
entry: once
steps:
  - referral:
      take: friends
      code: "{{ event.invite_code }}"
      on_refused: [{tag: {add: [refused]}}, {stop: refused}]
    id: by
  - wait_for: {event: order.paid, up_to: 30d, then: [], else: stop}
  - {points: {add: 10, reason: welcome}}
  - {emit: {type: referral.qualified, user: "{{ steps.by.inviter }}", data: {invitee: "{{ user.id }}"}}}
  - wait_for:
      event: order.refunded
      up_to: 90d
      then:
        - {points: {take: 10, reason: back}}
        - {emit: {type: referral.undone, user: "{{ steps.by.inviter }}", data: {invitee: "{{ user.id }}"}}}
""",
    "reward": """trigger: {event: referral.qualified}
entry: {mode: parallel, key: event.invitee, limit: unlimited}
steps:
  - wait_for: {event: referral.undone, if: event.invitee == entry.invitee, up_to: 7d, then: [{stop: undone}], else: []}
  - {points: {add: 20, reason: friend}}
  - wait_for:
      event: referral.undone
      if: event.invitee == entry.invitee
      up_to: 83d
      then: [{points: {take: 20, reason: undone}}]
""",
}  # fmt: skip
SECRET = b"simulate:kit"


@pytest.fixture(scope="module")
def codes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The codes of some users, as simulate gives them."""
    program = write(tmp_path_factory.mktemp("codes"), BOOKS, catalog=CATALOG, head=OPEN)
    assert program.plan is not None, [str(problem) for problem in program.problems]
    return {f"u{n}": own_code(program.plan.referrals["friends"], f"u{n}", SECRET) for n in range(12)}


def signup(user: str, time: str, code: str | None = None, **data: Any) -> Row:
    return event(f"s-{user}", "user.signup", time, user, **({"invite_code": code} if code else {}), **data)


def outcome(rows: list[Row], user: str) -> list[tuple[str, str]]:
    """(step kind, status or reason) of a user's rows of the referral steps."""
    return [
        (row["kind"], row["reason"] or row["status"])
        for row in rows
        if row["user"] == user and row["step"] in ("by", "mine")
    ]


def balance(rows: list[Row], user: str) -> int:
    return sum(
        row["detail"]["delta"]
        for row in rows
        if row["kind"] == "points" and row["user"] == user and row["status"] == "planned"
    )


def test_a_code_is_the_same_for_ever_and_stands_in_its_field(tmp_path: Path, codes: dict[str, str]) -> None:
    """Semantics: referral.code — asked for twice it is the same, and templates read it from the field of the user."""
    live = Live(tmp_path, BOOKS, catalog=CATALOG, head=OPEN)
    live.run(event("1", "share", "09:00", "u1"), event("2", "share", "10:00", "u1"), event("3", "share", "10:00", "u2"))
    given = [(effect.user, effect.detail["value"]) for effect in live.effects("set")]
    mine, other = live.state("u1").traits["invite_code"], live.state("u2").traits["invite_code"]
    assert sorted(given) == sorted([("u1", mine), ("u1", mine), ("u2", other)])
    assert mine != other
    assert mine.startswith("YQ-")
    live.check_replay("u1", "u2")


def test_both_sides_are_rewarded_once_the_friend_orders(tmp_path: Path, codes: dict[str, str]) -> None:
    """Semantics: referral.take — the inviter hears of it; rewards follow the order, his after the days of grace."""
    feed = [
        event("1", "share", "2026-03-01T09:00:00Z", "u1"),
        signup("u2", "2026-03-02T09:00:00Z", codes["u1"].lower()),
        event("2", "order.paid", "2026-03-03T09:00:00Z", "u2"),
        event("3", "noise", "2026-03-20T09:00:00Z", "u9"),
    ]
    seen = play(tmp_path, BOOKS, feed, head=OPEN, catalog=CATALOG)
    told = [row for row in seen.effects if row["step"] == "by"]
    assert [(row["status"], row["detail"]["user"], row["detail"]["data"]["invitee"]) for row in told] == [
        ("planned", "u1", "u2")
    ]
    points = [(row["user"], row["time"], row["detail"]["delta"]) for row in seen.effects if row["kind"] == "points"]
    assert points == [("u2", "2026-03-03T09:00:00Z", 10), ("u1", "2026-03-10T09:00:00Z", 20)]


@pytest.mark.parametrize(("refund", "left"), [("2026-03-05T09:00:00Z", 0), ("2026-03-25T09:00:00Z", 0), (None, 20)])
def test_a_refund_takes_both_rewards_back(tmp_path: Path, codes: dict[str, str], refund: str | None, left: int) -> None:
    """Before the inviter's reward it never comes, afterwards it is taken back; both sides."""
    feed = [
        event("1", "share", "2026-03-01T09:00:00Z", "u1"),
        signup("u2", "2026-03-02T09:00:00Z", codes["u1"]),
        event("2", "order.paid", "2026-03-03T09:00:00Z", "u2"),
        *([event("3", "order.refunded", refund, "u2")] if refund else []),
        event("4", "noise", "2026-06-01T09:00:00Z", "u9"),
    ]
    rows = play(tmp_path, BOOKS, feed, head=OPEN, catalog=CATALOG).effects
    assert (balance(rows, "u1"), balance(rows, "u2")) == (left, 10 if refund is None else 0)


def test_each_refusal_has_its_reason(tmp_path: Path, codes: dict[str, str]) -> None:
    """Semantics: referral.refused — a code of nobody, one's own, a second one, the same device, a full inviter."""
    at = iter(f"2026-03-01T{hour:02d}:00:00Z" for hour in range(1, 24))
    feed = [
        signup("u1", next(at), device="d1"),
        event("1", "share", next(at), "u1"),
        event("2", "share", next(at), "u2"),
        signup("u3", next(at), "YQ-NOBODY"),
        signup("u4", next(at), codes["u5"]),  # a code that was never given
        signup("u2", next(at), codes["u2"]),
        signup("u6", next(at), codes["u1"], device="d1"),
        signup("u7", next(at), codes["u1"], device="d7", card="c"),
        signup("u8", next(at), codes["u1"]),
        signup("u9", next(at), codes["u1"]),
        event("n", "noise", "2026-03-31T12:00:00Z", "u9"),
        signup("u10", "2026-03-31T13:00:00Z", codes["u1"]),  # the window of thirty days has moved on
    ]
    rows = play(tmp_path, BOOKS, feed, head=OPEN, catalog=CATALOG).effects
    found = {user: outcome(rows, user)[-1] for user in ("u3", "u4", "u2", "u6", "u7", "u8", "u9", "u10")}
    assert found == {
        "u3": ("emit", "unknown_code"), "u4": ("emit", "unknown_code"), "u2": ("emit", "own_code"),
        "u6": ("emit", "same_device"), "u7": ("emit", "planned"), "u8": ("emit", "planned"),
        "u9": ("emit", "per_inviter"), "u10": ("emit", "planned"),
    }  # fmt: skip
    assert {row["user"] for row in rows if row["kind"] == "tag" and row["detail"]["add"] == ["refused"]} == {
        "u2", "u3", "u4", "u6", "u9",
    }  # fmt: skip


def test_a_person_is_brought_once(tmp_path: Path, codes: dict[str, str]) -> None:
    """Semantics: referral.refused — who was brought by one is not brought by another."""
    books = {"share": BOOKS["share"], "brought": BOOKS["brought"].replace("entry: once", ANY.strip())}
    feed = [
        event("1", "share", "01:00", "u1"), event("2", "share", "01:00", "u2"),
        {**signup("u3", "02:00", codes["u1"]), "id": "a"}, {**signup("u3", "03:00", codes["u2"]), "id": "b"},
    ]  # fmt: skip
    rows = play(tmp_path, books, feed, head=OPEN, catalog=CATALOG).effects
    assert outcome(rows, "u3") == [("emit", "planned"), ("emit", "already")]


def test_nobody_is_brought_by_somebody_who_is_gone(tmp_path: Path) -> None:
    """After an erasure a code leads nowhere; who comes back has the same one, and it counts again."""
    live = Live(tmp_path, BOOKS, catalog=CATALOG, head=OPEN)
    live.run(event("1", "share", "01:00", "u1"))
    code = live.state("u1").traits["invite_code"]
    live.run(event("2", "user.deleted", "02:00", "u1"))
    live.run(signup("u2", "03:00", code))
    live.run(event("3", "share", "04:00", "u1"))
    live.run(signup("u3", "05:00", code))
    found = {effect.user: effect.reason or effect.status for effect in live.effects("emit")}
    assert found == {"u2": "unknown_code", "u3": "planned"}


def test_an_event_from_outside_brings_nobody(tmp_path: Path, codes: dict[str, str]) -> None:
    """Semantics: referral.refused — only what a referral step made counts against an inviter's limit."""
    forged = [event(f"f{n}", "referral.accepted", "02:00", "u1", referral="friends", invitee="x") for n in range(5)]
    feed = [event("1", "share", "01:00", "u1"), *forged, signup("u2", "03:00", codes["u1"])]
    rows = play(tmp_path, BOOKS, feed, head=OPEN, catalog=CATALOG).effects
    assert outcome(rows, "u2") == [("emit", "planned")]


@pytest.mark.parametrize("seed", range(3))
def test_any_batch_decides_the_same(tmp_path: Path, codes: dict[str, str], seed: int) -> None:
    """`simulate` and `run` agree on who brought whom, in batches of any size and cut anywhere; and `why` too."""
    rng = random.Random(seed)
    at, feed = parse_instant("2026-03-01T00:00:00Z"), []
    for number in range(300):
        at += rng.choice([0, HOUR, 5 * HOUR, DAY])
        user, other = f"u{rng.randrange(12)}", f"u{rng.choice((0, 0, 0, 1, 2, 3))}"
        kind = rng.choice(["share", "share", "user.signup", "user.signup", "order.paid", "order.refunded"])
        data = {"invite_code": codes[other], "device": f"d{rng.randrange(40)}"} if kind == "user.signup" else {}
        feed.append(event(f"e{number:03d}", kind, format_instant(at), user, **data))
    books = {**BOOKS, "brought": BOOKS["brought"].replace("entry: once", ANY.strip())}
    wanted = play(tmp_path / "sim", books, feed, head=OPEN, catalog=CATALOG)
    short = play(tmp_path / "sim", books, feed, head=OPEN, catalog=CATALOG, traced=False, batch=1)
    assert short.effects == wanted.effects
    reasons = {row["reason"] for row in wanted.effects if row["step"] == "by"}
    assert {None, "own_code", "already", "per_inviter"} <= reasons
    program = compile_program(tmp_path / "sim")
    assert program.plan is not None
    for batch in (1, 7, 500):
        store = SqliteStore.open(tmp_path / f"{batch}.db")
        try:
            for part in (feed[:50], feed[50:]):
                store.ingest([(event_of(row), b"") for row in part], [])
                Pump(program.plan, store, [], None, At(), secret=SECRET, batch=batch).until_idle()
            found = [
                (format_instant(it.time), it.key, it.reason or it.status, _text(it.detail)) for it, _ in store.effects()
            ]
            rows = wanted.effects
            assert sorted(found) == sorted(
                (it["time"], it["key"], it["reason"] or it["status"], _text(it["detail"])) for it in rows
            )
            for user in {row["user"] for row in feed}:
                assert course(program.plan, store, user, fresh=MemoryStore).unmatched == 0, user
        finally:
            store.close()


def _text(detail: dict[str, Any]) -> str:
    return json.dumps(json.loads(msgspec.json.encode(detail)), sort_keys=True)


@pytest.mark.parametrize(
    ("step", "code"),
    [
        ("{referral: {take: friends}}", "missing-key"),
        ("{referral: {give: friends, code: x}}", "conflict"),
        ("{referral: {give: friends, take: friends, code: x}}", "conflict"),
        ("{referral: freinds}", "unknown-referral"),
    ],
)
def test_a_step_that_cannot_be_meant_is_said(tmp_path: Path, step: str, code: str) -> None:
    """Each mistake has its word."""
    program = write(
        tmp_path, {"p": f"trigger: {{signup: true}}\nentry: once\nsteps: [{step}]\n"}, catalog=CATALOG, head=OPEN
    )
    assert code in [problem.code for problem in program.problems]
