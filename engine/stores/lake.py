"""Everything a report asks about, in the tables of an analytic database (DuckDB) that is thrown away afterwards.

Rule 1: it is filled from a store or from batches, never beside them, and is read only when it is full.
Rule 2: memory is bounded: rows go in pieces into a file of their own in the temporary folder, and DuckDB is told how
much memory it may take.
Rule 3: days and hours are those of the program's zone; a day is a number of days since 1970-01-01.
Rule 4: nothing is fetched: DuckDB may load no extension and open no file but its own.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Set
from decimal import Decimal
from math import inf
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from zoneinfo import ZoneInfo

from engine.core import localtime
from engine.core.model import DAY, HOUR, MINUTE, Decision, Effect, Entry, Event, Milestone
from engine.core.subjects import SIGN, subject_of
from engine.errors import CannotRun
from engine.ports import Batch
from engine.stores.sql import queries
from engine.stores.tally import first_delivery

PIECE = 50_000
"""Rows held until they are written."""

MEMORY = "256MB"
"""What DuckDB takes before it uses its folder."""

REDEEMED = "coupon.redeemed"
"""The event that tells of a redemption."""

SURVEY = "survey"
"""``place`` of a message that invites to a survey."""

_STEP = 15 * MINUTE  # no zone changes its offset within one

_TABLES = {
    "event": ("user", "instant", "day", "hour", "type", "grp", "active", "effect"),
    "effect": (
        "key", "instant", "day", "playbook", "step", "kind", "user", "grp", "status", "reason", "channel", "purpose",
        "delivery", "place", "below", "above",
    ),
    "milestone": ("playbook", "occurrence", "user", "what", "name", "instant", "day"),
    "goal": ("playbook", "occurrence", "user", "instant", "day", "worth"),
    "ledger": ("instant", "day", "book", "name", "what", "delta", "user", "unit", "amount", "playbook",
               "until", "key"),
    "redemption": ("key", "off", "paid"),
    "over": ("playbook", "user", "instant", "day", "waits"),
    "gone": ("user",),
}  # fmt: skip
_NUMBERS = {"instant": "int64", "day": "int32", "hour": "int8", "delta": "int64", "active": "bool", "worth": "float64",
            "amount": "float64", "until": "int64", "off": "float64", "paid": "float64", "waits": "bool"}  # fmt: skip

class Lake:
    """The tables; use it in a ``with``.

    Parameters
    ----------
    zone: of the program.
    active: whether an event of a type is somebody's activity.
    surveys: the templates that invite to a survey.
    """

    def __init__(self, zone: ZoneInfo, active: Callable[[str], bool], surveys: Set[str] = frozenset()) -> None:
        try:
            import duckdb
            import numpy
        except ImportError as error:
            raise missing_extra() from error
        self._numpy = numpy
        self._zone = zone
        self._active = active
        self._surveys = surveys
        self._known: dict[str, bool] = {}
        self._queries = queries("lake")
        self._rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in _TABLES}
        self._folder = Path(tempfile.mkdtemp(prefix="drumbeat-report-"))
        try:
            self._db = duckdb.connect(str(self._folder / "lake.duckdb"))
            for setting in (
                f"set memory_limit='{MEMORY}'", f"set temp_directory='{self._folder / 'spill'}'", "set threads=2",
                "set autoinstall_known_extensions=false", "set autoload_known_extensions=false",
                "set preserve_insertion_order=false",
            ):  # fmt: skip
                self._db.execute(setting)
            for name in _TABLES:
                self._db.execute(self._queries[f"open_{name}"])
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    # ------------------------------------------------------------------ filling

    def take(self, batch: Batch) -> None:
        """What a simulation decided."""
        for event, _ in batch.events:
            self.event(event)
        for effect in batch.effects:
            self.effect(effect, first_delivery(effect))
        for milestone in batch.milestones:
            self.milestone(milestone)
        worth = dict(batch.worth)
        for place, (playbook, occurrence, user, _, time) in enumerate(batch.goals):
            self.goal(playbook, occurrence, user, time, worth.get(place))
        for entry in batch.entries:
            self.entry(entry)
        for verdict in batch.decisions:
            self.verdict(verdict)

    def begin_anew(self) -> None:
        """What was taken so far is thrown away."""
        for name, rows in self._rows.items():
            rows.clear()
            self._db.execute(self._queries[f"clear_{name}"])

    def event(self, it: Event) -> None:
        """A decided event."""
        effect = it.data.get("effect") if it.type.startswith("message.") else None
        self.happened(it.user, it.time, it.type, it.group or it.data.get("group"), it.internal, effect)
        if it.type == REDEEMED:
            self.redeemed(it.id, it.data.get("discount"), it.data.get("amount"))

    def happened(
        self, user: str | None, time: int, type_: str, group: object, internal: bool, effect: object
    ) -> None:
        """An event as far as it matters here."""
        active = self._known.get(type_)
        if active is None:
            active = self._known[type_] = self._active(type_)
        person = user is not None and user[:1] != SIGN
        row = (user if person else None, time, 0, 0, type_, _text(group), active and person and not internal,
               _text(effect))  # fmt: skip
        self._add("event", row)

    def effect(self, it: Effect, delivery: str | None) -> None:
        """A decided effect."""
        self.decided(it.key, it.time, it.deliver, delivery, it.playbook, it.step, it.kind, it.user, it.group, it.status,
                     it.reason, it.detail.get)  # fmt: skip

    def decided(
        self, key: str, time: int, channel: str | None, delivery: str | None, playbook: str | None, step: str | None,
        kind: str, user: str | None, group: str | None, status: str, reason: str | None, of: Callable[[str], Any],
    ) -> None:  # fmt: skip
        """An effect as far as it matters here; ``of`` gives parts of its detail."""
        place = below = above = None
        if kind == "tier":
            place, below, above = of("ladder"), of("from"), of("to")
        elif kind == "coupon":
            place = of("pool")
        elif kind == "invite":
            place = of("group")
        elif kind == "badge":
            place = of("name")
        elif kind == "redeem":
            place = of("reward")
        elif kind == "emit":
            place, above = of("type"), of("user")
        elif kind == "message" and self._surveys and of("template") in self._surveys:
            place = SURVEY
        row = (key, time, 0, playbook, step, kind, user, group, status, reason, channel or _text(of("via")),
               _text(of("purpose")), delivery, place, below, above)  # fmt: skip
        self._add("effect", row)

    def milestone(self, it: Milestone) -> None:
        """How far somebody came."""
        self._add("milestone", (*it, 0))

    def goal(self, playbook: str, occurrence: str, user: str, time: int, worth: Decimal | None) -> None:
        """A goal that was reached."""
        self._add("goal", (playbook, occurrence, user, time, 0, None if worth is None else float(worth)))

    def entry(self, it: Entry) -> None:
        """An entry of the ledger."""
        if it.book in ("coupon", "points", "seat", "entitlement", "reward"):
            amount = None if it.amount is None else float(it.amount)
            row = (it.time, 0, it.book, it.name, it.what, it.delta, it.subject, it.unit, amount, it.playbook,
                   it.until or 0, it.key if it.what == "redeemed" else None)  # fmt: skip
            self._add("ledger", row)

    def redeemed(self, event: str, off: object, paid: object) -> None:
        """What a redemption said of money. ``off``: what the coupon took off; ``paid``: what the order came to."""
        self._add("redemption", (f"{event}:redeemed", _amount(off), _amount(paid)))

    def verdict(self, it: Decision) -> None:
        """A verdict that was kept; of these only who was over an entry limit matters here."""
        if it.verdict == "capped":
            waits = any("waits until" in why.text for why in it.why if why.at == "entry.limit")
            self._add("over", (it.playbook, subject_of(it.user, it.group), it.time, 0, waits))

    def gone(self, users: Iterable[str]) -> None:
        """Users of whom events were forgotten."""
        for user in users:
            self._add("gone", (user,))

    def _add(self, table: str, row: tuple[Any, ...]) -> None:
        rows = self._rows[table]
        rows.append(row)
        if len(rows) >= PIECE:
            self._write(table)

    def _write(self, table: str) -> None:
        """Rows to the table, by columns; times get their day and hour."""
        rows, names, np = self._rows[table], _TABLES[table], self._numpy
        if not rows:
            return
        columns = dict(zip(names, zip(*rows, strict=True), strict=True))
        shaped: dict[str, Any] = {name: self._column(name, values) for name, values in columns.items()}
        if "instant" in shaped:
            local = self._local(shaped["instant"])
            shaped["day"] = (local // DAY).astype(np.int32)
            if "hour" in shaped:
                shaped["hour"] = (local % DAY // HOUR).astype(np.int8)
        self._db.register("piece", shaped)
        self._db.execute(self._queries[f"add_{table}"])
        self._db.unregister("piece")
        rows.clear()

    def _column(self, name: str, values: tuple[Any, ...]) -> Any:
        np = self._numpy
        kind = _NUMBERS.get(name)
        if kind == "float64":
            return np.array([float("nan") if it is None else it for it in values], dtype=kind)
        if kind is not None:
            return np.array(values, dtype=kind)
        return np.array(["" if it is None else it for it in values], dtype=object)

    def _local(self, times: Any) -> Any:
        """Instants as the local clock shows them."""
        np = self._numpy
        quarters, places = np.unique(times // _STEP, return_inverse=True)
        offsets = np.array([localtime.offset(int(it) * _STEP, self._zone) for it in quarters], dtype=np.int64)
        return times + offsets[places]

    def settle(self) -> None:
        """All is in: make the tables that follow from it."""
        for table in _TABLES:
            self._write(table)
        for name in ("active", "first", "entry", "reached"):
            self._db.execute(self._queries[f"settle_{name}"])

    # ------------------------------------------------------------------ reading

    def rows(self, query: str, *values: int, **parts: str) -> list[tuple[Any, ...]]:
        """All rows of a named query; ``parts``: what it keeps places for, our own words."""
        text = self._queries[query]
        for name, part in parts.items():
            text = text.replace("{" + name + "}", part)
        found: list[tuple[Any, ...]] = self._db.execute(text, list(values)).fetchall()
        return found

    def pages(self, query: str, *values: int) -> Iterable[tuple[Any, ...]]:
        """As ``rows``, read as they are used; nothing else may be asked meanwhile."""
        cursor = self._db.cursor()
        cursor.execute(self._queries[query], list(values))
        while found := cursor.fetchmany(10_000):
            yield from found

    def cohorts(self, bucket: str, distances: Iterable[int], first: int, last: int, over: int) -> list[tuple[Any, ...]]:
        """(bucket, users, then of each distance in days: users it can be said of, and users who came back that day)."""
        parts = [
            f"count(*) filter (where f.day + {n} <= ?3), count(a{n}.user) filter (where f.day + {n} <= ?3)"
            for n in distances
        ]
        joins = [f"left join active as a{n} on a{n}.user = f.user and a{n}.day = f.day + {n}" for n in distances]
        return self.rows(
            "cohorts", first, last, over, bucket=BUCKETS[bucket], columns=", ".join(parts), joins=" ".join(joins)
        )


BUCKETS = {
    "day": "f.day",
    "week": "f.day - (f.day + 3) % 7",
    "month": "(date_trunc('month', date '1970-01-01' + f.day)::date - date '1970-01-01')",
    "year": "(date_trunc('year', date '1970-01-01' + f.day)::date - date '1970-01-01')",
}
"""Grain -> the first day of the bucket of a first day; a week begins on Monday."""


def missing_extra() -> CannotRun:
    """What to say when the libraries of the report are not there."""
    return CannotRun("figures of a period need libraries that are not installed", hint="pip install 'drumbeat[report]'")


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _amount(value: object) -> float | None:
    """An amount of money as events have it; what is no such number is nothing."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        return None
    found = float(value)
    return found if 0 <= found < inf else None
