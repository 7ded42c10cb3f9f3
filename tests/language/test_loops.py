"""Circles of playbooks that ``validate`` sees: by ``emit``, by ``start``, by ``set``."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.language.compile import compile_program

ENTRY = "title: t\nentry: {mode: parallel, limit: unlimited}\n"


def loops(root: Path, books: dict[str, tuple[str, str]]) -> list[str]:
    """The messages about circles in a program of playbooks, each (trigger, steps)."""
    (root / "playbooks").mkdir()
    (root / "drumbeat.yaml").write_text("program: x\n")
    for name, (trigger, steps) in books.items():
        text = f"playbook: {name}\n{ENTRY}trigger: {trigger}\nsteps: {steps}\n"
        (root / "playbooks" / f"{name}.yaml").write_text(text)
    problems = compile_program(root).problems
    assert all(it.severity == "error" for it in problems if it.code == "trigger-loop")
    return [it.message for it in problems if it.code == "trigger-loop"]


WAIT = "[{wait: 1d}, {set: {user.n: '{{ event.n }}'}}]"


@pytest.mark.parametrize(
    ("trigger", "steps", "circle"),
    [
        ("{changed: user.n}", WAIT, True),
        ("{changed: user.m}", WAIT, False),
        ("{event: user.updated}", WAIT, False),  # its 'if' may end it; the limit of depth does at one instant
        ("{signup: true}", WAIT, False),
        ("{changed: user.n, to: 5}", "[{set: {user.n: 5}}]", True),
        ("{changed: user.n, to: [4, 5]}", "[{set: {user.m: 1, user.n: 5}}]", True),
        ("{changed: user.n, to: 5}", "[{set: {user.n: 6}}]", False),
        ("{changed: user.n, from: 5}", "[{set: {user.n: 6}}]", True),
        ("{changed: user.n}", "[{choose: [{when: user.n == 1, do: [{set: {user.n: 6}}]}]}]", True),
    ],
)
def test_a_set_that_begins_its_own_playbook(tmp_path: Path, trigger: str, steps: str, circle: bool) -> None:
    """Semantics: loop.seen — also with a `wait` between, where the depth of one instant would never cut it."""
    message = "trigger loop: p (playbooks/p.yaml) sets user.n -> p"
    assert loops(tmp_path, {"p": (trigger, steps)}) == ([message] if circle else [])


def test_a_circle_of_three_kinds(tmp_path: Path) -> None:
    """Edges of all kinds join into one circle, printed file by file.

    Semantics: loop.seen
    """
    books = {
        "a": ("[{event: go}, {called: true}]", "[{emit: {type: b.go}}]"),
        "b": ("{event: b.go}", "[{set: {user.stage: c}}]"),
        "c": ("{changed: user.stage, to: c}", "[{start: a}]"),
    }
    way = ["a (playbooks/a.yaml) emits b.go", "b (playbooks/b.yaml) sets user.stage", "c (playbooks/c.yaml) starts a"]
    assert loops(tmp_path, books) == ["trigger loop: " + " -> ".join([*way, "a"])]


@pytest.mark.parametrize(
    ("trigger", "circle"),
    [
        ("{event: journey.finished}", True),
        ("{event: [order.paid, journey.started]}", True),
        ("[{signup: true}, {event: journey.finished}]", True),
        ("{event: journey.finished, if: 'event.playbook == \"b\"'}", False),
        ("{event: order.paid}", False),
    ],
)
def test_a_playbook_that_hears_its_own_end(tmp_path: Path, trigger: str, circle: bool) -> None:
    """Who listens to every journey's end or begin listens to its own; two of them would begin 262,142 journeys for one
    event before the limit of depth ends it."""
    found = loops(tmp_path, {"a": (trigger, "[{wait: 1d}]"), "b": ("{event: order.paid}", "[{wait: 1d}]")})
    assert bool(found) is circle
    assert all("tells journey." in it for it in found)


POINTS = "[{wait: 1d}, {points: 5}]"


@pytest.mark.parametrize(
    ("trigger", "steps", "circle"),
    [
        ("{event: points.changed}", POINTS, True),
        ("{event: [signup, points.changed]}", "[{points: {take: 5}}]", True),
        ("{count: {event: points.changed, at_least: 3}}", POINTS, True),
        ("{event: points.changed, if: event.balance >= 1000}", POINTS, False),  # that is how it is meant to end
        ("[{event: points.changed, if: event.delta > 9}, {signup: true}]", POINTS, False),
        ("{event: points.changed}", "[{points: 5, if: user.points < 100}]", False),
        ("{event: points.changed}", "[{choose: [{when: user.points > 9, do: [{points: {take: 9}}]}]}]", False),
        ("{event: points.changed}", "[{badge: star}, {tag: {add: rich}}]", False),
        ("{signup: true}", POINTS, False),
    ],
)
def test_points_that_begin_their_own_playbook(tmp_path: Path, trigger: str, steps: str, circle: bool) -> None:
    """Points in a playbook that begins whenever points change are a circle, a `wait` between or not.

    Semantics: loop.seen
    """
    message = "trigger loop: p (playbooks/p.yaml) books points (points.changed) -> p"
    assert loops(tmp_path, {"p": (trigger, steps)}) == ([message] if circle else [])


def test_points_as_one_part_of_a_circle(tmp_path: Path) -> None:
    """Points join with the other edges into one circle.

    Semantics: loop.seen
    """
    books = {"a": ("{event: go}", POINTS), "b": ("{event: points.changed}", "[{wait: 1d}, {emit: {type: go}}]")}
    way = ["a (playbooks/a.yaml) books points (points.changed)", "b (playbooks/b.yaml) emits go"]
    assert loops(tmp_path, books) == ["trigger loop: " + " -> ".join([*reversed(way), "b"])]


# ---------------------------------------------------------------------- through segments

TAKE_ADD = "[{points: {take: 5}}, {points: 5}]"
PARALLEL = "entry: {mode: parallel, limit: unlimited}\n"


def circles(root: Path, segments: str, books: dict[str, tuple[str, str]], more: str = PARALLEL) -> list[str]:
    """The warnings about circles through segments."""
    (root / "playbooks/catalog").mkdir(parents=True)
    (root / "drumbeat.yaml").write_text("program: x\nprofile: {mood: text | none, n: number | none}\n")
    (root / "playbooks/catalog/all.yaml").write_text(f"segments: {segments}\npoints: {{main: {{title: P}}}}\n")
    for name, (trigger, steps) in books.items():
        text = f"playbook: {name}\ntitle: t\n{more}trigger: {trigger}\nsteps: {steps}\n"
        (root / "playbooks" / f"{name}.yaml").write_text(text)
    problems = compile_program(root).problems
    assert [it.message for it in problems if it.severity == "error"] == []
    return [it.message for it in problems if it.code == "segment-loop"]


WARM = "{warm: {if: \"user.mood == 'warm'\"}}"
INTO, OUT_OF = "{segment: {enters: warm}}", "{segment: {leaves: warm}}"


@pytest.mark.parametrize(
    ("first", "second", "circle"),
    [
        ("{set: {user.mood: cold}}", "{set: {user.mood: warm}}", True),
        ("{set: {user.mood: '{{ user.id }}'}}", "{set: {user.mood: warm}}", True),
        ("{set: {user.mood: warm}}", "{set: {user.mood: warm}}", False),  # that moves nobody out
        ("{set: {user.n: 1}}", "{set: {user.mood: warm}}", False),
        ("{set: {user.mood: cold}, if: user.n > 1}", "{set: {user.mood: warm}}", False),
        ("{choose: [{when: user.n > 1, do: [{set: {user.mood: cold}}]}]}", "{set: {user.mood: warm}}", False),
        ("{tag: {add: [cold]}}", "{set: {user.mood: warm}}", False),
    ],
)
def test_traits_that_move_a_segment(tmp_path: Path, first: str, second: str, circle: bool) -> None:
    """Who gets in is set out, who gets out is set in: a circle, where the values do that and nobody is asked.

    Semantics: loop.segment
    """
    found = circles(tmp_path, WARM, {"a": (INTO, f"[{first}]"), "b": (OUT_OF, f"[{second}]")})
    assert bool(found) is circle
    if circle:
        assert "a (playbooks/a.yaml) sets user.mood (out of warm) -> b" in str(found)
        assert "b (playbooks/b.yaml) sets user.mood (into warm) -> a" in str(found)


@pytest.mark.parametrize(
    ("segments", "steps", "circle"),
    [
        ("{warm: {if: \"'x' in user.tags\"}}", "[{tag: {remove: [x]}}, {tag: {add: [x]}}]", True),
        ("{warm: {if: \"'x' in user.tags\"}}", "[{tag: {remove: [x]}}, {tag: {add: [y]}}]", False),
        ("{warm: {if: \"'x' in user.tags\"}}", "[{tag: {add: [x]}}]", False),  # whoever got in is in
        ("{warm: {if: user.points >= 100}}", "[{points: {take: 5}}, {points: 5}]", True),
        ("{warm: {if: user.points >= 100}}", "[{points: 5}]", False),
        ("{warm: {if: user.points < 100}}", "[{points: 5}, {points: {take: 5}}]", True),
        ("{warm: {if: {all: [user.points >= 100, user.n > 3]}}}", "[{points: {take: 5}}, {points: 5}]", True),
        ("{warm: {if: \"in_segment('rich')\"}, rich: {if: user.points >= 100}}", "[{points: {take: 5}}]", False),
        ("{warm: {if: \"in_segment('rich')\"}, rich: {if: user.points > 9}}", TAKE_ADD, True),
        ("{warm: {if: \"user.mood == 'a'\"}}", "[{points: {take: 5}}, {points: 5}]", False),
    ],
)
def test_what_leads_out_of_a_segment_and_back(tmp_path: Path, segments: str, steps: str, circle: bool) -> None:
    """A playbook that begins with a segment, leads out of it and into it again: by tags, by points, by a segment in it.

    Semantics: loop.segment
    """
    assert bool(circles(tmp_path, segments, {"a": (INTO, steps)})) is circle


def test_a_circle_of_traits_segments_and_points(tmp_path: Path) -> None:
    """A sets a trait, that leads into a segment, B takes points for it, and A begins at points that change.

    Semantics: loop.segment
    """
    books = {"a": ("{event: points.changed}", "[{set: {user.mood: warm}}]"), "b": (INTO, "[{points: {take: 1}}]")}
    (found,) = circles(tmp_path, WARM, books)
    assert "sets user.mood (into warm) -> b" in found
    assert "books points (points.changed)" in found


@pytest.mark.parametrize("more", [PARALLEL + "when: user.n > 1\n", "entry: {mode: once, limit: unlimited}\n"])
def test_who_asks_is_no_part_of_a_circle(tmp_path: Path, more: str) -> None:
    """Semantics: loop.segment — a playbook that asks who goes on, or lets each in once, ends it."""
    books = {"a": (INTO, "[{set: {user.mood: cold}}]"), "b": (OUT_OF, "[{set: {user.mood: warm}}]")}
    assert circles(tmp_path, WARM, books, more) == []
