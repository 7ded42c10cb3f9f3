"""Diagnostics: the exact texts people read, the caret, silencing by comment, and the pages behind the codes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from wcwidth import wcswidth

import engine.language
from engine.errors import InternalError, UsageError
from engine.language.codes import ALLOW_PAGES, PAGES, YAML_PAGES, merged, page
from engine.language.diagnostics import (
    SILENCEABLE_ERRORS,
    Comment,
    Diagnostic,
    Mark,
    Problems,
    Spot,
    read_allows,
    render_text,
    to_json,
)
from engine.language.excerpt import WINDOW, excerpt
from engine.language.source import MapNode, ScalarNode, read_source


def problem(line: int = 1, col: int = 1, length: int = 1, code: str = "unknown-key", **more: str) -> Diagnostic:
    return Diagnostic(
        more.get("file", "f.yaml"), line, col, length, more.get("severity", "error"),  # type: ignore[arg-type]
        code, more.get("message", "wrong"), more.get("hint", ""),
    )  # fmt: skip


def shown(text: str, col: int, length: int, hint: str = "") -> list[str]:
    """The two lines below the message."""
    return render_text([problem(1, col, length, hint=hint)], {"f.yaml": text}).split("\n")[1:]


def judge(text: str, *found: Diagnostic) -> list[tuple[int, str, str]]:
    """(line, code, hint) of what is left of ``found`` in a file with ``# allow:`` comments."""
    source = read_source(text.encode(), "f.yaml")
    problems = Problems(("unknown-key", "no-owner"))
    problems.extend(source.problems)
    problems.extend(found)
    problems.learn(source.allows)
    return [(left.line, left.code, left.hint) for left in problems.result()]


def test_the_two_examples_of_the_language() -> None:
    """Messages look exactly as the language's description shows them."""
    welcome = "playbook: welcome\ntrigger: manual\nsteps:\n  - message:\n      templte: welcome/hello\n"
    tier = 'playbook: tier\n\n\n\n    if: user.city == "上海" and user.teir in ["golden", "diamond"]\n'
    found = [
        problem(5, 36, 4, "unknown-field", file="playbooks/tier.yaml", message="'user' has no field 'teir'",
                hint="did you mean 'tier'?"),
        problem(5, 7, 7, "unknown-key", file="playbooks/welcome.yaml", message="unknown key 'templte' in 'message'",
                hint="did you mean 'template'?"),
    ]  # fmt: skip
    text = render_text(found[::-1], {"playbooks/welcome.yaml": welcome, "playbooks/tier.yaml": tier})
    assert text == (
        "playbooks/tier.yaml:5:36: error[unknown-field]: 'user' has no field 'teir'\n"
        '  5 |     if: user.city == "上海" and user.teir in ["golden", "diamond"]\n'
        "    |                                      ^^^^ did you mean 'tier'?\n"
        "playbooks/welcome.yaml:5:7: error[unknown-key]: unknown key 'templte' in 'message'\n"
        "  5 |       templte: welcome/hello\n"
        "    |       ^^^^^^^ did you mean 'template'?"
    )


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (
            'if: "vip" in user.tags\n',
            "f.yaml:1:11: error[yaml-quote]: text goes on behind the closing quote\n"
            '  1 | if: "vip" in user.tags\n'
            "    |           ^^^^^^^^^^^^ put the whole value in single quotes: '\"vip\" in user.tags'",
        ),
        (
            "title: 新人\ntrigger：signup\n",
            "f.yaml:2:8: error[yaml-fullwidth]: '：' is a full-width colon; YAML reads it as part of the text\n"
            "  2 | trigger：signup\n"
            "    |        ^^ type ': ', half-width and with a space, or quote the value if it is text",
        ),
        (
            't: {signup: true, if: count("a", within="1d") > 1}\n',
            "f.yaml:1:32: error[yaml-cut]: YAML cuts the expression at this comma\n"
            '  1 | t: {signup: true, if: count("a", within="1d") > 1}\n'
            "    |                                ^ quote the whole expression: if: 'count(\"a\", within=\"1d\") > 1'",
        ),
        (
            "playbook: a\ntrigger:signup\n",
            "f.yaml:2:8: error[yaml-space]: a space is missing after ':'\n"
            "  2 | trigger:signup\n"
            "    |        ^ write: trigger: signup",
        ),
        (
            "a:\n\tb: 1\n",
            "f.yaml:2:1: error[yaml-tab]: a tab used as indentation\n"
            "  2 |     b: 1\n"
            "    | ^^^^ use spaces, two a level",
        ),
        (
            "with: {coupon: {{ steps.gift }}}\n",
            "f.yaml:1:16: error[yaml-braces]: a value cannot begin with '{{' unless it is quoted\n"
            "  1 | with: {coupon: {{ steps.gift }}}\n"
            "    |                ^^ put the whole value in quotes: '{{ steps.gift }}'",
        ),
        (
            "title: 你好\ntitle: x\n",
            "f.yaml:2:1: error[yaml-duplicate-key]: the key 'title' is written twice\n"
            "  2 | title: x\n"
            "    | ^^^^^ the first one is on line 1; keep one of them",
        ),
        (
            "via: [a,\n  b\n",
            "f.yaml:1:6: error[yaml-unclosed]: the bracket [ opened here is not closed\n"
            "  1 | via: [a,\n"
            "    |      ^ close it, or quote the value if it is text",
        ),
        (
            "",
            "f.yaml:1:1: error[yaml-empty]: the file is empty\n"
            "  1 |\n"
            "    | ^ its first key names its kind, such as 'playbook:'",
        ),
    ],
)  # fmt: skip
def test_golden_texts(written: str, text: str) -> None:
    """The reader's words are pinned, so a change of wording is seen in review."""
    source = read_source(written.encode(), "f.yaml")
    assert render_text(source.problems, {"f.yaml": source.text}) == text


