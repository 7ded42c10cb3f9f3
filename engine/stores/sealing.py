"""Coupon codes at rest: as they are, or encrypted with a key of the operator.

The same code always becomes the same text (AES-SIV: its nonce is a keyed hash of what it encrypts), so that a code can
be looked up and none stands twice; nobody without the key can tell a code from its text.
"""

from __future__ import annotations

import base64
from hashlib import blake2b
from typing import Protocol

from engine.errors import CannotRun

CHECK = "coupon_seal"
"""Name under which a store keeps what its key makes of a known word; empty: codes stand as they are."""

_WORD = "drumbeat"
_LEAST = 16


class Seal(Protocol):
    """How codes stand in the store."""

    def close(self, code: str) -> str:
        """What stands in the store for a code."""
        ...

    def open(self, text: str) -> str:
        """The code behind what stands in the store."""
        ...

    def check(self) -> str:
        """A text by which this seal is known again."""
        ...


class Plain:
    """Codes stand as they are."""

    def close(self, code: str) -> str:
        return code

    def open(self, text: str) -> str:
        return text

    def check(self) -> str:
        return ""


class Encrypted:
    """Codes stand encrypted. ``key``: any text of at least 16 letters, from the environment."""

    def __init__(self, key: str) -> None:
        if len(key) < _LEAST:
            raise CannotRun(
                f"the key of coupon codes has fewer than {_LEAST} letters", hint="openssl rand -base64 32 makes one"
            )
        try:
            from cryptography.hazmat.primitives.ciphers.aead import AESSIV
        except ImportError as error:
            raise CannotRun("encrypted coupon codes need a library", hint="pip install 'drumbeat[seal]'") from error
        self._box = AESSIV(blake2b(key.encode(), digest_size=64, person=b"drumbeat.coupon").digest())

    def close(self, code: str) -> str:
        return base64.urlsafe_b64encode(self._box.encrypt(code.encode(), None)).decode("ascii")

    def open(self, text: str) -> str:
        try:
            return self._box.decrypt(base64.urlsafe_b64decode(text), None).decode()
        except Exception as error:
            raise CannotRun("a coupon code was encrypted with another key") from error

    def check(self) -> str:
        return self.close(_WORD)


class Locked:
    """Codes stand encrypted, and the key is not at hand."""

    def __init__(self, why: CannotRun) -> None:
        self._why = why

    def close(self, code: str) -> str:
        raise self._why

    def open(self, text: str) -> str:
        raise self._why

    def check(self) -> str:
        raise self._why


def seal_of(key: str | None) -> Seal:
    """The seal of a program: with its key, or without one."""
    return Plain() if key is None else Encrypted(key)


def suits(seal: Seal, kept: str | None, there: bool) -> bool:
    """Does a seal fit what a store keeps? Raises CannotRun when it does not; True: the store is to note it.

    Parameters
    ----------
    kept: what the store noted of its seal; None: nothing yet.
    there: whether codes stand in it.
    """
    mine = seal.check()
    known = kept if kept is not None else ("" if there else mine)
    if known == mine:
        return kept is None and mine != ""
    if not there:
        return True
    if not known:
        raise CannotRun(
            "the store holds coupon codes that are not encrypted, and the program has a key for them",
            hint="a key is set before the first code comes: leave 'coupon_key' out, or begin a new store",
        )
    raise CannotRun(
        "the coupon codes of the store were encrypted with another key" if mine else "the coupon codes are encrypted",
        hint="set 'coupon_key' of drumbeat.yaml to the key they were encrypted with",
    )
