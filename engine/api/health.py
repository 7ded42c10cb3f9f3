"""``/healthz``, ``/readyz``, ``/metrics`` and ``/v1/openapi.json``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.responses import Response

from engine.api.answers import json_answer
from engine.api.engine import Engine
from engine.api.openapi import HEALTH_SPEC, METRICS_SPEC, OPENAPI_SPEC, READY_SPEC
from engine.api.ways import Ask, Way


def ways(engine: Engine, registry: CollectorRegistry | None, document: Callable[[], Mapping[str, Any]]) -> list[Way]:
    """The routes that look at the process; ``registry`` holds its metrics, None: there are none."""

    async def alive(ask: Ask) -> Response:
        return json_answer(200, {"status": "ok"})

    async def ready(ask: Ask) -> Response:
        reasons = [{"code": it.code, "message": it.message} for it in engine.reasons()]
        notes = [{"code": code, "message": message} for code, message in engine.notes()]
        if reasons:
            answer = {"status": "not ready", "reasons": reasons, "notes": notes}
            return json_answer(503, answer, {"retry-after": "5"})
        return json_answer(200, {"status": "ready", "reasons": [], "notes": notes})

    async def openapi(ask: Ask) -> Response:
        return json_answer(200, document())

    found = [
        Way(method="GET", path="/healthz", answer=alive, spec=HEALTH_SPEC, public=True),
        Way(method="GET", path="/readyz", answer=ready, spec=READY_SPEC, local=True),
        Way(method="GET", path="/v1/openapi.json", answer=openapi, spec=OPENAPI_SPEC),
    ]
    if registry is None:
        return found

    async def metrics(ask: Ask) -> Response:
        return Response(generate_latest(registry), headers={"content-type": CONTENT_TYPE_LATEST})

    return [*found, Way(method="GET", path="/metrics", answer=metrics, spec=METRICS_SPEC, local=True)]