def test_carets_are_measured_in_cells() -> None:
    """The carets stand under the word and are as wide as it is, behind and under CJK, emoji, marks and tabs."""
    assert shown("a: 上海x", 4, 2) == ["  1 | a: 上海x", "    |    ^^^^"]
    assert shown("上海: x", 5, 1) == ["  1 | 上海: x", "    |       ^"]
    assert shown("e\u0301e\u0301: x", 7, 1, "here") == ["  1 | e\u0301e\u0301: x", "    |     ^ here"]
    assert shown("👨‍👩‍👧: x", 8, 1) == ["  1 | 👨‍👩‍👧: x", "    |     ^"]
    assert shown("❤️: x", 5, 1)[1] == "    | " + " " * (wcswidth("❤️") + 2) + "^"
    assert shown("\ta\tb", 4, 1) == ["  1 |     a   b", "    |         ^"]


def test_carets_stay_on_the_line() -> None:
    """A length that runs over the line's end is cut, and a place behind the end still gets one caret."""
    assert shown("abc", 2, 99) == ["  1 | abc", "    |  ^^"]
    assert shown("abc", 4, 1) == ["  1 | abc", "    |    ^"]
    assert shown("", 1, 1) == ["  1 |", "    | ^"]
    assert shown("abc", 99, 1) == ["  1 | abc", "    |    ^"]


def test_wide_line_numbers_keep_the_gutter() -> None:
    """The gutter grows with the line number."""
    text = render_text([problem(120, 2, 2)], {"f.yaml": "\n" * 119 + "abc"})
    assert text.split("\n")[1:] == ["  120 | abc", "      |  ^^"]


def test_a_file_without_text_is_shown_without_its_line() -> None:
    """Where the text is not at hand the message and the hint are all there is."""
    assert render_text([problem(hint="look")], {}) == "f.yaml:1:1: error[unknown-key]: wrong\n  look"
    assert render_text([problem(9)], {"f.yaml": "a"}).endswith("  9 |\n    | ^")
    assert render_text([], {}) == ""


def test_nothing_in_a_file_steers_the_terminal() -> None:
    """Escape codes and reordering marks in names and source lines are shown as U+FFFD."""
    bad = problem(1, 1, 1, message="key '\x1b[2J\n\u202e'", hint="a\nb", file="\x1b.yaml")
    text = render_text([bad], {"\x1b.yaml": "\x1b[2J\u202eabc\x07"})
    assert not set(text) & set("\x1b\x07\u202e")
    assert text.count("\n") == 2


def test_color() -> None:
    """Colour changes nothing but the colour."""
    found = [problem(1, 1, 1, hint="x"), problem(1, 2, 1, severity="warning")]
    plain, colored = (render_text(found, {"f.yaml": "ab"}, color) for color in (False, True))
    assert "\x1b[1;31merror[unknown-key]" in colored
    assert "\x1b[1;33mwarning[unknown-key]" in colored
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == plain


