"""Rewards for points: reserved, confirmed or given back, once, however the journey ends."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from semantics_kit import HEAD, Row, event, play
from steps_kit import Live, seen

from engine.core.points import PENDING
from engine.core.rewards import HELD, RewardState
from engine.core.scarce import Desk
from engine.stores.memory import MemoryStore

CATALOG = """points: {main: {expires: 10d}}
rewards: {mug: {title: 马克杯, points: 30, stock: 2, per_user: 1}}
"""
ENTRY = "trigger: {event: want}\nentry: {mode: parallel, limit: unlimited}\n"
FULFIL = """steps:
  - redeem: mug
    id: mug
  - wait_for: {event: sent, up_to: 3d, then: [{redeem: {confirm: mug}}], else: [{redeem: {release: mug}}]}
  - wait: 20d
"""


def given(*users: str, points: int = 50) -> list[Row]:
    return [event(f"g{user}", "points.changed", "09:00", user, account="main", delta=points) for user in users]


def held(store: MemoryStore) -> dict[str, int]:
    """Sums of the ledger that are not 0, by name; and no key twice."""
    entries = list(store.ledger())
    assert len({it.key for it in entries}) == len(entries)
    sums: Counter[str] = Counter()
    for it in entries:
        sums[it.name] += it.delta
    return {name: n for name, n in sums.items() if n}


def taken(live: Live, reward: str = "mug") -> int:
    """How many of a reward the store counts as gone."""
    plan = live.plan
    desk = Desk(pools={}, groups={}, limits={}, zone="UTC", secret=b"", kept=live.store.resources())
    state: RewardState = desk.state("reward", reward)
    assert plan.rewards[reward]
    return state.taken


def test_reserved_and_confirmed(tmp_path: Path) -> None:
    """The points are gone with the reservation, are in nobody's hands until it is confirmed, and then spent.

    Semantics: reward.once — confirmed
    """
    live = Live(tmp_path, {"p": ENTRY + FULFIL}, catalog=CATALOG)
    live.run(*given("u1"), event("1", "want", "10:00"))
    assert live.state().points == {"main": 20}
    assert held(live.store) == {"main": 20, "main" + HELD: 30, "mug": 1}
    assert live.state().journeys[0].results["mug"] == {"reward": "mug", "points": 30}
    live.run(event("2", "sent", "11:00"))
    assert (live.state().points, live.state().journeys[0].reserved) == ({"main": 20}, ())
    assert held(live.store) == {"main": 20, "mug": 1}
    assert (taken(live), live.state().rewards) == (1, {"mug": 1})
    live.check_replay("u1")


def test_who_gets_none(tmp_path: Path) -> None:
    """Too few points, none left, one a user: denied with the reason, nothing is taken, the journey goes its way.

    Semantics: reward.denied
    """
    text = ENTRY + FULFIL.replace("redeem: mug\n", "redeem: {reward: mug, on_denied: [{tag: {add: [sorry]}}]}\n", 1)
    live = Live(tmp_path, {"p": text}, catalog=CATALOG)
    live.run(*given("u1", "u2", "u3"), *given("u4", points=29))
    for n, user in enumerate(("u1", "u1", "u4", "u2", "u3")):
        live.run(event(f"w{n}", "want", f"10:0{n}", user))
    assert [(user, why) for user, _, why in seen(live.effects("redeem"))] == [
        ("u1", "planned"), ("u1", "per_user"), ("u4", "insufficient"), ("u2", "planned"), ("u3", "sold_out"),
    ]  # fmt: skip
    assert [live.state(user).points["main"] for user in ("u1", "u2", "u3", "u4")] == [20, 20, 50, 29]
    assert live.state("u3").tags == ["sorry"]
    assert taken(live) == 2


ENDS = {
    "released": (FULFIL, [event("t", "tick", "2026-03-04T10:00:00Z", "zz")], "parallel"),
    "stop": ("steps: [{redeem: mug, id: mug}, {wait: 1h}, {stop: no}, {redeem: {confirm: mug}}]\n",
             [event("t", "tick", "12:00", "zz")], "parallel"),
    "end": ("steps: [{redeem: mug, id: mug}, {wait: 1h}, {redeem: {confirm: mug}, if: user.points > 900}]\n",
            [event("t", "tick", "12:00", "zz")], "parallel"),
    "exit": ("exit: [{event: left}]\n" + FULFIL, [event("t", "left", "11:00")], "parallel"),
    "goal": ("goal: {event: bought, within: 5d}\n" + FULFIL, [event("t", "bought", "11:00")], "parallel"),
}  # fmt: skip


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("batch", [1, 500])
def test_what_is_not_confirmed_goes_back(tmp_path: Path, how: str, batch: int) -> None:
    """Points and reward go back exactly once, with the lapse they had, whatever ends the journey; and not again.

    Semantics: reward.once — goes back
    """
    text, rows, mode = ENDS[how]
    live = Live(tmp_path, {"p": ENTRY.replace("parallel", mode) + text}, catalog=CATALOG)
    live.run(*given("u1"), event("1", "want", "10:00"), batch=batch)
    before = live.state().purses["main"].lots
    live.run(*rows, event("x", "sent", "2026-03-05T10:00:00Z"), batch=batch)
    assert live.state().points == {"main": 50}
    assert live.state().purses["main"].lots == [(before[0][0], 50)]
    assert (taken(live), live.state().rewards) == (0, {})
    assert held(live.store) == {"main": 50}
    live.run(event("2", "want", "2026-03-06T10:00:00Z"), batch=batch)
    assert (live.state().points, taken(live)) == ({"main": 20}, 1)
    live.check_replay("u1")


def test_a_restart_gives_back_before_it_reserves_again(tmp_path: Path) -> None:
    """A journey that is cancelled by the next one gives its reservation back first: one of one a user is enough."""
    live = Live(tmp_path, {"p": ENTRY.replace("parallel", "restart") + FULFIL}, catalog=CATALOG)
    live.run(*given("u1", points=30), event("1", "want", "10:00"), event("2", "want", "11:00"))
    assert [why for _, _, why in seen(live.effects("redeem"))] == ["planned", "planned"]
    assert (live.state().points, taken(live), held(live.store)) == ({"main": 0}, 1, {"main" + HELD: 30, "mug": 1})


def test_points_that_would_have_lapsed_live_to_the_end_of_the_day(tmp_path: Path) -> None:
    """Reserved points do not lapse; given back after their time they can be spent that day, and then lapse."""
    text = ENTRY + "steps: [{redeem: mug, id: mug}, {wait: 15d}, {redeem: {release: mug}}, {redeem: {confirm: mug}}]\n"
    live = Live(tmp_path, {"p": text}, catalog=CATALOG)
    live.run(*given("u1"), event("1", "want", "10:00"), event("z", "end", "2026-03-16T12:00:00Z", "zz"))
    assert live.state().points == {"main": 30}
    live.run(event("y", "end", "2026-03-17T00:00:01Z", "zz"))
    assert (live.state().points, held(live.store)) == ({"main": 0}, {})
    lost = [(it.detail["delta"], it.detail["reason"]) for it in live.effects("points")]
    assert lost == [(-30, "held"), (-20, "expired"), (30, "released"), (-30, "expired")]


def test_somebody_erased_leaves_the_reward_to_others(tmp_path: Path) -> None:
    """An erasure ends the journey: the reward is there again, and the ledger's sums hold under the pseudonym."""
    live = Live(tmp_path, {"p": ENTRY + FULFIL}, catalog=CATALOG)
    live.store.set_meta("secret", "ab" * 32)
    live.run(*given("u1"), event("1", "want", "10:00"), event("2", "user.deleted", "11:00"))
    assert (taken(live), held(live.store)) == (0, {"main": 50})
    assert list(live.store.ledger(subject="u1")) == []


