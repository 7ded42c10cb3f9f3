"""``drumbeat diff``: what it takes, what it says, how it ends; small programs, worked out by hand."""

from __future__ import annotations

import json
import os
import subprocess
from io import BytesIO
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import msgspec
import pytest
from wcwidth import wcswidth

from engine.cli import oneside
from engine.cli.diffmark import markdown
from engine.cli.difftext import text
from engine.core.instants import parse_instant
from engine.insight.diff import Side, Sides, compare

TYPE_CHECKING = False
if TYPE_CHECKING:
    from conftest import Drumbeat, Make

GREET = """\
playbook: greet
title: 新客问候与首单提醒的剧本名称很长所以会被截断的
owner: tea@shop.example
trigger: {event: order.paid}
when: event.amount >= 10
entry: {mode: parallel, limit: unlimited}
steps:
  - {message: {template: thanks, via: box, purpose: service}}
  - {coupon: gift, id: gift}
  - {message: {template: gift, via: box, purpose: service, with: {gift: "{{ steps.gift }}"}}, id: say_gift}
  - {points: {add: 5}, id: give}
"""
CATALOG = """\
coupons: {gift: {value: {off: 20, currency: CNY}, codes: {generate: NU}, limits: {per_user: unlimited, total: 50}}}
points: {main: {title: 积分}}
"""
FILES = {
    "playbooks/thanks.yaml": GREET,
    "playbooks/catalog/c.yaml": CATALOG,
    "templates/gift.box.j2": "券 {{ with.gift.code }}，共 {{ user.points }} 分\n",
}
FEED = "".join(
    json.dumps({"id": f"e{n}", "type": "order.paid", "user": who, "time": f"2026-03-0{n}T20:00:00Z", "data": it}) + "\n"
    for n, (who, it) in enumerate((("u1", {"amount": 12}), ("u2", {"amount": 9}), ("u3", {"amount": 30}),
                                     ("u1", {"amount": 40})), 1)
)  # fmt: skip


def compared(old: Path, new: Path, until: str | None = None, limit: int = 3) -> Any:
    """What the verb would say as JSON, with both sides simulated in this process, which is quicker."""
    sides, rows = [], []
    for place in (old, new):
        folder = Path(mkdtemp(dir=place.parent))
        asked = oneside.Request(
            label=place.name, revision=None, root=str(place), home=str(place), events=[str(old / "feed.jsonl")],
            until=None if until is None else parse_instant(until), color=False, quiet=True,
        )  # fmt: skip
        request = folder / oneside.REQUEST
        request.write_bytes(msgspec.json.encode(asked))
        assert oneside.main(request) == 0
        sides.append(msgspec.json.decode((folder / oneside.SIDE).read_bytes(), type=Side))
        rows.append(BytesIO((folder / oneside.ROWS).read_bytes()))
    return compare(Sides(*sides, *rows), limit=limit)


def git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=t", "-c", "user.email=t@t.example", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, "-C", str(folder), *words], check=True, capture_output=True)


def test_two_folders(drumbeat: Drumbeat, make: Make, tmp_path: Path) -> None:
    """A threshold from 10 to 20 takes the first order of one person away: table by table, in all three formats."""
    old = make(FILES, FEED, "old")
    new = make({**FILES, "playbooks/thanks.yaml": GREET.replace(">= 10", ">= 20")}, FEED, "new")
    changes = tmp_path / "changes.jsonl"
    events = ("--events", old / "feed.jsonl")
    said = drumbeat("diff", old, new, *events, "--format", "json", "--changes", changes)
    assert said.code == 1
    found = said.json
    assert found["different"] is True
    assert found["effects"] == {
        "old": 12, "new": 8, "unchanged": 7, "gained": 0, "lost": 4, "moved": 0, "changed": 1, "held_back": 0,
    }  # fmt: skip
    assert found["users"] == {"any": 1, "gain": 0, "lose": 1, "move": 0, "change": 1, "first_time": 0, "no_longer": 0}
    assert [(row["day"], row["old"], row["lost"]) for row in found["by"]["day"]] == [
        ("2026-03-02", 4, 4), ("2026-03-04", 4, 0), ("2026-03-05", 4, 0),
    ]  # fmt: skip
    assert found["cost"]["coupon_value"] == [{"currency": "CNY", "old": 60, "new": 40}]
    assert found["cost"]["points"] == [{"account": "main", "old": 15, "new": 10}]
    assert found["cost"]["messages"] == {"old": 6, "new": 4}
    rows = [json.loads(line) for line in changes.read_text(encoding="utf-8").splitlines()]
    assert {(row["what"], row["user"], row["step"]) for row in rows} == {
        ("lost", "u1", "message[0]"), ("lost", "u1", "gift"), ("lost", "u1", "say_gift"), ("lost", "u1", "give"),
        ("changed", "u1", "say_gift"),
    }  # fmt: skip
    changed = next(row for row in rows if row["what"] == "changed")
    assert changed["fields"] == ["text"]
    assert changed["old"]["detail"]["text"].endswith("共 5 分")
    assert changed["new"]["detail"]["text"].endswith("共 0 分")

    shown = text(found)
    assert "of 1 people whom it touches 1 lose something, 1 get something else" in shown
    table = shown.split("By playbook\n")[1].split("\n\n")[0].splitlines()
    assert "新客问候" in table[2]
    assert len({wcswidth(line) for line in table}) == 1

    mark = drumbeat("diff", old, new, *events, "--format", "markdown", "--mask")
    assert mark.code == 1
    assert mark.out.startswith("<!-- drumbeat diff: tea -->\n### drumbeat diff: of 1 people")
    assert "`user-1`" in mark.out
    assert "u1" not in mark.out.replace("user-1", "")
    assert drumbeat("diff", old, new, *events, "--mask", "--changes", changes).code == 2


