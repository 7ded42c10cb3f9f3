"""``on_change``, ``migrate`` and ``status``: what a publication does to those on their way.

A ``migrate`` map (step: keep | cancel | other step) moves runs.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from crash_world import without_disk
from editing_kit import World, playbook

from engine.core.model import DAY
from engine.runtime import publish

BODY = """\
trigger: {signup: true}
entry: {mode: single}
steps:
  - message: {template: hi, via: box, purpose: service}
    id: hello
  - wait: 2d
    id: pause
  - tag: {add: [old]}
    id: mark
  - wait: 2d
    id: rest
  - points: 5
    id: thanks
"""


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with without_disk():
        yield


@pytest.fixture
def world(tmp_path: Path) -> World:
    """u1 waits in ``pause`` until day 2; u2, who came two days before, in ``rest`` until then."""
    made = World(tmp_path, playbook("p", BODY))
    made.happen("user.signup", -2, ["u2"])
    made.happen("user.signup", 0, ["u1"])
    made.until(0.5)
    return made


def steps(world: World, user: str) -> list[tuple[float, str | None]]:
    return [(day, step) for day, step, _ in world.did(user)]


def edit(world: World, how: str, old: str = "add: [old]", new: str = "add: [new]") -> None:
    assert old in BODY
    world.write(playbook("p", how + BODY.replace(old, new)))


# -- on_change


def test_move(world: World) -> None:
    """``on_change: move``: at the next start people go on with the new version at the step they stand at.

    Semantics: edit.move
    """
    edit(world, "on_change: move\n")
    done = world.until(1)
    assert (done.published.moved, done.published.older) == (2, 0)
    (journey,) = world.journeys("u1")
    assert (journey.at, journey.waiting.until if journey.waiting else 0) == ("pause", publish_day(2))
    world.until(9)
    assert steps(world, "u1") == [(0, "hello"), (2, "mark"), (4, "thanks")]
    assert [world.states()[user].tags for user in ("u1", "u2")] == [["new"], ["old"]]
    assert [verdict for verdict, _ in world.told("u1")] == ["advanced"]
    assert "at pause to" in world.told("u1")[0][1]


def publish_day(day: float) -> int:
    from editing_kit import BASE

    return BASE + int(day * DAY)


def test_move_keeps_the_end_of_a_wait(world: World) -> None:
    """Who stands in a wait that the new version makes longer waits as long as it was told when it began."""
    edit(world, "on_change: move\n", "wait: 2d\n    id: pause", "wait: 9d\n    id: pause")
    world.until(9)
    assert steps(world, "u1") == [(0, "hello"), (2, "mark"), (4, "thanks")]


def test_move_where_the_step_became_another(world: World) -> None:
    """A step of the same id and another verb is begun: who waited in it does not wait any longer."""
    edit(world, "on_change: move\n", "wait: 2d\n    id: pause", "points: 1\n    id: pause")
    world.until(9)
    assert sorted(steps(world, "u1")) == [(0, "hello"), (0.5, "mark"), (0.5, "pause"), (2.5, "thanks")]


def test_move_where_the_step_is_gone(world: World) -> None:
    """Without a line in ``migrate``, who stands in a step that is gone finishes on the old version.

    Semantics: edit.move
    """
    edit(world, "on_change: move\n", "  - wait: 2d\n    id: pause\n", "")
    done = world.until(1)
    assert (done.published.moved, done.published.older) == (1, 1)
    world.until(9)
    assert steps(world, "u1") == [(0, "hello"), (2, "mark"), (4, "thanks")]


@pytest.mark.parametrize("how", ["finish", "move", "cancel"])
def test_migrate_to_another_step(world: World, how: str) -> None:
    """A line of ``migrate`` sends people to another step, whatever ``on_change`` says about the rest.

    Semantics: edit.migrate
    """
    edit(world, f"on_change: {how}\nmigrate: {{pause: rest}}\n", "  - wait: 2d\n    id: pause\n", "")
    world.until(9)
    assert steps(world, "u1") == [(0, "hello"), (2.5, "thanks")]
    assert steps(world, "u2")[2:] == ([] if how == "cancel" else [(2, "thanks")])


def test_migrate_keep_and_cancel(world: World) -> None:
    """``keep`` lets people of one step finish, ``cancel`` ends them, against what ``on_change`` says.

    Semantics: edit.migrate
    """
    edit(world, "on_change: cancel\nmigrate: {pause: keep}\n")
    world.until(9)
    assert (len(steps(world, "u1")), len(steps(world, "u2"))) == (3, 2)
    assert world.states()["u1"].tags == ["old"]


def test_cancel(world: World) -> None:
    """``on_change: cancel`` ends journeys with the verdict exited, reason ``changed``; newcomers are not touched.

    Semantics: edit.move
    """
    edit(world, "on_change: cancel\n")
    done = world.until(1)
    assert done.published.cancelled == 2
    assert world.journeys("u1") == []
    assert world.told("u1") == [("exited", "changed")]
    assert world.summary("p")["exited"] == 2
    world.happen("user.signup", 2, ["u3"])
    world.until(9)
    assert [step for _, step in steps(world, "u3")] == ["hello", "mark", "thanks"]
    assert steps(world, "u1") == [(0, "hello")]


def test_cancelled_people_may_enter_again_by_an_event(world: World) -> None:
    """Ending a journey enters nobody; the next event does, as the entry mode says."""
    edit(world, "on_change: cancel\n")
    world.until(1)
    assert world.summary("p")["entered"] == 2
    world.happen("user.signup", 2, ["u1"])
    world.until(3)
    assert world.summary("p")["entered"] == 3


def test_cancel_takes_back_what_is_not_sent(tmp_path: Path) -> None:
    """What a cancelled journey has in the outbox is not sent; what others have is."""
    world = World(tmp_path, {**playbook("p", BODY), **playbook("q", BODY)})
    world.happen("user.signup", 0, ["u1"])
    world.until(0.1, deliver=False)
    edit(world, "on_change: cancel\n")
    world.until(0.2)
    assert [(it.playbook, how) for it, how in world.effects("u1")] in (
        [("p", "cancelled"), ("q", "sent")],
        [("q", "sent"), ("p", "cancelled")],
    )
    assert (world.root / "out" / "box.jsonl").read_text().count('"key"') == 1


def test_what_was_done_is_not_done_again(world: World) -> None:
    """Somebody moved to an earlier place, or past steps in another order, takes no step twice."""
    moved = BODY.replace("  - tag: {add: [old]}\n    id: mark\n", "")
    moved = moved.replace(
        "    id: thanks", "    id: thanks\n  - tag: {add: [again]}\n    id: mark\n  - points: 7\n    id: more"
    )
    world.write(playbook("p", "on_change: move\nmigrate: {rest: hello}\n" + moved))
    world.until(20)
    # u2 has had hello and mark; it goes back to hello, passes it over, waits in pause and rest, and passes mark over
    assert sorted(steps(world, "u2")) == [(-2, "hello"), (0, "mark"), (4.5, "more"), (4.5, "thanks")]
    assert world.states()["u2"].tags == ["old"]
    assert world.states()["u2"].points["main"] == 12
    assert (world.root / "out" / "box.jsonl").read_text().count('"key"') == 2


def test_a_parked_journey_is_mended_by_a_move(tmp_path: Path) -> None:
    """A condition that errs parks people; the version that mends it takes them on from there."""
    broken = BODY.replace("    id: thanks", "    id: thanks\n    if: user.get('x') + 1 > 2")
    world = World(tmp_path, playbook("p", broken.replace("trigger: {signup: true}", "trigger: {event: go}")))
    world.happen("user.signup", 0, ["u1"], x="text")
    world.happen("go", 0, ["u1"])
    world.until(5)
    (journey,) = world.journeys("u1")
    assert journey.waiting is not None
    assert (journey.at, journey.waiting.kind) == ("thanks", "parked")
    world.write(playbook("p", "on_change: move\n" + BODY))
    world.until(6)
    assert steps(world, "u1")[-1] == (5, "thanks")


def test_the_goal_moves_along(world: World) -> None:
    """The goal of the new version counts from the beginning of the journey."""
    edit(world, "on_change: move\ngoal: {event: order.paid, within: 3d}\n")
    world.happen("order.paid", 0.9, ["u1", "u2"], amount=1)
    world.happen("order.paid", 2.5, ["u2"], amount=1)
    world.until(3)
    assert world.summary("p")["goals"] == 2
    assert world.journeys("u1") == []


def test_publishing_once(world: World) -> None:
    """A publication that changed nothing looks at nobody; an edit of something else moves nobody again."""
    edit(world, "on_change: move\n")
    assert world.until(1).published.moved == 2
    assert world.until(1.1).published.moved == 0
    world.write(playbook("other", BODY))
    assert world.until(1.2).published.moved == 0
    assert len(world.told("u1")) == 1


def test_batch_sizes_change_nothing(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A publication in transactions of one subject is a publication in one transaction."""
    monkeypatch.setattr(publish, "AT_ONCE", 1)
    other = world.copy(tmp_path.parent / f"{tmp_path.name}-other")
    edit(world, "on_change: move\nmigrate: {rest: cancel}\n")
    edit(other, "on_change: move\nmigrate: {rest: cancel}\n")
    world.until(9, batch=1)
    monkeypatch.setattr(publish, "AT_ONCE", 1_000)
    other.until(9)
    assert world.effects() == other.effects()
    assert world.states() == other.states()


