"""What libyaml means by its error messages, in an operator's words and at the character to change.

libyaml reports where its grammar got stuck, which is often a line behind the slip. Each rule below knows one way to
get stuck, looks at the text around it, and points at the cause.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from engine.language.diagnostics import Diagnostic
from engine.language.nodes import ScalarNode, SourceText
from engine.language.slips import Slip, advice, line_slip, quote, wide_mark

_BRACES = re.compile(r"(?:[:,\[{]\s+|^\s*(?:- +)*)(?P<at>\{\{)")
_QUOTED = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^']|'')*'")
_LOOK = 2000  # characters of a line that are searched for quotes, which takes quadratic time on hostile lines
_PARTNER = {"'": "quote", '"': "quote", "[": "bracket", "{": "brace"}


@dataclass(frozen=True, slots=True)
class Trouble:
    """Where libyaml stopped.

    Parameters
    ----------
    source: the file.
    what, context: libyaml's two sentences, "" when it has none.
    at, since: the offsets it names: where it got stuck, and where the thing it was reading began.
    last: the scalar read just before, if that was the last event.
    opened: the offset of the innermost bracket that is still open, or None.
    """

    source: SourceText
    what: str
    context: str
    at: int
    since: int
    last: ScalarNode | None
    opened: int | None

    @property
    def char(self) -> str:
        """The character it got stuck at; "" at the end of the file."""
        return self.source.text[self.at : self.at + 1]

    @property
    def line(self) -> int:
        return self.source.position(self.at)[0]

    @property
    def first_on_line(self) -> bool:
        """Whether nothing but spaces and list dashes stands before the place on its line."""
        _, col = self.source.position(self.at)
        return not self.source.line(self.line)[: col - 1].strip(" -")


Rule = Callable[[Trouble], Slip | None]


def explain(trouble: Trouble) -> Diagnostic:
    """The problem that made libyaml stop, as a diagnostic; Slip offsets here count from the file's beginning."""
    for rule in _RULES:
        slip = rule(trouble)
        if slip is not None:
            break
    else:
        slip = Slip(trouble.at, 1, "yaml-syntax", f"YAML cannot be read from here on: {trouble.what}", "")
    # libyaml may name the place behind the last character, where there is nothing to underline.
    return slip.at(trouble.source.mark(min(slip.offset, len(trouble.source.text))))


def _braces(trouble: Trouble) -> Slip | None:
    """``title: {{ user.name }} hi``: YAML takes the braces for a mapping in a mapping."""
    first, _ = trouble.source.position(trouble.since)
    for number in {trouble.line, first}:
        line = trouble.source.line(number)[:_LOOK]
        match = _BRACES.search(_QUOTED.sub(lambda quoted: "x" * len(quoted[0]), line))
        if match is not None:
            start = trouble.source.line_start(number)
            return braces(line[match.start("at") :], start + match.start("at"))
    return None


def braces(value: str, offset: int) -> Slip:
    """The slip of a value that begins with ``{{`` without quotes.

    Parameters
    ----------
    value: the rest of the line from the braces on.
    offset: where they stand.
    """
    whole = re.match(r"\{\{.*?\}\}", value)
    shown = quote(whole[0]) if whole else ""
    hint = advice("put the whole value in quotes", shown) if shown else "put the whole value in quotes"
    return Slip(offset, 2, "yaml-braces", "a value cannot begin with '{{' unless it is quoted", hint)


def _after_quote(trouble: Trouble) -> Slip | None:
    """``if: "vip" in user.tags``: YAML takes the first word for the whole value."""
    last = trouble.last
    if last is None or last.style not in {"'", '"'} or trouble.char in {":", "", "\n", "\r"}:
        return None
    source, behind = trouble.source, trouble.source.index(last.end)
    if source.text[behind : trouble.at].strip(" ") or not trouble.what.startswith(("did not find", "expected")):
        return None
    if last.mark.line < trouble.line:
        message = f"the quote {last.style} opened here is closed only on line {last.end.line}"
        return Slip(source.index(last.mark), 1, "yaml-unclosed", message, "close it on its own line")
    rest = _value_from(source, source.index(last.mark), trouble.context.endswith(("flow mapping", "flow sequence")))
    stop = source.index(last.mark) + len(rest)
    written = quote(rest)
    kind = "single" if written.startswith("'") else "double"
    hint = advice(f"put the whole value in {kind} quotes", written)
    return Slip(trouble.at, stop - trouble.at, "yaml-quote", "text goes on behind the closing quote", hint)


