"""What of the checks is about PostgreSQL alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from engine.core.subjects import part_of
from engine.ports import Fault
from engine.stores.sql.check import QUERIES, Check, told


class PgCheck(Check):
    """Checks one schema."""

    dialect = "postgres"
    damaged = "PostgreSQL finds the store damaged"
    queries: Mapping[str, tuple[str, str]] = {
        **{name: words for name, words in QUERIES.items() if name != "check_keys"},  # the primary key says it
        "check_trail": ("trail", "what a row is found by is not what it says"),
    }

    def _begin(self) -> None:
        self._file.rows("look_through")

    def _own(self) -> Iterator[Fault]:
        wrong = (subject for subject, part in self._file.pages("parts") if part != part_of(subject))
        yield from told("part", "a subject is in a part it does not belong to", wrong)
