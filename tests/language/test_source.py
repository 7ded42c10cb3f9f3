"""The YAML reader: values, places, limits, and the words for operators' slips."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from engine.language.source import (
    MAX_BYTES,
    MAX_DEPTH,
    MapNode,
    Mark,
    Node,
    ScalarNode,
    SeqNode,
    Source,
    cut_expression,
    read_source,
    slip_for_scalar,
)


def read(text: str | bytes) -> Source:
    return read_source(text.encode() if isinstance(text, str) else text, "f.yaml")


def root(text: str) -> MapNode:
    """The tree of a document that has no problems."""
    source = read(text)
    assert not source.problems
    assert isinstance(source.root, MapNode)
    return source.root


def word(node: Node | None) -> ScalarNode:
    assert isinstance(node, ScalarNode)
    return node


def told(text: str | bytes) -> list[tuple[int, int, str]]:
    """(line, column, code) of every problem."""
    return [(problem.line, problem.col, problem.code) for problem in read(text).problems]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        *[(word, True) for word in ("true", "True", "TRUE")],
        *[(word, False) for word in ("false", "False", "FALSE")],
        *[(word, None) for word in ("null", "Null", "NULL", "~", "")],
        ("0", 0),
        ("-12", -12),
        ("+20", 20),
        ("0x1F", 31),
        ("0o17", 15),
        ("12.50", Decimal("12.50")),
        (".5", Decimal("0.5")),
        ("-1e3", Decimal("-1E+3")),
        *[
            (text, text)
            for text in (
                "NO", "on", "yes", "tRUE", "22:00", "0012", "08.30", "1_000", "2026-12-31", ".inf", "-.INF", ".nan",
                "0x", "0o8", "0b1", "+0x1F", "1.2.3", "1e", ".", "+", "3d", "-60d", "٣", "½", "１２",
            )
        ],
    ],
)  # fmt: skip
def test_plain_scalars_follow_the_core_rules(written: str, value: Any) -> None:
    """An unquoted scalar is what YAML 1.2 core says, money is exact, and operators' words stay text."""
    found = word(root(f"a: {written}").get("a"))
    assert found.value == value
    assert type(found.value) is type(value)
    assert found.text == written


@pytest.mark.parametrize("written", ["'{}'", '"{}"', "|-\n  {}", ">-\n  {}"])
@pytest.mark.parametrize("value", ["true", "~", "12", "1.5", "<<"])
def test_quoted_and_block_scalars_are_text(written: str, value: str) -> None:
    """Quotes, | and > always make text."""
    assert root("a: " + written.format(value)).plain() == {"a": value}


def test_keys_are_names() -> None:
    """A key is text whatever it looks like."""
    assert root("1: a\ntrue: b\n~: c\n0x1F: d\n'<<': e").plain() == {
        "1": "a", "true": "b", "~": "c", "0x1F": "d", "<<": "e",
    }  # fmt: skip


def test_the_tree_keeps_places() -> None:
    """Every key and value says where it begins and ends, from 1, in characters."""
    tree = root("标题: 你好\nvia: [wecom, {sms: 1}]\nsteps:\n  - wait: 3d\n  - stop: x\n\n\nlast: y\n")
    assert tree.keys() == ["标题", "via", "steps", "last"]
    assert (word(tree.key("标题")).mark, word(tree.key("标题")).end) == (Mark("f.yaml", 1, 1), Mark("f.yaml", 1, 3))
    assert (word(tree.get("标题")).mark.col, word(tree.get("标题")).end.col) == (5, 7)
    via, steps = tree.get("via"), tree.get("steps")
    assert isinstance(via, SeqNode)
    assert isinstance(steps, SeqNode)
    assert (via.mark, via.end, via.length) == (Mark("f.yaml", 2, 6), Mark("f.yaml", 2, 23), 17)
    assert (steps.mark, steps.end, steps.length) == (Mark("f.yaml", 4, 3), Mark("f.yaml", 5, 12), 1)
    assert (steps.items[0].mark, steps.items[0].length) == (Mark("f.yaml", 4, 5), 8)
    assert tree.get("nothing") is None
    assert tree.key("nothing") is None
    assert "via" in tree
    assert len(tree) == 4
    assert tree.length == 2


