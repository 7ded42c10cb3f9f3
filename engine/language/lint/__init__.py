"""Checks beyond shape, one module a theme: what is valid, and yet most likely not what was meant.

A new check is a function, a page and one line in its module's ``CHECKS``; a new theme is one module and one line here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from engine.language.diagnostics import Page
from engine.language.lint import conditions, house, links, offers, paths, sending, texts, values
from engine.language.lint.registry import Check
from engine.language.lint.world import Book, World

__all__ = ["CHECKS", "LINT_PAGES", "Book", "Check", "World", "look"]

_THEMES: Final = (conditions, paths, values, texts, links, offers, sending, house)

LINT_PAGES: Final[Mapping[str, Page]] = {code: page for theme in _THEMES for code, page in theme.PAGES.items()}
CHECKS: Final[tuple[Check, ...]] = tuple(check for theme in _THEMES for check in theme.CHECKS)


def look(world: World, *, whole: bool) -> None:
    """Run all checks.

    Parameters
    ----------
    whole: the program has no error so far, so what is not there can be told from what could not be read.
    """
    texts.read_texts(world)
    for check in CHECKS:
        if whole or not check.whole:
            check.look(world)
        else:
            world.problems.unasked(check.codes)
