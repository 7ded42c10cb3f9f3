"""Decided events, verdicts and entries of the ledger in PostgreSQL, a row each.

Rule 1: rows are only ever added at the end; their numbers are in order of decision.
Rule 2: the table of events comes in parts of some millions of numbers, which are there before they are needed.
Every method that changes anything is called inside a transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from engine.core.model import Decision, Entry, Event
from engine.core.subjects import SIGN, part_of, subject_of
from engine.stores import codec, erasing, tally
from engine.stores.sql.postgres_file import PgFile

_PAGE = 1000
_ROOM = 1 << 21  #: events after which room is made again; there was room for four times as many, at least


class PgEvents:
    """Writes and reads decided events."""

    def __init__(self, file: PgFile) -> None:
        self._file = file
        self._since = _ROOM  #: events written since there was made room for more

    def add(self, events: Sequence[tuple[Event, int]], others: Sequence[tuple[int, str]] = ()) -> None:
        """Write events, each with the engine clock at its decision; ``added`` must follow.

        ``others``: (place, subject) of events that are a group's or the program's, too.
        """
        if not events:
            return
        if self._since >= _ROOM:
            self._file.send("make_event_room", [()])
        rows, ids = [], []
        for it, at in events:
            subject = it.user or it.group
            body = codec.encode_events([(it, at)])
            rows.append((part_of(subject), subject, it.id, it.time, at, it.history, body))
            ids.append((it.id, subject, it.time, max(it.time, at)))
        if others:
            numbers = self._file.columns("add_events_told", rows)
            self._file.send("add_heard", [(subject, numbers[place][0]) for place, subject in others])
        else:
            self._file.send("add_events", rows)
        ids.sort()  # so that neighbours go to one page
        self._file.send("add_decided", ids)

    def added(self, count: int) -> None:
        """So many events are durable."""
        self._since = count if self._since >= _ROOM and count else self._since + count

    def of(self, subject: str) -> Iterator[tuple[Event, int]]:
        """Events of a subject in order of decision."""
        query = "events_heard" if subject[:1] == SIGN else "events_of"
        for (body,) in self._file.rows(query, subject):
            for it in codec.decode_events(body):
                if it is not None and it[0].maker != subject:
                    yield it

    def first(self) -> int | None:
        """Engine clock at the decision of the oldest event there is, history aside."""
        return next((at for (at,) in self._file.rows("first_event")), None)

    def since(self, clock: int) -> Iterator[tuple[Event, int]]:
        """Events decided after an instant of the engine's clock, in order of decision; none that come meanwhile."""
        seq, last = 0, self._file.rows("event_last")[0][0]
        while rows := self._file.rows("events_since", seq, clock, _PAGE):
            for seq, body in rows:
                if seq > last:
                    return
                yield from (it for it in codec.decode_events(body) if it is not None)

    def unheard(self, subjects: Sequence[str], clock: int) -> set[str]:
        """Which of these subjects no event up to an instant is about, nor ever was as far as is known."""
        return {name for (name,) in self._file.rows("unheard", list(subjects), clock)}


class PgLedger:
    """Writes and reads entries of the ledger, and verdicts."""

    def __init__(self, file: PgFile) -> None:
        self._file = file

    def add(self, entries: Sequence[Entry]) -> None:
        """Write entries in order of decision."""
        rows = [(it.key, it.subject, it.book, it.name, it.time, codec.encode_entries([it])) for it in entries]
        self._file.send("add_entries", rows)

    def read(self, subject: str | None, book: str | None, name: str | None) -> Iterator[Entry]:
        """Entries in order, of all or of one subject, book or name."""
        if subject is None:
            rows = self._file.pages("entries_named", book, name)
        else:
            rows = iter(self._file.rows("entries_of_subject", subject))
        for (body,) in rows:
            yield from (it for it in codec.decode_entries(body) if tally.asked_for(it, subject, book, name))

    def erase(self, subject: str, until: int, alias: Callable[[str], str]) -> None:
        """Entries of a subject up to an instant go on under its pseudonym."""
        for seq, body in self._file.rows("entries_to_rename", subject, until):
            for it in codec.decode_entries(body):
                hidden = erasing.anonymous(it, subject, until, alias)
                row = (seq, hidden.key, hidden.subject, codec.encode_entries([hidden]))
                self._file.send("rename_entry", [row])

    def judge(self, decisions: Sequence[Decision]) -> None:
        """Write verdicts in order."""
        rows = [(subject_of(it.user, it.group), it.time, codec.decision_body(it)) for it in decisions]
        self._file.send("add_decisions", rows)
