"""The longest a message becomes, over many people and in every locale: what a short message may cost at worst."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from engine.core.plan import Plan
from engine.core.subjects import PROGRAM_KIND, shown_as
from engine.insight import sms
from engine.insight.preview import Person, Source, shown
from engine.render import TemplateSet


def longest(
    plan: Plan, source: Source, people: Iterable[Person], now: int, templates: TemplateSet, *,
    channel: str | None, locale: str | None, every: bool = False,
) -> list[dict[str, Any]]:  # fmt: skip
    """Of each channel the longest text over many people: whose, how long, how many segments.

    A person has the message in their own locale, unless one is named; ``every``: in each locale, with a row for each.
    For the program it is looked for over the events that would begin the journey.
    """
    about = source.playbook.subject
    worst: dict[tuple[str, str | None], dict[str, Any]] = {}
    for person in people:
        forms = [it for name in ([channel] if channel is not None else source.action.via) for it in shown(
            plan, source, person, now, templates=templates, locale=locale, channel=name, every=every
        )]  # fmt: skip
        for it in forms:
            at = worst.setdefault((it.channel, it.locale if every else None), _nobody(it.channel, about))
            at["people"] += 1
            if it.item is None:
                at["refused"] += 1
                continue
            text = it.item.effect.detail["text"]
            size = None if it.html else sms.size(text)
            segments = size.segments if size is not None else 0
            if (segments, len(text)) > (at["segments"], at["letters"]):
                user, group = shown_as(person.state.id)
                at.update(segments=segments, letters=len(text), user=user, group=group, locale=it.locale,
                          event=person.events[-1].id if about == PROGRAM_KIND and person.events else None,
                          alphabet=size.alphabet if size is not None else None)  # fmt: skip
    return list(worst.values())


def _nobody(channel: str, about: str) -> dict[str, Any]:
    """A row of the longest before anybody was looked at."""
    return {"channel": channel, "over": about, "people": 0, "refused": 0, "segments": 0, "letters": 0, "user": None,
            "group": None, "event": None, "locale": None, "alphabet": None}  # fmt: skip
