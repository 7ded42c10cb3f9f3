"""What playbooks did: who entered and how far they came, goals of treated against holdout, arms of splits.

Rule 1: the entries of a period are followed as far as the data goes, so a goal reached later counts to its entry.
Rule 2: too few is said, with how many are missing; nothing is concluded from it.
"""

from __future__ import annotations

from typing import Any

from engine.core.plan import Exit, Node, Playbook
from engine.insight import statistics
from engine.insight.statistics import ENOUGH, Interval, Moments
from engine.insight.tables import Source, Span, rounded


def playbooks(source: Source, span: Span) -> list[dict[str, Any]]:
    """Figures of every playbook with entries in the period, the most entered first, then those of the plan without."""
    ask, first, last = source.tables.rows, span.first, span.last
    sides: dict[str, dict[str, tuple[Any, ...]]] = {}
    for playbook, side, *figures in ask("sides", first, last):
        sides.setdefault(playbook, {})[side] = tuple(figures)
    steps: dict[str, dict[str, tuple[str, int, int]]] = {}
    for playbook, step, kind, reached, refused in ask("steps", first, last):
        steps.setdefault(playbook, {})[step] = (kind, reached, refused)
    exits: dict[str, list[dict[str, Any]]] = {}
    for playbook, reason, count in ask("exits", first, last):
        exits.setdefault(playbook, []).append({"reason": reason, "journeys": count})
    arms: dict[str, dict[str, list[tuple[Any, ...]]]] = {}
    for playbook, name, *figures in ask("arms", first, last):
        step, _, arm = name.partition("=")
        arms.setdefault(playbook, {}).setdefault(step, []).append((arm, *figures))
    found = []
    for name in sorted({*source.plan.by_id, *sides}):
        book = source.plan.by_id.get(name)
        row = _playbook(name, book, sides.get(name, {}))
        row["funnel"] = _funnel(book, row, steps.get(name, {}))
        row["exits"] = [{**it, **exit_rule(book, it["reason"])} for it in exits.get(name, [])]
        row["splits"] = [_split(book, step, rows) for step, rows in sorted(arms.get(name, {}).items())]
        found.append(row)
    return sorted(found, key=lambda it: (-it["entered"], it["playbook"]))


def _playbook(name: str, book: Playbook | None, sides: dict[str, tuple[Any, ...]]) -> dict[str, Any]:
    treated, holdout = (_side(sides.get(side)) for side in ("treated", "holdout"))
    shadow = sides.get("shadow")
    has_goal = book is None or book.goal is not None
    expects = bool(holdout["entries"]) or (book is not None and book.holdout is not None)
    row: dict[str, Any] = {
        "playbook": name,
        "title": book.title if book is not None else None,
        "status": book.status if book is not None else "removed",
        "entered": treated["entries"] + holdout["entries"],
        "users": treated["users"] + holdout["users"],
        "shadow": shadow[0] if shadow else 0,
        "goal": sorted(book.goal.events) if book is not None and book.goal is not None else None,
        "treated": treated if has_goal else None,
        "holdout": holdout if has_goal and expects else None,
        "difference": None,
        "worth_difference": None,
        "missing": None,
    }
    if has_goal and expects:
        row |= _compared(treated, holdout)
    return row


def _side(figures: tuple[Any, ...] | None) -> dict[str, Any]:
    """One side of the comparison. ``worth``: what its goals were worth together, and for each entry."""
    entries, users, goals, total, squares, worths = figures or (0, 0, 0, None, None, 0)
    side: dict[str, Any] = {"entries": entries, "users": users, "goals": goals, "share": None, "worth": None}
    if entries >= ENOUGH:
        side["share"] = percent(statistics.share(goals, entries))
    if worths:
        side["worth"] = {"sum": rounded(total, 2), "goals": worths, "per_entry": rounded(total / entries, 2),
                         "squares": squares}  # fmt: skip
    return side


def _compared(treated: dict[str, Any], holdout: dict[str, Any]) -> dict[str, Any]:
    short = {name: ENOUGH - side["entries"] for name, side in (("treated", treated), ("holdout", holdout))}
    short = {name: number for name, number in short.items() if number > 0}
    if short:
        return {"missing": {"until": "shown", **short}}
    of, other = treated["entries"], holdout["entries"]
    gap = statistics.difference(treated["goals"], of, holdout["goals"], other)
    found: dict[str, Any] = {"difference": {**percent(gap), "clear": gap.clear}}
    if not gap.clear:
        wanted = statistics.needed(treated["goals"] / of, holdout["goals"] / other, of / other)
        found["missing"] = {"until": "clear", "holdout": None if wanted is None else max(1, wanted - other)}
    if treated["worth"] or holdout["worth"]:
        worth = statistics.means(_moments(treated), _moments(holdout))
        found["worth_difference"] = {
            "value": rounded(worth.value, 2), "low": rounded(worth.low, 2), "high": rounded(worth.high, 2),
            "clear": worth.clear,
        }  # fmt: skip
    return found


def _moments(side: dict[str, Any]) -> Moments:
    worth = side["worth"]
    return Moments(side["entries"], 0.0, 0.0) if worth is None else Moments(
        side["entries"], worth["sum"], worth["squares"]
    )  # fmt: skip


