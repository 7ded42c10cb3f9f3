"""JSON Schemas of event types: what is one, and what becomes of events that do not keep theirs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from flow_program import Wall, run, write_feed
from semantics_kit import HEAD, Row, event
from steps_kit import At, event_of, write

from engine.core.instants import format_instant
from engine.door import read_event
from engine.feeds.replay import Replay
from engine.language.compiled import Compiled
from engine.ports import Record
from engine.runtime.intake import Intake, retry
from engine.runtime.simulate import simulate
from engine.stores.memory import MemoryStore
from engine.stores.sqlite import SqliteStore

HEARS = "trigger: {event: paid}\nentry: {mode: parallel, limit: unlimited}\nsteps: [{tag: {add: [heard]}}]\n"
SCHEMA = {
    "type": "object",
    "properties": {
        "amount": {"type": "number", "minimum": 0, "multipleOf": 0.01},
        "code": {"type": "string", "pattern": "^[A-Z]{2}[0-9]+$"},
        "items": {"type": "array", "uniqueItems": True, "items": {"$ref": "#/$defs/item"}},
        "kind": {"enum": ["web", "shop"]},
        "count": {"type": "integer"},
    },
    "required": ["amount"],
    "additionalProperties": False,
    "$defs": {"item": {"type": "object", "required": ["sku"]}},
}


def program(root: Path, schema: Any = None, *, file: bool = False, head: str = HEAD) -> Compiled:
    """A program with the schema, in the catalog or in a file of its own."""
    text = json.dumps(SCHEMA if schema is None else schema)
    if file:
        (root / "schemas").mkdir(parents=True, exist_ok=True)
        (root / "schemas" / "paid.json").write_text(text, encoding="utf-8")
    catalog = f"event_schemas:\n  paid: {'schemas/paid.json' if file else text}\n"
    return write(root, {"p": HEARS}, catalog=catalog, head=head + "feeds: [{file: feed/*.jsonl}]\n")


def paid(id_: str, data: Mapping[str, Any], hour: int = 1, type_: str = "paid") -> Row:
    return event(id_, type_, f"2026-03-01T{hour:02d}:00:00Z", **data)


GOOD: list[dict[str, Any]] = [
    {"amount": 1},
    {"amount": 0.07, "code": "AB1", "kind": "shop", "count": 3},
    {"amount": 10, "items": [{"sku": 1}, {"sku": True}, {"sku": "1"}], "count": 2.0},
]
BAD: list[tuple[Any, str]] = [
    ({}, "'data.amount' is missing"),
    ({"amount": "1"}, "'data.amount' must be a number"),
    ({"amount": -1}, "'data.amount' must be at least 0"),
    ({"amount": 0.001}, "'data.amount' must be a multiple of 0.01"),
    ({"amount": 1, "code": "x"}, "'data.code' must fit the pattern ^[A-Z]{2}[0-9]+$"),
    ({"amount": 1, "kind": "app"}, "'data.kind' must be one of web, shop"),
    ({"amount": 1, "count": 1.5}, "'data.count' must be a whole number"),
    ({"amount": 1, "count": True}, "'data.count' must be a whole number"),
    ({"amount": 1, "items": [{"sku": 1}, {"sku": 1.0}]}, "'data.items' holds an entry twice"),
    ({"amount": 1, "items": [{}]}, "'data.items[0].sku' is missing"),
    ({"amount": 1, "other": 5}, "'data' has a field 'other' too many"),
]


@pytest.mark.parametrize("file", [False, True])
def test_what_a_schema_says_of_an_event(tmp_path: Path, file: bool) -> None:
    """The sentence names the field, and never shows the value; numbers are exact.

    Semantics: event.schema, event.numbers
    """
    types = program(tmp_path, file=file).known_types
    assert types is not None
    for data in GOOD:
        assert types.refusal(event_of(paid("1", data))) is None
    for data, wrong in BAD:
        assert types.refusal(event_of(paid("1", data))) == ("schema", f"the schema of 'paid' is not kept: {wrong}")
        assert types.refusal(event_of(paid("1", data, type_="other"))) is None


def rows() -> list[Row]:
    """Good ones and bad ones, an id that a bad one had before and one that a good one had, out of order at the end."""
    found = [paid(f"b{n}", data, n) for n, (data, _) in enumerate(BAD)]
    found += [paid("b0", GOOD[0], 12), paid("g1", GOOD[1], 13), paid("g1", {}, 14), paid("x", {"z": 1}, 15, "other")]
    return [*found, paid("g2", GOOD[2], 16), paid("g2", GOOD[2], 17), paid("early", GOOD[0], 13), paid("end", {}, 20)]


def write_rows(root: Path) -> Path:
    return write_feed(root, b"".join(json.dumps(row).encode() + b"\n" for row in rows()))


HEARD = ["01T12", "01T13", "01T13", "01T16"]


@pytest.mark.parametrize("batch", [1, 500])
def test_run_quarantines_what_does_not_keep_it(tmp_path: Path, batch: int) -> None:
    """A record that does not keep the schema goes to quarantine with its reason and its bytes, and claims no id.

    Semantics: event.schema, event.bad-record, event.quarantine-id
    """
    found = program(tmp_path)
    write_rows(tmp_path)
    done = run(found, tmp_path, batch=batch, wall=Wall())
    assert (done.quarantined, dict(done.reasons), done.duplicate) == (13, {"schema": 13}, 1)
    store = SqliteStore.open(tmp_path / "s.db", read_only=True)
    kept = list(store.quarantine())
    heard = [format_instant(it.time)[8:13] for it, _ in store.effects() if it.kind == "tag"]
    store.close()
    assert [it.message.partition(": ")[2] for it in kept][: len(BAD)] == [wrong for _, wrong in BAD]
    assert json.loads(kept[0].raw) == rows()[0]
    assert sorted(heard) == [*HEARD[:2], "01T16", "01T16"]  # what comes late acts when it comes


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("until", [None, 2_000_000_000_000_000])
def test_simulate_does_the_same(tmp_path: Path, early: bool, until: int | None) -> None:
    """`simulate` leaves out the same records, read in hope or the careful way, and they claim no id there either.

    Semantics: event.schema, event.quarantine-id, order.paths
    """
    found = program(tmp_path)
    feed = write_rows(tmp_path)
    if not early:  # in order, so that the hope holds
        lines = [line for line in feed.read_bytes().splitlines(keepends=True) if b'"early"' not in line]
        lines = [line for line in lines if line.count(b'"g') == 0 or b"T17" not in line]
        feed.write_bytes(b"".join(lines))
    replay, store = Replay([feed], until, types=found.known_types), MemoryStore()
    assert found.plan is not None
    outcome = simulate(found.plan, replay, store, until=until, known_types=found.known_types)
    assert outcome.events["reasons"] == {"schema": 13}
    heard = [format_instant(it.time)[8:13] for it, _ in store.effects() if it.kind == "tag"]
    assert sorted(heard) == (HEARD if early else sorted(HEARD[:2] + HEARD[3:]))
    clock = replay.end
    assert clock is not None
    assert format_instant(clock).startswith("2026-03-01T16")  # nothing that was refused, and no copy, moves the clock


def test_ingest_and_the_verb_that_takes_it_in_after_all(tmp_path: Path) -> None:
    """`ingest` asks too; what waits in quarantine stays there until it keeps the schema there is by then.

    Semantics: event.schema, event.quarantine-verbs
    """
    strict = program(tmp_path / "strict").known_types
    mild = program(tmp_path / "mild", {"required": ["amount"]}).known_types
    store = MemoryStore()
    intake = Intake(store, At(), known_types=strict)
    raws = [json.dumps(paid(f"b{n}", data)).encode() for n, (data, _) in enumerate(BAD)]
    intake.take(Record("f", n, raw, read_event(raw)) for n, raw in enumerate(raws))
    assert (intake.taken.accepted, dict(intake.taken.reasons)) == (0, {"schema": len(BAD)})
    numbers = [it.number for it in store.quarantine()]
    assert retry(store, numbers, read_event, At().now(), strict)[0].accepted == 0
    taken, stay = retry(store, numbers, read_event, At().now(), mild)
    assert (taken.accepted, list(stay.values())) == (
        len(BAD) - 1,
        [("schema", "the schema of 'paid' is not kept: 'data.amount' is missing")],
    )


def test_what_the_engine_makes_is_not_asked(tmp_path: Path) -> None:
    """A step may emit an event of the type: it comes through no door."""
    found = program(tmp_path)
    made = event_of(paid("1", {}))
    made.internal = True
    assert found.known_types is not None
    assert found.known_types.refusal(made) is None


def test_without_schemas_nothing_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An open program without schemas asks no record anything, and with one the others are still read in bulk."""
    assert write(tmp_path / "none", {"p": HEARS}).known_types is None
    found = program(tmp_path)
    feed = write_feed(tmp_path, b"".join(json.dumps(paid(f"g{n}", GOOD[0])).encode() + b"\n" for n in range(50)))
    monkeypatch.setattr(Replay, "_event", None)  # the way of single records
    replay = Replay([feed], types=found.known_types)
    assert sum(map(len, replay.hopeful())) == 50


