"""Whether a store may send: is it the one that was written here last, or a copy, or an old one put back?

Rule 1: a store that was restored, copied or moved decides and records as always, and sends nothing until a person
releases it: what it believes pending may have been sent long ago.
Rule 2: the reason is kept in the store, so that no restart forgets it.
"""

from __future__ import annotations

from engine.ports import Store

HELD = "outbox_held"
"""Name under which a store keeps why it sends nothing; empty: it may send."""

PLACE = "place"
"""Name under which a store keeps where it was written last: a hash of machine and path."""


WIRE = "wire"
"""Name under which a store keeps which notes of what was sent it believes."""


def held(store: Store) -> str | None:
    """Why nothing is sent; None when it may be."""
    return store.get_meta(HELD) or None


def settle_in(store: Store, place: str) -> str | None:
    """Note where the store is written; a store that came from elsewhere is held. Returns why nothing is sent.

    Parameters
    ----------
    store: opened for writing.
    place: what tells this machine and file from every other.
    """
    known = store.get_meta(PLACE)
    if known is None:
        store.set_meta(PLACE, place)
    elif known != place and not held(store):
        store.set_meta(HELD, "it was written on another machine or at another path: this may be a copy")
    return held(store)


def release(store: Store, place: str) -> str | None:
    """This store is the one, here: it may send from now on. Returns what held it."""
    reason = held(store)
    store.set_meta(PLACE, place)
    if reason is not None:
        if store.get_meta(WIRE):
            store.set_meta(WIRE, "")  # the notes beside it may be of another life
        store.set_meta(HELD, "")
    return reason
