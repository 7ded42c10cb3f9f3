"""Expressions compiled once: playbooks say the same things (``not user.blocked``) again and again.

What an expression means hangs on its text and on what it may name. Two texts that are alike share their compiled form
when neither names anything that differs between the places they stand at.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any, TypeVar

from engine.language.expressions.scope import Scope

_PLACED = re.compile(r"\b(?:event|entry|steps|trigger|vars)\b")
"""Names that mean something else at every place; a word in quotes may be a ``where=`` on the event."""

Found = TypeVar("Found")


class Remembered:
    """Compiled expressions of one program, by text and scope."""

    def __init__(self) -> None:
        self._known: dict[Hashable, Any] = {}

    def forget(self) -> None:
        """The names of the catalog changed, so what was compiled may mean something else now."""
        self._known.clear()

    def key(self, sort: str, text: str, scope: Scope, time_free: bool = False) -> Hashable:
        """What two expressions must share to be one.

        Parameters
        ----------
        sort: condition, expression or value.
        """
        if scope.where:
            return (sort, text, time_free, scope.subject, "where", scope.event_types)
        if _PLACED.search(text) is None:
            # what is misspelt may be like a name that is known at one place only: errors are not remembered
            return (sort, text, time_free, scope.subject)
        steps = None if scope.steps is None or "steps" not in text else tuple(scope.steps.items())
        place = (scope.event_types, scope.entry_types, scope.trigger, scope.variables, steps)
        return (sort, text, time_free, scope.subject, place)

    def get(self, key: Hashable) -> Any:
        """What was compiled for a key, or None."""
        return self._known.get(key)

    def put(self, key: Hashable, found: Found, *, sound: bool) -> Found:
        """Keep what was compiled, when nothing was wrong with it."""
        if sound:
            self._known[key] = found
        return found

