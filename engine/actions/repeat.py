"""``repeat``: the same steps several times."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from engine.core.journeys import Run
from engine.core.kinds import Action, Build, Pause
from engine.core.model import Answer, Event
from engine.core.moment import Condition
from engine.core.plan import Block, Node, Span
from engine.core.shapes import Cond, Duration, Int, Map, Steps, optional, required
from engine.errors import ExpressionError

MOST_ROUNDS = 50
"""What nobody should get more often than this is no campaign."""


class UntilFailed(ExpressionError):
    """``until`` could not be judged; the journey is parked, since neither way is right."""

    parks = True


class Repeat(Action):
    """Do the steps up to ``times`` times, one round every ``every``, counted from the beginning of a round.

    A round that takes longer than ``every`` is followed at once by the next. ``until`` is judged before each round and
    after each one: as soon as it holds, the journey goes on. Behind the last round nobody waits. At the beginning of a
    round the results of the steps inside are none again.

    Example:
        repeat: {times: 3, every: 2d, until: count("order.paid") >= 1, do: [{points: 5}]}
    """

    word = "repeat"
    rounds = True
    shape = Map(
        {
            "times": required(Int(low=1, high=MOST_ROUNDS), "most rounds"),
            "every": required(Duration(calendar=True), "from the beginning of one round to that of the next"),
            "until": optional(Cond("step"), "no further round once this holds"),
            "do": required(Steps(empty=False), "the steps of one round"),
        }
    )

    def __init__(self, times: int, every: Span, until: Condition | None, block: Block) -> None:
        self.times = times
        self.every = every
        self.until = until
        self.block = block
        self.inner = frozenset(node.id for node in block.walk())

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> Repeat:
        """Rounds that all begin at one instant are no repetition."""
        every: Span = fields["every"]
        if every.days == 0:
            build.problem("every", "out-of-range", "'repeat.every' needs at least one day")
        return cls(fields["times"], every, fields.get("until"), fields["do"])

    def gist(self) -> str:
        until = "" if self.until is None else f", until {self.until.text}"
        return f"up to {self.times} times, every {self.every.text}{until}"

    def ways(self) -> list[tuple[str, Block | Pause | None]]:
        return [("a round", self.block), ("enough" if self.until is not None else "all rounds done", None)]

    def blocks(self) -> Iterable[Block]:
        return (self.block,)

    def run(self, run: Run) -> Node | Pause | None:
        """Reached from above, or by the last step of a round."""
        done = run.round()
        number = 0 if done is None else done[0] + 1
        if number >= self.times or self._enough(run):
            run.leave_rounds()
            return run.node.next
        due = run.now if done is None else self.every.after(done[1], run.zone)
        return run.pause_until(due) if due > run.now else self._begin(run, number)

    def resume(self, run: Run, cause: Event | Answer | None) -> Node | Pause | None:
        """The next round is due."""
        if self._enough(run):
            run.leave_rounds()
            return run.node.next
        done = run.round()
        return self._begin(run, 0 if done is None else done[0] + 1)

    def _begin(self, run: Run, number: int) -> Node | Pause | None:
        run.begin_round(number, self.inner)
        return self.block.first

    def _enough(self, run: Run) -> bool:
        if self.until is None:
            return False
        try:
            return self.until.test(run.m)
        except Exception as error:
            raise UntilFailed(f"repeat.until: {error}") from error
