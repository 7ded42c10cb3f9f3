"""``message``: say something to the user.

The gates stand in a fixed order (semantics.md, "gates"); the first that refuses names the reason:
status and holdout (with the program's control group), freeze, consent, address, render, valid_for, quiet hours, cap
(and beside it the quota of the channel). Only a message that passed all of them takes a slot. One that waits (for its
hour, for the end of quiet hours, for a cap) stands at the step, and passes all of them again when its time has come.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from engine.core import localtime
from engine.core.fold import consent_given
from engine.core.hours import Hours
from engine.core.instants import format_instant
from engine.core.journeys import Run, template_context
from engine.core.kinds import STOP, Action, Build, Pause
from engine.core.links import CLICK, UNSUBSCRIBE, fault_of_target, sign
from engine.core.model import Answer, Event, Spare
from engine.core.moment import Value
from engine.core.plan import ChannelInfo, Node, Span, zone_known
from engine.core.policies import DRAW, EXEMPT, NEVER, Quiet, consents
from engine.core.shapes import PURPOSES, Duration, Many, Map, Ref, Table, Text, Val, WallTime, optional, required
from engine.core.subjects import USER
from engine.errors import ExpressionError, MissingVariable, RenderError

BEST_HOUR = "best_hour"
"""The word for the hour at which the user is active most."""


class SendMessage(Action):
    """Render a template and hand it to the first channel of ``via`` that may be used; to the next one only when there
    is no consent or address for it, or when it refuses the message for good.

    In the quiet hours of its policy it waits for their end, in the user's zone, and is judged once more then.
    ``best_hour`` is the hour at which the user was active most, or the program's ``best_hour`` for who is new.

    Suppressed with the reason ``freeze``, ``consent``, ``no_address``, ``missing_variable``, ``render``, ``expired``,
    ``condition`` (what it waited for made an ``if`` untrue), ``cap`` or ``quota`` (of the channel); held out as
    ``control_group``.

    Example:
        message: {template: welcome/hello, via: [wecom, sms], purpose: service, with: {coupon: "{{ steps.gift }}"}}
    """

    word = "message"
    about = (USER,)
    shape = Map(
        {
            "template": required(Ref("template"), "folder/name of the template"),
            "purpose": required(Text(PURPOSES), "what it is for; consent and caps go by it"),
            "via": optional(Many(Ref("channel")), "channels in order of preference; all the template has by default"),
            "to": optional(Val(single=True), "address, instead of the user's own"),
            "with": optional(Table(Val(), what="name"), "values the template sees as with.<name>"),
            "valid_for": optional(Duration(), "not sent later than this after the step was reached"),
            "at": optional(WallTime((BEST_HOUR,)), "wait for this wall time in the user's zone, or for its best hour"),
            "on_cap": optional(
                Text(("skip", "wait", "exit")), "when a cap or quota refuses: skip (default), wait, or end the journey"
            ),
        }
    )

    def __init__(
        self, fields: dict[str, Any], templates: Any, via: list[str], hours: Hours | None = None, usual: str = "10:00"
    ) -> None:
        self.template: str = fields["template"]
        self.purpose: str = fields["purpose"]
        self.templates = templates  #: (channel, locale) -> template or None
        self.via = via
        self.to: Value | None = fields.get("to")
        self.values: dict[str, Value] = fields.get("with", {})
        self.valid_for: Span | None = fields.get("valid_for")
        self.at: str | None = fields.get("at")
        self.on_cap: str = fields.get("on_cap", "skip")
        self.hours = hours  #: the user's own hours, for ``best_hour``
        self.usual_time = usual  #: the program's, for a user of whom nothing is known

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> SendMessage:
        """Channels default to those the template is written for."""
        via = list(dict.fromkeys(fields.get("via") or build.channels_of(fields["template"])))
        hours = build.hours() if fields.get("at") == BEST_HOUR else None
        return cls(fields, build.template(fields["template"]), via, hours, build.best_hour)

    def gist(self) -> str:
        return f"{self.template} · {' / '.join(self.via)} · {self.purpose}"

    def run(self, run: Run) -> Node | Pause | None:
        run.mark(run.now)
        if self.at is not None:
            due = self._due(run, self.at)
            if due > run.now:
                return run.pause_until(due, "at")
        return self._decide(run)

    def resume(self, run: Run, cause: Event | Answer | None) -> Node | Pause | None:
        """What had to wait is judged as if it were reached now."""
        stale = stale_condition(run)
        if stale is not None:
            run.explain("if", False, f"no longer: {stale}")
            return self._refuse(run, "condition", self.via[0] if self.via else None)
        return self._decide(run)

    def _decide(self, run: Run) -> Node | Pause | None:
        first = self.via[0] if self.via else None
        if run.held:
            run.effect("message", self._detail(first, None))
            return run.node.next
        control = run.plan.control
        if control is not None and control.holds(run.state.id, self.purpose, _laid(run, "control_group")):
            run.keep_from()
            run.explain("control_group", False, f"one of the {control.percent / 100:g} % no {self.purpose} reaches")
            run.effect("message", self._detail(first, None), status="held_out", reason="control_group")
            return run.node.next
        if frozen(run, self.purpose, run.zone):
            return self._refuse(run, "freeze", first)
        ways, refused = self._ways(run)
        if not ways:
            return self._refuse(run, refused, first)
        channel, address = ways[0]
        detail, fault = self.rendered(run, channel)
        if fault is not None:
            return self._refuse(run, fault, channel.name)
        until = None if self.valid_for is None else self.valid_for.after(run.marked(), run.zone)
        if until is not None and run.now > until:
            run.explain("valid_for", False, f"was of use until {format_instant(until)}")
            return self._refuse(run, "expired", channel.name, detail)
        release = self._released(run, until)
        if release > run.now:
            return run.pause_until(release, "quiet_hours")
        full = self._full(run, channel)
        if full is not None:
            return self._capped(run, channel.name, detail, *full, until)
        run.effect(
            "message", detail, deliver=channel.name, purpose=self.purpose, to=address,
            spares=() if len(ways) == 1 else self._spares(run, ways[1:]), until=until,
        )  # fmt: skip
        if run.plan.cap_window:
            recent = [slot for slot in run.state.slots if slot[0] > run.now - run.plan.cap_window]
            run.state.slots = [*recent, (run.now, self.purpose, channel.name)]
        return run.node.next

    def failed(self, run: Run, reason: str) -> None:
        detail = self._detail(self.via[0] if self.via else None, None)
        run.effect("message", detail, status="suppressed", reason=reason)

    # ------------------------------------------------------------------ when

    def _due(self, run: Run, at: str) -> int:
        """The next instant at which the user's clock shows the time asked for."""
        zone = localtime.zone(run.zone) or localtime.UTC
        if at == BEST_HOUR:
            hour = None if self.hours is None else self.hours.best(run.state, self._open(run))
            if hour is not None and localtime.local_hour(run.now, zone) == hour:
                return run.now
            at = self.usual_time if hour is None else f"{hour:02d}:00"
            whose = "nothing is known of the user's own" if hour is None else "the user's own"
            run.explain("at", True, f"best_hour: {at}, {whose}")
        return next_time(run.now, at, run.zone)

    def _open(self, run: Run) -> Callable[[int], bool]:
        quiet = self._quiet(run)
        return lambda wall: quiet is None or not quiet.covers(wall)

    # ------------------------------------------------------------------ gates

    def _ways(self, run: Run) -> tuple[list[tuple[ChannelInfo, str | None]], str]:
        """(channels with consent and an address, each with its address; the gate that refused when there is none)."""
        rule = run.playbook.policy.consent.get(self.purpose, "required")
        given_to = None if self.to is None else self.to.get(run.m)
        reason = "consent"
        ways: list[tuple[ChannelInfo, str | None]] = []
        for name in self.via:
            given = consent_given(run.state, name, self.purpose)
            if not consents(rule, given):
                word = {True: "granted", False: "revoked", None: "never given"}[given]
                run.explain("consent", False, f"{self.purpose} by {name} is {rule}, and was {word}")
                continue
            channel = run.plan.channels[name]
            address = self.address(run, channel) if self.to is None else given_to
            if address or (channel.address is None and self.to is None):
                ways.append((channel, None if address is None else str(address)))
                continue
            run.explain("address", False, f"no address for {name}: {channel.address or 'to'} is empty")
            reason = "no_address"
        return ways, reason

    def address(self, run: Run, channel: ChannelInfo) -> Any:
        """Where the subject is reached by a channel, or where the step says; None: nowhere, or it needs no address."""
        if self.to is not None:
            return self.to.get(run.m)
        return run.state.traits.get(channel.address) if channel.address is not None else None

    def rendered(self, run: Run, channel: ChannelInfo) -> tuple[dict[str, Any], str | None]:
        """(the detail of the message as a channel carries it, why there is none)."""
        values = self.shown(run)
        locale = run.state.traits.get("locale")
        template = self.templates(channel.name, locale if isinstance(locale, str) else None)
        if template is None:
            return {}, "no_template"
        try:
            zone = localtime.zone(run.zone) or localtime.UTC
            context = template_context(run, values, template.reads)
            if template.linked:
                context["links"] = self._links(run, template.targets(context, zone=zone))
            message = template.render(context, zone=zone)
        except MissingVariable as error:
            run.explain("render", False, str(error))
            return {}, "missing_variable"
        except RenderError as error:
            run.explain("render", False, str(error))
            return {}, "render"
        detail = self._detail(channel.name, message.text, message.subject)
        if message.html:
            detail["html"] = True
        if message.fields:
            detail["fields"] = message.fields
        link = self._unsubscribe(run)
        if link is not None:
            detail["unsubscribe"] = link
        return detail, None

    def _unsubscribe(self, run: Run) -> str | None:
        """The link by which this purpose is revoked; None where the program has no links, or nothing revokes it."""
        links = run.plan.links
        if links is None or run.playbook.policy.consent.get(self.purpose, "required") == "none":
            return None
        return links.url(UNSUBSCRIBE, sign(run.turn.signing, UNSUBSCRIBE, run.key()))

    def _links(self, run: Run, targets: Mapping[str, tuple[str, str]]) -> dict[str, str | None]:
        """What a template may print as ``links.<name>``; raises RenderError at a target nobody may be led to."""
        links = run.plan.links
        if links is None:  # an older version of the playbook; ``validate`` refuses it for new ones
            return {}
        found = {"unsubscribe": self._unsubscribe(run)}
        for name, (target, where) in targets.items():
            fault = fault_of_target(target, links.hosts)
            if fault is not None:  # the target may hold what is personal, so it is not quoted
                raise RenderError(f"link {name!r} must not lead there: {fault}", where=where)
            found[name] = links.url(CLICK, sign(run.turn.signing, CLICK, run.key(), target))
        return found

    def _quiet(self, run: Run) -> Quiet | None:
        return None if self.purpose == EXEMPT else run.playbook.policy.quiet

    def _released(self, run: Run, until: int | None) -> int:
        """When quiet hours let it go: now, or later; the jitter alone never carries it past ``valid_for``."""
        quiet = self._quiet(run)
        if quiet is None:
            return run.now
        zone = localtime.zone(run.zone) or localtime.UTC
        if not zone_known(run.state):
            run.explain("zone", True, f"zone assumed: {run.zone}")
        release = quiet.release(run.now, run.state.id, zone, _laid(run, "quiet_hours"))
        if release > run.now:
            if until is not None and quiet.ends(run.now, zone) <= until:
                release = min(release, until)
            local = localtime.local_datetime(run.now, zone).strftime("%H:%M")
            text = f"quiet {quiet.text}, {local} in {run.zone}: waits until {format_instant(release)}"
            run.explain("quiet_hours", False, text)
        return release

    def _full(self, run: Run, channel: ChannelInfo) -> tuple[str, int] | None:
        """None when every cap and the channel's quota leave room; else (``cap`` or ``quota``, the instant at which all
        of them may)."""
        limits = [("cap", cap) for cap in run.playbook.policy.caps if cap.concerns(self.purpose, channel.name)]
        if channel.quota is not None:
            limits.append(("quota", channel.quota.open_to(run.playbook.priority)))
        if not limits:
            return None
        zone = localtime.zone(run.zone) or localtime.UTC
        found: tuple[str, int] | None = None
        for reason, cap in limits:
            instant = cap.full_until(run.state.slots, run.now, zone)
            if instant is not None and (found is None or instant > found[1]):
                found = (reason, instant)
        return found

    def _spares(self, run: Run, ways: list[tuple[ChannelInfo, str | None]]) -> Sequence[Spare]:
        """The message as the other channels would carry it, as far as it can be rendered and their caps leave room."""
        found = []
        for channel, address in ways:
            if self._full(run, channel) is not None:
                continue
            detail, fault = self.rendered(run, channel)
            if fault is None:
                html, fields = detail.get("html", False), detail.get("fields")
                found.append(Spare(channel.name, address, detail["text"], detail.get("subject"), html, fields))
        return found or ()

    def shown(self, run: Run) -> dict[str, Any]:
        """What the template sees as ``with``."""
        return {name: value.get(run.m) for name, value in self.values.items()} if self.values else {}

    # ------------------------------------------------------------------ outcomes

    def _capped(
        self, run: Run, channel: str, detail: dict[str, Any], reason: str, free: int, until: int | None
    ) -> Node | Pause | None:
        again = "never" if free >= NEVER else format_instant(free)
        run.explain(reason, False, f"no room for {self.purpose} by {channel}; room again: {again}")
        if self.on_cap == "wait" and free < NEVER:
            if until is None or free <= until:
                return run.pause_until(free, "cap")
            return self._refuse(run, "expired", channel, detail)
        self._refuse(run, reason, channel, detail)
        return STOP if self.on_cap == "exit" else run.node.next

    def _refuse(
        self, run: Run, reason: str, channel: str | None, detail: dict[str, Any] | None = None
    ) -> Node | Pause | None:
        run.effect("message", detail or self._detail(channel, None), status="suppressed", reason=reason)
        return run.failed() if reason in ("missing_variable", "render", "no_template") else run.node.next

    def _detail(self, channel: str | None, text: str | None, subject: str | None = None) -> dict[str, Any]:
        detail = {"template": self.template, "via": channel, "purpose": self.purpose}
        if subject is not None:
            detail["subject"] = subject
        detail["text"] = text
        return detail


