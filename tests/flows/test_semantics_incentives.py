"""Coupons, points and seats where brute force does not reach: secrets, budgets, expiry, empty codes, rotation.

``DRUMBEAT_CODES`` says how many codes are made and compared (default 20,000).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from semantics_kit import HEAD, Row, event, play

from engine.core.coupons import code_for

CODES = int(os.environ.get("DRUMBEAT_CODES", "20000"))
END = event("z", "end", "2026-04-20T00:00:00Z", "zz")
ENTRY = "trigger: {event: a}\nentry: {mode: parallel, limit: unlimited}\n"


def asks(many: int, minutes: int = 1) -> list[Row]:
    """One user after the other."""
    return [event(f"e{n:03d}", "a", f"10:{n * minutes:02d}", f"u{n:03d}") for n in range(many)]


def coupons(limits: str, more: str = "") -> str:
    return f"coupons: {{c: {{title: c, codes: {{generate: WB}}, value: {{off: 12.50}}, limits: {{{limits}}}{more}}}}}\n"


def test_a_message_never_goes_out_with_an_empty_code(tmp_path: Path) -> None:
    """Who got no coupon gets no message that prints its code, and the journey goes on.

    Semantics: coupon.before
    """
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates/code.box.j2").write_text("your code: {{ steps.gift.code }}")
    steps = (
        "steps: [{coupon: {pool: c, on_exhausted: skip}, id: gift}, "
        "{message: {template: code, purpose: marketing}}, {points: 1}]\n"
    )
    seen = play(tmp_path, {"p": ENTRY + steps}, [*asks(3), END], catalog=coupons("per_user: 1, total: 2"))
    said = [(row["reason"] or row["status"], row["detail"].get("text")) for row in seen.effects
            if row["kind"] == "message"]  # fmt: skip
    given = [row["detail"]["code"] for row in seen.effects if row["kind"] == "coupon" and row["status"] == "planned"]
    assert said == [*(("planned", f"your code: {code}") for code in given), ("missing_variable", None)]
    assert len(given) == 2
    assert len(seen.brief("points")) == 3


@pytest.mark.parametrize(("budget", "many"), [("24.99", 1), ("25", 2), ("37.49", 2), ("37.50", 3)])
def test_a_budget_is_never_exceeded(tmp_path: Path, budget: str, many: int) -> None:
    """The sum of `value.off` stays within the budget to the last cent; afterwards the reason is `budget`.

    Semantics: coupon.budget
    """
    text = ENTRY + "steps: [{coupon: {pool: c, on_exhausted: skip}}]\n"
    limits = f"per_user: 1, total: 99, budget: {budget}"
    seen = play(tmp_path, {"p": text}, [*asks(5), END], catalog=coupons(limits))
    assert [it[3] for it in seen.brief("coupon")] == ["planned"] * many + ["budget"] * (5 - many)


@pytest.mark.parametrize(
    ("valid", "expires"),
    [
        ("valid_for: 7d", "2026-03-08T10:00:00Z"),
        ("valid_for: 36h", "2026-03-02T22:00:00Z"),
        ("valid_for: {days: 3, at: '23:59'}", "2026-03-04T15:59:00Z"),
    ],
)
def test_when_a_coupon_expires(tmp_path: Path, valid: str, expires: str) -> None:
    """Its time counts from when it was given, elapsed or by the user's calendar, and is in the row.

    Semantics: coupon.validity
    """
    text = ENTRY + "steps: [{coupon: c}]\n"
    catalog = coupons("per_user: 1, total: 9", f", {valid}")
    feed = [event("1", "user.updated", "09:00", "u000", zone="Asia/Shanghai"), *asks(1), END]
    seen = play(tmp_path, {"p": text}, feed, catalog=catalog)
    assert [row["detail"]["expires_at"] for row in seen.effects if row["kind"] == "coupon"] == [expires]


def test_a_code_cannot_be_worked_out_without_the_secret(record_property: Callable[[str, object], None]) -> None:
    """Another secret gives another code for every key; the same gives the same; sixteen letters, no two alike, and
    each letter at each place as often as any other: chi-square of 31 degrees of freedom.

    Semantics: coupon.unguessable
    Threat: code.guess
    """
    codes = [code_for("WB", f"p/s/u{n}", b"one secret") for n in range(CODES)]
    some = [code_for("WB", f"p/s/u{n}", b"one secret") for n in range(2_000)]
    other = [code_for("WB", f"p/s/u{n}", b"another one") for n in range(2_000)]
    assert codes[:2_000] == some[:CODES]
    assert len({*codes, *other}) == len(codes) + len(other)
    assert {len(it) for it in codes} == {19}
    worst = 0.0
    for place in range(3, 19):
        seen = Counter(it[place] for it in codes)
        assert len(seen) == 32
        mean = CODES / 32
        worst = max(worst, sum((n - mean) ** 2 / mean for n in seen.values()))
    assert worst < 75  # one in 50,000 fair places is worse
    record_property("codes", CODES)


def test_a_balance_never_goes_below_zero(tmp_path: Path) -> None:
    """Taking what is there leaves nothing; taking one more is denied, and the balance stays.

    Semantics: points.never-negative
    """
    steps = "steps: [{points: {take: 5}}, {points: {take: 3}}, {points: {take: 2}}, {points: {take: 1}}]\n"
    feed = [event("0", "points.changed", "09:00", account="main", delta=7),
            event("1", "points.changed", "09:30", account="main", delta=-8), event("2", "a", "10:00"), END]  # fmt: skip
    seen = play(tmp_path, {"p": ENTRY + steps}, feed, catalog="points: {main: {title: p}}\n")
    assert {step: outcome for _, step, _, outcome in seen.brief()} == {
        "points[0]": "planned", "points[1]": "insufficient", "points[2]": "planned", "points[3]": "insufficient",
    }  # fmt: skip


def rooms(*sizes: int, more: str = "") -> str:
    listed = ", ".join(f"{{id: r{n}, link: 'https://x/{n}', capacity: {size}}}" for n, size in enumerate(sizes))
    return f"groups: {{g: {{title: t, topic: t, owner: o, rooms: [{listed}]{more}}}}}\n"


@pytest.mark.parametrize(
    ("rotate", "filled"),
    [
        ("fill_first", ["r0", "r0", "r0", "r1", "r1", "r2"]),
        ("round_robin", ["r0", "r1", "r2", "r0", "r1", "r0"]),
        ("least_full", ["r0", "r1", "r2", "r0", "r1", "r0"]),
    ],
)
def test_rooms_rotate(tmp_path: Path, rotate: str, filled: list[str]) -> None:
    """Three ways to fill rooms of 3, 2 and 1 seats.

    Semantics: group.rooms
    """
    text = ENTRY + "steps: [{invite: g}]\n"
    seen = play(tmp_path, {"p": text}, [*asks(7), END], catalog=rooms(3, 2, 1, more=f", rotate: {rotate}"))
    found = [row["detail"].get("room") or row["reason"] for row in seen.effects if row["kind"] == "invite"]
    assert found == [*filled, "full"]


@pytest.mark.parametrize(
    ("step", "group", "back"),
    [
        ("invite: g", "", "2026-03-03T10:00:00Z"),
        ("invite: g", ", hold: 12h", "2026-03-01T22:00:00Z"),
        ("invite: {groups: [g], hold: 3h}", ", hold: 12h", "2026-03-01T13:00:00Z"),
    ],
)
@pytest.mark.parametrize("joins", [False, True])
def test_how_long_a_seat_is_held(tmp_path: Path, step: str, group: str, back: str, joins: bool) -> None:
    """48 hours when nothing is said, else the group's time, else the step's; who joined keeps the seat.

    Semantics: group.hold
    """
    before = f"{back[:11]}{int(back[11:13]) - 1:02d}:59:59Z"
    feed = [event("1", "a", "10:00"), event("2", "a", before, "u2"), event("4", "a", back[:17] + "01Z", "u4"), END]
    if joins:
        feed.insert(1, event("j", "group.joined", "11:00", group="g"))
    text = ENTRY + f"steps: [{{{step}}}]\n"
    seen = play(tmp_path, {"p": text}, feed, catalog=rooms(1, more=group))
    assert [it[3] for it in seen.brief("invite")] == ["planned", "full", "full" if joins else "planned"]


@pytest.mark.parametrize(
    ("way", "after"), [("skip", ["after"]), ("stop", []), ("[{tag: {add: [instead]}}]", ["instead", "after"])]
)
def test_what_happens_when_all_is_full(tmp_path: Path, way: str, after: list[str]) -> None:
    """Denied with `full`, then the way the step names.

    Semantics: group.full
    """
    text = ENTRY + f"steps: [{{invite: {{groups: [g], on_full: {way}}}}}, {{tag: {{add: [after]}}}}]\n"
    seen = play(tmp_path, {"p": text}, [*asks(2), END], catalog=rooms(1))
    assert [it[3] for it in seen.brief("invite")] == ["planned", "full"]
    tags = [row["detail"]["add"][0] for row in seen.effects if row["kind"] == "tag" and row["user"] == "u001"]
    assert tags == after


def test_only_who_fits_is_invited(tmp_path: Path) -> None:
    """`match` chooses the group; who fits none is denied with `no_match` and takes no seat.

    Semantics: group.match
    """
    room = "rooms: [{id: r, link: 'https://x', capacity: 1}]"
    catalog = (
        f"groups: {{a: {{title: t, topic: t, owner: o, match: user.city == 'A', {room}}}, "
        f"b: {{title: t, topic: t, owner: o, match: user.city == 'B', {room}}}}}\n"
    )
    feed = [event(f"c{n}", "user.updated", "09:00", f"u{n:03d}", city="ABC"[n]) for n in range(3)]
    text = ENTRY + "steps: [{invite: {groups: [b, a], match: first}}]\n"
    head = HEAD + "profile: {city: text | none}\n"
    seen = play(tmp_path, {"p": text}, [*feed, *asks(3), END], catalog=catalog, head=head)
    found = [row["reason"] or row["detail"]["group"] for row in seen.effects if row["kind"] == "invite"]
    assert found == ["a", "b", "no_match"]
