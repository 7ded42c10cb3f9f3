"""``drumbeat demo``: the main job in one go, on a small program in the place of the example."""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.cli import demo
from engine.cli.main import run

PROGRAM = """
program: small
channels: {box: {via: file, path: out/messages.jsonl}}
feeds: [{file: "feed/*.jsonl.gz"}]
policies: {default: {consent: {service: none}, quiet_hours: never}}
"""

BOOK = """
playbook: welcome
title: t
trigger: {signup: true}
entry: {mode: once}
steps: [{message: {template: hello, via: box, purpose: service}}]
"""


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small example, with leftovers of somebody's own run, in the place of the real one."""
    folder = tmp_path / "example"
    for name in ("playbooks", "templates", "feed", "out"):
        (folder / name).mkdir(parents=True)
    (folder / "drumbeat.yaml").write_text(PROGRAM, encoding="utf-8")
    (folder / "playbooks" / "welcome.yaml").write_text(BOOK, encoding="utf-8")
    (folder / "templates" / "hello.box.j2").write_text("hi", encoding="utf-8")
    (folder / "out" / "messages.jsonl").write_text("left over\n", encoding="utf-8")
    (folder / "drumbeat.db").write_text("left over", encoding="utf-8")
    rows = [
        {"id": f"s{n}", "time": "2026-01-01T00:00:00Z", "type": "user.signup", "user": f"u{n}", "data": {}}
        for n in range(7)
    ]
    with gzip.open(folder / "feed" / "a.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    monkeypatch.setattr(demo, "EXAMPLE", folder)
    return folder


def test_it_runs_reports_and_changes_nothing_the_second_time(
    example: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The report, the speed, the word about the second run; the folder stays, the example is untouched."""
    work = tmp_path / "work"
    assert run(["demo", "--dir", str(work)]) == 0
    said = capsys.readouterr()
    assert "welcome" in said.out
    assert "events per second" in said.out
    assert "second run: nothing changed. 0 new events; still 7 events, 7 effects and 7 deliveries" in said.out
    assert str(work) in said.err
    assert len((work / "out" / "messages.jsonl").read_text(encoding="utf-8").splitlines()) == 7
    assert (example / "drumbeat.db").read_text(encoding="utf-8") == "left over"


def test_json_is_one_object(example: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Everything in one object, and nothing else on standard output."""
    assert run(["demo", "--format", "json", "--quiet"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["first_run"]["events"] == 7
    assert found["second_run"]["nothing_changed"] is True
    assert found["report"]["playbooks"]["welcome"]["entered"] == 7


def test_the_bar_of_the_first_run_knows_its_end(
    example: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The lines of the feeds are counted first, and each record moves the bar by one."""
    bars: list[tuple[int | None, list[int]]] = []

    @contextmanager
    def bar(total: int | None, label: str, quiet: bool) -> Iterator[Callable[[int], None]]:
        moves: list[int] = []
        bars.append((total, moves))
        yield moves.append

    monkeypatch.setattr(demo, "progress_bar", bar)
    assert run(["demo"]) == 0
    assert [(total, sum(moves)) for total, moves in bars] == [(7, 7), (None, 0)]


@pytest.mark.parametrize("keep", [True, False])
def test_the_temporary_folder_goes_away_unless_kept(
    example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], keep: bool
) -> None:
    """``--keep`` leaves it and says where it is."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temp"))
    (tmp_path / "temp").mkdir()
    assert run(["demo", *(["--keep"] if keep else [])]) == 0
    left = list((tmp_path / "temp").iterdir())
    assert len(left) == keep
    assert all(str(folder) in capsys.readouterr().err for folder in left)


def test_a_folder_in_use_is_refused(example: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing of anybody's is overwritten."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "mine").write_text("mine", encoding="utf-8")
    assert run(["demo", "--dir", str(tmp_path / "work")]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["mine"]


def test_without_the_example_it_says_where_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An installed package has no example: exit code 3 and a clear word."""
    monkeypatch.setattr(demo, "EXAMPLE", tmp_path / "nowhere")
    assert run(["demo"]) == 3
    assert "comes with the source" in capsys.readouterr().err
