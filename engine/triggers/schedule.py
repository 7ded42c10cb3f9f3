"""``schedule``: the same hour every day, every Friday, every N hours."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from engine.core.cron import Cron, CronError, parse_cron
from engine.core.kinds import Build
from engine.core.model import MINUTE
from engine.core.moment import Condition
from engine.core.shapes import Cond, Duration, Map, Text, optional, required
from engine.core.slots import Slotted, interval_after
from engine.registry import nearest


class Schedule(Slotted):
    """Fire at set times for everybody in an audience, one after the other in order of their ids.

    ``cron`` has five fields (minute, hour, day of the month, month, day of the week) and is a wall time: in the
    program's zone, or with ``zone: user`` in each user's own. A wall time that a change of clocks leaves out is shifted
    by the length of the gap, and one that comes twice counts once, so a daily time is once a day. ``every`` is elapsed
    time, counted from a Monday's midnight in the program's zone; it needs at least a minute.

    The audience is a condition on the user alone, judged when the user's turn comes; ``true`` is everybody. Nobody gets
    a slot twice, also when the program is killed in the middle or the user moves to another zone. ``catch_up`` says
    which of the slots that the program missed while it was down are made up for, as far as they are no older than a
    day: the last one of them (the default), all, or none. Slots before the playbook was published never fire.

    Example:
        trigger: {schedule: {cron: "0 10 * * fri", audience: user.last_active_at is older_than("7d")}}
    """

    word = "schedule"
    reason = "schedule"
    shape = Map(
        {
            "schedule": required(
                Map(
                    {
                        "cron": optional(Text(what="cron expression"), "minute hour day month weekday"),
                        "every": optional(Duration(), "elapsed time between slots, at least 1m"),
                        "zone": optional(Text(("program", "user")), "whose wall time (program)"),
                        "audience": required(Cond("user", everybody=True), "a condition on the user alone, or true"),
                        "catch_up": optional(Text(("last", "all", "none")), "slots missed while down (last)"),
                    },
                    one_of=(("cron", "every"),),
                )
            )
        }
    )

    def __init__(
        self, audience: Condition, cron: Cron | None, every: int, by_user: bool = False, catch_up: str = "last"
    ) -> None:
        self.audience = audience
        self.cron = cron
        self.every = every  #: microseconds, when there is no cron
        self.text = ""  #: the interval as written
        self.by_user = by_user
        self.catch_up = catch_up

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> Schedule:
        """A cron that cannot be read or never comes, an interval below a minute and one by the user are told."""
        spec = fields["schedule"]
        cron, by_user = None, spec.get("zone") == "user"
        if "cron" in spec:
            try:
                cron = parse_cron(spec["cron"])
                if cron.never():
                    message = f"cron '{cron.text}' never fires"
                    build.problem("cron", "cron-never", message, "no such month has that day; L is the last day of one")
            except CronError as error:
                near = nearest(error.word, error.words) if error.word and error.words else None
                hint = f"did you mean '{near}'?" if near is not None else error.hint
                build.problem("cron", "bad-cron", str(error), hint)
        every = spec["every"].elapsed if "every" in spec else MINUTE
        if every < MINUTE:
            build.problem("every", "out-of-range", f"'every' needs at least 1m, got {spec['every'].text}")
        if by_user and "every" in spec:
            hint = "leave 'zone' out, or write a cron"
            build.problem("zone", "conflict", "'every' is elapsed time: it is the same in every zone", hint)
        made = cls(spec["audience"], cron, every, by_user, spec.get("catch_up", "last"))
        made.text = spec["every"].text if "every" in spec else ""
        return made

    def gist(self) -> str:
        """When, in a few words, for pictures."""
        text = self.cron.text if self.cron is not None else f"every {self.text}"
        return f"{text}, {'each in their own zone' if self.by_user else 'program zone'}" if self.cron else text

    def after(self, instant: int, tz: ZoneInfo) -> int | None:
        return self.cron.after(instant, tz) if self.cron is not None else interval_after(instant, self.every, tz)

    def wall(self, instant: int, tz: ZoneInfo) -> int | None:
        return self.cron.wall(instant, tz) if self.cron is not None else None
