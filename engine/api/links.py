"""``/u/{token}``, ``/c/{token}`` and ``/s/{token}``: the signed links of messages, followed by people.

Rule 1: a token is believed before anything else is looked at, and nothing else of a request is.
Rule 2: only a POST unsubscribes. What opens every link of a mail to look at it (scanners, previews) changes nothing.
Rule 3: nobody is told whether a message or a person exists: a link that is signed has the same answer always.
Rule 4: what stands against taking events (a clock that jumped, an edited program) does not stand against these: they
wait in the inbox. Unsubscribing is durable before it is answered; whoever clicks is led on, counted or not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import msgspec
from starlette.responses import Response

from engine.api.answers import Refused, cannot, json_answer
from engine.api.engine import Engine
from engine.api.gathering import Gathering, Parcel
from engine.api.meters import Meters
from engine.api.openapi import CLICK_SPEC, SURVEY_SPEC, UNSUBSCRIBE_ASK_SPEC, UNSUBSCRIBE_SPEC
from engine.api.pages import ASK, DONE, LATER, NOWHERE, language_of, page
from engine.api.rates import Buckets
from engine.api.ways import Ask, Way
from engine.core.fold import consent_given
from engine.core.instants import format_instant
from engine.core.links import CLICK, SURVEY, UNSUBSCRIBE, Signed, click_id, read
from engine.core.model import SECOND, Event, State
from engine.door import read_event
from engine.errors import CannotRun
from engine.ports import Delivery, Store

RATE = (500, SECOND)
"""Requests of one address, microseconds. A proxy before the daemon is one address for everybody, so it is wide."""

_MOST_ANSWERS, _LONGEST_ANSWER = 100, 4_000
ANSWERED = "survey.answered"

_AGAIN = 100  #: how often somebody may unsubscribe by one link, agreeing anew in between
Brought = tuple[Event, bytes]
"""An event and its bytes."""

T = TypeVar("T")
_log = logging.getLogger(__name__)


class LinkDoor:
    """Answers signed links.

    Parameters
    ----------
    signing: key of the links of this store.
    """

    def __init__(self, engine: Engine, gathering: Gathering, signing: bytes, meters: Meters) -> None:
        self._engine = engine
        self._gathering = gathering
        self._signing = signing
        self._meters = meters

    def ways(self) -> Iterable[Way]:
        """Its routes; asked for by the server's loop."""
        buckets = Buckets(RATE, asyncio.get_running_loop().time)
        yield Way(
            method="GET", path="/u/{token}", answer=self.ask, spec=UNSUBSCRIBE_ASK_SPEC, public=True,
            buckets=buckets,
        )  # fmt: skip
        yield Way(
            method="POST", path="/u/{token}", answer=self.unsubscribe, spec=UNSUBSCRIBE_SPEC, public=True,
            body=True, buckets=buckets,
        )  # fmt: skip
        yield Way(
            method="GET", path="/c/{token}", answer=self.click, spec=CLICK_SPEC, public=True,
            buckets=buckets,
        )  # fmt: skip
        yield Way(
            method="POST", path="/s/{token}", answer=self.survey, spec=SURVEY_SPEC, public=True, body=True,
            buckets=buckets,
        )  # fmt: skip

    async def ask(self, ask: Ask) -> Response:
        """The question; the store is not even asked."""
        language = self._language(ask)
        if self._signed(UNSUBSCRIBE, ask) is None:
            self._meters.link("ask", "not_ours")
            return page(NOWHERE, language, 404)
        self._meters.link("ask", "shown")
        return page(ASK, language)

    async def unsubscribe(self, ask: Ask) -> Response:
        """Revoke what the message was for; by the button, or by a mailbox's own (RFC 8058). The body says nothing."""
        language = self._language(ask)
        signed = self._signed(UNSUBSCRIBE, ask)
        if signed is None:
            self._meters.link("unsubscribe", "not_ours")
            return page(NOWHERE, language, 404)
        try:
            await self._put("unsubscribe", lambda store: self._leaving(store, signed.key))
        except Refused as refused:
            return page(LATER, language, refused.status, refused.headers)
        return page(DONE, language)

    async def click(self, ask: Ask) -> Response:
        """Lead on to the signed target, and count it; a HEAD is nobody who reads."""
        signed = self._signed(CLICK, ask)
        if signed is None:
            self._meters.link("click", "not_ours")
            return page(NOWHERE, self._language(ask), 404)
        if ask.request.method != "GET":
            self._meters.link("click", "head")
        else:
            try:
                await self._put("click", lambda store: self._clicked(store, signed))
            except Refused as refused:
                _log.warning("a click was not counted: %s", refused.message)
        headers = {
            "location": signed.target, "cache-control": "no-store", "referrer-policy": "no-referrer",
            "x-robots-tag": "noindex, nofollow",
        }  # fmt: skip
        return Response(status_code=302, headers=headers)

    async def survey(self, ask: Ask) -> Response:
        """Take the answers of who was invited to a survey; whether he is known still is nobody's business."""
        signed = self._signed(SURVEY, ask)
        if signed is None:
            self._meters.link("survey", "not_ours")
            raise Refused(404, "not_found", "no invitation has this token", "take it from the address as it stands")
        answers = _answers(ask.body)
        await self._put("survey", lambda store: self._answered(store, signed.key, answers))
        return json_answer(202, {"accepted": True})

    # ------------------------------------------------------------------ requests

    def _signed(self, kind: str, ask: Ask) -> Signed | None:
        ask.charge(1)
        return read(self._signing, kind, ask.request.path_params["token"])

    def _language(self, ask: Ask) -> str:
        program = self._engine.program()
        usual = program.plan.env.locale if program is not None else "en"
        return language_of(ask.request.headers.get("accept-language", ""), usual)

    async def _put(self, link: str, question: Callable[[Store], Brought | None]) -> None:
        """Have the thread of the store make an event, and have that committed; raises Refused."""
        outcome = "refused"
        try:
            event = await asked(self._engine, question)
            outcome = "nobody"
            if event is not None:
                outcome = "refused"
                repeated = await self._gathering.put("links", Parcel([event]))
                outcome = "repeated" if repeated else "taken"
        finally:
            self._meters.link(link, outcome)

    # ------------------------------------------------------------------ events; by the thread of the store

    def _leaving(self, store: Store, key: str) -> Brought | None:
        found = delivery_of(store, key)
        if found is None:
            return None
        delivery, state = found
        effect, channel = delivery.item.effect, delivery.item.channel
        for number in range(_AGAIN):
            id_ = f"unsubscribe:{key}" + (f":{number}" if number else "")
            decided = bool(store.known([id_], waiting=False))
            # Once more only for who agreed anew since: the link in an old mail works as long as the mail is there.
            if not decided or consent_given(state, channel, effect.purpose or "*") is False:
                return event_of(delivery, id_, "message.unsubscribed", self._engine.clock.now())
        return None

    def _clicked(self, store: Store, signed: Signed) -> Brought | None:
        found = delivery_of(store, signed.key)
        if found is None:
            return None
        now = self._engine.clock.now()
        return event_of(found[0], click_id(signed), "message.clicked", now, {"url": signed.target})

    def _answered(self, store: Store, key: str, answers: dict[str, str | int]) -> Brought | None:
        found = delivery_of(store, key)
        if found is None:
            return None
        name = str(found[0].item.effect.detail.get("template", "")).removeprefix("survey/")
        more = {"survey": name, "key": key, "answers": answers}
        return event_of(found[0], f"survey:{key}", ANSWERED, self._engine.clock.now(), more)


