"""The command line in this process, and small programs for it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from engine.cli.main import run

HERE = str(Path(__file__).resolve().parent)
if HERE not in sys.path:  # helpers are imported by plain name
    sys.path.insert(0, HERE)

# the kit of stores
CONTRACTS = str(Path(__file__).resolve().parent.parent / "contracts")
if CONTRACTS not in sys.path:
    sys.path.append(CONTRACTS)

FILES = {
    "drumbeat.yaml": (
        "program: tea\ntimezone: Asia/Shanghai\nprofile: {city: text | none}\n"
        "channels: {box: {via: file, path: out/box.jsonl}}\n"
        "policies: {default: {consent: {marketing: none}, quiet_hours: never}}\n"
    ),
    "playbooks/thanks.yaml": (
        "playbook: thanks\ntitle: 谢谢\nowner: tea@shop.example\ntrigger: {event: order.paid}\n"
        "entry: {mode: parallel, limit: unlimited}\n"
        "steps:\n  - message: {template: thanks, via: box, purpose: service}\n"
    ),
    "templates/thanks.box.j2": "谢谢你\n",
}

FEED = "".join(
    json.dumps({"id": f"e{n}", "type": "order.paid", "user": f"u{n}", "time": f"2026-03-0{n}T01:00:00Z"}) + "\n"
    for n in (1, 2, 3)
)


@dataclass(frozen=True)
class Said:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON object of standard output; anything else there is a fault."""
        return json.loads(self.out)


Drumbeat = Callable[..., Said]
Make = Callable[..., Path]


@pytest.fixture
def drumbeat(capsys: pytest.CaptureFixture[str]) -> Drumbeat:
    """Runs ``drumbeat WORDS`` in this process."""

    def call(*words: object) -> Said:
        capsys.readouterr()
        code = run([str(word) for word in words])
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return Said(code, out, err)

    return call


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Writes a program, some files changed or added, and a feed beside it."""

    def write(changes: Mapping[str, str] | None = None, feed: str = FEED, name: str = "tea") -> Path:
        root = tmp_path / name
        for file, text in {**FILES, "feed.jsonl": feed, **(changes or {})}.items():
            path = root / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return root

    return write
