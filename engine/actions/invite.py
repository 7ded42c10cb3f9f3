"""``invite``: offer a seat in a group."""

from __future__ import annotations

from typing import Any

from engine.core.journeys import Run
from engine.core.kinds import STOP, Action, Build, Pause
from engine.core.model import Answer, Event, Hold
from engine.core.plan import Block, Node, Span
from engine.core.scarce import GroupInfo
from engine.core.shapes import ON_DENIED, Duration, Many, Map, Ref, Text, optional
from engine.core.subjects import USER
from engine.errors import ExpressionError


class Invite(Action):
    """Hold a seat in the first (or best) fitting group that has one.

    ``steps.<id>`` has ``.group .room .link``, or is none. The seat is held for ``hold`` (else the group's, else 48 h)
    and goes back when nobody joined. Denied with ``full``, ``no_match`` or ``already`` (a member, or an open invite).

    Example:
        invite: {groups: [sh-runners, newcomers], match: first}
    """

    word = "invite"
    about = (USER,)
    results = frozenset({"group", "room", "link"})
    shape = Map(
        {
            "groups": optional(Many(Ref("group")), "groups in order of preference"),
            "match": optional(Text(("first", "best")), "first fitting one, or the one with most free seats"),
            "hold": optional(Duration(calendar=True), "how long the seat is kept"),
            "on_full": optional(ON_DENIED, "when it is denied: skip (default), stop, or steps"),
        },
        short="groups",
    )

    def __init__(self, groups: list[str], match: str, hold: Span | None, on_denied: str | Block) -> None:
        self.groups = groups
        self.match = match
        self.hold = hold
        self.on_denied = on_denied

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> Invite:
        """At least one group must be named."""
        if "groups" not in fields:
            build.problem("invite", "missing-key", "'invite' needs 'groups'")
        on_denied = fields.get("on_full", "skip")
        return cls(fields.get("groups", []), fields.get("match", "first"), fields.get("hold"), on_denied)

    def gist(self) -> str:
        return ", ".join(self.groups)

    def ways(self) -> list[tuple[str, Block | Pause | None]]:
        if self.on_denied == "skip":
            return [("", None)]
        return [("", None), ("no seat", STOP if isinstance(self.on_denied, str) else self.on_denied)]

    def blocks(self) -> tuple[Block, ...]:
        return (self.on_denied,) if isinstance(self.on_denied, Block) else ()

    def run(self, run: Run) -> Node | Pause | None:
        run.result(None)
        fitting = [name for name in self.groups if _fits(run.plan.rooms[name], run)]
        if not fitting:
            return self._denied(run, self.groups[0], "no_match")
        taken = {hold.group for hold in run.state.holds} | set(run.state.groups)
        open_ = [name for name in fitting if name not in taken]
        if not open_:
            return self._denied(run, fitting[0], "already")
        if run.held:
            # a held-out subject walks on as if invited, without a seat and without a link
            nowhere = {"group": open_[0], "room": None, "link": None}
            run.effect("invite", nowhere)
            run.result(nowhere)
            return run.node.next
        return run.ask("seat", open_, self.match)

    def resume(self, run: Run, cause: Event | Answer | None) -> Node | Pause | None:
        if not isinstance(cause, Answer) or not cause.granted or cause.name is None or cause.unit is None:
            return self._denied(run, self.groups[0], (cause.reason if isinstance(cause, Answer) else None) or "full")
        group: GroupInfo = run.plan.rooms[cause.name]
        span: Span = self.hold or group.hold
        until = span.after(run.now, run.zone)
        run.state.holds = [*run.state.holds, Hold(group=cause.name, room=cause.unit, until=until, key=run.key())]
        given = {"group": cause.name, "room": cause.unit, "link": cause.data.get("link")}
        if run.effect("invite", given):
            run.book("seat", cause.name, "held", 1, unit=cause.unit, until=until)
        run.result(given)
        return run.node.next

    def _denied(self, run: Run, group: str, reason: str) -> Node | Pause | None:
        run.effect("invite", {"group": group, "room": None, "link": None}, status="denied", reason=reason)
        if isinstance(self.on_denied, Block):
            return self.on_denied.first or run.node.next
        return STOP if self.on_denied == "stop" else run.node.next


class MatchFailed(ExpressionError):
    """The ``match`` of a group could not be judged; the journey is parked, since neither answer is right."""

    parks = True


def _fits(group: GroupInfo, run: Run) -> bool:
    try:
        return group.match is None or bool(group.match.test(run.m))
    except Exception as error:
        raise MatchFailed(f"match of '{group.name}': {error}") from error
