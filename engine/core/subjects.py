"""What a subject is: a user, a group, or the one subject that stands for the whole program.

Rule 1: the id of a user is its own; those of the others begin with a sign no user id may begin with (the door refuses
it), so one table of states holds them all, and ids in order are groups, then the program, then the users.
Rule 2: rows show names, not ids: a group's have ``user: null, group: <name>``, the program's both null.
"""

from __future__ import annotations

from typing import Final
from zlib import crc32

USER: Final = "user"
GROUP: Final = "group"
PROGRAM_KIND: Final = "program"
KINDS: Final = (USER, GROUP, PROGRAM_KIND)

SIGN: Final = "\x01"
"""What the ids of subjects begin with that are not users."""

_GROUPS: Final = SIGN + "group:"
PROGRAM: Final = SIGN + "program"
"""Id of the subject that stands for the whole program."""

BEFORE_USERS: Final = SIGN + "\U0010ffff"
"""An id behind those of all groups and of the program, and before those of all users."""

PARTS: Final = 256
"""Parts the subjects of a store that many decide on fall into, for ever."""


def part_of(subject: str | None) -> int:
    """The part a subject belongs to; what is nobody's belongs to the first."""
    return crc32(subject.encode()) % PARTS if subject else 0


def of_group(name: str) -> str:
    """The subject of a group."""
    return _GROUPS + name


def kind_of(subject: str) -> str:
    """``user``, ``group`` or ``program``."""
    if subject[:1] != SIGN:
        return USER
    return PROGRAM_KIND if subject == PROGRAM else GROUP


def name_of(subject: str) -> str:
    """The id of a subject as people write it: that of the user, that of the group, "" for the program."""
    if subject[:1] != SIGN:
        return subject
    return subject.removeprefix(_GROUPS) if subject != PROGRAM else ""


def shown_as(subject: str) -> tuple[str | None, str | None]:
    """(user, group) of a row about a subject."""
    if subject[:1] != SIGN:
        return subject, None
    return None, subject.removeprefix(_GROUPS) if subject != PROGRAM else None


def receiver_of(subject: str) -> tuple[str | None, str | None]:
    """(user, group) of an event for a subject alone. That of the program has no other name, so its id is the user."""
    return (PROGRAM, None) if subject == PROGRAM else shown_as(subject)


def subject_of(user: str | None, group: str | None) -> str:
    """The subject of a row: the inverse of ``shown_as``."""
    if user is not None:
        return user
    return PROGRAM if group is None else _GROUPS + group


def words_of(subject: str) -> str:
    """A subject in a line for people: ``user u1``, ``group tea``, ``the program``."""
    return "the program" if subject == PROGRAM else f"{kind_of(subject)} {name_of(subject)}"


def span(kind: str) -> tuple[str, str | None]:
    """(the id before the first subject of a kind, an id behind its last or None): ids in order are read by it."""
    if kind == USER:
        return BEFORE_USERS, None
    return (_GROUPS, _GROUPS + "\U0010ffff") if kind == GROUP else (PROGRAM[:-1], PROGRAM + "\0")
