"""Compiles a points account of the catalog: its rules, and what cannot be meant."""

from __future__ import annotations

from collections import Counter
from typing import Any

from engine.core.model import DAY
from engine.core.points import Account, EarnRule
from engine.errors import ExpressionError
from engine.language.nodes import MapNode, Node, SeqNode
from engine.language.workshop import Workshop


def account(shop: Workshop, name: str, fields: dict[str, Any], node: Node) -> Account:
    """The account; what is wrong with its rules is reported.

    Parameters
    ----------
    shop: the compiler's bench.
    name, fields, node: as written in the catalog.
    """
    seen: Counter[str] = Counter()
    rules = []
    earn = node.get("earn") if isinstance(node, MapNode) else None
    for place, row in enumerate(fields.get("earn", [])):
        written = earn.items[place] if isinstance(earn, SeqNode) else node
        seen[row["event"]] += 1
        number = seen[row["event"]]
        rules.append(_rule(shop, row, written, row["event"] if number == 1 else f"{row['event']}#{number}"))
    if "remind" in fields and "expires" not in fields:
        message = f"points of '{name}' never lapse, so there is nothing to be reminded of"
        where = node.key("remind") if isinstance(node, MapNode) else node
        shop.problems.error(where or node, "conflict", message, hint="say how long they last: expires: 365d")
    remind = fields.get("remind")
    return Account(
        name=name,
        expires=fields.get("expires"),
        remind=None if remind is None else remind.elapsed,
        daily_cap=fields.get("daily_cap"),
        negative="negative" in fields,
        book=fields.get("book", "points"),
        rules=tuple(rules),
    )


def _rule(shop: Workshop, row: dict[str, Any], node: Node, name: str) -> EarnRule:
    back = row.get("reverse_on", {})
    below = node.get("reverse_on") if isinstance(node, MapNode) else None
    for type_, at in ((row["event"], node), (back.get("event", ""), below)):
        if type_.startswith("points."):
            where = at.get("event") if isinstance(at, MapNode) else None
            hint = "name what people do, such as order.paid"
            shop.problems.error(where or node, "conflict", f"points cannot follow from '{type_}'", hint=hint)
        if at is not None and "match" in back:
            _known_field(shop, back["match"], type_, below)
    for value, at in ((row["points"], node), (back.get("points"), below)):
        if value is not None and value.constant and not _whole(value.fixed()):
            where = at.get("points") if isinstance(at, MapNode) else None
            message = f"points need a whole number above 0, got {value.text!r}"
            shop.problems.error(where or node, "wrong-type", message)
    within = back.get("within")
    return EarnRule(
        name=name,
        event=row["event"],
        points=row["points"],
        test=row.get("if"),
        per_day=row.get("per_day"),
        pending=row.get("pending"),
        undone_by=back.get("event"),
        match=back.get("match"),
        within=90 * DAY if within is None else within.elapsed,
        back=back.get("points"),
    )


def _known_field(shop: Workshop, field: str, type_: str, node: Node | None) -> None:
    """Both events have the field that links them, as far as they are declared."""
    declared = shop.schema.events.get(type_)
    if declared is None or field in declared or node is None:
        return
    where = node.get("match") if isinstance(node, MapNode) else None
    hint = "it has " + (", ".join(sorted(declared)) or "none")
    shop.problems.error(where or node, "unknown-field", f"event '{type_}' has no field '{field}'", hint=hint)


def _whole(value: Any) -> bool:
    from engine.core.points import whole

    try:
        return (whole(value) or 0) > 0
    except ExpressionError:
        return False
