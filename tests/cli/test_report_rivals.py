"""Who lost to whom: every reason for which a person is kept out, and what a redeemed coupon cost."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.cli.main import run
from engine.insight.report_words import Words
from engine.insight.rivals import ALONE, COLLIDES, EXIT, LIMIT, LIMIT_WAITED

ROOT = Path(__file__).resolve().parents[2]
HEAD = """
program: rivals
timezone: UTC
locale: en
profile: open
channels:
  app: {via: file, path: out/app.jsonl}
  box: {via: file, path: out/box.jsonl, quota: {max: 1, per: month}}
  club: {via: file, path: out/club.jsonl}
  mail: {via: file, path: out/mail.jsonl, address: user.email}
feeds: [{file: feed.jsonl}]
policies:
  default:
    consent: {marketing: none, service: none, community: none}
    quiet_hours: never
    caps: [{purpose: marketing, max: 1, per: 7d}, {purpose: community, max: 1, per: 7d}]
"""
CATALOG = """
segments: {marked: {if: '"m" in user.tags'}}
badges: {star: {title: Star, once: true}}
points: {main: {title: Points}}
rewards: {mug: {title: Mug, points: 1, stock: 1, per_user: 1}}
surveys: {nps: {title: T, purpose: service, rest: 30d, open: 5d, questions: [{id: q, text: How, kind: nps}]}}
groups:
  tea: {title: Tea, channel: club, rooms: [{id: r, link: "https://x.example/1", capacity: 1}]}
coupons:
  once: {title: t, value: {off: 5}, codes: {generate: G}, limits: {per_user: 1, total: unlimited}}
  few: {title: t, value: {off: 5}, codes: {generate: F}, limits: {per_user: unlimited, total: 1}}
  share: {title: t, value: {percent: 10, currency: CNY}, codes: {file: codes.csv},
          limits: {per_user: 1, total: 9}}
  back: {title: t, value: {off: 5}, codes: {generate: B}, valid_for: 1d, limits: {per_user: 1, total: 9}}
"""
STEPS = """
steps:
  - {message: {template: hi, via: app, purpose: marketing}, id: mail}
  - {message: {template: hi, via: box, purpose: service}, id: note}
  - {coupon: once, id: once}
  - {coupon: few, id: few}
  - {badge: star, id: badge}
  - {redeem: mug, id: mug}
  - {redeem: {confirm: mug}}
  - {invite: {groups: [tea], hold: 20d}, id: seat}
"""
ANY = "entry: {mode: parallel, limit: unlimited}\n"
ASK = "  - {survey: {name: nps, via: app}, id: ask}\n"
BOOKS = {
    "first": "priority: 90\ntrigger: {event: go}\n" + ANY + STEPS
    + "  - {emit: {type: halt}, id: halt}\n  - {tag: {add: m}, id: mark}\n" + ASK,
    "later": "priority: 10\ntrigger: {event: go}\n" + ANY + STEPS + ASK,
    "brief": "priority: 20\ntrigger: {event: go}\n" + ANY + "steps:\n  - message: {template: hi, via: app, "
    "purpose: marketing, valid_for: 1h, on_cap: wait}\n",
    "halted": "priority: 99\ntrigger: {event: go}\n" + ANY + "exit: [{event: halt}]\nsteps: [{wait: 9d}]\n",
    "left": "priority: 99\ntrigger: {event: go}\n" + ANY + "exit: [{enters: marked}]\nsteps: [{wait: 9d}]\n",
    "own": "trigger: {event: go}\n" + ANY + "exit: [{event: home}]\nsteps: [{wait: 9d}]\n",
    "narrow": "trigger: {event: go}\nentry: {mode: parallel, limit: 1/day, on_limit: drop}\nsteps: [{points: 1}]\n",
    "patient": "trigger: {event: go}\nentry: {mode: parallel, limit: 1/day}\nsteps: [{points: 1}]\n",
    "loud": "subject: group\npriority: 90\ntrigger: {event: said}\n" + ANY + "steps: [{post: {template: hi}}]\n",
    "quiet": "subject: group\npriority: 10\ntrigger: {event: said}\n" + ANY + "steps: [{post: {template: hi}}]\n",
    "purse": "trigger: {event: rich}\n" + ANY + "steps: [{points: 5}]\n",
    "cheap": "trigger: {event: cheap}\n" + ANY + "steps: [{coupon: share, id: c},\n"
    "  {message: {template: code, via: club, purpose: service}}]\n",
    "unheard": "trigger: {event: unheard}\n" + ANY + "steps: [{coupon: back, id: c},\n"
    "  {message: {template: code, via: mail, purpose: service}}]\n",
}  # fmt: skip


def row(id_: str, type_: str, user: str, day: int, **data: Any) -> dict[str, Any]:
    """One event at nine o'clock."""
    return {"id": id_, "type": type_, "user": user, "time": f"2026-03-{day:02d}T09:00:00Z", "data": data}


