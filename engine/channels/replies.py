"""What a reply over HTTP means: sent, not now, never, or nobody knows; and what of it is kept."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from engine.channels.guard import Refused
from engine.channels.network import LONGEST_PAUSE
from engine.channels.wire import Reply, Unanswered, Unsent
from engine.core.model import SECOND
from engine.door import MAX_STRING, read_event
from engine.errors import EventRejected
from engine.ports import Sent

PASSING = frozenset({408, 425, 429, *range(500, 600)})
"""Status codes worth another try."""

_AMBIGUOUS = 504
_HEAD = b'{"id":"a","type":"a","user":"a","time":"2000-01-01T00:00:00Z","data":{"body":'
_json = msgspec.json.Decoder()


def carried_out(call: Callable[[], Reply]) -> Reply | Sent:
    """The reply to a request, or what its absence means."""
    try:
        return call()
    except Refused as error:
        return Sent(ok=False, reason=str(error))
    except Unsent as error:
        return Sent(ok=False, reason=str(error), passing=error.passing)
    except Unanswered as error:
        return Sent(ok=False, reason=str(error), passing=True, unknown=True)


def by_status(reply: Reply, now: int) -> Sent:
    """What the status alone says; ``now``: microseconds, for a pause that is asked for as a date."""
    status = reply.status
    if 200 <= status < 300:
        return Sent(ok=True)
    if 300 <= status < 400:
        return Sent(ok=False, reason=f"answered {status}: redirects are not followed")
    if status in PASSING:
        # a gateway that got no answer knows as little as we would
        unknown = status == _AMBIGUOUS
        return Sent(
            ok=False, reason=f"answered {status}", passing=True, unknown=unknown, retry_after=pause(reply, now)
        )
    return Sent(ok=False, reason=f"answered {status}")


def pause(reply: Reply, now: int) -> int | None:
    """``Retry-After`` in microseconds, an hour at most; None when there is none that can be read."""
    text = reply.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return min(int(text[:9]) * SECOND, LONGEST_PAUSE)
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    moment = until.replace(tzinfo=UTC) if until.tzinfo is None else until
    return max(0, min(int(moment.timestamp() * SECOND) - now, LONGEST_PAUSE))


def document(reply: Reply) -> Any:
    """The body as JSON; raises ValueError for what is none, or was cut off."""
    if not reply.whole:
        raise ValueError("the body was cut off")
    try:
        return _json.decode(reply.body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError("the body is no JSON") from error


def content(reply: Reply) -> object:
    """The body as an event may carry it, by the rules of the door: JSON where it is JSON, else text, else None."""
    try:
        document(reply)  # it is one whole value, so it may be put inside another
        return (read_event(_HEAD + reply.body + b"}}").data or {})["body"]
    except (EventRejected, ValueError):
        pass
    try:
        text = reply.body.decode("utf-8")
    except UnicodeDecodeError:
        return None
    fits = reply.whole and len(reply.body) <= MAX_STRING and "\0" not in text
    return text if fits and text else None


def look(value: Any, path: str) -> Any:
    """What stands at ``result.0.id`` of a document; None where nothing does."""
    for name in path.split("."):
        if isinstance(value, dict):
            value = value.get(name)
        elif isinstance(value, list) and name.isdigit() and int(name) < len(value):
            value = value[int(name)]
        else:
            return None
    return value
