"""Turns in the slot table: where figures are taken, beside the slots of playbooks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from engine.core.kinds import Build
from engine.core.moment import Condition
from engine.core.periods import Calendar
from engine.core.slots import Slotted


class Turn(Slotted):
    """The slots at which figures are taken; no playbook has it."""

    word = "metrics"
    catch_up = "all"

    def __init__(self, per: str, audience: Condition) -> None:
        self.per = per
        self.audience = audience

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> Turn:
        raise NotImplementedError("no playbook has it")

    def after(self, instant: int, tz: ZoneInfo) -> int | None:
        return Calendar(self.per, tz).after(instant)


@dataclass(frozen=True, eq=False)
class Turning:
    """What stands in the slot table for the metrics of one length."""

    per: str
    trigger: Turn
    name: str  #: name of its row; no playbook is called so
    alone: bool = True


def turning(per: str) -> Turning:
    """The turns of one length."""
    return Turning(per, Turn(per, Condition(text="true", test=lambda m: True)), f"\x01metrics:{per}")
