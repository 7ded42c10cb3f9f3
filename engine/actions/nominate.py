"""``nominate``: propose members of a group for a role; a person appoints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from engine.core.census import KIND, Left, Question, read
from engine.core.choosing import Figure, top
from engine.core.groups import NO_CARD, RoleInfo
from engine.core.journeys import Run
from engine.core.kinds import WAIT, Action, Build, Pause
from engine.core.model import Answer, Event, Role, Task, Waiting
from engine.core.moment import Condition, Moment, Value
from engine.core.plan import Node, Span
from engine.core.shapes import Cond, Duration, Expr, Int, Map, Ref, Val, optional, required
from engine.core.subjects import GROUP, name_of
from engine.core.tasks import DONE, fits, several, shown, withdraw_all
from engine.core.values import text as text_of
from engine.errors import MissingVariable

SANCTIONED = "sanctioned"
"""The tag of users who are not proposed."""

LEFT = "group.left"
"""Who is no member any more (was erased, for one) is not appointed."""

APPROVE, DECLINE = "approve", "decline"
_OUTCOMES = [APPROVE, DECLINE]


class Nominate(Action):
    """Propose the best members of a group for a role, and wait for somebody to appoint them.

    Candidates are members for whom ``where`` holds, who have been members for ``min_tenure`` (the role's, where the
    step says none), do not hold the role, and are not tagged ``sanctioned``. The first ``top`` by the number ``by``
    are proposed; where the role says ``per_members``, no more than there are places. Each proposal is a task for the
    group's owner, or for ``assign``, with the outcomes ``approve`` and ``decline``. Who is approved
    gets ``role.granted``. What nobody decided by ``due``, and who leaves the group meanwhile, is withdrawn.

    ``steps.<id>`` has the ids of ``.users``, ``.appointed`` and ``.declined``.

    Example:
        nominate: {role: moderator, top: 3, by: 'count("group.post", within="90d")', assign: ops-li, due: 7d}
    """

    word = "nominate"
    about = (GROUP,)
    results = frozenset({"users", "appointed", "declined"})
    shape = Map(
        {
            "role": required(Ref("role"), "role of the catalog"),
            "top": required(Int(low=1, high=100), "how many are proposed at most"),
            "by": required(Expr("users"), "who is better: a number of the user"),
            "where": optional(Cond("users"), "only members for whom this holds"),
            "min_tenure": optional(Duration(calendar=True), "how long somebody must have been a member"),
            "assign": optional(Val(single=True), "who appoints; the group's owner without it"),
            "due": optional(Duration(calendar=True), "by when; what nobody decided by then is withdrawn"),
        }
    )

    def __init__(self, fields: dict[str, Any], role: RoleInfo) -> None:
        self.role = role
        self.count: int = fields["top"]
        self.by: Value = fields["by"]
        self.where: Condition | None = fields.get("where")
        self.tenure: Span | None = fields.get("min_tenure")
        self.assign: Value | None = fields.get("assign")
        self.due: Span | None = fields.get("due")

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> Nominate:
        """The best are told apart by a number."""
        if fields["by"].kind not in ("number", "any"):
            build.problem("by", "type-mismatch", f"'by' needs a number, and this is {fields['by'].kind}")
        return cls(fields, build.defined("role", fields["role"]) or RoleInfo(name=fields["role"]))

    def gist(self) -> str:
        return f"{self.count} as {self.role.name} by {self.by.text}"

    def tells(self) -> list[tuple[str, str | None]]:
        return [("role.granted", self.role.name)]

    def hears(self) -> frozenset[str]:
        return frozenset({DONE, LEFT})

    def failed(self, run: Run, reason: str) -> None:
        run.effect("nominate", {"role": self.role.name, "users": []}, status="suppressed", reason=reason)

    # ------------------------------------------------------------------ proposing

    def run(self, run: Run) -> Node | Pause | None:
        run.result(None)
        if run.held:
            run.effect("nominate", {"role": self.role.name, "users": []})
            return run.node.next
        question = Question(gather=lambda people, left: self._gather(run, people, left), group=name_of(run.state.id))
        return run.ask(KIND, [self.role.name], question=question)

    def _gather(self, run: Run, people: Iterator[Moment], left: Left) -> dict[str, Any]:
        group, members, holders = name_of(run.state.id), 0, 0

        def able() -> Iterator[tuple[str, Figure | None]]:
            nonlocal members, holders
            for m in people:
                members += 1
                if any(it.role == self.role.name and it.whom == group and _holds(it, m.now) for it in m.state.roles):
                    holders += 1
                elif self._fits(run, m, group, left):
                    yield m.state.id, read(self.by, m, left)

        best = top(self.count, able())
        if self.role.per_members is not None:
            places = -(-members // self.role.per_members) - holders
            best = best[: max(0, places)]
        return {"users": best, "members": members, "holders": holders}

    def _fits(self, run: Run, m: Moment, group: str, left: Left) -> bool:
        state = m.state
        if SANCTIONED in state.tags:
            return False
        if self.tenure is not None:
            since = state.joined.get(group)
            if since is None or self.tenure.after(since, run.zone) > run.now:
                return False
        elif self.role.min_tenure is not None and state.joined.get(group, run.now) + self.role.min_tenure > run.now:
            return False
        if self.where is None:
            return True
        try:
            return bool(self.where.test(m))
        except Exception:  # neither true nor false: he is left out, and counted
            left.note(self.where.text)
            return False

    # ------------------------------------------------------------------ appointing

    def resume(self, run: Run, cause: Event | Answer | None) -> Node | Pause | None:
        if isinstance(cause, Answer):
            return self._proposed(run, cause.data["users"]) if cause.granted else run.node.next
        found: dict[str, Any] = run.journey.results[run.node.id]
        tasks = dict(several(run.journey))
        if cause is None:
            withdraw_all(run.state, tasks)
            return self._over(run, found)
        gone = [key for key, user in tasks.items() if cause.type == LEFT and user == cause.user]
        withdraw_all(run.state, gone)
        tasks = {key: user for key, user in tasks.items() if key not in gone}
        for key, user in list(tasks.items()) if cause.type == DONE else ():
            if fits(cause.data, key, (run.playbook.id, run.node.id), _OUTCOMES):
                del tasks[key]
                found = self._decided(run, found, user, cause)
        if not tasks:
            return self._over(run, found)
        run.result({**found, "tasks": tasks})
        return self._wait(run)

    def wants(self, run: Run, m: Moment) -> bool:
        if m.event is not None and m.event.type == LEFT:
            return m.event.user in several(run.journey).values()
        place = (run.playbook.id, run.node.id)
        return any(fits(m.data, key, place, _OUTCOMES) for key in several(run.journey))

    def _proposed(self, run: Run, users: list[str]) -> Node | Pause | None:
        assign = self._assigned(run) if users else ""  # before the row: a proposal to nobody is none
        planned = run.effect("nominate", {"role": self.role.name, "users": users})
        found: dict[str, Any] = {"users": users, "appointed": [], "declined": []}
        if not users or not planned:
            run.result(found)
            return run.node.next
        due = self._due(run)
        tasks = {}
        for place, user in enumerate(users):
            index = f"task:{place}"
            title = _title(user, self.role, name_of(run.state.id), run.plan.env.locale)
            detail = {"assign": assign, "title": title, "due": shown(due), "outcomes": _OUTCOMES, "candidate": user}
            run.effect("task", detail, index=index)
            key = run.key(index)
            tasks[key] = user
            given = Task(
                key=key, playbook=run.playbook.id, step=run.node.id, title=title, given=run.now, due=due,
                outcomes=_OUTCOMES,
            )  # fmt: skip
            run.state.tasks = [*run.state.tasks, given]
        run.result({**found, "tasks": tasks, "due": due})
        return self._wait(run)

    def _wait(self, run: Run) -> Pause:
        due = run.journey.results[run.node.id]["due"]
        run.journey.waiting = Waiting(kind="event", until=due, key=run.key(), since=run.now)
        return WAIT

    def _decided(self, run: Run, found: dict[str, Any], user: str, event: Event) -> dict[str, Any]:
        by = event.data.get("by")
        if event.data["outcome"] != APPROVE:
            return {**found, "declined": [*found["declined"], user]}
        data = {"role": self.role.name, **({"by": by} if isinstance(by, str) else {})}
        run.send("role.granted", user, data, f"granted:{user}", group=name_of(run.state.id))
        return {**found, "appointed": [*found["appointed"], user]}

    def _over(self, run: Run, found: dict[str, Any]) -> Node | None:
        run.result({name: found[name] for name in ("users", "appointed", "declined")})
        return run.node.next

    def _assigned(self, run: Run) -> str:
        card = run.plan.env.cards.get(name_of(run.state.id), NO_CARD)
        found = self.assign.get(run.m) if self.assign is not None else card.owner
        if found is None or found == "":
            raise MissingVariable("nominate needs somebody who appoints, and the group has no owner")
        return text_of(found)

    def _due(self, run: Run) -> int | None:
        if self.due is None:
            return None
        hours = run.plan.env.business
        return self.due.after(run.now, run.zone) if hours is None else hours.after(run.now, self.due)


def _holds(role: Role, now: int) -> bool:
    return role.until is None or role.until > now


def _title(user: str, role: RoleInfo, group: str, locale: str) -> str:
    name = role.name
    if locale.startswith("zh"):
        return f"任命 {user} 为 {group} 的{name}？"
    return f"appoint {user} as {name} of {group}?"
