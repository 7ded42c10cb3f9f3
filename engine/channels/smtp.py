"""Messages as mails, in a real SMTP conversation: one a batch, begun anew where it broke off.

Rule 1: a mail is handed over at the final dot. Before it a broken conversation means not sent; after it, nobody knows.
Rule 2: a refused receiver is refused alone: the conversation goes on with the next mail.
Rule 3: a password never goes over a line without TLS, unless the program says ``starttls: never``.
"""

from __future__ import annotations

import contextlib
import re
import smtplib
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.headerregistry import Address
from typing import Any
from urllib.parse import unquote, urlsplit

from engine.channels.guard import Refused, Unresolved, host_name, look_up, resolve
from engine.channels.mail import NoMail, address_of, mail_of, message_id, needs_utf8, wire_bytes
from engine.channels.network import TIMING, Veil, seconds_of
from engine.channels.pace import pace_of
from engine.channels.wire import Limits, Line, dial, tls
from engine.core.model import SECOND
from engine.core.shapes import Map, Table, Text, optional, required
from engine.errors import CannotRun
from engine.ports import NotBegun, Noting, Outgoing, Sent, Wire
from engine.site import Secret, Site

_BATCH = 20
_PAUSE = 5 * SECOND
_HOST = r"[A-Za-z0-9.:\[\]-]{1,253}"
_SETTINGS = frozenset({530, 534, 535, 538})
"""Codes that speak of how we log in, not of the mail: an operator mends that, and the mail waits."""

_OWN = frozenset(
    {
        "from", "to", "cc", "bcc", "sender", "reply-to", "subject", "date", "message-id", "mime-version",
        "content-type", "content-transfer-encoding", "list-unsubscribe", "list-unsubscribe-post", "auto-submitted",
    }
)  # fmt: skip


class _Gone(Exception):
    """The conversation is over; ``after`` the final dot nobody knows whether the mail was taken."""

    def __init__(self, message: str, after: bool = False) -> None:
        super().__init__(message)
        self.after = after


@dataclass(frozen=True)
class _Server:
    host: str
    port: int
    secure: bool  #: TLS from the first byte
    login: tuple[str, str] | None


