"""Slips of the keyboard that are valid YAML, or nearly, but never what the operator meant.

Each is told in the operator's words at the character to change, so nobody has to guess from a follow-up such as an
unknown key ``within="1d") > 1``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from engine.language.diagnostics import Diagnostic, Mark
from engine.language.nodes import MapNode, Node, ScalarNode, SeqNode

# "key:value"; a web address and a name with "::" are no slips.
_NO_SPACE = re.compile(r"\s*(?:- +)*(?P<key>[A-Za-z_][A-Za-z0-9_.-]*)(?P<at>:)(?P<rest>[^\s:/].*)", re.DOTALL)
_WIDE_COLON = re.compile(r"\s*(?:- +)*[^\s：:#\"'{}\[\],]+\s*(?P<at>：)")
_WIDE_COMMA = re.compile(r"[A-Za-z0-9_.-]+\s*(?P<at>，)\s*[A-Za-z0-9_.-]+(?:\s*，\s*[A-Za-z0-9_.-]+)*")
_WIDE_QUOTES = re.compile(r"“[^“”]*”|‘[^‘’]*’|「[^「」]*」")
_MARKS = re.compile(r"[(\[{，]")
_WIDE_OPENERS = ("“", "‘", "「")
_CLOSES = {")": "(", "]": "[", "}": "{"}
_LONGEST_ADVICE = 60
# No expression is longer or has more commas; without a bound a hostile file could make the search cubic.
_MOST_TAILS = 8
_LONGEST_EXPRESSION = 2000


class Slip(NamedTuple):
    """A slip at an offset of some text: what a Diagnostic needs besides its place."""

    offset: int
    length: int
    code: str
    message: str
    hint: str

    def at(self, mark: Mark) -> Diagnostic:
        """The slip as an error at ``mark``."""
        return Diagnostic(
            mark.file, mark.line, mark.col, max(1, self.length), "error", self.code, self.message, self.hint
        )


def slip_for_scalar(node: Node) -> Diagnostic | None:
    """Why a scalar stands where a mapping is needed, when a slip explains it; None when the caller knows better.

    Parameters
    ----------
    node: the value that should have been a mapping; only unquoted scalars are looked into.
    """
    if not isinstance(node, ScalarNode) or node.style:
        return None
    slip = line_slip(node.text)
    if slip is None:
        return None
    return slip.at(Mark(node.mark.file, *node.locate(slip.offset)))


def line_slip(line: str) -> Slip | None:
    """A full-width colon, or a missing space behind a colon, at the beginning of a line or value."""
    wide = _WIDE_COLON.match(line)
    if wide is not None:
        return wide_mark("：", wide.start("at"))
    tight = _NO_SPACE.match(line)
    if tight is None:
        return None
    rest = tight["rest"].split("\n")[0]
    return Slip(
        tight.start("at"), 1, "yaml-space", "a space is missing after ':'", advice("write", f"{tight['key']}: {rest}")
    )


def wide_mark(mark: str, offset: int) -> Slip:
    """The slip of a full-width ``：`` or ``，`` used as YAML punctuation."""
    name, plain = ("colon", ": ") if mark == "：" else ("comma", ", ")
    return Slip(
        offset,
        1,
        "yaml-fullwidth",
        f"'{mark}' is a full-width {name}; YAML reads it as part of the text",
        f"type '{plain}', half-width and with a space, or quote the value if it is text",
    )


def wide_comma(text: str) -> Slip | None:
    """A full-width comma between plain words: a list typed with the Chinese keyboard."""
    match = _WIDE_COMMA.fullmatch(text)
    return wide_mark("，", match.start("at")) if match else None


def has_wide_quotes(text: str) -> bool:
    """Whether a whole unquoted value stands in ``“ ”``, ``‘ ’`` or ``「 」``."""
    return text[:1] in _WIDE_OPENERS and _WIDE_QUOTES.fullmatch(text) is not None


def advice(verb: str, text: str) -> str:
    """A hint that shows what to write, when it is short enough to be read."""
    return f"{verb}: {text}" if len(text) <= _LONGEST_ADVICE else verb


def quote(text: str) -> str:
    """``text`` as one quoted YAML value, with the quotes that need the fewest escapes."""
    if "'" not in text or '"' in text or "\\" in text:
        return "'" + text.replace("'", "''") + "'"
    return f'"{text}"'


def cut_expression(text: str) -> bool:
    """Whether brackets or quotes in an expression do not pair up, so a piece of it must be missing."""
    open_brackets, stray, in_quotes = _pairs(text)
    return bool(open_brackets or stray or in_quotes)


def _pairs(text: str) -> tuple[int, int, bool]:
    """(brackets left open, brackets closed but never opened, ends inside quotes)."""
    stack: list[str] = []
    stray = 0
    quote_mark = ""
    escaped = False
    for char in text:
        if quote_mark:
            if char == quote_mark and not escaped:
                quote_mark = ""
            escaped = char == "\\" and not escaped
        elif char in "\"'":
            quote_mark = char
        elif char in "([{":
            stack.append(char)
        elif char in _CLOSES:
            if stack and stack[-1] == _CLOSES[char]:
                stack.pop()
            else:
                stray += 1
    return len(stack), stray, bool(quote_mark)


def mend_flow_map(node: MapNode) -> tuple[MapNode, list[Diagnostic]]:
    """Find the slips inside ``{...}``: a cut expression, ``a:b`` without space, full-width punctuation.

    Returns the mapping without the pieces that were never meant as entries, and what to say about them.
    """
    if not any(_is_empty(value) or _suspect(value) for _, value in node.entries):
        return node, []
    entries: list[tuple[ScalarNode, Node]] = []
    found: list[Diagnostic] = []
    place = 0
    while place < len(node.entries):
        key, value = node.entries[place]
        place += 1
        slip = _key_slip(key) if _is_empty(value) and not key.style else None
        if slip is not None:
            found.append(slip.at(Mark(key.mark.file, *key.locate(slip.offset))))
            node.broken = True
            continue
        tails = [
            tail if _is_empty(empty) else None
            for tail, empty in node.entries[place : place + _MOST_TAILS]
        ]
        whole, problem, taken = _rejoin(value, tails, f"{key.text}: ")
        if problem is not None:
            found.append(problem)
        value = whole
        place += taken
        entries.append((key, value))
    mended = MapNode(node.mark, node.end, node.source, entries, flow=True, broken=node.broken)
    return mended, found


def mend_flow_list(node: SeqNode) -> tuple[SeqNode, list[Diagnostic]]:
    """Find the slips inside ``[...]``: an expression cut at its commas, full-width commas."""
    if not any(_suspect(item) for item in node.items):
        return node, []
    items: list[Node] = []
    found: list[Diagnostic] = []
    place = 0
    while place < len(node.items):
        item = node.items[place]
        place += 1
        tails = [
            tail if isinstance(tail, ScalarNode) else None
            for tail in node.items[place : place + _MOST_TAILS]
        ]
        whole, problem, taken = _rejoin(item, tails, "")
        if problem is not None:
            found.append(problem)
        items.append(whole)
        place += taken
    return SeqNode(node.mark, node.end, node.source, items, flow=True, broken=node.broken), found


def _key_slip(key: ScalarNode) -> Slip | None:
    """What a key without any value was meant to be."""
    place = key.text.find("：")
    return wide_mark("：", place) if place > 0 else line_slip(key.text)


def _suspect(node: Node) -> bool:
    """May a value be cut, or hold a full-width comma? Most are not, and need no closer look."""
    return isinstance(node, ScalarNode) and not node.style and _MARKS.search(node.text) is not None


def _is_empty(node: Node) -> bool:
    return isinstance(node, ScalarNode) and not node.style and not node.text


def _rejoin(head: Node, tails: Sequence[ScalarNode | None], before: str) -> tuple[Node, Diagnostic | None, int]:
    """Put a cut expression together again: (the value, what to say, how many tails it takes).

    Only an open bracket makes a cut, so ``it's`` is left alone; and only when a tail closes it, so ``:(`` is too.
    """
    if not isinstance(head, ScalarNode) or head.style:
        return head, None, 0
    source, start, behind = head.source, head.source.index(head.mark), head.source.index(head.end)
    if _pairs(head.text)[0]:
        for taken, tail in enumerate(tails, 1):
            stop = start if tail is None else source.index(tail.end)
            if tail is None or stop - start > _LONGEST_EXPRESSION:
                break
            if ")" not in tail.text:
                continue  # only round brackets can be left open here, and this piece closes none
            text = source.text[start:stop]
            if not cut_expression(text):
                whole = ScalarNode(head.mark, tail.end, source, text, text, broken=True)
                hint = advice("quote the whole expression", before + quote(text))
                slip = Slip(0, 1, "yaml-cut", "YAML cuts the expression at this comma", hint)
                return whole, slip.at(source.mark(source.text.find(",", behind))), taken
    slip_here = wide_comma(head.text)
    if slip_here is None:
        return head, None, 0
    head.broken = True
    return head, slip_here.at(Mark(head.mark.file, *head.locate(slip_here.offset))), 0
