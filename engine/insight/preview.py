"""A message as it would be sent to somebody now, by the very code that renders it in a journey; nothing is decided.

Rule 1: what no journey has given yet is a sample, and marked: coupon codes say SAMPLE (no real one can), links say TEST
and are signed with no key, so nothing they lead to happens.
Rule 2: all else is real: the person's fields, the newest event that would begin the journey, the program's variables.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any

from msgspec import structs

from engine.actions.coupon import GiveCoupon
from engine.actions.invite import Invite
from engine.actions.message import SendMessage
from engine.actions.post import PURPOSE, PostToGroup, zone_there
from engine.core.journeys import Run, as_datetime
from engine.core.judging import ALL
from engine.core.links import Links
from engine.core.model import Effect, Event, Journey, Out, State
from engine.core.moment import Moment
from engine.core.plan import ChannelInfo, Node, Plan, Playbook, zone_of
from engine.core.step import Turn
from engine.core.subjects import USER, shown_as
from engine.errors import DrumbeatError, MissingVariable, ProgramError, RenderError
from engine.insight import sms
from engine.insight.gates import gates
from engine.insight.subject import instant
from engine.ports import Outgoing
from engine.registry import nearest
from engine.render import Template, TemplateSet

SAMPLE, TEST = "SAMPLE", "TEST"
"""How a sample coupon code, and the token of a link that leads nowhere, are marked."""

NOBODY = "preview"
"""Id of the journey of somebody no event would begin one for."""

_PHONES = frozenset({"phone", "mobile", "tel", "sms"})


_BODY = re.compile(r"<body[^>]*>", re.IGNORECASE)


@dataclass(frozen=True)
class Source:
    """A message or a post, with the templates it may send."""

    playbook: Playbook
    node: Node
    action: SendMessage | PostToGroup

    @property
    def purpose(self) -> str:
        """What it is for, to caps and freezes."""
        return PURPOSE if isinstance(self.action, PostToGroup) else self.action.purpose


@dataclass(frozen=True)
class Person:
    """For whom."""

    state: State
    events: Sequence[Event] = ()  #: the newest last
    given: Mapping[str, Any] = field(default_factory=dict)  #: step -> what it gave


@dataclass(frozen=True)
class Shown:
    """One form of a message."""

    channel: str
    locale: str | None
    file: str
    item: Outgoing | None  #: as the channel is given it; None when there is no message
    refused: str | None  #: why there is none
    words: str  #: more about that
    sampled: tuple[str, ...]  #: steps whose results are samples
    html: bool = False


class _Marked(Links):
    """Links that lead nowhere, as long as real ones."""

    def url(self, kind: str, token: str) -> str:
        """As of any link, its token spoiled."""
        return super().url(kind, TEST + token[len(TEST) :])


# ---------------------------------------------------------------------- which message


def sources(plan: Plan, templates: TemplateSet, what: str) -> list[Source]:
    """The message steps a word names: a template, a playbook, or ``playbook:step``; raises ProgramError."""
    name, _, step = what.partition(":")
    if name in plan.by_id:
        found = [it for it in _steps(plan.by_id[name]) if step in ("", it.node.id)]
        if not found:
            ids = [it.node.id for it in _steps(plan.by_id[name])]
            near = nearest(step, ids) if step else None
            hint = f"did you mean '{near}'?" if near else "its messages: " + (", ".join(ids) or "none")
            raise ProgramError(f"playbook '{name}' has no message step '{step}'" if step else
                               f"playbook '{name}' sends no message", hint=hint)  # fmt: skip
        return found
    if what not in templates.names():
        near = nearest(what, [*templates.names(), *plan.by_id])
        hint = f"did you mean '{near}'?" if near else "a template such as welcome/hello, or a playbook"
        raise ProgramError(f"there is no template and no running playbook '{what}'", hint=hint)
    using = [it for playbook in plan.playbooks for it in _steps(playbook) if it.action.template == what]
    return using[:1] or [_alone(plan, templates, what)]


def _steps(playbook: Playbook) -> list[Source]:
    nodes = playbook.nodes.values()
    return [Source(playbook, it, it.action) for it in nodes if isinstance(it.action, (SendMessage, PostToGroup))]


def _alone(plan: Plan, templates: TemplateSet, name: str) -> Source:
    """A template no playbook sends, as if one did."""
    like = next((it for it in plan.playbooks if it.subject == USER), None)
    via = [it for it in templates.channels(name) if it in plan.channels]
    if like is None or not via:
        raise ProgramError(f"template '{name}' is for no channel of the program, or no playbook is about users")
    fields = {"template": name, "purpose": "transactional"}
    locale = plan.env.locale
    action = SendMessage(fields, lambda channel, wanted: templates.find(name, channel, wanted, locale), via)
    playbook = copy(like)
    playbook.id, playbook.variables, playbook.triggers, playbook.nodes = NOBODY, {}, (), {}
    return Source(playbook, Node(id="message", action=action), action)


# ---------------------------------------------------------------------- what it looks like


def shown(
    plan: Plan, source: Source, person: Person, now: int, *,
    templates: TemplateSet, locale: str | None = None, channel: str | None = None, every: bool = False,
) -> list[Shown]:  # fmt: skip
    """The message for somebody, in the forms that are asked for.

    Parameters
    ----------
    now: the instant of the sending, microseconds UTC.
    locale: this one, as if it were the person's; None: the person's own.
    channel: of the step's channels this one; None: the first (or, with ``every``, all).
    every: all channels, in all locales the template is written in.
    """
    via = source.action.via
    if channel is not None and channel not in via:
        near = nearest(channel, via)
        raise ProgramError(f"the message does not go by '{channel}'",
                           hint=f"did you mean '{near}'?" if near else f"it goes by {', '.join(via)}")  # fmt: skip
    names = [channel] if channel is not None else list(via) if every else via[:1]
    if channel is None and not every and isinstance(source.action, PostToGroup):
        names = _channel_of_group(plan, source, person, now) or names
    out = []
    for name in names:
        if every and locale is None:
            variants = [it for it in templates.variants(source.action.template) if it.channel == name]
            out += [_one(plan, source, person, now, plan.channels[name], it.locale, it) for it in variants]
        else:
            out.append(_one(plan, source, person, now, plan.channels[name], locale, None))
    return out


def _channel_of_group(plan: Plan, source: Source, person: Person, now: int) -> list[str]:
    """The channel a post would go by; none where that cannot be told."""
    action = source.action
    if not isinstance(action, PostToGroup):
        return []
    run, _ = _run(plan, source, action, structs.replace(person.state), person, now)
    try:
        name = action.channel_for(run, action.room_of(run))
    except DrumbeatError:  # said where it is rendered
        return []
    return [] if name is None else [name]


def _one(
    plan: Plan, source: Source, person: Person, now: int, channel: ChannelInfo, locale: str | None,
    variant: Template | None,
) -> Shown:  # fmt: skip
    action = copy(source.action)
    if variant is not None:
        action.templates = lambda _channel, _locale: variant
    traits = dict(person.state.traits)
    if locale is not None:
        traits["locale"] = locale
    state = structs.replace(person.state, traits=traits)
    own = traits.get("locale")
    template = action.templates(channel.name, own if isinstance(own, str) else None)
    run, sampled = _run(plan, source, action, structs.replace(state), person, now)
    try:
        detail, fault, address = _written(run, action, channel)
    except Exception as error:  # a value of `with` or `to` that cannot be worked out: what a journey would stop at
        detail, fault, address = {}, "error", None
        run.explain("render", False, str(error) or type(error).__name__)
    said = "; ".join(why.text for it in run.turn.out.trace for why in it.why)
    file = template.file if template is not None else "-"
    where = template.locale if template is not None else locale
    html = bool(template is not None and template.html)
    if fault is not None:
        return Shown(channel.name, where, file, None, fault, said, sampled, html)
    user, group = shown_as(state.id)
    to = None if address in (None, "") else str(address)
    effect = Effect(
        run.key(), now, source.playbook.id, source.node.id, source.action.word, user, group, "planned", None, detail,
        deliver=channel.name, purpose=None if isinstance(action, PostToGroup) else action.purpose, to=to,
    )  # fmt: skip
    item = Outgoing(key=effect.key, channel=channel.name, effect=effect, attempts=0)
    return Shown(channel.name, where, file, item, None, said, sampled, html)


def _written(
    run: Run, action: SendMessage | PostToGroup, channel: ChannelInfo
) -> tuple[dict[str, Any], str | None, Any]:
    """(detail, why there is none, address)."""
    if isinstance(action, SendMessage):
        detail, fault = action.rendered(run, channel)
        return detail, fault, action.address(run, channel)
    try:
        group = action.room_of(run)
        return action.rendered(run, group, channel.name, zone_there(run, group)), None, group
    except (MissingVariable, RenderError) as error:
        run.explain("render", False, str(error))
        return {}, "missing_variable" if isinstance(error, MissingVariable) else "render", None


def begun_by(playbook: Playbook) -> frozenset[str]:
    """The types of events that may begin a journey."""
    return frozenset(type_ for trigger in playbook.triggers for type_ in trigger.listens() or ())


def _run(
    plan: Plan, source: Source, action: SendMessage | PostToGroup, state: State, person: Person, now: int
) -> tuple[Run, tuple[str, ...]]:
    """The journey at the step, as far as it is known."""
    playbook = source.playbook
    types = begun_by(playbook)
    entry = next((it for it in reversed(person.events) if it.type in types), None)
    journey = Journey(
        playbook=playbook.id, key="", occurrence=entry.id if entry is not None else NOBODY, started=now,
        at=source.node.id, trigger=playbook.triggers[0].id if playbook.triggers else "", entry=entry,
    )  # fmt: skip
    running = next((it for it in state.journeys if it.playbook == playbook.id), None)
    results, sampled = {}, []
    for id_, node in playbook.nodes.items():
        found = person.given.get(id_)
        if found is None and running is not None and not isinstance(node.action, GiveCoupon):
            found = running.results.get(id_)
        if found is None and (found := _sample(plan, node, state, now)) is not None:
            sampled.append(id_)
        results[id_] = found
    journey.results = results
    if plan.links is not None:
        plan = dataclasses.replace(plan, links=_Marked(base=plan.links.base, hosts=plan.links.hosts))
    plan = plan if (part := plan.part(state.id)) is plan else part
    turn = Turn(plan, Out(), ALL)
    turn.state, turn.now, turn.cause = state, now, {"wake": NOBODY}
    m = Moment(state, entry, now, now, plan.env, entry, results, journey.trigger, playbook.variables)
    turn.m = m
    return Run(turn, playbook, journey, dataclasses.replace(source.node, action=action), m), tuple(sampled)


def _sample(plan: Plan, node: Node, state: State, now: int) -> dict[str, Any] | None:
    """What a step might have given."""
    action = node.action
    if isinstance(action, GiveCoupon):
        pool = plan.pools[action.pool]
        until = None if pool.valid_for is None else pool.valid_for.after(now, zone_of(state, plan.env))
        return {"code": sample_code(pool), "expires_at": as_datetime(until), "value": pool.value, "pool": pool.name}
    if isinstance(action, Invite) and action.groups:
        room = next(iter(plan.rooms[action.groups[0]].rooms), None)
        return {"group": action.groups[0], "room": getattr(room, "id", SAMPLE.lower()),
                "link": "https://sample.invalid/room"}  # fmt: skip
    return {name: SAMPLE.lower() for name in sorted(action.results)} or None


def sample_code(pool: Any) -> str:
    """A code as long as those of a pool that none of them can be: generated ones have no L."""
    if pool.prefix is not None:
        return f"{pool.prefix}-{SAMPLE:0<16}"
    size = max((len(code) for code in pool.codes[:1000]), default=16)
    return f"{SAMPLE:0<{size}}"[: max(size, len(SAMPLE))]


# ---------------------------------------------------------------------- what is said of it


def row(it: Shown, plan: Plan) -> dict[str, Any]:
    """A form of a message, ready for JSON; the wire is added by whoever can open channels."""
    detail = it.item.effect.detail if it.item is not None else {}
    text = detail.get("text")
    size = sms.size(text) if text is not None and not it.html else None
    return {
        "channel": it.channel,
        "locale": it.locale,
        "file": it.file,
        "status": "ready" if it.refused is None else "suppressed",
        "reason": it.refused,
        "words": it.words,
        "to": it.item.effect.to if it.item is not None else None,
        "subject": detail.get("subject"),
        "fields": detail.get("fields") or {},
        "html": it.html,
        "text": text,
        "letters": None if text is None else len(text),
        "sms": None if size is None else {"alphabet": size.alphabet, "units": size.units, "segments": size.segments,
                                          "left": size.left, "odd": list(size.odd)},
        "carries_sms": is_sms(plan, it.channel),
        "key": it.item.key if it.item is not None else None,
        "samples": list(it.sampled),
        "warnings": list(_warnings(it, size, plan)),
    }  # fmt: skip


def is_sms(plan: Plan, channel: str) -> bool:
    """Does a channel carry short messages, by its name or by the trait it is addressed by?"""
    address = plan.channels[channel].address or ""
    return "sms" in channel.lower().replace("-", "_").split("_") or address.lower() in _PHONES


def _warnings(it: Shown, size: sms.Size | None, plan: Plan) -> Iterator[str]:
    channel = plan.channels[it.channel]
    if it.item is not None and channel.address is not None and it.item.effect.to is None:
        yield f"no address: user.{channel.address} is empty, so it would not be sent"
    if size is None or not is_sms(plan, it.channel):
        return
    if size.segments > 1:
        yield f"{size.segments} segments of SMS ({size.units} units of {size.alphabet})"
    few = 0 < len(size.odd) <= 5
    if few and all(ord(letter) < 0x2E80 or ord(letter) > 0xFFFF for letter in size.odd):
        odd = " ".join(f"'{letter}'" for letter in size.odd)
        yield f"{odd} makes it UCS-2, with 70 letters a segment instead of 160"


def closed(plan: Plan, source: Source, state: State, now: int) -> list[dict[str, Any]]:
    """The gates that would hold the message back now."""
    if source.playbook.id not in plan.by_id:
        return []
    rows = gates(plan, source.playbook, state, now)
    return [it for it in rows if it["open"] is False and it["step"] == source.node.id and it["gate"] != "address"]


# ---------------------------------------------------------------------- a test for a tester


def as_test(it: Outgoing, to: str, stamp: int) -> Outgoing:
    """The message as a test for somebody else: marked, under a key of its own, and in nobody's name.

    ``stamp``: an instant that makes the key new each time, for providers that know keys.
    """
    mark = f"[{TEST}] "
    detail = {name: value for name, value in it.effect.detail.items() if name != "unsubscribe"}
    detail["test"] = True
    detail["subject"] = mark + str(detail.get("subject") or detail["template"])
    fields = dict(detail.get("fields") or {})
    if fields.get("title"):
        detail["fields"] = {**fields, "title": mark + fields["title"]}
    text = detail["text"]
    begins = _BODY.search(text) if detail.get("html") else None
    at = 0 if begins is None else begins.end()
    detail["text"] = text[:at] + mark + text[at:]
    key = f"test:{it.key}:{instant(stamp)}"
    effect = structs.replace(it.effect, key=key, user=TEST.lower(), to=to, detail=detail, spares=(), carries=())
    return structs.replace(it, key=key, effect=effect)

