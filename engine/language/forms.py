"""The shapes of everything in a program that is not a kind: the program file, the catalog, the frame of a playbook.

Keys in ``LATER`` are read and checked for shape, and a warning says that this version does not act on them yet.
"""

from __future__ import annotations

from engine.core.people import QUESTIONS
from engine.core.periods import PERIODS
from engine.core.shapes import (
    FREE_NAME,
    NAME,
    PURPOSES,
    STEP_ID,
    USER_FIELD,
    Cond,
    DateText,
    Duration,
    Either,
    EventName,
    Expr,
    Flag,
    Int,
    Many,
    Map,
    Number,
    Plain,
    Ref,
    Shape,
    Steps,
    Table,
    Text,
    Val,
    WallTime,
    optional,
    required,
)
from engine.core.subjects import GROUP as GROUP_KIND
from engine.core.subjects import KINDS, USER

_RULES = Text(("none", "required", "opt_out"))
_WORD = Text()
_FIELD = r"[A-Za-z_][A-Za-z0-9_]*"
_USER_FIELD = rf"user\.{_FIELD}"

QUIET_HOURS = Either(
    scalar=Text(("never",)), map=Map({"from": required(WallTime()), "to": required(WallTime())})
)

POLICY = Map(
    {
        "consent": optional(
            Map({purpose: optional(_RULES, "rule of this purpose") for purpose in PURPOSES}), "rule by purpose"
        ),
        "quiet_hours": optional(QUIET_HOURS, "local window in which messages wait (22:00 to 08:00), or never"),
        "caps": optional(
            Many(
                Map(
                    {
                        "purpose": optional(Text(PURPOSES), "only messages of this purpose"),
                        "channel": optional(Ref("channel"), "only messages through this channel"),
                        "max": required(Int(low=1, or_words=("never",)), "most messages in the window"),
                        "per": required(
                            Text(what="7d, day, week or month"),
                            "7d: rolling window; day, week (from Monday), month: of the user's calendar",
                        ),
                    }
                ),
                only_list=True,
                at_least=0,
            ),
            "frequency caps",
        ),
        "freeze": optional(
            Map(
                {
                    "calendars": required(Many(_WORD, at_least=0), "calendars of the catalog"),
                    "purposes": optional(Many(Text(PURPOSES)), "what stays silent: all but transactional by default"),
                },
                short="calendars",
            ),
            "calendars on whose days nothing goes out",
        ),
    }
)

BUSINESS_HOURS = Map(
    {
        "from": required(WallTime(), "when they open, in the program's time zone"),
        "to": required(WallTime(), "when they close, later on the same day"),
        "calendar": optional(_WORD, "calendar of the catalog with its holidays; Monday to Friday without it"),
    }
)

RATE = Text(pattern=r"[1-9][0-9]{0,6}/(s|min|h)", what="rate such as 100/s")
"""How often something may be done."""

PROGRAM = Map(
    {
        "program": required(Text(pattern=NAME, what="name"), "name of the program"),
        "language": optional(Int(low=1, high=1), "version of the language: 1"),
        "timezone": optional(Text(what="time zone"), "IANA name; UTC by default"),
        "locale": optional(_WORD, "last of the locale chain; en by default"),
        "activity": optional(Many(EventName()), "what inactivity looks at by default; any external event without it"),
        "profile": optional(Plain(), "fields of the user"),
        "events": optional(Plain(), "fields of the events"),
        "store": optional(_WORD, "sqlite:///file"),
        "coupon_key": optional(
            Text(pattern=r"\$\{[^{}]+\}", what="${NAME}"), "what coupon codes are encrypted with in the store"
        ),
        "feeds": optional(Many(Plain(), at_least=0), "where events come from"),
        "channels": optional(Plain(), "ways out"),
        "hosts": optional(
            Table(
                Map(
                    {
                        "rate": optional(RATE, "most requests (50/s)"),
                        "concurrency": optional(Int(low=1, high=256), "requests on their way at once (6)"),
                    }
                ),
                pattern=r"\*|\.?[^\s/@?#*:]+|[0-9A-Fa-f]*(:[0-9A-Fa-f]*)+",
                what="host",
            ),
            "what a host takes of all channels together; .shop.example: with all below it, '*': every other",
        ),
        "policies": optional(Table(POLICY, pattern=FREE_NAME, what="policy"), "consent, caps, quiet hours"),
        "control_group": optional(
            Map(
                {
                    "percent": required(Number(low=0, high=100), "share of users"),
                    "salt": optional(_WORD, "names the draw; control_group by default"),
                    "applies_to": optional(Many(Text(PURPOSES)), "purposes that do not reach them (marketing)"),
                }
            ),
            "share of users no marketing reaches",
        ),
        "links": optional(
            Map(
                {
                    "base": required(Text(what="address"), "address of the daemon as people reach it"),
                    "hosts": optional(Many(Text(what="host")), "hosts a link may lead to; *.shop.example: all below"),
                }
            ),
            "signed links in messages: to unsubscribe, and counted clicks",
        ),
        "preview": optional(
            Map({"allow": required(Many(Text(what="address")), "addresses that may get a test, or ${NAME}")}),
            "who may be sent a test by drumbeat preview --to",
        ),
        "best_hour": optional(WallTime(), "hour of 'at: best_hour' for users of whom too little is known (10:00)"),
        "business_hours": optional(BUSINESS_HOURS, "when people are at work; due times of tasks count in them"),
        "late_events": optional(Map({"act_within": required(Duration())}), "how old an event may be and still act"),
        "retention": optional(
            Map(
                {
                    "events": optional(Duration(), "how long events are kept; what is left out is kept for good"),
                    "ids": optional(Duration(), "how long their ids are remembered: at least 35d"),
                    "decisions": optional(Duration(), "how long verdicts are kept"),
                    "quarantine": optional(Duration(), "how long refused records are kept"),
                }
            ),
            "what the daemon forgets when it is old",
        ),
    }
)