# ---------------------------------------------------------------------- what is a schema

LAST: dict[str, Any] = {"d15": {}}


def faults(found: Compiled) -> list[tuple[str, str, int]]:
    return [(it.code, it.message, it.line) for it in found.problems if it.severity == "error"]


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "numbr"}, "is not valid under any of the given schemas"),
        ({"minimum": "5"}, "is not of type 'number'"),
        ({"properties": []}, "is not of type 'object'"),
        ({"$ref": "https://example.org/schema.json"}, "nothing is fetched"),
        ({"$ref": "file:///etc/passwd"}, "nothing is fetched"),
        ({"$ref": "#/properties/a"}, "does not name a part of '$defs'"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}}, "goes round in a circle"),
        ({"$ref": "#/$defs/a%41", "$defs": {"a%41": {}}}, "does not name a part"),
        ({"$id": "https://example.org/a", "type": "object"}, "'$id' is not read"),
        ({"$dynamicRef": "#a"}, "'$dynamicRef' is not read"),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, "another draft"),
        ({"properties": {"a": {"pattern": "(a"}}}, "at character 1: this '(' is never closed"),
        ({"patternProperties": {r"(a)\1": {}}}, "is not read"),
        ({"propertyNames": {"pattern": "(?=a)"}}, "looking ahead"),
        ({"unevaluatedProperties": False}, "'unevaluatedProperties' is not read"),
        ({"$defs": {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 3} for n in range(15)} | LAST}, "10000 parts"),
    ],
)
def test_schemas_that_are_none(tmp_path: Path, schema: Any, said: str) -> None:
    """What is no schema, would fetch something, go round or keep the door busy is an error of `validate`."""
    ((code, message, line),) = faults(program(tmp_path, schema))
    assert (code, line) == ("bad-schema", 2)
    assert said in message
    assert program(tmp_path, schema).plan is None


