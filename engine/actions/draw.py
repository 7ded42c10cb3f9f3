"""``draw``: draw lots among users, so that anybody can check it (``docs/draws.md``).

The step stands at two instants: at the first it promises the hash of the seed, at the second entries close and the
winners follow. What it needs from outside it asks for in turn: the promise; then the seed, the list, and the prizes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from engine.core import draws
from engine.core.census import KIND, Left, Question
from engine.core.draws import Terms
from engine.core.history import Reader
from engine.core.instants import format_instant
from engine.core.journeys import Run
from engine.core.kinds import Action, Build, Pause
from engine.core.model import Answer, Effect, Entry, Event
from engine.core.moment import Condition, Moment
from engine.core.plan import Node, Span
from engine.core.scarce import CouponPool
from engine.core.shapes import Cond, Duration, Either, EventName, Int, Map, Ref, optional, required
from engine.core.subjects import GROUP, PROGRAM_KIND, kind_of, name_of

_BY_EVENT = Map(
    {
        "event": required(EventName(), "each event of this type is an entry"),
        "where": optional(Cond("where"), "only events for which this holds"),
        "within": optional(Duration(), "only those no older than this when entries close"),
    }
)


class DrawLots(Action):
    """Draw winners among users, in a way that anybody can check.

    When the step is reached the hash of a secret seed is published: a row, and ``draw.committed`` for the playbook's
    subject. ``seed_from`` later entries close: the list of entrants is frozen, the seed is shown, and the winners
    follow from both. ``entrants`` is a condition on the user (one entry each), or ``{event: type, within: 30d}`` (one
    entry an event). In a group only its members take part. ``drumbeat draw publish`` writes the file from which
    ``drumbeat draw verify`` works the winners out again.

    Each winner gets a coupon of ``prize`` by ``draw.won``, with ``event.code .expires_at .place``. Nobody wins twice,
    unless ``per_user`` says so. Is the pool exhausted, the last winners get none and ``draw.won`` is not told. Who took
    part gets ``draw.closed`` with ``event.won``. ``steps.<id>`` has ``.winners .entrants .without_prize`` (how many),
    ``.seed .commitment .draw``.

    Example:
        draw: {entrants: {event: raffle.entered, within: 30d}, winners: 3, prize: new-user-20, seed_from: 24h}
    """

    word = "draw"
    about = (PROGRAM_KIND, GROUP)
    results = frozenset({"winners", "entrants", "without_prize", "seed", "commitment", "draw"})
    shape = Map(
        {
            "entrants": required(
                Either(scalar=Cond("users", everybody=True), seq=Cond("users"), map=_BY_EVENT),
                "who takes part: a condition on the user, or {event: type}",
            ),
            "winners": required(Int(low=1, high=100_000), "how many prizes"),
            "prize": required(Ref("coupon"), "pool of the prizes"),
            "seed_from": required(Duration(), "how long before the draw the hash of its seed is published"),
            "per_user": optional(Int(low=1), "prizes one person may win (1)"),
        }
    )

    def __init__(self, fields: dict[str, Any], where: Condition | None, entries: Reader | None, what: str) -> None:
        self.where = where
        self.entries = entries  #: how many entries a user has; None: one
        self.what = what
        self.wanted: int = fields["winners"]
        self.prize: str = fields["prize"]
        self.seed_from: Span = fields["seed_from"]
        self.per_user: int = fields.get("per_user", 1)

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> DrawLots:
        """The pool holds prizes for all winners."""
        _check_stock(fields, build)
        asked = fields["entrants"]
        if isinstance(asked, Condition):
            return cls(fields, asked, None, asked.text)
        where: Condition | None = asked.get("where")
        within = asked["within"].elapsed if "within" in asked else None
        reader = build.times_of_users(asked["event"], where, within)
        return cls(fields, None, reader, asked["event"])

    def gist(self) -> str:
        return f"{self.wanted} of {self.what} win {self.prize}, seed {self.seed_from.text} before"

    def tells(self) -> list[tuple[str, str | None]]:
        return [("draw.committed", None), ("draw.won", self.prize), ("draw.closed", None)]

    # ------------------------------------------------------------------ the promise

    def run(self, run: Run) -> Node | Pause | None:
        run.result(None)
        closes = self.seed_from.after(run.now, run.zone)
        if run.held:
            return run.pause_until(closes)
        return run.ask("promise", [run.key()], index="promise", question=self._terms(run, run.now, closes))

    def _terms(self, run: Run, now: int, closes: int) -> Terms:
        return Terms(
            program=run.plan.program, playbook=run.playbook.id, step=run.node.id, draw=run.key(), prize=self.prize,
            wanted=self.wanted, per_user=self.per_user, committed_at=format_instant(now),
            closes_at=format_instant(closes),
        )  # fmt: skip

    def _promised(self, run: Run, commitment: str) -> Pause:
        closes = self.seed_from.after(run.now, run.zone)
        announced = draws.announcement(self._terms(run, run.now, closes), commitment)
        detail = {"prize": self.prize, "winners": None, "seed": None, "published": announced}
        run.effect("draw", detail, index="promise")
        run.result({"draw": run.key(), "commitment": commitment, "announced": announced})
        run.tell("draw.committed", {"draw": run.key(), "commitment": commitment, "closes_at": format_instant(closes)})
        return run.pause_until(closes)

    # ------------------------------------------------------------------ the draw

    def resume(self, run: Run, cause: Event | Answer | None) -> Node | Pause | None:
        run.known = None  # answers of this step have keys of their own
        if not isinstance(cause, Answer):
            if run.held:
                run.effect("draw", {"prize": self.prize, "winners": [], "seed": None})
                return run.node.next
            return run.ask("seed", [run.key()], index="seed")
        if cause.key == run.key("promise"):
            return self._promised(run, cause.unit or "")
        work = run.journey.results[run.node.id]
        if cause.key == run.key("seed"):
            # a dictionary of this decision's own: what the store may hold is never changed in place
            work = {**work, "seed": cause.unit, "salt": cause.data["salt"]}
            run.result(work)
            return run.ask(KIND, [self.prize], index="list", question=self._question(run, work))
        if cause.key == run.key("list"):
            work["list"], work["prizes"] = cause.data, []
        else:
            work["prizes"].append(cause.unit if cause.granted else None)
        place = len(work["prizes"])
        won = work["list"]["winners"]
        if place < len(won) and (not place or work["prizes"][-1] is not None):
            # the pool alone: a prize that was promised is not replaced by another
            return run.ask("coupon", [work["announced"]["prize"]], index=f"prize:{place}")
        return self._done(run, work, won)

    def _question(self, run: Run, work: dict[str, Any]) -> Question:
        subject = run.state.id
        everybody = "draw.closed" in run.plan.told_users
        seed, salt, promised = work["seed"], work["salt"], work["announced"]

        def gather(people: Iterator[Moment], left: Left) -> dict[str, Any]:
            entrants, behind = draws.frozen(salt, ((m.state.id, self._count(m)) for m in people))
            won = draws.ranking(seed, entrants, promised["winners_wanted"], promised["per_user"])
            found: dict[str, Any] = {
                "entrants": [list(row) for row in entrants],
                "aliases": won,
                "winners": [behind[alias] for alias in won],
            }
            if everybody:
                found["users"] = sorted(behind.values())
            return found

        group = name_of(subject) if kind_of(subject) == GROUP else None
        return Question(gather=gather, where=self.where, group=group)

    def _count(self, m: Moment) -> int:
        return 1 if self.entries is None else int(self.entries.read(m.state, m.time))

    def _done(self, run: Run, work: dict[str, Any], won: list[str]) -> Node | None:
        prize: str = work["announced"]["prize"]
        prizes: list[Any] = [*work["prizes"], *[None] * (len(won) - len(work["prizes"]))]
        entrants = [(alias, number) for alias, number in work["list"]["entrants"]]
        published = draws.publication(work["announced"], work["salt"], work["seed"], entrants, work["list"]["aliases"])
        short = sum(code is None for code in prizes)
        detail = {
            "prize": prize, "winners": won, "seed": work["seed"], "codes": prizes, "without_prize": short,
            "list": run.key("list"),  # the answer that holds the entrants
            "published": {name: it for name, it in published.items() if name != "entrants"},
        }  # fmt: skip
        run.effect("draw", detail)
        run.result(
            {
                "draw": run.key(), "commitment": work["commitment"], "seed": work["seed"], "winners": len(won) - short,
                "entrants": len(entrants), "without_prize": short,
            }
        )  # fmt: skip
        pool: CouponPool = run.plan.pools[prize]
        expires = None if pool.valid_for is None else int(pool.valid_for.after(run.now, run.zone))
        for place, (user, code) in enumerate(zip(won, prizes, strict=True), 1):
            if code is not None:
                self._give(run, pool, user, code, expires, place)
        winners = set(won)
        for user in work["list"].get("users", ()):
            run.send("draw.closed", user, {"draw": run.key(), "won": user in winners}, f"closed:{user}")
        return run.node.next

    def _give(self, run: Run, pool: CouponPool, user: str, code: str, expires: int | None, place: int) -> None:
        """The prize: a row and an entry of the ledger under the winner's name, and the event that brings the code."""
        key = run.key(f"won:{place}")
        shown = {"code": code, "expires_at": None if expires is None else format_instant(expires), "value": pool.value}
        out, playbook, step = run.turn.out, run.playbook.id, run.node.id
        out.effects.append(
            Effect(
                key, run.now, playbook, step, "coupon", user, None, "planned", None, {"pool": pool.name, **shown}
            )
        )  # fmt: skip
        cost = pool.cost or None
        out.entries.append(
            Entry(key, run.now, "coupon", pool.name, "issued", 1, user, code, cost, expires, playbook, step)
        )
        data = {"draw": run.key(), "pool": pool.name, "place": place, **shown}
        run.send("draw.won", user, data, f"told:{place}")


def _check_stock(fields: dict[str, Any], build: Build) -> None:
    pool: CouponPool | None = build.defined("coupon", fields["prize"])
    if pool is None:
        return
    stock = pool.total if pool.prefix is not None else min(len(pool.codes), pool.total or len(pool.codes))
    if stock is not None and stock < fields["winners"]:
        message = f"'{pool.name}' holds {stock} prizes for {fields['winners']} winners"
        build.problem("winners", "out-of-range", message, "fewer winners, or a larger pool")
