"""Messages against purposes, quiet hours, caps and each other."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from typing import Any, Final

from engine.actions.choose import Choose
from engine.actions.message import SendMessage
from engine.actions.split import Split
from engine.actions.stop import StopJourney
from engine.actions.wait import Wait
from engine.actions.wait_for import WaitFor
from engine.core import plan as core
from engine.core.model import DAY, MINUTE
from engine.core.plan import Block, Span
from engine.core.policies import Cap
from engine.core.waits import Until
from engine.language.diagnostics import Page
from engine.language.lint.registry import Check
from engine.language.lint.terms import Terms, clash, terms
from engine.language.lint.world import Book, Step, World, scalars
from engine.language.nodes import MapNode, Node, ScalarNode
from engine.triggers.schedule import Schedule

PAGES: Final[dict[str, Page]] = {
    "dressed-up": Page(
        "marketing dressed as service",
        "The message is called 'service' or 'transactional', and its words sell: people who refused marketing would "
        "get it all the same. Call it marketing, or take the offer out. When it really is what somebody asked for, "
        "say so: '# allow: dressed-up — why'.",
        "# file: templates/tea/new.sms.j2\nFlash sale, buy now!\n"
        "# file: playbooks/tea.yaml\nsteps:\n  - message: {template: tea/new, via: sms, purpose: service}",
        "# file: templates/tea/new.sms.j2\nFlash sale, buy now!\n"
        "# file: playbooks/tea.yaml\nsteps:\n  - message: {template: tea/new, via: sms, purpose: marketing}",
        "warning",
    ),
    "quiet-time": Page(
        "a fixed time inside quiet hours",
        "The message is due at a wall time (of its own, of a wait right above it, or of the trigger) at which nothing "
        "may be sent, so it always waits until the quiet hours end. Choose another time, or a policy with other quiet "
        "hours.",
        'policies:\n  default: {quiet_hours: {from: "22:00", to: "08:00"}}\n'.join(
            ("# file: drumbeat.yaml\n", "# file: playbooks/tea.yaml\nsteps:\n")
        )
        + '  - message: {template: welcome/hello, via: sms, purpose: marketing, at: "23:00"}',
        'policies:\n  default: {quiet_hours: {from: "22:00", to: "08:00"}}\n'.join(
            ("# file: drumbeat.yaml\n", "# file: playbooks/tea.yaml\nsteps:\n")
        )
        + '  - message: {template: welcome/hello, via: sms, purpose: marketing, at: "10:00"}',
        "warning",
    ),
    "cap-starved": Page(
        "a message its own cap never lets through",
        "On one way through the playbook more messages of a purpose fall into one window than the cap allows, so "
        "the last of them is suppressed for everybody who walks that way. Send fewer, wait longer, or write "
        "'on_cap: wait'.",
        "# file: drumbeat.yaml\npolicies:\n  default: {caps: [{purpose: marketing, max: 1, per: 7d}]}\n"
        "# file: playbooks/tea.yaml\nsteps:\n"
        "  - message: {template: welcome/hello, via: sms, purpose: marketing}\n  - wait: 1d\n"
        "  - message: {template: welcome/hello, via: sms, purpose: marketing}",
        "# file: drumbeat.yaml\npolicies:\n  default: {caps: [{purpose: marketing, max: 1, per: 7d}]}\n"
        "# file: playbooks/tea.yaml\nsteps:\n"
        "  - message: {template: welcome/hello, via: sms, purpose: marketing}\n  - wait: 7d\n"
        "  - message: {template: welcome/hello, via: sms, purpose: marketing}",
        "warning",
    ),
    "double-greeting": Page(
        "two playbooks greet the same person",
        "Both begin at the same event and both send at once, so one person gets two messages in one minute. Let one of "
        "them wait, tell them apart by conditions, or let the first hand over with 'emit'.",
        "# file: playbooks/a.yaml\nplaybook: a\ntrigger: {signup: true}\nsteps:\n"
        "  - message: {template: welcome/hello, via: sms, purpose: service}\n"
        "# file: playbooks/b.yaml\nplaybook: b\ntrigger: {signup: true}\nsteps:\n"
        "  - message: {template: welcome/hello, via: sms, purpose: service}",
        "# file: playbooks/a.yaml\nplaybook: a\ntrigger: {signup: true}\nsteps:\n"
        "  - message: {template: welcome/hello, via: sms, purpose: service}\n"
        "# file: playbooks/b.yaml\nplaybook: b\ntrigger: {signup: true}\nsteps:\n  - wait: 1d\n"
        "  - message: {template: welcome/hello, via: sms, purpose: service}",
        "warning",
    ),
}

# Words that urge to buy say enough by themselves; words of a discount only beside a coupon, since an invoice has them.
_URGES: Final = re.compile(
    r"限时|抢购|秒杀|促销|特卖|立即下单|马上抢|快来抢|最后\S{0,2}机会"
    r"|\b(?:buy now|shop now|order now|flash sale|on sale|last chance|limited time|hurry)\b",
    re.IGNORECASE,
)
_DISCOUNT: Final = re.compile(
    r"优惠|折扣|立减|满\s*[\d…].{0,40}?减|打\s*[\d一二三四五六七八九]+\s*折|特价"
    r"|\b(?:discount|sale|deal|% off)\b",
    re.IGNORECASE,
)
_CODE: Final = re.compile(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", re.DOTALL)


def look_dressed(world: World) -> None:
    """Service messages that sell."""
    for book, step, channels in world.messages:
        action = step.node.action
        if getattr(action, "purpose", None) not in ("service", "transactional"):
            continue
        gives = _gives_coupon(book, step)
        for text in world.variants(action.template, channels):  # type: ignore[attr-defined]
            words = _CODE.sub("…", text.source)
            found = _URGES.search(words) or (_DISCOUNT.search(words) if gives else None)
            if found is not None:
                what = f"its text says '{found[0].strip()}'" + (" and it hands over a coupon" if gives else "")
                message = f"this message is called {action.purpose}, and {what} ({text.file})"  # type: ignore[attr-defined]
                world.say(step.at("purpose"), "dressed-up", message, "purpose: marketing, or take the offer out")
                break


def _gives_coupon(book: Book, step: Step) -> bool:
    coupons = {one.node.id for one in book.steps if one.verb == "coupon"}
    given = step.at("with")
    texts = [one.text for one in scalars(given)] if isinstance(given, MapNode) else []
    return any(re.search(rf"\bsteps\.{re.escape(name)}\b", text) for name in coupons for text in texts)


# ---------------------------------------------------------------------- quiet hours


_WALL: Final = re.compile(r"\d\d:\d\d")


def _during(wall: str, begin: str, end: str) -> bool:
    return begin <= wall < end if begin < end else wall >= begin or wall < end


def look_quiet(world: World) -> None:
    """Messages due at a wall time at which nothing is sent."""
    for book in world.books:
        quiet = book.plan.policy.quiet
        if quiet is None:
            continue
        begin, end = quiet.text.split("-")
        before: dict[tuple[int, int], Step] = {}
        for step in book.steps:
            key = (id(step.parent), step.branch)
            last, before[key] = before.get(key), step
            action = step.node.action
            if not isinstance(action, SendMessage) or action.purpose == "transactional":
                continue
            due = [([action.at], step.at("at"))] if action.at is not None else _waited(book, step, last)
            for times, where in due:
                walls = [wall for wall in times if wall is not None and _WALL.fullmatch(wall)]
                if walls and all(_during(wall, begin, end) for wall in walls):
                    shown = ", ".join(walls[:3]) + (" ..." if len(walls) > 3 else "")
                    verb = "lies" if len(walls) == 1 else "lie"
                    message = f"{shown} {verb} in the quiet hours of policy '{book.plan.policy.name}' ({quiet.text})"
                    world.say(where, "quiet-time", message, f"the message always waits until {end}")


def _waited(book: Book, step: Step, last: Step | None) -> Iterator[tuple[list[str | None], Node]]:
    """The wall times a message follows at once: of a wait right above it, or of the trigger."""
    if last is not None and isinstance(last.node.action, Wait):
        when = last.node.action.when
        if isinstance(when, Span):
            yield [when.at], last.at("at")
        elif isinstance(when, Until):
            yield [when.wall], last.at("until")
    elif last is None and step.parent is None:
        for place, compiled in enumerate(book.plan.triggers):
            trigger = book.trigger_at(place)
            for node in [trigger, *(value for _, value in trigger)] if isinstance(trigger, MapNode) else []:
                at, cron = (node.get("at"), node.get("cron")) if isinstance(node, MapNode) else (None, None)
                if isinstance(at, ScalarNode):
                    yield [at.text], at
                if cron is not None and isinstance(compiled, Schedule) and compiled.cron is not None:
                    minutes = [wall // MINUTE for wall in compiled.cron.walls]
                    yield [f"{minute // 60:02d}:{minute % 60:02d}" for minute in minutes], cron


# ---------------------------------------------------------------------- caps

_MOST_WAYS: Final = 64
_Sent = tuple[int, core.Node]
"""(longest time since entry, microseconds; the message)."""
_Way = tuple[int | None, tuple[_Sent, ...], bool]
"""(longest time since entry or since the last wait of unknown length, messages since then, the journey goes on)."""


def look_caps(world: World) -> None:
    """Ways through a playbook with more messages in a window than a cap allows."""
    for book in world.books:
        caps = [(cap, f"cap of policy '{book.plan.policy.name}'") for cap in book.plan.policy.caps if cap.most > 0]
        caps += _quotas(world, book)
        messages = [step for step in book.steps if isinstance(step.node.action, SendMessage)]
        if not caps or len(messages) < 2 or len(messages) <= min(cap.most for cap, _ in caps):
            continue
        told: set[str] = set()
        by_id = {step.node.id: step for step in messages}
        for way in _ways(book.plan.body, [(0, (), True)]):
            for cap, whose in caps:
                late = _starved(cap, way[1])
                if late is not None and late.id not in told and late.id in by_id:
                    told.add(late.id)
                    window = "a day" if cap.per is None else _days(cap.per)
                    what = " ".join(word for word in (cap.purpose, cap.channel) if word)
                    message = (
                        f"this is {what} message {cap.most + 1} within {window}, and the {whose} allows {cap.most}"
                    )
                    world.say(by_id[late.id].key, "cap-starved", message, "wait longer, send fewer, or on_cap: wait")


def _quotas(world: World, book: Book) -> list[tuple[Cap, str]]:
    """What channels leave a playbook of its priority."""
    found = (
        (it.quota.open_to(book.plan.priority), it.name) for it in world.channels.values() if it.quota is not None
    )
    return [(cap, f"quota of channel '{name}'") for cap, name in found if cap.most > 0]


def _days(span: int) -> str:
    return f"{span // DAY} days" if span % DAY == 0 and span != DAY else "24 hours" if span == DAY else f"{span}us"


def _starved(cap: Cap, sent: tuple[_Sent, ...]) -> core.Node | None:
    """The first message the cap is sure to refuse: even at the slowest pace, too many stand in its window."""
    counted: deque[int] = deque()
    for at, node in sent:
        action = node.action
        if not isinstance(action, SendMessage) or cap.purpose not in (None, action.purpose):
            continue
        if cap.channel is not None and action.via != [cap.channel]:
            continue
        window = cap.per if cap.per is not None else 1  # a day ends at midnight: only one instant is sure to be in it
        while counted and at - counted[0] >= window:
            counted.popleft()
        if len(counted) >= cap.most and action.on_cap != "wait":
            return node
        counted.append(at)
    return None


def _ways(block: Block, ways: list[_Way]) -> list[_Way]:
    """Every way through a list of steps, longest waits taken; some of them when there are very many."""
    for node in block.nodes:
        out: list[_Way] = []
        for way in ways:
            out.extend([way] if not way[2] else _through(node, way))
        ways = out[:_MOST_WAYS]
    return ways


def _through(node: core.Node, way: _Way) -> list[_Way]:
    action: Any = node.action
    here, sent, _ = way
    if isinstance(action, SendMessage):
        if node.guard is not None or action.at is not None or here is None:
            return [way] if here is not None and action.at is None else [(0, (), True)]
        return [(here, (*sent, (here, node)), True)]
    if node.guard is not None:  # whether it waits or sends is not known: what came before says nothing any more
        return [way] if not isinstance(action, (Wait, WaitFor)) else [(0, (), True)]
    if isinstance(action, StopJourney):
        return [(here, sent, False)]
    if isinstance(action, Wait):
        return [_later(way, action.when)]
    if isinstance(action, WaitFor):
        waited = _later(way, action.up_to)
        ways = _ways(action.then, [waited])
        return ways + ([] if action.otherwise is None else _ways(action.otherwise, [waited]))
    if isinstance(action, Choose):
        ways = [one for _, block in action.branches for one in _ways(block, [way])]
        return ways if any(condition is None for condition, _ in action.branches) else [*ways, way]
    if isinstance(action, Split):
        return [one for arm in action.arms if not arm.holdout for one in _ways(arm.block, [way])]
    return [way]


def _later(way: _Way, when: object) -> _Way:
    here, sent, goes_on = way
    if here is None or not isinstance(when, Span):
        return (0, (), goes_on)  # of unknown length: counting begins anew
    longest = when.elapsed if when.days is None else (when.days + 1) * DAY
    return (here + longest, sent, goes_on)


# ---------------------------------------------------------------------- greetings


def look_greetings(world: World) -> None:
    """Playbooks that begin at the same event and send at once."""
    by_type: dict[str, list[tuple[Book, Step]]] = {}
    for book in world.books:
        first = _at_once(book) if book.plan.status == "live" else None
        if first is None:
            continue
        for trigger in book.plan.triggers:
            if trigger.word in ("signup", "event"):
                for type_ in sorted(trigger.listens() or ()):
                    by_type.setdefault(type_, []).append((book, first))
    said = {book.id: _said(book) for greeters in by_type.values() for book, _ in greeters}
    told: set[tuple[str, str]] = set()
    for type_, greeters in sorted(by_type.items()):
        for place, (book, step) in enumerate(greeters):
            for other, _ in greeters[max(0, place - _NEAR) : place]:
                pair = (other.id, book.id)
                if other is not book and pair not in told and clash((*said[other.id], *said[book.id])) is None:
                    told.add(pair)
                    message = f"'{book.id}' and '{other.id}' both send a message at once at '{type_}'"
                    hint = f"the other one is in {other.yaml.mark.file}: let one wait, or hand over with 'emit'"
                    world.say(step.key, "double-greeting", message, hint)
                    break


def _at_once(book: Book) -> Step | None:
    """The first message that is surely sent before any wait."""
    found = _first_message(book.plan.body)
    return next((step for step in book.steps if step.node is found), None) if found is not None else None


def _first_message(block: Block) -> core.Node | None:
    for node in block.nodes:
        action = node.action
        if isinstance(action, (Wait, WaitFor, StopJourney)):
            return None
        if isinstance(action, SendMessage):
            if action.at is None and node.guard is None:
                return node
        elif isinstance(action, Choose) and node.guard is None:
            inner = [_first_message(branch) for _, branch in action.branches]
            if any(condition is None for condition, _ in action.branches) and all(inner):
                return inner[0]
        elif list(action.blocks()):
            return None
    return None


_NEAR: Final = 50  # playbooks at one event that are compared with each other


def _said(book: Book) -> Terms:
    """What holds of whoever enters a playbook."""
    found = [term for condition in book.plan.when for term in terms(condition)]
    if len(book.plan.triggers) == 1 and book.plan.triggers[0].condition is not None:
        found += terms(book.plan.triggers[0].condition)
    return tuple(found)


CHECKS: Final = (
    Check(("dressed-up",), look_dressed),
    Check(("quiet-time",), look_quiet),
    Check(("cap-starved",), look_caps),
    Check(("double-greeting",), look_greetings),
)
