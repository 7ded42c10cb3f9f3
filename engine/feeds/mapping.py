"""``map:``: payloads of other systems as events, without code.

Rule 1: a payload passes the same strict reader as an event, and so does the event made of it; nothing is lenient here.
Rule 2: numbers stay the digits they came as; no binary float is made on the way.
Rule 3: what the mapping names must be there. A payload without it is refused with the name of the field, never guessed.

A path is keys with dots between them, ``customer.id``; a number is a place in a list, ``items.0.sku``; ``\\.`` is a dot
that belongs to a key; ``.`` alone is the whole payload. ``a | b`` is the first of them that is there; null and empty
text count as absent. Where a list of paths may stand, all of them are joined. ``@.key``, ``@.headers.name`` and such
are what a broker keeps beside a payload; which there are its feed says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Context, Decimal
from typing import Any, Final, NoReturn

import msgspec

from engine.core.instants import format_instant
from engine.core.shapes import Many, Map, Table, Text, optional
from engine.door import EARLIEST, LATEST, read_payload
from engine.errors import EventRejected, UsageError

WHOLE: Final = "."
AROUND: Final = "@"  #: key of a payload under which stands what the source keeps beside it
UNITS: Final = {"s": 1_000_000, "ms": 1_000, "us": 1}  #: microseconds of one

_EXACT: Final = Context(prec=80)
_KEY: Final = re.compile(r"(?:[^.\\]|\\.)+")
_DIGITS: Final = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,9})?")
_PATH = Text(what="path such as customer.id")

SHAPE: Final = Map(
    {
        "id": optional(Many(_PATH), "path of the id; of several paths all are joined"),
        "id_prefix": optional(Text(), "stands before every id, so that the ids of two sources never meet"),
        "type": optional(Many(_PATH), "path of the type; of several paths all are joined by dots"),
        "type_is": optional(Text(), "the type of every record, instead of a path"),
        "types": optional(Table(Text(what="event type")), "what the source calls it: the type it becomes"),
        "user": optional(_PATH, "path of the user"),
        "group": optional(_PATH, "path of the group"),
        "time": optional(_PATH, "path of the time (time)"),
        "time_unit": optional(Text(tuple(UNITS)), "the time is a number of these since 1970; left out: RFC 3339"),
        "data": optional(_PATH, "path of the data; left out: the payload without the fields named here; .: all of it"),
    },
    one_of=(("type", "type_is"),),
)
"""Keys of ``map:``."""

_Keys = tuple[str, ...]
MISSING: Final = object()
_encode: Final = msgspec.json.Encoder(decimal_format="number").encode


class Place:
    """Where a value stands in a payload: the first of several paths that leads somewhere."""

    def __init__(self, text: str, name: str, of: str = "map") -> None:
        self.text = text
        self.name = name
        self.ways = [_keys(part.strip(), name, of) for part in text.split("|")]

    def find(self, payload: dict[str, Any]) -> Any:
        """The value, or ``MISSING``; null and empty text count as absent."""
        for way in self.ways:
            found = _follow(payload, way)
            if found is not MISSING:
                return found
        return MISSING

    def need(self, payload: dict[str, Any]) -> Any:
        """The value; raises EventRejected where there is none."""
        found = self.find(payload)
        if found is MISSING:
            _refuse("unmapped", f"the payload has no {self.text!r}, which map.{self.name} names")
        return found

    def word(self, payload: dict[str, Any]) -> str:
        """The value as a text: a text as it is, a whole number by its digits."""
        return _word(self.need(payload), self)


class PayloadMap:
    """Which fields of a payload form an event. Made by ``of``; may be used by several threads."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._id = _places(fields.get("id"), "id")
        self._prefix = str(fields.get("id_prefix", ""))
        self._type = _places(fields.get("type"), "type")
        self._type_is: str | None = fields.get("type_is")
        self._types: Mapping[str, str] = fields.get("types") or {}
        self._user = _place(fields.get("user"), "user")
        self._group = _place(fields.get("group"), "group")
        self._time = Place(str(fields.get("time", "time")), "time")
        self._unit: str | None = fields.get("time_unit")
        data = fields.get("data")
        self._data = None if data is None or data == WHOLE else Place(data, "data")
        self._whole = data == WHOLE
        named = [*self._id, *self._type, self._time, *(it for it in (self._user, self._group) if it is not None)]
        ways = [way for place in (*named, *((self._data,) if self._data is not None else ())) for way in place.ways]
        self.around = frozenset(way[1:] for way in ways if way[0] == AROUND)  #: what is named of what stands around
        self._named = frozenset(way[0] for place in named for way in place.ways if len(way) == 1)
        if self.around:
            self._named |= {AROUND}

    @classmethod
    def of(cls, setting: object, *, id_needed: bool = True) -> PayloadMap:
        """The mapping of a setting, as ``SHAPE`` reads it or as plain YAML; raises UsageError.

        Parameters
        ----------
        id_needed: False where the feed has an id of its own for records without one.
        """
        if not isinstance(setting, Mapping):
            raise UsageError("map: is a mapping", hint="map: {id: messageId, type: event, user: userId}")
        fields = {str(key): value for key, value in setting.items()}
        unknown = [key for key in fields if key not in SHAPE.fields]
        if unknown:
            raise UsageError(f"map: unknown key {unknown[0]!r}", hint="known: " + ", ".join(SHAPE.fields))
        if ("type" in fields) == ("type_is" in fields):
            raise UsageError("map: write one of type (a path) and type_is (the type of every record)")
        if "user" not in fields and "group" not in fields:
            raise UsageError("map: one of user and group is required")
        if id_needed and "id" not in fields:
            raise UsageError("map: id is required; an id is never guessed", hint="id: messageId, or a list of paths")
        if fields.get("time_unit", "s") not in UNITS:
            raise UsageError(f"map.time_unit: {fields['time_unit']!r} is none of " + ", ".join(UNITS))
        return cls(fields)

    def event_bytes(self, raw: bytes) -> bytes:
        """The event of a payload as JSON, for the door; raises EventRejected (``unmapped`` or a reason of the door)."""
        payload = read_payload(raw)
        event: dict[str, Any] = {}
        if self._id:
            event["id"] = self._prefix + _joined([place.word(payload) for place in self._id])
        event["type"] = self._type_of(payload)
        event["time"] = time_text(payload, self._time, self._unit)
        self._subjects(payload, event)
        data = self._data_of(payload)
        if data:
            event["data"] = data
        return _encode(event)

    def _type_of(self, payload: dict[str, Any]) -> str:
        if self._type_is is not None:
            return self._type_is
        name = ".".join(place.word(payload) for place in self._type)
        return self._types.get(name, name)

    def _subjects(self, payload: dict[str, Any], event: dict[str, Any]) -> None:
        places = [it for it in (self._user, self._group) if it is not None]
        for place in places:
            found = place.find(payload)
            if found is not MISSING:
                event[place.name] = _word(found, place)
        if not any(place.name in event for place in places):
            words = " and no ".join(repr(place.text) for place in places)
            names = " and ".join(f"map.{place.name}" for place in places)
            _refuse("unmapped", f"the payload has no {words}, which {names} name{'s' if len(places) == 1 else ''}")

    def _data_of(self, payload: dict[str, Any]) -> dict[str, Any]:
        if self._whole:
            return {key: value for key, value in payload.items() if key != AROUND} if self.around else payload
        if self._data is None:
            return {key: value for key, value in payload.items() if key not in self._named}
        found = self._data.find(payload)
        if found is MISSING:
            return {}  # a source leaves out what is empty
        if not isinstance(found, dict):
            _refuse("data", f"{self._data.text!r}, which map.data names, is no object")
        return found


