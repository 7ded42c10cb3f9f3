"""Names of template files, and the chain of locales.

Rule 1: a name from data (a locale, a template asked for) is only ever a key of a table, never part of a path.
"""

from __future__ import annotations

import re
from typing import NamedTuple

PART = re.compile(r"[a-z0-9][a-z0-9_-]*", re.ASCII)
LOCALE = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?", re.ASCII)
MAX_PART = 64


class FileName(NamedTuple):
    """What ``<name>.<channel>[.<locale>].j2`` says."""

    name: str
    channel: str
    locale: str | None


def is_part(text: str) -> bool:
    """True for a folder, template or channel name."""
    return len(text) <= MAX_PART and PART.fullmatch(text) is not None


def parse_file_name(text: str) -> FileName | str:
    """The parts of a file name, or a sentence saying what is wrong with it."""
    parts = text.split(".")
    if parts[-1] != "j2" or len(parts) not in (3, 4):
        return "the file is not called <name>.<channel>[.<locale>].j2"
    for what, part in zip(("name", "channel"), parts, strict=False):
        if not is_part(part):
            return f"the {what} {part!r} is not made of small letters, digits, '_' and '-'"
    if len(parts) == 3:
        return FileName(parts[0], parts[1], None)
    if LOCALE.fullmatch(parts[2]) is None:
        return f"{parts[2]!r} is not written like a locale ('en', 'zh-CN')"
    return FileName(parts[0], parts[1], parts[2])


def tidy_locale(text: str) -> str | None:
    """A locale in the spelling of file names (``zh_cn`` is ``zh-CN``), or None when it is none at all."""
    if len(text) > 16:
        return None
    first, *rest = text.replace("_", "-").split("-")
    styled = [first.lower(), *(part.title() if len(part) == 4 else part.upper() for part in rest)]
    tidy = "-".join(styled)
    return tidy if LOCALE.fullmatch(tidy) else None


def locale_chain(locale: str | None, default: str | None) -> list[str | None]:
    """Locales to try in order: exact, its language, the program's, its language, then the file without locale.

    >>> locale_chain("zh-CN", "en-US")
    ['zh-CN', 'zh', 'en-US', 'en', None]
    """
    chain: list[str | None] = []
    for wanted in (locale, default):
        tidy = tidy_locale(wanted) if wanted else None
        while tidy:
            if tidy not in chain:
                chain.append(tidy)
            tidy = tidy.rpartition("-")[0]
    return [*chain, None]
