"""What every channel promises, and what the file and the console promise besides."""

from __future__ import annotations

import errno
import io
import json
import os
from collections.abc import Iterator
from decimal import Decimal
from email import message_from_bytes
from email.policy import SMTP
from pathlib import Path
from typing import Any

import pytest
from mailbox_server import MAILS, mailbox
from provider import serving, site

import engine.channels
from engine.channels import CHANNELS
from engine.channels.console import ConsoleChannel, cut, plain, width
from engine.channels.file import FAULT_POINTS, FileChannel
from engine.cli.main import run
from engine.core.model import Effect
from engine.errors import CannotRun, UsageError
from engine.ports import Channel, Outgoing, Pace

T = 1_772_330_400_000_000  # 2026-03-01T02:00:00Z
ANY_WARNING = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # plugins of Apprise use what is to go


def item(key: str = "k1", attempts: int = 0, **more: Any) -> Outgoing:
    fields: dict[str, Any] = {
        "time": T,
        "playbook": "welcome",
        "step": "hello",
        "kind": "message",
        "user": "u1",
        "group": None,
        "status": "planned",
        "reason": None,
        "deliver": "box",
        "purpose": "service",
        "to": "+100",
        "detail": {"template": "welcome/hello", "via": "box", "text": "你好 Ada", "price": Decimal("12.50")},
        **more,
    }
    return Outgoing(key, "box", Effect(key=key, **fields), attempts)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out" / "messages.jsonl"


@pytest.fixture(params=list(CHANNELS))
def channel(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Channel]:
    """Each kind, opened as a program opens it, with somebody at the other end."""
    kind: Any = CHANNELS.get(request.param)
    with serving() as provider, mailbox() as port:
        wire = {"url": provider.url, "allow_http": True, "allow_private": True}
        keys: dict[str, dict[str, Any]] = {
            "file": {"path": "out/box.jsonl"},
            "http": wire,
            "webhook": wire,
            "smtp": {"url": f"smtp://127.0.0.1:{port}", "from": "hi@shop.example", "starttls": "never"},
            "apprise": {"url": f"json://127.0.0.1:{provider.port}"},
        }
        made: Channel = kind.open("box", {"via": request.param, **keys.get(request.param, {})}, site(tmp_path))
        yield made
        made.close()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


# -- all channels


def test_registered() -> None:
    """Every channel of the table has a file of its name, and says how it is configured."""
    folder = Path(engine.channels.__file__).parent
    assert set(CHANNELS) <= {it.stem for it in folder.glob("*.py")}
    assert {"apprise", "console", "file", "http", "smtp", "webhook"} <= set(CHANNELS)
    for word in CHANNELS:
        assert f"via: {word}" in str(CHANNELS.get(word).__doc__)


@ANY_WARNING
def test_protocol(channel: Channel) -> None:
    """A channel has every word of the port, and a mode."""
    assert isinstance(channel, Channel)
    assert channel.name == "box"
    assert getattr(channel, "mode", "none") is None


@ANY_WARNING
def test_answers_in_order(channel: Channel) -> None:
    """Every effect is answered, in order; nothing is answered for nothing."""
    items = [item("a", to="a@home.example"), item("b", to="\r\nb"), item("c", to="c@home.example")]
    answers = channel.send(items)
    assert len(answers) == 3
    assert [answer.ok for answer in answers[::2]] == [True, True]
    assert answers[1].ok or answers[1].reason
    assert channel.send([]) == []


@ANY_WARNING
def test_pace_of_each(channel: Channel) -> None:
    """A channel over the network says how it may be used; one that is quick by nature need not."""
    pace = getattr(channel, "pace", None)
    assert (pace is None) is isinstance(channel, (FileChannel, ConsoleChannel))
    assert pace is None or (isinstance(pace, Pace) and pace.concurrency > 1)


