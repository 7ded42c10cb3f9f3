"""``post``: say something in a group's channel.

The gates stand in a fixed order; the first that refuses names the reason: status and holdout, freeze, channel, render,
quiet hours of the group's zone, cap. A post that waits (for its hour, for the end of quiet hours) stands at the step
and passes all of them again when its time has come.
"""

from __future__ import annotations

from typing import Any

from engine.actions.message import BEST_HOUR, frozen, next_time, stale_condition
from engine.core import localtime
from engine.core.groups import NO_CARD
from engine.core.hours import Hours
from engine.core.instants import format_instant
from engine.core.journeys import Run, group_card, template_context
from engine.core.kinds import Action, Build, Pause
from engine.core.model import Answer, Event
from engine.core.moment import Value
from engine.core.plan import Node
from engine.core.policies import DRAW
from engine.core.shapes import Map, Ref, Table, Val, WallTime, optional, required
from engine.core.subjects import GROUP, kind_of, name_of, of_group
from engine.errors import ExpressionError, MissingVariable, RenderError

PURPOSE = "community"
"""What a post is for, to quiet hours, freezes and caps."""


class PostToGroup(Action):
    """Post into a group's channel: the one the catalog names for it (``channel``, else a channel called as its
    ``platform``), else the first the template is written for. A playbook of groups posts into its own group when none
    is named.

    In the quiet hours of its policy it waits for their end, in the group's zone. ``best_hour`` is the hour at which the
    group was most active, or the program's ``best_hour`` where too little is known. It counts as ``community`` for
    freezes and caps; the caps of a group count what its own playbooks post.

    Suppressed with the reason ``freeze``, ``no_channel``, ``missing_variable``, ``render``, ``condition`` or ``cap``.

    Example:
        post: {group: sh-runners, template: welcome/hello, at: best_hour, with: {topic: "周末去哪跑"}}
    """

    word = "post"
    shape = Map(
        {
            "group": optional(Val(single=True), "which group; that of the playbook by default"),
            "template": required(Ref("template"), "folder/name of the template"),
            "with": optional(Table(Val(), what="name"), "values the template sees as with.<name>"),
            "at": optional(WallTime((BEST_HOUR,)), "wait for this wall time in the group's zone, or for its best hour"),
        }
    )

    def __init__(self, fields: dict[str, Any], templates: Any, via: list[str], hours: Hours | None, usual: str) -> None:
        self.group: Value | None = fields.get("group")
        self.template: str = fields["template"]
        self.templates = templates  #: (channel, locale) -> template or None
        self.via = via
        self.values: dict[str, Value] = fields.get("with", {})
        self.at: str | None = fields.get("at")
        self.hours = hours  #: the group's own hours, for ``best_hour``
        self.usual_time = usual  #: the program's, for a group of which nothing is known

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> PostToGroup:
        """Where no group is at hand, one is named."""
        if "group" not in fields and build.subject != GROUP:
            build.problem("template", "missing-key", "'post' needs 'group': the playbook is about no group", "group: x")
        via = build.channels_of(fields["template"])
        hours = build.hours() if fields.get("at") == BEST_HOUR and build.subject == GROUP else None
        return cls(fields, build.template(fields["template"]), via, hours, build.best_hour)

    def gist(self) -> str:
        return f"{self.template} in {self.group.text if self.group is not None else 'the group'}"

    def failed(self, run: Run, reason: str) -> None:
        run.effect("post", self._detail(None, None), status="suppressed", reason=reason)

    def run(self, run: Run) -> Node | Pause | None:
        run.mark(run.now)
        group = self.room_of(run)
        if self.at is not None:
            due = self._due(run, self.at, zone_there(run, group))
            if due > run.now:
                return run.pause_until(due, "at")
        return self._decide(run, group)

    def resume(self, run: Run, cause: Event | Answer | None) -> Node | Pause | None:
        """What had to wait is judged as if it were reached now."""
        group = self.room_of(run)
        stale = stale_condition(run)
        if stale is not None:
            run.explain("if", False, f"no longer: {stale}")
            return self._refuse(run, "condition", group)
        return self._decide(run, group)

    def room_of(self, run: Run) -> str:
        """The group it goes to. Raises MissingVariable and ExpressionError where none is given."""
        if self.group is None:
            return name_of(run.state.id)
        found = self.group.get(run.m)
        if found is None:
            raise MissingVariable(f"post.group needs the id of a group, and {self.group.text} is missing")
        if not isinstance(found, str) or not found:
            raise ExpressionError(f"post.group needs the id of a group, got {found!r}")
        return found

    # ------------------------------------------------------------------ gates

    def _decide(self, run: Run, group: str) -> Node | Pause | None:
        zone = zone_there(run, group)
        if run.held:
            run.effect("post", self._detail(group, None))
            return run.node.next
        if frozen(run, PURPOSE, zone):
            return self._refuse(run, "freeze", group)
        channel = self.channel_for(run, group)
        if channel is None:
            return self._refuse(run, "no_channel", group)
        try:
            detail = self.rendered(run, group, channel, zone)
        except (MissingVariable, RenderError) as error:
            run.explain("render", False, str(error))
            return self._refuse(run, "missing_variable" if isinstance(error, MissingVariable) else "render", group)
        tz = localtime.zone(zone) or localtime.UTC
        quiet = run.playbook.policy.quiet
        if quiet is not None:
            laid = run.plan.env.drawn.get((DRAW["quiet_hours"], group))
            release = quiet.release(run.now, of_group(group), tz, laid)
            if release > run.now:
                run.explain("quiet_hours", False, f"quiet until {format_instant(release)}")
                return run.pause_until(release, "quiet_hours")
        if not self._room(run, channel, zone):
            return self._refuse(run, "cap", group, detail)
        run.effect("post", detail, deliver=channel, to=group)
        if run.plan.cap_window and kind_of(run.state.id) == GROUP:
            recent = [slot for slot in run.state.slots if slot[0] > run.now - run.plan.cap_window]
            run.state.slots = [*recent, (run.now, PURPOSE, channel)]
        return run.node.next

    def _due(self, run: Run, at: str, zone: str) -> int:
        if at == BEST_HOUR:
            quiet = run.playbook.policy.quiet
            hour = None
            if self.hours is not None:
                hour = self.hours.best(run.state, lambda wall: quiet is None or not quiet.covers(wall))
            tz = localtime.zone(zone) or localtime.UTC
            if hour is not None and localtime.local_hour(run.now, tz) == hour:
                return run.now
            at = self.usual_time if hour is None else f"{hour:02d}:00"
            whose = "too little is known of the group's own" if hour is None else "the group's own"
            run.explain("at", True, f"best_hour: {at}, {whose}")
        return next_time(run.now, at, zone)

    def channel_for(self, run: Run, group: str) -> str | None:
        """The channel of a group; None: the template is not written for it."""
        card = run.plan.env.cards.get(group, NO_CARD)
        for name in (card.channel, card.platform):
            if name in self.via:
                return name
        if card.channel is not None:
            run.explain("channel", False, f"the template is not written for '{card.channel}'")
            return None
        return self.via[0] if self.via else None

    def rendered(self, run: Run, group: str, channel: str, zone: str) -> dict[str, Any]:
        """The detail of the post. Raises MissingVariable and RenderError."""
        values = {name: value.get(run.m) for name, value in self.values.items()}
        template = self.templates(channel, None)
        if template is None:
            raise RenderError(f"'{self.template}' has no text for '{channel}'")
        context = template_context(run, values, template.reads)
        if "group" in context and group != name_of(run.state.id):
            context["group"] = group_card(run.plan, group)
        if template.linked:
            raise RenderError("signed links belong to one user: a post has none")
        post = template.render(context, zone=localtime.zone(zone) or localtime.UTC)
        detail = self._detail(group, post.text)
        if post.subject is not None:
            detail["subject"] = post.subject
        if post.html:
            detail["html"] = True
        if post.fields:
            detail["fields"] = post.fields
        return detail

    def _room(self, run: Run, channel: str, zone: str) -> bool:
        tz = localtime.zone(zone) or localtime.UTC
        caps = [cap for cap in run.playbook.policy.caps if cap.concerns(PURPOSE, channel)]
        slots = run.state.slots if kind_of(run.state.id) == GROUP else ()
        return all(cap.full_until(slots, run.now, tz) is None for cap in caps)

    def _refuse(
        self, run: Run, reason: str, group: str, detail: dict[str, Any] | None = None
    ) -> Node | Pause | None:
        run.effect("post", detail or self._detail(group, None), status="suppressed", reason=reason)
        return run.failed() if reason in ("missing_variable", "render") else run.node.next

    def _detail(self, group: str | None, text: str | None) -> dict[str, Any]:
        return {"group": group, "template": self.template, "text": text}


def zone_there(run: Run, group: str) -> str:
    """The group's zone, else the program's."""
    if kind_of(run.state.id) == GROUP and name_of(run.state.id) == group:
        return run.zone
    return run.plan.env.zones.get(group, run.plan.env.zone)
