"""Nominations: who is proposed, who decides, and what becomes of a term."""

from __future__ import annotations

from pathlib import Path

import pytest
from semantics_kit import HEAD, Row, Seen, event, play
from steps_kit import Live, write

from engine.core.subjects import of_group

ANY = "entry: {mode: parallel, limit: unlimited}\n"
CATALOG = """\
roles: {moderator: {term: 20d, min_tenure: 10d}, scribe: {per_members: 2}}
groups: {tea: {title: 茶友, owner: li, rooms: [{id: t, link: "https://g.example/t", capacity: 50}]}}
"""
FIND = "subject: group\ntrigger: {event: find}\n" + ANY + """steps:
  - nominate: {role: moderator, top: 2, by: 'count("a")', where: 'count("a") >= 1', due: 5d}
    id: found
  - task: {assign: wu, title: "{{ steps.found.appointed | length }} {{ steps.found.declined | length }}"}
"""
TOLD = "trigger: {event: [role.granted, role.expiring, role.revoked]}\n" + ANY + (
    'steps: [{set: {user.told: "{{ event.type }} {{ event.role }}"}}]\n'
)
BOOKS = {"found": FIND, "told": TOLD}
OPEN = HEAD + "profile: open\n"


def in_tea(row: Row) -> Row:
    return {**row, "group": "tea"}


def members(*users: str, day: int = 1) -> list[Row]:
    """They join on a day of January."""
    return [in_tea(event(f"j{user}", "group.joined", f"2026-01-{day:02d}T08:00:00Z", user)) for user in users]


def acts(**counts: int) -> list[Row]:
    """So many acts of each, after the joining."""
    return [
        event(f"{user}{n}", "a", "2026-02-01T08:00:00Z", user) for user, number in counts.items() for n in range(number)
    ]


FINDS = in_tea(event("find", "find", "2026-03-01T08:00:00Z", None))
END = event("end", "x", "2026-05-01T00:00:00Z", "nobody")


def played(root: Path, rows: list[Row], books: dict[str, str] | None = None) -> Seen:
    return play(root, books or BOOKS, sorted(rows, key=lambda row: row["time"]), catalog=CATALOG, head=OPEN)


def proposed(seen: Seen) -> list[str]:
    """Who was proposed, in order."""
    (row,) = [row for row in seen.effects if row["kind"] == "nominate"]
    assert (row["user"], row["group"]) == (None, "tea")
    users: list[str] = row["detail"]["users"]
    return users


def tasks(seen: Seen) -> dict[str, Row]:
    """Candidate -> the row of the task to appoint him."""
    return {row["detail"]["candidate"]: row for row in seen.effects if "candidate" in row["detail"]}


def word(seen: Seen, user: str, outcome: str, time: str) -> Row:
    """The owner's word on a candidate."""
    return in_tea(event(f"w{user}", "task.done", time, None, task=tasks(seen)[user]["key"], outcome=outcome, by="li"))


def test_the_best_are_proposed_and_nobody_else(tmp_path: Path) -> None:
    """Semantics: group.nominate — the top two members by the number; not who is no member, not a member of less than
    the tenure, not who was sanctioned, not who falls short of ``where``."""
    tag = "trigger: {event: muted}\n" + ANY + "steps: [{tag: {add: [sanctioned]}}]\n"
    new = in_tea(event("jnew", "group.joined", "2026-02-20T08:00:00Z", "new"))
    rows = [*members("a1", "a2", "a3", "bad"), new, *acts(a1=2, a2=5, a3=3, bad=9, new=8, stranger=9),
            event("m", "muted", "2026-02-02T08:00:00Z", "bad"), FINDS]  # fmt: skip
    seen = played(tmp_path, rows, {**BOOKS, "tag": tag})
    assert proposed(seen) == ["a2", "a3"]
    assert [tasks(seen)[user]["detail"]["assign"] for user in ("a2", "a3")] == ["li", "li"]


def test_a_tie_goes_to_the_earlier_id(tmp_path: Path) -> None:
    """Equal numbers are told apart by id, so the same group gives the same proposal."""
    assert proposed(played(tmp_path, [*members("c", "a", "b"), *acts(a=1, b=1, c=1), FINDS])) == ["a", "b"]


