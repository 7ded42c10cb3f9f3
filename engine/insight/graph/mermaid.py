"""A picture as a Mermaid flowchart.

Texts stand in quotes; every sign that Mermaid or HTML might take for its own is written as its number.
"""

from __future__ import annotations

from typing import Final

from engine.insight.graph.picture import Box, Picture, printable

_SHAPES: Final = {
    "trigger": ("([", "])"),
    "entry": ("[/", "/]"),
    "step": ("[", "]"),
    "wait": ("(", ")"),
    "choice": ("{{", "}}"),
    "goal": ("[[", "]]"),
    "end": ("((", "))"),
    "playbook": ("[", "]"),
    "source": ("([", "])"),
}
_CLASSES: Final = {
    "trigger": "stroke:#7c5cff,stroke-width:2px",
    "entry": "stroke:#7c5cff",
    "wait": "stroke:#b7791f,stroke-dasharray:4 3",
    "choice": "stroke:#2b6cb0",
    "goal": "stroke:#2f855a",
    "source": "stroke:#718096,stroke-dasharray:2 2",
}
"""Kind -> its style; the others look as Mermaid draws them (``end`` would be a word of its own there)."""

_PLAIN: Final = frozenset(" .,:+-*/=_%!?'()·，。：、（）")


def mermaid(picture: Picture) -> str:
    """The text of the chart."""
    names = {box.id: f"n{place}" for place, box in enumerate(picture.boxes)}
    out = ["flowchart TD", f"    %% {quoted(picture.title)}"]
    out += [f"    %% {quoted(note)}" for note in picture.notes]
    out += [f"    {names[box.id]}{_box(box)}" for box in picture.boxes]
    for arrow in picture.arrows:
        line = "-.->" if arrow.aside else "-->"
        words = f'|"{quoted(arrow.text)}"|' if arrow.text else ""
        out.append(f"    {names[arrow.source]} {line}{words} {names[arrow.target]}")
    used = {box.kind for box in picture.boxes}
    out += [f"    classDef {kind} {style}" for kind, style in _CLASSES.items() if kind in used]
    return "\n".join(out) + "\n"


def _box(box: Box) -> str:
    opens, closes = _SHAPES[box.kind]
    lines = [f"<b>{quoted(box.head)}</b>", *map(quoted, box.body)]
    if box.people:
        lines.append(f"<i>{box.people:,} here</i>")
    style = f":::{box.kind}" if box.kind in _CLASSES else ""
    return f'{opens}"{"<br/>".join(lines)}"{closes}{style}'


def quoted(text: str) -> str:
    """Text for between the quotes of a label, and for a comment, which must not begin a directive."""
    return "".join(char if char.isalnum() or char in _PLAIN else f"#{ord(char)};" for char in printable(text))