def test_the_control_group_keeps_its_points(tmp_path: Path) -> None:
    """A held-out subject walks on with the same results, reserves nothing, and confirms nothing."""
    text = "holdout: {percent: 100}\n" + ENTRY + FULFIL
    live = Live(tmp_path, {"p": text}, catalog=CATALOG)
    live.run(*given("u1"), event("1", "want", "10:00"), event("2", "sent", "11:00"))
    assert (live.state().points, taken(live)) == ({"main": 50}, 0)
    assert [why for _, _, why in seen(live.effects("redeem"))] == ["holdout"]


def test_debts_are_paid_by_what_comes_back(tmp_path: Path) -> None:
    """Points of an order are reserved when it is refunded: what cannot be taken back is, once they are given back."""
    catalog = CATALOG.replace(
        "{expires: 10d}",
        "{expires: 10d, earn: [{event: order.paid, points: 30, reverse_on: {event: order.refunded, match: order_id}}]}",
    )
    live = Live(tmp_path, {"p": ENTRY + FULFIL}, catalog=catalog)
    live.run(
        event("o", "order.paid", "09:00", order_id="A"), event("1", "want", "10:00"),
        event("r", "order.refunded", "11:00", order_id="A"),
    )  # fmt: skip
    assert (live.state().points, live.state().purses["main"].owed[0][1]) == ({"main": 0}, 30)
    live.run(event("z", "end", "2026-03-05T12:00:00Z", "zz"))
    assert (live.state().points, held(live.store), taken(live)) == ({"main": 0}, {}, 0)
    assert "main" + PENDING not in held(live.store)


@pytest.mark.parametrize("traced", [True, False])
def test_simulate_gives_the_same(tmp_path: Path, traced: bool) -> None:
    """`simulate` has the rows that `run` has, in what order people want more than there is."""
    rows = [*given(*(f"u{n}" for n in range(6)))]
    for n in range(24):
        rows.append(event(f"w{n}", "want", f"2026-03-0{1 + n // 6}T{10 + n % 6}:00:00Z", f"u{n % 6}"))
        rows.append(event(f"s{n}", "sent", f"2026-03-0{1 + n // 6}T{10 + n % 6}:30:00Z", f"u{n * 5 % 6}"))
    rows.append(event("z", "end", "2026-03-30T00:00:00Z", "zz"))
    wanted = play(tmp_path / "s", {"p": ENTRY + FULFIL}, rows, catalog=CATALOG, traced=traced, head=HEAD)
    for size in (1, 7, 500):
        live = Live(tmp_path / str(size), {"p": ENTRY + FULFIL}, catalog=CATALOG)
        live.run(*rows, batch=size)
        assert {row["key"]: row["detail"] for row in wanted.effects} == {it.key: it.detail for it in live.effects()}
        assert taken(live) <= 2
