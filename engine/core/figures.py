"""Figures: numbers about everybody, taken when a period turns and kept; and what each subject's score is by them.

Rule 1: a figure never changes once it is taken. A decision sees the newest one taken before its own instant, so a
period has one figure, whatever happens in it, and ``why`` finds the same again.
Rule 2: a score is that of a subject's value at the turn. The value is kept in its state when something is decided for
it first after the turn; until then its state is what it was, and the value is found from it.
Rule 3: who was unknown at the turn has no score before the next one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from engine.core.choosing import Figure
from engine.core.model import State
from engine.core.periods import Calendar

KEPT: Final = 2_000
"""Periods a metric is remembered for: days of more than five years."""

STASH: Final = "scores"
"""Key of ``State.memory``: metric -> its newest two values, each [turn, values or None]."""

ROW: Final = "\x01figures:"
"""What names of rows with figures begin with, among the rows of slots."""


class Taken(msgspec.Struct, array_like=True):
    """The figure of one period."""

    number: int  #: of the period that begins at the turn
    at: int  #: the turn
    decided: int  #: the engine's clock when it was taken
    value: Any  #: a number or None; of scores {"users": n, "borders": [[...], ...]}; decimals are text

    def holds(self, now: int) -> bool:
        """Does a decision at this instant see it?"""
        return self.at < now and self.decided < now


class _Kept(msgspec.Struct):
    meaning: str
    taken: list[Taken]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Kept).decode


@dataclass
class Figures:
    """All figures of a program, as far as they are remembered. What conditions ask by ``metric()`` and ``score()``.

    Parameters
    ----------
    meanings: metric -> what it means; figures of another meaning are forgotten.
    calendars: metric -> its turns.
    scores: metric -> the score, of those that are one.
    """

    meanings: Mapping[str, str] = field(default_factory=dict)
    calendars: Mapping[str, Calendar] = field(default_factory=dict)
    scores: Mapping[str, Any] = field(default_factory=dict)
    taken: dict[str, list[Taken]] = field(default_factory=dict)
    _changed: set[str] = field(default_factory=set)
    _spans: dict[str, tuple[int, int]] = field(default_factory=dict)  #: metric -> the period last asked about

    # ------------------------------------------------------------------ keeping

    def load(self, rows: Mapping[str, bytes]) -> None:
        """Know what a store keeps, and nothing else."""
        self.taken.clear()
        self._changed = {name for name in rows if name.startswith(ROW) and name[len(ROW) :] not in self.meanings}
        for name, meaning in self.meanings.items():
            raw = rows.get(ROW + name)
            kept = _decode(raw) if raw is not None else None
            if kept is not None and kept.meaning == meaning:
                self.taken[name] = kept.taken

    def put(self, name: str, at: int, decided: int, value: Any) -> None:
        """Take the figure of the period that ends at a turn."""
        rows = self.taken.setdefault(name, [])
        rows.append(Taken(self.calendars[name].number(at), at, decided, _plain(value)))
        del rows[: max(0, len(rows) - KEPT)]
        self._changed.add(ROW + name)

    def changes(self) -> dict[str, bytes | None]:
        """Rows that changed since the last call; None: one that goes."""
        changed, self._changed = self._changed, set()
        names = {row: row[len(ROW) :] for row in sorted(changed)}
        return {
            row: _encode(_Kept(self.meanings[name], self.taken[name])) if name in self.meanings else None
            for row, name in names.items()
        }

    # ------------------------------------------------------------------ asking

    def seen(self, name: str, now: int) -> Taken | None:
        """The newest figure a decision at an instant sees."""
        for row in reversed(self.taken.get(name, ())):
            if row.holds(now):
                return row
        return None

    def value(self, name: str, now: int, ago: int = 0) -> Figure | None:
        """The number of the last full period, or of one so many periods before it; None where there is none."""
        row = self.seen(name, now)
        return None if row is None else self._number(name, row.number - ago)

    def baseline(self, name: str, now: int, periods: int, every: int = 1) -> Figure | None:
        """The median of as many periods before the last one, one in ``every``; None where fewer than half have one."""
        row = self.seen(name, now)
        if row is None:
            return None
        found = (self._number(name, row.number - step * every) for step in range(1, periods + 1))
        values = sorted(it for it in found if it is not None)
        if not values or 2 * len(values) < periods:
            return None
        middle = len(values) // 2
        if len(values) % 2:
            return values[middle]
        return _whole(Decimal(values[middle - 1] + values[middle]) / 2)

    def _number(self, name: str, number: int) -> Figure | None:
        rows = self.taken.get(name, [])
        place = bisect_left(rows, number, key=lambda it: it.number)
        return _read(rows[place].value) if place < len(rows) and rows[place].number == number else None

    def next_turn(self, name: str, now: int) -> int | None:
        """The first instant after this one at which decisions may see another figure."""
        calendar = self.calendars.get(name)
        turn = calendar.after(now - 1) if calendar is not None else None
        return None if turn is None else turn + 1

    # ------------------------------------------------------------------ scores

    def borders(self, name: str, now: int) -> list[list[Figure | None]] | None:
        """The frozen borders of each part of a score."""
        row = self.seen(name, now)
        return None if row is None else [[_read(it) for it in one] for one in row.value["borders"]]

    def values(self, name: str, state: State, now: int, env: Any) -> Sequence[Figure] | None:
        """The values a subject is scored by."""
        row = self.seen(name, now)
        if row is None:
            return None
        for at, values in state.memory.get(STASH, {}).get(name, ()):
            if at == row.at:
                return values  # type: ignore[no-any-return]  # it was put there as such
            if at < row.at:
                break
        return self._at(name, state, row.at, env)

    def score(self, name: str, state: State, now: int, env: Any, part: int | None = None) -> int | None:
        """1 (lowest) to ``parts``; without ``part`` the sum over all parts. None: not scored."""
        values, borders = self.values(name, state, now, env), self.borders(name, now)
        if values is None or borders is None:
            return None
        each = [place(value, edges) for value, edges in zip(values, borders, strict=True)]
        return sum(each) if part is None else each[part]

    def stash(self, names: Iterable[str], state: State, now: int, env: Any) -> None:
        """Keep the values of a subject at the last turn, before anything is decided for it after that."""
        kept = state.memory.get(STASH)
        for name in names:
            span = self._spans.get(name)
            if span is None or not span[0] < now <= span[1]:
                span = self._spans[name] = self._span(name, now)
            turn = span[0]
            rows = kept.get(name, []) if kept is not None else []
            if rows and rows[0][0] >= turn:
                continue
            fresh = [[turn, self._at(name, state, turn, env)]]
            row = self.seen(name, now)
            if row is not None and row.at < turn and not any(at == row.at for at, _ in rows):
                # the figure of this turn is still to be taken: until then the one before counts
                fresh.append([row.at, self._at(name, state, row.at, env)])
            kept = {**(kept or {}), name: [*fresh, *rows][:2]}
        if kept is not None and kept is not state.memory.get(STASH):
            state.memory[STASH] = kept

    def _span(self, name: str, now: int) -> tuple[int, int]:
        """The last turn before an instant, and the end of that turn's period (never too late)."""
        calendar = self.calendars[name]
        turn = calendar.before(now)
        return turn, max(now, calendar.after(turn) or now)

    def _at(self, name: str, state: State, turn: int, env: Any) -> list[Figure] | None:
        found: list[Figure] | None = self.scores[name].values(state, turn, env) if known(state) else None
        return found


