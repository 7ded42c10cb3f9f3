"""Slots of schedules: who is entered when, whatever the batches, the chunks and the way it is run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from crash_world import without_disk
from flow_program import compiled as compile_folder
from flow_program import effects_of, lines_of, picture, run, simulated, write_feed
from schedule_program import PROGRAM_ZONE, daily, make_schedule_events, write_schedules
from semantics_kit import HEAD, Seen, event, play

from engine.core import localtime
from engine.core.instants import format_instant, parse_instant
from engine.core.model import DAY, HOUR, Event
from engine.core.plan import Plan
from engine.core.step import Turn
from engine.language.compiled import Compiled
from engine.runtime import walk
from engine.runtime.session import Session
from engine.stores.memory import MemoryStore
from engine.stores.sqlite import SqliteStore

HI = "steps:\n  - message: {template: hi, via: box, purpose: service}\n"
PARALLEL = "entry: {mode: parallel, limit: unlimited}\n"


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with without_disk():
        yield


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    return write_schedules(tmp_path_factory.mktemp("program"))


def friday(audience: str = "true", more: str = "", **keys: str) -> str:
    """A playbook with a schedule; ``audience: true`` is everybody."""
    spec = {"cron": '"0 10 * * fri"', "audience": audience, **keys}
    inside = ", ".join(f"{key}: {value}" for key, value in spec.items() if value)
    return f"trigger: {{schedule: {{{inside}}}}}\n{more or PARALLEL}{HI}"


def sent(seen: Seen) -> list[tuple[str, str]]:
    return sorted((row["time"], row["user"]) for row in seen.effects)


# ---------------------------------------------------------------------- batches


@pytest.mark.parametrize("seed", range(2))
def test_any_batch_any_chunk(program: Compiled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """``run`` decides what ``simulate`` decides, with batches of 1, 7, 500, 5,000 and chunks of 1, 3 and all.

    Semantics: order.batches
    """
    content = lines_of(make_schedule_events(seed, 60, users=8))
    feed = write_feed(tmp_path, content)
    wanted = simulated(program, feed)
    by_book = Counter(it.playbook for it in wanted)
    assert min(by_book[book] for book in ("daily", "own", "friend", "both")) > 3, by_book
    states = set()
    for batch, chunk in [(1, 5_000), (7, 3), (500, 5_000), (500, 1), (5_000, 2)]:
        monkeypatch.setattr(walk, "CHUNK", chunk)
        assert simulated(program, feed, batch=batch) == wanted
        root = tmp_path / f"batch{batch}-{chunk}"
        root.mkdir()
        write_feed(root, content)
        done = run(program, root, batch=batch, deliver=False)
        assert effects_of(root) == wanted
        assert done.conflicts == 0
        states.add(repr([picture(root)[part] for part in ("subjects", "resources", "summary", "decisions", "events")]))
    assert len(states) == 1


@pytest.mark.parametrize("seed", range(2))
def test_in_pieces(program: Compiled, tmp_path: Path, seed: int) -> None:
    """A feed that grows between runs is decided as if it had been there at once, when no slot falls on a seam."""
    events = make_schedule_events(seed, 60)
    wanted = simulated(program, write_feed(tmp_path, lines_of(events)))
    root = tmp_path / "grown"
    root.mkdir()
    ends = [end for end in (1, 17, 40, 41) if events[end - 1]["time"] != events[end]["time"]]
    for end in (*ends, 60):
        write_feed(root, lines_of(events[:end]))
        run(program, root, batch=7, deliver=False)
    assert Counter(it.key for it in effects_of(root)) == Counter(it.key for it in wanted)


def test_a_second_run_changes_nothing(program: Compiled, tmp_path: Path) -> None:
    """Run again over the same feed: no slot is walked once more."""
    write_feed(tmp_path, lines_of(make_schedule_events(1, 50)))
    run(program, tmp_path, deliver=False)
    before = picture(tmp_path)
    done = run(program, tmp_path, deliver=False)
    assert (done.read, done.conflicts) == (0, 0)
    assert picture(tmp_path) == before


def test_the_store_is_asked(program: Compiled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store leaves out whom the audience does not fit, so that nobody else is read and judged."""
    assert program.plan is not None
    assert {it.name for it in program.plan.schedules if it.filter is not None} == {
        "daily/schedule", "own/schedule", "friend/schedule", "both/schedule[0]", "both/schedule[1]",
    }  # fmt: skip
    looked = Counter[str]()
    invited = Turn.invited

    def counting(self: Turn, state: Any, due: Any, now: int) -> Any:
        looked[due.scheduled.name] += 1
        return invited(self, state, due, now)

    monkeypatch.setattr(Turn, "invited", counting)
    feed = [event(f"e{n}", "user.signup", "2026-01-01T00:00:00Z", f"u{n}", city="杭州") for n in range(50)]
    feed.append(event("f", "user.signup", "2026-01-01T00:00:00Z", "v", city="上海"))
    write_feed(tmp_path, lines_of([*feed, event("end", "x", "2026-01-01T02:30:00Z", "v")]))
    run(program, tmp_path, deliver=False)
    assert looked["daily/schedule"] == 1


