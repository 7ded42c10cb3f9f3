"""A picture in the language of Graphviz."""

from __future__ import annotations

from typing import Final

from engine.insight.graph.picture import Box, Picture, printable

_SHAPES: Final = {
    "trigger": 'shape=box, style="rounded,bold"',
    "entry": "shape=parallelogram",
    "step": "shape=box",
    "wait": 'shape=box, style="rounded,dashed"',
    "choice": "shape=hexagon",
    "goal": "shape=box, peripheries=2",
    "end": "shape=circle",
    "playbook": "shape=box",
    "source": 'shape=box, style="rounded,dotted"',
}


def dot(picture: Picture) -> str:
    """The text of the digraph."""
    out = ["digraph drumbeat {", f"  label={quoted(picture.title)};", "  rankdir=TB;"]
    out += [f"  // {printable(note)}" for note in picture.notes]
    out += [f"  {quoted(box.id)} [label={_label(box)}, {_SHAPES[box.kind]}];" for box in picture.boxes]
    for arrow in picture.arrows:
        marks = [f"label={quoted(arrow.text)}"] if arrow.text else []
        marks += ["style=dashed"] if arrow.aside else []
        tail = f" [{', '.join(marks)}]" if marks else ""
        out.append(f"  {quoted(arrow.source)} -> {quoted(arrow.target)}{tail};")
    return "\n".join([*out, "}"]) + "\n"


def _label(box: Box) -> str:
    lines = [box.head, *box.body, *([f"{box.people:,} here"] if box.people else [])]
    return '"' + "\\n".join(_escaped(line) for line in lines) + '"'


def quoted(text: str) -> str:
    """Text in quotes."""
    return f'"{_escaped(text)}"'


def _escaped(text: str) -> str:
    return printable(text).replace("\\", "\\\\").replace('"', '\\"')
