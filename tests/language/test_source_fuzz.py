"""The reader under noise: it never raises, and never takes in silently what an independent reader refuses."""

from __future__ import annotations

import gc
import random
import re
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.language import source as reader
from engine.language.codes import PAGES
from engine.language.diagnostics import render_text
from engine.language.nodes import MapNode, Node, ScalarNode, SeqNode
from engine.language.source import MAX_DEPTH, Source, read_source

VALID = (
    'playbook: welcome\ntitle: 新人七天\ntrigger: {signup: true, if: event.source != "import"}\n'
    "entry: {mode: once, not_in: [staff], limit: 20000/day}\nsteps:\n  - coupon: new-user-20\n    id: gift\n"
    '  - wait: {days: 1, at: "10:00"}\n'
    '  - choose:\n      - when: count("app.opened", within="1d") >= 1\n        do: []\n',
    "a: |\n  one\n   two\n\n  三\nb: >-\n  folded\n  text\n\n    kept\n  end\nc: 'it''s'\nd: \"x\\u4e2d\\n\\\n   y\"\n",
    "numbers: [0, -7, +3, 0x1F, 0o17, 12.50, 1e3, .5, 5., 0012, 1_000, 08.30, .inf, 22:00]\n"
    "words: {NO: on, yes: off, n: ~, t: TRUE, f: False, z: null, e: }\nday: 2026-12-31\n",
    "plain: one\n  two\n  三 # note\nlist:\n- a\n- - b\n  - c: {d: [e, {f: g}]}\n-\n  h: 'i\n\n    j'\n? k\n: l\n",
    "points: {main: {expires: 365d, daily_cap: 500, earn: [{event: checkin, points: 5}]}} # allow: x — y\n",
)
SIGNS = "\n\n  \t:-,[]{}#&*!|>'\"%@`?~<.0159eExo+_aZ\\/：，“”中\r\0\x85\u2028\ufeff="
PIECES = (
    "\n---\n", "\n...\n", "<<: ", "&a ", "*a ", "!!int ", "{{ x }}", '"vip" in x', "\n- ", ": ", "? ", "|\n", ">-\n",
    "a: 1\n", "[" * 45, "{a: " * 20, "0o17", "\n\t", "'", '"', "# allow: yaml-tab\n", "%YAML 1.1\n", "\\U00110000",
)  # fmt: skip


class Refused(Exception):
    """The oracle refuses a document."""


def oracle(data: bytes, loader: Any) -> Any:
    """Plain values by PyYAML's composed nodes, a strict duplicates check and the YAML 1.2 rules; or Refused."""
    try:
        text = data.decode("utf-8")
        nodes = list(yaml.compose_all(text, Loader=loader))
    except (UnicodeDecodeError, yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise Refused(type(error).__name__) from error
    if len(nodes) != 1 or nodes[0] is None or text.startswith("\ufeff"):
        raise Refused("documents")
    return convert(nodes[0], 1)


def convert(node: yaml.Node, depth: int) -> Any:
    if depth > MAX_DEPTH and not isinstance(node, yaml.ScalarNode):
        raise Refused("depth")
    if isinstance(node, yaml.SequenceNode):
        return [convert(item, depth + 1) for item in node.value]
    if isinstance(node, yaml.ScalarNode):
        return node.value if node.style else scalar(node.value)
    values: dict[str, Any] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode) or (not key.style and key.value in {"", "<<"}):
            raise Refused("key")
        if key.value in values:
            raise Refused("duplicate")
        values[key.value] = convert(value, depth + 1)
    return values


def scalar(text: str) -> Any:
    """The YAML 1.2 core rules with Drumbeat's two deviations, written apart from the reader's."""
    if text.lower() in {"", "~", "null", "true", "false"} and (text.islower() or text.isupper() or text.istitle()):
        return {"t": True, "f": False}.get(text[:1].lower())
    if text in {"", "~"}:
        return None
    for prefix, base, digits in (("0o", 8, "01234567"), ("0x", 16, "0123456789abcdefABCDEF")):
        if text.startswith(prefix) and len(text) > 2 and not set(text[2:]) - set(digits):
            return int(text[2:], base)
    number = re.match(r"^[+-]?(\d*)(\.?)(\d*)(?:[eE]([+-]?\d+))?$", text, re.ASCII)
    if number is None or "\n" in text or not (number[1] or number[3]):
        return text
    if len(number[1]) > 1 and number[1].startswith("0"):
        return text
    if len(text) > 64 or abs(int(number[4] or 0)) > 99:
        raise Refused("number")
    return Decimal(text) if number[2] or number[4] else int(text)


