"""``referral``: give a person an own code, or take the code somebody came with."""

from __future__ import annotations

from typing import Any

from engine.core.journeys import Run
from engine.core.kinds import STOP, Action, Build, Pause
from engine.core.model import Answer, Event
from engine.core.moment import Value
from engine.core.plan import Block, Node
from engine.core.referrals import ACCEPTED, GIVE, USE, place
from engine.core.shapes import ON_DENIED, Map, Ref, Val, optional


class Refer(Action):
    """Give the user the own code of a referral programme (``give``), or take the code he came with (``take``).

    ``give`` writes the code to the trait the programme names, always the same one; ``steps.<id>`` has ``.code``.
    ``take`` finds out who brought the user: ``steps.<id>`` has ``.inviter`` and ``.code``, and the inviter is told by
    the event ``referral.accepted``. What that is worth, and when, is for the steps that follow.

    Denied with ``no_code`` (there is none to take), ``unknown_code``, ``own_code``, ``already`` (the user was brought
    before), ``same_<trait>`` (a trait that must differ does not) or ``per_inviter``.

    Example:
        referral: {take: friends, code: "{{ user.invited_by }}", on_refused: stop}
    """

    word = "referral"
    results = frozenset({"code", "inviter"})
    shape = Map(
        {
            "give": optional(Ref("referral"), "the programme whose code the user gets"),
            "take": optional(Ref("referral"), "the programme whose code the user came with"),
            "code": optional(Val(single=True), "with take: the code"),
            "on_refused": optional(ON_DENIED, "with take: when it does not count: skip (default), stop, or steps"),
        },
        short="give",
        one_of=(("give", "take"),),
    )

    def __init__(self, name: str, code: Value | None, on_refused: str | Block) -> None:
        self.name = name
        self.code = code  #: None: give the own one
        self.on_refused = on_refused

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> Refer:
        """``take`` needs a code, ``give`` takes neither code nor refusal."""
        if "take" in fields and "code" not in fields:
            build.problem("take", "missing-key", "'referral.take' needs the code", 'code: "{{ event.invite_code }}"')
        for key in ("code", "on_refused"):
            if "give" in fields and key in fields:
                build.problem(key, "conflict", f"'{key}' belongs to 'take', and this step gives a code")
        name = fields.get("take") or fields.get("give", "")
        return cls(name, fields.get("code") if "take" in fields else None, fields.get("on_refused", "skip"))

    def gist(self) -> str:
        return f"{self.name}: own code" if self.code is None else f"{self.name}: who brought them"

    def tells(self) -> list[tuple[str, str | None]]:
        return [] if self.code is None else [(ACCEPTED, self.name)]

    def ways(self) -> list[tuple[str, Block | Pause | None]]:
        if self.code is None or self.on_refused == "skip":
            return [("", None)]
        return [("", None), ("refused", STOP if isinstance(self.on_refused, str) else self.on_refused)]

    def blocks(self) -> tuple[Block, ...]:
        return (self.on_refused,) if isinstance(self.on_refused, Block) else ()

    def failed(self, run: Run, reason: str) -> None:
        self._row(run, None, "suppressed", reason)

    def run(self, run: Run) -> Node | Pause | None:
        run.result(None)
        if run.held:
            self._row(run, None, "planned", None)  # recorded as held out
            return run.node.next
        if self.code is None:
            return run.ask(GIVE, [self.name])
        code = self.code.get(run.m)
        if not isinstance(code, str) or not code.strip():
            return self._refused(run, "no_code")
        return run.ask(USE, [self.name, code.strip().upper()])

    def resume(self, run: Run, cause: Event | Answer | None) -> Node | Pause | None:
        answer = cause if isinstance(cause, Answer) else Answer(key="", granted=False, reason="unknown")
        if self.code is None:
            return self._given(run, answer)
        inviter = answer.data.get("inviter")
        if not answer.granted or not isinstance(inviter, str):
            return self._refused(run, answer.reason or "unknown_code")
        run.state.memory[place(self.name)] = inviter
        run.result({"inviter": inviter, "code": answer.unit})
        data = {"referral": self.name, "invitee": run.state.id, "code": answer.unit}
        run.emit(ACCEPTED, data, inviter, None)
        return run.node.next

    def _given(self, run: Run, answer: Answer) -> Node | Pause | None:
        field = run.plan.referrals[self.name].field
        if self._row(run, answer.unit, "planned", None):
            before = run.state.traits.get(field)
            run.state.traits = {**run.state.traits, field: answer.unit}
            if before != answer.unit:
                run.tell("user.updated", {field: answer.unit}, {field: (before, answer.unit)})
        run.result({"inviter": None, "code": answer.unit})
        return run.node.next

    def _row(self, run: Run, code: str | None, status: str, reason: str | None) -> bool:
        if self.code is None:
            field = run.plan.referrals[self.name].field
            return run.effect("set", {"field": f"user.{field}", "value": code}, status=status, reason=reason)
        data = {"referral": self.name, "invitee": run.state.id, "code": code}
        return run.effect("emit", {"type": ACCEPTED, "data": data}, status=status, reason=reason)

    def _refused(self, run: Run, reason: str) -> Node | Pause | None:
        self._row(run, None, "denied", reason)
        if isinstance(self.on_refused, Block):
            return self.on_refused.first or run.node.next
        return STOP if self.on_refused == "stop" else run.node.next
