"""Surveys: asked, reminded, answered or not, never too often; and the same in any batch."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from semantics_kit import HEAD, Row, Seen, event, play
from steps_kit import Live, write

from engine.core.instants import format_instant, parse_instant
from engine.core.model import DAY, HOUR

CATALOG = """\
surveys:
  nps:
    title: 您愿意推荐吗
    open: 10d
    rest: 30d
    url: "https://s.example/nps?x=1"
    questions: [{id: would, text: 0-10, kind: nps}, {id: why, text: 为什么, kind: text}]
  tea: {open: 2d, questions: [{id: kind, text: 哪种, kind: choice, choices: [绿茶, 红茶]}]}
"""
ASK = """\
trigger: {event: order.paid}
entry: {mode: parallel, limit: unlimited}
steps:
  - survey: {name: nps, via: box, remind: 3d}
    id: nps
  - tag: {add: [fan]}
    if: steps.nps.score >= 9
  - set: {user.said: "{{ steps.nps.answers.why }}"}
"""
TEXT = "{{ with.survey.title }}{% if with.survey.reminder %} again{% endif %}"


def asked(root: Path, rows: list[Row], *, head: str = HEAD, text: str = TEXT, **options: object) -> Seen:
    """A program that asks after each order."""
    for name in ("nps", "tea"):
        path = root / f"templates/survey/{name}.box.j2"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return play(root, {"ask": ASK}, rows, catalog=CATALOG, head=head, **options)  # type: ignore[arg-type]


def answer(id_: str, time: str, user: str = "u1", **data: object) -> Row:
    """An answer to the survey."""
    return event(id_, "survey.answered", time, user, **{"survey": "nps", "answers": {"would": 9, "why": "好"}, **data})


def test_an_answer_goes_on(tmp_path: Path) -> None:
    """The invitation goes out, a fitting answer gives score and answers, and leaves its row."""
    seen = asked(tmp_path, [event("o", "order.paid", "10:00"), answer("a", "2026-03-02T09:00:00Z")])
    texts = [row["detail"].get("text") for row in seen.effects if row["kind"] == "message"]
    assert texts == ["您愿意推荐吗"]
    (row,) = [row for row in seen.effects if row["kind"] == "survey"]
    assert row["detail"] == {"survey": "nps", "answered": True, "score": 9, "by": "nps"}
    assert {(it["kind"], it["detail"].get("value")) for it in seen.effects} >= {("tag", None), ("set", "好")}


def test_nobody_answers(tmp_path: Path) -> None:
    """Once more after ``remind``, over after ``open``: then there is no answer and no score."""
    end = event("x", "x", "2026-03-12T00:00:00Z", "u2")
    seen = asked(tmp_path, [event("o", "order.paid", "10:00"), end])
    assert sorted((row["time"], row["kind"], row["detail"].get("text")) for row in seen.effects) == [
        ("2026-03-01T10:00:00Z", "message", "您愿意推荐吗"),
        ("2026-03-04T10:00:00Z", "message", "您愿意推荐吗 again"),
        ("2026-03-11T10:00:00Z", "set", None),
        ("2026-03-11T10:00:00Z", "survey", None),
    ]
    assert len({row["key"] for row in seen.effects}) == len(seen.effects)


@pytest.mark.parametrize("data", [{"survey": "tea"}, {"key": "0" * 32}, {"survey": None}])
def test_an_answer_to_something_else_is_not_taken(tmp_path: Path, data: dict[str, object]) -> None:
    """Another survey, or another invitation: the journey waits on."""
    rows = [event("o", "order.paid", "10:00"), answer("a", "11:00", **data), event("x", "x", "12:00")]
    assert [row["kind"] for row in asked(tmp_path, rows).effects] == ["message"]


def test_the_key_of_the_invitation_fits(tmp_path: Path) -> None:
    """An answer that names its invitation is taken."""
    first = asked(tmp_path, [event("o", "order.paid", "10:00")])
    rows = [event("o", "order.paid", "10:00"), answer("a", "11:00", key=first.effects[0]["key"])]
    assert "survey" in [row["kind"] for row in asked(tmp_path, rows).effects]


def test_answers_that_fit_no_question_are_left_out(tmp_path: Path) -> None:
    """The survey is answered all the same; there is just no score."""
    rows = [event("o", "order.paid", "10:00"), answer("a", "11:00", answers={"would": 99, "colour": "red"})]
    (row,) = [row for row in asked(tmp_path, rows).effects if row["kind"] == "survey"]
    assert row["detail"] == {"survey": "nps", "answered": True, "score": None, "by": "nps"}


def test_nobody_is_asked_too_often(tmp_path: Path) -> None:
    """Within ``rest`` of any invitation the next one is suppressed with ``fatigue``; at its end it goes out."""
    times = ["2026-03-01T10:00:00Z", "2026-03-31T09:59:59Z", "2026-03-31T10:00:00Z"]
    rows = [event(f"o{number}", "order.paid", time) for number, time in enumerate(times)]
    found = [row for row in asked(tmp_path, rows).effects if row["kind"] == "message"]
    outcomes = [(row["time"], row["reason"]) for row in found if not str(row["detail"]["text"]).endswith("again")]
    assert outcomes == [(times[0], None), (times[1], "fatigue"), (times[2], None)]


NIGHT = HEAD.replace("quiet_hours: never", 'quiet_hours: {from: "21:00", to: "08:00"}')


@pytest.mark.parametrize("answered", [False, True])
def test_quiet_hours_hold_the_reminder_and_not_the_answer(tmp_path: Path, answered: bool) -> None:
    """A reminder due at night waits for the morning; who answers in that night is not reminded, and goes on at once."""
    rows = [event("o", "order.paid", "10:00"), event("x", "x", "2026-03-20T00:00:00Z", "u2")]
    rows[1:1] = [answer("a", "2026-03-03T23:00:00Z")] * answered
    asked(tmp_path, [])
    books = {"ask": ASK.replace("remind: 3d", "remind: 60h")}
    seen = play(tmp_path, books, rows, catalog=CATALOG, head=NIGHT)
    sent = [row["time"] for row in seen.effects if row["kind"] == "message"]
    (closed,) = [row for row in seen.effects if row["kind"] == "survey"]
    assert sent[0] == "2026-03-01T10:00:00Z"
    if answered:
        assert (len(sent), closed["time"]) == (1, "2026-03-03T23:00:00Z")
    else:
        assert "2026-03-04T08:00:00Z" <= sent[1] < "2026-03-04T10:00:00Z"
        assert (len(sent), closed["time"]) == (2, "2026-03-11T10:00:00Z")


def test_held_out_people_are_not_asked(tmp_path: Path) -> None:
    """The journey of somebody in the control group has its row and no invitation, and is over in time."""
    held = {"ask": ASK.replace("entry:", "holdout: {percent: 100}\nentry:")}
    asked(tmp_path, [])
    rows = [event("o", "order.paid", "10:00"), event("x", "x", "2026-04-01T10:00:00Z", "u2")]
    seen = play(tmp_path, held, rows, catalog=CATALOG)
    assert {row["status"] for row in seen.effects} == {"held_out"}
    assert seen.outcome.journeys["running"] == 0


def test_the_link_is_signed_and_goes_behind_what_is_there(tmp_path: Path) -> None:
    """``with.survey.url`` holds a token that differs from person to person, and keeps what the address had."""
    rows = [event("o", "order.paid", "10:00"), event("p", "order.paid", "10:00", "u2")]
    texts = [row["detail"]["text"] for row in asked(tmp_path, rows, text="{{ with.survey.url }}").effects]
    assert all(text.startswith("https://s.example/nps?x=1&t=") for text in texts)
    assert len(set(texts)) == 2


@pytest.mark.parametrize("seed", range(3))
def test_any_batch_decides_the_same(tmp_path: Path, seed: int) -> None:
    """Batches of 1, 7 and 500, with traces and without, and ``run`` over a store: the same rows; ``why`` agrees."""
    rng = random.Random(seed)
    at, rows = parse_instant("2026-03-01T00:00:00Z"), []
    for number in range(120):
        at += rng.choice([0, HOUR, 5 * HOUR, DAY])
        type_ = rng.choice(["order.paid", "survey.answered", "x"])
        data = {"survey": rng.choice(["nps", "nps", "tea"]), "answers": {"would": rng.choice([3, 9, 9, 11])}}
        rows.append(event(f"e{number:03d}", type_, format_instant(at), f"u{rng.randrange(4)}", **data))
    wanted = asked(tmp_path, rows, head=NIGHT)
    for batch in (1, 7, 500):
        assert asked(tmp_path, rows, head=NIGHT, batch=batch, traced=batch == 7).effects == wanted.effects
    assert {"survey", "message", "tag"} <= {row["kind"] for row in wanted.effects}
    live = Live(tmp_path, {"ask": ASK}, catalog=CATALOG, head=NIGHT)
    live.run(*rows, batch=7)
    found = {(it.key, it.status, it.reason, it.time) for it in live.effects()}
    assert found == {(r["key"], r["status"], r["reason"], parse_instant(r["time"])) for r in wanted.effects}
    live.check_replay(*(f"u{number}" for number in range(4)))


def test_what_a_survey_lacks_is_said_beforehand(tmp_path: Path) -> None:
    """No invitation, a reminder after the end, a choice without choices, two questions of one name: all in one go."""
    catalog = """\
surveys:
  nps: {open: 3d, questions: [{id: a, text: t, kind: choice}, {id: a, text: t, kind: text, max: 4}]}
  unused: {questions: [{id: a, text: t, kind: nps}]}
"""
    found = write(tmp_path, {"ask": ASK}, catalog=catalog)
    said = {(problem.code, problem.severity) for problem in found.problems}
    assert {
        ("unknown-template", "error"), ("out-of-range", "error"), ("missing-key", "error"),
        ("duplicate-name", "error"), ("conflict", "error"),
    } <= said  # fmt: skip


def test_a_sound_survey_leaves_nothing_to_say(tmp_path: Path) -> None:
    """The invitation counts as used by its survey, and a survey nobody asks is told of."""
    path = tmp_path / "templates/survey/nps.box.j2"
    path.parent.mkdir(parents=True)
    path.write_text("{{ with.survey.title }}", encoding="utf-8")
    found = write(tmp_path, {"ask": ASK}, catalog=CATALOG)
    said = [problem.message for problem in found.problems if problem.code == "unused" and "'hi'" not in problem.message]
    assert said == ["nothing uses survey 'tea'"]
