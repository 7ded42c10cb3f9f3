"""``segment``: somebody entered or left an audience."""

from __future__ import annotations

from typing import Any

from engine.core.existing import Standing
from engine.core.kinds import Build
from engine.core.moment import Moment
from engine.core.shapes import Map, Ref, Text, optional, required
from engine.core.subjects import GROUP, USER

ENTERED = "segment.entered"


class SegmentMove(Standing):
    """Fire when the subject enters or leaves a segment, by an event or by time alone, at that very instant.

    With ``existing: enter`` those who are in it already when the playbook is published begin then, at once and within
    the entry's ``limit``, each of them once; ``event`` is empty for them. Publishing again lets nobody in again.

    Example:
        trigger: {segment: {enters: dormant}}
    """

    word = "segment"
    about = (USER, GROUP)
    reason = "existing"
    shape = Map(
        {
            "segment": required(
                Map(
                    {
                        "enters": optional(Ref("segment"), "fires on entering it"),
                        "leaves": optional(Ref("segment"), "fires on leaving it"),
                    },
                    one_of=(("enters", "leaves"),),
                )
            ),
            "existing": optional(
                Text(("skip", "enter")), "what happens to subjects in it already at publication (skip)"
            ),
        }
    )

    def __init__(self, segment: str, type_: str, playbook: str, place: str, admits: bool) -> None:
        self.segment = segment
        self.type = type_
        self.playbook = playbook
        self.place = place
        self.of_members = type_ == ENTERED
        if admits:
            self.own = self.admits = True
            self.tells = frozenset({type_})
            self.traits = frozenset()  # no activity pushes it on

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> SegmentMove:
        """Ask for the segment to be watched."""
        spec = fields["segment"]
        name = spec.get("enters") or spec.get("leaves")
        admits = fields.get("existing") == "enter"
        if admits and "enters" not in spec:
            hint = f"leave it out, or reach them by a schedule with audience: not in_segment('{name}')"
            message = "'existing: enter' goes with 'enters': of those outside a segment nobody knows who ever left it"
            build.problem("existing", "conflict", message, hint)
        build.watch(name)
        type_ = ENTERED if "enters" in spec else "segment.left"
        return cls(name, type_, build.playbook, f"{build.playbook}/{build.step}", admits)

    def gist(self) -> str:
        return f"{'enters' if self.of_members else 'leaves'} {self.segment}"

    def sources(self) -> list[tuple[str, str | None]]:
        return [(self.type, self.segment)]

    def listens(self) -> frozenset[str]:
        return frozenset({self.type})

    def fires(self, m: Moment) -> bool:
        return m.data.get("segment") == self.segment
