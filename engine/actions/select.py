"""``select``: choose a set of users, and keep it steady."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from engine.core.census import KIND, Left, Question, exact, read
from engine.core.choosing import Band, Candidate, Choice, Figure, choose
from engine.core.journeys import Run
from engine.core.kinds import Action, Build, Pause
from engine.core.model import Answer, Event
from engine.core.moment import Moment, Value
from engine.core.plan import Node
from engine.core.shapes import FREE_NAME, Expr, Int, Many, Map, Number, Text, optional, required
from engine.core.subjects import GROUP, PROGRAM_KIND, kind_of, name_of

_MARGIN = 10
_NUMBERS = ("number", "any")


class SelectUsers(Action):
    """Choose the best users by a score, as many as the band and the ceiling allow, and publish them as a set.

    A candidate has a score above 0. The best ``size[1]`` of them are chosen; with ``cost`` and ``ceiling`` as many of
    these, in order, as the ceiling reaches. Who was in the last set stays unless somebody new is better by ``margin``
    percent (10). Are they fewer than ``size[0]``, the last set stays as it is, and the row says so: ``denied`` with
    ``too_few`` or ``ceiling``. In a group only its members are looked at.

    Conditions ask for the set as a segment of the catalog, ``segments: {core: {select: core}}``. Those who come in get
    ``selection.entered``, those who go ``selection.left``, both with ``event.select``. ``steps.<id>`` has ``.published
    .reason .size .entered .left .kept .stability`` (numbers; the last is the share of the last set that stays).

    Example:
        select: {name: core, score: 'count("order.paid", within="90d")', size: [100, 300]}
    """

    word = "select"
    about = (PROGRAM_KIND, GROUP)
    results = frozenset({"published", "reason", "size", "entered", "left", "kept", "stability"})
    shape = Map(
        {
            "name": required(Text(pattern=FREE_NAME, what="name of a set"), "how segments call the set"),
            "score": required(Expr("users"), "who is better: a number of the user"),
            "size": required(Many(Int(low=1), only_list=True, at_least=2), "[fewest, most] who make sense"),
            "cost": optional(Expr("users"), "what having the user in the set costs"),
            "ceiling": optional(Number(low=0), "what all of them may cost together"),
            "margin": optional(Number(low=0), "percent by which somebody new must be better (10)"),
        }
    )

    def __init__(self, name: str, band: Band, score: Value, cost: Value | None) -> None:
        self.name = name
        self.band = band
        self.score = score
        self.cost = cost

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> SelectUsers:
        """The band has two ends in order, and a ceiling needs costs."""
        size = fields["size"]
        if len(size) != 2 or size[0] > size[1]:
            message = f"'size' needs [fewest, most], got {size}"
            build.problem("size", "out-of-range", message, "such as size: [100, 300]")
            size = [1, 1]
        if ("cost" in fields) != ("ceiling" in fields):
            there, lacking = ("cost", "ceiling") if "cost" in fields else ("ceiling", "cost")
            build.problem(there, "missing-key", f"'{there}' says nothing without '{lacking}'", f"write '{lacking}' too")
        for name in ("score", "cost"):
            if name in fields and fields[name].kind not in _NUMBERS:
                build.problem(name, "type-mismatch", f"'{name}' needs a number, and this is {fields[name].kind}")
        build.chooses(fields["name"])
        band = Band(low=size[0], high=size[1], margin=fields.get("margin", _MARGIN), ceiling=fields.get("ceiling"))
        return cls(fields["name"], band, fields["score"], fields.get("cost"))

    def gist(self) -> str:
        return f"{self.name}: {self.band.low} to {self.band.high} by {self.score.text}"

    def tells(self) -> list[tuple[str, str | None]]:
        return [("selection.entered", self.name), ("selection.left", self.name)]

    def run(self, run: Run) -> Node | Pause | None:
        run.result(None)
        if run.held:
            run.effect("select", {"name": self.name})
            return run.node.next
        subject = run.state.id
        group = name_of(subject) if kind_of(subject) == GROUP else None
        return run.ask(KIND, [self.name], question=Question(gather=self._gather, group=group))

    def resume(self, run: Run, cause: Event | Answer | None) -> Node | Pause | None:
        if not isinstance(cause, Answer) or not cause.granted:
            return run.node.next
        found = cause.data
        entered, left = found["entered"], found["left"]
        row = {"name": self.name, **{name: it for name, it in found.items() if name not in ("published", "reason")}}
        if found["published"]:
            run.effect("select", row)
        else:
            run.effect("select", row, status="denied", reason=found["reason"])
        run.result(
            {
                **{name: found[name] for name in ("published", "reason", "size", "kept", "stability")},
                "entered": len(entered), "left": len(left),
            }
        )  # fmt: skip
        for user in left:
            run.send("selection.left", user, {"select": self.name}, f"left:{user}")
        for user in entered:
            run.send("selection.entered", user, {"select": self.name}, f"entered:{user}")
        return run.node.next

    def _gather(self, people: Iterator[Moment], left: Left) -> dict[str, Any]:
        found = choose(self._candidates(people, left), self.band)
        return _told(found, self.cost is not None)

    def _candidates(self, people: Iterator[Moment], left: Left) -> Iterator[Candidate]:
        for m in people:
            inside = self.name in m.state.selections
            score = read(self.score, m, left)
            cost: Figure | None = 0
            if self.cost is not None and score is not None and score > 0:
                cost = read(self.cost, m, left)
            if inside or score is not None:
                yield Candidate(m.state.id, score, inside, cost)


def _told(found: Choice, priced: bool) -> dict[str, Any]:
    """The choice as it is kept and shown."""
    stability, jaccard = found.stability()
    return {
        "published": found.published,
        "reason": found.reason,
        "size": len(found.members),
        "candidates": found.candidates,
        **({"cost": exact(found.cost)} if priced else {}),
        "entered": list(found.entered),
        "left": list(found.left),
        "kept": found.kept,
        "stability": stability,
        "jaccard": jaccard,
    }