# ---------------------------------------------------------------------- who, and when


@pytest.mark.parametrize("seed", range(3))
def test_who_is_entered_when(program: Compiled, tmp_path: Path, seed: int) -> None:
    """The daily slots are those counted day by day, each for exactly those who live in the city at that instant.

    Semantics: schedule.when, schedule.audience
    """
    events = make_schedule_events(seed, 80)
    wanted = simulated(program, write_feed(tmp_path, lines_of(events)))
    begin, end = (parse_instant(events[place]["time"]) for place in (0, -1))
    changes = [(parse_instant(it["time"]), it["user"], it["data"]["city"]) for it in events if "city" in it["data"]]
    changes += [(it.time, it.user, "上海") for it in wanted if it.kind == "set"]
    expected = set()
    for slot in daily("10:00", PROGRAM_ZONE, begin, end):
        home: dict[Any, Any] = {}
        for at, user, city in sorted(changes, key=lambda it: it[0]):
            # told at the very slot: its order is lower, so it is not yet known to this one
            if at < slot or (at == slot and city != "上海") or (at == slot and not _told(wanted, at, user)):
                home[user] = city
        expected |= {(slot, user) for user, city in home.items() if city == "上海"}
    assert {(it.time, it.user) for it in wanted if it.playbook == "daily"} == expected


def _told(effects: list[Any], at: int, user: str | None) -> bool:
    return any(it.kind == "set" and it.time == at and it.user == user for it in effects)


def test_events_then_wakes_then_slots(tmp_path: Path) -> None:
    """At one instant: the event, what was waited for, then the slots by priority and id, each by subject.

    Semantics: order.events-first
    """
    books = {
        "a-late": "priority: 10\n" + friday(),
        "b-first": "priority: 90\n" + friday(),
        "wake": f"trigger: {{event: begin}}\n{PARALLEL}steps:\n  - wait: 1d\n  - tag: {{add: [awake]}}\n",
        "come": f"trigger: {{event: come}}\n{PARALLEL}steps:\n  - points: 1\n",
    }
    feed = [
        event("1", "begin", "2026-03-05T10:00:00Z", "u2"),
        event("2", "begin", "2026-03-05T10:00:00Z", "u1"),
        event("3", "come", "2026-03-06T10:00:00Z", "u3"),
    ]
    seen = play(tmp_path, books, feed)
    order = [(row["playbook"], row["user"]) for row in seen.decisions if row["time"] == "2026-03-06T10:00:00Z"]
    assert order == [
        ("come", "u3"), ("wake", "u1"), ("wake", "u2"),
        ("b-first", "u1"), ("b-first", "u2"), ("b-first", "u3"),
        ("a-late", "u1"), ("a-late", "u2"), ("a-late", "u3"),
    ]  # fmt: skip


