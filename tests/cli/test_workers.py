"""``simulate --workers``: processes that end well, and badly."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.cli import oneside, workers
from engine.cli.common import compiled
from engine.errors import CannotRun

TYPE_CHECKING = False
if TYPE_CHECKING:
    from conftest import Drumbeat, Make, Said

GIVEN = """\
playbook: thanks
title: 谢谢
owner: tea@shop.example
trigger: {event: order.paid}
entry: {mode: parallel, limit: unlimited}
steps:
  - {coupon: gift, id: gift}
  - wait: 1d
  - message: {template: thanks, via: box, purpose: service}
"""
POOL = """\
coupons:
  gift: {value: {off: 2, currency: CNY}, codes: {generate: G}, limits: {per_user: unlimited, total: %d}}
"""


def feed() -> str:
    """Not in order, with an id that comes again, a record without id and one that is none."""
    orders = [
        {"id": f"e{n}", "type": "order.paid", "user": f"u{n % 7}", "time": f"2026-03-{1 + (n * 5) % 28:02d}T01:00:00Z"}
        for n in range(40)
    ]
    orders += [orders[3], {"type": "order.paid", "user": "u2", "time": "2026-03-09T01:00:00Z"}]
    return "".join(json.dumps(it) + "\n" for it in orders) + '{"id": "x"}\n'


def files(total: int = 1_000) -> dict[str, str]:
    return {"playbooks/thanks.yaml": GIVEN, "playbooks/catalog/c.yaml": POOL % total}


def simulated(drumbeat: Drumbeat, root: Path, number: int, *more: str) -> tuple[Said, bytes, bytes, dict[str, Any]]:
    out = [root / f"{name}{number}.jsonl" for name in ("effects", "decisions")]
    said = drumbeat(
        "simulate", "--program", root, "--events", root / "feed.jsonl.gz", "--effects", out[0], "--decisions", out[1],
        "--format", "json", "--workers", number, *more,
    )  # fmt: skip
    summary = {name: it for name, it in said.json.items() if "second" not in name}
    return said, *[path.read_bytes() if path.exists() else b"" for path in out], summary


@pytest.fixture
def tea(make: Make) -> Path:
    root = make(files(), feed())
    (root / "feed.jsonl.gz").write_bytes(gzip.compress(feed().encode()))
    return root


def test_the_same_bytes(drumbeat: Drumbeat, tea: Path) -> None:
    """Effects, verdicts, summary, remarks and exit code of two processes are those of one."""
    one, two = simulated(drumbeat, tea, 1, "--strict"), simulated(drumbeat, tea, 2, "--strict")
    assert one[1:] == two[1:]
    assert one[1].count(b"\n") == 80
    assert one[3]["events"]["duplicate"] == one[3]["events"]["quarantined"] == 1
    assert (one[0].code, one[0].err) == (two[0].code, two[0].err)
    assert "file:line" in two[0].err


def test_a_pool_that_runs_out(drumbeat: Drumbeat, tea: Path) -> None:
    """Where the parts would take more than there is, one process decides, and the remark names the coupon."""
    (tea / "playbooks" / "catalog" / "c.yaml").write_text(POOL % 30)
    one, two = simulated(drumbeat, tea, 1), simulated(drumbeat, tea, 2)
    assert one[1:] == two[1:]
    assert "note: decided in one process: coupon gift" in two[0].err
    assert "note: decided" not in one[0].err


def test_a_report_looks_alone(drumbeat: Drumbeat, tea: Path) -> None:
    """With --report one process decides, and that is said."""
    said = drumbeat("simulate", "--program", tea, "--events", tea / "feed.jsonl.gz", "--report", "--workers", 3)
    assert said.code == 0
    assert "note: decided in one process: a report" in said.err


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The parts that were begun; the first is killed before anybody listens."""
    parts: list[Any] = []
    listen = workers._hear

    def hear(them: list[Any], progress: Any) -> None:
        parts.extend(them)
        them[0].process.kill()
        listen(them, progress)

    monkeypatch.setattr(workers, "_hear", hear)
    return parts


def test_a_worker_that_dies(drumbeat: Drumbeat, tea: Path, begun: list[Any]) -> None:
    """It is exit code 3 and a plain sentence; the other one is gone, too."""
    said = simulated(drumbeat, tea, 2)[0]
    assert said.code == 3
    assert "worker 1 of 2 was killed by signal 9" in said.err
    assert "--workers 1" in said.err
    assert all(part.process.returncode is not None for part in begun)


def test_interrupted(drumbeat: Drumbeat, tea: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends all of them."""
    parts: list[Any] = []

    def hear(them: list[Any], _: Any) -> None:
        parts.extend(them)
        raise KeyboardInterrupt

    monkeypatch.setattr(workers, "_hear", hear)
    assert drumbeat("simulate", "--program", tea, "--events", tea / "feed.jsonl.gz", "--workers", 2).code == 130
    assert [part.process.returncode for part in parts] == [-9, -9]


def test_a_program_that_changes_meanwhile(tea: Path) -> None:
    """Parts that read another program than was asked about decide nothing."""
    found = compiled(tea)
    (tea / "templates" / "thanks.box.j2").write_text("其他\n")
    wanted = workers.Feed([tea / "feed.jsonl"])
    with pytest.raises(CannotRun, match="the program was changed while it was simulated"):
        workers.together(found, wanted, 2, effects=None, decisions=None, progress=None)


def test_a_side_of_a_comparison(tea: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A side of ``diff`` with two cores to itself and a large feed gives the rows and figures of one with one."""
    monkeypatch.setattr(workers, "EACH", 100)
    sides = []
    for number in (1, 2):
        folder = tea / str(number)
        folder.mkdir()
        asked = oneside.Request(
            label="new", revision=None, root=str(tea), home=str(tea), events=[str(tea / "feed.jsonl")], until=None,
            color=False, quiet=True, workers=number,
        )  # fmt: skip
        (folder / oneside.REQUEST).write_bytes(msgspec.json.encode(asked))
        assert oneside.main(folder / oneside.REQUEST) == 0
        side = msgspec.json.decode((folder / oneside.SIDE).read_bytes())
        sides.append(((folder / oneside.ROWS).read_bytes(), side["summary"], side["put_off"]))
    assert sides[0] == sides[1]


def test_how_many(tmp_path: Path) -> None:
    """Nobody asks: a process for each 16 MiB of records, at most one a core; packed files count for more."""
    (tmp_path / "a.jsonl").write_bytes(b"")
    with (tmp_path / "a.jsonl").open("r+b") as file:
        file.truncate(3 * workers.EACH)
    assert workers.fitting([tmp_path / "a.jsonl"], 8) == 3
    assert workers.fitting([tmp_path / "a.jsonl"], 2) == 2
    assert workers.fitting([tmp_path / "none.jsonl"], 8) == 1
    (tmp_path / "a.jsonl").rename(tmp_path / "a.jsonl.gz")
    assert workers.fitting([tmp_path / "a.jsonl.gz"], 99) == 24
