"""The verbs over a store in PostgreSQL: as over a file, beside a daemon, and without a word of the password."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import postgres_server
import pytest
from feed_servers import eventually

from engine.stores.sql.postgres_place import place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from conftest import Drumbeat, Make

CANARY = "canary-4711"

PROGRAM = """\
program: tea
timezone: Asia/Shanghai
profile: {city: text | none}
store: postgresql://drumbeat:${STORE_PASSWORD}@/postgres?host=${STORE_HOST}&schema=%s
feeds: [{file: feed/*.jsonl}]
channels: {box: {via: file, path: out/box.jsonl}}
policies: {default: {consent: {marketing: none, service: none}, quiet_hours: never}}
"""


@pytest.fixture
def root(make: Make, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program whose store is a schema that does not exist yet."""
    url = postgres_server.server().schema()
    monkeypatch.setenv("STORE_PASSWORD", CANARY)
    monkeypatch.setenv("STORE_HOST", str(postgres_server.server().folder))
    found = make({"drumbeat.yaml": PROGRAM % place(url).schema})
    (found / "feed").mkdir()
    (found / "feed" / "a.jsonl").write_text("".join(order(n) for n in (1, 2, 3)), encoding="utf-8")
    return found


def order(n: int, time: str = "") -> str:
    """An order of the user of that number."""
    time = time or f"2026-03-0{n}T01:00:00Z"
    return json.dumps({"id": f"e{n}", "type": "order.paid", "user": f"u{n}", "time": time}) + "\n"


def test_verbs(root: Path, drumbeat: Drumbeat) -> None:
    """Everything that reads a store or changes it does so over PostgreSQL, and nothing shows the password."""
    at = ("--program", root)
    missing = drumbeat("why", "--user", "u1", *at)
    assert missing.code == 3, missing
    assert "there is no store" in missing.err
    assert drumbeat("validate", *at).code == 0
    said = drumbeat("run", "--until-idle", *at)
    assert said.code == 0, said.err
    again = drumbeat("run", "--until-idle", *at)
    assert "nothing new" in again.out
    (root / "more.jsonl").write_text(order(4) + "{}\n", encoding="utf-8")
    heard = []
    for words, expected in (
        (("ingest", root / "more.jsonl"), "1 accepted"),
        (("quarantine", "list"), "more.jsonl"),
        (("run", "--until-idle"), "1 accepted of 1 read"),
        (("why", "--user", "u1"), "thanks"),
        (("user", "u1"), "u1"),
        (("users", "list"), "u3"),
        (("audience", "user.city is none"), "4"),
        (("outbox", "list"), ""),
        (("report",), "thanks"),
        (("graph", "thanks"), "thanks"),
        (("fsck",), ""),
        (("doctor",), "4 users"),
    ):
        said = drumbeat(*words, *at)
        heard.append(said)
        assert said.code == 0, (words, said)
        assert expected in said.out + said.err, (words, said)
    assert (root / "out" / "box.jsonl").read_text(encoding="utf-8").count("\n") == 4
    assert not any(CANARY in it.out + it.err for it in (missing, again, *heard))
    assert not any(CANARY.encode() in path.read_bytes() for path in root.rglob("*") if path.is_file())


def test_a_daemon_and_verbs_beside_it(root: Path, drumbeat: Drumbeat, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A daemon decides what verbs of its folder and those of other machines take in; a second one is refused,
    or stands by and goes on where the first was killed.

    Semantics: store.one-writer
    Failure: two.daemons — over PostgreSQL
    """
    at = ("--program", root)
    box, now = root / "out" / "box.jsonl", datetime.now(UTC).isoformat()
    (root / "feed" / "a.jsonl").write_text("".join(order(n, now) for n in (1, 2, 3)), encoding="utf-8")
    daemon = subprocess.Popen([sys.executable, "-m", "engine", "run", "--quiet", "--program", str(root)])
    daemons: list[subprocess.Popen[Any]] = [daemon]

    def sent(n: int) -> bool:
        assert daemon.poll() is None
        return box.exists() and box.read_bytes().count(b"\n") == n

    try:
        eventually(lambda: sent(3), "the feed is decided and sent")
        (root / "more.jsonl").write_text(order(4, now), encoding="utf-8")
        assert drumbeat("ingest", root / "more.jsonl", *at).code == 0
        eventually(lambda: sent(4), "what a verb of this folder took in is decided")
        elsewhere = tmp_path_factory.mktemp("elsewhere")  # another folder, as another machine has it
        for path in root.rglob("*"):
            if path.is_file() and path.suffix in (".yaml", ".j2"):
                copy = elsewhere / path.relative_to(root)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(path.read_bytes())
        (elsewhere / "other.jsonl").write_text(order(5, now), encoding="utf-8")
        assert drumbeat("ingest", elsewhere / "other.jsonl", "--program", elsewhere).code == 0
        eventually(lambda: sent(5), "what another machine took in is decided")
        refused = drumbeat("run", "--until-idle", "--program", elsewhere)
        assert refused.code == 3
        assert f"process {daemon.pid} on " in refused.err
        assert drumbeat("fsck", *at).code == 0
        words = [sys.executable, "-m", "engine", "run", "--standby", "--program", str(elsewhere)]
        second = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        daemons.append(second)
        assert second.stderr is not None
        assert f"process {daemon.pid} on " in second.stderr.readline()
        daemon.kill()
        (elsewhere / "late.jsonl").write_text(order(6, now), encoding="utf-8")
        assert drumbeat("ingest", elsewhere / "late.jsonl", "--program", elsewhere).code == 0
        other = elsewhere / "out" / "box.jsonl"
        eventually(lambda: other.exists() and other.read_bytes().count(b"\n") == 1, "the second goes on")
        second.send_signal(signal.SIGTERM)
        second.communicate(timeout=60)
        assert second.returncode == 0
    finally:
        for it in daemons:
            it.kill()
            it.communicate()