def stale_condition(run: Run) -> str | None:
    """The condition that no longer holds: the step's own; and where the journey began with it, the playbook's."""
    conditions = [run.node.guard] if run.node.guard is not None else []
    if run.marked() == run.journey.started:
        conditions += run.playbook.when
    for condition in conditions:
        try:
            if not condition.test(run.m):
                return condition.text
        except Exception as error:
            raise CannotJudge(f"{condition.text}: {error}") from error
    return None


def frozen(run: Run, purpose: str, zone: str) -> bool:
    """Does the local day lie in a calendar on which this purpose stays silent?"""
    freeze = run.playbook.policy.freeze
    if freeze is None or purpose not in freeze.purposes:
        return False
    day = localtime.local_date(run.now, localtime.zone(zone) or localtime.UTC)
    for name in freeze.calendars:
        if run.plan.calendars[name].contains(day):
            run.explain("freeze", False, f"{day.isoformat()} in {zone} lies in '{name}'")
            return True
    return False


def next_time(now: int, at: str, zone: str) -> int:
    """The next instant at which the clock of a zone shows a time."""
    tz = localtime.zone(zone) or localtime.UTC
    due = localtime.at_wall(localtime.local_date(now, tz), at, tz)
    return due if due >= now else localtime.add_days(now, 1, at, tz)


def _laid(run: Run, what: str) -> int | None:
    """The bucket a test laid down for the subject."""
    drawn = run.plan.env.drawn
    return drawn.get((DRAW[what], run.state.id)) if drawn else None


class CannotJudge(ExpressionError):
    """A condition of a message that waited could not be judged again: the journey is parked, as at any condition."""

    parks = True