def judged(data: bytes, loader: Any) -> tuple[Refused | None, Any]:
    """(why the oracle refuses, None) or (None, the values)."""
    try:
        return None, oracle(data, loader)
    except Refused as why:
        return why, None


def is_known(why: Refused) -> bool:
    """In brackets the scanner in Python ends a plain value at ``? ``, and it refuses ``|#``; libyaml takes both."""
    problem = str(getattr(why.__cause__, "problem", ""))
    return "but got '?'" in problem or problem == "expected chomping or indentation indicators, but found '#'"


def check(data: bytes) -> Source:
    """Every promise of the reader about one input."""
    read = read_source(data, "f.yaml")
    lines = re.split(r"\r\n|\r|\n", read.text)
    for problem in read.problems:
        assert problem.code in PAGES, problem
        assert problem.severity == PAGES[problem.code].severity, problem
        assert problem.length >= 1, problem
        if read.text:
            assert 1 <= problem.line <= len(lines), problem
            assert 1 <= problem.col <= len(lines[problem.line - 1]) + 1, problem
    render_text(read.problems, {"f.yaml": read.text})
    for loader in (yaml.SafeLoader, yaml.CSafeLoader):
        if loader is yaml.CSafeLoader and data.count(b"[") + data.count(b"{") > 2000:
            continue  # PyYAML's C composer recurses
        refused, expected = judged(data, loader)
        assert refused is None or not read.ok or is_known(refused), f"{loader.__name__} refuses {data!r}: {refused}"
        if refused is None and read.ok:
            assert read.root is not None
            found = read.root.plain()
            assert found == expected
            assert repr(found) == repr(expected)  # 1 == True == Decimal(1), so the types are compared too
    if read.ok and read.root is not None:
        check_places(read.root)
    return read


def check_places(node: Node) -> None:
    """Every character of every scalar is found where it is written."""
    if isinstance(node, MapNode):
        for key, value in node:
            check_places(key)
            check_places(value)
    elif isinstance(node, SeqNode):
        for item in node:
            check_places(item)
    elif isinstance(node, ScalarNode):
        before = 0
        for offset, char in enumerate(node.text):
            index = node.source.line_start(node.locate(offset)[0]) + node.locate(offset)[1] - 1
            written = node.source.text[index]
            folded = char in " \n" and written in " \r\n\\"
            assert written == char or folded or (written == "\\" and node.style == '"'), (node, offset, written)
            assert index >= before
            before = index
            assert node.at(offset).length >= 1


def mutate(rng: random.Random, text: str) -> str:
    """One to four random edits."""
    for _ in range(rng.randint(1, 4)):
        place = rng.randint(0, len(text))
        stop = min(len(text), place + rng.choice((0, 1, 1, 2, 8)))
        other = rng.choice(VALID)
        start = rng.randint(0, len(other))
        new = rng.choice(("", rng.choice(SIGNS), rng.choice(SIGNS), rng.choice(PIECES), other[start : start + 12]))
        text = text[:place] + new + text[stop:]
    return text


def test_the_valid_documents_are_taken() -> None:
    """Each document the mutations start from is read without any error and as the oracle reads it."""
    for text in VALID:
        read = check(text.encode())
        assert read.ok, render_text(read.problems, {"f.yaml": text})


@pytest.mark.parametrize("seed", range(10))
def test_mutated_documents(seed: int) -> None:
    """A mutated document is refused whenever PyYAML refuses it, and else read to the same values."""
    rng = random.Random(seed)
    taken = 0
    for _ in range(250):
        taken += check(mutate(rng, rng.choice(VALID)).encode()).ok
    assert 20 < taken < 230, "the mutations should produce documents of both kinds"


@pytest.mark.parametrize("seed", range(4))
def test_byte_noise(seed: int) -> None:
    """Random bytes, alone or inside a valid document, never raise and are never taken in silently."""
    rng = random.Random(seed)
    for _ in range(250):
        noise = bytes(rng.randrange(256) for _ in range(rng.randint(1, 12)))
        text = rng.choice(VALID).encode()
        place = rng.randint(0, len(text))
        check(noise)
        check(text[:place] + noise + text[place + rng.randint(0, 3) :])


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from([*SIGNS, *PIECES, "a", "b: ", "- c\n", "  "]), max_size=14).map("".join))
def test_short_documents_of_signs(text: str) -> None:
    """Any short sequence of YAML's own signs is judged as PyYAML judges it, or more strictly."""
    check(text.encode())


