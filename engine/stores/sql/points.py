"""The points of a transaction of a store in a database at which a test may kill the process."""

from __future__ import annotations

from engine.stores.sql.sqlite_forgetting import KINDS

_EDGES = ("before_begin", "after_begin", "before_commit", "after_commit")
_GROUPS = {
    "migrate": ("statement", "record"),
    "commit": (
        *("states", "cancels", "events", "effects", "answers", "grants", "resources", "entries", "decisions", "goals"),
        *("quarantine", "inbox", "positions", "slots", "counters", "figures", "clock", "erased"),
    ),
    "fold": ("states", "trail", "keys"),
    "ingest": ("inbox", "quarantine", "counters"),
    "release": ("quarantine", "inbox", "counters"),
    "claim": ("mark",),
    "settle": ("mark", "inbox"),
    "redrive": ("mark",),
    "drop": ("mark", "inbox"),
    "meta": ("save",),
    "version": ("save",),
    "import": ("codes",),
    "forget": KINDS,
}

WITH_FOLDS: tuple[str, ...] = tuple(
    f"{verb}.{name}" for verb, groups in _GROUPS.items() for name in (*_EDGES[:2], *groups, *_EDGES[2:])
)
"""Names given to ``fault``. A group's point lies before its first statement, so the next one lies after its last."""

FAULT_POINTS: tuple[str, ...] = tuple(it for it in WITH_FOLDS if not it.startswith("fold."))
"""Those of a store in which everything is at its place always."""
