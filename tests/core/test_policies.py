"""Quiet hours and calendar caps against plain zoneinfo, minute by minute and day by day."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core import localtime as lt
from engine.core.model import DAY, HOUR, MINUTE
from engine.core.policies import DEFAULT_QUIET, MOST_JITTER, Cap, Control, Quiet, consents

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_NAMES = """
UTC Africa/Cairo Africa/Casablanca America/Asuncion America/Havana America/New_York America/Nuuk America/Santiago
America/St_Johns Antarctica/Troll Asia/Beirut Asia/Gaza Asia/Jerusalem Asia/Kathmandu Asia/Shanghai Asia/Tehran
Atlantic/Azores Australia/Lord_Howe Europe/Berlin Europe/Dublin Europe/London Pacific/Auckland Pacific/Chatham
Pacific/Easter Pacific/Norfolk
"""
ZONES = _NAMES.split()


def tz(name: str) -> ZoneInfo:
    found = lt.zone(name)
    assert found is not None
    return found


def wall(t_us: int, name: str) -> datetime:
    """The oracle's clock: what zoneinfo says the local clock shows."""
    return (EPOCH + timedelta(microseconds=t_us)).astimezone(ZoneInfo(name))


def is_quiet(quiet: Quiet, t_us: int, name: str) -> bool:
    """The oracle's reading of ``22:00-08:00``: the minutes written out."""
    start, end = quiet.text.split("-")
    shown = wall(t_us, name).strftime("%H:%M")
    return start <= shown < end if start <= end else shown >= start or shown < end


@cache
def switches(name: str) -> tuple[int, ...]:
    """Days from 2024 to 2030 within which the zone's offset changes."""
    found = []
    day = lt.parse_instant("2024-01-01T00:00:00Z")
    while day < lt.parse_instant("2031-01-01T00:00:00Z"):
        if wall(day, name).utcoffset() != wall(day + DAY, name).utcoffset():
            found.append(day)
        day += DAY
    return tuple(found)


TIMES = st.integers(0, 1439).map(lambda minute: f"{minute // 60:02d}:{minute % 60:02d}")


@st.composite
def nights(draw: st.DrawFn) -> tuple[str, int, Quiet]:
    """A zone, an instant on or near a day its clocks are changed, and a window, half of them in the small hours."""
    name = draw(st.sampled_from(ZONES))
    days = switches(name) or (lt.parse_instant("2026-03-29T00:00:00Z"),)
    at = draw(st.sampled_from(days)) + draw(st.integers(-DAY, 2 * DAY))
    if draw(st.booleans()):
        at -= at % MINUTE
    small = st.integers(0, 300).map(lambda minute: f"{minute // 60:02d}:{minute % 60:02d}")
    start, end = draw(TIMES), draw(st.one_of(small, TIMES))
    if draw(st.booleans()):
        start = draw(small)
    if start == end:
        start, end = "22:00", "08:00"
    return name, at, Quiet.of(start, end)


@settings(max_examples=250)
@given(nights())
def test_the_window_ends_at_the_first_minute_that_is_not_quiet(case: tuple[str, int, Quiet]) -> None:
    """Semantics: quiet.window, quiet.dst — "half-open local interval, may cross midnight", "DST as in the head of this
    page"."""
    name, at, quiet = case
    if not is_quiet(quiet, at, name):
        assert quiet.ends(at, tz(name)) == at
        return
    minute = at - at % MINUTE + MINUTE
    while is_quiet(quiet, minute, name):
        minute += MINUTE
    assert quiet.ends(at, tz(name)) == minute


@given(nights(), st.text(max_size=8))
def test_the_jitter_is_bounded_and_stable(case: tuple[str, int, Quiet], subject: str) -> None:
    """Semantics: quiet.release — "to the end of the window plus a stable per-user jitter": under half an hour, and
    within the open part of the day, whole seconds, the same for every night."""
    name, at, quiet = case
    end, release = quiet.ends(at, tz(name)), quiet.release(at, subject, tz(name))
    if end == at:
        assert release == at
        return
    open_part = (quiet.start - quiet.end) % DAY
    assert end <= release < end + min(MOST_JITTER, open_part)
    assert (release - end) % 1_000_000 == 0
    later = at + 7 * DAY
    if quiet.ends(later, tz(name)) != later:
        assert quiet.release(later, subject, tz(name)) - quiet.ends(later, tz(name)) == release - end


def test_a_short_day_is_not_jittered_past() -> None:
    """With quiet hours but for a quarter of an hour everybody is released within it."""
    quiet = Quiet.of("08:00", "07:45")
    at, end = lt.parse_instant("2026-03-01T10:00:00Z"), lt.parse_instant("2026-03-02T07:45:00Z")
    found = [quiet.release(at, f"u{n}", lt.UTC) for n in range(200)]
    assert end <= min(found) < max(found) < end + 15 * MINUTE
    assert max(found) > end + 14 * MINUTE


def test_the_jitter_spreads_users() -> None:
    """A thousand users come back over the whole half hour, not at one instant."""
    at = lt.parse_instant("2026-03-01T23:00:00Z")
    found = sorted(DEFAULT_QUIET.release(at, f"u{n}", lt.UTC) for n in range(1000))
    first = lt.parse_instant("2026-03-02T08:00:00Z")
    assert first <= found[0] < first + MINUTE
    assert first + 29 * MINUTE < found[-1] < first + 30 * MINUTE
    assert len(set(found)) > 700


