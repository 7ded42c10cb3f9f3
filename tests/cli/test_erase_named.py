"""Erasing somebody who stands in what was decided about groups and the program: ranked, chosen, proposed, drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.core.model import Event, Journey, State
from engine.core.unnaming import state_without

TYPE_CHECKING = False
if TYPE_CHECKING:
    from conftest import Drumbeat, Make

WHO, NAME = "canary-8642", "kanarienvogel"
ANY = "entry: {mode: parallel, limit: unlimited}\n"
HEAD = """\
program: tea
timezone: Asia/Shanghai
activity: [post.created]
profile: {name: text | none}
channels: {box: {via: file, path: out/box.jsonl}}
policies: {default: {consent: {marketing: none, community: none, service: none}, quiet_hours: never}}
"""
CATALOG = """\
segments: {core: {select: core}, stars: {select: stars}}
roles: {moderator: {title: 版主}}
coupons: {gift: {codes: {generate: G}, limits: {per_user: unlimited, total: 9}}}
groups: {tea: {title: 茶友, owner: li, channel: box, rooms: [{id: r1, link: "https://g.example/1", capacity: 9}]}}
"""
BOOKS = {
    "board": "subject: group\ntrigger: {event: choose}\n" + ANY + """steps:
  - rank: {name: week, by: 'count("post.created")', top: 3, show: user.name}
    id: board
  - post: {template: board, with: {rows: "{{ steps.board.rows }}"}}
  - task: {assign: li, title: "第一名 {{ steps.board.rows[0].name }}", body: "{{ steps.board.rows[0].user }} 领先"}
  - wait: 30d
  - post: {template: board, with: {rows: "{{ steps.board.rows }}"}}
""",
    "found": "subject: group\ntrigger: {event: choose}\n" + ANY + """steps:
  - nominate: {role: moderator, top: 2, by: 'count("post.created")', due: 20d}
    id: found
  - wait: 30d
""",
    "stars": "subject: group\ntrigger: {event: choose}\n" + ANY + """steps:
  - select: {name: stars, score: 'count("post.created")', size: [1, 2]}
  - wait: 30d
""",
    "core": "subject: program\ntrigger: {event: go}\n" + ANY + """steps:
  - select: {name: core, score: 'count("post.created")', size: [1, 2]}
  - rank: {name: all, by: 'count("post.created")', top: 3, show: user.name}
    id: all
  - task: {assign: li, title: "{{ steps.all.rows[0].name }}"}
  - draw: {entrants: {event: post.created, within: 10d}, winners: 1, prize: gift, seed_from: 12h}
    id: lots
  - wait: 30d
""",
    "heard": "subject: program\ntrigger: {event: post.created}\n" + ANY + """steps:
  - task: {assign: li, title: "{{ event.note }}", body: "{{ event.user }}"}
  - wait: 30d
""",
}  # fmt: skip


def rows() -> list[dict[str, Any]]:
    """Two members of a group write and are ranked, chosen, proposed and drawn."""
    out = []
    for n, user in enumerate((WHO, "b", WHO)):
        data = {"note": f"{NAME} writes" if user == WHO else "hi"}
        for type_, it in (("user.signup", {"name": NAME if user == WHO else "Bea"}), ("post.created", data)):
            if type_ == "post.created" or n < 2:
                out.append({"type": type_, "user": user, "data": it})
        out.append({"type": "group.joined", "user": user, "data": {"group": "tea"}})
    out.append({"type": "choose", "group": "tea", "user": None, "data": {}})
    out.append({"type": "go", "user": "op", "data": {}})
    return [{"id": f"e{n}", "time": f"2026-03-01T{n:02}:00:00Z", **it} for n, it in enumerate(out)]


@pytest.fixture
def root(make: Make, drumbeat: Drumbeat) -> Path:
    """What everybody was in is decided; the journeys of the group and the program stand and wait."""
    books = {f"playbooks/{name}.yaml": f"playbook: {name}\ntitle: {name}\n{text}" for name, text in BOOKS.items()}
    template = "{% for it in with.rows %}{{ it.place }} {{ it.name }} ({{ it.user }}) {% endfor %}\n"
    books |= {"drumbeat.yaml": HEAD, "playbooks/catalog/all.yaml": CATALOG, "templates/board.box.j2": template}
    found = make(books)
    feed = "".join(json.dumps({k: v for k, v in it.items() if v is not None}) + "\n" for it in rows())
    (found / "feed.jsonl").write_text(feed, encoding="utf-8")
    said = drumbeat("ingest", found / "feed.jsonl", "--program", found)
    assert said.code == 0, said.out + said.err
    said = drumbeat("run", "--until-idle", "--program", found)
    assert said.code == 0, said.out + said.err
    return found


def held(root: Path) -> bytes:
    """Every byte of the store."""
    return b"".join(it.read_bytes() for it in sorted(root.glob("drumbeat.db*")))


def test_nobody_is_named_in_rows_of_groups_and_the_program(root: Path, drumbeat: Drumbeat) -> None:
    """Who is erased is in no row, answer, state, post, task or verdict of a group or the program, by id or by name.

    Semantics: erasure.records — in what was decided about others
    Threat: erase.whole — named by others
    """
    before = held(root)
    assert WHO.encode() in before
    assert NAME.encode() in before
    said = drumbeat("users", "erase", WHO, "--program", root)
    assert said.code == 0, said.out + said.err
    after = held(root)
    assert WHO.encode() not in after
    assert NAME.encode() not in after
    assert b"Bea" in after
    late = {"id": "late", "type": "go", "user": "op", "time": "2026-05-01T00:00:00Z", "data": {}}
    (root / "late.jsonl").write_text(json.dumps(late) + "\n", encoding="utf-8")
    assert drumbeat("ingest", root / "late.jsonl", "--program", root).code == 0
    assert drumbeat("run", "--until-idle", "--program", root).code == 0
    assert (WHO.encode() in held(root), NAME.encode() in held(root)) == (False, False)
    posts = [json.loads(line)["text"] for line in (root / "out" / "box.jsonl").read_text("utf-8").splitlines()]
    assert posts == [f"1 {NAME} ({WHO}) 2 Bea (b) ", "2 Bea (b) "]


def test_what_is_not_about_them_stays() -> None:
    """A state that names nobody is the very same; a short id is looked for in lists and fields, not in every number."""
    row = {"user": "7", "name": "Li", "place": 1}
    journey = Journey(
        "board", "7", "e1", 0, None, "t", entry=Event("e1", "x", 0, "7", data={"n": "7"}),
        results={
            "week": {"rows": [row, {"user": "8", "name": "Lisa"}], "best": "7"},
            "say": {"text": "第 7 名 Li, Lisa"},
        },
    )  # fmt: skip
    state = State("\x01group:tea", journeys=[journey], entered=["board|7", "board|77"], traits={"lead": "7"})
    assert state_without(state, "nobody") is state
    found = state_without(state, "7")
    assert found.journeys[0].results == {
        "week": {"rows": [{"user": "8", "name": "Lisa"}], "best": None}, "say": {"text": "第 7 名 …, Lisa"},
    }  # fmt: skip
    assert (found.journeys[0].entry.user, found.journeys[0].entry.data) == (None, {})  # type: ignore[union-attr]
    assert (found.traits, found.entered[1], found.journeys[0].key == "7") == ({"lead": None}, "board|77", False)
    assert "board|7" not in found.entered
