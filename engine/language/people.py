"""Compiles the surveys of the catalog."""

from __future__ import annotations

from typing import Any

from engine.core.model import DAY
from engine.core.people import NPS_MOST, Question, SurveyInfo
from engine.core.plan import Span
from engine.language.nodes import MapNode, Node, SeqNode
from engine.language.workshop import Workshop

_OPEN = Span(text="14d", elapsed=14 * DAY)
_SCALE = 5


class PeopleMaker:
    """Makes surveys of checked entries."""

    def __init__(self, shop: Workshop) -> None:
        self.shop = shop
        self.surveys: dict[str, SurveyInfo] = {}

    def survey(self, name: str, fields: dict[str, Any], node: Node) -> None:
        """One survey; ids of questions are unique, and each has what its kind needs."""
        questions: list[Question] = []
        for place, row in enumerate(fields["questions"]):
            where = _question(node, place)
            if any(it.id == row["id"] for it in questions):
                self.shop.problems.error(where, "duplicate-name", f"two questions of '{name}' are called '{row['id']}'")
            self._fits(row, where)
            most = NPS_MOST if row["kind"] == "nps" else row.get("max", _SCALE)
            questions.append(
                Question(
                    id=row["id"], text=row["text"], kind=row["kind"], choices=tuple(row.get("choices", ())), most=most
                )
            )
        self.surveys[name] = SurveyInfo(
            name=name, title=fields.get("title", name), questions=tuple(questions), open=fields.get("open", _OPEN),
            rest=fields.get("rest"), purpose=fields.get("purpose", "service"), url=fields.get("url"),
        )  # fmt: skip

    def _fits(self, row: dict[str, Any], where: Node) -> None:
        kind, problems = row["kind"], self.shop.problems
        if kind == "choice" and len(set(row.get("choices", ()))) < 2:
            problems.error(where, "missing-key", "a question of kind choice needs 'choices'", hint="choices: [a, b]")
        if kind != "choice" and "choices" in row:
            problems.error(where, "conflict", f"a question of kind {kind} has no 'choices'", hint="kind: choice")
        if kind != "scale" and "max" in row:
            problems.error(where, "conflict", f"a question of kind {kind} has no 'max'", hint="kind: scale")


def _question(node: Node, place: int) -> Node:
    rows = node.get("questions") if isinstance(node, MapNode) else None
    return rows.items[place] if isinstance(rows, SeqNode) else node
