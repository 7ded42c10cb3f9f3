"""``choose``: the first branch whose condition holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from engine.core.journeys import Run
from engine.core.kinds import Action, Build, Pause
from engine.core.moment import Condition
from engine.core.plan import Block, Node
from engine.core.shapes import Cond, Many, Map, Steps, optional, required
from engine.errors import ExpressionError


class ConditionFailed(ExpressionError):
    """A branch could not be judged; the journey is parked, since neither branch is right."""

    parks = True


class Choose(Action):
    """Take the first branch whose ``when`` holds; ``otherwise`` takes the rest; none at all goes on.

    Example:
        choose: [{when: user.tier == "gold", do: [{points: 100}]}, {otherwise: [{points: 10}]}]
    """

    word = "choose"
    shape = Map(
        {
            "branches": required(
                Many(
                    Map(
                        {
                            "when": optional(Cond("step"), "condition of the branch"),
                            "do": optional(Steps(), "steps of the branch"),
                            "otherwise": optional(Steps(), "steps when no branch before fits; the last one"),
                        }
                    ),
                    only_list=True,
                )
            )
        },
        short="branches",
    )

    def __init__(self, branches: list[tuple[Condition | None, Block]]) -> None:
        self.branches = branches

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> Choose:
        """Each branch is {when, do} or {otherwise}; otherwise stands last."""
        branches: list[tuple[Condition | None, Block]] = []
        rows = fields["branches"]
        for place, row in enumerate(rows):
            if "otherwise" in row:
                if place != len(rows) - 1:
                    build.problem(
                        f"branches[{place}].otherwise", "unreachable", "'otherwise' must be the last branch of 'choose'"
                    )
                if "when" in row or "do" in row:
                    message = "'otherwise' stands alone: it holds the steps itself"
                    build.problem(f"branches[{place}].otherwise", "conflict", message)
                branches.append((None, row["otherwise"]))
            elif "when" not in row or "do" not in row:
                message = "a branch of 'choose' needs 'when' and 'do', or 'otherwise'"
                build.problem(f"branches[{place}]", "missing-key", message)
            else:
                branches.append((row["when"], row["do"]))
        return cls(branches)

    def ways(self) -> list[tuple[str, Block | Pause | None]]:
        found: list[tuple[str, Block | Pause | None]] = [
            ("otherwise" if condition is None else condition.text, block) for condition, block in self.branches
        ]
        return found if any(condition is None for condition, _ in self.branches) else [*found, ("otherwise", None)]

    def blocks(self) -> Iterable[Block]:
        return [block for _, block in self.branches]

    def run(self, run: Run) -> Node | Pause | None:
        for place, (condition, block) in enumerate(self.branches):
            try:
                fits = condition is None or condition.test(run.m)
            except Exception as error:
                raise ConditionFailed(f"choose[{place}].when: {error}") from error
            if fits:
                return block.first or run.node.next
        return run.node.next