# -- killed in the middle


def test_killed_while_publishing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed at any point of a publication, the next process finishes it: nobody twice, nobody left."""
    monkeypatch.setattr(publish, "AT_ONCE", 3)
    world = World(tmp_path / "w", playbook("p", BODY))
    people = [f"u{n:02d}" for n in range(10)]
    world.happen("user.signup", -2, people[:5])
    world.happen("user.signup", 0, people[5:])
    world.until(0.5)
    new = "on_change: move\nmigrate: {rest: cancel}\n"

    def published(root: Path, kill_at: int | None) -> tuple[list[str], World]:
        one = world.copy(root)
        edit(one, new)
        passed: list[str] = []

        def fault(point: str) -> None:
            passed.append(point)
            if len(passed) == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

        if kill_at is not None:
            child = os.fork()
            if child == 0:
                one.until(0.6, fault=fault)
                os._exit(0)
            _, status = os.waitpid(child, 0)
            assert os.WIFSIGNALED(status)
            fault = lambda point: None  # noqa: E731
        one.until(0.6, fault=fault)
        return passed, one

    passes, wanted = published(tmp_path / "wanted", None)
    first = passes.index("version.before_begin")
    last = len(passes) - passes[::-1].index("meta.after_commit")
    assert passes[first:last].count("commit.after_commit") == 4
    want = (wanted.states(), wanted.effects(), wanted.summary("p"), [wanted.told(user) for user in people])
    moments = [
        n for n in range(first, last + 1) if passes[n - 1].split(".")[1] in ("after_begin", "after_commit", "states")
    ]
    for moment in moments:
        _, one = published(tmp_path / f"k{moment}", moment)
        got = (one.states(), one.effects(), one.summary("p"), [one.told(user) for user in people])
        assert got == want, passes[moment - 1]


# -- statuses


def test_draft(tmp_path: Path) -> None:
    """A draft is checked and takes no part: nobody enters, and nothing that happens meanwhile counts later.

    Semantics: edit.status
    """
    world = World(tmp_path, playbook("p", "status: draft\n" + BODY))
    world.happen("user.signup", 0, ["u1"])
    world.until(1)
    world.write(playbook("p", BODY))
    world.happen("user.signup", 2, ["u2"])
    world.until(3)
    assert (steps(world, "u1"), [step for _, step in steps(world, "u2")]) == ([], ["hello"])


def test_back_to_draft(world: World) -> None:
    """Who is in a playbook that becomes a draft again stands still, and goes on when it is live.

    Also when something else of the person is due much later.
    """
    other = playbook("q", "trigger: {event: go}\nentry: once\nsteps: [{wait: 90d}, {points: 1}]\n")
    world.write(other)
    world.happen("go", 0.6, ["u1"])
    world.until(0.7)
    world.write(playbook("p", "status: draft\n" + BODY))
    world.until(5)
    assert (len(steps(world, "u1")), len(world.journeys("u1"))) == (1, 2)
    world.write(playbook("p", BODY))
    world.until(6)
    world.until(9)
    assert steps(world, "u1") == [(0, "hello"), (5, "mark"), (7, "thanks")]


def test_shadow(tmp_path: Path) -> None:
    """A shadow decides and records everything, and delivers nothing, also after it went live.

    Semantics: edit.status
    """
    world = World(tmp_path, playbook("p", "status: shadow\n" + BODY))
    world.happen("user.signup", 0, ["u1"])
    world.until(1)
    world.write(playbook("p", BODY))
    world.happen("user.signup", 1.5, ["u2"])
    world.until(9)
    assert [(it.step, it.status, it.reason) for it, _ in world.effects("u1")] == [
        ("hello", "suppressed", "shadow"), ("mark", "suppressed", "shadow"), ("thanks", "suppressed", "shadow"),
    ]  # fmt: skip
    assert [it.status for it, _ in world.effects("u2")] == ["planned"] * 3
    assert world.states()["u1"].points == {}


WAITING = """\
trigger: {signup: true}
entry: {mode: single}
goal: {event: order.paid, within: 30d}
exit: [{event: left}]
steps:
  - wait_for: {event: app.opened, up_to: 5d, then: [{points: 1, id: came}], else: [{points: 2, id: silent}]}
    id: look
