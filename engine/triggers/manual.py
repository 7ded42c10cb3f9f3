"""``manual``: somebody starts the playbook by hand."""

from __future__ import annotations

from typing import Any

from engine.core.kinds import Build, Trigger
from engine.core.moment import Moment
from engine.core.shapes import Flag, Map, required
from engine.core.starts import MANUAL, by_hand


class Manual(Trigger):
    """Fire when ``drumbeat trigger PLAYBOOK --user ID`` names this playbook; its ``--data`` is ``event``.

    ``when`` and ``entry`` are judged as for any other trigger. It is no activity of the user, and no feed can send it:
    a record of the type ``playbook.manual:<id>`` starts nothing in ``run``. In a file given to ``simulate`` such a
    record stands for the verb.

    Example:
        trigger: {manual: true, if: event.reason is not none}
    """

    word = "manual"
    shape = Map({"manual": required(Flag(only=True), "always true")})

    def __init__(self, type_: str) -> None:
        self.type = type_

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> Manual:
        """The event carries the name of this playbook."""
        return cls(MANUAL + build.playbook)

    def listens(self) -> frozenset[str]:
        return frozenset({self.type})

    def gist(self) -> str:
        return "drumbeat trigger"

    def sources(self) -> list[tuple[str, str | None]]:
        return [(self.word, self.gist())]

    def fires(self, m: Moment) -> bool:
        return by_hand(m.event)

    def silence(self, m: Moment) -> tuple[str, dict[str, Any]]:
        return "manual: sent by a feed, and only drumbeat trigger may start it", {}