def a_program(folder: Path, sms: str, email: str) -> Path:
    """A program that says hello by the first channel that takes it, and calls another system."""
    files = {
        "drumbeat.yaml": "program: t\nfeeds: [{file: feed.jsonl}]\nstore: sqlite:///t.db\nchannels:\n"
        f"  sms: {{via: http, url: '{sms}/send', allow_http: true, allow_private: true}}\n"
        f"  email: {{via: smtp, url: '{email}', from: hi@shop.example, starttls: never}}\n"
        f"  hooks: {{via: webhook, allow_http: true, allow_private: true, ports: [{sms.rpartition(':')[2]}]}}\n",
        "playbooks/hello.yaml": "playbook: hello\ntitle: x\ntrigger: {event: user.signup}\nentry: once\nsteps:\n"
        "  - message: {template: hello, via: [sms, email], purpose: transactional}\n"
        f"  - webhook: {{url: '{sms}/hook', body: {{who: '{{{{ user.id }}}}'}}}}\n",
        "templates/hello.sms.j2": "---\ntitle: Short\n---\nHello {{ user.name }}\n",
        "templates/hello.email.j2": "---\nsubject: Hello {{ user.name }}\nformat: html\nteaser: Tea\n---\n"
        "<p>Hello <b>{{ user.name }}</b></p>\n",
        "feed.jsonl": json.dumps(
            {
                "id": "e1", "type": "user.signup", "user": "u1", "time": "2026-03-01T02:00:00Z",
                "data": {"name": "A<d>a", "email": "ada@home.example"},
            }
        ) + "\n",
    }  # fmt: skip
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_from_a_feed_to_the_wire(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``drumbeat run`` delivers over HTTP and SMTP: what one channel refuses for good the next one carries, in its own
    words, and a webhook step reaches its receiver."""
    with serving() as provider, mailbox() as port:
        mails = MAILS[port]
        provider.answer = lambda handler: handler.reply(400 if handler.path == "/send" else 200)
        root = a_program(tmp_path, provider.url, f"smtp://127.0.0.1:{port}")
        assert run(["run", "--until-idle", "--program", str(root)]) == 0, capsys.readouterr().err
        said = {request.path: request for request in provider.requests}
        assert said["/send"].json()["title"] == "Short"
        assert said["/send"].json()["text"] == "Hello A<d>a"
        assert said["/hook"].json() == {"who": "u1"}
        assert said["/hook"].headers["webhook-id"]
        (raw,) = mails
        mail = message_from_bytes(raw, policy=SMTP)
        assert mail["Subject"] == "Hello A<d>a"
        assert mail["To"] == "ada@home.example"
        assert [part.get_content_type() for part in mail.walk()][1:] == ["text/plain", "text/html"]
        assert "Hello A<d>a" in mail.get_body(("plain",)).get_content()
        assert "<b>A&lt;d&gt;a</b>" in mail.get_body(("html",)).get_content()
        again = len(provider.requests)
        assert run(["run", "--until-idle", "--program", str(root)]) == 0
        assert (len(provider.requests), len(mails)) == (again, 1)


# -- file


def test_line(path: Path) -> None:
    """A line names key, channel, time, user, kind, address and text, and holds the whole detail; decimals are exact.

    Semantics: effect-key.given
    """
    FileChannel("box", path).send([item()])
    (line,) = lines(path)
    assert line == {
        "key": "k1",
        "channel": "box",
        "time": "2026-03-01T02:00:00Z",
        "user": "u1",
        "group": None,
        "kind": "message",
        "playbook": "welcome",
        "step": "hello",
        "purpose": "service",
        "to": "+100",
        "template": "welcome/hello",
        "subject": None,
        "text": "你好 Ada",
        "detail": {"template": "welcome/hello", "via": "box", "text": "你好 Ada", "price": 12.5},
    }
    assert '"price":12.50' in path.read_text("utf-8")


def test_one_line_whatever_the_text(path: Path) -> None:
    """Line feeds in a text stay inside its line."""
    FileChannel("box", path).send([item(detail={"text": "a\nb\u2028c\r\u2029\x85\x0b"}), item("k2")])
    assert len(path.read_bytes().splitlines()) == 2
    assert lines(path)[0]["text"] == "a\nb\u2028c\r\u2029\x85\x0b"


def test_appends(path: Path) -> None:
    """Messages of an earlier process stay, the folder is made."""
    for key in ("a", "b"):
        channel = FileChannel("box", path)
        channel.send([item(key)])
        channel.close()
    assert [line["key"] for line in lines(path)] == ["a", "b"]


@pytest.mark.parametrize("torn", ['{"key":"b","chan', '{"key":"b"}', "x" * 200_000, "\0" * 10])
def test_torn_line_is_cut_off(path: Path, torn: str) -> None:
    """A last line without line feed was never sent: the next process takes it away and goes on."""
    first = FileChannel("box", path)
    first.send([item("a")])
    first.close()
    with path.open("a") as file:
        file.write(torn)
    channel = FileChannel("box", path)
    assert channel.written(["a", "b"]) == {"a"}
    channel.send([item("b", attempts=1)])
    assert [line["key"] for line in lines(path)] == ["a", "b"]


def test_file_of_one_torn_line(path: Path) -> None:
    """A file that holds nothing but a torn line becomes empty."""
    path.parent.mkdir()
    path.write_text('{"key":"a"')
    FileChannel("box", path)
    assert path.read_bytes() == b""


def test_resent_key_is_not_written_twice(path: Path) -> None:
    """A message that may have been written by a process that died is written only when its key is not in the file.

    Semantics: effect-key.given
    """
    first = FileChannel("box", path)
    first.send([item("a"), item("b")])
    first.close()
    second = FileChannel("box", path)
    assert [answer.ok for answer in second.send([item("b", attempts=1), item("c", attempts=1), item("d")])] == [
        True
    ] * 3
    assert [line["key"] for line in lines(path)] == ["a", "b", "c", "d"]


def test_written_looks_at_keys_alone(path: Path) -> None:
    """A key inside another message's text proves nothing; odd keys are found."""
    channel = FileChannel("box", path)
    channel.send([item("a", detail={"text": '{"key":"b"}\n{"key":"c"'}), item("é·\u2028")])
    assert channel.written(["a", "b", "c", "é·\u2028"]) == {"a", "é·\u2028"}
    assert channel.written([]) == set()


def test_full_disk_takes_back_the_batch(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that cannot be written whole is taken back, answered as passing, and written at the next try."""
    channel = FileChannel("box", path)
    channel.send([item("a")])
    real = os.write

    def half(fd: int, data: Any) -> int:
        if len(data) > 20:
            return real(fd, bytes(data)[:20])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", half)
    answers = channel.send([item("b"), item("c")])
    monkeypatch.undo()
    assert [(it.ok, it.passing, it.reason) for it in answers] == [
        (False, True, "cannot write: No space left on device")
    ] * 2
    assert [line["key"] for line in lines(path)] == ["a"]
    assert all(it.ok for it in channel.send([item("b", attempts=1), item("c", attempts=1)]))
    assert [line["key"] for line in lines(path)] == ["a", "b", "c"]


def test_what_could_not_be_taken_back_is_cut_off_later(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When even taking back fails, the half line is removed before the next one is written."""
    channel = FileChannel("box", path)
    real = os.write

    def broken(*args: Any) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(data)[:9]) if len(data) > 99 else broken())
    monkeypatch.setattr(os, "fsync", broken)
    monkeypatch.setattr(os, "ftruncate", broken)
    assert not channel.send([item("a")])[0].ok
    monkeypatch.undo()
    assert path.stat().st_size > 0
    assert channel.send([item("a", attempts=1)])[0].ok
    assert [line["key"] for line in lines(path)] == ["a"]


