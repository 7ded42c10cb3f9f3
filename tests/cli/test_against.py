"""``drumbeat validate --against``: what edits do to people on their way, against a git revision and against a store.

``validate --against <git rev or store>`` fails when a step with people in it vanishes without a
``migrate`` line.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from conftest import Drumbeat, Make, Said

SLOW = """\
playbook: slow
title: 慢
owner: a@b.example
trigger: {event: order.paid}
entry: {mode: once, key: event.user}
goal: {event: app.opened, within: 7d}
steps:
  - wait: 3d
    id: pause
  - split: {arms: [{name: a, weight: 50, do: [{points: 1}]}, {name: b, weight: 50, do: [{points: 2}]}]}
    id: test
  - wait: 3d
    id: rest
  - points: 5
    id: thanks
"""
FILE = "playbooks/slow.yaml"


@pytest.fixture
def root(make: Make) -> Path:
    """A program in a folder of a git repository, committed."""
    made = make({FILE: SLOW}, name="repo/shops/tea")
    (made / "drumbeat.yaml").write_text((made / "drumbeat.yaml").read_text() + "feeds: [{file: feed.jsonl}]\n")
    git(made.parents[1], "init", "-q", "-b", "main")
    commit(made)
    return made


def git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=t", "-c", "user.email=t@t.example", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, "-C", str(folder), *words], check=True, capture_output=True)


def commit(folder: Path) -> None:
    git(folder, "add", "-A", ".")
    git(folder, "commit", "-q", "-m", "change")


def edit(root: Path, *pairs: tuple[str, str], more: str = "") -> None:
    text = SLOW
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    (root / FILE).write_text(text + more, encoding="utf-8")


def codes(said: Said) -> list[tuple[str, str]]:
    """What is said of edits and errors; the fixture's own loose ends are not the matter here."""
    found = [(it["severity"], it["code"]) for it in said.json["problems"]]
    return [it for it in found if it[1] not in ("unused", "missing-owner", "untested")]


PAUSE = "  - wait: 3d\n    id: pause\n"


def test_nothing_changed(drumbeat: Drumbeat, root: Path) -> None:
    """An unchanged program, or one whose steps only changed inside, passes."""
    assert drumbeat("validate", "--program", root, "--against", "HEAD").code == 0
    edit(root, ("points: 5", "points: 6"), ("title: 慢", "title: 很慢"))
    said = drumbeat("validate", "--program", root, "--against", "main", "--strict")
    assert (said.code, said.out) == (0, "2 playbook(s), 1 template(s): no problems\n")


def test_a_removed_step_fails(drumbeat: Drumbeat, root: Path) -> None:
    """A step in which people can stand is gone: exit 1, with the place, the older place and the next move.

    Semantics: edit.against
    """
    edit(root, (PAUSE, ""))
    said = drumbeat("validate", "--program", root, "--against", "HEAD", "--quiet")
    assert said.code == 1
    assert said.out == (
        "playbooks/slow.yaml:7:1: error[step-removed]: step 'pause' (wait), playbooks/slow.yaml:8:5 at HEAD, is gone"
        " from playbook 'slow', and people may stand in it\n"
        "  7 | steps:\n"
        "    | ^^^^^ write migrate: {pause: keep}, cancel, or the step they go on at, such as test\n"
    )


@pytest.mark.parametrize("line", ["migrate: {pause: keep}", "migrate: {pause: rest}", "on_change: cancel"])
def test_a_line_of_migrate_passes(drumbeat: Drumbeat, root: Path, line: str) -> None:
    """Where it is said what becomes of people, nothing is wrong.

    Semantics: edit.against
    """
    edit(root, (PAUSE, ""), more=line + "\n")
    assert drumbeat("validate", "--program", root, "--against", "HEAD").code == 0


def test_a_step_nobody_can_stand_in(drumbeat: Drumbeat, root: Path) -> None:
    """A step that is over at once may go without a word."""
    edit(root, ("  - points: 5\n    id: thanks\n", ""))
    assert drumbeat("validate", "--program", root, "--against", "HEAD", "--strict").code == 0


