"""Signatures by which a receiver knows that a request is ours: Standard Webhooks, symmetric.

Signed is ``id.timestamp.body``; the header ``webhook-signature`` holds one signature a secret, so that a new secret can
be brought in while the old one still counts.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

from engine.errors import CannotRun
from engine.site import Secret

_PREFIX = "whsec_"
_SHORTEST = 16


def key_of(secret: Secret, what: str) -> bytes:
    """The bytes of a secret: ``whsec_`` and base64, or any other text as it is.

    Raises CannotRun for one that is no base64 or shorter than 16 bytes; ``what`` names it in the message.
    """
    text = secret.reveal()
    try:
        key = base64.b64decode(text.removeprefix(_PREFIX), validate=True) if text.startswith(_PREFIX) else text.encode()
    except (binascii.Error, ValueError):
        raise CannotRun(f"{what} begins with whsec_, and what follows is no base64") from None
    if len(key) < _SHORTEST:
        raise CannotRun(f"{what} is shorter than {_SHORTEST} bytes", hint="openssl rand -base64 32 makes a good one")
    return key


def headers(keys: Sequence[bytes], id: str, at: int, body: bytes) -> dict[str, str]:
    """The three headers of a signed request.

    Parameters
    ----------
    keys: of the secrets, the newest first.
    id: of the message, the same for every try.
    at: seconds since 1970 at which it is sent.
    """
    signed = f"{id}.{at}.".encode() + body
    found = [base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode("ascii") for key in keys]
    marks = {"webhook-id": id, "webhook-timestamp": str(at)}
    if found:
        marks["webhook-signature"] = " ".join(f"v1,{it}" for it in found)
    return marks
