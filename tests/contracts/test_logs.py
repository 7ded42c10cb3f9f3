"""The daemon's log: whole lines of JSON, no secret and no person in them, and never a reason to stand still."""

from __future__ import annotations

import io
import json
import logging
from threading import Event
from typing import Any

import pytest

from engine.runtime.logs import MASK, Masking, logging_to

_log = logging.getLogger("engine.test")


class Stuck(io.StringIO):
    """A stream that takes nothing until it is let go, as a full pipe does."""

    def __init__(self) -> None:
        super().__init__()
        self.free = Event()

    def write(self, text: str) -> int:
        self.free.wait(30)
        return super().write(text)


class Full(io.StringIO):
    """A stream on a disk that is full."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def lines(call: Any, secrets: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """What was written while a function ran."""
    stream = io.StringIO()
    with logging_to(stream, Masking(lambda: secrets), as_json=True):
        call()
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_says_when_what_and_where() -> None:
    """One object a line, whatever the message holds; fields given with it stand beside it."""
    (line,) = lines(lambda: _log.warning("a\nb %s", '"c" 茶', extra={"plan": "abc", "n": 3}))
    assert line.pop("time").endswith("Z")
    assert line == {"level": "warning", "where": "engine.test", "message": 'a\nb "c" 茶', "plan": "abc", "n": 3}


def test_an_error_shows_places_and_no_values() -> None:
    """Of an exception its type and its places are written; its words may hold what somebody sent."""

    def fail() -> None:
        try:
            raise ValueError("canary-1357")
        except ValueError:
            _log.exception("it failed")

    (line,) = lines(fail)
    assert (line["error"], line["message"]) == ("ValueError", "it failed")
    assert line["at"][-1].startswith("/") or ":" in line["at"][-1]
    assert "canary-1357" not in json.dumps(line)


@pytest.mark.parametrize(
    "text",
    ["ada@shop.example", "+86 138 0013 8000", "13800138000", "Ada.L+x@mail.shop.example", "geheim-token-77"],
)
def test_secrets_and_addresses_are_masked(text: str) -> None:
    """Known secrets, mail addresses and telephone numbers do not get through, in messages or in fields.

    Semantics: secret.logs
    Threat: secret.logs
    """
    found = lines(lambda: _log.error("for %s, again", text, extra={"what": f"<{text}>"}), ("geheim-token-77",))
    raw = json.dumps(found)
    assert text not in raw
    assert raw.count(MASK) == 2


@pytest.mark.parametrize(
    "text", ["2026-03-01T02:00:00Z", "u1", "plan 8f3a", "1795355249977752", "10.0.0.12:8080", "v1.2.3"]
)
def test_what_is_no_secret_is_left(text: str) -> None:
    """Times, ids, counts and addresses of machines stay readable."""
    (line,) = lines(lambda: _log.info("%s", text))
    assert line["message"] == text


def test_a_stream_that_stands_still_holds_nobody_up() -> None:
    """Ten thousand lines wait for it, more are counted and dropped; nobody who logs waits."""
    stream = Stuck()
    with logging_to(stream, Masking(), as_json=True) as patient:
        for number in range(12_000):
            _log.info("%s", number)
        assert 1_000 < patient.dropped < 2_001
        stream.free.set()
    assert len(stream.getvalue().splitlines()) >= 10_000 - 1


def test_a_full_disk_is_borne(capsys: pytest.CaptureFixture[str]) -> None:
    """A log that cannot be written is no reason to fail, nor to write about it elsewhere."""
    with logging_to(Full(), Masking(), as_json=True):
        _log.error("x")
    assert capsys.readouterr().err == ""


def test_the_log_of_others_is_left_alone() -> None:
    """Afterwards the logger is as it was, and what others log was never touched."""
    before = logging.getLogger("engine").handlers[:]
    assert lines(lambda: logging.getLogger("other").warning("x")) == []
    assert logging.getLogger("engine").handlers == before
