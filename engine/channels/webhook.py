"""Requests to other systems, signed: the calls of ``webhook`` steps, and messages as JSON.

Rule 1: addresses come from playbooks, so every one passes the guard before anything is sent.
Rule 2: the id of a request is the effect key; its signature is new with every try, its id is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from engine.channels import replies, signing
from engine.channels.guard import Refused, host_name
from engine.channels.http import HEADER, OURS
from engine.channels.network import REACH, TIMING, Veil, caller_of, host_of_address, is_host, listed_host
from engine.channels.pace import pace_of
from engine.channels.wire import Reply
from engine.core.instants import format_instant, parse_duration
from engine.core.model import SECOND
from engine.core.shapes import Many, Map, Table, Text, optional
from engine.errors import CannotRun
from engine.ports import Outgoing, Sent, Wire
from engine.site import Secret, Site

_JSON = "application/json"
_TEXT = "text/plain; charset=utf-8"
_MARKS = frozenset({"webhook-id", "webhook-timestamp", "webhook-signature"})
_write = msgspec.json.Encoder(decimal_format="number").encode


class WebhookChannel:
    """Carries out ``webhook`` steps, and sends messages as JSON to ``url``, signed by Standard Webhooks.

    Each request has ``webhook-id`` (the effect key, the same for every try), ``webhook-timestamp`` and, with a
    ``secret``, ``webhook-signature``. A list of secrets signs with each, the newest first, while they are changed.
    A message is ``{type: "message", timestamp, data: {key, user, group, to, purpose, template, subject, text, ...}}``.

    Addresses must be https unless ``allow_http``; private ones and other ports than 443, 80 and the one in ``url`` are
    refused unless ``allow_private`` and ``ports`` let them in; ``hosts`` names the only hosts that may be called
    (``.shop.example``: all below it). Redirects are not followed. ``headers`` with a ``${NAME}`` go to the host of
    ``url`` and to ``hosts`` alone.

    2xx is done; 408, 425, 429 and 5xx are tried again; whatever else is refused for good. The status and the body of an
    answer (up to 64 KiB) go to the step that waits for them. ``timeout`` of a step may shorten that of the channel.

    Example:
        crm: {via: webhook, url: "https://crm.example/hooks", secret: ["${HOOK_SECRET}"], hosts: [crm.example]}
    """

    shape = Map(
        {
            "url": optional(Text(what="address"), "where messages go; steps name their own"),
            "secret": optional(Many(Text(what="${NAME}")), "what requests are signed with, the newest first"),
            "headers": optional(Table(Text(), pattern=HEADER, what="header"), "headers of every request"),
            "hosts": optional(Many(Text(what="host")), "the only hosts that may be called"),
            **TIMING,
            **REACH,
        }
    )

    def __init__(self, name: str, fields: Mapping[str, Any], site: Site) -> None:
        self.name = name
        self.mode: str | None = fields.get("mode")
        self.once = False  #: whether the receiver remembers ids is not known here
        self.pace = pace_of(fields)
        what = f"channels.{name}"
        url = fields.get("url")
        self._url = None if url is None else site.secret(url, f"{what}.url")
        secrets = [site.secret(text, f"{what}.secret") for text in fields.get("secret") or []]
        self._keys = [signing.key_of(secret, f"{what}.secret") for secret in secrets]
        self._headers = [
            (key, site.secret(text, f"{what}.headers.{key}"), "${" in text)
            for key, text in (fields.get("headers") or {}).items()
        ]
        port, own = _place(self._url, what)
        self.host = own
        hosts = None if "hosts" not in fields else [listed_host(it) for it in fields["hosts"]]
        #: hosts that may see headers with a secret in them
        self._trusted = [*(hosts or []), *([own] if own is not None else [])]
        allowed = None if hosts is None else self._trusted
        self._caller = caller_of(fields, site, own_port=port, hosts=allowed)
        hidden = [*secrets, *(it for _, it, kept in self._headers if kept)]
        self._veil = Veil(hidden if self._url is None else [self._url, *hidden])
        self._now = site.now

    @classmethod
    def open(cls, name: str, fields: Mapping[str, Any], site: Site) -> WebhookChannel:
        """The channel of an entry of ``channels:``; raises CannotRun without a secret, or where a setting is wrong."""
        return cls(name, fields, site)

    @classmethod
    def faults(cls, fields: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """(key, message, hint) of what the shape alone does not show."""
        for host in fields.get("hosts") or []:
            if not is_host(host):
                yield "hosts", f"'{host}' is no name of a host", "crm.example, or .crm.example for all below it"
        for key in fields.get("headers") or {}:
            if key.lower() in OURS | _MARKS:
                yield "headers", f"header '{key}' is not set by hand", "leave it out"

    def host_of(self, item: Outgoing) -> str | None:
        """The host of the channel, or the one a step names."""
        return host_of_address(str(item.effect.detail.get("url"))) if item.effect.kind == "webhook" else self.host

    def send(self, items: Sequence[Outgoing]) -> list[Sent]:
        """One request an effect."""
        return [self._veil.told(self._send(item)) for item in items]

    def wire(self, item: Outgoing) -> Wire:
        """The request as ``send`` makes it for a message."""
        if self._url is None:
            return Wire("request", b"", refused=f"channel {self.name} has no 'url' for messages")
        body, url = _write(self._message(item)), self._url.reveal()
        head = (("method", "POST"), ("url", url), *self._signed(item, url, {}, body, _JSON).items())
        # a signature would let whoever sees it send the request in our name
        shown = ((key, "***" if key.lower() == "webhook-signature" else value) for key, value in head)
        return Wire("request", body, tuple((key, self._veil.covered(value)) for key, value in shown))

    def close(self) -> None:
        """Close what connections are open."""
        self._caller.close()

    def __repr__(self) -> str:
        return f"<WebhookChannel {self.name}>"

    def _send(self, item: Outgoing) -> Sent:
        if item.effect.kind == "webhook":
            return self._step(item)
        if self._url is None:
            return Sent(ok=False, reason=f"channel {self.name} has no 'url' for messages")
        return self._request(item, "POST", self._url.reveal(), {}, _write(self._message(item)), _JSON, None)[0]

    def _step(self, item: Outgoing) -> Sent:
        detail = item.effect.detail
        own = {str(key): str(value) for key, value in (detail.get("headers") or {}).items()}
        taken = [key for key in own if key.lower() in OURS | _MARKS]
        if taken:
            return Sent(ok=False, reason=f"header '{taken[0]}' is not set by hand")
        method = str(detail.get("method") or "POST")
        try:
            body, kind = _content(detail.get("body"))
        except (UnicodeError, TypeError):
            return Sent(ok=False, reason="the body holds a value that cannot be written")
        timeout = detail.get("timeout")
        seconds = None if timeout is None else parse_duration(timeout) / SECOND
        answer, reply = self._request(item, method, str(detail["url"]), own, body, kind, seconds)
        if reply is not None and not answer.passing:
            answer.status, answer.body = reply.status, replies.content(reply)
        return answer

    def _request(
        self, item: Outgoing, method: str, url: str, own: dict[str, str], body: bytes, kind: str, seconds: float | None
    ) -> tuple[Sent, Reply | None]:
        headers = self._signed(item, url, own, body, kind)
        sent = body if body or method not in ("GET", "DELETE") else None
        found = replies.carried_out(lambda: self._caller.call(method, url, headers, sent, seconds))
        if isinstance(found, Sent):
            return found, None
        return replies.by_status(found, self._now()), found

    def _signed(self, item: Outgoing, url: str, own: dict[str, str], body: bytes, kind: str) -> dict[str, str]:
        """All headers of a request."""
        headers = {"Content-Type": kind} if body else {}
        headers["User-Agent"] = "drumbeat"
        for key, value in (*self._channel_headers(url), *own.items()):
            same = next((it for it in headers if it.lower() == key.lower()), key)
            headers.pop(same, None)
            headers[key] = value
        return headers | signing.headers(self._keys, item.key, self._now() // SECOND, body)

    def _channel_headers(self, url: str) -> Iterator[tuple[str, str]]:
        host = host_of_address(url)
        if host is None:
            return  # the guard will say so
        trusted = any(host == it or (it.startswith(".") and host.endswith(it)) for it in self._trusted)
        for key, value, kept in self._headers:
            if trusted or not kept:
                yield key, value.reveal()

    def _message(self, item: Outgoing) -> dict[str, Any]:
        effect, detail = item.effect, item.effect.detail
        data = {
            "key": item.key,
            "channel": item.channel,
            "kind": effect.kind,
            "user": effect.user,
            "group": effect.group,
            "playbook": effect.playbook,
            "step": effect.step,
            "purpose": effect.purpose,
            "to": effect.to,
            **{name: value for name, value in detail.items() if name not in ("via", "purpose")},
        }
        return {"type": effect.kind, "timestamp": format_instant(effect.time), "data": data}


def _content(body: Any) -> tuple[bytes, str]:
    """What a step sends: text as it is, anything else as JSON."""
    if body is None:
        return b"", _TEXT
    return (body.encode(), _TEXT) if isinstance(body, str) else (_write(body), _JSON)


def _place(url: Secret | None, what: str) -> tuple[int | None, str | None]:
    """(port, host) of the channel's own address; raises CannotRun for one that cannot be read."""
    if url is None:
        return None, None
    try:
        parts = urlsplit(url.reveal())
        if parts.scheme in ("http", "https") and "@" not in parts.netloc:
            return parts.port, host_name(parts.hostname or "")
    except (ValueError, Refused):
        pass
    raise CannotRun(f"{what}.url is no address", hint="https://host/path") from None