_PREFIX = Text(pattern=r"[A-Z0-9][A-Z0-9-]*", what="capitals, digits and -")
_PER_USER = Text(pattern=r"[1-9][0-9]*(/[1-9][0-9]*[smhdw])?|unlimited", what="number, N/90d or unlimited")
_AMOUNT = Int(low=1, or_words=("unlimited",))

COUPON = Map(
    {
        "title": optional(_WORD, "shown to people"),
        "value": optional(Plain(), "what it is worth: off, min_spend, currency ..."),
        "codes": required(
            Either(
                scalar=Text(("imported",)),
                map=Map(
                    {
                        "generate": optional(_PREFIX, "codes nobody can guess, behind this prefix"),
                        "file": optional(_WORD, "one code a line"),
                    },
                    one_of=(("generate", "file"),),
                ),
            ),
            "where codes come from; imported: what `drumbeat coupons import` put into the store",
        ),
        "valid_for": optional(Duration(calendar=True), "how long a coupon can be used"),
        "remind": optional(Duration(), "how long before it lapses the event coupon.expiring is told"),
        "limits": required(
            Map(
                {
                    "per_user": required(_PER_USER, "coupons a user: 1, 1/90d or unlimited"),
                    "per_day": optional(_AMOUNT, "coupons a day of the program's zone"),
                    "total": required(_AMOUNT, "coupons in all"),
                    "budget": optional(Number(low=0, or_words=("unlimited",)), "sum of value.off in all"),
                }
            ),
            "at least per_user and total",
        ),
        "on_exhausted": optional(Map({"use": required(Ref("coupon"))}), "the pool used when this one is exhausted"),
    }
)

TIER = Map(
    {
        "metric": required(Expr("user", time_free=True), "what the levels are measured by"),
        "levels": required(
            Table(
                Either(
                    scalar=Number(),
                    map=Map(
                        {
                            "reach": required(Number(), "the metric that earns it"),
                            "keep": required(Number(), "the lower metric down to which it is kept"),
                        }
                    ),
                ),
                what="level",
            ),
            "level -> lowest metric, or {reach, keep}",
        ),
        "grace": optional(Duration(calendar=True), "how long the metric may be below before a demotion"),
        "title": optional(_WORD, "shown to people"),
    }
)

GROUP = Map(
    {
        "title": optional(_WORD, "shown to people"),
        "topic": optional(_WORD, "what it is about"),
        "match": optional(Cond("user"), "who fits"),
        "platform": optional(_WORD, "where it lives"),
        "rotate": optional(Text(("fill_first", "round_robin", "least_full")), "which room is next (fill_first)"),
        "hold": optional(Duration(calendar=True), "how long an invite keeps a seat (48h)"),
        "rooms": optional(
            Many(
                Map(
                    {
                        "id": required(Text(pattern=FREE_NAME, what="room id"), "id of the room"),
                        "link": required(_WORD, "what the invited user gets"),
                        "capacity": required(Int(low=1), "seats of the platform"),
                        "soft": optional(Int(low=1), "invites stop here"),
                        "expires": optional(DateText(), "last day on which the link works"),
                    }
                ),
                only_list=True,
            ),
            "rooms in order; without any nobody is invited",
        ),
        "zone": optional(Text(what="time zone"), "IANA name: of the group, and of members without one of their own"),
        "channel": optional(Ref("channel"), "the channel that carries posts into it"),
        "owner": optional(_WORD, "who looks after it"),
        "deputies": optional(Many(_WORD, at_least=0), "who stands in"),
    }
)