@pytest.mark.parametrize("traced", [True, False])
@pytest.mark.parametrize("batch", [1, 500])
def test_the_first_slot(tmp_path: Path, traced: bool, batch: int) -> None:
    """Time begins with the first event: a slot at that instant fires behind it, none before it, and none without any.

    Semantics: schedule.published
    """
    feed = [event("1", "user.signup", "2026-03-06T10:00:00Z"), event("2", "x", "2026-03-13T09:59:59Z", "u2")]
    seen = play(tmp_path, {"p": friday()}, feed, batch=batch, traced=traced)
    assert sent(seen) == [("2026-03-06T10:00:00Z", "u1")]
    until = parse_instant("2026-03-13T10:00:00Z")
    seen = play(tmp_path, {"p": friday()}, feed, batch=batch, traced=traced, until=until)
    assert sent(seen) == [
        ("2026-03-06T10:00:00Z", "u1"), ("2026-03-13T10:00:00Z", "u1"), ("2026-03-13T10:00:00Z", "u2"),
    ]  # fmt: skip


def test_new_york_and_santiago(tmp_path: Path) -> None:
    """A daily 02:30 in New York and a 00:30 in Santiago run exactly once a day for seven years of virtual time.

    Semantics: schedule.own-clock
    """
    books = {
        "ny": friday(cron='"30 2 * * *"', zone="user", audience="user.zone == 'America/New_York'"),
        "scl": friday(cron='"30 0 * * *"', zone="user", audience="user.zone == 'America/Santiago'"),
    }
    feed = [
        event("1", "user.signup", "2024-01-01T12:00:00Z", "n", zone="America/New_York"),
        event("2", "user.signup", "2024-01-01T12:00:00Z", "s", zone="America/Santiago"),
    ]
    seen = play(tmp_path, books, feed, until=parse_instant("2031-01-01T12:00:00Z"), traced=False)
    for user, book, zone in (("n", "ny", "America/New_York"), ("s", "scl", "America/Santiago")):
        place = localtime.zone(zone)
        assert place is not None
        times = [parse_instant(row["time"]) for row in seen.effects if row["playbook"] == book]
        assert {row["user"] for row in seen.effects if row["playbook"] == book} == {user}
        days = [localtime.day_number(at, place) for at in times]
        assert days == list(range(days[0], days[0] + 2557))
        shown = Counter(f"{localtime.local_datetime(at, place):%H:%M}" for at in times)
        shifted = {"ny": ("02:30", "03:30"), "scl": ("00:30", "01:30")}[book]
        assert shown == {shifted[0]: 2550, shifted[1]: 7}  # one gap a year


def test_the_program_zone(tmp_path: Path) -> None:
    """Without ``zone: user`` the wall time is the program's, for everybody.

    Semantics: schedule.when
    """
    head = "timezone: America/New_York\n"
    feed = [
        event("1", "user.signup", "2026-03-01T00:00:00Z", zone="Asia/Tokyo"), event("2", "x", "2026-03-14T00:00:00Z"),
    ]  # fmt: skip
    seen = play(tmp_path, {"p": friday()}, feed, head=HEAD + head)
    assert sent(seen) == [("2026-03-06T15:00:00Z", "u1"), ("2026-03-13T14:00:00Z", "u1")]


def test_intervals(tmp_path: Path) -> None:
    """``every`` is elapsed time counted from a Monday's midnight, so a new day of publication shifts nothing.

    Semantics: schedule.when
    """
    feed = [event("1", "user.signup", "2026-03-01T01:23:45Z"), event("2", "x", "2026-03-03T00:00:00Z")]
    seen = play(tmp_path, {"p": friday(cron="", every="16h")}, feed)
    assert [time for time, _ in sent(seen)] == ["2026-03-01T16:00:00Z", "2026-03-02T08:00:00Z", "2026-03-03T00:00:00Z"]
    monday = parse_instant("2024-01-01T00:00:00Z")
    assert all((parse_instant(time) - monday) % (16 * HOUR) == 0 for time, _ in sent(seen))


