"""Answers what referral steps ask: the code of a subject, and whose a code is.

An answer hangs on what two subjects are, so it is given at one place, in the order of decisions, and kept like every
other answer: ``why`` never has to ask again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.core.fold import is_erased
from engine.core.model import Answer, Reserve, State
from engine.core.referrals import GIVE, USE, Referral, own_code, record, refusal

if TYPE_CHECKING:
    from engine.runtime.session import Session

KINDS = frozenset({GIVE, USE})
"""Kinds of requests answered here."""


class Referring:
    """The codes of one session.

    Parameters
    ----------
    session: has the subjects.
    secret: key of codes.
    """

    def __init__(self, session: Session, secret: bytes) -> None:
        self._session = session
        self._secret = secret
        self._owners: dict[str, str] = {}  #: key of a code -> its owner, of those given since the last commit

    def handed_over(self) -> None:
        """What was given is in the store; one that keeps no answers leaves it to this session."""
        if not self._session.resident:
            self._owners.clear()

    def take(self, ask: Reserve, now: int) -> Answer:
        """Answer a request at an instant; what it makes known goes with the transaction."""
        session, referral = self._session, self._session.plan.referrals[ask.names[0]]
        answer = self._give(ask, referral) if ask.kind == GIVE else self._use(ask, referral, now)
        session.desk.answers.append(answer)
        return answer

    def _give(self, ask: Reserve, referral: Referral) -> Answer:
        code = own_code(referral, ask.subject, self._secret)
        key = record(referral.name, code)
        if self._owner(key) != ask.subject:  # somebody who was erased and came back has the same code
            self._owners[key] = ask.subject
            self._session.askers[key] = ask.subject
            self._session.desk.answers.append(Answer(key=key, granted=True, unit=code))
        return Answer(key=ask.key, granted=True, name=referral.name, unit=code)

    def _use(self, ask: Reserve, referral: Referral, now: int) -> Answer:
        code = ask.names[1]
        owner = self._owner(record(referral.name, code))
        inviter = self._known(owner) if owner is not None else None
        reason = refusal(referral, self._session.states[ask.subject], inviter, now)
        if reason is not None or inviter is None:
            return Answer(key=ask.key, granted=False, reason=reason, name=referral.name)
        return Answer(key=ask.key, granted=True, name=referral.name, unit=code, data={"inviter": inviter.id})

    def _owner(self, key: str) -> str | None:
        found = self._owners.get(key)
        return found if found is not None or self._session.resident else self._session.store.asker(key)

    def _known(self, owner: str) -> State | None:
        """The owner of a code; None when it was erased: nobody is brought by somebody who is gone."""
        self._session.bring((owner,))
        state = self._session.states.get(owner)
        return None if state is None or is_erased(state) else state
