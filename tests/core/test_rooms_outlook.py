"""When the last seat will be gone: what a forecast says, and when it says that nobody can tell."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from engine.core.model import DAY
from engine.core.seats import GroupInfo, GroupState, Room
from engine.insight.rooms import group_row

CLOCK = 100 * DAY
GROUP = GroupInfo(
    name="club",
    rooms=(
        Room(id="r1", link="l", capacity=120, soft=100),
        Room(id="r2", link="l", capacity=120, soft=100, expires=CLOCK - 1),
    ),
)


def outlook(seats: int, taken: int, days: int | None) -> dict[str, object]:
    kept = {"seat:club": msgspec.msgpack.encode(GroupState(taken={"r1": seats}))}
    first = None if days is None else CLOCK - days * DAY
    row = group_row(GROUP, kept, taken, CLOCK, first)
    assert row["left"] == max(0, 100 - seats)  # the expired room has none
    found = row["forecast"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("seats", "taken", "days", "wanted"),
    [
        (70, 70, 10, {"days": Decimal("4.3"), "per_day": Decimal("7.0")}),  # seven a day since it began
        (70, 28, 50, {"days": Decimal("15.0"), "per_day": Decimal("2.0")}),  # two a day in the last fortnight
        (104, 104, 10, {"why": "full"}),
        (3, 3, 10, {"why": "no growth to go by: +3 in 14 days"}),
        (50, -8, 30, {"why": "no growth to go by: -8 in 14 days"}),
        (50, 50, 0, {"why": "too little data: less than a day"}),
        (0, 0, None, {"why": "too little data: less than a day"}),
    ],
)
def test_a_forecast_goes_by_what_there_is(
    seats: int, taken: int, days: int | None, wanted: dict[str, object]
) -> None:
    """Semantics: group.forecast — seats left by the rate of the last fortnight, or why nobody can tell."""
    assert outlook(seats, taken, days) == wanted


def test_who_waits_and_which_link_expired_is_shown() -> None:
    """Expired rooms count as full, and the line is as long as it is."""
    state = GroupState(taken={"r1": 1}, waiting=[("k1", "a"), ("k2", "b")])
    row = group_row(GROUP, {"seat:club": msgspec.msgpack.encode(state)}, 0, CLOCK, None)
    assert row["waiting"] == 2
    assert [room["expired"] for room in row["rooms"]] == [False, True]
