"""``webhook``: tell another system."""

from __future__ import annotations

import re
from typing import Any

from engine.core.journeys import Run
from engine.core.kinds import Action, Build, Pause
from engine.core.model import HOUR, SECOND, Answer, Event
from engine.core.moment import Moment, Value
from engine.core.plan import ChannelInfo, Node, Span
from engine.core.shapes import Duration, Map, Table, Text, Val, optional, required
from engine.core.sizes import kept_small
from engine.core.starts import by_hand
from engine.core.values import text as text_of
from engine.errors import ExpressionError, MissingVariable

ANSWERED = "webhook.answered"
"""The event that carries an answer: data ``{webhook: effect key, status, body}``; ``status`` none: it was given up."""

RETRY_HORIZON = 24 * HOUR
"""How long a call is tried again; nobody waits for an answer longer than this and the time-out."""

METHODS = ("POST", "PUT", "PATCH", "GET", "DELETE")
_ADDRESS = re.compile(r"https?://[^\s/?#]+[^\s]*")
_TIMEOUT = Span(text="10s", elapsed=10 * SECOND)


class CallWebhook(Action):
    """Send a request to another system, through the outbox; the effect key goes along, so it is done once.

    ``body``: text, or a list or mapping that becomes JSON. Where a later step, condition or template reads
    ``steps.<id>``, the journey waits for the answer (``.status .body``), at most ``timeout`` and 24 hours of trying
    again; an answer that does not come is a failure of the step (``on_error``). Elsewhere it goes on at once. A status
    such as 404 is an answer.

    The first channel of kind ``webhook`` takes the requests; without one a channel named ``webhook``, of kind ``file``
    or ``console``, which gives no answers: ``steps.<id>`` is none then. In ``simulate`` it is none, too.

    Example:
        webhook: {url: "https://crm.example/calls", body: {user: "{{ user.id }}", spent: "{{ event.amount }}"}}
    """

    word = "webhook"
    results = frozenset({"status", "body"})
    shape = Map(
        {
            "url": required(Val(single=True), "where to, https://..."),
            "method": optional(Text(METHODS), "POST by default"),
            "body": optional(Val(), "what is sent"),
            "headers": optional(Table(Val(), pattern=r"[A-Za-z0-9-]+", what="header"), "further headers"),
            "timeout": optional(Duration(), "how long one try may take (10s)"),
        }
    )

    def __init__(self, fields: dict[str, Any], channel: ChannelInfo | None) -> None:
        self.url: Value = fields["url"]
        self.method: str = fields.get("method", METHODS[0])
        self.body: Value | None = fields.get("body")
        self.headers: dict[str, Value] = fields.get("headers", {})
        self.timeout: Span | None = fields.get("timeout")
        self.channel = channel

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> CallWebhook:
        """A literal address is checked here, a computed one when it runs."""
        url: Value = fields["url"]
        if url.constant and _ADDRESS.fullmatch(str(url.fixed())) is None:
            message = f"'webhook.url' needs an address, got '{url.fixed()}'"
            build.problem("url", "wrong-value", message, "https://host/path")
        return cls(fields, build.webhooks())

    def gist(self) -> str:
        return f"{self.method} {self.url.text}"

    def hears(self) -> frozenset[str]:
        return frozenset({ANSWERED})

    def failed(self, run: Run, reason: str) -> None:
        url = str(self.url.fixed()) if self.url.constant else None
        run.effect("webhook", {"method": self.method, "url": url}, status="suppressed", reason=reason)

    def run(self, run: Run) -> Node | Pause | None:
        run.result(None)
        channel = self.channel
        name = channel.name if channel is not None else None
        if not run.effect("webhook", self._request(run), deliver=name) or not run.node.used:
            return run.node.next
        fixed = run.plan.env.fixed.get("webhooks")
        if fixed is not None:
            answer = fixed.get(f"{run.playbook.id}/{run.node.id}")
            run.result(answer or None)
            return run.failed() if answer == {} else run.node.next
        if channel is None or channel.via != "webhook":
            return run.node.next  # nobody there who could answer
        return run.wait_for_word(run.key(), run.now + (self.timeout or _TIMEOUT).elapsed + RETRY_HORIZON)

    def wants(self, run: Run, m: Moment) -> bool:
        return by_hand(m.event) and m.data.get("webhook") == run.key()

    def resume(self, run: Run, cause: Event | Answer | None) -> Node | Pause | None:
        if not isinstance(cause, Event) or cause.data.get("status") is None:
            return run.failed()
        run.result({"status": cause.data["status"], "body": cause.data.get("body")})
        return run.node.next

    def _request(self, run: Run) -> dict[str, Any]:
        url = self.url.get(run.m)
        if url is None:
            raise MissingVariable(f"webhook.url needs an address, and {self.url.text} is missing")
        if not isinstance(url, str) or _ADDRESS.fullmatch(url) is None:
            raise ExpressionError(f"webhook.url needs an address such as https://host/path, got {text_of(url)!r}")
        detail: dict[str, Any] = {"method": self.method, "url": kept_small(url, "webhook.url")}
        if self.headers:
            detail["headers"] = {name: _header(name, value, run) for name, value in self.headers.items()}
        if self.body is not None:
            detail["body"] = kept_small(self.body.get(run.m), "webhook.body")
        if self.timeout is not None:
            detail["timeout"] = self.timeout.text
        return detail


def _header(name: str, value: Value, run: Run) -> str:
    found = value.get(run.m)
    if found is None:
        raise MissingVariable(f"header {name} needs text, and {value.text} is missing")
    text = text_of(found)
    if not text.isprintable():
        raise ExpressionError(f"header {name} would hold a line break or control character")
    return str(kept_small(text, f"header {name}"))
