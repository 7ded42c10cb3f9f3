"""``signup``: a user registered."""

from __future__ import annotations

from typing import Any

from engine.core.kinds import Build, Trigger
from engine.core.shapes import Flag, Map, required
from engine.core.subjects import USER


class Signup(Trigger):
    """Fire when a user signs up; short for ``event: user.signup``.

    Example:
        trigger: {signup: true, if: event.source != "import"}
    """

    word = "signup"
    about = (USER,)
    shape = Map({"signup": required(Flag(only=True), "always true")})

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> Signup:
        """Nothing to choose."""
        return cls()

    def gist(self) -> str:
        return ""

    def listens(self) -> frozenset[str]:
        return frozenset({"user.signup"})
