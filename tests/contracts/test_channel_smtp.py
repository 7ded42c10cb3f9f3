"""The channel ``smtp`` against a real mail server, and against one that refuses, hangs and breaks off on demand."""

from __future__ import annotations

import email
import email.policy
import socket
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import trustme
from mailbox_server import FreePort
from provider import item, site

import engine.channels.smtp as module
from engine.channels.plaintext import plain_text
from engine.channels.smtp import SmtpChannel
from engine.channels.wire import Limits
from engine.errors import CannotRun
from engine.ports import Outgoing, Pace, Sent

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # aiosmtpd speaks of its own future while it is imported
    from aiosmtpd.smtp import AuthResult, LoginPassword

FROM = "Tea Shop <hi@shop.example>"


@dataclass
class Mail:
    """One mail as it came in."""

    sender: str
    to: list[str]
    raw: bytes
    secure: bool

    @property
    def parsed(self) -> EmailMessage:
        found = email.message_from_bytes(self.raw, policy=email.policy.SMTP)
        assert isinstance(found, EmailMessage)
        return found


@dataclass
class Box:
    """What a server took, and what it says to receivers."""

    port: int = 0
    mails: list[Mail] = field(default_factory=list)
    conversations: int = 0
    logins: list[bytes] = field(default_factory=list)
    refuse: dict[str, str] = field(default_factory=dict)
    said: str = "250 OK"

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    async def handle_EHLO(self, server: Any, session: Any, envelope: Any, hostname: str, answers: Any) -> Any:
        session.host_name = hostname
        self.conversations += not session.ssl
        return answers

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.said.startswith("250"):
            mail = Mail(envelope.mail_from, list(envelope.rcpt_tos), envelope.original_content, session.ssl is not None)
            self.mails.append(mail)
        return self.said

    def login(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> Any:
        good = isinstance(data, LoginPassword) and data.password == b"p@ss:word-53cr3t"
        self.logins.append(data.login)
        return AuthResult(success=good, handled=False) if not good else AuthResult(success=True)


@contextmanager
def taking(**options: Any) -> Iterator[Box]:
    box = Box()
    controller = FreePort(box, hostname="127.0.0.1", port=0, authenticator=box.login, **options)
    controller.start()
    box.port = controller.port
    box.conversations = 0
    try:
        yield box
    finally:
        controller.stop()


@pytest.fixture
def box() -> Iterator[Box]:
    with taking(enable_SMTPUTF8=True) as found:
        yield found


def channel(url: str, root: Path | None = None, **more: Any) -> SmtpChannel:
    env = more.pop("env", {})
    fields = {"via": "smtp", "url": url, "from": FROM, "starttls": "never", **more}
    return SmtpChannel.open("email", fields, site(root, **env))


def mail(key: str = "5f" * 16, to: str | None = "ada@home.example", **detail: Any) -> Outgoing:
    return item(key, to=to, detail={"template": "welcome/hello", "via": "email", "text": "你好 Ada", **detail})


def words_of(part: Any) -> str:
    """What a part of a mail says."""
    return str(part.get_content()).replace("\r\n", "\n")


# -- mails


def test_text_mail(box: Box) -> None:
    """A template of text makes a mail of text, with its headers.

    Semantics: effect-key.given — the id of the mail is made from the key.
    """
    made = channel(box.url, reply_to="help@shop.example", headers={"X-Campaign": "tea"})
    (answer,) = made.send([mail(subject="你好，Ada", text="line one\n.\n..dots\n你好")])
    (again,) = made.send([mail(subject="你好，Ada", text="line one\n.\n..dots\n你好")])
    assert answer.ok
    assert answer == again
    (first, second) = box.mails
    assert first.raw == second.raw  # byte for byte the same mail
    assert (first.sender, first.to) == ("hi@shop.example", ["ada@home.example"])
    found = first.parsed
    assert found["From"] == "Tea Shop <hi@shop.example>"
    assert found["To"] == "ada@home.example"
    assert found["Reply-To"] == "help@shop.example"
    assert found["Subject"] == "你好，Ada"
    assert found["X-Campaign"] == "tea"
    assert found["Date"].datetime.isoformat() == "2026-03-01T02:00:00+00:00"
    assert found["Message-ID"] == f"<{answer.receipt}>"
    assert str(answer.receipt).endswith("@shop.example")
    assert found.get_content_type() == "text/plain"
    assert words_of(found) == "line one\n.\n..dots\n你好\n"
    assert first.raw.isascii()
    assert b"\n" not in first.raw.replace(b"\r\n", b"")


def test_two_parts(box: Box) -> None:
    """HTML goes with a text made from it: who shows no HTML reads the words and the addresses."""
    html = (
        "<html><head><title>no</title><style>p{}</style></head><body><h1>Hi Ada</h1><p>Your <b>tea</b> is\nhere:"
        ' <a href="https://shop.example/t?a=1&amp;b=2">look</a></p><ul><li>one</li><li>two &amp; 你</li></ul>'
        '<img src="x" alt="a cup"><script>alert(1)</script></body></html>'
    )
    assert channel(box.url).send([mail(subject="Hi", text=html, html=True)])[0].ok
    found = box.mails[0].parsed
    assert found.get_content_type() == "multipart/alternative"
    text, page = found.iter_parts()
    assert (text.get_content_type(), page.get_content_type()) == ("text/plain", "text/html")
    words = words_of(text)
    assert words == "Hi Ada\n\nYour tea is here: look (https://shop.example/t?a=1&b=2)\n\n- one\n- two & 你\n\na cup\n"
    assert words_of(page) == html + "\n"


def test_plain_text() -> None:
    """Nothing of a page is lost but its looks; broken pages do no harm."""
    assert plain_text("a<br>b<hr>c") == "a\nb\nc\n"
    assert plain_text("<a href='mailto:a@b.example'>a@b.example</a> <a href='javascript:x'>x</a>") == "a@b.example x\n"
    assert plain_text("<table><tr><td>1</td><td>2</td></tr></table><p>&lt;3") == "1 2\n\n<3\n"
    assert plain_text("</p></a></style><a href='https://x.example'>") == "\n"
    assert plain_text("<div>" * 5000 + "deep") == "deep\n"


def test_one_click(box: Box) -> None:
    """A link to unsubscribe stands in the headers, whole, however long it is."""
    link = "https://shop.example/u/" + "t0ken" * 60
    assert channel(box.url).send([mail(unsubscribe=link), mail("b" * 32)])[0].ok
    first, second = box.mails
    assert f"List-Unsubscribe: <{link}>\r\n".encode() in first.raw
    assert b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" in first.raw
    assert b"List-Unsubscribe" not in second.raw


@pytest.mark.parametrize("link", ["https://x.example/\r\nBcc: a@b", "javascript:x", "https://x.example/ a", 7, "<>"])
def test_odd_links(box: Box, link: Any) -> None:
    """What is no address becomes no header.

    Threat: header.inject — the link to unsubscribe
    """
    (answer,) = channel(box.url).send([mail(unsubscribe=link)])
    assert (answer.ok, answer.passing) == (False, False)
    assert box.mails == []


def test_subject_is_never_empty(box: Box) -> None:
    """Without a subject the title is taken, without a title the first words."""
    items = [
        mail("a" * 32, fields={"title": "The title"}),
        mail("b" * 32, text="\n  first   words \nsecond"),
        mail("c" * 32, text="<h1>Page</h1>", html=True),
        mail("d" * 32, text="x" * 500),
    ]
    assert all(answer.ok for answer in channel(box.url).send(items))
    subjects = [str(found.parsed["Subject"]) for found in box.mails]
    assert subjects == ["The title", "first words", "Page", "x" * 69 + "…"]


BREAKS = [
    "\r\nBcc: evil@x.example", "\nBcc: evil@x.example", "\rBcc: e@x.example", "\r\n folded", "a\x00b", "a\u2028Bcc: x",
    "a\u2029b", "\x85Bcc: x", "a\x0bb", "a\x0cb", "\x1b[2J", "\r\n\r\nbody", "a\ud800",
]  # fmt: skip


@pytest.mark.parametrize("evil", BREAKS)
def test_no_header_is_added(box: Box, evil: str) -> None:
    """CR, LF, NUL and their kin in anything that becomes a header refuse the mail: nothing of it is on the wire.

    Threat: header.inject — subject, title and address of mails
    """
    made = channel(box.url)
    items = [
        mail(subject=f"Hi{evil}"),
        mail(fields={"title": evil + "x"}),
        mail(to=f"ada@home.example{evil}"),
        mail(to=f"Ada{evil} <ada@home.example>"),
    ]
    for answer in made.send(items):
        assert (answer.ok, answer.passing, answer.unknown) == (False, False, False)
        assert "evil" not in str(answer.reason)
    assert box.mails == []


LONG = ["é ", "(", "(é ", "\\", '"', "a", "=?utf-8?q?a?= ", " a", "Bcc: "]


@pytest.mark.parametrize("part", LONG)
@pytest.mark.parametrize("length", [76, 500, 512, 16_000])
def test_long_names_and_subjects(box: Box, part: str, length: int) -> None:
    """A name or a subject as long as it may be adds no header and makes no line that is too long, however it is folded;
    a longer one, which would take seconds to fold, is refused at once.

    Threat: header.inject — by folding
    Threat: stdlib.old
    """
    name = (part * length)[: length - len("<a@home.example>")]
    items = [mail("a" * 32, to=f"{name}<a@home.example>"), mail("b" * 32, subject=(part * length)[:length])]
    answers = channel(box.url).send(items)
    assert [answer.ok for answer in answers] == [length <= 512] * 2
    assert all(answer.ok or "characters" in str(answer.reason) for answer in answers)
    for found in box.mails:
        lines = found.raw.partition(b"\r\n\r\n")[0].split(b"\r\n")
        names = [line.partition(b":")[0].lower() for line in lines if line[:1] not in (b" ", b"\t")]
        assert len(names) == len(set(names))
        assert b"bcc" not in names
        assert max(map(len, lines)) <= 998


@pytest.mark.parametrize("what", ["from", "reply_to"])
@pytest.mark.parametrize("evil", BREAKS[:4])
def test_no_header_is_added_by_the_environment(what: str, evil: str) -> None:
    """The program's own addresses are looked at as well."""
    with pytest.raises(CannotRun, match=what):
        channel("smtp://127.0.0.1", **{what: f"hi@shop.example{evil}"})


def test_header_of_the_channel(box: Box) -> None:
    """A header of the channel that would hold a line break refuses each mail."""
    (answer,) = channel(box.url, headers={"X-A": "${A}"}, env={"A": "a\r\nBcc: b"}).send([mail()])
    assert (answer.ok, answer.passing) == (False, False)


@pytest.mark.parametrize(
    "address",
    [
        "", "ada", "@home.example", "ada@", "a@b@c.example", "a b@c.example", "a@b.example, c@d.example",
        '"a b"@c.example', "a@-b.example", "a@b..example", ".a@b.example", "a..b@c.example", "a@[127.0.0.1]",
        "a@b.example>", "x" * 65 + "@b.example", "a@" + "b" * 64 + ".example", "a@b_c.example", None,
    ],
)  # fmt: skip
def test_no_address(box: Box, address: str | None) -> None:
    """What is no address of one receiver is refused before anybody is called."""
    (answer,) = channel(box.url).send([mail(to=address)])
    assert (answer.ok, answer.passing) == (False, False)
    assert box.conversations == 0


def test_international(box: Box) -> None:
    """A domain goes in ASCII; a name that is not ASCII needs a server that takes it."""
    items = [mail("a" * 32, to="ada@bücher.example"), mail("b" * 32, to="Ada 李 <李@home.example>")]
    assert [answer.ok for answer in channel(box.url).send(items)] == [True, True]
    assert [found.to for found in box.mails] == [["ada@xn--bcher-kva.example"], ["李@home.example"]]
    assert "李@home.example".encode() in box.mails[1].raw
    with taking(enable_SMTPUTF8=False) as old:
        first, second = channel(old.url).send([*items[1:], *items[:1]])
        assert (first.ok, first.passing) == (False, False)
        assert "ASCII" in str(first.reason)
        assert second.ok


# -- conversations


def test_one_conversation_a_batch(box: Box) -> None:
    """Twenty mails go in one conversation, each answered by itself; a refused receiver refuses nobody else."""
    box.refuse = {"u3@home.example": "550 5.1.1 no such user", "u7@home.example": "450 4.2.0 greylisted"}
    items = [mail(f"{n:032x}", to=f"u{n}@home.example") for n in range(20)]
    made = channel(box.url)
    answers = made.send(items)
    assert made.pace == Pace(concurrency=2, batch=20)
    assert box.conversations == 1
    assert [n for n, answer in enumerate(answers) if not answer.ok] == [3, 7]
    assert (answers[3].passing, answers[3].reason) == (False, "the server says 550 5.1.1 no such user")
    assert (answers[7].passing, answers[7].reason) == (True, "the server says 450 4.2.0 greylisted")
    assert len(box.mails) == 18
    assert all(len(found.to) == 1 for found in box.mails)
    assert len({str(answer.receipt) for answer in answers if answer.ok}) == 18


@pytest.mark.parametrize(
    ("said", "passing"),
    [("451 4.3.0 try later", True), ("452 full", True), ("552 5.2.2 too large", False), ("554 5.7.1 spam", False)],
)
def test_refused_after_the_mail(box: Box, said: str, passing: bool) -> None:
    """The answer to the mail itself counts as that to a receiver."""
    box.said = said
    (answer,) = channel(box.url).send([mail()])
    assert (answer.ok, answer.passing, answer.unknown) == (False, passing, False)
    assert said[:3] in str(answer.reason)


def test_nobody_there() -> None:
    """Without a server all mails wait."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    answers = channel(f"smtp://127.0.0.1:{port}").send([mail("a" * 32), mail("b" * 32)])
    assert [(it.ok, it.passing, it.unknown) for it in answers] == [(False, True, False)] * 2
    assert answers[0] is not answers[1]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_tls(authority: trustme.CA, name: str = "127.0.0.1") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


URL = "smtp://${USER}:${PASSWORD}@127.0.0.1:%d"
ENV = {"USER": "shop%40example", "PASSWORD": "p%40ss%3Aword-53cr3t"}


def test_starttls(authority: trustme.CA, tmp_path: Path) -> None:
    """The line is made safe before the password goes over it; the certificate is checked."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with taking(tls_context=server_tls(authority), auth_required=True) as box:
        made = channel(URL % box.port, tmp_path, ca="ca.pem", starttls="required", env=ENV)
        assert made.send([mail()])[0].ok
        assert box.mails[0].secure
        assert box.logins[-1] == b"shop@example"
        for rule in ("required", "offered"):
            (answer,) = channel(URL % box.port, tmp_path, starttls=rule, env=ENV).send([mail()])
            assert (answer.ok, answer.passing, answer.unknown) == (False, True, False)
            assert "certificate" in str(answer.reason)
        assert (len(box.mails), len(box.logins)) == (1, 1)


def test_certificate_of_another(authority: trustme.CA, tmp_path: Path) -> None:
    """A good certificate with another name is none."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with taking(tls_context=server_tls(authority, "other.example")) as box:
        (answer,) = channel(box.url, tmp_path, ca="ca.pem", starttls="required").send([mail()])
        assert (answer.ok, answer.passing) == (False, True)
        assert box.mails == []


def test_no_starttls(box: Box) -> None:
    """A server without STARTTLS gets nothing when it is required, and never a password unless the program says so."""
    (answer,) = channel(box.url, starttls="required").send([mail()])
    assert (answer.ok, answer.passing) == (False, True)
    assert "STARTTLS" in str(answer.reason)
    assert channel(box.url, starttls="offered").send([mail()])[0].ok
    (answer,) = channel(URL % box.port, starttls="offered", env=ENV).send([mail()])
    assert not answer.ok
    assert "open line" in str(answer.reason)
    assert box.logins == []


def test_tls_from_the_first_byte(authority: trustme.CA, tmp_path: Path) -> None:
    """``smtps://`` speaks TLS at once."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    script = Script(tls=server_tls(authority))
    with script as port:
        made = channel(f"smtps://127.0.0.1:{port}", tmp_path, ca="ca.pem", starttls="required")
        assert made.send([mail()])[0].ok
    assert len(script.mails) == 1


def test_wrong_password(tmp_path: Path) -> None:
    """A refused login is the operator's to mend: mails wait, and nobody is told the password."""
    with taking(auth_require_tls=False) as box:
        made = channel(URL % box.port, env={**ENV, "PASSWORD": "wrong-53cr3t"})
        (answer,) = made.send([mail()])
        assert (answer.ok, answer.passing, answer.unknown) == (False, True, False)
        assert "535" in str(answer.reason)
        assert "53cr3t" not in f"{answer} {made!r}"
        assert box.logins


@pytest.mark.parametrize(
    "url",
    ["nonsense", "http://mail.example", "smtp://", "smtp://user:53cr3t@", "smtp://h:53cr3t", "smtp://u:53cr3t@h/path",
     "smtp://u:53cr3t%C3%A9@h", "smtp://u:53cr3t@127.1", "smtp://u:53cr3t@h?x=1"],
)  # fmt: skip
def test_address_from_the_environment(url: str) -> None:
    """An address that is none refuses the start, and is not quoted."""
    with pytest.raises(CannotRun) as refused:
        channel("${URL}", env={"URL": url})
    assert "53cr3t" not in f"{refused.value!r} {refused.value}"


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ({"from": "nobody"}, "from"),
        ({"reply_to": "a@b, c@d"}, "reply_to"),
        ({"url": "http://x"}, "url"),
        ({"headers": {"bcc": "x@y.example"}}, "headers"),
        ({"headers": {"Subject": "x"}}, "headers"),
    ],
)
def test_faults(more: dict[str, Any], key: str) -> None:
    """What is wrong with an entry is told when the program is checked."""
    fields = {"via": "smtp", "url": "${URL}", "from": FROM, **more}
    assert [found for found, _, _ in SmtpChannel.faults(fields)] == [key]


