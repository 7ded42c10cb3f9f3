"""Words of an expression with their places, and operators' slips told in their own words.

The tokens are Jinja's own kinds, so Jinja's parser reads them; each carries its offset where Jinja keeps a line
number, and with it every node of the tree knows its place. A slip is reported and then read as what was meant, so one
pass finds the other problems of the text too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from engine.language.expressions.issues import Issues

MAX_BYTES: Final = 4096
MAX_TOKENS: Final = 1000
MAX_DEPTH: Final = 40
_MAX_DIGITS: Final = 100

CUT: Final = "the text looks cut at a comma: quote the whole expression"


@dataclass(frozen=True, slots=True)
class Token:
    """One word: ``type`` in Jinja's terms, ``value`` as Jinja's parser wants it."""

    start: int
    end: int
    type: str
    value: Any


_TOKEN: Final = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2}(?:T[0-9:.]+(?:Z|[+-][0-9:]+)?)?(?![\w-]))
    | (?P<duration>[0-9]+[smhdw](?!\w))
    | (?P<float>[0-9][0-9_]*(?:\.[0-9]+(?:[eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+)(?!\w))
    | (?P<integer>[0-9][0-9_]*(?![\w]))
    | (?P<name>[^\W\d]\w*)
    | (?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    | (?P<op>===|!==|==|!=|<>|<=|>=|=>|=<|&&|\|\||//|\*\*|\{\{|\}\}|\{%|%\}|[-+*/%~()\[\]{}<>=.:|,!&])
    """,
    re.VERBOSE | re.DOTALL,
)

_TYPES: Final = {
    "+": "add",
    "-": "sub",
    "*": "mul",
    "/": "div",
    "//": "floordiv",
    "%": "mod",
    "**": "pow",
    "~": "tilde",
    "(": "lparen",
    ")": "rparen",
    "[": "lbracket",
    "]": "rbracket",
    "{": "lbrace",
    "}": "rbrace",
    "==": "eq",
    "!=": "ne",
    "<": "lt",
    "<=": "lteq",
    ">": "gt",
    ">=": "gteq",
    "=": "assign",
    ".": "dot",
    ":": "colon",
    "|": "pipe",
    ",": "comma",
}

# slip -> (code, what was meant, token type, value)
_SLIPS: Final[dict[str, tuple[str, str, str, str]]] = {
    "&&": ("slip-and", "and", "name", "and"),
    "&": ("slip-and", "and", "name", "and"),
    "||": ("slip-or", "or", "name", "or"),
    "!": ("slip-not", "not", "name", "not"),
    "=": ("slip-equals", "==", "eq", "=="),
    "===": ("slip-equals", "==", "eq", "=="),
    "!==": ("slip-not-equal", "!=", "ne", "!="),
    "<>": ("slip-not-equal", "!=", "ne", "!="),
    "=>": ("slip-order", ">=", "gteq", ">="),
    "=<": ("slip-order", "<=", "lteq", "<="),
    "AND": ("slip-and", "and", "name", "and"),
    "OR": ("slip-or", "or", "name", "or"),
    "NOT": ("slip-not", "not", "name", "not"),
}

_WIDE: Final = dict(zip("，、：（）［］【】｛｝＝！＞＜＋－＊／％＆｜。．～", ",,:()[][]{}=!><+-*/%&|..~", strict=True))
_WIDE_QUOTES: Final = "“”„‟＂‘’＇「」『』"
_CLOSES: Final = {")": "(", "]": "[", "}": "{"}
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"', "\n": ""}


def unquoted(text: str, start: int, end: int) -> tuple[str, tuple[int, ...]]:
    """The text between the quotes of a string token, and where each of its characters stands."""
    if "\\" not in text[start:end]:
        return text[start + 1 : end - 1], tuple(range(start + 1, end - 1))
    out: list[str] = []
    places: list[int] = []
    at = start + 1
    while at < end - 1:
        found = text[at]
        step = 1
        if found == "\\":
            found, step = _escape(text, at)
        for char in found:
            out.append(char)
            places.append(at)
        at += step
    return "".join(out), tuple(places)


