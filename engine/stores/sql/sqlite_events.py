"""Decided events in an SQLite file: blocks of many events a row, their ids in a table of their own.

Rule 1: blocks are only ever added at the end; inside them and among them the order is that of decision.
Rule 2: whose events a block holds stands beside it until the trail notes it: who looks for the events of one subject
reads the blocks the trail names, and looks through the names of the others.
Every method is called inside a transaction or changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from engine.core.groups import group_of
from engine.core.model import Event
from engine.core.subjects import PROGRAM, SIGN, of_group
from engine.stores import codec
from engine.stores.sql.sqlite_file import SqliteFile

BLOCK = 100
"""Events of a block: some 10 KB, which is what looking at one event costs to read."""

NAMES_A_ROW = 4
"""How many subjects of blocks are looked through in the time one row of another log takes."""

Kept = tuple[str, str | None, int]
"""(id, subject, time) of an event that was forgotten and whose id was not."""

_kept = msgspec.json.Decoder(list[Kept]).decode


class SqliteEvents:
    """Writes and reads decided events."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file
        self._count: int = file.rows("event_count")[0][0]

    def add(self, events: Sequence[tuple[Event, int]], others: Sequence[tuple[int, str]] = ()) -> None:
        """Write events, each with the engine clock at its decision; ``added`` must follow.

        ``others``: (place, subject) of events that are a group's or the program's, too.
        """
        blocks, names = [], []
        for start in range(0, len(events), BLOCK):
            part = events[start : start + BLOCK]
            last = self._count + start + len(part)
            blocks.append((last, codec.encode_events(part)))
            also = sorted({subject for place, subject in others if start <= place < start + BLOCK})
            names.append((last, names_of(part, also)))
        self._file.write("add_block", blocks)
        self._file.write("add_block_subjects", names)
        if events:
            # in order, so that neighbours go to one page
            self._file.write("add_decided", [(codec.names(sorted([it.id for it, _ in events])).decode(),)])

    def added(self, count: int) -> None:
        """So many events are durable."""
        self._count += count

    def of(self, subject: str) -> Iterator[tuple[Event, int]]:
        """Events of a subject in order of decision."""
        for _, body in self._blocks(subject):
            for it in codec.decode_events(body):
                if it is not None and it[0].maker != subject and is_about(it[0], subject):
                    yield it

    def _blocks(self, subject: str) -> Iterator[tuple[int, bytes]]:
        """Blocks that may hold events of a subject: its name stands in a list as it is encoded, as other bytes may."""
        yield from self._file.pages("blocks_of", subject, codec.names([subject]).decode()[1:-1])

    def first(self) -> int | None:
        """Engine clock at the decision of the oldest event there is, history aside."""
        for events in self._from(0):
            for it in events:
                if not it[0].history:
                    return it[1]
        return None

    def since(self, clock: int) -> Iterator[tuple[Event, int]]:
        """Events decided after an instant of the engine's clock, in order of decision; none that come meanwhile."""
        for events in self._from(self._place(clock)):
            yield from (it for it in events if it[1] > clock)

    def laid(self, clock: int) -> bool:
        """Does the trail hold all blocks of what was decided up to an instant alone?"""
        return bool(self._file.rows("names_laid")[0][0] >= self._place(clock) - 1)

    def unheard(self, subjects: Sequence[str], clock: int) -> set[str]:
        """Which of these subjects no event up to an instant is about; the trail must be laid."""
        first = self._place(clock)
        found = {name for (name,) in self._file.rows("unheard", codec.names(list(subjects)), first)}
        for events in self._from(first):  # the first of them may hold both
            return found - {it.user or it.group or "" for it, at in events if at <= clock}
        return found

    def _from(self, seq: int) -> Iterator[list[tuple[Event, int]]]:
        """The blocks from a number on, to the last one there is now. Nothing stays open between two of them."""
        last = self._count
        while seq <= last and (rows := self._file.rows("block_at", seq)):
            found, body = rows[0]
            yield [it for it in codec.decode_events(body) if it is not None]
            seq = found + 1

    def _place(self, clock: int) -> int:
        """Number of a block that is not behind the first event decided after an instant; blocks stand in its order."""
        low, high = 0, self._count + 1  # all blocks before ``low`` are too old
        while low < high:
            middle = (low + high) // 2
            rows = self._file.rows("block_at", middle)
            events = [it for it in codec.decode_events(rows[0][1]) if it is not None] if rows else []
            if not rows or (events and events[-1][1] > clock):
                high = middle
            else:
                low = rows[0][0] + 1
        return low

    def erase(self, subject: str, until: int) -> None:
        """Forget the events of a subject up to an instant, and their ids; their places stay."""
        self._erase_ids(subject, until)
        upto = next((seq for (seq,) in self._file.rows("forgotten_upto", "ids")), 0)
        for seq, body in list(self._blocks(subject)):
            events = codec.decode_events(body)
            gone = [it[0].id for it in events if it is not None and is_about(it[0], subject) and it[0].time <= until]
            if not gone:
                continue
            ids = set(gone)
            left = [None if it is None or it[0].id in ids else it for it in events]
            heard = {of_group(it[0].group) for it in left if it is not None and it[0].group is not None}
            self._file.write("rewrite_block", [(codec.encode_events(left), seq)])
            self._file.write("rename_block", [(names_of(left, sorted({*heard, PROGRAM})), seq)])
            if seq > upto:  # ids before are forgotten, and may have come again since
                self._file.write("forget_ids", [(codec.names(gone).decode(),)])
            if not any(it is not None and is_about(it[0], subject) for it in left):
                self._file.write("forget_block", [(subject, seq)])

    def _erase_ids(self, subject: str, until: int) -> None:
        """Forget the ids of events that are forgotten."""
        for seq, body in self._file.rows("id_blocks_of", subject):
            kept = _kept(body)
            gone = [id_ for id_, about, time in kept if about == subject and time <= until]
            left = [it for it in kept if not (it[1] == subject and it[2] <= until)]
            self._file.write("forget_ids", [(codec.names(gone).decode(),)])
            self._file.write("rewrite_id_block", [(msgspec.json.encode(left), seq)])


def is_about(event: Event, subject: str) -> bool:
    if subject[:1] == SIGN:
        group = group_of(event)
        # what the program hears hangs on the plan, which chooses among them
        return subject == PROGRAM or (group is not None and of_group(group) == subject)
    return (event.user or event.group) == subject


def names_of(events: Sequence[tuple[Event, int] | None], also: Sequence[str]) -> str:
    """Whose they are; ``also``: groups and the program, who heard some of them."""
    return codec.names([None if it is None else it[0].user or it[0].group for it in events] + list(also)).decode()
