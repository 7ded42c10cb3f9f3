"""The door: what is an event, what is refused with which reason, and that its two ways never differ.

``DRUMBEAT_RECORDS`` says how many damaged records are tried (default 60,000).
"""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import door
from engine.core.instants import parse_instant
from engine.core.model import Event
from engine.door import NoSubject, read_event, read_fast, read_slow
from engine.errors import EventRejected

TRIED = int(os.environ.get("DRUMBEAT_RECORDS", "60000"))
TIME = "2026-03-01T02:00:00Z"
BASE = {"id": "e1", "type": "order.paid", "user": "u1", "time": TIME}


def record(data: str | None = None, **other: Any) -> bytes:
    """A good record; keywords replace or (with ...) take away keys, ``data`` is JSON text as it is."""
    found = {key: value for key, value in {**BASE, **other}.items() if value is not ...}
    text = json.dumps(found, ensure_ascii=False)
    return (text if data is None else f'{text[:-1]}, "data": {data}}}').encode("utf-8", "surrogatepass")


def value(text: str) -> bytes:
    """A good record with this JSON text as a value inside data."""
    return record('{"x": ' + text + "}")


def nested(depth: int, opening: str = "[", closing: str = "]") -> bytes:
    """A record in which containers stand ``depth`` deep (record and data are two of them)."""
    return value(opening * (depth - 2) + "1" * (opening != "[") + closing * (depth - 2))


def padded(size: int) -> bytes:
    """A good record of exactly this many bytes, without a long text."""
    raw = record("{}")
    return raw[:-1] + b" " * (size - len(raw)) + raw[-1:]


GOOD: dict[str, bytes] = {
    "plain": record(),
    "data_empty": record("{}"),
    "data_null": record("null"),
    "data_flat": record('{"amount": 12.50, "n": 3, "ok": true, "none": null, "s": "x"}'),
    "data_nested": record('{"items": [{"sku": "a", "n": 1}, {"sku": "b", "n": 2}], "to": {"city": "x"}}'),
    "data_empty_key": record('{"": 1}'),
    "data_like_top": record('{"id": "x", "type": "y", "time": 1, "user": null}'),
    "same_key_in_two_objects": record('{"a": {"k": 1}, "b": {"k": 2}}'),
    "group_only": record(user=..., group="g1"),
    "group_and_user": record(group="g1"),
    "user_null_group": record(user=None, group="g1"),
    "group_null": record(group=None),
    "user_like_number": record(user="0017"),
    "user_minus_one": record(user="-1"),
    "spaces_around": b" \t\r\n" + record() + b" \r\n",
    "spaces_before_colon": record().replace(b'":', b'" :'),
    "newlines_inside": record().replace(b", ", b",\n"),
    "key_order": b'{"time":"2026-03-01T02:00:00Z","user":"u","type":"t","id":"i"}',
    "key_escaped": record().replace(b'"id"', b'"i\\u0064"'),
    "chinese": record('{"城市": "上海"}', user="用户一"),
    "chinese_escaped": record('{"\\u57ce": "\\u4e0a\\u6d77"}'),
    "emoji": record('{"x": "\U0001f600"}'),
    "emoji_escaped": value('"\\ud83d\\ude00"'),
    "hangul_escaped": value('"\\ud55c\\uae00"'),
    "escapes_all": value(r'"\"\\\/\b\f\n\r\tA"'),
    "escaped_quote": value(r'"say \"hi\""'),
    "escaped_backslash_last": value(r'"c:\\"'),
    "escaped_backslash_quote": value(r'"\\\""'),
    "text_like_key": value('"\\":"'),
    "text_colon_first": value('":"'),
    "text_with_brackets": value('"[[[[{{{{"'),
    "del_character": value('"\x7f"'),
    "u2028": value('"\u2028\u2029"'),
    "noncharacter": value('"\uffff"'),
    "unicode_highest": value('"\U0010ffff"'),
    "escape_u0001": value('"\\u0001"'),
    "number_zero": value("0"),
    "number_minus_zero": value("-0"),
    "number_minus_zero_fraction": value("-0.0"),
    "number_int_64": value("9223372036854775807"),
    "number_int_65": value("18446744073709551616"),
    "number_int_40": value("9" * 40),
    "number_int_minus_40": value("-" + "9" * 40),
    "number_fraction": value("0.1"),
    "number_fraction_zeros": value("1.500"),
    "number_fraction_40": value("0." + "3" * 39),
    "number_exponent": value("1e5"),
    "number_exponent_plus": value("1E+5"),
    "number_exponent_minus": value("1.5e-7"),
    "number_exponent_zeros": value("1e0000000000000000000000000005"),
    "number_1e40": value("1e40"),
    "number_1e_minus_40": value("1e-40"),
    "number_zero_exponent": value("0e0"),
    "number_text": value('"1e999"'),
    "depth_32": nested(32),
    "depth_32_objects": nested(32, '{"a":', "}"),
    "keys_200": record("{" + ",".join(f'"k{n}":{n}' for n in range(200)) + "}"),
    "keys_200_twice": record(
        '{"a":{'
        + ",".join(f'"k{n}":1' for n in range(200))
        + '},"b":{'
        + ",".join(f'"k{n}":1' for n in range(200))
        + "}}"
    ),
    "string_16k": value('"' + "x" * 16384 + '"'),
    "string_16k_wide": value('"' + "\u00e9" * 8192 + '"'),
    "key_16k": record('{"' + "k" * 16384 + '": 1}'),
    "event_64k": padded(65536),
    "type_200": record(type="t" * 200),
    "type_200_wide": record(type="\u00e9" * 200),
    "type_with_space": record(type="order paid"),
    "id_512": record(id="i" * 512),
    "id_space": record(id=" "),
    "user_512": record(user="\u00e9" * 512),
    "time_offset": record(time="2026-03-01T10:00:00+08:00"),
    "time_lower": record(time="2026-03-01t02:00:00z"),
    "time_space": record(time="2026-03-01 02:00:00Z"),
    "time_nanos": record(time="2026-03-01T02:00:00.123456789Z"),
    "time_earliest": record(time="1900-01-01T00:00:00Z"),
    "time_latest": record(time="2999-12-31T23:59:59.999999Z"),
    "time_leap_day": record(time="2024-02-29T00:00:00Z"),
    "time_escaped": record().replace(b"T02", b"\\u005402"),
}

BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "json"),
    "blank": (b"  ", "json"),
    "word": (b"hello", "json"),
    "null": (b"null", "not_object"),
    "true": (b"true", "not_object"),
    "number": (b"17", "not_object"),
    "text": (b'"x"', "not_object"),
    "list": (b"[" + record() + b"]", "not_object"),
    "list_empty": (b"[]", "not_object"),
    "object_empty": (b"{}", "type"),
    "cut_short": (record()[:-1], "json"),
    "cut_in_text": (record()[:-3], "json"),
    "two_records": (record() + record(), "json"),
    "trailing_comma": (record()[:-1] + b",}", "json"),
    "trailing_junk": (record() + b"x", "json"),
    "trailing_brace": (record() + b"}", "json"),
    "double_comma": (record().replace(b", ", b",, ", 1), "json"),
    "missing_colon": (record().replace(b": ", b" ", 1), "json"),
    "missing_comma": (record().replace(b", ", b" ", 1), "json"),
    "single_quotes": (record().replace(b'"', b"'"), "json"),
    "unquoted_key": (record().replace(b'"id"', b"id"), "json"),
    "comment": (b"/* */" + record(), "json"),
    "comment_line": (record() + b"// x", "json"),
    "form_feed": (b"\x0c" + record(), "json"),
    "nbsp": ("\u00a0".encode() + record(), "json"),
    "bom": (b"\xef\xbb\xbf" + record(), "json"),
    "utf16": (record().decode().encode("utf-16"), "utf8"),
    "utf16_le": (record().decode().encode("utf-16-le"), "json"),
    "utf32": (record().decode().encode("utf-32"), "utf8"),
    "gzip": (b"\x1f\x8b\x08\x00", "utf8"),
    "utf8_ff": (value('"?"').replace(b"?", b"\xff"), "utf8"),
    "utf8_cut": (value('"?"').replace(b"?", b"\xe4\xb8"), "utf8"),
    "utf8_lone_continuation": (value('"?"').replace(b"?", b"\x80"), "utf8"),
    "utf8_overlong_slash": (value('"?"').replace(b"?", b"\xc0\xaf"), "utf8"),
    "utf8_overlong_nul": (value('"?"').replace(b"?", b"\xc0\x80"), "utf8"),
    "utf8_surrogate": (value('"?"').replace(b"?", b"\xed\xa0\x80"), "utf8"),
    "utf8_above_10ffff": (value('"?"').replace(b"?", b"\xf4\x90\x80\x80"), "utf8"),
    "utf8_five_bytes": (value('"?"').replace(b"?", b"\xf8\x88\x80\x80\x80"), "utf8"),
    "utf8_in_key": (record('{"?": 1}').replace(b"?", b"\xff"), "utf8"),
    "utf8_in_unknown_key": (record(other="?").replace(b"?", b"\xff"), "utf8"),
    "utf8_in_id": (record(id="?").replace(b"?", b"\xff"), "utf8"),
    "utf8_after": (record() + b"\xff", "utf8"),
    "latin1": (value('"é"').decode().encode("latin-1"), "utf8"),
    "nul_raw": (value('"\0"'), "json"),
    "nul_escaped": (value('"\\u0000"'), "nul"),
    "nul_in_key": (record('{"\\u0000": 1}'), "nul"),
    "nul_in_id": (record().replace(b"e1", b"e\\u0000"), "nul"),
    "nul_after": (record() + b"\0", "json"),
    "control_tab": (value('"\t"'), "json"),
    "control_newline": (value('"\n"'), "json"),
    "control_1f": (value('"\x1f"'), "json"),
    "surrogate_high": (value('"\\ud800"'), "surrogate"),
    "surrogate_low": (value('"\\udc00"'), "surrogate"),
    "surrogate_high_then_text": (value('"\\ud800x"'), "surrogate"),
    "surrogate_swapped": (value('"\\ude00\\ud83d"'), "surrogate"),
    "surrogate_two_high": (value('"\\ud83d\\ud83d"'), "surrogate"),
    "surrogate_upper_hex": (value('"\\uDFFF"'), "surrogate"),
    "surrogate_in_key": (record('{"\\ud800": 1}'), "surrogate"),
    "surrogate_in_user": (record().replace(b"u1", b"\\ud800"), "surrogate"),
    "escape_x": (value('"\\x41"'), "json"),
    "escape_capital_u": (value('"\\U0041"'), "json"),
    "escape_quote_single": (value('"\\\'"'), "json"),
    "escape_short": (value('"\\u12"'), "json"),
    "escape_not_hex": (value('"\\u12g4"'), "json"),
    "escape_sign": (value('"\\u+123"'), "json"),
    "escape_at_end": (value('"\\"'), "json"),
    "backslash_outside": (record() + b"\\", "json"),
    "nan": (value("NaN"), "nan"),
    "nan_minus": (value("-NaN"), "json"),
    "nan_lower": (value("nan"), "json"),
    "infinity": (value("Infinity"), "nan"),
    "infinity_minus": (value("-Infinity"), "nan"),
    "literal_upper": (value("True"), "json"),
    "literal_none": (value("None"), "json"),
    "literal_cut": (value("tru"), "json"),
    "literal_undefined": (value("undefined"), "json"),
    "number_leading_zero": (value("01"), "json"),
    "number_leading_zero_minus": (value("-01"), "json"),
    "number_plus": (value("+1"), "json"),
    "number_dot_first": (value(".5"), "json"),
    "number_dot_last": (value("1."), "json"),
    "number_two_dots": (value("1.2.3"), "json"),
    "number_e_last": (value("1e"), "json"),
    "number_e_sign_last": (value("1e+"), "json"),
    "number_e_fraction": (value("1e1.5"), "json"),
    "number_minus_only": (value("-"), "json"),
    "number_two_minus": (value("--1"), "json"),
    "number_hex": (value("0x10"), "json"),
    "number_underscore": (value("1_000"), "json"),
    "number_comma": (value("1,5"), "json"),
    "number_space": (value("1 000"), "json"),
    "number_arabic": (value("\u0661"), "json"),
    "number_fullwidth": (value("1\uff11"), "json"),
    "number_int_41": (value("1" + "0" * 40), "number"),
    "number_int_5000": (value("9" * 5000), "number"),
    "number_fraction_41": (value("0." + "3" * 40), "number"),
    "number_1e41": (value("1e41"), "number"),
    "number_10e40": (value("1.1e40"), "number"),
    "number_1e_minus_41": (value("1e-41"), "number"),
    "number_1e400": (value("1e400"), "number"),
    "number_minus_1e400": (value("-1e400"), "number"),
    "number_exponent_huge": (value("1e99999999999999999999"), "number"),
    "number_exponent_5000_digits": (value("1e" + "9" * 5000), "number"),
    "number_zero_huge_exponent": (value("0e999"), "number"),
    "number_zero_tiny_exponent": (value("0.0e-99999"), "number"),
    "number_bomb": (value("1e-1000000"), "number"),
    "duplicate_top": (b'{"user": "u1", ' + record()[1:], "duplicate_key"),
    "duplicate_id": (b'{"id": "e1", ' + record()[1:], "duplicate_key"),
    "duplicate_null": (b'{"group": null, "group": null, ' + record()[1:], "duplicate_key"),
    "duplicate_time_bad_first": (b'{"time": 1, ' + record()[1:], "duplicate_key"),
    "duplicate_data": (record("{}")[:-1] + b', "data": {}}', "duplicate_key"),
    "duplicate_in_data": (record('{"a": 1, "a": 2}'), "duplicate_key"),
    "duplicate_in_data_same": (record('{"a": 1, "a": 1}'), "duplicate_key"),
    "duplicate_spaces": (record('{"a" : 1, "a": 2}'), "duplicate_key"),
    "duplicate_hidden_by_colon_text": (record('{"a" : ":", "a": 2}'), "duplicate_key"),
    "duplicate_deep": (record('{"a": [{"b": {"c": 1, "c": 2}}]}'), "duplicate_key"),
    "duplicate_escaped": (record('{"a": 1, "\\u0061": 2}'), "duplicate_key"),
    "duplicate_empty_key": (record('{"": 1, "": 2}'), "duplicate_key"),
    "duplicate_dropped_texts": (record('{"a": "x", "a": "y"}'), "duplicate_key"),
    "duplicate_dropped_object": (record('{"a": {"b": 1}, "a": 2}'), "duplicate_key"),
    "depth_33": (nested(33), "depth"),
    "depth_33_objects": (nested(33, '{"a":', "}"), "depth"),
    "depth_1000": (nested(1000), "depth"),
    "depth_30000_open": (b"[" * 30000, "depth"),
    "depth_30000_objects": (b'{"a":' * 10000, "depth"),
    "depth_and_text_open": (b"[" * 40 + b'"', "depth"),
    "keys_201": (record("{" + ",".join(f'"k{n}":{n}' for n in range(201)) + "}"), "keys"),
    "keys_201_deep": (record('{"a":[{' + ",".join(f'"k{n}":{n}' for n in range(201)) + "}]}"), "keys"),
    "string_16k_1": (value('"' + "x" * 16385 + '"'), "string"),
    "string_16k_1_wide": (value('"' + "\u00e9" * 8192 + 'x"'), "string"),
    "string_deep": (value('[["' + "x" * 20000 + '"]]'), "string"),
    "key_16k_1": (record('{"' + "k" * 16385 + '": 1}'), "string"),
    "event_64k_1": (padded(65537), "oversize"),
    "event_1m": (padded(1 << 20), "oversize"),
    "oversize_not_utf8": (b"\xff" * 65537, "oversize"),
    "unknown_key": (record(other=1), "unknown_key"),
    "unknown_user_id": (record(user_id="u1"), "unknown_key"),
    "unknown_capital": (record(Type="x"), "unknown_key"),
    "unknown_empty": (record()[:-1] + b', "": 1}', "unknown_key"),
    "unknown_depth": (record(depth=0), "unknown_key"),
    "unknown_internal": (record(internal=True), "unknown_key"),
    "type_missing": (record(type=...), "type"),
    "type_null": (record(type=None), "type"),
    "type_empty": (record(type=""), "type"),
    "type_number": (record(type=1), "type"),
    "type_list": (record(type=["a"]), "type"),
    "type_201": (record(type="t" * 201), "type"),
    "time_missing": (record(time=...), "time"),
    "time_null": (record(time=None), "time"),
    "time_empty": (record(time=""), "time"),
    "time_epoch": (record(time=1772330400), "time"),
    "time_epoch_text": (record(time="1772330400"), "time"),
    "time_naive": (record(time="2026-03-01T02:00:00"), "naive_time"),
    "time_naive_fraction": (record(time="2026-03-01 02:00:00.5"), "naive_time"),
    "time_date": (record(time="2026-03-01"), "time"),
    "time_feb_30": (record(time="2026-02-30T00:00:00Z"), "time"),
    "time_feb_29": (record(time="2026-02-29T00:00:00Z"), "time"),
    "time_24": (record(time="2026-03-01T24:00:00Z"), "time"),
    "time_leap_second": (record(time="2016-12-31T23:59:60Z"), "time"),
    "time_offset_24": (record(time="2026-03-01T02:00:00+24:00"), "time"),
    "time_offset_60": (record(time="2026-03-01T02:00:00+08:60"), "time"),
    "time_offset_short": (record(time="2026-03-01T02:00:00+08"), "time"),
    "time_ten_digits": (record(time="2026-03-01T02:00:00.0123456789Z"), "time"),
    "time_no_seconds": (record(time="2026-03-01T02:00Z"), "time"),
    "time_year_0": (record(time="0000-01-01T00:00:00Z"), "time"),
    "time_year_1": (record(time="0001-01-01T00:00:00Z"), "time"),
    "time_1899": (record(time="1899-12-31T23:59:59Z"), "time"),
    "time_3000": (record(time="3000-01-01T00:00:00Z"), "time"),
    "time_9999": (record(time="9999-12-31T23:59:59Z"), "time"),
    "time_arabic": (record(time="\u0662026-03-01T02:00:00Z"), "time"),
    "id_missing": (record(id=...), "no_id"),
    "id_null": (record(id=None), "no_id"),
    "id_empty": (record(id=""), "id"),
    "id_number": (record(id=17), "id"),
    "id_zero": (record(id=0), "id"),
    "id_false": (record(id=False), "id"),
    "id_list": (record(id=["x"]), "id"),
    "id_513": (record(id="i" * 513), "id"),
    "user_empty": (record(user=""), "user"),
    "user_empty_group": (record(user="", group="g"), "user"),
    "user_number": (record(user=17), "user"),
    "user_object": (record(user={"id": "u"}), "user"),
    "user_513": (record(user="u" * 513), "user"),
    "group_empty": (record(group=""), "group"),
    "group_number": (record(group=1.5), "group"),
    "group_true": (record(group=True), "group"),
    "data_list": (record("[]"), "data"),
    "data_text": (record('"x"'), "data"),
    "data_number": (record("1"), "data"),
    "data_false": (record("false"), "data"),
    "data_zero": (record("0"), "data"),
    "subject_missing": (record(user=...), "no_subject"),
    "subject_null": (record(user=None), "no_subject"),
    "subject_both_null": (record(user=None, group=None), "no_subject"),
}

