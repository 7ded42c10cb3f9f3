"""``message``: say something to the user.

The gates stand in a fixed order (semantics.md, "gates"); the first that refuses names the reason:
status and holdout, consent, address, render, valid_for, cap. Only a message that passed all of them takes a cap slot.
"""

from __future__ import annotations

from typing import Any

from engine.core import localtime
from engine.core.fold import consent_given
from engine.core.journeys import Run, template_context
from engine.core.kinds import STOP, Action, Build, Pause
from engine.core.model import Answer, Event
from engine.core.moment import Value
from engine.core.plan import Cap, ChannelInfo, Node, Span
from engine.core.shapes import PURPOSES, Duration, Many, Map, Ref, Table, Text, Val, WallTime, optional, required
from engine.errors import MissingVariable, RenderError

_NEVER = 1 << 62
"""The instant at which a cap of ``max: never`` leaves room."""


class SendMessage(Action):
    """Render a template and hand it to the first channel of ``via`` that may be used.

    Suppressed with the reason ``consent``, ``no_address``, ``missing_variable``, ``render``, ``expired`` or ``cap``.

    Example:
        message: {template: welcome/hello, via: [wecom, sms], purpose: service, with: {coupon: "{{ steps.gift }}"}}
    """

    word = "message"
    shape = Map(
        {
            "template": required(Ref("template"), "folder/name of the template"),
            "purpose": required(Text(PURPOSES), "what it is for; consent and caps go by it"),
            "via": optional(Many(Ref("channel")), "channels in order of preference; all the template has by default"),
            "to": optional(Val(), "address, instead of the user's own"),
            "with": optional(Table(Val(), what="name"), "values the template sees as with.<name>"),
            "valid_for": optional(Duration(), "not sent later than this after the step was reached"),
            "at": optional(WallTime(), "wait for this wall time in the user's zone"),
            "on_cap": optional(
                Text(("skip", "wait", "exit")), "when a cap refuses: skip (default), wait, or end the journey"
            ),
        }
    )

    def __init__(self, fields: dict[str, Any], templates: Any, via: list[str]) -> None:
        self.template: str = fields["template"]
        self.purpose: str = fields["purpose"]
        self.templates = templates  #: (channel, locale) -> template or None
        self.via = via
        self.to: Value | None = fields.get("to")
        self.values: dict[str, Value] = fields.get("with", {})
        self.valid_for: Span | None = fields.get("valid_for")
        self.at: str | None = fields.get("at")
        self.on_cap: str = fields.get("on_cap", "skip")

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> SendMessage:
        """Channels default to those the template is written for."""
        via = fields.get("via") or build.channels_of(fields["template"])
        return cls(fields, build.template(fields["template"]), via)

    def gist(self) -> str:
        return f"{self.template} · {' / '.join(self.via)} · {self.purpose}"

    def run(self, run: Run) -> Node | Pause | None:
        if self.at is not None:
            zone = localtime.zone(run.zone) or localtime.UTC
            due = localtime.at_wall(localtime.local_date(run.now, zone), self.at, zone)
            if due < run.now:
                due = localtime.add_days(run.now, 1, self.at, zone)
            if due > run.now:
                run.mark(run.now)
                return run.pause_until(due)
        run.mark(run.now)
        return self._decide(run)

    def resume(self, run: Run, cause: Event | Answer | None) -> Node | Pause | None:
        return self._decide(run)

    def _decide(self, run: Run) -> Node | Pause | None:
        if run.held:
            run.effect("message", self._detail(self.via[0] if self.via else None, None))
            return run.node.next
        channel, address, refused = self._channel(run)
        if channel is None:
            return self._refuse(run, refused, self.via[0] if self.via else None)
        detail, fault = self._render(run, channel)
        if fault is not None:
            return self._refuse(run, fault, channel.name)
        if self.valid_for is not None and run.now > self.valid_for.after(run.marked(), run.zone):
            return self._refuse(run, "expired", channel.name, detail)
        free = self._cap_free_at(run, channel.name)
        if free is not None:
            return self._capped(run, channel.name, detail, free)
        run.effect("message", detail, deliver=channel.name, purpose=self.purpose, to=address)
        if run.plan.cap_window:
            recent = [slot for slot in run.state.slots if slot[0] > run.now - run.plan.cap_window]
            run.state.slots = [*recent, (run.now, self.purpose, channel.name)]
        return run.node.next

    def failed(self, run: Run, reason: str) -> None:
        detail = self._detail(self.via[0] if self.via else None, None)
        run.effect("message", detail, status="suppressed", reason=reason)

    # ------------------------------------------------------------------ gates

    def _channel(self, run: Run) -> tuple[ChannelInfo | None, str | None, str]:
        """(the first channel with consent and an address, the address, else the gate that refused)."""
        rule = run.playbook.policy.consent.get(self.purpose, "required")
        given_to = None if self.to is None else self.to.get(run.m)
        reason = "consent"
        for name in self.via:
            given = consent_given(run.state, name, self.purpose)
            if (rule == "required" and given is not True) or (rule == "opt_out" and given is False):
                continue
            channel = run.plan.channels[name]
            own = run.state.traits.get(channel.address) if channel.address is not None else None
            address = own if self.to is None else given_to
            if address or (channel.address is None and self.to is None):
                return channel, None if address is None else str(address), ""
            reason = "no_address"
        return None, None, reason

    def _render(self, run: Run, channel: ChannelInfo) -> tuple[dict[str, Any], str | None]:
        values = {name: value.get(run.m) for name, value in self.values.items()}
        locale = run.state.traits.get("locale")
        template = self.templates(channel.name, locale if isinstance(locale, str) else None)
        if template is None:
            return {}, "no_template"
        try:
            zone = localtime.zone(run.zone) or localtime.UTC
            message = template.render(template_context(run, values, template.roots), zone=zone)
        except MissingVariable:
            return {}, "missing_variable"
        except RenderError:
            return {}, "render"
        return self._detail(channel.name, message.text, message.subject), None

    def _cap_free_at(self, run: Run, channel: str) -> int | None:
        """None when every cap leaves room; else the earliest instant at which a refused one may."""
        free: int | None = None
        for cap in run.playbook.policy.caps:
            if (cap.purpose or self.purpose) != self.purpose or (cap.channel or channel) != channel:
                continue
            instant = _free_at(cap, run)
            if instant is not None and (free is None or instant > free):
                free = instant
        return free

    # ------------------------------------------------------------------ outcomes

    def _capped(self, run: Run, channel: str, detail: dict[str, Any], free: int) -> Node | Pause | None:
        if self.on_cap == "wait" and free < _NEVER:
            late = None if self.valid_for is None else self.valid_for.after(run.marked(), run.zone)
            if late is None or free <= late:
                return run.pause_until(free)
            return self._refuse(run, "expired", channel, detail)
        self._refuse(run, "cap", channel, detail)
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


def _free_at(cap: Cap, run: Run) -> int | None:
    """None when the cap leaves room now; else the instant at which its window does."""
    if not cap.most:
        return _NEVER
    zone = localtime.zone(run.zone) or localtime.UTC
    today = localtime.day_number(run.now, zone) if cap.per is None else 0
    taken = []
    for at, purpose, channel in run.state.slots:
        if cap.purpose not in (None, purpose) or cap.channel not in (None, channel):
            continue
        if cap.per is not None:
            if at > run.now - cap.per:
                taken.append(at)
        elif localtime.day_number(at, zone) == today:
            taken.append(at)
    if len(taken) < cap.most:
        return None
    if cap.per is None:
        return localtime.next_midnight(run.now, zone)
    return taken[len(taken) - cap.most] + cap.per
