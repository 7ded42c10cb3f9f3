"""The front matter: a few ``key: text`` lines between two ``---`` lines at the top of a template.

It is read from YAML *events*, so a value is the text that was written (``no`` stays ``no``) and nothing is ever
constructed; the first event that is not plain text ends the reading, so no bomb is walked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

import yaml

from engine.render.problem import Site, TemplateProblem

MAX_BYTES = 4 * 1024
MAX_KEYS = 16
_KEY = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)
_CODE = "template-front-matter"
_FRAME = (
    yaml.StreamStartEvent,
    yaml.DocumentStartEvent,
    yaml.MappingEndEvent,
    yaml.DocumentEndEvent,
    yaml.StreamEndEvent,
)
_FORMATS = ("text", "html")


class FrontValue(NamedTuple):
    """One value and the file line it begins at."""

    text: str
    line: int


@dataclass(frozen=True)
class Parts:
    """A template file taken apart."""

    values: dict[str, FrontValue]
    html: bool
    body: str
    body_above: int  #: lines of the file before the body


class _Wrong(Exception):
    """The front matter is wrong at a line (of the file)."""

    def __init__(self, line: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.line = line
        self.message = message
        self.hint = hint


def split(file: str, text: str, channel: str) -> tuple[Parts | None, list[TemplateProblem]]:
    """Take a template file apart; the parts are None when the front matter cannot be read."""
    site = Site(file, 0, text)
    lines = text.split("\n")
    if lines[0].rstrip() != "---":
        return Parts({}, False, text, 0), []
    end = next((i for i, line in enumerate(lines) if i and line.rstrip() == "---"), None)
    if end is None:
        return None, [site.problem(_CODE, 1, "the front matter is not closed by a second '---' line", needle="---")]
    head = "\n".join(lines[1:end]) + "\n"
    if len(head.encode("utf-8", "replace")) > MAX_BYTES:
        return None, [site.problem("template-size", 1, f"the front matter is larger than {MAX_BYTES} bytes")]
    try:
        values = _read(head)
        html = _format(values, channel)
    except _Wrong as wrong:
        return None, [site.problem(_CODE, wrong.line, wrong.message, wrong.hint)]
    return Parts(values, html, "\n".join(lines[end + 1 :]), end + 1), []


def _format(values: dict[str, FrontValue], channel: str) -> bool:
    """Take the setting ``format`` out of the values: True for HTML."""
    wanted = values.pop("format", None)
    if wanted is None:
        return False
    if wanted.text not in _FORMATS:
        raise _Wrong(wanted.line, f"unknown format {wanted.text!r}", "known: text, html")
    if wanted.text == "html" and channel != "email":
        raise _Wrong(wanted.line, f"format html is for the channel email, this template is for {channel!r}")
    return wanted.text == "html"


def _read(head: str) -> dict[str, FrontValue]:
    try:
        return _pairs(head)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = error.problem or "cannot be read"
        raise _Wrong(_line(mark), f"not YAML: {said}", "put the value in quotes") from None
    except yaml.YAMLError:
        raise _Wrong(1, "not YAML: a character that cannot be in YAML") from None


def _line(mark: object) -> int:
    # the head begins on line 2 of the file; marks count from 0
    return int(getattr(mark, "line", 0)) + 2


def _pairs(head: str) -> dict[str, FrontValue]:
    values: dict[str, FrontValue] = {}
    key: str | None = None
    depth = 0
    for event in yaml.parse(head, Loader=yaml.SafeLoader):
        line = _line(event.start_mark)
        if isinstance(event, yaml.MappingStartEvent) and depth == 0 and not event.flow_style:
            _plain(event, line)
            depth = 1
        elif isinstance(event, yaml.ScalarEvent) and depth == 1:
            _plain(event, line)
            if key is None:
                key = _new_key(event.value, values, line)
            else:
                values[key] = FrontValue(_new_value(key, event.value, line), line)
                key = None
        elif not isinstance(event, _FRAME):
            raise _Wrong(line, "each line is 'key: text', with nothing inside it", "put a value with {{ }} in quotes")
    return values


def _plain(event: yaml.MappingStartEvent | yaml.ScalarEvent, line: int) -> None:
    if event.anchor is not None or event.tag is not None:
        raise _Wrong(line, "anchors and tags are not part of the front matter", "write the text itself")


def _new_key(key: str, values: dict[str, FrontValue], line: int) -> str:
    if _KEY.fullmatch(key) is None or len(key) > 64:
        raise _Wrong(line, f"{key[:64]!r} is not a key", "keys are small letters, digits and '_'")
    if key in values:
        raise _Wrong(line, f"the key {key!r} is written twice")
    if len(values) >= MAX_KEYS:
        raise _Wrong(line, f"more than {MAX_KEYS} keys")
    return key


def _new_value(key: str, text: str, line: int) -> str:
    if not text.strip():
        raise _Wrong(line, f"{key!r} has no text", "write a text or leave the key out")
    if "\n" in text or "\r" in text or "\0" in text:
        raise _Wrong(line, f"{key!r} has more than one line", "a header or title is one line")
    return text
