"""Codes from a file into the store: read as they stream, written in pieces, each piece whole or not at all.

Rule 1: a code that is there already, in this pool or another, is passed over and counted. So an import that was broken
off is simply begun again.
Rule 2: no more than a piece is held in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

from engine.errors import UsageError
from engine.ports import Imported, Store

PIECE = 10_000
"""Codes of one transaction."""

LONGEST = 128
"""Letters of a code at most."""

_HEADS = ("code", "codes", "coupon", "coupon_code")


def codes_of(lines: Iterable[str]) -> Iterator[str]:
    """The first column of each line; empty lines, those that begin with ``#`` and a head line do not count.

    Raises UsageError for a line that can be no code.
    """
    first = True
    for number, line in enumerate(lines, 1):
        code = line.lstrip("\ufeff").split(",")[0].strip().strip('"')
        if not code or code.startswith("#"):
            continue
        head, first = first and code.lower() in _HEADS, False
        if head:
            continue
        if len(code) > LONGEST or not code.isprintable() or " " in code:
            hint = "one code a line, or a table whose first column holds the codes"
            raise UsageError(f"line {number} is no code: {code[:40]!r}", hint=hint)
        yield code


def import_codes(
    store: Store,
    pool: str,
    codes: Iterable[str],
    taken: Collection[str] = (),
    progress: Callable[[int], None] | None = None,
) -> Imported:
    """Put codes behind those of a pool.

    Parameters
    ----------
    taken: codes of lists that other pools have.
    progress: told how many codes were looked at.
    """
    total = Imported(0, 0, 0)
    piece: list[str] = []

    def put() -> None:
        done = store.add_codes(pool, piece)
        total.added += done.added
        total.repeated += done.repeated
        total.elsewhere += done.elsewhere
        if progress is not None:
            progress(len(piece))
        piece.clear()

    for code in codes:
        if code in taken:
            total.elsewhere += 1
            continue
        piece.append(code)
        if len(piece) >= PIECE:
            put()
    if piece:
        put()
    return total
