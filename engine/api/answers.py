"""Answers: JSON, and refusals in one form."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.responses import Response

from engine.errors import CannotRun

_log = logging.getLogger(__name__)

_CODES = {404: "not_found", 405: "method"}


class Refused(Exception):  # it is an answer, and no fault of ours
    """A request that is answered with an error.

    Parameters
    ----------
    status: of HTTP.
    code: short word for programs.
    message: sentence for people.
    hint: the next move, or "".
    headers: more headers of the answer.
    """

    def __init__(
        self, status: int, code: str, message: str, hint: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.hint = hint
        self.headers = dict(headers or {})

    def answer(self) -> Response:
        """The answer it stands for."""
        return json_answer(self.status, refusal(self.code, self.message, self.hint), self.headers)


def busy(code: str, message: str, seconds: int = 1) -> Refused:
    """503: nothing was taken, and the same request may be sent again after so many seconds."""
    hint = f"nothing was taken; send it again in {seconds} s"
    return Refused(503, code, message, hint, {"retry-after": str(seconds)})


def cannot(error: CannotRun) -> Refused:
    """503 for what the surroundings do not allow now: a full disk, a store that is held, an engine that stops.

    Senders are not told more: the words of the error name places of this machine. They are in the log.
    """
    _log.warning("requests are refused: %s", error.message)
    return busy("store", "the engine cannot write now", 5)


def refusal(code: str, message: str, hint: str = "") -> dict[str, Any]:
    """The body of every error."""
    return {"error": {"code": code, "message": message, "hint": hint}}


def json_answer(status: int, value: Any, headers: Mapping[str, str] | None = None) -> Response:
    """An answer in JSON."""
    return Response(
        msgspec.json.encode(value),
        status_code=status,
        headers={"cache-control": "no-store", "x-content-type-options": "nosniff", **(headers or {})},
        media_type="application/json",
    )


def plain_error(status: int, detail: str) -> Response:
    """The answer to what no route takes."""
    code = _CODES.get(status, "http")
    return json_answer(status, refusal(code, detail, "GET /v1/openapi.json shows what there is"))
