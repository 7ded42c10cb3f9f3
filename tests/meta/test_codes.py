"""Every code has a page, and the examples of a page say the truth."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from meta_harness import ROOT, codes, compiled

from engine.actions import ACTIONS
from engine.core import shapes as sh
from engine.core.kinds import Action, Trigger
from engine.language import forms
from engine.language.codes import PAGES
from engine.language.lint import CHECKS, LINT_PAGES
from engine.language.pages import PLAYBOOK_PAGES, PROGRAM_PAGES, SHAPE_PAGES
from engine.triggers import TRIGGERS

SEARCHED = ("engine/language", "engine/core", "engine/actions", "engine/triggers", "engine/render")
PLACES = {"error": 1, "warning": 1, "add": 1, "_error": 1, "say": 1, "refuse": 1, "Slip": 2, "Diagnostic": 5}
"""How a call that reports is named, and where its code stands."""
TABLES = re.compile(r"(yaml|template|slip|unknown|missing|duplicate)-[a-z]+(-[a-z]+)*")
"""What is a code wherever it stands: some are kept in tables."""


def _codes_in(path: Path) -> dict[str, str]:
    """Code -> place, of every code a file reports by name."""
    found: dict[str, str] = {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            for code in _reported(node, path):
                found.setdefault(code, f"{path.relative_to(ROOT)}:{node.lineno}")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and TABLES.fullmatch(node.value):
            found.setdefault(node.value, f"{path.relative_to(ROOT)}:{node.lineno}")
    return found


def _reported(call: ast.Call, path: Path) -> list[str]:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    place = (0 if "render" in path.parts else 1) if name == "problem" else PLACES.get(name)
    if place is None or len(call.args) <= place:
        return []
    code = call.args[place]
    if isinstance(code, ast.JoinedStr):
        text = ast.unparse(code)
        return [] if " " in text else _expanded(text)  # words with blanks are a message
    # ``set.add(x)`` and the like have one argument, so whatever text stands second is a code
    values = [code.body, code.orelse] if isinstance(code, ast.IfExp) else [code]
    texts = [it.value for it in values if isinstance(it, ast.Constant) and isinstance(it.value, str)]
    return [text for text in texts if " " not in text]


def _expanded(text: str) -> list[str]:
    """The codes made of a word: of every kind of name, or of the two families of words."""
    if "shape.kind" in text:
        return [f"unknown-{kind}" for kind in sorted(_kinds_of_names())]
    known = {"{what}": ("trigger", "verb"), "{family}": ("segment", "group", "badge", "level")}
    words = next((words for part, words in known.items() if part in text), None)
    assert words, f"a code is made in a way this test does not know: {text}"
    return [f"unknown-{word}" for word in words]


def _kinds_of_names() -> set[str]:
    shapes: list[sh.Shape] = [forms.PROGRAM, forms.PLAYBOOK, forms.MODIFIERS, *forms.SECTIONS.values()]
    kinds: list[type[Action] | type[Trigger]] = [*map(ACTIONS.get, ACTIONS), *map(TRIGGERS.get, TRIGGERS)]
    shapes += [kind.shape for kind in kinds]
    found = set()
    while shapes:
        shape = shapes.pop()
        if isinstance(shape, sh.Ref):
            found.add(shape.kind)
        elif isinstance(shape, sh.Map):
            shapes += [field.shape for field in shape.fields.values()]
        elif isinstance(shape, sh.Many | sh.Table):
            shapes.append(shape.of)
        elif isinstance(shape, sh.Either):
            shapes += [part for part in (shape.scalar, shape.seq, shape.map) if part is not None]
    return found


def test_every_code_has_a_page() -> None:
    """Whatever code the source reports, ``drumbeat explain`` has a page for it."""
    found: dict[str, str] = {}
    for folder in SEARCHED:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path.name not in ("pages.py", "codes.py"):
                found = {**_codes_in(path), **found}
    missing = [f"{place}: {code}" for code, place in sorted(found.items()) if code not in PAGES]
    assert not missing, "no page in engine/language/pages.py for:\n" + "\n".join(missing)
    assert {"unknown-key", "weights", "trigger-loop", "yaml-tab", "template-path", "unknown-coupon"} <= found.keys()


SHOWN = {**SHAPE_PAGES, **PLAYBOOK_PAGES, **PROGRAM_PAGES, **LINT_PAGES}


@pytest.mark.parametrize("code", [code for code, page in SHOWN.items() if not page.bad.startswith("(")])
def test_bad_example_shows_its_code(code: str, tmp_path: Path) -> None:
    """The bad example of a page yields its code, with the severity the page names."""
    found = compiled(tmp_path, SHOWN[code].bad)
    severities = {problem.severity for problem in found.problems if problem.code == code}
    assert severities == {SHOWN[code].severity}, [str(problem) for problem in found.problems]


@pytest.mark.parametrize("code", [code for code, page in SHOWN.items() if not page.good.startswith("(")])
def test_good_example_is_valid(code: str, tmp_path: Path) -> None:
    """The good example of a page is a valid program, without its code."""
    found = compiled(tmp_path, SHOWN[code].good)
    assert found.plan is not None, [str(problem) for problem in found.problems]
    assert code not in codes(found)


@pytest.mark.parametrize("code", list(PAGES))
def test_page_is_whole(code: str) -> None:
    """Every page has a title without full stop, sentences, and two examples that differ."""
    page = PAGES[code]
    assert page.title
    assert not page.title.endswith(".")
    assert page.meaning.endswith((".", ")"))
    assert page.bad
    assert page.good
    assert page.bad != page.good


def test_every_check_has_its_pages_and_every_page_its_check() -> None:
    """A check names the codes it may report, and each has a page; no page of a theme is left without a check."""
    assert {code for check in CHECKS for code in check.codes} == set(LINT_PAGES)