def test_what_is_the_same_is_no_difference(make: Make) -> None:
    """Renamed, moved and renumbered steps, another playbook id, another program name: no difference.

    Their keys and codes are others, and the texts hold the codes.

    Semantics: diff.same
    """
    old = make(FILES, FEED, "old")
    renamed = (
        GREET.replace("playbook: greet", "playbook: welcome")
        .replace("say_gift", "tell").replace("id: gift}", "id: offer}").replace("steps.gift", "steps.offer")
        .replace("steps:\n", "steps:\n  - {choose: [{when: event.amount > 1000, do: [{points: 1}]}]}\n")
    )  # fmt: skip
    program = (old / "drumbeat.yaml").read_text(encoding="utf-8").replace("program: tea", "program: coffee")
    new = make({**FILES, "playbooks/thanks.yaml": renamed, "drumbeat.yaml": program}, FEED, "new")
    found = compared(old, new)
    assert found["different"] is False
    assert found["effects"]["unchanged"] == 12
    assert found["renamed"]["playbooks"] == [{"old": "greet", "new": "welcome"}]
    names = {row["old"]["step"]: row["new"]["step"] for row in found["renamed"]["names"]}
    assert names == {"gift": "offer", "message[0]": "message[1]", "say_gift": "tell"}
    assert "nothing differs: 12 effects are the same" in text(found)
    assert "Under another name" in text(found)


def test_a_feed_without_events_is_no_silent_yes(make: Make) -> None:
    """Where the feed held no event that is let in, text and comment say that nothing was compared."""
    old = make(FILES, "no event\n", "old")
    found = compared(old, old)
    assert found["different"] is False
    for form in (text, markdown):
        assert "nothing was compared: the feed holds no event" in form(found)


def test_another_name_and_another_threshold(make: Make) -> None:
    """A playbook that was renamed and changed at once is the same one; one that went while another came is not."""
    old = make(FILES, FEED, "old")
    renamed = GREET.replace("playbook: greet", "playbook: welcome").replace(">= 10", ">= 30").replace("say_gift", "t")
    found = compared(old, make({**FILES, "playbooks/thanks.yaml": renamed}, FEED, "new"))
    assert found["renamed"]["playbooks"] == [{"old": "greet", "new": "welcome"}]
    assert [(row["playbook"], row["was"]) for row in found["journeys"]] == [("welcome", "greet")]
    assert [(row["playbook"], row["old"], row["new"], row["lost"]) for row in found["by"]["playbook"]] == [
        ("welcome", 12, 8, 4)
    ]
    other = GREET.replace("playbook: greet", "playbook: survey").partition("steps:")[0] + "steps: [{tag: {add: [x]}}]\n"
    found = compared(old, make({**FILES, "playbooks/thanks.yaml": other}, FEED, "other"))
    assert found["renamed"]["playbooks"] == []
    assert {(row["playbook"], row["gained"], row["lost"]) for row in found["by"]["playbook"]} == {
        ("greet", 0, 12), ("survey", 3, 0),
    }  # fmt: skip


