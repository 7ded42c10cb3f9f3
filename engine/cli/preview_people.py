"""For whom ``drumbeat preview`` shows a message: somebody of a store or feed, somebody made up, or many."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.core.subjects import GROUP, PROGRAM, PROGRAM_KIND, USER, kind_of, of_group, span
from engine.errors import CannotRun, ProgramError, UsageError

_PAGE = 500
_KEYS = ("user", "group", "members", "traits", "event", "steps")
_HINT = '{"user": "ada", "traits": {"name": "Ada"}, "event": {"type": "order.paid", "data": {}}, "steps": {}}'


def subject_asked(user: str | None, group: str | None) -> str | None:
    """The subject two options name; None: neither does."""
    return user if group is None else of_group(group)


def person(look: Any, opened: Any, source: Any, subject: str | None, sample: Path | None) -> Any:
    """For whom a message is shown; None: only the longest is asked for. Raises UsageError for the wrong kind.

    ``subject``: that was asked for; a playbook about the program has but one, so none is named.
    """
    about = source.playbook.subject
    if sample is not None:
        return _made_up(look, _read(sample), about)
    if subject is None and about == PROGRAM_KIND:
        return _known(look, opened, source, PROGRAM)
    if subject is None:
        return None
    if kind_of(subject) != about:
        name = source.playbook.id
        hint = {USER: f"drumbeat preview {name} --user ID", GROUP: f"drumbeat preview {name} --group ID"}
        what = "the program" if about == PROGRAM_KIND else f"{about}s"
        raise UsageError(f"playbook '{name}' is about {what}", hint=hint.get(about, f"drumbeat preview {name}"))
    return _known(look, opened, source, subject)


def _known(look: Any, opened: Any, source: Any, subject: str, most: int = 1) -> Any:
    """Somebody of the store, with the newest events that would begin the journey; the program is always there."""
    from engine.core.model import new_state
    from engine.insight.subject import known_user

    state = opened.load([subject]).get(subject)
    if state is None:
        state = new_state(PROGRAM) if subject == PROGRAM else known_user(opened, subject)
    return look.Person(state, _newest(opened, subject, look.begun_by(source.playbook), most))


def _newest(opened: Any, subject: str, types: frozenset[str], most: int) -> list[Any]:
    return list(deque((event for event, _ in opened.events(subject) if event.type in types), maxlen=most))


def people(look: Any, opened: Any, source: Any, most: int) -> Iterator[Any]:
    """The first users, or groups, of the store in order of id; for the program each of the newest events it heard."""
    about, types = source.playbook.subject, look.begun_by(source.playbook)
    if about == PROGRAM_KIND:
        whole = _known(look, opened, source, PROGRAM, most)
        yield from (look.Person(whole.state, [event]) for event in whole.events)
        if not types:  # nothing but the calendar begins it
            yield whole
        return
    after, end = span(about)
    left = most
    while left > 0:
        ids = [it for it in opened.population(after, min(_PAGE, left)) if end is None or it < end]
        if not ids:
            return
        states = opened.load(ids)
        for one in ids:
            yield look.Person(states[one], _newest(opened, one, types, 1))
        after, left = ids[-1], left - len(ids)


# ---------------------------------------------------------------------- somebody made up


def _read(sample: Path) -> dict[str, Any]:
    from decimal import Decimal

    import msgspec

    try:
        written = msgspec.json.Decoder(float_hook=Decimal).decode(sample.read_bytes())
    except OSError as error:
        raise CannotRun(f"cannot read {sample}: {error.strerror}") from None
    except ValueError as error:
        raise ProgramError(f"{sample} is no JSON: {error}", hint='{"user": "ada", "traits": {}, "event": {}}') from None
    if not isinstance(written, dict) or written.keys() - set(_KEYS):
        raise ProgramError(f"{sample} has other keys than {', '.join(_KEYS)}", hint=_HINT)
    if not isinstance(written.get("members", 0), int):
        raise ProgramError(f"{sample}: members is how many a group has", hint='{"group": "club", "members": 12}')
    return written


def _made_up(look: Any, written: dict[str, Any], about: str) -> Any:
    """Somebody of the kind a playbook is about, with the event that would begin the journey."""
    from engine.core.model import Event, new_state

    user, group = written.get("user"), written.get("group")
    subject = {USER: str(user or "sample"), GROUP: of_group(str(group or "sample")), PROGRAM_KIND: PROGRAM}[about]
    state = new_state(subject)
    state.traits = dict(written.get("traits") or {})
    state.members = written.get("members", 0)
    event = written.get("event")
    made = []
    if event:
        type_, data = str(event.get("type", "")), event.get("data") or {}
        whose = None if user is None and about != USER else str(user or "sample")
        made = [Event(id="sample", type=type_, time=0, user=whose, group=None if group is None else str(group),
                      data=data)]  # fmt: skip
    return look.Person(state, made, written.get("steps") or {})
