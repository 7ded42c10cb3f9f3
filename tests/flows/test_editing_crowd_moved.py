"""A crowd in flight that is moved by a map: every kind of step is edited, and each person goes where its line says.

The oracle is three plain sentences about where somebody stood: kept people get what a twin of the world gets that was
never edited; cancelled ones get nothing more; moved ones get the new version's deeds from there on, each once, to the
end. ``DRUMBEAT_CROWD`` sets the size, as for the crowd that finishes on its versions (default 30: 330 people).
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from crash_world import without_disk
from editing_kit import World
from test_editing_crowd import BASE_FILES, EDITS, END, PEOPLE, PLAYBOOK

from engine.core.model import Effect, Journey

CROWD = PEOPLE * 11
CAME = 5.0  # days over which people come
PUBLISHED = 5.05  # day of the edit

WALK = [
    "gift", "first", "pause", "ways", "active", "quiet", "test", "in_a", "wait_b", "in_b", "look", "buyer", "cold",
    "seat", "told", "asked", "hook", "rounds", "each", "calls", "second", "rest", "enough", "last",
]  # fmt: skip
"""The steps as people come by them."""

MARKS = {
    "gift": ("gift", "other"), "first": ("first", "second"), "active": ("3", "4"), "quiet": ("quiet", "silent"),
    "buyer": ("buyer", "keen"), "cold": ("true", "false"), "seat": ("club", "circle"), "told": ("joined", "met"),
    "asked": ("see", "ask"), "hook": ("crm", "erp"), "last": ("7", "8"),
}  # fmt: skip
"""Step -> a word of what it does, before and after the edit."""

MAPS: list[dict[str, str]] = [
    {"pause": "keep", "wait_b": "cancel", "rest": "last"},
    {"pause": "look", "look": "keep", "second": "cancel", "rest": "second"},
    {"pause": "ways", "wait_b": "seat", "rest": "keep", "each": "keep"},
]


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with without_disk():
        yield


def edited(lines: dict[str, str]) -> str:
    """The playbook with every kind of step edited, ``rest`` gone, and the map of what becomes of people."""
    text = PLAYBOOK
    whole = ("  - emit: {type: met", "  - wait: 2d", "    id: look\n", "    id: extra", "title: Crowd", "trigger:")
    for old, new in EDITS:
        if not old.startswith(whole):
            assert old in text, old
            text = text.replace(old, new)
    gone = "  - wait: {days: 1}\n    id: rest\n"
    assert gone in text
    return text.replace(gone, "") + f"on_change: move\nmigrate: {json.dumps(lines)}\n"


def life() -> list[tuple[float, str, str, dict[str, Any]]]:
    """What the crowd does: (day, type, user, data)."""
    rng, rows = random.Random(11), []
    for number in range(CROWD):
        user, came = f"p{number:05d}", rng.random() * CAME
        rows += [(came, "user.signup", user, {}), (came + 0.02, "app.opened", user, {})]
        for _ in range(rng.randrange(6)):
            kind = rng.choice(["app.opened", "app.opened", "order.paid", "order.paid", "left"])
            kind = "app.opened" if kind == "left" and rng.random() < 0.7 else kind
            data = {"amount": rng.choice([5, 25, 45])} if kind == "order.paid" else {}
            rows.append((came + 0.05 + rng.random() * 9, kind, user, data))
    return sorted(rows, key=lambda row: row[0])


def put(world: World, rows: list[tuple[float, str, str, dict[str, Any]]]) -> None:
    for day, kind, user, data in rows:
        world.happen(kind, day, [user], **data, write=False)


def by_user(world: World) -> dict[str, list[Effect]]:
    found: dict[str, list[Effect]] = {}
    for effect, _ in world.effects():
        if effect.playbook == "crowd":
            found.setdefault(effect.user or "", []).append(effect)
    return found


def standing(world: World) -> dict[str, Journey]:
    """User -> its journey in the crowd."""
    return {
        state.id: journey
        for state in world.states().values()
        for journey in state.journeys
        if journey.playbook == "crowd"
    }


def told(world: World, users: set[str]) -> dict[str, list[tuple[str, str]]]:
    """User -> (verdict, text) of what the publication did to it."""
    store = world.store()
    try:
        rows = {user: [it for it in store.decisions(user) if it.cause == {"wake": "publish"}] for user in users}
        return {user: [(it.verdict, it.why[0].text) for it in found] for user, found in rows.items()}
    finally:
        store.close()


@pytest.mark.parametrize("number", range(len(MAPS)))
def test_a_crowd_is_moved(tmp_path: Path, number: int, record_property: Callable[[str, object], None]) -> None:
    """Kept people finish as if nothing had been edited, cancelled ones get nothing more, all others go on with the new
    version from the step their line names: each step once, none before it, none left out, and nobody enters twice.

    Semantics: edit.move, edit.migrate
    Failure: edit.running — moved by a map
    """
    lines, rows = MAPS[number], life()
    bought = {row[2] for row in rows if row[3].get("amount", 0) >= 40}
    files = {"playbooks/crowd.yaml": PLAYBOOK, "templates/first.box.j2": "first"}
    world = World(tmp_path / "moved", {**BASE_FILES, **files})
    put(world, [row for row in rows if row[0] <= CAME])
    world.until(CAME)
    twin = world.copy(tmp_path / "twin")
    before, stood = by_user(world), standing(world)
    assert len(stood) > CROWD / 2
    assert {it.at for it in stood.values()} >= {"pause", "wait_b", "look", "second", "rest"}
    world.write({"playbooks/crowd.yaml": edited(lines)})
    put(world, [row for row in rows if CAME < row[0] <= PUBLISHED])
    done = world.until(PUBLISHED)
    fate = {user: lines.get(journey.at, journey.at) for user, journey in stood.items()}
    kept, cancelled = ({user for user, what in fate.items() if what == word} for word in ("keep", "cancel"))
    moved = fate.keys() - kept - cancelled
    assert (done.published.moved, done.published.cancelled) == (len(moved), len(cancelled))
    assert kept or cancelled
    assert len(moved) > CROWD / 10
    put(twin, [row for row in rows if CAME < row[0] <= PUBLISHED])
    for one in (world, twin):
        put(one, [row for row in rows if row[0] > PUBLISHED])
        one.until(END)
    got, wanted = by_user(world), by_user(twin)
    ended = told(world, cancelled)
    for user in stood:
        earlier = before.get(user, [])
        assert got.get(user, [])[: len(earlier)] == earlier
        later = got.get(user, [])[len(earlier) :]
        if user in kept:
            assert got.get(user) == wanted.get(user)
        elif user in cancelled:
            assert later == []
            assert ended[user] == [("exited", "changed")]
        else:
            as_of_the_new(user, earlier, later, fate[user], user in bought)
    for user in got.keys() - stood.keys():
        assert got[user] == wanted[user], "it was through before the edit"
    assert world.summary("crowd")["entered"] == CROWD
    assert not standing(world)
    record_property("in_flight", len(stood))
    record_property("moved", len(moved))
    record_property("kept", len(kept))
    record_property("cancelled", len(cancelled))


def as_of_the_new(user: str, earlier: list[Effect], later: list[Effect], begins: str, bought: bool) -> None:
    """What a moved person got: by the new version, not before the step it began at, nothing twice, up to the end.

    By the new version whoever bought is through, and nothing else ends a journey before its last step.
    """
    steps = [it.step for it in later]
    assert all(WALK.index(step or "") >= WALK.index(begins) for step in steps), (user, begins, steps)
    often = {step: many for step, many in Counter(it.step for it in (*earlier, *later)).items() if many > 1}
    assert often.keys() <= {"each"}, (user, often)
    assert often.get("each", 0) <= 3
    for it in later:
        old, new = MARKS.get(it.step or "", ("", ""))
        said = json.dumps(it.detail)
        assert new in said, (user, it)
        assert not old or f'"{old}' not in said, (user, it)
    assert "last" in steps or bought, (user, begins, steps)