def test_revisions(drumbeat: Drumbeat, make: Make) -> None:
    """A revision is the program's own folder as it was then; the work tree and the index stay as they are."""
    root = make({**FILES, "templates/thanks.box.j2": "多谢\n"}, FEED, "repo/shops/tea")
    repo = root.parents[1]
    git(repo, "init", "-q", "-b", "main")
    git(repo, "add", "-A", ".")
    git(repo, "commit", "-q", "-m", "first")
    (root / "templates/thanks.box.j2").write_text("谢谢您\n", encoding="utf-8")
    before = subprocess.run(["git", "-C", str(repo), "status", "--porcelain"], capture_output=True, check=True).stdout
    said = drumbeat("diff", "main", root, "--events", root / "feed.jsonl", "--format", "json")
    assert said.code == 1
    assert said.json["effects"]["changed"] == 3
    assert said.json["old"]["revision"] is not None
    assert said.json["new"]["revision"] is None
    assert said.json["samples"]["effects"][0]["fields"] == ["text"]
    assert drumbeat("diff", "main", "main", "--program", root, "--events", root / "feed.jsonl").code == 0
    after = subprocess.run(["git", "-C", str(repo), "status", "--porcelain"], capture_output=True, check=True).stdout
    assert before == after
    for words in (("main", "nowhere"), ("--", "--output=x", "main")):
        said = drumbeat("diff", "--program", root, "--events", root / "feed.jsonl", *words)
        assert said.code == 2
        assert "no program and no revision" in said.err


def test_an_invalid_side_is_named(drumbeat: Drumbeat, make: Make) -> None:
    """The side that is invalid is named with its diagnostics, in JSON too; both, when both are."""
    good = make(FILES, FEED, "good")
    bad = make({**FILES, "playbooks/thanks.yaml": GREET.replace("coupon: gift,", "coupon: gitf,")}, FEED, "bad")
    said = drumbeat("diff", good, bad, "--events", good / "feed.jsonl")
    assert said.code == 1
    assert f"NEW ({bad}): the program is invalid: 1 error(s)" in said.err
    assert "playbooks/thanks.yaml:9:14: error[unknown-coupon]" in said.err
    assert "OLD" not in said.err
    said = drumbeat("diff", bad, bad, "--events", good / "feed.jsonl", "--format", "json")
    assert said.code == 1
    assert set(said.json["sides"]) == {"old", "new"}
    assert said.json["sides"]["old"]["problems"][0]["code"] == "unknown-coupon"
    (good / "broken.jsonl.gz").write_bytes(b"\x1f\x8b\x08 cut")
    said = drumbeat("diff", good, good, "--events", good / "broken.jsonl.gz")
    assert said.code == 3
    assert "broken.jsonl.gz" in said.err


