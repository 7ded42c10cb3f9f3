"""``map:``: payloads of other systems become events, strictly, to the last digit; the examples of the manual run."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.cli.main import run
from engine.core.instants import parse_instant
from engine.core.model import Event
from engine.door import MAX_EVENT, MAX_KEYS, read_event
from engine.errors import EventRejected, UsageError
from engine.feeds.mapping import SHAPE, PayloadMap
from engine.feeds.receiving import read_record
from engine.language.compile import compile_program

PAGE = Path(__file__).resolve().parents[2] / "docs" / "feeds.md"
PLAIN = {"id": "n", "type": "what", "user": "who", "time": "at"}


def made(setting: dict[str, Any], payload: bytes | dict[str, Any]) -> Event:
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return read_event(PayloadMap.of(setting).event_bytes(raw))


def refused(setting: dict[str, Any], payload: bytes | dict[str, Any]) -> EventRejected:
    with pytest.raises(EventRejected) as caught:
        made(setting, payload)
    return caught.value


# ---------------------------------------------------------------- the manual


def example(title: str) -> tuple[dict[str, Any], bytes]:
    """The setting and the payload below a heading of the manual."""
    section = PAGE.read_text(encoding="utf-8").partition(f"\n### {title}\n")[2].partition("\n### ")[0]
    (setting,) = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    (payload,) = re.findall(r"```json\n(.*?)```", section, re.DOTALL)
    (feed,) = yaml.safe_load(setting)["feeds"]
    (fields,) = feed.values()
    return fields["map"], payload.encode()


def test_segment() -> None:
    """Semantics: event.id-from-fields — a Segment ``track`` or ``identify`` comes in by ``map`` alone."""
    setting, payload = example("Segment")
    event = made(setting, payload)
    assert (event.id, event.type, event.user) == ("ajs-1f0", "order.paid", "u1")
    assert event.time == parse_instant("2026-03-01T08:00:00.123Z")
    assert event.data == {"order_id": "o-7", "total": Decimal("19.90")}
    call = {"type": "identify", "messageId": "m2", "userId": None, "anonymousId": "a9", "traits": {"city": "Bo"}}
    event = made(setting, {**call, "timestamp": "2026-03-01T08:00:00Z"})
    assert (event.type, event.user, event.data) == ("user.updated", "a9", {"city": "Bo"})
    event = made(setting, {**call, "type": "page", "timestamp": "2026-03-01T08:00:00Z"})
    assert event.type == "page"


def test_shopify() -> None:
    """Semantics: event.id-from-fields — a Shopify webhook comes in by ``map`` alone; large ids keep every digit."""
    setting, payload = example("Shopify")
    event = made(setting, payload)
    assert (event.id, event.type) == ("shopify/orders-paid/820982911946154508", "order.paid")
    assert (event.user, event.time) == ("115310627314723954", parse_instant("2026-03-01T13:00:00Z"))
    assert event.data["line_items"] == [{"sku": "TEA-1", "quantity": 1}]
    assert event.data["id"] == 820982911946154508


def test_wecom() -> None:
    """Semantics: event.id-from-fields — a WeCom callback comes in by ``map`` alone: joined id and type, seconds."""
    setting, payload = example("WeCom")
    event = made(setting, payload)
    joined = "change_external_contact|add_external_contact|woAJ2GCAAA|zhangsan|1772352000"
    assert (event.id, event.type, event.user) == ("wecom/" + joined, "contact.added", "woAJ2GCAAA")
    assert event.time == parse_instant("2026-03-01T08:00:00Z")
    assert event.data == {"ToUserName": "ww1", "FromUserName": "sys", "MsgType": "event", "State": "poster-3"}


def test_every_key_is_in_the_manual() -> None:
    """Each key of ``map`` stands on the page."""
    text = PAGE.read_text(encoding="utf-8")
    assert [key for key in SHAPE.fields if f"`{key}" not in text] == []


# ---------------------------------------------------------------- paths


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("a.b", "x"),
        ("a.c.1.d", "y"),
        ("a\\.b", "z"),
        ("none | a.b", "x"),
        ("null | empty | a.b", "x"),
        ("a.c.0", "7"),
        ("käse", "w"),
    ],
)
def test_paths(path: str, wanted: str) -> None:
    """Keys, places in lists, dots inside keys, and the first of several that is there."""
    payload = {"a": {"b": "x", "c": [7, {"d": "y"}]}, "a.b": "z", "null": None, "empty": "", "käse": "w"}
    event = made({**PLAIN, "user": path}, {**payload, "n": "1", "what": "t", "at": "2026-03-01T08:00:00Z"})
    assert event.user == wanted


@pytest.mark.parametrize("path", ["", "a..b", ".a", "a.", "a |", "a\\"])
def test_no_path(path: str) -> None:
    """What is no path is said when the feed is opened."""
    with pytest.raises(UsageError, match="no path"):
        PayloadMap.of({**PLAIN, "user": path})


@pytest.mark.parametrize(
    "change",
    [{"type_is": "x"}, {"type": None}, {"user": None}, {"id": None}, {"time_unit": "h"}, {"usr": "x"}],
)
def test_setting(change: dict[str, Any]) -> None:
    """A mapping that cannot hold is refused when the feed is opened, with what it needs."""
    setting = {key: value for key, value in {**PLAIN, **change}.items() if value is not None}
    with pytest.raises(UsageError, match="map"):
        PayloadMap.of(setting)


# ---------------------------------------------------------------- refusals

GOOD = {"n": "1", "what": "t", "who": "u", "at": "2026-03-01T08:00:00Z"}


@pytest.mark.parametrize("missing", list(GOOD))
@pytest.mark.parametrize("value", [None, "", "gone"])
def test_a_field_is_missing(missing: str, value: str | None) -> None:
    """A payload without a field that is named is refused with that name; nothing is guessed."""
    payload = {key: it for key, it in GOOD.items() if key != missing}
    if value != "gone":
        payload[missing] = value  # type: ignore[assignment]
    error = refused(PLAIN, payload)
    assert error.reason == "unmapped"
    assert f"'{missing}'" in error.message
    assert f"map.{next(key for key, path in PLAIN.items() if path == missing)}" in error.message


@pytest.mark.parametrize("value", [True, 1.5, [1], {"a": 1}])
def test_no_word(value: object) -> None:
    """An id, type or user that is neither text nor a whole number is refused."""
    for field in ("n", "what", "who"):
        assert refused(PLAIN, {**GOOD, field: value}).reason == "unmapped"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b'{"n":"1","n":"2","what":"t","who":"u","at":"2026-03-01T08:00:00Z"}', "duplicate_key"),
        (b'{"n":"1","what":"t","who":"u","at":"2026-03-01T08:00:00Z","x":{"y":1,"y":2}}', "duplicate_key"),
        (b'{"n":NaN}', "nan"),
        (b'{"n":"\\ud800"}', "surrogate"),
        (b'{"n":"\\u0000"}', "nul"),
        (b'{"n":"\xff"}', "utf8"),
        (b"[" * 40 + b"]" * 40, "depth"),
        (b'{"n":1e999}', "number"),
        (b"[]", "not_object"),
        (b"{", "json"),
        (b" " * (MAX_EVENT + 1), "oversize"),
        (json.dumps({str(n): n for n in range(MAX_KEYS + 1)}).encode(), "keys"),
        (b'{"n":"1","what":"t","who":"u","at":"2026-03-01T08:00:00"}', "naive_time"),
        (b'{"n":"1","what":"t","who":"u","at":5}', "time"),
        (b'{"n":"' + b"i" * 600 + b'","what":"t","who":"u","at":"2026-03-01T08:00:00Z"}', "id"),
    ],
)
def test_as_strict_as_the_door(raw: bytes, reason: str) -> None:
    """Semantics: door.strict — a payload is read by the rules of the door, and so is the event made of it."""
    assert refused(PLAIN, raw).reason == reason
    record = read_record("f", raw, PayloadMap.of(PLAIN))
    assert (record.event, record.reason, record.raw) == (None, reason, raw)


# ---------------------------------------------------------------- times and numbers


@pytest.mark.parametrize(
    ("unit", "value", "wanted"),
    [
        ("s", "1772352000", "2026-03-01T08:00:00Z"),
        ("s", '"1772352000"', "2026-03-01T08:00:00Z"),
        ("s", "1772352000.123456", "2026-03-01T08:00:00.123456Z"),
        ("s", "1772352000.1234569", "2026-03-01T08:00:00.123456Z"),
        ("ms", "1772352000123", "2026-03-01T08:00:00.123Z"),
        ("us", "1772352000123456", "2026-03-01T08:00:00.123456Z"),
        ("ms", '"1772352000123.5"', "2026-03-01T08:00:00.1235Z"),
    ],
)
def test_epoch(unit: str, value: str, wanted: str) -> None:
    """Numbers since 1970 are exact in each unit; what lies below a microsecond is cut off."""
    raw = f'{{"n":"1","what":"t","who":"u","at":{value}}}'.encode()
    assert made({**PLAIN, "time_unit": unit}, raw).time == parse_instant(wanted)


@pytest.mark.parametrize(("unit", "value"), [("s", "1772352000123"), ("ms", "true"), ("s", '"x"'), ("us", "[]")])
def test_no_epoch(unit: str, value: str) -> None:
    """A wrong unit, or no number, is refused and not taken for a time."""
    raw = f'{{"n":"1","what":"t","who":"u","at":{value}}}'.encode()
    assert refused({**PLAIN, "time_unit": unit}, raw).reason == "time"


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.text(st.characters(exclude_categories=["Cs"]))
    | st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9, places=7),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcé\"\\", max_size=4), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


def write(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{write(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(write, value)) + "]"
    return str(value) if isinstance(value, Decimal) else json.dumps(value)


@given(st.dictionaries(st.sampled_from(["a", "b", "c", "d e", "ü"]), values))
@settings(max_examples=300, deadline=None)
def test_data_is_what_came(data: dict[str, Any]) -> None:
    """Semantics: event.data — what a payload holds beside the mapped fields is the data, to the last digit."""
    rest = ",".join(f"{json.dumps(key)}:{write(value)}" for key, value in data.items())
    mapped = '{"n":"1","what":"t","who":"u","at":"2026-03-01T08:00:00Z"' + (f",{rest}}}" if rest else "}")
    direct = f'{{"id":"1","type":"t","user":"u","time":"2026-03-01T08:00:00Z","data":{{{rest}}}}}'

    def seen(event: Callable[[], Event]) -> object:
        try:
            found = event()
        except EventRejected as error:
            return error.reason
        return found, repr(found.data)  # 1.0 and 1.00 are equal, and not the same

    assert seen(lambda: made(PLAIN, mapped.encode())) == seen(lambda: read_event(direct.encode()))


@given(st.lists(st.text("a|\\", min_size=1, max_size=4), min_size=2, max_size=2), st.data())
@settings(max_examples=200, deadline=None)
def test_joined_ids_differ(parts: list[str], more: st.DataObject) -> None:
    """Different parts never give one id."""
    others = more.draw(st.lists(st.text("a|\\", min_size=1, max_size=4), min_size=2, max_size=2))
    setting = {**PLAIN, "id": ["n", "m"]}

    def id_of(pair: list[str]) -> str:
        return made(setting, {**GOOD, "n": pair[0], "m": pair[1]}).id

    assert (id_of(parts) == id_of(others)) == (parts == others)


def test_own_id() -> None:
    """Semantics: event.missing-id — only a feed that says so gives an id to a record without one."""
    setting = {key: value for key, value in PLAIN.items() if key != "id"}
    mapping = PayloadMap.of(setting, id_needed=False)
    raw = json.dumps({key: value for key, value in GOOD.items() if key != "n"}).encode()
    record = read_record("f", raw, mapping, "stream/1-0")
    assert record.event is not None
    assert record.event.id == "stream/1-0"
    assert read_record("f", raw, mapping).reason == "no_id"


@pytest.mark.parametrize(
    ("feed", "words"),
    [
        ("{file: {path: a.jsonl, map: {id: a, type: t, time: at}}}", "one of user and group"),
        ("{stdin: {map: {type: t, user: u}}}", "id is required"),
        ("{nats: {url: x, stream: S, map: {id: a, type: t, user: u..v}}}", "no path"),
        ("{file: {path: a.csv, csv: {time: t}}}", "csv mapping"),
    ],
)
def test_validate_says_it(tmp_path: Path, feed: str, words: str) -> None:
    """A mapping that cannot hold is an error of ``validate``, not of the daemon."""
    (tmp_path / "drumbeat.yaml").write_text(f"program: p\nfeeds:\n  - {feed}\n", encoding="utf-8")
    found = compile_program(tmp_path)
    (said,) = [problem for problem in found.problems if problem.severity == "error"]
    assert (said.line, said.code) == (3, "wrong-value")
    assert words in said.message


def test_an_entry_may_name_itself(tmp_path: Path) -> None:
    """A Redis feed with ``id: entry`` needs no id in its mapping."""
    feed = "{redis: {url: x, stream: s, id: entry, map: {type: t, user: u}}}"
    (tmp_path / "drumbeat.yaml").write_text(f"program: p\nfeeds: [{feed}]\n", encoding="utf-8")
    assert not [problem for problem in compile_program(tmp_path).problems if problem.severity == "error"]


def test_run_and_retry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """``run`` reads payloads by ``map``; what was refused comes in by ``quarantine retry`` once the map is mended."""
    monkeypatch.chdir(tmp_path)
    program = "program: p\nfeeds: [{file: {path: in/*.jsonl, map: {id: n, type: what, user: %s, time: at}}}]\n"
    (tmp_path / "drumbeat.yaml").write_text(program % "who", encoding="utf-8")
    (tmp_path / "in").mkdir()
    lines = [GOOD, {**GOOD, "n": "2", "who": None, "whom": "v"}]
    (tmp_path / "in" / "a.jsonl").write_text("".join(json.dumps(it) + "\n" for it in lines), encoding="utf-8")

    def call(*words: str) -> dict[str, Any]:
        run([*words, "--format", "json"])
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    done = call("run", "--until-idle")
    assert (done["events"]["accepted"], done["events"]["reasons"]) == (1, {"unmapped": 1})
    assert call("quarantine", "retry", "1")["quarantined"] == 1
    (tmp_path / "drumbeat.yaml").write_text(program % "who | whom", encoding="utf-8")
    assert call("quarantine", "retry", "--reason", "unmapped")["accepted"] == 1
    assert call("run", "--until-idle")["events"]["accepted"] == 1


def test_simulated_payloads_are_not_events(tmp_path: Path) -> None:
    """Semantics: event.refused — without ``map`` a payload is refused by its first unknown key, not read halfway."""
    assert read_record("f", json.dumps(GOOD).encode()).reason == "unknown_key"