# -- a server that does as it is told

Step = Callable[["Talk"], bool]
"""What the server does at a word; False: it hangs up."""


class Talk:
    """One conversation of a scripted server."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.file = sock.makefile("rb")
        self.said = ""

    def say(self, text: str) -> bool:
        self.said = text
        self.sock.sendall(text.encode() + b"\r\n")
        return True


class Script:
    """A mail server that answers each word as told: by default as it should."""

    def __init__(self, tls: ssl.SSLContext | None = None, **steps: Step) -> None:
        self.steps = steps
        self.tls = tls
        self.mails: list[bytes] = []
        self.conversations = 0
        self.over = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(0.05)
        self.thread = threading.Thread(target=self._serve)

    def __enter__(self) -> int:
        self.thread.start()
        port: int = self.listener.getsockname()[1]
        return port

    def __exit__(self, *_: Any) -> None:
        self.over.set()
        self.thread.join()
        self.listener.close()

    def _serve(self) -> None:
        while not self.over.is_set():
            try:
                sock, _ = self.listener.accept()
            except TimeoutError:
                continue
            self.conversations += 1
            sock.settimeout(30)
            with sock:
                try:
                    whole = sock if self.tls is None else self.tls.wrap_socket(sock, server_side=True)
                    with whole:
                        self._talk(Talk(whole))
                except OSError:
                    continue  # the client went away: that is what some tests are about

    def _talk(self, talk: Talk) -> None:
        if not self.steps.get("hello", lambda it: it.say("220 here"))(talk):
            return
        for line in talk.file:
            word = line.split()[0].decode().lower()
            if word == "data":
                if not self.steps.get("data", lambda it: it.say("354 go on"))(talk):
                    return
                if not talk.said.startswith("354"):
                    continue
                raw = b""
                while not raw.endswith(b"\r\n.\r\n"):
                    piece = talk.file.readline()
                    if not piece:
                        return
                    raw += piece
                self.mails.append(raw)
                word = "dot"
            if word == "quit":
                talk.say("221 bye")
                return
            if not self.steps.get(word, lambda it: it.say("250 fine"))(talk):
                return


def hang(script: Script) -> Step:
    def step(talk: Talk) -> bool:
        script.over.wait(60)
        return False

    return step


def drip(script: Script) -> Step:
    def step(talk: Talk) -> bool:
        for _ in range(5000):
            if script.over.wait(0.02):
                return False
            talk.sock.sendall(b"2")
        return False

    return step


def hang_up(talk: Talk) -> bool:
    return False


@pytest.mark.parametrize("word", ["hello", "ehlo", "mail", "rcpt", "data"])
def test_broken_off_before(word: str) -> None:
    """A conversation that ends before the final dot sent nothing: worth another try."""
    with Script(**{word: hang_up}) as port:
        (answer,) = channel(f"smtp://127.0.0.1:{port}").send([mail()])
    assert (answer.ok, answer.passing, answer.unknown) == (False, True, False)


def test_broken_off_after() -> None:
    """A conversation that ends behind the final dot: nobody knows; the next mail has a new conversation.

    Failure: send.unknown — a conversation that ends behind the final dot
    """
    script = Script(dot=hang_up)
    with script as port:
        answers = channel(f"smtp://127.0.0.1:{port}").send([mail("a" * 32), mail("b" * 32)])
    assert [(it.ok, it.passing, it.unknown) for it in answers] == [(False, True, True)] * 2
    assert (len(script.mails), script.conversations) == (2, 2)


@pytest.mark.parametrize("how", [hang, drip])
@pytest.mark.parametrize(("word", "unknown"), [("hello", False), ("ehlo", False), ("rcpt", False), ("dot", True)])
def test_hanging(how: Callable[[Script], Step], word: str, unknown: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that says nothing, or a letter at a time, is left when the time is up.

    Failure: provider.slow — mail servers
    """
    monkeypatch.setattr(module, "seconds_of", lambda fields: Limits(connect=2.0, read=1.0, total=0.3))
    script = Script()
    script.steps[word] = how(script)
    with script as port:
        (answer,) = channel(f"smtp://127.0.0.1:{port}").send([mail()])
        script.over.set()
    assert (answer.ok, answer.passing, answer.unknown) == (False, True, unknown)