ALL = {**GOOD, **{name: raw for name, (raw, _) in BAD.items()}}


def verdict(raw: bytes, fallback: str | None = None) -> str:
    """The whole outcome as text: Decimal and int, -0.0 and 0 differ in it."""
    try:
        return repr(read_event(raw, fallback_id=fallback))
    except EventRejected as error:
        return error.reason


def agree(raw: bytes, fallback: str | None = None) -> bool:
    """The fast way says nothing, or exactly what the slow way says. True: it said something."""
    fast = read_fast(raw, fallback)
    if fast is None:
        return False
    assert repr(fast) == repr(read_slow(raw, fallback)), raw
    return True


def test_size_of_corpus() -> None:
    """The corpus holds at least 200 named records."""
    assert len(ALL) == len(GOOD) + len(BAD) >= 200


@pytest.mark.parametrize("name", GOOD)
def test_good(name: str) -> None:
    """A good record is an event, the same by both ways.

    Semantics: event.shape
    """
    raw = GOOD[name]
    event = read_event(raw)
    assert repr(event) == repr(read_slow(raw))
    assert parse_instant("1900-01-01T00:00:00Z") <= event.time < parse_instant("3000-01-01T00:00:00Z")
    agree(raw)


@pytest.mark.parametrize("name", BAD)
def test_bad(name: str) -> None:
    """A bad record is refused with its reason, and the fast way never lets it in.

    Semantics: event.shape, event.refused, door.strict, door.limits
    Failure: event.malformed, event.oversize
    """
    raw, reason = BAD[name]
    with pytest.raises(EventRejected) as caught:
        read_event(raw)
    assert caught.value.reason == reason
    assert caught.value.message
    assert len(caught.value.message) < 400
    assert "\n" not in caught.value.message
    assert read_fast(raw) is None


