"""``survey``: ask the user some questions, and wait for the answers."""

from __future__ import annotations

from typing import Any

from engine.actions.message import SendMessage
from engine.core.instants import format_instant
from engine.core.journeys import Run
from engine.core.kinds import WAIT, Action, Build, Pause
from engine.core.links import SURVEY, sign
from engine.core.model import Answer, Event, Waiting
from engine.core.moment import Moment
from engine.core.people import SurveyInfo
from engine.core.plan import Node, Span
from engine.core.shapes import Duration, Many, Map, Ref, optional, required
from engine.core.subjects import USER

ANSWERED, SENT = "survey.answered", "survey.sent"
LAST = "surveyed"
"""Key of ``State.memory``: when the user was last asked anything."""


class TakeSurvey(Action):
    """Invite the user to a survey of the catalog, and wait until it is answered or no longer open.

    The invitation is the message ``survey/<name>``; its template sees ``with.survey``: ``.title .questions .key .token
    .url .closes_at``, and ``.reminder``, true when it is sent once more, ``remind`` after the first. Answers come as
    the event ``survey.answered`` with ``{survey: name, key: ..., answers: {question: value}}``; without ``key`` it is
    for whatever survey of that name the user has. Values that fit no question are left out. Suppressed with ``fatigue``
    when the user was asked anything within ``rest``, and with every reason of a message.

    ``steps.<id>`` has ``.answers`` (by question) and ``.score`` (the answer to the first question of kind ``nps``, else
    to the first ``scale``), or is none when nothing came.

    Example:
        survey: {name: nps, via: [wecom, sms], remind: 3d}
    """

    word = "survey"
    about = (USER,)
    results = frozenset({"answers", "score"})
    shape = Map(
        {
            "name": required(Ref("survey"), "survey of the catalog"),
            "via": required(Many(Ref("channel")), "channels of the invitation, in order of preference"),
            "remind": optional(Duration(calendar=True), "ask once more when nothing came by then"),
        }
    )

    def __init__(self, survey: SurveyInfo, invitation: Invitation, remind: Span | None) -> None:
        self.survey = survey
        self.invitation = invitation
        self.remind = remind

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> TakeSurvey:
        """The invitation is a template of its own; a reminder comes while the survey is open."""
        name = fields["name"]
        survey = build.defined("survey", name) or _NOTHING
        template, via = f"survey/{name}", list(dict.fromkeys(fields["via"]))
        if not build.channels_of(template):
            hint = f"write templates/{template}.{via[0]}.j2"
            build.problem("name", "unknown-template", f"the survey '{name}' has no invitation '{template}'", hint)
        remind, open_ = fields.get("remind"), survey.open
        if remind is not None and remind.after(0, "UTC") >= open_.after(0, "UTC"):
            words = f"'remind' ({remind.text}) comes when the survey is no longer open ({open_.text})"
            build.problem("remind", "out-of-range", words, "an earlier reminder, or 'open' of the survey")
        message = {"template": template, "purpose": survey.purpose}
        return cls(survey, Invitation(message, build.template(template), via, survey), remind)

    def gist(self) -> str:
        words = [f"{self.survey.name} · {' / '.join(self.invitation.via)}", f"waits {self.survey.open.text} at most"]
        return ", ".join([*words, f"reminds after {self.remind.text}"] if self.remind else words)

    def tells(self) -> list[tuple[str, str | None]]:
        return [(SENT, self.survey.name)]

    def hears(self) -> frozenset[str]:
        return frozenset({ANSWERED})

    def failed(self, run: Run, reason: str) -> None:
        self.invitation.failed(run, reason)

    def wants(self, run: Run, m: Moment) -> bool:
        data = m.data
        return data.get("survey") == self.survey.name and data.get("key", run.key()) == run.key()

    # ------------------------------------------------------------------ asking

    def run(self, run: Run) -> Node | Pause | None:
        run.result(None)
        if self._tired(run):
            self.invitation.tire(run)
            return run.node.next
        return self._invited(run, self.invitation.run(run))

    def resume(self, run: Run, cause: Event | Answer | None) -> Node | Pause | None:
        if isinstance(cause, Event):
            return self._answered(run, cause)
        work = run.journey.results.get(run.node.id)
        if work is None:  # the invitation had to wait
            return self._invited(run, self.invitation.resume(run, None))
        if run.now >= work["closes"] or work.get("reminded"):
            return self._closed(run)
        return self._remind(run, work)

    def _invited(self, run: Run, following: Node | Pause | None) -> Node | Pause | None:
        """What became of the invitation: it waits, was refused, or is out."""
        if following is WAIT or not self.invitation.sent(run, run.key()):
            return following
        run.state.memory[LAST] = run.now
        run.tell(SENT, {"survey": self.survey.name, "key": run.key()})
        closes = self.survey.open.after(run.now, run.zone)
        run.result({"asked": run.now, "closes": closes})
        first = closes if self.remind is None else min(closes, self.remind.after(run.now, run.zone))
        return self._wait(run, first)

    def _remind(self, run: Run, work: dict[str, Any]) -> Node | Pause | None:
        """Once more, under a key of its own; while it waits for its hour the answer may still come."""
        own = run.key()
        run.known = run.key("remind")
        waited = work.get("late")
        following = self.invitation.resume(run, None) if waited else self.invitation.run(run)
        run.known = own
        if following is WAIT and run.journey.waiting is not None:
            run.result({**work, "late": True})
            until = run.journey.waiting.until or work["closes"]
            return self._wait(run, min(until, work["closes"]))
        run.result({**work, "reminded": True})
        return self._wait(run, work["closes"])

    def _wait(self, run: Run, until: int) -> Pause:
        asked: int = run.journey.results[run.node.id]["asked"]
        run.journey.waiting = Waiting(kind="event", until=until, since=asked)
        return WAIT

    # ------------------------------------------------------------------ answers

    def _answered(self, run: Run, event: Event) -> Node | None:
        answers = self.survey.read(event.data.get("answers"))
        score = self.survey.score(answers)
        run.result({"answers": answers, "score": score})
        self._row(run, score, answered=True)
        return run.node.next

    def _closed(self, run: Run) -> Node | None:
        run.result(None)
        self._row(run, None, answered=False)
        return run.node.next

    def _row(self, run: Run, score: int | None, *, answered: bool) -> None:
        detail = {"survey": self.survey.name, "answered": answered, "score": score, "by": self.survey.measured}
        run.effect("survey", detail, index="closed")

    def _tired(self, run: Run) -> bool:
        last = run.state.memory.get(LAST)
        rest = self.survey.rest
        return rest is not None and isinstance(last, int) and rest.after(last, run.zone) > run.now