def test_emptied_file(path: Path) -> None:
    """When somebody empties the file the next message stands at its beginning, without a hole."""
    channel = FileChannel("box", path)
    channel.send([item("a")])
    os.truncate(path, 0)
    channel.send([item("b")])
    assert [line["key"] for line in lines(path)] == ["b"]


def test_removed_file(path: Path) -> None:
    """A file that somebody removed, its folder too, is made again: nothing is sent into a file that nobody can open."""
    channel = FileChannel("box", path)
    assert [it.ok for it in channel.send([item("1")])] == [True]
    path.unlink()
    path.parent.rmdir()
    assert [it.ok for it in channel.send([item("2")])] == [True]
    assert [it.ok for it in channel.send([item("3")])] == [True]
    channel.close()
    assert [line["key"] for line in lines(path)] == ["2", "3"]


def test_one_bad_message_does_not_stop_the_others(path: Path) -> None:
    """A message that is no JSON is refused for ever; the others of the batch are written."""
    channel = FileChannel("box", path)
    answers = channel.send(
        [item("a"), item("b", detail={"x": object()}), item("c", detail={"text": "\ud800"}), item("d")]
    )
    assert [(it.ok, it.passing) for it in answers] == [(True, False), (False, False), (False, False), (True, False)]
    assert [line["key"] for line in lines(path)] == ["a", "d"]


