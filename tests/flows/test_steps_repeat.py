"""``repeat``: rounds, their instants, their keys, and what they may depend on."""

from __future__ import annotations

from pathlib import Path

import pytest
from semantics_kit import HEAD, Row, event, play

END = event("z", "end", "2026-03-20T00:00:00Z", "zz")
ENTRY = "trigger: {event: a}\nentry: {mode: parallel, limit: unlimited}\n"
GO = event("1", "a", "10:00")


def times(rows: list[Row], kind: str = "points") -> list[str]:
    """When rows of a kind were decided, as day of March and time."""
    return [row["time"][8:16] for row in rows if row["kind"] == kind]


def test_rounds_and_their_keys(tmp_path: Path) -> None:
    """A round every ``every``, ``times`` of them, nobody waits behind the last; each round has keys."""
    steps = "steps: [{repeat: {times: 3, every: 2d, do: [{points: 1}]}}, {tag: {add: [t]}}]\n"
    seen = play(tmp_path, {"p": ENTRY + steps}, [GO, END])
    assert times(seen.effects) == ["01T10:00", "03T10:00", "05T10:00"]
    assert times(seen.effects, "tag") == ["05T10:00"]
    assert len({row["key"] for row in seen.effects}) == 4


def test_repeat_inside_repeat(tmp_path: Path) -> None:
    """An inner repeat begins anew in each outer round, and no two rows share a key."""
    inner = "{repeat: {times: 2, every: 1h, do: [{points: 1}, {set: {user.x: 1, user.y: 2}}]}}"
    steps = f"steps: [{{repeat: {{times: 2, every: 1d, do: [{inner}]}}}}]\n"
    seen = play(tmp_path, {"p": ENTRY + steps}, [GO, END])
    assert times(seen.effects) == ["01T10:00", "01T11:00", "02T10:00", "02T11:00"]
    assert len({row["key"] for row in seen.effects}) == len(seen.effects) == 12
    assert seen.outcome.journeys["running"] == 0


def test_a_long_round_is_followed_at_once(tmp_path: Path) -> None:
    """``every`` counts from the beginning of a round; one that takes longer is followed at once by the next."""
    steps = "steps: [{repeat: {times: 3, every: 1d, do: [{points: 1}, {wait: 30h}]}}, {tag: {add: [t]}}]\n"
    seen = play(tmp_path, {"p": ENTRY + steps}, [GO, END])
    assert times(seen.effects) == ["01T10:00", "02T16:00", "03T22:00"]
    assert times(seen.effects, "tag") == ["05T04:00"]


def test_every_in_local_days(tmp_path: Path) -> None:
    """``every: {days, at}`` is calendar time in the zone of the user, over a change of the clocks too."""
    steps = 'steps: [{repeat: {times: 3, every: {days: 1, at: "09:00"}, do: [{points: 1}]}}]\n'
    feed = [event("1", "a", "2026-03-28T12:00:00Z"), event("z", "end", "2026-04-20T00:00:00Z", "zz")]
    seen = play(tmp_path, {"p": ENTRY + steps}, feed, head=HEAD + "timezone: Europe/Berlin\n")
    assert times(seen.effects) == ["28T12:00", "29T07:00", "30T07:00"]


@pytest.mark.parametrize(
    ("order", "rounds", "left"),
    [
        ("2026-02-28T00:00:00Z", [], "01T10:00"),  # before the first round
        ("2026-03-02T00:00:00Z", ["01T10:00"], "03T10:00"),  # while waiting for the second
        ("2026-03-01T11:00:00Z", ["01T10:00"], "01T12:00"),  # inside the first
        ("2026-03-19T00:00:00Z", ["01T10:00", "03T10:00", "05T10:00"], "05T12:00"),
    ],
)
def test_until(tmp_path: Path, order: str, rounds: list[str], left: str) -> None:
    """``until`` is judged before each round and after it; as soon as it holds, the journey goes on."""
    steps = (
        "steps:\n  - repeat: {times: 3, every: 2d, until: count('paid') >= 1, do: [{points: 1}, {wait: 2h}]}\n"
        "  - tag: {add: [t]}\n"
    )
    feed = [event("0", "x", "2026-02-01T00:00:00Z"), event("o", "paid", order), GO, END]
    seen = play(tmp_path, {"p": ENTRY + steps}, feed)
    assert times(seen.effects) == rounds
    assert times(seen.effects, "tag") == [left]


