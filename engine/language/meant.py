"""What a newcomer most likely meant, where the nearest word alone does not tell."""

from __future__ import annotations

import re
from typing import Final
from zoneinfo import available_timezones

from engine.core import shapes as sh
from engine.language.diagnostics import Problems
from engine.language.nodes import MapNode, ScalarNode
from engine.registry import nearest

# Cities people name and the zone table does not; each is told by the zone that holds for it.
_CITIES: Final = {
    "beijing": "Asia/Shanghai", "peking": "Asia/Shanghai", "shenzhen": "Asia/Shanghai", "guangzhou": "Asia/Shanghai",
    "mumbai": "Asia/Kolkata", "delhi": "Asia/Kolkata", "bangalore": "Asia/Kolkata", "osaka": "Asia/Tokyo",
    "san_francisco": "America/Los_Angeles", "seattle": "America/Los_Angeles", "boston": "America/New_York",
    "washington": "America/New_York", "munich": "Europe/Berlin", "frankfurt": "Europe/Berlin", "milan": "Europe/Rome",
    "北京": "Asia/Shanghai", "上海": "Asia/Shanghai", "香港": "Asia/Hong_Kong", "台北": "Asia/Taipei",
}  # fmt: skip
_OFFSET: Final = re.compile(r"(?:UTC|GMT|Z)?\s*[+-]\s*[0-9]{1,2}(?::?[0-9]{2})?", re.IGNORECASE)


def zone_hint(name: str) -> str:
    """The next move for a time zone that does not exist."""
    if _OFFSET.fullmatch(name):
        return "an offset is no zone: name a place, such as Asia/Shanghai"
    known = _CITIES.get(name.rpartition("/")[2].strip().lower().replace(" ", "_"))
    if known is not None:
        return f"did you mean '{known}'?"
    zones = available_timezones()
    last = {zone.rpartition("/")[2].lower(): zone for zone in sorted(zones, reverse=True)}
    same = last.get(name.rpartition("/")[2].strip().lower().replace(" ", "_"))
    near = same or nearest(name, zones)
    return f"did you mean '{near}'?" if near is not None else "an IANA name such as Asia/Shanghai"


def outdented(problems: Problems, mapping: MapNode, verb: ScalarNode, shape: sh.Shape, around: set[str]) -> bool:
    """Do the keys of a verb stand as deep as the verb itself, with nothing behind it? If so, it was reported.

    Parameters
    ----------
    around: keys that may stand beside a verb.
    """
    body = mapping.get(verb.text)
    if not isinstance(shape, sh.Map) or not isinstance(body, ScalarNode) or body.style or body.value is not None:
        return False
    meant = [key for key, _ in mapping if key.text in shape.fields and key.text not in around]
    if not meant:
        return False
    names = " and ".join(", ".join(f"'{key.text}'" for key in meant).rsplit(", ", 1))
    message = f"'{verb.text}' holds nothing: {names} stand{'s' if len(meant) == 1 else ''} beside it, not below it"
    problems.error(meant[0], "yaml-indent", message, hint=f"indent by two more spaces what belongs to '{verb.text}'")
    return True
