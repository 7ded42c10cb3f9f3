"""What becomes of a subject's coupons: redeemed, reversed, lapsed, or given back because nobody ever saw the code.

Rule 1: the desk decides (``coupons``), by one request a move; what it grants is booked here, under the key of the
request.
Rule 2: a coupon may go back when its journey is over and nothing that the journey decided after the grant went out.
What was decided for the outbox counts as seen until the outbox says that it is dead or was cancelled; a task for a
person, an event and a trait count at once. A playbook that tells nobody of the coupon (in a template, or in what a step
hands on) leaves that to others: it was seen when it was given.
Rule 3: instants of coupons stand in the subject's state only where a playbook listens for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from engine.core import coupons
from engine.core.coupons import CouponPool
from engine.core.instants import format_instant
from engine.core.judging import NOTABLE, Judging
from engine.core.model import Answer, Decision, Effect, Entry, Event, Grant, Journey, Lapse, Reserve, Why

REDEEMED, REVERSED, UNSENT = "coupon.redeemed", "coupon.reversed", "coupon.unsent"
"""Events that move a coupon; the data name its ``code``. The last one is told by the outbox alone."""

EXPIRED, EXPIRING = "coupon.expired", "coupon.expiring"
"""Told at the instant at which a coupon lapses, and ``remind`` before."""

MOVING = frozenset({REDEEMED, REVERSED, UNSENT})

BACK = "coupon returned"
"""Why what told of a returned coupon cannot be sent any more."""

_SAYS = frozenset({"message", "webhook", "task", "emit", "post", "set"})
"""Kinds of effects by which somebody may learn of a coupon."""

_WORDS = {
    "unknown": "no such code was given",
    "not_yours": "it was given to somebody else",
    "cancelled": "it went back to its pool, for it was never sent",
    "redeemed": "it was redeemed before",
    "expired": "it had lapsed",
    "not_redeemed": "it was not redeemed, or reversed before",
    "seen": "something that told of it went out, or still may",
}


def told(reason: str | None) -> str:
    """A refusal in a sentence."""
    return _WORDS.get(reason or "unknown", reason or "")


def saying(journey: Journey, kind: str, key: str, delivered: bool) -> tuple[str, ...]:
    """The codes an effect may have told of; the journey notes that it did."""
    if kind not in _SAYS:
        return ()
    if not delivered:
        journey.grants = ()
        return ()
    journey.grants = tuple(replace(it, said=(*it.said, key)) for it in journey.grants)
    return tuple(it.code for it in journey.grants)


class Couponing(Judging):
    """Moves the coupons of the subject at hand."""

    __slots__ = ()

    def granted(self, journey: Journey, pool: CouponPool, code: str, key: str, until: int | None, said: bool) -> None:
        """A step gave a coupon; ``said``: later steps speak of it, so it may go back while they have not."""
        state = self.state
        if pool.per_user is not None:
            given = [*state.coupons.get(pool.name, []), self.now]
            state.coupons = {**state.coupons, pool.name: given[-pool.per_user :]}
        if said:
            journey.grants = (*journey.grants, Grant(code, pool.name, self.now, key))
        if until is None:
            return
        lapses = list(state.lapses)
        if EXPIRING in self.plan.told and pool.remind is not None and until - pool.remind > self.now:
            lapses.append(Lapse(until - pool.remind, "expiring", code, key))
        if EXPIRED in self.plan.told:
            lapses.append(Lapse(until, "expired", code, key))
        if len(lapses) > len(state.lapses):
            state.lapses = lapses

    # ------------------------------------------------------------------ told from outside

    def coupon_event(self, event: Event) -> None:
        """An event tells what became of a code."""
        code = event.data.get("code")
        if not isinstance(code, str) or not code:
            self._trace_coupon("", event.type, "the event names no code")
        elif event.type == UNSENT:
            self._unsent(code, event)
        else:
            kind, what = (
                (coupons.REDEEM, coupons.REDEEMED) if event.type == REDEEMED else (coupons.REVERSE, coupons.REVERSED)
            )
            self._ask(kind, code, f"{event.id}:{what}", at=event.time)

    def _unsent(self, code: str, event: Event) -> None:
        """Something that told of a code will never go out."""
        message = event.data.get("message")
        for journey in self.state.journeys:
            for grant in journey.grants:
                if grant.code == code:
                    said = tuple(key for key in grant.said if key != message)
                    kept = replace(grant, said=said, lost=(*grant.lost, str(message)))
                    journey.grants = tuple(kept if it is grant else it for it in journey.grants)
                    return
        self._ask(coupons.RETURN, code, f"{event.id}:{coupons.RETURNED}", match="unsent")

    # ------------------------------------------------------------------ in time

    def lapse(self) -> None:
        """Instants of coupons that have come."""
        state = self.state
        due = [it for it in state.lapses if it.at <= self.now]
        if not due:
            return
        state.lapses = [it for it in state.lapses if it.at > self.now]
        for it in due:
            kind = coupons.LAPSE if it.what == "expired" else coupons.LOOK
            self._ask(kind, it.code, f"{it.key}:{it.what}")

    def give_back(self, journey: Journey) -> None:
        """A journey is over: what it was given and nobody saw goes back."""
        grants, journey.grants = journey.grants, ()
        for grant in grants:
            if not grant.said:
                self._ask(coupons.RETURN, grant.code, f"{grant.key}:{coupons.RETURNED}", lost=grant.lost)

    # ------------------------------------------------------------------ the desk's answer

    def _ask(
        self, kind: str, code: str, key: str, *, at: int | None = None, match: str = "first", lost: Sequence[str] = ()
    ) -> None:
        """Ask the desk for a move; ``lost``: what told of the code and must not go out when it is returned."""
        ask = Reserve(key=key, subject=self.state.id, kind=kind, names=[code], match=match, at=at)
        cause = self.cause

        def answered(answer: Answer) -> None:
            self.cause = cause
            if answer.granted:
                self._moved(ask, answer)
                self.out.cancels.extend((message, BACK) for message in lost)
            elif kind in (coupons.REDEEM, coupons.REVERSE):
                self._trace_coupon(code, kind, told(answer.reason))

        self.asks.append(ask)
        self.promised[key] = answered

    def _moved(self, ask: Reserve, answer: Answer) -> None:
        kind, code, data = ask.kind, ask.names[0], answer.data
        pool = answer.name or ""
        if kind == coupons.LOOK:
            self.tell(EXPIRING, self._about(pool, code, data), ask.key, None)
            return
        what = ask.key.rpartition(":")[2]
        delta = 1 if kind == coupons.REVERSE else -1
        self.out.entries.append(
            Entry(
                ask.key, self.now, "coupon", pool, what, 0 if data.get("lapsed") and kind != coupons.LAPSE else delta,
                self.state.id, code, data.get("amount"), data.get("until"), data.get("playbook"), data.get("step"),
                data.get("origin"),
            )
        )  # fmt: skip
        if kind == coupons.LAPSE:
            self.tell(EXPIRED, self._about(pool, code, data), ask.key, None)
        elif kind == coupons.RETURN:
            self._forget(pool, data)
            self.out.cancels.extend((key, BACK) for key in data.get("messages", ()))

    def _about(self, name: str, code: str, data: dict[str, Any]) -> dict[str, Any]:
        pool: CouponPool | None = self.plan.pools.get(name)
        until = data.get("until")
        shown = None if until is None else format_instant(until)
        return {"pool": name, "code": code, "expires_at": shown, "value": None if pool is None else pool.value}

    def _forget(self, pool: str, data: dict[str, Any]) -> None:
        """A returned coupon takes no place of its user, and no instant of it is waited for."""
        state, at = self.state, data.get("at")
        given = list(state.coupons.get(pool, ()))
        if at in given:
            given.remove(at)
            state.coupons = {**state.coupons, pool: given}
        if state.lapses:
            state.lapses = [it for it in state.lapses if it.key != data.get("key")]

    def _trace_coupon(self, code: str, what: str, words: str) -> None:
        """Note that an event about a coupon changed nothing."""
        if self.tracing < NOTABLE:
            return
        why = Why(at="coupon", value=False, text=f"{what} of {code or 'a coupon'} changes nothing: {words}")
        self.out.trace.append(Decision(self.now, "", self.state.id, None, self.cause, "skipped", [why]))


def unsent(effect: Effect, now: int) -> list[Event]:
    """What an effect's coupons are told when it will never go out."""
    return [
        Event(
            f"unsent:{effect.key}:{code}:{now}", UNSENT, now, effect.user, effect.group,
            {"code": code, "message": effect.key}, internal=True,
        )
        for code in effect.carries
    ]  # fmt: skip
