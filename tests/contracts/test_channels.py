"""What every channel promises, and what the file and the console promise besides."""

from __future__ import annotations

import errno
import io
import json
import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import engine.channels
from engine.channels import CHANNELS
from engine.channels.console import ConsoleChannel, cut, plain, width
from engine.channels.file import FAULT_POINTS, FileChannel
from engine.core.model import Effect
from engine.errors import CannotRun, UsageError
from engine.ports import Channel, Outgoing

T = 1_772_330_400_000_000  # 2026-03-01T02:00:00Z


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


@pytest.fixture(params=["file", "console"])
def channel(request: pytest.FixtureRequest, path: Path) -> Iterator[Channel]:
    made: Channel = FileChannel("box", path) if request.param == "file" else ConsoleChannel("box", io.StringIO())
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


def test_protocol(channel: Channel) -> None:
    """A channel has every word of the port, and a mode."""
    assert isinstance(channel, Channel)
    assert channel.name == "box"
    assert getattr(channel, "mode", "none") is None


def test_answers_in_order(channel: Channel) -> None:
    """Every effect is answered, in order; nothing is answered for nothing."""
    assert [answer.ok for answer in channel.send([item("a"), item("b"), item("c", detail={})])] == [True] * 3
    assert channel.send([]) == []


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