@pytest.mark.parametrize(
    ("old", "new", "code", "words"),
    [
        ("weight: 50, do: [{points: 1}]}, {name: b, weight: 50", "weight: 90, do: [{points: 1}]}, {name: b, weight: 10",
         "arms-changed", "were a 50%, b 50% and are a 90%, b 10%"),
        ("{name: b,", "{name: c,", "arms-changed", "were a 50%, b 50% and are a 50%, c 50%"),
        ("split: {arms", "split: {salt: x, arms", "salt-changed", "was 'slow/test' and is 'x': people change arms"),
        ("    id: test\n", "", "salt-changed", "was 'slow/test' and is 'slow/split[1]'"),
        ("key: event.user", "key: event.id", "key-changed", "was 'event.user' and is 'event.id'"),
        (", key: event.user", "", "key-changed", "was 'event.user' and is none"),
        ("within: 7d", "within: 9d", "goal-changed", "was app.opened within 7d and is app.opened within 9d"),
        ("goal: {event: app.opened, within: 7d}\n", "", "goal-changed", "is none"),
    ],
)  # fmt: skip
def test_what_else_changed(drumbeat: Drumbeat, root: Path, old: str, new: str, code: str, words: str) -> None:
    """Arms, salts, keys and goals that changed are warnings: exit 0, and 1 with --strict."""
    edit(root, (old, new))
    said = drumbeat("validate", "--program", root, "--against", "HEAD", "--format", "json")
    assert (said.code, codes(said)) == (0, [("warning", code)])
    assert words in said.json["problems"][0]["message"]
    assert drumbeat("validate", "--program", root, "--against", "HEAD", "--strict").code == 1


def test_an_edit_that_is_meant_is_silenced(drumbeat: Drumbeat, root: Path) -> None:
    """``# allow:`` silences a warning about an edit; where nothing is compared, the comment is not called unused."""
    meant = "goal: {event: app.opened, within: 9d}  # allow: goal-changed — 新规则\n"
    edit(root, ("goal: {event: app.opened, within: 7d}\n", meant))
    assert drumbeat("validate", "--program", root, "--against", "HEAD", "--strict").code == 0
    assert drumbeat("validate", "--program", root, "--strict").code == 0


def test_steps_named_after_their_places(drumbeat: Drumbeat, root: Path) -> None:
    """Moving people in a playbook whose steps have no ids, and other places than before, is a warning."""
    bare = [("    id: pause\n", ""), ("    id: rest\n", "")]
    edit(root, *bare)
    commit(root)
    new = ("  - points: 5\n", "  - wait: 9d\n  - points: 5\n")
    put_before = ("steps:\n", "steps:\n  - wait: 1h\n")
    edit(root, *bare, put_before, more="on_change: move\nmigrate: {'wait[2]': keep}\n")
    said = drumbeat("validate", "--program", root, "--against", "HEAD", "--format", "json")
    assert codes(said) == [("warning", "step-unnamed")]
    assert said.json["problems"][0]["message"].startswith("'wait[0]' of playbook 'slow'")
    edit(root, *bare, new)
    assert drumbeat("validate", "--program", root, "--against", "HEAD", "--strict").code == 0


def test_holdout_salt(drumbeat: Drumbeat, root: Path) -> None:
    """Another salt of a holdout draws everybody anew."""
    edit(root, more="holdout: {percent: 10}\n")
    commit(root)
    edit(root, more="holdout: {percent: 10, salt: neu}\n")
    said = drumbeat("validate", "--program", root, "--against", "HEAD")
    assert "warning[salt-changed]: the salt of holdout was 'slow' and is 'neu'" in said.out
    assert "^^^^^^^ write salt: slow" in said.out


def test_a_removed_playbook(drumbeat: Drumbeat, root: Path) -> None:
    """A playbook that is gone is a warning, one that is archived is not."""
    (root / FILE).unlink()
    said = drumbeat("validate", "--program", root, "--against", "HEAD", "--format", "json")
    assert (said.code, codes(said)) == (0, [("warning", "playbook-removed")])
    edit(root, (PAUSE, ""), more="status: archived\n")
    assert drumbeat("validate", "--program", root, "--against", "HEAD", "--strict").code == 0


