"""``segment``: somebody entered or left an audience."""

from __future__ import annotations

from typing import Any

from engine.core.kinds import Build, Trigger
from engine.core.moment import Moment
from engine.core.shapes import Map, Ref, Text, optional, required


class SegmentMove(Trigger):
    """Fire when the subject enters or leaves a segment, by an event or by time alone, at that very instant.

    Example:
        trigger: {segment: {enters: dormant}}
    """

    word = "segment"
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

    def __init__(self, segment: str, type_: str) -> None:
        self.segment = segment
        self.type = type_

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> SegmentMove:
        """Ask for the segment to be watched."""
        spec = fields["segment"]
        name = spec.get("enters") or spec.get("leaves")
        if fields.get("existing") == "enter":
            hint = f"leave it out, and reach them by a schedule with audience: in_segment('{name}')"
            build.problem("existing", "not-yet", "this version lets nobody in who is in the segment already", hint)
        build.watch(name)
        return cls(name, "segment.entered" if "enters" in spec else "segment.left")

    def gist(self) -> str:
        return f"{'enters' if self.type == 'segment.entered' else 'leaves'} {self.segment}"

    def sources(self) -> list[tuple[str, str | None]]:
        return [(self.type, self.segment)]

    def listens(self) -> frozenset[str]:
        return frozenset({self.type})

    def fires(self, m: Moment) -> bool:
        return m.data.get("segment") == self.segment
