"""Circles through segments: what a step writes moves somebody into or out of one, and that begins a playbook.

Rule 1: as with everything the engine tells by itself, only what is sure to be asked for is taken: a step that nobody is
led past, and a trigger of a playbook that asks nothing and may be entered again.
Rule 2: whether the write turns the condition is worked out where a part of it reads nothing but what is written; else
it may.
Rule 3: who comes because of getting into a segment is inside, and cannot be led into it by the same playbook, unless
that leads out of it, too.
Rule 4: a badge is given once, so nothing goes round by it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from engine.core.kinds import Alters, Trigger
from engine.core.model import State
from engine.core.moment import Condition, Env, Moment
from engine.core.plan import Segment
from engine.language.loops import Edge

MOVES = "segment "
"""What the type of such an edge begins with; the rest says what is written, and into or out of which segment."""

_FIELD = re.compile(r"\buser\.(\w+)")
_CALL = re.compile(r"\b(\w+)\(")
_INSIDE = re.compile(r"in_segment\('([^']*)'\)")


@dataclass(frozen=True)
class Write:
    """A step that changes what segments may look at."""

    playbook: str
    alters: Alters
    where: object  #: node of the step


def segment_edges(
    writes: Sequence[Write],
    bare: Sequence[tuple[str, Trigger]],
    triggers: Sequence[tuple[str, Trigger]],
    segments: Mapping[str, Segment],
) -> list[Edge]:
    """The edges of steps to triggers that fire when somebody gets into or out of a segment.

    Parameters
    ----------
    writes: of steps that nobody is led past, of all playbooks.
    bare: (playbook, trigger) of playbooks that ask nothing more.
    triggers: (playbook, trigger) of all.
    segments: those of the catalog.
    """
    found = []
    begun: dict[str, set[tuple[str, str | None]]] = {}
    for playbook, trigger in triggers:
        begun.setdefault(playbook, set()).update(trigger.sources() or [("", None)])

    def there(playbook: str, move: tuple[str, str], back: bool) -> bool:
        own = (it.alters for it in writes if it.playbook == playbook)
        return begun.get(playbook) == {move} and not any(_moves(segments, move[1], it, back, frozenset()) for it in own)

    for write in writes:
        for target, trigger in bare:
            for type_, name in trigger.sources():
                enters = type_ == "segment.entered"
                if name is None or not (enters or type_ == "segment.left"):
                    continue
                if there(write.playbook, (type_, name), not enters):
                    continue
                if _moves(segments, name, write.alters, enters, frozenset()):
                    words = f"{write.alters.words} ({'into' if enters else 'out of'} {name})"
                    found.append(Edge(write.playbook, target, MOVES + words, write.where))
    return found


def _moves(
    segments: Mapping[str, Segment], name: str, alters: Alters, enters: bool, asked: frozenset[str]
) -> bool:
    """May a write move somebody into (or out of) a segment?"""
    segment = segments.get(name)
    if segment is None or segment.test is None or name in asked:
        return False
    asked |= {name}
    hit = False
    for part in _parts(segment.test):
        inner = _INSIDE.findall(part.text)
        ways = (enters,) if _INSIDE.fullmatch(part.text) else (True, False)
        if any(_moves(segments, it, alters, way, asked) for it in inner for way in ways):
            hit = True
        elif alters.field in _FIELD.findall(part.text):
            before, after = _verdict(part, alters, alters.before), _verdict(part, alters, alters.after)
            if enters and after is False and segment.test.op == "and":
                return False  # whatever the other parts say
            hit = hit or ((after is None or after is enters) and (before is None or before is not enters))
    return hit


def _parts(test: Condition) -> Iterable[Condition]:
    if test.op not in ("and", "or"):
        return [test]
    return [leaf for part in test.parts for leaf in _parts(part)]


def _verdict(part: Condition, alters: Alters, state: State | None) -> bool | None:
    """What a part says of a user of whom only what is written counts; None: that cannot be told."""
    if state is None or set(_FIELD.findall(part.text)) != {alters.field} or _CALL.search(part.text):
        return None
    try:
        return part.test(Moment(state, None, 0, 0, Env()))
    except Exception:  # it looks at more than we thought
        return None