def test_a_draft_has_nobody(drumbeat: Drumbeat, root: Path) -> None:
    """What was a draft had nobody in it."""
    edit(root, more="status: draft\n")
    commit(root)
    edit(root, (PAUSE, ""))
    assert drumbeat("validate", "--program", root, "--against", "HEAD", "--strict").code == 0


def test_older_templates_and_lists_are_read(drumbeat: Drumbeat, root: Path) -> None:
    """The program is compiled as it was: with its templates and lists, which may be gone since."""
    (root / "lists").mkdir()
    (root / "lists" / "员工.csv").write_text("u1\n", encoding="utf-8")
    (root / "playbooks/catalog.yaml").write_text("segments: {staff: {list: lists/员工.csv}}\n", encoding="utf-8")
    (root / "templates/bye.box.j2").write_text("再见\n", encoding="utf-8")
    edit(
        root,
        (
            PAUSE,
            PAUSE
            + "  - message: {template: bye, via: box, purpose: service}\n    id: bye\n    if: in_segment('staff')\n",
        ),
    )
    commit(root)
    for name in ("lists/员工.csv", "playbooks/catalog.yaml", "templates/bye.box.j2"):
        (root / name).unlink()
    edit(root)
    said = drumbeat("validate", "--program", root, "--against", "HEAD", "--format", "json")
    assert [(it["code"], "'bye' (message)" in it["message"]) for it in said.json["problems"]] == [
        ("step-removed", True)
    ]
    assert said.code == 1


@pytest.mark.parametrize(
    ("against", "code", "words"),
    [
        ("HEADD", 2, "there is no revision 'HEADD', and no store of that name"),
        ("-x", 2, "is no revision"),
        ("sqlite:///nowhere.db", 3, "there is no store at"),
    ],
)
def test_what_cannot_be_compared(drumbeat: Drumbeat, root: Path, against: str, code: int, words: str) -> None:
    """A revision or store that is not there is said in words, with its exit code."""
    said = drumbeat("validate", "--program", root, f"--against={against}")
    assert (said.code, words in said.err) == (code, True), said.err


