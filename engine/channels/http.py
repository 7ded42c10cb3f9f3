"""Messages to any provider that takes them over HTTP: the request is written in the program file.

Rule 1: what a message gives is put in part by part: encoded in the address, as a value in a JSON body, escaped in XML.
Rule 2: the host is fixed by the program; no message can send the request elsewhere.
Rule 3: the provider is told the effect key, so that a second try is known as one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import msgspec
from markupsafe import escape

from engine.channels import replies
from engine.channels.network import NAMES, REACH, TIMING, Veil, caller_of, host_of_address, setting, values_of
from engine.channels.pace import pace_of
from engine.channels.wire import Reply
from engine.core.shapes import Int, Many, Map, Plain, Table, Text, optional, required
from engine.errors import CannotRun, RenderError
from engine.ports import Outgoing, Sent, Wire
from engine.render import Setting, SettingFault
from engine.site import Secret, Site

HEADER = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
"""What the name of a header looks like."""

OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "accept-encoding", "te", "upgrade"})
"""Headers that belong to the conversation itself."""

_HEAD = re.compile(r"https?://[^/?#\s@]+[/?#]")
_PATH = r"[^.\s]+(\.[^.\s]+)*"
_JSON = "application/json"
_FORM = "application/x-www-form-urlencoded"
_TEXT = "text/plain; charset=utf-8"
_write = msgspec.json.Encoder(decimal_format="number").encode
_BARE = ("to", "text", "subject", "title", "user", "template", "key")

_ANSWER = {
    "status": optional(Many(Int(low=100, high=599)), "status codes"),
    "path": optional(Text(pattern=_PATH, what="path such as result.0.code"), "where to look in the JSON of the answer"),
    "equals": optional(Many(Plain()), "what must stand there; several: one of them"),
}


class HttpChannel:
    """Sends each message as one request to a provider.

    ``url``, ``headers``, ``body`` and ``form`` may hold ``{{ }}`` with ``text subject title fields html to user group
    key channel kind playbook step template purpose detail``, and ``${NAME}``. In ``url`` and ``form`` each is encoded.
    ``body`` as a mapping or list is sent as JSON; there ``"{{ detail.amount }}"`` alone stays the number it is. A text
    as ``body`` goes as it is, its values escaped where ``Content-Type`` says XML. Without either, a JSON object of to,
    text, subject, title, user, template and key is sent.

    Sent is what is answered with 2xx, or as ``success`` says. 408, 425, 429, 5xx and what ``retry`` says are tried
    again; whatever else is refused for good. ``Retry-After`` is kept, up to an hour. When the request went out whole
    and no answer came, or a gateway says so (504), nobody knows; ``mode`` decides then. The effect key goes along in
    ``key_header``, the same for every try. A provider that knows it sends nothing twice: ``mode: at_least_once``.

    Redirects are not followed. Private addresses and other ports than 443, 80 and the one in ``url`` are refused,
    unless ``allow_private`` and ``ports`` let them in; without TLS only with ``allow_http``.

    Example:
        sms:
          via: http
          url: "https://api.sms.example/v1/{{ to }}/messages"
          address: user.phone
          headers: {Authorization: "Bearer ${SMS_TOKEN}"}
          body: {content: "{{ text }}", reference: "{{ key }}"}
          success: {status: 200, path: code, equals: 0}
          retry: {path: code, equals: [-1, 45009]}
          id: data.message_id
          rate: 100/s
    """

    shape = Map(
        {
            "url": required(Text(what="address"), "where to; {{ }} only behind the host"),
            "method": optional(Text(("POST", "PUT", "PATCH", "GET", "DELETE")), "POST by default"),
            "headers": optional(Table(Text(), pattern=HEADER, what="header"), "further headers"),
            "body": optional(Plain(), "what is sent: a mapping or list as JSON, or text"),
            "form": optional(Table(Text(), what="field"), "what is sent, as a form"),
            "success": optional(Map(_ANSWER), "what an answer must say to count as sent (status 2xx)"),
            "retry": optional(Map(_ANSWER), "what an answer says when another try may help, beside 408, 425, 429, 5xx"),
            "error": optional(Text(pattern=_PATH, what="path such as error.message"), "where an answer says why not"),
            "id": optional(Text(pattern=_PATH, what="path such as data.id"), "where an answer names the message"),
            "key_header": optional(Text(pattern=HEADER, what="name of a header"), "Idempotency-Key by default"),
            **TIMING,
            **REACH,
        }
    )

    def __init__(self, name: str, fields: Mapping[str, Any], site: Site) -> None:
        self.name = name
        self.mode: str | None = fields.get("mode")
        self.once = False  #: whether the provider remembers keys is not known here
        self.pace = pace_of(fields)
        what = f"channels.{name}"
        try:
            self._url = setting(fields["url"], site, f"{what}.url")
            self._headers = {key: setting(text, site, f"{what}.headers.{key}") for key, text in _headers(fields)}
            self._body = _map_texts(fields.get("body"), lambda text: setting(text, site, f"{what}.body"))
            form = fields.get("form") or {}
            self._form = {key: setting(text, site, f"{what}.form.{key}") for key, text in form.items()}
        except SettingFault as error:
            raise CannotRun(f"{what}: {error.message}", hint=error.hint) from None
        self._method: str = fields.get("method", "POST")
        self._success: Mapping[str, Any] = fields.get("success") or {}
        self._retry: Mapping[str, Any] = fields.get("retry") or {}
        self._paths = (fields.get("error"), fields.get("id"))
        self._key_header: str = fields.get("key_header", "Idempotency-Key")
        self._now = site.now
        self._veil = Veil(self._secrets())
        self._caller = caller_of(fields, site, own_port=_port_of(self._url, what))
        self.host = host_of_address(self._url.head())

    @classmethod
    def open(cls, name: str, fields: Mapping[str, Any], site: Site) -> HttpChannel:
        """The channel of an entry of ``channels:``; raises CannotRun without a secret, or where a setting is wrong."""
        return cls(name, fields, site)

    @classmethod
    def faults(cls, fields: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """(key, message, hint) of what the shape alone does not show."""
        if "body" in fields and "form" in fields:
            yield "form", "a request has 'body' or 'form', not both", ""
        kind = next((text for key, text in _headers(fields) if key.lower() == "content-type"), "")
        if isinstance(fields.get("body"), str) and "json" in kind.lower():
            yield "body", "JSON is written as a mapping here, so that no message can break it", "body: {to: '{{ to }}'}"
        if _method_without(fields) and ("body" in fields or "form" in fields):
            yield "method", f"a request with {fields['method']} carries nothing", "leave 'body' and 'form' out"
        for key, _ in _headers(fields):
            if key.lower() in OURS:
                yield "headers", f"header '{key}' is not set by hand", "leave it out"
        for key in ("success", "retry"):
            rule = fields.get(key) or {}
            if ("path" in rule) is not ("equals" in rule):
                yield key, f"'{key}' needs 'path' and 'equals' together", f"{key}: {{path: code, equals: 0}}"
        yield from _setting_faults(fields)

    def send(self, items: Sequence[Outgoing]) -> list[Sent]:
        """One request a message."""
        return [self._veil.told(self._send(item)) for item in items]

    def wire(self, item: Outgoing) -> Wire:
        """The request as ``send`` makes it."""
        found = self._made(item)
        if isinstance(found, Sent):
            return Wire("request", b"", refused=self._veil.told(found).reason)
        url, headers, body = found
        head = (("method", self._method), ("url", url), *headers.items())
        return Wire("request", body or b"", tuple((key, self._veil.covered(value)) for key, value in head))

    def close(self) -> None:
        """Close what connections are open."""
        self._caller.close()

    def __repr__(self) -> str:
        return f"<HttpChannel {self.name}>"

    # ------------------------------------------------------------------ the request

    def _send(self, item: Outgoing) -> Sent:
        made = self._made(item)
        if isinstance(made, Sent):
            return made
        found = replies.carried_out(lambda: self._caller.call(self._method, *made))
        return found if isinstance(found, Sent) else self._judge(found)

    def _made(self, item: Outgoing) -> tuple[str, dict[str, str], bytes | None] | Sent:
        """(address, headers, body) of the request for a message, or why there is none."""
        values = values_of(item)
        try:
            url = self._url.fill(values, lambda text: quote(text, safe=""))
            body, kind = self._content(values)
            headers = {key: _one_line(key, value.fill(values)) for key, value in self._headers.items()}
        except RenderError as error:
            return Sent(ok=False, reason=f"the request cannot be made: {error.message}")
        except (UnicodeError, TypeError):
            return Sent(ok=False, reason="the request cannot be made: a value that cannot be written")
        named = {key.lower() for key in headers}
        if body is not None and "content-type" not in named:
            headers["Content-Type"] = kind
        if self._key_header.lower() not in named:
            headers[self._key_header] = item.key
        if "user-agent" not in named:
            headers["User-Agent"] = "drumbeat"
        return url, headers, body

    def _content(self, values: Mapping[str, Any]) -> tuple[bytes | None, str]:
        if self._method in ("GET", "DELETE"):
            return None, ""
        if self._form:
            return urlencode({key: value.fill(values) for key, value in self._form.items()}).encode(), _FORM
        if isinstance(self._body, Setting):
            kind = next((it.head() for key, it in self._headers.items() if key.lower() == "content-type"), "")
            marked = "xml" in kind.lower() or "html" in kind.lower()
            return self._body.fill(values, (lambda text: str(escape(text))) if marked else str).encode(), _TEXT
        if self._body is None:
            bare = {name: values[name] for name in _BARE if values[name] is not None}
            return _write({**bare, "user": values["user"]["id"]}), _JSON
        return _write(_map_texts(self._body, lambda it: it.value(values), Setting)), _JSON

    # ------------------------------------------------------------------ the answer

    def _judge(self, reply: Reply) -> Sent:
        answer = replies.by_status(reply, self._now())
        try:
            said: Any = replies.document(reply)
        except ValueError:
            said = None
        if self._fits(self._retry, reply, said):
            reason = self._why(reply, said)
            return Sent(ok=False, reason=reason, passing=True, retry_after=replies.pause(reply, self._now()))
        if not self._success:
            return self._with_id(said) if answer.ok else self._refused(answer, reply, said)
        if self._fits({"status": range(200, 300), **self._success}, reply, said):
            return self._with_id(said)
        if answer.ok and "path" in self._success and said is None:
            # it took the message, and its answer does not say what became of it
            reason = f"answered {reply.status} without the JSON that tells success"
            return Sent(ok=False, reason=reason, passing=True, unknown=True)
        return self._refused(answer, reply, said)

    def _fits(self, rule: Mapping[str, Any], reply: Reply, said: Any) -> bool:
        if not rule or ("status" in rule and reply.status not in rule["status"]):
            return False
        return "path" not in rule or replies.look(said, rule["path"]) in rule["equals"]

    def _refused(self, answer: Sent, reply: Reply, said: Any) -> Sent:
        answer.ok = False
        if self._paths[0] or self._success:
            answer.reason = self._why(reply, said)
        return answer

    def _why(self, reply: Reply, said: Any) -> str:
        parts = [f"answered {reply.status}"]
        for path in (self._success.get("path"), self._retry.get("path"), self._paths[0]):
            word = replies.look(said, path) if path else None
            if isinstance(word, (str, int)) and (told := f"{path} {word}") not in parts:
                parts.append(told)
        return ", ".join(parts)

    def _with_id(self, said: Any) -> Sent:
        found = replies.look(said, self._paths[1]) if self._paths[1] else None
        receipt = str(found)[:_LONGEST_ID] if isinstance(found, (str, int)) else None
        return Sent(ok=True, receipt=receipt)

    def _secrets(self) -> list[Secret]:
        found = [*self._url.secrets()]
        for it in (*self._headers.values(), *self._form.values()):
            found += it.secrets()
        _map_texts(self._body, lambda it: found.extend(it.secrets()), Setting)
        return found


_LONGEST_ID = 512


def _headers(fields: Mapping[str, Any]) -> list[tuple[str, str]]:
    return list((fields.get("headers") or {}).items())


def _method_without(fields: Mapping[str, Any]) -> bool:
    return fields.get("method") in ("GET", "DELETE")


def _one_line(key: str, text: str) -> str:
    if not text.isprintable():
        raise RenderError(f"header {key} would hold a line break or control character")
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        raise RenderError(f"header {key} would hold letters no header can carry") from None
    return text


def _map_texts(value: Any, change: Callable[[Any], Any], kind: type[Any] = str) -> Any:
    """The same structure with its texts (of a kind) changed; keys stay."""
    if isinstance(value, kind):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _map_texts(it, change, kind) for key, it in value.items()}
    if isinstance(value, list):
        return [_map_texts(it, change, kind) for it in value]
    return value


def _port_of(url: Setting, what: str) -> int | None:
    """The port of an address whose host is fixed; raises CannotRun for an address without one."""
    head = url.head()
    if _HEAD.match(head if not url.fixed else f"{head}/") is None:
        hint = "https://host/path; {{ }} may stand behind the host"
        raise CannotRun(f"{what}.url does not begin with https:// and a host", hint=hint)
    try:
        return urlsplit(head).port
    except ValueError:
        raise CannotRun(f"{what}.url has a port that is none") from None


def _setting_faults(fields: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What is wrong with the ``{{ }}`` of an entry, before any secret is looked up."""
    texts: list[tuple[str, str]] = [("url", fields["url"]), *(("headers", text) for _, text in _headers(fields))]
    texts += [("form", text) for text in (fields.get("form") or {}).values()]
    _map_texts(fields.get("body"), lambda text: texts.append(("body", text)))
    for key, text in texts:
        try:
            found = Setting(text, NAMES)
        except SettingFault as error:
            yield key, f"{error.message}, in '{key}'", error.hint
            continue
        if key == "url" and re.match(r"[a-z]+://[^/?#]*@", text):
            hint = 'headers: {Authorization: "Basic ${NAME}"}'
            yield key, "'url' takes no user and password", hint
        elif key == "url" and not found.secrets() and _HEAD.match(found.head() + "/" * found.fixed) is None:
            yield key, f"'url' needs an address whose host is fixed, got '{text}'", "https://host/path"