def test_a_fault_of_a_side_is_told(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever breaks inside of a side is one sentence for who asked, never a traceback; an interruption is none."""
    root = make(FILES, FEED)
    for error, code in ((RuntimeError("broken"), 3), (KeyboardInterrupt(), 130)):

        def breaks(*_: object, error: BaseException = error) -> None:
            raise error

        monkeypatch.setattr("engine.language.compile.compile_program", breaks)
        request = root / oneside.REQUEST
        asked = oneside.Request(
            label="x", revision=None, root=str(root), home=str(root), events=[], until=None, color=False, quiet=True
        )
        request.write_bytes(msgspec.json.encode(asked))
        assert oneside.main(request) == code
    failure = msgspec.json.decode((root / oneside.FAILURE).read_bytes(), type=oneside.Failure)
    assert failure.message.startswith("an internal fault of Drumbeat: RuntimeError: broken")


def test_what_cannot_be_compared(drumbeat: Drumbeat, make: Make, tmp_path: Path) -> None:
    """No input file is 1, a pipe and a folder without a program are told, each with the next move."""
    root = make(FILES, FEED)
    assert drumbeat("diff", root, root, "--events", root / "none.jsonl").code == 1
    os.mkfifo(tmp_path / "pipe")
    said = drumbeat("diff", root, root, "--events", tmp_path / "pipe")
    assert (said.code, "both sides have to read it" in said.err) == (2, True)
    (tmp_path / "empty").mkdir()
    said = drumbeat("diff", root, tmp_path / "empty", "--events", root / "feed.jsonl")
    assert (said.code, "NEW: there is no drumbeat.yaml" in said.err) == (1, True)


def test_gates(make: Make) -> None:
    """Quiet hours that put off, people who move into a control group, and what a pool refuses: before and after."""
    old = make(FILES, FEED, "old")
    program = (old / "drumbeat.yaml").read_text(encoding="utf-8")
    quiet = program.replace("quiet_hours: never", 'quiet_hours: {from: "03:00", to: "08:00"}')
    changed = {
        "drumbeat.yaml": quiet,
        "playbooks/thanks.yaml": GREET.replace("steps:", "holdout: {percent: 100}\nsteps:"),
        "playbooks/catalog/c.yaml": CATALOG.replace("total: 50", "total: 1"),
    }
    end = "2026-03-09T00:00:00Z"
    new = make({**FILES, "drumbeat.yaml": quiet}, FEED, "quiet")
    found = compared(old, new, end)
    assert found["put_off"] == [{"playbook": "greet", "step": "message[0]", "old": 0, "new": 3}]
    assert found["effects"]["moved"] == 12
    moved = next(one for one in found["samples"]["effects"] if one["step"] == "message[0]")
    assert moved["old"]["time"] == "2026-03-01T20:00:00Z"
    assert moved["new"]["time"].startswith("2026-03-02T00:")

    new = make({**FILES, "playbooks/thanks.yaml": changed["playbooks/thanks.yaml"]}, FEED, "held")
    found = compared(old, new, end)
    assert found["holdout"] == [{"playbook": "greet", "into": 2, "out_of": 0}]
    assert found["users"]["no_longer"] == 2
    assert {(row["what"], row["status"]) for row in found["because"]} == {("lost", "held_out")}
    greet = next(row for row in found["journeys"] if row["playbook"] == "greet")
    assert (greet["old"]["held_out"], greet["new"]["held_out"]) == (0, 3)

    new = make({**FILES, "playbooks/catalog/c.yaml": changed["playbooks/catalog/c.yaml"]}, FEED, "dry")
    found = compared(old, new, end)
    assert {"kind": "coupon", "status": "denied", "reason": "sold_out", "old": 0, "new": 2} in found["held_back"]


def test_every_figure_stands_in_every_form(make: Make) -> None:
    """Messages, coupons and their cost, points, caps that are hit, quiet hours that put off: text, JSON and Markdown.

    Semantics: diff.forms
    """
    old = make(FILES, FEED, "old")
    program = (old / "drumbeat.yaml").read_text(encoding="utf-8")
    belts = program.replace("quiet_hours: never", 'quiet_hours: {from: "03:00", to: "08:00"}, '
                            "caps: [{purpose: service, max: 1, per: 30d}]")  # fmt: skip
    assert belts != program
    fewer = GREET.replace("amount >= 10", "amount >= 20")
    new = make({**FILES, "drumbeat.yaml": belts, "playbooks/thanks.yaml": fewer}, FEED, "new")
    found = compared(old, new, "2026-03-09T00:00:00Z")
    cost = found["cost"]
    assert (cost["messages"]["old"], cost["coupons"][0]["old"], cost["coupons"][0]["new"]) == (6, 3, 2)
    assert cost["messages"]["new"] < 6
    assert [(it["currency"], it["old"], it["new"]) for it in cost["coupon_value"]] == [("CNY", 60, 40)]
    assert [(it["account"], it["old"], it["new"]) for it in cost["points"]] == [("main", 15, 10)]
    assert any((it["reason"], it["old"]) == ("cap", 0) and it["new"] for it in found["held_back"])
    assert any(it["new"] > it["old"] for it in found["put_off"])
    for said in (text(found), markdown(found)):
        for words in ("By playbook", "By step", "By channel", "By day", "messages", "coupon gift", "CNY at most",
                      "points main", "message suppressed: cap", "Put off by quiet hours"):  # fmt: skip
            assert words in said, words


def test_a_comment_fits(make: Make) -> None:
    """However much differs, the Markdown fits into a comment; what comes from events forms no table, calls nobody.

    Semantics: diff.comment
    """
    feed = "".join(
        json.dumps({"id": f"e{n}", "type": "order.paid", "user": f"@all|`#{n}<b>", "data": {"amount": 15},
                    "time": f"2026-{n % 12 + 1:02d}-{n % 28 + 1:02d}T01:00:00Z"}) + "\n"
        for n in range(120)
    )  # fmt: skip
    files = {f"playbooks/p{n}.yaml": GREET.replace("greet", f"p{n}") for n in range(12)}
    old = make({**FILES, **files}, feed, "old")
    new = make({**FILES, **{it: text.replace(">= 10", ">= 20") for it, text in files.items()}}, feed, "new")
    mark = markdown(compared(old, new, limit=200))
    assert 20_000 < len(mark) <= 65_536
    assert "more rows" in mark
    assert mark.count("<details>") == mark.count("</details>")
    table = [line for line in mark.splitlines() if "@all" in line]
    assert table
    assert all(line.startswith("| `@all\\|'#") and line.replace("\\|", "").count("|") == 4 for line in table)
