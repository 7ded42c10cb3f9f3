"""Randomness as a hash of named things: the same names give the same draw on every machine.

Formula: ``int.from_bytes(sha256(f"{salt}:{subject}".encode()).digest()[:8], "big") % 10_000``
(semantics.md, "branch, split, holdout").
"""

from __future__ import annotations

from hashlib import blake2b, sha256

BUCKETS = 10_000


def bucket(salt: str, subject: str) -> int:
    """A stable number 0..9999 for a subject under a salt."""
    return int.from_bytes(sha256(f"{salt}:{subject}".encode()).digest()[:8], "big") % BUCKETS


def effect_key(*parts: str) -> str:
    """The key of an effect: 128 bits of BLAKE2b over the length-prefixed parts, as hex.

    Parts are (playbook, step, subject, entry key, occurrence, index). Lengths stand before the parts so that no two
    different lists give the same bytes.
    """
    text = "".join([f"{len(part)}:{part}" for part in parts])
    return blake2b(text.encode(), digest_size=16).hexdigest()