@pytest.mark.parametrize(
    ("at", "zone", "ends"),
    [
        ("2026-03-01T21:59:59.999999Z", "UTC", None),
        ("2026-03-01T22:00:00Z", "UTC", "2026-03-02T08:00:00Z"),
        ("2026-03-02T07:59:59.999999Z", "UTC", "2026-03-02T08:00:00Z"),
        ("2026-03-02T08:00:00Z", "UTC", None),
        ("2026-03-01T14:00:00Z", "Asia/Shanghai", "2026-03-02T00:00:00Z"),
        ("2026-03-07T23:00:00-05:00", "America/New_York", "2026-03-08T08:00:00-04:00"),  # an hour is lost
        ("2026-10-31T23:00:00-04:00", "America/New_York", "2026-11-01T08:00:00-05:00"),  # an hour is gained
    ],
)
def test_the_default_window_by_hand(at: str, zone: str, ends: str | None) -> None:
    """Semantics: quiet.default, quiet.window, quiet.dst — "default 22:00-08:00": the first quiet instant, the last
    one, and the nights of DST."""
    instant = lt.parse_instant(at)
    assert DEFAULT_QUIET.ends(instant, tz(zone)) == (instant if ends is None else lt.parse_instant(ends))


def test_a_window_whose_end_is_skipped_ends_at_the_switch() -> None:
    """22:00-02:30 in the night in which 02:00 becomes 03:00: nobody waits for a wall time that never comes.

    Semantics: quiet.dst
    """
    quiet = Quiet.of("22:00", "02:30")
    at, switch = lt.parse_instant("2026-03-08T00:30:00-05:00"), lt.parse_instant("2026-03-08T03:00:00-04:00")
    assert quiet.ends(at, tz("America/New_York")) == switch


# ---------------------------------------------------------------------- caps


def window_of(day: date, unit: str) -> tuple[int, ...]:
    """The oracle: what tells the calendar window of a day from every other."""
    if unit == "week":
        return day.isocalendar()[:2]
    return (day.year, day.month) if unit == "month" else (day.toordinal(),)


@settings(max_examples=150)
@given(
    st.sampled_from(ZONES),
    st.sampled_from(["day", "week", "month"]),
    st.integers(0, 6 * 365 * 24).map(lambda hours: lt.parse_instant("2024-01-01T00:00:00Z") + hours * HOUR),
    st.lists(st.integers(0, 40 * 24 * 4), max_size=6),
    st.integers(1, 4),
)
def test_calendar_caps_count_the_windows_of_the_users_calendar(
    name: str, unit: str, now: int, ago: list[int], most: int
) -> None:
    """Semantics: cap.windows — "calendar (`day`) windows", by weeks from Monday and months too; room again when one
    begins."""
    cap = Cap(most=most, per=None, unit=unit, purpose="marketing")
    slots = [(now - quarters * HOUR // 4, "marketing", "box") for quarters in ago]
    slots += [(now, "service", "box")] * 5
    here = window_of(wall(now, name).date(), unit)
    taken = sum(window_of(wall(at, name).date(), unit) == here for at, of, _ in slots if of == "marketing")
    found = cap.full_until(slots, now, tz(name))
    if taken < most:
        assert found is None
        return
    assert found is not None
    assert window_of(wall(found, name).date(), unit) != here
    assert window_of(wall(found - 1, name).date(), unit) == here
    assert found - now < cap.reach
    assert all(now - at < cap.reach for at, of, _ in slots if window_of(wall(at, name).date(), unit) == here)


@given(st.integers(1, 3), st.lists(st.integers(0, 10), max_size=6))
def test_rolling_caps_free_a_slot_exactly_when_one_leaves(most: int, days: list[int]) -> None:
    """Semantics: cap.windows — "rolling (`7d`)": half-open windows, and room is found at the first instant there is
    any."""
    now = 100 * DAY
    cap = Cap(most=most, per=7 * DAY)
    slots = sorted((now - day * DAY, "service", "box") for day in days)

    def full(at: int) -> bool:
        return sum(at - 7 * DAY < then <= at for then, _, _ in slots) >= most

    found = cap.full_until(slots, now, lt.UTC)
    if not full(now):
        assert found is None
        return
    assert found is not None
    assert not full(found)
    assert full(found - 1)


# ---------------------------------------------------------------------- the rest


@pytest.mark.parametrize(
    ("rule", "passes"),
    [("required", (True, False, False)), ("opt_out", (True, False, True)), ("none", (True, True, True))],
)
def test_consent_rules(rule: str, passes: tuple[bool, bool, bool]) -> None:
    """Semantics: consent.modes — "`required` (a grant is needed), `opt_out` (unless revoked), `none`"."""
    assert tuple(consents(rule, given) for given in (True, False, None)) == passes


def test_the_control_group_has_its_share_and_its_purposes() -> None:
    """A draw by salt: about the percentage asked for, the same people each time, others under another salt.

    Semantics: gates.control
    """
    group = Control(500, "2026H2", frozenset({"marketing"}))
    users = [f"u{n}" for n in range(4000)]
    held = {user for user in users if group.holds(user, "marketing")}
    assert 140 < len(held) < 260
    assert not any(group.holds(user, "service") for user in users)
    other = Control(500, "2027H1", frozenset({"marketing"}))
    assert held != {user for user in users if other.holds(user, "marketing")}
