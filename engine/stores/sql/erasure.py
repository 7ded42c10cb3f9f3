"""Erasure in a database: rows about a person are emptied or moved to a pseudonym.

Rule 1: the rows change in the transaction that decides the erasure, after everything else in it.
Rule 2: bytes that are freed stay in files until ``scrub``; how, each database does in its own way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from engine.core.model import State
from engine.ports import UNSCRUBBED, Rejected
from engine.stores import codec, erasing
from engine.stores.sql.filed import QueryFile

_SECRET = "secret"  # noqa: S105 - the name of the record that holds it


class Erasure:
    """Knows who was erased; every method that changes the file is called inside a transaction but ``scrub``."""

    def __init__(self, file: QueryFile) -> None:
        self._file = file
        self._known: dict[str, int] = dict(file.rows("all_erased"))
        self._secret: str | None = None
        self._hidden = set(self._known)  #: pseudonyms that may have a state

    def __bool__(self) -> bool:
        return bool(self._known)

    def alias(self, subject: str) -> str:
        """The pseudonym of a subject."""
        if self._secret is None:
            found = self._file.rows("meta", _SECRET)
            self._secret = str(found[0][0]) if found else None
        return erasing.alias_of(subject, self._secret)

    def load(self, load: Callable[[Iterable[str]], dict[str, State]], subjects: Iterable[str]) -> dict[str, State]:
        """States, those of erased people under their own names."""
        if not self._known:
            return load(subjects)
        wanted = list(subjects)
        found = load(wanted)
        aliases = {self.alias(it): it for it in self.at(it for it in wanted if it not in found)}
        for alias, state in load(aliases).items():
            state.id = aliases[alias]
            found[state.id] = state
        return found

    def follow(self) -> None:
        """Know what another process wrote."""
        self._known = dict(self._file.rows("all_erased"))
        self._hidden = set(self._known)

    def at(self, subjects: Iterable[str]) -> dict[str, int]:
        """When these subjects were erased, those who were."""
        if not self._known:
            return {}
        return {it: at for it in set(subjects) if (at := self._known.get(self.alias(it))) is not None}

    def disguised(self, states: Sequence[State], erased: Sequence[tuple[str, int]]) -> list[State]:
        """The states as they are to be written: those of erased people under their pseudonyms."""
        now = {subject for subject, _ in erased}
        out = []
        for state in states:
            hidden = erasing.at_rest(state) and (state.id in now or self.alias(state.id) in self._known)
            out.append(erasing.disguised(state, self.alias(state.id)) if hidden else state)
        return out

    def revived(self, states: Sequence[State]) -> list[str]:
        """Pseudonyms whose states go on under the names of people who came back."""
        if not self._hidden:
            return []
        back = (self.alias(it.id) for it in states if not erasing.at_rest(it))
        return [alias for alias in back if alias in self._hidden]

    def overwrite(self) -> None:
        """From now on freed bytes are written over, where the database can."""

    def erase(self, subject: str, at: int) -> None:
        """Empty or rename everything about a subject up to an instant."""
        write, alias = self._file.write, self.alias(subject)
        write("save_erased", [(alias, at)])
        write("save_meta", [(UNSCRUBBED, "yes")])
        write("erase_decisions", [(subject, at)])
        for seq, key, time, channel, body in self._file.rows("effects_to_scrub", subject, at):
            effect = erasing.scrubbed(codec.effect_from(key, time, channel, body), alias)
            write("scrub_effect", [(alias, codec.effect_body(effect), seq)])
        self._unname(subject, alias, at)
        self._leave(subject, alias)
        write("alias_answers", [(alias, subject)])
        write("alias_goals", [(alias, subject, at)])
        write("alias_milestones", [(alias, subject, at)])
        suspects = [Rejected(*row) for row in self._file.rows("naming", subject.encode())]
        write("drop_rejected", ((number,) for number in erasing.about(suspects, subject)))

    def _leave(self, subject: str, alias: str) -> None:
        """What is found by a name beside the rows is found by the pseudonym."""

    def _unname(self, subject: str, alias: str, at: int) -> None:
        """Rows about groups and the program name users: who was chosen, proposed, drawn."""
        write, rows = self._file.write, self._file.rows
        answers = [codec.decode_answer(body) for _, body in rows("answers_naming", _bytes_of(subject))]
        names = erasing.Unnamed(subject, alias, answers)
        found = {row[0]: row for word in names.words for row in rows("effects_naming", _bytes_of(word), at)}
        for seq, key, time, channel, body in found.values():
            effect = names.effect(codec.effect_from(key, time, channel, body))
            if effect is not None:
                write("rename_in_effect", [(codec.effect_body(effect), seq)])
        for it in answers:
            answer = names.answer(it)
            if answer is not None:
                write("rename_in_answer", [(codec.encode_answer(answer), it.key)])

    def drop_state(self, subject: str) -> None:
        """The state that stood in the table."""
        self._file.write("erase_subject", [(subject,)])

    def committed(self, erased: Sequence[tuple[str, int]], revived: Sequence[str], states: Sequence[State]) -> None:
        """The erasures are durable, and so are the states written with them."""
        if not erased and not self._known:  # then no state has a pseudonym
            return
        self._hidden.difference_update(revived)
        self._hidden.update(it.id for it in states if it.id.startswith(erasing.ALIAS))
        for subject, at in erased:
            alias = self.alias(subject)
            self._known[alias] = max(at, self._known.get(alias, at))

    def unscrubbed(self) -> bool:
        """Was anybody erased since the file was written anew?"""
        return any(value for (value,) in self._file.rows("meta", UNSCRUBBED))

    def scrub(self) -> None:
        """See that no freed byte is left; a reader may be in the way."""
        raise NotImplementedError


def _bytes_of(word: str) -> bytes:
    """A word as it stands in what is kept."""
    return msgspec.json.encode(word)[1:-1]
