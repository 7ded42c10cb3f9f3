"""Who may send: bearer tokens and signatures (Standard Webhooks), several of each for rotation.

Rule 1: bytes are compared with bytes, in constant time, and every key is looked at, whichever fits.
Rule 2: tokens are kept as hashes; what was sent is never repeated in an answer or a log.
Rule 3: an exact copy of a signed request is refused. A sender that tries again signs anew, with the ``webhook-id`` it
had.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from engine.errors import CannotRun
from engine.site import Secret

TOLERANCE = 300
"""Seconds a timestamp may lie beside our clock."""

REMEMBERED = 100_000
"""Signed requests remembered to refuse copies of them."""

_PREFIX = "whsec_"
_MOST_SIGNATURES = 16

Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Signature:
    """What the three headers of a signed request say."""

    id: bytes
    timestamp: bytes  #: seconds since 1970, as it was written
    given: tuple[bytes, ...]  #: signatures of version 1, base64

    @property
    def mark(self) -> tuple[bytes, bytes]:
        """By this a copy is known; both parts are signed."""
        return self.id, self.timestamp


class Keyring:
    """The keys of one feed."""

    def __init__(self, tokens: Iterable[Secret] = (), secrets: Iterable[Secret] = ()) -> None:
        self._tokens = [hashlib.sha256(it.reveal().encode("utf-8")).digest() for it in tokens]
        self._secrets = [_key(it) for it in secrets]

    def __bool__(self) -> bool:
        return bool(self._tokens or self._secrets)

    @property
    def signs(self) -> bool:
        """Are there secrets to sign with?"""
        return bool(self._secrets)

    def __add__(self, other: Keyring) -> Keyring:
        both = Keyring()
        both._tokens = [*self._tokens, *(it for it in other._tokens if it not in self._tokens)]
        both._secrets = [*self._secrets, *(it for it in other._secrets if it not in self._secrets)]
        return both

    def bearer(self, headers: Headers) -> str | None:
        """The name of the token that was shown; None when none fits or several are shown."""
        shown = values(headers, b"authorization")
        if len(shown) != 1:
            return None
        scheme, _, token = shown[0].strip().partition(b" ")
        digest = hashlib.sha256(token.strip()).digest()
        found = None
        for number, own in enumerate(self._tokens, 1):
            if hmac.compare_digest(digest, own):
                found = f"token {number}"
        return found if scheme.lower() == b"bearer" else None

    def signed(self, signature: Signature, body: bytes) -> str | None:
        """The name of the secret a body was signed with; None when none fits."""
        content = b".".join((signature.id, signature.timestamp, body))
        found = None
        for number, secret in enumerate(self._secrets, 1):
            own = base64.b64encode(hmac.new(secret, content, hashlib.sha256).digest())
            for given in signature.given:
                if hmac.compare_digest(own, given):
                    found = f"secret {number}"
        return found


def values(headers: Headers, name: bytes) -> list[bytes]:
    """All values of a header; its name in small letters."""
    return [value for key, value in headers if key == name]


def signature_of(headers: Headers, now: int) -> Signature | str:
    """The signature a request carries, or why it carries none.

    Parameters
    ----------
    now: seconds since 1970.
    """
    parts = [values(headers, name) for name in (b"webhook-id", b"webhook-timestamp", b"webhook-signature")]
    if not all(len(part) == 1 for part in parts):
        return "webhook-id, webhook-timestamp and webhook-signature must each be there once"
    id_, timestamp, signatures = (part[0].strip() for part in parts)
    if not 0 < len(id_) <= 256 or b"." in id_ or not all(33 <= byte < 127 for byte in id_):
        return "webhook-id is 1 to 256 visible ASCII characters without a dot"
    if not timestamp.isdigit() or len(timestamp) > 12:
        return "webhook-timestamp is a number of seconds"
    if abs(int(timestamp) - now) > TOLERANCE:
        return f"webhook-timestamp is more than {TOLERANCE // 60} minutes beside our clock"
    given = tuple(it[3:] for it in signatures.split(b" ")[:_MOST_SIGNATURES] if it.startswith(b"v1,"))
    return Signature(id_, timestamp, given)


class Seen:
    """Signed requests that were taken, for as long as a copy of them could pass."""

    def __init__(self, most: int = REMEMBERED) -> None:
        self._until: OrderedDict[tuple[bytes, bytes], float] = OrderedDict()  # in order of its values
        self._most = most

    def full(self, elapsed: float) -> bool:
        """Can no more be noted? Then nothing is let in: forgetting one would let its copy pass."""
        while self._until and next(iter(self._until.values())) <= elapsed:
            self._until.popitem(last=False)
        return len(self._until) >= self._most

    def claim(self, mark: tuple[bytes, bytes], elapsed: float) -> bool:
        """Note a request; False when it was noted before, or no more can be noted."""
        if self.full(elapsed) or mark in self._until:
            return False
        self._until[mark] = elapsed + 2 * TOLERANCE
        return True

    def release(self, mark: tuple[bytes, bytes]) -> None:
        """Forget a request that was not taken after all: the same may come again."""
        self._until.pop(mark, None)


def _key(secret: Secret) -> bytes:
    text = secret.reveal()
    if not text.startswith(_PREFIX):
        return text.encode("utf-8")
    try:
        return base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise CannotRun(
            "a secret of feeds.http begins with whsec_ and is not base64 after it",
            hint="copy it as the sender shows it",
        ) from None
