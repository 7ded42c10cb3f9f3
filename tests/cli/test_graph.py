"""``drumbeat graph``: everything is in the picture, whatever the titles say, and each format can be read again."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from engine.cli.main import run
from engine.insight.graph import Arrow, Box, Picture, dot, flow, mermaid, overview, svg
from engine.insight.graph.layout import GAP, Link, place
from engine.insight.graph.svg import cells, wrapped
from engine.language.compile import compile_program

ROOT = Path(__file__).parents[2]
PROGRAMS = [ROOT, ROOT / "examples" / "cdnow"]
NAMESPACE = "{http://www.w3.org/2000/svg}"

GOLDEN = """\
flowchart TD
    %% 新手礼包 (welcome-gift)
    n0(["<b>signup</b><br/>if event.source != 'import'"]):::trigger
    n1[/"<b>entry</b><br/>when not user.blocked<br/>when user.phone_verified != false\
<br/>when user.device_accounts #124; default(1) #60;= 1<br/>once<br/>at most 20000 a day<br/>not in staff"/]:::entry
    n2["<b>coupon</b><br/>newcomer-10"]
    n3["<b>points</b><br/>+100 main"]
    n4{{"<b>choose</b>"}}:::choice
    n5["<b>message</b><br/>welcome/gift · app · service"]
    n6["<b>message</b><br/>welcome/hello · app · service"]
    n7("<b>wait</b><br/>1d"):::wait
    n8["<b>emit</b><br/>onboarding.finished"]
    n9(("<b>end</b>"))
    n10[["<b>goal</b><br/>order.paid within 7d"]]:::goal
    n0 --> n1
    n1 --> n2
    n2 --> n3
    n3 --> n4
    n4 -->|"steps.gift is not none"| n5
    n4 -->|"otherwise"| n6
    n5 --> n7
    n6 --> n7
    n7 --> n8
    n8 --> n9
    n1 -.-> n10
    classDef trigger stroke:#7c5cff,stroke-width:2px
    classDef entry stroke:#7c5cff
    classDef wait stroke:#b7791f,stroke-dasharray:4 3
    classDef choice stroke:#2b6cb0
    classDef goal stroke:#2f855a