def _answers(body: bytes) -> dict[str, str | int]:
    """The answers of a request; raises Refused where there are none."""
    try:
        found = msgspec.json.decode(body, type=_Answers).answers
    except (msgspec.DecodeError, RecursionError) as error:
        hint = '{"answers": {"would": 9, "why": "..."}}'
        raise Refused(400, "bad_body", f"the body holds no answers: {error}", hint) from None
    if len(found) > _MOST_ANSWERS or any(len(str(value)) > _LONGEST_ANSWER for value in found.values()):
        raise Refused(400, "bad_body", f"at most {_MOST_ANSWERS} answers of {_LONGEST_ANSWER} characters each")
    return found


class _Answers(msgspec.Struct):
    answers: dict[str, str | int]


async def asked(engine: Engine, question: Callable[[Store], T]) -> T:
    """The answer of the thread that owns the store; raises Refused when there is none now."""
    try:
        return await asyncio.wrap_future(engine.jobs.submit(question))
    except CannotRun as error:
        raise cannot(error) from error
    except Exception as error:
        raise Refused(500, "internal", "the store cannot answer this request; nothing was taken") from error


def delivery_of(store: Store, key: str) -> tuple[Delivery, State] | None:
    """A delivery and the state of its user; None when either is not there, or no more."""
    delivery = store.delivery(key)
    user = delivery.item.effect.user if delivery is not None else None
    if delivery is None or user is None or "text" not in delivery.item.effect.detail:
        return None  # of an erased person the ledger keeps the effect without its words, under a pseudonym
    state = store.load([user]).get(user)
    return None if state is None else (delivery, state)


def event_of(delivery: Delivery, id_: str, type_: str, time: int, more: Mapping[str, Any] | None = None) -> Brought:
    """What happened to a message, as an event of its user, with its bytes as a feed would bring it.

    Parameters
    ----------
    time: instant, microseconds.
    more: data beside what the message was.
    """
    effect = delivery.item.effect
    data = {
        "channel": delivery.item.channel, "purpose": effect.purpose, "template": effect.detail.get("template"),
        "playbook": effect.playbook, "step": effect.step, "effect": effect.key, **(more or {}),
    }  # fmt: skip
    record = {"id": id_, "type": type_, "time": format_instant(time), "user": effect.user, "data": data}
    raw = msgspec.json.encode(record)
    return read_event(raw), raw
