"""Regular expressions that cost time in proportion to the text, whatever the expression and whatever the text.

Patterns of event schemas are asked of texts that strangers send. A backtracking matcher can be kept busy for hours by
one of them; this one walks a text once, with all ways through the pattern at the same time, and remembers where a
character leads from a set of places.

What there is: characters, ``.``, classes, ``\\d \\w \\s`` and their opposites, groups, ``|``, ``* + ? {n} {n,m}``,
``^`` and ``$``. What such a matcher cannot do (back references, looking ahead), or nobody needs here, is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NoReturn

MOST_PLACES: Final = 300
"""Places of a pattern, after ``{n,m}`` was written out: what one character costs at most."""

_MOST_KEPT: Final = 20_000
_DEEPEST: Final = 50
_MOST_TIMES: Final = 1_000

Range = tuple[int, int]
_DIGIT: Final[tuple[Range, ...]] = ((48, 57),)
_WORD: Final[tuple[Range, ...]] = ((48, 57), (65, 90), (95, 95), (97, 122))
_SPACE: Final[tuple[Range, ...]] = (
    (9, 13), (32, 32), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A), (0x2028, 0x2029), (0x202F, 0x202F),
    (0x205F, 0x205F), (0x3000, 0x3000), (0xFEFF, 0xFEFF),
)  # fmt: skip
_CLASSES: Final = {"d": _DIGIT, "w": _WORD, "s": _SPACE}
_CONTROLS: Final = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v"}
_LINE_ENDS: Final = ((10, 10), (13, 13), (0x2028, 0x2029))
_SIGNS: Final = frozenset("^$\\.*+?()[]{}|/-,:;=!<>@#%&'\"`~_ ")


class PatternError(ValueError):
    """A pattern that cannot be read; ``place`` is the character it stumbles over, from 0."""

    def __init__(self, message: str, place: int) -> None:
        super().__init__(message)
        self.place = place


@dataclass(frozen=True)
class _Set:
    """Characters: those in the ranges, or all others."""

    ranges: tuple[Range, ...]
    others: bool = False

    def holds(self, char: int) -> bool:
        return any(low <= char <= high for low, high in self.ranges) is not self.others


@dataclass
class _Place:
    """One place of the automaton: a character to take, a fork, an edge of the text, or the end of the pattern."""

    takes: _Set | None = None
    edge: str = ""  #: "^" or "$": goes on only there
    ways: list[int] = field(default_factory=list)


_Part = Callable[["_Maker", int], int]
"""Writes itself before a place: (maker, the place to go on at) -> the place to begin at."""


class _Maker:
    """The places of one automaton, written from the end to the beginning."""

    def __init__(self, parser: _Parser) -> None:
        self.places: list[_Place] = [_Place()]
        self._parser = parser

    def add(self, place: _Place) -> int:
        if len(self.places) >= MOST_PLACES:
            self._parser.fail(f"the pattern is too large: more than {MOST_PLACES} places once {{n,m}} is written out")
        self.places.append(place)
        return len(self.places) - 1


class _Parser:
    """Reads a pattern."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self._depth = 0

    def fail(self, message: str, place: int | None = None) -> NoReturn:
        raise PatternError(message, self.at if place is None else place)

    def whole(self) -> _Part:
        found = self._either()
        if self.at < len(self.text):
            self.fail("this ')' closes nothing")
        return found

    def _next(self) -> str:
        return self.text[self.at : self.at + 1]

    def _either(self) -> _Part:
        self._depth += 1
        if self._depth > _DEEPEST:
            self.fail("groups stand too deep inside each other")
        choices = [self._row()]
        while self._next() == "|":
            self.at += 1
            choices.append(self._row())
        self._depth -= 1
        if len(choices) == 1:
            return choices[0]
        return lambda maker, after: maker.add(_Place(ways=[choice(maker, after) for choice in choices]))

    def _row(self) -> _Part:
        parts: list[_Part] = []
        while self._next() not in ("", "|", ")"):
            parts.append(self._repeated())

        def write(maker: _Maker, after: int) -> int:
            for part in reversed(parts):
                after = part(maker, after)
            return after

        return write

    def _repeated(self) -> _Part:
        begin, edge = self.at, self._next() in ("^", "$")
        part = self._one()
        times = self._times()
        if times is None:
            return part
        if edge:
            self.fail("an edge of the text cannot be repeated", begin)
        if self._next() == "?":
            self.at += 1  # which of several ways is taken makes no difference to whether there is one
        if self._next() in ("*", "+", "?") or (self._next() == "{" and self._times() is not None):
            self.fail("two signs of repetition stand behind each other")
        return _several(part, *times)

    def _times(self) -> tuple[int, int | None] | None:
        sign = self._next()
        known = {"*": (0, None), "+": (1, None), "?": (0, 1)}.get(sign)
        if known is not None:
            self.at += 1
            return known
        if sign != "{":
            return None
        end = self.text.find("}", self.at)
        low, comma, high = self.text[self.at + 1 : end].partition(",") if end > 0 else ("", "", "")
        if not _whole(low) or (high and not _whole(high)):
            self.fail("'{' begins {n} or {n,m}; for the sign itself write \\{")
        least, most = int(low), int(high) if high else None if comma else int(low)
        if (most is not None and most < least) or max(least, most or 0) > _MOST_TIMES:
            self.fail(f"{{n,m}} needs n <= m <= {_MOST_TIMES}")
        self.at = end + 1
        return least, most

    def _one(self) -> _Part:
        sign = self._next()
        if sign in ("*", "+", "?", "{"):
            self.fail("there is nothing before it to repeat")
        self.at += 1
        if sign in ("^", "$"):
            return lambda maker, after: maker.add(_Place(edge=sign, ways=[after]))
        if sign == "(":
            return self._group()
        if sign == "[":
            return _taking(self._class())
        if sign == ".":
            return _taking(_Set(_LINE_ENDS, others=True))
        if sign == "\\":
            return _taking(self._escape())
        return _taking(_only(sign))

    def _group(self) -> _Part:
        begin = self.at - 1
        if self.text.startswith("?:", self.at):
            self.at += 2
        elif self._next() == "?":
            self.fail("of groups with '?' there is only (?:...): looking ahead or back, and names, are not read", begin)
        inner = self._either()
        if self._next() != ")":
            self.fail("this '(' is never closed", begin)
        self.at += 1
        return inner

    def _escape(self) -> _Set:
        sign = self._next()
        begin = self.at - 1
        self.at += 1
        if sign in _CONTROLS:
            return _only(_CONTROLS[sign])
        if sign and sign.lower() in _CLASSES:
            return _Set(_CLASSES[sign.lower()], others=sign.isupper())
        if sign in ("x", "u"):
            size = 2 if sign == "x" else 4
            digits = self.text[self.at : self.at + size]
            if len(digits) == size and all(it in "0123456789abcdefABCDEF" for it in digits):
                self.at += size
                return _only(chr(int(digits, 16)))
        if sign in _SIGNS and sign:
            return _only(sign)
        known = "\\d \\w \\s \\D \\W \\S, \\t \\n \\r, \\uXXXX and escaped signs"
        self.fail(f"'\\{sign}' is not read; there are {known}", begin)

    def _class(self) -> _Set:
        begin = self.at - 1
        others = self._next() == "^"
        self.at += others
        ranges: list[Range] = []
        while (sign := self._next()) != "]":
            if not sign:
                self.fail("this '[' is never closed", begin)
            low = self._member()
            if self._next() != "-" or self.text[self.at + 1 : self.at + 2] in ("]", ""):
                ranges += low.ranges if not low.others else _opposite(low.ranges)
                continue
            place = self.at
            self.at += 1
            high = self._member()
            ends = [it.ranges[0] for it in (low, high)]
            if any(len(it.ranges) != 1 or it.others for it in (low, high)) or any(a != b for a, b in ends):
                self.fail("a range needs one character on each side", place)
            if ends[0][0] > ends[1][0]:
                self.fail("the range is the wrong way round", place)
            ranges.append((ends[0][0], ends[1][0]))
        self.at += 1
        if not ranges and not others:
            self.fail("'[]' holds no character", begin)
        return _Set(tuple(ranges), others)

    def _member(self) -> _Set:
        sign = self._next()
        self.at += 1
        if sign == "\\":
            if self._next() == "b":
                self.fail("'\\b' is not read", self.at - 1)
            return self._escape()
        return _only(sign)


