"""What the channels over the network have in common: their keys, the time they are given, and what may be told."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from engine.channels.guard import PORTS, Guard, Refused, Resolve, host_name
from engine.channels.wire import Caller, Limits
from engine.core.model import HOUR, SECOND
from engine.core.shapes import Duration, Field, Flag, Int, Many, Text, optional
from engine.ports import Outgoing, Sent
from engine.render import Setting
from engine.site import Secret, Site

LONGEST_PAUSE = HOUR
"""The longest time a provider may ask to be left alone."""

_TOLD = 200
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_SHORTEST_SECRET = 4
_SHORTEST_TOKEN = 8  #: shorter parts of an address are words

REACH: dict[str, Field] = {
    "allow_http": optional(Flag(), "addresses without TLS too (false)"),
    "allow_private": optional(Flag(), "addresses of this machine and of private networks too (false)"),
    "ports": optional(Many(Int(low=1, high=65535)), "ports that may be used (443 and 80, and the one in url)"),
}
"""Keys that say where a request may go."""

TIMING: dict[str, Field] = {
    "timeout": optional(Duration(), "how long one try may take, from beginning to end (15s)"),
    "ca": optional(Text(what="path"), "file of certificate authorities instead of the system's"),
}
"""Keys of whatever connects."""


def seconds_of(fields: Mapping[str, Any]) -> Limits:
    """The time-outs of an entry: 3 s to connect, 10 s of silence, 15 s in all when it is silent."""
    span = fields.get("timeout")
    if span is None:
        return Limits()
    total = span.elapsed / SECOND
    return Limits(min(3.0, total), max(10.0, total - 5.0), total)


def caller_of(
    fields: Mapping[str, Any],
    site: Site,
    *,
    own_port: int | None = None,
    hosts: Iterable[str] | None = None,
    resolve: Resolve | None = None,
) -> Caller:
    """What sends the requests of an entry.

    Parameters
    ----------
    own_port: the port the entry's own ``url`` names; it needs no other word.
    hosts: names requests may go to; None: any.
    resolve: another look-up of names than the system's.
    """
    ports = frozenset(fields.get("ports") or PORTS)
    if own_port is not None and "ports" not in fields:
        ports |= {own_port}
    ca = fields.get("ca")
    guard = Guard(
        allow_private=fields.get("allow_private", False),
        allow_http=fields.get("allow_http", False),
        ports=ports,
        hosts=None if hosts is None else frozenset(hosts),
        resolve=resolve,
    )
    return Caller(guard, site.elapsed, seconds_of(fields), None if ca is None else str(site.root / ca))


def listed_host(text: str) -> str:
    """An entry of ``hosts`` as it is compared: a name, or ``.name`` for all below it; raises Refused."""
    return "." + host_name(text[1:]) if text.startswith(".") else host_name(text)


def host_of_address(url: str) -> str | None:
    """The host an address leads to, as names of hosts are compared; None where a guard would refuse it."""
    try:
        return host_name(urlsplit(url).hostname or "")
    except (ValueError, Refused):
        return None


def is_host(text: str) -> bool:
    """Is it an entry of ``hosts``?"""
    try:
        listed_host(text)
    except Refused:
        return False
    return True


# ---------------------------------------------------------------------- what a message gives

NAMES = frozenset(
    {
        "text", "subject", "title", "fields", "html", "to", "user", "group", "key", "channel", "kind", "playbook",
        "step", "template", "purpose", "detail",
    }
)  # fmt: skip
"""What may stand in ``{{ }}`` of a channel's settings."""


def values_of(item: Outgoing) -> dict[str, Any]:
    """The values of ``NAMES`` for one effect; what it does not have is null."""
    effect, detail = item.effect, item.effect.detail
    fields = detail.get("fields") or {}
    return {
        "text": detail.get("text"),
        "subject": detail.get("subject"),
        "title": fields.get("title"),
        "fields": fields,
        "html": detail.get("html"),
        "to": effect.to,
        "user": {"id": effect.user},
        "group": {"id": effect.group},
        "key": item.key,
        "channel": item.channel,
        "kind": effect.kind,
        "playbook": effect.playbook,
        "step": effect.step,
        "template": detail.get("template"),
        "purpose": effect.purpose,
        "detail": detail,
    }


def setting(text: str, site: Site, what: str) -> Setting:
    """A setting of a channel, its ``${NAME}`` looked up; raises CannotRun and SettingFault."""
    return Setting(text, NAMES, lambda reference: site.secret(reference, what))


# ---------------------------------------------------------------------- what may be told


class Veil:
    """Takes secrets out of what is told: reasons go to the store, to logs and to people.

    Parameters
    ----------
    secrets: what must not be seen.
    host_seen: of an address that is a secret the host may be told; False where the host is a token.
    """

    def __init__(self, secrets: Iterable[Secret], *, host_seen: bool = True) -> None:
        found: set[str] = set()
        for secret in secrets:
            found.update(_pieces(secret.reveal(), host_seen))
        found |= {quote(text, safe="") for text in found}
        self._found = sorted(found, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """The text on one line, without secrets, at most 200 characters."""
        for secret in self._found:
            text = text.replace(secret, "***")
        text = _UNSEEN.sub(" ", text).strip()
        return text if len(text) <= _TOLD else text[: _TOLD - 1] + "…"

    def covered(self, text: str) -> str:
        """The whole text, without secrets."""
        for secret in self._found:
            text = text.replace(secret, "***")
        return text

    def told(self, answer: Sent) -> Sent:
        """An answer whose reason may be seen."""
        if answer.reason is not None:
            answer.reason = self(answer.reason)
        return answer


def _pieces(text: str, host_seen: bool) -> Iterator[str]:
    """The secret, and what of it could turn up alone: the password of an address, a token in its path."""
    _, mark, rest = text.partition("://")
    if not mark:
        yield from (text,) if len(text) >= _SHORTEST_SECRET else ()
        return
    yield text
    user, at, place = rest.rpartition("@")
    if at:
        yield from (unquote(it) for it in (user, *user.split(":")) if len(it) >= _SHORTEST_SECRET)
        yield from (it for it in (user, *user.split(":")) if len(it) >= _SHORTEST_SECRET)
    host, *inner = re.split(r"[/:?&=]+", place)
    yield from (it for it in (inner if host_seen else [host, *inner]) if len(it) >= _SHORTEST_TOKEN)
