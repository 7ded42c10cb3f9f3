"""The pages of what can be wrong with a playbook, a catalog and the program file beyond YAML and expressions.

An example is a whole file or a piece of one: its first key says of which. ``# file: NAME`` begins a file where one is
not enough; what stands in brackets cannot be shown in a file. A test builds a program around each and looks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from engine.language.diagnostics import Page
from engine.language.expressions import EXPRESSION_PAGES
from engine.render import RENDER_PAGES

SHAPE_PAGES: Final[dict[str, Page]] = {
    "unknown-key": Page(
        "a key nobody knows here",
        "Each mapping has its own keys, and a key that is none of them would be ignored silently. The hint names the "
        "nearest one. 'docs/reference' and the JSON Schemas list all keys.",
        "steps:\n  - message: {templte: welcome/hello, purpose: service}",
        "steps:\n  - message: {template: welcome/hello, purpose: service}",
    ),
    "missing-key": Page(
        "a key is missing",
        "What has no safe default must be written: the entry mode, the purpose of a message, the limits of a coupon.",
        "coupons:\n  tea-10:\n    codes: {generate: TEA}\n    limits: {total: 100}",
        "coupons:\n  tea-10:\n    codes: {generate: TEA}\n    limits: {per_user: 1, total: 100}",
    ),
    "conflict": Page(
        "two keys that exclude each other",
        "Both were written, and only one can hold. Keep the one that is meant.",
        "steps:\n  - points: {add: 10, take: 5}",
        "steps:\n  - points: {add: 10}",
    ),
    "wrong-type": Page(
        "a value of the wrong kind",
        "A list stands where one value belongs, text where a number belongs, or nothing at all. Quotes make text: "
        "'50' in quotes is no number.",
        'holdout: {percent: "10"}',
        "holdout: {percent: 10}",
    ),
    "wrong-value": Page(
        "a value that cannot stand here",
        "The key takes one of a few words, or text of a certain form. The message names them.",
        "entry: twice",
        "entry: once",
    ),
    "wrong-subject": Page(
        "something of another subject",
        "A playbook is about users, about groups (subject: group) or about the program (subject: program). Its steps, "
        "triggers and fields are about that alone: a group is not written a message, a user has no members. Subjects "
        "talk by events: emit {type: ..., to: members} reaches the users of a group.",
        "subject: group\nsteps:\n  - set: {user.stage: active}",
        "subject: group\nsteps:\n  - set: {group.stage: active}",
    ),
    "out-of-range": Page(
        "a number too small or too large",
        "The message names the bounds.",
        "holdout: {percent: 120}",
        "holdout: {percent: 12}",
    ),
    "empty": Page(
        "an empty list",
        "A list that is written must hold something. Leave the key out when nothing is meant.",
        "when: []",
        "when: [user.city == 'Oslo']",
    ),
    "bad-date": Page(
        "no date",
        "Dates are written YYYY-MM-DD and must exist in the calendar.",
        "groups:\n  club:\n    rooms: [{id: a, link: 'https://g.example/a', capacity: 9, expires: 2026-02-30}]",
        "groups:\n  club:\n    rooms: [{id: a, link: 'https://g.example/a', capacity: 9, expires: 2026-02-28}]",
    ),
    "bad-duration": Page(
        "no duration",
        "Durations are a whole number from 1 and one of s m h d w, such as 90m, 12h, 7d; the longest is 3660d. In an "
        "expression they stand in quotes.",
        "steps:\n  - wait: 3 days",
        "steps:\n  - wait: 3d",
    ),
    "bad-time": Page(
        "no time or date",
        "A wall time is HH:MM from 00:00 to 23:59. In an expression a date is 'YYYY-MM-DD' and an instant is RFC 3339 "
        "with an offset.",
        'steps:\n  - wait: {days: 1, at: "25:00"}',
        'steps:\n  - wait: {days: 1, at: "09:30"}',
    ),
    "bad-name": Page(
        "no name",
        "Names of playbooks and channels are small letters, digits, '-' and '_'; fields of users and events are "
        "letters, digits and '_'; names of the catalog hold no blanks, quotes or backslashes.",
        "channels:\n  SMS: {via: file, path: out/sms.jsonl}\n  wecom: {via: console}",
        "channels:\n  sms: {via: file, path: out/sms.jsonl}\n  wecom: {via: console}",
    ),
    "bad-type": Page(
        "no type of a field",
        "Fields are text, number, integer, money, bool, time, date, list, map or tier; with '| none' they may be "
        "absent; a list of words makes an enum.",
        "profile: {city: string}",
        "profile: {city: text | none}",
    ),
    "undeclared-field": Page(
        "a field the profile does not declare",
        "Any field may come in, but conditions name declared ones only, so nothing but user.get('...') can read this. "
        "Declare it under 'profile' in drumbeat.yaml.",
        "steps:\n  - set: {user.favourite_tea: oolong}",
        "steps:\n  - set: {user.stage: active}",
        "warning",
    ),
    "duplicate-name": Page(
        "a name defined twice",
        "Of two entries of one name only one could count. Rename one, or delete it.",
        "groups:\n  club:\n    rooms: [{id: a, link: x, capacity: 9}, {id: a, link: y, capacity: 9}]",
        "groups:\n  club:\n    rooms: [{id: a, link: x, capacity: 9}, {id: b, link: y, capacity: 9}]",
    ),
    "bad-cron": Page(
        "no cron expression",
        "A cron expression has five fields: minute, hour, day of the month, month, day of the week. Each is '*', or "
        "numbers, names (jan, fri), ranges a-b, steps */n and lists; L is the last day of a month. When both day "
        "fields are restricted, a day that fits either counts.",
        'trigger: {schedule: {cron: "0 10 * * fir", audience: user.city == \'Oslo\'}}',
        'trigger: {schedule: {cron: "0 10 * * fri", audience: user.city == \'Oslo\'}}',
    ),
    "audience-in-python": Page(
        "an audience the database cannot answer",
        "The audience of a schedule is a question to the database. What it has no words for is judged in Python. Where "
        "that is the whole condition, every user is judged: the result is the same, and takes longer. With a part SQL "
        "knows beside it, such as user.city == 'Oslo', only those it leaves open are.",
        'trigger: {schedule: {cron: "0 10 * * *", audience: is_workday(today)}}',
        'trigger: {schedule: {cron: "0 10 * * *", audience: user.city == \'Oslo\'}}',
        "warning",
    ),
    "cron-never": Page(
        "a cron expression that never fires",
        "No year has such a day, so nobody would ever be written to. 29 February is fine: it comes in leap years.",
        'trigger: {schedule: {cron: "0 9 31 2 *", audience: user.city == \'Oslo\'}}',
        'trigger: {schedule: {cron: "0 9 L 2 *", audience: user.city == \'Oslo\'}}',
    ),
    "not-yet": Page(
        "a word of a later version",
        "The language has this word and this version of Drumbeat does not act on it yet. It is an error where leaving "
        "it out would change who gets what, and a warning where it would not.",
        "# file: playbooks/a.yaml\nsteps:\n  - parallel: []",
        "# file: playbooks/a.yaml\nsteps:\n  - points: 10",
    ),
}

PLAYBOOK_PAGES: Final[dict[str, Page]] = {
    "no-verb": Page(
        "a step or trigger without its word",
        "A step holds exactly one verb beside 'id', 'if', 'note' and 'on_error'; a trigger holds exactly one word.",
        "steps:\n  - if: user.city == 'Oslo'",
        "steps:\n  - if: user.city == 'Oslo'\n    points: 10",
    ),
    "two-verbs": Page(
        "two verbs in one step",
        "A step does one thing. Often the '- ' before the second verb is missing, so YAML takes both for one mapping.",
        "steps:\n  - points: 10\n    badge: gold-club",
        "steps:\n  - points: 10\n  - badge: gold-club",
    ),
    "unknown-verb": Page(
        "a verb that does not exist",
        "The verb of a step says what it does. The hint names the nearest one; 'docs/reference/steps.md' lists them.",
        "steps:\n  - mesage: {template: welcome/hello, purpose: service}",
        "steps:\n  - message: {template: welcome/hello, purpose: service}",
    ),
    "unknown-trigger": Page(
        "a trigger that does not exist",
        "The hint names the nearest one. 'docs/reference/triggers.md' lists all of them.",
        "trigger: {inactivty: 60d}",
        "trigger: {inactivity: 60d}",
    ),
    "missing-limit": Page(
        "an entry without limit",
        "With 'restart', 'queue' and 'parallel' the same person may enter again and again, so a slip could reach "
        "everybody many times. Write how many may enter, or 'unlimited'.",
        "entry: parallel",
        "entry: {mode: parallel, limit: 1000/day}",
    ),
    "duplicate-id": Page(
        "two steps of one id",
        "Effects, results and traces name a step by its id, so ids are unique in a playbook.",
        "steps:\n  - coupon: new-user-20\n    id: gift\n  - coupon: new-user-10\n    id: gift",
        "steps:\n  - coupon: new-user-20\n    id: gift\n  - coupon: new-user-10\n    id: second",
    ),
    "duplicate-playbook": Page(
        "two playbooks of one id",
        "The id is part of every effect key, so two playbooks of one id would take each other's effects for done.",
        "# file: playbooks/a.yaml\nplaybook: hello\n# file: playbooks/b.yaml\nplaybook: hello",
        "# file: playbooks/a.yaml\nplaybook: hello\n# file: playbooks/b.yaml\nplaybook: hello-again",
    ),
    "too-deep": Page(
        "nested too deep",
        "Steps may be nested 8 deep, brackets and conditions of an expression 40 deep. Make the inner part a playbook "
        "of its own that hears an 'emit', or a segment.",
        "steps:\n  - " + "wait_for: {event: checkin, up_to: 1d, then: [{" * 8 + "points: 1" + "}]}" * 8,
        "steps:\n  - " + "wait_for: {event: checkin, up_to: 1d, then: [{" * 2 + "points: 1" + "}]}" * 2,
    ),
    "trigger-loop": Page(
        "playbooks that start each other in a circle",
        "A step emits an event that starts a playbook which, in the end, emits what starts the first. It would go "
        "round for ever, or until it is cut. A 'start' step, a 'set' of a trait that a 'changed' trigger looks at, and "
        "points where a playbook begins at every 'points.changed', count like an emit. Break the circle: another event "
        "type, another trait, a condition on the balance, or no such step.",
        "# file: playbooks/a.yaml\nplaybook: a\ntrigger: {event: gift.given}\nsteps:\n  - emit: {type: gift.taken}\n"
        "# file: playbooks/b.yaml\nplaybook: b\ntrigger: {event: gift.taken}\nsteps:\n  - emit: {type: gift.given}",
        "# file: playbooks/a.yaml\nplaybook: a\ntrigger: {event: gift.given}\nsteps:\n  - emit: {type: gift.taken}\n"
        "# file: playbooks/b.yaml\nplaybook: b\ntrigger: {event: gift.taken}\nsteps:\n  - points: 10",
    ),
    "segment-loop": Page(
        "playbooks that may begin each other in a circle, through a segment",
        "A step changes a trait, a tag or points that a segment looks at; somebody gets into or out of the segment, "
        "that begins a playbook, and in the end the first begins anew. Nobody is asked on the way, so it may go round "
        "for ever, or until it is cut. Let one of them ask who should go on: 'if' on its trigger or step, 'when', or "
        "'entry: once'.",
        "# file: playbooks/catalog/segments.yaml\nsegments: {warm: {if: \"'warm' in user.tags\"}}\n"
        "# file: playbooks/a.yaml\nplaybook: a\ntrigger: {segment: {enters: warm}}\n"
        "entry: {mode: parallel, limit: unlimited}\nsteps:\n  - tag: {remove: [warm]}\n"
        "# file: playbooks/b.yaml\nplaybook: b\ntrigger: {segment: {leaves: warm}}\n"
        "entry: {mode: parallel, limit: unlimited}\nsteps:\n  - tag: {add: [warm]}",
        "# file: playbooks/catalog/segments.yaml\nsegments: {warm: {if: \"'warm' in user.tags\"}}\n"
        "# file: playbooks/a.yaml\nplaybook: a\ntrigger: {segment: {enters: warm}}\n"
        "entry: {mode: parallel, limit: unlimited}\nsteps:\n  - tag: {remove: [warm]}\n"
        "# file: playbooks/b.yaml\nplaybook: b\ntrigger: {segment: {leaves: warm}}\n"
        "entry: {mode: parallel, limit: unlimited}\nsteps:\n  - points: 10",
        "warning",
    ),
    "not-called": Page(
        "a start of a playbook that does not want to be called",
        "'start' begins playbooks whose triggers hold {called: true}; then everybody who reads the other playbook sees "
        "that it can be begun from elsewhere.",
        "# file: playbooks/a.yaml\nplaybook: a\nsteps:\n  - start: b\n"
        "# file: playbooks/b.yaml\nplaybook: b\ntrigger: {event: checkin}",
        "# file: playbooks/a.yaml\nplaybook: a\nsteps:\n  - start: b\n"
        "# file: playbooks/b.yaml\nplaybook: b\ntrigger: [{event: checkin}, {called: true}]",
    ),
    "unknown-playbook": Page(
        "a playbook that does not exist",
        "A playbook is named by its id, the word behind 'playbook:', and not by its file: in 'start' and in scenarios.",
        "# file: playbooks/a.yaml\nplaybook: a\nsteps:\n  - start: thanx\n"
        "# file: playbooks/b.yaml\nplaybook: thanks\ntrigger: {called: true}",
        "# file: playbooks/a.yaml\nplaybook: a\nsteps:\n  - start: thanks\n"
        "# file: playbooks/b.yaml\nplaybook: thanks\ntrigger: {called: true}",
    ),
    "unreachable": Page(
        "a branch nobody comes to",
        "'otherwise' takes everybody who is left, so nothing can stand behind it.",
        "steps:\n  - choose:\n      - otherwise: [{points: 1}]\n      - {when: user.city == 'Oslo', do: [{points: 2}]}",
        "steps:\n  - choose:\n      - {when: user.city == 'Oslo', do: [{points: 2}]}\n      - otherwise: [{points: 1}]",
    ),
    "weights": Page(
        "weights that do not sum to 100",
        "The arms of 'split' share all subjects among them, in per cent. A group that gets nothing is an arm with "
        "'holdout: true'.",
        "steps:\n  - split: {arms: [{name: a, weight: 60, do: [{points: 1}]}, {name: b, weight: 50, holdout: true}]}",
        "steps:\n  - split: {arms: [{name: a, weight: 50, do: [{points: 1}]}, {name: b, weight: 50, holdout: true}]}",
    ),
    "unknown-template": Page(
        "a template that does not exist",
        "'welcome/hello' means the files templates/welcome/hello.<channel>[.<locale>].j2.",
        "steps:\n  - message: {template: welcome/helo, purpose: service}",
        "steps:\n  - message: {template: welcome/hello, purpose: service}",
    ),
    "missing-variant": Page(
        "a template without a text for this channel",
        "A message needs a template for every channel it may take, and one channel of the program at least.",
        "steps:\n  - message: {template: welcome/hello, via: box, purpose: service}",
        "steps:\n  - message: {template: welcome/hello, via: sms, purpose: service}",
    ),
    "missing-locale": Page(
        "a template without a text for the program's locale",
        "Users of other languages get the text of the program's locale, or one without locale; neither is there.",
        "# file: templates/tea/new.sms.fr.j2\nDu nouveau thé.\n"
        "# file: playbooks/tea.yaml\nsteps:\n  - message: {template: tea/new, via: sms, purpose: service}",
        "# file: templates/tea/new.sms.fr.j2\nDu nouveau thé.\n# file: templates/tea/new.sms.en.j2\nNew tea.\n"
        "# file: playbooks/tea.yaml\nsteps:\n  - message: {template: tea/new, via: sms, purpose: service}",
    ),
    "unknown-calendar": Page(
        "a calendar that does not exist",
        "Calendars are defined under 'calendars' in playbooks/catalog. Triggers, freezes and business hours name "
        "them.",
        'trigger: {calendar: {name: double-12, at: "10:00", audience: user.city == \'Lima\'}}',
        "# file: playbooks/catalog/calendars.yaml\ncalendars: {double-11: {dates: [2026-11-08..2026-11-12]}}\n"
        "# file: playbooks/eve.yaml\n"
        'trigger: {calendar: {name: double-11, at: "10:00", audience: user.city == \'Lima\'}}',
    ),
    "unknown-coupon": Page(
        "a coupon that does not exist",
        "Coupons are defined under 'coupons' in playbooks/catalog, with their limits.",
        "steps:\n  - coupon: new-user-2O",
        "steps:\n  - coupon: new-user-20",
    ),
    "unknown-reward": Page(
        "a reward that does not exist",
        "Rewards are defined under 'rewards' in playbooks/catalog, with what they cost and how many there are.",
        "steps:\n  - redeem: tea-mugg\n    id: mug\n  - redeem: {confirm: mug}",
        "steps:\n  - redeem: tea-mug\n    id: mug\n  - redeem: {confirm: mug}",
    ),
    "unknown-referral": Page(
        "a referral programme that does not exist",
        "Programmes are defined under 'referrals' in playbooks/catalog, with their codes and limits.",
        "steps:\n  - referral: freinds",
        "steps:\n  - referral: friends",
    ),
    "unknown-account": Page(
        "a points account that does not exist",
        "Accounts are defined under 'points' in playbooks/catalog; without any there is one, 'main'.",
        "steps:\n  - points: {add: 10, account: mian}",
        "steps:\n  - points: {add: 10, account: main}",
    ),
    "unknown-role": Page(
        "a role that does not exist",
        "Roles are defined under 'roles' in playbooks/catalog.",
        "subject: group\nsteps:\n  - nominate: {role: moderater, top: 3, by: count('checkin')}",
        "# file: playbooks/catalog/roles.yaml\nroles: {moderator: {term: 90d}}\n"
        "# file: playbooks/a.yaml\nsubject: group\nsteps:\n"
        "  - nominate: {role: moderator, top: 3, by: count('checkin')}",
    ),
    "unknown-survey": Page(
        "a survey that does not exist",
        "Surveys are defined under 'surveys' in playbooks/catalog.",
        "steps:\n  - survey: {name: npss, via: sms}",
        "# file: playbooks/catalog/surveys.yaml\nsurveys:\n  nps: {questions: [{id: would, text: '0-10', kind: nps}]}\n"
        "# file: templates/survey/nps.sms.j2\nTell us.\n"
        "# file: playbooks/a.yaml\nsteps:\n  - survey: {name: nps, via: sms}",
    ),
    "unknown-selection": Page(
        "a segment of a set that nobody chooses",
        "'select' in a segment names the set of a step 'select'; the step of some playbook must choose it.",
        "segments:\n  core: {select: croe}",
        "# file: playbooks/catalog/segments.yaml\nsegments:\n  core: {select: core}\n"
        "# file: playbooks/a.yaml\nsubject: program\nsteps:\n"
        "  - select: {name: core, score: count('checkin'), size: [10, 50]}",
    ),
    "unknown-ladder": Page(
        "a tier ladder that does not exist",
        "Ladders are defined under 'tiers' in playbooks/catalog.",
        "trigger: {tier_change: {ladder: membr}}",
        "trigger: {tier_change: {ladder: member}}",
    ),
}

PROGRAM_PAGES: Final[dict[str, Page]] = {
    "no-program": Page(
        "no program file",
        "A program is a folder that holds 'drumbeat.yaml'; 'program: name' alone is enough in it.",
        "(a folder without drumbeat.yaml)",
        "program: tea-shop",
    ),
    "unreadable": Page(
        "a file cannot be read",
        "This process may not read the file, or it is a link that leads out of the program's folder.",
        "(playbooks/welcome.yaml is a link to a file elsewhere)",
        "(playbooks/welcome.yaml is a file)",
    ),
    "unknown-zone": Page(
        "a time zone that does not exist",
        "Zones are called by their IANA names, such as Asia/Shanghai or Europe/Oslo.",
        "timezone: China/Shanghai",
        "timezone: Asia/Shanghai",
    ),
    "links-unserved": Page(
        "signed links, and nobody who answers them",
        "The daemon answers links where it listens for events: at its feed of kind http. Without one, whoever "
        "follows a link finds nothing.",
        "links: {base: https://go.shop.example}",
        "feeds: [{http: {port: 8080}}]\nlinks: {base: https://go.shop.example}",
        "warning",
    ),
    "no-webhook-channel": Page(
        "a webhook and nobody who takes it",
        "A 'webhook' step goes out through the first channel of kind 'webhook', or through one named 'webhook' of kind "
        "file or console, which writes the requests down. 'simulate' decides all the same, 'run' refuses to deliver.",
        "# file: drumbeat.yaml\nchannels:\n  sms: {via: console}\n  wecom: {via: console}\n"
        "# file: playbooks/a.yaml\nsteps:\n  - webhook: {url: 'https://crm.example/new'}",
        "# file: drumbeat.yaml\nchannels:\n  sms: {via: console}\n  wecom: {via: console}\n"
        '  crm: {via: webhook, secret: "${CRM_SECRET}"}\n'
        "# file: playbooks/a.yaml\nsteps:\n  - webhook: {url: 'https://crm.example/new'}",
        "warning",
    ),
    "unknown-store": Page(
        "a store that does not exist",
        "The state is kept in 'sqlite:///drumbeat.db', a file beside the program file, or in a schema of a PostgreSQL "
        "database: 'postgresql://user:${STORE_PASSWORD}@host/database?schema=drumbeat'.",
        "store: mysql://localhost/drumbeat",
        "store: sqlite:///drumbeat.db",
    ),
    "unknown-channel": Page(
        "a channel that does not exist",
        "Channels are defined under 'channels' in drumbeat.yaml.",
        "steps:\n  - message: {template: welcome/hello, via: smss, purpose: service}",
        "steps:\n  - message: {template: welcome/hello, via: sms, purpose: service}",
    ),
    "unknown-channel-kind": Page(
        "a kind of channel that does not exist",
        "'via' of a channel says how it sends: smtp, http, apprise or webhook over the network, file or console here.",
        "channels:\n  sms: {via: fiel, path: out/sms.jsonl}\n  wecom: {via: console}",
        "channels:\n  sms: {via: file, path: out/sms.jsonl}\n  wecom: {via: console}",
    ),
    "missing-path": Page(
        "a file channel without a file",
        "A channel of kind 'file' writes messages to the file 'path' names. 'simulate' sends nothing and needs none; "
        "'run' refuses to deliver.",
        "channels:\n  sms: {via: file}\n  wecom: {via: console}",
        "channels:\n  sms: {via: file, path: out/sms.jsonl}\n  wecom: {via: console}",
        "warning",
    ),
    "unknown-feed": Page(
        "a feed that does not exist",
        "Events come from files today: 'file' with a name or a pattern. The hint names the nearest word.",
        "feeds: [{fiel: feed/*.jsonl}]",
        "feeds: [{file: feed/*.jsonl}]",
    ),
    "unknown-policy": Page(
        "a policy that does not exist",
        "Policies are defined under 'policies' in drumbeat.yaml; 'default' is always there.",
        "policy: defualt",
        "policy: default",
    ),
    "bad-list": Page(
        "a list file that cannot be used",
        "Lists of users and of coupon codes are files below the program's folder, one entry a line, no code twice.",
        "segments:\n  friends: {list: lists/nobody.csv}",
        "# file: lists/friends.csv\nu1\nu2\n"
        "# file: playbooks/catalog/a.yaml\nsegments:\n  friends: {list: lists/friends.csv}",
    ),
    "idle-budget": Page(
        "a budget that is never used up",
        "A coupon costs the budget what 'off' in its 'value' says. Without a number there it costs nothing, so the "
        "budget protects nobody.",
        "coupons:\n  tea:\n    codes: {generate: TEA}\n    limits: {per_user: 1, total: 100, budget: 500}",
        "coupons:\n  tea:\n    value: {off: 5}\n    codes: {generate: TEA}\n"
        "    limits: {per_user: 1, total: 100, budget: 500}",
        "warning",
    ),
    "same-threshold": Page(
        "two levels of one threshold",
        "Somebody at that threshold would be on both levels.",
        "tiers:\n  member: {metric: count('order.paid'), levels: {silver: 5, gold: 5}}",
        "tiers:\n  member: {metric: count('order.paid'), levels: {silver: 5, gold: 9}}",
    ),
    "metric-cycle": Page(
        "metrics that are made of each other in a circle",
        "A metric with 'value' is computed from others of the same turn, so one of them must come first.",
        "metrics:\n  a: {value: 'metric(\"b\") + 1'}\n  b: {value: 'metric(\"a\") + 1'}",
        "metrics:\n  a: {count_users: any}\n  b: {value: 'metric(\"a\") + 1'}",
    ),
    "segment-cycle": Page(
        "segments that ask for each other in a circle",
        "Whether somebody is in the one hangs on the other and the other way round, so neither can be found out.",
        "segments:\n  a: {if: in_segment('b')}\n  b: {if: in_segment('a')}",
        "segments:\n  a: {if: in_segment('b')}\n  b: {if: user.city == 'Oslo'}",
    ),
}

# Codes an expression shares with the rest of a file: the pages above speak of both.
_SHARED: Final = SHAPE_PAGES.keys() | PLAYBOOK_PAGES.keys() | PROGRAM_PAGES.keys()

EXPRESSION_AREA: Final[Mapping[str, Page]] = {
    code: Page(title[:1].lower() + title[1:], meaning, bad, good, "warning" if severity == "warning" else "error")
    for code, (title, meaning, bad, good, severity) in EXPRESSION_PAGES.items()
    if code not in _SHARED
}

TEMPLATE_AREA: Final[Mapping[str, Page]] = {
    code: Page(page.title, page.meaning, page.bad, page.good, page.severity) for code, page in RENDER_PAGES.items()
}
