"""``invite``: offer a seat in a group."""

from __future__ import annotations

from typing import Any

from engine.core.journeys import Run
from engine.core.kinds import STOP, Action, Build, Pause
from engine.core.model import Answer, Event, Hold
from engine.core.moment import Moment
from engine.core.plan import Block, Node, Span
from engine.core.seats import FREE, GroupInfo
from engine.core.shapes import ON_FULL, Duration, Many, Map, Ref, Text, optional
from engine.core.subjects import USER
from engine.errors import ExpressionError


class Invite(Action):
    """Hold a seat in the first (or best) fitting group that has one.

    ``steps.<id>`` has ``.group .room .link``, or is none. The seat is held for ``hold`` (else the group's, else 48 h)
    and goes back when nobody joined. Denied with ``full``, ``no_match`` or ``already`` (a member, or an open invite).

    ``on_full: waitlist`` waits at this step, with a row ``denied: waitlist``; seats that come free go to those who
    wait, the first come first, before anybody who asks later. ``up_to`` says how long at the longest.

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
            "on_full": optional(ON_FULL, "when it is denied: skip (default), stop, waitlist, or steps"),
            "up_to": optional(Duration(calendar=True), "with waitlist: how long to wait; without a seat it goes on"),
        },
        short="groups",
    )

    def __init__(
        self, groups: list[str], match: str, hold: Span | None, on_denied: str | Block, up_to: Span | None = None
    ) -> None:
        self.up_to = up_to
        self.groups = groups
        self.match = match
        self.hold = hold
        self.on_denied = on_denied

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> Invite:
        """At least one group must be named."""
        if "groups" not in fields:
            build.problem("invite", "missing-key", "'invite' needs 'groups'")
        on_denied, up_to = fields.get("on_full", "skip"), fields.get("up_to")
        if up_to is not None and on_denied != "waitlist":
            build.problem("up_to", "conflict", "'up_to' says how long to wait, and nobody waits", "on_full: waitlist")
        return cls(fields.get("groups", []), fields.get("match", "first"), fields.get("hold"), on_denied, up_to)

    def gist(self) -> str:
        return ", ".join(self.groups)

    def ways(self) -> list[tuple[str, Block | Pause | None]]:
        if self.on_denied in ("skip", "waitlist"):
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
        return run.ask("seat", open_, self.match, queue=run.key() if self._waits else None)

    @property
    def _waits(self) -> bool:
        return self.on_denied == "waitlist"

    def hears(self) -> frozenset[str]:
        return frozenset({FREE}) if self._waits else frozenset()

    def wants(self, run: Run, m: Moment) -> bool:
        event = m.event
        return event is not None and event.internal and event.depth > 0 and event.data.get("key") == run.key()

    def resume(self, run: Run, cause: Event | Answer | None) -> Node | Pause | None:
        if isinstance(cause, Event):
            taken = {hold.group for hold in run.state.holds} | set(run.state.groups)
            open_ = [name for name in self.groups if name not in taken and _fits(run.plan.rooms[name], run)]
            if not open_:
                return self._denied(run, self.groups[0], "already", again=True)
            return run.ask("seat", open_, self.match, queue=run.key(), index=f"seat/{cause.id}")
        run.known = None  # the answer may be to a later request than the step's first
        again = cause is None or cause.key != run.key()
        if cause is None or not cause.granted or cause.name is None or cause.unit is None:
            reason = (cause.reason if cause is not None else None) or "full"
            if reason != "full" or not self._waits or cause is None:
                return self._denied(run, self.groups[0], reason, again=again)
            if not again:
                self._denied(run, self.groups[0], "waitlist")
                run.mark(run.now)
            until = None if self.up_to is None else self.up_to.after(run.marked(), run.zone)
            return run.wait_for_word(run.key(), until)
        return self._seated(run, cause.name, cause.unit, cause.data.get("link"), again=again)

    def _seated(self, run: Run, name: str, room: str, link: object, *, again: bool) -> Node | Pause | None:
        group: GroupInfo = run.plan.rooms[name]
        span: Span = self.hold or group.hold
        until = span.after(run.now, run.zone)
        run.state.holds = [*run.state.holds, Hold(group=name, room=room, until=until, key=run.key())]
        given = {"group": name, "room": room, "link": link}
        if run.effect("invite", given, index=_SEAT if again else ""):
            run.book("seat", name, "held", 1, unit=room, until=until)
        run.result(given)
        return run.node.next

    def _denied(self, run: Run, group: str, reason: str, *, again: bool = False) -> Node | Pause | None:
        nowhere = {"group": group, "room": None, "link": None}
        run.effect("invite", nowhere, status="denied", reason=reason, index=_SEAT if again else "")
        if isinstance(self.on_denied, Block):
            return self.on_denied.first or run.node.next
        return STOP if self.on_denied == "stop" else run.node.next


_SEAT = "seat"
"""What tells the row of a seat somebody waited for from the row of the wait."""


class MatchFailed(ExpressionError):
    """The ``match`` of a group could not be judged; the journey is parked, since neither answer is right."""

    parks = True


def _fits(group: GroupInfo, run: Run) -> bool:
    try:
        return group.match is None or bool(group.match.test(run.m))
    except Exception as error:
        raise MatchFailed(f"match of '{group.name}': {error}") from error