@pytest.mark.parametrize(
    "name",
    [
        "plain",
        "data_flat",
        "data_nested",
        "group_only",
        "chinese",
        "chinese_escaped",
        "escaped_quote",
        "user_null_group",
    ],
)
def test_fast_way_is_taken(name: str) -> None:
    """Usual records go the fast way; otherwise its tests would prove nothing."""
    assert agree(GOOD[name])


def test_values() -> None:
    """Fractions and exponents are exact decimals, whole numbers are ints, nothing is a float.

    Semantics: event.numbers
    """
    data = read_event(
        record('{"a": 1.10, "b": 1e2, "c": 7, "d": -0, "e": [0.1, {"f": 2.50}], "g": 12345678901234567890}')
    ).data
    assert repr(data) == repr(
        {
            "a": Decimal("1.10"),
            "b": Decimal("1e2"),
            "c": 7,
            "d": 0,
            "e": [Decimal("0.1"), {"f": Decimal("2.50")}],
            "g": 12345678901234567890,
        }
    )


def test_event() -> None:
    """All fields arrive; null and absent are the same; data absent is empty.

    Semantics: event.data
    """
    raw = record('{"x": 1}', group="g1", time="2026-03-01T10:00:00.5+08:00")
    assert read_event(raw) == Event(
        id="e1", type="order.paid", time=parse_instant("2026-03-01T02:00:00.5Z"), user="u1", group="g1", data={"x": 1}
    )
    for name in ("group", "data"):
        assert read_event(record(**{name: None})) == read_event(record())
    assert read_event(record()).data == {}
    assert read_event(record()).data is not read_event(record()).data


