"""Publishing a program on a store: keep its versions, and bring those on their way in line with it.

Rule 1: a version is kept before anything can begin on it, and as long as somebody may be on it.
Rule 2: journeys are looked at once a publication, in transactions of bounded size. Killed in the middle, the next
process begins again: who was moved or cancelled is not touched twice, see ``engine.core.changing``.
Rule 3: what happened while a playbook was not open to entries starts nothing when it is opened again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import msgspec

from engine.core.changing import CANCEL, KEEP, concerned, fate
from engine.core.model import State
from engine.core.plan import Plan, Playbook
from engine.errors import CannotRun
from engine.ports import Store, Version
from engine.runtime import programs
from engine.runtime.session import Session

AT_ONCE = 1_000
"""Subjects one transaction of a publication takes."""

_PUBLISHED = "published programme"
_OPEN = ("live", "shadow")


@dataclass
class Published:
    """What a publication did."""

    moved: int = 0  #: journeys that went on to the newest version
    cancelled: int = 0  #: journeys ended
    older: int = 0  #: journeys that finish on an older version
    stuck: dict[str, str] = field(default_factory=dict)  #: playbook@version that cannot be compiled -> why


def announce(plan: Plan, store: Store) -> None:
    """Say from when on each playbook starts journeys: from its first run on this store, or since it was reopened."""
    before = _before(store)
    for playbook in plan.playbooks:
        name, opened = f"published:{playbook.id}", f"opened:{playbook.id}"
        since = store.get_meta(name)
        if since is None:
            since = str(store.clock())
            store.set_meta(name, since)
        elif playbook.status in _OPEN and before is not None and not _was_open(before, playbook.id):
            store.set_meta(opened, str(store.clock()))
        plan.env.published[playbook.id] = max(int(since), int(store.get_meta(opened) or 0))
    programs.note(store, plan.digest)
    if store.get_meta("plan") != plan.digest:
        store.set_meta("plan", plan.digest)


def recall(plan: Plan, store: Store) -> None:
    """As ``announce``, where another process did that: from when on each playbook starts journeys."""
    for playbook in plan.playbooks:
        names = (f"published:{playbook.id}", f"opened:{playbook.id}")
        plan.env.published[playbook.id] = max(int(store.get_meta(name) or 0) for name in names)


def publish(plan: Plan, store: Store, session: Session) -> Published:
    """Keep the versions of a plan, and do what the changes since the last publication ask for."""
    done = Published(stuck={f"{id_}@{version}": why for (id_, version), why in sorted(plan.lost.items())})
    _keep(plan, store)
    word = _word(plan)
    if store.get_meta(_PUBLISHED) == word:
        return done
    used: set[tuple[str, str]] = set()
    subjects = list(_to_change(plan, store, used, done))
    if subjects:
        store.fold()  # else each of them looks through all that was done lately for everybody
    rest = iter(subjects)
    while some := list(islice(rest, AT_ONCE)):
        for subject in some:
            session.change(subject, frozenset(effect.key for effect, _ in store.effects(subject)))
        store.commit(session.batch())
    _retire(plan, store, used)
    store.set_meta(_PUBLISHED, word)
    return done


def _keep(plan: Plan, store: Store) -> None:
    kept = {(it.playbook, it.hash): it for it in store.versions(used=False)}
    mine = [it for it in (*plan.playbooks, *plan.archived.values()) if it.version]
    known = {(it.id, it.version) for it in mine} | plan.kept.keys() | plan.lost.keys()
    for it in kept.values():
        if it.used and (it.playbook, it.hash) not in known and plan.statuses.get(it.playbook) != "draft":
            raise CannotRun(
                f"playbook '{it.playbook}': version {it.hash} may still have journeys and was not compiled",
                hint="compile the program with the versions the store keeps (wiring.with_older)",
            )
    fresh = [it for it in mine if (found := kept.get((it.id, it.version))) is None or not found.used]
    if fresh:
        store.keep_versions([_version(it, store.clock()) for it in fresh])


def _version(playbook: Playbook, clock: int) -> Version:
    return Version(playbook=playbook.id, hash=playbook.version, since=clock, sources=playbook.identity.sources)


def _word(plan: Plan) -> str:
    """All of a plan that may matter to those on their way; equal words need no look at anybody."""
    rows: dict[str, Any] = {id_: [status] for id_, status in sorted(plan.statuses.items())}
    for it in (*plan.playbooks, *plan.archived.values()):
        rows[it.id] = [it.status, it.version, it.on_change, dict(sorted(it.migrate.items()))]
    for id_, version in sorted(plan.lost):  # whoever stood still for such a reason is woken when it is gone
        rows[f"{id_}@{version}"] = ["lost"]
    return msgspec.json.encode(rows).decode()


def published(store: Store) -> dict[str, tuple[str, str]]:
    """Playbook -> (status, version; "" where it never ran) as they were last published on a store."""
    found = {}
    for id_, row in (_before(store) or {}).items():
        if "@" not in id_ and row != ["lost"]:
            found[id_] = (str(row[0]), str(row[1]) if len(row) > 1 else "")
    return found


def _before(store: Store) -> dict[str, list[Any]] | None:
    word = store.get_meta(_PUBLISHED)
    return None if word is None else msgspec.json.decode(word)


def _was_open(before: dict[str, list[Any]], id_: str) -> bool:
    return before.get(id_, [""])[0] in _OPEN


def _to_change(plan: Plan, store: Store, used: set[tuple[str, str]], done: Published) -> Iterator[str]:
    """Subjects with something to change; notes on the way which versions stay in use."""
    oldest: dict[str, str] = {}
    for it in store.versions(used=False):
        oldest.setdefault(it.playbook, it.hash)
    clock = store.clock()
    for state in store.in_flight():
        _count(plan, state, done)
        for journey in state.journeys:
            if fate(plan, journey)[0] == KEEP and journey.at is not None:
                used.add((journey.playbook, journey.version or oldest.get(journey.playbook, "")))
        for goal in state.goals:
            if goal.until >= clock:
                used.add((goal.playbook, goal.version or oldest.get(goal.playbook, "")))
        if concerned(plan, state):
            yield state.id


def _count(plan: Plan, state: State, done: Published) -> None:
    for journey in state.journeys:
        what = fate(plan, journey)[0]
        if what == CANCEL:
            done.cancelled += 1
        elif what != KEEP:
            done.moved += 1
        elif journey.at is not None and plan.of(journey) is not plan.by_id.get(journey.playbook):
            done.older += 1


def _retire(plan: Plan, store: Store, used: Iterable[tuple[str, str]]) -> None:
    """Versions nobody is on need not be compiled again."""
    present = {(it.id, it.version) for it in plan.playbooks}
    needed = {*used, *present}
    gone = [it for it in store.versions() if (it.playbook, it.hash) not in needed]
    for it in gone:
        it.used = False
    if gone:
        store.keep_versions(gone)
