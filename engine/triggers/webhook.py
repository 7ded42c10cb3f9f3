"""``webhook``: another system starts the playbook."""

from __future__ import annotations

from typing import Any

from engine.core.kinds import Build, Trigger
from engine.core.moment import Moment
from engine.core.shapes import Flag, Map, required
from engine.core.starts import WEBHOOK, by_hand


class Webhook(Trigger):
    """Fire when another system asks for this playbook; what it sends is ``event``.

    It calls ``POST /v1/playbooks/<id>/webhook`` of a feed ``http`` with ``{user, data, id}`` and the key of the feed;
    the same ``id`` begins nothing twice. ``drumbeat trigger PLAYBOOK --user ID --data JSON`` does the same. The event
    has the type ``playbook.webhook:<id>``, is no activity of the user, and cannot be sent by a feed.

    Example:
        trigger: {webhook: true, if: event.source == "crm"}
    """

    word = "webhook"
    shape = Map({"webhook": required(Flag(only=True), "always true")})

    def __init__(self, type_: str) -> None:
        self.type = type_

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> Webhook:
        """The event carries the name of this playbook."""
        return cls(WEBHOOK + build.playbook)

    def listens(self) -> frozenset[str]:
        return frozenset({self.type})

    def gist(self) -> str:
        return "a call from another system"

    def sources(self) -> list[tuple[str, str | None]]:
        return [(self.word, self.gist())]

    def fires(self, m: Moment) -> bool:
        return by_hand(m.event)

    def silence(self, m: Moment) -> tuple[str, dict[str, Any]]:
        return "webhook: sent by a feed, and only an authenticated call or drumbeat trigger may start it", {}
