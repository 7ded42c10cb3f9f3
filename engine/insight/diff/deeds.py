"""Rows of ``--effects`` as a comparison needs them: where they belong, and what they mean to the person.

What an effect means leaves out what follows from its key or from the effects before it: the code of a coupon, the token
of a signed link, the balance of an account. Two plans that give a person the same thing give it with another code.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

import msgspec

from engine.core.instants import parse_instant

_VOLATILE: Final = frozenset({"balance", "code", "escalates", "promise", "seed", "unsubscribe"})
_SHORTEST: Final = 4  # characters of a code that is looked for in texts
_HEAD: Final = 33  # bytes of a token before the target: its signature, its kind, the key of the effect


class _Line(msgspec.Struct, gc=False):
    """What every line of ``--effects`` begins with."""

    key: str
    time: str
    playbook: str | None
    step: str | None
    kind: str
    user: str | None
    group: str | None
    status: str
    reason: str | None


class Row(_Line, gc=False):
    """One line of ``--effects``."""

    detail: dict[str, Any]


class _Some(msgspec.Struct, gc=False):
    """What the figures need of a detail."""

    via: Any = None
    group: Any = None
    pool: Any = None
    account: Any = None
    delta: Any = None
    value: msgspec.Raw = msgspec.Raw(b"null")


class Brief(_Line, gc=False):
    """The same line, without what figures do not need."""

    detail: _Some


read_row: Final = msgspec.json.Decoder(Row, float_hook=Decimal).decode
read_brief: Final = msgspec.json.Decoder(Brief, float_hook=Decimal).decode
_value: Final = msgspec.json.Decoder(dict[str, Any] | None, float_hook=Decimal).decode
_encode: Final = msgspec.json.Encoder(decimal_format="number", order="sorted").encode


def worth(brief: Brief) -> tuple[str, Decimal] | None:
    """(currency, money) a coupon may cost at most; None where its value names no sum."""
    value = _value(brief.detail.value)
    off = None if value is None else value.get("off")
    if value is None or isinstance(off, bool) or not isinstance(off, int | Decimal):
        return None
    return str(value.get("currency") or ""), Decimal(off)


def subject_key(user: str | None, group: str | None) -> bytes:
    """What orders rows by whom they are about; no two subjects have one that begins like the other's."""
    name = f"u{user}" if user is not None else f"g{group}" if group is not None else "p"
    return name.encode("utf-8", "surrogatepass").replace(b"\0", b"\0\1") + b"\0\0"


def spilled(row: bytes, brief: Brief, instant: int, new: bool) -> bytes:
    """A row as a record that sorts by (subject, time, key)."""
    key = brief.key.encode()
    place = (instant + (1 << 63)).to_bytes(8, "big") + len(key).to_bytes(1, "big") + key
    return subject_key(brief.user, brief.group) + place + (b"1" if new else b"0") + row


def unspilled(record: bytes) -> tuple[bytes, bool, bytes]:
    """(the subject's key, is it of the new side, the row) of such a record."""
    end = record.index(b"\0\0") + 2
    here = end + 9 + record[end + 8]
    return record[:end], record[here : here + 1] == b"1", record[here + 1 :]


class Deed:
    """One row of one side while its counterpart is looked for."""

    __slots__ = ("at", "meaning", "name", "row")

    def __init__(self, row: Row, name: tuple[str, str]) -> None:
        self.row = row
        self.name = name  #: (playbook, step) as both sides know it; ("", "") belongs to none
        self.at = parse_instant(row.time)
        self.meaning = b""

    @property
    def done(self) -> bool:
        """Did it take place?"""
        return self.row.status == "planned"

    def order(self) -> tuple[int, tuple[str, str], str]:
        """What sorts deeds of one subject."""
        return self.at, self.name, self.row.key


def give_meaning(deeds: Iterable[Deed], links: re.Pattern[bytes] | None) -> None:
    """Set ``meaning`` of the deeds of one side of one subject."""
    deeds = list(deeds)
    codes = {}
    for deed in deeds:
        code = deed.row.detail.get("code")
        if isinstance(code, str) and len(code) >= _SHORTEST:
            codes[_encode(code)[1:-1]] = b"<code of " + str(deed.row.detail.get("pool")).encode() + b">"
    for deed in deeds:
        detail = deed.row.detail
        meaning = _encode({key: detail[key] for key in detail if key not in _VOLATILE})
        for code, name in codes.items():
            if code in meaning:
                meaning = meaning.replace(code, name)
        deed.meaning = meaning if links is None else links.sub(_target, meaning)


def link_pattern(base: str | None) -> re.Pattern[bytes] | None:
    """What finds the signed links of a program whose links lead to ``base``."""
    return None if base is None else re.compile(re.escape(base.encode()) + rb"/([ucs])/([A-Za-z0-9_-]+)")


def _target(found: re.Match[bytes]) -> bytes:
    """A link without its signature and key: what it is for, and where it leads."""
    token = found[2]
    try:
        body = urlsafe_b64decode(token + b"=" * (-len(token) % 4))[_HEAD:]
    except ValueError:
        return found[0]
    return b"<link " + found[1] + b" " + body + b">"


def unlike(old: Row, new: Row) -> list[str]:
    """Names of what of two rows differs, time left out."""
    found = [name for name in ("playbook", "step", "status", "reason") if getattr(old, name) != getattr(new, name)]
    fields = sorted({*old.detail, *new.detail} - _VOLATILE)
    return found + [name for name in fields if old.detail.get(name) != new.detail.get(name)]