@pytest.mark.parametrize("unit", ["x", "上", "e\u0301", "a b ", "\t"])
@pytest.mark.parametrize("size", [10, 101, 250, 5000])
def test_long_lines_are_cut_around_the_word(unit: str, size: int) -> None:
    """A line of any length is shown in a window that holds the word, with the carets under it."""
    line = (unit * size)[:size]
    for at in {0, 1, size // 3, size // 2, size - 7, size - 1}:
        marked = line[:at] + "<上>" + line[at + 3 :]
        found = excerpt(marked, at + 1, 3)
        assert wcswidth(found.text) <= WINDOW + 6
        assert wcswidth(found.text[: found.text.index("<上>")]) == found.pad
        assert found.carets == 4


def test_a_word_longer_than_the_window_is_cut() -> None:
    """Carets never run over the window."""
    found = excerpt("key: " + "x" * 1000, 6, 1000)
    assert (found.text, found.pad, found.carets) == ("key: " + "x" * 95 + "...", 5, 95)


def test_order() -> None:
    """Problems are sorted by file, line, column and code."""
    wanted = [problem(file="a"), problem(2, 3), problem(2, 4, code="a"), problem(2, 4, code="b"), problem(10, 1)]
    assert sorted(wanted[place] for place in (3, 0, 4, 2, 1)) == wanted


def test_json() -> None:
    """The JSON form has every field, plain values, and the column in characters."""
    found = to_json(problem(5, 36, 4, message="上海", hint="h"))
    assert json.loads(json.dumps(found)) == {
        "file": "f.yaml", "line": 5, "col": 36, "length": 4, "severity": "error", "code": "unknown-key",
        "message": "上海", "hint": "h",
    }  # fmt: skip


def test_problems_takes_marks_nodes_and_spots() -> None:
    """A problem is placed by a mark, by a node, or by a word inside a value; the same one is told once."""
    root = read_source(b"a: xyz\nb: [1,\n  2]", "f.yaml").root
    assert isinstance(root, MapNode)
    value = root.get("a")
    assert isinstance(value, ScalarNode)
    problems = Problems()
    problems.error(Mark("f.yaml", 9, 1), "c", "m")
    problems.error(value, "c", "m", hint="h")
    problems.warning(value.at(1, 2), "c", "m")
    problems.error(root, "c", "m")
    problems.error(Spot(Mark("f.yaml", 3, 1), 0), "c", "m", length=7)
    problems.error(value, "c", "m", hint="h")
    places = [(found.line, found.col, found.length, found.severity) for found in problems.result()]
    assert places == [
        (1, 1, 1, "error"),
        (1, 4, 3, "error"),
        (1, 5, 2, "warning"),
        (3, 1, 7, "error"),
        (9, 1, 1, "error"),
    ]


def test_has_errors_counts_what_is_left() -> None:
    """Warnings are no errors."""
    problems = Problems()
    assert not problems.has_errors
    problems.warning(Mark("f.yaml", 1, 1), "no-owner", "m")
    assert not problems.has_errors
    problems.error(Mark("f.yaml", 1, 1), "unknown-key", "m")
    assert problems.has_errors


WARNING = problem(1, 1, 1, "no-owner", severity="warning")


@pytest.mark.parametrize("dash", ["— ", "—", "——", " - ", " -- ", " – ", " "])
def test_a_warning_is_silenced_with_a_reason(dash: str) -> None:
    """A warning is silenced by a comment on its line, whichever dash parts code and reason."""
    assert judge(f"a: 1 # allow: no-owner{dash}由运营负责", WARNING) == []
    assert judge(f"a: 1 # allow: other, no-owner{dash}why", WARNING) == [
        (1, "unused-allow", "drop the comment"),
    ]


def test_an_allow_needs_a_reason() -> None:
    """Without a reason the comment still silences, and is itself a warning."""
    hint = "write '# allow: no-owner — why this is fine'"
    for text in ("a: 1 # allow: no-owner", "a: 1 # allow: no-owner —", "a: 1 # allow： no-owner --"):
        assert judge(text, WARNING) == [(1, "allow-without-reason", hint)]


def test_an_allow_speaks_for_its_line_only() -> None:
    """On another line, or for another code, nothing is silenced and the comment is unused."""
    assert judge("a: 1\nb: 2 # allow: no-owner — x", WARNING) == [
        (1, "no-owner", ""),
        (2, "unused-allow", "drop the comment"),
    ]
    assert judge("a: 1 # allow: no-owner2 — x") == [(1, "unused-allow", "did you mean 'no-owner'?")]
    assert judge("a: 1 # allow:") == [(1, "unused-allow", "write '# allow: code — why this is fine'")]
    assert judge("a: 1 # allowed: no-owner") == []


def test_errors_are_not_silenced() -> None:
    """An error stays, and the comment is told why it does nothing."""
    assert not SILENCEABLE_ERRORS
    assert judge("a: 1 # allow: unknown-key — x", problem()) == [
        (1, "unknown-key", ""),
        (1, "unused-allow", "mend the line and drop the comment"),
    ]


def test_a_comment_behind_a_block_sign_speaks_for_the_block() -> None:
    """The lines of a | or > text have no room for comments, so the one behind the sign speaks for them."""
    inside = problem(3, 3, 1, "no-owner", severity="warning")
    assert judge("a: > # allow: no-owner — x\n  one\n  two\nb: 1", inside) == []
    below = problem(4, 1, 1, "no-owner", severity="warning")
    assert [code for _, code, _ in judge("a: > # allow: no-owner — x\n  one\n  two\nb: 1", below)] == [
        "unused-allow",
        "no-owner",
    ]


def test_unused_comments_are_not_told_when_checks_did_not_run() -> None:
    """In a file that could not be read to its end, or on request, no comment is called unused."""
    allows = read_allows([Comment(Mark("f.yaml", 1, 6), "# allow: no-owner — x", 1)])
    problems = Problems()
    problems.learn(allows)
    assert [found.code for found in problems.result()] == ["unused-allow"]
    assert problems.result(unused=False) == ()
    problems = Problems()
    problems.learn(allows, incomplete="f.yaml")
    assert problems.result() == ()


@pytest.mark.parametrize("code", sorted({*YAML_PAGES, *ALLOW_PAGES} - {"yaml-encoding", "yaml-size"}))
def test_examples_of_pages(code: str) -> None:
    """The bad example of a page has its problem and no other, and the good one has none."""
    for text, expected in ((PAGES[code].bad, [(code, PAGES[code].severity)]), (PAGES[code].good, [])):
        source = read_source(text.encode(), "f.yaml")
        problems = Problems(PAGES)
        problems.extend(source.problems)
        problems.learn(source.allows)
        assert [(found.code, found.severity) for found in problems.result()] == expected


def test_every_code_has_a_page() -> None:
    """Every code the reader can say has a page, and every page of the reader a code it can say."""
    folder = Path(engine.language.__file__).parent
    modules = ("source.py", "slips.py", "syntax.py", "textual.py", "diagnostics.py")
    text = "".join((folder / name).read_text("utf-8") for name in modules)
    assert set(re.findall(r'"(yaml-[a-z-]+|allow-without-reason|unused-allow)"', text)) == {*YAML_PAGES, *ALLOW_PAGES}


def test_page_text() -> None:
    """A page shows severity, code, meaning, a bad and a good example."""
    assert page(" YAML-tag") == (
        "error[yaml-tag]: a tag\n\n"
        "A value that begins with '!' is a YAML tag, which playbooks do not use. "
        "In a condition write 'not' for '!'.\n\n"
        "Bad:\n    if: !user.blocked\n\nGood:\n    if: not user.blocked"
    )
    assert "<U+0009>signup: true" in page("yaml-tab")


def test_an_unknown_code_names_the_nearest() -> None:
    """Explaining an unknown code is a wrong call, with the nearest code as the hint."""
    with pytest.raises(UsageError) as caught:
        page("yaml-tagg")
    assert caught.value.hint == "did you mean 'yaml-tag'?"
    with pytest.raises(UsageError) as caught:
        page("qqqq")
    assert caught.value.hint == "'drumbeat validate' prints codes as error[code]"


def test_no_code_has_two_pages() -> None:
    """Two areas cannot claim the same code."""
    with pytest.raises(InternalError):
        merged((YAML_PAGES, YAML_PAGES))
