"""What conditions say, as far as it can be compared: which one implies another, and which ones exclude each other.

It works on the normal form the compiler writes, and only sees comparisons of one thing with a constant. Whatever else
a condition holds is a term that is like itself and like nothing else, so an answer is never a guess.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Final

from engine.core.moment import Condition

_NUMBER = r"-?[0-9]+(?:\.[0-9]+)?"
_TEXT = r"'(?:[^'\\]|\\.)*'"
_COMPARED: Final = re.compile(rf"(?P<what>.+) (?P<op>==|!=|<=|>=|<|>) (?P<value>{_NUMBER}|{_TEXT}|true|false|none)")
_TURNED: Final = re.compile(rf"(?P<value>{_NUMBER}|{_TEXT}) (?P<op>==|!=|<=|>=|<|>) (?P<what>.+)")
_QUOTED: Final = re.compile(_TEXT)
_JOINED: Final = re.compile(r" (?:==|!=|<=|>=|<|>|in|not|and|or|is|if|else) ")
_TURN: Final = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "==": "==", "!=": "!="}


@dataclass(frozen=True, slots=True)
class Term:
    """One leaf of a condition.

    Parameters
    ----------
    text: its normal form.
    negated: it stands under ``not``.
    what, op, value: the parts of a comparison with a constant; op is "" for anything else.
    """

    text: str
    negated: bool = False
    what: str = ""
    op: str = ""
    value: Decimal | str = ""

    @property
    def shown(self) -> str:
        """As people write it."""
        return f"not {self.text}" if self.negated else self.text


@dataclass(frozen=True, slots=True)
class Choice:
    """Alternatives joined by ``or``: each is a list of terms that hold together."""

    text: str
    ways: tuple[tuple[Term | Choice, ...], ...]


Terms = tuple[Term | Choice, ...]


@lru_cache(maxsize=16384)
def _term(text: str) -> Term:
    found = _COMPARED.fullmatch(text)
    turned = None if found is not None else _TURNED.fullmatch(text)
    match = found or turned
    if match is None or _JOINED.search(_QUOTED.sub("''", match["what"])) is not None:
        return Term(text)
    raw, op = match["value"], match["op"]
    value = Decimal(raw) if re.fullmatch(_NUMBER, raw) else raw
    return Term(text, False, match["what"], op if found is not None else _TURN[op], value)


def terms(condition: Condition) -> Terms:
    """The terms that hold together when a condition does."""
    if condition.op == "and":
        return tuple(term for part in condition.parts for term in terms(part))
    if condition.op == "or":
        return (Choice(condition.text, tuple(terms(part) for part in condition.parts)),)
    if condition.op == "not" and len(condition.parts) == 1 and condition.parts[0].op == "leaf":
        return (Term(condition.parts[0].text, True),)
    return (_term(condition.text),)


def implies(left: Terms, right: Terms) -> bool:
    """Does everything on the right hold whenever all of the left does?"""
    return all(any(_implies(one, other) for one in left) for other in right)


def _implies(one: Term | Choice, other: Term | Choice) -> bool:
    if isinstance(one, Choice):
        same = isinstance(other, Choice) and one.text == other.text
        return same or all(implies(way, (other,)) for way in one.ways)
    if isinstance(other, Choice):
        return any(implies((one,), way) for way in other.ways)
    if one.text == other.text:
        return one.negated is other.negated
    return bool(one.op and other.op) and one.what == other.what and _within(one, other)


def _within(one: Term, other: Term) -> bool:
    """Is every value ``one`` lets through let through by ``other``?"""
    a, b = one.value, other.value
    if one.op == "==":
        return _holds(a, other)
    if not isinstance(a, Decimal) or not isinstance(b, Decimal):
        return False
    up, strict = one.op in (">", ">="), one.op in (">", "<")
    if other.op == "!=":
        if one.op == "!=":
            return a == b
        return (b < a if up else b > a) or (strict and a == b)
    if one.op == "!=" or other.op == "==" or up is not (other.op in (">", ">=")):
        return False
    beyond = a > b if up else a < b
    return beyond or (a == b and (strict or other.op in (">=", "<=")))


def _holds(value: Decimal | str, other: Term) -> bool:
    """Is the comparison true of this very value?"""
    if other.op in ("==", "!="):
        return (value == other.value) is (other.op == "==")
    if not isinstance(value, Decimal) or not isinstance(other.value, Decimal):
        return False  # nothing is said about the order of texts
    return {
        "<": value < other.value, "<=": value <= other.value, ">": value > other.value, ">=": value >= other.value,
    }[other.op]  # fmt: skip


def exclude(one: Term, other: Term) -> bool:
    """Can the two never hold together?"""
    if one.text == other.text:
        return one.negated is not other.negated
    if not (one.op and other.op) or one.what != other.what or "!=" in (one.op, other.op):
        return {one.op, other.op} == {"==", "!="} and one.what == other.what and one.value == other.value
    if "==" in (one.op, other.op):
        fixed, ranged = (one, other) if one.op == "==" else (other, one)
        if isinstance(fixed.value, str) and ranged.op != "==":
            return fixed.value == "none"  # nothing is above or below what is not there
        return not _holds(fixed.value, ranged)
    up, down = (one, other) if one.op in (">", ">=") else (other, one)
    if down.op in (">", ">=") or up.op in ("<", "<="):
        return False
    a, b = up.value, down.value
    if not isinstance(a, Decimal) or not isinstance(b, Decimal):
        return False
    return a > b or (a == b and not (up.op == ">=" and down.op == "<="))


def clash(found: Terms) -> tuple[Term, Term] | None:
    """Two terms of a list that can never hold together."""
    plain = [term for term in found if isinstance(term, Term)]
    if len(plain) < 2:
        return None
    for place, one in enumerate(plain):
        for other in plain[:place]:
            if (one.what == other.what or one.text == other.text) and exclude(other, one):
                return other, one
    return None


def covers_all(choice: Choice) -> tuple[Term, Term] | None:
    """Two alternatives one of which always holds, also for a missing value."""
    plain = [way[0] for way in choice.ways if len(way) == 1 and isinstance(way[0], Term)]
    for place, one in enumerate(plain):
        for other in plain[:place]:
            if one.text == other.text and one.negated is not other.negated:
                return other, one
            if {one.op, other.op} == {"==", "!="} and one.what == other.what and one.value == other.value:
                return other, one
    return None
