"""What a terminal is shown: a name that comes with an event is text, whatever it is made of."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

from engine.cli.terminal import tame

HOSTILE = "ev\x1b[2J\x1b]0;title\x07il\u202e\x9b31m"


def test_tame_keeps_what_is_text() -> None:
    """Line breaks, tabs, Chinese, emoji, Hebrew and our own colours pass; JSON reads the rest back as it was."""
    plain = "a\tb\n中文 👨\u200d👩\u200d👧 שלום \x1b[1;31merror\x1b[0m"
    assert tame(plain) == plain
    shown = tame(json.dumps({"user": HOSTILE}, ensure_ascii=False))
    assert not set(shown) & set("\x1b\x07\x9b\u202e")
    assert json.loads(shown) == {"user": HOSTILE}


def _on_a_terminal(*words: str, cwd: Path) -> str:
    """What the verb writes to a terminal."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen([sys.executable, "-m", "engine", *words], cwd=cwd, stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = b""
    try:
        while piece := os.read(ours, 65536):
            said += piece
    except OSError:
        pass  # EIO is how a terminal says that nobody writes to it any more
    os.close(ours)
    assert child.wait(60) == 0
    return said.decode("utf-8")


def test_a_hostile_name_commands_no_terminal(tmp_path: Path) -> None:
    """The id of a user that holds escape sequences is shown by ``users list`` and rings, clears and turns nothing."""
    (tmp_path / "drumbeat.yaml").write_text("program: p\nfeeds: [{file: e.jsonl}]\n")
    event = {"id": "1", "type": "user.signup", "user": HOSTILE, "time": "2026-03-01T00:00:00Z", "data": {}}
    (tmp_path / "e.jsonl").write_text(json.dumps(event) + "\n")
    _on_a_terminal("run", "--until-idle", cwd=tmp_path)
    said = _on_a_terminal("users", "list", cwd=tmp_path)
    assert "ev\\u001b[2J\\u001b]0;title\\u0007il\\u202e\\u009b31m" in said
    assert not set(said) & set("\x1b\x07\x9b\u202e")