def test_fallback_id() -> None:
    """A fallback id stands in for a missing id or null, never for an empty or wrong one."""
    assert read_event(record(id=...), fallback_id="f:1").id == "f:1"
    assert read_event(record(id=None), fallback_id="f:1").id == "f:1"
    assert read_event(record(), fallback_id="f:1").id == "e1"
    assert verdict(record(id=""), "f:1") == "id"
    assert verdict(record(id=3), "f:1") == "id"


def test_no_subject_knows_its_time() -> None:
    """A record without subject that is well-formed otherwise tells its time and id; a worse fault is named first."""
    with pytest.raises(NoSubject) as caught:
        read_event(record(user=None))
    assert (caught.value.time, caught.value.id) == (parse_instant(TIME), "e1")
    assert verdict(record(user=None, time="x")) == "time"
    assert verdict(record("[]", user=None)) == "data"
    assert verdict(record(user=None, id=None)) == "no_id"


def test_nearest_key() -> None:
    """An unknown key names the known one it looks like.

    Semantics: event.refused
    """
    for wrong, right in (("tpye", "type"), ("user_id", "user"), ("Data", "data"), ("times", "time")):
        with pytest.raises(EventRejected, match=repr(right)):
            read_event(record(**{wrong: "x"}))


def test_deep_stack() -> None:
    """The verdict does not depend on how deep the caller stands."""

    def down(levels: int) -> list[str]:
        if levels:
            return down(levels - 1)
        return [verdict(ALL[name]) for name in ("depth_32", "depth_33", "depth_1000", "depth_30000_open")]

    assert down(700)[1:] == ["depth", "depth", "depth"]
    assert down(700) == down(0)


