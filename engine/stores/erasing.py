"""What an erasure leaves behind: amounts under a pseudonym, and the knowledge that somebody was erased, and when.

Rule 1: nothing that is kept names the person: the pseudonym is a keyed hash of the id, with the secret of the store.
Rule 2: ledgers stay whole: every row with an amount, a unit or a status is kept, its words are not.
Rule 3: what is sent again later from before the erasure is recognised by the pseudonym and its time, and dropped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b
from typing import Any

import msgspec
from msgspec import structs

from engine.core.model import NONE, Answer, Effect, Entry, State
from engine.core.unnaming import GONE, called, pattern
from engine.ports import Rejected

ALIAS = "erased-"
"""What every pseudonym begins with."""

OUTCOME = "erased"
"""Why a delivery to an erased person is not sent any more."""

_KEPT: Mapping[str, tuple[str, ...]] = {
    "message": ("template", "via", "purpose"),
    "coupon": ("pool", "code", "expires_at", "value"),
    "invite": ("group", "room"),
    "points": ("account", "delta", "pending", "balance", "reason"),
    "redeem": ("reward", "points", "account"),
    "badge": ("name",),
    "tag": ("add", "remove"),
    "tier": ("ladder", "from", "to"),
    "set": ("field",),
    "emit": ("type",),
    "webhook": ("method",),
    "post": ("group", "template"),
    "task": (),
    "nominate": ("role",),
    "select": ("name",),
    "rank": ("name",),
    "survey": ("survey", "answered", "score", "by"),
    "draw": ("prize",),
}
"""Kind of an effect -> what of its detail is no word about the person."""


def alias_of(subject: str, secret: str | None) -> str:
    """The pseudonym of a subject: 128 bits of BLAKE2b keyed with the secret of the store."""
    key = bytes.fromhex(secret) if secret else b""
    return ALIAS + blake2b(subject.encode(), key=key[:64], digest_size=16).hexdigest()


def scrubbed(effect: Effect, alias: str) -> Effect:
    """An effect as a ledger keeps it of somebody who was erased."""
    kept = _KEPT.get(effect.kind, ())
    detail = {name: value for name, value in effect.detail.items() if name in kept}
    user = None if effect.user is None else alias
    reason = _word(effect.reason)
    return structs.replace(effect, user=user, detail=detail, to=None, spares=(), carries=(), reason=reason)


def anonymous(entry: Entry, subject: str, until: int, alias: Callable[[str], str]) -> Entry:
    """An entry as the ledger keeps it when a subject is erased; those of others and later ones are as they were.

    Keys that are no effect keys hold ids of events: they are hashed as the subject is, so links still hold.
    """
    if entry.subject != subject or entry.time > until:
        return entry
    key, origin = (it if it is None or _KEY.fullmatch(it) else alias(it) for it in (entry.key, entry.origin))
    return structs.replace(entry, subject=alias(subject), key=key, origin=origin)


_KEY = re.compile(r"[0-9a-f]{32}(:[a-z_]+)?")
"""An effect key, and what of its step it was."""


class Unnamed:
    """Takes somebody who was erased out of rows and answers on groups and the program.

    Parameters
    ----------
    subject, alias: the id, and the pseudonym that stands where rows had it.
    answers: those that name the subject: under what other names lists show it stands in them.
    """

    def __init__(self, subject: str, alias: str, answers: Iterable[Answer] = ()) -> None:
        self.subject = subject
        self.alias = alias
        names = dict.fromkeys(name for it in answers for name in called(it.data, subject))
        self.words = [subject, *names]
        self._found = pattern(subject, list(names))

    def effect(self, effect: Effect) -> Effect | None:
        """An effect without the name of the subject; None when it names it not."""
        ours = _KEPT.get(effect.kind, ())  # words of the program, such as the name of a group
        detail = {
            name: it if name in ours and isinstance(it, str) else self.value(it) for name, it in effect.detail.items()
        }
        if detail == effect.detail:
            return None
        if effect.detail.get("candidate") == self.subject:
            detail["title"] = ""  # it was about him
        spares = [structs.replace(it, text=it.text and self._text(it.text)) for it in effect.spares]
        return structs.replace(effect, detail=detail, spares=spares)

    def answer(self, answer: Answer) -> Answer | None:
        """As ``effect``, of what the census answered."""
        data = self.value(answer.data)
        return None if data == answer.data else structs.replace(answer, data=data)

    def value(self, value: Any) -> Any:
        """The pseudonym for the id, and no name where the id or the name stands in words."""
        if isinstance(value, str):
            return self.alias if value == self.subject else self._text(value)
        if isinstance(value, Mapping):
            about = value.get("user") == self.subject
            return {name: None if about and name == "name" else self.value(one) for name, one in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.value(one) for one in value]
        return value

    def _text(self, text: str) -> str:
        return self._found.sub(GONE, text)


def _word(reason: str | None) -> str | None:
    """A reason that is a word of ours; a sentence may hold anything."""
    return reason if reason is None or reason.replace("_", "").isalpha() else OUTCOME


def at_rest(state: State) -> bool:
    """Is there nothing of a person in a state: was it erased, and did nothing happen since?"""
    known = (state.traits, state.series, state.consents, state.tags, state.badges, state.groups, state.selections)
    busy = (state.journeys, state.goals, state.holds, state.tasks, state.slots)
    return not any(known) and not any(busy) and state.created_at is None and state.last_active is None


def disguised(state: State, alias: str) -> State:
    """The state under its pseudonym; nothing wakes it."""
    return structs.replace(state, id=alias, wake_at=None, segments=(), coupons=state.coupons or NONE)


def about(rejected: Iterable[Rejected], subject: str) -> list[int]:
    """Numbers of the records in quarantine that are about a subject, or may be."""
    return [it.number for it in rejected if _names(it.raw, subject)]


def _names(raw: bytes, subject: str) -> bool:
    name = subject.encode()
    if name not in raw:
        return False
    try:
        found: Any = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return True  # nobody can read it; it holds the name, so it goes
    return isinstance(found, dict) and subject in (found.get("user"), found.get("subject"), found.get("group"))
