"""What is checked on the characters of a YAML file rather than on its tree: encoding, tabs, comments."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from typing import Final

from engine.language.diagnostics import Comment, Diagnostic, Mark
from engine.language.nodes import SourceText

Span = tuple[int, int, str]
"""Where a scalar begins and ends, and its style."""

MOST_REPEATS: Final = 20
"""How many times the same slip of one file is shown; a file indented with tabs would bury everything else."""

# Besides what YAML forbids: NEL, LS and PS, which libyaml takes for line breaks and editors do not, and a byte
# order mark inside the text. With them, line numbers would differ from what people see.
_UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]")
_NOT_BREAK = re.compile(r"[^\r\n]")
_TABS = re.compile(r"\t+")
_LEADING_TABS = re.compile(r"(?m)^ *\t+")
_WORTH = re.compile("allow", re.IGNORECASE)
_COMMENT = re.compile(r"#[^\r\n]*")
_BREAK = re.compile(r"\r\n|\r|\n")


def decode(data: bytes, file: str, problems: list[Diagnostic]) -> str | None:
    """The characters of a file, without byte order mark; None when it is not UTF-8.

    Parameters
    ----------
    data, file: the bytes and the name.
    problems: takes what is wrong. Invisible characters are replaced by U+FFFD, so that the rest can be checked.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        problems.append(_error(Mark(file, 1, 1), "yaml-encoding", "the file is UTF-16", "save it as UTF-8"))
        return None
    if data.startswith(codecs.BOM_UTF8):
        message = "the file begins with a byte order mark"
        problems.append(_error(Mark(file, 1, 1), "yaml-bom", message, "save it as 'UTF-8', not 'UTF-8 with BOM'"))
        data = data[len(codecs.BOM_UTF8) :]
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        mark = SourceText(file, data[: error.start].decode("utf-8")).mark(_characters(data[: error.start]))
        message = f"the byte 0x{data[error.start]:02X} is not UTF-8"
        problems.append(_error(mark, "yaml-encoding", message, _encoding_hint(data)))
        return None
    return _without_unseen(SourceText(file, text), problems)


def _characters(data: bytes) -> int:
    return len(data.decode("utf-8"))


def _encoding_hint(data: bytes) -> str:
    try:
        data.decode("gbk")
    except UnicodeDecodeError:
        return "save the file as UTF-8"
    return "it looks like GBK: save the file as UTF-8"


def _without_unseen(source: SourceText, problems: list[Diagnostic]) -> str:
    matches = list(_UNSEEN.finditer(source.text))
    for match in matches[:MOST_REPEATS]:
        message = f"the invisible character U+{ord(match[0]):04X}"
        problems.append(_error(source.mark(match.start()), "yaml-control", message, "delete it"))
    _tell_rest(problems, len(matches))
    return _UNSEEN.sub("\ufffd", source.text) if matches else source.text


def check_tabs(source: SourceText, spans: Iterable[Span], stop: int, problems: list[Diagnostic]) -> None:
    """Refuse tabs, once a line, wherever they are not part of a quoted or block text or of a comment.

    Parameters
    ----------
    source, spans: the file and its scalars.
    stop: how far it was read; behind that only tabs at a line's beginning are certain.
    problems: takes what is wrong.
    """
    if "\t" not in source.text:
        return
    told = {problem.line for problem in problems if problem.code == "yaml-tab"}
    count = len(told)
    for start, length in _stray_tabs(source, list(spans), stop):
        mark = source.mark(start)
        if mark.line in told:
            continue
        told.add(mark.line)
        count += 1
        if count <= MOST_REPEATS:
            problems.append(tab(source, start, length))
    _tell_rest(problems, count)


def tab(source: SourceText, start: int, length: int) -> Diagnostic:
    """The problem of a tab at an offset."""
    line, col = source.position(start)
    if source.line(line)[: col - 1].strip():
        return _error(source.mark(start), "yaml-tab", "a tab between words", "use a space", length)
    return _error(source.mark(start), "yaml-tab", "a tab used as indentation", "use spaces, two a level", length)


def tab_at_fault(source: SourceText, spans: Iterable[Span], at: int) -> int | None:
    """The offset of the tab that made libyaml stop at ``at``, or None when it was no tab."""
    if source.text[at : at + 1] == "\t":
        return at
    line, _ = source.position(at)
    match = _LEADING_TABS.match(source.line(line))
    if match is None:
        return None
    place = source.line_start(line) + match[0].index("\t")
    inside = any(start < place < stop for start, stop, style in spans if style)
    return None if inside else place


def comments(source: SourceText, spans: Iterable[Span], stop: int) -> Iterator[Comment]:
    """The comments of a file up to the offset ``stop``."""
    if _WORTH.search(source.text) is None:
        return  # only comments that allow something are ever asked for, and most files have none
    spans = list(spans)
    # A comment behind | or > is the only place to speak about the lines of a block text.
    headers = {source.position(start)[0]: source.position(end - 1)[0] for start, end, style in spans if style in _BLOCK}
    for match in _COMMENT.finditer(_masked(source, spans, stop)):
        mark = source.mark(match.start())
        yield Comment(mark, match[0], max(mark.line, headers.get(mark.line, 0)))


_BLOCK = frozenset("|>")


def _stray_tabs(source: SourceText, spans: list[Span], stop: int) -> Iterator[tuple[int, int]]:
    bare = _COMMENT.sub(lambda comment: "#" * len(comment[0]), _masked(source, spans, stop))
    for match in _TABS.finditer(bare):
        yield match.start(), len(match[0])
    for start, end, style in spans:
        if not style:
            for match in _TABS.finditer(source.text, start, end):
                yield match.start(), len(match[0])
    for match in _LEADING_TABS.finditer(source.text, stop):
        tabs = match[0].count("\t")
        if match.end() - tabs >= stop:
            yield match.end() - tabs, tabs


def _masked(source: SourceText, spans: list[Span], stop: int) -> str:
    """The text up to ``stop``, with all scalars blotted out except the header line of block scalars."""
    pieces: list[str] = []
    place = 0
    for start, end, style in spans:
        first_break = _BREAK.search(source.text, start, end) if style in _BLOCK else None
        begin = start if style not in _BLOCK else (first_break.end() if first_break else end)
        pieces.append(source.text[place:begin])
        pieces.append(_NOT_BREAK.sub("x", source.text[begin:end]))
        place = max(place, end)
    pieces.append(source.text[place:stop])
    return "".join(pieces)[:stop]


def _tell_rest(problems: list[Diagnostic], count: int) -> None:
    """Say in the last problem's hint how many more there are."""
    if count <= MOST_REPEATS:
        return
    last = problems.pop()
    hint = f"{last.hint} ({count - MOST_REPEATS} more in this file)"
    problems.append(_error(Mark(last.file, last.line, last.col), last.code, last.message, hint, last.length))


def _error(mark: Mark, code: str, message: str, hint: str, length: int = 1) -> Diagnostic:
    return Diagnostic(mark.file, mark.line, mark.col, length, "error", code, message, hint)
