"""Every registered word is whole, no module is forgotten, and a newcomer can add a word by one file and one line."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from meta_harness import ROOT, codes, compiled, files_of, step, write_program

from engine.actions import ACTIONS
from engine.channels import CHANNELS
from engine.cli.main import run
from engine.core.kinds import Action, Trigger
from engine.core.shapes import Map, Shape
from engine.feeds import FEEDS
from engine.language.reference import manual
from engine.ports import Channel, Feed, Store
from engine.registry import Registry
from engine.stores import STORES
from engine.triggers import TRIGGERS

KINDS: list[tuple[Registry[Any], type[Any]]] = [(TRIGGERS, Trigger), (ACTIONS, Action)]
PORTS: list[tuple[Registry[Any], type[Any]]] = [(CHANNELS, Channel), (FEEDS, Feed), (STORES, Store)]
KIND_WORDS = [pytest.param(registry, base, word, id=word) for registry, base in KINDS for word in registry]
PORT_WORDS = [pytest.param(registry, port, word, id=word) for registry, port in PORTS for word in registry]

FOLDERS: dict[str, Registry[Any]] = {
    "triggers": TRIGGERS, "actions": ACTIONS, "channels": CHANNELS, "feeds": FEEDS, "stores": STORES,
}  # fmt: skip
HELPERS = {
    "channels/guard": "where requests may go, for channels over the network",
    "channels/mail": "a message as a mail, for smtp",
    "channels/network": "keys and masking of channels over the network",
    "channels/pace": "rate, concurrency and tries of a channel",
    "channels/plaintext": "HTML as text, for mails",
    "channels/replies": "what a reply over HTTP means",
    "channels/signing": "Standard Webhooks, for webhook",
    "channels/wire": "one request under a deadline",
    "feeds/around": "what a broker keeps beside a payload, put where map: can name it",
    "feeds/inhand": "records fetched and not committed, used by the feeds that listen to somebody",
    "feeds/kafka_client": "how the Kafka library is set up, used by kafka",
    "feeds/mapping": "map: of every feed, payloads made into events",
    "feeds/receipts": "receipts: of every channel, reports of providers read as feeds read payloads",
    "feeds/receiving": "what the feeds that listen to somebody have in common",
    "feeds/partition": "one partition of a topic as a feed, used by kafka",
    "feeds/tail": "files followed while they grow, used by files in the daemon",
    "feeds/trail": "which files a followed name has stood for, used by tail",
    "feeds/replay": "files read whole and put in order, for simulate",
    "feeds/ordering": "records of files in order, with bounded memory",
    "feeds/layouts": "what makes events of the files a verb is given",
    "feeds/columns": "Parquet: rows that become JSON",
    "feeds/table": "rows of CSV files, used by files",
    "stores/erasing": "what an erasure leaves, used by the stores",
    "stores/exporting": "a store of any kind as a file",
    "stores/lake": "the tables of a report, thrown away afterwards",
    "stores/codec": "states to bytes and back, used by the stores",
    "stores/memory_coupons": "coupons of the memory store",
    "stores/memory_forgetting": "retention of the memory store",
    "stores/memory_outbox": "the outbox of the memory store",
    "stores/moving": "a whole store as records",
    "stores/places": "where a store is, before it is opened",
    "stores/relocating": "moving a store into another",
    "stores/sealing": "coupon codes at rest, used by the stores",
    "stores/tally": "counters, used by the stores",
    "stores/wakes": "the index of wake-ups of the memory store",
    "stores/wirefile": "what was begun to be sent, noted beside a store",
}
"""Modules beside the words, each with its excuse."""
FILE_OF = {("feed", "file"): "files", ("store", "postgresql"): "postgres"}
"""Words whose file is not named like them: one module reads all kinds of files, and a word of an address is its own."""


@pytest.mark.parametrize(("registry", "base", "word"), KIND_WORDS)
def test_kind(registry: Registry[Any], base: type[Any], word: str) -> None:
    """A kind is a class of its family that knows its word, has a shape and one-line notes, in a file of that name."""
    kind = registry.get(word)
    assert issubclass(kind, base)
    assert not inspect.isabstract(kind)
    assert kind.word == word
    assert kind.__module__.rpartition(".")[2] == word
    assert isinstance(kind.shape, Shape)
    if base is Trigger:
        assert isinstance(kind.shape, Map)
        assert word in kind.shape.fields
    text, example = manual(kind)
    assert text, "the docstring is the manual page"
    assert example, "the docstring has no 'Example:'"


@pytest.mark.parametrize(("registry", "base", "word"), KIND_WORDS)
def test_example_loads(registry: Registry[Any], base: type[Any], word: str, tmp_path: Path) -> None:
    """The example of a docstring uses its word and compiles without any remark."""
    _, example = manual(registry.get(word))
    assert re.search(rf"\b{word}:", example)
    found = compiled(tmp_path, example if base is Trigger else step(example))
    assert found.plan is not None, [str(problem) for problem in found.problems]
    assert codes(found) == ({"unconfirmed"} if word == "redeem" else set())  # what confirms it is another step


@pytest.mark.parametrize(("registry", "port", "word"), PORT_WORDS)
def test_adapter(registry: Registry[Any], port: type[Any], word: str) -> None:
    """An adapter has every method of its port, a docstring, and a file named for its word."""
    kind = registry.get(word)
    wanted = {name for name, it in vars(port).items() if inspect.isfunction(it) and not name.startswith("_")}
    assert wanted
    assert not {name for name in wanted if not callable(getattr(kind, name, None))}
    assert kind.__module__.rpartition(".")[2] == FILE_OF.get((registry.family, word), word)
    assert inspect.getdoc(kind)


@pytest.mark.parametrize("word", list(CHANNELS))
def test_channel_example_loads(word: str, tmp_path: Path) -> None:
    """The example of a channel's docstring is a valid entry of ``channels:``."""
    _, entry = manual(CHANNELS.get(word))
    assert f"via: {word}" in entry
    found = compiled(tmp_path, "channels:\n  " + entry.replace("\n", "\n  ") + "\n")
    assert found.plan is not None, [str(problem) for problem in found.problems]


