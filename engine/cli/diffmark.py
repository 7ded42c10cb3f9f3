"""A comparison as a comment of a pull request: a headline, then tables, what is long folded away.

Rule 1: it fits. GitHub takes 65,536 characters; longer tables lose their last rows, and say so.
Rule 2: it begins with a mark that no reader sees, by which a workflow finds its own earlier comment.
Rule 3: what comes from events or programs is quoted: it forms no table, no link, and calls nobody.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from engine.cli.diff import verdict_of
from engine.cli.difftables import Table, sample_lines, tables

MOST = 65_000
"""Characters of a comment, with room for what a workflow may add."""

_OPEN = ("By playbook", "Cost")  # tables that are not folded away
_ROWS = (200, 100, 50, 25, 12, 6, 3, 1)  # rows of each table; fewer until it fits
_CELL = 200  # characters of a cell
_QUOTED = str.maketrans(
    {
        **{sign: f"\\{sign}" for sign in "\\|*_`[]~"},
        "<": "&lt;", ">": "&gt;", "&": "&amp;",
        **{sign: f"{sign}\u200b" for sign in "@#"},
    }
)
"""Signs that would format, link or call somebody."""


def markdown(result: dict[str, Any]) -> str:
    """The comment."""
    for most in _ROWS:
        made = "\n".join(_lines(result, most))
        if len(made) <= MOST:
            return made
    return made[:MOST]


def _lines(result: dict[str, Any], most: int) -> Iterator[str]:
    old, new, effects, users = result["old"], result["new"], result["effects"], result["users"]
    yield f"<!-- drumbeat diff: {_plain(new['program']).replace('--', '- -')} -->"
    yield f"### drumbeat diff: {_words(verdict_of(result))}"
    yield ""
    clock = new["clock"]
    yield (
        f"{_code(_side(old))} → {_code(_side(new))}, over {new['events']['accepted']:,} events"
        f" ({clock['from'] or '-'} … {clock['until'] or '-'})."
        + (f" {new['events']['quarantined']:,} records were no events." if new["events"]["quarantined"] else "")
    )
    if not result["different"]:
        return
    yield ""
    yield (
        f"**{effects['gained']:,}** effects gained, **{effects['lost']:,}** lost, **{effects['moved']:,}** moved,"
        f" **{effects['changed']:,}** changed; {effects['unchanged']:,} unchanged."
    )
    if users["first_time"] or users["no_longer"]:
        yield (
            f"**{users['first_time']:,}** people who got nothing get something;"
            f" **{users['no_longer']:,}** who got something get nothing."
        )
    for found in tables(result):
        yield ""
        yield from _table(found, most, folded=found.title not in _OPEN)
    rows = [list(line) for line in sample_lines(result)]
    if rows:
        yield ""
        yield from _table(Table("For example", ["who", "what", "how"], rows), most, folded=True)


def _side(side: dict[str, Any]) -> str:
    name: str = side["name"]
    return name + (f" ({side['revision'][:12]})" if side["revision"] else "")


def _table(found: Table, most: int, *, folded: bool) -> Iterator[str]:
    left, right = (1, len(found.head) - 1) if found.title != "For example" else (3, 0)
    if folded:
        yield f"<details><summary>{_words(found.title)} ({len(found.rows):,})</summary>"
    else:
        yield f"**{_words(found.title)}**"
    yield ""
    yield "| " + " | ".join(map(_words, found.head)) + " |"
    yield "|" + "---|" * left + "---:|" * right
    for row in found.rows[:most]:
        yield "| " + " | ".join([_code(row[0]), *map(_words, row[1:])]) + " |"
    if len(found.rows) > most:
        yield ""
        yield f"… and {len(found.rows) - most:,} more rows."
    if folded:
        yield ""
        yield "</details>"


def _plain(text: str) -> str:
    """One line, without what a terminal or a browser would act on."""
    line = "".join(sign if sign.isprintable() else " " for sign in text)
    return line if len(line) <= _CELL else line[: _CELL - 1] + "…"


def _code(text: str) -> str:
    """A name, quoted."""
    return "`" + (_plain(text).replace("`", "'").replace("|", "\\|") or " ") + "`"


def _words(text: str) -> str:
    """Words of ours with values of others in them."""
    return _plain(text).translate(_QUOTED).replace("://", ":\u200b//")
