"""Randomness as a hash of named things: the same names give the same draw on every machine.

Formula: ``int.from_bytes(sha256(f"{salt}:{subject}".encode()).digest()[:8], "big") % 10_000``
(semantics.md, "branch, split, holdout").
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b, sha256
from typing import Any

BUCKETS = 10_000


def bucket(salt: str, subject: str) -> int:
    """A stable number 0..9999 for a subject under a salt."""
    return int.from_bytes(sha256(f"{salt}:{subject}".encode()).digest()[:8], "big") % BUCKETS


def effect_key(*parts: str) -> str:
    """The key of an effect: 128 bits of BLAKE2b over the length-prefixed parts, as hex.

    It says what the effect means, never a run, a batch or a version: what is decided again has the same key, and is
    counted and left out. Parts are (playbook, step, subject, entry key, occurrence, index). Lengths stand before the
    parts so that no two different lists give the same bytes.
    """
    text = "".join([f"{len(part)}:{part}" for part in parts])
    return blake2b(text.encode(), digest_size=16).hexdigest()


@lru_cache(maxsize=4096)
def _begun(playbook: str, step: str) -> Any:
    """The hash over the first two parts, which every subject shares."""
    return blake2b(f"{len(playbook)}:{playbook}{len(step)}:{step}".encode(), digest_size=16)


def step_key(playbook: str, step: str, subject: str, key: str, occurrence: str, index: str) -> str:
    """``effect_key`` of an effect of a step, in half the time."""
    digest = _begun(playbook, step).copy()
    digest.update(
        f"{len(subject)}:{subject}{len(key)}:{key}{len(occurrence)}:{occurrence}{len(index)}:{index}".encode()
    )
    found: str = digest.hexdigest()
    return found
