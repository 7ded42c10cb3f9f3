"""``tier_change``: a ladder moved."""

from __future__ import annotations

from typing import Any

from engine.core.kinds import Build, Trigger
from engine.core.moment import Moment
from engine.core.shapes import Many, Map, Ref, Text, optional
from engine.core.subjects import USER


class TierChange(Trigger):
    """Fire when a tier ladder moves: up at the very event that crosses, down when the window decays (after grace).

    Example:
        trigger: {tier_change: {ladder: member, direction: up, to: [silver, gold]}}
    """

    word = "tier_change"
    about = (USER,)
    shape = Map(
        {
            "tier_change": optional(
                Map(
                    {
                        "ladder": optional(Ref("ladder"), "the ladder; may be left out when there is one"),
                        "to": optional(Many(Ref("level")), "only to one of these levels"),
                        "from": optional(Many(Ref("level")), "only from one of these levels"),
                        "direction": optional(Text(("up", "down", "any")), "any by default"),
                    },
                    flag=True,
                )
            )
        }
    )

    def __init__(self, ladder: str | None, to: frozenset[str], origin: frozenset[str], direction: str) -> None:
        self.ladder = ladder
        self.to = to
        self.origin = origin
        self.direction = direction

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> TierChange:
        """Without a ladder any of the program's ladders fires it."""
        spec = fields["tier_change"]
        to, origin = frozenset(spec.get("to", ())), frozenset(spec.get("from", ()))
        return cls(spec.get("ladder"), to, origin, spec.get("direction", "any"))

    def gist(self) -> str:
        parts = [self.ladder or "any ladder", self.direction if self.direction != "any" else ""]
        parts += [f"from {', '.join(sorted(self.origin))}" if self.origin else ""]
        parts += [f"to {', '.join(sorted(self.to))}" if self.to else ""]
        return " ".join(part for part in parts if part)

    def sources(self) -> list[tuple[str, str | None]]:
        return [("tier.changed", self.ladder)]

    def listens(self) -> frozenset[str]:
        return frozenset({"tier.changed"})

    def fires(self, m: Moment) -> bool:
        ladder, before, after = m.data.get("ladder"), m.data.get("from"), m.data.get("to")
        if self.ladder is not None and ladder is not None and ladder != self.ladder:
            return False
        if (self.to and after not in self.to) or (self.origin and before not in self.origin):
            return False
        if self.direction == "any":
            return True
        ranks = m.env.ranks.get(str(ladder if ladder is not None else self.ladder or m.env.ladder), {})
        climbed = ranks.get(str(after), -1) - ranks.get(str(before), -1)
        return climbed > 0 if self.direction == "up" else climbed < 0