ROLE = Map(
    {
        "title": optional(_WORD, "shown to people"),
        "per_members": optional(Int(low=1), "one holder for so many members of the group"),
        "term": optional(Duration(), "how long it is granted for; without it until it is revoked"),
        "min_tenure": optional(Duration(), "how long who holds it must have been a member"),
    },
    flag=True,
)

SURVEY = Map(
    {
        "title": optional(_WORD, "shown to people"),
        "questions": required(
            Many(
                Map(
                    {
                        "id": required(Text(pattern=STEP_ID, what="question id"), "as answers.<id>"),
                        "text": required(_WORD, "what is asked"),
                        "kind": required(Text(QUESTIONS), "0 to 10, 1 to max, one of choices, or free text"),
                        "choices": optional(Many(_WORD, only_list=True, at_least=2), "of a choice"),
                        "max": optional(Int(low=2, high=100), "of a scale: its highest number (5)"),
                    }
                ),
                only_list=True,
            ),
            "what is asked, in order",
        ),
        "purpose": optional(Text(PURPOSES), "of the invitation; consent and caps go by it (service)"),
        "open": optional(Duration(calendar=True), "how long answers are waited for (14d)"),
        "rest": optional(Duration(calendar=True), "nobody is asked who was asked anything within it"),
        "url": optional(Text(what="address"), "page on which it is answered"),
    }
)

_DAYS = Text(pattern=r"[0-9]{4}-[0-9]{2}-[0-9]{2}(\.\.[0-9]{4}-[0-9]{2}-[0-9]{2})?", what="day or a range of days")
_LUNAR = Text(pattern=r"(\*|[1-9]|1[0-2])-([1-9]|[12][0-9]|30)", what="lunar day such as 8-15 or *-1")
LUNAR_MONTH = r"[0-9]{4}-闰?([1-9]|1[0-2])"
_COUNTRY = Text(pattern=r"[A-Z]{2}", what="code of a country, such as CN")
CALENDAR = Map(
    {
        "title": optional(_WORD, "shown to people"),
        "dates": optional(Many(_DAYS), "days and ranges of days: 2026-11-08..2026-11-12"),
        "holidays": optional(_COUNTRY, "the holidays of a country; its make-up workdays count as workdays"),
        "names": optional(Many(_WORD), "with holidays: only these, such as 春节"),
        "makeup_workdays": optional(_COUNTRY, "the days of weekends on which a country works"),
        "cron": optional(_WORD, 'days by a rule: "0 0 8 * *" is the 8th of each month'),
        "lunar": optional(Many(_LUNAR), "days of the Chinese lunar calendar: 7-7, 8-15, *-1"),
        "lunar_months": optional(
            Table(DateText(), pattern=LUNAR_MONTH, what="lunar month"), "with lunar: first days of months, by 2089-8"
        ),
        "days_off": optional(Many(_DAYS, at_least=0), "days off the tables do not have"),
        "workdays": optional(Many(_DAYS, at_least=0), "working days the tables do not have"),
    },
    one_of=(("dates", "holidays", "makeup_workdays", "cron", "lunar"),),
)

CALENDARS = Table(CALENDAR, pattern=FREE_NAME, what="calendar")

REFERRAL = Map(
    {
        "title": optional(_WORD, "shown to people"),
        "codes": required(Map({"generate": required(_PREFIX, "codes nobody can guess, behind this prefix")}), "codes"),
        "field": required(Text(pattern=_USER_FIELD, what=USER_FIELD), "trait of the own code"),
        "differ": optional(
            Many(Text(pattern=_USER_FIELD, what=USER_FIELD)),
            "traits in which the two must differ: device, card ...",
        ),
        "limits": required(
            Map({"per_inviter": required(_PER_USER, "people one may bring: 10, 10/30d or unlimited")}), "how many"
        ),
    }
)