ROWS = [
    row("p1", "rich", "u1", 1), row("p2", "rich", "u2", 1), row("g1", "go", "u1", 2),
    row("g2", "go", "u2", 2), row("g3", "go", "u1", 3),
    {**row("s1", "said", "u1", 4), "group": "tea"},
    *(row(f"c{n}", "cheap", f"v{n}", 5) for n in range(1, 5)),
    row("r1", "coupon.redeemed", "v1", 6, code="CODE-1", discount=7.5, amount=200),
    row("r2", "coupon.redeemed", "v2", 6, code="CODE-2", amount=100),
    row("r3", "coupon.redeemed", "v3", 6, code="CODE-3"),
    row("o1", "unheard", "w1", 6),
    row("o2", "user.updated", "w2", 6, email="w2@x.example"), row("o3", "unheard", "w2", 6),
    row("h1", "home", "u2", 7), row("z", "tick", "u9", 8),
]  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, run into its store over its feed."""
    root = tmp_path_factory.mktemp("rivals")
    files = {
        "drumbeat.yaml": HEAD, "playbooks/catalog/all.yaml": CATALOG, "feed.jsonl": "".join(map(line, ROWS)),
        "codes.csv": "".join(f"CODE-{n}\n" for n in range(1, 10)),
        "templates/hi.app.j2": "hi", "templates/hi.club.j2": "hi", "templates/hi.box.j2": "hi",
        "templates/survey/nps.app.j2": "how",
        "templates/code.club.j2": "{{ steps.c.code }}",
        "templates/code.mail.j2": "---\nsubject: s\n---\n{{ steps.c.code }}",
        **{f"playbooks/{name}.yaml": f"playbook: {name}\ntitle: The {name}\nowner: a@shop.example\n{text}"
           for name, text in BOOKS.items()},
    }  # fmt: skip
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    assert run(["run", "--until-idle", "--quiet", "--program", str(root)]) == 0
    return root


def line(it: dict[str, Any]) -> str:
    """An event as a line of a feed."""
    return json.dumps(it) + "\n"


def asked(root: Path, capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    """The period of a report."""
    capsys.readouterr()
    assert run(["report", "--program", str(root), "--format", "json", *words]) == 0
    return json.loads(capsys.readouterr().out)["period"]


def test_every_way_to_lose_is_in_the_matrix(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By a cap, a quota, a wait that took too long, what one has once, what is used up, exits, limits; of posts too."""
    stored = asked(world, capsys)["collisions"]
    assert stored == asked(world, capsys, "--events", str(world / "feed.jsonl"))["collisions"]
    found = {(it["lost"], it["to"], it["reason"]): it["count"] for it in stored}
    assert found == {
        ("later", "first", "cap"): 3, ("first", "first", "cap"): 1, ("quiet", "loud", "cap"): 1,
        ("later", "first", "quota"): 3, ("first", "first", "quota"): 1,
        ("brief", "first", "expired"): 3,
        ("later", "first", "fatigue"): 3, ("first", "first", "fatigue"): 1,
        ("later", "first", "per_user"): 5, ("first", "first", "per_user"): 2,  # of the coupon and of the mug
        ("later", "first", "sold_out"): 4, ("first", "first", "sold_out"): 3,
        ("later", "first", "already"): 5, ("first", "first", "already"): 2,  # the badge and the seat
        ("later", "first", "full"): 1, ("first", "first", "full"): 1,
        ("halted", "first", EXIT): 3, ("left", "first", EXIT): 2,  # u1 had been marked before
        ("narrow", "narrow", LIMIT): 1, ("patient", "patient", LIMIT_WAITED): 2,
    }  # fmt: skip