_TURNS = "\ufeff\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_SEEN = st.characters(exclude_categories=("Cs", "Cc", "Cn", "Zl", "Zp"), exclude_characters=_TURNS)
_TEXT = st.text(_SEEN, max_size=30)
_WORDS = ["word", " ", "  ", "\n", "\n\n", "中文，", "'", '"', "\\", "# ", ": ", "\t"]
_LONG = st.lists(st.sampled_from(_WORDS), max_size=30)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | _TEXT | _LONG.map("".join),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcdef", min_size=1), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_VALUES.filter(lambda value: value is not None), st.sampled_from(["'", '"', "|", ">"]), st.booleans())
def test_dumped_values_come_back(value: Any, style: str, flow: bool) -> None:
    """What PyYAML writes in any style is read without error, to the same values, with every character in its place."""
    data = yaml.safe_dump(
        {"v": value}, default_style=style, default_flow_style=flow, allow_unicode=True, width=20
    ).encode()
    data = re.sub(rb"!!(?:int|bool|null) ", b"", data)  # PyYAML tags quoted values that are not text; we read text
    read = check(data)
    assert read.ok, render_text(read.problems, {"f.yaml": read.text})


def test_the_python_scanner_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without libyaml the scanner in Python gives the same verdict, and the same tree, on every mutation."""
    rng = random.Random(99)
    for _ in range(300):
        data = mutate(rng, rng.choice(VALID)).encode()
        fast = read_source(data, "f.yaml")
        with monkeypatch.context() as patch:
            patch.setattr(reader, "_LOADER", yaml.SafeLoader)
            slow = read_source(data, "f.yaml")
        if fast.ok and not slow.ok:
            refused, _ = judged(data, yaml.SafeLoader)
            assert refused is not None
            assert is_known(refused), data
            continue
        assert fast.ok == slow.ok, data
        if fast.root and slow.root and fast.ok:
            assert fast.root.plain() == slow.root.plain()


@pytest.fixture
def no_sweeps() -> Iterator[None]:
    """Collecting garbage costs what other tests have left in memory, so it is no part of what is measured here."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_sweeps")
@pytest.mark.parametrize("opening", ["[", "{", "- ", "? ", "{{", "[{", "a: {", "'[", "&a [", "!!seq [", "f(a, "])
def test_thirty_thousand_brackets(opening: str) -> None:
    """Thirty thousand nested openings are a diagnostic, not a crash, and within a second or two.

    Threat: yaml.bomb — brackets
    """
    for data in ((opening * 30_000).encode(), ("a: [" + opening * 30_000).encode()):
        assert len(data) <= reader.MAX_BYTES
        started = time.process_time()
        read = read_source(data, "f.yaml")
        render_text(read.problems, {"f.yaml": read.text})
        assert time.process_time() - started < 2
        assert not read.ok or isinstance(read.root, ScalarNode)


@pytest.mark.usefixtures("no_sweeps")
@pytest.mark.parametrize(
    "piece",
    ["\t", "# ", "#allow: ", '"', "'", "''", '\\"', " ", "\n", "a: 1\n", "- [a, b]\n", "{a:b} ", "f(a, ", "：", "a，",
     "“", "? a\n", "!a ", "&a ", "*a ", "\x00", "\u4e2d", "a\tb ", "{{ x }} ", ": ", "|\n ", "- |\n  a\n", "{a: }, "],
)  # fmt: skip
def test_files_of_one_piece(piece: str) -> None:
    """The time to read a file grows with its size, whatever one piece it repeats, bare, in brackets or in a value."""
    for before, behind in (("", ""), ("a: [", "]"), ("a: {b: ", "}"), ('a: "', '"'), ("a: >\n  ", ""), ("a: x ", "")):
        room = reader.MAX_BYTES // 4  # small enough to be quick, large enough for anything quadratic to show
        data = f"{before}{piece * (room // len(piece.encode()))}{behind}".encode()
        started = time.process_time()
        read = read_source(data, "f.yaml")
        render_text(read.problems[:50], {"f.yaml": read.text})
        assert time.process_time() - started < 3, (before, piece)
