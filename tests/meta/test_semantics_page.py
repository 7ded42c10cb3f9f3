"""Each line of the semantics names its test: a line without one, a test without its line and a stale page all fail."""

from __future__ import annotations

import pytest
from semantics_page import BOOKS, COMMAND, ROOT, Book, check, issues, made, page, proofs, read_tests, sections

books = pytest.mark.parametrize("book", BOOKS, ids=lambda book: book.word)


@books
def test_every_line_is_proven_or_left_to_an_issue(book: Book) -> None:
    """No line without a test or an issue, no test that names a line there is not, nothing said of a proven line."""
    faults = check(sections(book.text), issues(book.text), proofs(read_tests(), book.word))
    assert not faults, "\n" + "\n".join(faults)


@books
def test_the_page_is_fresh(book: Book) -> None:
    """Each page is what its lines and the docstrings make."""
    text = book.page.read_text(encoding="utf-8") if book.page.is_file() else ""
    assert text == made(book), f"stale: {book.page.name}; run: {COMMAND}"


@books
def test_links_lead_somewhere(book: Book) -> None:
    """Each link of a page is a file of the tests that holds the test of that name."""
    found = proofs(read_tests(), book.word)
    assert found.proofs
    text = book.page.read_text(encoding="utf-8")
    for proof in found.proofs:
        assert f"[{proof.test}]({book.up}{proof.file})" in text
        assert f"def {proof.test}(" in (ROOT / proof.file).read_text(encoding="utf-8")


LINES = """
issues: {4: later}
sections:
  Things:
    thing.one: One holds.
    thing.two: {says: Two will hold., issue: 4}
    thing.three: {says: Three would be good., not_yet: there is no three}
"""


def a_test(doc: str, name: str = "test_it", mark: str = "", indent: str = "") -> dict[str, str]:
    """A file with one test of this docstring."""
    return {"tests/a/test_a.py": f'{indent}{mark}{indent}def {name}() -> None:\n{indent}    """{doc}"""\n'}


def other(doc: str) -> dict[str, str]:
    """A second file."""
    return {"tests/b/test_b.py": a_test(doc)["tests/a/test_a.py"]}


GOOD = a_test("Semantics: thing.one — because.")


@pytest.mark.parametrize(
    ("lines", "files", "fault"),
    [
        (LINES, GOOD, None),
        (LINES, a_test("It holds.\n\n    Semantics: thing.one\n    "), None),
        (LINES, {}, "thing.one: no test names it"),
        (LINES, GOOD | other("Semantics: thing.four"), "'thing.four', which is"),
        (LINES, a_test("Semantics: thing.one, thing.two"), "thing.two: a test names it, so 'issue'"),
        (LINES, a_test("Semantics: thing.one, thing.three"), "thing.three: a test names it"),
        (LINES.replace("issue: 4", "issue: 9"), GOOD, "issue 9 is not among"),
        (LINES, GOOD | other("Semantics: one thing — x"), "names no line"),
        (LINES, GOOD | {"tests/b/test_b.py": '"""Semantics: thing.one"""\n'}, "only a test that always runs"),
        (LINES, a_test("Semantics: thing.one", name="helper"), "only a test that always runs"),
        (LINES, a_test("Semantics: thing.one", mark="@pytest.mark.skip\n"), "only a test that always runs"),
        (LINES, a_test("Semantics: thing.one", mark="@pytest.mark.xfail()\n"), "only a test that always"),
        (LINES, {"tests/a/test_a.py": 'if 0:\n  def test_a():\n    """Semantics: thing.one"""\n'}, "only a test that"),
    ],
)  # fmt: skip
def test_the_check_can_fail(lines: str, files: dict[str, str], fault: str | None) -> None:
    """Each way in which the page would not be true is found."""
    found = check(sections(lines), issues(lines), proofs(files))
    assert (found == []) if fault is None else any(fault in it for it in found), found


def test_what_the_page_shows() -> None:
    """A proven line links its test by file and name, the others say the issue or the reason."""
    text = page(sections(LINES), issues(LINES), proofs(GOOD))
    assert "| `thing.one` | One holds. | [test_it](../tests/a/test_a.py) |" in text
    assert "| `thing.two` | Two will hold. | **issue 4** |" in text
    assert "| `thing.three` | Three would be good. | **not yet**: there is no three |" in text
    assert "3 lines: 1 proven, 1 left to later issues, 1 not yet kept." in text


@pytest.mark.parametrize("body", ["{says: x, sissue: 4}", "{issue: 4}", "[x]", "3"])
def test_a_line_is_read_strictly(body: str) -> None:
    """A misspelt key does not leave a line unproven in silence."""
    with pytest.raises(ValueError, match=r"thing\.one: a line is"):
        sections(f"sections: {{T: {{thing.one: {body}}}}}")
