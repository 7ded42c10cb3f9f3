"""``POST /admin/{verb}`` on the Unix socket ``<store>.sock``: writing for the verbs while the daemon holds the store.

Rule: the socket is a file only its owner may open (0600), and that is the whole of its authentication.
"""

from __future__ import annotations

import asyncio
import os

import msgspec
from starlette.responses import Response

from engine.api.answers import Refused, busy, json_answer
from engine.api.calls import CALLS, decode, encode
from engine.api.engine import Engine
from engine.api.ways import Ask, Way
from engine.errors import CannotRun, DrumbeatError
from engine.registry import nearest


def ways(engine: Engine) -> list[Way]:
    """The routes of the socket."""

    async def call(ask: Ask) -> Response:
        name = ask.request.path_params["verb"]
        method = CALLS.get(name)
        if method is None:
            near = nearest(name, CALLS)
            hint = f"did you mean '{near}'?" if near else "one of " + ", ".join(sorted(CALLS))
            raise Refused(404, "verb", f"the daemon takes no '{name[:80]}'", hint)
        try:
            words = decode(ask.body, method.words)
        except msgspec.MsgspecError as error:
            raise Refused(400, "words", f"these are no words of {name}: {error}") from None
        try:
            decides = method.decides
            promise = (
                engine.jobs.submit(lambda store: method.run(store, words))
                if decides is None
                else engine.jobs.decide(lambda pump, at: decides(pump, words, at))
            )
            result = await asyncio.wrap_future(promise)
        except CannotRun as error:
            raise busy("store", error.message, 5) from error
        except DrumbeatError as error:
            raise Refused(409, "refused", error.message, error.hint) from error
        return Response(encode(result), media_type="application/json")

    async def alive(ask: Ask) -> Response:
        return json_answer(200, {"status": "ok", "process": os.getpid()})

    return [
        Way(method="POST", path="/admin/{verb}", answer=call, spec={"responses": {}}, body=True),
        Way(method="GET", path="/healthz", answer=alive, spec={"responses": {}}, public=True),
    ]
