"""``POST /v1/coupons/redeem``: a till asks whether a code is good, and it is used up by the answer."""

from __future__ import annotations

import asyncio
import os
from decimal import Decimal
from itertools import count

import msgspec
from starlette.responses import Response

from engine.api.answers import Refused, busy, json_answer, refusal
from engine.api.calls import decode, encode
from engine.api.engine import Engine
from engine.api.openapi import REDEEM_SPEC
from engine.api.rates import Buckets
from engine.api.ways import Ask, Way
from engine.errors import CannotRun, InternalError
from engine.runtime.redeeming import Redeem, Verdict, redeem

_MOST = 200  # letters of an id or a code
_EXAMPLE = '{"id": "order-17", "code": "NU-7Q2M", "user": "u1", "order": "17", "amount": 128.50}'

_STATUS = {
    "unknown": 404, "not_yours": 403, "cancelled": 410, "expired": 410, "redeemed": 409, "request": 409,
    "min_spend": 422, "currency": 422,
}  # fmt: skip
"""Reason of a refusal -> status of the answer."""


class _Words(msgspec.Struct, forbid_unknown_fields=True):
    """What a request may say."""

    code: str
    id: str | None = None
    user: str | None = None
    order: str | None = None
    amount: Decimal | int | None = None
    currency: str | None = None


class Redeeming:
    """Redeems codes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._calls = count(1)
        self._run = os.urandom(8).hex()

    def way(self, buckets: Buckets | None = None) -> Way:
        """Its route. It has no ``user`` to be told apart by, so it is limited as the feed is: codes are not guessed."""
        return Way(
            method="POST", path="/v1/coupons/redeem", answer=self.answer, spec=REDEEM_SPEC, body=True, buckets=buckets,
        )  # fmt: skip

    async def answer(self, ask: Ask) -> Response:
        """Redeem a code; the same request once more is answered as before."""
        self._engine.running()
        ask.charge(1)
        wanted = self._wanted(ask)
        try:
            promise = self._engine.jobs.decide(lambda pump, at: redeem(pump, wanted, at))
            verdict = await asyncio.wrap_future(promise)
        except InternalError as error:
            raise Refused(500, "internal", error.message) from error
        except CannotRun as error:
            raise busy("store", "the engine cannot decide now", 5) from error
        return _answer(verdict)

    def _wanted(self, ask: Ask) -> Redeem:
        given = ask.request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if given != "application/json":
            raise Refused(415, "content_type", f"content type {given[:80]!r} is not read", "application/json")
        try:
            words = decode(ask.body, _Words)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise _malformed(str(error)[:200]) from None
        id_ = words.id or ask.signed_id or ask.request.headers.get("idempotency-key") or self._own()
        for name, text in (("code", words.code), ("id", id_), ("user", words.user), ("order", words.order)):
            if text is not None and not _fit(text):
                raise _malformed(f"'{name}' is empty, longer than {_MOST} letters, or holds a control character")
        if words.amount is not None and words.amount < 0:
            raise _malformed("'amount' is below zero")
        amount = None if words.amount is None else Decimal(words.amount)
        return Redeem(id_, words.code, words.user, words.order, amount, words.currency)

    def _own(self) -> str:
        """The id of a request that names none: it stands for itself."""
        return f"{self._run}:{next(self._calls)}"


def _fit(text: str) -> bool:
    return 0 < len(text) <= _MOST and text.isprintable()


def _malformed(message: str) -> Refused:
    return Refused(400, "malformed", message, _EXAMPLE)


def _answer(verdict: Verdict) -> Response:
    if verdict.status == "redeemed":
        return Response(encode(verdict), media_type="application/json", headers={"cache-control": "no-store"})
    status = _STATUS.get(verdict.reason or "", 409)
    return json_answer(status, refusal(verdict.reason or "", verdict.message, "nothing was changed"))
