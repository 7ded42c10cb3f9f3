"""States of subjects in PostgreSQL, each where it stands.

Every method that changes anything is called inside a transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from engine.core.model import State
from engine.core.subjects import BEFORE_USERS, part_of
from engine.stores import codec
from engine.stores.sql.postgres_file import PgFile


class PgStates:
    """Reads and writes states."""

    def __init__(self, file: PgFile) -> None:
        self._file = file

    def load(self, subjects: Iterable[str]) -> dict[str, State]:
        """States of the subjects that have one."""
        wanted = list(subjects)
        if not wanted:
            return {}
        decode = codec.decode_state
        return {subject: decode(raw) for subject, raw in self._file.rows("load_states", wanted)}

    def strangers(self, subjects: Sequence[str]) -> set[str]:
        """Which of these have no state."""
        return {row[0] for row in self._file.rows("strangers", list(subjects))} if subjects else set()

    def due(self, before: int, limit: int) -> list[State]:
        """States that wake before an instant, in order of (instant, subject)."""
        with self._file.snapshot():
            order = [subject for _, subject in self.wakes(before, limit)]
            found = self.load(order)
        return [found[subject] for subject in order]

    def wakes(self, before: int, limit: int) -> list[tuple[int, str]]:
        """Their instants and names only."""
        return self._file.rows("due_subjects", before, limit)

    def next_wake(self) -> int | None:
        """The earliest wake-up of all."""
        return min((at for (at,) in self._file.rows("next_wake") if at is not None), default=None)

    def population(self, after: str, limit: int) -> list[str]:
        """At most ``limit`` subjects behind one, in order."""
        return [row[0] for row in self._file.rows("subjects_after", after, limit)]

    def count(self) -> int:
        """How many users there are."""
        return int(self._file.rows("users_count", BEFORE_USERS)[0][0])

    def all(self) -> Iterator[State]:
        """Every state, in order of subject, as of now."""
        for _, raw in self._file.pages("all_states"):
            yield codec.decode_state(raw)

    def places(self) -> Iterator[codec.Place]:
        """Of every state only where its subject stands: a small part of the work of ``all``."""
        for _, raw in self._file.pages("all_states"):
            yield codec.decode_place(raw)

    def in_flight(self) -> Iterator[State]:
        """Every state with a running journey or a goal, in order of subject. Others are passed over undecoded."""
        for _, raw in self._file.pages("all_states"):
            # an encoded list begins like this only when it holds something; user data may hold the same bytes
            if b'"journeys":[[' in raw or b'"goals":[[' in raw:
                state = codec.decode_state(raw)
                if state.journeys or state.goals:
                    yield state

    def save(self, states: Sequence[State]) -> None:
        """States as they are from now on; of a subject that stands twice the later one."""
        if len({state.id for state in states}) < len(states):
            states = list({state.id: state for state in states}.values())
        lines = codec.encode_states(states).split(b"\n")  # the last line ends too
        rows = [(part_of(it.id), it.id, raw, it.wake_at) for it, raw in zip(states, lines, strict=False)]
        self._file.send("save_states", rows)