def test_hostile_sizes_are_quick() -> None:
    """Records made to be slow cost a few milliseconds, not seconds."""
    for raw in (
        b"[" * 33 + b'"' + b'\\"' * 32000,
        b"[" * 33 + b'"\\' * 20000,
        b"\\" * 65000,
        b'"' + b"\\u0041" * 10000,
        value("1" * 60000),
        value('"' + "\\ud83d\\ude00" * 1000 + '"'),
        b'{"a":' * 30 + b"[" * 60000,
        b"{" + b",".join(b'"%d":1' % n for n in range(6000)) + b"}",
    ):
        before = time.process_time()
        verdict(raw)
        assert time.process_time() - before < 0.5


def mutations(seed: int, count: int) -> Iterator[bytes]:
    """Good and bad records with a few bytes changed, doubled, cut or moved."""
    rng = random.Random(seed)
    alphabet = b'{}[]":,\\ \n\tntu0aeE+-.19\x00\xff\xc3\xa9/Zz'
    small = [raw for raw in ALL.values() if len(raw) < 600]
    for _ in range(count):
        raw = bytearray(rng.choice(small))
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            at = rng.randrange(len(raw) + 1)
            to = min(len(raw), at + rng.choice((0, 1, 1, 2, 8)))
            kind = rng.randrange(4)
            if kind == 0:
                raw[at:to] = bytes([rng.choice(alphabet)])
            elif kind == 1:
                raw[at:at] = raw[at : at + rng.randrange(1, 30)]
            elif kind == 2:
                del raw[at:to]
            else:
                other = rng.choice(small)
                begin = rng.randrange(len(other) + 1)
                raw[at:to] = other[begin : begin + rng.randrange(1, 40)]
        yield bytes(raw)


