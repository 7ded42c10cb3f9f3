"""``points``: add or take points."""

from __future__ import annotations

from typing import Any

from engine.core import earning, points
from engine.core.journeys import Run
from engine.core.kinds import Action, Alters, Build, Pause
from engine.core.model import State
from engine.core.moment import Value
from engine.core.plan import Node
from engine.core.shapes import Map, Ref, Text, Val, optional
from engine.core.subjects import GROUP, USER
from engine.errors import ExpressionError, MissingVariable

_MUCH = 10**9  #: more points than any condition asks for


class BookPoints(Action):
    """Add or take points of an account; taking never makes a balance negative (``denied``, ``insufficient``).

    What is added lapses as the account's ``expires`` says; what is taken comes from the points that lapse first.

    Example:
        points: {add: 200, reason: 升级礼}
    """

    word = "points"
    about = (USER, GROUP)
    shape = Map(
        {
            "add": optional(Val(), "whole points to add"),
            "take": optional(Val(), "whole points to take"),
            "reason": optional(Text(), "shown in the ledger"),
            "account": optional(Ref("account"), "the account; the program's first by default"),
        },
        short="add",
        one_of=(("add", "take"),),
    )

    def __init__(self, amount: Value, sign: int, reason: str | None, account: str) -> None:
        self.amount = amount
        self.sign = sign
        self.reason = reason
        self.account = account

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> BookPoints:
        """A literal amount is checked here, a computed one when it runs."""
        word = "take" if "take" in fields else "add"
        amount: Value = fields[word]
        if amount.constant and not _whole(amount.fixed()):
            build.problem(word, "wrong-type", f"points need a whole number, got {amount.text!r}")
        account = fields.get("account") or build.account
        return cls(amount, -1 if word == "take" else 1, fields.get("reason"), account)

    def alters(self) -> list[Alters]:
        poor, rich = (State(id="", points={self.account: it}) for it in (-_MUCH, _MUCH))
        if self.sign < 0:
            return [Alters("points", f"takes {self.account}", rich, poor)]
        return [Alters("points", f"adds {self.account}", poor, rich)]

    def gist(self) -> str:
        return f"{'-' if self.sign < 0 else '+'}{self.amount.text} {self.account}"

    def tells(self) -> list[tuple[str, str | None]]:
        return [("points.changed", self.account)]

    def failed(self, run: Run, reason: str) -> None:
        balance = run.state.points.get(self.account, 0)
        detail = {"account": self.account, "delta": None, "balance": balance, "reason": self.reason}
        run.effect("points", detail, status="suppressed", reason=reason)

    def run(self, run: Run) -> Node | Pause | None:
        amount = self.amount.get(run.m)
        if amount is None:
            raise MissingVariable(f"points need a whole number, and {self.amount.text} is missing")
        if amount.__class__ is not int:
            if not _whole(amount):
                raise ExpressionError(f"points need a whole number, got {amount!r}")
            amount = int(amount)
        delta = self.sign * amount
        balance = run.state.points.get(self.account, 0)
        detail = {"account": self.account, "delta": delta, "balance": balance + delta, "reason": self.reason}
        if balance + delta < 0:
            run.effect("points", {**detail, "balance": balance}, status="denied", reason="insufficient")
            return run.node.next
        if run.held:
            detail["balance"] = balance
        if run.effect("points", detail):
            self._book(run, delta)
            run.tell("points.changed", {"account": self.account, "delta": delta, "balance": balance + delta})
            if delta > 0:
                earning.pay(run.turn, self.account, run.key())
        return run.node.next


    def _book(self, run: Run, delta: int) -> None:
        if delta < 0:
            points.take(run.state, self.account, -delta)
            run.book(run.plan.book(self.account), self.account, "taken", delta)
            return
        until = run.plan.lapses(run.state, self.account, run.now)
        points.add(run.state, self.account, delta, until)
        run.book(run.plan.book(self.account), self.account, "earned", delta, until=until)


def _whole(value: Any) -> bool:
    if value is None or isinstance(value, (bool, str)):
        return False
    try:
        return bool(value == int(value))
    except (TypeError, ValueError, OverflowError):
        return False