def test_server_that_closes() -> None:
    """421 ends the conversation: that mail waits, the next one has a new conversation."""
    times: list[int] = []

    def rcpt(talk: Talk) -> bool:
        times.append(1)
        return talk.say("421 4.3.2 going down") and False if len(times) == 1 else talk.say("250 fine")

    script = Script(rcpt=rcpt)
    with script as port:
        answers = channel(f"smtp://127.0.0.1:{port}").send([mail("a" * 32), mail("b" * 32)])
    assert [(it.ok, it.passing, it.unknown) for it in answers] == [(False, True, False), (True, False, False)]
    assert script.conversations == 2


def test_said_too_early(authority: trustme.CA, tmp_path: Path) -> None:
    """What a line without TLS put behind the answer to STARTTLS is not believed afterwards."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = server_tls(authority)

    def starttls(talk: Talk) -> bool:
        talk.sock.sendall(b"220 go on\r\n250-injected\r\n250 AUTH PLAIN LOGIN\r\n")
        with context.wrap_socket(talk.sock, server_side=True) as safe:
            inner = Talk(safe)
            said.append(inner.file.readline())
            inner.say("250 nothing more")
            said.append(inner.file.readline())
        return False

    said: list[bytes] = []
    script = Script(ehlo=lambda talk: talk.say("250-here\r\n250 STARTTLS"), starttls=starttls)
    with script as port:
        made = channel(URL % port, tmp_path, ca="ca.pem", starttls="required", env=ENV)
        (answer,) = made.send([mail()])
    assert not answer.ok
    assert said[0].startswith(b"ehlo")  # asked again, over TLS
    assert b"AUTH" not in b"".join(said)


CANARY = "p@ss:word-53cr3t"


@pytest.mark.parametrize("word", ["hello", "ehlo", "auth", "mail", "rcpt", "data", "dot"])
def test_secrets_are_not_told(word: str, caplog: pytest.LogCaptureFixture) -> None:
    """No reason, text of the channel or log holds the password, also when the server says it.

    Threat: secret.logs — the canary of the smtp channel.
    """
    caplog.set_level(0)
    steps: dict[str, Step] = {
        "ehlo": lambda talk: talk.say("250-here\r\n250 AUTH PLAIN"),
        "auth": lambda talk: talk.say("235 in"),
    }
    steps[word] = lambda talk: talk.say(f"550 no {CANARY} for shop@example")
    with Script(**steps) as port:
        made = channel(URL % port, env=ENV)
        answers = made.send([mail()])
    assert answers[0].ok is False
    told = f"{answers} {made} {caplog.text}"
    assert "53cr3t" not in told
    assert isinstance(answers[0], Sent)