def test_outside_of_git(drumbeat: Drumbeat, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is in no repository cannot be compared with a revision."""
    made = make()
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(made.parent))
    said = drumbeat("validate", "--program", made, "--against", "HEAD")
    assert said.code == 3
    assert "is in no git repository" in said.err


def test_an_older_program_that_was_invalid(drumbeat: Drumbeat, root: Path) -> None:
    """Nothing can be compared with a revision that did not validate; nor does a broken program hide behind it."""
    edit(root, ("entry: {mode: once", "entry: {mode: onec"))
    commit(root)
    said = drumbeat("validate", "--program", root, "--against", "HEAD")
    assert said.code == 1
    assert "not compared with HEAD: mend the errors first" in said.err
    edit(root)
    said = drumbeat("validate", "--program", root, "--against", "HEAD")
    assert (said.code, "the program as of HEAD is invalid" in said.err) == (1, True)


def test_no_program_at_the_revision(drumbeat: Drumbeat, root: Path, make: Make) -> None:
    """A program that was not there at the revision has nothing to be compared with."""
    other = make({FILE: SLOW}, name="repo/shops/new")
    said = drumbeat("validate", "--program", other, "--against", "HEAD")
    assert said.code == 1
    assert "there is no drumbeat.yaml in shops/new/ as of HEAD" in said.err


# -- against a store


@pytest.fixture
def store(drumbeat: Drumbeat, root: Path) -> str:
    """The store of the program: u3 waits in ``pause``, u1 and u2 have been through it or are behind it."""
    feed = [
        ("order.paid", "u1", "2026-03-01T01:00:00Z"), ("order.paid", "u2", "2026-03-05T01:00:00Z"),
        ("order.paid", "u3", "2026-03-08T01:00:00Z"), ("tick", "clock", "2026-03-09T01:00:00Z"),
    ]  # fmt: skip
    rows = [json.dumps({"id": str(n), "type": a, "user": b, "time": c}) for n, (a, b, c) in enumerate(feed)]
    (root / "feed.jsonl").write_text("\n".join(rows) + "\n")
    assert drumbeat("run", "--until-idle", "--program", root, "--quiet").code == 0
    return "sqlite:///drumbeat.db"


def test_people_in_a_removed_step(drumbeat: Drumbeat, root: Path, store: str) -> None:
    """People who stand in a step that is gone are counted; by path the store is found as well.

    Semantics: edit.against
    """
    edit(root, (PAUSE, ""))
    for against in (store, root / "drumbeat.db"):
        said = drumbeat("validate", "--program", root, "--against", against, "--format", "json")
        assert (said.code, codes(said)) == (1, [("error", "step-removed")])
        problem = said.json["problems"][0]
        assert "'pause' (wait) is gone from playbook 'slow', and 1 person of version" in problem["message"]
        assert problem["message"].endswith(" stands in it")
        assert (problem["file"], problem["line"], problem["hint"][:30]) == (FILE, 7, "write migrate: {pause: keep}, ")


def test_nobody_in_a_removed_step(drumbeat: Drumbeat, root: Path, store: str) -> None:
    """A step in which nobody stands may go, although somebody could."""
    edit(root, ("  - wait: 3d\n    id: rest\n", ""))
    said = drumbeat("validate", "--program", root, "--against", store, "--strict")
    assert said.code == 1  # u2 stands there
    assert "1 person of version" in said.out
    edit(root, ("  - points: 5\n    id: thanks\n", ""))
    assert drumbeat("validate", "--program", root, "--against", store, "--strict").code == 0


def test_store_without_changes(drumbeat: Drumbeat, root: Path, store: str) -> None:
    """Against a store whose people are all on the present version nothing is wrong, and nothing is written."""
    before = (root / "drumbeat.db").read_bytes()
    assert drumbeat("validate", "--program", root, "--against", store, "--strict").code == 0
    assert (root / "drumbeat.db").read_bytes() == before


def test_store_arms_and_removed_playbook(drumbeat: Drumbeat, root: Path, store: str) -> None:
    """Arms are compared with the versions people are on; a playbook that is gone says how many are in it."""
    edit(root, ("{name: b,", "{name: c,"))
    said = drumbeat("validate", "--program", root, "--against", store, "--format", "json")
    assert codes(said) == [("warning", "arms-changed")]
    (root / FILE).unlink()
    said = drumbeat("validate", "--program", root, "--against", store, "--format", "json")
    assert codes(said) == [("warning", "playbook-removed")]
    assert "2 people in it finish on their version" in said.json["problems"][0]["message"]


def test_a_version_that_cannot_be_compiled(drumbeat: Drumbeat, root: Path, store: str) -> None:
    """People on a version that names a channel that is gone: an error, with their number and the reason."""
    edit(root, ("  - points: 5\n", "  - message: {template: thanks, via: box, purpose: service}\n"))
    drumbeat("run", "--until-idle", "--program", root)
    text = (root / "feed.jsonl").read_text()
    row = {"id": "n", "type": "order.paid", "user": "u9", "time": "2026-03-09T02:00:00Z"}
    (root / "feed.jsonl").write_text(text + json.dumps(row) + "\n")
    drumbeat("run", "--until-idle", "--program", root)
    program = (
        (root / "drumbeat.yaml")
        .read_text()
        .replace("{box: {via: file, path: out/box.jsonl}}", "{post: {via: console}}")
    )
    (root / "drumbeat.yaml").write_text(program)
    (root / "playbooks/thanks.yaml").unlink()
    edit(root)
    said = drumbeat("validate", "--program", root, "--against", store, "--format", "json")
    assert (said.code, codes(said)) == (1, [("error", "version-lost")])
    assert "1 person stands still: unknown channel 'box'" in said.json["problems"][0]["message"]