class Invitation(SendMessage):
    """The message that asks; it knows the survey."""

    def __init__(self, fields: dict[str, Any], templates: Any, via: list[str], survey: SurveyInfo) -> None:
        super().__init__(fields, templates, via)
        self.survey = survey

    def shown(self, run: Run) -> dict[str, Any]:
        survey, work = self.survey, run.journey.results.get(run.node.id)
        own = run.known
        run.known = None
        key = run.key()
        run.known = own
        token = sign(run.turn.signing, SURVEY, key)
        asked = run.now if work is None else work["asked"]
        return {
            "survey": {
                "name": survey.name, "title": survey.title, "key": key, "token": token,
                "url": None if survey.url is None else f"{survey.url}{'&' if '?' in survey.url else '?'}t={token}",
                "questions": [{"id": it.id, "text": it.text, "kind": it.kind} for it in survey.questions],
                "closes_at": format_instant(survey.open.after(asked, run.zone)),
                "reminder": work is not None,
            }
        }  # fmt: skip

    def sent(self, run: Run, key: str) -> bool:
        """Did the invitation go out, as far as deciding goes? Nobody is waited for who was not asked."""
        last = run.turn.out.effects[-1] if run.turn.out.effects else None
        return last is not None and last.key == key and last.status in ("planned", "held_out")

    def tire(self, run: Run) -> None:
        """The user was asked something else not long ago."""
        run.effect("message", self._detail(self.via[0], None), status="suppressed", reason="fatigue")


_NOTHING = SurveyInfo(name="", title="", questions=(), open=Span(text="14d", elapsed=14 * 86_400_000_000))
