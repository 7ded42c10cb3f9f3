"""Draws that anybody can recompute: the seed is promised before the entries close, and shown after.

Rule 1: the seed and the salt are keyed hashes of the draw's effect key, so nothing has to be kept between promise and
draw, a crash changes neither, and nobody without the store's secret can work them out before they are shown.
Rule 2: the promise (``commitment``) covers the terms of the draw, too: neither can be changed afterwards.
Rule 3: entrants stand in the list by pseudonym. Who knows his own id finds himself with the salt; no one else is named.
Rule 4: the winners follow from the seed and the list alone. ``docs/draws.md`` has the formula in ten lines.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from heapq import nsmallest
from typing import Any, Final

FORMAT: Final = 1
"""Version of the file and of the formula."""

MOST_ENTRIES: Final = 10_000
"""Entries one person may have: what is above counts for nothing."""

_ALIAS = 32  # hex digits of a pseudonym: 128 bits, so two people never share one


def digest(*parts: object) -> str:
    """SHA-256 of parts with a line feed between them, in hex; no part holds one."""
    return sha256("\n".join(map(str, parts)).encode()).hexdigest()


def drawing_key(secret: bytes) -> bytes:
    """The key of seeds and salts, made from the secret of a store."""
    return hmac.digest(secret, b"drumbeat draws", sha256)


def seed_of(drawing: bytes, draw: str) -> str:
    """The seed of a draw: 256 bits, hex."""
    return hmac.digest(drawing, f"seed {draw}".encode(), sha256).hex()


def salt_of(drawing: bytes, draw: str) -> str:
    """The salt of a draw's pseudonyms: 128 bits, hex. It is shown with the list, so it says nothing of the seed."""
    return hmac.digest(drawing, f"salt {draw}".encode(), sha256).hex()[:32]


def pseudonym(salt: str, user: str) -> str:
    """Under what a user stands in the list of entrants."""
    return digest(salt, user)[:_ALIAS]


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What is promised with the hash of the seed."""

    program: str
    playbook: str
    step: str
    draw: str  #: effect key of the step: names the draw
    prize: str  #: pool the prizes come from
    wanted: int  #: how many win
    per_user: int  #: prizes one person may win
    committed_at: str  #: when the hash was published, UTC
    closes_at: str  #: when entries close and the winners are drawn, UTC

    def commitment(self, salt: str, seed: str) -> str:
        """The hash that is published before the draw."""
        return digest(
            FORMAT, self.program, self.playbook, self.step, self.draw, self.prize, self.wanted, self.per_user,
            self.committed_at, self.closes_at, salt, seed,
        )  # fmt: skip


Entrants = Sequence[tuple[str, int]]
"""(pseudonym, entries), in order of pseudonym: the frozen list."""


def frozen(salt: str, entries: Iterable[tuple[str, int]]) -> tuple[list[tuple[str, int]], dict[str, str]]:
    """The list as it closes, and who is behind each pseudonym; nobody without an entry is in it.

    Parameters
    ----------
    entries: (user, entries) of each user once.
    """
    behind: dict[str, str] = {}
    rows = []
    for user, number in entries:
        if number > 0:
            alias = pseudonym(salt, user)
            behind[alias] = user
            rows.append((alias, min(number, MOST_ENTRIES)))
    return sorted(rows), behind


def list_hash(entrants: Entrants) -> str:
    """The hash of a frozen list."""
    whole = sha256()
    for place, (alias, number) in enumerate(entrants):
        whole.update(f"{chr(10) if place else ''}{alias} {number}".encode())
    return whole.hexdigest()


def ticket(seed: str, listed: str, alias: str, number: int) -> str:
    """The lot of one entry: the lower it is, the sooner it wins. ``number`` counts a person's entries from 1."""
    return digest(seed, listed, alias, number)


def ranking(seed: str, entrants: Entrants, count: int, per_user: int = 1) -> list[str]:
    """The pseudonyms of the first ``count`` winners, the first prize first.

    Parameters
    ----------
    seed: hex, as published.
    entrants: the frozen list.
    count: prizes.
    per_user: how many of them one person may win.
    """
    return [alias for _, alias in nsmallest(count, _lots(seed, list_hash(entrants), entrants, per_user))]


def _lots(seed: str, listed: str, entrants: Entrants, per_user: int) -> Iterator[tuple[str, str]]:
    """The lots that may win: of each person the lowest ones, as many as may win."""
    begun = sha256(f"{seed}\n{listed}\n".encode())
    for alias, number in entrants:
        own = begun.copy()
        own.update(f"{alias}\n".encode())
        if number == 1:
            own.update(b"1")
            yield own.hexdigest(), alias
            continue
        lots = []
        for entry in range(1, number + 1):
            one = own.copy()
            one.update(str(entry).encode())
            lots.append(one.hexdigest())
        for lot in [min(lots)] if per_user == 1 else nsmallest(per_user, lots):
            yield lot, alias


# ---------------------------------------------------------------------- the published file

