"""How a playbook is begun by name: the reserved event types of ``start``, ``manual`` and ``webhook``.

Rule 1: the type carries the name of the playbook, so whoever listens to it is found before the first event, and the
check of loops sees a ``start`` as what it is: an event one playbook emits and another hears.
Rule 2: a feed cannot forge one. A record read at the door is never ``internal``; what ``start`` makes is, and has a
depth; what ``drumbeat trigger`` puts into the inbox is, and has none.
"""

from __future__ import annotations

from collections.abc import Iterable

from engine.core.model import Event
from engine.core.plan import Playbook

CALLED = "playbook.called:"
MANUAL = "playbook.manual:"
WEBHOOK = "playbook.webhook:"


def by_playbook(event: Event | None) -> bool:
    """Was it made by a step of another playbook?"""
    return event is not None and event.internal and event.depth > 0


def by_hand(event: Event | None) -> bool:
    """Was it put into the inbox by a verb, and not read from a feed?"""
    return event is not None and event.internal and event.depth == 0


def asked_for(playbooks: Iterable[Playbook]) -> dict[str, str]:
    """Playbook -> the type ``drumbeat trigger`` begins it with, for each that may be begun so."""
    found: dict[str, str] = {}
    for playbook in playbooks:
        heard = sorted({type_ for trigger in playbook.triggers for type_ in trigger.listens() or ()})
        own = [type_ for type_ in heard if type_ in (MANUAL + playbook.id, WEBHOOK + playbook.id)]
        if own:
            found[playbook.id] = own[0]
    return found


def take_for_verbs(events: Iterable[Event], types: frozenset[str]) -> None:
    """Records of these types stand for ``drumbeat trigger``: for files of the operator's own, which no feed can forge.

    Parameters
    ----------
    events: changed in place.
    types: the values of ``asked_for``.
    """
    for event in events:
        if event.type in types:
            event.internal = True