def _value_from(source: SourceText, start: int, flow: bool) -> str:
    """What the operator took for one value: up to a comment, in brackets up to the comma or closing bracket."""
    line, _ = source.position(start)
    rest = source.text[start : min(source.line_end(line), start + _LOOK)]
    masked = _QUOTED.sub(lambda quoted: "x" * len(quoted[0]), rest)
    if flow:
        depth = 0
        for place, char in enumerate(masked):
            depth += (char in "([{") - (char in ")]}")
            if depth < 0 or (char == "," and depth == 0):
                return rest[:place].rstrip()
    return rest[: len(re.split(r"\s#", masked, maxsplit=1)[0])].rstrip()


def _bracket_in_value(trouble: Trouble) -> Slip | None:
    """``{if: user.tier in ["a"]}``: inside brackets an unquoted value ends at the next bracket."""
    last = trouble.last
    if last is None or last.style or trouble.char not in {"[", "{"} or "' or '" not in trouble.what:
        return None
    whole = _value_from(trouble.source, trouble.source.index(last.mark), flow=True)
    hint = advice("quote the whole expression", quote(whole))
    return Slip(trouble.at, 1, "yaml-cut", f"YAML cuts the expression at '{trouble.char}'", hint)


def _line_beginning(trouble: Trouble) -> Slip | None:
    """A full-width colon or a missing space: libyaml notices at the next line's colon, or at the end."""
    if not trouble.what.startswith(("could not find expected", "mapping values")):
        return None
    source = trouble.source
    first = source.position(trouble.since)[0] if trouble.context else trouble.line
    if trouble.last is not None and not trouble.context:
        first = trouble.last.mark.line
    for number in range(first, trouble.line + 1):
        line = source.line(number)
        slip = line_slip(line)
        if slip is not None:
            return slip._replace(offset=source.line_start(number) + slip.offset)
    return None


def _wide_in_brackets(trouble: Trouble) -> Slip | None:
    """``{a: 1， b: 2}``."""
    last = trouble.last
    if last is None or last.style or "' or '" not in trouble.what:
        return None
    for place, char in enumerate(last.text):
        if char in "，：":
            line, col = last.locate(place)
            return wide_mark(char, trouble.source.line_start(line) + col - 1)
    return None


def _colon_in_value(trouble: Trouble) -> Slip | None:
    """``title: a: b``, or a key indented under a value that is complete already."""
    if not trouble.what.startswith("mapping values"):
        return None
    source, last = trouble.source, trouble.last
    line = source.line(trouble.line)
    indent = source.line_start(trouble.line) + len(line) - len(line.lstrip(" -"))
    if last is not None and last.mark.line < trouble.line and not last.style:
        key = source.text[indent : trouble.at].strip()
        message = f"'{key}' is indented deeper than the complete value above it"
        return Slip(indent, len(key), "yaml-indent", message, "give it the indentation of the keys it belongs to")
    begin = source.index(last.mark) if last is not None and last.mark.line == trouble.line else indent
    whole = _value_from(source, begin, flow=False)
    hint = advice("quote the whole value", quote(whole))
    return Slip(trouble.at, 1, "yaml-colon", "an unquoted value cannot hold ': '", hint)


def _no_colon(trouble: Trouble) -> Slip | None:
    if not trouble.what.startswith("could not find expected ':'"):
        return None
    line, _ = trouble.source.position(trouble.since)
    rest = trouble.source.text[trouble.since : trouble.source.line_end(line)].rstrip()
    message = "this line is neither 'key: value' nor '- item'"
    hint = "add the ':', or indent it if it goes on with the value above"
    return Slip(trouble.since, len(rest), "yaml-key", message, hint)


def _unclosed(trouble: Trouble) -> Slip | None:
    """A quote or bracket that is opened and never closed, shown where it is opened."""
    if not trouble.char and trouble.opened is not None:
        trouble = replace(trouble, since=trouble.opened, what="expected ',' or ']'", context=trouble.context or "flow")
    opener = trouble.source.text[trouble.since : trouble.since + 1]
    partner = _PARTNER.get(opener)
    if partner is None or not trouble.context:
        return None
    since, _ = trouble.source.position(trouble.since)
    quoted = partner == "quote" and trouble.what.startswith(("found unexpected end", "found unexpected document"))
    wrong_close = trouble.char in {"]", "}", ")"}
    in_brackets = "' or '" in trouble.what and (trouble.line > since or wrong_close or not trouble.char)
    if not quoted and not in_brackets:
        return None
    found = f" before '{trouble.char}'" if in_brackets and wrong_close else ""
    message = f"the {partner} {opener} opened here is not closed{found}"
    return Slip(trouble.since, 1, "yaml-unclosed", message, "close it, or quote the value if it is text")


