"""``start``: begin another playbook."""

from __future__ import annotations

from typing import Any

from engine.core.journeys import Run
from engine.core.kinds import Action, Build, Pause
from engine.core.plan import Node
from engine.core.shapes import Map, Ref, required
from engine.core.starts import CALLED


class StartPlaybook(Action):
    """Begin a playbook with the trigger ``called: true`` for the same subject, right after this instant's work.

    Its own ``when`` and ``entry`` decide whether it begins; this journey goes on either way. The row is of kind
    ``emit``. One that is not running (draft, paused, archived) is denied with ``not_running``.

    Example:
        start: thanks
    """

    word = "start"
    shape = Map({"playbook": required(Ref("playbook"), "a playbook with the trigger {called: true}")}, short="playbook")

    def __init__(self, playbook: str) -> None:
        self.playbook = playbook
        self.type = CALLED + playbook

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> StartPlaybook:
        """The playbook must want to be called."""
        name = fields["playbook"]
        if not build.is_called(name):
            message = f"playbook '{name}' cannot be started by another: it has no trigger {{called: true}}"
            build.problem("playbook", "not-called", message, f"add {{called: true}} to the triggers of '{name}'")
        elif build.subject_of(name) != build.subject:
            message = f"playbook '{name}' is about a {build.subject_of(name)}, and this one about a {build.subject}"
            build.problem("playbook", "wrong-subject", message, "emit an event it listens to")
        return cls(name)

    def gist(self) -> str:
        return self.playbook

    def tells(self) -> tuple[tuple[str, str | None], ...]:
        return (("start", self.playbook),)

    def says(self) -> tuple[tuple[str, bool], ...]:
        return ((self.type, True),)

    def run(self, run: Run) -> Node | Pause | None:
        data = {"caller": run.playbook.id}
        called = run.plan.by_id.get(self.playbook)
        if called is not None and not called.paused:
            run.emit(self.type, data, None, None)
        else:
            run.effect("emit", {"type": self.type, "data": data}, status="denied", reason="not_running")
        return run.node.next
