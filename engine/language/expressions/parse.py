"""From text to Jinja's own syntax tree, every node of which knows its offset (in ``lineno``).

Rule: nothing here raises for bad input, however deep or long; what is beyond the limits is an issue.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

from jinja2 import Environment, TemplateSyntaxError, nodes
from jinja2.lexer import TOKEN_EOF, TokenStream
from jinja2.lexer import Token as JinjaToken
from jinja2.parser import Parser

from engine.kept import Kept
from engine.language.expressions.issues import Issues
from engine.language.expressions.lexer import CUT, MAX_DEPTH, Lexer, Token
from engine.render.trees import children
from engine.render.trees import walk as _walk

_ENVIRONMENT: Final = Environment(autoescape=False)  # noqa: S701 - only its parser is used, nothing is rendered
_WORDS: Final = frozenset({"and", "or", "not", "in", "is", "if", "else"})


@dataclass
class Parsed:
    """One text and what was found in it."""

    text: str
    issues: Issues
    node: nodes.Expr | None = None
    tokens: list[Token] = field(default_factory=list)
    _places: dict[int, int] = field(default_factory=dict)

    def token(self, offset: int) -> Token | None:
        """The token that starts at ``offset``."""
        place = self._index(offset)
        return self.tokens[place] if place is not None else None

    def after(self, offset: int, steps: int = 1) -> tuple[int, int]:
        """Span of the token some steps after the one at ``offset``."""
        place = self._index(offset)
        if place is None:
            return offset, offset + 1
        token = self.tokens[max(0, min(place + steps, len(self.tokens) - 1))]
        return token.start, token.end

    def keyword(self, name: str, value: nodes.Node) -> tuple[int, int]:
        """Span of ``name`` in ``name=value``."""
        place = self._index(self.span(value)[0])
        while place is not None and place > 0:
            place -= 1
            if self.tokens[place].type == "assign" and self.tokens[place - 1].value == name:
                return self.tokens[place - 1].start, self.tokens[place - 1].end
        return self.span(value)

    def _index(self, offset: int) -> int | None:
        if not self._places:
            self._places = {token.start: place for place, token in reversed(list(enumerate(self.tokens)))}
        return self._places.get(offset)

    def span(self, node: nodes.Node) -> tuple[int, int]:
        """From the first to the last word of a node."""
        places = [one.lineno for one in _walk(node) if not isinstance(one, _PLACELESS)]
        start, last = min(places, default=0), max(places, default=0)
        inside = self._index(last)
        if inside is None:
            return start, max(start + 1, last)
        # A dot or a bracket stands before the word it belongs to.
        token = self.tokens[inside]
        if token.type in ("dot", "pipe") or token.value == "is":
            token = self.tokens[min(inside + 1, len(self.tokens) - 1)]
        elif token.type in ("lparen", "lbracket"):
            token = self._closer(inside)
        return start, max(token.end, start + 1)

    def _closer(self, place: int) -> Token:
        depth = 0
        for token in self.tokens[place:]:
            depth += token.type in ("lparen", "lbracket", "lbrace")
            depth -= token.type in ("rparen", "rbracket", "rbrace")
            if depth == 0:
                return token
        return self.tokens[-1]


# Jinja notes for these where it stood after reading them, or repeats the place of a part.
_PLACELESS: Final = (nodes.Compare, nodes.Operand, nodes.BinExpr, nodes.Concat, nodes.CondExpr, nodes.Keyword)


def walk(node: nodes.Node) -> Iterator[nodes.Node]:
    """The node and all below it."""
    return _walk(node)


_KEPT: Final[Kept[Parsed]] = Kept(96 << 10)
"""Expressions in which nothing was found; a tree takes about seventy times the room of its text."""


def parse(text: str) -> Parsed:
    """Read one expression; ``node`` is None when it cannot be understood. Trees and tokens are shared: look only."""
    found = _KEPT.get(text, len(text), lambda: _parse(text), _sound)
    # what is said of a sound one later belongs to whoever asked
    return replace(found, issues=Issues(), _places={}) if _sound(found) else found


def _sound(parsed: Parsed) -> bool:
    return parsed.node is not None and not parsed.issues.found


def _parse(text: str) -> Parsed:
    issues = Issues()
    parsed = Parsed(text, issues)
    lexer = Lexer(text.replace("\r", " "), issues)
    tokens = lexer.run()
    if tokens is None:
        return parsed
    if lexer.torn:
        issues.found[:] = [one for one in issues.found if one.code in ("slip-cut", "slip-quotes")]
        return parsed
    parsed.tokens = tokens
    if len(tokens) == 1:
        if not issues.found:
            issues.add(
                (0, len(text)), "syntax", "the expression is empty", "write a condition such as user.city == 'x'"
            )
        return parsed
    try:
        node = _read(tokens, issues, quiet=lexer.broken)
    except RecursionError:
        node = None
        issues.add((0, 1), "too-deep", f"parts are nested deeper than {MAX_DEPTH}", "split it up")
    if node is not None and _depth(node) > MAX_DEPTH:
        issues.add(parsed.span(node), "too-deep", f"parts are nested deeper than {MAX_DEPTH}", "split it up")
        node = None
    parsed.node = node
    return parsed


def _read(tokens: list[Token], issues: Issues, *, quiet: bool) -> nodes.Expr | None:
    """Jinja's parser over our tokens; ``quiet`` when a slip already says what is wrong."""
    if _prefixes(tokens) > MAX_DEPTH:
        issues.add((0, 1), "too-deep", f"parts are nested deeper than {MAX_DEPTH}", "split it up")
        return None
    parser = Parser(_ENVIRONMENT, "")
    stream = [JinjaToken(one.start, TOKEN_EOF if one.type == "eof" else one.type, one.value) for one in tokens]
    parser.stream = TokenStream(stream, None, None)
    try:
        node = parser.parse_expression()
        rest = parser.stream.current
        if rest.type == TOKEN_EOF:
            return node
        place = rest.lineno
    except TemplateSyntaxError as error:
        place = error.lineno
    if not quiet:
        _unexpected(tokens, place, issues)
    return None