def time_text(payload: dict[str, Any], place: Place, unit: str | None) -> str:
    """The time at a place as an event writes it; raises EventRejected.

    Parameters
    ----------
    unit: what a number there counts since 1970 (see ``UNITS``); None: it is RFC 3339.
    """
    found = place.need(payload)
    if unit is None:
        if isinstance(found, str):
            return found
        hint = "map.time_unit says what a number means: s, ms or us"
        _refuse("time", f"{place.text!r} must be text, RFC 3339; {hint}")
    if isinstance(found, str) and _DIGITS.fullmatch(found) is not None:
        found = Decimal(found)
    if isinstance(found, bool) or not isinstance(found, int | Decimal):
        _refuse("time", f"{place.text!r} is no number of {unit} since 1970")
    instant = int(_EXACT.multiply(Decimal(found), UNITS[unit]))  # digits below a microsecond are cut off
    if not EARLIEST <= instant < LATEST:
        _refuse("time", f"{place.text!r} is outside the years 1900 to 2999: is its unit {unit}?")
    return format_instant(instant)


def check_map(fields: Mapping[str, Any], *, id_needed: bool = True) -> None:
    """Can the ``map`` of a feed's setting hold, if it has one? Raises UsageError."""
    if "map" in fields:
        PayloadMap.of(fields["map"], id_needed=id_needed)


def _refuse(reason: str, message: str) -> NoReturn:
    raise EventRejected(reason, message)


def _keys(text: str, name: str, of: str) -> _Keys:
    """The keys of one path; raises UsageError."""
    if text == WHOLE and name == "data":
        return ()
    parts = _KEY.findall(text)
    if not text or ".".join(parts) != text:
        raise UsageError(f"{of}.{name}: {text!r} is no path", hint="keys with dots between them: customer.id")
    return tuple(re.sub(r"\\(.)", r"\1", part) for part in parts)


def _places(setting: object, name: str) -> list[Place]:
    if setting is None:
        return []
    if isinstance(setting, str):
        return [Place(setting, name)]
    if not isinstance(setting, Sequence) or not setting or not all(isinstance(it, str) for it in setting):
        raise UsageError(f"map.{name} is a path, or a list of paths")
    return [Place(it, name) for it in setting]


def _place(setting: object, name: str) -> Place | None:
    return Place(str(setting), name) if setting is not None else None


def _follow(value: Any, way: _Keys) -> Any:
    for key in way:
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, list) and key.isascii() and key.isdigit() and int(key[:9]) < len(value):
            value = value[int(key[:9])]
        else:
            return MISSING
    return MISSING if value is None or value == "" else value


def _word(found: Any, place: Place) -> str:
    if isinstance(found, str):
        return found
    if isinstance(found, int) and not isinstance(found, bool):
        return str(found)
    _refuse("unmapped", f"{place.text!r}, which map.{place.name} names, is no text and no whole number")


def _joined(parts: list[str]) -> str:
    """Several texts as one; the sign between them is escaped inside, so that different parts never give one id."""
    if len(parts) == 1:
        return parts[0]
    return "|".join(part.replace("\\", "\\\\").replace("|", "\\|") for part in parts)
