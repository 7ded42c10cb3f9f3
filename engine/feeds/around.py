"""What a broker keeps beside a payload - a key, headers, a topic - put into it where ``map`` can name it: under ``@``.

Rule 1: nothing is added unless ``map`` names it, so that a payload that needs nothing stays the bytes it came as.
Rule 2: what was added is part of the record: quarantine keeps it, and reading it once more finds it again.
Rule 3: only text goes in. What is not UTF-8 counts as absent, and a field that needs it is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from engine.errors import UsageError
from engine.feeds.mapping import AROUND, PayloadMap
from engine.registry import nearest

Offer = Mapping[str, "str | int | Mapping[str, str] | None"]
"""What stands around one payload; what is None or missing is absent."""

_encode: Final = msgspec.json.Encoder().encode


def check_around(fields: Mapping[str, Any], offered: Sequence[str], *, id_needed: bool = True) -> None:
    """Can the ``map`` of a feed's setting hold? Raises UsageError.

    Parameters
    ----------
    fields: the setting.
    offered: the names that may stand behind ``@.``.
    id_needed: as in ``PayloadMap.of``.
    """
    if "map" not in fields:
        return
    for way in sorted(PayloadMap.of(fields["map"], id_needed=id_needed).around):
        if not way or way[0] not in offered:
            word = ".".join((AROUND, *way))
            near = nearest(way[0], offered) if way else None
            hint = f"did you mean '@.{near}'?" if near else "one of " + ", ".join(f"@.{it}" for it in offered)
            raise UsageError(f"map: there is no {word!r} around a record of this feed", hint=hint)


def around(raw: bytes, mapping: PayloadMap | None, offer: Callable[[], Offer]) -> bytes:
    """The payload, with what ``map`` names of what stands around it.

    Parameters
    ----------
    raw: the payload; one that is no JSON object is given back, for the door to refuse.
    mapping: of the feed.
    offer: what there is; asked only where something is named.
    """
    if mapping is None or not mapping.around:
        return raw
    head = raw.lstrip(b" \t\r\n")
    if not head.startswith(b"{"):
        return raw
    rest = head[1:].lstrip(b" \t\r\n")
    comma = b"" if rest.startswith(b"}") else b","
    return b'{"@":' + _encode(_picked(mapping.around, offer())) + comma + rest


def only_around(offer: Offer) -> bytes:
    """What stands around a record without payload, for quarantine."""
    return _encode({AROUND: {name: value for name, value in offer.items() if value}})


def _picked(named: frozenset[tuple[str, ...]], offer: Offer) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, *rest in sorted(named):
        value = offer.get(name)
        if not rest or not isinstance(value, Mapping):
            out[name] = value
        elif rest[0] in value:
            out.setdefault(name, {})[rest[0]] = value[rest[0]]
    return {name: value for name, value in out.items() if value is not None}


def text(value: object) -> str | None:
    """A key or the value of a header as text; None where it is none."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes | bytearray):
        try:
            return bytes(value).decode("utf-8")
        except UnicodeDecodeError:
            return None
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return str(value)
