"""``changed``: a trait got another value."""

from __future__ import annotations

from typing import Any

from engine.core.kinds import Build, Trigger
from engine.core.moment import Moment, Value
from engine.core.shapes import Map, Plain, Text, optional, required
from engine.core.subjects import GROUP, USER

ANY = object()


class Changed(Trigger):
    """Fire when a trait changes its value, by sign-up, ``user.updated`` (of a group ``group.updated``) or ``set``.

    Example:
        trigger: {changed: user.city, to: 上海}
    """

    word = "changed"
    about = (USER, GROUP)
    shape = Map(
        {
            "changed": required(
                Text(pattern=r"(user|group)\.[A-Za-z_][A-Za-z0-9_]*", what="user.<field>"),
                "the trait",
            ),
            "from": optional(Plain(), "only from this value, or one of a list"),
            "to": optional(Plain(), "only to this value, or one of a list"),
        }
    )

    def __init__(self, field: str, before: object, after: object, whose: str = USER) -> None:
        self.field = field
        self.whose = whose
        self.before = before
        self.after = after

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> Changed:
        """``user.city`` names the trait ``city``."""
        whose, _, field = fields["changed"].partition(".")
        if whose != build.subject:
            message = f"'{fields['changed']}' is a field of a {whose}, and this playbook is about a {build.subject}"
            build.problem("changed", "wrong-subject", message, f"did you mean '{build.subject}.{field}'?")
        return cls(field, fields.get("from", ANY), fields.get("to", ANY), whose)

    def gist(self) -> str:
        before = "" if self.before is ANY else f" from {self.before}"
        return f"{self.whose}.{self.field}{before}" + ("" if self.after is ANY else f" to {self.after}")

    def sources(self) -> list[tuple[str, str | None]]:
        return [(f"{self.whose}.updated", self.field)]

    def listens(self) -> frozenset[str]:
        return frozenset({"user.signup", "user.updated"} if self.whose == USER else {"group.updated"})

    def fires_on(self, field: str, value: Value) -> bool:
        """Another trait, or a fixed value that is not waited for, leaves it alone."""
        return field == self.field and (not value.constant or _fits(self.after, value.fixed()))

    def fires(self, m: Moment) -> bool:
        if m.changes is None or self.field not in m.changes:
            return False
        before, after = m.changes[self.field]
        return _fits(self.before, before) and _fits(self.after, after)


def _fits(wanted: object, value: object) -> bool:
    """Any value, this value, or one of a list."""
    if wanted is ANY or wanted == value:
        return True
    return isinstance(wanted, list) and value in wanted
