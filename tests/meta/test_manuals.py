"""The manuals are true: the tutorial runs as written, every piece of YAML loads, every link leads somewhere."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from meta_harness import CATALOG_PARTS, PROGRAM_PARTS, ROOT, files_of, step, write_program
from wcwidth import wcswidth

from engine.actions import ACTIONS
from engine.cli.main import run
from engine.core.shapes import Either, Many, Map, Shape, Table
from engine.language import forms
from engine.language.compile import compile_program
from engine.language.expressions.filtering import FILTERS
from engine.language.expressions.functions import FUNCTIONS
from engine.language.expressions.testing import TESTS
from engine.triggers import TRIGGERS

DOCS = ROOT / "docs"
MADE = (DOCS / "semantics.md", DOCS / "reliability.md")
"""Made from the tests, with lines as long as they come."""
WRITTEN = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(path for path in DOCS.glob("*.md") if path not in MADE)]
PROSE = 130
"""Columns of a line of prose; tables, code and links may be longer."""

BLOCK = re.compile(r"^( *)```([a-z]*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)


def _blocks(path: Path) -> Iterator[tuple[int, str, str]]:
    """(line, language, text) of each block of a page."""
    text = path.read_text(encoding="utf-8")
    for found in BLOCK.finditer(text):
        yield text.count("\n", 0, found.start()) + 1, found[2], textwrap.dedent(found[3])


# The tutorial

TEA = re.compile(r"# tea/(\S+)\n")
EDITS = {  # what the text tells people to change before the n-th call of a verb
    ("validate", 2): [
        ("count(\"order.paid\") == 1", "count(\"order.paid\") = 1"),
        ("second-cup-10", "second-cup-01"),
        ("message: {template", "message: {templte"),
    ],
    ("test", 2): [("wait: 3d", "wait: 5d")],
}  # fmt: skip


def test_the_tutorial_runs_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every file of docs/tutorial.md is written, every command typed, and each prints what is shown."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    calls: dict[str, int] = {}
    last_key = ""
    for _, language, text in _blocks(DOCS / "tutorial.md"):
        if language == "json":
            (tmp_path / "events.jsonl").write_text(text, encoding="utf-8")
        elif (named := TEA.match(text)) is not None:
            path = tmp_path / named[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text[named.end() :] if path.suffix == ".j2" else text, encoding="utf-8")
        for typed, shown in re.findall(r"^\$ drumbeat (.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE):
            words = [it.strip("'") for it in re.findall(r"'[^']*'|\S+", typed)]
            calls[words[0]] = calls.get(words[0], 0) + 1
            if words[:2] == ["tasks", "done"]:
                words[2] = last_key
            playbook = tmp_path / "playbooks/second-cup.yaml"
            before = playbook.read_text(encoding="utf-8")
            for old, new in EDITS.get((words[0], calls[words[0]]), []):
                edited = playbook.read_text(encoding="utf-8").replace(old, new, 1)
                assert edited != playbook.read_text(encoding="utf-8")
                playbook.write_text(edited, encoding="utf-8")
            if words[0] == "trigger":
                with (tmp_path / "drumbeat.yaml").open("a", encoding="utf-8") as program:
                    program.write('business_hours: {from: "09:00", to: "18:00"}\n')
            run(words)
            playbook.write_text(before, encoding="utf-8")
            out, err = capsys.readouterr()
            last_key = out[:12] if words[0] == "tasks" else last_key
            _assert_shown(typed, _same(shown), _same(out + err))
    assert calls.keys() == {"validate", "simulate", "test", "ingest", "run", "why", "user", "trigger", "tasks"}


def _assert_shown(typed: str, shown: str, got: str) -> None:
    if "\n ...\n" not in shown:
        assert got == shown, typed
    for part in shown.split("\n ...\n"):
        assert part in got, typed


def _same(text: str) -> str:
    """Without what differs from machine to machine, and from day to day."""
    text = re.sub(r"^took .*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"TEA-[0-9A-Z]{16}", "TEA-CODE", text)
    text = re.sub(r"\b[0-9a-f]{12,32}\b", "KEY", text)
    return re.sub(r"(\[bo\], due) \S+", r"\1 T", text).strip()


# Pieces of YAML

PROFILE = PROGRAM_PARTS["profile"].replace("}", ", plan: [free, pro, none], blocked: bool | none, age: number | none}")
AROUND = {
    "coupons": "coupons:\n" + "".join(
        f"  {name}: {{codes: {{generate: A}}, valid_for: 7d, limits: {{per_user: 1, total: 10}}}}\n"
        for name in ("spring-15", "winback-8")
    ),
    "segments": "segments:\n  never-paid: {if: 'count(\"order.paid\") == 0'}\n",
    "badges": "badges:\n  gold-card: {title: Gold}\n",
    "groups": "groups:\n  collectors:\n    rooms: [{id: c-1, link: 'https://g.example/c', capacity: 20}]\n",
    "tiers": CATALOG_PARTS["tiers"] + "\n",
    "calendars": "calendars:\n  cn: {holidays: CN}\n  double-11: {dates: [2027-11-08..2027-11-12]}\n",
}  # fmt: skip
PIECES = [
    pytest.param(path, text, id=f"{path.name}-{line}")
    for path in (ROOT / "README.md", DOCS / "howto.md", DOCS / "language.md", DOCS / "feeds.md", DOCS / "people.md")
    for line, language, text in _blocks(path)
    if language == "yaml"
]


@pytest.mark.parametrize(("path", "piece"), PIECES)
def test_a_piece_of_yaml_loads(path: Path, piece: str, tmp_path: Path) -> None:
    """A piece of YAML in README, how-to and language is a valid part of a program that has the names it uses."""
    files = files_of(piece)
    own = {key for key in AROUND if re.search(rf"^{key}:", piece, re.MULTILINE)}
    files["playbooks/catalog/more.yaml"] = "".join(text for key, text in AROUND.items() if key not in own)
    files["drumbeat.yaml"] = files.get("drumbeat.yaml", "")
    if not re.search(r"^profile:", files["drumbeat.yaml"], re.MULTILINE):
        files["drumbeat.yaml"] += PROFILE + "\n"
    for name in re.findall(r"template: ([a-z/-]+)", piece):
        files |= {f"templates/{name}.{channel}.j2": "Hello.\n" for channel in ("box", "sms", "wecom")}
    found = compile_program(write_program(tmp_path, files))
    assert [it for it in found.problems if it.severity == "error" and it.code != "yaml-empty"] == []


TEXTS = [
    pytest.param(text, id=f"{path.name}-{line}")
    for path in (DOCS / "howto.md", DOCS / "language.md")
    for line, _, text in _blocks(path)
    if text.startswith("---\n")
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_template_loads(text: str, tmp_path: Path) -> None:
    """A template that is shown is one: its head is YAML, its words are known."""
    steps = step("message: {template: a/b, via: box, purpose: service, with: {coupon: '{{ steps.gift }}'}}")
    links = "links: {base: https://go.shop.example, hosts: [shop.example]}\n"
    files = {"drumbeat.yaml": links, "playbooks/example.yaml": steps, "templates/a/b.box.j2": text}
    found = compile_program(write_program(tmp_path, files))
    assert [it for it in found.problems if it.severity == "error"] == []


# What the language page must have

LANGUAGE = DOCS / "language.md"
BESIDE = {
    "calendars": DOCS / "calendars.md",
    "date": DOCS / "calendars.md",
    "calendar": DOCS / "howto.md",
    "schedule": DOCS / "howto.md",
    **dict.fromkeys(("select", "rank", "nominate", "survey", "draw"), DOCS / "people.md"),
    **dict.fromkeys(("roles", "surveys", "segments"), DOCS / "people.md"),
}
"""Words whose keys have a page of their own."""


def _keys(shape: Shape) -> Iterator[str]:
    """Every key a shape knows, also deep inside."""
    if isinstance(shape, Map):
        for key, field in shape.fields.items():
            yield key
            yield from _keys(field.shape)
    elif isinstance(shape, (Many, Table)):
        yield from _keys(shape.of)
    elif isinstance(shape, Either):
        for inner in (shape.scalar, shape.seq, shape.map):
            if inner is not None:
                yield from _keys(inner)


def _words() -> Iterator[tuple[str, str]]:
    """(whose, word) of all there is to write."""
    for frame, shape in {
        "program": forms.PROGRAM, "playbook": forms.PLAYBOOK, "step": forms.MODIFIERS
    }.items():  # fmt: skip
        yield from ((frame, key) for key in _keys(shape))
    for section, shape in forms.SECTIONS.items():
        yield section, section
        yield from ((section, key) for key in _keys(shape))
    for registry in (TRIGGERS, ACTIONS):
        for word in registry:
            yield word, word
            yield from ((word, key) for key in _keys(registry.get(word).shape))
    for table in (FUNCTIONS, FILTERS, TESTS):
        yield from (("expressions", word) for word in table)


def test_every_word_is_explained() -> None:
    """Each trigger, step, key, function, test and filter stands on docs/language.md, or on the page it links to."""
    missing = []
    for whose, word in _words():
        if (whose, word) == ("choose", "branches"):
            continue  # never written
        pages = [LANGUAGE, BESIDE.get(whose, LANGUAGE)]
        if not any(_stands(word, page.read_text(encoding="utf-8")) for page in pages):
            missing.append(f"{whose}: {word}")
    assert missing == []


def _stands(word: str, text: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text) is not None


# Links, tables, lines


def _anchor(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    """Every link to a file of the repository finds the file, and the heading behind ``#``."""
    prose = BLOCK.sub("", path.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if target.startswith("https://"):
            continue
        name, _, heading = target.partition("#")
        page = (path.parent / name) if name else path
        assert page.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in {_anchor(title) for title in titles}, target


def test_the_index_links_every_page() -> None:
    """docs/index.md names each page of docs/ and of the reference."""
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    pages = [path for path in (*DOCS.glob("*.md"), *DOCS.glob("reference/*.md")) if path.name != "index.md"]
    assert [str(path.relative_to(DOCS)) for path in pages if f"({path.relative_to(DOCS)})" not in index] == []


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.name)
def test_tables_and_lines_are_in_shape(path: Path) -> None:
    """Rows of a table have as many cells as its head, and prose is wrapped."""
    prose = BLOCK.sub(lambda found: "\n" * found[0].count("\n"), path.read_text(encoding="utf-8"))
    wide, cells = [], 0
    for number, line in enumerate(prose.splitlines(), 1):
        if not line.lstrip().startswith("|"):
            cells = 0
            if wcswidth(line) > PROSE:
                wide.append(number)
            continue
        # a bar inside code is no border for whoever reads the text, but it is one for Markdown
        count = len(re.findall(r"(?<!\\)\|", line))
        cells = cells or count
        assert count == cells, f"{path.name}:{number}"
    assert wide == []