EARN = Map(
    {
        "event": required(EventName(), "the event that earns, at its own time"),
        "if": optional(Cond("trigger"), "only an event for which this holds"),
        "points": required(Val(single=True), 'whole points: 5, or "{{ event.amount // 10 }}"'),
        "per_day": optional(Int(low=1), "how often a local day"),
        "pending": optional(Duration(), "how long they cannot be spent: to the end of that local day"),
        "reverse_on": optional(
            Map(
                {
                    "event": required(EventName(), "the event that takes them back"),
                    "match": required(_WORD, "the field in which both events say the same, such as order_id"),
                    "within": optional(Duration(), "how long after the first event (90d)"),
                    "points": optional(Val(single=True), "how many are taken back; all by default"),
                }
            ),
            "a refund or the like, which takes back what was earned",
        ),
    }
)

METRIC = Map(
    {
        "title": optional(_WORD, "shown to people"),
        "count_users": optional(Many(EventName()), "how many users did one of these in the period: types, or any"),
        "retention": optional(Duration(), "share of those who came so many days before that was back in the period"),
        "value": optional(Expr("user"), "a number of the program: its own history, and other metrics"),
        "score": optional(Expr("user"), "a number of each user (or group): all are cut into parts of equal size by it"),
        "rfm": optional(
            Map(
                {
                    "event": required(EventName(), "what is bought: the event"),
                    "amount": required(Text(what="field of the event"), "its field with the money"),
                    "within": optional(Duration(), "how far back purchases count; ever, when left out"),
                }
            ),
            "three scores of each user who bought: how lately, how often, for how much",
        ),
        "per": optional(Text(PERIODS), "how long a period is (day; of scores month)"),
        "within": optional(Duration(), "of count_users: a window longer or shorter than the period"),
        "event": optional(EventName(), "of retention: what brings a user and counts as being back"),
        "parts": optional(Int(low=2, high=100), "of scores: how many parts (5)"),
        "if": optional(Cond("user"), "only users (groups) for whom this holds at the turn"),
        "subject": optional(Text((USER, GROUP_KIND)), "of score: who has it, users (default) or groups"),
    },
    one_of=(("count_users", "retention", "value", "score", "rfm"),),
)

SECTIONS: dict[str, Shape] = {
    "segments": Table(
        Map(
            {
                "if": optional(Cond("user", time_free=True), "who is in it"),
                "list": optional(_WORD, "file with one id a line"),
                "select": optional(_WORD, "the set a 'select' step of this name has chosen"),
                "subject": optional(Text((USER, GROUP_KIND)), "what is in it: users (default) or groups"),
                "title": optional(_WORD, "shown to people"),
            },
            one_of=(("if", "list", "select"),),
        ),
        pattern=FREE_NAME,
        what="segment",
    ),
    "tiers": Table(TIER, pattern=FREE_NAME, what="ladder"),
    "coupons": Table(COUPON, pattern=FREE_NAME, what="coupon"),
    "points": Table(
        Map(
            {
                "title": optional(_WORD, "shown to people"),
                "expires": optional(Duration(), "how long points last, to the end of that local day"),
                "remind": optional(Duration(), "how long before they lapse `points.expiring` is told"),
                "daily_cap": optional(Int(low=1), "most points all rules give a local day"),
                "negative": optional(Text(("allowed",)), "a reversal may take more than there is (else it is owed)"),
                "book": optional(
                    Text(("points", "entitlement")), "entitlement: units of a benefit, kept apart in the ledger"
                ),
                "earn": optional(Many(EARN, only_list=True), "earning rules"),
            },
            flag=True,
        ),
        pattern=FREE_NAME,
        what="account",
    ),
    "rewards": Table(
        Map(
            {
                "title": optional(_WORD, "shown to people"),
                "points": required(Int(low=1), "what it costs"),
                "account": optional(Ref("account"), "from which account; the program's first by default"),
                "stock": required(Int(low=0, or_words=("unlimited",)), "how many there are"),
                "per_user": required(Int(low=1, or_words=("unlimited",)), "how many one user may have"),
            }
        ),
        pattern=FREE_NAME,
        what="reward",
    ),
    "badges": Table(
        Map({"title": optional(_WORD, "shown to people"), "once": optional(Flag(), "given once")}, flag=True),
        pattern=FREE_NAME,
        what="badge",
    ),
    "groups": Table(GROUP, pattern=FREE_NAME, what="group"),
    "calendars": CALENDARS,
    "referrals": Table(REFERRAL, pattern=FREE_NAME, what="referral"),
    "event_schemas": Table(
        Either(scalar=Text(what="path of a JSON file"), map=Plain()), pattern=FREE_NAME, what="event type"
    ),
    "metrics": Table(METRIC, pattern=FREE_NAME, what="metric"),
    "roles": Table(ROLE, pattern=NAME, what="role"),
    "surveys": Table(SURVEY, pattern=NAME, what="survey"),
}

