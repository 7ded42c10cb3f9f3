"""``split``: an A/B test."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from engine.core.journeys import Run
from engine.core.kinds import Action, Build, Pause
from engine.core.plan import Block, Node
from engine.core.shapes import FREE_NAME, Flag, Many, Map, Number, Steps, Text, optional, required


@dataclass(frozen=True)
class Arm:
    """One arm: buckets below ``upto`` (and not in an arm before) take it."""

    name: str
    upto: int
    block: Block
    holdout: bool


class Split(Action):
    """Send each subject down one arm, for good: the arm is a hash of salt and subject. Weights sum to 100.

    An arm with ``holdout: true`` has no steps; its subjects walk on without external effects, so groups compare.

    Example:
        split: {arms: [{name: a, weight: 50, do: [{points: 10}]}, {name: b, weight: 50, do: [{points: 20}]}]}
    """

    word = "split"
    results = frozenset({"arm"})
    shape = Map(
        {
            "salt": optional(Text(), "names the draw; playbook id and step id by default"),
            "arms": required(
                Many(
                    Map(
                        {
                            "name": required(Text(pattern=FREE_NAME, what="arm name"), "name of the arm"),
                            "weight": required(Number(low=0, high=100), "per cent of the subjects"),
                            "do": optional(Steps(), "steps of the arm"),
                            "holdout": optional(Flag(only=True), "control group: no external effects from here on"),
                        }
                    ),
                    only_list=True,
                )
            ),
        }
    )

    def __init__(self, salt: str, arms: list[Arm]) -> None:
        self.salt = salt
        self.arms = arms

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> Split:
        """Weights become bucket borders (hundredths of a percent)."""
        rows = fields["arms"]
        total = sum(row["weight"] for row in rows)
        if total != 100:
            build.problem("arms", "weights", f"the weights of 'split' sum to {total}, they must sum to 100")
        names = [row["name"] for row in rows]
        arms, upto = [], 0
        for place, row in enumerate(rows):
            here, name, hundredths = f"arms[{place}]", row["name"], row["weight"] * 100
            if name in names[:place]:
                build.problem(f"{here}.name", "duplicate-name", f"two arms are named '{name}'")
            if "do" in row and "holdout" in row:
                build.problem(f"{here}.holdout", "conflict", f"arm '{name}' has both 'do' and 'holdout': keep one")
            if "do" not in row and "holdout" not in row:
                build.problem(here, "missing-key", f"arm '{name}' needs 'do' or 'holdout: true'")
            if hundredths != int(hundredths):
                message = f"a weight has at most two decimals, got {row['weight']}"
                build.problem(f"{here}.weight", "out-of-range", message)
            upto += int(hundredths)
            arms.append(Arm(row["name"], upto, row.get("do", Block()), "holdout" in row))
        return cls(fields.get("salt") or f"{build.playbook}/{build.step}", arms)

    def ways(self) -> list[tuple[str, Block | Pause | None]]:
        found: list[tuple[str, Block | Pause | None]] = []
        below = 0
        for arm in self.arms:
            share = f"{Decimal(arm.upto - below) / 100:f} %"
            found.append((f"{arm.name}, {share}" + (", held out" if arm.holdout else ""), arm.block))
            below = arm.upto
        return found

    def blocks(self) -> Iterable[Block]:
        return [arm.block for arm in self.arms]

    def run(self, run: Run) -> Node | Pause | None:
        drawn = run.plan.env.draw(f"{run.playbook.id}/{run.node.id}", self.salt, run.state.id)
        arm = next((arm for arm in self.arms if drawn < arm.upto), self.arms[-1])
        run.result({"arm": arm.name})
        run.milestone("arm", f"{run.node.id}={arm.name}")
        if arm.holdout:
            if run.journey.held is None:
                run.hold_back("arm")
            return run.node.next
        return arm.block.first or run.node.next
