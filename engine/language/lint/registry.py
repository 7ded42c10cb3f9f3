"""What a check is. One module holds the checks of one theme, with the page of every code it reports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engine.language.lint.world import World


@dataclass(frozen=True)
class Check:
    """One check beyond shape.

    Parameters
    ----------
    codes: what it may report.
    look: looks at a program and reports.
    whole: it speaks of what is *not* there, so it waits until every file is free of errors.
    """

    codes: tuple[str, ...]
    look: Callable[[World], None]
    whole: bool = False