def test_windows_line_ends_do_not_move_anything() -> None:
    """With CR LF, or CR alone, lines and columns are those an editor shows."""
    for end in ("\r\n", "\r"):
        tree = root(end.join(["a: |", "  one", "  two", "b: x", ""]))
        assert word(tree.get("b")).mark == Mark("f.yaml", 4, 4)
        assert word(tree.get("a")).locate(4) == (3, 3)


@pytest.mark.parametrize(
    ("written", "needle", "line", "col"),
    [
        ('if: user.city == "上海" and user.teir', "teir", 1, 32),
        ("if: 'it''s user.teir'", "teir", 1, 17),
        ('if: "a\\u4e2d\\n\\"user.teir"', "teir", 1, 22),
        ('if: "\\U0001F600 \\x41 teir"', "teir", 1, 22),
        ('if: "one\n  two\n\n  teir"', "teir", 4, 3),
        ('if: "one \\\n   \\ two teir"', "teir", 2, 10),
        ("if: 'one\n\n\n  two teir'", "teir", 4, 7),
        ("if: one\n  两 teir\n", "teir", 2, 5),
        ("if: one\n\n  two\n    teir", "teir", 4, 5),
        ("if: >\n  user.city == '上海'\n  and user.teir\n", "teir", 3, 12),
        ("if: >-\n\n  one\n    deeper\n\n  two teir\n", "teir", 6, 7),
        ("if: >2-\n    deep\n  two teir\n", "teir", 3, 7),
        ("if: >+ # why\n  one\n\n\n  two\n  teir\n\n", "teir", 6, 3),
        ("if: |\n  one\n\n   中 teir\n", "teir", 4, 6),
        ("if: |1+\n  one\n teir\n\n", "teir", 3, 2),
        ("- |\n teir", "teir", 2, 2),
        ("a:\n  - if: >\n      一\n      二 teir", "teir", 4, 9),
        ("if: 'a\t\tteir'", "teir", 1, 9),
    ],
)
def test_a_word_inside_a_value_is_found(written: str, needle: str, line: int, col: int) -> None:
    """A place inside any style of scalar is found to the character, behind CJK text, escapes and folds."""
    node = read(written).root
    while not isinstance(node, ScalarNode):
        assert isinstance(node, MapNode | SeqNode)
        node = node.entries[-1][1] if isinstance(node, MapNode) else node.items[-1]
    offset = node.text.index(needle)
    assert node.locate(offset) == (line, col)
    assert node.at(offset, len(needle)) == (Mark("f.yaml", line, col), len(needle))


def test_the_end_of_a_value_is_found() -> None:
    """The offset behind the last character is a place too, and offsets out of range are held to the value."""
    for written, end in (
        ("a: xy", (1, 6)),
        ("a: 'x'", (1, 6)),
        ('a: "x\\n"', (1, 8)),
        ("a: |\n  xy\n", (3, 1)),
        ("a:", (1, 3)),
    ):
        node = word(root(written).get("a"))
        assert node.locate(len(node.text)) == end
        assert node.locate(99) == end
        assert node.locate(-1) == node.locate(0)


def test_a_word_covers_its_escapes() -> None:
    """The length of a word is its length in the file, and stops at the line's end."""
    node = word(root('a: "\\u4e2d文\\tx"').get("a"))
    assert node.at(0, 2).length == 7
    assert node.at(2, 1).length == 2
    folded = word(root("a: one\n  two").get("a"))
    assert folded.at(0, 7) == (Mark("f.yaml", 1, 4), 3)


def test_nothing_but_the_document_is_read() -> None:
    """Comments, a leading '---' and a closing '...' are no problem."""
    assert root("# note\n---\na: 1 # one\n# two\n...\n# three\n").plain() == {"a": 1}


