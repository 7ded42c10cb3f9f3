"""``POST /v1/playbooks/{id}/webhook``: another system begins a playbook for a user."""

from __future__ import annotations

from itertools import count

from starlette.responses import Response

from engine.api.answers import Refused, json_answer
from engine.api.engine import Engine, Program
from engine.api.gathering import Gathering, Parcel
from engine.api.openapi import WEBHOOK_SPEC
from engine.api.rates import Buckets
from engine.api.ways import Ask, Way
from engine.core.chance import effect_key
from engine.core.instants import format_instant
from engine.core.model import Event
from engine.core.starts import WEBHOOK
from engine.core.subjects import GROUP
from engine.door import MAX_ID, read_event
from engine.errors import EventRejected
from engine.registry import nearest


class Webhooks:
    """Begins playbooks with the trigger ``webhook``."""

    def __init__(self, engine: Engine, gathering: Gathering) -> None:
        self._engine = engine
        self._gathering = gathering
        self._calls = count(1)
        self._since = engine.clock.now()

    def way(self, buckets: Buckets | None = None) -> Way:
        """Its route."""
        return Way(
            method="POST", path="/v1/playbooks/{id}/webhook", answer=self.answer, spec=WEBHOOK_SPEC, body=True,
            buckets=buckets,
        )  # fmt: skip

    async def answer(self, ask: Ask) -> Response:
        """Take a call; given again with the same id, it begins nothing."""
        playbook = ask.request.path_params["id"]
        type_ = _type(self._engine.running(), playbook)
        given = ask.request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if given != "application/json":
            message = f"content type {given[:80]!r} is not read"
            raise Refused(415, "content_type", message, "content-type: application/json")
        ask.charge(1)
        event, raw = self._event(type_, self._engine.running().plan.by_id[playbook].subject, ask)
        repeated = await self._gathering.put(f"webhook {ask.who}", Parcel([(event, raw)]))
        status = "duplicate" if repeated else "accepted"
        about = {"user": event.user} if event.group is None else {"user": None, "group": event.group}
        return json_answer(202, {"playbook": playbook, **about, "id": event.id, "status": status})

    def _event(self, type_: str, kind: str, ask: Ask) -> tuple[Event, bytes]:
        """The call as an event: its body is put into one, so that the one strict reader reads it whole."""
        now = self._engine.clock.now()
        body = ask.body.strip(b" \t\r\n")
        if not body.startswith(b"{") or not body.endswith(b"}"):
            raise _malformed("not_object", "the body is not a JSON object")
        head = f'{{"type":"{type_}","time":"{format_instant(now)}"'.encode()
        rest = body[1:].lstrip(b" \t\r\n")
        raw = head + (b"}" if rest == b"}" else b"," + rest)
        try:
            event = read_event(raw, fallback_id=self._id(type_, ask))
        except EventRejected as error:
            raise _malformed(error.reason, error.message) from None
        if kind == GROUP and (event.group is None or event.user is not None):
            raise _malformed("group", "the call is for one group")
        if kind != GROUP and (event.user is None or event.group is not None):
            raise _malformed("user", "the call is for one user")
        event.internal = True  # the route is what says so: no record of a feed ever is
        return event, raw

    def _id(self, type_: str, ask: Ask) -> str:
        """The id of a call that names none: its sender's own, where it has one; else the call stands for itself."""
        own = ask.signed_id or ask.request.headers.get("idempotency-key", "")
        if own and len(own) <= MAX_ID // 2 and own.isascii() and own.isprintable():
            return f"{type_}:{own}"[:MAX_ID]
        return "webhook:" + effect_key(type_, str(self._since), str(next(self._calls)))


def _malformed(code: str, message: str) -> Refused:
    return Refused(400, code, message, '{"user": "u1", "data": {"reason": "call"}, "id": "ticket-7"}')


def _type(program: Program, name: str) -> str:
    """The type of the event that begins a playbook; raises Refused (404)."""
    ready = {
        playbook.id
        for playbook in program.plan.playbooks
        if any(WEBHOOK + playbook.id in (trigger.listens() or ()) for trigger in playbook.triggers)
    }
    if name in ready:
        return WEBHOOK + name
    if name in program.plan.by_id:
        message = f"playbook '{name}' cannot be begun so: it has no trigger {{webhook: true}}"
    else:
        message = f"no running playbook is called {name[:80]!r}"
    near = nearest(name, ready)
    listed = "these can be: " + ", ".join(sorted(ready)[:20]) if ready else "no running playbook has one"
    raise Refused(404, "playbook", message, f"did you mean '{near}'?" if near else listed)
