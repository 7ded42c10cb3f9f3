"""Draws, as a store has them: what was promised, who won, and the file from which anybody can work it out again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from engine.core.draws import pseudonym
from engine.core.model import Effect
from engine.core.subjects import BEFORE_USERS, subject_of
from engine.errors import UsageError
from engine.insight.subject import instant
from engine.ports import Store

_SHORTEST = 6
"""Letters of a key that are enough to name a draw, when no other begins with them."""


_PIECE = 1_000


def _rows(store: Store) -> list[Effect]:
    """The rows of all draws, by time. Only groups and the program draw, and their ids come before those of users."""
    found = []
    for subject in _others(store):
        for effect, _ in store.effects(subject):
            if effect.kind == "draw" and effect.status == "planned" and "published" in effect.detail:
                found.append(effect)
    return sorted(found, key=lambda it: (it.time, it.key))


def _others(store: Store) -> Iterator[str]:
    after = ""
    while names := store.population(after, _PIECE):
        for name in names:
            if name >= BEFORE_USERS:
                return
            yield name
        after = names[-1]


def draws(store: Store) -> list[dict[str, Any]]:
    """All draws, the oldest first, ready for JSON."""
    found: dict[str, dict[str, Any]] = {}
    for effect in _rows(store):
        said, detail = effect.detail["published"], effect.detail
        row = found.setdefault(said["draw"], {"key": said["draw"], "state": "promised"})
        row |= {
            "playbook": said["playbook"], "step": said["step"], "group": effect.group, "prize": said["prize"],
            "wanted": said["winners_wanted"], "committed_at": said["committed_at"], "closes_at": said["closes_at"],
            "commitment": said["commitment"],
        }  # fmt: skip
        if detail.get("seed") is not None:
            row |= {"state": "drawn", "drawn_at": instant(effect.time), "seed": detail["seed"]}
            row["winners"] = [
                {"user": user, "code": code} for user, code in zip(detail["winners"], detail["codes"], strict=True)
            ]
    return list(found.values())


def draw_of(store: Store, key: str) -> dict[str, Any]:
    """One draw by its key or the beginning of it; raises UsageError when none is meant."""
    hint = "drumbeat draw list shows the keys"
    if len(key) < _SHORTEST:
        raise UsageError(f"'{key}' is too short for the key of a draw: give {_SHORTEST} letters at least", hint=hint)
    found = [row for row in draws(store) if row["key"].startswith(key)]
    if len(found) != 1:
        message = f"{len(found)} draws have a key that begins with '{key}'" if found else f"there is no draw '{key}'"
        raise UsageError(message, hint="give more letters" if found else hint)
    return found[0]


def publication_of(store: Store, key: str) -> dict[str, Any]:
    """The file of a draw, as far as it has come: before the draw the promise alone."""
    draw = draw_of(store, key)["key"]
    last = [effect for effect in _rows(store) if effect.detail["published"]["draw"] == draw][-1]
    said: dict[str, Any] = dict(last.detail["published"])
    if last.detail.get("seed") is None:
        return said
    answers = store.answers(subject_of(last.user, last.group))
    entrants = answers[last.detail["list"]].data["entrants"]
    return {**said, "entrants": [list(row) for row in entrants]}


def standing(found: dict[str, Any], user: str) -> dict[str, Any]:
    """How a user stands in a published draw: his pseudonym, his entries, and the places at which he won."""
    alias = pseudonym(found["salt"], user)
    entries = next((number for name, number in found["entrants"] if name == alias), 0)
    return {
        "pseudonym": alias,
        "entries": entries,
        "won": [place for place, name in enumerate(found["winners"], 1) if name == alias],
    }
