"""Why playbooks never fired: said from the run itself, for any program and any feed.

Rule 1: nothing is guessed. What was looked at and refused is counted where it was decided; what was never looked at is
explained by what the run did not have (an event, a slot, a call), and by nothing else.
Rule 2: memory does not grow with the feed: a refusal keeps counts and a few values, never subjects.
Rule 3: a playbook that fired once is not watched any more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.core.existing import Standing
from engine.core.instants import format_instant
from engine.core.kinds import Trigger
from engine.core.localtime import UTC, zone
from engine.core.model import Decision, Event, Why
from engine.core.moment import Condition
from engine.core.plan import Plan, Playbook
from engine.core.slots import Slotted
from engine.core.starts import CALLED, MANUAL
from engine.core.subjects import GROUP, PROGRAM_KIND
from engine.insight.shortfalls import Part, parts_of
from engine.ports import Batch

REASONS = {
    "refused": "looked at, and nobody met the condition",
    "limited": "kept out by limits or errors",
    "no_event": "no such event in this feed",
    "waits_for": "waits for what another playbook does",
    "no_move": "waits for something that did not happen",
    "no_slot": "no slot of its schedule in the time of this feed",
    "nobody": "nobody to look at",
    "by_hand": "started by hand or from outside",
    "paused": "paused",
}
"""Why a playbook never fired, in order of how near it came."""

_MOST_PLACES = 8
_ENGINE_MADE = ("segment.", "tier.", "journey.", "message.", "coupon.", "points.", "task.", "draw.", "role.")


@dataclass
class Refusal:
    """One condition that kept subjects out."""

    at: str  #: place in the playbook
    text: str  #: the condition, or a sentence
    times: int = 0
    parts: tuple[Part, ...] = ()  #: what of it was missing

    def take(self, seen: dict[str, Any]) -> None:
        """Count one more."""
        self.times += 1
        for part in self.parts:
            part.take(seen)

    def nearest(self) -> list[str]:
        """What was missing, what kept out most first; at most two sentences."""
        told = [part for part in self.parts if part.blocks(self.times)]
        told.sort(key=lambda part: part.rank(self.times))
        # what held never says it all; what held sometimes is only told where nothing does
        never = [part for part in told if part.never(self.times)]
        return [part.words(self.times) for part in (never or told)[:2]]


@dataclass
class Looked:
    """What became of a playbook nobody has entered so far."""

    times: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    refusals: dict[tuple[str, str], Refusal] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)  #: what was wrong -> how often


@dataclass(frozen=True)
class Finding:
    """Why one playbook never fired."""

    playbook: str
    title: str
    reason: str  #: key of ``REASONS``
    text: str  #: one line
    looked_at: int = 0  #: verdicts on it
    about: tuple[str, ...] = ()  #: the events, or playbooks, it waits for
    refused: tuple[Refusal, ...] = ()

    def row(self) -> dict[str, Any]:
        """Ready for JSON."""
        refused = [{"at": it.at, "text": it.text, "times": it.times, "nearest": it.nearest()} for it in self.refused]
        return {
            "playbook": self.playbook, "title": self.title, "reason": self.reason, "text": self.text,
            "looked_at": self.looked_at, "waits_for": list(self.about), "refused": refused,
        }  # fmt: skip


class Lookout:
    """Watches a run of ``simulate``.

    Parameters
    ----------
    plan: what runs.
    closely: have every verdict traced, so that refusals can be told; a run takes longer with it.
    """

    def __init__(self, plan: Plan, *, closely: bool) -> None:
        self.closely = closely
        self.types: Counter[str] = Counter()  #: events of the feed
        self.kept_back: dict[str, Counter[str]] = {}  #: playbook -> reason -> effects that did not happen
        self._plan = plan
        self._open = {playbook.id: Looked() for playbook in plan.playbooks}
        self._conditions = {(id_, at): condition for id_, at, condition in _conditions(plan)}

    def saw(self, events: Sequence[Event]) -> None:
        """Events of the feed that are decided next."""
        self.types.update([event.type for event in events])

    def took(self, batch: Batch) -> None:
        """What was decided."""
        for effect in batch.effects:
            if effect.status != "planned" and effect.playbook is not None:
                self.kept_back.setdefault(effect.playbook, Counter())[effect.reason or effect.status] += 1
        for playbook, verdict, _ in batch.lives:
            if verdict in ("entered", "held"):
                self._open.pop(playbook, None)
        if self.closely:
            for decision in batch.decisions:
                looked = self._open.get(decision.playbook)
                if looked is not None:
                    self._look(looked, decision)

    def _look(self, looked: Looked, decision: Decision) -> None:
        looked.times += 1
        looked.verdicts[decision.verdict] += 1
        for why in decision.why:
            if why.value is None:
                text = str(why.seen.get("error") or why.text)
                if text in looked.errors or len(looked.errors) < _MOST_PLACES:
                    looked.errors[text] = looked.errors.get(text, 0) + 1
            elif not why.value:
                self._refusal(looked, decision.playbook, why).take(why.seen)

    def _refusal(self, looked: Looked, playbook: str, why: Why) -> Refusal:
        found = looked.refusals.get((why.at, why.text))
        if found is None:
            if len(looked.refusals) >= _MOST_PLACES:
                return looked.refusals.setdefault((why.at, ""), Refusal(why.at, "others"))
            condition = self._conditions.get((playbook, why.at))
            parts = () if condition is None or condition.text != why.text else parts_of(condition)
            found = looked.refusals[why.at, why.text] = Refusal(why.at, why.text, parts=parts)
        return found

    # ------------------------------------------------------------------ afterwards

    @property
    def unfired(self) -> list[str]:
        """Playbooks nobody entered."""
        return sorted(self._open)

    def findings(self, first: int | None, end: int | None) -> list[Finding]:
        """Why each of them never fired, by id.

        Parameters
        ----------
        first, end: the virtual clock, microseconds; None: there was no event.
        """
        return [self._finding(self._plan.by_id[id_], self._open[id_], first, end) for id_ in self.unfired]

    def _finding(self, playbook: Playbook, looked: Looked, first: int | None, end: int | None) -> Finding:
        if playbook.paused and not looked.times:
            return Finding(playbook.id, playbook.title, "paused", "its status is paused")
        refused = tuple(sorted(looked.refusals.values(), key=lambda it: -it.times))
        odd = {verdict: number for verdict, number in looked.verdicts.items() if verdict not in ("skipped", "unknown")}
        if odd:
            words = [f"{verdict} {number:,} times" for verdict, number in sorted(odd.items())]
            words += [f"{text} ({number:,})" for text, number in list(looked.errors.items())[:1]]
            return Finding(playbook.id, playbook.title, "limited", "; ".join(words), looked.times, (), refused)
        loud = next((it for it in refused if not _mute(it)), None)
        if loud is not None:
            return Finding(playbook.id, playbook.title, "refused", _told(loud), looked.times, (), refused)
        told = [self._absent(playbook, trigger, looked.times > 0, first, end) for trigger in playbook.triggers]
        order = list(REASONS)
        reason = min((it[0] for it in told), key=order.index)
        texts = dict.fromkeys(text for word, text, _ in told if word == reason)
        about = dict.fromkeys(one for word, _, them in told if word == reason for one in them)
        text = "; ".join(texts)
        return Finding(playbook.id, playbook.title, reason, text, looked.times, tuple(about), refused)

    def _absent(
        self, playbook: Playbook, trigger: Trigger, looked: bool, first: int | None, end: int | None
    ) -> tuple[str, str, tuple[str, ...]]:
        """(reason, text, what it is about) of a trigger that never fired; ``looked``: some of them were asked."""
        if isinstance(trigger, Slotted):
            return self._slot(playbook, trigger, first, end)
        heard = sorted(trigger.listens() or ())
        if any(type_.startswith(MANUAL) for type_ in heard) or trigger.word == "webhook":
            return "by_hand", f"{trigger.word}: {trigger.gist()}", ()
        if isinstance(trigger, Standing) or trigger.word == "tier_change":
            return "no_move", f"{trigger.word}: {trigger.gist()}", ()
        if not heard:
            return "nobody", f"{trigger.word}: {trigger.gist()}", ()
        makers = tuple(sorted({maker for type_ in heard for maker in self._makers(type_) if maker != playbook.id}))
        if makers:
            never = [it for it in makers if it in self._open]
            which = "never fired either" if len(never) == len(makers) else "fired, but never came to that step"
            what = "is started" if heard[0].startswith(CALLED) else f"needs {', '.join(heard)}"
            return "waits_for", f"{what} by {', '.join(makers)}: {which}", makers
        came = [type_ for type_ in heard if self.types[type_]]
        if came and looked:
            return "no_move", f"{trigger.word}: {trigger.gist()}", ()
        if came:
            whose = {GROUP: "a group", PROGRAM_KIND: "the program"}.get(playbook.subject, "a user")
            return "nobody", f"{', '.join(came)} came, but none of {whose}", tuple(came)
        if all(type_.startswith(_ENGINE_MADE) for type_ in heard):
            return "no_move", f"{trigger.word}: nothing in this run made {', '.join(heard)}", tuple(heard)
        return "no_event", f"no event {', '.join(heard)}", tuple(heard)

    def _slot(
        self, playbook: Playbook, trigger: Slotted, first: int | None, end: int | None
    ) -> tuple[str, str, tuple[str, ...]]:
        text = f"{trigger.word}: {trigger.gist()}"
        if first is None or end is None:
            return "no_slot", text, ()
        found = trigger.after(first - 1, zone(self._plan.env.zone) or UTC)
        if found is None or found > end:
            when = "never comes again" if found is None else f"comes first at {format_instant(found)}"
            return "no_slot", f"{text}; {when}", ()
        whom = {GROUP: "group", PROGRAM_KIND: "program"}.get(playbook.subject, "user")
        return "nobody", f"{text}: at no slot a {whom} was known", ()

    def _makers(self, type_: str) -> Iterator[str]:
        """Playbooks with a step that makes an event of this type."""
        for playbook in self._plan.playbooks:
            if any(getattr(node.action, "type", None) == type_ for node in playbook.nodes.values()):
                yield playbook.id


def _mute(refusal: Refusal) -> bool:
    """Does it say no more than that the trigger did not fire?"""
    return refusal.text.endswith(": did not fire")


def _told(refusal: Refusal) -> str:
    near, at = refusal.nearest(), refusal.at.removeprefix("trigger.")
    return f"{at}: {'; '.join(near) if near else refusal.text}"


def _conditions(plan: Plan) -> Iterator[tuple[str, str, Condition]]:
    """(playbook, place, condition) of everything that may keep somebody out."""
    for playbook in plan.playbooks:
        for number, condition in enumerate(playbook.when):
            yield playbook.id, f"when[{number}]", condition
        for trigger in playbook.triggers:
            if trigger.condition is not None:
                yield playbook.id, f"{trigger.path}.if", trigger.condition
            if isinstance(trigger, Slotted):
                yield playbook.id, f"{trigger.path}.audience", trigger.audience


def grouped(findings: Iterable[Finding]) -> dict[str, list[Finding]]:
    """Findings by reason, in the order of ``REASONS``; reasons that nobody has are left out."""
    found: dict[str, list[Finding]] = {reason: [] for reason in REASONS}
    for finding in findings:
        found[finding.reason].append(finding)
    return {reason: rows for reason, rows in found.items() if rows}