def _whole(text: str) -> bool:
    return 0 < len(text) <= 4 and text.isascii() and text.isdigit()


def _only(char: str) -> _Set:
    return _Set(((ord(char), ord(char)),))


def _opposite(ranges: tuple[Range, ...]) -> list[Range]:
    out, at = [], 0
    for low, high in sorted(ranges):
        if low > at:
            out.append((at, low - 1))
        at = max(at, high + 1)
    return [*out, (at, 0x10FFFF)]


def _taking(chars: _Set) -> _Part:
    return lambda maker, after: maker.add(_Place(takes=chars, ways=[after]))


def _several(part: _Part, least: int, most: int | None) -> _Part:
    def write(maker: _Maker, after: int) -> int:
        if most is None:
            fork = maker.add(_Place(ways=[after]))
            maker.places[fork].ways.insert(0, part(maker, fork))
            after = fork
        else:
            end = after
            for _ in range(most - least):
                after = maker.add(_Place(ways=[part(maker, after), end]))
        for _ in range(least):
            after = part(maker, after)
        return after

    return write


class Automaton:
    """A pattern, ready to be asked.

    Parameters
    ----------
    pattern: see the head of this module; raises PatternError.
    """

    def __init__(self, pattern: str) -> None:
        parser = _Parser(pattern)
        maker = _Maker(parser)
        part = parser.whole()
        parser.at = 0
        self._begin = part(maker, 0)
        self._places = maker.places
        self._anywhere = self._spread([self._begin], "")
        self._steps: dict[tuple[frozenset[int], str], frozenset[int]] = {}

    def found_in(self, text: str) -> bool:
        """Does the pattern fit somewhere in a text? Use ``^`` and ``$`` for the whole of it."""
        here = self._spread([self._begin], "^") if text else self._spread([self._begin], "^$")
        if 0 in here:
            return True
        steps, last = self._steps, len(text) - 1
        for number, char in enumerate(text):
            following = steps.get((here, char))
            if following is None:
                if len(steps) >= _MOST_KEPT:
                    steps.clear()
                following = steps[here, char] = self._step(here, char)
            here = following
            if 0 in here:
                return True
            if number == last:
                return 0 in self._spread(here, "$")
        return False

    def _step(self, here: frozenset[int], char: str) -> frozenset[int]:
        code, reached = ord(char), []
        for place in here:
            takes = self._places[place].takes
            if takes is not None and takes.holds(code):
                reached += self._places[place].ways
        return self._spread(reached, "") | self._anywhere

    def _spread(self, places: list[int] | frozenset[int], edges: str) -> frozenset[int]:
        """All places that are reached without taking a character."""
        found: set[int] = set()
        waiting = list(places)
        while waiting:
            number = waiting.pop()
            if number in found:
                continue
            found.add(number)
            place = self._places[number]
            if place.takes is None and (not place.edge or place.edge in edges):
                waiting += place.ways
        return frozenset(found)
