"""``task``: something a person has to do."""

from __future__ import annotations

from typing import Any

from engine.core.journeys import Run
from engine.core.kinds import Action, Build, Pause
from engine.core.model import Answer, Event, Task
from engine.core.moment import Moment, Value
from engine.core.plan import Node, Span
from engine.core.shapes import NAME, Duration, Many, Map, Text, Val, optional, required
from engine.core.sizes import kept_small
from engine.core.tasks import DONE, fits, shown
from engine.core.values import text as text_of
from engine.errors import MissingVariable


class GiveTask(Action):
    """Give a person something to do; ``drumbeat tasks list`` shows it, ``drumbeat tasks done KEY`` closes it.

    With ``outcomes`` the journey waits: for a ``task.done`` with one of them, or until ``due``. Then
    ``steps.<id>.outcome`` is the outcome, or none when it came too late. Without ``due`` it waits as long as it takes.
    Without ``outcomes`` the journey goes on at once. Another system closes a task with the event ``task.done`` and the
    data ``{task: key, outcome: ...}``, or ``{playbook, step, outcome}`` for whatever that step asks of the user.
    ``escalate`` tells somebody else (a row of its own) when the task is still open
    that long after it was given. Where the program names ``business_hours``, ``due`` and ``after`` count in them.

    Example:
        task: {assign: ops-li, title: "回访 {{ user.name }}", due: 4h, outcomes: [reached, no_answer]}
    """

    word = "task"
    results = frozenset({"outcome", "by"})
    shape = Map(
        {
            "assign": required(Val(single=True), "who does it"),
            "title": required(Val(single=True), "what is to be done, in one line"),
            "body": optional(Val(), "whatever else they need to know"),
            "due": optional(Duration(calendar=True), "by when; a journey that waits goes on then"),
            "escalate": optional(
                Map(
                    {
                        "after": required(Duration(calendar=True), "how long after it was given"),
                        "to": required(Val(single=True), "who is told then"),
                    }
                ),
                "who is told when it is still open",
            ),
            "outcomes": optional(Many(Text(pattern=NAME, what="outcome"), only_list=True), "how it may end; it waits"),
        }
    )

    def __init__(self, fields: dict[str, Any]) -> None:
        self.assign: Value = fields["assign"]
        self.title: Value = fields["title"]
        self.body: Value | None = fields.get("body")
        self.due: Span | None = fields.get("due")
        self.escalate: dict[str, Any] | None = fields.get("escalate")
        self.outcomes: list[str] = fields.get("outcomes", [])

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> GiveTask:
        """Outcomes are told apart by their words."""
        outcomes = fields.get("outcomes", [])
        for place, name in enumerate(outcomes):
            if name in outcomes[:place]:
                build.problem(f"outcomes[{place}]", "duplicate-name", f"two outcomes are called '{name}'")
        return cls(fields)

    def gist(self) -> str:
        words = [f"{self.assign.text}: {self.title.text}"]
        if self.outcomes:
            words.append("waits for " + " / ".join(self.outcomes) + (f", {self.due.text} at most" if self.due else ""))
        if self.escalate is not None:
            words.append(f"{self.escalate['to'].text} is told after {self.escalate['after'].text}")
        return ", ".join(words)

    def hears(self) -> frozenset[str]:
        return frozenset({DONE}) if self.outcomes else frozenset()

    def failed(self, run: Run, reason: str) -> None:
        literal = {"assign": self.assign, "title": self.title}
        detail = {name: str(it.fixed()) if it.constant else None for name, it in literal.items()}
        run.effect("task", {**detail, "due": None}, status="suppressed", reason=reason)

    def run(self, run: Run) -> Node | Pause | None:
        run.result(None)
        assign, title = _words(self.assign, run, "assign"), _words(self.title, run, "title")
        to = _words(self.escalate["to"], run, "escalate.to") if self.escalate is not None else None
        due = self._after(self.due, run)
        detail: dict[str, Any] = {"assign": assign, "title": title, "due": shown(due)}
        if self.body is not None:
            detail["body"] = kept_small(self.body.get(run.m), "task.body")
        if self.outcomes:
            detail["outcomes"] = self.outcomes
        if not run.effect("task", detail):
            return run.node.next  # nobody does it for one who is held out
        key = run.key()
        after = self._after(self.escalate["after"], run) if self.escalate is not None else None
        given = Task(
            key=key, playbook=run.playbook.id, step=run.node.id, title=title, given=run.now, due=due,
            outcomes=self.outcomes, escalate_at=after, to=to,
        )  # fmt: skip
        run.state.tasks = [*run.state.tasks, given]
        if not self.outcomes or (due is not None and due <= run.now):
            return run.node.next
        return run.wait_for_word(key, due)

    def wants(self, run: Run, m: Moment) -> bool:
        return fits(m.data, run.key(), (run.playbook.id, run.node.id), self.outcomes)

    def resume(self, run: Run, cause: Event | Answer | None) -> Node | Pause | None:
        if isinstance(cause, Event):
            by = cause.data.get("by")
            run.result({"outcome": cause.data["outcome"], "by": by if isinstance(by, str) else None})
        return run.node.next

    def _after(self, span: Span | None, run: Run) -> int | None:
        if span is None:
            return None
        hours = run.plan.env.business
        return span.after(run.now, run.zone) if hours is None else hours.after(run.now, span)


def _words(value: Value, run: Run, what: str) -> str:
    found = value.get(run.m)
    if found is None or found == "":
        raise MissingVariable(f"task.{what} needs text, and {value.text} is missing")
    return str(kept_small(text_of(found), f"task.{what}"))