def test_until_may_look_at_the_steps_inside(tmp_path: Path) -> None:
    """``until`` knows what the round gave, though it is written above; a new round begins without it."""
    steps = """steps:
  - repeat:
      times: 4
      every: 1d
      until: steps.draw.arm == "b" and count("b") >= 2
      do:
        - {split: {arms: [{name: b, weight: 100, do: []}]}, id: draw, if: count("b") >= 1}
        - {set: {user.seen: "{{ steps.draw is none }}"}}
"""
    feed = [GO, event("2", "b", "2026-03-01T12:00:00Z"), event("3", "b", "2026-03-02T12:00:00Z"), END]
    seen = play(tmp_path, {"p": ENTRY + steps}, feed)
    # round 2 drew, but one b was too few then; it is enough when round 3 is due
    assert [(row["time"][8:10], row["detail"]["value"]) for row in seen.effects] == [("01", True), ("02", False)]


def test_results_of_the_round_before_are_gone(tmp_path: Path) -> None:
    """ "A step that was ... not reached leaves `steps.<id>` none": also when the round before reached it."""
    steps = """steps:
  - repeat:
      times: 2
      every: 1d
      do:
        - {split: {arms: [{name: b, weight: 100, do: []}]}, id: draw, if: count("b") == 0}
        - {set: {user.seen: "{{ steps.draw.arm }}"}}
"""
    seen = play(tmp_path, {"p": ENTRY + steps}, [GO, event("2", "b", "12:00"), END])
    assert [row["detail"]["value"] for row in seen.effects] == ["b", None]


def test_the_guard_is_asked_once(tmp_path: Path) -> None:
    """``if`` of the step is judged when it is reached, not between rounds: that is what ``until`` is for."""
    steps = "steps: [{repeat: {times: 3, every: 1d, do: [{points: 1}]}, if: count('b') == 0}]\n"
    seen = play(tmp_path, {"p": ENTRY + steps}, [GO, event("2", "b", "12:00"), END])
    assert len(times(seen.effects)) == 3
    again = play(tmp_path, {"p": ENTRY + steps}, [event("0", "b", "09:00"), GO, END])
    assert times(again.effects) == []


def test_an_until_that_errs_parks(tmp_path: Path) -> None:
    """Semantics: condition.parked — an error is neither true nor false, so the journey stands still."""
    steps = "steps: [{repeat: {times: 3, every: 1d, until: user.get('n') > 3, do: [{points: 1}]}}]\n"
    seen = play(tmp_path, {"p": ENTRY + steps}, [event("0", "user.updated", "09:00", n="x"), GO, END])
    assert [verdict for _, verdict in seen.verdicts("p")] == ["entered", "error"]
    assert seen.outcome.journeys["running"] == 1


@pytest.mark.parametrize("traced", [True, False])
@pytest.mark.parametrize("batch", [1, 2, 500])
def test_batches_change_nothing(tmp_path: Path, batch: int, traced: bool) -> None:
    """Semantics: order.batches — "Batching never changes an outcome", with coupons asked for in every round."""
    catalog = "coupons: {c: {codes: {generate: C}, limits: {per_user: 2, total: 3}}}\n"
    steps = "steps: [{repeat: {times: 3, every: 1d, do: [{coupon: c}, {wait_for: {event: b, up_to: 1h}}]}}]\n"
    feed = [event("1", "a", "10:00", "u1"), event("2", "a", "10:30", "u2"), event("3", "b", "10:40", "u2"), END]
    seen = play(tmp_path, {"p": ENTRY + steps}, feed, catalog=catalog, batch=batch, traced=traced)
    assert [(row["user"], row["time"][8:16], row["reason"]) for row in seen.effects] == [
        ("u1", "01T10:00", None),
        ("u2", "01T10:30", None),
        ("u1", "02T10:00", None),
        ("u2", "02T10:30", "sold_out"),
        ("u1", "03T10:00", "per_user"),
        ("u2", "03T10:30", "sold_out"),
    ]
