"""What a comparison adds up: effects by playbook, step, channel, kind and day, money and points, and who is touched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from engine.core.instants import format_instant, parse_instant
from engine.core.localtime import local_date, next_midnight
from engine.core.localtime import zone as zone_named
from engine.insight.diff.deeds import Brief, Deed, worth
from engine.insight.diff.names import Name, Naming
from engine.insight.diff.pairing import CHANGED, GAINED, HELD, LOST, MOVED, SAME, WHATS, Pair

DIMENSIONS: Final = ("playbook", "step", "channel", "kind", "day")
_USERS: Final = {GAINED: "gain", LOST: "lose", MOVED: "move", CHANGED: "change"}


class Days:
    """The local day of instants that mostly come in order."""

    def __init__(self, zone: str) -> None:
        self._zone = zone_named(zone) or zone_named("UTC")
        self._from = self._to = ""
        self._day = ""

    def of(self, time: str) -> str:
        """The day of an instant as rows write it."""
        second = time[:19]
        if not self._from <= second < self._to:
            assert self._zone is not None  # noqa: S101 - UTC is always there
            instant = parse_instant(time)
            self._day = local_date(instant, self._zone).isoformat()
            self._from, self._to = second, format_instant(next_midnight(instant, self._zone))[:19]
        return self._day


@dataclass
class Sums:
    """All effects of one side."""

    days: Days
    done: Counter[tuple[str, str, str, str, str]] = field(default_factory=Counter)
    """(playbook, step, channel, kind, day) -> effects that took place."""
    held: Counter[tuple[str, str, str]] = field(default_factory=Counter)  #: (kind, status, reason) -> others
    coupons: Counter[str] = field(default_factory=Counter)  #: pool -> how many were given
    money: dict[tuple[str, str], Decimal] = field(default_factory=dict)  #: (pool, currency) -> what they may cost
    points: Counter[tuple[str]] = field(default_factory=Counter)  #: (account,) -> points given, less those taken

    def take(self, brief: Brief) -> None:
        """Add one row."""
        kind, some = brief.kind, brief.detail
        if brief.status != "planned":
            self.held[kind, brief.status, brief.reason or ""] += 1
            return
        channel = some.via if isinstance(some.via, str) else ""
        place = (brief.playbook or "", brief.step or "", channel, kind, self.days.of(brief.time))
        self.done[place] += 1
        if kind == "coupon":
            pool = str(some.pool)
            self.coupons[pool] += 1
            if (cost := worth(brief)) is not None:
                self.money[pool, cost[0]] = self.money.get((pool, cost[0]), Decimal(0)) + cost[1]
        elif kind == "points" and isinstance(some.delta, int):
            self.points[str(some.account),] += some.delta


@dataclass
class Touched:
    """What became of the effects of one row of a table, and of how many people's."""

    whats: Counter[str] = field(default_factory=Counter)
    users: Counter[str] = field(default_factory=Counter)


