"""The pages of ``validate --against``: what an edit does to people who are on their way."""

from __future__ import annotations

from typing import Final

from engine.language.diagnostics import Page

EDIT_PAGES: Final[dict[str, Page]] = {
    "step-removed": Page(
        "a step with people in it is gone",
        "'validate --against' compares steps by their ids. People who stand in a step that is gone finish on the "
        "version they began with, if nothing else is said; say it, so that nobody has to guess: 'migrate' names the "
        "step and either keep (finish on the old version), cancel, or the step they go on at. Against a git revision "
        "it is not known who stands where, so every step in which people can wait counts. A step without an id of its "
        "own is named after its place, so a step put in before it gives it another id: write 'id:' first.",
        "(playbook 'welcome' had a step 'pause' at main)\nsteps:\n  - points: 1",
        "(playbook 'welcome' had a step 'pause' at main)\nmigrate: {pause: keep}\nsteps:\n  - points: 1",
    ),
    "step-unnamed": Page(
        "people move to a step named after its place",
        "With 'on_change: move' people go on at the step of the same id. A step without an 'id' is named after its "
        "verb and its place, so when steps were put in or taken out before it, the step of that name may be another. "
        "Give the steps people wait in ids of their own, publish that with 'finish', and move people with the next "
        "edit; or say in 'migrate' where those of this step go.",
        "(a step was put in before the wait)\non_change: move\nsteps:\n  - points: 1\n  - wait: 1d\n  - wait: 2d",
        "(a step was put in before the wait)\non_change: move\nmigrate: {\"wait[1]\": \"wait[2]\"}\nsteps:\n"
        "  - points: 1\n  - wait: 1d\n  - wait: 2d",
        "warning",
    ),
    "version-lost": Page(
        "an older version cannot be compiled any more",
        "People are still on a version that names what the program no longer has: a channel, say. They stand still "
        "until it is put back, or until 'on_change' moves them to the present version or ends their journeys.",
        "(people are on a version that sends via: wecom)\nchannels:\n  sms: {via: console}",
        "(people are on a version that sends via: wecom)\nchannels:\n  sms: {via: console}\n  wecom: {via: console}",
    ),
    "playbook-removed": Page(
        "a playbook is gone",
        "Nobody enters it any more, and who is in it finishes on the version it began with. To end its journeys keep "
        "the file with 'status: archived' for one publication.",
        "(the file of playbook 'welcome' was deleted)",
        "playbook: welcome\nstatus: archived",
        "warning",
    ),
    "arms-changed": Page(
        "the arms of a split changed",
        "Who is on the way keeps its arm, but who comes again may draw another one, and figures from before and after "
        "the edit do not compare. A new test is a new salt.",
        "(the weights were 50 and 50 at main)\nsteps:\n  - split: {arms: [{name: a, weight: 90, do: [{points: 1}]}, "
        "{name: b, weight: 10, do: [{points: 2}]}]}",
        "(the weights were 50 and 50 at main)\nsteps:\n  - split: {arms: [{name: a, weight: 50, do: [{points: 1}]}, "
        "{name: b, weight: 50, do: [{points: 2}]}]}",
        "warning",
    ),
    "salt-changed": Page(
        "the salt of a draw changed",
        "An arm is a hash of the salt and the user: with another salt everybody draws anew. The salt of a 'split' "
        "without one is made of the playbook's id and the step's, so an id that changes is a salt that changes. Write "
        "the old one to keep everybody's arm.",
        "(the salt was spring at main)\nholdout: {percent: 10, salt: summer}",
        "(the salt was spring at main)\nholdout: {percent: 10, salt: spring}",
        "warning",
    ),
    "key-changed": Page(
        "the key of an entry changed",
        "'entry' counts one journey a key. With another key everybody is new to the playbook and may enter once more.",
        "(the key was event.order_id at main)\nentry: {mode: once, key: event.amount}",
        "(the key was event.order_id at main)\nentry: {mode: once, key: event.order_id}",
        "warning",
    ),
    "goal-changed": Page(
        "the goal changed",
        "Who is on the way keeps the goal it began with, so the conversions of a report are counted by two rules. "
        "Compare figures of one goal only.",
        "(the goal was within 7d at main)\ngoal: {event: order.paid, within: 14d}",
        "(the goal was within 7d at main)\ngoal: {event: order.paid, within: 7d}",
        "warning",
    ),
}