@pytest.mark.parametrize(
    ("moves", "wanted"),
    [
        # Shanghai 10:00 is 02:00Z, New York 15:00Z (14:00Z from 8 March)
        ([], ["2026-03-06T02:00:00Z", "2026-03-13T02:00:00Z"]),
        # to a zone where the time is still ahead: it was had already, the next one is there
        ([("2026-03-06T05:00:00Z", "America/New_York")], ["2026-03-06T02:00:00Z", "2026-03-13T14:00:00Z"]),
        # there and back again
        (
            [("2026-03-06T05:00:00Z", "America/New_York"), ("2026-03-07T05:00:00Z", "Asia/Shanghai")],
            ["2026-03-06T02:00:00Z", "2026-03-13T02:00:00Z"],
        ),
        # before the time comes
        ([("2026-03-06T01:00:00Z", "America/New_York")], ["2026-03-06T15:00:00Z", "2026-03-13T14:00:00Z"]),
        # to a zone where it has passed: missed
        (
            [("2026-03-05T00:00:00Z", "America/New_York"), ("2026-03-06T03:00:00Z", "Asia/Shanghai")],
            ["2026-03-13T02:00:00Z"],
        ),
        # a zone nobody knows is none
        ([("2026-03-05T00:00:00Z", "Mars/Olympus")], ["2026-03-06T02:00:00Z", "2026-03-13T02:00:00Z"]),
    ],
)
@pytest.mark.parametrize("batch", [1, 500])
def test_moving_house(tmp_path: Path, moves: list[tuple[str, str]], wanted: list[str], batch: int) -> None:
    """With ``zone: user`` a wall time comes once, also for somebody who moves; who moves past it misses it."""
    feed = [event("1", "user.signup", "2026-03-01T00:00:00Z", zone="Asia/Shanghai")]
    feed += [event(f"m{place}", "user.updated", at, zone=zone) for place, (at, zone) in enumerate(moves)]
    feed += [event("9", "x", "2026-03-14T00:00:00Z", "u2")]
    books = {"p": friday("user.id == 'u1'", zone="user")}
    assert [time for time, _ in sent(play(tmp_path, books, feed, batch=batch))] == wanted
    assert [time for time, _ in sent(play(tmp_path, books, feed, batch=batch, traced=False))] == wanted


def test_moved_by_a_step(tmp_path: Path) -> None:
    """A zone that a step sets counts like one that an event brings."""
    books = {
        "p": friday(zone="user"),
        "move": f"trigger: {{event: move}}\n{PARALLEL}steps:\n  - set: {{user.zone: Asia/Kathmandu}}\n",
    }
    feed = [event("1", "move", "2026-03-05T00:00:00Z"), event("2", "x", "2026-03-07T00:00:00Z")]
    seen = play(tmp_path, books, feed)
    assert [row["time"] for row in seen.effects if row["kind"] == "message"] == ["2026-03-06T04:15:00Z"]


def test_an_erased_user_is_in_no_audience(tmp_path: Path) -> None:
    """Nobody is written to after an erasure, whatever the audience says; a new sign-up is a new beginning.

    Semantics: erasure.state
    """
    feed = [
        event("1", "user.signup", "2026-03-01T00:00:00Z"),
        event("2", "user.deleted", "2026-03-07T00:00:00Z"),
        event("3", "user.signup", "2026-03-14T00:00:00Z"),
        event("4", "x", "2026-03-21T00:00:00Z", "u2"),
    ]
    seen = play(tmp_path, {"p": friday("user.id == 'u1'")}, feed)
    assert [time for time, _ in sent(seen)] == ["2026-03-06T10:00:00Z", "2026-03-20T10:00:00Z"]


def test_tiers_in_an_audience(tmp_path: Path) -> None:
    """An audience may ask for the tier, which has moved by the time of the slot.

    Semantics: schedule.audience
    """
    catalog = (
        "tiers:\n  level: {metric: 'sum(\"order.paid\", \"amount\", within=\"5d\")', levels: {low: 0, high: 100}}\n"
    )
    feed = [
        event("1", "order.paid", "2026-03-01T10:00:00Z", "old", amount=100),
        event("2", "order.paid", "2026-03-01T10:00:01Z", "new", amount=100),
        event("3", "x", "2026-03-07T00:00:00Z", "other"),
    ]
    books = {"p": friday("user.tier == 'high'", cron='"0 10 6 * *"')}
    seen = play(tmp_path, books, feed, catalog=catalog)
    assert [row["user"] for row in seen.effects if row["kind"] == "message"] == ["new"]