def known(state: State) -> bool:
    """Has anything ever been heard of a subject?"""
    return bool(state.clock or state.series or state.traits) or state.last_active is not None


def place(value: Figure, edges: Sequence[Any]) -> int:
    """1 plus the number of borders below a value: equal values have equal scores."""
    return 1 + bisect_left(edges, value)


def borders(values: Iterable[Figure], parts: int) -> list[Figure]:
    """The borders that cut values into so many parts of equal size, as far as equal values allow.

    The k-th is the smallest value that at least k of ``parts`` shares of all do not exceed (nearest rank, so a border
    is always a value somebody has).
    """
    ordered = sorted(values)
    count = len(ordered)
    return [ordered[-(-share * count // parts) - 1] for share in range(1, parts)] if count else []


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, dict):
        return {name: _plain(it) for name, it in value.items()}
    return [_plain(it) for it in value] if isinstance(value, list) else value


def _read(value: Any) -> Figure | None:
    return Decimal(value) if isinstance(value, str) else value


def _whole(value: Decimal) -> Figure:
    return int(value) if value == value.to_integral_value() else value


def calendars(pers: Mapping[str, str], tz: ZoneInfo) -> dict[str, Calendar]:
    """The turns of each metric."""
    return {name: Calendar(per, tz) for name, per in pers.items()}


__all__ = ["KEPT", "ROW", "STASH", "Figures", "Taken", "borders", "calendars", "known", "place"]