@pytest.mark.parametrize("word", list(FEEDS))
def test_feed_example_loads(word: str, tmp_path: Path) -> None:
    """The example of a feed's docstring is a valid entry of ``feeds:``."""
    _, entry = manual(FEEDS.get(word))
    assert re.search(rf"^- \{{?{word}:", entry, re.MULTILINE)
    found = compiled(tmp_path, "feeds:\n  " + entry.replace("\n", "\n  ") + "\n")
    assert found.plan is not None, [str(problem) for problem in found.problems]


@pytest.mark.parametrize("folder", list(FOLDERS))
def test_no_module_is_forgotten(folder: str) -> None:
    """Whatever stands in a folder of words is in its table; the message is the line to paste."""
    registry = FOLDERS[folder]
    named = {registry.target(word).partition(":")[0].rpartition(".")[2] for word in registry}
    forgotten = []
    for path in sorted((ROOT / "engine" / folder).glob("*.py")):
        if path.stem == "__init__" or path.stem in named or f"{folder}/{path.stem}" in HELPERS:
            continue
        classes = re.findall(r"^class (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE) or ["ITS_CLASS"]
        line = f'    "{path.stem}": "engine.{folder}.{path.stem}:{classes[-1]}",'
        where = f"engine/{folder}/{path.name} is not registered; put this into engine/{folder}/__init__.py"
        forgotten.append(f"{where}:\n{line}")
    assert not forgotten, "\n".join(forgotten)


def test_excuses_are_needed() -> None:
    """A helper that is gone, or became a word, needs no excuse any more."""
    for name in HELPERS:
        assert (ROOT / "engine" / f"{name}.py").is_file(), name


@pytest.mark.parametrize("folder", ["triggers", "actions"])
def test_tables_import_nothing(folder: str) -> None:
    """A kind is imported when its word is used: the table alone loads none of them."""
    code = f"import sys, engine.{folder}; print([m for m in sys.modules if m.startswith('engine.{folder}.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


# ---------------------------------------------------------------------- the newcomer

NTH = '''
"""``nth``: something happened for the n-th time."""

from __future__ import annotations

from typing import Any

from engine.core.kinds import Build, Trigger
from engine.core.moment import Moment
from engine.core.shapes import EventName, Int, Map, required


class Nth(Trigger):
    """Fire at the n-th event of a type, once.

    Example:
        trigger: {nth: {event: order.paid, n: 3}}
    """

    word = "nth"
    shape = Map(
        {
            "nth": required(
                Map({"event": required(EventName(), "the event type"), "n": required(Int(low=1), "which one")})
            )
        }
    )

    def __init__(self, event: str, n: int, read: Any) -> None:
        self.event, self.n, self.read = event, n, read

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> "Nth":
        spec = fields["nth"]
        return cls(spec["event"], spec["n"], build.times(spec["event"], None, "", None))

    def listens(self) -> frozenset[str]:
        return frozenset({self.event})

    def fires(self, m: Moment) -> bool:
        return bool(self.read(m.state, m.time) == self.n)
'''


@pytest.fixture
def newcomer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One new file and one line, taken back after the test."""
    (tmp_path / "newcomers_nth.py").write_text(NTH, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    TRIGGERS.add("nth", "newcomers_nth:Nth")
    yield
    del TRIGGERS._table["nth"]  # there is no way to take a word back, and only a test wants one
    TRIGGERS._loaded.pop("nth", None)
    sys.modules.pop("newcomers_nth", None)


@pytest.mark.usefixtures("newcomer")
def test_newcomer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A new trigger is one file and one line: it compiles, it simulates, and schema, reference and hints know it."""
    root = write_program(tmp_path / "program", files_of("trigger: {nth: {event: order.paid, n: 3}}"))
    paid = {"type": "order.paid", "user": "u1", "data": {"amount": 5}}
    events = [{**paid, "id": f"e{day}", "time": f"2026-03-0{day}T08:00:00Z"} for day in range(1, 6)]
    feed, effects = tmp_path / "feed.jsonl", tmp_path / "effects.jsonl"
    feed.write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")
    assert run(["simulate", "--program", str(root), "--events", str(feed), "--effects", str(effects), "--quiet"]) == 0
    capsys.readouterr()
    rows = [json.loads(line) for line in effects.read_text(encoding="utf-8").splitlines()]
    assert [(row["kind"], row["time"]) for row in rows] == [("points", "2026-03-03T08:00:00Z")]

    from engine.language.jsonschema import schemas
    from engine.language.reference import pages

    assert "nth" in schemas()["playbook"]["definitions"]["trigger"]["properties"]
    assert "## nth" in pages()["triggers.md"]
    found = compiled(tmp_path / "slip", "trigger: {nht: {event: order.paid, n: 3}}")
    assert [it.hint for it in found.problems if it.code == "unknown-trigger"] == ["did you mean 'nth'?"]


def test_newcomer_is_gone(tmp_path: Path) -> None:
    """After the test above the word is unknown again."""
    assert "unknown-trigger" in codes(compiled(tmp_path, "trigger: {nth: {event: order.paid, n: 3}}"))


_SPEECHLESS = frozenset({"choose", "signup", "split", "stop"})
"""Words that say all there is to say, or are told by their ways alone."""


@pytest.mark.parametrize(("registry", "base", "word"), KIND_WORDS)
def test_picture(registry: Registry[Any], base: type[Any], word: str, tmp_path: Path) -> None:
    """A kind says in its pictures what it is about: a trigger its sources, an action where it goes on."""
    _, example = manual(registry.get(word))
    plan = compiled(tmp_path, example if base is Trigger else step(example)).plan
    assert plan is not None
    if base is Trigger:
        triggers = [it for playbook in plan.playbooks for it in playbook.triggers if it.word == word]
        assert triggers
        assert all(it.gist() for it in triggers if word not in _SPEECHLESS)
        assert all(type_ and about != "" for it in triggers for type_, about in it.sources())
        assert all(list(it.sources()) for it in triggers)
        return
    nodes = [it for playbook in plan.playbooks for it in playbook.nodes.values() if it.action.word == word]
    assert nodes
    assert all(it.action.gist() for it in nodes if word not in _SPEECHLESS)
    assert all(list(it.action.ways()) for it in nodes)
    assert {id(block) for it in nodes for block in it.action.blocks()} <= {
        id(target) for it in nodes for _, target in it.action.ways()
    }
