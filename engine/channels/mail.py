"""A message as a mail: headers nobody can add to, a text part always, an HTML part where there is one.

Rule 1: whatever goes into a header is looked at first: a line break or control character refuses the message.
Rule 2: the same message makes the same mail, byte for byte, but for its date.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, EmailPolicy
from email.utils import format_datetime
from hashlib import blake2b
from typing import Any

from engine.channels.plaintext import plain_text
from engine.core.model import SECOND
from engine.ports import Outgoing


class _Written(EmailPolicy):
    """``policy.SMTP``, but for two headers that are one long word: it would break them up as if they were prose, in a
    way no mailbox puts together again."""

    def fold(self, name: str, value: Any) -> str:
        return f"{name}: {value}\r\n" if name in _WHOLE else super().fold(name, value)

    def fold_binary(self, name: str, value: Any) -> bytes:
        return f"{name}: {value}\r\n".encode("ascii") if name in _WHOLE else super().fold_binary(name, value)


_WHOLE = frozenset({"List-Unsubscribe", "Message-ID"})
POLICY = _Written(linesep=SMTP.linesep, cte_type="7bit")
"""How mails are written: no server needs to know more than ASCII for it."""

_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_LOCAL = re.compile(r"[^\s\x00-\x20\x7f\"(),:;<>@\[\\\]]{1,64}")
_NAMED = re.compile(r"(?P<name>[^<>]*)<(?P<spec>[^<>]+)>\s*")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_LINK = re.compile(r"https?://[!-;=?-~]{1,900}")
_LONGEST_SUBJECT = 70
_MOST_OF_AN_ADDRESS, _MOST_OF_A_SUBJECT = 512, 2_000
"""Characters; folding what is longer takes the library seconds, and a line without a place to fold gets too long."""


class NoMail(Exception):
    """The message cannot be a mail; its text says why, without quoting what it holds."""


def address_of(text: str, what: str) -> Address:
    """``ada@shop.example`` or ``Ada <ada@shop.example>``; raises NoMail, naming ``what``."""
    if _UNSAFE.search(text):
        raise NoMail(f"{what} holds a line break or control character")
    if len(text) > _MOST_OF_AN_ADDRESS:
        raise NoMail(f"{what} has more than {_MOST_OF_AN_ADDRESS} characters")
    named = _NAMED.fullmatch(text)
    name, spec = (named["name"].strip(), named["spec"]) if named is not None else ("", text.strip())
    local, at, domain = spec.rpartition("@")
    if not at or _LOCAL.fullmatch(local) is None or local.startswith(".") or local.endswith(".") or ".." in local:
        raise NoMail(f"{what} is no mail address")
    try:
        return Address(name.strip('"'), local, _domain(domain, what))
    except (ValueError, IndexError, MessageError):
        raise NoMail(f"{what} is no mail address") from None


def mail_of(
    item: Outgoing, *, sender: Address, reply_to: Address | None, headers: Mapping[str, str], now: int
) -> EmailMessage:
    """The mail of an effect; raises NoMail.

    Parameters
    ----------
    sender, reply_to: who it is from, and who has the answer.
    headers: further ones of the channel.
    now: microseconds UTC, for its date.
    """
    detail = item.effect.detail
    text = detail.get("text")
    if not item.effect.to:
        raise NoMail("the message has no address")
    if not isinstance(text, str) or not text:
        raise NoMail("the message has no text")
    made = EmailMessage(policy=POLICY)
    made["From"] = sender
    made["To"] = address_of(item.effect.to, "the address")
    if reply_to is not None:
        made["Reply-To"] = reply_to
    subject = _line(_subject(detail, text), "the subject")
    if len(subject) > _MOST_OF_A_SUBJECT:
        raise NoMail(f"the subject has more than {_MOST_OF_A_SUBJECT} characters")
    made["Subject"] = subject
    made["Date"] = format_datetime(datetime.fromtimestamp(now // SECOND, UTC))
    made["Message-ID"] = f"<{message_id(item.key, sender)}>"
    made["Auto-Submitted"] = "auto-generated"
    if detail.get("test"):
        made["X-Drumbeat-Test"] = "yes"
    link = detail.get("unsubscribe")
    if link is not None:
        if not isinstance(link, str) or _LINK.fullmatch(link) is None:
            raise NoMail("the link to unsubscribe is no address")
        made["List-Unsubscribe"] = f"<{link}>"
        if link.startswith("https://"):
            made["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    for name, value in headers.items():
        made[name] = _line(value, f"header {name}")
    try:
        _fill(made, text, bool(detail.get("html")), item.key)
    except UnicodeError:
        raise NoMail("the text holds half a character") from None
    return made


def message_id(key: str, sender: Address) -> str:
    """The id of the mail, the same for every try of one effect; without its angle brackets."""
    return f"{_digest(key)}@{sender.domain}"


def wire_bytes(mail: EmailMessage) -> bytes:
    """The mail as it goes over the wire, dots not yet doubled; raises NoMail."""
    try:
        raw = mail.as_bytes(policy=POLICY.clone(utf8=needs_utf8(mail)))
    except (ValueError, LookupError, MessageError) as error:
        raise NoMail(f"the mail cannot be written: {type(error).__name__}") from None
    return raw if raw.endswith(b"\r\n") else raw + b"\r\n"


def needs_utf8(mail: EmailMessage) -> bool:
    """Does an address need a server that knows more than ASCII?"""
    addresses = [it for name in ("From", "To", "Reply-To") if mail[name] is not None for it in mail[name].addresses]
    return not all(it.addr_spec.isascii() for it in addresses)


def _domain(text: str, what: str) -> str:
    """A domain in ASCII, small letters."""
    try:
        found = text[:255].encode("idna").decode("ascii").lower() if not text.isascii() else text.lower()
    except UnicodeError:
        raise NoMail(f"{what} is no mail address") from None
    labels = found.split(".")
    if len(found) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise NoMail(f"{what} is no mail address")
    return found


def _subject(detail: Mapping[str, Any], text: str) -> str:
    """The template's subject, else its title, else the first words of the text."""
    title = (detail.get("fields") or {}).get("title")
    if detail.get("subject") or title:
        return str(detail.get("subject") or title)
    words = plain_text(text) if detail.get("html") else text
    first = " ".join(next((line for line in words.splitlines() if line.strip()), "").split())
    first = _UNSAFE.sub(" ", first)
    return first if len(first) <= _LONGEST_SUBJECT else first[: _LONGEST_SUBJECT - 1] + "…"


def _line(text: str, what: str) -> str:
    if _UNSAFE.search(text):
        raise NoMail(f"{what} holds a line break or control character")
    return text


def _fill(mail: EmailMessage, text: str, html: bool, key: str) -> None:
    """The body: text alone, or text and HTML as two forms of one message."""
    if not html:
        mail.set_content(text)
        return
    mail.set_content(plain_text(text))
    mail.add_alternative(text, subtype="html")
    # The library would draw a boundary by chance; one of the key is as unlikely to stand in the text.
    mail.set_boundary(f"=_{_digest(key)}")


def _digest(key: str) -> str:
    return blake2b(key.encode(), digest_size=16, person=b"drumbeat-mail").hexdigest()
