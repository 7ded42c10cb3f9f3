"""Patterns of event schemas: they say what ``re`` says, and never take longer than the text is long."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from engine.language.automaton import Automaton, PatternError

ATOMS = ["a", "b", ".", r"\d", r"\w", r"\W", "[ab]", "[^a]", "[a-c0-9_-]", r"[\d\n]", r"[^\w]", "^", "$", "一"]
ATOMS += [r"\.", r"\u0061"]
TIMES = ["", "", "", "*", "+", "?", "{2}", "{1,3}", "{0,}", "*?", "+?"]


@st.composite
def patterns(draw: st.DrawFn, depth: int = 3) -> str:
    parts = []
    for _ in range(draw(st.integers(0, 4))):
        atom = draw(st.sampled_from(ATOMS))
        if depth and draw(st.booleans()):
            open_ = draw(st.sampled_from(["(", "(?:"]))
            atom = f"{open_}{draw(patterns(depth=depth - 1))})"
        parts.append(atom if atom in ("^", "$") else atom + draw(st.sampled_from(TIMES)))
    row = "".join(parts)
    return f"{row}|{draw(patterns(depth=depth - 1))}" if depth and draw(st.integers(0, 4)) == 0 else row


def same(pattern: str) -> re.Pattern[str]:
    """The pattern as ``re`` has to read it for the same meaning: ``$`` is the very end, classes are those of ASCII."""
    told = re.sub(r"(?<!\\)\$", r"\\Z", pattern)
    return re.compile(re.sub(r"(?<!\\)\.", r"[^\\n\\r\\u2028\\u2029]", told), re.ASCII)


class TooLong(Exception):
    """``re`` walks a text over and over, as patterns of ``test_no_text_keeps_it_busy`` make it do."""


@contextmanager
def hurried(seconds: float) -> Iterator[None]:
    """Raises TooLong after so many seconds of the processor; ``re`` looks for signals while it searches."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TooLong

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@settings(max_examples=300, deadline=None)
@given(patterns(), st.lists(st.text("abc01_-. \n一A", max_size=8), min_size=1, max_size=6))
def test_says_what_re_says(pattern: str, texts: list[str]) -> None:
    """On every text a pattern is found exactly where the library's own matcher finds it."""
    try:
        mine = Automaton(pattern)
    except PatternError as error:  # written out it has too many places: that is refused, and tested below
        assume("too large" not in str(error))
        raise
    other = same(pattern)
    for text in texts:
        try:
            with hurried(0.2):
                wanted = other.search(text) is not None
        except TooLong:  # one pattern in thousands; some would take a minute
            continue
        assert mine.found_in(text) is wanted, (pattern, text)


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        (r"^[A-Z]{2}\d{6}$", "AB123456", "AB12345"),
        (r"^(web|app)-\w+$", "app-1", "apps-1"),
        (r"^[\u4e00-\u9fff]+$", "上海", "上海1"),
        (r"^\S+@\S+\.\S+$", "a@b.cn", "a@b cn"),
        (r"^1[3-9]\d{9}$", "13800138000", "12800138000"),
        (r"\/", "a/b", "ab"),
        (r"^$", "", "a"),
        (r"^a{0}$", "", "a"),
        (r"^[^]$", "a", ""),
    ],
)
def test_by_hand(pattern: str, good: str, bad: str) -> None:
    """Patterns as people write them."""
    assert Automaton(pattern).found_in(good)
    assert not Automaton(pattern).found_in(bad)


@pytest.mark.parametrize(
    ("pattern", "place"),
    [
        ("(a", 0), ("a)", 1), ("[a", 0), ("*a", 0), ("a**", 2), ("a{", 1), ("a{2,1}", 1), ("a{1,5000}", 1),
        ("a{301}", 0), ("(?=a)", 0),
        ("(?<n>a)", 0), (r"(a)\1", 3), (r"\bword", 0), (r"\p{L}", 0), ("[b-a]", 2), (r"[a-\d]", 2), ("[]", 0),
        ("(((a{1000}){1000}){1000})", 0), ("^*", 0), ("\\", 0),
    ],
)  # fmt: skip
def test_what_is_refused(pattern: str, place: int) -> None:
    """What a matcher in one walk cannot do, or cannot be read, is refused with its place."""
    with pytest.raises(PatternError) as caught:
        Automaton(pattern)
    assert caught.value.place == place


@pytest.mark.parametrize(
    "pattern", ["^(a+)+$", "^(a|a)*$", "(x+x+)+y", r"^(\w*\w*\w*)*!$", "a*a*a*a*a*b", "(.*)*=(.*)*;"]
)
def test_no_text_keeps_it_busy(pattern: str) -> None:
    """Patterns that keep a backtracking matcher busy for ever cost a look-up a character."""
    asked = Automaton(pattern)
    assert not asked.found_in("a" * 16_000 + "?")
    assert len(asked._steps) < 10  # one look-up a character, and only these were worked out