def _escape(text: str, at: int) -> tuple[str, int]:
    """What a backslash and what follows it stand for, and how long that is in the text."""
    mark = text[at + 1]
    if mark in _ESCAPES:
        return _ESCAPES[mark], 2
    size = {"x": 2, "u": 4}.get(mark, 0)
    digits = text[at + 2 : at + 2 + size]
    if size and re.fullmatch(r"[0-9a-fA-F]+", digits) and len(digits) == size:
        return chr(int(digits, 16)), 2 + size
    return "\\" + mark, 2


class Lexer:
    """Turns one text into tokens and issues."""

    def __init__(self, text: str, issues: Issues) -> None:
        self.text = text
        self.issues = issues
        self.tokens: list[Token] = []
        self.open: list[tuple[str, int, bool]] = []  #: bracket, its place, does it hold arguments
        self.broken = False  #: brackets or quotes do not match, so the parser's own words would only confuse
        self.torn = False  #: the beginning or the end is missing, so nothing else can be said

    def run(self) -> list[Token] | None:
        """All tokens with an end mark, or None when the text is beyond the limits."""
        if len(self.text.encode(errors="replace")) > MAX_BYTES:
            self._say(
                0, 1, "too-long", f"an expression may be at most {MAX_BYTES} bytes long", "split it into segments"
            )
            return None
        at = 0
        while at < len(self.text):
            at = self._next(at)
            if len(self.open) > MAX_DEPTH:
                place = self.open[-1][1]
                self._say(place, place + 1, "too-deep", f"more than {MAX_DEPTH} brackets stand inside each other")
                return None
            if len(self.tokens) > MAX_TOKENS:
                self._say(at - 1, at, "too-long", f"an expression may have at most {MAX_TOKENS} words")
                return None
        self._close()
        return self.tokens

    def _say(self, start: int, end: int, code: str, message: str, hint: str = "") -> None:
        self.issues.add((start, end), code, message, hint)

    def _put(self, start: int, end: int, type_: str, value: Any) -> None:
        self.tokens.append(Token(start, end, type_, value))

    def _next(self, at: int) -> int:
        found = _TOKEN.match(self.text, at)
        if found is None:
            return self._strange(at)
        end, kind, body = found.end(), str(found.lastgroup), found.group()
        if kind == "name" and body in _SLIPS:
            self._slip(at, end, body)
        elif kind == "name":
            self._put(at, end, "name", body)
        elif kind == "string":
            self._put(at, end, "string", unquoted(self.text, at, end)[0])
        elif kind in ("integer", "float"):
            self._number(at, end, body)
        elif kind == "date":
            self._say(at, end, "slip-date", f"the date {body} needs quotes", f'write "{body}"')
            self._put(at, end, "string", body)
        elif kind == "duration":
            self._say(at, end, "slip-duration", f"the duration {body} needs quotes", f'write "{body}"')
            self._put(at, end, "string", body)
        elif kind == "op":
            return self._operator(at, end, body)
        return end

    def _number(self, at: int, end: int, body: str) -> None:
        digits = body.replace("_", "")
        try:
            value: int | Decimal = int(digits) if digits.isdigit() else Decimal(digits)
        except (ValueError, InvalidOperation):
            value = 0
        leading = digits.isdigit() and len(digits) > 1 and digits[0] == "0"
        huge = len(digits) > _MAX_DIGITS or (isinstance(value, Decimal) and abs(value.adjusted()) > _MAX_DIGITS)
        if leading or huge:
            message = "a number does not begin with 0" if leading else f"a number of more than {_MAX_DIGITS} digits"
            self._say(at, end, "syntax", message, f'as text it needs quotes: "{body}"' if leading else "")
            value = 0
        self._put(at, end, "integer" if isinstance(value, int) else "float", value)

    def _strange(self, at: int) -> int:
        """A character no expression has."""
        char = self.text[at]
        if char in "'\"":
            self._say(at, at + 1, "slip-quotes", f"the quote {char} is never closed", CUT)
            self.torn = True
            self._put(at, len(self.text), "string", self.text[at + 1 :])
            return len(self.text)
        if char in _WIDE_QUOTES:
            return self._wide_quote(at)
        if char in _WIDE:
            plain = "".join(_WIDE.get(one, one) for one in self.text[at : at + 3])
            found = _TOKEN.match(plain)
            body = found.group() if found and found.lastgroup == "op" else plain[0]
            end = at + len(body)
            self._say(at, end, "slip-full-width", f"full-width '{self.text[at:end]}'", f"type '{body}'")
            self._operator(at, end, body)
            return end
        number = re.compile(r"\w+").match(self.text, at)
        end = number.end() if number else at + 1
        if number:
            self._say(at, end, "syntax", f"'{number.group()}' is neither a number nor a name")
            self._put(at, end, "integer", 0)
            return end
        shown = f"'{char}'" if char.isprintable() else f"U+{ord(char):04X}"
        hint = "write 'a if condition else b'" if char == "?" else ""
        self._say(at, end, "syntax", f"unexpected character {shown}", hint)
        self.broken = True
        return end

    def _wide_quote(self, at: int) -> int:
        char = self.text[at]
        self._say(at, at + 1, "slip-full-width", f"full-width quote '{char}'", "type \" or '")
        end = at + 1
        while end < len(self.text) and self.text[end] not in _WIDE_QUOTES + "\"'":
            end += 1
        self.broken = self.broken or end == len(self.text)
        self._put(at, min(end + 1, len(self.text)), "string", self.text[at + 1 : end])
        return end + 1

    def _slip(self, at: int, end: int, body: str) -> None:
        code, meant, type_, value = _SLIPS[body]
        self._say(at, end, code, f"'{body}' is not an operator here", f"write '{meant}'")
        self._put(at, end, type_, value)

    def _operator(self, at: int, end: int, body: str) -> int:
        if body in ("{{", "}}", "{%", "%}"):
            return self._braces(at, end, body)
        if body in "([{":
            before = self.tokens[-1].type if self.tokens else ""
            self.open.append((body, at, body == "(" and before in ("name", "rparen", "rbracket")))
        elif body in _CLOSES and not self._closing(at, body):
            return end
        if body in _SLIPS and not (body == "=" and self._names_argument()):
            self._slip(at, end, body)
        else:
            self._put(at, end, _TYPES[body], body)
        return end

    def _names_argument(self) -> bool:
        """Is the ``=`` at this place the one of ``within=`` in a call?"""
        if len(self.tokens) < 2 or not self.open or not self.open[-1][2]:
            return False
        return self.tokens[-1].type == "name" and self.tokens[-2].type in ("lparen", "comma")

    def _braces(self, at: int, end: int, body: str) -> int:
        if body == "}}" and [bracket for bracket, _, _ in self.open[-1:]] == ["{"]:
            self._operator(at, at + 1, "}")  # a map ends here; the other one is looked at by itself
            return at + 1
        if body in ("{{", "}}"):
            self._say(at, end, "slip-braces", f"'{body}' has no place in an expression", "leave the braces out")
        else:
            self._say(at, end, "no-blocks", f"'{body}' has no place in an expression", "only expressions are read")
            self.broken = True
        return end

    def _closing(self, at: int, body: str) -> bool:
        """Does the bracket close the one that is open?"""
        if self.open and self.open[-1][0] == _CLOSES[body]:
            self.open.pop()
            return True
        self._say(at, at + 1, "slip-cut", f"'{body}' closes nothing", CUT)
        self.torn = True
        return False

    def _close(self) -> None:
        """Report what is still open and close it, so that the parser can go on."""
        end = len(self.text)
        if self.open and not any(issue.code == "slip-quotes" for issue in self.issues.found):
            bracket, place, _ = self.open[0]
            self._say(place, place + 1, "slip-cut", f"'{bracket}' is never closed", CUT)
        for bracket, _, _ in reversed(self.open):
            self.broken = True
            closer = {"(": ")", "[": "]", "{": "}"}[bracket]
            self._put(end, end, _TYPES[closer], closer)
        self._put(end, end, "eof", "")