"""

LABEL = r'"[^"\n]*"'
LINES = (
    re.compile(r"flowchart TD"),
    re.compile(r"    %% [^{}\n]*"),
    re.compile(rf"    n\d+(\(\[{LABEL}\]\)|\[/{LABEL}/\]|\[{LABEL}\]|\({LABEL}\)|\{{\{{{LABEL}\}}\}}|\[\[{LABEL}\]\]"
               rf"|\(\({LABEL}\)\))(:::(?!end)[a-z]+)?"),
    re.compile(rf"    n\d+ (-->|-\.->)(\|{LABEL}\|)? n\d+"),
    re.compile(r"    classDef [a-z]+ [a-z0-9#:,. -]+"),
)  # fmt: skip
"""What may stand on a line of the chart: the grammar of the part of Mermaid we use."""

HOSTILE = '"]; <script>alert(1)</script> %% }} {%raw%} | --> x\n&amp; #35; \\" `x` \x00\ud800 中文，。'


def plans() -> list[Any]:
    """The shipped programs."""
    found = [compile_program(root).plan for root in PROGRAMS]
    assert all(plan is not None for plan in found)
    return found


PLANS = plans()
BOOKS = [playbook for plan in PLANS for playbook in plan.playbooks]


def read_svg(text: str) -> ElementTree.Element:
    """The image as an XML parser sees it; nothing in it may run or be fetched."""
    tree = ElementTree.fromstring(text)  # noqa: S314 - our own output
    assert tree.tag == f"{NAMESPACE}svg"
    tags = {one.tag.removeprefix(NAMESPACE) for one in tree.iter()}
    assert tags <= {"svg", "title", "style", "rect", "text", "g", "path"}
    assert not any(name.startswith("on") or "href" in name for one in tree.iter() for name in one.attrib)
    return tree


def texts(tree: ElementTree.Element) -> str:
    return "".join(one.text or "" for one in tree.iter(f"{NAMESPACE}text"))


def test_golden(drumbeat: Any) -> None:
    """One playbook, line for line: trigger, when, entry, steps with branches, wait, goal."""
    said = drumbeat("graph", "welcome-gift", "--program", ROOT, "--no-counts")
    assert (said.code, said.out) == (0, GOLDEN)


@pytest.mark.parametrize("playbook", BOOKS, ids=lambda it: it.id)
def test_every_step_and_way_is_there(playbook: Any) -> None:
    """Each step, trigger, goal and exit has its box, and each way on has its arrow, in all three formats."""
    picture = flow(playbook)
    boxes = {box.id for box in picture.boxes}
    assert {f"step:{name}" for name in playbook.nodes} <= boxes
    assert len(boxes) == len(picture.boxes)
    assert sum(box.kind == "trigger" for box in picture.boxes) == len(playbook.triggers)
    assert sum(box.kind == "goal" for box in picture.boxes) == (playbook.goal is not None) + len(playbook.exits)
    joined = {(arrow.source, arrow.target) for arrow in picture.arrows}
    for node in playbook.nodes.values():
        here = f"step:{node.id}"
        for block in node.action.blocks():
            first = block.first or node.next
            assert (here, "end" if first is None else f"step:{first.id}") in joined
        assert here in {source for source, _ in joined}
        assert here in {target for _, target in joined}
    tree = read_svg(svg(picture))
    assert {one.get("id") for one in tree.iter(f"{NAMESPACE}g")} >= boxes
    assert sum(one.get("class") in ("way", "way aside") for one in tree.iter()) == len(picture.arrows)
    assert all(any(line.fullmatch(one) for line in LINES) for one in mermaid(picture).splitlines())
    graph = dot(picture)
    assert all(f'"{box}" [' in graph for box in boxes)
    assert graph.count(" -> ") == len(picture.arrows)


def test_split_names_its_weights() -> None:
    """An arm has its share in hundredths at most, and a held-out one says so."""
    found = [arrow.text for book in BOOKS for arrow in flow(book).arrows if arrow.text.endswith(("%", "held out"))]
    splits = [node for book in BOOKS for node in book.nodes.values() if node.action.word == "split"]
    assert len(found) == sum(len(node.action.arms) for node in splits) > 0
    assert all(re.fullmatch(r".+, [0-9.]+ %(, held out)?", text) for text in found)


def test_a_program_shows_who_sets_off_whom() -> None:
    """An emitted event is an arrow with its name; what no playbook makes comes from a source."""
    picture = overview(PLANS[0])
    assert {f"playbook:{it.id}" for it in PLANS[0].playbooks} <= {box.id for box in picture.boxes}
    assert Arrow("playbook:welcome-gift", "playbook:group-invite", "onboarding.finished") in picture.arrows
    sources = {(box.head, box.body) for box in picture.boxes if box.kind == "source"}
    assert {("event", ("user.signup",)), ("tier", ("member",)), ("leaves segment", ("dormant",))} <= sources
    assert "inactivity" in {head for head, _ in sources}, "what no event sets off is a source of its own"
    targets = {arrow.target for arrow in picture.arrows}
    assert targets == {f"playbook:{it.id}" for it in PLANS[0].playbooks}
    read_svg(svg(picture))


MAKERS = """\
playbook: {name}
title: t
trigger: {trigger}
entry: {{mode: once}}
steps: [{steps}]
"""
CATALOG = """\
badges: {gold: {title: t}}
points: {main: {title: t}}
coupons: {gift: {title: t, codes: {generate: G}, valid_for: 7d, limits: {per_user: 1, total: 4}}}
"""


def test_what_steps_do_sets_off_others_too(make: Any) -> None:
    """A badge, points, a coupon and a changed trait join playbooks as ``emit`` does, and only where they fit."""
    books = {
        "a": ("{signup: true}", "{badge: gold}, {coupon: gift}, {points: 5}, {set: {user.city: x}}"),
        "b": ("{event: badge.earned}", "{tag: {add: [b]}}"),
        "c": ("{event: coupon.issued}", "{tag: {add: [c]}}"),
        "d": ("{event: points.changed}", "{tag: {add: [d]}}"),
        "e": ("{changed: user.city}", "{tag: {add: [e]}}"),
        "f": ("{changed: user.plan}", "{tag: {add: [f]}}"),
    }
    files = {
        f"playbooks/{name}.yaml": MAKERS.format(name=name, trigger=trigger, steps=steps)
        for name, (trigger, steps) in books.items()
    }
    found = compile_program(make({"playbooks/catalog/all.yaml": CATALOG, **files}))
    assert found.plan is not None, found.problems
    joined = {(it.source[9:], it.target[9:], it.text) for it in overview(found.plan).arrows if "playbook" in it.source}
    assert joined == {
        ("a", "b", "badge.earned"), ("a", "c", "coupon.issued"), ("a", "d", "points.changed"),
        ("a", "e", "user.updated city"),
    }  # fmt: skip


def test_a_start_is_an_arrow_from_playbook_to_playbook(make: Any) -> None:
    """``start`` joins two playbooks; a called one that nobody starts says what it waits for; slots are sources."""
    start = "{repeat: {times: 2, every: 1d, do: [{start: b}]}}"
    files = {
        "playbooks/a.yaml": MAKERS.format(
            name="a", steps=start, trigger='{schedule: {cron: "0 10 * * fri", audience: user.city == "x"}}'
        ),
        "playbooks/b.yaml": MAKERS.format(name="b", trigger="{called: true}", steps="{tag: {add: [b]}}"),
        "playbooks/c.yaml": MAKERS.format(name="c", trigger="[{called: true}, {manual: true}]", steps="{stop: x}"),
    }
    found = compile_program(make(files))
    assert found.plan is not None, found.problems
    picture = overview(found.plan)
    joined = {(it.source, it.target, it.text) for it in picture.arrows}
    assert ("playbook:a", "playbook:b", "start b") in joined
    sources = {("0 10 * * fri, program zone",), ("c",), ("drumbeat trigger",)}
    assert sources <= {it.body for it in picture.boxes if it.kind == "source"}
    drawn = flow(found.plan.by_id["a"])
    assert ("0 10 * * fri, program zone", "for user.city == 'x'") in {it.body for it in drawn.boxes}
    ways = {(it.source, it.target, it.text) for it in drawn.arrows}
    assert sum(target == "step:repeat[0]" for _, target, _ in ways) == 2, "a round leads back to the repeat"
    assert {"a round", "all rounds done"} <= {text for _, _, text in ways}


def test_people_are_counted_where_they_stand(make: Any, drumbeat: Any) -> None:
    """With a store there are live counts, without one there are none, and a step that is gone is told."""
    book = (
        "playbook: thanks\ntitle: t\nowner: tea@shop.example\ntrigger: {event: order.paid}\n"
        "entry: {mode: parallel, limit: unlimited}\nsteps:\n  - {wait: 9d, id: nap}\n  - {tag: {add: [x]}}\n"
    )
    root = make({"playbooks/thanks.yaml": book})
    assert "here" not in drumbeat("graph", "thanks", "--program", root).out
    assert run(["ingest", str(root / "feed.jsonl"), "--program", str(root), "--quiet"]) == 0
    assert run(["run", "--until-idle", "--program", str(root), "--quiet"]) == 0
    assert "<b>wait</b><br/>9d<br/><i>3 here</i>" in drumbeat("graph", "thanks", "--program", root).out
    assert "here" not in drumbeat("graph", "thanks", "--program", root, "--no-counts").out
    tree = read_svg(drumbeat("graph", "thanks", "--program", root, "--format", "svg").out)
    assert [one.text for one in tree.iter(f"{NAMESPACE}text") if one.get("class") == "people"] == ["3"]
    assert "<i>3 here</i>" in drumbeat("graph", "--program", root).out
    (root / "playbooks" / "thanks.yaml").write_text(book.replace("id: nap", "id: doze"), encoding="utf-8")
    assert "%% 3 at step 'nap', which this version does not have" in drumbeat("graph", "thanks", "--program", root).out


def test_hostile_texts_stay_texts() -> None:
    """Whatever a title or a condition says, it is shown: no format takes it for its own words."""
    picture = Picture(HOSTILE, notes=[HOSTILE])
    picture.boxes = [Box(f"{place}:{HOSTILE}", kind, HOSTILE, (HOSTILE, HOSTILE)) for place, kind in
                     enumerate(("step", "wait", "choice"))]  # fmt: skip
    for one, other in ((0, 1), (1, 2), (2, 0), (1, 1)):
        picture.join(picture.boxes[one].id, picture.boxes[other].id, HOSTILE)
    chart = mermaid(picture)
    assert all(any(line.fullmatch(one) for line in LINES) for one in chart.splitlines())
    assert "<script" not in chart
    assert "中文，。" in chart
    tree = read_svg(svg(picture))
    assert texts(tree).count("<script>alert(1)</script>") >= 9
    graph = dot(picture)
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', "", graph)
    assert "script" not in "\n".join(line for line in bare.splitlines() if "//" not in line)
    assert bare.count("->") == 4
    assert not any(char in graph + chart for char in "\x00\ud800")


def test_an_unknown_playbook_is_named(drumbeat: Any) -> None:
    """The nearest playbook is suggested."""
    said = drumbeat("graph", "welcome-gitf", "--program", ROOT)
    assert said.code == 1
    assert "did you mean 'welcome-gift'?" in said.err


def test_the_picture_goes_into_a_file(drumbeat: Any, tmp_path: Path) -> None:
    """``--out`` writes the file and says so."""
    said = drumbeat("graph", "--program", ROOT, "--format", "svg", "--no-counts", "--out", tmp_path / "a" / "all.svg")
    assert (said.code, said.out) == (0, "")
    read_svg((tmp_path / "a" / "all.svg").read_text(encoding="utf-8"))


# -- layout


@pytest.mark.parametrize("playbook", BOOKS, ids=lambda it: it.id)
def test_nothing_lies_upon_another(playbook: Any) -> None:
    """No two boxes or labels overlap, and arrows lead down but for those that close a circle."""
    picture = flow(playbook)
    sizes = [(box.id, 60.0 + 8 * len(box.head), 40.0) for box in picture.boxes]
    found = place(sizes, [Link(it.source, it.target, 50.0 if it.text else 0.0, 18.0) for it in picture.arrows])
    spots = [*found.boxes.values(), *(one for one in found.labels if one is not None)]
    for place_, one in enumerate(spots):
        assert one.x - one.width / 2 >= -1e-6
        assert one.x + one.width / 2 <= found.width + 1e-6
        for other in spots[place_ + 1 :]:
            apart = abs(one.x - other.x) >= (one.width + other.width) / 2 + GAP - 1e-6
            level = one.y + one.height <= other.y or other.y + other.height <= one.y
            assert apart or level
    rounds = {f"step:{node.id}" for node in playbook.nodes.values() if node.action.word == "repeat"}
    for arrow, way in zip(picture.arrows, found.ways, strict=True):
        assert way[0].y < way[-1].y or arrow.target in rounds


def test_a_circle_is_laid_out_too() -> None:
    """Arrows that lead back are drawn upwards; a box that leads to itself is no failure."""
    sizes = [(name, 50.0, 30.0) for name in "abc"]
    found = place(sizes, [Link("a", "b"), Link("b", "c"), Link("c", "a", 20.0, 18.0), Link("b", "b")])
    assert [way[0].y < way[-1].y for way in found.ways[:3]] == [True, True, False]
    picture = Picture("t", [Box(name, "step", name) for name in "abc"])
    for one, other in ("ab", "bc", "ca", "bb"):
        picture.join(one, other, "back" if one == "c" else "")
    read_svg(svg(picture))


def test_full_width_text_is_measured() -> None:
    """A Chinese character takes two cells, and a line is broken between them."""
    assert cells("新手a") == 5
    assert wrapped("一二三四五", 4) == ["一二", "三四", "五"]
    assert wrapped("one two three", 8) == ["one two", "three"]
    assert wrapped("x" * 10, 4) == ["xxxx", "xxxx", "xx"]
    assert wrapped("") == [""]


def test_the_picture_of_the_documents_is_fresh(drumbeat: Any) -> None:
    """``docs/img/win-back.svg`` is what the command draws today."""
    said = drumbeat("graph", "win-back", "--program", ROOT, "--format", "svg", "--no-counts")
    path = ROOT / "docs" / "img" / "win-back.svg"
    command = "drumbeat graph win-back --format svg --no-counts --out docs/img/win-back.svg"
    assert path.read_text(encoding="utf-8") == said.out, f"stale; run: {command}"
