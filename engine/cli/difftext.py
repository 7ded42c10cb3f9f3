"""A comparison on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from engine.cli.diff import verdict_of
from engine.cli.difftables import Table, printable, sample_lines, tables
from engine.cli.tables import pad, table, width

_MOST_ROWS = {"By day": 10}  #: of tables that may be long
_MOST = 40


def text(result: dict[str, Any]) -> str:
    """All of it, aligned."""
    return "\n".join(_lines(result))


def _lines(result: dict[str, Any]) -> Iterator[str]:
    old, new, effects, users = result["old"], result["new"], result["effects"], result["users"]
    clock = new["clock"]
    yield f"before     {_side(old)}"
    yield f"after      {_side(new)}"
    yield f"feed       {new['events']['accepted']:,} events, {clock['from'] or '-'} .. {clock['until'] or '-'}"
    if new["events"]["quarantined"]:
        yield f"           {new['events']['quarantined']:,} records are no events that are let in"
    if old["events"]["accepted"] != new["events"]["accepted"]:
        yield f"           before: {old['events']['accepted']:,} events were accepted"
    yield (
        f"effects    {effects['old']:,} before, {effects['new']:,} after: {effects['gained']:,} gained,"
        f" {effects['lost']:,} lost, {effects['moved']:,} moved, {effects['changed']:,} changed"
    )
    yield f"people     {verdict_of(result)}"
    if users["first_time"] or users["no_longer"]:
        yield (
            f"           {users['first_time']:,} who got nothing get something,"
            f" {users['no_longer']:,} who got something get nothing"
        )
    for found in tables(result):
        yield ""
        yield from _table(found)
    yield from _samples(result)


def _side(side: dict[str, Any]) -> str:
    name: str = side["name"]
    return name + (f" ({side['revision'][:12]})" if side["revision"] else "")


def _table(found: Table) -> Iterator[str]:
    rows = found.rows[: _MOST_ROWS.get(found.title, _MOST)]
    yield found.title
    yield table(found.head, rows)
    if len(found.rows) > len(rows):
        yield f"... and {len(found.rows) - len(rows):,} more (--format json has all)"


def _samples(result: dict[str, Any]) -> Iterator[str]:
    lines = list(sample_lines(result))
    if lines:
        yield ""
        yield "For example (--limit, --changes FILE)"
        cells = [max(width(line[column]) for line in lines) for column in (0, 1)]
        for who, what, how in lines:
            yield f"{pad(who, cells[0])}  {pad(what, cells[1])}  {how}".rstrip()
    for way, words in (("first_time", "who got nothing before"), ("no_longer", "who get nothing any more")):
        if result["samples"][way]:
            yield f"{words}: {printable(', '.join(result['samples'][way]))}"
