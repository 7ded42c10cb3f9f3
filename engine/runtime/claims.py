"""What is judged once more when a message is claimed for sending: is it still wanted, and still in time?

Between decision and sending a message may have waited: for a retry, for a channel, for the process to come back.

Rule 1: the first that refuses names the reason, in the order of the gates: ``consent``, then ``expired``.
Rule 2: consent goes by the user as the store has it now; refused for one channel, the next one is asked for.
Rule 3: ``valid_for`` goes by the time that passed on the machine since the decision was committed (the pump notes the
deadline then). So a backlog is sent as it would have been sent then, whatever the size of batches, and what lay in a
store that nobody ran, or was tried for too long, is not sent late.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.core.fold import consent_given
from engine.core.model import State
from engine.core.plan import Plan
from engine.core.policies import DEFAULT_CONSENT, consents
from engine.ports import Clock, Outgoing, Settlement, Store


class Claims:
    """Judges claimed messages.

    Parameters
    ----------
    plan: what the rules are.
    store: where users are.
    clock: the machine's clock.
    """

    def __init__(self, plan: Plan, store: Store, clock: Clock) -> None:
        self._plan = plan
        self._store = store
        self._clock = clock

    def adopt(self, plan: Plan) -> None:
        """Judge by another plan from now on."""
        self._plan = plan

    def judge(self, items: Sequence[Outgoing]) -> tuple[list[Outgoing], list[Settlement]]:
        """(what is to be sent, what becomes of the others)."""
        now = self._clock.now()
        asked = {item.effect.user for item in items if self._rule(item) != "none"}
        states = self._store.load([user for user in asked if user is not None]) if asked else {}
        wanted: list[Outgoing] = []
        refused: list[Settlement] = []
        for item in items:
            found = self._consent(item, states) or _lateness(item, now)
            if found is None:
                wanted.append(item)
            else:
                refused.append(found)
        return wanted, refused

    def _rule(self, item: Outgoing) -> str:
        """The consent rule of a message; what is no message needs none."""
        effect = item.effect
        if effect.kind != "message" or effect.purpose is None:
            return "none"
        playbook = self._plan.by_id.get(effect.playbook or "")
        rules = DEFAULT_CONSENT if playbook is None else playbook.policy.consent
        return rules.get(effect.purpose, "required")

    def _consent(self, item: Outgoing, states: dict[str, State]) -> Settlement | None:
        rule = self._rule(item)
        if rule == "none":
            return None
        state = states.get(item.effect.user or "")
        for place, channel in enumerate([item.channel, *after(item)]):
            given = None if state is None else consent_given(state, channel, item.effect.purpose or "")
            if consents(rule, given):
                return None if place == 0 else Settlement(item.key, "passed_on", "consent", channel=channel)
        return Settlement(item.key, "cancelled", "consent")


def _lateness(item: Outgoing, now: int) -> Settlement | None:
    until = item.effect.until
    return Settlement(item.key, "cancelled", "expired") if until is not None and now > until else None


def after(item: Outgoing) -> list[str]:
    """The channels a message may still go through after the one it is claimed for."""
    names = [spare.channel for spare in item.effect.spares]
    return names[names.index(item.channel) + 1 :] if item.channel in names else names


def refused_for_good(item: Outgoing, reason: str) -> Settlement:
    """A channel will never send a message: the next one has its try, or there is none."""
    others = after(item)
    if not item.effect.spares:
        return Settlement(item.key, "dead", reason)
    said = f"{item.channel}: {reason}"
    return Settlement(item.key, "passed_on", said, channel=others[0]) if others else Settlement(item.key, "dead", said)
