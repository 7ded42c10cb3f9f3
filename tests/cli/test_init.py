"""``drumbeat init``: what it writes validates, tests and runs as it stands."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.cli.init import EXAMPLES

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("example", EXAMPLES)
def test_it_works_as_written(drumbeat: Any, tmp_path: Path, example: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a single warning; every part of every playbook is tested; the sample feed brings messages."""
    root = tmp_path / "Tea-1"
    assert drumbeat("init", root, "--example", example).code == 0
    monkeypatch.chdir(root)
    said = drumbeat("validate", "--strict", "--format", "json")
    assert (said.code, said.json["problems"]) == (0, [])
    said = drumbeat("test", "--cover-min", "100", "--format", "json")
    assert (said.code, said.json["failed"]) == (0, 0)
    said = drumbeat("simulate", "--events", "feed/sample.jsonl", "--strict", "--format", "json")
    assert (said.code, said.json["events"]["quarantined"]) == (0, 0)
    planned = said.json["effects"]["message"]["planned"]
    said = drumbeat("run", "--until-idle", "--strict", "--format", "json")
    assert (said.code, said.json["deliveries"]) == (0, {"sent": planned})
    sent = [line for path in (root / "out").iterdir() for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(sent) == planned > 0


@pytest.mark.parametrize("example", EXAMPLES)
def test_commands_of_its_readme_work(
    drumbeat: Any, tmp_path: Path, example: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the README and the CI workflow of a new program tell people to type ends with 0."""
    root = tmp_path / "shop"
    drumbeat("init", root, "--example", example)
    monkeypatch.chdir(root)
    text = (root / "README.md").read_text(encoding="utf-8")
    block = text.partition("```\n")[2].partition("```")[0]
    typed = [line.partition("#")[0].split() for line in block.splitlines()]
    flow = yaml.safe_load((root / ".github/workflows/drumbeat.yml").read_text(encoding="utf-8"))
    steps = [step.get("run", "").split() for step in flow["jobs"]["check"]["steps"]]
    for words in [*typed, *(step for step in steps if step[:1] == ["drumbeat"])]:
        assert drumbeat(*words[1:]).code == 0, words
    assert len(typed) == 5


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_first_change_of_its_readme(
    drumbeat: Any, tmp_path: Path, example: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sentence changed in the template the README names fails the tests; ``--update`` makes it the new snapshot."""
    root = tmp_path / "shop"
    drumbeat("init", root, "--example", example)
    monkeypatch.chdir(root)
    named = re.search(r"`(templates/\S+\.j2)`", (root / "README.md").read_text(encoding="utf-8"))
    assert named is not None
    text = root / named[1]
    text.write_text(text.read_text(encoding="utf-8") + "再说一句。\n", encoding="utf-8")
    assert drumbeat("test").code == 1
    assert drumbeat("test", "--update").code == 0
    assert drumbeat("test").code == 0


def test_the_program_is_called_like_its_folder(drumbeat: Any, tmp_path: Path) -> None:
    """Where the folder's name can be one, it is the program's; .gitignore is there under its own name."""
    drumbeat("init", tmp_path / "TeaShop")
    drumbeat("init", tmp_path / "茶 店")
    assert "\nprogram: teashop\n" in (tmp_path / "TeaShop" / "drumbeat.yaml").read_text(encoding="utf-8")
    assert "\nprogram: my-shop\n" in (tmp_path / "茶 店" / "drumbeat.yaml").read_text(encoding="utf-8")
    assert (tmp_path / "TeaShop" / ".gitignore").is_file()


def test_nothing_is_overwritten(drumbeat: Any, tmp_path: Path) -> None:
    """A folder that holds something is refused with exit 2 and left as it was; a fresh repository is fine."""
    (tmp_path / "notes.txt").write_text("mine")
    said = drumbeat("init", tmp_path)
    assert said.code == 2
    assert "is not empty, and nothing in it is overwritten" in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    assert drumbeat("init", tmp_path / "notes.txt").code == 2
    (tmp_path / "repo" / ".git").mkdir(parents=True)
    assert drumbeat("init", tmp_path / "repo", "--example", "community").code == 0
    assert drumbeat("init", tmp_path / "other", "--example", "retial").code == 2


def test_as_json(drumbeat: Any, tmp_path: Path) -> None:
    """One object that names what was written."""
    said = drumbeat("init", tmp_path / "shop", "--format", "json")
    assert "playbooks/acquire/welcome-gift.yaml" in json.loads(said.out)["files"]
    assert {path for path in said.json["files"] if not (tmp_path / "shop" / path).is_file()} == set()


@pytest.mark.parametrize("example", EXAMPLES)
def test_texts_are_those_of_the_shipped_library(drumbeat: Any, tmp_path: Path, example: str) -> None:
    """Playbooks, templates and snapshots are the library's, letter for letter; what nothing names is left out."""
    root = tmp_path / "shop"
    files = drumbeat("init", root, "--example", example, "--format", "json").json["files"]
    shipped = [name for name in files if name.startswith(("playbooks/", "templates/", "scenarios/"))]
    for name in shipped:
        mine, theirs = ((it / name).read_text(encoding="utf-8") for it in (root, ROOT))
        left = [line for line in mine.splitlines() if line not in theirs.splitlines()]
        assert not left, name
        if "/catalog/" not in name:
            assert mine.splitlines() == [it for it in theirs.splitlines() if "yaml-language-server" not in it], name
    lines = sum(len((root / name).read_text(encoding="utf-8").splitlines()) for name in files if name.endswith("yaml"))
    assert lines < 600, "small enough to read"
    coupons = yaml.safe_load((root / "playbooks/catalog/coupons.yaml").read_text(encoding="utf-8"))["coupons"]
    assert (
        set(coupons) == {"retail": {"newcomer-10", "win-back-30", "win-back-10"}, "community": {"newcomer-10"}}[example]
    )


def test_an_installed_package_has_the_library(tmp_path: Path) -> None:
    """What is built for installing holds the library inside, and starts the same programs from it."""
    pytest.importorskip("setuptools")  # from Python 3.12 on it is no part of a virtual environment
    words = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(tmp_path / "lib")]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
    assert (tmp_path / "lib/engine/library/playbooks/win-back/win-back.yaml").is_file()
    made = {}
    for name, path in (("source", ROOT), ("installed", tmp_path / "lib")):
        shop = tmp_path / name / "shop"
        words = [sys.executable, "-m", "engine", "init", str(shop), "--quiet"]
        subprocess.run(
            words, cwd=tmp_path, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": str(path)}
        )
        made[name] = {str(it.relative_to(shop)): it.read_bytes() for it in shop.rglob("*") if it.is_file()}
    assert made["installed"] == made["source"]
    assert len(made["source"]) > 30