class SmtpChannel:
    """Sends mails through a server of SMTP.

    ``url`` is ``smtp://user:password@host:587``, or ``smtps://`` for TLS from the first byte (port 465); write it as
    ``${SMTP_URL}``, or its secret parts as ``${NAME}``, with what is special in them encoded (``%40``). ``starttls`` is
    ``required`` when left out; ``offered`` takes TLS where the server has it, and never logs in without; ``never`` is
    for a server on the same machine or network.

    A template with ``format: html`` in its front matter makes a mail of two parts, its text made from the HTML; any
    other a mail of text. The subject is the front matter's. A mail that carries a link to unsubscribe says so in its
    headers, so that one click in the mailbox does it (RFC 8058). ``Message-ID`` is made from the effect key and is the
    same for every try.

    A receiver refused with 5xx is refused for good, 4xx is tried again. A conversation that breaks off before the final
    dot of a mail sent nothing; one that breaks off behind it leaves it unknown, and ``mode`` decides.

    Example:
        email: {via: smtp, url: "${SMTP_URL}", from: "Tea Shop <hi@shop.example>", reply_to: help@shop.example}
    """

    shape = Map(
        {
            "url": required(Text(what="address"), "smtp://user:password@host:587 or smtps://..., from ${NAME}"),
            "from": required(Text(what="mail address"), "who mails are from"),
            "reply_to": optional(Text(what="mail address"), "who has the answers"),
            "starttls": optional(Text(("required", "offered", "never")), "TLS on a line begun without (required)"),
            "helo": optional(Text(pattern=_HOST, what="host"), "what we call ourselves (the domain of from)"),
            "headers": optional(Table(Text(), pattern=r"[A-Za-z0-9-]+", what="header"), "further headers"),
            **TIMING,
        }
    )

    def __init__(self, name: str, fields: Mapping[str, Any], site: Site) -> None:
        self.name = name
        self.mode: str | None = fields.get("mode")
        self.once = False  #: a server of SMTP does not know ids
        self.pace = pace_of(fields, concurrency=2, batch=_BATCH)
        what = f"channels.{name}"
        url = site.secret(fields["url"], f"{what}.url")
        self._server = _server(url, f"{what}.url")
        try:
            self._sender = address_of(fields["from"], f"{what}.from")
            reply_to = fields.get("reply_to")
            self._reply_to = None if reply_to is None else address_of(reply_to, f"{what}.reply_to")
        except NoMail as error:
            raise CannotRun(str(error), hint="Tea Shop <hi@shop.example>") from None
        written = fields.get("headers") or {}
        self._headers = {key: site.secret(text, f"{what}.headers.{key}") for key, text in written.items()}
        self._starttls: str = fields.get("starttls", "required")
        self._helo: str = fields.get("helo", self._sender.domain)
        ca = fields.get("ca")
        self._tls = None if ca is None else tls(str(site.root / ca))
        self._limits = seconds_of(fields)
        self._site = site
        login = self._server.login or ()
        self._veil = Veil([url, *(Secret(it) for it in login), *self._headers.values()])

    @classmethod
    def open(cls, name: str, fields: Mapping[str, Any], site: Site) -> SmtpChannel:
        """The channel of an entry of ``channels:``; raises CannotRun without a secret, or where a setting is wrong."""
        return cls(name, fields, site)

    @classmethod
    def faults(cls, fields: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """(key, message, hint) of what the shape alone does not show."""
        for key in ("from", "reply_to"):
            try:
                address_of(fields.get(key, "a@b.example"), f"'{key}'")
            except NoMail as error:
                yield key, str(error), "Tea Shop <hi@shop.example>"
        for key in fields.get("headers") or {}:
            if key.lower() in _OWN:
                yield "headers", f"header '{key}' is not set by hand", "leave it out"
        if re.match(r"(?!\$\{)(?!smtps?://)", fields["url"]):
            yield "url", f"'url' needs a mail server, got '{fields['url']}'", "${SMTP_URL}, or smtp://host:587"

    def send(self, items: Sequence[Outgoing]) -> list[Sent]:
        """All mails in one conversation; each is answered by itself."""
        return self.send_noting(items, None)

    def send_noting(self, items: Sequence[Outgoing], noting: Noting | None) -> list[Sent]:
        """As ``send``; ``noting`` hears of each mail before its text is handed over, and when it is answered."""
        answers: list[Sent] = []
        talk: Conversation | None = None
        dead: Sent | None = None  #: why no conversation can be had
        try:
            for item in items:
                found = dead or self._prepared(item)
                if isinstance(found, Sent):
                    answers.append(found if found is not dead else _copy(dead))
                    continue
                mail, raw, utf8 = found
                if talk is None:
                    talk, dead = self._conversation()
                if talk is None:
                    answers.append(_copy(dead))
                    continue
                answer, alive = self._hand_over(talk, mail, raw, utf8, item, noting)
                answers.append(answer)
                if noting is not None:
                    noting.ended([(item, answer)])
                if not alive:
                    talk.close()
                    talk = None
        finally:
            if talk is not None:
                talk.leave(self._site.elapsed() + self._limits.connect)
        return [self._veil.told(answer) for answer in answers]

    def wire(self, item: Outgoing) -> Wire:
        """The mail as ``send`` hands it over, dots not yet doubled."""
        found = self._prepared(item)
        return Wire("mail", b"", refused=found.reason) if isinstance(found, Sent) else Wire("mail", found[1])

    def close(self) -> None:
        """No conversation goes on between two batches."""

    def __repr__(self) -> str:
        return f"<SmtpChannel {self.name}>"

    def _context(self) -> ssl.SSLContext:
        """What certificates are checked with; the system's are read when they are needed first."""
        self._tls = self._tls or tls(None)
        return self._tls

    def _prepared(self, item: Outgoing) -> tuple[Address, bytes, bool] | Sent:
        """(receiver, bytes, whether they need SMTPUTF8) of a mail, or why there is none."""
        try:
            headers = {key: value.reveal() for key, value in self._headers.items()}
            mail = mail_of(
                item, sender=self._sender, reply_to=self._reply_to, headers=headers, now=self._site.now()
            )
            return mail["To"].addresses[0], wire_bytes(mail), needs_utf8(mail)
        except NoMail as error:
            return Sent(ok=False, reason=str(error))

    def _conversation(self) -> tuple[Conversation | None, Sent | None]:
        """A conversation that is ready for mails, or the answer for all mails while there is none."""
        until = self._site.elapsed() + self._limits.total
        talk = None
        try:
            talk = Conversation(self._server, self._limits, self._helo, self._site.elapsed, until)
            talk.greet(self._context, self._starttls, until)
            return talk, None
        except _Gone as error:
            reason = str(error)
        except (OSError, Unresolved) as error:
            reason = _words(error)
        except smtplib.SMTPException as error:
            reason = _said(error)
        if talk is not None:
            talk.close()
        return None, Sent(ok=False, reason=f"no conversation with {self._server.host}: {reason}", passing=True)

    def _hand_over(
        self, talk: Conversation, to: Address, raw: bytes, utf8: bool, item: Outgoing, noting: Noting | None
    ) -> tuple[Sent, bool]:
        """(the answer for one mail, whether the conversation goes on)."""
        try:
            code, text = talk.deliver(
                self._sender.addr_spec, to.addr_spec, raw, utf8, self._site.elapsed() + self._limits.total,
                lambda: None if noting is None else noting.begin([item]),
            )  # fmt: skip
        except NotBegun as error:
            return Sent(ok=False, reason=str(error), passing=True, retry_after=_PAUSE), False
        except _Gone as error:
            return Sent(ok=False, reason=str(error), passing=True, unknown=error.after), False
        if 200 <= code < 300:
            return Sent(ok=True, receipt=message_id(item.key, self._sender)), True
        passing = code < 500 or code in _SETTINGS
        return Sent(ok=False, reason=f"the server says {code} {text}", passing=passing), code != 421


class Conversation:
    """One connection to a server, on a line under a deadline; ``smtplib`` knows how to talk on it."""

    def __init__(
        self, server: _Server, limits: Limits, helo: str, elapsed: Callable[[], float], until: float
    ) -> None:
        addresses = look_up(resolve, server.host, server.port, min(limits.connect, until - elapsed()))
        self._server, self._limits, self._elapsed = server, limits, elapsed
        self._line = dial(addresses, server.port, until, limits, elapsed)
        self._smtp = _Smtp(self._line, server.host, helo)
        self._begun = False

    def greet(self, context: Callable[[], ssl.SSLContext], starttls: str, until: float) -> None:
        """Everything up to the first mail; raises _Gone, OSError, smtplib.SMTPException."""
        server, smtp, line = self._server, self._smtp, self._line
        line.begin(until, self._limits.read)
        if server.secure:
            line.secure(context(), server.host, self._limits.connect)
        code, text = smtp.getreply()
        if code != 220:
            raise _Gone(f"it greets with {code} {_shown(text)}")
        smtp.ehlo_or_helo_if_needed()
        safe = server.secure
        if not safe and starttls != "never":
            if smtp.has_extn("starttls"):
                smtp.to_tls(context(), server.host, self._limits.connect)
                safe = True
            elif starttls == "required":
                raise _Gone("it has no STARTTLS; 'starttls: never' sends without TLS")
        if server.login is not None:
            if not safe and starttls != "never":
                raise _Gone("it has no STARTTLS, and a password does not go over an open line")
            smtp.login(*server.login)

    def deliver(
        self, sender: str, to: str, raw: bytes, utf8: bool, until: float, begin: Callable[[], None]
    ) -> tuple[int, str]:
        """(code, words) of the server's answer to one mail; raises _Gone when the conversation broke off.

        ``begin`` is called before the first byte of the mail; what it raises ends the conversation.
        """
        smtp = self._smtp
        self._line.begin(until, self._limits.read)
        if utf8 and not smtp.has_extn("smtputf8"):
            return 553, "the server takes no address that is not ASCII"
        handed_over = False
        try:
            if self._begun:
                smtp.rset()
            self._begun = True
            options = ["SMTPUTF8"] if utf8 else []
            if utf8:
                smtp.command_encoding = "utf-8"
            if smtp.has_extn("size"):
                options.append(f"SIZE={len(raw)}")
            for code, text in smtp.steps(sender, options, to):
                if code >= 300 and code != 354:
                    return code, _shown(text)
            begin()
            smtp.send(re.sub(rb"(?m)^\.", b"..", raw) + b".\r\n")
            handed_over = True
            code, text = smtp.getreply()
            return code, _shown(text)
        except (OSError, smtplib.SMTPException) as error:
            where = "after the mail was handed over" if handed_over else "before the mail was handed over"
            raise _Gone(f"{self._server.host} broke off {where}: {_words(error)}", handed_over) from None
        finally:
            smtp.command_encoding = "ascii"

    def leave(self, until: float) -> None:
        """Say goodbye and go, whatever the server says."""
        self._line.begin(until, self._limits.read)
        with contextlib.suppress(OSError, smtplib.SMTPException):
            self._smtp.docmd("QUIT")
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._smtp.close()
        self._line.close()


class _Smtp(smtplib.SMTP):
    """``smtplib`` on a line of ours: it never connects, and TLS is begun by the line."""

    def __init__(self, line: Line, host: str, helo: str) -> None:
        super().__init__(local_hostname=helo)
        self.sock = line  # type: ignore[assignment]  # of a socket it uses what a line has
        self._host = host
        self._line = line

    def to_tls(self, context: ssl.SSLContext, host: str, seconds: float) -> None:
        """STARTTLS; whatever was said before it is forgotten."""
        code, text = self.docmd("STARTTLS")
        if code != 220:
            raise _Gone(f"it refuses STARTTLS with {code} {_shown(text)}")
        self._line.secure(context, host, seconds)
        self.file = None  # what the server sent too early was not said under TLS
        self.helo_resp = self.ehlo_resp = None
        self.esmtp_features = {}
        self.does_esmtp = False
        self.ehlo_or_helo_if_needed()

    def steps(self, sender: str, options: Sequence[str], to: str) -> Iterator[tuple[int, bytes]]:
        """The answers on the way to the body of a mail."""
        yield self.mail(sender, options)
        yield self.rcpt(to)
        yield self.docmd("DATA")


def _server(url: Secret, what: str) -> _Server:
    """A server's address taken apart; raises CannotRun without quoting it."""
    hint = "smtp://user:password@host:587; what is special in user and password is encoded (%40)"
    try:
        parts = urlsplit(url.reveal())
        port, host = parts.port, host_name(parts.hostname or "")
    except (ValueError, Refused):
        raise CannotRun(f"{what} is no address of a mail server", hint=hint) from None
    if parts.scheme not in ("smtp", "smtps") or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise CannotRun(f"{what} is no address of a mail server", hint=hint)
    secure = parts.scheme == "smtps"
    login = None
    if parts.username is not None:
        login = (unquote(parts.username), unquote(parts.password or ""))
        if not "".join(login).isascii():
            raise CannotRun(f"{what} has a user or password that is not ASCII, which cannot be sent", hint=hint)
    return _Server(host, port or (465 if secure else 587), secure, login)


def _copy(answer: Sent | None) -> Sent:
    return Sent(ok=False, reason=answer.reason, passing=True) if answer is not None else Sent(ok=False)


def _shown(text: bytes) -> str:
    return text.decode("ascii", "replace")


def _said(error: smtplib.SMTPException) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        text = error.smtp_error
        return f"{error.smtp_code} {_shown(text) if isinstance(text, bytes) else text}"
    return _words(error)


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "the time is up"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not valid ({error.verify_message})"
    if isinstance(error, smtplib.SMTPResponseException):
        return _said(error)
    if isinstance(error, smtplib.SMTPServerDisconnected):
        return "the connection was closed"
    if isinstance(error, Unresolved):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
