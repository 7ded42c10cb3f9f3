"""Boxes and arrows, before anybody decides how they look."""

from __future__ import annotations

from dataclasses import dataclass, field

KINDS = ("trigger", "entry", "step", "wait", "choice", "goal", "end", "playbook", "source")
"""What a box may be."""


@dataclass(frozen=True, slots=True)
class Box:
    """One box."""

    id: str  #: unique in the picture
    kind: str  #: one of KINDS
    head: str  #: the word, for example the verb
    body: tuple[str, ...] = ()  #: what belongs to it, a line each
    people: int | None = None  #: how many stand here now; None: not known


@dataclass(frozen=True, slots=True)
class Arrow:
    """A way from one box to another."""

    source: str
    target: str
    text: str = ""
    aside: bool = False  #: not the way of steps: what may end the journey, or what happens beside it


@dataclass
class Picture:
    """A whole picture, boxes in order of reading."""

    title: str
    boxes: list[Box] = field(default_factory=list)
    arrows: list[Arrow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  #: what has no place in it

    def join(self, source: str, target: str, text: str = "", *, aside: bool = False) -> None:
        """Draw an arrow; the same one twice is one."""
        arrow = Arrow(source, target, text, aside)
        if arrow not in self.arrows:
            self.arrows.append(arrow)


def printable(text: str) -> str:
    """Text without what no picture can hold: control characters and halves of surrogates become a box."""
    return "".join(
        char if char >= " " and not ("\ud800" <= char <= "\udfff" or char in "\x7f\ufffe\uffff") else "\ufffd"
        for char in text.replace("\n", " ").replace("\t", " ")
    )