class Figures:
    """Collects what became of everybody's effects, subject by subject.

    Parameters
    ----------
    names: what steps of the old side are called now.
    old_zone, new_zone: zones of the programs.
    """

    def __init__(self, names: Naming, old: Days, new: Days) -> None:
        self._names = names
        self._days = (old, new)
        self.whats: Counter[str] = Counter()
        self.users: Counter[str] = Counter()
        self.touched: dict[tuple[str, tuple[str, ...]], Touched] = {}
        self.holdout: dict[str, Counter[str]] = {}  #: playbook -> into, out_of: people
        self.renamed: Counter[tuple[Name, Name]] = Counter()
        self.reasons: Counter[tuple[str, str, str]] = Counter()  #: (lost | gained, status, reason): why, where known

    def take(self, found: list[Pair], user: str | None) -> None:
        """Everything of one subject; ``user`` is None for groups and the program."""
        mine: set[tuple[tuple[str, tuple[str, ...]], str]] = set()
        sides: set[tuple[str, str]] = set()
        whats: set[str] = set()
        for pair in found:
            if pair.what == SAME:
                self._same(pair)
                continue
            self.whats[pair.what] += 1
            whats.add(pair.what)
            self._holdout(pair, sides)
            if pair.what == HELD:
                continue
            self._reason(pair)
            for place in self._places(pair):
                touched = self.touched.get(place)
                if touched is None:
                    touched = self.touched[place] = Touched()
                touched.whats[pair.what] += 1
                mine.add((place, pair.what))
        if user is None:
            return
        for place, what in mine:
            self.touched[place].users[what] += 1
        for place in {place for place, _ in mine}:
            self.touched[place].users["any"] += 1
        for what in whats:
            self.users[what] += 1
        if whats - {HELD}:
            self.users["any"] += 1
        for playbook, way in sides:
            self.holdout.setdefault(playbook, Counter())[way] += 1

    def _same(self, pair: Pair) -> None:
        assert pair.old is not None  # noqa: S101 - what is the same is on both sides
        assert pair.new is not None  # noqa: S101
        before = (pair.old.row.playbook or "", pair.old.row.step or "")
        after = (pair.new.row.playbook or "", pair.new.row.step or "")
        self.whats[SAME] += pair.new.done
        if before != after:
            self.renamed[before, after] += 1

    def _holdout(self, pair: Pair, sides: set[tuple[str, str]]) -> None:
        if pair.old is None or pair.new is None:
            return
        before, after = (deed.row.status == "held_out" for deed in (pair.old, pair.new))
        if before != after:
            sides.add((pair.new.name[0], "into" if after else "out_of"))

    def _reason(self, pair: Pair) -> None:
        """Why something is lost, or was not there before, when the other side holds it back."""
        other = pair.new if pair.what == LOST else pair.old if pair.what == GAINED else None
        if other is not None:
            self.reasons[pair.what, other.row.status, other.row.reason or ""] += 1

    def _places(self, pair: Pair) -> set[tuple[str, tuple[str, ...]]]:
        """Rows of the tables an effect belongs to: those of both its sides, where they took place."""
        places: set[tuple[str, tuple[str, ...]]] = set()
        for deed, days in zip((pair.old, pair.new), self._days, strict=True):
            if deed is None or not deed.done:
                continue
            via = deed.row.detail.get("via")
            places |= {
                ("playbook", (deed.name[0],)),
                ("step", (*deed.name, deed.row.kind)),
                ("kind", (deed.row.kind,)),
                ("day", (days.of(deed.row.time),)),
            }
            if isinstance(via, str):
                places.add(("channel", (via,)))
        return places

    def table(self, dimension: str, old: Sums, new: Sums) -> list[dict[str, Any]]:
        """Rows of one table, in order of what they are called; those of nothing but the unchanged included."""
        before, after = self._totals(dimension, old, renamed=True), self._totals(dimension, new, renamed=False)
        touched = {place: it for (kind, place), it in self.touched.items() if kind == dimension}
        rows = []
        for place in sorted({*before, *after, *touched}):
            found = touched.get(place, _NOTHING)
            rows.append(
                {
                    **_head(dimension, place),
                    "old": before.get(place, 0),
                    "new": after.get(place, 0),
                    **{what: found.whats[what] for what in WHATS if what != HELD},
                    "users": _people(found.users),
                }
            )
        return rows

    def _totals(self, dimension: str, sums: Sums, *, renamed: bool) -> Mapping[tuple[str, ...], int]:
        found: Counter[tuple[str, ...]] = Counter()
        for (playbook, step, channel, kind, day), number in sums.done.items():
            if dimension in ("playbook", "step"):
                name = self._names.old((playbook, step)) if renamed else (playbook, step)
                found[(name[0],) if dimension == "playbook" else (*name, kind)] += number
            elif dimension != "channel":
                found[(kind,) if dimension == "kind" else (day,)] += number
            elif channel:
                found[channel,] += number
        return found

    def people(self) -> dict[str, int]:
        """How many users are touched, and how."""
        return _people(self.users)


def _people(users: Counter[str]) -> dict[str, int]:
    return {"any": users["any"], **{word: users[what] for what, word in _USERS.items()}}


_NOTHING: Final = Touched()


def _head(dimension: str, place: tuple[str, ...]) -> dict[str, Any]:
    if dimension == "step":
        return {"playbook": place[0] or None, "step": place[1] or None, "kind": place[2]}
    return {dimension: place[0] or None}


def named(deed_playbook: str | None, deed_step: str | None) -> Name:
    """The name of a row's step."""
    return deed_playbook or "", deed_step or ""


def shown(deed: Deed | None) -> dict[str, Any] | None:
    """One side of an effect for readers."""
    if deed is None:
        return None
    row = deed.row
    return {
        "time": row.time,
        "playbook": row.playbook,
        "step": row.step,
        "status": row.status,
        "reason": row.reason,
        "detail": row.detail,
    }
