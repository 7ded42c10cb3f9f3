"""What the writer of questions asks of a database: JSON and text in its words, see :mod:`engine.stores.sql.asking`."""

from __future__ import annotations

from typing import Any, Protocol


class Dialect(Protocol):
    """JSON and text in the words of one database. ``doc`` is an expression for the text of the state."""

    subject: str  #: the subject's id
    least: str  #: the function that gives the least of its arguments
    greatest: str
    exact: bool  #: numbers of any size and scale are kept and compared as they are; all of them are ``integer`` then
    entry_text: str  #: the value of a row of ``entries``, where it is a text
    entry_number: str  #: where it is a number

    def kind(self, place: str) -> str:
        """``integer real text true false null array object``, or null where there is nothing."""
        ...

    def text(self, place: str) -> str:
        """The value as the database's own text, where it is a text."""
        ...

    def number(self, place: str) -> str:
        """The value as the database's own number, where it is a number."""
        ...

    def raw(self, place: str) -> str:
        """The value as JSON, to be compared with a ``constant``."""
        ...

    def constant(self, written: str) -> str:
        """A placeholder for JSON text as what ``raw`` gives."""
        ...

    def entries(self, place: str) -> str:
        """A table ``e`` of the entries of a list, with the kind of each in ``e.type``."""
        ...

    def size(self, place: str, kind: str) -> str:
        """How many entries an array or object has."""
        ...

    def is_whole(self, value: str) -> str:
        """Is a number one the database keeps exactly?"""
        ...

    def plain(self, raw: str) -> str:
        """Does JSON text hold no NUL, at which a database may cut a text?"""
        ...

    def folds(self, raw: str) -> str:
        """Is text made of letters only that this database folds as Python does?"""
        ...

    def fold(self, how: str, text: str) -> str:
        """Text of such letters in small ones (``lower``) or capitals (``upper``)."""
        ...

    def holds(self, text: str, part: str) -> str:
        """Is one text part of another?"""
        ...

    def matches(self, text: str, pattern: str) -> str:
        """Text against a pattern of ``*`` and ``?``."""
        ...

    def pattern(self, pattern: str) -> str:
        """A pattern of ``*`` and ``?`` as ``matches`` takes it."""
        ...

    def placeholder(self, number: int) -> str:
        """The mark of a parameter."""
        ...

    def instant(self, text: str) -> str:
        """Microseconds of RFC 3339 text, null for what is none beyond doubt."""
        ...

    def midnight(self, text: str) -> str:
        """Microseconds of midnight UTC of ``YYYY-MM-DD``, null for what is none beyond doubt."""
        ...

    def path(self, path: tuple[str | int, ...]) -> str | None:
        """A path as the database takes it; None when it cannot be written."""
        ...

    def json(self, value: Any) -> str | None:
        """A constant as the JSON text a state would hold; None when it has none."""
        ...

    def among(self, names: str) -> str:
        """Is the subject in a JSON list?"""
        ...