def test_one_sync_a_batch(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch is brought to the disk once."""
    channel = FileChannel("box", path)
    calls: list[int] = []
    monkeypatch.setattr(os, "fsync", calls.append)
    channel.send([item(str(n)) for n in range(50)])
    assert len(calls) == 1


def test_fault_points(path: Path) -> None:
    """A batch passes every declared point once, in order; a batch of nothing new passes none."""
    channel = FileChannel("sms", path)
    passed: list[str] = []
    channel.fault = passed.append
    channel.send([item("k1"), item("k2")])
    assert tuple(passed) == FAULT_POINTS
    channel.send([item("k1", attempts=1)])
    assert tuple(passed) == FAULT_POINTS
    channel.close()


def test_unknown_mode(path: Path) -> None:
    """A mode that is none is refused with the known ones."""
    with pytest.raises(UsageError, match="at_most_once"):
        FileChannel("box", path, mode="exactly_once")


def test_place_that_cannot_be_written(tmp_path: Path) -> None:
    """A file that cannot be made is refused at start, by name."""
    (tmp_path / "out").write_text("a file")
    with pytest.raises(CannotRun, match="channel 'box': cannot write"):
        FileChannel("box", tmp_path / "out" / "messages.jsonl")


# -- console


def test_console_line() -> None:
    """One readable line a message."""
    stream = io.StringIO()
    ConsoleChannel("box", stream).send([item(), item("k2", user="用户一", detail={"subject": "Hi", "text": "a\n b"})])
    assert stream.getvalue().splitlines() == [
        "2026-03-01T02:00:00Z  box       u1                welcome/hello | 你好 Ada",
        "2026-03-01T02:00:00Z  box       用户一            message | Hi | a b",
    ]


@pytest.mark.parametrize("columns", range(1, 30))
def test_console_width(columns: int) -> None:
    """A line takes no more columns than allowed, a full-width character counting two, and is not cut inside one."""
    text = "优惠 coupon 优惠券 e\u0301"
    assert width(cut(text, columns)) <= columns
    assert cut(text, columns).rstrip("…") == text[: len(cut(text, columns).rstrip("…"))]
    assert (cut(text, columns) == text) is (width(text) <= columns)


def test_console_width_option() -> None:
    """With a width every line fits it."""
    stream = io.StringIO()
    ConsoleChannel("box", stream, width=60).send([item(detail={"text": "优惠" * 50})])
    assert width(stream.getvalue().rstrip("\n")) in (59, 60)


@pytest.mark.parametrize("evil", ["\x1b[2J", "\x9b31m", "\u202e", "\x00", "\x07", "\u2066"])
def test_console_shows_no_steering_characters(evil: str) -> None:
    """A text cannot steer the terminal or turn the line."""
    assert plain(f"a{evil}b").startswith("a\N{REPLACEMENT CHARACTER}")
    assert not set(evil[:1]) & set(plain(f"a{evil}b"))


def test_console_of_a_narrow_encoding() -> None:
    """A stream that cannot show a character gets its escape instead of an exception."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    assert ConsoleChannel("box", stream).send([item()])[0].ok
    assert b"\\u4f60\\u597d Ada" in raw.getvalue()


def test_console_of_a_closed_pipe() -> None:
    """A stream that cannot be written is answered as passing."""

    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    (answer,) = ConsoleChannel("box", Closed()).send([item()])
    assert (answer.ok, answer.passing) == (False, True)
