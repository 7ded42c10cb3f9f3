"""``called``: another playbook starts this one."""

from __future__ import annotations

from typing import Any

from engine.core.kinds import Build, Trigger
from engine.core.moment import Moment
from engine.core.shapes import Flag, Map, required
from engine.core.starts import CALLED, by_playbook


class Called(Trigger):
    """Fire when a ``start`` step of another playbook names this one, for the same subject.

    ``when`` and ``entry`` are judged as for any other trigger. ``event.caller`` is the playbook that started it.

    Example:
        trigger: {called: true}
    """

    word = "called"
    shape = Map({"called": required(Flag(only=True), "always true")})

    def __init__(self, type_: str) -> None:
        self.type = type_

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> Called:
        """The event carries the name of this playbook."""
        return cls(CALLED + build.playbook)

    def listens(self) -> frozenset[str]:
        return frozenset({self.type})

    def gist(self) -> str:
        return "start, in another playbook"

    def sources(self) -> list[tuple[str, str | None]]:
        return [("start", self.type.removeprefix(CALLED))]

    def fires(self, m: Moment) -> bool:
        return by_playbook(m.event)
