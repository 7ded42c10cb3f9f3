"""``rank``: who leads by a number, with ties, in a list that can be posted and rewarded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from engine.core.census import KIND, Left, Question, exact, read
from engine.core.choosing import Figure, leaders
from engine.core.journeys import Run
from engine.core.kinds import Action, Build, Pause
from engine.core.model import Answer, Event
from engine.core.moment import Condition, Moment, Value
from engine.core.plan import Node
from engine.core.shapes import FREE_NAME, Cond, Expr, Int, Map, Text, optional, required
from engine.core.subjects import GROUP, PROGRAM_KIND, kind_of, name_of

PLACED = "rank.placed"


class RankUsers(Action):
    """Rank users by a number: the leaderboard of a week, of a group, of a points account.

    Ranked is who has a number above 0 and for whom ``where`` holds; so people stay out of it by a field of theirs. Who
    has the same number has the same place, and the next place is as many further on (1, 2, 2, 4). The list holds the
    places up to ``top``. A tie at its end that would make it longer than twice ``top`` is left out as a whole, for
    nothing else could choose among them. In a group only its members are ranked.

    ``steps.<id>.rows`` is the list for a ``post`` or a ``message``: each row has ``.place .user .score`` and, with
    ``show``, ``.name``. There are also ``.size`` (rows) and ``.ranked`` (people who have a place, listed or not). Each
    of the list gets ``rank.placed`` with ``event.rank .place .score``, so a playbook with ``if: event.place <= 3``
    rewards the first three.

    Example:
        rank: {name: week, by: 'count("post.created", within="7d")', top: 10, where: not user.get('unranked')}
    """

    word = "rank"
    about = (PROGRAM_KIND, GROUP)
    results = frozenset({"rows", "size", "ranked"})
    shape = Map(
        {
            "name": required(Text(pattern=FREE_NAME, what="name of a ranking"), "what rank.placed calls it"),
            "by": required(Expr("users"), "who leads: a number of the user"),
            "top": required(Int(low=1, high=1_000), "the last place that is listed"),
            "where": optional(Cond("users"), "only users for whom this holds"),
            "show": optional(Expr("users"), "under what a user stands in the list, such as user.name"),
        }
    )

    def __init__(self, fields: dict[str, Any]) -> None:
        self.name: str = fields["name"]
        self.by: Value = fields["by"]
        self.top: int = fields["top"]
        self.where: Condition | None = fields.get("where")
        self.show: Value | None = fields.get("show")

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> RankUsers:
        """People are told apart by a number."""
        if fields["by"].kind not in ("number", "any"):
            build.problem("by", "type-mismatch", f"'by' needs a number, and this is {fields['by'].kind}")
        return cls(fields)

    def gist(self) -> str:
        return f"{self.name}: the first {self.top} by {self.by.text}"

    def tells(self) -> list[tuple[str, str | None]]:
        return [(PLACED, self.name)]

    def run(self, run: Run) -> Node | Pause | None:
        run.result(None)
        if run.held:
            run.effect("rank", {"name": self.name})
            return run.node.next
        subject = run.state.id
        group = name_of(subject) if kind_of(subject) == GROUP else None
        return run.ask(KIND, [self.name], question=Question(gather=self._gather, where=self.where, group=group))

    def resume(self, run: Run, cause: Event | Answer | None) -> Node | Pause | None:
        if not isinstance(cause, Answer) or not cause.granted:
            return run.node.next
        rows, ranked = cause.data["rows"], cause.data["ranked"]
        listed = [{name: row[name] for name in ("place", "user", "score")} for row in rows]
        odd = {name: it for name, it in cause.data.items() if name.startswith("unjudged")}
        run.effect("rank", {"name": self.name, "ranked": ranked, "rows": listed, **odd})
        run.result({"rows": rows, "size": len(rows), "ranked": ranked})
        for row in listed:
            data = {"rank": self.name, "place": row["place"], "score": row["score"]}
            run.send(PLACED, row["user"], data, f"placed:{row['user']}")
        return run.node.next

    def _gather(self, people: Iterator[Moment], left: Left) -> dict[str, Any]:
        def scored() -> Iterator[tuple[str, Figure, Moment]]:
            for m in people:
                score = read(self.by, m, left)
                if score is not None and score > 0:
                    yield m.state.id, score, m

        found, ranked = leaders(self.top, scored())
        rows = [
            {"place": place, "user": user, "score": exact(score), **self._name(m, left)}
            for place, user, score, m in found
        ]
        return {"rows": rows, "ranked": ranked}

    def _name(self, m: Moment, left: Left) -> dict[str, Any]:
        if self.show is None:
            return {}
        try:
            found = self.show.get(m)
        except Exception:  # he is on the list, without a name
            left.note(self.show.text)
            return {"name": None}
        return {"name": None if found is None else str(found)}
