"""What a channel's platform allows for each user, whoever sends: quotas, and the slots kept for what matters most."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from semantics_kit import Row, Seen, event, play

from engine.core.localtime import UTC
from engine.core.model import DAY
from engine.core.policies import Cap, Quota
from engine.language.compile import compile_program

FREE = "consent: {marketing: none, community: none, service: none, transactional: none}"
ENTRY = "entry: {mode: parallel, limit: unlimited}\n"


def head(quota: str, policy: str = "", zone: str = "UTC") -> str:
    return (
        f"program: kit\ntimezone: {zone}\nchannels:\n  box: {{via: file, path: o, quota: {quota}}}\n"
        f"  sms: {{via: file, path: s, address: user.phone}}\n"
        f"policies: {{default: {{{FREE}, quiet_hours: never{policy}}}}}\n"
    )


def book(
    on: str, priority: int, message: str = "purpose: marketing, via: box", after: str = "{tag: {add: [after]}}"
) -> str:
    return (
        f"trigger: {{event: {on}}}\npriority: {priority}\n{ENTRY}"
        f"steps: [{{message: {{template: hi, {message}}}}}, {after}]\n"
    )


def came(seen: Seen) -> list[tuple[str, str]]:
    """(playbook, what became of it) of each message, in order."""
    return [(row["playbook"], row["reason"] or row["status"]) for row in seen.effects if row["kind"] == "message"]


def days(*types: str, month: str = "03") -> list[Row]:
    """One event a day."""
    return [event(str(at), type_, f"2026-{month}-{at:02d}T09:00:00Z") for at, type_ in enumerate(types, 1)]


def test_a_quota_counts_every_purpose_and_playbook(tmp_path: Path) -> None:
    """Semantics: quota.all — service and transactional messages take its slots and are refused by it, too."""
    books = {
        "sale": book("a", 50),
        "receipt": book("b", 50, "purpose: transactional, via: box"),
        "notice": book("c", 50, "purpose: service, via: box"),
    }
    seen = play(tmp_path, books, days("a", "b", "c", "b"), head=head("{max: 3, per: month}"))
    assert came(seen) == [("sale", "planned"), ("receipt", "planned"), ("notice", "planned"), ("receipt", "quota")]


def test_a_quota_begins_anew_with_the_users_month(tmp_path: Path) -> None:
    """Semantics: quota.all — its windows are those of caps: here the calendar month of the user's zone."""
    feed = [
        event("1", "a", "2026-03-31T15:59:00Z"),  # 23:59 in Shanghai
        event("2", "a", "2026-03-31T15:59:30Z"),
        event("3", "a", "2026-03-31T16:00:00Z"),  # midnight: April
    ]
    seen = play(tmp_path, {"sale": book("a", 50)}, feed, head=head("{max: 1, per: month}", zone="Asia/Shanghai"))
    assert [what for _, what in came(seen)] == ["planned", "quota", "planned"]


def test_the_last_slots_are_kept_for_playbooks_of_high_priority(tmp_path: Path) -> None:
    """Semantics: quota.kept — of four, two are open to everybody, the last two to a priority of at least 70."""
    books = {"weekly": book("a", 50), "renewal": book("b", 70)}
    quota = "{max: 4, per: month, kept: [{priority: 70, slots: 2}]}"
    seen = play(tmp_path, books, days("a", "a", "a", "b", "b", "b"), head=head(quota))
    assert came(seen) == [
        ("weekly", "planned"), ("weekly", "planned"), ("weekly", "quota"),
        ("renewal", "planned"), ("renewal", "planned"), ("renewal", "quota"),
    ]  # fmt: skip


def test_kept_slots_stay_kept_whoever_took_the_others(tmp_path: Path) -> None:
    """Semantics: quota.kept — when important playbooks came first, the last slots are still not for the others."""
    books = {"weekly": book("a", 50), "renewal": book("b", 70)}
    quota = "{max: 4, per: month, kept: [{priority: 70, slots: 2}]}"
    seen = play(tmp_path, books, days("b", "b", "a", "b", "b"), head=head(quota))
    assert [what for _, what in came(seen)] == ["planned", "planned", "quota", "planned", "planned"]


def test_another_channel_has_no_part_in_it(tmp_path: Path) -> None:
    """A message through another channel neither counts nor is refused; a channel that is full is no second choice."""
    books = {"sale": book("a", 50), "text": book("b", 50, "purpose: marketing, via: sms")}
    feed = [event("0", "user.updated", "2026-03-01T08:00:00Z", phone="1"), *days("b", "a", "a", "b")]
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates/hi.sms.j2").write_text("hi")
    seen = play(tmp_path, books, feed, head=head("{max: 1, per: 7d}"))
    assert [what for _, what in came(seen)] == ["planned", "planned", "quota", "planned"]


