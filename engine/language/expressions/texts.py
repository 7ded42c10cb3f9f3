"""Values written as text: a literal, a whole ``{{ expr }}`` (its native value), or text with expressions inside."""

from __future__ import annotations

import re
from typing import Final

from engine.core.history import HistoryBook
from engine.core.moment import Moment, Value
from engine.core.values import text as text_of
from engine.language.expressions.compiling import compile_expression
from engine.language.expressions.filters import bounded
from engine.language.expressions.issues import Issue, Issues
from engine.language.expressions.runtime import earliest
from engine.language.expressions.scope import Scope

_INSIDE: Final = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|[{}]|[^'\"{}]+|.", re.DOTALL)
MAX_PARTS: Final = 200


def compile_value(text: str, scope: Scope, book: HistoryBook) -> tuple[Value | None, list[Issue]]:
    """Compile a value; None when one of the issues is an error."""
    issues = Issues()
    block = re.search(r"{%", text)
    if block is not None:
        issues.add(block.span(), "no-blocks", "'{%' has no place in a value", "only {{ expression }} is filled in")
    parts = _split(text, issues)
    if issues.fatal:
        return None, issues.sorted()
    if all(isinstance(part, str) for part in parts):
        return Value(text=text, get=lambda m: text, constant=True), []
    outside = "".join(part for part in parts if isinstance(part, str))
    readers: list[str | Value] = []
    for part in parts:
        if isinstance(part, str):
            readers.append(part)
            continue
        start, end = part
        value, found = compile_expression(text[start:end], scope, book)
        issues.take(found, tuple(range(start, end)) or (start,))
        if value is not None:
            readers.append(value)
    if issues.fatal:
        return None, issues.sorted()
    if len(parts) - sum(isinstance(part, str) for part in parts) == 1 and not outside.strip():
        only = next(one for one in readers if isinstance(one, Value))
        whole = Value(
            text=text, get=only.get, constant=only.constant, next_change=only.next_change, kind=only.kind
        )  # fmt: skip
        return whole, issues.sorted()
    return _mixed(text, readers), issues.sorted()


def _split(text: str, issues: Issues) -> list[str | tuple[int, int]]:
    """Literal pieces, and the spans between ``{{`` and ``}}``."""
    parts: list[str | tuple[int, int]] = []
    at = 0
    while True:
        start = text.find("{{", at)
        if start < 0:
            return [*parts, text[at:]] if text[at:] or not parts else parts
        end = _end(text, start + 2)
        if end < 0:
            issues.add((start, start + 2), "slip-cut", "'{{' is never closed", "close it with }}")
            return parts
        if len(parts) > MAX_PARTS:
            issues.add((start, start + 2), "too-long", f"a text may hold at most {MAX_PARTS} expressions")
            return parts
        if start > at:
            parts.append(text[at:start])
        parts.append((start + 2, end))
        at = end + 2


def _end(text: str, at: int) -> int:
    """Where the ``}}`` stands that closes, leaving out quoted text and maps; -1 without one."""
    depth = 0
    while at < len(text):
        if depth == 0 and text.startswith("}}", at):
            return at
        found = _INSIDE.match(text, at)
        body = found.group() if found is not None else text[at]
        depth += body == "{"
        depth -= body == "}" and depth > 0
        at += len(body)
    return -1


def _mixed(text: str, readers: list[str | Value]) -> Value:
    every = tuple(one if isinstance(one, str) else one.get for one in readers)

    def get(m: Moment) -> str:
        return bounded("".join(one if isinstance(one, str) else text_of(one(m)) for one in every))

    values = [one for one in readers if isinstance(one, Value)]
    changes = [one.next_change for one in values if one.next_change is not None]
    return Value(
        text=text,
        get=get,
        constant=all(one.constant for one in values),
        next_change=earliest(changes) if changes else None,
        kind="text",
    )
