"""Messages through the Apprise library: WeCom, DingTalk, Feishu, Telegram, Slack and a hundred others.

Rule 1: the library opens its own connections. They do not pass our guard, and its time-outs are its own within our
deadline, so its addresses come from the program alone.
Rule 2: it tells success from failure and little more. What may have gone out is answered as unknown.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from engine.channels.network import NAMES, Veil, seconds_of, setting, values_of
from engine.channels.pace import pace_of
from engine.core.shapes import Duration, Map, Text, optional, required
from engine.errors import CannotRun, RenderError
from engine.ports import Outgoing, Sent, Wire
from engine.render import Setting, SettingFault
from engine.site import Site

_CODE = re.compile(r"\berror[ =:]+([1-5][0-9]{2})\b", re.IGNORECASE)
_PASSING = frozenset({408, 425, 429})


class AppriseChannel:
    """Hands each message to the Apprise library; ``pip install 'drumbeat[apprise]'`` brings it.

    ``url`` is one address of Apprise (``wecombot://``, ``dingtalk://``, ``feishu://``, ``tgram://``, ``slack://`` ...),
    with the secret parts as ``${NAME}``. ``{{ to }}`` and the other values of a message may stand in it, encoded. The
    title is the ``title`` of the template's front matter, else its ``subject``.

    The library opens its connections itself: the guard against private addresses does not reach them, and no key goes
    along by which a provider could know a second try. What it reports with a status 4xx (but 408, 425 and 429) is
    refused for good, other statuses are tried again; where it reports none, or the time was up, nobody knows, and
    ``mode`` decides: without one marketing is parked and everything else sent again.

    Example:
        wecom: {via: apprise, url: "${WECOM_URL}", rate: 20/s}
    """

    shape = Map(
        {
            "url": required(Text(what="address"), "of the service, as Apprise writes it"),
            "title": optional(Text(), "instead of the template's title or subject"),
            "timeout": optional(Duration(), "how long one try may take (15s)"),
        }
    )

    def __init__(self, name: str, fields: Mapping[str, Any], site: Site) -> None:
        self.name = name
        self.mode: str | None = fields.get("mode")
        self.once = False
        self.pace = pace_of(fields)
        self._library = _library(name)
        what = f"channels.{name}"
        try:
            self._url = setting(fields["url"], site, f"{what}.url")
            self._title = None if "title" not in fields else setting(fields["title"], site, f"{what}.title")
        except SettingFault as error:
            raise CannotRun(f"{what}: {error.message}", hint=error.hint) from None
        self._seconds = seconds_of(fields).total
        self._veil = Veil(self._url.secrets(), host_seen=False)
        if self._url.fixed and self._service(self._url.fill({})) is None:
            hint = "its form is shown by the library: apprise --details"
            raise CannotRun(f"{what}.url is not the address of one service that Apprise knows", hint=hint)

    @classmethod
    def open(cls, name: str, fields: Mapping[str, Any], site: Site) -> AppriseChannel:
        """The channel of an entry of ``channels:``; raises CannotRun without the library or with a wrong address."""
        return cls(name, fields, site)

    @classmethod
    def faults(cls, fields: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """(key, message, hint) of what the shape alone does not show."""
        for key in ("url", "title"):
            try:
                Setting(fields.get(key, ""), NAMES)
            except SettingFault as error:
                yield key, f"{error.message}, in '{key}'", error.hint

    def send(self, items: Sequence[Outgoing]) -> list[Sent]:
        """One call of the library a message."""
        return [self._veil.told(self._send(item)) for item in items]

    def wire(self, item: Outgoing) -> Wire:
        """What ``send`` hands to the library: the text, and its title as the head."""
        found = self._call(item)
        if isinstance(found, Sent):
            return Wire("call", b"", refused=self._veil.told(found).reason)
        title, text = found
        return Wire("call", text.encode(), (("title", title),))

    def close(self) -> None:
        """Nothing is kept open."""

    def __repr__(self) -> str:
        return f"<AppriseChannel {self.name}>"

    def _call(self, item: Outgoing) -> tuple[str, str] | Sent:
        """(title, text) of a message, or why there is none."""
        values = values_of(item)
        if not values["text"]:
            return Sent(ok=False, reason="the message has no text")
        try:
            title = self._title.fill(values) if self._title is not None else values["title"] or values["subject"] or ""
        except RenderError as error:
            return Sent(ok=False, reason=f"the request cannot be made: {error.message}")
        return title, values["text"]

    def _send(self, item: Outgoing) -> Sent:
        values = values_of(item)
        call = self._call(item)
        if isinstance(call, Sent):
            return call
        title, text = call
        try:
            service = self._service(self._url.fill(values, lambda text: quote(text, safe="")))
        except RenderError as error:
            return Sent(ok=False, reason=f"the request cannot be made: {error.message}")
        if service is None:
            return Sent(ok=False, reason="the address is not one that Apprise knows")
        library = self._library
        form = library.NotifyFormat.HTML if values["html"] else library.NotifyFormat.TEXT
        result = service.notify(body=text, title=title, body_format=form, timeout=self._seconds)
        return self._judge(result)

    def _judge(self, result: Any) -> Sent:
        states = self._library.AppriseResultStatus
        if result.status == states.SUCCESS:
            return Sent(ok=True)
        if result.status == states.TIMEOUT:
            reason = "the service did not answer in time"
            return Sent(ok=False, reason=reason, passing=True, unknown=True)
        words = " ".join(str(entry.message) for entry in result.logs())
        reason = f"Apprise says: {words}" if words else "Apprise could not send it"
        found = _CODE.search(words)
        if found is None:
            return Sent(ok=False, reason=reason, passing=True, unknown=True)
        code = int(found[1])
        return Sent(ok=False, reason=reason, passing=code >= 500 or code in _PASSING)

    def _service(self, url: str) -> Any:
        """The library, told one address; None when it does not know it."""
        library = self._library
        asset = library.AppriseAsset(async_mode=False, secure_logging=True)
        made = library.Apprise(asset=asset)
        return made if made.add(url) and len(made) == 1 else None


def _library(name: str) -> Any:
    try:
        import apprise
    except ImportError:
        hint = "pip install 'drumbeat[apprise]'"
        raise CannotRun(f"channel '{name}' needs the Apprise library, and it is not installed", hint=hint) from None
    # Both write addresses, tokens included, when somebody asks for every detail; the answers tell what went wrong.
    log = logging.getLogger("apprise")
    log.propagate = False
    log.setLevel(logging.WARNING)
    logging.getLogger("urllib3").setLevel(logging.INFO)
    return apprise