def _prefixes(tokens: list[Token]) -> int:
    """How deep signs, ``not`` and ``else`` nest at most."""
    longest = run = elses = 0
    for token in tokens:
        run = run + 1 if token.type in ("add", "sub") or token.value == "not" else 0
        elses += token.type == "name" and token.value == "else"
        longest = max(longest, run)
    return max(longest, elses)


def _unexpected(tokens: list[Token], place: int, issues: Issues) -> None:
    at = next((index for index, one in enumerate(tokens) if one.start == place), len(tokens) - 1)
    token, before = tokens[at], tokens[at - 1] if at else None
    if token.type == "eof":
        span = (before.start, before.end) if before else (0, 1)
        issues.add(span, "syntax", "the expression ends too early", CUT)
        return
    shown: Any = token.value if token.type != "string" else f'"{token.value}"'
    hint = ""
    if token.type == "comma":
        hint = "one expression only; join parts with 'and' or 'or'"
    elif before is not None and _is_value(before) and _is_value(token):
        hint = "an operator is missing before it; text with spaces needs quotes"
    issues.add((token.start, token.end), "syntax", f"unexpected '{str(shown)[:40]}'", hint)


def _is_value(token: Token) -> bool:
    return token.type in ("string", "integer", "float") or (token.type == "name" and token.value not in _WORDS)


def _depth(node: nodes.Node) -> int:
    """Depth of the tree; a chain of ``and`` or ``or`` counts once, however long."""
    deepest = 0
    waiting: list[tuple[nodes.Node, int]] = [(node, 1)]
    while waiting:
        one, depth = waiting.pop()
        deepest = max(deepest, depth)
        for child in children(one):
            same = isinstance(one, (nodes.And, nodes.Or)) and child.__class__ is one.__class__
            waiting.append((child, depth if same or isinstance(child, (nodes.Operand, nodes.Keyword)) else depth + 1))
    return deepest