@pytest.mark.parametrize(
    ("written", "problems"),
    [
        ("a: &x 1\nb: *x\n&k c: 2", [(1, 4, "yaml-anchor"), (2, 4, "yaml-alias"), (3, 1, "yaml-anchor")]),
        ("a: !!str 1\nb: !u [2]\nc: !", [(1, 4, "yaml-tag"), (2, 4, "yaml-tag"), (3, 4, "yaml-tag")]),
        ("a: 1\n<<: {b: 2}\nc: {<<: [d]}", [(2, 1, "yaml-merge"), (3, 5, "yaml-merge")]),
        ("a: 1\nb: {c: 1, 'c': 2}\n\"a\": 2", [(2, 11, "yaml-duplicate-key"), (3, 1, "yaml-duplicate-key")]),
        ("a: 1\n---\nb: 2\n---\nc: 3", [(2, 1, "yaml-documents")]),
        ("a: 1\n...\nb: 2", [(3, 1, "yaml-documents")]),
        ("? [a]\n: 1\n{b: 1}: 2", [(1, 3, "yaml-complex-key"), (3, 1, "yaml-complex-key")]),
        ("{: 1, a: 2}", [(1, 2, "yaml-empty-key")]),
        ("", [(1, 1, "yaml-empty")]),
        ("--- # nothing\n", [(1, 1, "yaml-empty")]),
        (b"\xef\xbb\xbfa: 1\na: 2", [(1, 1, "yaml-bom"), (2, 1, "yaml-duplicate-key")]),
        (b"a: 1\nb: \xd6\xd0\xce\xc4", [(2, 4, "yaml-encoding")]),
        ("a: 1".encode("utf-16"), [(1, 1, "yaml-encoding")]),
        ("a: x\0y\nb: \x1b[0m\nc: \u2028", [(1, 5, "yaml-control"), (2, 4, "yaml-control"), (3, 4, "yaml-control")]),
        ('a: "x\\0"', [(1, 6, "yaml-control")]),
        ("a: x\u202ey\nb: \u2066z", [(1, 5, "yaml-control"), (2, 4, "yaml-control")]),
        ("a:\n\tb: 1\nc: 2\n\td: 3", [(2, 1, "yaml-tab"), (4, 1, "yaml-tab")]),
        ("a:\tb\nc: d\te\nf: [\n\tg]", [(1, 3, "yaml-tab"), (2, 5, "yaml-tab"), (4, 1, "yaml-tab")]),
        ("a: 1\n \tb: 2", [(2, 2, "yaml-tab")]),
        ("a: '\t'\nb: |\n  x\n  \ty\n# \t\nc: \"x\n\ty\"", []),
        ("a: " + "9" * 65 + "\nb: 1e100\nc: 0x" + "f" * 65, [(n, 4, "yaml-number") for n in (1, 2, 3)]),
        ("%YAML 1.1\n---\na: 1", [(1, 1, "yaml-directive")]),
    ],
)
def test_what_yaml_allows_and_we_refuse(written: str | bytes, problems: list[tuple[int, int, str]]) -> None:
    """Each construct that hides something is refused at its place, and all of a file are told at once."""
    assert told(written) == problems


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("playbook: a\ntrigger:signup\nentry: once", (2, 8, "yaml-space")),
        ("trigger:signup\nentry: once", (1, 8, "yaml-space")),
        ("t: {signup:true}", (1, 11, "yaml-space")),
        ("playbook: a\ntrigger：signup\nentry: once", (2, 8, "yaml-fullwidth")),
        ("trigger：\n  signup: true", (1, 8, "yaml-fullwidth")),
        ("a: 1\nsteps:\n  - wait： 3d\n    id: x", (3, 9, "yaml-fullwidth")),
        ("t: {a: 1， b: 2}", (1, 9, "yaml-fullwidth")),
        ("t: {a：1， b：2}", (1, 6, "yaml-fullwidth")),
        ("via: [wecom，sms]", (1, 12, "yaml-fullwidth")),
        ("“title”: x", (1, 1, "yaml-fullwidth")),
        ("title: “x”", (1, 8, "yaml-fullwidth-quotes")),
        ('if: "vip" in user.tags', (1, 11, "yaml-quote")),
        ("t: {if: 'vip' in user.tags}", (1, 15, "yaml-quote")),
        ('- "vip" in user.tags', (1, 9, "yaml-quote")),
        ("title: {{ user.name }}", (1, 8, "yaml-braces")),
        ("title: {{ user.name }} 你好", (1, 8, "yaml-braces")),
        ('- {{ "x" ~ user.name }}', (1, 3, "yaml-braces")),
        ('t: {x: 1, if: count("a", within="1d") > 1}', (1, 24, "yaml-cut")),
        ('when: [count("a, b", within="1d") > 1, not user.blocked]', (1, 16, "yaml-cut")),
        ('t: {if: user.tier in ["a", "b"]}', (1, 22, "yaml-cut")),
        ("title: a: b", (1, 9, "yaml-colon")),
        ('if: x == "a: b"', (1, 12, "yaml-colon")),
        ("a: 1\n  b: 2", (2, 3, "yaml-indent")),
        ("a:\n  b: 1\n c: 2", (3, 2, "yaml-indent")),
        ("a: 1\n- b", (2, 1, "yaml-indent")),
        ("- a\nb: 1", (2, 1, "yaml-indent")),
        ("a: 1\n: b", (2, 1, "yaml-empty-key")),
        ("a: b\nc\n", (2, 1, "yaml-key")),
        ("a: - b", (1, 4, "yaml-list")),
        ('a: "x\nb: 1', (1, 4, "yaml-unclosed")),
        ('a: "x\nb: "y"\nc: 1', (1, 4, "yaml-unclosed")),
        ("a: [1, 2\nb: 3", (1, 4, "yaml-unclosed")),
        ("a: {b: [1, 2}", (1, 8, "yaml-unclosed")),
        ("a: {b: 1 c: 2}", (1, 8, "yaml-comma")),
        ("a: [1,, 2]", (1, 7, "yaml-comma")),
        ("a: @x", (1, 4, "yaml-char")),
        ("a: *.jsonl", (1, 4, "yaml-char")),
        ('a: "\\d"', (1, 5, "yaml-escape")),
        ("a: > 5", (1, 6, "yaml-block")),
        ("[a] b", (1, 5, "yaml-syntax")),
    ],
)
def test_slips_are_told_at_their_cause(written: str, problem: tuple[int, int, str]) -> None:
    """A slip of the keyboard is one problem, at the character to change, whatever libyaml stumbled over."""
    assert told(written) == [problem]