def test_a_person_appoints(tmp_path: Path) -> None:
    """Semantics: group.nominate — a number appoints nobody: who is approved has the role, who is declined has not, and
    the steps go on when all are decided."""
    rows = [*members("a", "b"), *acts(a=2, b=1), FINDS]
    first = played(tmp_path, rows)
    assert not [row for row in first.effects if row["kind"] == "set"]
    rows += [word(first, "a", "approve", "2026-03-02T08:00:00Z"), word(first, "b", "decline", "2026-03-03T08:00:00Z")]
    seen = played(tmp_path, rows)
    said = [(row["time"], row["user"], row["detail"]["value"]) for row in seen.effects if row["kind"] == "set"]
    assert said == [("2026-03-02T08:00:00Z", "a", "role.granted moderator")]
    (last,) = [row for row in seen.effects if row["kind"] == "task" and row["detail"]["assign"] == "wu"]
    assert (last["time"], last["detail"]["title"]) == ("2026-03-03T08:00:00Z", "1 1")


def test_a_term_is_looked_at_and_ends(tmp_path: Path) -> None:
    """Semantics: group.nominate — a week before the term ends it is told, and at its end the role is over; then the
    user may be proposed once more, and not before."""
    rows = [*members("a"), *acts(a=2), FINDS]
    first = played(tmp_path, rows)
    rows.append(word(first, "a", "approve", "2026-03-02T08:00:00Z"))
    rows += [in_tea(event(f"f{day}", "find", f"2026-03-{day}T08:00:00Z", None)) for day in (20, 23)] + [END]
    seen = played(tmp_path, rows)
    said = [(row["time"], row["detail"]["value"]) for row in seen.effects if row["kind"] == "set"]
    assert said == [
        ("2026-03-02T08:00:00Z", "role.granted moderator"),
        ("2026-03-15T08:00:00Z", "role.expiring moderator"),
        ("2026-03-22T08:00:00Z", "role.revoked moderator"),
    ]
    later = {row["time"]: row["detail"]["users"] for row in seen.effects if row["kind"] == "nominate"}
    assert (later["2026-03-20T08:00:00Z"], later["2026-03-23T08:00:00Z"]) == ([], ["a"])


@pytest.mark.parametrize(
    ("assign", "reason"), [("{{ event.n + 1 }}", "error"), ("{{ event.gone }}", "missing_variable")]
)
def test_nobody_to_appoint_them(tmp_path: Path, assign: str, reason: str) -> None:
    """Who appoints cannot be worked out: one row that says so and proposes nobody, no tasks, and `on_error` decides."""
    steps = FIND.replace("due: 5d}", f"due: 5d, assign: '{assign}'}}\n    on_error: [{{tag: {{add: [later]}}}}]")
    find = in_tea(event("find", "find", "2026-03-01T08:00:00Z", None, n="x"))
    seen = played(tmp_path, [*members("a"), *acts(a=2), find], {"found": steps})
    found = [(row["kind"], row["status"], row["reason"]) for row in seen.effects]
    assert sorted(found) == [("nominate", "suppressed", reason), ("tag", "planned", None), ("task", "planned", None)]
    assert proposed(seen) == []
    assert tasks(seen) == {}


def test_what_nobody_decides_is_withdrawn(tmp_path: Path) -> None:
    """At ``due`` the open proposals are over; a later word appoints nobody."""
    rows = [*members("a", "b"), *acts(a=2, b=1), FINDS]
    first = played(tmp_path, rows)
    rows += [word(first, "a", "approve", "2026-03-05T08:00:00Z"), word(first, "b", "approve", "2026-03-06T08:00:01Z")]
    seen = played(tmp_path, [*rows, END])
    granted = [row["user"] for row in seen.effects if row["kind"] == "set" and "granted" in row["detail"]["value"]]
    assert granted == ["a"]
    (last,) = [row for row in seen.effects if row["kind"] == "task" and row["detail"]["assign"] == "wu"]
    assert (last["time"], last["detail"]["title"]) == ("2026-03-06T08:00:00Z", "1 0")


