"""A whole program: which playbook sets off which, and what sets off the others.

An arrow is an event one playbook makes, by ``emit`` or by what its steps do (a coupon, a badge, points, a trait), and
another is triggered by. What no playbook makes comes from a source: an event of a feed, silence, a ladder, a segment.
"""

from __future__ import annotations

from engine.core.plan import Plan, Playbook
from engine.insight.graph.people import Standing
from engine.insight.graph.picture import Box, Picture

_SOURCES = {
    "tier.changed": "tier",
    "segment.entered": "enters segment",
    "segment.left": "leaves segment",
    "user.updated": "changed",
}
"""Event type -> the word of a source that is about one thing."""

Told = tuple[str, str | None]


def overview(plan: Plan, people: Standing | None = None) -> Picture:
    """The picture of a program; ``people`` puts the number of running journeys at its playbooks."""
    picture = Picture(plan.program)
    told = {playbook.id: _told(playbook) for playbook in plan.playbooks}
    for playbook in sorted(plan.playbooks, key=lambda it: it.id):
        _sources(picture, playbook, told)
    for playbook in sorted(plan.playbooks, key=lambda it: it.id):
        body = (playbook.title,) if playbook.status == "live" else (playbook.title, playbook.status)
        number = None if people is None else people.playbooks[playbook.id]
        picture.boxes.append(Box(f"playbook:{playbook.id}", "playbook", playbook.id, body, number))
    return picture


def _told(playbook: Playbook) -> list[Told]:
    """What a playbook's steps make happen, each once."""
    return list(dict.fromkeys(told for node in playbook.nodes.values() for told in node.action.tells()))


def _sources(picture: Picture, playbook: Playbook, told: dict[str, list[Told]]) -> None:
    """Arrows to a playbook, from playbooks that make its events, else from where they come from."""
    here = f"playbook:{playbook.id}"
    for trigger in playbook.triggers:
        for type_, about in trigger.sources():
            makers = [name for name, made in told.items() if any(_fits(one, type_, about) for one in made)]
            for maker in sorted(makers):
                picture.join(f"playbook:{maker}", here, type_ if about is None else f"{type_} {about}")
            if not makers:
                _source(picture, here, type_, about)


def _fits(made: Told, type_: str, about: str | None) -> bool:
    return made[0] == type_ and (about is None or made[1] is None or made[1] == about)


def _source(picture: Picture, here: str, type_: str, about: str | None) -> None:
    name = f"source:{type_}:{about or ''}"
    box = Box(name, "source", _SOURCES.get(type_, "event" if about is None else type_), (about or type_,))
    if box not in picture.boxes:
        picture.boxes.append(box)
    picture.join(name, here)