def test_what_coupons_cost_is_told_estimated_or_said_to_be_unknown(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a percentage: what the redemption said, else a share of the order, else plainly nothing, with how many."""
    (pool,) = [it for it in asked(world, capsys)["coupons"] if it["pool"] == "share"]
    assert (pool["issued"], pool["redeemed"]) == (4, 3)
    told = {name: pool[name] for name in ("cost", "cost_estimated", "cost_estimates", "cost_unknown")}
    assert told == {"cost": 17.5, "cost_estimated": 10.0, "cost_estimates": 1, "cost_unknown": 1}
    assert {name: pool["playbooks"]["cheap"][name] for name in told} == told
    capsys.readouterr()
    assert run(["report", "--program", str(world)]) == 0
    assert "17.50 CNY; 10.00 of it estimated (1 orders); not known for 1" in capsys.readouterr().out
    feed = world / "silent.jsonl"
    feed.write_text("".join(line({**it, "data": {"code": it["data"].get("code")}}) for it in ROWS))
    (pool,) = [it for it in asked(world, capsys, "--events", str(feed))["coupons"] if it["pool"] == "share"]
    assert (pool["redeemed"], pool["cost"], pool["cost_unknown"]) == (3, 0.0, 3)
    assert run(["report", "--program", str(world), "--events", str(feed)]) == 0
    assert "not known (3 redeemed)" in capsys.readouterr().out


def test_a_coupon_given_and_taken_back_at_one_instant_is_returned(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What became of a coupon is its last entry, not its first of that instant; so it is no lapsed one."""
    stored = asked(world, capsys)["coupons"]
    assert stored == asked(world, capsys, "--events", str(world / "feed.jsonl"))["coupons"]
    (pool,) = [it for it in stored if it["pool"] == "back"]
    assert [pool[name] for name in ("issued", "returned", "expired", "open")] == [2, 1, 1, 0]


# ---------------------------------------------------------------------- the list of reasons


def documented() -> set[str]:
    """The reasons of the table in docs/language.md."""
    text = (ROOT / "docs" / "language.md").read_text("utf-8")
    table = text[text.index("\n## Reasons") : text.index("\nA delivery is")]
    cells = [row.split("|")[2] for row in table.splitlines() if row.startswith("|")]
    return {word for cell in cells for word in re.findall(r"`([a-z_]+)(?:<\w+>)?`", cell)}


_REFUSING = {"_refuse", "_refused", "_denied", "failed", "_refusal", "refusal", "answer", "_objection"}


def written() -> Iterator[tuple[str, str]]:
    """(file, reason) of every reason for which a step of the core refuses, as it stands in the code."""
    for folder in ("actions", "core"):
        for path in sorted((ROOT / "engine" / folder).glob("*.py")):
            for it in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(it, ast.Call) and isinstance(it.func, ast.Attribute) and it.func.attr in _REFUSING:
                    yield from ((path.name, word) for one in it.args for word in words(one))
                if isinstance(it, ast.keyword) and it.arg == "reason":
                    yield from ((path.name, word) for word in words(it.value))
                if isinstance(it, ast.FunctionDef) and it.name in ("_refusal", "refusal"):
                    own = [one.value for one in ast.walk(it) if isinstance(one, ast.Return) and one.value is not None]
                    yield from ((path.name, word) for one in own for word in words(one))


def words(it: ast.expr) -> Iterator[str]:
    """The texts an expression may come to."""
    if isinstance(it, ast.Constant) and isinstance(it.value, str) and re.fullmatch("[a-z_]+", it.value):
        yield it.value
    elif isinstance(it, ast.IfExp):
        yield from (*words(it.body), *words(it.orelse))
    elif isinstance(it, ast.BoolOp):
        yield from (word for one in it.values for word in words(one))


NO_REASONS = {LIMIT, "earned"}
"""What stands in such places and is no reason of a row: the answer about an entry slot, the cause of points."""


def test_no_reason_is_forgotten() -> None:
    """Each is either a loss to another playbook, or is said to be none, with why; and has words in both languages."""
    known, code = {*COLLIDES, *ALONE}, {word for _, word in written()}
    assert {"cap", "per_user", "sold_out", "budget", "already", "full", "waitlist", "insufficient", "depth"} <= code
    assert code - known - NO_REASONS == set(), sorted(it for it in written() if it[1] not in known)
    assert documented() - known == set()
    assert known - documented() - {"unknown"} == set()
    english, chinese = Words("en"), Words("zh-CN")
    for word in (known | {LIMIT, LIMIT_WAITED, EXIT}) - {"same_"}:
        assert chinese.reason(word) != word.replace("_", " "), word
        assert english.reason(word), word
