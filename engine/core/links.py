"""Signed links in messages: what stands in one, and whether a target may be linked to.

A token is 128 bits of HMAC-SHA256 and what they sign: the kind of the link, the key of the effect and, for a click, the
target; in base64url. So nobody can make one, change one, or use one for another message.

Rule 1: the same effect has the same token each time it is decided, wherever; only the key differs from store to store.
Rule 2: a token has one spelling. What decodes to the same bytes and is written otherwise is refused.
Rule 3: a target is written out whole and judged here, before it is signed; what is odd in it is refused, not mended.
"""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

MOST = 1_500
"""Characters of a target."""

UNSUBSCRIBE, CLICK = "u", "c"
"""Kinds of links, also the first part of their paths."""

SURVEY = "s"
"""Kind of the token by which who answers a survey proves that he was asked."""

_MAC = 16
_KEY = 16
_LONGEST = (_MAC + 1 + _KEY + MOST + 2) // 3 * 4
_TOKEN = re.compile(r"[A-Za-z0-9_-]+")
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*(?::[1-9][0-9]{{0,4}})?", re.IGNORECASE)
_PATTERN = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*(?::[1-9][0-9]{{0,4}})?", re.IGNORECASE)
_TARGET = re.compile(r"https?://([^/?#]*)((?:[/?#].*)?)", re.DOTALL)
_SIGNS = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]!$&'()*+,;=@%]*")
_BASE = re.compile(r"(https?)://([^/?#]*)((?:/[A-Za-z0-9._~-]+)*)/?")
_OWN_MACHINE = ("localhost", "127.0.0.1")


@dataclass(frozen=True, kw_only=True)
class Links:
    """Where links of a program lead."""

    base: str  #: address of the daemon as people reach it, without a slash at its end
    hosts: tuple[str, ...] = ()  #: hosts a click may lead to; ``*.shop.example`` is every host below

    def url(self, kind: str, token: str) -> str:
        """The whole address of a link."""
        return f"{self.base}/{kind}/{token}"


@dataclass(frozen=True)
class Signed:
    """What a token says."""

    kind: str  #: UNSUBSCRIBE or CLICK
    key: str  #: of the effect it stands in
    target: str  #: where a click leads; "" for the other kind


def signing_key(secret: bytes) -> bytes:
    """The key of links, made from the secret of a store (which also keys coupon codes)."""
    return hmac.digest(secret, b"drumbeat links", sha256)


def sign(signing: bytes, kind: str, key: str, target: str = "") -> str:
    """The token of a link; ``key`` is an effect key (128 bits, hex)."""
    body = kind.encode() + bytes.fromhex(key) + target.encode()
    return urlsafe_b64encode(_mac(signing, body) + body).rstrip(b"=").decode()


def read(signing: bytes, kind: str, token: str) -> Signed | None:
    """What a token of a kind says; None when it is not one of ours. Takes as long for each wrong one."""
    if len(token) > _LONGEST or _TOKEN.fullmatch(token) is None or len(token) % 4 == 1:
        return None
    raw = urlsafe_b64decode(token + "=" * (-len(token) % 4))
    body = raw[_MAC:]
    if not hmac.compare_digest(_mac(signing, body), raw[:_MAC]):
        return None
    if urlsafe_b64encode(raw).rstrip(b"=").decode() != token or body[:1] != kind.encode() or len(body) <= _KEY:
        return None
    return Signed(kind, body[1 : 1 + _KEY].hex(), body[1 + _KEY :].decode())


def click_id(signed: Signed) -> str:
    """Id of the event of a click: the same for every click on the same link of a message."""
    return f"click:{signed.key}:{sha256(signed.target.encode()).hexdigest()[:16]}"


def fault_of_target(target: str, hosts: Iterable[str]) -> str | None:
    """Why a link must not lead to an address; None: it may."""
    if len(target) > MOST:
        return f"it has more than {MOST} characters"
    found = _TARGET.fullmatch(target)
    if found is None:
        return "it does not begin with https:// or http://"
    host = found[1]
    if "@" in host:
        return "it holds a name or password before its host"
    if _HOST.fullmatch(host) is None:
        return "its host is not written as a host (letters outside ASCII as xn--...)"
    if _SIGNS.fullmatch(found[2]) is None:
        return "it holds a sign that must be encoded (%20 ...)"
    if not any(_fits(host.lower(), one.lower()) for one in hosts):
        return f"its host {host} is none of links.hosts"
    return None


def fault_of_host(pattern: str) -> str | None:
    """Why an entry of ``links.hosts`` is none."""
    return None if _PATTERN.fullmatch(pattern) else "a host such as shop.example, or *.shop.example, without https://"


def fault_of_base(base: str) -> str | None:
    """Why an address cannot be where links lead."""
    found = _BASE.fullmatch(base)
    if found is None or _HOST.fullmatch(found[2]) is None or len(base) > 200:
        return "an address such as https://go.shop.example"
    if found[1] == "http" and found[2].partition(":")[0].lower() not in _OWN_MACHINE:
        return "https, or http on this machine alone: whoever reads a link on its way could use it"
    return None


def _fits(host: str, pattern: str) -> bool:
    return host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern


def _mac(signing: bytes, body: bytes) -> bytes:
    return hmac.digest(signing, body, sha256)[:_MAC]
