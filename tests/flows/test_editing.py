"""Editing playbooks while people are in them.

A run stays on the version it began with (playbook and templates, by content hash).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from crash_world import without_disk
from editing_kit import World, playbook

SLOW = """\
trigger: {signup: true}
entry: once
steps:
  - message: {template: hi, via: box, purpose: service}
    id: hello
  - wait: 2d
    id: pause
  - message: {template: late, via: box, purpose: service}
    id: late
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
    """One playbook, and one person who waits in its second step since day 0."""
    made = World(tmp_path, {**playbook("slow", SLOW), "templates/late.box.j2": "late {{ user.id }}"})
    made.happen("user.signup", 0, ["u1"])
    made.until(0.5)
    return made


def edited(old: str, new: str, more: str = "") -> dict[str, str]:
    assert old in SLOW
    return playbook("slow", more + SLOW.replace(old, new))


def test_a_journey_finishes_on_the_version_it_began_with(world: World) -> None:
    """Semantics: edit.pinned — an edited step, wait or template changes nothing for who began before; newcomers get
    it.

    Failure: edit.running
    """
    (before,) = world.journeys("u1")
    world.write({**edited("  - points: 5", "  - points: 50"), "templates/late.box.j2": "LATE"})
    world.happen("user.signup", 1, ["u2"])
    done = world.until(10)
    assert world.did("u1") == [(0, "hello", "hi u1"), (2, "late", "late u1"), (4, "thanks", "points")]
    assert world.did("u2") == [(1, "hello", "hi u2"), (3, "late", "LATE"), (5, "thanks", "points")]
    assert [world.states()[user].points["main"] for user in ("u1", "u2")] == [5, 50]
    assert done.published.older == 1
    assert before.version


def test_what_is_no_meaning_is_no_version(world: World) -> None:
    """Comments, order of keys, title, owner, notes, the file's place and its status leave the version as it is.

    Semantics: step.titles
    """
    (version,) = world.versions()
    world.write({"playbooks/slow.yaml": None})
    text = "# 新\nowner: a@b.example\nplaybook: slow\nstatus: live\nentry: once\n" + SLOW.replace("entry: once\n", "")
    text = text.replace("    id: pause", "    note: a while\n    id: pause") + "title: 慢\n"
    world.write({"playbooks/deep/other.yaml": text})
    world.until(1)
    assert world.versions() == [version]
    world.write({"playbooks/deep/other.yaml": text.replace("wait: 2d", "wait: 3d", 1)})
    world.until(1.5)
    assert len(world.versions()) == 2


def test_the_hash_is_for_good() -> None:
    """The version of a playbook is the same in every release: stores hold it."""
    import hashlib

    from engine.language.versions import canonical

    text = canonical({"b": [1, "中\n", None, True], "a": {}})
    assert text == '{"a": {}, "b": [1, "中\\n", null, true]}'
    assert hashlib.sha256(text.encode()).hexdigest()[:12] == "b9afa3269a85"


def test_nobody_enters_again(world: World) -> None:
    """Semantics: entry.published-again — publishing again never re-enters anyone, whatever was edited, renamed or
    moved."""
    world.until(6)
    world.write({"playbooks/slow.yaml": None})
    text = SLOW.replace("2d", "1d").replace("points: 5", "points: 7")
    world.write({"playbooks/renamed.yaml": f"playbook: slow\ntitle: new\n{text}"})
    world.happen("user.signup", 7, ["u1", "u2"])
    world.until(9)
    assert world.summary("slow")["entered"] == 2
    assert [it[1] for it in world.did("u1")] == ["hello", "late", "thanks"]


def test_effect_keys_do_not_know_versions(world: World, tmp_path: Path) -> None:
    """What is done for somebody has the same keys whether the playbook was edited meanwhile or not.

    Semantics: effect-key.stable
    """
    other = world.copy(tmp_path / "other")
    world.write(edited("points: 5", "points: 6"))
    for one in (world, other):
        one.until(10)
    assert [it.key for it, _ in world.effects()] == [it.key for it, _ in other.effects()]


def test_the_goal_is_that_of_the_version(tmp_path: Path) -> None:
    """A goal is judged as it was when the journey began; it outlives an edit that takes it away."""
    body = "goal: {event: order.paid, if: event.amount >= 10, within: 7d}\n" + SLOW
    world = World(tmp_path, {**playbook("slow", body), "templates/late.box.j2": "late"})
    world.happen("user.signup", 0, ["u1", "u2"])
    world.until(0.5)
    world.write(playbook("slow", body.replace(">= 10", ">= 99")))
    world.happen("order.paid", 1, ["u1"], amount=10)
    world.until(1.1)
    world.write(playbook("slow", SLOW))
    world.happen("order.paid", 1.5, ["u2"], amount=10)
    world.until(8)
    assert world.summary("slow")["goals"] == 2
    assert [it[1] for it in world.did("u2")] == ["hello"]