SECTION_OF = {
    "segment": "segments",
    "ladder": "tiers",
    "coupon": "coupons",
    "account": "points",
    "reward": "rewards",
    "badge": "badges",
    "group": "groups",
    "role": "roles",
    "calendar": "calendars",
    "referral": "referrals",
    "survey": "surveys",
    "metric": "metrics",
}

LATER: dict[str, tuple[str, ...]] = {}
"""Catalog section -> keys that are read but not acted on yet."""

LATER_SECTIONS: tuple[str, ...] = ()
"""Sections that are read but not used yet."""

_LIMIT = r"[1-9][0-9]*/(hour|day|run)|unlimited"

ENTRY = Map(
    {
        "mode": required(Text(("once", "single", "restart", "queue", "parallel")), "how often a subject may enter"),
        "key": optional(Expr("trigger"), "one journey a key"),
        "again_after": optional(Duration(calendar=True), "counted from the end of the last journey, inclusive"),
        "limit": optional(Text(pattern=_LIMIT, what="N/hour, N/day, N/run or unlimited"), "blast guard"),
        "on_limit": optional(Text(("wait", "drop")), "what is over the limit waits for the next window (default)"),
        "in": optional(Many(Ref("segment")), "only subjects in one of these segments"),
        "not_in": optional(Many(Ref("segment")), "no subject in one of these segments"),
    },
    short="mode",
)

GOAL = Map(
    {
        "event": required(Many(EventName()), "the event that means success"),
        "if": optional(Cond("arriving"), "only an event for which this holds"),
        "within": required(Duration(calendar=True), "counted from entry, inclusive"),
        "then": optional(Text(("exit", "continue")), "what becomes of the journey (exit)"),
        "value": optional(Expr("arriving"), "what it is worth"),
    }
)

EXIT = Map(
    {
        "event": optional(Many(EventName()), "this event ends the journey"),
        "if": optional(Cond("arriving"), "with event: only then; alone: judged at every event and wake-up"),
        "enters": optional(Ref("segment"), "entering this segment ends it"),
        "leaves": optional(Ref("segment"), "leaving this segment ends it"),
    }
)

HOLDOUT = Map(
    {
        "percent": required(Number(low=0, high=100), "share of subjects kept as control"),
        "salt": optional(_WORD, "names the draw; the playbook's id by default"),
    }
)

STATUSES = ("draft", "shadow", "live", "paused", "archived")

PLAYBOOK = Map(
    {
        "playbook": required(Text(pattern=NAME, what="slug"), "id of the playbook"),
        "title": required(_WORD, "what people call it"),
        "owner": optional(_WORD, "who answers for it"),
        "status": optional(Text(STATUSES), "live by default"),
        "subject": optional(Text(KINDS), "what it is about: user (default), group, or the program as a whole"),
        "vars": optional(Table(Plain(), pattern=_FIELD, what="var"), "constants, as vars.<name>"),
        "priority": optional(Int(low=0, high=100), "who takes cap slots first (50)"),
        "policy": optional(Ref("policy"), "default by default"),
        "trigger": required(Plain(), "what begins a journey"),
        "when": optional(Cond("trigger"), "who enters, judged on the state including the event"),
        "entry": required(ENTRY, "how often, for whom, how many; for example entry: once"),
        "goal": optional(GOAL, "what counts as success"),
        "exit": optional(Many(EXIT), "what ends a journey early"),
        "holdout": optional(HOLDOUT, "control group of this playbook"),
        "on_change": optional(Text(("finish", "move", "cancel")), "what an edit means for running journeys"),
        "migrate": optional(Table(_WORD, what="step"), "step of an older version -> keep, cancel or another step"),
        "steps": required(Steps(empty=False), "what happens, in order"),
    }
)

RESERVED = ("parallel", "call", "fragment", "import")
"""Keys a later version will give a meaning."""

MODIFIERS = Map(
    {
        "id": optional(Text(pattern=STEP_ID, what="step id"), "name of the step, as steps.<id>"),
        "if": optional(Cond("step"), "only then; else the journey goes on"),
        "note": optional(_WORD, "for the reader"),
        "on_error": optional(Either(scalar=Text(("continue", "stop")), seq=Steps()), "when the step fails"),
    }
)

TRIGGER_MODIFIERS = Map(
    {
        "id": optional(Text(pattern=STEP_ID, what="trigger id"), "as trigger.id"),
        "if": optional(Cond("trigger"), "only then"),
    }
)
