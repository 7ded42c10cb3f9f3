"""The lines of the semantics about groups and the program as subjects."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from flow_program import BASE, compiled, effects_of, lines_of, run, simulated, write_feed, write_program_files

from engine.core.instants import format_instant, parse_instant
from engine.core.model import DAY, HOUR, MINUTE, Effect, State
from engine.core.subjects import of_group
from engine.language.compile import compile_program
from engine.stores.sqlite import SqliteStore

HEAD = """\
program: lines
timezone: UTC
feeds: [{file: feed/*.jsonl}]
channels: {box: {via: file, path: out/box.jsonl}}
policies: {default: {consent: {community: none, service: none}, quiet_hours: {from: "22:00", to: "08:00"}}}
"""

Said = tuple[int, str, str | None, str | None, dict[str, Any]]
"""(minutes after the beginning, type, user, group, data)."""


def played(
    root: Path, playbooks: Mapping[str, str], events: list[Said], catalog: str = "", head: str = HEAD
) -> list[Effect]:
    """What ``simulate`` and ``run`` decide, which must be the same."""
    files = {"drumbeat.yaml": head, "templates/hi.box.j2": "{{ group.id }}"}
    for name, text in playbooks.items():
        files[f"playbooks/{name}.yaml"] = f"playbook: {name}\ntitle: {name}\n{text}"
    if catalog:
        files["playbooks/catalog/catalog.yaml"] = catalog
    program = compiled(write_program_files(root, files))
    rows = []
    for place, (minutes, type_, user, group, data) in enumerate(events):
        row = {"id": f"e{place}", "type": type_, "time": format_instant(BASE + minutes * MINUTE), "data": data}
        row |= {name: one for name, one in (("user", user), ("group", group)) if one is not None}
        rows.append(row)
    feed = write_feed(root, lines_of(rows))
    found = simulated(program, feed)
    run(program, root, batch=2)
    assert [(it.key, it.detail, it.status) for it in effects_of(root)] == [
        (it.key, it.detail, it.status) for it in found
    ]
    return found


def state_of(root: Path, subject: str) -> State:
    """What the store has of a subject."""
    store = SqliteStore.open(root / "s.db", read_only=True)
    try:
        return store.load([subject])[subject]
    finally:
        store.close()


def rows(found: list[Effect]) -> list[tuple[str, str | None, str | None]]:
    """(kind, user, group) in order of time; at one instant in order of decision is not known."""
    return [(it.kind, it.user, it.group) for it in found]


def test_own_state(tmp_path: Path) -> None:
    """A group counts, is silent and is tagged by what happens in it, whoever does it, and by nothing else.

    Semantics: group.subject — its own state, clock and history
    """
    found = played(
        tmp_path,
        {
            "busy": "subject: group\ntrigger: {count: {event: group.post, at_least: 3}}\nentry: once\n"
            "when: distinct('group.post', 'user', within='1d') == 2\nsteps: [{tag: {add: [busy]}}]\n",
            "quiet": "subject: group\ntrigger: {inactivity: 1d}\nentry: once\nsteps: [{set: {group.stage: asleep}}]\n",
        },
        [
            (0, "group.post", "u1", "a", {}), (1, "group.post", "u2", "a", {}), (2, "group.post", "u1", "b", {}),
            (3, "group.post", "u1", "a", {}), (3 * 24 * 60, "app.opened", "u1", None, {}),
        ],
    )  # fmt: skip
    assert rows(found) == [("tag", None, "a"), ("set", None, "b"), ("set", None, "a")]
    assert [it.time for it in found[1:]] == [BASE + 2 * MINUTE + DAY, BASE + 3 * MINUTE + DAY]
    state = state_of(tmp_path, of_group("a"))
    assert (state.tags, state.traits, state.last_active) == (["busy"], {"stage": "asleep"}, BASE + 3 * MINUTE)


def test_user_first(tmp_path: Path) -> None:
    """What a user emits to its group at an event comes after the user's turn and before the next event.

    Semantics: group.order
    """
    found = played(
        tmp_path,
        {
            "mine": "trigger: {event: group.post}\nentry: {mode: parallel, limit: unlimited}\n"
            "steps: [{points: 1}, {emit: {type: echoed, group: '{{ event.group }}'}}]\n",
            "ours": "subject: group\ntrigger: {event: group.post}\nentry: {mode: parallel, limit: unlimited}\n"
            "steps: [{task: {assign: ops, title: \"{{ count('echoed') }}\"}}]\n",
        },
        [(0, "group.post", "u1", "a", {}), (1, "group.post", "u2", "a", {})],
    )
    titles = [it.detail["title"] for it in found if it.kind == "task"]
    assert titles == ["1", "2"], "the user's emit was heard before the group's own turn at the event"


def test_members(tmp_path: Path) -> None:
    """Members are counted once however often they join; an erased one is none any more.

    Semantics: group.members — the count, and one event each
    """
    found = played(
        tmp_path,
        {
            "gift": "subject: group\ntrigger: {event: group.kpi}\nentry: {mode: parallel, limit: unlimited}\n"
            "steps: [{emit: {type: gift, to: members, data: {n: '{{ group.members }}'}}}]\n",
            "given": "trigger: {event: gift}\nentry: {mode: parallel, limit: unlimited}\n"
            "steps: [{points: '{{ event.n }}'}]\n",
        },
        [
            (0, "group.joined", "u1", "a", {}), (1, "group.joined", "u1", "a", {}),
            (2, "group.joined", "u2", None, {"group": "a"}),
            (3, "group.joined", "u3", "b", {}), (4, "group.kpi", None, "a", {}), (5, "group.left", "u2", "a", {}),
            (6, "group.left", "u2", "a", {}), (7, "group.kpi", None, "a", {}), (8, "user.deleted", "u1", None, {}),
            (9, "group.kpi", None, "a", {}),
        ],
    )  # fmt: skip
    given = [(it.time - BASE, it.detail["delta"]) for it in found if it.kind == "points"]
    assert given == [(4 * MINUTE, 2), (4 * MINUTE, 2), (7 * MINUTE, 1)], "both, then one of them, then nobody"
    assert state_of(tmp_path, of_group("a")).members == 0


def test_roles(tmp_path: Path) -> None:
    """A role of the catalog is held in one group, by the user and in the group's own state, until its term ends.

    Semantics: group.roles
    """
    found = played(
        tmp_path,
        {
            "user": "trigger: {event: ask}\nentry: {mode: parallel, limit: unlimited}\nwhen: has_role('moderator')\n"
            "steps: [{points: 1}]\n",
            "group": "subject: group\ntrigger: {event: ask}\nentry: {mode: parallel, limit: unlimited}\nsteps:\n"
            "  - task: {assign: ops, title: \"{{ group.roles.moderator | default(['nobody']) | first }}\"}\n",
        },
        [
            (0, "role.granted", "u1", "a", {"role": "moderator"}), (0, "role.granted", "u1", "a", {"role": "king"}),
            (1, "ask", "u1", "a", {}), (2 * 24 * 60, "ask", "u1", "a", {}),
            (2 * 24 * 60 + 1, "role.granted", "u2", "a", {"role": "moderator", "term": "9d"}),
            (5 * 24 * 60, "ask", "u2", "a", {}), (5 * 24 * 60 + 1, "role.revoked", "u2", "a", {"role": "moderator"}),
            (5 * 24 * 60 + 2, "ask", "u2", "a", {}),
        ],
        "roles: {moderator: {per_members: 100, term: 36h, min_tenure: 30d}}\n",
    )  # fmt: skip
    assert [it.user for it in found if it.kind == "points"] == ["u1", "u2"]
    assert [it.detail["title"] for it in found if it.kind == "task"] == ["u1", "nobody", "u2", "nobody"]


def test_post(tmp_path: Path) -> None:
    """A post waits for its hour and for the end of quiet hours in the group's zone, and goes into the group's channel.

    Semantics: group.post, traits.zone-group — the group's own zone
    """
    found = played(
        tmp_path,
        {
            "daily": "subject: group\ntrigger: {event: group.post}\nentry: once\n"
            "steps: [{post: {template: hi, at: '07:00'}}, {post: {template: hi, at: '09:30'}}]\n",
            "user": "trigger: {event: greet}\nentry: once\nsteps: [{post: {group: tokyo, template: hi}}]\n",
        },
        [(0, "group.post", "u1", "tokyo", {}), (10 * 60, "greet", "u2", None, {}), (99 * 60, "x", "u1", None, {})],
        "groups: {tokyo: {zone: Asia/Tokyo, channel: box}}\n",
    )
    first, second, mine = sorted(found, key=lambda it: (it.playbook or "", it.time))
    eight = parse_instant("2026-01-01T23:00:00Z")
    assert eight <= first.time < eight + HOUR, "07:00 in Tokyo is quiet until 08:00 there"
    assert second.time == parse_instant("2026-01-02T00:30:00Z")
    assert (mine.time, mine.user, mine.group, mine.detail) == (
        BASE + 10 * HOUR, "u2", None, {"group": "tokyo", "template": "hi", "text": "tokyo"},
    )  # fmt: skip
    assert all(it.deliver == "box" and it.status == "planned" for it in found)


def test_zone_of_members(tmp_path: Path) -> None:
    """Who has no zone of its own goes by that of the first of its groups that has one, else by the program's.

    Semantics: traits.zone-group
    """
    found = played(
        tmp_path,
        {
            "late": "trigger: {event: ask}\nentry: once\nsteps:\n"
            "  [{set: {user.hour: '{{ hour(now) }}'}}, {wait: {days: 0, at: '23:00'}}, {points: 1}]\n"
        },
        [
            (0, "group.joined", "u1", "plain", {}), (0, "group.joined", "u1", "tokyo", {}),
            (0, "group.joined", "u2", "tokyo", {}), (0, "user.updated", "u2", None, {"zone": "Asia/Shanghai"}),
            (0, "ask", "u1", None, {}), (0, "ask", "u2", None, {}), (0, "ask", "u3", None, {}),
            (99 * 60, "x", "u3", None, {}),
        ],
        "groups: {plain: {}, tokyo: {zone: Asia/Tokyo}}\n",
    )  # fmt: skip
    assert {it.user: it.detail["value"] for it in found if it.kind == "set"} == {"u1": 9, "u2": 8, "u3": 0}
    assert {it.user: (it.time - BASE) // HOUR for it in found if it.kind == "points"} == {"u1": 14, "u2": 15, "u3": 23}


def test_program(tmp_path: Path) -> None:
    """The program hears the events its playbooks name, of everybody, and reaches users by an audience, each once.

    Semantics: program.subject
    """
    found = played(
        tmp_path,
        {
            "rush": "subject: program\ntrigger: {count: {event: order.paid, at_least: 3, within: 1h}}\nentry: once\n"
            "steps:\n  - task: {assign: ops, title: rush}\n  - emit: {type: thanks, audience: user.city == 'x'}\n",
            "thanked": "trigger: {event: thanks}\nentry: once\nsteps: [{points: 1}]\n",
        },
        [
            (0, "user.updated", "u1", None, {"city": "x"}), (0, "user.updated", "u2", None, {"city": "y"}),
            (0, "user.updated", "u3", None, {"city": "x"}),
            *((minute, "order.paid", f"u{minute}", None, {}) for minute in (1, 2, 3, 4)),
        ],
    )  # fmt: skip
    assert [(it.user, it.group) for it in found if it.kind in ("task", "emit")] == [(None, None), (None, None)]
    assert sorted(str(it.user) for it in found if it.kind == "points") == ["u1", "u3"]


TAG = "steps: [{tag: {add: [x]}}]"
OURS = "subject: group\ntrigger: {event: x}\n"


@pytest.mark.parametrize(
    ("playbook", "said"),
    [
        (f"subject: group\ntrigger: {{signup: true}}\n{TAG}", "trigger 'signup' is about a user"),
        (f"{OURS}steps: [{{message: {{template: hi, purpose: service}}}}]", "step 'message' is about a user"),
        (f"{OURS}steps: [{{set: {{user.stage: x}}}}]", "this playbook is about a group"),
        (f"{OURS}when: user.city == 'x'\n{TAG}", "'user' is not known where a group"),
        (f"{OURS}when: group.memebrs > 3\n{TAG}", "'group' has no field 'memebrs'"),
        (f"{OURS}when: in_segment('rich')\n{TAG}", "there is no segment 'rich'"),
        (f"trigger: {{event: x}}\nwhen: group.members > 3\n{TAG}", "'group' has no field 'members' here"),
        ("trigger: {event: x}\nsteps: [{emit: {type: y, to: members}}]", "'emit.to' stands in playbooks of a group"),
        ("trigger: {event: x}\nsteps: [{post: {template: hi}}]", "'post' needs 'group'"),
    ],
)
def test_of_another_subject(tmp_path: Path, playbook: str, said: str) -> None:
    """What belongs to another kind of subject is an error with a hint, not a silent nothing.

    Semantics: group.subject — its playbooks speak of groups alone
    """
    files = {
        "drumbeat.yaml": HEAD,
        "templates/hi.box.j2": "hi",
        "playbooks/one.yaml": f"playbook: one\ntitle: One\nentry: once\n{playbook}\n",
        "playbooks/catalog/catalog.yaml": "segments: {rich: {if: user.city == 'x'}}\n",
    }
    found = compile_program(write_program_files(tmp_path, files))
    wrong = [it for it in found.problems if it.severity == "error"]
    assert len(wrong) == 1, [it.message for it in wrong]
    assert said in wrong[0].message
    assert wrong[0].hint