def percent(it: Interval) -> dict[str, float]:
    """An interval of shares in per cent."""
    return {name: rounded(100 * value, 1) for name, value in (("value", it.value), ("low", it.low), ("high", it.high))}


# ---------------------------------------------------------------------- how far they came

_SILENT = frozenset({"set", "tag"})
"""Kinds of effects nobody notices: they are no stage of a funnel."""


def _funnel(book: Playbook | None, row: dict[str, Any], steps: dict[str, tuple[str, int, int]]) -> list[dict[str, Any]]:
    """Entered, what each step gave, goal reached; of those treated. Steps stand in the order of the playbook."""
    if book is None or not row["entered"]:
        return []
    treated = row["treated"]["entries"] if row["treated"] else row["entered"]
    found = [{"stage": "entered", "step": None, "kind": None, "reached": treated, "refused": 0}]
    for node in book.body.walk():
        kind, reached, refused = steps.get(node.id, ("", 0, 0))
        if kind and kind not in _SILENT:
            found.append(
                {"stage": "step", "step": node.id, "kind": kind, "reached": reached, "refused": refused,
                 "what": _what(node)}
            )  # fmt: skip
    if row["treated"]:
        goals = row["treated"]["goals"]
        found.append({"stage": "goal", "step": None, "kind": None, "reached": goals, "refused": 0})
    return found


def _what(node: Node) -> str | None:
    """What a step is about, for one whose author gave it no name: its template, its pool, else as the graph says it."""
    found = [getattr(node.action, name, None) for name in ("template", "pool", "badge", "name", "reward", "type")]
    gist = node.action.gist().partition(" · ")[0] if node.action is not None else ""
    short = gist if len(gist) <= _LONGEST else gist[: _LONGEST - 1] + "…"
    return next((it for it in found if isinstance(it, str) and it), short or None)


_LONGEST = 32
"""Letters of what a step is about."""


def exit_of(book: Playbook | None, reason: str | None) -> Exit | None:
    """The line ``exit[n]`` of a playbook, as it is now; None: the playbook has none such."""
    number = (reason or "").removeprefix("exit[").removesuffix("]")
    known = book is not None and number.isdigit() and int(number) < len(book.exits)
    return book.exits[int(number)] if book is not None and known else None


def exit_rule(book: Playbook | None, reason: str | None) -> dict[str, str | None]:
    """What the line ``exit[n]`` of a playbook says now: ``by`` event, enters, leaves or if, and ``what`` of it."""
    it = exit_of(book, reason)
    if it is None:
        return {"by": None, "what": None}
    if it.segment is not None:
        return {"by": it.moves, "what": it.segment}
    if it.events:
        return {"by": "event", "what": ", ".join(sorted(it.events))}
    return {"by": "if", "what": None if it.test is None else it.test.text}


# ---------------------------------------------------------------------- arms


def _split(book: Playbook | None, step: str, rows: list[tuple[Any, ...]]) -> dict[str, Any]:
    """Each arm of a split, and against the first one the others, as may be read at any time.

    With several others each is asked to be surer (Bonferroni), so that all of them together are as sure as one.
    """
    node = None if book is None else book.nodes.get(step)
    order = [arm.name for arm in getattr(getattr(node, "action", None), "arms", ())]
    rows = sorted(rows, key=lambda it: (order.index(it[0]) if it[0] in order else len(order), it[0]))
    arms = []
    for name, entries, goals, total, _, worths in rows:
        arms.append(
            {
                "arm": name,
                "entries": entries,
                "goals": goals,
                "share": percent(statistics.share(goals, entries)) if entries >= ENOUGH else None,
                "worth": {"sum": rounded(total, 2), "per_entry": rounded(total / entries, 2)} if worths else None,
                "against": None,
                "missing": max(0, ENOUGH - entries),
            }
        )
    has_goal = book is None or book.goal is not None
    first, rest = rows[0], rows[1:]
    for place, other in enumerate(rest, 1):
        if not has_goal or min(first[1], other[1]) < ENOUGH:
            continue
        sure = 1 - (1 - statistics.SURE) / len(rest)
        gap, p = statistics.anytime(_counted(other), _counted(first), sure)
        if gap.low > -1 or gap.high < 1:  # there is an interval
            shown = {**percent(gap), "clear": gap.clear, "p": rounded(min(1.0, p * len(rest)), 4)}
            arms[place]["against"] = shown
    return {"step": step, "arms": arms, "has_goal": has_goal, "verdict": _verdict(arms, has_goal)}


def _counted(row: tuple[Any, ...]) -> Moments:
    """Goals of an arm as a figure of 0 or 1."""
    return Moments(row[1], float(row[2]), float(row[2]))


def _verdict(arms: list[dict[str, Any]], has_goal: bool) -> str:
    """``clear``: an arm differs from the first; ``open``: none does so far; ``few``; ``no_goal``; ``one`` arm alone."""
    if not has_goal:
        return "no_goal"
    if len(arms) < 2:
        return "one"
    if any(it["missing"] for it in arms):
        return "few"
    return "clear" if any(it["against"] and it["against"]["clear"] for it in arms) else "open"