def test_the_place_of_a_fault(tmp_path: Path) -> None:
    """The caret stands under the very word of an inline schema."""
    catalog = "event_schemas:\n  paid:\n    properties:\n      amount:\n        type: numbr\n"
    found = write(tmp_path, {"p": HEARS}, catalog=catalog)
    ((_, _, line),) = faults(found)
    assert (line, [it.col for it in found.problems if it.code == "bad-schema"]) == (5, [15])


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("../out.json", "{}", "lies outside the program's folder"),
        ("/etc/hostname", None, "lies outside the program's folder"),
        ("link.json", None, "lies outside the program's folder"),
        ("none.json", None, "there is no file"),
        ("bad.json", "{", "is no JSON at 1:2"),
        ("nan.json", '{"minimum": NaN}', "NaN is not JSON"),
        ("list.json", "[]", "it is no mapping"),
        ("deep.json", '{"not": ' * 3_000 + "{}" + "}" * 3_000, "deep"),
        ("type.json", '{"properties": {"a": {"type": "numbr"}}}', "(at properties/a/type)"),
    ],
)
def test_files_of_schemas(tmp_path: Path, name: str, content: str | None, said: str) -> None:
    """A schema in a file is read below the program's folder alone, and its faults are told."""
    root = tmp_path / "program"
    root.mkdir()
    (tmp_path / "secret.json").write_text("{}", encoding="utf-8")
    (root / "link.json").symlink_to(tmp_path / "secret.json")
    if content is not None:
        (root / name).write_text(content, encoding="utf-8")
    ((code, message, _),) = faults(write(root, {"p": HEARS}, catalog=f"event_schemas:\n  paid: {name}\n"))
    assert code == "bad-schema"
    assert said in message


def test_a_closed_program_declares_its_types(tmp_path: Path) -> None:
    """Under `closed` a schema of a type that is not declared is a slip of the pen."""
    head = HEAD + 'events: {paid: {amount: money}, "*": closed}\n'
    found = write(tmp_path, {"p": HEARS}, catalog="event_schemas:\n  piad: {}\n", head=head)
    assert [(code, line) for code, _, line in faults(found)] == [("unknown-event", 2)]
