"""Audiences in a database: it sorts out, Python judges whom it cannot be certain about."""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter

from engine.core.model import State
from engine.core.predicate import Filter, Selection
from engine.stores import codec

Found = tuple[str, bytes | None]
"""(subject, its state when it must be asked)"""

by_subject = itemgetter(0)


def page(found: Iterable[Found], filter: Filter, now: int, limit: int) -> Selection:
    """The first ``limit`` who fit, of those a database did not refuse, in order of subject."""
    page = Selection([], [], 0)
    for subject, raw in found:
        if raw is None:
            page.ids.append(subject)
        else:
            page = _judged(page, filter, now, subject, codec.decode_state(raw))
        if len(page.ids) == limit:
            return Selection(page.ids, page.errors, page.asked, subject)
    return page


def _judged(page: Selection, filter: Filter, now: int, subject: str, state: State) -> Selection:
    try:
        if filter.judge(state, now):
            page.ids.append(subject)
    except Exception as error:  # an error is neither a yes nor a no, whatever kind it is
        page.errors.append((subject, str(error)))
    return Selection(page.ids, page.errors, page.asked + 1)
