"""What a run did and what it did not, as text: the playbooks that fired, and why the others never did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from engine.cli.tables import cut, table, width, wrapped
from engine.insight.unfired import REASONS, Finding, grouped

CELLS = 112
"""How wide the report is."""

MOST = 60
"""Playbooks a reason lists; more are counted, and named by ``--format json``."""

_TITLE = 28
_IN_LINE = ("no_event", "by_hand", "paused")


def fired(playbooks: Mapping[str, Mapping[str, int]], titles: Mapping[str, str]) -> str:
    """A table of the playbooks somebody entered or that did something."""
    rows = [
        [name, f"{it['entered']:,}", f"{it['held_out']:,}", f"{it['effects']:,}", f"{it['goals']:,}", titles[name]]
        for name, it in playbooks.items()
        if any(it.values())
    ]
    rows = [[*row[:-1], cut(row[-1], _TITLE)] for row in rows]
    head = ["playbook", "entered", "held out", "effects", "goals", "title"]
    return table(head, rows, left={len(head) - 1}) if rows else "no playbook fired"


def kept_back(found: Mapping[str, Counter[str]]) -> str:
    """Which effects did not happen, by playbook; "" when all did."""
    rows = []
    for name, reasons in sorted(found.items(), key=lambda it: (-it[1].total(), it[0])):
        parts = ", ".join(f"{reason} {number:,}" for reason, number in reasons.most_common(3))
        rows.append([name, f"{reasons.total():,}", parts])
    return "\n".join(["kept back", table(["playbook", "effects", "why"], _most(rows), left={2})]) if rows else ""


def _most(rows: list[list[str]]) -> list[list[str]]:
    return rows if len(rows) <= MOST else [*rows[:MOST], [f"... {len(rows) - MOST} more", "", ""]]


def never(findings: list[Finding], of: int) -> str:
    """Why playbooks never fired, by reason; "" when all did."""
    if not findings:
        return ""
    lines = [f"never fired  {len(findings)} of {of} playbooks"]
    for reason, rows in grouped(findings).items():
        lines += ["", f"  {REASONS[reason]} ({len(rows)})"]
        lines += _by_event(rows) if reason in _IN_LINE else _listed(rows)
    return "\n".join(lines)


def _listed(rows: list[Finding]) -> Iterator[str]:
    """A line each: playbook, how often it was looked at, why."""
    shown = sorted(rows, key=lambda it: (-it.looked_at, it.playbook))[:MOST]
    names = max(width(it.playbook) for it in shown)
    counts = max(len(f"{it.looked_at:,}") for it in shown)
    looked = any(it.looked_at for it in shown)
    for it in shown:
        head = f"    {it.playbook:<{names}}  " + (f"{it.looked_at:>{counts},}  " if looked else "")
        yield head + cut(it.text, CELLS - width(head))
    if len(rows) > MOST:
        yield f"    ... {len(rows) - MOST} more (--format json names them)"


def _by_event(rows: list[Finding]) -> Iterator[str]:
    """Playbooks that lack the same thing in one line."""
    by: dict[str, list[str]] = {}
    for it in rows:
        by.setdefault(", ".join(it.about) or it.text, []).append(it.playbook)
    names = min(44, max(map(width, by)))
    for number, (what, playbooks) in enumerate(sorted(by.items())):
        if number >= MOST:
            yield f"    ... {len(by) - MOST} more (--format json names them)"
            return
        head = cut(what, names)
        for line in wrapped(playbooks, CELLS - names - 6):
            yield f"    {head}{' ' * (names - width(head))}  {line}"
            head = ""


def as_json(findings: list[Finding], found: Mapping[str, Counter[str]]) -> dict[str, Any]:
    """The same for ``--format json``."""
    return {
        "kept_back": {name: dict(reasons.most_common()) for name, reasons in sorted(found.items())},
        "never_fired": [it.row() for it in findings],
    }
