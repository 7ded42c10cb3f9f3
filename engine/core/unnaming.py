"""What the state of a group, or of the program, says of somebody who is erased: it is taken out.

Rule 1: lists of people lose him: who was ranked, proposed, appointed. A field that was his id is empty.
Rule 2: an event of his keeps its place and loses whose it was and what it said.
Rule 3: where ids only tell apart (``entry.key``) a hash of the id stands in its place.
Rule 4: a state that does not name him is the same object.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import structs

from engine.core.chance import effect_key
from engine.core.model import Event, State, Waiting

GONE = "…"
"""What stands in a text in the place of an id or a name."""

_SHORTEST = 2  #: letters of a name that is looked for in texts
_SHORTEST_ID = 4  #: letters of an id that is: a shorter one would be found in every date and number


def pattern(subject: str, names: Sequence[str]) -> re.Pattern[str]:
    """Finds an id and names as words in a text: not inside of longer ones written in Latin letters."""
    words = {*names, subject} if len(subject) >= _SHORTEST_ID else set(names)
    longest = sorted(words, key=lambda it: (-len(it), it)) or ["\0"]  # which no text holds
    return re.compile(r"(?<![0-9A-Za-z_])(?:" + "|".join(map(re.escape, longest)) + r")(?![0-9A-Za-z_])")


def called(value: Any, subject: str) -> Iterator[str]:
    """Under what names somebody stands in lists (``rank`` with ``show``)."""
    if isinstance(value, Mapping):
        name = value.get("name")
        if value.get("user") == subject and isinstance(name, str) and len(name) >= _SHORTEST:
            yield name
        for one in value.values():
            yield from called(one, subject)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from called(one, subject)


def state_without(state: State, subject: str) -> State:
    """The state without a word about somebody."""
    if msgspec.json.encode(subject)[1:-1] not in msgspec.json.encode(state):
        return state
    names = [name for it in state.journeys for name in called(it.results, subject)]
    walk = _Walk(subject, pattern(subject, names))
    return structs.replace(
        state,
        journeys=[
            structs.replace(
                it, key=walk.key(it.key), entry=walk.event(it.entry), results=walk.value(it.results),
                waiting=walk.waiting(it.waiting),
            )
            for it in state.journeys
        ],
        goals=[structs.replace(it, key=walk.key(it.key), entry=walk.event(it.entry)) for it in state.goals],
        tasks=[structs.replace(it, title=walk.text(it.title)) for it in state.tasks],
        roles=[it for it in state.roles if it.whom != subject],
        traits=walk.value(state.traits),
        series=walk.value(state.series),
        ends={walk.place(name): at for name, at in state.ends.items()},
        entered=[walk.place(name) for name in state.entered],
    )  # fmt: skip


class _Walk:
    """Goes through what is kept and leaves one person out."""

    def __init__(self, subject: str, found: re.Pattern[str]) -> None:
        self.subject = subject
        self.found = found

    def value(self, value: Any) -> Any:
        if isinstance(value, str):
            return None if value == self.subject else self.text(value)
        if isinstance(value, Mapping):
            return {name: self.value(one) for name, one in value.items() if name != self.subject}
        if isinstance(value, list):
            return [self.value(one) for one in value if not self._him(one)]
        return value

    def _him(self, value: Any) -> bool:
        if isinstance(value, Mapping):
            return bool(value.get("user") == self.subject)
        return bool(value == self.subject)

    def text(self, text: str) -> str:
        return self.found.sub(GONE, text)

    def key(self, key: str) -> str:
        return effect_key(key)[:16] if key == self.subject else key

    def place(self, name: str) -> str:
        """``playbook|key``."""
        playbook, sign, key = name.partition("|")
        return playbook + sign + self.key(key)

    def event(self, event: Event | None) -> Event | None:
        if event is None:
            return None
        if event.user == self.subject:
            return structs.replace(event, user=None, data={}, changes=None)
        data = self.value(event.data)
        return event if data == event.data else structs.replace(event, data=data)

    def waiting(self, waiting: Waiting | None) -> Waiting | None:
        if waiting is None or waiting.event is None:
            return waiting
        return structs.replace(waiting, event=self.event(waiting.event))