FIELDS: Final = (
    "format", "program", "playbook", "step", "draw", "prize", "winners_wanted", "per_user", "committed_at",
    "closes_at", "salt", "seed",
)  # fmt: skip
"""Fields of the file that the commitment covers, in its order."""


def announcement(terms: Terms, commitment: str) -> dict[str, Any]:
    """The file before the draw: all but what would give the seed away."""
    return {
        "format": FORMAT, "program": terms.program, "playbook": terms.playbook, "step": terms.step,
        "draw": terms.draw, "prize": terms.prize, "winners_wanted": terms.wanted, "per_user": terms.per_user,
        "committed_at": terms.committed_at, "closes_at": terms.closes_at, "commitment": commitment,
    }  # fmt: skip


def publication(
    announced: Mapping[str, Any], salt: str, seed: str, entrants: Entrants, won: Sequence[str]
) -> dict[str, Any]:
    """The file after the draw."""
    return {
        **announced, "salt": salt, "seed": seed, "entrants_hash": list_hash(entrants),
        "entrants": [[alias, number] for alias, number in entrants], "winners": list(won),
    }  # fmt: skip


def faults(found: object, commitment: str | None = None) -> list[str]:
    """What is wrong with a published draw, in sentences; nothing when it is right.

    Parameters
    ----------
    found: the file, read.
    commitment: the hash as it was published before the draw, where the reader has it.
    """
    if not isinstance(found, dict):
        return ["the file is no JSON object"]
    wrong = _malformed(found)
    if wrong:
        return wrong
    entrants = [(alias, number) for alias, number in found["entrants"]]
    if commitment is not None and commitment.strip().lower() != found["commitment"]:
        wrong.append("the commitment is not the one that was published before the draw")
    if digest(*(found[name] for name in FIELDS)) != found["commitment"]:
        wrong.append("the commitment does not fit: the seed, the salt or the terms are not what was promised")
    aliases = [alias for alias, _ in entrants]
    if aliases != sorted(set(aliases)):
        wrong.append("the entrants are not in order, or one stands there twice")
    if list_hash(entrants) != found["entrants_hash"]:
        wrong.append("the list of entrants has changed: its hash does not fit")
    won = ranking(found["seed"], entrants, found["winners_wanted"], found["per_user"])
    if won != found["winners"]:
        wrong.append(_difference(found["winners"], won))
    return wrong


def _difference(said: Sequence[str], right: Sequence[str]) -> str:
    if len(said) != len(right):
        return f"there are {len(said)} winners, and there should be {len(right)}"
    place = next(place for place, (one, other) in enumerate(zip(said, right, strict=True)) if one != other)
    return f"winner {place + 1} is {said[place]}, and should be {right[place]}"


_TEXTS = ("program", "playbook", "step", "draw", "prize", "committed_at", "closes_at", "commitment")


def _malformed(found: dict[str, Any]) -> list[str]:
    """What cannot be recomputed at all."""
    if found.get("format") != FORMAT or found["format"] is True:
        return [f"the format is {found.get('format')!r}; this verb knows {FORMAT}"]
    missing = [name for name in (*FIELDS, "commitment") if name not in found]
    if {"seed", "salt"} >= set(missing) and "winners" not in found and missing:
        return ["nothing is drawn yet: the file holds the promise, and no seed, entrants and winners"]
    missing += [name for name in ("entrants", "entrants_hash", "winners") if name not in found]
    if missing:
        return [f"'{name}' is missing" for name in missing]
    surplus = sorted(found.keys() - {*FIELDS, "commitment", "entrants", "entrants_hash", "winners"})
    wrong = [f"'{name}' is no field of a draw" for name in surplus]
    wrong += [f"'{name}' is no text of one line" for name in _TEXTS if not _is_line(found[name])]
    numbers = ("winners_wanted", "per_user")
    wrong += [f"'{name}' is no whole number above 0" for name in numbers if not _counts(found[name])]
    hexes = {"seed": 64, "salt": 32, "entrants_hash": 64}
    wrong += [f"'{name}' is not {size} digits of hex" for name, size in hexes.items() if not _is_hex(found[name], size)]
    rows = found["entrants"]
    if not isinstance(rows, list) or not all(_is_row(row) for row in rows):
        wrong.append("'entrants' is no list of [pseudonym, entries]")
    if not isinstance(found["winners"], list) or not all(_is_hex(one, _ALIAS) for one in found["winners"]):
        wrong.append("'winners' is no list of pseudonyms")
    return wrong


def _is_row(row: object) -> bool:
    return isinstance(row, list) and len(row) == 2 and _is_hex(row[0], _ALIAS) and _counts(row[1], MOST_ENTRIES)


def _counts(value: object, most: int | None = None) -> bool:
    return isinstance(value, int) and value is not True and value > 0 and (most is None or value <= most)


def _is_line(value: object) -> bool:
    return isinstance(value, str) and "\n" not in value


def _is_hex(value: object, length: int) -> bool:
    return isinstance(value, str) and len(value) == length and not value.strip("0123456789abcdef")