def test_on_cap_holds_for_a_quota(tmp_path: Path) -> None:
    """Semantics: quota.all — `on_cap: wait` waits for the next window; `exit` ends the journey, with the reason."""
    waits = {"sale": book("a", 50, "purpose: marketing, via: box, on_cap: wait")}
    seen = play(tmp_path / "w", waits, days("a", "a"), head=head("{max: 1, per: month}"), until=40 * DAY + _march())
    assert [row["time"] for row in seen.effects if row["kind"] == "message"] == [
        "2026-03-01T09:00:00Z", "2026-04-01T00:00:00Z",
    ]  # fmt: skip
    ends = {"sale": book("a", 50, "purpose: marketing, via: box, on_cap: exit")}
    seen = play(tmp_path / "e", ends, days("a", "a"), head=head("{max: 1, per: month}"))
    assert [row["kind"] for row in seen.effects] == ["message", "tag", "message"]


def _march() -> int:
    return (date(2026, 3, 1) - date(1970, 1, 1)) // timedelta(days=1) * DAY


def test_what_a_quota_did_stands_in_the_summary(tmp_path: Path) -> None:
    """The forecast before a merge: last month's feed says which playbooks use a quota up, and which come too late."""
    books = {"sale": book("a", 50), "news": book("b", 50)}
    feed = [
        event(f"{user}{at}", kind, f"2026-03-0{at}T09:00:00Z", user)
        for user in "xy"
        for at, kind in ((1, "a"), (2, "b"))
    ]
    seen = play(tmp_path, books, feed, head=head("{max: 1, per: month}"))
    use = seen.outcome.quotas["box"]
    assert (use.allows, use.sent, use.refused, use.users) == ("1/month", {"sale": 2}, {"news": 2}, {"x", "y"})


@pytest.mark.parametrize(
    ("quota", "code"),
    [
        ("{max: 4, per: fortnight}", "bad-duration"),
        ("{max: 4, per: month, kept: [{priority: 70, slots: 5}]}", "out-of-range"),
        ("{max: 4, per: month, kept: [{priority: 70, slots: 4}]}", "cap-starved"),
        ("{max: 0, per: month}", "out-of-range"),
        ("{max: 4}", "missing-key"),
    ],
)
def test_a_quota_that_cannot_be_meant_is_said(tmp_path: Path, quota: str, code: str) -> None:
    """Each mistake has its word, at the place."""
    (tmp_path / "drumbeat.yaml").write_text(head(quota))
    found = [problem.code for problem in compile_program(tmp_path).problems]
    assert code in found


def test_a_playbook_that_is_sure_to_meet_a_quota_is_told(tmp_path: Path) -> None:
    """Three messages within a month through a channel of two: the third never goes, and validate says so."""
    three = ", {wait: 1d}, ".join(["{message: {template: hi, purpose: service, via: box}}"] * 3)
    files = {
        "drumbeat.yaml": head("{max: 2, per: 30d}"),
        "templates/hi.box.j2": "hi",
        "playbooks/p.yaml": f"playbook: p\ntitle: t\ntrigger: {{event: a}}\nentry: once\nsteps: [{three}]\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    found = [problem for problem in compile_program(tmp_path).problems if problem.code == "cap-starved"]
    assert len(found) == 1
    assert "quota of channel 'box' allows 2" in found[0].message


@given(
    most=st.integers(1, 6),
    kept=st.integers(0, 3),
    tries=st.lists(st.tuples(st.integers(0, 60), st.booleans()), max_size=30),
)
def test_a_quota_is_what_a_clerk_with_a_list_would_do(most: int, kept: int, tries: list[tuple[int, bool]]) -> None:
    """Against a plain count by calendar month: nobody gets more than the platform allows, and the kept slots are."""
    kept = min(kept, most)
    quota = Quota(Cap(most=most, per=None, unit="month", channel="box"), "n/month", ((70, kept),) if kept else ())
    slots: list[tuple[int, str, str]] = []
    clerk: dict[tuple[int, int], int] = {}
    for day, important in sorted(tries, key=lambda it: it[0]):
        now, local = day * DAY, date(1970, 1, 1) + timedelta(days=day)
        month = (local.year, local.month)
        room = clerk.get(month, 0) < (most if important else most - kept)
        assert (quota.open_to(80 if important else 50).full_until(slots, now, UTC) is None) == room
        if room:
            clerk[month] = clerk.get(month, 0) + 1
            slots.append((now, "marketing", "box"))