def test_history_an_old_version_needs_is_kept(tmp_path: Path) -> None:
    """A count only an older version asks for goes on counting after the edit."""
    body = SLOW.replace("    id: thanks", "    id: thanks\n    if: count('app.opened', within='4d') >= 2")
    world = World(tmp_path, {**playbook("slow", body), "templates/late.box.j2": "late"})
    world.happen("user.signup", 0, ["u1", "u2"])
    world.happen("app.opened", 1, ["u1", "u2"])
    world.until(1.5)
    world.write(playbook("slow", SLOW.replace("points: 5", "points: 1")))
    world.happen("app.opened", 2.5, ["u1"])
    world.until(9)
    assert [it[1] for it in world.did("u1")] == ["hello", "late", "thanks"]
    assert [it[1] for it in world.did("u2")] == ["hello", "late"]


def test_the_catalog_an_old_version_names_is_kept(tmp_path: Path) -> None:
    """Coupons, segments and badges that only an older version names may be taken out of the catalog."""
    catalog = (
        "coupons: {tea-10: {codes: {generate: T}, limits: {per_user: 1, total: 9}}}\n"
        "segments: {rich: {if: in_segment('buyer')}, buyer: {if: count('order.paid') >= 1}}\nbadges: {old: {}}\n"
    )
    body = SLOW.replace(
        "  - points: 5", "  - coupon: tea-10\n  - badge: old\n    if: in_segment('rich')\n  - points: 5"
    )
    world = World(
        tmp_path,
        {**playbook("slow", body), "templates/late.box.j2": "late", "playbooks/catalog/c.yaml": catalog},
    )
    world.happen("user.signup", 0, ["u1", "u2"])
    world.until(0.5)
    world.write({"playbooks/catalog/c.yaml": None, **playbook("slow", SLOW)})
    world.happen("order.paid", 1, ["u1"], amount=5)
    world.until(9)
    assert sorted(it.kind for it, _ in world.effects("u1")) == ["badge", "coupon", "message", "message", "points"]
    assert sorted(it.kind for it, _ in world.effects("u2")) == ["coupon", "message", "message", "points"]


def test_belts_are_those_of_the_present(world: World) -> None:
    """A policy belongs to the program: a cap written today holds for who began yesterday."""
    world.write(edited("points: 5", "points: 6"))
    head = (world.root / "drumbeat.yaml").read_text()
    world.write({"drumbeat.yaml": head + "    caps: [{purpose: service, max: never, per: 7d}]\n"})
    world.until(5)
    assert world.did("u1")[1] == (2, "late", "cap")


def test_a_version_that_cannot_be_compiled_stands_still(world: World) -> None:
    """When what an older version needs is gone for good, its people stand still and everybody is told; others go on."""
    head = (world.root / "drumbeat.yaml").read_text()
    changed = edited("points: 5", "points: 6")
    changed = {name: text.replace("via: box", "via: post") for name, text in changed.items()}
    world.write({"drumbeat.yaml": head.replace("{box: {via: file, path: out/box", "{post: {via: file, path: out/box")})
    world.write({**changed, "templates/hi.post.j2": "hi", "templates/late.post.j2": "late"})
    world.happen("user.signup", 1, ["u2"])
    done = world.until(9)
    assert list(done.published.stuck.values()) == ["unknown channel 'box' in 'message.via'"]
    assert [it[1] for it in world.did("u1")] == ["hello"]
    assert [it[1] for it in world.did("u2")] == ["hello", "late", "thanks"]
    world.write({"drumbeat.yaml": head.replace("{box: {via", "{post: {via: file, path: out/post.jsonl}, box: {via")})
    assert not world.until(12).published.stuck
    assert [(it[1], it[0]) for it in world.did("u1")] == [("hello", 0), ("late", 9), ("thanks", 11)]


def test_versions_nobody_is_on_are_forgotten(world: World) -> None:
    """A version is compiled as long as somebody may be on it, and no longer."""
    world.write(edited("points: 5", "points: 6"))
    world.until(1)
    assert len(world.versions()) == 2
    world.until(9)
    world.write(edited("points: 5", "points: 7"))
    world.until(10)
    assert len(world.versions()) == 1
    assert len(world.versions(used=False)) == 3
    world.write(edited("points: 5", "points: 5"))
    world.until(11)
    assert len(world.versions(used=False)) == 3


def test_removing_a_playbook_lets_its_people_finish(world: World) -> None:
    """A playbook taken out of the program takes in nobody; who is in it finishes on the version it began with."""
    world.write({"playbooks/slow.yaml": None, **playbook("other", SLOW.replace("user.signup", "x"))})
    world.happen("user.signup", 1, ["u2"])
    world.until(9)
    assert [it[1] for it in world.did("u1")] == ["hello", "late", "thanks"]
    assert {it.playbook for it, _ in world.effects("u2")} == {"other"}


def test_who_waits_to_enter_begins_on_the_newest(tmp_path: Path) -> None:
    """A journey that has yet to begin (queue, limit) begins on the version that is newest then."""
    body = SLOW.replace("entry: once", "entry: {mode: queue, limit: 1/day}")
    world = World(tmp_path, {**playbook("slow", body), "templates/late.box.j2": "late"})
    world.happen("user.signup", 0, ["u1", "u2"])  # u2 is over the limit
    world.happen("user.signup", 0.1, ["u1"])  # the second journey of u1 stands in the queue
    world.until(0.5)
    world.write(playbook("slow", body.replace("points: 5", "points: 6")))
    world.until(20)
    assert world.states()["u1"].points["main"] == 5 + 6
    assert world.states()["u2"].points["main"] == 6
