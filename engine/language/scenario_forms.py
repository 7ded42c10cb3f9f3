"""The shapes of a scenario test: its frame, what happens in it, and every word it may expect.

A word of ``expect`` is one entry of a table: what stands behind it, the keys it may carry, and the field it is compared
with. A new kind of effect is one more line in ``EFFECTS``; a new kind of entry of the timeline one more in ``ENTRIES``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from engine.core.shapes import (
    FREE_NAME,
    NAME,
    PURPOSES,
    Duration,
    Either,
    EventName,
    Field,
    Flag,
    Int,
    Many,
    Map,
    Plain,
    Ref,
    Shape,
    Table,
    Text,
    optional,
    required,
)
from engine.language.scalars import CALENDAR

_SPAN = r"([0-9]{1,9}[smhdw])+"
_INSTANT = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?([Zz]|[+-][0-9]{2}:[0-9]{2})"

INSTANT = Text(pattern=_INSTANT, what="instant such as 2026-03-01T09:00:00+08:00")
WHEN = Either(scalar=Text(pattern=rf"[+-]{_SPAN}|{_INSTANT}", what="time such as +20d or an instant"), map=CALENDAR)
"""``+20d`` or ``{days: 3, at: "10:00"}``, counted from ``clock``; or an instant."""

USER = Ref("user")
_NAME = Text()

TEXT = Either(
    scalar=Text(),
    map=Map(
        {
            "equals": optional(_NAME, "the whole text"),
            "contains": optional(Many(_NAME), "a part of it; of a list every one"),
            "lacks": optional(Many(_NAME), "no part of it; of a list none"),
            "matches": optional(_NAME, "a regular expression that is found in it"),
            "snapshot": optional(Text(pattern=NAME, what="name"), "the text kept under this name, see --update"),
        }
    ),
)
"""What is said of a text; a bare value is the whole of it."""


@dataclass(frozen=True)
class Word:
    """One word of ``expect``."""

    value: Shape  #: what stands behind it
    of: str  #: the field of what happened that it is compared with
    note: str  #: one line for the reference page
    keys: Mapping[str, Field] = field(default_factory=dict)  #: further keys


def _journey(note: str) -> Word:
    return Word(Ref("playbook"), "playbook", note)


JOURNEYS: dict[str, Word] = {
    "entered": _journey("somebody began the playbook"),
    "held_out": _journey("somebody began it as control, without effects"),
    "goal": _journey("its goal was reached"),
    "finished": _journey("the journey came to its end"),
    "exited": _journey("the journey was ended early"),
    "capped": _journey("its entry limit was reached: whoever came waits or is turned away"),
    "late": _journey("an event was too old to start it"),
}
"""What became of journeys. These may be left out of ``expect``."""

FAULTS: dict[str, Word] = {"error": _journey("a condition or step of it could not be worked out")}
"""What went wrong. It must be expected, unless a suppressed effect tells of it."""

_WIRE = {
    "via": optional(Ref("channel"), "the channel"),
    "text": optional(TEXT, "what was handed to it"),
    "to": optional(_NAME, "the address"),
    "attempt": optional(Int(low=1), "which try it was"),
}

DELIVERIES: dict[str, Word] = {
    "sent": Word(Ref("template"), "template", "a channel took the message", _WIRE),
    "failed": Word(Ref("template"), "template", "a channel refused the message (see fixed.fail)", _WIRE),
    "cancelled": Word(
        Ref("template"), "template", "a message that waited to be sent was taken back: consent, goal, exit, expired",
        {"via": optional(Ref("channel"), "the channel")},
    ),
}
"""What channels were handed. These may be left out of ``expect``."""

EFFECTS: dict[str, Word] = {
    "message": Word(
        Ref("template"), "template", "a message",
        {
            "via": optional(Ref("channel"), "the channel"),
            "text": optional(TEXT, "its text as it would be sent"),
            "subject": optional(TEXT, "its subject"),
            "purpose": optional(Text(PURPOSES), "its purpose"),
            "to": optional(_NAME, "the address"),
        },
    ),
    "coupon": Word(
        Ref("coupon"), "pool", "a coupon",
        {
            "code": optional(_NAME, "its code (see fixed.codes)"),
            "expires_at": optional(WHEN, "when it ends"),
            "value": optional(Plain(), "what it is worth; a mapping is compared key by key"),
        },
    ),
    "invite": Word(
        Ref("group"), "group", "a seat in a group",
        {"room": optional(_NAME, "its room"), "link": optional(_NAME, "its link")},
    ),
    "points": Word(
        Int(), "delta", "points, negative when taken",
        {"account": optional(Ref("account"), "the account"), "balance": optional(Int(), "what there is afterwards"),
         "pending": optional(Int(), "points that began to wait, or (negative) are settled or taken back")},
    ),
    "redeem": Word(
        Ref("reward"), "reward", "a reward is reserved",
        {"points": optional(Int(), "what it costs"), "account": optional(Ref("account"), "from which account")},
    ),
    "badge": Word(Ref("badge"), "name", "a badge"),
    "tag": Word(
        Many(_NAME, at_least=0), "add", "tags added",
        {"remove": optional(Many(_NAME, at_least=0), "tags removed")},
    ),
    "tier": Word(
        _NAME, "to", "a move to a level",
        {"from": optional(_NAME, "the level before"), "ladder": optional(Ref("ladder"), "the ladder")},
    ),
    "set": Word(_NAME, "field", "a trait such as user.city", {"value": optional(Plain(), "its new value")}),
    "emit": Word(EventName(), "type", "an event", {"data": optional(Plain(), "its data, compared key by key")}),
    "start": Word(Ref("playbook"), "starts", "another playbook is begun"),
    "task": Word(
        _NAME, "title", "a task for a person, or the word of its escalation",
        {
            "assign": optional(_NAME, "who does it, or is told"),
            "due": optional(WHEN, "by when"),
            "body": optional(Plain(), "what else is said; a mapping is compared key by key"),
            "escalated": optional(Flag(), "true: it was still open, and somebody else is told"),
        },
    ),
    "webhook": Word(
        _NAME, "url", "a call",
        {
            "method": optional(_NAME, "GET, POST ..."),
            "body": optional(Plain(), "what is sent; a mapping is compared key by key"),
            "headers": optional(Plain(), "its headers, compared key by key"),
        },
    ),
    "post": Word(
        Ref("template"), "template", "words in a group",
        {"group": optional(Ref("group"), "the group"), "text": optional(TEXT, "the text")},
    ),
    "nominate": Word(_NAME, "role", "people proposed for a role", {"users": optional(Many(_NAME), "who")}),
    "draw": Word(_NAME, "prize", "a draw: its promise, then itself", {"winners": optional(Many(_NAME), "who")}),
    "rank": Word(
        _NAME, "name", "a ranking",
        {
            "ranked": optional(Plain(), "how many have a place"),
            "rows": optional(Plain(), "the list: place, user and score of each"),
        },
    ),
    "select": Word(
        _NAME, "name", "a set that was chosen anew",
        {
            "size": optional(Plain(), "how many are in it"),
            "entered": optional(Many(_NAME, at_least=0), "who came in"),
            "left": optional(Many(_NAME, at_least=0), "who went"),
        },
    ),
    "survey": Word(
        _NAME, "survey", "the end of a survey",
        {"answered": optional(Flag(), "did an answer come"), "score": optional(Plain(), "its score")},
    ),
}  # fmt: skip
"""What was done. Each of these that happens must be expected."""

_REFUSED = Text(tuple(EFFECTS), what="kind of effect")
REFUSALS: dict[str, Word] = {
    "suppressed": Word(_REFUSED, "kind", "an effect a gate held back: cap, consent, no_address ..."),
    "denied": Word(_REFUSED, "kind", "an effect that could not be had: sold_out, per_user, full ..."),
}
"""What was decided and not done, with any key of its kind. Each of these that happens must be expected."""

WORDS: dict[str, Word] = {**JOURNEYS, **EFFECTS, **REFUSALS, **DELIVERIES, **FAULTS}

COMMON = Map(
    {
        "user": optional(USER, "whose it is"),
        "group": optional(Ref("group"), "of which group it is"),
        "playbook": optional(Ref("playbook"), "by which playbook"),
        "step": optional(_NAME, "by which step"),
        "reason": optional(_NAME, "why it was held back or denied, how a journey ended, what points are for"),
        "at": optional(WHEN, "at which instant"),
        "status": optional(Text(("planned", "held_out")), "held_out: what a control subject would have got"),
    }
)
"""Keys every expectation may carry."""


def keys_of(word: str, kind: str | None = None) -> dict[str, Field]:
    """The keys that may stand beside a word; ``kind``: of what a refusal speaks."""
    own = dict(WORDS[word].keys)
    if word in REFUSALS:
        for name in [kind] if kind in EFFECTS else list(EFFECTS):
            effect = EFFECTS[name or ""]
            own |= {effect.of: Field(effect.value, note=f"of {name}"), **effect.keys}
    return {**own, **COMMON.fields}


_AGAIN = {
    "times": optional(Int(low=1, high=1000), "so many of them; with every"),
    "every": optional(Duration(), "the time between two of them"),
}

EVENT = Map(
    {
        "event": required(EventName(), "its type"),
        "at": optional(WHEN, "when it arrives; without it at the instant of the entry before"),
        "user": optional(USER, "whose it is; may be left out when the scenario has one user"),
        "group": optional(Ref("group"), "the group it happened in"),
        "data": optional(Plain(), "its data"),
        "time": optional(WHEN, "its own time, when it arrives late"),
        "id": optional(_NAME, "its id; the same id again is the same event"),
        **_AGAIN,
        "note": optional(_NAME, "for the reader"),
    }
)

EXPECT = Map(
    {
        "expect": required(Plain(), "a list of what happened since the last expect, or nothing"),
        "at": optional(WHEN, "until when the clock runs; without it the instant of the entry before"),
        "note": optional(_NAME, "for the reader"),
    }
)

_WHO = {
    "at": optional(WHEN, "when; without it at the instant of the entry before"),
    "user": optional(USER, "for whom; may be left out when the scenario has one user"),
    "group": optional(Ref("group"), "for which group, of a playbook about groups"),
}

TRIGGER = Map(
    {
        "trigger": required(Ref("playbook"), "a playbook with the trigger manual or webhook"),
        **_WHO,
        "data": optional(Plain(), "what the playbook sees as event"),
        "id": optional(_NAME, "the same id again starts nothing twice"),
        "note": optional(_NAME, "for the reader"),
    }
)
"""``drumbeat trigger``."""

TASK_DONE = Map(
    {
        "task_done": required(_NAME, "the step that gave the task: step or playbook/step"),
        **_WHO,
        "outcome": optional(_NAME, "how it ended, one of its outcomes"),
        "by": optional(_NAME, "who did it"),
        "note": optional(_NAME, "for the reader"),
    }
)
"""``drumbeat tasks done``."""

ENTRIES: dict[str, Map] = {"event": EVENT, "trigger": TRIGGER, "task_done": TASK_DONE, "expect": EXPECT}
"""Word of an entry of the timeline -> its shape."""

HISTORY = Map(
    {
        "at": required(WHEN, "when it happened, such as -60d"),
        "group": optional(Ref("group"), "the group it happened in"),
        "user": optional(USER, "in the history of a group: who did it"),
        "id": optional(_NAME, "its id"),
        **_AGAIN,
    }
)
"""Keys beside the type of an event that was there before: ``{order.paid: {amount: 80}, at: -60d}``."""

_JITTER = Text(pattern=r"[0-9]{1,4}[sm]", what="time such as 0s or 12m")
_TREATED = Text(("treated", "held_out"))
_STEP = r"[a-z0-9][a-z0-9_-]*/[a-z][a-z0-9_]*"

ANSWER = Map(
    {
        "status": required(Int(low=100, high=599), "its HTTP status"),
        "body": optional(Plain(), "its body"),
    }
)
"""What another system answers."""

FIXED = Map(
    {
        "holdout": optional(
            Table(Table(_TREATED, what="user"), what="playbook"),
            "playbook -> user -> treated or held_out",
        ),
        "split": optional(
            Table(Table(Many(_NAME), what="user"), what="playbook"),
            "playbook -> user -> name of the arm (or step.arm)",
        ),
        "control_group": optional(
            Table(_TREATED, what="user"), "user -> treated or held_out, for the program's control group"
        ),
        "jitter": optional(
            Either(scalar=_JITTER, map=Table(_JITTER, what="user")),
            "how long after the end of quiet hours messages go out, up to 30m: for all, or user by user",
        ),
        "webhooks": optional(
            Table(Either(scalar=Text(("no_answer",)), map=ANSWER), pattern=_STEP, what="playbook/step"),
            "playbook/step -> what the other system answers; no_answer: it never does",
        ),
        "codes": optional(
            Table(Many(_NAME, at_least=0), what="coupon"), "coupon -> the codes it gives, in order; then it is sold out"
        ),
        "fail": optional(
            Many(
                Map(
                    {
                        "channel": required(Ref("channel"), "the channel"),
                        "attempt": optional(Many(Int(low=1)), "which tries of each message; all by default"),
                        "user": optional(USER, "only messages to this user"),
                        "reason": optional(_NAME, "what the channel says"),
                        "definitive": optional(Flag(), "true: no try will help"),
                    }
                )
            ),
            "what channels refuse; a refused message is tried again later",
        ),
    }
)

CONSENT = Table(Many(Text(PURPOSES)), what="channel")

SCENARIO = Map(
    {
        "scenario": required(Text(what="title"), "what the test shows, in a sentence"),
        "playbooks": optional(Many(Ref("playbook")), "those in play, as if live; without it all that run"),
        "clock": required(INSTANT, "where the virtual clock begins"),
        "users": optional(Table(Plain(), pattern=FREE_NAME, what="user"), "user -> traits, consent, history"),
        "groups": optional(
            Table(Plain(), pattern=FREE_NAME, what="group"), "group -> traits, members (of users), history"
        ),
        "fixed": optional(FIXED, "chance, coupon codes and failures, laid down"),
        "timeline": required(Plain(), "what happens and what is expected, in order of time"),
        "note": optional(_NAME, "for the reader"),
    }
)
