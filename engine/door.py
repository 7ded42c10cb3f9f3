"""The door: the one strict reader of a record, from bytes to an Event or to a reason.

Rule 1: bytes -> strict UTF-8 -> JSON without NaN, duplicate keys, lone surrogates and NUL, within limits.
Rule 2: the slow way defines every verdict; the fast way only says yes, and only with a proof that the slow way would.
Rule 3: no binary float is made: a number with fraction or exponent becomes the Decimal its digits say.

The proof of the fast way counts quotes. Without escapes every ``"`` begins or ends a key or a text, so a record has
``2 * (keys + texts)`` of them. Decoding keeps one of several equal keys and drops the values of the others, so what was
decoded accounts for all quotes exactly when no key came twice.

Reasons: ``oversize utf8 nan duplicate_key number depth json nul surrogate string keys not_object unknown_key type time
naive_time id no_id user group data no_subject``.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final, NoReturn

import msgspec
from msgspec import UNSET, UnsetType

from engine.core.instants import InstantError, parse_instant
from engine.core.model import Event
from engine.core.subjects import SIGN
from engine.errors import EventRejected

MAX_EVENT: Final = 64 * 1024  #: bytes of a record
MAX_STRING: Final = 16 * 1024  #: UTF-8 bytes of a text or a key
MAX_KEYS: Final = 200  #: keys of one object
MAX_DEPTH: Final = 32  #: objects and lists inside each other, the record itself included
MAX_DIGITS: Final = 40  #: digits of a number
MAX_TYPE: Final = 200  #: characters of a type
MAX_ID: Final = 512  #: characters of an id; longer ones do not fit the index of every store

EARLIEST: Final = parse_instant("1900-01-01T00:00:00Z")
LATEST: Final = parse_instant("3000-01-01T00:00:00Z")
"""Events lie in ``EARLIEST <= time < LATEST``: placeholders such as 0001-01-01 and 9999-12-31 are mistakes, and every
instant computed from an event (ten years on at most) must be one the calendar knows."""

KEYS: Final = ("id", "type", "user", "group", "time", "data")

_LARGEST: Final = Decimal("1e40")
_SMALLEST: Final = Decimal("1e-40")
_INT_LIMIT: Final = 1 << 62
# Possessive throughout: a record made to fail late must not be tried again from every quote in it.
_TEXT: Final = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_BRACKETS: Final = re.compile(r"[\[\]{}]")
_PLAIN_ESCAPES: Final = re.compile(
    rb'(?:[^\\]++|\\["/bfnrt]|\\u(?:[1-9a-cA-CeEfF][0-9a-fA-F]|0(?!00[01])[0-9a-fA-F]|[dD][0-7])[0-9a-fA-F]{2})*+'
)


class NoSubject(EventRejected):
    """A well-formed record with neither user nor group; its time still counts for the end of the virtual clock."""

    def __init__(self, time: int, id: str) -> None:
        super().__init__("no_subject", "the record has neither user nor group; one of them is required")
        self.time = time
        self.id = id


class _Unsure(ValueError):
    """The fast way cannot prove its answer."""


class _Shape(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    type: str
    time: str
    id: str | UnsetType | None = UNSET
    user: str | UnsetType | None = UNSET
    group: str | UnsetType | None = UNSET
    data: dict[str, Any] | UnsetType | None = UNSET


def read_event(raw: bytes, *, fallback_id: str | None = None) -> Event:
    """The event a record holds; raises EventRejected with reason and sentence.

    Parameters
    ----------
    raw: the record without its line end.
    fallback_id: id for a record without one; None refuses it (``no_id``).
    """
    return read_fast(raw, fallback_id) or read_slow(raw, fallback_id)


# -- the fast way


def read_fast(raw: bytes, fallback_id: str | None = None) -> Event | None:
    """The event, when it is certain that ``read_slow`` gives the same; None: ask ``read_slow``."""
    quotes = raw.count(b'"')
    if 92 in raw:  # a backslash; asked as a number this is ten times as fast
        quotes -= raw.count(b'\\"')
        if not _plain(raw):
            return None
    try:
        shape = _decode(raw)
        data = shape.data
        time = parse_instant(shape.time)
        if data:
            quotes -= _quotes(data, 2)
        event = Event(shape.id, shape.type, time, shape.user, shape.group, data)  # type: ignore[arg-type]
        if data and event.id and event.user and shape.group is UNSET:
            quotes -= 18  # the usual record: five keys and four texts
            event.group = None
        else:
            quotes -= _settle(event, fallback_id)
        if quotes or not event.type or not EARLIEST <= time < LATEST or (len(raw) > MAX_TYPE and not _fits(raw, event)):
            return None
        return event
    except (ValueError, ArithmeticError, RecursionError):
        return None


def read_many(lines: Sequence[bytes]) -> list[Event] | None:
    """The events of many records at once, as ``read_fast`` gives them; None when that is not certain of every one.

    The usual record alone is read here: id, type, user, time and data, no escapes, no group. The quotes are counted
    over all records together: none can have fewer than its event accounts for, so equal sums mean equal parts.
    The decoder would take two records of one line, and one that goes over two; but no JSON value holds ``}`` and then
    ``{``, so where all lines begin and end with these, each newline parts two records.
    """
    whole = b"\n".join(lines)
    if 92 in whole or whole.count(b"}\n{") != len(lines) - 1 or whole[:1] != b"{" or whole[-1:] != b"}":
        return None
    try:
        events = _decode_lines(whole)
        if len(events) != len(lines):
            return None
        quotes = whole.count(b'"') - 18 * len(events)
        without = 0
        for event in events:
            data = event.data
            if not data:
                without += 1
            quotes -= 2 * len(data)
            for item in data.values():
                kind = item.__class__
                if kind is str:
                    quotes -= 2
                elif kind is int:
                    if not -_INT_LIMIT < item < _INT_LIMIT:
                        return None
                elif kind is Decimal:
                    if not -MAX_DIGITS <= item.adjusted() < MAX_DIGITS:
                        return None
                elif kind is dict or kind is list:
                    quotes -= _quotes(item, 3)
            time = event.time = parse_instant(event.time)  # type: ignore[arg-type]  # still the text it came as
            if not (event.id and event.user and event.type) or not EARLIEST <= time < LATEST:
                return None
    except (ValueError, ArithmeticError, RecursionError, TypeError, AttributeError):
        return None
    if without:  # empty data: a key that says so, or none at all
        said = sum(b'"data":{}' in raw for raw, event in zip(lines, events, strict=True) if not event.data)
        quotes += 2 * (without - said)
    if quotes:
        return None
    if max(map(len, lines)) > MAX_TYPE and any(
        len(raw) > MAX_TYPE and not _fits(raw, event) for raw, event in zip(lines, events, strict=True)
    ):
        return None
    return events


def _settle(event: Event, fallback_id: str | None) -> int:
    """Put None for what is absent; the quotes of the keys and texts that are there. Empty texts have none."""
    quotes = 8  # type and time
    for name in ("id", "user", "group", "data"):
        value = getattr(event, name)
        if value is UNSET:
            setattr(event, name, None)
        else:
            quotes += 4 if value and name != "data" else 2
    if event.id is None and fallback_id:
        event.id = fallback_id
    if event.data is None:
        event.data = {}
    if not event.id or not (event.user or event.group):
        raise _Unsure
    return quotes


def _plain(raw: bytes) -> bool:
    """Only escapes whose meaning is beyond doubt: no NUL, no U+0001, no surrogates, no escaped backslash
    before a quote."""
    return b"\\\\" not in raw and _PLAIN_ESCAPES.fullmatch(raw) is not None


def _fits(raw: bytes, event: Event) -> bool:
    """Limits that a short record keeps by being short."""
    return (
        len(raw) <= MAX_STRING
        and raw.count(b'"') <= 2 * MAX_KEYS
        and len(event.type) <= MAX_TYPE
        and all(not text or len(text) <= MAX_ID for text in (event.id, event.user, event.group))
    )


def _quotes(value: dict[str, Any] | list[Any], depth: int) -> int:
    """Quotes that the keys and texts inside a decoded value account for; _Unsure about rare numbers and depths."""
    if type(value) is dict:
        total = 2 * len(value)
        items: Any = value.values()
    else:
        total = 0
        items = value
    for item in items:
        kind = type(item)
        if kind is str:
            total += 2
        elif kind is int:
            if not -_INT_LIMIT < item < _INT_LIMIT:
                raise _Unsure
        elif kind is Decimal:
            if not -MAX_DIGITS <= item.adjusted() < MAX_DIGITS:
                raise _Unsure
        elif kind is dict or kind is list:
            if depth >= MAX_DEPTH // 2:
                raise _Unsure
            total += _quotes(item, depth + 1)
    return total


def _short_decimal(text: str) -> Decimal:
    if len(text) > 20:
        raise _Unsure
    return Decimal(text)


_decode: Final = msgspec.json.Decoder(_Shape, float_hook=_short_decimal).decode
_decode_lines: Final = msgspec.json.Decoder(Event, float_hook=_short_decimal).decode_lines


# -- the slow way


def read_slow(raw: bytes, fallback_id: str | None = None) -> Event:
    """The event, read step by step; each refusal with its reason. This way is the definition."""
    record = read_payload(raw)
    for key in record:
        if key not in KEYS:
            near = difflib.get_close_matches(key[:64].lower(), KEYS, n=1, cutoff=0.6)
            hint = f"did you mean {near[0]!r}?" if near else "known keys: " + ", ".join(KEYS)
            _refuse("unknown_key", f"unknown key {_shown(key)} beside data; {hint}")
    type = _text(record, "type", "type", MAX_TYPE)
    if type is None:
        _refuse("type", "the record has no type")
    time = _time(record)
    id = _text(record, "id", "id", MAX_ID) or fallback_id
    if id is None:
        _refuse("no_id", "the record has no id; a live feed never guesses one")
    user = _text(record, "user", "user", MAX_ID)
    group = _text(record, "group", "group", MAX_ID)
    data = record.get("data")
    if data is not None and not isinstance(data, dict):
        _refuse("data", f"data must be an object, not {_kind(data)}")
    if user is not None and user.startswith(SIGN):
        _refuse("user", "a user id must not begin with the character U+0001")
    if user is None and group is None:
        raise NoSubject(time, id)
    return Event(id=id, type=type, time=time, user=user, group=group, data=data or {})


def read_payload(raw: bytes) -> dict[str, Any]:
    """A JSON object of any keys, by the same strict reading and limits; what ``map:`` makes an event of."""
    if len(raw) > MAX_EVENT:
        _refuse("oversize", f"the record has {len(raw)} bytes; at most {MAX_EVENT} are read")
    record = _parse(raw)
    if not isinstance(record, dict):
        _refuse("not_object", "the record is not a JSON object")
    _check_values(record)
    return record


def _refuse(reason: str, message: str) -> NoReturn:
    raise EventRejected(reason, message)


def _parse(raw: bytes) -> Any:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        _refuse("utf8", f"byte {error.start + 1} is not UTF-8")
    # Counted before parsing, so that the verdict does not hang on how deep the caller's stack already is.
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(text) > MAX_DEPTH:
        _refuse("depth", f"objects and lists stand more than {MAX_DEPTH} deep inside each other")
    try:
        return _JSON.decode(text)
    except json.JSONDecodeError as error:
        message = "byte order mark" if text.startswith("\ufeff") else error.msg
        _refuse("json", f"not JSON at character {error.pos + 1}: {message}")


def _depth(text: str) -> int:
    depth = deepest = 0
    for bracket in _BRACKETS.findall(_TEXT.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                _refuse("duplicate_key", f"key {_shown(key)} comes twice in one object")
            seen.add(key)
    return found


def _integer(text: str) -> int:
    if len(text.lstrip("-")) > MAX_DIGITS:
        _refuse("number", f"a number has more than {MAX_DIGITS} digits")
    return int(text)


def _decimal(text: str) -> Decimal:
    mantissa, _, exponent = text.lower().partition("e")
    if len(mantissa.lstrip("-").replace(".", "")) > MAX_DIGITS:
        _refuse("number", f"a number has more than {MAX_DIGITS} digits")
    # Refused by length first: Decimal has its own limits and its own errors.
    if len(exponent.lstrip("+-0")) <= 3:
        value = Decimal(text)
        size = value.copy_abs() if value else Decimal(1).scaleb(value.adjusted())
        if _SMALLEST <= size <= _LARGEST:
            return value
    _refuse("number", f"number {_shown(text)} is outside 1e-40 to 1e40")


def _constant(text: str) -> NoReturn:
    _refuse("nan", f"{text} is not JSON")


_JSON: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_decimal, parse_constant=_constant
)


def _check_values(record: dict[str, Any]) -> None:
    """Limits on texts and keys, in the order of the record."""
    waiting: list[Any] = [record]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            _check_text(value)
        elif isinstance(value, dict):
            if len(value) > MAX_KEYS:
                _refuse("keys", f"an object has {len(value)} keys; at most {MAX_KEYS} are read")
            for key in value:
                _check_text(key)
            waiting.extend(reversed(value.values()))
        elif isinstance(value, list):
            waiting.extend(reversed(value))


def _check_text(text: str) -> None:
    if "\0" in text:
        _refuse("nul", f"text {_shown(text)} contains NUL")
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError:
        _refuse("surrogate", f"text {_shown(text)} contains half of a surrogate pair")
    if size > MAX_STRING:
        _refuse("string", f"a text has {size} bytes; at most {MAX_STRING} are read")


def _text(record: dict[str, Any], key: str, reason: str, limit: int) -> str | None:
    """Non-empty text of a top-level key; null is the same as absent."""
    value = record.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        _refuse(reason, f"{key} must be text, not {_kind(value)}")
    if not value:
        _refuse(reason, f"{key} is empty")
    if len(value) > limit:
        _refuse(reason, f"{key} has {len(value)} characters; at most {limit} are read")
    return value


def _time(record: dict[str, Any]) -> int:
    text = _text(record, "time", "time", MAX_STRING)
    if text is None:
        _refuse("time", "the record has no time")
    try:
        time = parse_instant(text)
    except InstantError as error:
        raise EventRejected(error.reason, f"time {error}") from None
    if not EARLIEST <= time < LATEST:
        _refuse("time", f"time {_shown(text)} is outside the years 1900 to 2999")
    return time


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | Decimal):
        return "a number"
    if isinstance(value, str):
        return "text"
    return "a list" if isinstance(value, list) else "an object"


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 40 else text[:37] + "...")