@pytest.mark.parametrize("traced", [True, False])
def test_an_audience_that_cannot_be_judged(tmp_path: Path, traced: bool) -> None:
    """An error in the audience is neither true nor false: nobody gets anything, it is counted, and others go on.

    Semantics: condition.error
    """
    feed = [
        event("1", "user.signup", "2026-03-01T00:00:00Z", "bad", n="word"),
        event("2", "user.signup", "2026-03-01T00:00:00Z", "good", n=3),
        event("3", "x", "2026-03-07T00:00:00Z", "none"),
    ]
    seen = play(tmp_path, {"p": friday("user.get('n') > 2")}, feed, traced=traced)
    assert [user for _, user in sent(seen)] == ["good"]
    assert seen.outcome.playbooks["p"]["errors"] == 1
    if traced:
        verdicts = {(row["user"], row["verdict"]) for row in seen.decisions}
        assert verdicts == {("bad", "error"), ("good", "entered")}


def test_traces(tmp_path: Path) -> None:
    """A decision at a slot names the schedule as its cause and shows the audience, also for those outside."""
    feed = [
        event("1", "user.signup", "2026-03-01T00:00:00Z", "in", city="上海"),
        event("2", "user.signup", "2026-03-01T00:00:00Z", "out", city="杭州"),
        event("3", "x", "2026-03-07T00:00:00Z", "in"),
    ]
    seen = play(tmp_path, {"p": friday("user.city == '上海'")}, feed)
    assert [(row["user"], row["verdict"], row["cause"]) for row in seen.decisions] == [
        ("in", "entered", {"wake": "schedule"}), ("out", "skipped", {"wake": "schedule"}),
    ]  # fmt: skip
    assert seen.decisions[1]["why"] == [
        {"at": "trigger.audience", "value": False, "text": "user.city == '上海'", "seen": {"user.city": "杭州"}}
    ]


def test_the_blast_guard(tmp_path: Path) -> None:
    """``entry.limit`` holds at a slot: in order of ids, the rest waits for the next window.

    Semantics: limit.order
    """
    feed = [event(f"{n}", "user.signup", "2026-03-01T00:00:00Z", f"u{n}") for n in range(7)]
    book = friday(more="entry: {mode: single, limit: 3/day}\n")
    seen = play(tmp_path, {"p": book}, feed, until=parse_instant("2026-03-10T00:00:00Z"))
    assert sent(seen) == [
        *(("2026-03-06T10:00:00Z", f"u{n}") for n in (0, 1, 2)),
        *(("2026-03-07T00:00:00Z", f"u{n}") for n in (3, 4, 5)),
        ("2026-03-08T00:00:00Z", "u6"),
    ]


def test_chinese_ids_and_order(tmp_path: Path) -> None:
    """Subjects go by the code points of their ids, the same over a file as in memory."""
    users = ["王", "a", "Z", "é", "𝔘", "～", "李"]
    content = lines_of(event(f"e{n}", "user.signup", "2026-03-01T00:00:00Z", user) for n, user in enumerate(users))
    content += lines_of([event("end", "x", "2026-03-07T00:00:00Z", "zz")])
    gift = "steps:\n  - coupon: {pool: few, on_exhausted: skip}\n"
    book = friday("user.id != 'zz'").replace(HI, gift)
    few = "coupons:\n  few: {codes: {file: lists/f.csv}, limits: {per_user: 1, total: 4}}\n"
    for name, text in {
        "drumbeat.yaml": HEAD + "feeds: [{file: feed/*.jsonl}]\n", "playbooks/p.yaml": f"playbook: p\ntitle: t\n{book}",
        "playbooks/catalog/c.yaml": few, "lists/f.csv": "A\nB\nC\nD\n",
    }.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    program = compile_folder(tmp_path)
    wanted = simulated(program, write_feed(tmp_path, content))
    run(program, tmp_path, batch=2, deliver=False)
    assert effects_of(tmp_path) == wanted
    codes = {it.detail["code"]: it.user for it in wanted if it.status == "planned"}
    assert [codes[code] for code in sorted(codes)] == sorted(users)[:4]