def _no_comma(trouble: Trouble) -> Slip | None:
    if "' or '" not in trouble.what:
        return None
    offset = trouble.at
    if trouble.char == ":" and trouble.last is not None and not trouble.last.style:
        offset = trouble.source.index(trouble.last.mark)
    hint = "entries in brackets are parted by ', '; quote a value that holds signs of its own"
    return Slip(offset, max(1, trouble.at - offset), "yaml-comma", "a ',' is missing between two entries", hint)


def _list_on_key_line(trouble: Trouble) -> Slip | None:
    if "sequence entries are not allowed" not in trouble.what:
        return None
    hint = "begin the list on the next line, or write [a, b]; quote a value that begins with '-'"
    return Slip(trouble.at, 1, "yaml-list", "a list cannot begin on the line of its key", hint)


def _indentation(trouble: Trouble) -> Slip | None:
    """A line whose indentation fits no line above it, or a key among list items, or an item among keys."""
    wants_item = "block collection" in trouble.context
    if not trouble.first_on_line or not (wants_item or "block mapping" in trouble.context):
        return None
    if trouble.char == ":":
        return Slip(
            trouble.at, 1, "yaml-empty-key", "there is no key before this ':'", "write the key, or quote the text"
        )
    rest = trouble.source.text[trouble.at : trouble.source.line_end(trouble.line)].rstrip()
    if wants_item and rest.startswith("- "):
        message, hint = "this list item is indented otherwise than those above it", "give it as many spaces as they"
    elif wants_item:
        message, hint = "a list item is expected here, and it begins with '- '", "add '- ', or mend the indentation"
    elif rest.startswith("-"):
        message, hint = "a list item stands where a key is expected", "indent the list under its key"
    else:
        message, hint = "the indentation of this line fits no line above it", "indent it like the keys it belongs to"
    return Slip(trouble.at, len(rest), "yaml-indent", message, hint)


def _no_key(trouble: Trouble) -> Slip:
    return Slip(trouble.at, 1, "yaml-empty-key", "there is no key before this ':'", "write the key, or quote the text")


def _after_end(trouble: Trouble) -> Slip | None:
    """Text behind the ``...`` that ends a document."""
    if "document start" not in trouble.what or not trouble.source.text[: trouble.at].rstrip().endswith("..."):
        return None
    message, hint = "a second document begins here", "one file is one document: split it"
    return Slip(trouble.at, 1, "yaml-documents", message, hint)


def _character(trouble: Trouble) -> Slip | None:
    """A character that means something to YAML at the beginning of a value."""
    name = trouble.char
    offset = trouble.at
    if trouble.context in {"while scanning an alias", "while scanning an anchor"}:
        offset = trouble.since
        name = trouble.source.text[offset : offset + 1]
    elif "cannot start any token" not in trouble.what and "node content" not in trouble.what:
        return None
    if name in {"", "\n", "\r"}:
        return None
    if name == ":":
        return _no_key(trouble)
    if name == ",":
        return Slip(offset, 1, "yaml-comma", "there is no entry before this ','", "drop the ',' or quote the value")
    return Slip(offset, 1, "yaml-char", f"an unquoted value cannot begin with '{name}'", "put the value in quotes")


def _wording(trouble: Trouble) -> Slip | None:
    """Errors that libyaml words well enough to need only our words, not another place."""
    for pattern, code, message, hint in _WORDS:
        if re.search(pattern, f"{trouble.context}: {trouble.what}"):
            return Slip(trouble.at, 1, code, message, hint)
    return None


_WORDS = (
    (
        r"escape|hexdec",
        "yaml-escape",
        "this backslash means nothing in double quotes",
        "use single quotes, where a backslash is only a backslash",
    ),
    (
        r"block scalar",
        "yaml-block",
        "only a line break may follow '|' or '>'",
        "begin the text on the next line, or quote a value that begins with this sign",
    ),
    (r"directive|YAML document", "yaml-directive", "'%' lines are not used in playbooks", "drop the line"),
    (r"\btag\b", "yaml-tag", "'!' begins a YAML tag, and tags are not used", "for 'not' write 'not'; else quote it"),
    (r"mapping keys are not", "yaml-complex-key", "'?' begins a key here", "quote a value that begins with '?'"),
    (r"document start", "yaml-syntax", "text goes on behind the end of the value", "quote the whole value"),
)

_RULES: tuple[Rule, ...] = (
    _braces,
    _after_quote,
    _bracket_in_value,
    _line_beginning,
    _wide_in_brackets,
    _colon_in_value,
    _no_colon,
    _unclosed,
    _no_comma,
    _list_on_key_line,
    _character,
    _indentation,
    _after_end,
    _wording,
)
