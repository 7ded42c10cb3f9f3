"""openapi.json: what each route takes and answers, written beside the routes and put together for a listener."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from engine import __version__

if TYPE_CHECKING:
    from engine.api.ways import Way

Spec = Mapping[str, Any]


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False}


def _json(schema: Any) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


_TEXT = {"type": "string"}
_ID = {"type": "string", "minLength": 1, "maxLength": 512}
_COUNT = {"type": "integer", "minimum": 0}
_ERROR = _object(["error"], error=_object(["code", "message", "hint"], code=_TEXT, message=_TEXT, hint=_TEXT))

_EVENT = {
    **_object(
        ["id", "type", "time"],
        id=_ID,
        type={"type": "string", "minLength": 1, "maxLength": 200},
        time={"type": "string", "format": "date-time", "description": "RFC 3339 with an offset or Z"},
        user={"type": ["string", "null"], "minLength": 1, "maxLength": 512},
        group={"type": ["string", "null"], "minLength": 1, "maxLength": 512},
        data={"type": ["object", "null"]},
    ),
    "description": "Something that happened; user, group or both.",
}
_RECORD = _object(
    ["line", "id", "status"],
    line={"type": "integer", "minimum": 1},
    id={"type": ["string", "null"]},
    status={"enum": ["accepted", "duplicate", "quarantined"]},
    reason=_TEXT,
    message=_TEXT,
)
_TAKEN = _object(
    ["accepted", "duplicate", "quarantined", "records"],
    accepted=_COUNT,
    duplicate=_COUNT,
    quarantined=_COUNT,
    records={"type": "array", "items": {"$ref": "#/components/schemas/Record"}},
)

_WORDS = {
    "400": "not HTTP, no record, or no call as it should be",
    "401": "no key, or one that does not fit",
    "403": "it was given to somebody else",
    "404": "no such playbook, channel or code",
    "408": "the body came too slowly",
    "409": "it was redeemed before, or the id of the request redeemed another code",
    "410": "it has lapsed, or went back to its pool",
    "413": "too many bytes or records",
    "415": "a content type or an encoding that is not read",
    "421": "a host that is not served without keys",
    "422": "the order is too small, or in another currency",
    "429": "more than the rate lets in; Retry-After says when",
    "431": "too large headers",
    "500": "a fault of ours; nothing was taken",
    "503": "nothing is taken now; Retry-After says when to try again",
}


def _errors(*statuses: str) -> dict[str, Any]:
    content = _json({"$ref": "#/components/schemas/Error"})
    return {status: {"description": _WORDS[status], "content": content} for status in statuses}


_ALWAYS = ("421", "431", "500", "503")
_BODY = ("400", "408", "413", "415", "429")

EVENTS_SPEC: Spec = {
    "summary": "Send events",
    "description": (
        "One event as application/json, or one a line as application/x-ndjson. 202 says that every record is durable: "
        "accepted, repeated, or in quarantine with its reason. Given again, nothing happens twice."
    ),
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/Event"}},
            "application/x-ndjson": {"schema": {"type": "string", "description": "one Event a line, at most 1,000"}},
        },
    },
    "responses": {
        "202": {"description": "durable", "content": _json({"$ref": "#/components/schemas/Taken"})},
        **_errors(*_BODY, *_ALWAYS),
    },
}

WEBHOOK_SPEC: Spec = {
    "summary": "Begin a playbook for a user",
    "description": "For playbooks with the trigger {webhook: true}; the same id begins nothing twice.",
    "parameters": [{"name": "id", "in": "path", "required": True, "schema": _TEXT, "description": "the playbook"}],
    "requestBody": {
        "required": True,
        "content": _json(_object(["user"], user=_ID, id=_ID, data={"type": ["object", "null"]})),
    },
    "responses": {
        "202": {
            "description": "durable",
            "content": _json(
                _object(
                    ["playbook", "user", "id", "status"],
                    playbook=_TEXT, user=_TEXT, id=_TEXT, status={"enum": ["accepted", "duplicate"]},
                )
            ),
        },
        **_errors("404", *_BODY, *_ALWAYS),
    },
}  # fmt: skip

_NUMBER = {"type": ["number", "null"]}
_MAYBE = {"type": ["string", "null"]}

REDEEM_SPEC: Spec = {
    "summary": "Redeem a coupon",
    "description": "A code is redeemed once; the same request (by id) is answered as before. A refusal is no change.",
    "requestBody": {
        "required": True,
        "content": _json(
            _object(["code"], code=_ID, id=_MAYBE, user=_MAYBE, order=_MAYBE, amount=_NUMBER, currency=_MAYBE)
        ),
    },
    "responses": {
        "200": {
            "description": "redeemed, durably",
            "content": _json(
                _object(
                    ["status", "code", "repeated", "pool", "user", "time"],
                    status={"enum": ["redeemed"]}, code=_TEXT, repeated={"type": "boolean"}, pool=_TEXT, user=_TEXT,
                    value={"type": ["object", "null"]}, expires_at=_MAYBE, time=_TEXT, reason=_MAYBE, message=_TEXT,
                )
            ),
        },
        **_errors("403", "404", "409", "410", "422", *_BODY, *_ALWAYS),
    },
}  # fmt: skip

_TOKEN = [{"name": "token", "in": "path", "required": True, "schema": _TEXT, "description": "of a signed link"}]
_PAGE = {"text/html": {"schema": _TEXT}}
_NO_LINK = {"404": {"description": "no link of ours", "content": _PAGE}}

UNSUBSCRIBE_ASK_SPEC: Spec = {
    "summary": "Ask whether to unsubscribe",
    "parameters": _TOKEN,
    "responses": {"200": {"description": "the question", "content": _PAGE}, **_NO_LINK, **_errors("429")},
}

UNSUBSCRIBE_SPEC: Spec = {
    "summary": "Unsubscribe",
    "description": "By the button of the page, or by the one click of a mailbox (RFC 8058). Given again, it is done.",
    "parameters": _TOKEN,
    "responses": {
        "200": {"description": "durable", "content": _PAGE},
        **_NO_LINK,
        **_errors("408", "413", "415", "429"),
        "503": {"description": "not now", "content": _PAGE},
    },
}

CLICK_SPEC: Spec = {
    "summary": "Follow a link of a message",
    "parameters": _TOKEN,
    "responses": {"302": {"description": "led on to the signed target"}, **_NO_LINK, **_errors("429")},
}

SURVEY_SPEC: Spec = {
    "summary": "Answer a survey",
    "description": (
        "By whoever has the token of an invitation: the page on which a survey is answered hands it on. The first "
        "answer counts; it becomes the event survey.answered of the invited user. Answers are texts and whole numbers "
        "by question; what fits no question is left out when it is decided."
    ),
    "parameters": _TOKEN,
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {
            "type": "object", "required": ["answers"],
            "properties": {"answers": {"type": "object", "additionalProperties": {"type": ["string", "integer"]}}},
        }}},
    },
    "responses": {"202": {"description": "durable"}, **_errors("400", "404", "408", "413", "415", "429", "503")},
}  # fmt: skip

_REPORTED = _object(
    ["accepted", "duplicate", "unknown", "ignored", "unreadable"],
    accepted=_COUNT, duplicate=_COUNT, unknown=_COUNT, ignored=_COUNT, unreadable=_COUNT,
)  # fmt: skip

RECEIPTS_SPEC: Spec = {
    "summary": "Report what became of messages",
    "description": (
        "For channels with receipts; one object or a list as application/json, or one object a line as "
        "application/x-ndjson, as the provider writes them. 202 says that all of it is durable. Given again, nothing "
        "happens twice."
    ),
    "parameters": [{"name": "channel", "in": "path", "required": True, "schema": _TEXT, "description": "the channel"}],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"type": ["object", "array"]}},
            "application/x-ndjson": {"schema": {"type": "string", "description": "one object a line, at most 1,000"}},
        },
    },
    "responses": {
        "202": {"description": "durable", "content": _json(_REPORTED)},
        **_errors("404", *_BODY, *_ALWAYS),
    },
}

HEALTH_SPEC: Spec = {
    "summary": "Does the process live?",
    "responses": {"200": {"description": "it does", "content": _json(_object(["status"], status={"const": "ok"}))}},
}

_REASONS = {"type": "array", "items": _object(["code", "message"], code=_TEXT, message=_TEXT)}
_READY = _json(_object(["status", "reasons", "notes"], status=_TEXT, reasons=_REASONS, notes=_REASONS))

READY_SPEC: Spec = {
    "summary": "Are events taken?",
    "responses": {
        "200": {"description": "they are", "content": _READY},
        "503": {"description": "not now", "content": _READY},
    },
}

METRICS_SPEC: Spec = {
    "summary": "Metrics, as Prometheus reads them",
    "responses": {"200": {"description": "all of them", "content": {"text/plain": {"schema": _TEXT}}}},
}

OPENAPI_SPEC: Spec = {
    "summary": "This document",
    "responses": {"200": {"description": "OpenAPI 3.1", "content": _json({"type": "object"})}},
}


def document(ways: Iterable[Way], *, locked: bool, signs: bool, local: bool) -> dict[str, Any]:
    """The document of a listener.

    Parameters
    ----------
    ways: its routes.
    locked: are keys needed?
    signs: may requests be signed instead?
    local: can only this machine reach it?
    """
    paths: dict[str, dict[str, Any]] = {}
    for way in ways:
        open_ = way.public or not locked or (way.local and local)
        operation = {"operationId": _name(way), **way.spec, "responses": dict(way.spec["responses"])}
        for status, answer in _errors(*_ALWAYS, *(() if open_ else ("401", "429"))).items():
            operation["responses"].setdefault(status, answer)
        operation["security"] = [] if open_ else [{"bearer": []}, *([{"signature": []}] if signs and way.body else [])]
        paths.setdefault(way.path, {})[way.method.lower()] = operation
    schemes: dict[str, Any] = {"bearer": {"type": "http", "scheme": "bearer"}}
    if signs:
        words = "Standard Webhooks: webhook-id, webhook-timestamp and webhook-signature (v1, HMAC-SHA256)"
        schemes["signature"] = {"type": "apiKey", "in": "header", "name": "webhook-signature", "description": words}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Drumbeat", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": {"Event": _EVENT, "Taken": _TAKEN, "Record": _RECORD, "Error": _ERROR},
            "securitySchemes": schemes,
        },
    }


def _name(way: Way) -> str:
    words = [it.strip("{}").split(".")[0] for it in way.path.split("/") if it and it != "v1"]
    return "_".join([way.method.lower(), *words])