def test_valid_text_is_no_slip() -> None:
    """Smileys, apostrophes, web addresses and Chinese punctuation inside text are left alone."""
    tree = root(
        "a: 你好：世界，再见\nb: {c: ':(', d: it's, e: he's, f: 'x，y', g: 你好，世界}\nh: [it's (x), ':(', y]\n"
        "i: https://g.example/1\nj: {k: https://g.example/2}\nl: “a” 和 “b”\nm: 5 * 3 & !x\n"
    )
    assert tree.keys() == list("abhijlm")


def test_a_cut_expression_is_put_together_again() -> None:
    """The pieces of a cut expression are one broken value, so nobody reports its tail as an unknown key."""
    source = read('t: {if: count("a", within="1d") > 1, id: x}\nw: [min(1, 2), ok]')
    assert isinstance(source.root, MapNode)
    assert source.root.plain() == {"t": {"if": 'count("a", within="1d") > 1', "id": "x"}, "w": ["min(1, 2)", "ok"]}
    cut = source.root.get("t")
    assert isinstance(cut, MapNode)
    assert not cut.broken
    assert word(cut.get("if")).broken


def test_a_mapping_that_lost_entries_is_broken() -> None:
    """Where a refused key was dropped the mapping says so, and callers call nothing in it missing."""
    for written in ("{signup:true}", "{a：1}", "{<<: {x: 1}, y: 2}", "{[a]: 1}"):
        tree = read(f"t: {written}").root
        assert isinstance(tree, MapNode)
        inner = tree.get("t")
        assert inner is not None
        assert inner.broken
    twice = read("a: 1\na: 2").root
    assert isinstance(twice, MapNode)
    assert twice.plain() == {"a": 1}
    assert not twice.broken


