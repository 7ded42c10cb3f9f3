"""States of subjects in an SQLite file: a log of what changed lately, folded into the table now and then.

Writing 3,500 states where they stand touches as many pages; appending them touches 300. So a commit appends, and only
after ``FOLD_SUBJECTS`` different subjects, or ``FOLD_BYTES`` of the log, the newest state of each goes to its place,
in the order of the table. Without the second a log of few subjects who come again and again would never end.
The bytes of the log are held in memory as well, which spares reading back subjects that come again soon.

A process that must hold little opens with ``most`` (subjects, bytes): what stands in the log above that goes to its
place at once, piece by piece, and is never held as a whole.

Rule 1: the log supersedes the table.
Rule 2: only the writer folds; a reader follows the log by its numbers, which are never used twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from heapq import merge, nsmallest
from typing import NamedTuple

from engine.core.model import State
from engine.core.predicate import Filter, Selection
from engine.core.subjects import BEFORE_USERS
from engine.stores import codec
from engine.stores.sql import sqlite_audience
from engine.stores.sql.sqlite_file import SqliteFile
from engine.stores.wakes import Wakes

FOLD_SUBJECTS, GENTLE_SUBJECTS = 100_000, 20_000
"""Subjects in the log from which on it is folded: some 50 MB of memory. The second is for a process that must hold
little and keep nobody waiting."""

FOLD_BYTES, GENTLE_BYTES = 256 << 20, 16 << 20
"""Bytes of the log from which on it is folded, however few the subjects: what is held is never more."""

_BEGIN = (-(2**63), "")
_ALL = 2**63 - 1
_PAGE = 1000


class Entries(NamedTuple):
    """States as a row of the log keeps them: their lines are one text, so that they are written in one go."""

    subjects: list[str]
    wakes: list[int | None]
    lines: bytes  #: one line a state, in the order of ``subjects``


class SqliteStates:
    """Reads and writes states; every method that changes the file is called inside a transaction."""

    def __init__(self, file: SqliteFile, most: tuple[int, int] | None = None) -> None:
        self._file = file
        self.written = 0  #: bytes of the log
        self._fresh: dict[str, bytes] = {}  #: the log: subject -> newest bytes
        self._wakes = Wakes()  #: wake-ups of subjects in the log
        self._span = (0, 0)  #: numbers of the first and the last row of the log seen
        self._from = _BEGIN  #: wake-ups of the table up to here are superseded by the log
        self._ahead: deque[tuple[int, str]] = deque()  #: those right behind, in order, so that each is read but once
        if most is None:
            with file.snapshot():
                self._follow()
        else:
            while not self._follow(most):
                self._fold_what_is_held()

    def __len__(self) -> int:
        return len(self._fresh)

    def in_log(self) -> list[str]:
        """Subjects whose newest state is in the log."""
        self._follow_if_reader()
        return list(self._fresh)

    # -- reading

    def load(self, subjects: Iterable[str]) -> dict[str, State]:
        """States of the subjects that have one."""
        with self._file.snapshot():
            self._follow_if_reader()
            return self._load(subjects)

    def strangers(self, subjects: Sequence[str]) -> set[str]:
        """Which of these have no state."""
        with self._file.snapshot():
            self._follow_if_reader()
            rest = [it for it in subjects if it not in self._fresh]
            return {row[0] for row in self._file.rows("strangers", codec.names(rest))} if rest else set()

    def due(self, before: int, limit: int) -> list[State]:
        """States that wake before an instant, in order of (instant, subject)."""
        with self._file.snapshot():
            found = self._load([subject for _, subject in self._due(before, limit)])
        return sorted(found.values(), key=_wake_order)

    def wakes(self, before: int, limit: int) -> list[tuple[int, str]]:
        """Their instants and names only."""
        with self._file.snapshot():
            return self._due(before, limit)

    def _due(self, before: int, limit: int) -> list[tuple[int, str]]:
        self._follow_if_reader()
        return sorted(self._wakes.due(before, limit) + self._table_due(before, limit))[:limit]

    def population(self, after: str, limit: int) -> list[str]:
        """At most ``limit`` subjects behind one, in order."""
        with self._file.snapshot():
            self._follow_if_reader()
            fresh = nsmallest(limit, (subject for subject in self._fresh if subject > after))
            table = [row[0] for row in self._file.rows("subjects_after", after, limit)]
            return sorted({*fresh, *table})[:limit]

    def next_wake(self) -> int | None:
        """The earliest wake-up of all."""
        with self._file.snapshot():
            self._follow_if_reader()
            first = self._wakes.first()
            return min((at for at, _ in self._table_due(2**63 - 1 if first is None else first, 1)), default=first)

    def all(self) -> Iterator[State]:
        """Every state, in order of subject."""
        with self._file.snapshot():
            self._follow_if_reader()
            fresh = dict(self._fresh)
            for _, raw in merge(sorted(fresh.items()), self._table_all(fresh)):
                yield codec.decode_state(raw)

    def places(self) -> Iterator[codec.Place]:
        """Of every state only where its subject stands: a small part of the work of ``all``."""
        with self._file.snapshot():
            self._follow_if_reader()
            fresh = dict(self._fresh)
            for _, raw in merge(sorted(fresh.items()), self._table_all(fresh)):
                yield codec.decode_place(raw)

    def count(self) -> int:
        """How many users there are."""
        with self._file.snapshot():
            self._follow_if_reader()
            users = [subject for subject in self._fresh if subject > BEFORE_USERS]
            both = self._file.rows("known_subjects", codec.names(users))[0][0]
            every, others = self._file.rows("subject_count", BEFORE_USERS)[0]
            return int(every) - int(others) + len(users) - int(both)

    def audience(self, filter: Filter, now: int, after: str, limit: int) -> Selection:
        """A page of those who fit a condition."""
        with self._file.snapshot():
            self._follow_if_reader()
            return sqlite_audience.select(self._file, self._fresh, filter, now, after, limit)

    def candidates(self, filter: Filter, now: int, after: str, limit: int) -> list[str]:
        """A page of those who may fit it."""
        with self._file.snapshot():
            self._follow_if_reader()
            return sqlite_audience.candidates(self._file, self._fresh, filter, now, after, limit)

    def in_flight(self) -> Iterator[State]:
        """Every state with a running journey or a goal, in order of subject. Others are passed over undecoded."""
        with self._file.snapshot():
            self._follow_if_reader()
            fresh = dict(self._fresh)
            for _, raw in merge(sorted(fresh.items()), self._table_all(fresh)):
                # an encoded list begins like this only when it holds something; user data may hold the same bytes
                if b'"journeys":[[' in raw or b'"goals":[[' in raw:
                    state = codec.decode_state(raw)
                    if state.journeys or state.goals:
                        yield state

    def _load(self, subjects: Iterable[str]) -> dict[str, State]:
        fresh, decode = self._fresh, codec.decode_state
        found, missing = {}, []
        for subject in subjects:
            raw = fresh.get(subject)
            if raw is None:
                missing.append(subject)
            else:
                found[subject] = decode(raw)
        if missing:
            for subject, raw in self._file.rows("load_states", codec.names(missing)):
                found[subject] = decode(raw)
        return found

    def _table_due(self, before: int, limit: int) -> list[tuple[int, str]]:
        """Wake-ups of the table that still hold. The table changes only when it is folded: until then what was read of
        it is kept, and forgotten as it is superseded."""
        fresh, ahead, found = self._fresh, self._ahead, list[tuple[int, str]]()
        if self._file.read_only:  # somebody else changes the table
            ahead.clear()
        while ahead and ahead[0][1] in fresh:
            self._from = ahead.popleft()
        for row in ahead:
            if row[0] >= before or len(found) == limit:
                return found
            if row[1] not in fresh:
                found.append(row)
        size = max(limit, 100)
        while len(found) < limit:
            rows = self._file.rows("due_subjects", *(ahead[-1] if ahead else self._from), before, size)
            for row in rows:
                if row[1] not in fresh:
                    found.append(row)
                elif not ahead:
                    self._from = row
                    continue
                ahead.append(row)
            if len(rows) < size:
                break
        return found[:limit]

    def _table_all(self, fresh: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
        last = ""
        while rows := self._file.rows("all_states", last, _PAGE):
            yield from (row for row in rows if row[0] not in fresh)
            last = rows[-1][0]

    # -- following the log

    def _follow_if_reader(self) -> None:
        if self._file.read_only:
            self._follow()

    def _follow(self, most: tuple[int, int] | None = None) -> bool:
        """Read what the log has and memory has not; False: it stopped where ``most`` was reached."""
        first, last = self._file.rows("log_span")[0]
        if first != self._span[0]:
            self._forget()
        for seq, body in self._file.pages("read_log", self._span[1], page=1):  # a row is some MB
            self._remember(Entries(*codec.state_heads(body), body))
            self._span = (first, seq)
            if most is not None and (len(self._fresh) >= most[0] or self.written >= most[1]):
                return False
        self._span = (first, last)
        return True

    def _fold_what_is_held(self) -> None:
        """The oldest part of the log goes to its place; what comes behind it supersedes that."""
        with self._file.transaction("fold", self.folded):
            self._file.fault("fold.states")
            self.fold(self._span[1])

    def _forget(self) -> None:
        self._fresh.clear()
        self._wakes.clear()
        self._from = _BEGIN
        self._ahead.clear()
        self._span = (0, 0)
        self.written = 0

    def _remember(self, entries: Entries) -> None:
        self.written += len(entries.lines)
        self._fresh.update(zip(entries.subjects, entries.lines.split(b"\n"), strict=False))  # the last line ends too
        self._wakes.put_all(zip(entries.subjects, entries.wakes, strict=True))

    # -- writing

    @staticmethod
    def entries(states: Sequence[State]) -> Entries:
        """The states as the log keeps them."""
        lines = codec.encode_states(states)
        return Entries([state.id for state in states], [state.wake_at for state in states], lines)

    def append(self, entries: Entries) -> None:
        """Write states to the log."""
        if entries.subjects:
            self._file.write("add_log", [(entries.lines,)])

    def appended(self, entries: Entries) -> None:
        """The entries are durable."""
        self._remember(entries)

    def fold(self, upto: int = _ALL) -> None:
        """Bring the newest state of each subject of the log to its place; its rows up to a number go."""
        wake_at = self._wakes.at
        self._file.insert("save_state", [(one, raw, wake_at(one)) for one, raw in sorted(self._fresh.items())])
        self._file.write("clear_log", [(upto,)])

    def folded(self) -> None:
        """The fold is durable."""
        self._forget()


def _wake_order(state: State) -> tuple[int, str]:
    return (state.wake_at or 0, state.id)
