"""``redeem``: reserve a reward for points, and confirm it or give it back."""

from __future__ import annotations

from typing import Any

from engine.core import rewards
from engine.core.journeys import Run
from engine.core.kinds import STOP, Action, Build, Pause
from engine.core.model import Answer, Event
from engine.core.plan import Block, Node
from engine.core.rewards import Reward
from engine.core.shapes import ON_DENIED, STEP_ID, Map, Ref, Text, optional


class Redeem(Action):
    """Reserve a reward and its points. ``steps.<id>`` has ``.reward .points``, or is none.

    Denied with ``insufficient``, ``sold_out`` or ``per_user``. Once it is known that the reward reaches the subject,
    another step says ``redeem: {confirm: <id>}``, or ``{release: <id>}`` when it does not. What is neither confirmed
    nor released when the journey ends, for whatever reason, goes back.

    Example:
        redeem: {reward: tea-mug, on_denied: stop}
    """

    word = "redeem"
    results = frozenset({"reward", "points"})
    shape = Map(
        {
            "reward": optional(Ref("reward"), "the reward of the catalog, to be reserved"),
            "confirm": optional(Text(pattern=STEP_ID, what="step id"), "the step whose reservation was fulfilled"),
            "release": optional(Text(pattern=STEP_ID, what="step id"), "the step whose reservation goes back"),
            "on_denied": optional(ON_DENIED, "when it is denied: skip (default), stop, or steps"),
        },
        short="reward",
        one_of=(("reward", "confirm", "release"),),
    )

    def __init__(self, reward: str | None, confirm: str | None, release: str | None, on_denied: str | Block) -> None:
        self.reward = reward
        self.confirm = confirm
        self.release = release
        self.on_denied = on_denied

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> Redeem:
        """What is named is checked by ``validate`` as a whole."""
        if "on_denied" in fields and "reward" not in fields:
            build.problem("on_denied", "conflict", "only a reward can be denied")
        return cls(fields.get("reward"), fields.get("confirm"), fields.get("release"), fields.get("on_denied", "skip"))

    def gist(self) -> str:
        if self.reward is not None:
            return self.reward
        return f"confirm {self.confirm}" if self.confirm is not None else f"release {self.release}"

    def ways(self) -> list[tuple[str, Block | Pause | None]]:
        if self.on_denied == "skip" or self.reward is None:
            return [("", None)]
        return [("", None), ("not to be had", STOP if isinstance(self.on_denied, str) else self.on_denied)]

    def blocks(self) -> tuple[Block, ...]:
        return (self.on_denied,) if isinstance(self.on_denied, Block) else ()

    def run(self, run: Run) -> Node | Pause | None:
        if self.reward is None:
            return self._settle(run)
        run.result(None)
        reward: Reward = run.plan.rewards[self.reward]
        if run.held:
            # a held-out subject walks on as if it had the reward, and keeps its points
            run.effect("redeem", _detail(reward))
            run.result({"reward": reward.name, "points": reward.points})
            return run.node.next
        if reward.per_user is not None and run.state.rewards.get(reward.name, 0) >= reward.per_user:
            return self._denied(run, reward, "per_user")
        if run.state.points.get(reward.account, 0) < reward.points:
            return self._denied(run, reward, "insufficient")
        return run.ask("reward", [reward.name])

    def resume(self, run: Run, cause: Event | Answer | None) -> Node | Pause | None:
        reward: Reward = run.plan.rewards[self.reward or ""]
        if not isinstance(cause, Answer) or not cause.granted:
            reason = cause.reason if isinstance(cause, Answer) else None
            return self._denied(run, reward, reason or "sold_out")
        run.effect("redeem", _detail(reward))
        rewards.reserve(run.turn, run.journey, run.node.id, reward, run.key())
        run.result({"reward": reward.name, "points": reward.points})
        return run.node.next

    def _settle(self, run: Run) -> Node | Pause | None:
        found = rewards.of_step(run.journey, self.confirm or self.release or "")
        if found is None:
            return run.node.next  # it was denied, is held out, or was settled before
        move = rewards.confirm if self.confirm is not None else rewards.give_back
        move(run.turn, run.journey, found)
        return run.node.next

    def _denied(self, run: Run, reward: Reward, reason: str) -> Node | Pause | None:
        run.effect("redeem", _detail(reward), status="denied", reason=reason)
        if isinstance(self.on_denied, Block):
            return self.on_denied.first or run.node.next
        return STOP if self.on_denied == "stop" else run.node.next


def _detail(reward: Reward) -> dict[str, Any]:
    return {"reward": reward.name, "points": reward.points, "account": reward.account}