@pytest.mark.parametrize(
    ("written", "code", "col"),
    [
        ("trigger:signup", "yaml-space", 8),
        ("trigger：signup", "yaml-fullwidth", 8),
        ("signup", None, 0),
        ("'trigger:signup'", None, 0),
        ("https://g.example", None, 0),
        ("22:00", None, 0),
    ],
)
def test_a_scalar_in_place_of_a_mapping(written: str, code: str | None, col: int) -> None:
    """Whoever wanted a mapping and got a scalar can ask which slip explains it."""
    node = read(written).root
    assert node is not None
    slip = slip_for_scalar(node)
    assert (slip and slip.code) == code
    assert slip is None or (slip.line, slip.col) == (1, col)


def test_a_mapping_is_no_slip() -> None:
    """Asked about anything but an unquoted scalar, the slip finder keeps quiet."""
    assert slip_for_scalar(root("a: 1")) is None


@pytest.mark.parametrize("text", ['count("a"', 'within="1d") > 1', "a[0", "{x", '"a', "it's", "(]", '"\\"'])
def test_cut_expressions(text: str) -> None:
    """An expression whose brackets or quotes do not pair up was cut."""
    assert cut_expression(text)


@pytest.mark.parametrize("text", ["", 'count("a)", within="1d") > 1', "a[0] + {x: (1)}.x", "'it\\'s'", '"it\'s"'])
def test_whole_expressions(text: str) -> None:
    """An expression whose brackets and quotes pair up was not cut."""
    assert not cut_expression(text)


def test_limits() -> None:
    """The limits on size and depth hold to the byte and to the level."""
    assert told(b"a: " + b"x" * (MAX_BYTES - 3)) == []
    assert told(b"a: " + b"x" * (MAX_BYTES - 2)) == [(1, 1, "yaml-size")]
    assert told("[" * MAX_DEPTH + "]" * MAX_DEPTH) == []
    assert told("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)) == [(1, MAX_DEPTH + 1, "yaml-depth")]
    assert told("- " * MAX_DEPTH + "x") == []
    assert told("- " * (MAX_DEPTH + 1) + "x") == [(1, 2 * MAX_DEPTH + 1, "yaml-depth")]


def test_many_tabs_do_not_bury_the_rest() -> None:
    """A file indented with tabs shows the first twenty lines and says how many there are besides."""
    source = read("a: 1\n" + "\tb: 1\n" * 50)
    assert len(source.problems) == 20
    assert source.problems[-1].hint.endswith("(30 more in this file)")


def test_a_syntax_error_keeps_what_stands_above() -> None:
    """Reading stops at a syntax error; what was read above it can still be looked at, and earlier problems are told."""
    source = read("a: 1\na: 2\nb: {c: 3}\nd: [\n# allow: x — y\n")
    assert source.root is None
    assert not source.complete
    assert [problem.code for problem in source.problems] == ["yaml-duplicate-key", "yaml-unclosed"]
    assert isinstance(source.partial, MapNode)
    assert source.partial.broken
    assert source.partial.plain() == {"a": 1, "b": {"c": 3}, "d": []}


def test_the_first_of_several_documents_is_checked() -> None:
    """A second document is an error, and the first one keeps its tree, so its own problems are told too."""
    source = read("a: 1\n---\nb: 2")
    assert source.root is not None
    assert source.root.plain() == {"a": 1}
    assert not source.complete


def test_allow_comments_are_read() -> None:
    """Allow comments carry codes, reason and place; a # inside a value is no comment."""
    source = read(
        "a: 1 # allow: x-y, z — because\nb: 'x # allow: no — no' # allow: w - short\n"
        "c: > # allow: v -- for the whole text\n  # allow: no — no\n  two\nd: a#b\n# allow:\n"
    )
    assert [(allow.mark.line, allow.mark.col, allow.codes, allow.reason, allow.until) for allow in source.allows] == [
        (1, 6, ("x-y", "z"), "because", 1),
        (2, 25, ("w",), "short", 2),
        (3, 6, ("v",), "for the whole text", 5),
        (7, 1, (), "", 7),
    ]
