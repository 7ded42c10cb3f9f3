"""``-k EXPR``: words joined by and, or, not and brackets, as pytest reads them."""

from __future__ import annotations

import re
from collections.abc import Callable

from engine.errors import UsageError

_TOKEN = re.compile(r"\(|\)|[^\s()]+")

Pick = Callable[[str], bool]
"""A text -> is it meant?"""


def picker(expression: str) -> Pick:
    """What an expression means; a word is meant when it stands anywhere in the text, in any case."""
    tokens = _TOKEN.findall(expression)
    if not tokens:
        return lambda text: True
    reader = _Reader(tokens, expression)
    found = reader.either()
    if reader.tokens:
        raise reader.wrong(f"'{reader.tokens[0]}' is one too many")
    return lambda text: found(text.lower())


class _Reader:
    def __init__(self, tokens: list[str], expression: str) -> None:
        self.tokens = tokens
        self.expression = expression

    def wrong(self, what: str) -> UsageError:
        return UsageError(f"-k cannot be read: {what} in '{self.expression}'", hint="such as: win-back and not 短信")

    def either(self) -> Pick:
        parts = [self.both()]
        while self.tokens[:1] == ["or"]:
            self.tokens.pop(0)
            parts.append(self.both())
        return lambda text: any(part(text) for part in parts)

    def both(self) -> Pick:
        parts = [self.single()]
        while self.tokens and self.tokens[0] not in ("or", ")"):
            if self.tokens[0] == "and":
                self.tokens.pop(0)
            parts.append(self.single())
        return lambda text: all(part(text) for part in parts)

    def single(self) -> Pick:
        if not self.tokens:
            raise self.wrong("a word is missing at the end")
        sign = self.tokens.pop(0)
        if sign == "not":
            inner = self.single()
            return lambda text: not inner(text)
        if sign == "(":
            inner = self.either()
            if self.tokens[:1] != [")"]:
                raise self.wrong("a bracket is not closed")
            self.tokens.pop(0)
            return inner
        if sign in (")", "and", "or"):
            raise self.wrong(f"'{sign}' stands where a word is needed")
        word = sign.lower()
        return lambda text: word in text
