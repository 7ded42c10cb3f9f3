"""A life over many programs: edits that move, stop, let in, arm; ``why`` decides each part as it was decided then."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from engine.cli.main import run
from engine.core.instants import format_instant
from engine.core.model import DAY, HOUR

BASE = 1_772_409_600_000_000  # 2026-03-02T00:00:00Z
USERS, PHASES = 12, 7
PROGRAM = """\
program: shop
timezone: Asia/Shanghai
feeds: [{file: feed.jsonl}]
channels: {box: {via: file, path: out.jsonl}}
policies: {default: {consent: {marketing: none, service: none}, quiet_hours: never}}
"""


def files(rng: random.Random, phase: int) -> dict[str, str]:
    """The program of a phase: thresholds, waits, what is watched and how a publication treats people, drawn anew."""
    change = rng.choice(["on_change: move\n", "on_change: cancel\n", ""])
    seen = rng.choice([2, 3, 4])
    found = {
        "drumbeat.yaml": PROGRAM,
        "playbooks/catalog/c.yaml": f"segments:\n  keen: {{if: 'count(\"order.paid\", within=\"6d\") >= {seen}'}}\n",
        "playbooks/often.yaml": (
            f"playbook: often\ntitle: t\n{change}trigger: {{event: order.paid}}\n"
            f"when: count(\"order.paid\") >= {rng.choice([1, 2, 3])} and event.amount > {rng.choice([5, 20])}\n"
            "entry: {mode: single, limit: unlimited}\nsteps:\n"
            f"  - {{wait: {rng.choice(['20h', '3d'])}, id: pause}}\n  - {{points: {rng.choice([5, 6])}, id: give}}\n"
        ),
    }
    if phase % 3 != 1:
        days = rng.choice([2, 3])
        found["playbooks/idle.yaml"] = (
            f"playbook: idle\ntitle: t\ntrigger: {{inactivity: {days}d, activity: [order.paid]}}\n"
            f"entry: {{mode: single, again_after: 1d, limit: unlimited}}\nsteps:\n  - {{tag: {{add: [idle{phase}]}}}}\n"
        )
    if phase > 1:
        found["playbooks/keen.yaml"] = (
            "playbook: keen\ntitle: t\ntrigger: {segment: {enters: keen}, existing: enter}\n"
            "entry: {mode: once, limit: unlimited}\nsteps:\n  - {badge: keen}\n"
        )
        found["playbooks/catalog/b.yaml"] = "badges: {keen: {title: t}}\n"
    found["playbooks/catalog/p.yaml"] = "points: {main: {title: t}}\n"
    return found


def write(root: Path, wanted: dict[str, str]) -> None:
    for path in (root / "playbooks").rglob("*.yaml"):
        path.unlink()
    for name, text in wanted.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")


def phase_rows(rng: random.Random, phase: int) -> list[dict[str, Any]]:
    rows = []
    for number in range(40):
        at = BASE + phase * 4 * DAY + rng.randrange(4 * 24 * 60) * (HOUR // 60)
        rows.append({"id": f"e{phase}-{number}", "type": "order.paid", "user": f"u{rng.randrange(USERS)}",
                     "time": format_instant(at), "data": {"amount": rng.choice([3, 10, 30])}})  # fmt: skip
    return sorted(rows, key=lambda row: (row["time"], row["id"]))


@pytest.mark.parametrize("seed", range(4))
def test_every_effect_of_every_program_is_decided_again(
    seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Seven programs in a row: of everybody every effect on record is found again, by the program of its time.

    Semantics: why.then
    """
    rng = random.Random(seed)
    (tmp_path / "playbooks").mkdir()
    for phase in range(PHASES):
        write(tmp_path, files(rng, phase))
        with (tmp_path / "feed.jsonl").open("a", encoding="utf-8") as feed:
            feed.writelines(json.dumps(row) + "\n" for row in phase_rows(rng, phase))
        code = run(["run", "--until-idle", "--program", str(tmp_path), "--quiet"])
        assert code == 0, capsys.readouterr().err
    capsys.readouterr()
    older = set()
    for number in range(USERS):
        assert run(["why", "--user", f"u{number}", "--program", str(tmp_path), "--format", "json"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert not [it for it in said["remarks"] if "differ from the record" in it], (number, said["remarks"])
        for name, book in said["playbooks"].items():
            assert all(it["cause"] is not None for it in book["effects"] if it["status"] == "planned"), (number, name)
            older |= {name for it in (book["entry"], book["last"]) if it is not None and not it["present"]}
    assert older