# ---------------------------------------------------------------------- publication and down time


def plan_of(tmp_path: Path, book: str, status: str = "live") -> Compiled:
    text = f"playbook: p\ntitle: t\nstatus: {status}\n{book}"
    feeds = "feeds: [{file: feed/*.jsonl}]\n"
    for name, content in {
        "drumbeat.yaml": HEAD + feeds, "playbooks/p.yaml": text, "templates/hi.box.j2": "hi",
        "playbooks/q.yaml": "playbook: q\ntitle: t\ntrigger: {event: q}\nentry: once\nsteps: [{points: 1}]\n",
    }.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    return compile_folder(tmp_path)


def test_slots_before_publication_never_fire(tmp_path: Path) -> None:
    """A schedule published today fires from the next slot on, and one that was paused does not make up for it.

    Semantics: schedule.published, publish.only-after
    """
    days = [event(f"e{n}", "x", f"2026-03-{n:02d}T12:00:00Z") for n in (1, 7, 14, 21, 28)]
    for upto, status in ((2, "draft"), (3, "live"), (4, "paused"), (5, "live")):
        write_feed(tmp_path, lines_of(days[:upto]))
        run(plan_of(tmp_path, friday(), status), tmp_path, deliver=False)
    assert [format_instant(it.time) for it in effects_of(tmp_path)] == ["2026-03-13T10:00:00Z", "2026-03-27T10:00:00Z"]