"""


def test_paused(tmp_path: Path) -> None:
    """Paused: nobody enters and no step is taken; goals, exits and what people wait for are noticed, acted on after.

    Whoever did what was waited for takes its way, although that was during the pause.

    Semantics: edit.status
    """
    world = World(tmp_path, playbook("p", WAITING))
    people = ["came", "silent", "bought", "left", "slow"]
    world.happen("user.signup", 0, people)
    world.until(0.5)
    world.write(playbook("p", "status: paused\n" + WAITING))
    world.happen("user.signup", 1, ["late"])
    world.happen("app.opened", 2, ["came"])
    world.happen("app.opened", 2.5, ["came"])
    world.happen("order.paid", 2, ["bought"], amount=1)
    world.happen("left", 2, ["left"])
    world.happen("app.opened", 6, ["slow"])  # after the day it was waited for
    world.until(7)
    assert world.effects() == []
    assert [len(world.journeys(user)) for user in [*people, "late"]] == [1, 1, 0, 0, 1, 0]
    assert (world.summary("p")["goals"], world.summary("p")["exited"]) == (1, 1)
    world.write(playbook("p", WAITING))
    world.until(8)
    assert {user: steps(world, user) for user in [*people, "late"]} == {
        "came": [(7, "came")], "silent": [(7, "silent")], "bought": [], "left": [], "slow": [(7, "silent")], "late": [],
    }  # fmt: skip


def test_paused_older_versions(world: World) -> None:
    """A pause holds for the older versions of a playbook too, and they go on where they stood."""
    edit(world, "")
    world.until(1)
    edit(world, "status: paused\n")
    world.until(5)
    assert steps(world, "u1") == [(0, "hello")]
    edit(world, "")
    world.until(6)
    world.until(9)
    assert steps(world, "u1") == [(0, "hello"), (5, "mark"), (7, "thanks")]
    assert world.states()["u1"].tags == ["old"]


def test_paused_queue(tmp_path: Path) -> None:
    """Who stands in the queue of a paused playbook begins when it is live again, also when the one before is gone."""
    body = WAITING.replace("mode: single", "mode: queue, limit: unlimited")
    world = World(tmp_path, playbook("p", body))
    world.happen("user.signup", 0, ["u1"])
    world.happen("user.signup", 0.1, ["u1"])
    world.until(0.5)
    world.write(playbook("p", "status: paused\n" + body))
    world.happen("left", 1, ["u1"])
    world.until(2)
    assert [it.at for it in world.journeys("u1")] == [None]
    world.write(playbook("p", body))
    world.until(3)
    assert [it.at for it in world.journeys("u1")] == ["look"]
    world.until(9)
    assert steps(world, "u1") == [(7, "silent")]


def test_paused_with_people_over_the_limit(tmp_path: Path) -> None:
    """Who waits for its turn while a playbook is paused does not enter in one crowd afterwards: the limit holds."""
    body = "trigger: {signup: true}\nwhen: user.get('city') != 'x'\nentry: {mode: once, limit: 2/day}\n"
    body += "steps: [{points: 1}]\n"
    world = World(tmp_path, playbook("p", body))
    people = [f"u{n}" for n in range(7)]
    world.happen("user.signup", 0.1, people)
    world.until(0.5)
    world.write(playbook("p", "status: paused\n" + body))
    world.happen("user.updated", 2, ["u6"], city="x")
    world.until(5.5)
    assert [len(steps(world, user)) for user in people] == [1, 1, 0, 0, 0, 0, 0]
    world.write(playbook("p", body))
    world.until(9)
    days = sorted(int(steps(world, user)[0][0]) for user in people[:6])
    assert days == [0, 0, 5, 5, 6, 6]
    assert steps(world, "u6") == []


def test_reopening_starts_nothing_that_happened_meanwhile(tmp_path: Path) -> None:
    """Semantics: publish.only-after — only what happens after a playbook is open again starts journeys."""
    body = "trigger: {inactivity: 3d, activity: [app.opened]}\nentry: {mode: single}\nsteps: [{points: 1}]\n"
    world = World(tmp_path, playbook("p", body))
    world.happen("app.opened", 0, ["u1", "u2"])
    world.until(1)
    world.write(playbook("p", "status: paused\n" + body))
    world.until(4)
    world.write(playbook("p", body))
    world.happen("user.updated", 4.5, ["u1", "u2"], zone="Asia/Shanghai")  # everybody's clocks are looked at anew
    world.happen("app.opened", 5, ["u2"])
    world.until(9)
    assert (len(steps(world, "u1")), len(steps(world, "u2"))) == (0, 1)


def test_archived(world: World) -> None:
    """Archived: nobody enters, and who is in it is ended at publication, with what of it is not sent.

    Semantics: edit.status
    """
    world.write(playbook("p", "status: archived\n" + BODY))
    world.happen("user.signup", 1, ["u3"])
    done = world.until(9)
    assert done.published.cancelled == 2
    assert world.told("u1") == [("exited", "archived")]
    assert [steps(world, user) for user in ("u1", "u3")] == [[(0, "hello")], []]
    assert [world.journeys(user) for user in ("u1", "u2", "u3")] == [[], [], []]


def test_archived_with_an_older_version(world: World) -> None:
    """Archiving ends people on older versions as well."""
    edit(world, "")
    world.until(1)
    edit(world, "status: archived\n")
    world.until(9)
    assert world.told("u1") == [("exited", "archived")]
    assert world.summary("p")["exited"] == 2
