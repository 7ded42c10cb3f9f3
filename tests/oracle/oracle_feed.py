"""The door: which lines of a feed are events, and what the summary says of them.

Design lines encoded (semantics.md, "event", "missing id", "duplicate id", "order", "bad record"; cli.md,
``simulate``):

* a line is an object with ``type``, ``time`` and one of ``user`` / ``group`` (null is absent); ``time`` is RFC 3339
  with an offset or Z; unknown top-level keys, naive times and empty ids are rejected; NaN and duplicate keys are no
  JSON;
* a missing ``id`` becomes ``file:line`` in ``simulate``; repeated ids are dropped first, the first in (file, line)
  order stays, whatever its time; then events are sorted by (time, file, line);
* events without subject count as quarantined, but when well-formed they move the end of the virtual clock.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import oracle_time as clock

KEYS = {"id", "type", "user", "group", "time", "data"}


@dataclass
class Verdicts:
    """What happens to the lines of some files."""

    read: int = 0
    accepted: list[dict[str, Any]] = field(default_factory=list)
    duplicate: int = 0
    quarantined: int = 0
    end: int | None = None


def no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Duplicate keys are an error, not a choice."""
    out = dict(pairs)
    if len(out) != len(pairs):
        raise ValueError("duplicate key")
    return out


def no_constant(word: str) -> Any:
    """NaN and Infinity are not JSON."""
    raise ValueError(word)


def instant_of(value: object) -> int | None:
    """The instant of a well-formed time, else None."""
    if not isinstance(value, str) or "T" not in value:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return None if moment.tzinfo is None else clock.ms_of(moment)


def well_formed(line: str) -> dict[str, Any] | None:
    """The record of a line when all but its subject is in order, else None."""
    try:
        record = json.loads(line, object_pairs_hook=no_twins, parse_constant=no_constant)
    except ValueError:
        return None
    if not isinstance(record, dict) or set(record) - KEYS:
        return None
    if not isinstance(record.get("type"), str) or not record["type"] or instant_of(record.get("time")) is None:
        return None
    if "id" in record and (not isinstance(record["id"], str) or not record["id"]):
        return None
    for name in ("user", "group"):
        if record.get(name) is not None and (not isinstance(record[name], str) or not record[name]):
            return None
    if not isinstance(record.get("data", {}), dict):
        return None
    return record


def judge(files: Sequence[Sequence[str]]) -> Verdicts:
    """All lines of all files, in order."""
    out = Verdicts()
    seen: set[str] = set()
    for number, lines in enumerate(files):
        for place, line in enumerate(lines):
            out.read += 1
            record = well_formed(line)
            if record is None:
                out.quarantined += 1
                continue
            instant = instant_of(record["time"])
            assert instant is not None
            out.end = instant if out.end is None else max(out.end, instant)
            if record.get("user") is None and record.get("group") is None:
                out.quarantined += 1
                continue
            name = record.get("id", f"{number}:{place}")
            if name in seen:
                out.duplicate += 1
                continue
            seen.add(name)
            out.accepted.append(record | {"instant": instant, "at": (instant, number, place)})
    out.accepted.sort(key=lambda record: record["at"])
    return out