@pytest.mark.parametrize(
    ("catch_up", "cron", "hours", "wanted"),
    [
        ("last", "0 * * * *", 30, [29]),
        ("none", "0 * * * *", 30, []),
        ("all", "0 * * * *", 30, list(range(6, 30))),
        ("", "0 * * * *", 30, [29]),
        ("last", "0 1 * * *", 24, [1]),
        ("last", "0 1 * * *", 26, [25]),
        ("last", "0 1 1 3 *", 24, [1]),
        ("last", "0 1 1 3 *", 25, [1]),
        ("last", "0 1 1 3 *", 26, []),
        ("all", "0 1 1 3 *", 26, []),
        ("all", "30 1,9 * * *", 20, [1.5, 9.5]),
    ],
)
@pytest.mark.parametrize("zone", ["", "user"])
def test_catching_up(tmp_path: Path, catch_up: str, cron: str, hours: int, wanted: list[float], zone: str) -> None:
    """After the engine was down: the last missed slot, all or none, none of them older than a day.

    Semantics: schedule.catch-up
    """
    plan = plan_of(tmp_path, friday(cron=f'"{cron}"', zone=zone, catch_up=catch_up)).plan
    assert plan is not None
    down, store = parse_instant("2026-03-01T00:30:00Z"), MemoryStore()
    begin(plan, store, down)
    up = down - HOUR // 2 + hours * HOUR
    session = Session(plan, store, secret=b"")
    session.missed(up)
    settle(session, store, up - 1)
    assert times(store) == [down - HOUR // 2 + int(it * HOUR) for it in wanted]
    settle(session, store, up + 2 * DAY)  # and from then on every one
    later = [it for it in times(store) if it >= up]
    if cron == "0 * * * *":
        assert later == list(range(up, up + 2 * DAY + 1, HOUR))
    again = Session(plan, store, secret=b"")
    settle(again, store, up + 2 * DAY)
    assert len(times(store)) == len(wanted) + len(later)


def test_a_blast_too_old_is_not_gone_on_with(tmp_path: Path) -> None:
    """A walk that was cut off is gone on with after hours, and dropped after more than a day."""
    for hours, users in ((20, ["u1", "u2", "u3"]), (25, ["u1"])):
        plan = plan_of(tmp_path, friday(cron='"0 1 1 3 *"', catch_up="none")).plan
        assert plan is not None
        store, at = MemoryStore(), parse_instant("2026-03-01T01:00:00Z")
        begin(plan, store, at - HOUR, ["u1", "u2", "u3"])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(walk, "CHUNK", 1)
            session = Session(plan, store, secret=b"")
            session.settle(at)
            store.commit(session.batch())
        assert [effect.user for effect, _ in store.effects()] == ["u1"]
        session = Session(plan, store, secret=b"")
        session.missed(at + hours * HOUR)
        settle(session, store, at + hours * HOUR)
        assert sorted(str(effect.user) for effect, _ in store.effects()) == users


def begin(plan: Plan, store: MemoryStore, at: int, users: list[str] | None = None) -> None:
    session = Session(plan, store, secret=b"")
    left = [Event(id=user, type="x", time=at, user=user) for user in users or ["u1"]]
    while left:
        left = left[session.take(left) :]
        store.commit(session.batch())


def settle(session: Session, store: MemoryStore, until: int) -> None:
    while not session.settle(until):
        store.commit(session.batch())
    store.commit(session.batch())


def times(store: MemoryStore) -> list[int]:
    return [effect.time for effect, _ in store.effects()]


def test_zones_of_a_store_that_had_no_schedule(tmp_path: Path) -> None:
    """A first schedule by the users' zones finds the zones of everybody who was there before."""
    days = [
        event("a", "user.signup", "2026-03-01T12:00:00Z", "u1", zone="Asia/Kathmandu"),
        event("b", "x", "2026-03-02T12:00:00Z", "u2"),
        event("c", "x", "2026-03-07T12:00:00Z", "u2"),
    ]
    for upto, status in ((2, "draft"), (3, "live")):
        write_feed(tmp_path, lines_of(days[:upto]))
        run(plan_of(tmp_path, friday("user.id == 'u1'", zone="user"), status), tmp_path, deliver=False)
    assert [format_instant(it.time) for it in effects_of(tmp_path)] == ["2026-03-06T04:15:00Z"]


def test_a_subject_that_breaks_a_slot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of the engine at one subject leaves out that subject alone, and quarantine says so once."""
    slot = Turn.slot

    def broken(self: Turn, state: Any, due: Any, why: Any, now: int) -> Any:
        if state.id == "u2":
            raise RuntimeError("planted")
        return slot(self, state, due, why, now)

    monkeypatch.setattr(Turn, "slot", broken)
    feed = [event(f"e{n}", "user.signup", "2026-03-01T00:00:00Z", f"u{n}") for n in range(5)]
    feed.append(event("end", "x", "2026-03-14T00:00:00Z", "u0"))
    write_feed(tmp_path, lines_of(feed))
    run(plan_of(tmp_path, friday()), tmp_path, batch=2, deliver=False)
    assert Counter(it.user for it in effects_of(tmp_path)) == {"u0": 2, "u1": 2, "u3": 2, "u4": 2}
    store = SqliteStore.open(tmp_path / "s.db", read_only=True)
    told = [(it.feed, it.reason, it.message) for it in store.quarantine()]
    store.close()
    assert told == [("slot", "broken_slot", "deciding a slot failed: RuntimeError: planted")] * 2


@pytest.mark.parametrize("batch", [1, 500])
def test_a_subject_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    """A transaction that the store refuses because of one subject: the others get the slot once, events are kept."""
    commit = SqliteStore.commit

    def refusing(self: SqliteStore, made: Any) -> int:
        if any(it.user == "u3" and it.playbook == "p" for it in made.effects):
            raise RuntimeError("planted")
        return commit(self, made)

    monkeypatch.setattr(SqliteStore, "commit", refusing)
    feed = [event(f"e{n}", "user.signup", "2026-03-01T00:00:00Z", f"u{n}") for n in range(9)]
    feed.append(event("end", "x", "2026-03-07T00:00:00Z", "u0"))
    write_feed(tmp_path, lines_of(feed))
    done = run(plan_of(tmp_path, friday()), tmp_path, batch=batch, deliver=False)
    assert Counter(it.user for it in effects_of(tmp_path)) == {f"u{n}": 1 for n in range(9) if n != 3}
    assert (done.accepted, done.quarantined) == (10, 1)
    store = SqliteStore.open(tmp_path / "s.db", read_only=True)
    assert [(it.reason, b"u3" in it.raw) for it in store.quarantine()] == [("broken_slot", True)]
    store.close()


def test_made_known_by_the_slot_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whom an entry makes known has its turn in the same slot when its id comes later, whatever the chunks."""
    book = friday().replace(HI, "steps:\n  - emit: {type: told, user: '{{ user.friend }}'}\n    if: user.friend\n")
    program = plan_of(tmp_path, book)
    friends = {"b": "c", "c2": "a", "d": "e"}
    feed = [event(user, "user.signup", "2026-03-01T00:00:00Z", user, friend=it) for user, it in friends.items()]
    feed.append(event("end", "x", "2026-03-07T00:00:00Z", "b"))
    content = lines_of(feed)
    for chunk in (1, 2, 5_000):
        monkeypatch.setattr(walk, "CHUNK", chunk)
        simulated(program, write_feed(tmp_path, content))
        root = tmp_path / f"chunk{chunk}"
        root.mkdir()
        write_feed(root, content)
        run(program, root, deliver=False)
        store = SqliteStore.open(root / "s.db", read_only=True)
        entered = store.summary()["p"]["entered"]
        known = [state.id for state in store.subjects()]
        store.close()
        assert known == ["a", "b", "c", "c2", "d", "e"]
        assert entered == 5, chunk  # b, c (made known by b), c2, d, e (made known by d); a comes too late


def test_paused_in_the_middle_of_a_blast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A playbook paused while a slot is walked stops there, and does not go on when it comes back."""
    feed = [event(f"e{n}", "user.signup", "2026-03-01T00:00:00Z", f"u{n}") for n in range(4)]
    write_feed(tmp_path, lines_of(feed))
    plan = plan_of(tmp_path, friday()).plan
    assert plan is not None
    run(plan_of(tmp_path, friday()), tmp_path, deliver=False)
    store = SqliteStore.open(tmp_path / "s.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(walk, "CHUNK", 2)
        session = Session(plan, store, secret=b"")
        session.settle(parse_instant("2026-03-06T10:00:00Z"))
        store.commit(session.batch())
    store.close()
    for status, place in (("paused", 1), ("live", 2)):
        feed.append(event(f"x{place}", "x", f"2026-03-06T10:0{place}:00Z", "u0"))
        write_feed(tmp_path, lines_of(feed))
        run(plan_of(tmp_path, friday(), status), tmp_path, deliver=False)
    assert sorted(str(it.user) for it in effects_of(tmp_path)) == ["u0", "u1"]


def test_a_crowd_outside_the_audience(tmp_path: Path) -> None:
    """Of 10,001 users six are let in, at the seams of the chunks and made fit by an entry before: nobody else, and none
    of them is passed over with the thousands who are not even likely to."""
    audience = '\'user.city == "in" or count("told") >= 1\''
    steps = f"{HI}  - emit: {{type: told, user: '{{{{ user.friend }}}}'}}\n    if: user.friend\n"
    program = plan_of(tmp_path, friday(audience).replace(HI, steps))
    size = walk.CHUNK
    inside: dict[int, dict[str, str]] = {0: {"friend": f"u{size - 2:05}"}, size - 1: {"friend": f"u{2 * size - 1:05}"}}
    inside |= {size: {}, 2 * size: {}}
    feed = [
        event(f"e{n}", "user.signup", "2026-03-01T00:00:00Z", f"u{n:05}", city="in" if n in inside else "out", **fields)
        for n in range(2 * size + 1)
        for fields in [inside.get(n, {})]
    ]
    feed.append(event("end", "x", "2026-03-07T00:00:00Z", "u00000"))
    effects = simulated(program, write_feed(tmp_path, lines_of(feed)))
    told = [str(it.user) for it in effects if it.kind == "message"]
    assert sorted(told) == [f"u{n:05}" for n in (0, size - 2, size - 1, size, 2 * size - 1, 2 * size)]