@pytest.mark.parametrize("how", ["group.left", "user.deleted"])
def test_who_leaves_is_not_appointed(tmp_path: Path, how: str) -> None:
    """A proposal of somebody who left, or was erased, is withdrawn; a word on it comes to nothing."""
    rows = [*members("a", "b"), *acts(a=2, b=1), FINDS]
    first = played(tmp_path, rows)
    gone = event("gone", how, "2026-03-02T08:00:00Z", "a")
    rows += [in_tea(gone) if how == "group.left" else gone]
    rows += [word(first, user, "approve", f"2026-03-0{day}T08:00:00Z") for user, day in (("a", 3), ("b", 4))]
    seen = played(tmp_path, rows)
    granted = [row["user"] for row in seen.effects if row["kind"] == "set"]
    assert granted == ["b"]
    (last,) = [row for row in seen.effects if row["kind"] == "task" and row["detail"]["assign"] == "wu"]
    assert last["detail"]["title"] == "1 0"


def test_an_exit_withdraws_the_proposals(tmp_path: Path) -> None:
    """When the journey ends early nobody needs to decide any more, and nothing is left open."""
    books = {"found": FIND.replace("steps:", "exit: [{event: stop}]\nsteps:", 1), "told": TOLD}
    live = Live(tmp_path, books, catalog=CATALOG, head=OPEN)
    live.run(*sorted([*members("a", "b"), *acts(a=2, b=1), FINDS], key=lambda row: row["time"]))
    assert len(live.state(of_group("tea")).tasks) == 2
    live.run(in_tea(event("stop", "stop", "2026-03-02T08:00:00Z", None)))
    assert list(live.state(of_group("tea")).tasks) == []


def test_no_more_than_there_are_places(tmp_path: Path) -> None:
    """Of a role with ``per_members: 2`` five members have three places; who holds one takes it."""
    books = {**BOOKS, "found": FIND.replace("moderator, top: 2", "scribe, top: 9")}
    granted = in_tea(event("g", "role.granted", "2026-02-02T08:00:00Z", "a", role="scribe"))
    rows = [*members("a", "b", "c", "d", "e"), *acts(a=9, b=5, c=4, d=3, e=2), granted, FINDS]
    assert proposed(played(tmp_path, rows, books)) == ["b", "c"]


def test_nobody_fits(tmp_path: Path) -> None:
    """An empty proposal has its row, no task, and goes on at once."""
    seen = played(tmp_path, [*members("a"), FINDS])
    assert proposed(seen) == []
    assert [row["detail"].get("title") for row in seen.effects if row["kind"] == "task"] == ["0 0"]


@pytest.mark.parametrize("locale", ["zh-CN", "en"])
def test_the_task_says_what_is_asked(tmp_path: Path, locale: str) -> None:
    """The title names candidate, role and group, in the language of the program."""
    head = OPEN + f"locale: {locale}\n"
    rows = sorted([*members("a"), *acts(a=2), FINDS], key=lambda row: row["time"])
    seen = play(tmp_path, BOOKS, rows, catalog=CATALOG, head=head)
    title = {"zh-CN": "任命 a 为 tea 的moderator？", "en": "appoint a as moderator of tea?"}
    assert tasks(seen)["a"]["detail"]["title"] == title[locale]


@pytest.mark.parametrize(
    ("change", "code", "word"),
    [
        (("role: moderator", "role: moderater"), "unknown-role", "moderater"),
        (("subject: group", "subject: program"), "wrong-subject", "nominate"),
        (("'count(\"a\")'", "user.id"), "type-mismatch", "'by'"),
        (("top: 2", "top: 0"), "out-of-range", "top"),
    ],
)
def test_what_cannot_be_proposed_is_said_beforehand(
    tmp_path: Path, change: tuple[str, str], code: str, word: str
) -> None:
    """No such role, a playbook that is about no group, a measure that is no number: each is an error."""
    found = write(tmp_path, {**BOOKS, "found": FIND.replace(*change)}, head=OPEN, catalog=CATALOG)
    said = [problem for problem in found.problems if problem.code == code]
    assert said
    assert word in said[0].message
    assert found.plan is None
