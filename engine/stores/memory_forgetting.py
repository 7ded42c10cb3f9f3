"""Retention in the store in memory: what is old goes, and it is known of whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from engine.core.model import Decision, Event
from engine.ports import Rejected

Events = dict[str, list[tuple[Event, int]]]


@dataclass
class Forgotten:
    """What is known of events that are gone."""

    until: int = 0  #: nothing that is gone is newer
    subjects: set[str] = field(default_factory=set)  #: of whom something is gone
    ids: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    """Id -> (subject, time, newest instant) of events that are gone while their ids are remembered."""

    def erase(self, subject: str, at: int) -> list[str]:
        """Somebody is erased: the ids that go with them."""
        self.subjects.discard(subject)
        gone = [id_ for id_, (about, time, _) in self.ids.items() if about == subject and time <= at]
        for id_ in gone:
            del self.ids[id_]
        return gone


def take_away(
    old: Forgotten,
    before: Mapping[str, int],
    limit: int,
    events: Events,
    ids: set[str],
    decisions: dict[str, list[Decision]],
    rejected: dict[int, Rejected],
    heard: Events,
) -> dict[str, int]:
    """Forget what is older than the instants given, at most so many of each kind; how many went.

    Parameters
    ----------
    old, events, ids, decisions, rejected, heard: of the store; changed here.
    before, limit: as of ``Store.forget``.
    """
    counts = dict.fromkeys(before, 0)
    if "events" in before:
        gone = _events(old, before["events"], limit, events, ids)
        counts["events"] = len(gone)
        _unheard(old, {id(it) for it in gone}, heard)
    if "ids" in before:
        lost = [id_ for id_, (_, _, newest) in old.ids.items() if newest < before["ids"]]
        alive = (it for rows in events.values() for it in rows)
        lost += [event.id for event, at in alive if max(event.time, at) < before["ids"] and event.id in ids]
        for id_ in lost[:limit]:
            old.ids.pop(id_, None)
            ids.discard(id_)
        counts["ids"] = len(lost[:limit])
    if "decisions" in before:
        counts["decisions"] = _decisions(before["decisions"], limit, decisions)
    if "quarantine" in before:
        numbers = [number for number, it in rejected.items() if it.at < before["quarantine"]][:limit]
        for number in numbers:
            del rejected[number]
        counts["quarantine"] = len(numbers)
    return counts


def _unheard(old: Forgotten, gone: set[int], heard: Events) -> None:
    """Groups and the program heard nothing of events that are gone."""
    for name, rows in heard.items():
        left = [it for it in rows if id(it[0]) not in gone]
        if len(left) < len(rows):
            heard[name] = left
            old.subjects.add(name)


def _events(old: Forgotten, before: int, limit: int, events: Events, ids: set[str]) -> list[Event]:
    done = list[Event]()
    for subject, rows in list(events.items()):
        gone = [it for it in rows if max(it[0].time, it[1]) < before][: limit - len(done)]
        if not gone:
            continue
        going = {id(it) for it in gone}  # not by the ids of events: one that was forgotten may have come again
        events[subject] = [it for it in rows if id(it) not in going]
        old.subjects.add(subject)
        for event, at in gone:
            newest = max(event.time, at)
            old.until = max(old.until, newest)
            if event.id in ids:
                old.ids[event.id] = (subject, event.time, newest)
        done += [event for event, _ in gone]
    return done


def _decisions(before: int, limit: int, decisions: dict[str, list[Decision]]) -> int:
    done = 0
    for subject, rows in list(decisions.items()):
        gone = sum(1 for it in rows if it.time < before)
        gone = min(gone, limit - done)
        if gone:
            decisions[subject] = rows[gone:]
            done += gone
    return done