def test_mutated_records(record_property: Callable[[str, object], None]) -> None:
    """On tens of thousands of damaged records both ways agree; each refusal has a known reason.

    Semantics: door.one-verdict
    Failure: event.malformed — mutated
    """
    known = set(door.__doc__.partition("Reasons: ``")[2].partition("``")[0].split()) if door.__doc__ else set()
    taken, reasons = 0, Counter[str]()
    for raw in mutations(7, TRIED):
        taken += agree(raw, "f:1")
        try:
            event = read_slow(raw, "f:1")
            event.type.encode()  # no surrogate got in
        except EventRejected as error:
            reasons[error.reason] += 1
    assert set(reasons) <= known
    assert taken > TRIED // 60
    assert reasons.total() > TRIED // 6
    record_property("records", TRIED)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from([1.5, -0.0, 1e30, 2.25e-9]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(
    st.dictionaries(st.sampled_from([*door.KEYS, "x"]), JSON, max_size=6),
    JSON,
    st.booleans(),
    st.sampled_from([None, 1]),
    st.booleans(),
)
@settings(max_examples=400, deadline=None)
def test_any_json(top: dict[str, Any], data: Any, good: bool, indent: int | None, ascii_only: bool) -> None:
    """For any JSON, however it is written, both ways agree, and an accepted record holds what was written.

    Semantics: door.one-verdict
    """
    whole = {**BASE, "data": data} if good else {**BASE, **top}
    raw = json.dumps(whole, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    agree(raw, "f:1")
    try:
        event = read_event(raw, fallback_id="f:1")
    except EventRejected:
        return
    assert event.data == json.loads(raw, parse_float=Decimal).get("data", {}) or not event.data


@given(st.binary(max_size=80))
def test_any_bytes(raw: bytes) -> None:
    """Any bytes at all give an event or a refusal."""
    assert verdict(raw)
    agree(raw)


AROUND: dict[str, tuple[int, Callable[[int], bytes], str]] = {
    "bytes of a record": (65_536, padded, "oversize"),
    "bytes of a text": (16_384, lambda n: value('"' + "x" * n + '"'), "string"),
    "bytes of a wide text": (16_384, lambda n: value('"' + "é" * (n // 2) + "x" * (n % 2) + '"'), "string"),
    "bytes of a key": (16_384, lambda n: record('{"' + "k" * n + '": 1}'), "string"),
    "keys of an object": (200, lambda n: record("{" + ",".join(f'"k{it}":1' for it in range(n)) + "}"), "keys"),
    "depth of lists": (32, nested, "depth"),
    "depth of objects": (32, lambda n: nested(n, '{"a":', "}"), "depth"),
    "digits of a number": (40, lambda n: value("9" * n), "number"),
    "digits of a fraction": (40, lambda n: value("0." + "3" * (n - 1)), "number"),
    "a number's exponent": (40, lambda n: value(f"1e{n}"), "number"),
    "a number's small exponent": (40, lambda n: value(f"1e-{n}"), "number"),
    "characters of a type": (200, lambda n: record(type="é" * n), "type"),
    "characters of an id": (512, lambda n: record(id="é" * n), "id"),
    "characters of a user": (512, lambda n: record(user="é" * n), "user"),
    "characters of a group": (512, lambda n: record(user=..., group="é" * n), "group"),
}
"""What is limited -> (the most of it, a record with so much of it, the reason of one more)."""


@pytest.mark.parametrize("what", AROUND)
def test_around_each_limit(what: str) -> None:
    """One less and exactly as much as is allowed are an event; one more is refused for that, by both ways.

    Semantics: door.limits
    Failure: event.oversize — one less, exactly, one more
    """
    most, made, reason = AROUND[what]
    for size in (most - 1, most):
        assert verdict(made(size)).startswith("Event("), size
        agree(made(size))
    assert verdict(made(most + 1)) == reason
    assert read_fast(made(most + 1)) is None
