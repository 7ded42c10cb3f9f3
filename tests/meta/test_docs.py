"""The reference is made from the code and fresh; every verb has help; what the README types exists."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path

import click
import pytest
from meta_harness import ROOT

from engine.actions import ACTIONS
from engine.cli.docs import all_pages
from engine.cli.main import VERBS, cli, run
from engine.language.codes import PAGES
from engine.language.forms import SECTIONS
from engine.language.scenario_forms import WORDS
from engine.triggers import TRIGGERS

REFERENCE = ROOT / "docs" / "reference"
COMMAND = "drumbeat docs --write docs/reference"
THERE = [verb for verb, target in sorted(VERBS.items()) if find_spec(target.partition(":")[0]) is not None]
TEXTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def command(verb: str) -> click.Command:
    """The command of a verb."""
    found = cli.get_command(click.Context(cli), verb)
    assert found is not None
    return found


def test_reference_is_fresh() -> None:
    """``docs/reference`` holds what the code makes, page for page."""
    made = all_pages()
    stale = [name for name, text in made.items() if _read(REFERENCE / name) != text]
    assert not stale, f"stale: {', '.join(stale)}; run: {COMMAND}"
    assert {path.name for path in REFERENCE.glob("*.md")} == made.keys()


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def test_every_verb_is_there() -> None:
    """Every verb of the table has its module."""
    missing = [f"{verb} ({VERBS[verb]})" for verb in sorted(VERBS) if verb not in THERE]
    assert not missing, "VERBS of engine/cli/main.py name what is not there: " + ", ".join(missing)


@pytest.mark.parametrize("verb", THERE)
def test_verb_has_help(verb: str) -> None:
    """A verb says what it does in one sentence, and so does each of its options."""
    found = command(verb)
    assert found.name == verb
    assert (found.help or "").strip()
    for option in found.params:
        if isinstance(option, click.Option) and not option.hidden:
            assert option.help, f"{verb} {option.opts[0]} has no help"
            assert option.help.endswith((".", ")")), f"{verb} {option.opts[0]}: a sentence ends with a full stop"


@pytest.mark.parametrize("verb", THERE)
def test_verb_is_documented(verb: str) -> None:
    """A verb and each of its options stand on the reference page."""
    _, _, section = all_pages()["cli.md"].partition(f"## {verb}\n")
    section = section.partition("\n## ")[0]
    assert f"`drumbeat {verb}" in section
    for option in command(verb).params:
        if isinstance(option, click.Option) and not option.hidden:
            assert option.opts[0] in section


def _typed() -> list[tuple[str, str]]:
    """(place, command line) of everything the texts tell people to type."""
    found = []
    for path in TEXTS:
        text = path.read_text(encoding="utf-8")
        blocks = re.findall(r"```[a-z]*\n(.*?)```", text, re.DOTALL)
        lines = [line.strip().removeprefix("$ ") for block in blocks for line in block.splitlines()]
        lines += re.findall(r"`((?:drumbeat|make) [^`]+)`", text)
        found += [(path.name, line) for line in lines if re.match(r"(drumbeat|make) \S", line)]
    return found


def test_typed_commands_exist() -> None:
    """Verbs, options and make targets of README and docs exist."""
    typed = _typed()
    assert typed
    wrong = [f"{place}: {line}: {fault}" for place, line in typed if (fault := _fault(line))]
    assert not wrong, "\n" + "\n".join(wrong)


def _fault(line: str) -> str:
    program, word, *rest = re.split(r"\s+", line)
    if program == "make":
        return "" if re.search(rf"^{re.escape(word)}:", _read(ROOT / "Makefile"), re.MULTILINE) else "no such target"
    if word.startswith("-") or word.isupper():
        return ""
    if word not in THERE:
        return "no such verb"
    called = command(word)
    if isinstance(called, click.Group) and rest:
        if rest[0] not in called.commands:
            return f"no such verb {rest[0]}"
        called = called.commands[rest[0]]
    known = {opt for param in called.params for opt in (*param.opts, *param.secondary_opts)} | {"--help"}
    return "".join(f"no option {part}" for part in rest if part.startswith("--") and part.split("=")[0] not in known)


def test_explain(capsys: pytest.CaptureFixture[str]) -> None:
    """``explain`` prints the page of a code, lists all codes without one, and knows what was meant."""
    assert run(["explain", "weights"]) == 0
    assert capsys.readouterr().out.startswith("error[weights]: ")
    assert run(["explain"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(PAGES)
    assert run(["explain", "weigths"]) == 2
    assert "did you mean 'weights'?" in capsys.readouterr().err
    assert run(["explain", "weights", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["severity"] == "error"


def test_schema_and_docs_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``schema`` and ``docs`` print or write what they make; with a program its names are in the schemas."""
    assert run(["schema", "playbook"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "A playbook"
    assert run(["schema", "--program", str(ROOT), "--write", str(tmp_path / "s"), "--quiet"]) == 0
    playbook = json.loads((tmp_path / "s" / "playbook.schema.json").read_text(encoding="utf-8"))
    assert "newcomer-10" in playbook["definitions"]["name_of_coupon"]["enum"]
    assert run(["docs", "--write", str(tmp_path / "d"), "--quiet"]) == 0
    assert {path.name for path in (tmp_path / "d").iterdir()} == all_pages().keys()
    assert run(["docs", "nothing"]) == 2


def test_the_language_names_every_word() -> None:
    """``docs/language.md`` shows each trigger, step, section of the catalog, and what a scenario can expect."""
    text = _read(ROOT / "docs" / "language.md")
    lacking = [f"trigger {word}" for word in TRIGGERS if f"`{word}:" not in text]
    lacking += [f"step {word}" for word in ACTIONS if f"| `{word}:" not in text]
    lacking += [f"section {word}" for word in SECTIONS if not re.search(rf"\b{word}\b", text)]
    expected = text.partition("What can be expected:")[2].partition("The world is closed")[0]
    lacking += [f"expect {word}" for word in WORDS if f"`{word}`" not in expected]
    assert not lacking


def test_no_change_is_told_twice() -> None:
    """No line of the changelog stands there twice, which is what a merge of two sides leaves behind."""
    lines = [line for line in _read(ROOT / "CHANGELOG.md").splitlines() if len(line) > 30]
    assert not sorted({line for line in lines if lines.count(line) > 1})
